// SPDX-License-Identifier: MIT
/*
 * Which calls change the mappings of an arena?
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

void fuzz_reserve_all(struct task *task)
{
	struct range arena = { task->arena, ARENA };

	fuzz_judge(task, CALL_MMAP_ANONYMOUS, arena, 0,
		   returned(mmap(addr_of(arena), arena.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_NORESERVE | MAP_FIXED, -1, 0)), 0);
	fuzz_set_reserved(task, arena);
}

/* The beginning of a buffer, or by its dma-buf any part of it. */
static void map_over(struct task *task, unsigned int buffer, uint64_t offset, struct range range,
		     int prot)
{
	bool prime = offset || !pick(task, 4);
	enum call call = prime ? CALL_MMAP_PRIME : CALL_MMAP_FIXED;
	int expected = fuzz_unless_sealed(task, range);

	fuzz_warm(task, range);
	fuzz_judge(task, call, range, buffer,
		   returned(mmap(addr_of(range), range.len, prot, MAP_SHARED | MAP_FIXED,
				 prime ? fuzz_dmabufs[buffer] : fuzz_fd,
				 prime ? offset : fuzz_bos[buffer].offset)),
		   expected);
	if (expected)
		fuzz_split_around(task, range);
	else
		fuzz_set_buffer(task, range, buffer, offset, prot);
	fuzz_check_range(task, range);
}

/* As a program would map it: all of it, aligned. */
void fuzz_map_whole(struct task *task, unsigned int buffer)
{
	struct range range = { .len = fuzz_bos[buffer].size };

	range.start = fuzz_pick_place(task, range.len, 0, PFNMAP_1G);
	if (fuzz_is_sealed(task, range))
		return;
	map_over(task, buffer, 0, range, PROT_READ | PROT_WRITE);
	fuzz_check_leaf(task, fuzz_segment_at(task, range.start), 0);
}

static void step_map_whole(struct task *task)
{
	fuzz_map_whole(task, pick(task, 2) ? 0 : pick(task, fuzz_num_buffers));
}

static void step_map_part(struct task *task)
{
	unsigned int buffer = pick(task, fuzz_num_buffers);
	struct segment whole = { .end = fuzz_bos[buffer].size };
	struct range part = fuzz_pick_range(task, &whole);
	struct range range = { .len = part.len };

	range.start = fuzz_pick_place(task, range.len, part.start, fuzz_pick_alignment(task));
	map_over(task, buffer, part.start, range, fuzz_pick_prot(task));
}

static void step_start_again(struct task *task)
{
	if (fuzz_is_sealed(task, (struct range) { task->arena, ARENA }))
		return;
	fuzz_reserve_all(task);
	step_map_whole(task);
}

static void step_map_anonymous(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;
	int expected;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	expected = fuzz_unless_sealed(task, range);
	fuzz_warm(task, range);
	fuzz_judge(task, CALL_MMAP_ANONYMOUS, range, 0,
		   returned(mmap(addr_of(range), range.len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_NORESERVE | MAP_FIXED, -1, 0)), expected);
	fuzz_split_around(task, range);
	if (!expected) {
		segment = fuzz_replace(task, range);
		*segment = (struct segment) {
			.start = segment->start, .end = segment->end, .kind = ANONYMOUS,
			.prot = PROT_READ,
		};
	}
	fuzz_check_range(task, range);
}

/* At a place that the kernel chooses; a hint at a place that is taken is no more than that. */
static void step_map_anywhere(struct task *task)
{
	unsigned int buffer = pick(task, fuzz_num_buffers);
	bool prime = !pick(task, 3);
	uint64_t len = pick(task, 2) ? fuzz_bos[buffer].size : PFNMAP_PAGE;
	uintptr_t hint = pick(task, 2) ? task->arena + pick(task, 16) * PFNMAP_2M : 0;
	struct segment segment = { .kind = BUFFER, .buffer = buffer };
	struct range whole;
	unsigned int first;
	void *map;

	fuzz_lock_places(task);
	map = mmap((void *)hint, len, PROT_READ | PROT_WRITE, MAP_SHARED,
		   prime ? fuzz_dmabufs[buffer] : fuzz_fd, prime ? 0 : fuzz_bos[buffer].offset);
	segment.start = (uintptr_t)map;
	whole = (struct range) { segment.start, len };
	fuzz_judge(task, CALL_MMAP_HINT, whole, hint, (long)map, 0);
	if (segment.start < task->arena + ARENA && segment.start + len > task->arena)
		fuzz_fail(task, "mmap() with the hint %#" PRIxPTR " took what is taken", hint);
	if (vpfn_words_sites(&fuzz_shared->words[buffer], 0, len, &first))
		fuzz_check_site(task, &segment, first);
	/* Not a hole: the C library, too, maps what it needs where the kernel chooses. */
	fuzz_judge(task, CALL_MMAP_ANONYMOUS, whole, 0,
		   returned(mmap(map, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
				 MAP_FIXED, -1, 0)), 0);
	fuzz_check_faults(task, segment.start, TRY_LOAD, "no access");
	fuzz_judge(task, CALL_MUNMAP, whole, 0, munmap(map, len), 0);
	fuzz_unlock_holes(task);
}

static void step_map_taken(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_page(task, segment_range(segment));
	fuzz_judge(task, CALL_MMAP_NOREPLACE, range, 0,
		   returned(mmap(addr_of(range), range.len, PROT_READ,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, fuzz_fd, fuzz_bos[0].offset)),
		   -EEXIST);
	fuzz_check_at(task, range.start);
}

