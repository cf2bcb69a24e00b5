// SPDX-License-Identifier: MIT
/*
 * What does the driver tell of itself, and is it true? Each file's account in fdinfo, the files
 * in debugfs, trace events; and the buffers that a client gets without knowing vpfn.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_gate.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_pattern.h"
#include "vpfn_trace.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("What the driver tells of itself agrees with what it does.");

#define BAD_HANDLE	0xd0d0d0d0
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE		DRM_VPFN_GEM_CREATE_CPU_ACCESS
#define VRAM_BAR	2

static int fd = -1;

static int open_other(void)
{
	int file = vpfn_open(O_RDWR);

	igt_assert_lte(0, file);
	return file;
}

static uint32_t placement_of(int file, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(file, bo, &placement), 0);
	return placement;
}

/* fdinfo, read as Documentation/gpu/drm-usage-stats.rst says: "key:\tvalue [unit]" */

/* The value of a key, "" if there is none; the file is small. */
static void fdinfo_text(int file, const char *key, char *value, size_t size)
{
	char path[64], text[4096], *line, *rest;
	size_t len = strlen(key);

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", file);
	igt_assert_eq(vpfn_text_read(path, text, sizeof(text)), 0);
	*value = '\0';
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strncmp(line, key, len) || line[len] != ':')
			continue;
		/* Each key at most once. */
		igt_assert_f(!*value, "%s is there twice\n", key);
		line += len + 1;
		snprintf(value, size, "%s", line + strspn(line, " \t"));
		igt_assert(*value);
	}
}

static uint64_t fdinfo_number(int file, const char *key)
{
	char text[64], unit[8] = "";
	uint64_t value;
	int n;

	fdinfo_text(file, key, text, sizeof(text));
	igt_assert_f(*text, "no %s\n", key);
	igt_assert_f(*text >= '0' && *text <= '9', "%s is %s\n", key, text);
	n = sscanf(text, "%" SCNu64 " %7s", &value, unit);
	igt_assert_lte(1, n);
	if (!strcmp(unit, "KiB"))
		return value << 10;
	if (!strcmp(unit, "MiB"))
		return value << 20;
	igt_assert_f(!*unit || !strcmp(unit, "ns"), "%s is %s\n", key, text);
	return value;
}

static void test_identity(void)
{
	char text[64], name[VPFN_PCI_NAME];
	int other = open_other(), copy = dup(fd), small = vpfn_open_small(O_RDWR);

	fdinfo_text(fd, "drm-driver", text, sizeof(text));
	igt_assert(!strcmp(text, "vpfn"));
	igt_assert_eq(vpfn_card_name(fd, name), 0);
	fdinfo_text(fd, "drm-pdev", text, sizeof(text));
	igt_assert_f(!strcmp(text, name), "%s is not %s\n", text, name);

	/* A client is an open file, whatever its descriptors are. */
	igt_assert_eq_u64(fdinfo_number(fd, "drm-client-id"),
			  fdinfo_number(copy, "drm-client-id"));
	igt_assert_neq_u64(fdinfo_number(fd, "drm-client-id"),
			   fdinfo_number(other, "drm-client-id"));

	if (small >= 0) {
		igt_assert_eq(vpfn_card_name(small, name), 0);
		fdinfo_text(small, "drm-pdev", text, sizeof(text));
		igt_assert_f(!strcmp(text, name), "%s is not %s\n", text, name);
		close(small);
	}
	close(copy);
	close(other);
}

struct account {
	uint64_t total, resident, shared, active;
};

static void check_account(int file, const char *region, struct account expected)
{
	const struct {
		const char *name;
		uint64_t expected;
	} lines[] = {
		{ "total", expected.total },
		{ "resident", expected.resident },
		{ "shared", expected.shared },
		{ "active", expected.active },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(lines); i++) {
		char key[64];
		uint64_t value;

		snprintf(key, sizeof(key), "drm-%s-%s", lines[i].name, region);
		value = fdinfo_number(file, key);
		igt_assert_f(value == lines[i].expected, "%s is %" PRIu64 ", not %" PRIu64 "\n",
			     key, value, lines[i].expected);
	}
}

