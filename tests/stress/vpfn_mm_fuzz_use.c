// SPDX-License-Identifier: MIT
/*
 * Which calls use the mappings of an arena, or say something about them?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "pfnmap/pfnmap_mm_uapi.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

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
	struct segment *segment = fuzz_pick_buffer_segment(task);
	unsigned int i = pick(task, ARRAY_SIZE(advices));
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_warm(task, range);
	fuzz_judge(task, CALL_MADVISE, range, advices[i].advice,
		   madvise(addr_of(range), range.len, advices[i].advice), advices[i].expected);
	fuzz_split_around(task, range);
	if (advices[i].advice == MADV_DONTFORK)
		fuzz_segment_at(task, range.start)->dontfork = true;
	fuzz_check_range(task, range);
}

static void step_mbind(struct task *task)
{
	static const int flags[] = {
		0, MPOL_MF_MOVE, MPOL_MF_STRICT, MPOL_MF_STRICT | MPOL_MF_MOVE,
	};
	struct segment *segment = fuzz_pick_buffer_segment(task);
	int flag = flags[pick(task, ARRAY_SIZE(flags))];
	unsigned long nodes = 1;
	bool set = pick(task, 2);
	struct range range;

	if (!segment || !fuzz_has_numa)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_warm(task, range);
	fuzz_judge(task, CALL_MBIND, range, flag,
		   syscall(SYS_mbind, addr_of(range), range.len,
			   set ? MPOL_PREFERRED : MPOL_DEFAULT, set ? &nodes : NULL,
			   set ? 8 * sizeof(nodes) : 0, flag), 0);
	fuzz_split_around(task, range);
	fuzz_check_range(task, range);
}

/* Cannot be undone: for processes that end soon. */
static void step_mseal(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;

	if (!segment || !task->is_child)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_judge(task, CALL_MSEAL, range, 0, syscall(SYS_mseal, addr_of(range), range.len, 0), 0);
	fuzz_split_around(task, range);
	fuzz_segment_at(task, range.start)->sealed = true;
}

static void step_mlock(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_warm(task, range);
	if (pick(task, 2))
		fuzz_judge(task, CALL_MLOCK, range, 0, mlock(addr_of(range), range.len), 0);
	else
		fuzz_judge(task, CALL_MUNLOCK, range, 0, munlock(addr_of(range), range.len), 0);
	fuzz_split_around(task, range);
	fuzz_check_range(task, range);
}

static void step_msync(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	int flag = pick(task, 2) ? MS_SYNC : MS_ASYNC;
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	fuzz_judge(task, CALL_MSYNC, range, flag, msync(addr_of(range), range.len, flag),
		   flag == MS_SYNC ? -EINVAL : 0);
}

static void step_mincore(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	if (range.len > sizeof(task->text) * PFNMAP_PAGE)
		range.len = sizeof(task->text) * PFNMAP_PAGE;
	fuzz_judge(task, CALL_MINCORE, range, 0,
		   mincore(addr_of(range), range.len, (unsigned char *)task->text), 0);
}

static int open_proc(struct task *task, const char *path, int oflags)
{
	int file = open(path, oflags | O_CLOEXEC);

	if (file < 0)
		fuzz_fail(task, "open(%s): %s", path, strerror(errno));
	return file;
}

/* All of a file about the whole address space, while other threads change it. */
static void step_read_maps(struct task *task)
{
	bool smaps = pick(task, 2) || !fuzz_has_numa;
	int file = open_proc(task, smaps ? "/proc/self/smaps" : "/proc/self/numa_maps", O_RDONLY);
	struct range arena = { task->arena, ARENA };
	ssize_t n;

	do {
		n = read(file, task->text, sizeof(task->text));
	} while (n > 0);
	fuzz_judge(task, smaps ? CALL_SMAPS : CALL_NUMA_MAPS, arena, 0, n, 0);
	close(file);
}

