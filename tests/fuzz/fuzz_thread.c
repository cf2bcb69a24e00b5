// SPDX-License-Identifier: MIT
/*
 * How does a thread of the fuzzer live? It chooses an operation, runs it, and books the
 * result, over and over again.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

/* Errors that any call may give: to a signal, a lost race for an fd, a bad pointer. */
static const int errors_of_all[] = { EINTR, EBADF, EFAULT, ENOMEM, ENOTTY };

static const struct fuzz_op *ops[FUZZ_OPS_MAX];
static enum fuzz_role roles[FUZZ_OPS_MAX];
static unsigned int op_count, weights[FUZZ_ROLES];

static __thread struct fuzz_thread *self;

/**
 * fuzz_register:
 * @group: operations to add; before any process starts
 */
void fuzz_register(const struct fuzz_group *group)
{
	for (size_t i = 0; i < group->count && op_count < FUZZ_OPS_MAX; i++) {
		roles[op_count] = group->role;
		weights[group->role] += group->ops[i].weight;
		ops[op_count++] = &group->ops[i];
	}
}

/**
 * fuzz_op:
 * @index: number of an operation
 *
 * Returns: the operation, or NULL behind the last one.
 */
const struct fuzz_op *fuzz_op(unsigned int index)
{
	return index < op_count ? ops[index] : NULL;
}

static unsigned int choose(struct fuzz_thread *t)
{
	uint64_t at = fuzz_below(&t->random, weights[t->process->role]);
	unsigned int i;

	for (i = 0; i < op_count; i++) {
		if (roles[i] != t->process->role)
			continue;
		if (at < ops[i]->weight)
			break;
		at -= ops[i]->weight;
	}
	return i;
}

static bool is_allowed(const struct fuzz_op *op, int error)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors_of_all); i++) {
		if (errors_of_all[i] == error)
			return true;
	}
	for (size_t i = 0; i < FUZZ_ERRORS_MAX && op->errors[i]; i++) {
		if (op->errors[i] == error || op->errors[i] == FUZZ_ANY)
			return true;
	}
	return false;
}

static void book(struct fuzz_thread *t, unsigned int index, int result)
{
	struct fuzz_count *count = &fuzz_shared->counts[index];
	const struct fuzz_op *op = ops[index];

	if (result == FUZZ_SKIP)
		return;
	if (result >= 0) {
		__atomic_add_fetch(&count->ok, 1, __ATOMIC_RELAXED);
		return;
	}
	if (-result >= FUZZ_ERRNO_MAX) {
		fuzz_finding("%s (process %u, thread %u, operation %llu) failed with %d, which is no errno",
			     op->name, t->process->ordinal, t->index,
			     (unsigned long long)t->number, -result);
		return;
	}
	__atomic_add_fetch(&count->error[-result], 1, __ATOMIC_RELAXED);
	if (!is_allowed(op, -result))
		fuzz_finding("%s (process %u, thread %u, operation %llu) failed with %s, which it must not",
			     op->name, t->process->ordinal, t->index,
			     (unsigned long long)t->number, strerrorname_np(-result));
}

/* A name that a kernel message shows: what the process did, for who runs its seed again. */
static void set_name(struct fuzz_thread *t)
{
	char name[16];

	snprintf(name, sizeof(name), "%c%u.%u:%llu", "wki"[t->process->role],
		 t->process->ordinal, t->index, (unsigned long long)t->number);
	prctl(PR_SET_NAME, name);
}

static void say(struct fuzz_thread *t, const char *prefix, const struct fuzz_op *op)
{
	char line[128];
	int n;

	n = snprintf(line, sizeof(line), "%u.%u:%llu %s%s\n", t->process->ordinal, t->index,
		     (unsigned long long)t->number, prefix, op->name);
	if (write(STDOUT_FILENO, line, n) < 0)
		return;
}

/**
 * fuzz_one:
 * @t: the calling thread
 * @prefix: for the log, "" or what kind of process it is
 *
 * Runs the thread's next operation.
 */