/* Nothing moves any more, and the engine has left all of it. */
static void settle(int file, const struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_wait(file, bo, 0, VPFN_LONG_NS), 0);
}

static void test_memory(void)
{
	const uint64_t a = 3 * VPFN_2M, b = 5 * VPFN_PAGE;
	struct vpfn_bo vram, system;
	int file = open_other();
	void *map;

	check_account(file, "vram", (struct account) {});
	check_account(file, "system", (struct account) {});

	igt_assert_eq(vpfn_bo_create_in(file, a, VRAM, VISIBLE, &vram), 0);
	settle(file, &vram);
	check_account(file, "vram", (struct account) { .total = a, .resident = a });
	check_account(file, "system", (struct account) {});

	/* System memory is allocated at first use. */
	igt_assert_eq(vpfn_bo_create_in(file, b, SYSTEM, 0, &system), 0);
	check_account(file, "system", (struct account) { .total = b });
	igt_assert_eq(vpfn_bo_map(file, &system, &map), 0);
	vpfn_store(map, 1);
	munmap(map, b);
	check_account(file, "system", (struct account) { .total = b, .resident = b });
	check_account(file, "vram", (struct account) { .total = a, .resident = a });

	/* A buffer counts where it lies. */
	igt_assert_eq(vpfn_evict(file), 0);
	settle(file, &vram);
	check_account(file, "vram", (struct account) {});
	check_account(file, "system", (struct account) { .total = a + b, .resident = a + b });
	igt_assert_eq(vpfn_fill(file, &vram, 0, 4, 1), 0);
	settle(file, &vram);
	check_account(file, "vram", (struct account) { .total = a, .resident = a });
	check_account(file, "system", (struct account) { .total = b, .resident = b });

	igt_assert_eq(vpfn_bo_close(file, &vram), 0);
	check_account(file, "vram", (struct account) {});
	igt_assert_eq(vpfn_bo_close(file, &system), 0);
	check_account(file, "system", (struct account) {});
	close(file);
}

static void test_shared(void)
{
	const uint64_t a = 7 * VPFN_PAGE;
	int file = open_other(), other = open_other(), dmabuf;
	struct vpfn_bo bo, twin = { .size = a };

	igt_assert_eq(vpfn_bo_create(file, a, &bo), 0);
	settle(file, &bo);
	check_account(file, "vram", (struct account) { .total = a, .resident = a });
	check_account(other, "vram", (struct account) {});

	igt_assert_eq(vpfn_bo_export(file, &bo, &dmabuf), 0);
	check_account(file, "vram", (struct account) { .total = a, .resident = a, .shared = a });
	igt_assert_eq(drmPrimeFDToHandle(other, dmabuf, &twin.handle), 0);
	close(dmabuf);
	check_account(file, "vram", (struct account) { .total = a, .resident = a, .shared = a });
	check_account(other, "vram", (struct account) { .total = a, .resident = a, .shared = a });

	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	check_account(file, "vram", (struct account) {});
	check_account(other, "vram", (struct account) { .total = a, .resident = a, .shared = a });
	close(other);
	close(file);
}

/* Starts one command behind a gate. */
static uint32_t start(int file, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate)
{
	uint32_t in, out;

	igt_assert_eq(vpfn_gate_syncobj(gate, file, &in), 0);
	igt_assert_eq(drmSyncobjCreate(file, 0, &out), 0);
	igt_assert_eq(vpfn_submit(file, &cmd, 1, in, out), 0);
	drmSyncobjDestroy(file, in);
	return out;
}

static void test_active(void)
{
	const uint64_t a = 9 * VPFN_PAGE, b = 4 * VPFN_PAGE;
	struct vpfn_bo busy, idle;
	struct vpfn_gate gate;
	int file = open_other(), err;
	uint32_t job;

	err = vpfn_gate_make(&gate);
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
	igt_assert_eq(vpfn_bo_create(file, a, &busy), 0);
	igt_assert_eq(vpfn_bo_create(file, b, &idle), 0);
	settle(file, &busy);
	settle(file, &idle);
	job = start(file, vpfn_cmd_fill(&busy, 0, a, 1), &gate);
	check_account(file, "vram", (struct account) {
		      .total = a + b, .resident = a + b, .active = a });

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_status(file, job, VPFN_LONG_NS), 0);
	settle(file, &busy);
	check_account(file, "vram", (struct account) { .total = a + b, .resident = a + b });
	vpfn_gate_remove(&gate);
	close(file);
}

