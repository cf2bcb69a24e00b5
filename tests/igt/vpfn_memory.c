// SPDX-License-Identifier: MIT
/*
 * Where do buffers lie, and does anybody notice? Placements, device memory that the CPU cannot
 * see, eviction, swapping, and memory that runs out.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_model.h"
#include "vpfn_pattern.h"
#include "vpfn_pressure.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("Where the buffers of vpfn lie, and that their contents do not depend on it.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SMALL		(3 * VPFN_PAGE)
#define VRAM_BAR	2

/* Buffers of which it takes several to fill the visible part, and all of device memory. */
#define LARGE		(16 * MIB)

/* What a former owner left behind. */
#define DIRT		0xd1b7d1b7

static int big = -1, fd = -1;
static struct vpfn_meter meter;
static uint64_t vram, visible, bar, pages_limit;

static void restore_pages_limit(int sig)
{
	(void)sig;
	if (pages_limit)
		vpfn_pages_limit_set(pages_limit);
}

static void create(uint64_t size, uint32_t placement, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(fd, size, placement, flags, bo), 0);
}

static uint32_t where(const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

static char *map_whole(const struct vpfn_bo *bo)
{
	void *map;

	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	return map;
}

static bool in_bar(const void *addr)
{
	struct vpfn_leaf leaf;

	igt_assert_eq(vpfn_leaf_from_driver(fd, addr, &leaf), 0);
	igt_assert_neq(leaf.level, VPFN_NONE);
	return leaf.pfn * VPFN_PAGE >= bar && leaf.pfn * VPFN_PAGE < bar + visible;
}

/* A number of buffers, each with a content that no other has. */
struct set {
	unsigned int count;
	struct vpfn_bo bos[1024];
	struct vpfn_content contents[1024];
	uint64_t bytes;
};

static void set_add(struct set *set, const struct vpfn_bo *bo)
{
	igt_assert_lte(set->count + 1, ARRAY_SIZE(set->bos));
	set->contents[set->count] = VPFN_ZEROES;
	set->bos[set->count++] = *bo;
	set->bytes += bo->size;
}

static void set_create(struct set *set, uint64_t size, uint32_t placement, uint32_t flags)
{
	struct vpfn_bo bo;

	create(size, placement, flags, &bo);
	set_add(set, &bo);
}

static void set_close(struct set *set)
{
	for (unsigned int i = 0; i < set->count; i++)
		igt_assert_eq(vpfn_bo_close(fd, &set->bos[i]), 0);
	set->count = 0;
	set->bytes = 0;
}

static void set_fill(struct set *set, unsigned int i)
{
	const struct vpfn_bo *bo = &set->bos[i];
	uint32_t pattern = 0x9e3779b9 * (i + 1);

	set->contents[i] = vpfn_content_pattern(pattern);
	igt_assert_eq(vpfn_fill(fd, bo, 0, bo->size, pattern), 0);
}

static void set_write(struct set *set, unsigned int i)
{
	const struct vpfn_bo *bo = &set->bos[i];
	char *map = map_whole(bo);

	set->contents[i] = vpfn_content_words(i + 1);
	vpfn_content_write(&set->contents[i], map, 0, bo->size);
	munmap(map, bo->size);
}

/* How many bytes of the set are in device memory, all at the same time. */
static uint64_t set_in_vram(const struct set *set)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < set->count; i++)
		bytes += where(&set->bos[i]) == VRAM ? set->bos[i].size : 0;
	return bytes;
}

/* Who looks at a buffer? */
enum observer {
	BY_MAPPING,
	BY_ENGINE,
	BY_DMA_BUF,
	BY_PTRACE,
	OBSERVERS
};

static const char * const observer_names[] = {
	[BY_MAPPING] = "mapping",
	[BY_ENGINE] = "engine",
	[BY_DMA_BUF] = "dma-buf",
	[BY_PTRACE] = "ptrace",
};

static uint64_t check_by_ptrace(const struct vpfn_content *content, char *map, uint64_t size)
{
	static uint64_t bytes[64 * VPFN_PAGE / sizeof(uint64_t)];

	for (uint64_t at = 0; at < size; at += sizeof(bytes)) {
		uint64_t len = size - at < sizeof(bytes) ? size - at : sizeof(bytes);
		uint64_t end;

		igt_assert_eq(vpfn_proc_mem(map + at, bytes, len, false), 0);
		end = vpfn_content_check(content, (char *)bytes - at, at, at + len);
		if (end < at + len)
			return end;
	}
	return size;
}

