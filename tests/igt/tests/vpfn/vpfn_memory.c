// SPDX-License-Identifier: MIT
/*
 * Where do buffers lie? Placements, what a new buffer holds, and device
 * memory that the CPU cannot see.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
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

IGT_TEST_DESCRIPTION("Where the buffers of vpfn lie, and that their contents do not depend on it.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SMALL		(3 * PFNMAP_PAGE)

/* What a former owner left behind. */
#define DIRT		0xd1b7d1b7

static struct vpfn_arena arena;

static void create(uint64_t size, uint32_t placement, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(arena.fd, size, placement, flags, bo), 0);
}

static bool is_buffer_count(const void *arg)
{
	const uint64_t *expected = arg;
	uint64_t count;

	return !vpfn_buffer_count(&count) && count == *expected;
}

/* A buffer that the engine still clears ends a little after its last user. */
static void assert_buffer_count(uint64_t count)
{
	igt_assert_eq(pfnmap_wait_until(is_buffer_count, &count), 0);
}

static void refuse(uint64_t size, uint32_t placement, uint32_t flags, uint32_t pad, int err)
{
	struct drm_vpfn_gem_create arg = {
		.size = size, .placement = placement, .flags = flags, .pad = pad,
	};
	uint64_t before;

	igt_assert_eq(vpfn_buffer_count(&before), 0);
	igt_assert_eq(vpfn_ioctl(arena.fd, DRM_IOCTL_VPFN_GEM_CREATE, &arg), err);
	assert_buffer_count(before);
	igt_assert_eq(arg.handle, 0);
}

/* The same call, as it should be: it works, and it counts. */
static void accept(uint64_t size, uint32_t placement, uint32_t flags)
{
	uint64_t before;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_buffer_count(&before), 0);
	create(size, placement, flags, &bo);
	igt_assert_neq(bo.handle, 0);
	assert_buffer_count(before + 1);
	igt_assert_eq(vpfn_bo_close(arena.fd, &bo), 0);
	assert_buffer_count(before);
}

static void test_create_bad_placement(void)
{
	refuse(PFNMAP_PAGE, 0, 0, 0, -EINVAL);
	refuse(PFNMAP_PAGE, 0, CPU_ACCESS, 0, -EINVAL);
	refuse(PFNMAP_PAGE, 1 << 2, 0, 0, -EINVAL);
	refuse(PFNMAP_PAGE, VRAM | 1 << 2, 0, 0, -EINVAL);
	refuse(PFNMAP_PAGE, SYSTEM | 1u << 31, 0, 0, -EINVAL);
	refuse(PFNMAP_PAGE, ~0u, 0, 0, -EINVAL);
	accept(PFNMAP_PAGE, VRAM, 0);
	accept(PFNMAP_PAGE, SYSTEM, 0);
	accept(PFNMAP_PAGE, VRAM | SYSTEM, 0);
}

static void test_create_bad_flags(void)
{
	const uint32_t placements[] = { VRAM, SYSTEM, VRAM | SYSTEM };

	for (unsigned int i = 0; i < ARRAY_SIZE(placements); i++) {
		refuse(PFNMAP_PAGE, placements[i], CPU_ACCESS << 1, 0, -EINVAL);
		refuse(PFNMAP_PAGE, placements[i], CPU_ACCESS | 1u << 31, 0, -EINVAL);
		refuse(PFNMAP_PAGE, placements[i], 0, 1, -EINVAL);
		refuse(PFNMAP_PAGE, placements[i], CPU_ACCESS, 1u << 31, -EINVAL);
		accept(PFNMAP_PAGE, placements[i], CPU_ACCESS);
	}
}

