// SPDX-License-Identifier: MIT
/*
 * A process changes its mappings, locks them, gives advice about them, looks at them, dumps them.
 * On special entries each call has its answer, whatever the size of the leaf, and none may
 * cost a byte, nor a leaf that the call has no need to split.
 *
 * What can be asked of a piece of any mapping is in vpfn_users_mm.c and vpfn_users_look.c; here is
 * what needs a mapping of its own, or an untouched one.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_mm_uapi.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_vma.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_source.h"

IGT_TEST_DESCRIPTION("The calls of mm and its files in /proc, on leaves of each size.");

#define MATRIX		"vpfn_mm_calls"
#define LEN		PFNMAP_TARGET_LEN
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

static const struct pfnmap_group groups[] = {
	{ .matrix = MATRIX, PFNMAP_FAMILIES(mm) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(look) },
};

static int fd = -1;

/* Another mapping of a source's buffer, by leaves of the same size once it is touched. */
static char *map_again(const struct pfnmap_source *source, int flags)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	void *map;

	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, view->bo.size, NULL, flags, &map), 0);
	return map;
}

/* How many of the pages of a mapping does mincore() say are there? */
static uint64_t count_resident(void *map, uint64_t size)
{
	uint64_t pages = size / PFNMAP_PAGE, n = 0;
	unsigned char *resident = malloc(pages);

	igt_assert(resident);
	memset(resident, 0xff, pages);
	igt_assert_eq(mincore(map, size, resident), 0);
	for (uint64_t i = 0; i < pages; i++) {
		igt_assert_lte(resident[i], 1);
		n += resident[i];
	}
	free(resident);
	return n;
}

/*
 * populate: an untouched mapping stays untouched. Without the control, a call that populates
 * nothing anywhere would pass.
 */

static int populate_by_flag(void *map, size_t size)
{
	(void)map;
	(void)size;
	return 0;
}

static int populate_read(void *map, size_t size)
{
	return madvise(map, size, MADV_POPULATE_READ) ? -errno : 0;
}

static int populate_write(void *map, size_t size)
{
	return madvise(map, size, MADV_POPULATE_WRITE) ? -errno : 0;
}

static int populate_by_mlock(void *map, size_t size)
{
	return mlock(map, size) ? -errno : 0;
}

static const struct {
	const char *name;
	int flags;
	int (*call)(void *map, size_t size);
	int on_special;
} populates[] = {
	/* __mm_populate() passes over VM_IO and VM_PFNMAP */
	{ "mmap MAP_POPULATE", MAP_POPULATE, populate_by_flag, PFNMAP_IGNORED },
	/* vma_supports_mlock(): nor is VM_LOCKED kept */
	{ "mmap MAP_LOCKED", MAP_LOCKED, populate_by_flag, PFNMAP_IGNORED },
	{ "mlock, untouched", 0, populate_by_mlock, PFNMAP_IGNORED },
	{ "MADV_POPULATE_READ, untouched", 0, populate_read, -EINVAL },
	{ "MADV_POPULATE_WRITE, untouched", 0, populate_write, -EINVAL },
};

static void assert_populates_ordinary(unsigned int i)
{
	void *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | populates[i].flags, -1, 0);

	igt_assert(map != MAP_FAILED);
	igt_assert_f(!populates[i].call(map, LEN), "%s on ordinary memory\n", populates[i].name);
	igt_assert_eq_u64(count_resident(map, LEN), LEN / PFNMAP_PAGE);
	pfnmap_matrix_cell(MATRIX, populates[i].name, "ordinary", pfnmap_answer_name(0));
	munmap(map, LEN);
}

