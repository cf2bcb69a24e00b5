// SPDX-License-Identifier: MIT
/*
 * Does any sequence of calls on a process's address space leave a wrong byte, a stale translation
 * or a wrong answer behind? Threads of several processes map the same buffers, each into an arena
 * of its own, and do to any part of it what the kernel offers. Each knows what is mapped where in
 * its arena, and which answer a call must give; all know which word a buffer must hold where.
 *
 * VPFN_MM_FUZZ_SECONDS is how long each subtest runs at least; it goes on until it has seen leaves
 * of each size. VPFN_MM_FUZZ_SEED, a number that each run prints, makes each thread's choices; how
 * they meet is chance.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_model.h"
#include "vpfn_pattern.h"
#include "vpfn_random.h"
#include "vpfn_view.h"
#include "vpfn_words.h"

IGT_TEST_DESCRIPTION("Random calls on mappings of vpfn, every byte and every answer checked.");

/* Newer than the C library of some. */
#ifndef SYS_mseal
#define SYS_mseal	462
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

#define MIB		(1ull << 20)
#define SECONDS		2
#define SEED		1
#define MIN_STEPS	50
#define VICTIM_STEPS	10

#define ARENA		(3 * VPFN_1G)
#define MAX_SEGMENTS	96
#define MAX_BUFFERS	5
#define CHUNK		MIB

/* mbind()'s, which no header of the C library has. */
#define POLICY_DEFAULT		0
#define POLICY_PREFERRED	1
#define POLICY_STRICT		1
#define POLICY_MOVE		2

enum call {
	CALL_MUNMAP,
	CALL_MPROTECT,
	CALL_PKEY_MPROTECT,
	CALL_MREMAP_MOVE,
	CALL_MREMAP_SHRINK,
	CALL_MREMAP_SAME,
	CALL_MREMAP_GROW,
	CALL_MREMAP_DONTUNMAP,
	CALL_MADVISE,
	CALL_MMAP_FIXED,
	CALL_MMAP_PRIME,
	CALL_MMAP_ANONYMOUS,
	CALL_MMAP_HINT,
	CALL_MMAP_NOREPLACE,
	CALL_MBIND,
	CALL_MSEAL,
	CALL_MINCORE,
	CALL_MLOCK,
	CALL_MUNLOCK,
	CALL_MSYNC,
	CALL_SMAPS,
	CALL_NUMA_MAPS,
	CALL_PAGEMAP,
	CALL_CLEAR_REFS,
	CALL_MEM_READ,
	CALL_MEM_WRITE,
	CALL_WRITE,
	CALL_READ,
	CALL_FORK,
	CALL_EXIT,
	CALL_KILL,
	CALL_CORE_DUMP,
	CALL_PTRACE,
	CALL_OOM_KILL,
	CALL_LOAD,
	CALL_STORE,
	CALL_EVICT,
	CALL_ENGINE_COPY,
	CALL_ENGINE_FILL,
	CALL_ENGINE_CRC,
	CALLS,
};

static const char * const call_names[CALLS] = {
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

/* What all tasks share. */
struct shared {
	atomic_int failed;		/* the message is there, or will be soon */
	char message[4096];
	atomic_ulong done[CALLS][2];	/* calls that succeeded, and that failed as they must */
	atomic_ulong leaves[VPFN_PUD + 1];
	atomic_ulong steps;
	struct vpfn_words words[MAX_BUFFERS];
};

enum kind {
	RESERVED,		/* anonymous memory without any access */
	ANONYMOUS,		/* anonymous memory without writers */
	BUFFER,
};

/* A part of an arena. Each VMA boundary is one of segments; not the other way round. */
struct segment {
	uintptr_t start;
	uintptr_t end;
	enum kind kind;
	int prot;
	unsigned int buffer;
	uint64_t offset;	/* in the buffer, of the start */
	bool dontfork;
	bool sealed;
};

struct range {
	uintptr_t start;
	uint64_t len;
};

struct record {
	enum call call;
	uint64_t step;
	struct range range;
	uint64_t detail;
	int result;
};

#define RECORDS		8
#define MAX_WARM	4

struct task {
	pthread_t thread;
	unsigned int writer;
	struct vpfn_random random;
	bool is_child;			/* alone in its process, which will end soon */
	bool may_store;
	int pipe[2];
	int pkey;
	atomic_ulong steps;
	struct record records[RECORDS];
	uint64_t num_records;
	uintptr_t arena;
	sigjmp_buf *escape;		/* where a signal leads to */
	atomic_uintptr_t focus;		/* where its last call was, for the other threads */
	unsigned int num_segments;
	struct segment segments[MAX_SEGMENTS + 4];
	unsigned int num_warm;
	uintptr_t warm[MAX_WARM];	/* addresses that the TLB may know */
	char text[16384];
};

static int fd = -1;
static bool has_numa;		/* else the kernel has no mbind() */
static uint64_t seed;
static int64_t seconds;
static struct shared *shared;
static struct vpfn_bo bos[MAX_BUFFERS], scratch;
static int dmabufs[MAX_BUFFERS];
static unsigned int num_buffers;
static struct vpfn_meter meter;
static int64_t deadline;

/* Those of this process. */
static struct task tasks[VPFN_WRITERS];
static unsigned int num_tasks;

/*
 * A hole in an arena has no owner: a thread with one holds the lock shared, and one that asks for
 * memory anywhere holds it alone. Forks of threads do not use it.
 */
static pthread_rwlock_t hole_lock = PTHREAD_RWLOCK_INITIALIZER;

/* Failing: the first message is the test's. */

static void describe_records(const struct task *task, char *text, size_t size)
{
	uint64_t count = task->num_records < RECORDS ? task->num_records : RECORDS;
	size_t len = 0;

	for (uint64_t i = task->num_records - count; i < task->num_records && len < size; i++) {
		const struct record *record = &task->records[i % RECORDS];

		len += snprintf(text + len, size - len, "  step %" PRIu64 ": %s [arena + %#" PRIx64
				", + %#" PRIx64 "), %#" PRIx64 ": %d\n", record->step,
				call_names[record->call],
				(uint64_t)(record->range.start - task->arena),
				record->range.start - task->arena + record->range.len,
				record->detail, record->result);
	}
}

__attribute__((noreturn, format(printf, 2, 3)))
static void fail(const struct task *task, const char *format, ...)
{
	char what[512], records[2048] = "";
	int free_yet = 0;
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	describe_records(task, records, sizeof(records));
	if (atomic_compare_exchange_strong(&shared->failed, &free_yet, 1))
		snprintf(shared->message, sizeof(shared->message), "VPFN_MM_FUZZ_SEED=%#" PRIx64
			 ", writer %u%s, step %lu: %s; arena at %#" PRIxPTR "\n%s", seed,
			 task->writer, task->is_child ? " (child)" : "", task->steps, what,
			 task->arena, records);
	_exit(1);
}

static void record(struct task *task, enum call call, struct range range, uint64_t detail,
		   int result)
{
	task->records[task->num_records++ % RECORDS] = (struct record) {
		.call = call, .step = task->steps, .range = range, .detail = detail,
		.result = result,
	};
	task->focus = range.start;
}

static void count(enum call call, bool success)
{
	atomic_fetch_add(&shared->done[call][!success], 1);
}

/* What mmap() and mremap() return, as the other calls do: -1 is a failure. */
static long returned(void *addr)
{
	return (long)addr;
}

/* @result is that of a system call, 0 or more if it succeeded, @expected 0 or a negative errno. */
static void judge(struct task *task, enum call call, struct range range, uint64_t detail,
		  long result, int expected)
{
	int err = result == -1 ? -errno : 0;

	record(task, call, range, detail, err);
	count(call, !err);
	if (err != expected)
		fail(task, "%s answers %d (%s), not %d", call_names[call], err, strerror(-err),
		     expected);
}

/* Memory that may raise a signal. */

static __thread struct task *current;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (current->escape)
		siglongjmp(*current->escape, signal);
	fail(current, "unexpected %s at %p", strsignal(signal), info->si_addr);
}

static void catch_signals(void)
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

enum try {
	TRY_LOAD,
	TRY_STORE,
	TRY_TOUCH,		/* a write that leaves the word as it is */
};