static void *map_dma_buf(const struct vpfn_bo *bo)
{
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_bo_export(fd, bo, &dmabuf), 0);
	igt_assert_eq(vpfn_map(dmabuf, 0, bo->size, PROT_READ | PROT_WRITE, &map), 0);
	close(dmabuf);
	return map;
}

/* The whole buffer holds the content, for somebody who has not touched it yet. */
static void assert_seen(enum observer by, const struct vpfn_bo *bo,
			const struct vpfn_content *content)
{
	uint64_t end;
	char *map;

	if (by == BY_ENGINE) {
		igt_assert_eq(vpfn_meter_check(&meter, bo, content, 0, bo->size), 0);
		return;
	}

	map = by == BY_DMA_BUF ? map_dma_buf(bo) : map_whole(bo);
	if (by == BY_PTRACE)
		end = check_by_ptrace(content, map, bo->size);
	else
		end = vpfn_content_check(content, map, 0, bo->size);
	igt_assert_f(end == bo->size, "%s: wrong at %#llx of %#llx\n", observer_names[by],
		     (unsigned long long)end, (unsigned long long)bo->size);
	munmap(map, bo->size);
}

static void set_assert_seen(const struct set *set, enum observer by)
{
	for (unsigned int i = 0; i < set->count; i++)
		assert_seen(by, &set->bos[i], &set->contents[i]);
}

/* Device memory is full: no further buffer finds room in it without another's leaving. */
static void set_fill_vram(struct set *set)
{
	for (uint64_t size = LARGE; size >= MIB; size /= LARGE / MIB) {
		struct vpfn_bo bo;

		for (;;) {
			create(size, VRAM | SYSTEM, 0, &bo);
			if (where(&bo) != VRAM)
				break;
			set_add(set, &bo);
		}
		vpfn_bo_close(fd, &bo);
	}
	igt_assert(set->bytes >= vram / 4 * 3);
	igt_assert_eq_u64(set_in_vram(set), set->bytes);
}

/* The visible part is full: of buffers in it, each touched where it lies. */
static void set_fill_visible(struct set *set)
{
	while (set->bytes < visible) {
		unsigned int i = set->count;

		set_create(set, LARGE, VRAM, CPU_ACCESS);
		set_write(set, i);
		igt_assert_eq(where(&set->bos[i]), VRAM);
	}
}

static void refuse(uint64_t size, uint32_t placement, uint32_t flags, uint32_t pad, int err)
{
	struct drm_vpfn_gem_create arg = {
		.size = size, .placement = placement, .flags = flags, .pad = pad,
	};
	uint64_t before, after;

	igt_assert_eq(vpfn_buffer_count(&before), 0);
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_CREATE, &arg), err);
	igt_assert_eq(vpfn_buffer_count(&after), 0);
	igt_assert_eq_u64(after, before);
	igt_assert_eq(arg.handle, 0);
}

/* The same call, as it should be: it works, and it counts. */
static void accept(uint64_t size, uint32_t placement, uint32_t flags)
{
	uint64_t before, after;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_buffer_count(&before), 0);
	create(size, placement, flags, &bo);
	igt_assert_neq(bo.handle, 0);
	igt_assert_eq(vpfn_buffer_count(&after), 0);
	igt_assert_eq_u64(after, before + 1);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
}

static void test_create_bad_placement(void)
{
	refuse(VPFN_PAGE, 0, 0, 0, -EINVAL);
	refuse(VPFN_PAGE, 0, CPU_ACCESS, 0, -EINVAL);
	refuse(VPFN_PAGE, 1 << 2, 0, 0, -EINVAL);
	refuse(VPFN_PAGE, VRAM | 1 << 2, 0, 0, -EINVAL);
	refuse(VPFN_PAGE, SYSTEM | 1u << 31, 0, 0, -EINVAL);
	refuse(VPFN_PAGE, ~0u, 0, 0, -EINVAL);
	accept(VPFN_PAGE, VRAM, 0);
	accept(VPFN_PAGE, SYSTEM, 0);
	accept(VPFN_PAGE, VRAM | SYSTEM, 0);
}

