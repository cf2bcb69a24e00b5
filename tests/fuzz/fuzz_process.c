// SPDX-License-Identifier: MIT
/*
 * How do processes end? Children that share all that their parent has, and go; a whole process
 * that leaves in the middle of everything; signals that wake those who wait.
 */
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define CHILD_OPERATIONS	8

static void __attribute__((noreturn)) child_main(struct fuzz_thread *t, unsigned int end)
{
	unsigned int count = fuzz_below(&t->random, CHILD_OPERATIONS + 1);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	t->child = true;
	while (count--)
		fuzz_one(t, "child: ");
	if (end == 0)
		raise(SIGKILL);
	if (end == 1)
		execl("/bin/true", "true", NULL);
	_exit(0);
}

static int op_fork(struct fuzz_thread *t)
{
	unsigned int end = fuzz_below(&t->random, 4);
	bool kill_it = fuzz_chance(&t->random, 20);
	int status;
	pid_t pid;

	if (t->child)
		return FUZZ_SKIP;

	/* With the lock, so that the child's tables are whole and its lock is its own. */
	fuzz_lock(t);
	pid = fork();
	fuzz_unlock(t);
	if (pid < 0)
		return -errno;
	if (!pid)
		child_main(t, end);
	if (kill_it)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		fuzz_finding("a child died of signal %d", WTERMSIG(status));
	return 0;
}

/* The other thread is in the middle of something, and so is the engine. */
static int op_exit(struct fuzz_thread *t)
{
	if (t->child || fuzz_chance(&t->random, 75))
		return FUZZ_SKIP;
	/* Counted here, since the process does not return. */
	for (unsigned int i = 0; fuzz_op(i); i++) {
		if (fuzz_op(i)->run == op_exit)
			__atomic_add_fetch(&fuzz_shared->counts[i].ok, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

/* The handler does nothing, and nothing is restarted. */
static int op_signal(struct fuzz_thread *t)
{
	pid_t tid = fuzz_shared->progress[t->process->place][!t->index].tid;

	if (t->child || !tid)
		return FUZZ_SKIP;
	return syscall(SYS_tgkill, getpid(), tid, SIGUSR1) ? -errno : 0;
}

static const struct fuzz_op ops[] = {
	{ "fork", 5, FUZZ_MAY_FAIL, op_fork, { EAGAIN } },
	{ "exit", 1, FUZZ_MAY_FAIL, op_exit, {} },
	{ "signal", 15, FUZZ_MAY_FAIL, op_signal, { ESRCH } },
};

const struct fuzz_group fuzz_process_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