static void assert_populates_nothing(unsigned int i, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	long locked = pfnmap_locked_kib();
	char *map = map_again(source, populates[i].flags);
	int answer = populates[i].call(map, view->bo.size);

	igt_assert_eq_u64(count_resident(map, view->bo.size), 0);
	if (!answer)
		answer = PFNMAP_IGNORED;
	pfnmap_matrix_cell(MATRIX, populates[i].name, source->name,
			   pfnmap_answer_name(answer));
	igt_assert_f(answer == populates[i].on_special, "%s: %s\n", populates[i].name,
		     pfnmap_answer_name(answer));
	vpfn_assert_level(fd, map, VPFN_NONE);
	vpfn_assert_level(fd, map + vpfn_view_inside(view), VPFN_NONE);
	igt_assert_eq(pfnmap_locked_kib(), locked);

	/* It is as good as any other. */
	igt_assert_eq_u64(pfnmap_load(map + vpfn_view_inside(view)),
			  pfnmap_pattern_word(&view->pattern, vpfn_view_inside(view)));
	vpfn_assert_level(fd, map + vpfn_view_inside(view), view->level);
	munmap(map, view->bo.size);
}

static void test_populate(const struct pfnmap_source *source)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(populates); i++)
		assert_populates_nothing(i, source);
}

static void control_populate(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(populates); i++)
		assert_populates_ordinary(i);
}

/*
 * mincore: 1 where an entry is, 0 where none is. A kernel that says the same of each page would
 * pass, if there were no mapping with both.
 */

/* Which pages has a touch of @at mapped? One leaf; small ones come in groups, so ask for each. */
static uint64_t count_mapped(const struct vpfn_view *view, char *map, uint64_t at)
{
	uint64_t leaf = vpfn_level_size(view->level), n = 0;
	struct vpfn_leaf seen;

	if (leaf > PFNMAP_PAGE) {
		vpfn_assert_level(fd, map + at, view->level);
		return leaf / PFNMAP_PAGE;
	}
	for (uint64_t page = 0; page < view->bo.size; page += leaf) {
		igt_assert_eq(vpfn_leaf_from_driver(fd, map + page, &seen), 0);
		igt_assert_eq(count_resident(map + page, leaf), seen.level == VPFN_PTE);
		n += seen.level == VPFN_PTE;
	}
	return n;
}

static void test_mincore(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t size = view->bo.size, at = vpfn_view_inside(view), n;
	char *map = map_again(source, 0);

	igt_assert_eq_u64(count_resident(map, size), 0);
	igt_assert_eq_u64(pfnmap_load(map + at), pfnmap_pattern_word(&view->pattern, at));
	n = count_mapped(view, map, at);
	igt_assert(n > 0 && n <= size / PFNMAP_PAGE);
	igt_assert_eq_u64(count_resident(map, size), n);
	if (view->level != VPFN_PUD)
		igt_assert_eq_u64(count_resident(map, PFNMAP_2M), 0);

	/* A hole in the mapping is none in its memory. */
	igt_assert_eq(munmap(map + at, LEN), 0);
	igt_assert(mincore(map + at, LEN, (unsigned char[LEN / PFNMAP_PAGE]) {}) == -1);
	igt_assert_eq(errno, ENOMEM);
	pfnmap_matrix_cell(MATRIX, "mincore, one leaf touched", source->name,
			   vpfn_level_name(view->level));
	munmap(map, size);
}

static void control_mincore(void)
{
	char *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert(map != MAP_FAILED);
	igt_assert_eq_u64(count_resident(map, LEN), 0);
	pfnmap_store(map + PFNMAP_PAGE, 1);
	igt_assert_eq_u64(count_resident(map, LEN), 1);
	igt_assert_eq_u64(count_resident(map + PFNMAP_PAGE, PFNMAP_PAGE), 1);
	munmap(map, LEN);
}

/*
 * smaps: what it says of the mapping, beside that it is there. That the flags are looked for at
 * the right place is shown by ordinary memory, which has none of them.
 */

static const char * const special_flags[] = { "pf", "io", "de", "dd" };
static const char * const usual_flags[] = { "rd", "wr", "sh", "mr", "mw", "ms" };

/*
 * thp_vma_suitable_order(): where address and file offset agree, whatever memory is behind. A
 * buffer's offset is but its name: which leaves are possible is another matter.
 */