static void test_create_bad_flags(void)
{
	const uint32_t placements[] = { VRAM, SYSTEM, VRAM | SYSTEM };

	for (unsigned int i = 0; i < ARRAY_SIZE(placements); i++) {
		refuse(VPFN_PAGE, placements[i], CPU_ACCESS << 1, 0, -EINVAL);
		refuse(VPFN_PAGE, placements[i], CPU_ACCESS | 1u << 31, 0, -EINVAL);
		refuse(VPFN_PAGE, placements[i], 0, 1, -EINVAL);
		refuse(VPFN_PAGE, placements[i], CPU_ACCESS, 1u << 31, -EINVAL);
		accept(VPFN_PAGE, placements[i], CPU_ACCESS);
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
		refuse(VPFN_PAGE - 1, placements[i], 0, 0, -EINVAL);
		refuse(VPFN_PAGE + 1, placements[i], 0, 0, -EINVAL);
		refuse(UINT64_MAX, placements[i], 0, 0, -EINVAL);
		refuse(-VPFN_PAGE, placements[i], 0, 0, -E2BIG);
		refuse(1ull << 63, placements[i], 0, 0, -E2BIG);
		/* More than the memory of the machine, and than that of the card. */
		refuse(4 * (room + vram) & -VPFN_PAGE, placements[i], 0, 0, -E2BIG);
		accept(VPFN_PAGE, placements[i], 0);
	}

	refuse(vram + VPFN_PAGE, VRAM, 0, 0, -E2BIG);
	refuse(vram + VPFN_PAGE, VRAM, CPU_ACCESS, 0, -E2BIG);
	accept(vram, VRAM, 0);
	accept(vram + VPFN_PAGE, SYSTEM, 0);
	accept(vram + VPFN_PAGE, VRAM | SYSTEM, 0);
}

static void test_placement(void)
{
	struct vpfn_bo bo;

	for (uint64_t size = VPFN_PAGE; size <= LARGE; size = 4 * size + VPFN_PAGE) {
		create(size, VRAM, 0, &bo);
		igt_assert_eq(where(&bo), VRAM);
		vpfn_bo_close(fd, &bo);

		create(size, SYSTEM, 0, &bo);
		igt_assert_eq(where(&bo), SYSTEM);
		igt_assert_eq(vpfn_fill(fd, &bo, 0, size, DIRT), 0);
		igt_assert_eq(where(&bo), SYSTEM);
		vpfn_bo_close(fd, &bo);
	}
}

static void test_placement_both(void)
{
	struct set set = {};
	struct vpfn_bo last;

	/* While there is room, in device memory; then elsewhere, and nobody has to go for it. */
	set_fill_vram(&set);
	create(LARGE, VRAM | SYSTEM, 0, &last);
	igt_assert_eq(where(&last), SYSTEM);
	igt_assert_eq_u64(set_in_vram(&set), set.bytes);
	vpfn_bo_close(fd, &last);

	/* For one that may lie nowhere else, somebody goes. */
	create(LARGE, VRAM, 0, &last);
	igt_assert_eq(where(&last), VRAM);
	igt_assert(set_in_vram(&set) <= set.bytes - MIB);
	vpfn_bo_close(fd, &last);

	/* Room in device memory is room again once somebody has left it. */
	set_close(&set);
	create(LARGE, VRAM | SYSTEM, 0, &last);
	igt_assert_eq(where(&last), VRAM);
	vpfn_bo_close(fd, &last);
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
static const uint64_t kind_sizes[] = { SMALL, VPFN_2M };

#define ROWS	(ARRAY_SIZE(kinds) * ARRAY_SIZE(kind_sizes))

static void create_kind(unsigned int kind, struct vpfn_bo *bos)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kind_sizes); i++)
		create(kind_sizes[i], kinds[kind].placement, CPU_ACCESS,
		       &bos[kind * ARRAY_SIZE(kind_sizes) + i]);
}

static void create_kinds(struct vpfn_bo *bos)
{
	struct set set = {};

	set_fill_vram(&set);
	create_kind(0, bos);
	set_close(&set);
	for (unsigned int i = 1; i < ARRAY_SIZE(kinds) - 1; i++)
		create_kind(i, bos);
	igt_assert_eq(vpfn_evict(fd), 0);
	create_kind(ARRAY_SIZE(kinds) - 1, bos);
}