/* Returns: the signal, or 0. */
static int try(struct task *task, uintptr_t addr, enum try what, uint64_t *word)
{
	sigjmp_buf here;
	int signal;

	signal = sigsetjmp(here, 0);

	if (!signal) {
		task->escape = &here;
		atomic_signal_fence(memory_order_seq_cst);
		if (what == TRY_LOAD)
			*word = vpfn_load((void *)addr);
		else if (what == TRY_STORE)
			vpfn_store((void *)addr, *word);
		else
			__atomic_fetch_or((uint64_t *)addr, 0, __ATOMIC_RELAXED);
		atomic_signal_fence(memory_order_seq_cst);
	}
	task->escape = NULL;
	/* A handler begins with the rights that a new process has. */
	if (signal && task->pkey > 0)
		pkey_set(task->pkey, 0);
	count(what == TRY_LOAD ? CALL_LOAD : CALL_STORE, !signal);
	return signal;
}

static uint64_t pick(struct task *task, uint64_t choices)
{
	return vpfn_random_pick(&task->random, choices);
}

/* The model of the arena. */

static uint64_t segment_len(const struct segment *segment)
{
	return segment->end - segment->start;
}

static struct range segment_range(const struct segment *segment)
{
	return (struct range) { segment->start, segment_len(segment) };
}

static struct segment *segment_at(struct task *task, uintptr_t addr)
{
	for (unsigned int i = 0; i < task->num_segments; i++) {
		if (addr >= task->segments[i].start && addr < task->segments[i].end)
			return &task->segments[i];
	}
	return NULL;
}

static void split_at(struct task *task, uintptr_t addr)
{
	struct segment *segment = segment_at(task, addr);
	unsigned int i;

	if (!segment || segment->start == addr)
		return;

	i = segment - task->segments;
	memmove(segment + 1, segment, (task->num_segments - i) * sizeof(*segment));
	task->num_segments++;
	segment[0].end = addr;
	segment[1].start = addr;
	segment[1].offset += segment_len(&segment[0]);
}

static void split_around(struct task *task, struct range range)
{
	split_at(task, range.start);
	split_at(task, range.start + range.len);
}

/* The range is one segment from now on; returns it as it was at the start of the range. */
static struct segment *replace(struct task *task, struct range range)
{
	struct segment *first, *last;
	unsigned int gone;

	split_around(task, range);
	first = segment_at(task, range.start);
	last = segment_at(task, range.start + range.len - 1);
	gone = last - first;
	memmove(first + 1, last + 1,
		(task->segments + task->num_segments - (last + 1)) * sizeof(*first));
	task->num_segments -= gone;
	first->end = range.start + range.len;
	return first;
}

static void set_reserved(struct task *task, struct range range)
{
	struct segment *segment = replace(task, range);

	*segment = (struct segment) { .start = segment->start, .end = segment->end };
}

static void set_buffer(struct task *task, struct range range, unsigned int buffer,
		       uint64_t offset, int prot)
{
	struct segment *segment = replace(task, range);

	*segment = (struct segment) {
		.start = segment->start, .end = segment->end, .kind = BUFFER, .prot = prot,
		.buffer = buffer, .offset = offset,
	};
}

static bool is_sealed(struct task *task, struct range range)
{
	for (unsigned int i = 0; i < task->num_segments; i++) {
		const struct segment *segment = &task->segments[i];

		if (segment->sealed && segment->start < range.start + range.len &&
		    segment->end > range.start)
			return true;
	}
	return false;
}

/* What a call that changes mappings says. */
static int unless_sealed(struct task *task, struct range range)
{
	return is_sealed(task, range) ? -EPERM : 0;
}

/* Choosing. */

static struct segment *pick_buffer_segment(struct task *task)
{
	unsigned int first = pick(task, task->num_segments);

	for (unsigned int i = 0; i < task->num_segments; i++) {
		struct segment *segment =
			&task->segments[(first + i) % task->num_segments];

		if (segment->kind == BUFFER)
			return segment;
	}
	return NULL;
}

static struct range pick_aligned(struct task *task, struct range whole, uint64_t align)
{
	uintptr_t begin = (whole.start + align - 1) & ~(align - 1);
	uintptr_t end = (whole.start + whole.len) & ~(align - 1);
	uint64_t units, first;

	if (begin >= end)
		return whole;
	units = (end - begin) / align;
	first = pick(task, units);
	return (struct range) { begin + first * align, (1 + pick(task, units - first)) * align };
}

/* A page of it, mostly one beside an address where a large leaf ends. */
static struct range pick_page(struct task *task, struct range whole)
{
	struct range aligned = pick_aligned(task, whole, pick(task, 2) ? VPFN_2M : VPFN_PAGE);
	uintptr_t page = aligned.start;

	if (page > whole.start && pick(task, 2))
		page -= VPFN_PAGE;
	return (struct range) { page, VPFN_PAGE };
}

/* A part of a segment: all of it, a page, aligned to a leaf of any size, or to none. */
static struct range pick_range(struct task *task, const struct segment *segment)
{
	struct range whole = segment_range(segment);

	switch (pick(task, 8)) {
	case 0:
		return whole;
	case 1:
	case 2:
		return pick_page(task, whole);
	case 3:
		return pick_aligned(task, whole, VPFN_1G);
	case 4:
	case 5:
		return pick_aligned(task, whole, VPFN_2M);
	default:
		return pick_aligned(task, whole, VPFN_PAGE);
	}
}

/* A place for so many bytes, such that @offset of a buffer could get leaves of @align there. */
static uintptr_t pick_place(struct task *task, uint64_t len, uint64_t offset, uint64_t align)
{
	uint64_t room = ARENA - len, place;

	place = pick(task, room / VPFN_PAGE + 1) * VPFN_PAGE;
	place = (place & ~(align - 1)) + (offset & (align - 1));
	return task->arena + (place > room ? room : place);
}

static uint64_t pick_alignment(struct task *task)
{
	static const uint64_t alignments[] = { VPFN_PAGE, VPFN_2M, VPFN_1G, VPFN_1G };

	return alignments[pick(task, ARRAY_SIZE(alignments))];
}

static int pick_prot(struct task *task)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	};

	return prots[pick(task, ARRAY_SIZE(prots))];
}

/* Checking. */

static void check_word(struct task *task, const struct segment *segment, unsigned int site,
		       unsigned int writer)
{
	const struct vpfn_words *words = &shared->words[segment->buffer];
	uint64_t offset = vpfn_words_offset(words, site) + writer * sizeof(uint64_t);
	uint32_t oldest = vpfn_words_generation(words, site, writer), newest;
	uintptr_t addr = segment->start + offset - segment->offset;
	uint64_t word;
	int signal = try(task, addr, TRY_LOAD, &word);

	if (signal)
		fail(task, "%s upon a load from %#" PRIxPTR ", which is %#" PRIx64
		     " of buffer %u", strsignal(signal), addr, offset, segment->buffer);
	/* Its writer may be about to tell of another. */
	newest = vpfn_words_generation(words, site, writer) + (writer != task->writer);
	if (!vpfn_words_between(words, site, writer, word, oldest, newest))
		fail(task, "writer %u's word at %#" PRIxPTR ", which is %#" PRIx64 " of buffer %u, "
		     "is %#" PRIx64 ", not %#" PRIx64 " (generation %u to %u)", writer, addr,
		     offset, segment->buffer, word,
		     vpfn_words_value(words, site, writer, oldest), oldest, newest);
}

static void check_site(struct task *task, const struct segment *segment, unsigned int site)
{
	check_word(task, segment, site, task->writer);
	check_word(task, segment, site, pick(task, VPFN_WRITERS));
}

static void check_faults(struct task *task, uintptr_t addr, enum try what, const char *why)
{
	uint64_t word = 0;
	int signal = try(task, addr, what, &word);

	if (signal != SIGSEGV)
		fail(task, "%s upon a %s of %#" PRIxPTR ", which has %s",
		     signal ? strsignal(signal) : "no signal", what == TRY_LOAD ? "load" : "store",
		     addr, why);
}

static void check_anonymous(struct task *task, uintptr_t addr)
{
	uint64_t word;
	int signal = try(task, addr, TRY_LOAD, &word);

	if (signal || word)
		fail(task, "fresh memory at %#" PRIxPTR ": signal %d, %#" PRIx64, addr, signal,
		     word);
}