static bool is_thp_eligible(const struct pfnmap_vma *vma)
{
	uint64_t last = (vma->end - PFNMAP_2M) & ~(PFNMAP_2M - 1);

	return !((vma->start - vma->offset) % PFNMAP_2M) && last >= vma->start;
}

/* So there is a mapping that is eligible, and gets leaves as its address and buffer allow. */
static void check_thp_eligible(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t size = view->bo.size, at = vpfn_view_inside(view), align = PFNMAP_1G;
	struct vpfn_span span = { .to = size };
	struct pfnmap_vma vma;
	void *area, *map;

	igt_assert_eq(pfnmap_reserve(size + align, align, &area), 0);
	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, size,
				    (char *)area + view->bo.offset % PFNMAP_2M, MAP_FIXED, &map),
		      0);
	span.base = (uintptr_t)map;
	vpfn_view_check_at(view, map, at, at + LEN);
	vpfn_assert_level(fd, (char *)map + at, vpfn_expect_level(&span, at, view->level));

	igt_assert_eq(pfnmap_vma_read(map, &vma), 0);
	igt_assert_eq(vma.thp_eligible, 1);
	pfnmap_matrix_cell(MATRIX, "THPeligible in smaps, mapped in line with the offset",
			   source->name, "1");
	munmap(area, size + align);
}

static void test_smaps(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	struct pfnmap_vma vma;

	igt_assert_eq(pfnmap_vma_read(source->target.addr, &vma), 0);
	igt_assert_eq_u64(vma.start, (uintptr_t)view->map);
	igt_assert_eq_u64(vma.end, vma.start + view->bo.size);
	igt_assert_eq_u64(vma.offset, view->bo.offset);
	for (unsigned int i = 0; i < ARRAY_SIZE(special_flags); i++)
		igt_assert_f(pfnmap_vma_has(&vma, special_flags[i]), "%s: %s\n", special_flags[i],
			     vma.flags);
	for (unsigned int i = 0; i < ARRAY_SIZE(usual_flags); i++)
		igt_assert_f(pfnmap_vma_has(&vma, usual_flags[i]), "%s: %s\n", usual_flags[i],
			     vma.flags);
	igt_assert(!pfnmap_vma_has(&vma, "mm") && !pfnmap_vma_has(&vma, "lo"));
	pfnmap_matrix_cell(MATRIX, "VmFlags in smaps", source->name, "pf io de dd");

	igt_assert_eq(vma.rss, 0);
	igt_assert_eq(vma.pss, 0);
	igt_assert_eq(vma.referenced, 0);
	igt_assert_eq(vma.anon_huge, 0);
	igt_assert_eq(vma.kernel_page, 4);
	igt_assert_eq(vma.mmu_page, 4);
	igt_assert_eq(vma.thp_eligible, is_thp_eligible(&vma));
	pfnmap_matrix_cell(MATRIX, "THPeligible in smaps", source->name,
			   vma.thp_eligible ? "1" : "0");

	check_thp_eligible(source);
	vpfn_view_check(view);
	vpfn_assert_level(fd, source->target.addr, view->level);
}

