// SPDX-License-Identifier: MIT
/*
 * Does an arena have the bytes, the access and the leaves that the model says?
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

/*
 * A hole in an arena has no owner: a thread with one holds the lock shared, and one that asks for
 * memory anywhere holds it alone. Forks of threads do not use it.
 */
static pthread_rwlock_t hole_lock = PTHREAD_RWLOCK_INITIALIZER;

static void check_word(struct task *task, const struct segment *segment, unsigned int site,
		       unsigned int writer)
{
	const struct vpfn_words *words = &fuzz_shared->words[segment->buffer];
	uint64_t offset = vpfn_words_offset(words, site) + writer * sizeof(uint64_t);
	uint32_t oldest = vpfn_words_generation(words, site, writer), newest;
	uintptr_t addr = segment->start + offset - segment->offset;
	uint64_t word;
	int signal = fuzz_try(task, addr, TRY_LOAD, &word);

	if (signal)
		fuzz_fail(task, "%s upon a load from %#" PRIxPTR ", which is %#" PRIx64
			  " of buffer %u", strsignal(signal), addr, offset, segment->buffer);
	/* Its writer may be about to tell of another. */
	newest = vpfn_words_generation(words, site, writer) + (writer != task->writer);
	if (!vpfn_words_between(words, site, writer, word, oldest, newest))
		fuzz_fail(task, "writer %u's word at %#" PRIxPTR ", which is %#" PRIx64 " of buffer %u, "
			  "is %#" PRIx64 ", not %#" PRIx64 " (generation %u to %u)", writer, addr,
			  offset, segment->buffer, word,
			  vpfn_words_value(words, site, writer, oldest), oldest, newest);
}

void fuzz_check_site(struct task *task, const struct segment *segment, unsigned int site)
{
	check_word(task, segment, site, task->writer);
	check_word(task, segment, site, pick(task, VPFN_WRITERS));
}

void fuzz_check_faults(struct task *task, uintptr_t addr, enum try what, const char *why)
{
	uint64_t word = 0;
	int signal = fuzz_try(task, addr, what, &word);

	if (signal != SIGSEGV)
		fuzz_fail(task, "%s upon a %s of %#" PRIxPTR ", which has %s",
			  signal ? strsignal(signal) : "no signal", what == TRY_LOAD ? "load" : "store",
			  addr, why);
}

static void check_anonymous(struct task *task, uintptr_t addr)
{
	uint64_t word;
	int signal = fuzz_try(task, addr, TRY_LOAD, &word);

	if (signal || word)
		fuzz_fail(task, "fresh memory at %#" PRIxPTR ": signal %d, %#" PRIx64, addr, signal,
			  word);
}

/* The first site in the page around the address, if there is one. */
static bool site_of_page(const struct segment *segment, uintptr_t addr, unsigned int *site)
{
	uint64_t page = (addr & ~(PFNMAP_PAGE - 1)) - segment->start + segment->offset;

	return vpfn_words_sites(&fuzz_shared->words[segment->buffer], page, page + PFNMAP_PAGE,
				site);
}

/* Does the address do what the model says, and nothing more? */
void fuzz_check_at(struct task *task, uintptr_t addr)
{
	const struct segment *segment = fuzz_segment_at(task, addr);
	unsigned int site;
	uint64_t word;

	if (!segment)
		return;
	if (!(segment->prot & PROT_READ)) {
		fuzz_check_faults(task, addr, TRY_LOAD, "no access");
		return;
	}
	if (segment->kind == ANONYMOUS) {
		check_anonymous(task, addr);
		return;
	}
	if (!(segment->prot & PROT_WRITE))
		fuzz_check_faults(task, addr, TRY_TOUCH, "no write access");
	if (site_of_page(segment, addr, &site))
		fuzz_check_site(task, segment, site);
	else if (fuzz_try(task, addr, TRY_LOAD, &word))
		fuzz_fail(task, "a signal upon a load from %#" PRIxPTR, addr);
}

