// SPDX-License-Identifier: MIT
/*
 * Does each byte survive when several processes want four times the device memory? Each keeps
 * a model of all its bytes, uses CPU and engine in random order, and compares.
 *
 * VPFN_STORM_SECONDS is how long a storm lasts. VPFN_STORM_SEED, a number that each run prints,
 * lets the processes do the same things again, each in the same order; how they meet is chance.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_random.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Processes that together want four times the device memory, every byte checked.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define PROCESSES	8
#define TIMES		4
#define SECONDS		2
#define SEED		1

/* Blocks of a buffer: the model knows what is in each. */
#define MAX_BLOCKS	64
#define MAX_BUFFERS	128
#define SMALL_BUFFERS	60

struct block {
	struct vpfn_content content;
	uint32_t crc;
};

struct buffer {
	struct vpfn_bo bo;
	char *map;
	uint64_t block;			/* bytes in one */
	unsigned int num_blocks;
	struct block blocks[MAX_BLOCKS];
};

/* What one process has and does. */
struct storm {
	unsigned int self;
	int fd;
	struct vpfn_meter meter;
	struct vpfn_random random;
	uint64_t generation;		/* of contents: none comes twice */
	uint64_t steps;
	unsigned int num_buffers;
	struct buffer buffers[MAX_BUFFERS];
};

static uint64_t seed, pages_limit;

static void restore_pages_limit(int sig)
{
	(void)sig;
	if (pages_limit)
		vpfn_pages_limit_set(pages_limit);
}

static uint64_t pick(struct storm *storm, uint64_t count)
{
	return vpfn_random_pick(&storm->random, count);
}

/* A run of blocks of a buffer. */
struct range {
	struct buffer *buffer;
	unsigned int first;
	unsigned int count;
};

static struct range pick_range(struct storm *storm, struct buffer *buffer, unsigned int max)
{
	struct range range = { .buffer = buffer, .first = pick(storm, buffer->num_blocks) };
	unsigned int left = buffer->num_blocks - range.first;

	range.count = 1 + pick(storm, left < max ? left : max);
	return range;
}

/* Mostly a small one: the large ones are for the pressure, and keep the engine busy for long. */
static struct buffer *pick_buffer(struct storm *storm)
{
	unsigned int count = pick(storm, 4) ? SMALL_BUFFERS : storm->num_buffers;

	return &storm->buffers[pick(storm, count)];
}

static uint64_t range_offset(const struct range *range)
{
	return range->first * range->buffer->block;
}

static uint64_t range_len(const struct range *range)
{
	return range->count * range->buffer->block;
}

/* Each block of the range holds the content from its own beginning. */
static void range_set(const struct range *range, struct vpfn_content content)
{
	struct block block = {
		.content = content, .crc = vpfn_content_crc(&content, 0, range->buffer->block),
	};

	for (unsigned int i = 0; i < range->count; i++)
		range->buffer->blocks[range->first + i] = block;
}

static void complain(const struct storm *storm, const struct range *range, unsigned int i,
		     const char *who, uint64_t at, uint64_t seen, uint64_t expected)
{
	igt_assert_f(false, "seed %#" PRIx64 ", process %u, step %" PRIu64 ": %s sees %#" PRIx64
		     ", not %#" PRIx64 ", at %#" PRIx64 " of block %u of %u of a buffer of %"
		     PRIu64 " KiB, handle %u\n", seed, storm->self, storm->steps, who, seen,
		     expected, at, range->first + i, range->buffer->num_blocks,
		     range->buffer->bo.size >> 10, range->buffer->bo.handle);
}

/* The engine orders its own work; the CPU has to wait for it. */
static void wait_for_engine(struct storm *storm, const struct buffer *buffer, uint32_t flags)
{
	igt_assert_eq(vpfn_bo_wait(storm->fd, &buffer->bo, flags, VPFN_LONG_NS), 0);
}

static void engine_fill(struct storm *storm, const struct range *range)
{
	uint32_t pattern = ++storm->generation << 4 | storm->self;
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(&range->buffer->bo, range_offset(range),
						range_len(range), pattern);

	igt_assert_eq(vpfn_submit(storm->fd, &cmd, 1, 0, 0), 0);
	range_set(range, vpfn_content_pattern(pattern));
}