static void test_cache_mode(void)
{
	struct vpfn_leaf leaves[ROWS];
	struct vpfn_bo bos[ROWS];
	const void *addrs[ROWS];

	create_kinds(bos);
	for (unsigned int i = 0; i < ROWS; i++) {
		char *map = map_whole(&bos[i]);

		igt_assert_eq(vpfn_signal_of(map, VPFN_WRITE), 0);
		igt_assert_eq(where(&bos[i]), kinds[i / ARRAY_SIZE(kind_sizes)].place);
		igt_assert_eq(in_bar(map), where(&bos[i]) == VRAM);
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
		vpfn_bo_close(fd, &bos[i]);
	}
}

/* The memory behind a slot of a PMD is one aligned piece. */
static bool is_one_piece(const char *slot)
{
	struct vpfn_leaf first, leaf;

	igt_assert_eq(vpfn_leaf_from_driver(fd, slot, &first), 0);
	if (first.pfn % (VPFN_2M / VPFN_PAGE))
		return false;

	for (uint64_t at = VPFN_PAGE; at < VPFN_2M; at += VPFN_PAGE) {
		igt_assert_eq(vpfn_leaf_from_driver(fd, slot + at, &leaf), 0);
		if (leaf.pfn != first.pfn + at / VPFN_PAGE)
			return false;
	}
	return true;
}

/* Leaves in system memory are huge where the memory is one piece, and nowhere else. */
static unsigned int count_huge(char *map, uint64_t size)
{
	unsigned int huge = 0;

	for (uint64_t at = 0; at < size; at += VPFN_2M) {
		struct vpfn_leaf leaf;

		for (uint64_t page = 0; page < VPFN_2M; page += VPFN_PAGE)
			vpfn_store(map + at + page, at + page);
		igt_assert(!in_bar(map + at));
		igt_assert_eq(vpfn_leaf_from_driver(fd, map + at, &leaf), 0);
		igt_assert(leaf.special);
		igt_assert_eq(leaf.level == VPFN_PMD, is_one_piece(map + at));
		huge += leaf.level == VPFN_PMD;
	}
	for (uint64_t at = 0; at < size; at += VPFN_PAGE)
		igt_assert_eq_u64(vpfn_load(map + at), at);
	return huge;
}