static void test_create_bad_size(void)
{
	const uint32_t placements[] = { VRAM, SYSTEM, VRAM | SYSTEM };
	uint64_t room;

	igt_assert_eq(vpfn_system_room(&room), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(placements); i++) {
		refuse(0, placements[i], 0, 0, -EINVAL);
		refuse(1, placements[i], 0, 0, -EINVAL);
		refuse(PFNMAP_PAGE - 1, placements[i], 0, 0, -EINVAL);
		refuse(PFNMAP_PAGE + 1, placements[i], 0, 0, -EINVAL);
		refuse(UINT64_MAX, placements[i], 0, 0, -EINVAL);
		refuse(-PFNMAP_PAGE, placements[i], 0, 0, -E2BIG);
		refuse(1ull << 63, placements[i], 0, 0, -E2BIG);
		/* More than the memory of the machine, and than that of the card. */
		refuse(4 * (room + arena.vram) & -PFNMAP_PAGE, placements[i], 0, 0, -E2BIG);
		accept(PFNMAP_PAGE, placements[i], 0);
	}

	refuse(arena.vram + PFNMAP_PAGE, VRAM, 0, 0, -E2BIG);
	refuse(arena.vram + PFNMAP_PAGE, VRAM, CPU_ACCESS, 0, -E2BIG);
	accept(arena.vram, VRAM, 0);
	accept(arena.vram + PFNMAP_PAGE, SYSTEM, 0);
	accept(arena.vram + PFNMAP_PAGE, VRAM | SYSTEM, 0);
}

static void test_placement(void)
{
	struct vpfn_bo bo;

	for (uint64_t size = PFNMAP_PAGE; size <= VPFN_LARGE; size = 4 * size + PFNMAP_PAGE) {
		create(size, VRAM, 0, &bo);
		igt_assert_eq(vpfn_where(arena.fd, &bo), VRAM);
		vpfn_bo_close(arena.fd, &bo);

		create(size, SYSTEM, 0, &bo);
		igt_assert_eq(vpfn_where(arena.fd, &bo), SYSTEM);
		igt_assert_eq(vpfn_fill(arena.fd, &bo, 0, size, DIRT), 0);
		igt_assert_eq(vpfn_where(arena.fd, &bo), SYSTEM);
		vpfn_bo_close(arena.fd, &bo);
	}
}

static bool device_memory_has_room(const void *unused)
{
	struct vpfn_bo bo;
	bool in_vram;

	(void)unused;
	create(VPFN_LARGE, VRAM | SYSTEM, 0, &bo);
	in_vram = vpfn_where(arena.fd, &bo) == VRAM;
	vpfn_bo_close(arena.fd, &bo);
	return in_vram;
}

static void test_placement_both(void)
{
	struct vpfn_set set = { .arena = &arena };
	struct vpfn_bo last;

	/* While there is room, in device memory; then elsewhere, without an eviction. */
	vpfn_set_fill_vram(&set);
	create(VPFN_LARGE, VRAM | SYSTEM, 0, &last);
	igt_assert_eq(vpfn_where(arena.fd, &last), SYSTEM);
	igt_assert_eq_u64(vpfn_set_in_vram(&set), set.bytes);
	vpfn_bo_close(arena.fd, &last);

	/* For one that may lie nowhere else, another one is evicted. */
	create(VPFN_LARGE, VRAM, 0, &last);
	igt_assert_eq(vpfn_where(arena.fd, &last), VRAM);
	igt_assert(vpfn_set_in_vram(&set) <= set.bytes - MIB);
	vpfn_bo_close(arena.fd, &last);

	/* Room in device memory is room again once the engine, too, has left it. */
	vpfn_set_close(&set);
	igt_assert_eq(pfnmap_wait_until(device_memory_has_room, NULL), 0);
}

/* A mapping of a buffer of each kind in each place. */
static const struct kind {
	const char *what;
	const char *cache;
	uint32_t placement;
	uint32_t place;
} kinds[] = {
	{ "created while device memory was full", "WC", VRAM | SYSTEM, SYSTEM },
	{ "evicted", "WC", VRAM, SYSTEM },
	{ "evicted, but allowed in both", "WC", VRAM | SYSTEM, SYSTEM },
	{ "allowed in system memory alone", "WB", SYSTEM, SYSTEM },
	{ "in device memory", "WC", VRAM, VRAM },
};

/* Sizes that take a leaf of each level: the bits of the cache mode are not at one place in both. */
static const uint64_t kind_sizes[] = { SMALL, PFNMAP_2M };

#define ROWS	(ARRAY_SIZE(kinds) * ARRAY_SIZE(kind_sizes))

