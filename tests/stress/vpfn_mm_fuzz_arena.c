// SPDX-License-Identifier: MIT
/*
 * What is mapped where in the arena of a task, and where may a call go?
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn_mm_fuzz.h"

struct segment *fuzz_segment_at(struct task *task, uintptr_t addr)
{
	for (unsigned int i = 0; i < task->num_segments; i++) {
		if (addr >= task->segments[i].start && addr < task->segments[i].end)
			return &task->segments[i];
	}
	return NULL;
}

static void split_at(struct task *task, uintptr_t addr)
{
	struct segment *segment = fuzz_segment_at(task, addr);
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

void fuzz_split_around(struct task *task, struct range range)
{
	split_at(task, range.start);
	split_at(task, range.start + range.len);
}

/* The range is one segment from now on; returns it as it was at the start of the range. */
struct segment *fuzz_replace(struct task *task, struct range range)
{
	struct segment *first, *last;
	unsigned int gone;

	fuzz_split_around(task, range);
	first = fuzz_segment_at(task, range.start);
	last = fuzz_segment_at(task, range.start + range.len - 1);
	gone = last - first;
	memmove(first + 1, last + 1,
		(task->segments + task->num_segments - (last + 1)) * sizeof(*first));
	task->num_segments -= gone;
	first->end = range.start + range.len;
	return first;
}

void fuzz_set_reserved(struct task *task, struct range range)
{
	struct segment *segment = fuzz_replace(task, range);

	*segment = (struct segment) { .start = segment->start, .end = segment->end };
}

void fuzz_set_buffer(struct task *task, struct range range, unsigned int buffer,
		     uint64_t offset, int prot)
{
	struct segment *segment = fuzz_replace(task, range);

	*segment = (struct segment) {
		.start = segment->start, .end = segment->end, .kind = BUFFER, .prot = prot,
		.buffer = buffer, .offset = offset,
	};
}

bool fuzz_is_sealed(struct task *task, struct range range)
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
int fuzz_unless_sealed(struct task *task, struct range range)
{
	return fuzz_is_sealed(task, range) ? -EPERM : 0;
}

struct segment *fuzz_pick_buffer_segment(struct task *task)
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
struct range fuzz_pick_page(struct task *task, struct range whole)
{
	struct range aligned = pick_aligned(task, whole, pick(task, 2) ? PFNMAP_2M : PFNMAP_PAGE);
	uintptr_t page = aligned.start;

	if (page > whole.start && pick(task, 2))
		page -= PFNMAP_PAGE;
	return (struct range) { page, PFNMAP_PAGE };
}

/* A part of a segment: all of it, a page, aligned to a leaf of any size, or to none. */
struct range fuzz_pick_range(struct task *task, const struct segment *segment)
{
	struct range whole = segment_range(segment);

	switch (pick(task, 8)) {
	case 0:
		return whole;
	case 1:
	case 2:
		return fuzz_pick_page(task, whole);
	case 3:
		return pick_aligned(task, whole, PFNMAP_1G);
	case 4:
	case 5:
		return pick_aligned(task, whole, PFNMAP_2M);
	default:
		return pick_aligned(task, whole, PFNMAP_PAGE);
	}
}

/* A place for so many bytes, such that @offset of a buffer could get leaves of @align there. */
uintptr_t fuzz_pick_place(struct task *task, uint64_t len, uint64_t offset, uint64_t align)
{
	uint64_t room = ARENA - len, place;

	place = pick(task, room / PFNMAP_PAGE + 1) * PFNMAP_PAGE;
	place = (place & ~(align - 1)) + (offset & (align - 1));
	return task->arena + (place > room ? room : place);
}

uint64_t fuzz_pick_alignment(struct task *task)
{
	static const uint64_t alignments[] = { PFNMAP_PAGE, PFNMAP_2M, PFNMAP_1G, PFNMAP_1G };

	return alignments[pick(task, ARRAY_SIZE(alignments))];
}

int fuzz_pick_prot(struct task *task)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	};

	return prots[pick(task, ARRAY_SIZE(prots))];
}