static void test_system_leaves(uint32_t placement)
{
	struct vpfn_bo bo;
	unsigned int huge;
	char *map;

	create(LARGE, placement, 0, &bo);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(where(&bo), SYSTEM);

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	map = map_whole(&bo);
	huge = count_huge(map, LARGE);
	igt_info("%u of %llu leaves are huge\n", huge, LARGE / VPFN_2M);
	igt_assert_lte(1, huge);
	munmap(map, LARGE);

	igt_assert_eq(vpfn_limit_set(VPFN_PTE), 0);
	map = map_whole(&bo);
	vpfn_store(map, 0);
	vpfn_assert_level(fd, map, VPFN_PTE);
	munmap(map, LARGE);
	vpfn_bo_close(fd, &bo);
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

static void corner_create(const struct corner *corner, struct set *set)
{
	const uint64_t sizes[] = {
		VPFN_PAGE, SMALL, 17 * VPFN_PAGE, MIB, VPFN_2M, VPFN_2M + VPFN_PAGE, 3 * VPFN_2M,
	};

	if (corner->all_vram) {
		set_fill_vram(set);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		set_create(set, sizes[i], corner->placement, corner->flags);
}

/* Which pages of memory are behind a set? */
struct pages {
	unsigned int count;
	uint64_t pfns[8192];
};

static int compare_pfns(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void pages_of(struct set *set, struct pages *pages)
{
	struct vpfn_leaf leaf;

	pages->count = 0;
	for (unsigned int i = 0; i < set->count; i++) {
		char *map = map_whole(&set->bos[i]);

		for (uint64_t at = 0; at < set->bos[i].size; at += VPFN_PAGE) {
			vpfn_load(map + at);
			igt_assert_eq(vpfn_leaf_from_driver(fd, map + at, &leaf), 0);
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

static void zeroes_seen(const struct corner *corner, enum observer by)
{
	static struct pages before, after;
	struct set set = {};

	corner_create(corner, &set);
	for (unsigned int i = 0; i < set.count; i++)
		igt_assert_eq(vpfn_fill(fd, &set.bos[i], 0, set.bos[i].size, DIRT), 0);
	if (!corner->all_vram)
		pages_of(&set, &before);
	set_close(&set);

	corner_create(corner, &set);
	set_assert_seen(&set, by);

	/* That was memory with something in it. Two sets that are all of it are the same anyway. */
	if (!corner->all_vram) {
		pages_of(&set, &after);
		igt_info("%s: %u of %u pages were dirty\n", observer_names[by],
			 pages_common(&before, &after), after.count);
		igt_assert_lte(1, pages_common(&before, &after));
	}
	set_close(&set);
}

static void test_zeroes(const struct corner *corner)
{
	for (enum observer by = 0; by < OBSERVERS; by++)
		zeroes_seen(corner, by);
}

static void test_invisible_used(void)
{
	struct set set = {};

	set_fill_vram(&set);
	for (unsigned int i = 0; i < set.count; i++)
		set_fill(&set, i);
	igt_assert(set_in_vram(&set) > visible);
	set_assert_seen(&set, BY_ENGINE);

	/* The engine works on it where it is. */
	igt_assert_eq_u64(set_in_vram(&set), set.bytes);
	set_close(&set);
}

/* What the engine wrote where the CPU cannot see it, the CPU sees, and what is there survives. */
static void test_invisible_read(enum observer by)
{
	struct set all = {}, hidden = {};

	set_fill_visible(&all);
	for (unsigned int i = 0; i < 3; i++) {
		set_create(&hidden, i ? i * VPFN_2M + VPFN_PAGE : LARGE, VRAM, 0);
		set_fill(&hidden, i);
		igt_assert_eq(where(&hidden.bos[i]), VRAM);
	}

	set_assert_seen(&hidden, by);
	set_assert_seen(&hidden, BY_ENGINE);
	set_assert_seen(&all, BY_ENGINE);
	set_assert_seen(&all, BY_MAPPING);
	set_close(&hidden);
	set_close(&all);
}

static void write_by_ptrace(const struct vpfn_content *content, char *map, uint64_t size)
{
	static uint64_t bytes[64 * VPFN_PAGE / sizeof(uint64_t)];

	for (uint64_t at = 0; at < size; at += sizeof(bytes)) {
		uint64_t len = size - at < sizeof(bytes) ? size - at : sizeof(bytes);

		vpfn_content_write(content, (char *)bytes - at, at, at + len);
		igt_assert_eq(vpfn_proc_mem(map + at, bytes, len, true), 0);
	}
}

static void test_invisible_write(enum observer by)
{
	struct vpfn_content content = vpfn_content_words(7);
	struct vpfn_content rest = vpfn_content_pattern(DIRT);
	uint64_t from = 5 * VPFN_PAGE + 8, to = LARGE / 2 + 40;
	struct set all = {};
	struct vpfn_bo bo;
	char *map;

	set_fill_visible(&all);
	create(LARGE, VRAM, 0, &bo);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, LARGE, DIRT), 0);
	igt_assert_eq(where(&bo), VRAM);

	/* In the middle, so that what is around it has to come along. */
	map = by == BY_DMA_BUF ? map_dma_buf(&bo) : map_whole(&bo);
	if (by == BY_PTRACE)
		write_by_ptrace(&content, map + from, to - from);
	else
		vpfn_content_write(&content, map + from, 0, to - from);

	igt_assert_eq(vpfn_meter_check(&meter, &bo, &rest, 0, from), 0);
	igt_assert_eq(vpfn_meter_check(&meter, &bo, &rest, to, LARGE), 0);
	igt_assert_eq_u64(vpfn_content_check(&content, map + from, 0, to - from), to - from);
	igt_assert_eq_u64(vpfn_content_check(&rest, map, 0, from), from);
	munmap(map, LARGE);
	set_assert_seen(&all, BY_ENGINE);
	set_close(&all);
	vpfn_bo_close(fd, &bo);
}

/* A touch leaves the buffer where the CPU reaches it: a second one needs nothing. */
static void test_invisible_reach(void)
{
	struct set all = {};
	struct vpfn_bo bo;
	char *map;

	set_fill_visible(&all);
	create(LARGE, VRAM, 0, &bo);
	map = map_whole(&bo);
	igt_assert_eq(where(&bo), VRAM);
	vpfn_assert_level(fd, map, VPFN_NONE);

	igt_assert_eq(vpfn_signal_of(map, VPFN_READ), 0);
	igt_assert_eq(in_bar(map), where(&bo) == VRAM);
	igt_assert_eq(vpfn_signal_of(map + LARGE - VPFN_PAGE, VPFN_WRITE), 0);
	igt_assert_eq(in_bar(map), where(&bo) == VRAM);
	igt_assert_eq(in_bar(map + LARGE - VPFN_PAGE), where(&bo) == VRAM);
	munmap(map, LARGE);
	vpfn_bo_close(fd, &bo);
	set_assert_seen(&all, BY_ENGINE);
	set_close(&all);
}

static void test_larger_than_visible(void)
{
	struct vpfn_content content = vpfn_content_pattern(DIRT);
	uint64_t size = 2 * visible;
	struct vpfn_bo bo;
	char *map;

	create(size, VRAM, 0, &bo);
	map = map_whole(&bo);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, size, DIRT), 0);

	/* There and back, twice: it cannot be where both want it. */
	for (int i = 0; i < 2; i++) {
		igt_assert_eq(where(&bo), VRAM);
		igt_assert_eq_u64(vpfn_content_check(&content, map, 0, size), size);
		igt_assert_eq(where(&bo), SYSTEM);
		igt_assert(!in_bar(map + size - VPFN_PAGE));

		content = vpfn_content_words(i);
		vpfn_content_write(&content, map, 0, size);
		igt_assert_eq(vpfn_meter_check(&meter, &bo, &content, 0, size), 0);
		igt_assert_eq(where(&bo), VRAM);
		vpfn_assert_level(fd, map, VPFN_NONE);
	}
	munmap(map, size);
	vpfn_bo_close(fd, &bo);
}

static void require_room(uint64_t bytes)
{
	uint64_t room;

	igt_assert_eq(vpfn_system_room(&room), 0);
	igt_require_f(room >= bytes, "buffers may take %llu MiB of system memory, not %llu\n",
		      (unsigned long long)room >> 20, (unsigned long long)bytes >> 20);
}

/* Several times what fits in, of all sizes, used by CPU and engine in turn. */
static void test_pressure(unsigned int times)
{
	const uint64_t sizes[] = {
		32 * MIB, VPFN_PAGE, LARGE, VPFN_2M, SMALL, 8 * MIB, MIB, 17 * VPFN_PAGE,
		4 * MIB + VPFN_PAGE,
	};
	struct set set = {};

	require_room((times - 1) * vram + 2 * sizes[0]);
	for (unsigned int i = 0; set.bytes < times * vram; i++) {
		set_create(&set, sizes[i % ARRAY_SIZE(sizes)], VRAM, i % 2 ? CPU_ACCESS : 0);
		set_fill(&set, i);
		igt_assert_eq(where(&set.bos[i]), VRAM);
	}
	igt_assert(set_in_vram(&set) <= vram);

	set_assert_seen(&set, BY_ENGINE);
	set_assert_seen(&set, BY_MAPPING);
	for (unsigned int i = 0; i < set.count; i += 2) {
		if (set.bos[i].size <= 4 * MIB)
			set_write(&set, i);
	}
	set_assert_seen(&set, BY_ENGINE);
	igt_assert(set_in_vram(&set) <= vram);
	set_close(&set);
}

/* The pattern of the whole buffer, written by the CPU, as the engine sees its ends. */
static void check_ends_by_engine(int file, const struct vpfn_bo *bo,
				 const struct vpfn_pattern *pattern)
{
	uint64_t len = 2 * VPFN_2M;
	void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t ends[] = { 0, bo->size - len };
	uint32_t crc;

	igt_assert(bytes != MAP_FAILED);
	for (unsigned int i = 0; i < ARRAY_SIZE(ends); i++) {
		memset(bytes, 0, len);
		vpfn_pattern_fill(pattern, (char *)bytes - ends[i], ends[i], ends[i] + len);
		igt_assert_eq(vpfn_crc(file, bo, ends[i], len, &crc), 0);
		igt_assert_eq_u64(crc, vpfn_crc32c(bytes, len));
	}
	munmap(bytes, len);
}

static uint32_t where_in(int file, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(file, bo, &placement), 0);
	return placement;
}

static void check_mapping(const struct vpfn_pattern *pattern, const void *map)
{
	uint64_t size = pattern->size;

	igt_assert_eq_u64(vpfn_pattern_check(pattern, map, 0, size), size);
	igt_assert_eq_u64(vpfn_pattern_check_by_ptrace(pattern, map, 0, size), size);
}

static void test_evict(enum vpfn_level level)
{
	struct vpfn_pattern pattern = {
		.seed = level, .size = level == VPFN_PUD ? VPFN_1G : 3 * VPFN_2M,
	};
	int file = level == VPFN_PUD ? big : fd;
	struct vpfn_bo bo;
	char *map, *tail;

	require_room(pattern.size);
	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(file, pattern.size, &bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, (void **)&map), 0);
	tail = map + pattern.size - VPFN_PAGE;
	vpfn_pattern_fill(&pattern, map, 0, pattern.size);
	vpfn_assert_level(file, map, level);

	igt_assert_eq(vpfn_evict(file), 0);
	igt_assert_eq(where_in(file, &bo), SYSTEM);
	vpfn_assert_level(file, map, VPFN_NONE);
	vpfn_assert_level(file, tail, VPFN_NONE);

	/* Nobody brings it back for a touch, and what is written there counts. */
	check_mapping(&pattern, map);
	pattern.seed += 10;
	vpfn_pattern_fill(&pattern, map, 0, pattern.size);
	igt_assert_eq(where_in(file, &bo), SYSTEM);

	check_ends_by_engine(file, &bo, &pattern);
	igt_assert_eq(where_in(file, &bo), VRAM);
	vpfn_assert_level(file, map, VPFN_NONE);
	vpfn_assert_level(file, tail, VPFN_NONE);
	check_mapping(&pattern, map);
	vpfn_assert_level(file, map, level);
	vpfn_assert_level(file, tail, level);
	munmap(map, pattern.size);
	vpfn_bo_close(file, &bo);
}

