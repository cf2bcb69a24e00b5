// SPDX-License-Identifier: MIT
/*
 * What do the tests look at?
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "igt.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_view.h"

static enum vpfn_level limit_at_start;

/**
 * vpfn_limit_restore:
 *
 * Makes the largest leaf what it was before vpfn_require_device().
 */
void vpfn_limit_restore(void)
{
	vpfn_limit_set(limit_at_start);
}

static void restore_limit(int sig)
{
	(void)sig;
	vpfn_limit_restore();
}

/**
 * vpfn_require_device:
 *
 * Opens the device, or skips. What the tests change of the driver's settings is put back
 * when the test exits.
 *
 * Returns: a file descriptor.
 */
int vpfn_require_device(void)
{
	int fd = vpfn_open(O_RDWR);

	igt_require_f(fd >= 0, "no device of the driver vpfn\n");
	igt_require_f(!vpfn_limit_get(&limit_at_start),
		      "no module parameter largest_leaf of vpfn\n");
	igt_install_exit_handler(restore_limit);
	return fd;
}

/**
 * vpfn_require_small_device:
 *
 * Opens the device with memory that the CPU cannot see, or skips.
 *
 * Returns: a DRM file descriptor, which the caller closes.
 */
int vpfn_require_small_device(void)
{
	int fd = vpfn_open_small(O_RDWR);

	igt_require_f(fd >= 0, "no device with memory that the CPU cannot see\n");
	return fd;
}

#define TIMEOUT_MS	"/sys/module/vpfn/parameters/timeout_ms"

static char timeout_at_start[16];

/**
 * vpfn_timeout_restore:
 *
 * Makes the engine's time-out what it was before vpfn_timeout_set().
 */
void vpfn_timeout_restore(void)
{
	if (timeout_at_start[0])
		pfnmap_text_write(TIMEOUT_MS, timeout_at_start);
}

static void restore_timeout(int sig)
{
	(void)sig;
	vpfn_timeout_restore();
}

/**
 * vpfn_timeout_set:
 * @ms: after how many ms without progress the engine hangs, for jobs submitted from now on
 */
void vpfn_timeout_set(unsigned int ms)
{
	char text[16];

	if (!timeout_at_start[0]) {
		igt_assert_eq(pfnmap_text_read(TIMEOUT_MS, timeout_at_start,
					       sizeof(timeout_at_start)), 0);
		igt_install_exit_handler(restore_timeout);
	}
	snprintf(text, sizeof(text), "%u", ms);
	igt_assert_eq(pfnmap_text_write(TIMEOUT_MS, text), 0);
}

/* Clearing a large buffer takes long: the views of a process share one of each kind. */
static struct vpfn_bo shared_bo(int fd, enum vpfn_level level, uint32_t placement)
{
	static struct vpfn_bo small, large, system;
	struct vpfn_bo *bo = &small;

	if (placement == DRM_VPFN_PLACEMENT_SYSTEM)
		bo = &system;
	else if (level == VPFN_PUD)
		bo = &large;

	if (!bo->handle)
		igt_assert_eq(vpfn_bo_create_in(fd, level == VPFN_PUD ? PFNMAP_1G : 2 * PFNMAP_2M,
						placement, DRM_VPFN_GEM_CREATE_CPU_ACCESS, bo), 0);
	return *bo;
}

/**
 * vpfn_view_open_untouched:
 * @view: the view
 * @fd: DRM file descriptor
 * @level: the largest leaf to use
 *
 * Maps a buffer that is large enough for a leaf of @level. Its contents are the pattern, written
 * through another mapping: no page of this one has been touched.
 */
void vpfn_view_open_untouched(struct vpfn_view *view, int fd, enum vpfn_level level)
{
	void *map;

	vpfn_view_open(view, fd, level);
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, &map), 0);
	vpfn_view_close(view);
	view->map = map;
}

/**
 * vpfn_assert_page_table_growth:
 * @kib: by how much the page tables of the process have grown
 * @size: size of the mapping that was touched
 * @limit: the largest leaf that the driver may use
 *
 * Asserts that it is what a page table for PTEs costs; what is above it in the tree may be
 * new or not.
 */
