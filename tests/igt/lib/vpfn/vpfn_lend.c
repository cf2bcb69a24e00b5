// SPDX-License-Identifier: MIT
/*
 * How does a program get a mapping that it cannot ask for?
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "vpfn/vpfn_lend.h"

/* Newer than some headers. */
#ifndef PTRACE_SET_SYSCALL_INFO
#define PTRACE_SET_SYSCALL_INFO		0x4212
#endif

#define SYSCALL_STOP	(SIGTRAP | 0x80)	/* by PTRACE_O_TRACESYSGOOD */
#define OPTIONS		(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | \
			 PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)

/* A program under way, and which of its processes is in an mmap() that was changed. */
struct borrower {
	struct vpfn_loan *loan;
	pid_t program;
	pid_t mapping[VPFN_LEND_MAX];
	unsigned int begun;
};

static long trace(int request, pid_t pid, void *addr, void *data)
{
	return ptrace(request, pid, addr, data);
}

static bool is_file(pid_t pid, int fd, const char *file)
{
	char link[64], path[256];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;

	path[n] = '\0';
	return !strcmp(path, file);
}

/* mmap(addr, len, prot, flags, fd, offset): all but prot and flags are others now. */
static int change_arguments(struct borrower *borrower, pid_t pid,
			    struct ptrace_syscall_info *info)
{
	const struct vpfn_loan *loan = borrower->loan;
	__u64 *args = info->entry.args;

	if (info->entry.nr != SYS_mmap || (args[3] & MAP_TYPE) != MAP_SHARED ||
	    borrower->begun == loan->wanted || !is_file(pid, args[4], loan->file))
		return 0;
	if (args[1] > loan->len)
		return -E2BIG;

	args[0] = 0;
	args[1] = loan->len;
	args[4] = loan->fd;
	args[5] = loan->offset;
	if (trace(PTRACE_SET_SYSCALL_INFO, pid, (void *)sizeof(*info), info))
		return -errno;
	borrower->mapping[borrower->begun++] = pid;
	return 0;
}

static int note_result(struct borrower *borrower, pid_t pid,
		       const struct ptrace_syscall_info *info)
{
	struct vpfn_loan *loan = borrower->loan;

	for (unsigned int i = 0; i < borrower->begun; i++) {
		if (borrower->mapping[i] != pid)
			continue;
		if (info->exit.is_error)
			return info->exit.rval;
		borrower->mapping[i] = 0;
		loan->at[loan->count++] = info->exit.rval;
	}
	return 0;
}

static int at_syscall(struct borrower *borrower, pid_t pid)
{
	struct ptrace_syscall_info info;

	if (trace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) < 0)
		return -errno;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		return change_arguments(borrower, pid, &info);
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		return note_result(borrower, pid, &info);
	return 0;
}

/* The signal that it goes on with; those of the debugger's doing are not for it. */
static int signal_of(int status)
{
	int sig = WSTOPSIG(status);

	return sig == SIGTRAP || sig == SIGSTOP || sig == SYSCALL_STOP ? 0 : sig;
}

/* To stop at each call takes long: only children do, and only until they have what they want. */
static int how_to_go_on(const struct borrower *borrower, pid_t pid)
{
	if (borrower->loan->count == borrower->loan->wanted)
		return PTRACE_DETACH;
	return pid == borrower->program ? PTRACE_CONT : PTRACE_SYSCALL;
}

static int stopped(struct borrower *borrower, pid_t pid, int status)
{
	int err = WSTOPSIG(status) == SYSCALL_STOP ? at_syscall(borrower, pid) : 0;
	long sig = signal_of(status);

	if (err)
		return err;

	/* It may have been killed. */
	if (trace(how_to_go_on(borrower, pid), pid, NULL, (void *)sig) && errno != ESRCH)
		return -errno;
	return 0;
}

static int follow(struct borrower *borrower, int *status)
{
	for (;;) {
		int now, err;
		pid_t pid = waitpid(-1, &now, __WALL);

		if (pid < 0)
			return -errno;

		if (!WIFSTOPPED(now)) {
			if (pid != borrower->program)
				continue;
			*status = now;
			return 0;
		}
		err = stopped(borrower, pid, now);
		if (err)
			return err;
	}
}

static void run(const char * const argv[], const struct vpfn_loan *loan)
{
	if (fcntl(loan->fd, F_SETFD, 0) || trace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(126);
	raise(SIGSTOP);
	/* POSIX: it changes none of them. */
	execvp(argv[0], (char * const *)argv);
	_exit(127);
}

/**
 * vpfn_lend:
 * @argv: a program and its arguments
 * @loan: what it gets
 * @status: what waitpid() says of its end
 *
 * Runs the program; the caller must have no other children.
 *
 * Returns: 0, or a negative errno if the program could not be run to its end.
 */
int vpfn_lend(const char * const argv[], struct vpfn_loan *loan, int *status)
{
	struct borrower borrower = { .loan = loan };
	int err;

	fflush(NULL);
	loan->count = 0;
	borrower.program = fork();
	if (borrower.program < 0)
		return -errno;
	if (!borrower.program)
		run(argv, loan);

	if (waitpid(borrower.program, status, __WALL) < 0 ||
	    trace(PTRACE_SETOPTIONS, borrower.program, NULL, (void *)OPTIONS) ||
	    trace(PTRACE_CONT, borrower.program, NULL, NULL))
		err = -errno;
	else
		err = follow(&borrower, status);
	if (err) {
		kill(borrower.program, SIGKILL);
		waitpid(borrower.program, NULL, __WALL);
	}
	return err;
}