static uint64_t now(void)
{
	return vpfn_deadline(0);
}

static void test_engine_time(void)
{
	int worker = open_other(), idler = open_other();
	uint64_t begun, used = 0, last;
	struct vpfn_bo bo, other;

	igt_assert_eq_u64(fdinfo_number(worker, "drm-engine-copy"), 0);
	igt_assert_eq(vpfn_bo_create(worker, 8 * VPFN_2M, &bo), 0);
	/* What the driver does on its own account, clearing, is no work of the client's. */
	igt_assert_eq(vpfn_bo_create(idler, 8 * VPFN_2M, &other), 0);
	settle(worker, &bo);
	settle(idler, &other);
	igt_assert_eq_u64(fdinfo_number(worker, "drm-engine-copy"), 0);

	begun = now();
	for (int i = 0; i < 10; i++) {
		last = used;
		igt_assert_eq(vpfn_fill(worker, &bo, 0, bo.size, i), 0);
		used = fdinfo_number(worker, "drm-engine-copy");
		igt_assert_f(used > last, "%" PRIu64 " ns after %" PRIu64 "\n", used, last);
		igt_assert_f(used <= now() - begun, "more than the time that has passed\n");
	}
	igt_assert_eq_u64(fdinfo_number(worker, "drm-engine-copy"), used);
	igt_assert_eq_u64(fdinfo_number(idler, "drm-engine-copy"), 0);

	/* Two who share the engine have no more of it than there is. */
	begun = now();
	for (int i = 0; i < 4; i++) {
		struct drm_vpfn_cmd mine = vpfn_cmd_fill(&bo, 0, bo.size, i);
		struct drm_vpfn_cmd theirs = vpfn_cmd_fill(&other, 0, other.size, i);

		igt_assert_eq(vpfn_submit(worker, &mine, 1, 0, 0), 0);
		igt_assert_eq(vpfn_submit(idler, &theirs, 1, 0, 0), 0);
	}
	settle(worker, &bo);
	settle(idler, &other);
	last = fdinfo_number(worker, "drm-engine-copy");
	igt_assert(last > used);
	igt_assert_neq_u64(fdinfo_number(idler, "drm-engine-copy"), 0);
	igt_assert_f(last - used + fdinfo_number(idler, "drm-engine-copy") <= now() - begun,
		     "together they had the engine for longer than it took\n");
	close(worker);
	close(idler);
}

/* debugfs */

static void debugfs_read(int file, const char *name, char *text, size_t size)
{
	char path[64];

	igt_assert_eq(vpfn_debugfs_path(file, name, path, sizeof(path)), 0);
	igt_assert_eq(vpfn_text_read(path, text, size), 0);
	igt_assert_lte(strlen(text), size - 2);
}

/* Pages in use, as the manager sums them up; and whether it has one range of exactly these. */
static uint64_t vram_used(int file, uint64_t first, uint64_t pages, bool *found)
{
	uint64_t total, used, free, size, from, to;
	char text[65536], *line, *rest;
	bool summed = false;

	*found = false;
	igt_assert_eq(vpfn_vram_size(file, &size), 0);
	debugfs_read(file, "vram", text, sizeof(text));
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "0x%" SCNx64 "-0x%" SCNx64, &from, &to) == 2 &&
		    strstr(line, "used") && from == first && to == first + pages)
			*found = true;
		if (sscanf(line, "total: %" SCNu64 ", used %" SCNu64 " free %" SCNu64,
			   &total, &used, &free) == 3) {
			igt_assert_eq_u64(total, size / VPFN_PAGE);
			igt_assert_eq_u64(used + free, total);
			summed = true;
		}
	}
	igt_assert(summed);
	return used;
}