/* Some in system memory by choice, some evicted; some written by the CPU, some by the engine. */
static void set_for_swap(struct set *set)
{
	for (unsigned int i = 0; i < 12; i++) {
		set_create(set, 2 * VPFN_2M, i % 2 ? SYSTEM : VRAM, CPU_ACCESS);
		if (i % 4 < 2)
			set_fill(set, i);
		else
			set_write(set, i);
	}
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq_u64(set_in_vram(set), 0);
}

static void swap_out(const struct set *set)
{
	uint64_t before, after;
	struct vpfn_bo bo;

	/* Who needs a page now sends all others out. */
	igt_assert_eq(vpfn_shmem_size(&before), 0);
	igt_assert_eq(vpfn_pages_limit_set(1), 0);
	create(VPFN_2M, SYSTEM, 0, &bo);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, VPFN_2M, DIRT), 0);
	vpfn_bo_close(fd, &bo);
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

static void test_swap(enum observer by)
{
	struct set set = {};
	uint64_t before;

	set_for_swap(&set);
	igt_assert_eq(vpfn_shmem_size(&before), 0);
	swap_out(&set);

	/* Twice: with each that comes back others go, as long as the limit is low. */
	set_assert_seen(&set, by);
	set_assert_seen(&set, by);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	set_assert_seen(&set, BY_ENGINE);
	set_assert_seen(&set, BY_MAPPING);

	/* Nothing is left behind in shared memory. */
	set_close(&set);
	igt_assert_eq(vpfn_wait_until(shmem_is_back, &before), 0);
}

