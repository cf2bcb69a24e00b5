// SPDX-License-Identifier: MIT
/*
 * Are the driver's fdinfo and its files in debugfs true?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("fdinfo and debugfs of vpfn agree with what the driver does.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE		DRM_VPFN_GEM_CREATE_CPU_ACCESS
#define VRAM_BAR	2

static int fd = -1;

/* fdinfo: "key:\tvalue [unit]", Documentation/gpu/drm-usage-stats.rst */

/* The value of a key, "" if there is none; the file is small. */
static void fdinfo_text(int file, const char *key, char *value, size_t size)
{
	char path[64], text[4096], *line, *rest;
	size_t len = strlen(key);

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", file);
	igt_assert_eq(pfnmap_text_read(path, text, sizeof(text)), 0);
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
	int other = vpfn_client_open(), copy = dup(fd), small = vpfn_open_small(O_RDWR);

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
	const uint64_t a = 3 * PFNMAP_2M, b = 5 * PFNMAP_PAGE;
	struct vpfn_bo vram, system;
	int file = vpfn_client_open();
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
	pfnmap_store(map, 1);
	munmap(map, b);
	check_account(file, "system", (struct account) { .total = b, .resident = b });
	check_account(file, "vram", (struct account) { .total = a, .resident = a });

	/* A buffer counts in the region that it is in. */
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
	const uint64_t a = 7 * PFNMAP_PAGE;
	int file = vpfn_client_open(), other = vpfn_client_open(), dmabuf;
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

static void test_active(void)
{
	const uint64_t a = 9 * PFNMAP_PAGE, b = 4 * PFNMAP_PAGE;
	struct vpfn_bo busy, idle;
	struct vpfn_gate gate;
	int file = vpfn_client_open();
	uint32_t job;

	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_bo_create(file, a, &busy), 0);
	igt_assert_eq(vpfn_bo_create(file, b, &idle), 0);
	settle(file, &busy);
	settle(file, &idle);
	job = vpfn_start(file, vpfn_cmd_fill(&busy, 0, a, 1), &gate);
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
	int worker = vpfn_client_open(), idler = vpfn_client_open();
	uint64_t begun, used = 0, last;
	struct vpfn_bo bo, other;

	igt_assert_eq_u64(fdinfo_number(worker, "drm-engine-copy"), 0);
	igt_assert_eq(vpfn_bo_create(worker, 8 * PFNMAP_2M, &bo), 0);
	/* Clearing does not count as the client's work. */
	igt_assert_eq(vpfn_bo_create(idler, 8 * PFNMAP_2M, &other), 0);
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

	/* Two clients together get no more time than has passed. */
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
	igt_assert_eq(pfnmap_text_read(path, text, size), 0);
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
			igt_assert_eq_u64(total, size / PFNMAP_PAGE);
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
	pfnmap_store(map, 1);
	igt_assert_eq(vpfn_leaf_from_driver(file, map, &leaf), 0);
	igt_assert_eq(vpfn_bar_start(file, VRAM_BAR, &bar), 0);
	igt_assert_eq(munmap(map, bo->size), 0);
	return leaf.pfn - bar / PFNMAP_PAGE;
}

static void test_vram(void)
{
	const uint64_t pages = 77;
	uint64_t before, first;
	struct vpfn_bo bo;
	bool found;

	/* Earlier tests may have left buffers. */
	igt_assert_eq(vpfn_evict(fd), 0);
	before = vram_used(fd, 0, 0, &found);
	igt_assert_eq(vpfn_bo_create(fd, pages * PFNMAP_PAGE, &bo), 0);
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
	igt_assert_eq(vpfn_bo_create(fd, PFNMAP_PAGE, &bo), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		igt_assert_eq(pfnmap_text_write(path, bad[i]), -EINVAL);
		igt_assert_eq(vpfn_where(fd, &bo), VRAM);
	}
	igt_assert_lte(pfnmap_text_read(path, text, sizeof(text)), -1);
	igt_assert_eq(pfnmap_text_write(path, "1"), 0);
	igt_assert_eq(vpfn_where(fd, &bo), SYSTEM);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
}

/* Only root may open the files. */
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
	{ "fdinfo-engine", "Engine time grows with a client's jobs, and no faster than time.",
	  test_engine_time },
	{ "debugfs-vram", "The map of device memory has the buffers that are there.", test_vram },
	{ "debugfs-evict-bad", "Eviction wants a 1 and nothing else.", test_evict_bad },
	{ "debugfs-unprivileged", "Only root looks into debugfs.", test_unprivileged },
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