/* The page of device memory where a buffer begins, from the page table */
static uint64_t first_vram_page(int file, const struct vpfn_bo *bo)
{
	struct vpfn_leaf leaf;
	uint64_t bar;
	void *map;

	igt_assert_eq(vpfn_bo_map(file, bo, &map), 0);
	vpfn_store(map, 1);
	igt_assert_eq(vpfn_leaf_from_driver(file, map, &leaf), 0);
	igt_assert_eq(vpfn_bar_start(file, VRAM_BAR, &bar), 0);
	igt_assert_eq(munmap(map, bo->size), 0);
	return leaf.pfn - bar / VPFN_PAGE;
}

static void test_vram(void)
{
	const uint64_t pages = 77;
	uint64_t before, first;
	struct vpfn_bo bo;
	bool found;

	/* Whatever others have left behind goes first. */
	igt_assert_eq(vpfn_evict(fd), 0);
	before = vram_used(fd, 0, 0, &found);
	igt_assert_eq(vpfn_bo_create(fd, pages * VPFN_PAGE, &bo), 0);
	first = first_vram_page(fd, &bo);
	igt_assert_eq_u64(vram_used(fd, first, pages, &found), before + pages);
	igt_assert(found);

	settle(fd, &bo);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq_u64(vram_used(fd, first, pages, &found), before);
	igt_assert(!found);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
}

static void test_evict_bad(void)
{
	static const char * const bad[] = { "0", "2", "-1", "0x100000001", "x", "1x" };
	struct vpfn_bo bo;
	char path[64], text[16];

	igt_assert_eq(vpfn_debugfs_path(fd, "evict", path, sizeof(path)), 0);
	igt_assert_eq(vpfn_bo_create(fd, VPFN_PAGE, &bo), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		igt_assert_eq(vpfn_text_write(path, bad[i]), -EINVAL);
		igt_assert_eq(placement_of(fd, &bo), VRAM);
	}
	igt_assert_lte(vpfn_text_read(path, text, sizeof(text)), -1);
	igt_assert_eq(vpfn_text_write(path, "1"), 0);
	igt_assert_eq(placement_of(fd, &bo), SYSTEM);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
}

/* Files for root alone. */
static void test_unprivileged(void)
{
	static const struct {
		const char *name;
		int oflags;
	} files[] = {
		{ "leaf", O_RDONLY },
		{ "evict", O_WRONLY },
		{ "vram", O_RDONLY },
	};
	char paths[ARRAY_SIZE(files)][64];

	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		struct stat st;
		int file;

		igt_assert_eq(vpfn_debugfs_path(fd, files[i].name, paths[i], sizeof(paths[i])), 0);
		file = open(paths[i], files[i].oflags | O_CLOEXEC);
		igt_assert_lte(0, file);
		igt_assert_eq(fstat(file, &st), 0);
		igt_assert_eq(st.st_mode & 0022, 0);
		close(file);
	}

	igt_fork(child, 1) {
		igt_assert_eq(setgid(65534), 0);
		igt_assert_eq(setuid(65534), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
			igt_assert_eq(open(paths[i], files[i].oflags) < 0 ? errno : 0, EACCES);
	}
	igt_waitchildren();
}

/* Trace events */

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

/* What the event says of a touch: as many as there were faults, and the last leaf's order. */
static void check_touch(struct touch *touch, enum vpfn_level level)
{
	static const long orders[] = { [VPFN_PTE] = 0, [VPFN_PMD] = 9, [VPFN_PUD] = 18 };
	uint64_t size = level == VPFN_PUD ? VPFN_1G : 2 * VPFN_2M;
	struct faults faults = {};

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(fd, size, &touch->bo), 0);
	settle(fd, &touch->bo);
	igt_assert_eq(vpfn_bo_map(fd, &touch->bo, &touch->map), 0);
	faults.address = (uintptr_t)touch->map + size / 2 + 3 * VPFN_PAGE;
	touch->at = (const void *)faults.address;
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done + faults.fallbacks, 0);

	vpfn_load(touch->at);
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done, 1);
	igt_assert_eq(faults.order, orders[level]);
	/* The core offers more than the driver may use, under the VMA lock and mmap_lock. */
	if (level == VPFN_PTE) {
		igt_assert_lte(1, faults.fallbacks);
		igt_assert_lte(faults.fallbacks, 2);
	}

	/* A touch without a fault is not told. */
	vpfn_trace_clear();
	faults.done = 0;
	faults.fallbacks = 0;
	vpfn_load(touch->at);
	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.done + faults.fallbacks, 0);
}

