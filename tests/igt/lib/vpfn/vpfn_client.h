/* SPDX-License-Identifier: MIT */
/*
 * How does a test become a client that starts jobs? Files, syncobjs, gates and threads without
 * which a test cannot go on. These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_CLIENT_H
#define VPFN_CLIENT_H

#include <stdint.h>

#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_thread.h"

int vpfn_client_open(void);
int vpfn_client_open_card(const char *name);
int vpfn_client_open_primary(int fd);

void vpfn_require_gate(struct vpfn_gate *gate);
uint32_t vpfn_gate_new_syncobj(const struct vpfn_gate *gate, int fd);
void vpfn_require_host(const char *id);

/* One command; the syncobj that is returned signals when it is done. */
uint32_t vpfn_start(int fd, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate);
uint32_t vpfn_start_after(int fd, struct drm_vpfn_cmd cmd, uint32_t in);
uint32_t vpfn_new_syncobj(int fd);
void vpfn_finish(int fd, uint32_t syncobj);
void vpfn_assert_waits(int fd, uint32_t syncobj);
void vpfn_let_engine_pass(void);

/* A command whose effect is expected, and what a buffer must hold after it */
void vpfn_assert_runs(int fd, struct drm_vpfn_cmd cmd);
int vpfn_job_status(int fd, uint32_t syncobj);
void vpfn_assert_mem(const struct vpfn_mem *mem);
void vpfn_assert_mem_by_both(const struct vpfn_mem *mem);

/* The file of its fence outlives the device. */
int vpfn_start_sync_file(int fd, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate);

/* A thread that may have to wait. No assertion may fail in there. */
void vpfn_worker_start(struct vpfn_thread *worker, int (*run)(void *arg), void *arg);
void vpfn_worker_settle(const struct vpfn_thread *worker);
int vpfn_worker_finish(struct vpfn_thread *worker);

/* For a worker: evicts everything from the card of the file that @fd points to. */
int vpfn_worker_evict(void *fd);

#endif
