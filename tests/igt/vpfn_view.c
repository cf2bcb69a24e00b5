// SPDX-License-Identifier: MIT
/*
 * What do the tests look at?
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "igt.h"
#include "vpfn_view.h"

static enum vpfn_level limit_at_start;

static void restore_limit(int sig)
{
	(void)sig;
	vpfn_limit_set(limit_at_start);
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

/* Clearing a large buffer takes long: the views of a process share one of each size. */
static struct vpfn_bo shared_bo(int fd, enum vpfn_level level)
{
	static struct vpfn_bo small, large;
	struct vpfn_bo *bo = level == VPFN_PUD ? &large : &small;

	if (!bo->handle)
		igt_assert_eq(vpfn_bo_create(fd, level == VPFN_PUD ? VPFN_1G : 2 * VPFN_2M, bo), 0);
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
 * vpfn_view_open:
 * @view: the view
 * @fd: DRM file descriptor
 * @level: the largest leaf to use
 *
 * Maps a buffer by leaves of @level and writes a new pattern through them.
 */
void vpfn_view_open(struct vpfn_view *view, int fd, enum vpfn_level level)
{
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	view->fd = fd;
	view->level = level;
	view->bo = shared_bo(fd, level);
	view->pattern.size = view->bo.size;
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, &map), 0);
	view->map = map;
	vpfn_view_refill(view);
	vpfn_assert_level(fd, map, level);
	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), level);
}

/**
 * vpfn_view_close:
 * @view: the view, whose mapping goes
 */
void vpfn_view_close(struct vpfn_view *view)
{
	igt_assert_eq(munmap(view->map, view->bo.size), 0);
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
	vpfn_pattern_fill(&view->pattern, view->map, 0, view->bo.size);
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
	igt_assert_eq_u64(vpfn_pattern_check(&view->pattern, base, from, to), to);
	igt_assert_eq_u64(vpfn_pattern_check_by_ptrace(&view->pattern, base, from, to), to);
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
