/* SPDX-License-Identifier: MIT */
/*
 * A call in a thread of its own: has it returned, and if not, where does it sleep in the kernel?
 *
 * No function here knows IGT.
 */
#ifndef VPFN_THREAD_H
#define VPFN_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct vpfn_thread {
	pthread_t thread;
	int (*run)(void *arg);
	void *arg;
	pid_t tid;		/* these three: across threads */
	bool done;
	int ret;
};

/* In the kernel, what waits for a fence. */
#define VPFN_IN_FENCE_WAIT	"dma_fence_default_wait"

int vpfn_thread_start(struct vpfn_thread *thread, int (*run)(void *arg), void *arg);
bool vpfn_thread_is_done(const struct vpfn_thread *thread);
int vpfn_thread_settle(const struct vpfn_thread *thread, const char *function);
int vpfn_thread_join(struct vpfn_thread *thread, int *ret);

char vpfn_task_state(pid_t pid, pid_t tid);
bool vpfn_task_sleeps(pid_t pid, pid_t tid);

#endif