static void step_fill(struct storm *storm)
{
	struct range range = pick_range(storm, pick_buffer(storm), MAX_BLOCKS);

	engine_fill(storm, &range);
}

/* Another buffer of the same blocks, which may be the same buffer, but not the same range. */
static bool pick_target(struct storm *storm, const struct range *from, struct range *to)
{
	struct buffer *buffer = pick_buffer(storm);

	if (buffer->block != from->buffer->block || buffer->num_blocks < from->count)
		return false;

	*to = *from;
	to->buffer = buffer;
	to->first = pick(storm, buffer->num_blocks - from->count + 1);
	return buffer != from->buffer || to->first + to->count <= from->first ||
	       from->first + from->count <= to->first;
}

static void step_copy(struct storm *storm)
{
	struct range from = pick_range(storm, pick_buffer(storm), MAX_BLOCKS), to;
	struct drm_vpfn_cmd cmd;

	if (!pick_target(storm, &from, &to))
		return;

	cmd = vpfn_cmd_copy(&to.buffer->bo, range_offset(&to), &from.buffer->bo,
			    range_offset(&from), range_len(&from));
	igt_assert_eq(vpfn_submit(storm->fd, &cmd, 1, 0, 0), 0);
	memcpy(&to.buffer->blocks[to.first], &from.buffer->blocks[from.first],
	       from.count * sizeof(struct block));
}

static void engine_check(struct storm *storm, const struct range *range)
{
	uint32_t crcs[MAX_BLOCKS];

	igt_assert_eq(vpfn_meter_blocks(&storm->meter, &range->buffer->bo, range_offset(range),
					range->buffer->block, range->count, crcs), 0);
	for (unsigned int i = 0; i < range->count; i++) {
		uint32_t expected = range->buffer->blocks[range->first + i].crc;

		if (crcs[i] != expected)
			complain(storm, range, i, "the engine's checksum", 0, crcs[i], expected);
	}
}

static void step_engine_check(struct storm *storm)
{
	struct range range = pick_range(storm, pick_buffer(storm), MAX_BLOCKS);

	engine_check(storm, &range);
}

static void step_cpu_write(struct storm *storm)
{
	struct range range = pick_range(storm, pick_buffer(storm), 1);
	struct vpfn_content content = vpfn_content_words(++storm->generation << 4 | storm->self);

	wait_for_engine(storm, range.buffer, 0);
	vpfn_content_write(&content, range.buffer->map + range_offset(&range), 0,
			   range.buffer->block);
	range_set(&range, content);
}

static void cpu_check(struct storm *storm, const struct range *range)
{
	uint64_t size = range->buffer->block;

	wait_for_engine(storm, range->buffer, DRM_VPFN_WAIT_WRITERS);
	for (unsigned int i = 0; i < range->count; i++) {
		const struct block *block = &range->buffer->blocks[range->first + i];
		char *base = range->buffer->map + (range->first + i) * size;
		uint64_t end = vpfn_content_check(&block->content, base, 0, size);

		if (end != size)
			complain(storm, range, i, "the CPU", end, pfnmap_load(base + end),
				 vpfn_content_word(&block->content, end));
	}
}

static void step_cpu_check(struct storm *storm)
{
	struct range range = pick_range(storm, pick_buffer(storm), 4);

	cpu_check(storm, &range);
}

/* A page by a debugger's way, in and out. */
static void step_ptrace(struct storm *storm)
{
	struct range range = pick_range(storm, pick_buffer(storm), 1);
	struct buffer *buffer = range.buffer;
	struct block *block = &buffer->blocks[range.first];
	uint64_t page = pick(storm, buffer->block / PFNMAP_PAGE) * PFNMAP_PAGE, end;
	char *addr = buffer->map + range_offset(&range) + page;
	uint64_t words[PFNMAP_PAGE / sizeof(uint64_t)];

	wait_for_engine(storm, buffer, 0);
	igt_assert_eq(pfnmap_proc_mem(addr, words, PFNMAP_PAGE, false), 0);
	end = vpfn_content_check(&block->content, (char *)words - page, page, page + PFNMAP_PAGE);
	if (end != page + PFNMAP_PAGE)
		complain(storm, &range, 0, "ptrace", end, words[(end - page) / sizeof(words[0])],
			 vpfn_content_word(&block->content, end));
	igt_assert_eq(pfnmap_proc_mem(addr, words, PFNMAP_PAGE, true), 0);
}