void fuzz_one(struct fuzz_thread *t, const char *prefix)
{
	struct fuzz_progress *progress = &fuzz_shared->progress[t->process->place][t->index];
	struct fuzz_trace *trace;
	struct fuzz_random mix;
	unsigned int index;
	int64_t start;

	t->number++;
	mix.state = t->process->seed * 0x100 + t->index * 2 + t->child;
	t->random.state = fuzz_next(&mix) ^ t->number * 0xd1342543de82ef95ull;

	index = choose(t);
	trace = &progress->history[t->number % FUZZ_HISTORY];
	*trace = (struct fuzz_trace) { .number = t->number, .op = index, .result = FUZZ_SKIP };
	progress->op = index;
	__atomic_store_n(&progress->number, t->number, __ATOMIC_RELAXED);

	set_name(t);
	if (fuzz_shared->verbose)
		say(t, prefix, ops[index]);
	start = vpfn_deadline(0);
	trace->result = ops[index]->run(t);
	__atomic_add_fetch(&fuzz_shared->counts[index].ns, vpfn_deadline(-start), __ATOMIC_RELAXED);
	book(t, index, trace->result);
}

/* A touch of what cannot be touched; anywhere but in FUZZ_GUARDED() it ends the process. */
static void caught(int sig)
{
	if (self && __atomic_load_n(&self->guarded, __ATOMIC_SEQ_CST))
		siglongjmp(self->jump, sig == SIGBUS ? EIO : EFAULT);
	signal(sig, SIG_DFL);
}

/* Wakes threads that sleep in the kernel. */
static void interrupted(int sig)
{
	(void)sig;
}

static void set_signals(void)
{
	struct sigaction act = { .sa_handler = caught, .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	act = (struct sigaction) { .sa_handler = interrupted };
	sigaction(SIGUSR1, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void *thread_main(void *data)
{
	struct fuzz_thread *t = data;

	self = t;
	fuzz_shared->progress[t->process->place][t->index].tid = gettid();
	while (!__atomic_load_n(&fuzz_shared->stop, __ATOMIC_RELAXED))
		fuzz_one(t, "");
	if (t->process->role == FUZZ_KEEPER)
		fuzz_keeper_last_look(t);
	return NULL;
}

static void prepare(struct fuzz_thread *t, struct fuzz_process *p, unsigned int index)
{
	*t = (struct fuzz_thread) { .process = p, .index = index };
	for (unsigned int i = 0; i < fuzz_shared->device_count; i++) {
		t->private_fd[i] = open(fuzz_shared->devices[i].render, O_RDWR | O_CLOEXEC);
		if (t->private_fd[i] < 0)
			fuzz_finding("%s cannot be opened: %s", fuzz_shared->devices[i].render,
				     strerrorname_np(errno));
	}
	if (pfnmap_reserve(FUZZ_WINDOW, PFNMAP_2M, (void **)&t->window))
		fuzz_finding("no address space for a window");
	if (p->role == FUZZ_WORKER)
		fuzz_shared->windows[p->place][index] = (uintptr_t)t->window;
}

/**
 * fuzz_process_main:
 * @p: what the process is
 *
 * Fuzzes until the run ends, in a process of its own.
 */
void fuzz_process_main(struct fuzz_process *p)
{
	static struct fuzz_thread threads[FUZZ_THREADS];
	unsigned int count = p->role == FUZZ_WORKER ? FUZZ_THREADS : 1;
	pthread_t handles[FUZZ_THREADS];
	struct rlimit none = {};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &none);
	set_signals();

	/*
	 * A thread may unmap an address that it has heard of before another unmapped it. What
	 * is there by then must be a mapping of ours, never the C library's: no malloc() maps.
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);

	fuzz_state_init(p);
	for (unsigned int i = 0; i < count; i++)
		prepare(&threads[i], p, i);
	for (unsigned int i = 1; i < count; i++) {
		if (pthread_create(&handles[i], NULL, thread_main, &threads[i]))
			_exit(1);
	}
	thread_main(&threads[0]);
	for (unsigned int i = 1; i < count; i++)
		pthread_join(handles[i], NULL);
	_exit(0);
}
