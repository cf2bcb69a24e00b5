// SPDX-License-Identifier: MIT
/*
 * Who pays for device memory? The dmem controller of cgroups: what is charged, who has to go when
 * a group reaches its limit, and that no byte is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Device memory of vpfn as a resource of control groups.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define ROOT		"/sys/fs/cgroup"
#define PARENT		ROOT "/vpfn-test"

/* A quarter of the device memory is some buffers of this size, which can all be mapped. */
#define SIZE		(16 * MIB)

enum group {
	EVERYBODY,		/* the root, where no limit is possible */
	FAMILY,			/* the two that follow */
	MINE,
	OTHERS,
};

static const char * const groups[] = {
	[EVERYBODY] = ROOT,
	[FAMILY] = PARENT,
	[MINE] = PARENT "/mine",
	[OTHERS] = PARENT "/others",
};

static int big = -1, fd = -1;
static struct vpfn_meter meter;
static uint64_t vram;
static char region[64];

static int write_group(enum group group, const char *file, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", groups[group], file);
	return pfnmap_text_write(path, text);
}

/* The line of the region: "NAME VALUE". */
static uint64_t read_region(enum group group, const char *file, const char *name)
{
	char path[96], text[4096], *line;
	uint64_t value;

	snprintf(path, sizeof(path), "%s/%s", groups[group], file);
	igt_assert_eq(pfnmap_text_read(path, text, sizeof(text)), 0);
	line = strstr(text, name);
	igt_assert_f(line, "%s does not know %s\n", path, name);
	if (sscanf(line + strlen(name), "%" SCNu64, &value) != 1)
		value = UINT64_MAX;
	return value;
}

static uint64_t read_group(enum group group, const char *file)
{
	return read_region(group, file, region);
}

static uint64_t charge(enum group group)
{
	return read_group(group, "dmem.current");
}

static void set_limit(enum group group, const char *file, uint64_t bytes)
{
	char text[96];

	snprintf(text, sizeof(text), "%s %" PRIu64, region, bytes);
	igt_assert_eq(write_group(group, file, text), 0);
	igt_assert_eq_u64(read_group(group, file), bytes);
}

/* From here on this process pays, or has paid, what it uses. */
static void join(enum group group)
{
	igt_assert_eq(write_group(group, "cgroup.procs", "0"), 0);
}

static void leave_groups(int sig)
{
	(void)sig;
	write_group(EVERYBODY, "cgroup.procs", "0");
	rmdir(groups[MINE]);
	rmdir(groups[OTHERS]);
	rmdir(groups[FAMILY]);
}

static void require_dmem(void)
{
	if (access(ROOT "/cgroup.controllers", F_OK))
		mount("cgroup2", ROOT, "cgroup2", 0, NULL);
	igt_require_f(!access(ROOT "/dmem.capacity", F_OK), "the kernel lacks CONFIG_CGROUP_DMEM\n");
	igt_assert_eq(write_group(EVERYBODY, "cgroup.subtree_control", "+dmem"), 0);

	igt_install_exit_handler(leave_groups);
}

/*
 * Without a limit, and without a past. The kernel (7.3) knows no protection among children of the
 * root: dmem_cgroup_state_evict_valuable() takes the root as the common ancestor for no limit.
 */
static void make_groups(void)
{
	leave_groups(0);
	igt_assert_eq(mkdir(groups[FAMILY], 0755), 0);
	igt_assert_eq(write_group(FAMILY, "cgroup.subtree_control", "+dmem"), 0);
	igt_assert_eq(mkdir(groups[MINE], 0755), 0);
	igt_assert_eq(mkdir(groups[OTHERS], 0755), 0);
}

static void create(uint64_t size, uint32_t placement, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(fd, size, placement, 0, bo), 0);
}

