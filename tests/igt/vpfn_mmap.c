// SPDX-License-Identifier: MIT
/*
 * Buffers of vpfn and their mappings: bad arguments, contents, the size of the leaves, and
 * what the calls on a part of a mapping leave behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_pattern.h"
#include "vpfn_view.h"
#include "vpfn_witness.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn and their mappings by page-table leaves of each size.");

#define BAD_HANDLE	0xd0d0d0d0
#define SMALL		(3 * VPFN_PAGE)
#define VRAM_BAR	2

static int fd = -1;
static struct vpfn_views views;

/* A small buffer that belongs to one subtest. */
static void create(int file, uint64_t size, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create(file, size, bo), 0);
}

static int create_err(uint64_t size, uint32_t flags)
{
	struct drm_vpfn_gem_create arg = {
		.size = size,
		.placement = DRM_VPFN_PLACEMENT_VRAM,
		.flags = flags,
	};
	int err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_CREATE, &arg);

	if (!err)
		vpfn_bo_close(fd, &(struct vpfn_bo) { .handle = arg.handle });
	return err;
}

static int offset_err(int file, uint32_t handle, uint32_t flags)
{
	struct drm_vpfn_gem_mmap_offset arg = { .handle = handle, .flags = flags };

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &arg);
}

static int info_err(int file, uint32_t handle, uint32_t placement)
{
	struct drm_vpfn_gem_info arg = { .handle = handle, .placement = placement };

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_INFO, &arg);
}

static int map_err(int file, uint64_t offset, uint64_t len, int prot)
{
	void *map;
	int err = vpfn_map(file, offset, len, prot, &map);

	if (!err)
		munmap(map, len);
	return err;
}

static void test_param(void)
{
	struct drm_vpfn_get_param get = { .param = 0xdead };
	uint64_t size;

	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GET_PARAM, &get), -EINVAL);

	get = (struct drm_vpfn_get_param) { .param = DRM_VPFN_PARAM_VRAM_SIZE, .pad = 1 };
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GET_PARAM, &get), -EINVAL);

	igt_assert_eq(vpfn_vram_size(fd, &size), 0);
	igt_assert(size >= VPFN_2M / 2);
	igt_assert_eq_u64(size & (size - 1), 0);
}

static void test_create_bad_flags(void)
{
	uint32_t known = DRM_VPFN_GEM_CREATE_CPU_ACCESS;

	igt_assert_eq(create_err(VPFN_PAGE, known << 1), -EINVAL);
	igt_assert_eq(create_err(VPFN_PAGE, 1u << 31 | known), -EINVAL);
	igt_assert_eq(create_err(VPFN_PAGE, known), 0);
	igt_assert_eq(create_err(VPFN_PAGE, 0), 0);
}

static void test_create_bad_size(void)
{
	uint64_t vram;

	igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
	igt_assert_eq(create_err(0, 0), -EINVAL);
	igt_assert_eq(create_err(1, 0), -EINVAL);
	igt_assert_eq(create_err(VPFN_PAGE + 1, 0), -EINVAL);
	igt_assert_eq(create_err(VPFN_PAGE - 1, 0), -EINVAL);
	igt_assert_eq(create_err(UINT64_MAX, 0), -EINVAL);
	igt_assert_eq(create_err(vram + VPFN_PAGE, 0), -E2BIG);
	igt_assert_eq(create_err(1ull << 63, 0), -E2BIG);
	igt_assert_eq(create_err(-VPFN_PAGE, 0), -E2BIG);
}

static void test_bad_handle(void)
{
	int other = vpfn_open(O_RDWR);
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert_eq(info_err(fd, bo.handle, 0), 0);
	igt_assert_eq(offset_err(fd, bo.handle, 0), 0);

	igt_assert_eq(info_err(fd, 0, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, 0, 0), -ENOENT);
	igt_assert_eq(info_err(fd, BAD_HANDLE, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, BAD_HANDLE, 0), -ENOENT);
	igt_assert_eq(info_err(other, bo.handle, 0), -ENOENT);
	igt_assert_eq(offset_err(other, bo.handle, 0), -ENOENT);

	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
	igt_assert_eq(info_err(fd, bo.handle, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, bo.handle, 0), -ENOENT);
	close(other);
}

static void test_info(void)
{
	struct drm_vpfn_gem_info info = {};
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	info.handle = bo.handle;
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_INFO, &info), 0);
	igt_assert_eq_u64(info.size, SMALL);
	igt_assert_eq(info.placement, DRM_VPFN_PLACEMENT_VRAM);

	igt_assert_eq(info_err(fd, bo.handle, DRM_VPFN_PLACEMENT_VRAM), -EINVAL);
	igt_assert_eq(offset_err(fd, bo.handle, 1), -EINVAL);
	vpfn_bo_close(fd, &bo);
}

static void test_map_private(void)
{
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert(mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
			bo.offset) == MAP_FAILED);
	igt_assert_eq(errno, EINVAL);
	igt_assert(mmap(NULL, SMALL, PROT_READ, MAP_PRIVATE, fd, bo.offset) == MAP_FAILED);
	igt_assert_eq(errno, EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ | PROT_WRITE), 0);
	vpfn_bo_close(fd, &bo);
}

