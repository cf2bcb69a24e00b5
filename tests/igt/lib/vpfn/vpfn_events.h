/* SPDX-License-Identifier: MIT */
/*
 * What do the kernel's trace events tell? Those of any subsystem, collected in a buffer of the
 * test's own.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_EVENTS_H
#define VPFN_EVENTS_H

int vpfn_events_open(unsigned int kib);
void vpfn_events_close(void);
int vpfn_events_add(const char *event, const char *filter);
int vpfn_events_start(void);
int vpfn_events_stop(void);
int vpfn_events_read(void (*look)(const char *event, const char *line, void *arg), void *arg);

#endif