static uint32_t where(const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

/* What is freed while the engine was busy with it is uncharged a little later. */
static bool nothing_charged(const void *arg)
{
	return !charge(*(const enum group *)arg);
}

static void assert_uncharged(enum group group)
{
	igt_assert_eq(pfnmap_wait_until(nothing_charged, &group), 0);
}

/* Buffers that one group made, each with a content of its own, and how many bytes are inside. */
struct set {
	enum group group;
	unsigned int count;
	struct vpfn_bo bos[16];
};

static struct vpfn_content content_of(const struct set *set, unsigned int i)
{
	return vpfn_content_pattern((set->group + 1) << 24 | (i + 1) << 8 | 0x5a);
}

static void set_create(struct set *set, enum group group, unsigned int count)
{
	*set = (struct set) { .group = group, .count = count };
	join(group);
	for (unsigned int i = 0; i < count; i++) {
		create(SIZE, VRAM, &set->bos[i]);
		igt_assert_eq(vpfn_fill(fd, &set->bos[i], 0, SIZE, content_of(set, i).seed), 0);
	}
}

static uint64_t set_in_vram(const struct set *set)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < set->count; i++)
		bytes += where(&set->bos[i]) == VRAM ? SIZE : 0;
	return bytes;
}

/* By the engine, on behalf of the group that made them. */
static void set_check(const struct set *set)
{
	join(set->group);
	for (unsigned int i = 0; i < set->count; i++) {
		struct vpfn_content content = content_of(set, i);

		igt_assert_eq(vpfn_meter_check(&meter, &set->bos[i], &content, 0, SIZE), 0);
	}
}

static void set_close(struct set *set)
{
	for (unsigned int i = 0; i < set->count; i++)
		igt_assert_eq(vpfn_bo_close(fd, &set->bos[i]), 0);
	assert_uncharged(set->group);
}

/* A mapping that is touched now knows later whether its buffer has moved meanwhile. */
struct witness {
	unsigned int count;
	char *maps[16];
};

static void witness_open(struct witness *witness, const struct set *set)
{
	witness->count = set->count;
	for (unsigned int i = 0; i < set->count; i++) {
		igt_assert_eq(vpfn_bo_map(fd, &set->bos[i], (void **)&witness->maps[i]), 0);
		pfnmap_load(witness->maps[i]);
		igt_assert_eq(where(&set->bos[i]), VRAM);
	}
}

/* How many of the buffers have moved. */
static unsigned int witness_close(struct witness *witness)
{
	unsigned int moved = 0;

	for (unsigned int i = 0; i < witness->count; i++) {
		struct vpfn_leaf leaf;

		igt_assert_eq(vpfn_leaf_from_driver(fd, witness->maps[i], &leaf), 0);
		moved += leaf.level == VPFN_NONE;
		munmap(witness->maps[i], SIZE);
	}
	return moved;
}

static void test_capacity(void)
{
	char name[VPFN_PCI_NAME], other[64];
	uint64_t size;

	igt_assert_eq_u64(read_group(EVERYBODY, "dmem.capacity"), vram);

	igt_assert_eq(vpfn_card_name(big, name), 0);
	snprintf(other, sizeof(other), "drm/%s/vram", name);
	igt_assert(strcmp(other, region));
	igt_assert_eq(vpfn_vram_size(big, &size), 0);
	igt_assert_eq_u64(read_region(EVERYBODY, "dmem.capacity", other), size);
}