static void test_map_past_end(void)
{
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert_eq(map_err(fd, bo.offset, SMALL + VPFN_PAGE, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL + 1, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset + VPFN_PAGE, SMALL, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), 0);
	igt_assert_eq(map_err(fd, bo.offset, VPFN_PAGE, PROT_READ), 0);
	vpfn_bo_close(fd, &bo);
}

static void test_map_foreign(void)
{
	int other = vpfn_open(O_RDWR);
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert_eq(map_err(other, bo.offset, SMALL, PROT_READ), -EACCES);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), 0);

	vpfn_bo_close(fd, &bo);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), -EINVAL);
	close(other);
}

static void test_map_read_only_file(void)
{
	int file = vpfn_open(O_RDONLY);
	struct vpfn_bo bo;
	void *map;

	igt_assert(file >= 0);
	create(file, SMALL, &bo);
	igt_assert_eq(map_err(file, bo.offset, SMALL, PROT_READ | PROT_WRITE), -EACCES);
	igt_assert_eq(vpfn_map(file, bo.offset, SMALL, PROT_READ, &map), 0);
	igt_assert_eq_u64(vpfn_load(map), 0);
	igt_assert_eq(vpfn_signal_of(map, VPFN_WRITE), SIGSEGV);
	igt_assert(mprotect(map, SMALL, PROT_READ | PROT_WRITE));
	igt_assert_eq(errno, EACCES);
	munmap(map, SMALL);
	close(file);
}

static void test_contents(void)
{
	struct vpfn_pattern pattern = { .seed = 0xc0, .size = SMALL };
	int file = vpfn_open(O_RDWR);
	struct vpfn_bo bo;
	char *map, *second;

	create(file, SMALL, &bo);
	igt_assert_eq(vpfn_bo_map(file, &bo, (void **)&map), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, (void **)&second), 0);
	for (uint64_t at = 0; at < SMALL; at += sizeof(uint64_t))
		igt_assert_eq_u64(vpfn_load(map + at), 0);

	vpfn_pattern_fill(&pattern, map, 0, SMALL);
	igt_assert_eq_u64(vpfn_pattern_check(&pattern, second, 0, SMALL), SMALL);

	/* A mapping holds the buffer, whatever becomes of handle and file. */
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);
	igt_assert_eq_u64(vpfn_pattern_check(&pattern, map, 0, SMALL), SMALL);
	pattern.seed++;
	vpfn_pattern_fill(&pattern, second, 0, SMALL);
	munmap(second, SMALL);
	igt_assert_eq_u64(vpfn_pattern_check(&pattern, map, 0, SMALL), SMALL);
	munmap(map, SMALL);
}

/* From here on: tests that run once for each level of the page table. */

static void assert_leaf(const struct vpfn_leaf *dump, const struct vpfn_leaf *driver,
			enum vpfn_level level)
{
	igt_assert_f(dump->level == level, "the page-table dump shows a %s, not a %s\n",
		     vpfn_level_name(dump->level), vpfn_level_name(level));
	igt_assert_f(driver->level == level, "the driver shows a %s, not a %s\n",
		     vpfn_level_name(driver->level), vpfn_level_name(level));
	igt_assert(dump->writable);
	igt_assert(driver->writable);
	igt_assert_f(!strcmp(dump->cache, "WC"), "the cache mode is %s\n", dump->cache);
	igt_assert(driver->special);
}

/* A new buffer, each page of which is touched once. */
static char *map_and_count(uint64_t size, enum vpfn_level limit)
{
	struct vpfn_bo bo;
	long kib, faults;
	char *map;

	create(fd, size, &bo);
	igt_assert_eq(vpfn_bo_map(fd, &bo, (void **)&map), 0);
	vpfn_bo_close(fd, &bo);
	vpfn_assert_level(fd, map, VPFN_NONE);

	kib = vpfn_page_table_kib();
	faults = vpfn_faults();
	for (uint64_t at = 0; at < size; at += VPFN_PAGE)
		vpfn_store(map + at, at);
	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;

	igt_info("%7llu KiB, at most %s: %ld faults, VmPTE +%ld KiB\n",
		 (unsigned long long)size >> 10, vpfn_level_name(limit), faults, kib);
	igt_assert_lte(vpfn_expect_faults(size, limit), faults);
	igt_assert_lte(faults, vpfn_expect_faults(size, limit) + 2);
	vpfn_assert_page_table_growth(kib, size, limit);
	return map;
}

/* First and last page: the driver agrees with the page-table dump and with the buffer. */
static void check_ends(char *map, uint64_t size, enum vpfn_level limit,
		       const struct vpfn_leaf dumps[2])
{
	struct vpfn_span span = { .base = (uintptr_t)map, .to = size };
	uint64_t last = size - VPFN_PAGE;
	struct vpfn_leaf head, tail;

	igt_assert_eq(vpfn_leaf_from_driver(fd, map, &head), 0);
	igt_assert_eq(vpfn_leaf_from_driver(fd, map + last, &tail), 0);
	assert_leaf(&dumps[0], &head, vpfn_expect_level(&span, 0, limit));
	assert_leaf(&dumps[1], &tail, vpfn_expect_level(&span, last, limit));
	igt_assert_eq_u64(tail.pfn, head.pfn + last / VPFN_PAGE);
	igt_assert_eq_u64(vpfn_load(map), 0);
	igt_assert_eq_u64(vpfn_load(map + last), last);
}

