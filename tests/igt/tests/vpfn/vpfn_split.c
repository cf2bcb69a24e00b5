// SPDX-License-Identifier: MIT
/*
 * What do calls on a part of a mapping leave of its leaves and of its bytes?
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Calls that split or move mappings of vpfn.");

#define SMALL		(3 * PFNMAP_PAGE)

static int fd = -1;

/* [from, to) is mapped no longer; what is left and right of it is as it was. */
static void check_hole(const struct vpfn_view *view, uint64_t from, uint64_t to)
{
	uint64_t size = view->bo.size;
	void *map;

	igt_assert_eq(pfnmap_signal_of(view->map + from, PFNMAP_READ), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(view->map + to - PFNMAP_PAGE, PFNMAP_READ), SIGSEGV);
	vpfn_view_check_at(view, view->map, 0, from);
	vpfn_view_check_at(view, view->map, to, size);

	if (from) {
		vpfn_view_assert_level_in(view, view->map, 0, 0, from);
		vpfn_view_assert_level_in(view, view->map, from - PFNMAP_PAGE, 0, from);
	}
	if (to < size) {
		vpfn_view_assert_level_in(view, view->map, to, to, size);
		vpfn_view_assert_level_in(view, view->map, size - PFNMAP_PAGE, to, size);
	}

	/* The buffer's contents are complete. */
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

	unmap_range(view, inside, inside + PFNMAP_PAGE);
}

static void test_munmap_half(struct vpfn_view *view)
{
	unmap_range(view, vpfn_view_inside(view), view->bo.size);
}

static void test_munmap_head(struct vpfn_view *view)
{
	unmap_range(view, 0, PFNMAP_PAGE);
}

static void test_munmap_tail(struct vpfn_view *view)
{
	unmap_range(view, view->bo.size - PFNMAP_PAGE, view->bo.size);
}

static void test_map_over_page(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), size = view->bo.size;
	uint64_t seen[PFNMAP_PAGE / sizeof(uint64_t)];
	char *page = view->map + inside;

	igt_assert(mmap(page, PFNMAP_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
	igt_assert_eq_u64(pfnmap_load(page), 0);
	pfnmap_store(page, ~pfnmap_pattern_word(&view->pattern, inside));

	/* A debugger's read that begins in the buffer must not go on in it behind the border. */
	igt_assert_eq(pfnmap_proc_mem(page - PFNMAP_PAGE / 2, seen, sizeof(seen), false), 0);
	igt_assert_eq_u64(seen[ARRAY_SIZE(seen) / 2], pfnmap_load(page));

	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + PFNMAP_PAGE, size);
	unmap_range(view, inside, inside + PFNMAP_PAGE);
}

static void test_mprotect_page(struct vpfn_view *view)
{
	char *page = view->map + vpfn_view_inside(view);

	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ), 0);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_READ), 0);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(page - PFNMAP_PAGE, PFNMAP_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(page + PFNMAP_PAGE, PFNMAP_WRITE), 0);
	vpfn_view_check(view);

	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), 0);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

static void test_mprotect_whole(struct vpfn_view *view)
{
	char *page = view->map + vpfn_view_inside(view);
	uint64_t word = 0xbad;
	struct vpfn_leaf leaf;

	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_READ), 0);
	igt_assert_eq(pfnmap_signal_of(view->map, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(pfnmap_proc_mem(page, &word, sizeof(word), true), -EIO);
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
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_READ), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(mprotect(view->map, view->bo.size, PROT_READ | PROT_WRITE), 0);
	vpfn_view_check(view);
	vpfn_assert_level(fd, page, view->level);
}

/* The mapping has moved from view->map to @to, shifted against the leaves or not. */
static void check_moved(struct vpfn_view *view, char *to)
{
	uint64_t size = view->bo.size;

	igt_assert_eq(pfnmap_signal_of(view->map, PFNMAP_READ), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(view->map + size - PFNMAP_PAGE, PFNMAP_READ), SIGSEGV);
	vpfn_view_check_at(view, to, 0, PFNMAP_2M);
	vpfn_view_check_at(view, to, size / 2, size / 2 + PFNMAP_2M);
	vpfn_view_check_at(view, to, size - PFNMAP_2M, size);
	vpfn_view_assert_level_in(view, to, 0, 0, size);

	/* A write there reaches the buffer. */
	pfnmap_store(to + PFNMAP_PAGE, 0x4d0);
	munmap(to, size);
	igt_assert_eq(vpfn_bo_map(fd, &view->bo, (void **)&view->map), 0);
	igt_assert_eq_u64(pfnmap_load(view->map + PFNMAP_PAGE), 0x4d0);
}

static void remap_whole(struct vpfn_view *view, uint64_t shift)
{
	uint64_t size = view->bo.size;
	char *area = vpfn_view_reserve(view);

	igt_assert(mremap(view->map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, area + shift) ==
		   area + shift);
	check_moved(view, area + shift);
	munmap(area, size + PFNMAP_2M);
}

static void test_mremap_aligned(struct vpfn_view *view)
{
	remap_whole(view, 0);
}

static void test_mremap_unaligned(struct vpfn_view *view)
{
	remap_whole(view, PFNMAP_PAGE);
}

static void test_mremap_shrink(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;

	igt_assert(mremap(view->map, size, size - PFNMAP_PAGE, 0) == view->map);
	check_hole(view, size - PFNMAP_PAGE, size);
}

static void test_mremap_part(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), len = view->bo.size - inside;
	char *area = vpfn_view_reserve(view);

	igt_assert(mremap(view->map + inside, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  area + inside) == area + inside);
	vpfn_view_check_at(view, area, inside, view->bo.size);
	vpfn_view_assert_level_in(view, area, inside, inside, view->bo.size);
	check_hole(view, inside, view->bo.size);
	munmap(area, view->bo.size + PFNMAP_2M);
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

	/* Ordinary memory accepts these calls. */
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
		pfnmap_pattern_fill(&view->pattern, view->map, 0, view->bo.size);
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
	uint64_t inside = vpfn_view_inside(view), end = inside + PFNMAP_PAGE;
	uint64_t size = view->bo.size;

	igt_assert_eq(madvise(view->map + inside, PFNMAP_PAGE, MADV_NOHUGEPAGE), 0);
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map + inside, VPFN_PTE);
	vpfn_view_assert_level_in(view, view->map, 0, 0, inside);
	vpfn_view_assert_level_in(view, view->map, size - PFNMAP_PAGE, end, size);
}

/* MADV_NOHUGEPAGE on a part of a leaf that is there. */
static void test_nohugepage_touched(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);

	igt_assert_eq(madvise(view->map + inside, PFNMAP_PAGE, MADV_NOHUGEPAGE), 0);
	vpfn_view_check(view);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

static void test_nohugepage_whole(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;

	igt_assert_eq(madvise(view->map, size, MADV_NOHUGEPAGE), 0);
	vpfn_view_check_at(view, view->map, 0, PFNMAP_2M);
	vpfn_view_check_at(view, view->map, size - PFNMAP_2M, size);
	vpfn_assert_level(fd, view->map, VPFN_PTE);
	vpfn_assert_level(fd, view->map + size - PFNMAP_PAGE, VPFN_PTE);
}

static const struct vpfn_level_test level_tests[] = {
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
};

int igt_main()
{
	igt_fixture()
		fd = vpfn_require_device();

	vpfn_level_subtests(level_tests, ARRAY_SIZE(level_tests), &fd);

	igt_fixture()
		close(fd);
}