static void control_smaps(void)
{
	struct pfnmap_target ordinary;
	struct pfnmap_vma vma;

	igt_assert_eq(pfnmap_target_shared(&ordinary), 0);
	igt_assert_eq(pfnmap_vma_read(ordinary.addr, &vma), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(special_flags); i++)
		igt_assert(!pfnmap_vma_has(&vma, special_flags[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(usual_flags); i++)
		igt_assert(pfnmap_vma_has(&vma, usual_flags[i]));
	igt_assert_eq(vma.rss, LEN / 1024);
	igt_assert_eq(vma.referenced, LEN / 1024);
	igt_assert_eq(vma.thp_eligible, 0);
	pfnmap_matrix_cell(MATRIX, "VmFlags in smaps", "ordinary", "none of them");
	pfnmap_matrix_cell(MATRIX, "THPeligible in smaps", "ordinary", "0");
	pfnmap_target_free(&ordinary);
}

/*
 * walk: who walks the page tables may split a leaf on the way, which zaps it, because what is
 * behind a special entry cannot be split: __split_huge_pud_locked() in mm/huge_memory.c. A walk
 * that has a handler for entries below the PUD alone does so, walk_pud_range() in mm/pagewalk.c,
 * unless VM_PFNMAP has kept it out. The next touch has to put the same leaf back. That the others
 * keep it is no matter of course either, so the leaf of each level is looked at after each walk.
 */

static void read_all(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	ssize_t n;

	igt_assert(file >= 0);
	while ((n = read(file, text, sizeof(text))) > 0)
		;
	igt_assert_eq(n, 0);
	close(file);
}

static void walk_mincore(char *map, size_t size)
{
	igt_assert_eq_u64(count_resident(map, size), size / PFNMAP_PAGE);
}

static void walk_pagemap(char *map, size_t size)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[512];
	size_t step = ARRAY_SIZE(entries) * PFNMAP_PAGE;

	igt_assert(file >= 0);
	for (char *at = map; at < map + size; at += step)
		igt_assert_eq(pread(file, entries, sizeof(entries),
				    (uintptr_t)at / PFNMAP_PAGE * sizeof(entries[0])),
			      sizeof(entries));
	close(file);
}

static void walk_mbind(char *map, size_t size)
{
	unsigned long nodes = 1;

	igt_assert_eq(syscall(SYS_mbind, map, size, MPOL_BIND, &nodes, 8 * sizeof(nodes),
			      MPOL_MF_STRICT), 0);
	igt_assert_eq(syscall(SYS_mbind, map, size, MPOL_DEFAULT, NULL, 0, 0), 0);
}

static const struct {
	const char *name;
	void (*walk)(char *map, size_t size);	/* NULL: the file is read */
	const char *file;
	bool splits_pud;
} walks[] = {
	/* mincore_pud_entry() */
	{ "leaf after mincore", walk_mincore, NULL, false },
	/* walk_page_test(), which walk_page_vma() does without */
	{ "leaf after /proc/pid/pagemap", walk_pagemap, NULL, false },
	{ "leaf after /proc/pid/smaps", NULL, "/proc/self/smaps", true },
	{ "leaf after /proc/pid/smaps_rollup", NULL, "/proc/self/smaps_rollup", true },
	{ "leaf after /proc/pid/numa_maps", NULL, "/proc/self/numa_maps", true },
	/* queue_pages_test_walk(): goes on with MPOL_MF_STRICT */
	{ "leaf after mbind MPOL_MF_STRICT", walk_mbind, NULL, true },
};

static void test_walk(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);

	for (unsigned int i = 0; i < ARRAY_SIZE(walks); i++) {
		bool gone = walks[i].splits_pud && view->level == VPFN_PUD;
		struct vpfn_leaf leaf;

		if (walks[i].walk)
			walks[i].walk(view->map, view->bo.size);
		else
			read_all(walks[i].file);
		igt_assert_eq(vpfn_leaf_from_driver(fd, source->target.addr, &leaf), 0);
		pfnmap_matrix_cell(MATRIX, walks[i].name, source->name,
				   leaf.level == VPFN_NONE ? "gone until touched" :
				 vpfn_level_name(leaf.level));
		igt_assert_f(leaf.level == (gone ? VPFN_NONE : view->level), "%s: %s\n",
			     walks[i].name, vpfn_level_name(leaf.level));
		pfnmap_load(source->target.addr);
		vpfn_assert_level(fd, source->target.addr, view->level);
	}
	vpfn_view_check(view);
}

/*
 * thp: who forbids huge pages forbids huge leaves, to the faults that come. That a row is obeyed
 * shows against the others: without any of it, the first touch gets the leaf of the place.
 */

#define NO_ADVICE	-1

struct thp {
	const char *name;
	int advices[2];
	unsigned long flags;	/* of PR_SET_THP_DISABLE, if @disable */
	bool disable;
	bool enable;		/* again */
	bool huge;		/* what comes of it for special entries */
	bool huge_ordinary;	/* and for ordinary memory, which here wants the advice */
};