static void map_buffer(struct storm *storm, struct buffer *buffer)
{
	void *map;

	igt_assert_eq(vpfn_bo_map(storm->fd, &buffer->bo, &map), 0);
	buffer->map = map;
}

static void step_map_again(struct storm *storm)
{
	struct buffer *buffer = pick_buffer(storm);

	igt_assert_eq(munmap(buffer->map, buffer->bo.size), 0);
	map_buffer(storm, buffer);
}

/* Half of the buffers may lie nowhere but in device memory when the engine uses them. */
static void create_buffer(struct storm *storm, struct buffer *buffer, uint64_t size)
{
	static const uint32_t placements[] = { VRAM, VRAM, VRAM | SYSTEM, SYSTEM };
	uint32_t placement = placements[pick(storm, ARRAY_SIZE(placements))];
	uint32_t flags = pick(storm, 2) ? CPU_ACCESS : 0;
	struct range whole = { .buffer = buffer };

	igt_assert_eq(vpfn_bo_create_in(storm->fd, size, placement, flags, &buffer->bo), 0);
	map_buffer(storm, buffer);
	buffer->block = size > 4 * MIB ? MIB / 2 : size > MIB / 4 ? 16 * PFNMAP_PAGE : PFNMAP_PAGE;
	buffer->num_blocks = size / buffer->block;
	whole.count = buffer->num_blocks;
	range_set(&whole, VPFN_ZEROES);
}

static void close_buffer(struct storm *storm, struct buffer *buffer)
{
	igt_assert_eq(munmap(buffer->map, buffer->bo.size), 0);
	igt_assert_eq(vpfn_bo_close(storm->fd, &buffer->bo), 0);
}

/* With jobs on their way, for all that this process knows. */
static void step_create_again(struct storm *storm)
{
	struct buffer *buffer = pick_buffer(storm);
	uint64_t size = buffer->bo.size;

	close_buffer(storm, buffer);
	create_buffer(storm, buffer, size);
}

static const struct {
	void (*run)(struct storm *storm);
	unsigned int weight;
} steps[] = {
	{ step_fill, 6 },
	{ step_copy, 12 },
	{ step_engine_check, 6 },
	{ step_cpu_write, 6 },
	{ step_cpu_check, 6 },
	{ step_ptrace, 3 },
	{ step_map_again, 3 },
	{ step_create_again, 1 },
};

static void one_step(struct storm *storm)
{
	unsigned int total = 0, choice, i;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		total += steps[i].weight;
	choice = pick(storm, total);
	for (i = 0; choice >= steps[i].weight; i++)
		choice -= steps[i].weight;
	steps[i].run(storm);
	storm->steps++;
}

static void add_buffer(struct storm *storm, uint64_t size)
{
	igt_assert_lte(storm->num_buffers + 1, MAX_BUFFERS);
	create_buffer(storm, &storm->buffers[storm->num_buffers++], size);
}

static struct range whole_of(struct buffer *buffer)
{
	return (struct range) { .buffer = buffer, .count = buffer->num_blocks };
}

/* The small ones come first. All are filled: untouched memory would be no load. */
static void create_buffers(struct storm *storm, uint64_t bytes)
{
	const uint64_t large[] = { 32 * MIB, 16 * MIB, 8 * MIB, 4 * MIB, PFNMAP_2M, MIB };
	const uint64_t small[] = {
		PFNMAP_PAGE, 3 * PFNMAP_PAGE, 16 * PFNMAP_PAGE, 48 * PFNMAP_PAGE, 64 * PFNMAP_PAGE,
	};

	for (unsigned int i = 0; i < SMALL_BUFFERS; i++)
		add_buffer(storm, small[i % ARRAY_SIZE(small)]);
	for (unsigned int i = storm->self; bytes; i++) {
		uint64_t size = large[i % ARRAY_SIZE(large)];

		if (size > bytes)
			continue;
		add_buffer(storm, size);
		bytes -= size;
	}
	for (unsigned int i = 0; i < storm->num_buffers; i++) {
		struct range whole = whole_of(&storm->buffers[i]);

		engine_fill(storm, &whole);
	}
	for (unsigned int i = 0; i < storm->num_buffers; i++)
		wait_for_engine(storm, &storm->buffers[i], 0);
}

