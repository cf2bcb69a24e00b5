// SPDX-License-Identifier: MIT
/*
 * What becomes of a buffer when memory is short? Eviction, swapping, memory that runs out: the
 * buffer moves, and its contents do not change.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that are evicted and swapped out, and what is left of them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SMALL		(3 * PFNMAP_PAGE)
#define SCRATCH		0x5c2a7c40
#define PRESSURE	4	/* times what fits in */

static struct vpfn_arena arena;
static int big = -1;
static uint64_t pages_limit;

static void restore_pages_limit(int sig)
{
	(void)sig;
	if (pages_limit)
		vpfn_pages_limit_set(pages_limit);
}

static void create(uint64_t size, uint32_t placement, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(arena.fd, size, placement, flags, bo), 0);
}

/* Several times what fits in, of all sizes, used by CPU and engine in turn. */
static void test_pressure(void)
{
	const uint64_t wanted = PRESSURE * arena.vram;
	const uint64_t sizes[] = {
		32 * MIB, PFNMAP_PAGE, VPFN_LARGE, PFNMAP_2M, SMALL, 8 * MIB, MIB, 17 * PFNMAP_PAGE,
		4 * MIB + PFNMAP_PAGE,
	};
	struct vpfn_set set = { .arena = &arena };

	vpfn_require_room(wanted - arena.vram + 2 * sizes[0]);
	for (unsigned int i = 0; set.bytes < wanted; i++) {
		vpfn_set_create(&set, sizes[i % ARRAY_SIZE(sizes)], VRAM, i % 2 ? CPU_ACCESS : 0);
		vpfn_set_fill(&set, i);
		igt_assert_eq(vpfn_where(arena.fd, &set.bos[i]), VRAM);
	}
	igt_assert(vpfn_set_in_vram(&set) <= arena.vram);

	vpfn_set_assert_seen(&set, VPFN_BY_MAPPING);
	for (unsigned int i = 0; i < set.count; i += 2) {
		if (set.bos[i].size <= 4 * MIB)
			vpfn_set_write(&set, i);
	}
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);
	igt_assert(vpfn_set_in_vram(&set) <= arena.vram);
	vpfn_set_close(&set);
}

/* The pattern of the whole buffer, written by the CPU, as the engine sees its ends. */
static void check_ends_by_engine(int file, const struct vpfn_bo *bo,
				 const struct pfnmap_pattern *pattern)
{
	uint64_t len = 2 * PFNMAP_2M;
	void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t ends[] = { 0, bo->size - len };
	uint32_t crc;

	igt_assert(bytes != MAP_FAILED);
	for (unsigned int i = 0; i < ARRAY_SIZE(ends); i++) {
		memset(bytes, 0, len);
		pfnmap_pattern_fill(pattern, (char *)bytes - ends[i], ends[i], ends[i] + len);
		igt_assert_eq(vpfn_crc(file, bo, ends[i], len, &crc), 0);
		igt_assert_eq_u64(crc, vpfn_crc32c(bytes, len));
	}
	munmap(bytes, len);
}

/* All of the buffer is as it must be, through a mapping and not through the page table. */
static void check_mapping(const struct pfnmap_pattern *pattern, const void *map)
{
	uint64_t size = pattern->size;

	igt_assert_eq_u64(pfnmap_pattern_check(pattern, map, 0, size), size);
	igt_assert_eq_u64(pfnmap_pattern_check_by_ptrace(pattern, map, 0, size), size);
}

static void assert_levels(int file, const char *map, uint64_t size, enum vpfn_level level)
{
	vpfn_assert_level(file, map, level);
	vpfn_assert_level(file, map + size - PFNMAP_PAGE, level);
}

/* Whatever is there now, after a touch of both ends. */
static void assert_levels_touched(int file, const char *map, uint64_t size, enum vpfn_level level)
{
	pfnmap_load(map);
	pfnmap_load(map + size - PFNMAP_PAGE);
	assert_levels(file, map, size, level);
}

/*
 * The buffer is evicted under two mappings, and comes back by a job, then by a touch: a leaf of a
 * GiB is nowhere to be had but in VRAM, one of 2 MiB may be had in system memory (rule 4).
 */