static void test_charge(void)
{
	uint64_t size = PFNMAP_2M + PFNMAP_PAGE, before = charge(EVERYBODY);
	struct vpfn_bo vram_bo, both, system;

	join(MINE);
	igt_assert_eq_u64(charge(MINE), 0);
	create(size, VRAM, &vram_bo);
	igt_assert_eq_u64(charge(MINE), size);
	create(SIZE, SYSTEM, &system);
	igt_assert_eq_u64(charge(MINE), size);
	create(PFNMAP_PAGE, VRAM | SYSTEM, &both);
	igt_assert_eq_u64(charge(MINE), size + PFNMAP_PAGE);
	igt_assert_eq_u64(charge(FAMILY), size + PFNMAP_PAGE);
	igt_assert_eq_u64(charge(EVERYBODY), before + size + PFNMAP_PAGE);
	igt_assert_eq_u64(charge(OTHERS), 0);

	/* Who is not in device memory does not pay; who brings a buffer back pays for it. */
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq_u64(charge(MINE), 0);
	join(OTHERS);
	igt_assert_eq(vpfn_fill(fd, &vram_bo, 0, size, 1), 0);
	igt_assert_eq(where(&vram_bo), VRAM);
	igt_assert_eq_u64(charge(OTHERS), size);
	igt_assert_eq_u64(charge(MINE), 0);

	vpfn_bo_close(fd, &vram_bo);
	vpfn_bo_close(fd, &both);
	vpfn_bo_close(fd, &system);
	assert_uncharged(OTHERS);
	assert_uncharged(MINE);
	igt_assert_eq_u64(charge(EVERYBODY), before);
}

static void test_exit(void)
{
	igt_fork(child, 1) {
		int file = vpfn_open_small(O_RDWR);
		struct vpfn_bo bo;

		join(MINE);
		igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM, 0, &bo), 0);
		igt_assert_eq(vpfn_fill(file, &bo, 0, SIZE, 1), 0);
		igt_assert_eq_u64(charge(MINE), SIZE);
	}
	igt_waitchildren();
	assert_uncharged(MINE);
}

/* Six buffers, of which the group may have four in device memory, or all of them. */
static void use_six(bool limited)
{
	uint64_t limit = 4 * SIZE;
	struct witness witness;
	struct set mine, others;

	set_create(&others, OTHERS, 4);
	witness_open(&witness, &others);
	if (limited)
		set_limit(MINE, "dmem.max", limit);

	set_create(&mine, MINE, 6);
	igt_assert_eq_u64(charge(MINE), limited ? limit : 6 * SIZE);
	igt_assert_eq_u64(set_in_vram(&mine), charge(MINE));
	for (int i = 0; i < 2; i++) {
		set_check(&mine);
		igt_assert_eq_u64(charge(MINE), limited ? limit : 6 * SIZE);
	}

	/* There was room for all; and the others have not so much as noticed. */
	igt_assert_eq_u64(charge(OTHERS), 4 * SIZE);
	igt_assert_eq(witness_close(&witness), 0);
	set_check(&others);
	set_close(&others);
	set_close(&mine);
}

static void test_limit_refuses(void)
{
	struct witness witness;
	struct set others;
	struct vpfn_bo bo;
	int err;

	set_create(&others, OTHERS, 4);
	witness_open(&witness, &others);
	set_limit(MINE, "dmem.max", 2 * SIZE);
	join(MINE);
	create(SIZE, VRAM, &bo);

	/* Not even if all of the group's own went. */
	vpfn_bo_close(fd, &bo);
	err = vpfn_bo_create_in(fd, 3 * SIZE, VRAM, 0, &bo);
	igt_assert(err == -ENOSPC || err == -ENOMEM);
	assert_uncharged(MINE);
	create(3 * SIZE, VRAM | SYSTEM, &bo);
	igt_assert_eq(where(&bo), SYSTEM);
	vpfn_bo_close(fd, &bo);
	create(2 * SIZE, VRAM, &bo);
	igt_assert_eq_u64(charge(MINE), 2 * SIZE);
	vpfn_bo_close(fd, &bo);

	igt_assert_eq(witness_close(&witness), 0);
	set_check(&others);
	set_close(&others);
}