static void create_kind(unsigned int kind, struct vpfn_bo *bos)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kind_sizes); i++)
		create(kind_sizes[i], kinds[kind].placement, CPU_ACCESS,
		       &bos[kind * ARRAY_SIZE(kind_sizes) + i]);
}

static void create_kinds(struct vpfn_bo *bos)
{
	struct vpfn_set set = { .arena = &arena };

	/* A touch while device memory is full: later there would be room for them. */
	vpfn_set_fill_vram(&set);
	create_kind(0, bos);
	for (unsigned int i = 0; i < ARRAY_SIZE(kind_sizes); i++) {
		char *map = vpfn_map_whole(arena.fd, &bos[i]);

		igt_assert_eq(pfnmap_signal_of(map, PFNMAP_WRITE), 0);
		munmap(map, bos[i].size);
	}
	vpfn_set_close(&set);
	for (unsigned int i = 1; i < ARRAY_SIZE(kinds) - 1; i++)
		create_kind(i, bos);
	igt_assert_eq(vpfn_evict(arena.fd), 0);
	create_kind(ARRAY_SIZE(kinds) - 1, bos);
}

static void test_cache_mode(void)
{
	struct vpfn_leaf leaves[ROWS];
	struct vpfn_bo bos[ROWS];
	const void *addrs[ROWS];

	create_kinds(bos);
	for (unsigned int i = 0; i < ROWS; i++) {
		char *map = vpfn_map_whole(arena.fd, &bos[i]);

		igt_assert_eq(pfnmap_signal_of(map, PFNMAP_WRITE), 0);
		igt_assert_eq(vpfn_where(arena.fd, &bos[i]),
			      kinds[i / ARRAY_SIZE(kind_sizes)].place);
		igt_assert_eq(vpfn_is_in_bar(&arena, map), vpfn_where(arena.fd, &bos[i]) == VRAM);
		addrs[i] = map;
	}

	igt_assert_eq(vpfn_leaves_from_ptdump(ROWS, addrs, leaves), 0);
	for (unsigned int i = 0; i < ROWS; i++) {
		const struct kind *kind = &kinds[i / ARRAY_SIZE(kind_sizes)];

		igt_info("%4llu KiB %s: %s, %s\n", (unsigned long long)bos[i].size >> 10,
			 kind->what, vpfn_level_name(leaves[i].level), leaves[i].cache);
		igt_assert(leaves[i].level != VPFN_NONE);
		igt_assert_f(!strcmp(leaves[i].cache, kind->cache), "not %s\n", kind->cache);
		munmap((void *)addrs[i], bos[i].size);
		vpfn_bo_close(arena.fd, &bos[i]);
	}
}

/* The memory behind a slot of a PMD is one aligned piece. */
static bool is_one_piece(const char *slot)
{
	struct vpfn_leaf first, leaf;

	igt_assert_eq(vpfn_leaf_from_driver(arena.fd, slot, &first), 0);
	if (first.pfn % (PFNMAP_2M / PFNMAP_PAGE))
		return false;

	for (uint64_t at = PFNMAP_PAGE; at < PFNMAP_2M; at += PFNMAP_PAGE) {
		igt_assert_eq(vpfn_leaf_from_driver(arena.fd, slot + at, &leaf), 0);
		if (leaf.pfn != first.pfn + at / PFNMAP_PAGE)
			return false;
	}
	return true;
}

/* Leaves in system memory are huge where the memory is one piece, and nowhere else. */
static unsigned int count_huge(char *map, uint64_t size)
{
	unsigned int huge = 0;

	for (uint64_t at = 0; at < size; at += PFNMAP_2M) {
		struct vpfn_leaf leaf;

		for (uint64_t page = 0; page < PFNMAP_2M; page += PFNMAP_PAGE)
			pfnmap_store(map + at + page, at + page);
		igt_assert(!vpfn_is_in_bar(&arena, map + at));
		igt_assert_eq(vpfn_leaf_from_driver(arena.fd, map + at, &leaf), 0);
		igt_assert(leaf.special);
		igt_assert_eq(leaf.level == VPFN_PMD, is_one_piece(map + at));
		huge += leaf.level == VPFN_PMD;
	}
	for (uint64_t at = 0; at < size; at += PFNMAP_PAGE)
		igt_assert_eq_u64(pfnmap_load(map + at), at);
	return huge;
}