static void test_leaf_size(enum vpfn_level limit)
{
	/* A GiB of ptes would tell no more than 32 MiB, for a minute of faults. */
	const uint64_t sizes[] = {
		VPFN_PAGE, SMALL, VPFN_2M, VPFN_2M + VPFN_2M / 2,
		limit == VPFN_PTE ? 16 * VPFN_2M : VPFN_1G,
	};
	const void *ends[2 * ARRAY_SIZE(sizes)];
	struct vpfn_leaf dumps[ARRAY_SIZE(ends)];
	char *maps[ARRAY_SIZE(sizes)];

	igt_assert_eq(vpfn_limit_set(limit), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		maps[i] = map_and_count(sizes[i], limit);
		ends[2 * i] = maps[i];
		ends[2 * i + 1] = maps[i] + sizes[i] - VPFN_PAGE;
	}

	igt_assert_eq(vpfn_leaves_from_ptdump(ARRAY_SIZE(ends), ends, dumps), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		check_ends(maps[i], sizes[i], limit, &dumps[2 * i]);
		munmap(maps[i], sizes[i]);
	}
}

/* So much is mapped by a fault that ends at the PTE level: each such fault is counted. */
#define TOUCH_STEP	(16 * VPFN_PAGE)

/* Touches all of a mapping in which nothing is mapped; what it costs is known exactly. */
static void touch_and_count(char *map, uint64_t size, enum vpfn_level level, long tables_kib)
{
	long faults, kib;

	kib = vpfn_page_table_kib();
	faults = vpfn_faults();
	for (uint64_t at = 0; at < size; at += TOUCH_STEP)
		vpfn_store(map + at, at);
	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;

	igt_assert_eq(faults, size / vpfn_level_size(level));
	igt_assert_eq(kib, tables_kib);
	vpfn_assert_level(fd, map, level);
	vpfn_assert_level(fd, map + size - VPFN_PAGE, level);
}

/*
 * The first touch of a GiB, and the first one after it was away. Beside it something is mapped, so
 * that the page tables above those of the GiB are there: a PUD leaf takes none, PMD leaves one.
 */
static void test_first_touch(enum vpfn_level level)
{
	struct vpfn_bo bo;
	char *map, *area;
	uint32_t crc;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_reserve(2 * VPFN_1G, 4 * VPFN_1G, (void **)&area), 0);
	igt_assert_eq(mprotect(area, VPFN_PAGE, PROT_READ | PROT_WRITE), 0);
	vpfn_store(area, 1);
	create(fd, VPFN_1G, &bo);
	igt_assert_eq(vpfn_map_at(fd, bo.offset, VPFN_1G, area + VPFN_1G, MAP_FIXED,
				  (void **)&map), 0);

	vpfn_page_table_kib();
	touch_and_count(map, VPFN_1G, level, level == VPFN_PMD ? 4 : 0);

	/* Tables stay when what they hold goes. */
	igt_assert_eq(vpfn_evict(fd), 0);
	vpfn_assert_level(fd, map, VPFN_NONE);
	igt_assert_eq(vpfn_crc(fd, &bo, 0, VPFN_PAGE, &crc), 0);
	touch_and_count(map, VPFN_1G, level, 0);
	for (uint64_t at = 0; at < VPFN_1G; at += TOUCH_STEP)
		igt_assert_eq_u64(vpfn_load(map + at), at);

	vpfn_bo_close(fd, &bo);
	igt_assert_eq(munmap(area, 2 * VPFN_1G), 0);
}

/* An address that is not the memory's: smaller leaves, and the same bytes. */
static void check_map_at(struct vpfn_view *view, char *area, uint64_t shift, int flags)
{
	struct vpfn_span span = { .base = (uintptr_t)area + shift, .to = view->bo.size };
	void *map;

	igt_assert_eq(vpfn_map_at(fd, view->bo.offset, span.to, area + shift, flags, &map), 0);
	igt_assert(map == area + shift);

	vpfn_view_check_at(view, map, 0, VPFN_2M);
	vpfn_view_check_at(view, map, span.to / 2, span.to / 2 + VPFN_2M);
	vpfn_view_check_at(view, map, span.to - VPFN_2M, span.to);
	vpfn_assert_level(fd, map, vpfn_expect_level(&span, 0, view->level));
	vpfn_assert_level(fd, (char *)map + span.to - VPFN_PAGE,
			  vpfn_expect_level(&span, span.to - VPFN_PAGE, view->level));
	munmap(map, span.to);
}

static void *reserve_for(const struct vpfn_view *view)
{
	void *area;

	/* Room for a mapping that is shifted by up to a PMD leaf. */
	igt_assert_eq(vpfn_reserve(view->bo.size + VPFN_2M, vpfn_level_size(view->level), &area),
		      0);
	return area;
}

static void test_map_fixed(struct vpfn_view *view)
{
	char *area = reserve_for(view);

	check_map_at(view, area, 0, MAP_FIXED);
	check_map_at(view, area, VPFN_PAGE, MAP_FIXED);
	check_map_at(view, area, VPFN_2M - VPFN_PAGE, MAP_FIXED);
	check_map_at(view, area, VPFN_2M, MAP_FIXED);
	munmap(area, view->bo.size + VPFN_2M);
}

