/* SPDX-License-Identifier: MIT */
/*
 * What holds a job back until the test lets it go? A gate is closed when it is made; its
 * fences, which jobs and buffers can wait for, signal when it opens. It opens once.
 *
 * No function here knows IGT; each returns 0 or a negative errno.
 */
#ifndef VPFN_GATE_H
#define VPFN_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct vpfn_gate {
	int timeline;
};

int vpfn_gate_make(struct vpfn_gate *gate);
int vpfn_gate_sync_file(const struct vpfn_gate *gate, int *sync_file);
int vpfn_gate_syncobj(const struct vpfn_gate *gate, int fd, uint32_t *syncobj);
int vpfn_gate_open(const struct vpfn_gate *gate);
void vpfn_gate_remove(struct vpfn_gate *gate);

int vpfn_still_waits(int fd, uint32_t syncobj);

/* Any fence that user space holds as a file. */
int vpfn_sync_file_status(int sync_file, int64_t timeout_ns);
int vpfn_sync_file_of(int fd, uint32_t syncobj, int *sync_file);

#endif