/* The first site in the page around the address, if there is one. */
static bool site_of_page(const struct segment *segment, uintptr_t addr, unsigned int *site)
{
	uint64_t page = (addr & ~(VPFN_PAGE - 1)) - segment->start + segment->offset;

	return vpfn_words_sites(&shared->words[segment->buffer], page, page + VPFN_PAGE, site);
}

/* Does the address do what the model says, and nothing more? */
static void check_at(struct task *task, uintptr_t addr)
{
	const struct segment *segment = segment_at(task, addr);
	unsigned int site;
	uint64_t word;

	if (!segment)
		return;
	if (!(segment->prot & PROT_READ)) {
		check_faults(task, addr, TRY_LOAD, "no access");
		return;
	}
	if (segment->kind == ANONYMOUS) {
		check_anonymous(task, addr);
		return;
	}
	if (!(segment->prot & PROT_WRITE))
		check_faults(task, addr, TRY_TOUCH, "no write access");
	if (site_of_page(segment, addr, &site))
		check_site(task, segment, site);
	else if (try(task, addr, TRY_LOAD, &word))
		fail(task, "a signal upon a load from %#" PRIxPTR, addr);
}

static bool pick_site(struct task *task, const struct segment *segment, unsigned int *site)
{
	unsigned int first;
	unsigned int sites = vpfn_words_sites(&shared->words[segment->buffer], segment->offset,
					      segment->offset + segment_len(segment), &first);

	if (sites)
		*site = first + pick(task, sites);
	return sites;
}

/* All that is mapped beside the segment from the same buffer, as if it were one. */
static struct range whole_run(const struct task *task, const struct segment *segment)
{
	const struct segment *first = segment, *last = segment;

	while (first > task->segments && first[-1].kind == BUFFER &&
	       first[-1].buffer == first->buffer &&
	       first[-1].offset + segment_len(&first[-1]) == first->offset)
		first--;
	while (last + 1 < task->segments + task->num_segments && last[1].kind == BUFFER &&
	       last[1].buffer == last->buffer &&
	       last->offset + segment_len(last) == last[1].offset)
		last++;
	return (struct range) { first->start, last->end - first->start };
}

/* A leaf may not reach out of what is mapped. */
static void check_leaf(struct task *task, const struct segment *segment, unsigned int site)
{
	uintptr_t addr = segment->start - segment->offset +
			 vpfn_words_offset(&shared->words[segment->buffer], site);
	struct range run = whole_run(task, segment);
	struct vpfn_leaf leaf;
	uintptr_t start;
	uint64_t size;
	int err;

	check_site(task, segment, site);
	err = vpfn_leaf_from_driver(fd, (void *)addr, &leaf);
	if (err)
		fail(task, "no leaf at %#" PRIxPTR ": %d", addr, err);
	atomic_fetch_add(&shared->leaves[leaf.level], 1);
	/* Moves, and other threads' calls, take it away. */
	if (leaf.level == VPFN_NONE)
		return;
	size = vpfn_level_size(leaf.level);
	start = addr & ~(size - 1);
	if (!leaf.special || start < run.start || start + size > run.start + run.len)
		fail(task, "a %s at %#" PRIxPTR ", special %d, reaches out of %#" PRIxPTR " + %#"
		     PRIx64, vpfn_level_name(leaf.level), addr, leaf.special, run.start, run.len);
}

/* Before a call on the range: addresses in it that the TLB knows from now on. */
static void warm(struct task *task, struct range range)
{
	struct segment *segment = segment_at(task, range.start);
	unsigned int first, sites;
	uint64_t from;

	task->num_warm = 0;
	if (segment->kind != BUFFER || !(segment->prot & PROT_READ))
		return;
	from = range.start - segment->start + segment->offset;
	if (range.len > segment->end - range.start)
		range.len = segment->end - range.start;
	sites = vpfn_words_sites(&shared->words[segment->buffer], from, from + range.len, &first);
	for (unsigned int i = 0; i < sites && i < MAX_WARM; i++) {
		unsigned int site = first + pick(task, sites);

		check_word(task, segment, site, task->writer);
		task->warm[i] = segment->start - segment->offset +
				vpfn_words_offset(&shared->words[segment->buffer], site);
		task->num_warm = i + 1;
	}
}

/* After a call: what the TLB knew, and on both sides of where the mapping may have changed. */
static void check_range(struct task *task, struct range range)
{
	for (unsigned int i = 0; i < task->num_warm; i++)
		check_at(task, task->warm[i]);
	check_at(task, range.start - VPFN_PAGE);
	check_at(task, range.start);
	check_at(task, range.start + range.len - VPFN_PAGE);
	check_at(task, range.start + range.len);
}

static void *addr_of(struct range range)
{
	return (void *)range.start;
}

/* Holes. */

static void lock_holes(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_rdlock(&hole_lock);
}

static void lock_places(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_wrlock(&hole_lock);
}

static void unlock_holes(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_unlock(&hole_lock);
}

/* Nothing is mapped in the range: each access must fault. Then it is reserved. */
static void fill_hole(struct task *task, struct range hole)
{
	void *map;

	for (unsigned int i = 0; i < task->num_warm; i++) {
		if (task->warm[i] - hole.start < hole.len)
			check_faults(task, task->warm[i], TRY_LOAD, "no mapping");
	}
	check_faults(task, hole.start, TRY_LOAD, "no mapping");
	check_faults(task, hole.start + hole.len - VPFN_PAGE, TRY_TOUCH, "no mapping");
	map = mmap(addr_of(hole), hole.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	judge(task, CALL_MMAP_NOREPLACE, hole, 0, (long)map, 0);
	set_reserved(task, hole);
}

/* Steps: each a call, or a few, whose outcome the model knows. */

static void reserve_all(struct task *task)
{
	struct range arena = { task->arena, ARENA };

	judge(task, CALL_MMAP_ANONYMOUS, arena, 0,
	      returned(mmap(addr_of(arena), arena.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_NORESERVE | MAP_FIXED, -1, 0)), 0);
	set_reserved(task, arena);
}

/* The beginning of a buffer, or by its dma-buf any part of it. */
static void map_over(struct task *task, unsigned int buffer, uint64_t offset, struct range range,
		     int prot)
{
	bool prime = offset || !pick(task, 4);
	enum call call = prime ? CALL_MMAP_PRIME : CALL_MMAP_FIXED;
	int expected = unless_sealed(task, range);

	warm(task, range);
	judge(task, call, range, buffer,
	      returned(mmap(addr_of(range), range.len, prot, MAP_SHARED | MAP_FIXED,
			    prime ? dmabufs[buffer] : fd, prime ? offset : bos[buffer].offset)),
	      expected);
	if (expected)
		split_around(task, range);
	else
		set_buffer(task, range, buffer, offset, prot);
	check_range(task, range);
}

/* As a program would map it: all of it, aligned. */
static void map_whole(struct task *task, unsigned int buffer)
{
	struct range range = { .len = bos[buffer].size };

	range.start = pick_place(task, range.len, 0, VPFN_1G);
	if (is_sealed(task, range))
		return;
	map_over(task, buffer, 0, range, PROT_READ | PROT_WRITE);
	check_leaf(task, segment_at(task, range.start), 0);
}

static void step_map_whole(struct task *task)
{
	map_whole(task, pick(task, 2) ? 0 : pick(task, num_buffers));
}

static void step_map_part(struct task *task)
{
	unsigned int buffer = pick(task, num_buffers);
	struct segment whole = { .end = bos[buffer].size };
	struct range part = pick_range(task, &whole);
	struct range range = { .len = part.len };

	range.start = pick_place(task, range.len, part.start, pick_alignment(task));
	map_over(task, buffer, part.start, range, pick_prot(task));
}

static void step_start_again(struct task *task)
{
	if (is_sealed(task, (struct range) { task->arena, ARENA }))
		return;
	reserve_all(task);
	step_map_whole(task);
}

static void step_map_anonymous(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;
	int expected;

	if (!segment)
		return;
	range = pick_range(task, segment);
	expected = unless_sealed(task, range);
	warm(task, range);
	judge(task, CALL_MMAP_ANONYMOUS, range, 0,
	      returned(mmap(addr_of(range), range.len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_NORESERVE | MAP_FIXED, -1, 0)), expected);
	split_around(task, range);
	if (!expected) {
		segment = replace(task, range);
		*segment = (struct segment) {
			.start = segment->start, .end = segment->end, .kind = ANONYMOUS,
			.prot = PROT_READ,
		};
	}
	check_range(task, range);
}

/* At a place that the kernel chooses; a hint at a place that is taken is no more than that. */
static void step_map_anywhere(struct task *task)
{
	unsigned int buffer = pick(task, num_buffers);
	bool prime = !pick(task, 3);
	uint64_t len = pick(task, 2) ? bos[buffer].size : VPFN_PAGE;
	uintptr_t hint = pick(task, 2) ? task->arena + pick(task, 16) * VPFN_2M : 0;
	struct segment segment = { .kind = BUFFER, .buffer = buffer };
	struct range whole;
	unsigned int first;
	void *map;

	lock_places(task);
	map = mmap((void *)hint, len, PROT_READ | PROT_WRITE, MAP_SHARED,
		   prime ? dmabufs[buffer] : fd, prime ? 0 : bos[buffer].offset);
	segment.start = (uintptr_t)map;
	whole = (struct range) { segment.start, len };
	judge(task, CALL_MMAP_HINT, whole, hint, (long)map, 0);
	if (segment.start < task->arena + ARENA && segment.start + len > task->arena)
		fail(task, "mmap() with the hint %#" PRIxPTR " took what is taken", hint);
	if (vpfn_words_sites(&shared->words[buffer], 0, len, &first))
		check_site(task, &segment, first);
	/* Not a hole: the C library, too, maps what it needs where the kernel chooses. */
	judge(task, CALL_MMAP_ANONYMOUS, whole, 0,
	      returned(mmap(map, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			    MAP_FIXED, -1, 0)), 0);
	check_faults(task, segment.start, TRY_LOAD, "no access");
	judge(task, CALL_MUNMAP, whole, 0, munmap(map, len), 0);
	unlock_holes(task);
}

static void step_map_taken(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = pick_page(task, segment_range(segment));
	judge(task, CALL_MMAP_NOREPLACE, range, 0,
	      returned(mmap(addr_of(range), range.len, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
			    fd, bos[0].offset)), -EEXIST);
	check_at(task, range.start);
}

/* Into the hole goes what it was, a new mapping of the buffer there, or nothing. */
static void step_munmap(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task), old;
	struct range range;
	int expected;

	if (!segment)
		return;
	old = *segment;
	range = pick_range(task, segment);
	/* Sometimes beyond the segment, as far as the arena reaches. */
	if (!pick(task, 4) && range.start + range.len + VPFN_2M <= task->arena + ARENA)
		range.len += VPFN_2M;
	expected = unless_sealed(task, range);
	warm(task, range);
	lock_holes(task);
	judge(task, CALL_MUNMAP, range, 0, munmap(addr_of(range), range.len), expected);
	if (expected)
		split_around(task, range);
	else
		fill_hole(task, range);
	unlock_holes(task);
	check_range(task, range);
	if (!expected && range.start + range.len <= old.end && pick(task, 2))
		map_over(task, old.buffer, old.offset + range.start - old.start, range,
			 PROT_READ | PROT_WRITE);
}