static void test_map_hint(struct vpfn_view *view)
{
	char *area = reserve_for(view);
	uint64_t inside = vpfn_view_inside(view);
	void *map;

	munmap(area, view->bo.size + VPFN_2M);
	check_map_at(view, area, 0, 0);
	check_map_at(view, area, VPFN_PAGE, 0);
	check_map_at(view, area, 0, MAP_FIXED_NOREPLACE);

	/* Where something is already, a hint moves and MAP_FIXED_NOREPLACE fails. */
	igt_assert_eq(vpfn_map_at(fd, view->bo.offset, view->bo.size, view->map + inside,
				  MAP_FIXED_NOREPLACE, &map), -EEXIST);
	igt_assert_eq(vpfn_map_at(fd, view->bo.offset, view->bo.size, view->map + inside, 0,
				  &map), 0);
	igt_assert((char *)map + view->bo.size <= view->map ||
		   (char *)map >= view->map + view->bo.size);
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map, view->level);
	munmap(map, view->bo.size);
}

/* The leaf of @offset in the mapping of [from, to), after a touch. */
static void assert_level_in(const struct vpfn_view *view, char *base, uint64_t offset,
			    uint64_t from, uint64_t to)
{
	struct vpfn_span span = { .base = (uintptr_t)base, .from = from, .to = to };

	igt_assert_eq(vpfn_signal_of(base + offset, VPFN_WRITE), 0);
	vpfn_assert_level(fd, base + offset, vpfn_expect_level(&span, offset, view->level));
}

/* [from, to) is mapped no longer; what is left and right of it is as it was. */
static void check_hole(const struct vpfn_view *view, uint64_t from, uint64_t to)
{
	uint64_t size = view->bo.size;
	void *map;

	igt_assert_eq(vpfn_signal_of(view->map + from, VPFN_READ), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(view->map + to - VPFN_PAGE, VPFN_READ), SIGSEGV);
	vpfn_view_check_at(view, view->map, 0, from);
	vpfn_view_check_at(view, view->map, to, size);

	if (from) {
		assert_level_in(view, view->map, 0, 0, from);
		assert_level_in(view, view->map, from - VPFN_PAGE, 0, from);
	}
	if (to < size) {
		assert_level_in(view, view->map, to, to, size);
		assert_level_in(view, view->map, size - VPFN_PAGE, to, size);
	}

	/* The buffer itself lost nothing. */
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, &map), 0);
	vpfn_view_check_at(view, map, 0, size);
	vpfn_assert_level(fd, map, view->level);
	munmap(map, size);
}

static void unmap_range(struct vpfn_view *view, uint64_t from, uint64_t to)
{
	igt_assert_eq(munmap(view->map + from, to - from), 0);
	check_hole(view, from, to);
}

static void test_munmap_page(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);

	unmap_range(view, inside, inside + VPFN_PAGE);
}

static void test_munmap_half(struct vpfn_view *view)
{
	unmap_range(view, vpfn_view_inside(view), view->bo.size);
}

static void test_munmap_head(struct vpfn_view *view)
{
	unmap_range(view, 0, VPFN_PAGE);
}

static void test_munmap_tail(struct vpfn_view *view)
{
	unmap_range(view, view->bo.size - VPFN_PAGE, view->bo.size);
}

static void test_map_over_page(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), size = view->bo.size;
	uint64_t seen[VPFN_PAGE / sizeof(uint64_t)];
	char *page = view->map + inside;

	igt_assert(mmap(page, VPFN_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
	igt_assert_eq_u64(vpfn_load(page), 0);
	vpfn_store(page, ~vpfn_pattern_word(&view->pattern, inside));

	/* A debugger's read that begins in the buffer must not go on in it behind the border. */
	igt_assert_eq(vpfn_proc_mem(page - VPFN_PAGE / 2, seen, sizeof(seen), false), 0);
	igt_assert_eq_u64(seen[ARRAY_SIZE(seen) / 2], vpfn_load(page));

	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + VPFN_PAGE, size);
	unmap_range(view, inside, inside + VPFN_PAGE);
}

static void test_mprotect_page(struct vpfn_view *view)
{
	char *page = view->map + vpfn_view_inside(view);

	igt_assert_eq(mprotect(page, VPFN_PAGE, PROT_READ), 0);
	igt_assert_eq(vpfn_signal_of(page, VPFN_WRITE), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(page, VPFN_READ), 0);
	igt_assert_eq(vpfn_signal_of(page, VPFN_WRITE), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(page - VPFN_PAGE, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_signal_of(page + VPFN_PAGE, VPFN_WRITE), 0);
	vpfn_view_check(view);

	igt_assert_eq(mprotect(page, VPFN_PAGE, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq(vpfn_signal_of(page, VPFN_WRITE), 0);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

static void test_mprotect_whole(struct vpfn_view *view)
{
	char *page = view->map + vpfn_view_inside(view);
	uint64_t word = 0xbad;
	struct vpfn_leaf leaf;

	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_READ), 0);
	igt_assert_eq(vpfn_signal_of(view->map, VPFN_WRITE), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(page, VPFN_WRITE), SIGSEGV);
	igt_assert_eq(vpfn_proc_mem(page, &word, sizeof(word), true), -EIO);
	vpfn_view_check(view);
	vpfn_assert_level(fd, page, view->level);
	igt_assert_eq(vpfn_leaf_from_driver(fd, page, &leaf), 0);
	igt_assert(!leaf.writable);

	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_READ | PROT_WRITE), 0);
	vpfn_view_refill(view);
	vpfn_view_check(view);
	vpfn_assert_level(fd, page, view->level);
}

