// SPDX-License-Identifier: MIT
/*
 * A call in a thread of its own: has it returned, and if not, where does it sleep in the kernel?
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_thread.h"

static void *thread_main(void *arg)
{
	struct vpfn_thread *thread = arg;

	__atomic_store_n(&thread->tid, gettid(), __ATOMIC_RELEASE);
	thread->ret = thread->run(thread->arg);
	__atomic_store_n(&thread->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/**
 * vpfn_thread_start:
 * @thread: the thread
 * @run: what it calls
 * @arg: for @run
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_thread_start(struct vpfn_thread *thread, int (*run)(void *arg), void *arg)
{
	*thread = (struct vpfn_thread) { .run = run, .arg = arg };
	return -pthread_create(&thread->thread, NULL, thread_main, thread);
}

/**
 * vpfn_thread_is_done:
 * @thread: the thread
 *
 * Returns: whether its call has returned.
 */
bool vpfn_thread_is_done(const struct vpfn_thread *thread)
{
	return __atomic_load_n(&thread->done, __ATOMIC_ACQUIRE);
}

/**
 * vpfn_task_state:
 * @pid: a process
 * @tid: a thread of it
 *
 * Returns: its state as ps(1) has it, '?' if there is no such thread.
 */
char vpfn_task_state(pid_t pid, pid_t tid)
{
	char path[64], text[512], *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (pfnmap_text_read(path, text, sizeof(text)))
		return '?';

	/* "TID (NAME) STATE ...", and the name may hold anything. */
	end = strrchr(text, ')');
	return end ? end[2] : '?';
}

/**
 * vpfn_task_sleeps:
 * @pid: a process
 * @tid: a thread of it
 *
 * Returns: whether it sleeps in the kernel.
 */
bool vpfn_task_sleeps(pid_t pid, pid_t tid)
{
	char state = vpfn_task_state(pid, tid);

	return state == 'S' || state == 'D';
}

struct settling {
	const struct vpfn_thread *thread;
	const char *function;
};

static bool has_settled(const void *arg)
{
	const struct settling *settling = arg;
	pid_t tid = __atomic_load_n(&settling->thread->tid, __ATOMIC_ACQUIRE);
	char path[64], stack[4096];

	if (vpfn_thread_is_done(settling->thread))
		return true;
	if (!tid || !vpfn_task_sleeps(getpid(), tid))
		return false;
	if (!settling->function)
		return true;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stack", tid);
	return !pfnmap_text_read(path, stack, sizeof(stack)) && strstr(stack, settling->function);
}

/**
 * vpfn_thread_settle:
 * @thread: the thread
 * @function: of the kernel, which the thread is to sleep in; NULL if it does not matter
 *
 * Waits until the call has returned, or sleeps.
 *
 * Returns: 0, or -ETIME if it does neither.
 */
int vpfn_thread_settle(const struct vpfn_thread *thread, const char *function)
{
	const struct settling settling = { thread, function };

	return pfnmap_wait_until(has_settled, &settling);
}

static bool is_done(const void *arg)
{
	return vpfn_thread_is_done(arg);
}

/**
 * vpfn_thread_join:
 * @thread: the thread
 * @ret: where what its call has returned goes, or NULL
 *
 * Returns: 0, or -ETIME if the call does not return.
 */
int vpfn_thread_join(struct vpfn_thread *thread, int *ret)
{
	int err = pfnmap_wait_until(is_done, thread) ?: -pthread_join(thread->thread, NULL);

	if (!err && ret)
		*ret = thread->ret;
	return err;
}
