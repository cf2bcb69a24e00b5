// SPDX-License-Identifier: MIT
/*
 * What does a task of the fuzzer know, and how does it fail?
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

int fuzz_fd = -1;
bool fuzz_has_numa;
uint64_t fuzz_seed;
struct shared *fuzz_shared;
struct vpfn_bo fuzz_bos[MAX_BUFFERS];
int fuzz_dmabufs[MAX_BUFFERS];
unsigned int fuzz_num_buffers;
struct task fuzz_tasks[VPFN_WRITERS];
unsigned int fuzz_num_tasks;

const char * const fuzz_call_names[CALLS] = {
	[CALL_MUNMAP] = "munmap",
	[CALL_MPROTECT] = "mprotect",
	[CALL_PKEY_MPROTECT] = "pkey_mprotect",
	[CALL_MREMAP_MOVE] = "mremap (move)",
	[CALL_MREMAP_SHRINK] = "mremap (shrink)",
	[CALL_MREMAP_SAME] = "mremap (same)",
	[CALL_MREMAP_GROW] = "mremap (grow)",
	[CALL_MREMAP_DONTUNMAP] = "mremap (DONTUNMAP)",
	[CALL_MADVISE] = "madvise",
	[CALL_MMAP_FIXED] = "mmap (FIXED)",
	[CALL_MMAP_PRIME] = "mmap (FIXED, prime)",
	[CALL_MMAP_ANONYMOUS] = "mmap (FIXED, anonymous)",
	[CALL_MMAP_HINT] = "mmap (hint)",
	[CALL_MMAP_NOREPLACE] = "mmap (NOREPLACE)",
	[CALL_MBIND] = "mbind",
	[CALL_MSEAL] = "mseal",
	[CALL_MINCORE] = "mincore",
	[CALL_MLOCK] = "mlock",
	[CALL_MUNLOCK] = "munlock",
	[CALL_MSYNC] = "msync",
	[CALL_SMAPS] = "smaps",
	[CALL_NUMA_MAPS] = "numa_maps",
	[CALL_PAGEMAP] = "pagemap",
	[CALL_CLEAR_REFS] = "clear_refs",
	[CALL_MEM_READ] = "/proc/self/mem (read)",
	[CALL_MEM_WRITE] = "/proc/self/mem (write)",
	[CALL_WRITE] = "write",
	[CALL_READ] = "read",
	[CALL_FORK] = "fork",
	[CALL_EXIT] = "exit",
	[CALL_KILL] = "kill",
	[CALL_CORE_DUMP] = "core dump",
	[CALL_PTRACE] = "ptrace",
	[CALL_OOM_KILL] = "OOM kill",
	[CALL_LOAD] = "load",
	[CALL_STORE] = "store",
	[CALL_EVICT] = "evict",
	[CALL_ENGINE_COPY] = "engine copy",
	[CALL_ENGINE_FILL] = "engine fill",
	[CALL_ENGINE_CRC] = "engine CRC",
};

static void describe_records(const struct task *task, char *text, size_t size)
{
	uint64_t count = task->num_records < RECORDS ? task->num_records : RECORDS;
	size_t len = 0;

	for (uint64_t i = task->num_records - count; i < task->num_records && len < size; i++) {
		const struct record *record = &task->records[i % RECORDS];

		len += snprintf(text + len, size - len, "  step %" PRIu64 ": %s [arena + %#" PRIx64
				", + %#" PRIx64 "), %#" PRIx64 ": %d\n", record->step,
				fuzz_call_names[record->call],
				(uint64_t)(record->range.start - task->arena),
				record->range.start - task->arena + record->range.len,
				record->detail, record->result);
	}
}

__attribute__((noreturn, format(printf, 2, 3)))
void fuzz_fail(const struct task *task, const char *format, ...)
{
	char what[512], records[2048] = "";
	int free_yet = 0;
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	describe_records(task, records, sizeof(records));
	if (atomic_compare_exchange_strong(&fuzz_shared->failed, &free_yet, 1))
		snprintf(fuzz_shared->message, sizeof(fuzz_shared->message),
			 "VPFN_MM_FUZZ_SEED=%#" PRIx64
			 ", writer %u%s, step %lu: %s; arena at %#" PRIxPTR "\n%s", fuzz_seed,
			 task->writer, task->is_child ? " (child)" : "", task->steps, what,
			 task->arena, records);
	_exit(1);
}

void fuzz_record(struct task *task, enum call call, struct range range, uint64_t detail,
		 int result)
{
	task->records[task->num_records++ % RECORDS] = (struct record) {
		.call = call, .step = task->steps, .range = range, .detail = detail,
		.result = result,
	};
	task->focus = range.start;
}

void fuzz_count(enum call call, bool success)
{
	atomic_fetch_add(&fuzz_shared->done[call][!success], 1);
}

/* @result is that of a system call, 0 or more if it succeeded, @expected 0 or a negative errno. */
void fuzz_judge(struct task *task, enum call call, struct range range, uint64_t detail,
		long result, int expected)
{
	int err = result == -1 ? -errno : 0;

	fuzz_record(task, call, range, detail, err);
	fuzz_count(call, !err);
	if (err != expected)
		fuzz_fail(task, "%s answers %d (%s), not %d", fuzz_call_names[call], err,
			  strerror(-err), expected);
}

__thread struct task *fuzz_current;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (fuzz_current->escape)
		siglongjmp(*fuzz_current->escape, signal);
	fuzz_fail(fuzz_current, "unexpected %s at %p", strsignal(signal), info->si_addr);
}

void fuzz_catch_signals(void)
{
	struct sigaction action = {
		.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	/* The library's own handlers are the test's main process's. */
	signal(SIGABRT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

/* Returns: the signal, or 0. */
int fuzz_try(struct task *task, uintptr_t addr, enum try what, uint64_t *word)
{
	sigjmp_buf here;
	int signal;

	signal = sigsetjmp(here, 0);

	if (!signal) {
		task->escape = &here;
		atomic_signal_fence(memory_order_seq_cst);
		if (what == TRY_LOAD)
			*word = pfnmap_load((void *)addr);
		else if (what == TRY_STORE)
			pfnmap_store((void *)addr, *word);
		else
			__atomic_fetch_or((uint64_t *)addr, 0, __ATOMIC_RELAXED);
		atomic_signal_fence(memory_order_seq_cst);
	}
	task->escape = NULL;
	/* A handler begins with the rights that a new process has. */
	if (signal && task->pkey > 0)
		pkey_set(task->pkey, 0);
	fuzz_count(what == TRY_LOAD ? CALL_LOAD : CALL_STORE, !signal);
	return signal;
}

int fuzz_wait_for(struct task *task, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fuzz_fail(task, "waitpid(): %s", strerror(errno));
	/* The child has left the message. */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(1);
	return status;
}