static const struct thp thps[] = {
	{ .name = "no advice", .advices = { NO_ADVICE, NO_ADVICE }, .huge = true },
	{ .name = "MADV_HUGEPAGE, then touched", .advices = { MADV_HUGEPAGE, NO_ADVICE },
	  .huge = true, .huge_ordinary = true },
	{ .name = "MADV_NOHUGEPAGE, then touched", .advices = { MADV_NOHUGEPAGE, NO_ADVICE } },
	{ .name = "MADV_NOHUGEPAGE, MADV_HUGEPAGE", .advices = { MADV_NOHUGEPAGE, MADV_HUGEPAGE },
	  .huge = true, .huge_ordinary = true },
	{ .name = "PR_SET_THP_DISABLE", .advices = { NO_ADVICE, NO_ADVICE }, .disable = true },
	{ .name = "PR_SET_THP_DISABLE, MADV_HUGEPAGE", .advices = { MADV_HUGEPAGE, NO_ADVICE },
	  .disable = true },
	{ .name = "PR_THP_DISABLE_EXCEPT_ADVISED", .advices = { NO_ADVICE, NO_ADVICE },
	  .disable = true, .flags = PR_THP_DISABLE_EXCEPT_ADVISED },
	{ .name = "PR_THP_DISABLE_EXCEPT_ADVISED, MADV_HUGEPAGE",
	  .advices = { MADV_HUGEPAGE, NO_ADVICE }, .disable = true,
	  .flags = PR_THP_DISABLE_EXCEPT_ADVISED, .huge = true, .huge_ordinary = true },
	{ .name = "PR_SET_THP_DISABLE, taken back", .advices = { MADV_HUGEPAGE, NO_ADVICE },
	  .disable = true, .enable = true, .huge = true, .huge_ordinary = true },
};

static int prepare_thp(const struct thp *thp, void *map, size_t size)
{
	if (thp->disable && prctl(PR_SET_THP_DISABLE, 1, thp->flags, 0, 0))
		return -errno;
	if (thp->enable && prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0))
		return -errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(thp->advices); i++) {
		if (thp->advices[i] != NO_ADVICE && madvise(map, size, thp->advices[i]))
			return -errno;
	}
	return 0;
}

/* In a child: the level of the leaf that the first touch gets. */
static int first_leaf(const struct pfnmap_target *target, const void *arg)
{
	const struct pfnmap_source *source = target->data;
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t at = vpfn_view_inside(view);
	struct vpfn_leaf leaf;
	void *map;
	int err;

	err = vpfn_bo_map(fd, &view->bo, &map) ?: prepare_thp(arg, map, view->bo.size);
	if (err)
		return err;
	if (pfnmap_load(map + at) != pfnmap_pattern_word(&view->pattern, at))
		return -EBADMSG;
	return vpfn_leaf_from_driver(fd, map + at, &leaf) ?: (int)leaf.level;
}

/* In a child, too: whether ordinary memory is huge. */
static int first_huge(const struct pfnmap_target *target, const void *arg)
{
	struct pfnmap_vma vma;
	void *area;
	int err;

	(void)target;
	err = pfnmap_reserve(PFNMAP_2M, PFNMAP_2M, &area);
	if (err)
		return err;
	if (mmap(area, PFNMAP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		return -errno;

	err = prepare_thp(arg, area, PFNMAP_2M);
	if (err)
		return err;
	pfnmap_store(area, 1);
	return pfnmap_vma_read(area, &vma) ?: vma.anon_huge > 0;
}

static void test_thp(const struct pfnmap_source *source)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(thps); i++) {
		enum vpfn_level expected = thps[i].huge ? vpfn_view_of(source)->level : VPFN_PTE;
		int level = pfnmap_target_in_child(&source->target, first_leaf, &thps[i]);

		igt_assert_f(level >= 0, "%s: %s\n", thps[i].name, pfnmap_answer_name(level));
		pfnmap_matrix_cell(MATRIX, thps[i].name, source->name,
				   vpfn_level_name(level));
		igt_assert_f(level == (int)expected, "%s: a %s\n", thps[i].name,
			     vpfn_level_name(level));
		igt_assert_eq(pfnmap_target_kept(&source->target), 0);
	}
	vpfn_view_check(vpfn_view_of(source));
}