static void test_system_leaves(uint32_t placement)
{
	uint64_t size = VPFN_LARGE / 2;
	struct vpfn_bo bo;
	unsigned int huge;
	char *map;

	create(size, placement, 0, &bo);
	igt_assert_eq(vpfn_evict(arena.fd), 0);
	igt_assert_eq(vpfn_where(arena.fd, &bo), SYSTEM);

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	map = vpfn_map_whole(arena.fd, &bo);
	huge = count_huge(map, size);
	igt_info("%u of %llu leaves are huge\n", huge, (unsigned long long)(size / PFNMAP_2M));
	igt_assert_lte(1, huge);
	munmap(map, size);

	igt_assert_eq(vpfn_limit_set(VPFN_PTE), 0);
	map = vpfn_map_whole(arena.fd, &bo);
	pfnmap_store(map, 0);
	vpfn_assert_level(arena.fd, map, VPFN_PTE);
	munmap(map, size);
	vpfn_bo_close(arena.fd, &bo);
	vpfn_limit_restore();
}

static void any_piece(int sig)
{
	(void)sig;
	vpfn_piece_limit(VPFN_ANY_ORDER);
}

/* Could a PMD leaf begin with the first page of the buffer? */
static bool begins_a_leaf(const struct vpfn_bo *bo)
{
	char *map = vpfn_map_whole(arena.fd, bo);
	struct vpfn_leaf leaf;

	pfnmap_load(map);
	igt_assert_eq(vpfn_leaf_from_driver(arena.fd, map, &leaf), 0);
	munmap(map, bo->size);
	return leaf.pfn % (PFNMAP_2M / PFNMAP_PAGE) == 0;
}

/*
 * Holes of half a leaf's size, in each of which a leaf could begin, and a buffer that gets no
 * larger pieces than these.
 */
static void test_scattered_leaves(void)
{
	unsigned int huge, num_holes = 0, holes[2 * VPFN_LARGE / MIB];
	struct vpfn_set set = { .arena = &arena };
	uint64_t size = VPFN_LARGE / 2;
	struct vpfn_bo bo;
	char *map;

	igt_install_exit_handler(any_piece);
	igt_require_f(!vpfn_piece_limit(8), "the kernel lacks CONFIG_FAIL_PAGE_ALLOC\n");
	for (unsigned int i = 0; i < 2 * size / MIB; i++) {
		vpfn_set_create(&set, MIB, SYSTEM, 0);
		vpfn_set_fill(&set, i);
	}
	for (unsigned int i = 0; i < set.count; i++) {
		if (begins_a_leaf(&set.bos[i]))
			holes[num_holes++] = i;
	}
	for (unsigned int i = 0; i < num_holes; i++)
		vpfn_bo_close(arena.fd, &set.bos[holes[i]]);

	create(size, SYSTEM, 0, &bo);
	igt_assert_eq(vpfn_fill(arena.fd, &bo, 0, size, DIRT), 0);
	igt_assert_eq(vpfn_piece_limit(VPFN_ANY_ORDER), 0);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	map = vpfn_map_whole(arena.fd, &bo);
	huge = count_huge(map, size);
	igt_info("%u of %llu leaves are huge\n", huge, (unsigned long long)(size / PFNMAP_2M));
	igt_assert(huge < size / PFNMAP_2M);
	munmap(map, size);
	vpfn_bo_close(arena.fd, &bo);
	for (unsigned int i = 0, hole = 0; i < set.count; i++) {
		if (hole < num_holes && holes[hole] == i)
			hole++;
		else
			vpfn_bo_close(arena.fd, &set.bos[i]);
	}
}

/* Memory whose former contents must not be seen. */
static const struct corner {
	const char *name;
	uint32_t placement;
	uint32_t flags;
	bool all_vram;
} corners[] = {
	{ "visible", VRAM, CPU_ACCESS, false },
	{ "invisible", VRAM | SYSTEM, 0, true },
	{ "system", SYSTEM, 0, false },
};