static void test_mprotect_none(struct vpfn_view *view)
{
	char *page = view->map + vpfn_view_inside(view);

	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_NONE), 0);
	igt_assert_eq(vpfn_signal_of(page, VPFN_READ), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(page, VPFN_WRITE), SIGSEGV);
	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_READ | PROT_WRITE), 0);
	vpfn_view_check(view);
	vpfn_assert_level(fd, page, view->level);
}

/* The first fault on a leaf reads; what it installs must not stop a write, nor repeat. */
static void test_read_then_write(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	void *word = view->map + inside;
	uint64_t value = vpfn_load(word);
	long faults = vpfn_faults();

	igt_assert_eq_u64(value, vpfn_pattern_word(&view->pattern, inside));
	vpfn_store(word, ~value);
	igt_assert_lte(vpfn_faults() - faults, 2);
	igt_assert_eq_u64(vpfn_load(word), ~value);
	vpfn_assert_level(fd, word, view->level);

	vpfn_store(word, value);
	vpfn_view_check(view);
}

/* Does the kernel tell of a page of ordinary memory that was just written? */
static bool tells_of_writes(void)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *page = mmap(NULL, VPFN_PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	off_t at = (uintptr_t)page / VPFN_PAGE * sizeof(uint64_t);
	uint64_t entry;

	igt_assert(file >= 0 && page != MAP_FAILED);
	vpfn_store(page, 1);
	igt_assert_eq(pread(file, &entry, sizeof(entry), at), sizeof(entry));
	munmap(page, VPFN_PAGE);
	close(file);
	return entry & 1ull << 55;
}

/* Has the kernel track writes: it installs leaves read-only although one may write. */
static void track_writes(void)
{
	int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	igt_require_f(tells_of_writes(), "the kernel tracks no writes (CONFIG_MEM_SOFT_DIRTY)\n");
	igt_assert(file >= 0);
	igt_assert_eq(write(file, "4", 1), 1);
	close(file);
}

static void test_write_notify(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	char *word = view->map + inside;
	uint64_t value;
	struct vpfn_leaf leaf;

	track_writes();
	value = vpfn_load(word);
	igt_assert_eq_u64(value, vpfn_pattern_word(&view->pattern, inside));
	igt_assert_eq(vpfn_leaf_from_driver(fd, word, &leaf), 0);
	igt_assert_f(!leaf.writable, "the first write would go unnoticed\n");

	/* A leaf that stays read-only faults for ever. */
	alarm(60);
	vpfn_store(word, ~value);
	alarm(0);
	igt_assert_eq_u64(vpfn_load(word), ~value);
	vpfn_assert_level(fd, word, view->level);

	vpfn_store(word, value);
	vpfn_view_check(view);
}

/* A mapping that could only be read gets a leaf that cannot be written, and then must. */
static void test_read_only_then_write(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	uint64_t value;
	char *map, *word;

	igt_assert_eq(vpfn_map(fd, view->bo.offset, view->bo.size, PROT_READ, (void **)&map), 0);
	word = map + inside;
	value = vpfn_load(word);
	igt_assert_eq_u64(value, vpfn_pattern_word(&view->pattern, inside));
	vpfn_assert_level(fd, word, view->level);
	igt_assert_eq(vpfn_signal_of(word, VPFN_WRITE), SIGSEGV);

	igt_assert_eq(mprotect(map, view->bo.size, PROT_READ | PROT_WRITE), 0);
	vpfn_store(word, ~value);
	igt_assert_eq_u64(vpfn_load(view->map + inside), ~value);
	vpfn_assert_level(fd, word, view->level);
	vpfn_store(word, value);
	vpfn_view_check_at(view, map, 0, view->bo.size);
	munmap(map, view->bo.size);
}

/* The mapping has moved from view->map to @to, shifted against the leaves or not. */
static void check_moved(struct vpfn_view *view, char *to)
{
	uint64_t size = view->bo.size;

	igt_assert_eq(vpfn_signal_of(view->map, VPFN_READ), SIGSEGV);
	igt_assert_eq(vpfn_signal_of(view->map + size - VPFN_PAGE, VPFN_READ), SIGSEGV);
	vpfn_view_check_at(view, to, 0, VPFN_2M);
	vpfn_view_check_at(view, to, size / 2, size / 2 + VPFN_2M);
	vpfn_view_check_at(view, to, size - VPFN_2M, size);
	assert_level_in(view, to, 0, 0, size);

	/* Whatever is written there reaches the buffer. */
	vpfn_store(to + VPFN_PAGE, 0x4d0);
	munmap(to, size);
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, (void **)&view->map), 0);
	igt_assert_eq_u64(vpfn_load(view->map + VPFN_PAGE), 0x4d0);
}