#define THP_ENABLED	"/sys/kernel/mm/transparent_hugepage/enabled"

static char thp_enabled[32];

static void restore_thp(int sig)
{
	(void)sig;
	if (thp_enabled[0])
		pfnmap_text_write(THP_ENABLED, thp_enabled);
	thp_enabled[0] = '\0';
}

/* The word in brackets is the one that holds. */
static void let_ordinary_want_advice(void)
{
	char text[64], *word, *end;

	igt_require_f(!pfnmap_text_read(THP_ENABLED, text, sizeof(text)),
		      "no huge pages (CONFIG_TRANSPARENT_HUGEPAGE)\n");
	word = strchr(text, '[');
	end = strchr(text, ']');
	igt_assert(word && end);
	*end = '\0';
	snprintf(thp_enabled, sizeof(thp_enabled), "%s", word + 1);
	igt_install_exit_handler(restore_thp);
	igt_assert_eq(pfnmap_text_write(THP_ENABLED, "madvise"), 0);
}

static void control_thp(void)
{
	let_ordinary_want_advice();
	for (unsigned int i = 0; i < ARRAY_SIZE(thps); i++) {
		int huge = pfnmap_target_in_child(NULL, first_huge, &thps[i]);

		igt_assert_f(huge == thps[i].huge_ordinary, "%s: %d\n", thps[i].name, huge);
		pfnmap_matrix_cell(MATRIX, thps[i].name, "ordinary", huge ? "pmd" : "pte");
	}
	restore_thp(0);
}

/*
 * core-dump: a core must not hold what is the device's, and to read it may not even be harmless.
 * That the core has the rest is shown by ordinary memory in the same file, with its bytes.
 */

static char core_dir[32], core_pattern[128];

static void core_path(char path[64])
{
	snprintf(path, 64, "%s/core", core_dir);
}

static void restore_core_pattern(int sig)
{
	char path[64];

	(void)sig;
	if (core_pattern[0])
		pfnmap_text_write(CORE_PATTERN, core_pattern);
	core_pattern[0] = '\0';
	if (!core_dir[0])
		return;

	core_path(path);
	unlink(path);
	rmdir(core_dir);
	core_dir[0] = '\0';
}

static void catch_cores(void)
{
	char path[64];

	if (core_dir[0])
		return;

	igt_install_exit_handler(restore_core_pattern);
	snprintf(core_dir, sizeof(core_dir), "/tmp/vpfn-core-XXXXXX");
	igt_assert(mkdtemp(core_dir));
	igt_require_f(!pfnmap_text_read(CORE_PATTERN, core_pattern, sizeof(core_pattern)),
		      "no core dumps (CONFIG_COREDUMP)\n");
	core_path(path);
	igt_assert_eq(pfnmap_text_write(CORE_PATTERN, path), 0);
}

/* Each kind of memory, shared and of files, too: so the mapping is left out for what it is. */
static void dump_core(void)
{
	const struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int status;
	pid_t pid = fork();

	igt_assert(pid >= 0);
	if (!pid) {
		signal(SIGQUIT, SIG_DFL);
		prctl(PR_SET_DUMPABLE, 1);
		if (!setrlimit(RLIMIT_CORE, &limit) &&
		    !pfnmap_text_write("/proc/self/coredump_filter", "0x7f"))
			raise(SIGQUIT);
		_exit(1);
	}
	igt_assert(waitpid(pid, &status, 0) == pid);
	igt_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT && WCOREDUMP(status));
}

