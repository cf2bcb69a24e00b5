// SPDX-License-Identifier: MIT
/*
 * What does another task do?
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_task.h"

static int read_task(pid_t pid, pid_t tid, const char *file, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	return pfnmap_text_read(path, text, size);
}

/**
 * vpfn_task_waits_in:
 * @pid: a process
 * @tid: a thread of it
 *
 * Returns: the number of the system call in which the thread sleeps, VPFN_IN_FAULT if it sleeps
 * in a page fault, or VPFN_RUNS if it does not sleep or has ended.
 */
long vpfn_task_waits_in(pid_t pid, pid_t tid)
{
	char text[256], *end;
	long nr;

	if (read_task(pid, tid, "syscall", text, sizeof(text)))
		return VPFN_RUNS;

	/* "running", or the number and the arguments */
	nr = strtol(text, &end, 10);
	return end == text ? VPFN_RUNS : nr;
}

/**
 * vpfn_task_faults:
 * @pid: a process
 * @tid: a thread of it
 *
 * A fault that is tried again counts as a major one.
 *
 * Returns: the number of page faults of the thread, minor and major, or a negative errno.
 */
long vpfn_task_faults(pid_t pid, pid_t tid)
{
	unsigned long minor, major;
	char text[512], *at;
	int err = read_task(pid, tid, "stat", text, sizeof(text));

	if (err)
		return err;

	/* "PID (NAME) STATE ...", and the name may hold anything */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &minor, &major) != 2)
		return -EPROTO;
	return minor + major;
}

struct settle {
	const struct vpfn_thread *thread;
	struct vpfn_child *child;
	long nr;
};

static bool thread_has_settled(const void *arg)
{
	const struct settle *settle = arg;
	const struct vpfn_thread *thread = settle->thread;

	pid_t tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE);

	return vpfn_thread_is_done(thread) ||
	       (tid && vpfn_task_waits_in(getpid(), tid) == settle->nr);
}

/**
 * vpfn_thread_waits_in:
 * @thread: the thread
 * @nr: number of a system call, or VPFN_IN_FAULT
 *
 * Returns: 0 once the thread is done or sleeps in @nr, or -ETIME.
 */
int vpfn_thread_waits_in(const struct vpfn_thread *thread, long nr)
{
	struct settle settle = { .thread = thread, .nr = nr };

	return pfnmap_wait_until(thread_has_settled, &settle);
}

#define MAX_CHILDREN	32

static pid_t children[MAX_CHILDREN];

static void replace_child(pid_t from, pid_t to)
{
	for (int i = 0; i < MAX_CHILDREN; i++) {
		if (children[i] == from) {
			children[i] = to;
			return;
		}
	}
}

/**
 * vpfn_child_start:
 * @child: the process
 * @run: what it does, and its exit code; no assertion may fail in there
 * @arg: the argument of @run
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_child_start(struct vpfn_child *child, int (*run)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run(arg));
	}
	/* Not by the child, too: @child may be in memory that both share. */
	*child = (struct vpfn_child) { .pid = pid };
	replace_child(0, pid);
	return 0;
}

static bool has_ended(struct vpfn_child *child)
{
	if (!child->ended && waitpid(child->pid, &child->status, WNOHANG) == child->pid) {
		child->ended = true;
		replace_child(child->pid, 0);
	}
	return child->ended;
}

static bool child_has_settled(const void *arg)
{
	const struct settle *settle = arg;
	struct vpfn_child *child = settle->child;

	return has_ended(child) || vpfn_task_waits_in(child->pid, child->pid) == settle->nr;
}

/**
 * vpfn_child_settle:
 * @child: the process
 * @nr: number of a system call, or VPFN_IN_FAULT
 *
 * Returns: 0 once the process has ended or sleeps in @nr, or -ETIME.
 */
int vpfn_child_settle(struct vpfn_child *child, long nr)
{
	struct settle settle = { .child = child, .nr = nr };

	return pfnmap_wait_until(child_has_settled, &settle);
}

static bool child_has_ended(const void *arg)
{
	const struct settle *settle = arg;

	return has_ended(settle->child);
}

/**
 * vpfn_child_wait:
 * @child: the process
 *
 * Returns: 0 once the process has ended, or -ETIME.
 */
int vpfn_child_wait(struct vpfn_child *child)
{
	struct settle settle = { .child = child };

	return pfnmap_wait_until(child_has_ended, &settle);
}

/**
 * vpfn_child_kill:
 * @child: the process
 *
 * Returns: 0 once the process has ended, or -ETIME if SIGKILL does not end it.
 */
int vpfn_child_kill(struct vpfn_child *child)
{
	if (!child->ended)
		kill(child->pid, SIGKILL);
	return vpfn_child_wait(child);
}

/**
 * vpfn_child_get_fd:
 * @child: the process
 * @fd: a file descriptor of the process
 *
 * Returns: a file descriptor of the same file, or a negative errno.
 */
int vpfn_child_get_fd(const struct vpfn_child *child, int fd)
{
	int process = syscall(SYS_pidfd_open, child->pid, 0), copy;

	if (process < 0)
		return -errno;

	copy = syscall(SYS_pidfd_getfd, process, fd, 0);
	if (copy < 0)
		copy = -errno;
	close(process);
	return copy;
}

/**
 * vpfn_children_end:
 *
 * Kills the children that are left, and waits for their end.
 */
void vpfn_children_end(void)
{
	for (int i = 0; i < MAX_CHILDREN; i++) {
		struct vpfn_child child = { .pid = children[i] };

		if (child.pid)
			vpfn_child_kill(&child);
	}
}

/**
 * vpfn_shared_alloc:
 * @size: bytes
 *
 * Returns: the memory, or NULL.
 */
void *vpfn_shared_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}
