/* SPDX-License-Identifier: MIT */
/*
 * What does another task do? Threads and processes that may have to wait in the kernel, and
 * what /proc tells of them.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_TASK_H
#define VPFN_TASK_H

#include <stdbool.h>
#include <sys/types.h>

#include "vpfn/vpfn_thread.h"

/* What vpfn_task_waits_in() returns instead of the number of a system call. */
#define VPFN_IN_FAULT	(-1)
#define VPFN_RUNS	(-2)

long vpfn_task_waits_in(pid_t pid, pid_t tid);
long vpfn_task_faults(pid_t pid, pid_t tid);

int vpfn_thread_waits_in(const struct vpfn_thread *thread, long nr);

/* A process, which is killed when its parent ends. */
struct vpfn_child {
	pid_t pid;
	bool ended;
	int status;	/* as waitpid() has it, once the child has ended */
};

int vpfn_child_start(struct vpfn_child *child, int (*run)(void *arg), void *arg);
int vpfn_child_settle(struct vpfn_child *child, long nr);
int vpfn_child_wait(struct vpfn_child *child);
int vpfn_child_kill(struct vpfn_child *child);
int vpfn_child_get_fd(const struct vpfn_child *child, int fd);

/* Ends the children of tests that have failed. */
void vpfn_children_end(void);

/* Memory that a process shares with its children; zero, and there until the process ends. */
void *vpfn_shared_alloc(size_t size);

#endif