static void test_evict(enum vpfn_level level)
{
	struct pfnmap_pattern pattern = {
		.seed = level, .size = level == VPFN_PUD ? PFNMAP_1G : 3 * PFNMAP_2M,
	};
	int file = level == VPFN_PUD ? big : arena.fd;
	char *maps[2];
	struct vpfn_bo bo;

	vpfn_require_room(pattern.size);
	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(file, pattern.size, &bo), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		maps[i] = vpfn_map_whole(file, &bo);
	pfnmap_pattern_fill(&pattern, maps[0], 0, pattern.size);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		assert_levels_touched(file, maps[i], pattern.size, level);

	for (unsigned int by_touch = 0; by_touch < 2; by_touch++) {
		igt_assert_eq(vpfn_evict(file), 0);
		igt_assert_eq(vpfn_where(file, &bo), SYSTEM);
		for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
			assert_levels(file, maps[i], pattern.size, VPFN_NONE);

		if (!by_touch) {
			check_ends_by_engine(file, &bo, &pattern);
			igt_assert_eq(vpfn_where(file, &bo), VRAM);
		}
		check_mapping(&pattern, maps[0]);
		for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
			assert_levels_touched(file, maps[i], pattern.size, level);
	}
	if (level == VPFN_PUD)
		igt_assert_eq(vpfn_where(file, &bo), VRAM);
	else if (level == VPFN_PTE)
		igt_assert_eq(vpfn_where(file, &bo), SYSTEM);

	/* Wherever it is, what is written there counts. */
	pattern.seed += 10;
	pfnmap_pattern_fill(&pattern, maps[0], 0, pattern.size);
	check_ends_by_engine(file, &bo, &pattern);
	check_mapping(&pattern, maps[1]);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		igt_assert_eq(munmap(maps[i], pattern.size), 0);
	vpfn_bo_close(file, &bo);
}

/*
 * There is no room for what was evicted: a touch evicts no other buffer, but takes what system
 * memory has. Where it took a page table the leaf cannot be larger again, in that mapping (rule 4).
 */
static void test_evicted_for_good(void)
{
	struct pfnmap_pattern pattern = { .seed = 0x6b, .size = PFNMAP_1G };
	struct vpfn_bo bo, others[8];
	unsigned int count = 0;
	char *used, *kept;
	uint64_t size;

	vpfn_require_room(pattern.size);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	igt_assert_eq(vpfn_bo_create(big, pattern.size, &bo), 0);
	used = vpfn_map_whole(big, &bo);
	kept = vpfn_map_whole(big, &bo);
	pfnmap_pattern_fill(&pattern, used, 0, pattern.size);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(vpfn_vram_size(big, &size), 0);
	for (; size >= PFNMAP_1G && count < ARRAY_SIZE(others); size -= PFNMAP_1G)
		igt_assert_eq(vpfn_bo_create(big, PFNMAP_1G, &others[count++]), 0);

	check_mapping(&pattern, used);
	igt_assert_eq(vpfn_where(big, &bo), SYSTEM);
	for (unsigned int i = 0; i < count; i++) {
		igt_assert_eq(vpfn_where(big, &others[i]), VRAM);
		vpfn_bo_close(big, &others[i]);
	}

	/* Their room is free when the engine has cleared it; an eviction waits for that. */
	igt_assert_eq(vpfn_evict(big), 0);
	assert_levels_touched(big, kept, pattern.size, VPFN_PUD);
	igt_assert_eq(vpfn_where(big, &bo), VRAM);
	assert_levels_touched(big, used, pattern.size, VPFN_PMD);
	check_mapping(&pattern, used);
	check_mapping(&pattern, kept);
	igt_assert_eq(munmap(used, pattern.size), 0);
	igt_assert_eq(munmap(kept, pattern.size), 0);
	vpfn_bo_close(big, &bo);
}

#define SWAP_COUNT	12

/* Some in system memory by choice, some evicted; some written by the CPU, some by the engine. */
static void set_for_swap(struct vpfn_set *set)
{
	for (unsigned int i = 0; i < SWAP_COUNT; i++) {
		vpfn_set_create(set, PFNMAP_2M, i % 2 ? SYSTEM : VRAM, CPU_ACCESS);
		if (i % 4 < 2)
			vpfn_set_fill(set, i);
		else
			vpfn_set_write(set, i);
	}
	igt_assert_eq(vpfn_evict(arena.fd), 0);
	igt_assert_eq_u64(vpfn_set_in_vram(set), 0);
}