/* The page-table dump takes long: once for all. */
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
	struct moves moves = { .size = 37 * VPFN_PAGE };
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
	vpfn_load(map);
	check_move(&moves, NULL, false);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, 4, 1), 0);
	check_move(&moves, "from=gart to=vram", false);
	vpfn_load(map);
	munmap(map, bo.size);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
	check_move(&moves, NULL, false);
}

/* Dumb buffers, which are for the primary node alone */

static int open_primary(int file)
{
	char path[128], name[VPFN_PCI_NAME];
	glob_t nodes;
	int primary;

	igt_assert_eq(vpfn_card_name(file, name), 0);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/drm/card*", name);
	igt_assert_eq(glob(path, 0, NULL, &nodes), 0);
	snprintf(path, sizeof(path), "/dev/dri/%s", strrchr(nodes.gl_pathv[0], '/') + 1);
	globfree(&nodes);
	primary = open(path, O_RDWR | O_CLOEXEC);
	igt_assert_lte(0, primary);
	return primary;
}

static int create_dumb(int file, uint32_t width, uint32_t height, uint32_t bpp,
		       struct drm_mode_create_dumb *dumb)
{
	*dumb = (struct drm_mode_create_dumb) { .width = width, .height = height, .bpp = bpp };
	return vpfn_ioctl(file, DRM_IOCTL_MODE_CREATE_DUMB, dumb);
}

static int destroy_dumb(int file, uint32_t handle)
{
	struct drm_mode_destroy_dumb destroy = { .handle = handle };

	return vpfn_ioctl(file, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
}

static int map_dumb(int file, uint32_t handle, uint64_t *offset)
{
	struct drm_mode_map_dumb map = { .handle = handle };
	int err = vpfn_ioctl(file, DRM_IOCTL_MODE_MAP_DUMB, &map);

	*offset = map.offset;
	return err;
}

static void test_dumb_bad(void)
{
	static const struct {
		uint32_t width, height, bpp;
	} bad[] = {
		{ 0, 1, 32 }, { 1, 0, 32 }, { 1, 1, 0 },
		{ UINT32_MAX, 1, 32 }, { UINT32_MAX, UINT32_MAX, 32 }, { 65536, 65536, 32 },
		{ 1, UINT32_MAX, 8 },
	};
	int file = open_primary(fd), other = open_primary(fd);
	struct drm_mode_create_dumb dumb;
	uint64_t offset;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		igt_assert_eq(create_dumb(file, bad[i].width, bad[i].height, bad[i].bpp, &dumb),
			      -EINVAL);
		igt_assert_eq_u64(dumb.handle, 0);
	}
	igt_assert_eq(create_dumb(fd, 1, 1, 32, &dumb), -EACCES);
	igt_assert_eq(create_dumb(file, 1, 1, 32, &dumb), 0);
	igt_assert_eq_u64(dumb.size, VPFN_PAGE);

	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(map_dumb(other, dumb.handle, &offset), -ENOENT);
	igt_assert_eq(map_dumb(file, 0, &offset), -ENOENT);
	igt_assert_eq(map_dumb(file, BAD_HANDLE, &offset), -ENOENT);
	igt_assert_eq(destroy_dumb(other, dumb.handle), -EINVAL);
	igt_assert_eq(destroy_dumb(file, BAD_HANDLE), -EINVAL);
	igt_assert_eq(destroy_dumb(file, dumb.handle), 0);
	igt_assert_eq(destroy_dumb(file, dumb.handle), -EINVAL);
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), -ENOENT);
	close(other);
	close(file);
}