static void remap_whole(struct vpfn_view *view, uint64_t shift)
{
	uint64_t size = view->bo.size;
	char *area = reserve_for(view);

	igt_assert(mremap(view->map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, area + shift) ==
		   area + shift);
	check_moved(view, area + shift);
	munmap(area, size + VPFN_2M);
}

static void test_mremap_aligned(struct vpfn_view *view)
{
	remap_whole(view, 0);
}

static void test_mremap_unaligned(struct vpfn_view *view)
{
	remap_whole(view, VPFN_PAGE);
}

static void test_mremap_shrink(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;

	igt_assert(mremap(view->map, size, size - VPFN_PAGE, 0) == view->map);
	check_hole(view, size - VPFN_PAGE, size);
}

static void test_mremap_part(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), len = view->bo.size - inside;
	char *area = reserve_for(view);

	igt_assert(mremap(view->map + inside, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  area + inside) == area + inside);
	vpfn_view_check_at(view, area, inside, view->bo.size);
	assert_level_in(view, area, inside, inside, view->bo.size);
	check_hole(view, inside, view->bo.size);
	munmap(area, view->bo.size + VPFN_2M);
}

static int mremap_err(void *addr, uint64_t old_len, uint64_t len, int flags)
{
	return mremap(addr, old_len, len, flags, NULL) == MAP_FAILED ? -errno : 0;
}

static void test_mremap_refused(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;
	char *plain = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert_eq(mremap_err(view->map, size, 2 * size, MREMAP_MAYMOVE), -EFAULT);
	igt_assert_eq(mremap_err(view->map, 0, size, MREMAP_MAYMOVE), -EFAULT);
	igt_assert_eq(mremap_err(view->map, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP),
		      -EINVAL);
	igt_assert_eq(mremap_err(view->map, size, size, 0), 0);
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map, view->level);

	/* Ordinary memory is not that strict, so the refusals are about this mapping. */
	igt_assert(plain != MAP_FAILED);
	igt_assert_eq(mremap_err(plain, SMALL, SMALL, MREMAP_MAYMOVE | MREMAP_DONTUNMAP), 0);
	igt_assert_eq(mremap_err(plain, SMALL, 2 * SMALL, MREMAP_MAYMOVE), 0);
}

/* Parent and child map the same memory by leaves of their own. */
static void test_fork(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);

	igt_fork(child, 1) {
		vpfn_view_check(view);
		vpfn_assert_level(fd, view->map + inside, view->level);
		view->pattern.seed ^= 0xf0;
		vpfn_pattern_fill(&view->pattern, view->map, 0, view->bo.size);
	}
	igt_waitchildren();

	view->pattern.seed ^= 0xf0;
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map + inside, view->level);
}

static void test_fork_munmap(struct vpfn_view *view)
{
	igt_fork(child, 1)
		test_munmap_page(view);
	igt_waitchildren();

	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), view->level);
	vpfn_view_check(view);
}

/* MADV_NOHUGEPAGE before the first touch: small leaves there, the others as large as can be. */
static void test_nohugepage(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), end = inside + VPFN_PAGE;
	uint64_t size = view->bo.size;

	igt_assert_eq(madvise(view->map + inside, VPFN_PAGE, MADV_NOHUGEPAGE), 0);
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map + inside, VPFN_PTE);
	assert_level_in(view, view->map, 0, 0, inside);
	assert_level_in(view, view->map, size - VPFN_PAGE, end, size);
}

/* MADV_NOHUGEPAGE on a part of a leaf that is there. */
static void test_nohugepage_touched(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);

	igt_assert_eq(madvise(view->map + inside, VPFN_PAGE, MADV_NOHUGEPAGE), 0);
	vpfn_view_check(view);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

static void test_nohugepage_whole(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;

	igt_assert_eq(madvise(view->map, size, MADV_NOHUGEPAGE), 0);
	vpfn_view_check_at(view, view->map, 0, VPFN_2M);
	vpfn_view_check_at(view, view->map, size - VPFN_2M, size);
	vpfn_assert_level(fd, view->map, VPFN_PTE);
	vpfn_assert_level(fd, view->map + size - VPFN_PAGE, VPFN_PTE);
}

/* One buffer by large leaves and by small ones at the same time. */
static void test_two_mappings(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;
	char *area = reserve_for(view);
	struct vpfn_pattern other = view->pattern;
	void *map;

	igt_assert_eq(vpfn_map_at(fd, view->bo.offset, size, area + VPFN_PAGE, MAP_FIXED, &map),
		      0);
	vpfn_view_check_at(view, map, 0, VPFN_2M);
	vpfn_assert_level(fd, map, VPFN_PTE);

	other.seed ^= 0x2;
	vpfn_pattern_fill(&other, map, 0, VPFN_2M);
	igt_assert_eq_u64(vpfn_pattern_check(&other, view->map, 0, VPFN_2M), VPFN_2M);
	vpfn_view_check_at(view, view->map, VPFN_2M, size);
	vpfn_assert_level(fd, view->map, view->level);
	munmap(area, size + VPFN_2M);
}

#define THREADS	8

static void *touch_all(void *data)
{
	const struct vpfn_view *view = data;
	uint64_t size = view->bo.size;

	return (void *)(uintptr_t)vpfn_pattern_check(&view->pattern, view->map, 0, size);
}