static void protect(struct task *task, enum call call, struct range range, int prot, long result)
{
	int expected = unless_sealed(task, range);

	judge(task, call, range, prot, result, expected);
	split_around(task, range);
	if (!expected)
		segment_at(task, range.start)->prot = prot;
	check_range(task, range);
}

static void step_mprotect(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	int prot = pick_prot(task);
	struct range range;

	if (!segment)
		return;
	range = pick_range(task, segment);
	warm(task, range);
	protect(task, CALL_MPROTECT, range, prot, mprotect(addr_of(range), range.len, prot));
}

/* A key of the thread's own, that allows everything but for a moment. */
static void step_pkey_mprotect(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	int prot = pick_prot(task), key = pick(task, 3) ? task->pkey : 0;
	struct range range;

	if (!segment || task->pkey <= 0)
		return;
	range = pick_range(task, segment);
	warm(task, range);
	protect(task, CALL_PKEY_MPROTECT, range, prot,
		pkey_mprotect(addr_of(range), range.len, prot, key));
	if (key <= 0 || is_sealed(task, range))
		return;
	pkey_set(key, PKEY_DISABLE_ACCESS);
	check_faults(task, range.start, TRY_LOAD, "a key that forbids it");
	pkey_set(key, 0);
	check_at(task, range.start);
}

static bool overlap(struct range a, struct range b)
{
	return a.start < b.start + b.len && b.start < a.start + a.len;
}

static void step_mremap_move(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task), old;
	struct range from, to;
	int expected;
	void *map;

	if (!segment)
		return;
	from = pick_range(task, segment);
	old = *segment;
	old.offset += from.start - old.start;
	to.len = from.len;
	to.start = pick_place(task, to.len, old.offset, pick_alignment(task));
	if (overlap(from, to))
		return;
	expected = unless_sealed(task, from) ?: unless_sealed(task, to);
	warm(task, from);
	lock_holes(task);
	map = mremap(addr_of(from), from.len, to.len, MREMAP_MAYMOVE | MREMAP_FIXED, addr_of(to));
	judge(task, CALL_MREMAP_MOVE, from, to.start - task->arena, (long)map, expected);
	if (expected) {
		split_around(task, from);
		split_around(task, to);
	} else {
		set_buffer(task, to, old.buffer, old.offset, old.prot);
		segment_at(task, to.start)->dontfork = old.dontfork;
		fill_hole(task, from);
	}
	unlock_holes(task);
	check_range(task, from);
	check_range(task, to);
}

static void step_mremap_shrink(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range, tail;
	int expected;

	if (!segment)
		return;
	range = pick_range(task, segment);
	if (range.len < 2 * VPFN_PAGE)
		return;
	tail = range;
	tail.len = (1 + pick(task, range.len / VPFN_PAGE - 1)) * VPFN_PAGE;
	tail.start += range.len - tail.len;
	expected = unless_sealed(task, range);
	warm(task, tail);
	lock_holes(task);
	judge(task, CALL_MREMAP_SHRINK, range, tail.len,
	      returned(mremap(addr_of(range), range.len, range.len - tail.len, 0)), expected);
	if (expected)
		split_around(task, tail);
	else
		fill_hole(task, tail);
	unlock_holes(task);
	check_range(task, tail);
}

/* What must not work, and what must do nothing. */
static void step_mremap_refused(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;
	int sealed;

	if (!segment)
		return;
	range = pick_range(task, segment);
	sealed = unless_sealed(task, range);
	warm(task, range);
	switch (pick(task, 3)) {
	case 0:
		judge(task, CALL_MREMAP_SAME, range, 0,
		      returned(mremap(addr_of(range), range.len, range.len, MREMAP_MAYMOVE)),
		      sealed);
		break;
	case 1:
		judge(task, CALL_MREMAP_GROW, range, 0,
		      returned(mremap(addr_of(range), range.len, range.len + VPFN_PAGE,
				      MREMAP_MAYMOVE)), sealed ?: -EFAULT);
		break;
	default:
		judge(task, CALL_MREMAP_DONTUNMAP, range, 0,
		      returned(mremap(addr_of(range), range.len, range.len,
				      MREMAP_MAYMOVE | MREMAP_DONTUNMAP)), sealed ?: -EINVAL);
	}
	check_range(task, range);
}