void vpfn_assert_page_table_growth(long kib, uint64_t size, enum vpfn_level limit)
{
	long tables = limit == VPFN_PTE ? size / PFNMAP_2M * 4 : 0;

	igt_assert_f(kib >= tables && kib <= tables + 12,
		     "VmPTE grew by %ld KiB, not by %ld\n", kib, tables);
}

/**
 * vpfn_view_open:
 * @view: the view
 * @fd: DRM file descriptor
 * @level: the largest leaf to use
 *
 * Maps a buffer by leaves of @level and writes a new pattern through them. The number of faults
 * has to agree with the driver's file about the level, and the first time the size of the page
 * tables, too.
 */
void vpfn_view_open(struct vpfn_view *view, int fd, enum vpfn_level level)
{
	vpfn_view_open_in(view, fd, level, DRM_VPFN_PLACEMENT_VRAM);
}

/* Fault in the pages of the counted code itself: text, stack and data. */
static void warm_up(void)
{
	static uint64_t words[PFNMAP_PAGE / sizeof(uint64_t)];
	struct pfnmap_pattern pattern = { .seed = 1, .size = sizeof(words) };

	vpfn_page_table_kib();
	pfnmap_pattern_fill(&pattern, words, 0, sizeof(words));
}

/**
 * vpfn_view_open_in:
 * @view: the view
 * @fd: DRM file descriptor
 * @level: the largest leaf to use
 * @placement: the DRM_VPFN_PLACEMENT_* of the buffer
 *
 * As vpfn_view_open(), wherever the buffer lies.
 */
void vpfn_view_open_in(struct vpfn_view *view, int fd, enum vpfn_level level, uint32_t placement)
{
	static bool counted[VPFN_PUD + 1];
	long faults, kib, expected;
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	view->fd = fd;
	view->level = level;
	view->bo = shared_bo(fd, level, placement);
	view->pattern.size = view->bo.size;
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, &map), 0);
	view->map = map;

	warm_up();
	expected = vpfn_expect_faults(view->bo.size, level);
	kib = vpfn_page_table_kib();
	faults = vpfn_faults();
	vpfn_view_refill(view);
	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;
	igt_assert_lte(expected, faults);
	igt_assert_lte(faults, expected + 2);
	/* Only once: a later mapping may find the page tables of an earlier one. */
	if (!counted[level])
		vpfn_assert_page_table_growth(kib, view->bo.size, level);
	counted[level] = true;
	vpfn_assert_level(fd, map, level);
	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), level);
}

/**
 * vpfn_assert_dump_agrees:
 * @views: some views
 * @count: how many, not more than 8
 *
 * Asserts that the page-table dump, which takes long, shows the leaves that the views claim.
 */
void vpfn_assert_dump_agrees(const struct vpfn_view *const views[], unsigned int count)
{
	const void *addrs[16] = {};
	struct vpfn_leaf leaves[ARRAY_SIZE(addrs)];

	igt_assert_lte(2 * count, ARRAY_SIZE(addrs));
	for (unsigned int i = 0; i < count; i++) {
		addrs[2 * i] = views[i]->map;
		addrs[2 * i + 1] = views[i]->map + vpfn_view_inside(views[i]);
	}

	igt_assert_eq(vpfn_leaves_from_ptdump(2 * count, addrs, leaves), 0);
	for (unsigned int i = 0; i < 2 * count; i++)
		igt_assert_eq(leaves[i].level, views[i / 2]->level);
}

/**
 * vpfn_view_close:
 * @view: the view, whose mapping goes
 */
void vpfn_view_close(struct vpfn_view *view)
{
	igt_assert_eq(munmap(view->map, view->bo.size), 0);
	view->map = NULL;
}

/**
 * vpfn_view_refill:
 * @view: the view
 *
 * Writes a pattern that has not been there before.
 */
void vpfn_view_refill(struct vpfn_view *view)
{
	static uint64_t seed;

	view->pattern.seed = ++seed;
	pfnmap_pattern_fill(&view->pattern, view->map, 0, view->bo.size);
}

/**
 * vpfn_view_check:
 * @view: the view
 *
 * Asserts that the whole buffer holds the pattern, seen through the mapping and by ptrace.
 */