/* The segment of a core that has the address; none if there is none. */
static Elf64_Phdr find_segment(int core, const void *addr)
{
	Elf64_Phdr segment, none = {};
	Elf64_Ehdr header;

	igt_assert_eq(pread(core, &header, sizeof(header), 0), sizeof(header));
	igt_assert(!memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_type == ET_CORE);
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		igt_assert_eq(pread(core, &segment, sizeof(segment),
				    header.e_phoff + i * sizeof(segment)), sizeof(segment));
		if (segment.p_type == PT_LOAD && (uintptr_t)addr >= segment.p_vaddr &&
		    (uintptr_t)addr < segment.p_vaddr + segment.p_memsz)
			return segment;
	}
	return none;
}

/* All of the bytes of ordinary memory, which is the control. */
static void assert_in_core(int core, const struct pfnmap_target *ordinary)
{
	Elf64_Phdr segment = find_segment(core, ordinary->addr);
	char bytes[LEN];

	igt_assert_eq_u64(segment.p_filesz, segment.p_memsz);
	igt_assert_eq(pread(core, bytes, LEN,
			    segment.p_offset + ((uintptr_t)ordinary->addr - segment.p_vaddr)),
		      LEN);
	igt_assert(!memcmp(bytes, ordinary->addr, LEN));
}

/* A core of this process, in which ordinary memory of its own is, of both kinds. */
static int open_core(void)
{
	struct pfnmap_target anonymous, shared;
	char path[64];
	int core;

	catch_cores();
	igt_assert_eq(pfnmap_target_anonymous(&anonymous), 0);
	igt_assert_eq(pfnmap_target_shared(&shared), 0);
	igt_assert_eq(pfnmap_target_fill(&anonymous, 0xa707), 0);
	igt_assert_eq(pfnmap_target_fill(&shared, 0x54a3ed), 0);
	core_path(path);
	unlink(path);
	dump_core();

	core = open(path, O_RDONLY | O_CLOEXEC);
	igt_assert(core >= 0);
	assert_in_core(core, &anonymous);
	assert_in_core(core, &shared);
	pfnmap_target_free(&shared);
	pfnmap_target_free(&anonymous);
	return core;
}

static void test_core_dump(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	int core = open_core();
	Elf64_Phdr segment = find_segment(core, source->target.addr);

	close(core);
	igt_assert_eq_u64(segment.p_vaddr, (uintptr_t)view->map);
	igt_assert_eq_u64(segment.p_memsz, view->bo.size);
	igt_assert_eq_u64(segment.p_filesz, 0);
	pfnmap_matrix_cell(MATRIX, "core dump", source->name, "0 bytes");
	igt_assert_eq(pfnmap_target_kept(&source->target), 0);
	vpfn_view_check(view);
}

static void control_core_dump(void)
{
	close(open_core());
	pfnmap_matrix_cell(MATRIX, "core dump", "ordinary", "all bytes");
}

static const struct {
	const char *name;
	const char *describe;
	void (*control)(void);
	void (*run)(const struct pfnmap_source *source);
} tests[] = {
	{ "populate", "What populates other mappings populates none of this kind.",
	  control_populate, test_populate },
	{ "mincore", "mincore() tells where there are leaves and where there are none.",
	  control_mincore, test_mincore },
	{ "smaps", "smaps shows what kind of mapping it is, and no page of it.",
	  control_smaps, test_smaps },
	{ "walk", "Who walks the page tables keeps the leaves, or the next touch has them back.",
	  NULL, test_walk },
	{ "thp", "A mapping or a process that forbids huge pages gets small leaves.",
	  control_thp, test_thp },
	{ "core-dump", "A core dump has nothing of the mapping, and all of the rest.",
	  control_core_dump, test_core_dump },
};

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
	}

	pfnmap_matrix_families(groups, ARRAY_SIZE(groups));

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest_with_dynamic(tests[i].name) {
			if (tests[i].control) {
				igt_dynamic("ordinary")
					tests[i].control();
			}
			for_each_pfnmap_source(source) {
				igt_dynamic(source->name)
					tests[i].run(pfnmap_source_renew(source));
			}
		}
	}

	igt_fixture() {
		close(fd);
	}
}