static void swap_out(const struct vpfn_set *set)
{
	uint64_t before, after;
	struct vpfn_bo bo;

	/* Who needs a page now sends all others out. */
	igt_assert_eq(vpfn_shmem_size(&before), 0);
	igt_assert_eq(vpfn_pages_limit_set(1), 0);
	create(PFNMAP_2M, SYSTEM, 0, &bo);
	igt_assert_eq(vpfn_fill(arena.fd, &bo, 0, PFNMAP_2M, SCRATCH), 0);
	vpfn_bo_close(arena.fd, &bo);
	igt_assert_eq(vpfn_shmem_size(&after), 0);
	igt_info("%lld of %llu KiB are swapped out\n", (long long)(after - before) >> 10,
		 (unsigned long long)set->bytes >> 10);
	igt_assert(after >= before + set->bytes / 4 * 3);
}

static bool shmem_is_back(const void *arg)
{
	const uint64_t *before = arg;
	uint64_t now;

	return !vpfn_shmem_size(&now) && now <= *before + MIB;
}

static void test_swap(enum vpfn_observer by)
{
	struct vpfn_set set = { .arena = &arena };
	uint64_t before;

	set_for_swap(&set);
	igt_assert_eq(vpfn_shmem_size(&before), 0);
	swap_out(&set);

	/* Twice: with each that comes back others go, as long as the limit is low. */
	vpfn_set_assert_seen(&set, by);
	vpfn_set_assert_seen(&set, by);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);
	vpfn_set_assert_seen(&set, VPFN_BY_MAPPING);

	/* Nothing is left behind in shared memory. */
	vpfn_set_close(&set);
	igt_assert_eq(pfnmap_wait_until(shmem_is_back, &before), 0);
}

static void test_swap_mapped(void)
{
	struct vpfn_set set = { .arena = &arena };
	char *maps[SWAP_COUNT];

	/* The mappings were there, and touched, before. */
	set_for_swap(&set);
	for (unsigned int i = 0; i < set.count; i++) {
		maps[i] = vpfn_map_whole(arena.fd, &set.bos[i]);
		pfnmap_load(maps[i]);
	}
	swap_out(&set);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	for (unsigned int i = 0; i < set.count; i++) {
		uint64_t size = set.bos[i].size;

		vpfn_assert_level(arena.fd, maps[i], VPFN_NONE);
		igt_assert_eq_u64(vpfn_content_check(&set.contents[i], maps[i], 0, size), size);
		set.contents[i] = vpfn_content_words(100 + i);
		vpfn_content_write(&set.contents[i], maps[i], 0, size);
	}
	/* The touch has brought some back to device memory. */
	igt_assert_eq(vpfn_evict(arena.fd), 0);
	swap_out(&set);
	for (unsigned int i = 0; i < set.count; i++)
		munmap(maps[i], set.bos[i].size);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);
	vpfn_set_close(&set);
}

static int take_all(struct vpfn_set *set)
{
	struct vpfn_bo bo;
	int err;

	for (;;) {
		err = vpfn_bo_create_in(arena.fd, VPFN_LARGE / 2, VRAM, 0, &bo);
		if (err)
			return err;
		vpfn_set_add(set, &bo);
		set->contents[set->count - 1] = vpfn_content_pattern(set->count);
		err = vpfn_fill(arena.fd, &bo, 0, bo.size, set->count);
		if (err)
			return err;
	}
}

