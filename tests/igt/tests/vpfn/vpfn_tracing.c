// SPDX-License-Identifier: MIT
/*
 * Is there one trace event for each fault and each move, and is it true?
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_trace.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Trace events of vpfn.");

static int fd = -1;

/* Nothing moves any more, and the engine has left all of it. */
static void settle(int file, const struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_wait(file, bo, 0, VPFN_LONG_NS), 0);
}

struct faults {
	uintptr_t address;
	int done, fallbacks;
	long order;
};

static void look_at_fault(const char *line, void *arg)
{
	struct faults *faults = arg;

	if ((uintptr_t)vpfn_trace_number(line, "address=") != faults->address)
		return;
	if (strstr(line, "result=NOPAGE")) {
		faults->order = vpfn_trace_number(line, "order=");
		faults->done++;
	} else if (strstr(line, "result=FALLBACK")) {
		faults->fallbacks++;
	}
}

/* A buffer, mapped and touched once. */
struct touch {
	struct vpfn_bo bo;
	void *map;
	const void *at;
};

/* One event for each fault of a touch, the last with the order of the leaf */
static void check_touch(struct touch *touch, enum vpfn_level level)
{
	static const long orders[] = { [VPFN_PTE] = 0, [VPFN_PMD] = 9, [VPFN_PUD] = 18 };
	uint64_t size = level == VPFN_PUD ? PFNMAP_1G : 2 * PFNMAP_2M;
	struct faults faults = {};

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(fd, size, &touch->bo), 0);
	settle(fd, &touch->bo);
	igt_assert_eq(vpfn_bo_map(fd, &touch->bo, &touch->map), 0);
	faults.address = (uintptr_t)touch->map + size / 2 + 3 * PFNMAP_PAGE;
	touch->at = (const void *)faults.address;
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done + faults.fallbacks, 0);

	pfnmap_load(touch->at);
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done, 1);
	igt_assert_eq(faults.order, orders[level]);
	/* The core offers more than the driver may use, under the VMA lock and mmap_lock. */
	if (level == VPFN_PTE) {
		igt_assert_lte(1, faults.fallbacks);
		igt_assert_lte(faults.fallbacks, 2);
	}

	/* A touch without a fault gives no event. */
	vpfn_trace_clear();
	faults.done = 0;
	faults.fallbacks = 0;
	pfnmap_load(touch->at);
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done + faults.fallbacks, 0);
}

/* The page-table dump takes long, so all leaves are looked up in one. */
static void test_trace_fault(void)
{
	struct touch touches[VPFN_PUD + 1] = {};
	struct vpfn_leaf leaves[VPFN_PUD];
	const void *addrs[VPFN_PUD];
	int err;

	vpfn_trace_begin("vpfn_fault");
	for_each_vpfn_level(level) {
		check_touch(&touches[level], level);
		addrs[level - VPFN_PTE] = touches[level].at;
	}

	err = vpfn_leaves_from_ptdump(VPFN_PUD, addrs, leaves);
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_PTDUMP_DEBUGFS\n");
	igt_assert_eq(err, 0);
	for_each_vpfn_level(level) {
		igt_assert_eq(leaves[level - VPFN_PTE].level, level);
		munmap(touches[level].map, touches[level].bo.size);
		igt_assert_eq(vpfn_bo_close(fd, &touches[level].bo), 0);
	}
}

struct moves {
	long size;
	int count;
	char last[64];
};

static void look_at_move(const char *line, void *arg)
{
	struct moves *moves = arg;

	if (vpfn_trace_number(line, "size=") != moves->size)
		return;
	moves->count++;
	snprintf(moves->last, sizeof(moves->last), "%s", strstr(line, "from="));
	moves->last[strcspn(moves->last, "\n")] = '\0';
}

static void check_move(struct moves *moves, const char *way, bool clear)
{
	char expected[64];

	moves->count = 0;
	vpfn_trace_lines("vpfn_move", look_at_move, moves);
	vpfn_trace_clear();
	if (!way) {
		igt_assert_eq(moves->count, 0);
		return;
	}
	igt_assert_eq(moves->count, 1);
	snprintf(expected, sizeof(expected), "%s ", way);
	igt_assert_f(!strncmp(moves->last, expected, strlen(expected)), "%s, not %s\n",
		     moves->last, way);
	igt_assert_eq(vpfn_trace_number(moves->last, "clear="), clear);
}

static void test_trace_move(void)
{
	struct moves moves = { .size = 37 * PFNMAP_PAGE };
	struct vpfn_bo bo;
	void *map;

	vpfn_trace_begin("vpfn_move");
	igt_assert_eq(vpfn_bo_create(fd, moves.size, &bo), 0);
	check_move(&moves, "from=none to=vram", true);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, bo.size, 1), 0);
	check_move(&moves, NULL, false);
	igt_assert_eq(vpfn_evict(fd), 0);
	check_move(&moves, "from=vram to=gart", false);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	pfnmap_load(map);
	check_move(&moves, NULL, false);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, 4, 1), 0);
	check_move(&moves, "from=gart to=vram", false);
	pfnmap_load(map);
	munmap(map, bo.size);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
	check_move(&moves, NULL, false);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "trace-fault", "One event for each fault, with the order of the leaf that is there.",
	  test_trace_fault },
	{ "trace-move", "One event for each move, none without.", test_trace_move },
};

int igt_main()
{
	igt_fixture()
		fd = vpfn_require_device();

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_fixture()
		close(fd);
}