static void step_madvise(struct task *task)
{
	static const struct {
		int advice;
		int expected;
	} advices[] = {
		{ MADV_NORMAL, 0 }, { MADV_RANDOM, 0 }, { MADV_SEQUENTIAL, 0 },
		{ MADV_WILLNEED, 0 }, { MADV_DONTDUMP, 0 }, { MADV_KEEPONFORK, 0 },
		{ MADV_HUGEPAGE, 0 }, { MADV_NOHUGEPAGE, 0 }, { MADV_DONTFORK, 0 },
		{ MADV_MERGEABLE, 0 }, { MADV_UNMERGEABLE, 0 },
		{ MADV_DONTNEED, -EINVAL }, { MADV_FREE, -EINVAL }, { MADV_COLD, -EINVAL },
		{ MADV_PAGEOUT, -EINVAL }, { MADV_COLLAPSE, -EINVAL },
		{ MADV_POPULATE_READ, -EINVAL }, { MADV_POPULATE_WRITE, -EINVAL },
		{ MADV_DOFORK, -EINVAL }, { MADV_DODUMP, -EINVAL },
		{ MADV_WIPEONFORK, -EINVAL }, { MADV_GUARD_INSTALL, -EINVAL },
		{ MADV_GUARD_REMOVE, -EINVAL }, { MADV_REMOVE, -ENODEV },
	};
	struct segment *segment = pick_buffer_segment(task);
	unsigned int i = pick(task, ARRAY_SIZE(advices));
	struct range range;

	if (!segment)
		return;
	range = pick_range(task, segment);
	warm(task, range);
	judge(task, CALL_MADVISE, range, advices[i].advice,
	      madvise(addr_of(range), range.len, advices[i].advice), advices[i].expected);
	split_around(task, range);
	if (advices[i].advice == MADV_DONTFORK)
		segment_at(task, range.start)->dontfork = true;
	check_range(task, range);
}

static void step_mbind(struct task *task)
{
	static const int flags[] = { 0, POLICY_MOVE, POLICY_STRICT, POLICY_STRICT | POLICY_MOVE };
	struct segment *segment = pick_buffer_segment(task);
	int flag = flags[pick(task, ARRAY_SIZE(flags))];
	unsigned long nodes = 1;
	bool set = pick(task, 2);
	struct range range;

	if (!segment || !has_numa)
		return;
	range = pick_range(task, segment);
	warm(task, range);
	judge(task, CALL_MBIND, range, flag,
	      syscall(SYS_mbind, addr_of(range), range.len,
		      set ? POLICY_PREFERRED : POLICY_DEFAULT, set ? &nodes : NULL,
		      set ? 8 * sizeof(nodes) : 0, flag), 0);
	split_around(task, range);
	check_range(task, range);
}

/* Cannot be undone: for processes that end soon. */
static void step_mseal(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;

	if (!segment || !task->is_child)
		return;
	range = pick_range(task, segment);
	judge(task, CALL_MSEAL, range, 0, syscall(SYS_mseal, addr_of(range), range.len, 0), 0);
	split_around(task, range);
	segment_at(task, range.start)->sealed = true;
}

static void step_mlock(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = pick_range(task, segment);
	warm(task, range);
	if (pick(task, 2))
		judge(task, CALL_MLOCK, range, 0, mlock(addr_of(range), range.len), 0);
	else
		judge(task, CALL_MUNLOCK, range, 0, munlock(addr_of(range), range.len), 0);
	split_around(task, range);
	check_range(task, range);
}

static void step_msync(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	int flag = pick(task, 2) ? MS_SYNC : MS_ASYNC;
	struct range range;

	if (!segment)
		return;
	range = pick_range(task, segment);
	judge(task, CALL_MSYNC, range, flag, msync(addr_of(range), range.len, flag),
	      flag == MS_SYNC ? -EINVAL : 0);
}

static void step_mincore(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = pick_range(task, segment);
	if (range.len > sizeof(task->text) * VPFN_PAGE)
		range.len = sizeof(task->text) * VPFN_PAGE;
	judge(task, CALL_MINCORE, range, 0,
	      mincore(addr_of(range), range.len, (unsigned char *)task->text), 0);
}

static int open_proc(struct task *task, const char *path, int oflags)
{
	int file = open(path, oflags | O_CLOEXEC);

	if (file < 0)
		fail(task, "open(%s): %s", path, strerror(errno));
	return file;
}

/* All of a file about the whole address space, while other threads change it. */
static void step_read_maps(struct task *task)
{
	bool smaps = pick(task, 2) || !has_numa;
	int file = open_proc(task, smaps ? "/proc/self/smaps" : "/proc/self/numa_maps", O_RDONLY);
	struct range arena = { task->arena, ARENA };
	ssize_t n;

	do {
		n = read(file, task->text, sizeof(task->text));
	} while (n > 0);
	judge(task, smaps ? CALL_SMAPS : CALL_NUMA_MAPS, arena, 0, n, 0);
	close(file);
}

/* Special entries lead to no page. */
static void step_pagemap(struct task *task)
{
	const uint64_t present = 1ull << 63, frame = (1ull << 55) - 1;
	struct segment *segment = pick_buffer_segment(task);
	uint64_t *entries = (uint64_t *)task->text;
	unsigned int room = sizeof(task->text) / sizeof(*entries);
	struct range range;
	ssize_t n;
	int file;

	if (!segment)
		return;
	range = pick_range(task, segment);
	if (range.len / VPFN_PAGE < room)
		room = range.len / VPFN_PAGE;
	file = open_proc(task, "/proc/self/pagemap", O_RDONLY);
	n = pread(file, entries, room * sizeof(*entries),
		  range.start / VPFN_PAGE * sizeof(*entries));
	judge(task, CALL_PAGEMAP, range, room, n, 0);
	close(file);
	for (unsigned int i = 0; i < n / sizeof(*entries); i++) {
		if (entries[i] & present || entries[i] & frame)
			fail(task, "pagemap shows %#" PRIx64, entries[i]);
	}
}

static void step_clear_refs(struct task *task)
{
	char what = '1' + 3 * pick(task, 2);
	int file = open_proc(task, "/proc/self/clear_refs", O_WRONLY);

	judge(task, CALL_CLEAR_REFS, (struct range) { task->arena, ARENA }, what,
	      write(file, &what, 1), 0);
	close(file);
}

/* The task's own word at the site, and what it will be next. */
static uintptr_t own_word(const struct task *task, const struct segment *segment,
			  unsigned int site, uint64_t *next)
{
	const struct vpfn_words *words = &shared->words[segment->buffer];
	uint32_t generation = vpfn_words_generation(words, site, task->writer);

	*next = vpfn_words_value(words, site, task->writer, generation + 1);
	return segment->start - segment->offset + vpfn_words_offset(words, site) +
	       task->writer * sizeof(uint64_t);
}

static void step_store(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	unsigned int site;
	uintptr_t addr;
	uint64_t word;

	if (!segment || !task->may_store || !(segment->prot & PROT_WRITE))
		return;
	for (unsigned int i = 0; i < 8 && pick_site(task, segment, &site); i++) {
		addr = own_word(task, segment, site, &word);
		if (try(task, addr, TRY_STORE, &word))
			fail(task, "a signal upon a store to %#" PRIxPTR, addr);
		vpfn_words_written(&shared->words[segment->buffer], site, task->writer);
	}
}

static void step_load(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	unsigned int site;

	if (!segment || !(segment->prot & PROT_READ))
		return;
	for (unsigned int i = 0; i < 16 && pick_site(task, segment, &site); i++)
		check_site(task, segment, site);
}

static void step_load_tail(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	const struct vpfn_words *words;
	uint32_t oldest, newest, seen;
	uint64_t end, at, word;

	if (!segment || !(segment->prot & PROT_READ))
		return;
	words = &shared->words[segment->buffer];
	end = segment->offset + segment_len(segment);
	if (end <= words->tail)
		return;
	at = segment->offset > words->tail ? segment->offset : words->tail;
	at += pick(task, (end - at) / sizeof(word)) * sizeof(word);
	oldest = __atomic_load_n(&words->tail_done, __ATOMIC_SEQ_CST);
	if (try(task, segment->start + at - segment->offset, TRY_LOAD, &word))
		fail(task, "a signal upon a load from %#" PRIx64 " of buffer %u", at,
		     segment->buffer);
	newest = __atomic_load_n(&words->tail_begun, __ATOMIC_SEQ_CST);
	seen = (uint32_t)word ^ (words->buffer + 1) << 24;
	if (!word)
		seen = 0;
	if (seen < oldest || seen > newest)
		fail(task, "the engine's word at %#" PRIx64 " of buffer %u is %#" PRIx64
		     ", not of generation %u to %u", at, segment->buffer, word, oldest, newest);
}

static void step_probe(struct task *task)
{
	for (unsigned int i = 0; i < 4; i++)
		check_at(task, task->arena + pick(task, ARENA / VPFN_PAGE) * VPFN_PAGE);
}