/* Into the hole goes what it was, a new mapping of the buffer there, or nothing. */
static void step_munmap(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task), old;
	struct range range;
	int expected;

	if (!segment)
		return;
	old = *segment;
	range = fuzz_pick_range(task, segment);
	/* Sometimes beyond the segment, as far as the arena reaches. */
	if (!pick(task, 4) && range.start + range.len + PFNMAP_2M <= task->arena + ARENA)
		range.len += PFNMAP_2M;
	expected = fuzz_unless_sealed(task, range);
	fuzz_warm(task, range);
	fuzz_lock_holes(task);
	fuzz_judge(task, CALL_MUNMAP, range, 0, munmap(addr_of(range), range.len), expected);
	if (expected)
		fuzz_split_around(task, range);
	else
		fuzz_fill_hole(task, range);
	fuzz_unlock_holes(task);
	fuzz_check_range(task, range);
	if (!expected && range.start + range.len <= old.end && pick(task, 2))
		map_over(task, old.buffer, old.offset + range.start - old.start, range,
			 PROT_READ | PROT_WRITE);
}

static void protect(struct task *task, enum call call, struct range range, int prot, long result)
{
	int expected = fuzz_unless_sealed(task, range);

	fuzz_judge(task, call, range, prot, result, expected);
	fuzz_split_around(task, range);
	if (!expected)
		fuzz_segment_at(task, range.start)->prot = prot;
	fuzz_check_range(task, range);
}

static void step_mprotect(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	int prot = fuzz_pick_prot(task);
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_warm(task, range);
	protect(task, CALL_MPROTECT, range, prot, mprotect(addr_of(range), range.len, prot));
}

/* A key of the thread's own, that allows everything but for a moment. */
static void step_pkey_mprotect(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	int prot = fuzz_pick_prot(task), key = pick(task, 3) ? task->pkey : 0;
	struct range range;

	if (!segment || task->pkey <= 0)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_warm(task, range);
	protect(task, CALL_PKEY_MPROTECT, range, prot,
		pkey_mprotect(addr_of(range), range.len, prot, key));
	if (key <= 0 || fuzz_is_sealed(task, range))
		return;
	pkey_set(key, PKEY_DISABLE_ACCESS);
	fuzz_check_faults(task, range.start, TRY_LOAD, "a key that forbids it");
	pkey_set(key, 0);
	fuzz_check_at(task, range.start);
}

static bool overlap(struct range a, struct range b)
{
	return a.start < b.start + b.len && b.start < a.start + a.len;
}

static void step_mremap_move(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task), old;
	struct range from, to;
	int expected;
	void *map;

	if (!segment)
		return;
	from = fuzz_pick_range(task, segment);
	old = *segment;
	old.offset += from.start - old.start;
	to.len = from.len;
	to.start = fuzz_pick_place(task, to.len, old.offset, fuzz_pick_alignment(task));
	if (overlap(from, to))
		return;
	expected = fuzz_unless_sealed(task, from) ?: fuzz_unless_sealed(task, to);
	fuzz_warm(task, from);
	fuzz_lock_holes(task);
	map = mremap(addr_of(from), from.len, to.len, MREMAP_MAYMOVE | MREMAP_FIXED, addr_of(to));
	fuzz_judge(task, CALL_MREMAP_MOVE, from, to.start - task->arena, (long)map, expected);
	if (expected) {
		fuzz_split_around(task, from);
		fuzz_split_around(task, to);
	} else {
		fuzz_set_buffer(task, to, old.buffer, old.offset, old.prot);
		fuzz_segment_at(task, to.start)->dontfork = old.dontfork;
		fuzz_fill_hole(task, from);
	}
	fuzz_unlock_holes(task);
	fuzz_check_range(task, from);
	fuzz_check_range(task, to);
}

static void step_mremap_shrink(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range, tail;
	int expected;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	if (range.len < 2 * PFNMAP_PAGE)
		return;
	tail = range;
	tail.len = (1 + pick(task, range.len / PFNMAP_PAGE - 1)) * PFNMAP_PAGE;
	tail.start += range.len - tail.len;
	expected = fuzz_unless_sealed(task, range);
	fuzz_warm(task, tail);
	fuzz_lock_holes(task);
	fuzz_judge(task, CALL_MREMAP_SHRINK, range, tail.len,
		   returned(mremap(addr_of(range), range.len, range.len - tail.len, 0)), expected);
	if (expected)
		fuzz_split_around(task, tail);
	else
		fuzz_fill_hole(task, tail);
	fuzz_unlock_holes(task);
	fuzz_check_range(task, tail);
}

/* What must not work, and what must do nothing. */
static void step_mremap_refused(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;
	int sealed;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	sealed = fuzz_unless_sealed(task, range);
	fuzz_warm(task, range);
	switch (pick(task, 3)) {
	case 0:
		fuzz_judge(task, CALL_MREMAP_SAME, range, 0,
			   returned(mremap(addr_of(range), range.len, range.len, MREMAP_MAYMOVE)),
			   sealed);
		break;
	case 1:
		fuzz_judge(task, CALL_MREMAP_GROW, range, 0,
			   returned(mremap(addr_of(range), range.len, range.len + PFNMAP_PAGE,
					   MREMAP_MAYMOVE)), sealed ?: -EFAULT);
		break;
	default:
		fuzz_judge(task, CALL_MREMAP_DONTUNMAP, range, 0,
			   returned(mremap(addr_of(range), range.len, range.len,
					   MREMAP_MAYMOVE | MREMAP_DONTUNMAP)), sealed ?: -EINVAL);
	}
	fuzz_check_range(task, range);
}

const struct step fuzz_map_steps[] = {
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
	{ }
};
