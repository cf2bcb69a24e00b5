/* SPDX-License-Identifier: MIT */
/*
 * What do the parts of the mm fuzzer share? Tasks, the model of a task's arena, checks, and the
 * steps that a task takes.
 */
#ifndef VPFN_MM_FUZZ_H
#define VPFN_MM_FUZZ_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_random.h"
#include "vpfn/vpfn_words.h"

#define ARENA		(3 * PFNMAP_1G)
#define MAX_SEGMENTS	96
#define MAX_BUFFERS	5

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

extern const char * const fuzz_call_names[CALLS];

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

/* A call, or a few, whose outcome the model knows; the last of an array has no @run. */
struct step {
	void (*run)(struct task *task);
	unsigned int weight;
};

extern int fuzz_fd;
extern bool fuzz_has_numa;		/* else the kernel has no mbind() */
extern uint64_t fuzz_seed;
extern struct shared *fuzz_shared;
extern struct vpfn_bo fuzz_bos[MAX_BUFFERS];
extern int fuzz_dmabufs[MAX_BUFFERS];
extern unsigned int fuzz_num_buffers;

/* Those of this process */
extern struct task fuzz_tasks[VPFN_WRITERS];
extern unsigned int fuzz_num_tasks;
extern __thread struct task *fuzz_current;

enum try {
	TRY_LOAD,
	TRY_STORE,
	TRY_TOUCH,		/* a write that leaves the word as it is */
};

/* vpfn_mm_fuzz_task.c */
__attribute__((noreturn, format(printf, 2, 3)))
void fuzz_fail(const struct task *task, const char *format, ...);
void fuzz_record(struct task *task, enum call call, struct range range, uint64_t detail,
		 int result);
void fuzz_count(enum call call, bool success);
void fuzz_judge(struct task *task, enum call call, struct range range, uint64_t detail,
		long result, int expected);
void fuzz_catch_signals(void);
int fuzz_try(struct task *task, uintptr_t addr, enum try what, uint64_t *word);
int fuzz_wait_for(struct task *task, pid_t pid);

static inline uint64_t pick(struct task *task, uint64_t choices)
{
	return vpfn_random_pick(&task->random, choices);
}

/* What mmap() and mremap() return, as the other calls do: -1 is a failure. */
static inline long returned(void *addr)
{
	return (long)addr;
}

static inline uint64_t segment_len(const struct segment *segment)
{
	return segment->end - segment->start;
}

static inline struct range segment_range(const struct segment *segment)
{
	return (struct range) { segment->start, segment_len(segment) };
}

static inline void *addr_of(struct range range)
{
	return (void *)range.start;
}

/* vpfn_mm_fuzz_arena.c */
void fuzz_split_around(struct task *task, struct range range);
struct segment *fuzz_replace(struct task *task, struct range range);
void fuzz_set_reserved(struct task *task, struct range range);
void fuzz_set_buffer(struct task *task, struct range range, unsigned int buffer,
		     uint64_t offset, int prot);
bool fuzz_is_sealed(struct task *task, struct range range);
int fuzz_unless_sealed(struct task *task, struct range range);
struct segment *fuzz_segment_at(struct task *task, uintptr_t addr);
struct segment *fuzz_pick_buffer_segment(struct task *task);
struct range fuzz_pick_page(struct task *task, struct range whole);
struct range fuzz_pick_range(struct task *task, const struct segment *segment);
uintptr_t fuzz_pick_place(struct task *task, uint64_t len, uint64_t offset, uint64_t align);
uint64_t fuzz_pick_alignment(struct task *task);
int fuzz_pick_prot(struct task *task);

/* vpfn_mm_fuzz_check.c */
void fuzz_check_site(struct task *task, const struct segment *segment, unsigned int site);
void fuzz_check_faults(struct task *task, uintptr_t addr, enum try what, const char *why);
void fuzz_check_at(struct task *task, uintptr_t addr);
bool fuzz_pick_site(struct task *task, const struct segment *segment, unsigned int *site);
void fuzz_check_leaf(struct task *task, const struct segment *segment, unsigned int site);
void fuzz_warm(struct task *task, struct range range);
void fuzz_check_range(struct task *task, struct range range);
void fuzz_lock_holes(struct task *task);
void fuzz_lock_places(struct task *task);
void fuzz_unlock_holes(struct task *task);
void fuzz_fill_hole(struct task *task, struct range hole);

/* vpfn_mm_fuzz_map.c */
extern const struct step fuzz_map_steps[];

void fuzz_reserve_all(struct task *task);
void fuzz_map_whole(struct task *task, unsigned int buffer);

/* vpfn_mm_fuzz_use.c */
extern const struct step fuzz_use_steps[];

uintptr_t fuzz_own_word(const struct task *task, const struct segment *segment,
			unsigned int site, uint64_t *next);
void fuzz_step_load(struct task *task);

/* vpfn_mm_fuzz_child.c */
extern const struct step fuzz_child_steps[];

void fuzz_run_steps(struct task *task, unsigned int steps);
void fuzz_one_step(struct task *task);

#endif
