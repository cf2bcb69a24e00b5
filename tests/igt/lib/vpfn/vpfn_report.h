/* SPDX-License-Identifier: MIT */
/*
 * What does the kernel tell of a device that failed? Its events, its dumps, and how often the
 * device interrupted.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_REPORT_H
#define VPFN_REPORT_H

#include <stddef.h>
#include <stdint.h>

int vpfn_uevent_open(void);
int vpfn_uevent_wait(int socket, const char *device, const char *key, char *value, size_t size,
		     int64_t timeout_ns);

int vpfn_dump_find(const char *device, char *path, size_t size);
int vpfn_dump_wait(const char *device);
int vpfn_dump_drop(const char *device);

int vpfn_interrupts(const char *device, uint64_t *count);

#endif