static bool is_no_room(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

/* A buffer takes room in system memory when it is used for the first time, by four bytes. */
static void take_system_room(struct vpfn_set *set)
{
	struct vpfn_bo bo;

	for (uint64_t size = PFNMAP_1G; size >= PFNMAP_2M; size /= 2) {
		for (;;) {
			create(size, SYSTEM, 0, &bo);
			if (vpfn_fill(arena.fd, &bo, 0, 4, SCRATCH)) {
				vpfn_bo_close(arena.fd, &bo);
				break;
			}
			vpfn_set_add(set, &bo);
		}
	}
}

/* Nothing can go to system memory, but there is room to change places in device memory. */
static void test_reach_without_room(void)
{
	struct vpfn_set all = { .arena = &arena }, hidden = { .arena = &arena };
	struct vpfn_set hogs = { .arena = &arena };
	char *map;

	igt_assert_eq(vpfn_swap_off(), 0);
	vpfn_set_fill_visible(&all);
	for (unsigned int i = 0; i < 3; i++) {
		vpfn_set_create(&hidden, VPFN_LARGE, VRAM, 0);
		vpfn_set_fill(&hidden, i);
	}
	take_system_room(&hogs);

	for (unsigned int i = 0; i < hidden.count; i++) {
		map = vpfn_map_whole(arena.fd, &hidden.bos[i]);
		igt_assert_eq(pfnmap_signal_of(map, PFNMAP_READ), 0);
		munmap(map, VPFN_LARGE);
		vpfn_assert_seen(&arena, VPFN_BY_MAPPING, &hidden.bos[i], &hidden.contents[i]);
	}
	vpfn_set_assert_seen(&all, VPFN_BY_MAPPING);
	vpfn_set_close(&hogs);
	vpfn_set_assert_seen(&all, VPFN_BY_ENGINE);
	vpfn_set_assert_seen(&hidden, VPFN_BY_ENGINE);
	vpfn_set_close(&hidden);
	vpfn_set_close(&all);
}

/* All memory that buffers may have is taken: the next one is refused, and nothing is lost. */
static void test_exhaust(void)
{
	struct vpfn_set set = { .arena = &arena };
	struct vpfn_bo hog;
	uint64_t room;
	char *map;
	int err;

	igt_assert_eq(vpfn_swap_off(), 0);
	/* What the last test had is free when an eviction has ended. */
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(vpfn_evict(arena.fd), 0);
	igt_assert_eq(vpfn_system_room(&room), 0);
	create((room - arena.vram / 4) & -PFNMAP_2M, SYSTEM, 0, &hog);
	igt_assert_eq(vpfn_fill(arena.fd, &hog, 0, 4, SCRATCH), 0);
	err = take_all(&set);
	igt_info("%llu MiB, then %s\n", (unsigned long long)set.bytes >> 20, strerror(-err));
	igt_assert(is_no_room(err));
	igt_assert(set.bytes > arena.vram);
	igt_assert(set.bytes + hog.size <= arena.vram + room + VPFN_LARGE);

	/* Neither use of what there is kills a process; it works, or it says why not. */
	for (unsigned int i = 0; i < set.count; i += 7) {
		int signal;

		err = vpfn_fill(arena.fd, &set.bos[i], 0, set.bos[i].size, set.contents[i].seed);
		igt_assert(!err || is_no_room(err));
		map = vpfn_map_whole(arena.fd, &set.bos[i]);
		signal = pfnmap_signal_of(map, PFNMAP_WRITE);
		igt_assert(!signal || signal == SIGBUS);
		munmap(map, set.bos[i].size);
	}

	/* With a little room to move, all is there; the last one may never have been filled. */
	for (int i = 0; i < 4; i++) {
		set.bytes -= set.bos[--set.count].size;
		igt_assert_eq(vpfn_bo_close(arena.fd, &set.bos[set.count]), 0);
	}
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);
	vpfn_bo_close(arena.fd, &hog);
	vpfn_set_assert_seen(&set, VPFN_BY_MAPPING);

	vpfn_set_close(&set);
	vpfn_set_fill_vram(&set);
	for (unsigned int i = 0; i < set.count; i++)
		vpfn_set_fill(&set, i);
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);
	vpfn_set_close(&set);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "swap-mapped", "Buffers are swapped out under their mappings, twice.",
	  test_swap_mapped },
	{ "reach-without-room", "A touch needs no room in system memory while there is some in device memory.",
	  test_reach_without_room },
	{ "evicted-for-good", "A touch evicts nothing; there may be no GiB leaf then, until there is room.",
	  test_evicted_for_good },
	{ "exhaust", "When all memory is taken, the next one is refused and nothing is lost.",
	  test_exhaust },
};

int igt_main()
{
	igt_fixture() {
		big = vpfn_require_device();
		vpfn_arena_open(&arena);
		igt_assert_eq(vpfn_pages_limit_get(&pages_limit), 0);
		igt_install_exit_handler(restore_pages_limit);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			igt_assert_eq(vpfn_swap_on(), 0);
			tests[i].run();
		}
	}

	igt_fixture() {
		igt_assert_eq(vpfn_swap_on(), 0);
	}

	igt_describe("Four times as much as device memory holds, of all sizes.");
	igt_subtest("pressure")
		test_pressure();

	igt_describe("Evicted under a mapping and brought back, the leaf is as large again.");
	igt_subtest_with_dynamic("evict") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_evict(level);
		}
	}

	igt_describe("What has been swapped out comes back for each kind of access.");
	igt_subtest_with_dynamic("swap") {
		for_each_vpfn_observer(by) {
			igt_dynamic(vpfn_observer_name(by))
				test_swap(by);
		}
	}

	igt_fixture() {
		vpfn_arena_close(&arena);
		close(big);
	}
}