static void test_threads(struct vpfn_view *view)
{
	pthread_t threads[THREADS];
	void *end;

	for (int i = 0; i < THREADS; i++)
		igt_assert_eq(pthread_create(&threads[i], NULL, touch_all, view), 0);
	for (int i = 0; i < THREADS; i++) {
		igt_assert_eq(pthread_join(threads[i], &end), 0);
		igt_assert_eq_u64((uintptr_t)end, view->bo.size);
	}
	vpfn_assert_level(fd, view->map, view->level);
	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), view->level);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

/* Two pages around @border, by ptrace and by the mapping, each writes and each reads. */
static void check_ptrace_at(struct vpfn_view *view, uint64_t border)
{
	static uint64_t bytes[2 * VPFN_PAGE / sizeof(uint64_t)], seen[sizeof(bytes) / 8];
	struct vpfn_pattern pattern = { .seed = border, .size = sizeof(bytes) };
	char *addr = view->map + border - VPFN_PAGE;

	vpfn_pattern_bytes(&pattern, bytes, sizeof(bytes));
	igt_assert_eq(vpfn_proc_mem(addr + 4, bytes, sizeof(bytes) - 8, true), 0);
	igt_assert(!memcmp(addr + 4, bytes, sizeof(bytes) - 8));

	pattern.seed++;
	vpfn_pattern_bytes(&pattern, addr, sizeof(bytes));
	vpfn_pattern_bytes(&pattern, bytes, sizeof(bytes));
	igt_assert_eq(vpfn_proc_mem(addr, seen, sizeof(seen), false), 0);
	igt_assert(!memcmp(seen, bytes, sizeof(seen)));
}

static void test_ptrace(struct vpfn_view *view)
{
	/* This mapping is untouched, and ptrace does not map anything either. */
	igt_assert_eq_u64(vpfn_pattern_check_by_ptrace(&view->pattern, view->map, 0,
						       view->bo.size), view->bo.size);
	vpfn_assert_level(fd, view->map, VPFN_NONE);

	check_ptrace_at(view, VPFN_PAGE);
	check_ptrace_at(view, view->bo.size / 2);
	check_ptrace_at(view, vpfn_view_inside(view));
	check_ptrace_at(view, view->bo.size - VPFN_PAGE);
	vpfn_assert_level(fd, view->map, view->level);
}

static void test_dma_buf(struct vpfn_view *view)
{
	struct vpfn_span span = { .to = view->bo.size };
	char *area = reserve_for(view);
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_bo_export(fd, &view->bo, &dmabuf), 0);
	igt_assert_eq(vpfn_map_at(dmabuf, 0, span.to, area, MAP_FIXED, &map), 0);
	close(dmabuf);

	span.base = (uintptr_t)area;
	vpfn_view_check_at(view, map, 0, span.to);
	vpfn_assert_level(fd, map, vpfn_expect_level(&span, 0, view->level));

	vpfn_assert_level(fd, view->map, view->level);
	view->pattern.seed ^= 0xdb;
	vpfn_pattern_fill(&view->pattern, map, 0, span.to);
	vpfn_view_check(view);
	munmap(area, span.to + VPFN_2M);
}