/* What is over a limit that is lowered, the driver takes back, unless the writer will not wait. */
static void test_lower(bool nonblock)
{
	struct witness witness;
	struct set mine, others;
	uint64_t limit = 2 * SIZE;
	struct vpfn_bo bo;
	char text[96];
	int file;

	set_create(&others, OTHERS, 4);
	witness_open(&witness, &others);
	set_create(&mine, MINE, 5);
	igt_assert_eq_u64(charge(MINE), 5 * SIZE);

	if (nonblock) {
		snprintf(text, sizeof(text), "%s %" PRIu64, region, limit);
		file = open(PARENT "/mine/dmem.max", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		igt_assert_eq(write(file, text, strlen(text)), strlen(text));
		close(file);
		igt_assert_eq_u64(charge(MINE), 5 * SIZE);
		igt_assert_eq_u64(set_in_vram(&mine), 5 * SIZE);
	} else {
		set_limit(MINE, "dmem.max", limit);
		igt_assert(charge(MINE) <= limit);
		igt_assert_eq_u64(set_in_vram(&mine), charge(MINE));
	}

	/* At the latest when the group wants more, it has to be within its limit. */
	join(MINE);
	create(SIZE, VRAM, &bo);
	igt_assert(charge(MINE) <= limit);
	igt_assert_eq(where(&bo), VRAM);
	vpfn_bo_close(fd, &bo);
	set_check(&mine);
	igt_assert(charge(MINE) <= limit);

	igt_assert_eq(witness_close(&witness), 0);
	set_check(&others);
	set_close(&others);
	set_close(&mine);
}

/* How many of a group's buffers go when another wants all of the device memory? */
static unsigned int moved_for_others(uint64_t protected)
{
	struct witness witness;
	struct set mine, others;
	unsigned int moved;

	set_limit(MINE, "dmem.min", protected);
	set_create(&mine, MINE, 4);
	witness_open(&witness, &mine);
	set_create(&others, OTHERS, vram / SIZE);
	moved = witness_close(&witness);
	igt_assert_eq_u64(set_in_vram(&mine), (4 - moved) * SIZE);
	set_check(&others);
	set_close(&others);
	set_check(&mine);
	set_close(&mine);
	return moved;
}

static void test_min(void)
{
	igt_assert_lte(1, moved_for_others(0));
	igt_assert_eq(moved_for_others(4 * SIZE), 0);
}

static void test_limit(void)
{
	use_six(true);
}

static void test_no_limit(void)
{
	use_six(false);
}

static void test_lower_and_wait(void)
{
	test_lower(false);
}

static void test_lower_nonblock(void)
{
	test_lower(true);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "capacity", "Each device's memory is a region, of the size that the device says.",
	  test_capacity },
	{ "charge", "A buffer is charged while it lies in device memory, to who brought it there.",
	  test_charge },
	{ "exit", "The charge of a process ends with it.", test_exit },
	{ "limit", "A group at its limit evicts buffers of its own, and nothing is lost.",
	  test_limit },
	{ "no-limit", "Without a limit nothing is evicted where there is room.", test_no_limit },
	{ "limit-refuses", "What is larger than the limit goes elsewhere, or is refused.",
	  test_limit_refuses },
	{ "lower", "A limit below what a group has takes the rest back at once.",
	  test_lower_and_wait },
	{ "lower-nonblock", "A writer that does not wait leaves that to the group's next buffer.",
	  test_lower_nonblock },
	{ "min", "What is protected stays, what is not goes.", test_min },
};

int igt_main()
{
	igt_fixture() {
		char name[VPFN_PCI_NAME];

		big = vpfn_require_device();
		fd = vpfn_require_small_device();
		require_dmem();
		igt_assert_eq(vpfn_card_name(fd, name), 0);
		snprintf(region, sizeof(region), "drm/%s/vram", name);
		igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
		igt_assert_eq(vpfn_meter_open(fd, &meter), 0);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			make_groups();
			tests[i].run();
		}
	}

	igt_fixture() {
		vpfn_meter_close(&meter);
		close(fd);
		close(big);
	}
}