static void test_swap_mapped(void)
{
	struct set set = {};
	char *maps[12];

	/* The mappings were there, and touched, before. */
	set_for_swap(&set);
	for (unsigned int i = 0; i < set.count; i++) {
		maps[i] = map_whole(&set.bos[i]);
		vpfn_load(maps[i]);
	}
	swap_out(&set);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	for (unsigned int i = 0; i < set.count; i++) {
		uint64_t size = set.bos[i].size;

		vpfn_assert_level(fd, maps[i], VPFN_NONE);
		igt_assert_eq_u64(vpfn_content_check(&set.contents[i], maps[i], 0, size), size);
		set.contents[i] = vpfn_content_words(100 + i);
		vpfn_content_write(&set.contents[i], maps[i], 0, size);
	}
	swap_out(&set);
	for (unsigned int i = 0; i < set.count; i++)
		munmap(maps[i], set.bos[i].size);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	set_assert_seen(&set, BY_ENGINE);
	set_close(&set);
}

static int take_all(struct set *set)
{
	struct vpfn_bo bo;
	int err;

	for (;;) {
		err = vpfn_bo_create_in(fd, LARGE / 2, VRAM, 0, &bo);
		if (err)
			return err;
		set_add(set, &bo);
		set->contents[set->count - 1] = vpfn_content_pattern(set->count);
		err = vpfn_fill(fd, &bo, 0, bo.size, set->count);
		if (err)
			return err;
	}
}