/* The host reads the memory behind the device: the bytes are there, and nowhere else. */
static void test_host_view(struct vpfn_view *view)
{
	static uint64_t bytes[16 * VPFN_PAGE / sizeof(uint64_t)];
	uint64_t inside = vpfn_view_inside(view), bar, offset;
	char expected[VPFN_SHA256_HEX], seen[VPFN_SHA256_HEX];
	int port = vpfn_witness_open();
	struct vpfn_leaf leaf;

	igt_require_f(port >= 0, "no port vpfn.witness: the machine's host does not tell\n");
	igt_assert_eq(vpfn_bar_start(fd, VRAM_BAR, &bar), 0);
	igt_assert_eq(vpfn_leaf_from_driver(fd, view->map, &leaf), 0);
	offset = leaf.pfn * VPFN_PAGE - bar + inside;

	vpfn_pattern_bytes(&view->pattern, bytes, sizeof(bytes));
	igt_assert_eq(vpfn_sha256(bytes, sizeof(bytes), expected), 0);
	vpfn_pattern_bytes(&view->pattern, view->map + inside, sizeof(bytes));
	igt_assert_eq(vpfn_witness_sha256(port, offset, sizeof(bytes), seen), 0);
	igt_assert_f(!strcmp(seen, expected), "the host sees %s, not %s\n", seen, expected);

	vpfn_store(view->map + inside, ~vpfn_load(view->map + inside));
	igt_assert_eq(vpfn_witness_sha256(port, offset, sizeof(bytes), seen), 0);
	igt_assert(strcmp(seen, expected));
	close(port);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} basic_tests[] = {
	{ "param-bad", "The parameter ioctl refuses what it does not know.", test_param },
	{ "create-bad-flags", "No buffer for an unknown flag.", test_create_bad_flags },
	{ "create-bad-size", "No buffer of no, an odd or an impossible size.",
	  test_create_bad_size },
	{ "bad-handle", "An unknown, foreign or closed handle is refused.",
	  test_bad_handle },
	{ "info", "Size and placement of a buffer, and arguments that must be zero.", test_info },
	{ "map-private", "Copy-on-write mappings are refused.", test_map_private },
	{ "map-past-end", "A mapping must lie within its buffer.", test_map_past_end },
	{ "map-foreign", "Without a handle of its own, a file maps nothing.", test_map_foreign },
	{ "map-read-only-file", "A file open for reading gives no way to write.",
	  test_map_read_only_file },
	{ "contents", "A new buffer is zero, its mappings agree and outlive handle and file.",
	  test_contents },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct vpfn_view *view);
	bool untouched;
} level_tests[] = {
	{ "map-fixed", "An address that is less aligned gets smaller leaves and the same bytes.",
	  .run = test_map_fixed },
	{ "map-hint", "A hint is honoured if it can be; nothing that is mapped is replaced.",
	  .run = test_map_hint },
	{ "munmap-page", "Unmap one page in the middle of a leaf.", .run = test_munmap_page },
	{ "munmap-half", "Unmap the second half of a leaf.", .run = test_munmap_half },
	{ "munmap-head", "Unmap the first page.", .run = test_munmap_head },
	{ "munmap-tail", "Unmap the last page.", .run = test_munmap_tail },
	{ "map-over-page", "Put ordinary memory over one page in the middle of a leaf.",
	  .run = test_map_over_page },
	{ "mprotect-page", "Make one page in the middle of a leaf read-only, and writable again.",
	  .run = test_mprotect_page },
	{ "mprotect-whole", "Make the whole mapping read-only, and writable again.",
	  .run = test_mprotect_whole },
	{ "mprotect-none", "Make the whole mapping inaccessible, and writable again.",
	  .run = test_mprotect_none },
	{ "read-then-write", "Write through a leaf that a read fault has installed.",
	  .run = test_read_then_write, .untouched = true },
	{ "write-notify", "Write through a leaf that is read-only so that the write is noticed.",
	  .run = test_write_notify, .untouched = true },
	{ "read-only-then-write", "Make a mapping writable that was read-only from the start.",
	  .run = test_read_only_then_write },
	{ "mremap-aligned", "Move the whole to an address as aligned as before.",
	  .run = test_mremap_aligned },
	{ "mremap-unaligned", "Move the whole by one page against the leaves.",
	  .run = test_mremap_unaligned },
	{ "mremap-shrink", "Shrink the mapping by a page.", .run = test_mremap_shrink },
	{ "mremap-part", "Move the second half of a leaf away.", .run = test_mremap_part },
	{ "mremap-refused", "No mapping grows or doubles.", .run = test_mremap_refused },
	{ "fork", "Parent and child see each other's writes.", .run = test_fork },
	{ "fork-munmap", "A child that breaks its leaf does not break its parent's.",
	  .run = test_fork_munmap },
	{ "nohugepage", "MADV_NOHUGEPAGE on one page of a fresh mapping.",
	  .run = test_nohugepage, .untouched = true },
	{ "nohugepage-touched", "MADV_NOHUGEPAGE on one page in the middle of a leaf.",
	  .run = test_nohugepage_touched },
	{ "nohugepage-whole", "MADV_NOHUGEPAGE on a fresh mapping allows small leaves alone.",
	  .run = test_nohugepage_whole, .untouched = true },
	{ "two-mappings", "Large and small leaves of one buffer at a time.",
	  .run = test_two_mappings },
	{ "threads", "The first touch by many threads at once.",
	  .run = test_threads, .untouched = true },
	{ "ptrace", "A debugger's access agrees with the mapping, across all borders.",
	  .run = test_ptrace, .untouched = true },
	{ "dma-buf", "A mapping through a dma-buf has the same bytes and the same leaves.",
	  .run = test_dma_buf },
	{ "host-view", "What is written through a leaf is where the host finds it.",
	  .run = test_host_view },
};

static bool views_are_open;

/* The first dynamic subtest of a test opens the views: it may fail, the test around it may not. */
static void run_at_level(void (*run)(struct vpfn_view *), bool untouched, enum vpfn_level level)
{
	struct vpfn_view *view = &views.of[level];

	if (untouched) {
		vpfn_view_open_untouched(view, fd, level);
	} else {
		if (!views_are_open)
			vpfn_views_open(&views, fd);
		views_are_open = true;
		vpfn_view_renew(view);
	}
	run(view);
	vpfn_view_close(view);
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(basic_tests); i++) {
		igt_describe(basic_tests[i].describe);
		igt_subtest(basic_tests[i].name)
			basic_tests[i].run();
	}

	igt_describe("Page-table dump, driver, fault count and VmPTE agree about the leaves.");
	igt_subtest_with_dynamic("leaf-size") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_leaf_size(level);
		}
	}

	igt_describe("The first touch of a GiB takes one fault a leaf, also when it was evicted.");
	igt_subtest_with_dynamic("first-touch") {
		for (enum vpfn_level level = VPFN_PMD; level <= VPFN_PUD; level++) {
			igt_dynamic(vpfn_level_name(level))
				test_first_touch(level);
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(level_tests); i++) {
		igt_describe(level_tests[i].describe);
		igt_subtest_with_dynamic(level_tests[i].name) {
			views_are_open = false;
			for_each_vpfn_level(level) {
				igt_dynamic(vpfn_level_name(level))
					run_at_level(level_tests[i].run,
						     level_tests[i].untouched, level);
			}
		}
	}

	igt_fixture() {
		close(fd);
	}
}