/* As a debugger does. It needs no right to read, but one to write. */
static void step_mem(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	const struct vpfn_words *words;
	bool write = pick(task, 2);
	unsigned int site;
	uintptr_t addr;
	uint64_t next, word;
	int err, expected;

	if (!segment || !pick_site(task, segment, &site) || (write && !task->may_store))
		return;
	words = &shared->words[segment->buffer];
	addr = own_word(task, segment, site, &next);
	word = next;
	expected = write && !(segment->prot & PROT_WRITE) ? -EIO : 0;
	err = vpfn_proc_mem((void *)addr, &word, sizeof(word), write);
	errno = -err;
	judge(task, write ? CALL_MEM_WRITE : CALL_MEM_READ,
	      (struct range) { addr, sizeof(word) }, site, err ? -1 : 0, expected);
	if (write && !err)
		vpfn_words_written(&shared->words[segment->buffer], site, task->writer);
	else if (!write && word != vpfn_words_value(words, site, task->writer,
						    vpfn_words_generation(words, site,
									  task->writer)))
		fail(task, "/proc/self/mem reads %#" PRIx64 " at %#" PRIxPTR, word, addr);
}

/* The kernel's own loads and stores, through a pipe. */
static void step_pipe(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	struct vpfn_words *words;
	unsigned int site;
	struct range range;
	uint64_t next, word;

	if (!segment || !pick_site(task, segment, &site))
		return;
	words = &shared->words[segment->buffer];
	range = (struct range) { own_word(task, segment, site, &next), sizeof(word) };
	judge(task, CALL_WRITE, range, site, write(task->pipe[1], addr_of(range), sizeof(word)),
	      segment->prot & PROT_READ ? 0 : -EFAULT);
	if (segment->prot & PROT_READ) {
		judge(task, CALL_READ, range, 0, read(task->pipe[0], &word, sizeof(word)), 0);
		if (word != vpfn_words_value(words, site, task->writer,
					     vpfn_words_generation(words, site, task->writer)))
			fail(task, "write() reads %#" PRIx64 " at %#" PRIxPTR, word, range.start);
	}
	if (!(segment->prot & PROT_WRITE) || !task->may_store)
		return;
	judge(task, CALL_WRITE, range, site, write(task->pipe[1], &next, sizeof(next)), 0);
	judge(task, CALL_READ, range, site, read(task->pipe[0], addr_of(range), sizeof(next)), 0);
	vpfn_words_written(words, site, task->writer);
}

static void step_leaf(struct task *task)
{
	struct segment *segment = pick_buffer_segment(task);
	unsigned int site;

	if (segment && segment->prot & PROT_READ && pick_site(task, segment, &site))
		check_leaf(task, segment, site);
}

/* Faults in another thread's arena, at the place where that is at work; the content is unknown. */
static void step_intrude(struct task *task)
{
	const struct task *other = &tasks[pick(task, num_tasks)];
	uintptr_t page;
	uint64_t word;

	for (unsigned int i = 0; i < 8; i++) {
		page = (other->focus & ~(VPFN_PAGE - 1)) + pick(task, 1024) * VPFN_PAGE;
		try(task, page, TRY_LOAD, &word);
	}
}

/* Children. */

enum end {
	END_EXIT,
	END_KILL,
	END_CORE_DUMP,
	END_PTRACE,
};

static void run_steps(struct task *task, unsigned int steps);

/* What the parent has forbidden to inherit is not there. */
static void check_inheritance(struct task *task)
{
	for (unsigned int i = 0; i < task->num_segments; i++) {
		const struct segment *segment = &task->segments[i];

		task->num_warm = 0;
		if (segment->dontfork)
			fill_hole(task, segment_range(segment));
		else
			check_at(task, segment->start);
	}
}

static void core_directory(pid_t pid, char *path, size_t size)
{
	snprintf(path, size, "/tmp/vpfn_mm_fuzz.%d", pid);
}

static void dump_core(struct task *task)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	char path[64];

	core_directory(getpid(), path, sizeof(path));
	if (mkdir(path, 0700) || chdir(path) || setrlimit(RLIMIT_CORE, &all))
		fail(task, "no place for a core dump: %s", strerror(errno));
	raise(SIGABRT);
}