/* Special entries lead to no page. */
static void step_pagemap(struct task *task)
{
	const uint64_t present = 1ull << 63, frame = (1ull << 55) - 1;
	struct segment *segment = fuzz_pick_buffer_segment(task);
	uint64_t *entries = (uint64_t *)task->text;
	unsigned int room = sizeof(task->text) / sizeof(*entries);
	struct range range;
	ssize_t n;
	int file;

	if (!segment)
		return;
	range = fuzz_pick_range(task, segment);
	if (range.len / PFNMAP_PAGE < room)
		room = range.len / PFNMAP_PAGE;
	file = open_proc(task, "/proc/self/pagemap", O_RDONLY);
	n = pread(file, entries, room * sizeof(*entries),
		  range.start / PFNMAP_PAGE * sizeof(*entries));
	fuzz_judge(task, CALL_PAGEMAP, range, room, n, 0);
	close(file);
	for (unsigned int i = 0; i < n / sizeof(*entries); i++) {
		if (entries[i] & present || entries[i] & frame)
			fuzz_fail(task, "pagemap shows %#" PRIx64, entries[i]);
	}
}

static void step_clear_refs(struct task *task)
{
	char what = '1' + 3 * pick(task, 2);
	int file = open_proc(task, "/proc/self/clear_refs", O_WRONLY);

	fuzz_judge(task, CALL_CLEAR_REFS, (struct range) { task->arena, ARENA }, what,
		   write(file, &what, 1), 0);
	close(file);
}

/* The task's own word at the site, and what it will be next. */
uintptr_t fuzz_own_word(const struct task *task, const struct segment *segment,
			unsigned int site, uint64_t *next)
{
	const struct vpfn_words *words = &fuzz_shared->words[segment->buffer];
	uint32_t generation = vpfn_words_generation(words, site, task->writer);

	*next = vpfn_words_value(words, site, task->writer, generation + 1);
	return segment->start - segment->offset + vpfn_words_offset(words, site) +
	       task->writer * sizeof(uint64_t);
}

static void step_store(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	unsigned int site;
	uintptr_t addr;
	uint64_t word;

	if (!segment || !task->may_store || !(segment->prot & PROT_WRITE))
		return;
	for (unsigned int i = 0; i < 8 && fuzz_pick_site(task, segment, &site); i++) {
		addr = fuzz_own_word(task, segment, site, &word);
		if (fuzz_try(task, addr, TRY_STORE, &word))
			fuzz_fail(task, "a signal upon a store to %#" PRIxPTR, addr);
		vpfn_words_written(&fuzz_shared->words[segment->buffer], site, task->writer);
	}
}

void fuzz_step_load(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	unsigned int site;

	if (!segment || !(segment->prot & PROT_READ))
		return;
	for (unsigned int i = 0; i < 16 && fuzz_pick_site(task, segment, &site); i++)
		fuzz_check_site(task, segment, site);
}

static void step_load_tail(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	const struct vpfn_words *words;
	uint32_t oldest, newest, seen;
	uint64_t end, at, word;

	if (!segment || !(segment->prot & PROT_READ))
		return;
	words = &fuzz_shared->words[segment->buffer];
	end = segment->offset + segment_len(segment);
	if (end <= words->tail)
		return;
	at = segment->offset > words->tail ? segment->offset : words->tail;
	at += pick(task, (end - at) / sizeof(word)) * sizeof(word);
	oldest = __atomic_load_n(&words->tail_done, __ATOMIC_SEQ_CST);
	if (fuzz_try(task, segment->start + at - segment->offset, TRY_LOAD, &word))
		fuzz_fail(task, "a signal upon a load from %#" PRIx64 " of buffer %u", at,
			  segment->buffer);
	newest = __atomic_load_n(&words->tail_begun, __ATOMIC_SEQ_CST);
	seen = (uint32_t)word ^ (words->buffer + 1) << 24;
	if (!word)
		seen = 0;
	if (seen < oldest || seen > newest)
		fuzz_fail(task, "the engine's word at %#" PRIx64 " of buffer %u is %#" PRIx64
			  ", not of generation %u to %u", at, segment->buffer, word, oldest,
			  newest);
}