bool fuzz_pick_site(struct task *task, const struct segment *segment, unsigned int *site)
{
	unsigned int first;
	unsigned int sites = vpfn_words_sites(&fuzz_shared->words[segment->buffer], segment->offset,
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
void fuzz_check_leaf(struct task *task, const struct segment *segment, unsigned int site)
{
	uintptr_t addr = segment->start - segment->offset +
			 vpfn_words_offset(&fuzz_shared->words[segment->buffer], site);
	struct range run = whole_run(task, segment);
	struct vpfn_leaf leaf;
	uintptr_t start;
	uint64_t size;
	int err;

	fuzz_check_site(task, segment, site);
	err = vpfn_leaf_from_driver(fuzz_fd, (void *)addr, &leaf);
	if (err)
		fuzz_fail(task, "no leaf at %#" PRIxPTR ": %d", addr, err);
	atomic_fetch_add(&fuzz_shared->leaves[leaf.level], 1);
	/* Moves, and other threads' calls, take it away. */
	if (leaf.level == VPFN_NONE)
		return;
	size = vpfn_level_size(leaf.level);
	start = addr & ~(size - 1);
	if (!leaf.special || start < run.start || start + size > run.start + run.len)
		fuzz_fail(task, "a %s at %#" PRIxPTR ", special %d, reaches out of %#" PRIxPTR " + %#"
			  PRIx64, vpfn_level_name(leaf.level), addr, leaf.special, run.start,
			  run.len);
}

/* Before a call on the range: addresses in it that the TLB knows from now on. */
void fuzz_warm(struct task *task, struct range range)
{
	struct segment *segment = fuzz_segment_at(task, range.start);
	unsigned int first, sites;
	uint64_t from;

	task->num_warm = 0;
	if (segment->kind != BUFFER || !(segment->prot & PROT_READ))
		return;
	from = range.start - segment->start + segment->offset;
	if (range.len > segment->end - range.start)
		range.len = segment->end - range.start;
	sites = vpfn_words_sites(&fuzz_shared->words[segment->buffer], from, from + range.len,
				 &first);
	for (unsigned int i = 0; i < sites && i < MAX_WARM; i++) {
		unsigned int site = first + pick(task, sites);

		check_word(task, segment, site, task->writer);
		task->warm[i] = segment->start - segment->offset +
				vpfn_words_offset(&fuzz_shared->words[segment->buffer], site);
		task->num_warm = i + 1;
	}
}

/* After a call: what the TLB knew, and on both sides of where the mapping may have changed. */
void fuzz_check_range(struct task *task, struct range range)
{
	for (unsigned int i = 0; i < task->num_warm; i++)
		fuzz_check_at(task, task->warm[i]);
	fuzz_check_at(task, range.start - PFNMAP_PAGE);
	fuzz_check_at(task, range.start);
	fuzz_check_at(task, range.start + range.len - PFNMAP_PAGE);
	fuzz_check_at(task, range.start + range.len);
}

void fuzz_lock_holes(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_rdlock(&hole_lock);
}

void fuzz_lock_places(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_wrlock(&hole_lock);
}

void fuzz_unlock_holes(struct task *task)
{
	if (!task->is_child)
		pthread_rwlock_unlock(&hole_lock);
}

/* Nothing is mapped in the range: each access must fault. Then it is reserved. */
void fuzz_fill_hole(struct task *task, struct range hole)
{
	void *map;

	for (unsigned int i = 0; i < task->num_warm; i++) {
		if (task->warm[i] - hole.start < hole.len)
			fuzz_check_faults(task, task->warm[i], TRY_LOAD, "no mapping");
	}
	fuzz_check_faults(task, hole.start, TRY_LOAD, "no mapping");
	fuzz_check_faults(task, hole.start + hole.len - PFNMAP_PAGE, TRY_TOUCH, "no mapping");
	map = mmap(addr_of(hole), hole.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	fuzz_judge(task, CALL_MMAP_NOREPLACE, hole, 0, (long)map, 0);
	fuzz_set_reserved(task, hole);
}