static void remove_core(pid_t pid)
{
	char directory[64], path[96];

	core_directory(pid, directory, sizeof(directory));
	snprintf(path, sizeof(path), "%s/core", directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/core.%d", directory, pid);
	unlink(path);
	rmdir(directory);
}

static void run_child(struct task *task, enum end end, uint64_t stream)
{
	const int parent = task->pipe[1];
	char ready = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* In the parent's is what that waits for, and stays what a killed child had there. */
	if (pipe(task->pipe))
		fail(task, "pipe(): %s", strerror(errno));
	task->is_child = true;
	task->may_store = end != END_KILL;
	vpfn_random_init(&task->random, seed, stream);
	check_inheritance(task);
	switch (end) {
	case END_KILL:
		if (write(parent, &ready, 1) != 1)
			fail(task, "write(): %s", strerror(errno));
		for (;;)
			run_steps(task, 1);
	case END_CORE_DUMP:
		run_steps(task, 1 + pick(task, 4));
		dump_core(task);
		break;
	case END_PTRACE:
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		check_inheritance(task);
		break;
	default:
		run_steps(task, 1 + pick(task, 24));
	}
	_exit(0);
}

static int wait_for(struct task *task, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fail(task, "waitpid(): %s", strerror(errno));
	/* The child has left the message. */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(1);
	return status;
}

/* A debugger in the mapping of the child, which is like the parent's own. */
static void debug_child(struct task *task, pid_t pid)
{
	struct segment *segment = pick_buffer_segment(task);
	struct range range = { .len = sizeof(long) };
	int status = wait_for(task, pid), expected;
	struct vpfn_words *words;
	unsigned int site;
	uint64_t next;
	long word;

	if (!WIFSTOPPED(status))
		fail(task, "the child should stop, but %#x", status);
	if (segment && !segment->dontfork && pick_site(task, segment, &site)) {
		words = &shared->words[segment->buffer];
		range.start = own_word(task, segment, site, &next);
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, range.start, NULL);
		if (errno || (uint64_t)word !=
		    vpfn_words_value(words, site, task->writer,
				     vpfn_words_generation(words, site, task->writer)))
			fail(task, "ptrace() reads %#lx (%s) at %#" PRIxPTR, word,
			     strerror(errno), range.start);
		expected = segment->prot & PROT_WRITE ? 0 : -EIO;
		if (task->may_store) {
			judge(task, CALL_PTRACE, range, next,
			      ptrace(PTRACE_POKEDATA, pid, range.start, next), expected);
			if (!expected)
				vpfn_words_written(words, site, task->writer);
		}
	}
	judge(task, CALL_PTRACE, range, 0, ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
}

static void end_child(struct task *task, pid_t pid, enum end end)
{
	struct range arena = { task->arena, ARENA };
	int status;
	char ready;

	if (end == END_PTRACE)
		debug_child(task, pid);
	if (end == END_KILL) {
		if (read(task->pipe[0], &ready, 1) != 1)
			fail(task, "read(): %s", strerror(errno));
		judge(task, CALL_KILL, arena, 0, kill(pid, SIGKILL), 0);
	}
	status = wait_for(task, pid);
	if (end == END_KILL ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL :
	    end == END_CORE_DUMP ? !WIFSIGNALED(status) || !WCOREDUMP(status) :
	    !WIFEXITED(status))
		fail(task, "the child ended with %#x", status);
	if (end == END_CORE_DUMP) {
		remove_core(pid);
		count(CALL_CORE_DUMP, true);
	}
	if (end == END_EXIT)
		count(CALL_EXIT, true);
}

static void step_fork(struct task *task)
{
	static const enum end ends[] = {
		END_EXIT, END_EXIT, END_EXIT, END_EXIT, END_KILL, END_KILL, END_PTRACE,
		END_CORE_DUMP,
	};
	enum end end = ends[pick(task, ARRAY_SIZE(ends))];
	uint64_t stream = 1000 + pick(task, 1 << 30);
	pid_t pid;

	/* A process that is to be killed is the only one to choose. */
	if (task->is_child || !task->may_store)
		return;
	pid = fork();
	if (!pid)
		run_child(task, end, stream);
	judge(task, CALL_FORK, (struct range) { task->arena, ARENA }, end, pid, 0);
	end_child(task, pid, end);
	step_load(task);
}

static const struct {
	void (*run)(struct task *task);
	unsigned int weight;
} kinds[] = {
	{ step_store, 16 },
	{ step_load, 12 },
	{ step_load_tail, 4 },
	{ step_probe, 6 },
	{ step_leaf, 6 },
	{ step_intrude, 6 },
	{ step_map_whole, 6 },
	{ step_map_part, 6 },
	{ step_start_again, 2 },
	{ step_map_anonymous, 3 },
	{ step_map_anywhere, 2 },
	{ step_map_taken, 2 },
	{ step_munmap, 6 },
	{ step_mprotect, 8 },
	{ step_pkey_mprotect, 4 },
	{ step_mremap_move, 6 },
	{ step_mremap_shrink, 3 },
	{ step_mremap_refused, 3 },
	{ step_madvise, 8 },
	{ step_mbind, 3 },
	{ step_mseal, 2 },
	{ step_mlock, 2 },
	{ step_msync, 1 },
	{ step_mincore, 2 },
	{ step_read_maps, 1 },
	{ step_pagemap, 2 },
	{ step_clear_refs, 1 },
	{ step_mem, 4 },
	{ step_pipe, 4 },
	{ step_fork, 1 },
};

static void one_step(struct task *task)
{
	unsigned int total = 0, choice, i;

	/* So that one step, which splits at most four times, has room in the model. */
	if (task->num_segments + 8 > MAX_SEGMENTS && !task->is_child)
		reserve_all(task);

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		total += kinds[i].weight;
	choice = pick(task, total);
	for (i = 0; choice >= kinds[i].weight; i++)
		choice -= kinds[i].weight;
	kinds[i].run(task);
	task->steps++;
	atomic_fetch_add(&shared->steps, 1);
}

/* A child's model may become full: it has sealed what would have to go. */
static void run_steps(struct task *task, unsigned int steps)
{
	while (steps-- && !(task->is_child && task->num_segments + 8 > MAX_SEGMENTS))
		one_step(task);
}

/* Not before leaves of each size were seen, unless that takes far too long. */
static bool is_over(const struct task *task)
{
	int64_t left = deadline - vpfn_deadline(0);

	if (task->steps < MIN_STEPS || left > 0)
		return false;
	return -left > VPFN_LONG_NS || (shared->leaves[VPFN_PTE] && shared->leaves[VPFN_PMD] &&
					shared->leaves[VPFN_PUD]);
}

static void *run_task(void *arg)
{
	struct task *task = arg;
	void *arena;

	current = task;
	task->pkey = pkey_alloc(0, 0);
	lock_places(task);
	if (pipe(task->pipe) || vpfn_reserve(ARENA, VPFN_1G, &arena))
		fail(task, "no place for an arena");
	unlock_holes(task);
	task->arena = (uintptr_t)arena;
	task->segments[0] = (struct segment) { .start = task->arena, .end = task->arena + ARENA };
	task->num_segments = 1;
	for (unsigned int i = 0; i < num_buffers; i++)
		map_whole(task, i);
	while (!is_over(task) && !shared->failed)
		one_step(task);
	return NULL;
}

static void start_task(struct task *task, unsigned int writer, uint64_t stream)
{
	task->writer = writer;
	vpfn_random_init(&task->random, seed, stream);
	if (pthread_create(&task->thread, NULL, run_task, task))
		fail(task, "no thread");
}

static void run_process(unsigned int first_writer, unsigned int threads)
{
	catch_signals();
	num_tasks = threads;
	for (unsigned int i = 0; i < threads; i++) {
		tasks[i].may_store = true;
		start_task(&tasks[i], first_writer + i, first_writer + i);
	}
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(tasks[i].thread, NULL);
	_exit(0);
}

/* Processes that the kernel kills for want of memory, in the middle of all this. */

#define GROUP		"/sys/fs/cgroup/vpfn_mm_fuzz"
#define GROUP_LIMIT	"33554432"

static void create_group(void)
{
	igt_require_f(!vpfn_text_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory"),
		      "no control groups for memory\n");
	igt_assert(!mkdir(GROUP, 0755) || errno == EEXIST);
	igt_assert_eq(vpfn_text_write(GROUP "/memory.max", GROUP_LIMIT), 0);
	igt_assert_eq(vpfn_text_write(GROUP "/memory.swap.max", "0"), 0);
}

/* What is in the middle of a store when it is killed cannot tell of it: it may not store. */
static void run_victim(unsigned int writer, uint64_t stream)
{
	catch_signals();
	if (vpfn_text_write(GROUP "/cgroup.procs", "0"))
		fail(&tasks[0], "no way into " GROUP);
	deadline = INT64_MAX;
	num_tasks = 2;
	for (unsigned int i = 0; i < num_tasks; i++)
		start_task(&tasks[i], writer + i, stream + i);
	while (tasks[0].steps < VICTIM_STEPS)
		sched_yield();
	for (;;)
		mmap(NULL, MIB, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static void run_victims(unsigned int writer)
{
	struct task *task = &tasks[0];
	uint64_t stream = 1ull << 32;
	int status;
	pid_t pid;

	do {
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run_victim(writer, stream);
		}
		stream += 2;
		status = wait_for(task, pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			fail(task, "the victim ended with %#x", status);
		count(CALL_OOM_KILL, true);
	} while (vpfn_deadline(0) < deadline && !shared->failed);
	_exit(0);
}

/* Who moves the buffers and lets the engine work on them. */

static void mover_expect(struct task *task, enum call call, unsigned int buffer, int err,
			 int expected)
{
	errno = -err;
	judge(task, call, (struct range) {}, buffer, err ? -1 : 0, expected);
}

/* What the engine reads is what the writers have written. */
static void mover_copy(struct task *task, const char *map)
{
	static uint32_t oldest[CHUNK / VPFN_PAGE][VPFN_WRITERS];
	unsigned int buffer = pick(task, num_buffers), first, sites;
	const struct vpfn_words *words = &shared->words[buffer];
	uint64_t len = words->tail < CHUNK ? words->tail : CHUNK, from, at, word;

	from = pick(task, (words->tail - len) / VPFN_PAGE + 1) * VPFN_PAGE;
	sites = vpfn_words_sites(words, from, from + len, &first);
	for (unsigned int i = 0; i < sites; i++) {
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++)
			oldest[i][writer] = vpfn_words_generation(words, first + i, writer);
	}
	mover_expect(task, CALL_ENGINE_COPY, buffer,
		     vpfn_copy(fd, &scratch, 0, &bos[buffer], from, len), 0);
	for (unsigned int i = 0; i < sites; i++) {
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++) {
			at = vpfn_words_offset(words, first + i) + writer * sizeof(word);
			word = vpfn_load(map + at - from);
			if (!vpfn_words_between(words, first + i, writer, word, oldest[i][writer],
						vpfn_words_generation(words, first + i,
								      writer) + 1))
				fail(task, "the engine copied %#" PRIx64 " from %#" PRIx64
				     " of buffer %u, older than generation %u of writer %u", word,
				     at, buffer, oldest[i][writer], writer);
		}
	}
}

static void mover_fill(struct task *task)
{
	unsigned int buffer = pick(task, num_buffers);
	struct vpfn_words *words = &shared->words[buffer];
	uint32_t next = words->tail_begun + 1;

	__atomic_store_n(&words->tail_begun, next, __ATOMIC_SEQ_CST);
	mover_expect(task, CALL_ENGINE_FILL, buffer,
		     vpfn_fill(fd, &bos[buffer], words->tail, words->size - words->tail,
			       vpfn_words_tail(words, next)), 0);
	__atomic_store_n(&words->tail_done, next, __ATOMIC_SEQ_CST);
}

static void mover_crc(struct task *task)
{
	unsigned int buffer = pick(task, num_buffers);
	const struct vpfn_words *words = &shared->words[buffer];
	struct vpfn_content content =
		vpfn_content_pattern(vpfn_words_tail(words, words->tail_done));

	mover_expect(task, CALL_ENGINE_CRC, buffer,
		     vpfn_meter_check(&meter, &bos[buffer], &content, words->tail, words->size), 0);
}

/* System memory may have no room for what it held a moment ago: the pages go back later. */
static void mover_evict(struct task *task)
{
	int err = vpfn_evict(fd);

	mover_expect(task, CALL_EVICT, 0, err, err == -ENOMEM ? err : 0);
}

static void run_mover(void)
{
	static struct task task = { .writer = VPFN_WRITERS };
	void *map;

	catch_signals();
	current = &task;
	vpfn_random_init(&task.random, seed, task.writer);
	if (vpfn_bo_map(fd, &scratch, &map))
		fail(&task, "no mapping for the mover");
	mover_evict(&task);
	task.steps++;
	while (vpfn_deadline(0) < deadline && !shared->failed) {
		switch (pick(&task, 16)) {
		case 0:
			mover_evict(&task);
			break;
		case 1:
		case 2:
		case 3:
		case 4:
			mover_crc(&task);
			break;
		case 5:
		case 6:
		case 7:
		case 8:
			mover_fill(&task);
			break;
		default:
			mover_copy(&task, map);
		}
		task.steps++;
	}
	_exit(0);
}

/* Subtests. */

struct mix {
	const char *name;
	const char *what;
	uint64_t large;			/* bytes of the largest buffer */
	unsigned int processes;
	unsigned int threads;		/* of each */
	bool moves;
	bool oom_kills;
};

static void create_buffers(const struct mix *mix)
{
	const struct {
		uint64_t size;
		uint32_t placement;
	} wanted[MAX_BUFFERS] = {
		{ mix->large, VRAM },
		{ 3 * VPFN_2M + 3 * VPFN_PAGE, VRAM },
		{ 40 * VPFN_PAGE, VRAM },
		{ 2 * VPFN_2M, VRAM | SYSTEM },
		{ 2 * VPFN_2M, SYSTEM },
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	igt_assert(shared != MAP_FAILED);
	/* A core dump of a child holds what the child alone knows. */
	igt_assert_eq(madvise(shared, sizeof(*shared), MADV_DONTDUMP), 0);
	num_buffers = 0;
	for (unsigned int i = 0; i < MAX_BUFFERS; i++) {
		igt_assert_eq(vpfn_bo_create_in(fd, wanted[i].size, wanted[i].placement, 0,
						&bos[i]), 0);
		igt_assert_eq(vpfn_bo_export(fd, &bos[i], &dmabufs[i]), 0);
		vpfn_words_init(&shared->words[i], i, wanted[i].size);
		num_buffers++;
	}
	/* Until they are cleared. */
	for (unsigned int i = 0; i < MAX_BUFFERS; i++)
		igt_assert_eq(vpfn_bo_wait(fd, &bos[i], 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_create_in(fd, CHUNK, VRAM | SYSTEM, 0, &scratch), 0);
	igt_assert_eq(vpfn_meter_open(fd, &meter), 0);
}

static void destroy_buffers(void)
{
	vpfn_meter_close(&meter);
	igt_assert_eq(vpfn_bo_close(fd, &scratch), 0);
	for (unsigned int i = 0; i < num_buffers; i++) {
		close(dmabufs[i]);
		igt_assert_eq(vpfn_bo_close(fd, &bos[i]), 0);
	}
	munmap(shared, sizeof(*shared));
}

static pid_t start(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	igt_assert(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void run_processes(const struct mix *mix)
{
	unsigned int running = 0;
	bool all_ended_well = true;
	int status;

	for (unsigned int i = 0; i < mix->processes; i++, running++) {
		if (!start())
			run_process(i * mix->threads, mix->threads);
	}
	if (mix->moves && running++ && !start())
		run_mover();
	if (mix->oom_kills && running++ && !start())
		run_victims(mix->processes * mix->threads);
	while (running-- && wait(&status) > 0)
		all_ended_well = all_ended_well && WIFEXITED(status) && !WEXITSTATUS(status);
	igt_assert_f(!shared->failed, "%s", shared->message);
	igt_assert_f(all_ended_well, "a process ended with %#x\n", status);
	igt_assert(!mix->moves || shared->done[CALL_EVICT][0]);
}

/* Each byte from @from on, seen by the engine: what the model says, and zero between. */
static void check_by_engine(const struct vpfn_words *words, uint64_t from, uint64_t to)
{
	static char image[16 * MIB];
	uint32_t crc;

	igt_assert(to - from <= sizeof(image));
	vpfn_words_image(words, from, to, image);
	igt_assert_eq(vpfn_meter_crc(&meter, &bos[words->buffer], from, to, &crc), 0);
	igt_assert_f(crc == vpfn_crc32c(image, to - from), "buffer %u, from %#" PRIx64 " to %#"
		     PRIx64 ": the engine sees other bytes than the writers wrote\n",
		     words->buffer, from, to);
}

/* Each word of each writer, seen by the CPU. */
static void check_by_cpu(const struct vpfn_words *words)
{
	uint64_t offset, word;
	void *map;

	igt_assert_eq(vpfn_bo_map(fd, &bos[words->buffer], &map), 0);
	for (unsigned int site = 0; site < words->count; site++) {
		offset = vpfn_words_offset(words, site);
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++) {
			word = vpfn_load((char *)map + offset + writer * sizeof(word));
			igt_assert_f(word == vpfn_words_value(words, site, writer,
							      words->generations[writer][site]),
				     "buffer %u, %#" PRIx64 ": writer %u's word is %#" PRIx64 "\n",
				     words->buffer, offset, writer, word);
		}
	}
	munmap(map, words->size);
}

static void check_all(void)
{
	for (unsigned int i = 0; i < num_buffers; i++) {
		const struct vpfn_words *words = &shared->words[i];

		check_by_cpu(words);
		if (words->size <= 16 * MIB) {
			check_by_engine(words, 0, words->size);
			continue;
		}
		for (uint64_t at = 0; at < words->size; at += words->size / 4)
			check_by_engine(words, at ? at - MIB : 0, at + MIB);
		check_by_engine(words, words->size - MIB, words->size);
	}
}

static void report(const struct mix *mix)
{
	igt_info("%lu steps; leaves seen: %lu ptes, %lu pmds, %lu puds\n", shared->steps,
		 shared->leaves[VPFN_PTE], shared->leaves[VPFN_PMD], shared->leaves[VPFN_PUD]);
	for (unsigned int i = 0; i < CALLS; i++) {
		if (shared->done[i][0] || shared->done[i][1])
			igt_info("  %-24s %8lu ok %8lu failed\n", call_names[i],
				 shared->done[i][0], shared->done[i][1]);
	}
	for_each_vpfn_level(level)
		igt_assert_f(shared->leaves[level], "no %s in %s\n", vpfn_level_name(level),
			     mix->name);
}

static void run_mix(const struct mix *mix)
{
	igt_info("VPFN_MM_FUZZ_SEED=%#" PRIx64 ", %u processes of %u threads%s, %" PRId64 " s\n",
		 seed, mix->processes, mix->threads, mix->moves ? ", and moves" : "", seconds);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	if (mix->oom_kills)
		create_group();
	create_buffers(mix);
	deadline = vpfn_deadline(seconds * 1000 * 1000 * 1000);
	run_processes(mix);
	check_all();
	report(mix);
	destroy_buffers();
	if (mix->oom_kills)
		rmdir(GROUP);
}

int igt_main()
{
	static const struct mix mixes[] = {
		{ "thread", "One thread.", 2 * VPFN_1G, 1, 1, false, false },
		{ "threads", "Four threads of one process.", 2 * VPFN_1G, 1, 4, false, false },
		{ "processes", "Two processes, of two threads each.", 2 * VPFN_1G, 2, 2, false,
		  false },
		{ "moves", "Two processes, of two threads each, and one that moves the buffers.",
		  VPFN_1G, 2, 2, true, false },
		{ "oom-kill", "A process, and others that the OOM killer kills at it.",
		  VPFN_1G, 1, 2, false, true },
	};

	igt_fixture() {
		fd = vpfn_require_device();
		has_numa = !access("/proc/self/numa_maps", R_OK);
		seed = vpfn_number_from_env("VPFN_MM_FUZZ_SEED", SEED);
		seconds = vpfn_number_from_env("VPFN_MM_FUZZ_SECONDS", SECONDS);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(mixes); i++) {
		igt_describe(mixes[i].what);
		igt_subtest(mixes[i].name)
			run_mix(&mixes[i]);
	}
}