static bool is_no_room(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

/* All memory that buffers may have is taken: whoever wants more hears it, and nothing is lost. */
static void test_exhaust(void)
{
	struct set set = {};
	uint64_t room;
	char *map;
	int err;

	igt_assert_eq(vpfn_system_room(&room), 0);
	igt_assert_eq(vpfn_pages_limit_set(16 * MIB / VPFN_PAGE), 0);
	err = take_all(&set);
	igt_info("%llu MiB, then %s\n", (unsigned long long)set.bytes >> 20, strerror(-err));
	igt_assert(is_no_room(err));
	igt_assert(set.bytes > vram);
	igt_assert(set.bytes <= vram + room + LARGE);

	/* Neither use of what there is kills anybody; it works, or it says why not. */
	for (unsigned int i = 0; i < set.count; i += 7) {
		int signal;

		err = vpfn_fill(fd, &set.bos[i], 0, set.bos[i].size, set.contents[i].seed);
		igt_assert(!err || is_no_room(err));
		map = map_whole(&set.bos[i]);
		signal = vpfn_signal_of(map, VPFN_WRITE);
		igt_assert(!signal || signal == SIGBUS);
		munmap(map, set.bos[i].size);
	}

	/* With a little room to move, all is there; the last one may never have been filled. */
	for (int i = 0; i < 4; i++) {
		set.bytes -= set.bos[--set.count].size;
		igt_assert_eq(vpfn_bo_close(fd, &set.bos[set.count]), 0);
	}
	set_assert_seen(&set, BY_ENGINE);
	igt_assert_eq(vpfn_pages_limit_set(pages_limit), 0);
	set_assert_seen(&set, BY_MAPPING);

	set_close(&set);
	set_fill_vram(&set);
	for (unsigned int i = 0; i < set.count; i++)
		set_fill(&set, i);
	set_assert_seen(&set, BY_ENGINE);
	set_close(&set);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "create-bad-placement", "No buffer without a placement, or for one that nobody knows.",
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
	{ "swap-mapped", "Buffers are swapped out under their mappings, twice.",
	  test_swap_mapped },
	{ "exhaust", "When all memory is taken, the next one is refused and nothing is lost.",
	  test_exhaust },
};

int igt_main()
{
	igt_fixture() {
		big = vpfn_require_device();
		fd = vpfn_open_small(O_RDWR);
		igt_require_f(fd >= 0, "no device with memory that the CPU cannot see\n");
		igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
		igt_assert_eq(vpfn_visible_vram_size(fd, &visible), 0);
		igt_assert_eq(vpfn_bar_start(fd, VRAM_BAR, &bar), 0);
		igt_assert_eq(vpfn_pages_limit_get(&pages_limit), 0);
		igt_install_exit_handler(restore_pages_limit);
		igt_assert_eq(vpfn_meter_open(fd, &meter), 0);
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
	}

	igt_describe("A new buffer reads as zeroes, whoever looks and whatever was there before.");
	igt_subtest_with_dynamic("zeroes") {
		for (unsigned int i = 0; i < ARRAY_SIZE(corners); i++) {
			igt_dynamic(corners[i].name)
				test_zeroes(&corners[i]);
		}
	}

	igt_describe("What the engine wrote into invisible memory is seen by all others.");
	igt_subtest_with_dynamic("invisible-read") {
		for (enum observer by = 0; by < OBSERVERS; by++) {
			igt_dynamic(observer_names[by])
				test_invisible_read(by);
		}
	}

	igt_describe("Writing to a part of a buffer in invisible memory leaves the rest as it was.");
	igt_subtest_with_dynamic("invisible-write") {
		for (enum observer by = 0; by < OBSERVERS; by++) {
			if (by == BY_ENGINE)
				continue;
			igt_dynamic(observer_names[by])
				test_invisible_write(by);
		}
	}

	igt_describe("Twice as much as device memory holds, of all sizes.");
	igt_subtest("pressure-2x")
		test_pressure(2);

	igt_describe("Four times as much as device memory holds, of all sizes.");
	igt_subtest("pressure-4x")
		test_pressure(4);

	igt_describe("Evicted under a mapping and brought back by a job, the leaf is as large again.");
	igt_subtest_with_dynamic("evict") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_evict(level);
		}
	}

	igt_describe("What has been swapped out comes back for whoever looks.");
	igt_subtest_with_dynamic("swap") {
		for (enum observer by = 0; by < OBSERVERS; by++) {
			igt_dynamic(observer_names[by])
				test_swap(by);
		}
	}

	igt_fixture() {
		vpfn_meter_close(&meter);
		close(fd);
		close(big);
	}
}