/* More than the device and the machine have: an error, and no one is killed. */
static void test_dumb_too_big(void)
{
	int small = vpfn_open_small(O_RDWR), file, err;
	struct drm_mode_create_dumb dumb;

	igt_require_f(small >= 0, "no second device of the driver vpfn\n");
	file = open_primary(small);
	err = create_dumb(file, 16384, 65535, 32, &dumb);
	igt_assert_f(err == -E2BIG || err == -ENOSPC || err == -ENOMEM, "%d\n", err);
	igt_assert_eq(create_dumb(file, 640, 480, 32, &dumb), 0);
	close(file);
	close(small);
}

static void test_dumb(void)
{
	int file = open_primary(fd);
	struct drm_mode_create_dumb dumb;
	struct vpfn_bo bo;
	uint64_t offset;
	uint32_t crc;
	void *map;

	igt_assert_eq(create_dumb(file, 641, 479, 16, &dumb), 0);
	igt_assert_lte(641 * 2, dumb.pitch);
	igt_assert(dumb.size >= 479ull * dumb.pitch && !(dumb.size % VPFN_PAGE));
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(vpfn_map(file, offset, dumb.size, PROT_READ | PROT_WRITE, &map), 0);

	for (uint64_t i = 0; i < dumb.size; i += sizeof(uint64_t))
		igt_assert_eq_u64(vpfn_load((char *)map + i), 0);
	vpfn_pattern_bytes(&(struct vpfn_pattern) { .seed = 5, .size = dumb.size }, map, dumb.size);

	/* It is a buffer like others. */
	bo = (struct vpfn_bo) { .handle = dumb.handle, .size = dumb.size, .offset = offset };
	igt_assert_eq(vpfn_crc(file, &bo, 0, dumb.size, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(map, dumb.size));
	igt_assert_eq(vpfn_fill(file, &bo, dumb.size - 8, 8, 0x12345678), 0);
	igt_assert_eq_u64(vpfn_load((char *)map + dumb.size - 8), 0x1234567812345678ull);

	/* The mapping holds it when the handle is gone. */
	igt_assert_eq(destroy_dumb(file, dumb.handle), 0);
	igt_assert_eq_u64(vpfn_load((char *)map + dumb.size - 8), 0x1234567812345678ull);
	munmap(map, dumb.size);
	close(file);
}

static void test_dumb_huge(void)
{
	int file = open_primary(fd);
	struct drm_mode_create_dumb dumb;
	uint64_t offset;
	void *map;

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	igt_assert_eq(create_dumb(file, 1024, 1024, 32, &dumb), 0);
	igt_assert_eq_u64(dumb.size, 2 * VPFN_2M);
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(vpfn_map(file, offset, dumb.size, PROT_READ | PROT_WRITE, &map), 0);
	vpfn_store((char *)map + VPFN_2M + VPFN_PAGE, 1);
	vpfn_assert_level(file, (char *)map + VPFN_2M, VPFN_PMD);
	vpfn_assert_level(file, map, VPFN_NONE);
	munmap(map, dumb.size);
	close(file);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "fdinfo-identity", "fdinfo tells driver, device and client.", test_identity },
	{ "fdinfo-memory", "fdinfo counts buffers from creation to close, where they lie.",
	  test_memory },
	{ "fdinfo-shared", "fdinfo tells which buffers are shared.", test_shared },
	{ "fdinfo-active", "fdinfo tells which buffers have work to do.", test_active },
	{ "fdinfo-engine", "fdinfo's engine time grows for who works, and no more than time does.",
	  test_engine_time },
	{ "debugfs-vram", "The map of device memory has the buffers that are there.", test_vram },
	{ "debugfs-evict-bad", "Eviction wants a 1 and nothing else.", test_evict_bad },
	{ "debugfs-unprivileged", "Only root looks into debugfs.", test_unprivileged },
	{ "trace-fault", "One event for each fault, with the order of the leaf that is there.",
	  test_trace_fault },
	{ "trace-move", "One event for each move, none without.", test_trace_move },
	{ "dumb-bad", "No dumb buffer of a bad size, and none for others.", test_dumb_bad },
	{ "dumb-too-big", "A dumb buffer that fits nowhere is an error.", test_dumb_too_big },
	{ "dumb", "A dumb buffer has room for its picture, by CPU and by engine.", test_dumb },
	{ "dumb-huge", "A large dumb buffer is mapped by large leaves.", test_dumb_huge },
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