/* Each byte once more, by one of the two. */
static void check_all(struct storm *storm)
{
	for (unsigned int i = 0; i < storm->num_buffers; i++) {
		struct range whole = whole_of(&storm->buffers[i]);

		if (i % 2)
			engine_check(storm, &whole);
		else
			cpu_check(storm, &whole);
	}
}

/* How many processes have their buffers; in memory that all of them share */
static unsigned int *ready;

static bool all_are_ready(const void *arg)
{
	(void)arg;
	return __atomic_load_n(ready, __ATOMIC_ACQUIRE) == PROCESSES;
}

static void run_process(unsigned int self, uint64_t bytes, int64_t nanoseconds, uint64_t swapped)
{
	static struct storm storm;
	uint64_t shmem, most = 0;
	int64_t end;

	storm.self = self;
	vpfn_random_init(&storm.random, seed, self);
	storm.fd = vpfn_open_small(O_RDWR);
	igt_assert_lte(0, storm.fd);
	igt_assert_eq(vpfn_meter_open(storm.fd, &storm.meter), 0);
	create_buffers(&storm, bytes);
	__atomic_add_fetch(ready, 1, __ATOMIC_RELEASE);
	igt_assert_eq(pfnmap_wait_until(all_are_ready, NULL), 0);
	end = vpfn_deadline(nanoseconds);
	do {
		one_step(&storm);
		igt_assert_eq(vpfn_shmem_size(&shmem), 0);
		most = shmem > most ? shmem : most;
	} while (vpfn_deadline(0) < end);

	/* What has no place in either memory is swapped out; some of it may be on its way back. */
	igt_assert(most >= swapped);
	check_all(&storm);
	igt_info("process %u: %u buffers, %" PRIu64 " steps\n", self, storm.num_buffers,
		 storm.steps);
	close(storm.fd);
}

static void test_storm(uint64_t bytes, uint64_t swapped)
{
	int64_t seconds = vpfn_number_from_env("VPFN_STORM_SECONDS", SECONDS);

	igt_info("VPFN_STORM_SEED=%#" PRIx64 ", %" PRIu64 " MiB in %u processes, %" PRId64 " s\n",
		 seed, bytes >> 20, PROCESSES, seconds);
	ready = mmap(NULL, PFNMAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	igt_assert(ready != MAP_FAILED);
	igt_fork(child, PROCESSES)
		run_process(child, bytes / PROCESSES, seconds * 1000 * 1000 * 1000, swapped);
	igt_waitchildren();
	munmap(ready, PFNMAP_PAGE);
}

int igt_main()
{
	uint64_t vram = 0, room;

	igt_fixture() {
		int fd = vpfn_require_small_device();

		igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
		close(fd);
		igt_assert_eq(vpfn_system_room(&room), 0);
		igt_require_f(room >= TIMES * vram, "too little system memory for %llu MiB\n",
			      (unsigned long long)(TIMES * vram) >> 20);
		igt_assert_eq(vpfn_pages_limit_get(&pages_limit), 0);
		igt_install_exit_handler(restore_pages_limit);
		seed = vpfn_number_from_env("VPFN_STORM_SEED", SEED);
	}

	igt_describe("Eight processes, four times the device memory.");
	igt_subtest("eviction")
		test_storm(TIMES * vram, 0);

	igt_describe("Half as much again as device memory holds, and most of that is swapped out.");
	igt_subtest("eviction-and-swap") {
		igt_assert_eq(vpfn_pages_limit_set(vram / 8 / PFNMAP_PAGE), 0);
		test_storm(vram / 2 * 3, vram / 8);
		igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	}
}