void vpfn_view_check(const struct vpfn_view *view)
{
	vpfn_view_check_at(view, view->map, 0, view->bo.size);
}

/**
 * vpfn_view_check_at:
 * @view: the view
 * @base: address of the buffer's first byte, mapped or not
 * @from: offset in the buffer
 * @to: offset in the buffer of the end
 *
 * Asserts that a part of the buffer holds the pattern, seen through the mapping and by ptrace.
 */
void vpfn_view_check_at(const struct vpfn_view *view, void *base, uint64_t from, uint64_t to)
{
	igt_assert_eq_u64(pfnmap_pattern_check(&view->pattern, base, from, to), to);
	igt_assert_eq_u64(pfnmap_pattern_check_by_ptrace(&view->pattern, base, from, to), to);
}

/**
 * vpfn_view_inside:
 * @view: the view
 *
 * Returns: an offset with leaf on both sides of it, if a leaf is more than a page.
 */
uint64_t vpfn_view_inside(const struct vpfn_view *view)
{
	if (view->level == VPFN_PTE)
		return view->bo.size / 2;
	return view->bo.size - vpfn_level_size(view->level) / 2;
}

/**
 * vpfn_assert_level:
 * @fd: DRM file descriptor
 * @addr: an address in a mapping of the device
 * @level: the level that must map it, VPFN_NONE if nothing may
 *
 * Asserts it by the driver's debugfs file, which costs little. That the file tells the
 * truth is what the subtest leaf-size is for.
 */
void vpfn_assert_level(int fd, const void *addr, enum vpfn_level level)
{
	struct vpfn_leaf leaf;

	igt_assert_eq(vpfn_leaf_from_driver(fd, addr, &leaf), 0);
	igt_assert_f(leaf.level == level, "%p is mapped by a %s, not by a %s\n", addr,
		     vpfn_level_name(leaf.level), vpfn_level_name(level));
	igt_assert(leaf.level == VPFN_NONE || leaf.special);
}

/**
 * vpfn_view_reserve:
 * @view: the view
 *
 * Returns: an address that is as aligned as the leaves of the view.
 */
void *vpfn_view_reserve(const struct vpfn_view *view)
{
	void *area;

	igt_assert_eq(pfnmap_reserve(view->bo.size + PFNMAP_2M, vpfn_level_size(view->level),
				     &area), 0);
	return area;
}

/**
 * vpfn_view_assert_level_in:
 * @view: the view
 * @base: address of the buffer's first byte, mapped or not
 * @offset: offset in the buffer of the byte to touch
 * @from: offset in the buffer where the mapping begins
 * @to: offset in the buffer where it ends
 *
 * Asserts that a touch installs the largest leaf that the mapping allows.
 */
void vpfn_view_assert_level_in(const struct vpfn_view *view, char *base, uint64_t offset,
			       uint64_t from, uint64_t to)
{
	struct vpfn_span span = { .base = (uintptr_t)base, .from = from, .to = to };

	igt_assert_eq(pfnmap_signal_of(base + offset, PFNMAP_WRITE), 0);
	vpfn_assert_level(view->fd, base + offset, vpfn_expect_level(&span, offset, view->level));
}

static void run_at_level(const struct vpfn_level_test *test, int fd, enum vpfn_level level)
{
	struct vpfn_view view;

	if (test->untouched)
		vpfn_view_open_untouched(&view, fd, level);
	else
		vpfn_view_open(&view, fd, level);
	test->run(&view);
	vpfn_view_close(&view);
}

/**
 * vpfn_level_subtests:
 * @tests: the subtests
 * @count: how many
 * @fd: DRM file descriptor, which a fixture opens
 */
void vpfn_level_subtests(const struct vpfn_level_test tests[], size_t count, const int *fd)
{
	for (size_t i = 0; i < count; i++) {
		igt_describe(tests[i].describe);
		igt_subtest_with_dynamic(tests[i].name) {
			for_each_vpfn_level(level) {
				igt_dynamic(vpfn_level_name(level))
					run_at_level(&tests[i], *fd, level);
			}
		}
	}
}