static void corner_create(const struct corner *corner, struct vpfn_set *set)
{
	const uint64_t sizes[] = {
		PFNMAP_PAGE, SMALL, 17 * PFNMAP_PAGE, MIB,
		PFNMAP_2M, PFNMAP_2M + PFNMAP_PAGE, 3 * PFNMAP_2M,
	};

	if (corner->all_vram) {
		vpfn_set_fill_vram(set);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		vpfn_set_create(set, sizes[i], corner->placement, corner->flags);
}

/* Which pages of memory are behind a set? A sample of them. */
#define SAMPLE_STEP	(8 * PFNMAP_PAGE)

struct pages {
	unsigned int count;
	uint64_t pfns[1024];
};

static int compare_pfns(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void pages_of(struct vpfn_set *set, struct pages *pages)
{
	struct vpfn_leaf leaf;

	pages->count = 0;
	for (unsigned int i = 0; i < set->count; i++) {
		char *map = vpfn_map_whole(arena.fd, &set->bos[i]);

		for (uint64_t at = 0; at < set->bos[i].size; at += SAMPLE_STEP) {
			pfnmap_load(map + at);
			igt_assert_eq(vpfn_leaf_from_driver(arena.fd, map + at, &leaf), 0);
			igt_assert_lte(pages->count + 1, ARRAY_SIZE(pages->pfns));
			pages->pfns[pages->count++] = leaf.pfn;
		}
		munmap(map, set->bos[i].size);
	}
	qsort(pages->pfns, pages->count, sizeof(pages->pfns[0]), compare_pfns);
}

static unsigned int pages_common(const struct pages *a, const struct pages *b)
{
	unsigned int common = 0;

	for (unsigned int i = 0; i < a->count; i++)
		common += !!bsearch(&a->pfns[i], b->pfns, b->count, sizeof(b->pfns[0]),
				    compare_pfns);
	return common;
}

static void zeroes_seen(const struct corner *corner, enum vpfn_observer by)
{
	static struct pages before, after;
	struct vpfn_set set = { .arena = &arena };

	corner_create(corner, &set);
	for (unsigned int i = 0; i < set.count; i++)
		igt_assert_eq(vpfn_fill(arena.fd, &set.bos[i], 0, set.bos[i].size, DIRT), 0);
	if (!corner->all_vram)
		pages_of(&set, &before);
	vpfn_set_close(&set);

	/* Of all the memory there is, more is looked at than the visible part. */
	corner_create(corner, &set);
	for (unsigned int i = 0; i < set.count; i++) {
		if (!corner->all_vram || by == VPFN_BY_ENGINE || i % 3 == 0)
			vpfn_assert_seen(&arena, by, &set.bos[i], &VPFN_ZEROES);
	}

	/* That was memory with something in it. Two sets that are all of it are the same anyway. */
	if (!corner->all_vram) {
		pages_of(&set, &after);
		igt_info("%s: %u of %u pages were dirty\n", vpfn_observer_name(by),
			 pages_common(&before, &after), after.count);
		igt_assert_lte(1, pages_common(&before, &after));
	}
	vpfn_set_close(&set);
}

static void test_zeroes(const struct corner *corner)
{
	for_each_vpfn_observer(by)
		zeroes_seen(corner, by);
}

static void test_invisible_used(void)
{
	struct vpfn_set set = { .arena = &arena };

	vpfn_set_fill_vram(&set);
	for (unsigned int i = 0; i < set.count; i++)
		vpfn_set_fill(&set, i);
	igt_assert(vpfn_set_in_vram(&set) > arena.visible);
	vpfn_set_assert_seen(&set, VPFN_BY_ENGINE);

	/* The engine works on it where it is. */
	igt_assert_eq_u64(vpfn_set_in_vram(&set), set.bytes);
	vpfn_set_close(&set);
}

/* What the engine wrote where the CPU cannot see it, the CPU sees, and what is there survives. */
static void test_invisible_read(enum vpfn_observer by)
{
	struct vpfn_set all = { .arena = &arena }, hidden = { .arena = &arena };

	vpfn_set_fill_visible(&all);
	for (unsigned int i = 0; i < 3; i++) {
		vpfn_set_create(&hidden, i ? i * PFNMAP_2M + PFNMAP_PAGE : VPFN_LARGE, VRAM, 0);
		vpfn_set_fill(&hidden, i);
		igt_assert_eq(vpfn_where(arena.fd, &hidden.bos[i]), VRAM);
	}

	vpfn_set_assert_seen(&hidden, by);
	vpfn_set_assert_seen(&hidden, VPFN_BY_ENGINE);
	vpfn_set_assert_seen(&all, VPFN_BY_ENGINE);
	vpfn_set_assert_seen(&all, VPFN_BY_MAPPING);
	vpfn_set_close(&hidden);
	vpfn_set_close(&all);
}

static void write_by_ptrace(const struct vpfn_content *content, char *map, uint64_t size)
{
	static uint64_t bytes[64 * PFNMAP_PAGE / sizeof(uint64_t)];

	for (uint64_t at = 0; at < size; at += sizeof(bytes)) {
		uint64_t len = size - at < sizeof(bytes) ? size - at : sizeof(bytes);

		vpfn_content_write(content, (char *)bytes - at, at, at + len);
		igt_assert_eq(pfnmap_proc_mem(map + at, bytes, len, true), 0);
	}
}

static void test_invisible_write(enum vpfn_observer by)
{
	struct vpfn_content content = vpfn_content_words(7);
	struct vpfn_content rest = vpfn_content_pattern(DIRT);
	uint64_t from = 5 * PFNMAP_PAGE + 8, to = VPFN_LARGE / 2 + 40;
	struct vpfn_set all = { .arena = &arena };
	struct vpfn_bo bo;
	char *map;

	vpfn_set_fill_visible(&all);
	create(VPFN_LARGE, VRAM, 0, &bo);
	igt_assert_eq(vpfn_fill(arena.fd, &bo, 0, VPFN_LARGE, DIRT), 0);
	igt_assert_eq(vpfn_where(arena.fd, &bo), VRAM);

	/* In the middle, so that what is around it has to come along. */
	map = by == VPFN_BY_DMA_BUF ? vpfn_map_dma_buf(arena.fd, &bo) :
				      vpfn_map_whole(arena.fd, &bo);
	if (by == VPFN_BY_PTRACE)
		write_by_ptrace(&content, map + from, to - from);
	else
		vpfn_content_write(&content, map + from, 0, to - from);

	igt_assert_eq(vpfn_meter_check(&arena.meter, &bo, &rest, 0, from), 0);
	igt_assert_eq(vpfn_meter_check(&arena.meter, &bo, &rest, to, VPFN_LARGE), 0);
	igt_assert_eq_u64(vpfn_content_check(&content, map + from, 0, to - from), to - from);
	igt_assert_eq_u64(vpfn_content_check(&rest, map, 0, from), from);
	munmap(map, VPFN_LARGE);
	vpfn_set_assert_seen(&all, VPFN_BY_ENGINE);
	vpfn_set_close(&all);
	vpfn_bo_close(arena.fd, &bo);
}

/* A touch leaves the buffer where the CPU reaches it: a second one needs nothing. */
static void test_invisible_reach(void)
{
	struct vpfn_set all = { .arena = &arena };
	struct vpfn_bo bo;
	char *map, *tail;
	bool in_vram;

	vpfn_set_fill_visible(&all);
	create(VPFN_LARGE, VRAM, 0, &bo);
	map = vpfn_map_whole(arena.fd, &bo);
	tail = map + VPFN_LARGE - PFNMAP_PAGE;
	igt_assert_eq(vpfn_where(arena.fd, &bo), VRAM);
	vpfn_assert_level(arena.fd, map, VPFN_NONE);

	igt_assert_eq(pfnmap_signal_of(map, PFNMAP_READ), 0);
	in_vram = vpfn_where(arena.fd, &bo) == VRAM;
	igt_assert_eq(vpfn_is_in_bar(&arena, map), in_vram);
	igt_assert_eq(pfnmap_signal_of(tail, PFNMAP_WRITE), 0);
	igt_assert_eq(vpfn_where(arena.fd, &bo) == VRAM, in_vram);
	igt_assert_eq(vpfn_is_in_bar(&arena, map), in_vram);
	igt_assert_eq(vpfn_is_in_bar(&arena, tail), in_vram);
	munmap(map, VPFN_LARGE);
	vpfn_bo_close(arena.fd, &bo);
	vpfn_set_assert_seen(&all, VPFN_BY_ENGINE);
	vpfn_set_close(&all);
}

static void test_larger_than_visible(void)
{
	struct vpfn_content content = vpfn_content_pattern(DIRT);
	uint64_t size = arena.visible + PFNMAP_2M;
	struct vpfn_bo bo;
	char *map;

	create(size, VRAM, 0, &bo);
	map = vpfn_map_whole(arena.fd, &bo);
	igt_assert_eq(vpfn_fill(arena.fd, &bo, 0, size, DIRT), 0);

	/* There and back, twice: it cannot be where both want it. */
	for (int i = 0; i < 2; i++) {
		igt_assert_eq(vpfn_where(arena.fd, &bo), VRAM);
		igt_assert_eq_u64(vpfn_content_check(&content, map, 0, size), size);
		igt_assert_eq(vpfn_where(arena.fd, &bo), SYSTEM);
		igt_assert(!vpfn_is_in_bar(&arena, map + size - PFNMAP_PAGE));

		content = vpfn_content_words(i);
		vpfn_content_write(&content, map, 0, size);
		igt_assert_eq(vpfn_meter_check(&arena.meter, &bo, &content, 0, size), 0);
		igt_assert_eq(vpfn_where(arena.fd, &bo), VRAM);
		vpfn_assert_level(arena.fd, map, VPFN_NONE);
	}
	munmap(map, size);
	vpfn_bo_close(arena.fd, &bo);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "create-bad-placement", "No buffer without a placement, or with an unknown one.",
	  test_create_bad_placement },
	{ "create-bad-flags", "No buffer for an unknown flag or a pad that is not zero.",
	  test_create_bad_flags },
	{ "create-bad-size", "No buffer of no or of an odd size, or of one for which no allowed place is large enough.",
	  test_create_bad_size },
	{ "placement", "A buffer lies where it has to.", test_placement },
	{ "placement-both", "A buffer that may lie in both places goes to device memory while there is room.",
	  test_placement_both },
	{ "cache-mode", "What may lie in device memory is write-combined wherever it lies, the rest is cached.",
	  test_cache_mode },
	{ "invisible-used", "More than the visible part of device memory is in use at a time.",
	  test_invisible_used },
	{ "invisible-reach", "A touch leaves a buffer where the CPU reaches it.",
	  test_invisible_reach },
	{ "larger-than-visible", "The CPU maps a buffer that is larger than the visible part.",
	  test_larger_than_visible },
};

int igt_main()
{
	igt_fixture() {
		close(vpfn_require_device());
		vpfn_arena_open(&arena);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_describe("Leaves in system memory are huge where the memory is one aligned piece.");
	igt_subtest_with_dynamic("system-leaves") {
		igt_dynamic("cached")
			test_system_leaves(SYSTEM);
		igt_dynamic("write-combined")
			test_system_leaves(VRAM);
		igt_dynamic("scattered")
			test_scattered_leaves();
	}

	igt_describe("A new buffer reads as zeroes by each way, whatever was there before.");
	igt_subtest_with_dynamic("zeroes") {
		for (unsigned int i = 0; i < ARRAY_SIZE(corners); i++) {
			igt_dynamic(corners[i].name)
				test_zeroes(&corners[i]);
		}
	}

	igt_describe("What the engine wrote into invisible memory is seen by all others.");
	igt_subtest_with_dynamic("invisible-read") {
		for_each_vpfn_observer(by) {
			igt_dynamic(vpfn_observer_name(by))
				test_invisible_read(by);
		}
	}

	igt_describe("Writing to a part of a buffer in invisible memory leaves the rest as it was.");
	igt_subtest_with_dynamic("invisible-write") {
		for_each_vpfn_observer(by) {
			if (by == VPFN_BY_ENGINE)
				continue;
			igt_dynamic(vpfn_observer_name(by))
				test_invisible_write(by);
		}
	}

	igt_fixture() {
		vpfn_arena_close(&arena);
	}
}