static void step_probe(struct task *task)
{
	for (unsigned int i = 0; i < 4; i++)
		fuzz_check_at(task, task->arena + pick(task, ARENA / PFNMAP_PAGE) * PFNMAP_PAGE);
}

/* As a debugger does. It needs no right to read, but one to write. */
static void step_mem(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	const struct vpfn_words *words;
	bool write = pick(task, 2);
	unsigned int site;
	uintptr_t addr;
	uint64_t next, word;
	int err, expected;

	if (!segment || !fuzz_pick_site(task, segment, &site) || (write && !task->may_store))
		return;
	words = &fuzz_shared->words[segment->buffer];
	addr = fuzz_own_word(task, segment, site, &next);
	word = next;
	expected = write && !(segment->prot & PROT_WRITE) ? -EIO : 0;
	err = pfnmap_proc_mem((void *)addr, &word, sizeof(word), write);
	errno = -err;
	fuzz_judge(task, write ? CALL_MEM_WRITE : CALL_MEM_READ,
		   (struct range) { addr, sizeof(word) }, site, err ? -1 : 0, expected);
	if (write && !err)
		vpfn_words_written(&fuzz_shared->words[segment->buffer], site, task->writer);
	else if (!write && word != vpfn_words_value(words, site, task->writer,
						    vpfn_words_generation(words, site,
									  task->writer)))
		fuzz_fail(task, "/proc/self/mem reads %#" PRIx64 " at %#" PRIxPTR, word, addr);
}

/* The kernel's own loads and stores, through a pipe. */
static void step_pipe(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct vpfn_words *words;
	unsigned int site;
	struct range range;
	uint64_t next, word;

	if (!segment || !fuzz_pick_site(task, segment, &site))
		return;
	words = &fuzz_shared->words[segment->buffer];
	range = (struct range) { fuzz_own_word(task, segment, site, &next), sizeof(word) };
	fuzz_judge(task, CALL_WRITE, range, site,
		   write(task->pipe[1], addr_of(range), sizeof(word)),
		   segment->prot & PROT_READ ? 0 : -EFAULT);
	if (segment->prot & PROT_READ) {
		fuzz_judge(task, CALL_READ, range, 0, read(task->pipe[0], &word, sizeof(word)), 0);
		if (word != vpfn_words_value(words, site, task->writer,
					     vpfn_words_generation(words, site, task->writer)))
			fuzz_fail(task, "write() reads %#" PRIx64 " at %#" PRIxPTR, word,
				  range.start);
	}
	if (!(segment->prot & PROT_WRITE) || !task->may_store)
		return;
	fuzz_judge(task, CALL_WRITE, range, site, write(task->pipe[1], &next, sizeof(next)), 0);
	fuzz_judge(task, CALL_READ, range, site,
		   read(task->pipe[0], addr_of(range), sizeof(next)), 0);
	vpfn_words_written(words, site, task->writer);
}

static void step_leaf(struct task *task)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	unsigned int site;

	if (segment && segment->prot & PROT_READ && fuzz_pick_site(task, segment, &site))
		fuzz_check_leaf(task, segment, site);
}

/* Faults in another thread's arena, near that thread's last call; the content is unknown. */
static void step_intrude(struct task *task)
{
	const struct task *other = &fuzz_tasks[pick(task, fuzz_num_tasks)];
	uintptr_t page;
	uint64_t word;

	for (unsigned int i = 0; i < 8; i++) {
		page = (other->focus & ~(PFNMAP_PAGE - 1)) + pick(task, 1024) * PFNMAP_PAGE;
		fuzz_try(task, page, TRY_LOAD, &word);
	}
}

const struct step fuzz_use_steps[] = {
	{ step_store, 16 },
	{ fuzz_step_load, 12 },
	{ step_load_tail, 4 },
	{ step_probe, 6 },
	{ step_leaf, 6 },
	{ step_intrude, 6 },
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
	{ }
};
