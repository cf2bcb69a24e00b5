// SPDX-License-Identifier: MIT
/*
 * Each allocation and each copy of user memory that a client's call, swapping, suspend and resume
 * make in the driver fails once: is the answer right, is nothing left behind, and does the same
 * work afterwards?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_foreign.h"
#include "pfnmap/pfnmap_matrix.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_failure.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_sleep.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Each allocation and each copy of a client's call to vpfn fails once.");

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM	DRM_VPFN_PLACEMENT_SYSTEM

#define SIZE	(16 * PFNMAP_PAGE)
/* More than any call takes: a call that allocates without end fails. */
#define MAX_NTH	2000

/* Of an autosuspend that never comes by itself */
#define NO_AUTOSUSPEND	"100000"

static int big = -1, small = -1, nth = -1;
static uint64_t pages_limit;

/* What the calls are about; each call gets a fresh one. */
struct scene {
	int file, primary;
	struct vpfn_bo vram, system;	/* all zero, and the latter without pages */
	struct pfnmap_foreign foreign;
	int dmabuf;			/* of @vram */
	struct vpfn_bo kept[2];		/* SYSTEM, VRAM; of swap and sleep */
	uint32_t in, out;		/* syncobjs; @in has signalled */
	char *map;			/* of what the call maps or touches */
	char card[VPFN_PCI_NAME];	/* that may sleep when idle, or empty */
};

static void scene_open(struct scene *scene)
{
	*scene = (struct scene) { .file = vpfn_client_open() };
	scene->primary = vpfn_client_open_primary(scene->file);
	igt_assert_eq(vpfn_bo_create_in(scene->file, SIZE, VRAM, 0, &scene->vram), 0);
	igt_assert_eq(vpfn_bo_create_in(scene->file, SIZE, SYSTEM, 0, &scene->system), 0);
	igt_assert_eq(vpfn_bo_export(scene->file, &scene->vram, &scene->dmabuf), 0);
	igt_assert_eq(pfnmap_foreign_from_memfd(SIZE, &scene->foreign), 0);
	memset(scene->foreign.map, 0, SIZE);
	igt_assert_eq(drmSyncobjCreate(scene->file, DRM_SYNCOBJ_CREATE_SIGNALED, &scene->in), 0);
	scene->out = vpfn_new_syncobj(scene->file);
	/* What was cleared is there: a call has its own allocations alone. */
	igt_assert_eq(vpfn_bo_wait(scene->file, &scene->vram, 0, VPFN_LONG_NS), 0);
}

/* Each buffer has a content of its own. */
static const uint32_t kept_words[] = { 0x5eed0001, 0x5eed0002 };

static void scene_close(struct scene *scene)
{
	if (*scene->card)
		igt_assert_eq(vpfn_card_set(scene->card, "power/control", "on"), 0);
	if (scene->map)
		munmap(scene->map, SIZE);
	pfnmap_foreign_remove(&scene->foreign);
	close(scene->dmabuf);
	close(scene->primary);
	close(scene->file);
}

/* ---- The calls ---- */

static int do_open(struct scene *scene)
{
	char path[32];
	int file;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", scene->file);
	file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return -errno;
	close(file);
	return 0;
}

static int create(struct scene *scene, uint32_t placement)
{
	struct vpfn_bo bo;

	return vpfn_bo_create_in(scene->file, SIZE, placement, 0, &bo);
}

static int do_create_vram(struct scene *scene)
{
	return create(scene, VRAM);
}

static int do_create_system(struct scene *scene)
{
	return create(scene, SYSTEM);
}

static int do_dumb(struct scene *scene)
{
	struct drm_mode_create_dumb arg = { .width = 64, .height = 64, .bpp = 32 };

	return vpfn_ioctl(scene->primary, DRM_IOCTL_MODE_CREATE_DUMB, &arg);
}

static int do_offset(struct scene *scene)
{
	struct drm_vpfn_gem_mmap_offset arg = { .handle = scene->vram.handle };

	return vpfn_ioctl(scene->file, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &arg);
}

static int do_map(struct scene *scene)
{
	return pfnmap_map(scene->file, scene->vram.offset, SIZE, PROT_READ | PROT_WRITE,
			  (void **)&scene->map);
}

static int do_info(struct scene *scene)
{
	uint32_t placement;

	return vpfn_bo_placement(scene->file, &scene->vram, &placement);
}

static int do_wait(struct scene *scene)
{
	return vpfn_bo_wait(scene->file, &scene->vram, 0, VPFN_LONG_NS);
}

static int do_param(struct scene *scene)
{
	uint64_t size;

	return vpfn_vram_size(scene->file, &size);
}

static int do_export(struct scene *scene)
{
	int dmabuf, err = vpfn_bo_export(scene->file, &scene->system, &dmabuf);

	if (!err)
		close(dmabuf);
	return err;
}

static int do_import(struct scene *scene)
{
	struct vpfn_bo bo;

	return vpfn_dmabuf_import(scene->file, scene->foreign.dmabuf, SIZE, &bo);
}

/* Of the other device, which attaches and maps it */
static int do_import_peer(struct scene *scene)
{
	struct vpfn_bo bo;

	return vpfn_dmabuf_import(small, scene->dmabuf, SIZE, &bo) ?: vpfn_bo_close(small, &bo);
}

static int submit(struct scene *scene, struct drm_vpfn_cmd cmd)
{
	return vpfn_submit(scene->file, &cmd, 1, scene->in, scene->out) ?:
	       vpfn_sync_status(scene->file, scene->out, VPFN_LONG_NS);
}

static int do_nop(struct scene *scene)
{
	return submit(scene, (struct drm_vpfn_cmd) { .op = DRM_VPFN_CMD_NOP });
}

static int do_fill(struct scene *scene)
{
	return submit(scene, vpfn_cmd_fill(&scene->vram, 0, SIZE, 0));
}

/* To memory that has no pages yet, from memory of another driver */
static int do_copy(struct scene *scene)
{
	struct vpfn_bo bo;
	int err = vpfn_dmabuf_import(scene->file, scene->foreign.dmabuf, SIZE, &bo);

	return err ?: submit(scene, vpfn_cmd_copy(&scene->system, 0, &bo, 0, SIZE));
}

/* Moves all buffers out of device memory. */
static int do_evict(struct scene *scene)
{
	return vpfn_evict(scene->file);
}

/* Nobody is told whether a reset worked; what follows tells. */
static int do_reset(struct scene *scene)
{
	char name[VPFN_PCI_NAME];

	return vpfn_card_name(scene->file, name) ?: vpfn_card_set(name, "reset", "1");
}

/* ---- Swapping ---- */

static void keep(struct scene *scene)
{
	static const uint32_t placements[] = { SYSTEM, VRAM };

	for (int i = 0; i < 2; i++) {
		struct vpfn_bo *bo = &scene->kept[i];

		igt_assert_eq(vpfn_bo_create_in(scene->file, SIZE, placements[i], 0, bo), 0);
		igt_assert_eq(vpfn_fill(scene->file, bo, 0, SIZE, kept_words[i]), 0);
	}
}

static void prepare_swap_out(struct scene *scene)
{
	keep(scene);
	igt_assert_eq(vpfn_evict(scene->file), 0);
}

static void prepare_swap_in(struct scene *scene)
{
	uint64_t swapped;

	prepare_swap_out(scene);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	igt_assert_lte(2 * SIZE, swapped);
}

static void map_kept(struct scene *scene, int i)
{
	prepare_swap_in(scene);
	igt_assert_eq(vpfn_bo_map(scene->file, &scene->kept[i], (void **)&scene->map), 0);
}

static void prepare_touch_system(struct scene *scene)
{
	map_kept(scene, 0);
}

static void prepare_touch_vram(struct scene *scene)
{
	map_kept(scene, 1);
}

/* A job needs pages beyond TTM's limit: TTM swaps all idle buffers out first. */
static int do_swap_out(struct scene *scene)
{
	int err = vpfn_pages_limit_set(1), restored;

	if (err)
		return err;
	err = submit(scene, vpfn_cmd_fill(&scene->system, 0, SIZE, 0));
	restored = vpfn_pages_limit_set(pages_limit);
	return err ?: restored;
}

/* The fault is repeated after a failure. */
static int do_touch(struct scene *scene)
{
	for (uint64_t i = 0; i < SIZE; i += PFNMAP_PAGE)
		pfnmap_load(scene->map + i);
	return 0;
}

/* By the kernel, as a debugger does */
static int do_access(struct scene *scene)
{
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), err = 0;
	char bytes[64];

	igt_assert_lte(0, mem);
	if (pread(mem, bytes, sizeof(bytes), (uintptr_t)scene->map) != sizeof(bytes))
		err = -errno;
	close(mem);
	return err;
}

/* Writes to one page of each buffer what the page holds. */
static int do_use(struct scene *scene)
{
	struct drm_vpfn_cmd cmds[2];

	for (int i = 0; i < 2; i++)
		cmds[i] = vpfn_cmd_fill(&scene->kept[i], 0, PFNMAP_PAGE, kept_words[i]);
	return vpfn_submit(scene->file, cmds, 2, scene->in, scene->out) ?:
	       vpfn_sync_status(scene->file, scene->out, VPFN_LONG_NS);
}

/* ---- Suspend and resume ---- */

static int do_sleep(struct scene *scene)
{
	int err = vpfn_sleep_devices();

	(void)scene;
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_PM_DEBUG\n");
	return err;
}

static bool is_suspended(const void *card)
{
	char status[32];

	return !vpfn_card_get(card, "power/runtime_status", status, sizeof(status)) &&
	       !strcmp(status, "suspended");
}

static bool is_unused(const void *card)
{
	char usage[32];

	return !vpfn_card_get(card, "power/runtime_usage", usage, sizeof(usage)) &&
	       !strcmp(usage, "0");
}

static void set_delay(const char *card, const char *ms)
{
	igt_assert_eq(vpfn_card_set(card, "power/autosuspend_delay_ms", ms), 0);
}

/*
 * This task has to be the one that suspends the device: no job holds it awake, and no request waits
 * for a worker. The write to "control" leaves a request; the jobs of keep() make it a timer.
 */
static void prepare_runtime_suspend(struct scene *scene)
{
	igt_assert_eq(vpfn_card_name(scene->file, scene->card), 0);
	set_delay(scene->card, NO_AUTOSUSPEND);
	igt_assert_eq(vpfn_card_set(scene->card, "power/control", "auto"), 0);
	keep(scene);
	igt_assert_eq(pfnmap_wait_until(is_unused, scene->card), 0);
}

/*
 * The first write makes this task try once, with the failure, and move the buffers. With a delay
 * the PM core tries again, in a worker, until the device is idle.
 */
static int do_runtime_suspend(struct scene *scene)
{
	int err;

	set_delay(scene->card, "0");
	set_delay(scene->card, "50");
	err = pfnmap_wait_until(is_suspended, scene->card);
	set_delay(scene->card, NO_AUTOSUSPEND);
	return err;
}

static void prepare_runtime_resume(struct scene *scene)
{
	prepare_runtime_suspend(scene);
	igt_assert_eq(do_runtime_suspend(scene), 0);
}

/* ---- One failure after the other ---- */

static const struct call {
	const char *name;
	void (*prepare)(struct scene *scene);
	int (*run)(struct scene *scene);
	unsigned int failures;		/* allocations that it makes, at least */
	unsigned int allocations;	/* that it needs, at least */
	unsigned int copies;		/* likewise */
	int refusal;			/* the answer without memory, if not -ENOMEM */
	/*
	 * TTM counts also those for which it has no memory, see patches/linux/. What is to be
	 * prepared may go on without memory after that, so that nothing is refused.
	 */
	bool makes_ghosts;
} calls[] = {
	{ .name = "open", .run = do_open, .allocations = 2 },
	{ .name = "create-vram", .run = do_create_vram, .allocations = 6 },
	{ .name = "create-system", .run = do_create_system, .allocations = 5 },
	{ .name = "dumb", .run = do_dumb, .allocations = 6 },
	{ .name = "offset", .run = do_offset },
	{ .name = "map", .run = do_map },
	{ .name = "info", .run = do_info },
	{ .name = "wait", .run = do_wait },
	{ .name = "param", .run = do_param },
	{ .name = "export", .run = do_export, .allocations = 3 },
	{ .name = "import", .run = do_import, .allocations = 4 },
	{ .name = "import-peer", .run = do_import_peer, .allocations = 4 },
	{ .name = "nop", .run = do_nop, .allocations = 7, .copies = 3 },
	{ .name = "fill", .run = do_fill, .allocations = 8, .copies = 3 },
	{ .name = "copy", .run = do_copy, .allocations = 16, .copies = 3 },
	{ .name = "evict", .run = do_evict, .allocations = 8, .makes_ghosts = true },
	{ .name = "reset", .run = do_reset },
	{ .name = "swap-out", .prepare = prepare_swap_out, .run = do_swap_out,
	  .failures = 40, .allocations = 8, .copies = 3, .makes_ghosts = true },
	{ .name = "swap-in-touch-system", .prepare = prepare_touch_system, .run = do_touch,
	  .failures = 5 },
	{ .name = "swap-in-touch-vram", .prepare = prepare_touch_vram, .run = do_touch,
	  .failures = 5, .makes_ghosts = true },
	{ .name = "swap-in-access", .prepare = prepare_touch_system, .run = do_access,
	  .allocations = 2, .refusal = -EIO },
	{ .name = "swap-in-job", .prepare = prepare_swap_in, .run = do_use,
	  .allocations = 10, .copies = 3, .makes_ghosts = true },
	{ .name = "sleep", .prepare = keep, .run = do_sleep, .allocations = 12,
	  .makes_ghosts = true },
	{ .name = "runtime-suspend", .prepare = prepare_runtime_suspend,
	  .run = do_runtime_suspend, .failures = 6, .makes_ghosts = true },
	{ .name = "runtime-resume", .prepare = prepare_runtime_resume, .run = do_use,
	  .allocations = 8, .copies = 3, .makes_ghosts = true },
};

/* What nothing may hold on to: buffers, and bytes of the big device */
struct rest {
	uint64_t buffers, vram, system;
};

/* TTM's own count of what is taken of a kind of memory */
static uint64_t taken(const char *manager)
{
	char path[128], text[256], *at;

	igt_assert_eq(vpfn_debugfs_path(big, manager, path, sizeof(path)), 0);
	igt_assert_eq(pfnmap_text_read(path, text, sizeof(text)), 0);
	at = strstr(text, "usage:");
	igt_assert(at);
	return strtoull(at + strlen("usage:"), NULL, 10);
}

static struct rest take_rest(void)
{
	struct rest rest;

	/* What was closed is freed once the engine has left it. */
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(vpfn_buffer_count(&rest.buffers), 0);
	rest.vram = taken("vram");
	rest.system = taken("gart");
	return rest;
}

static void check_zero(struct scene *scene, const struct vpfn_bo *bo, unsigned int n)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(scene->file, bo, 0, SIZE, &crc), 0);
	igt_assert_f(crc == vpfn_crc32c(scene->foreign.map, SIZE),
		     "failure %u: a buffer does not hold what it did\n", n);
}

static void check_kept(struct scene *scene, unsigned int n)
{
	uint32_t words[SIZE / sizeof(uint32_t)], crc;

	for (int i = 0; i < 2 && scene->kept[i].handle; i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(words); j++)
			words[j] = kept_words[i];
		igt_assert_eq(vpfn_crc(scene->file, &scene->kept[i], 0, SIZE, &crc), 0);
		igt_assert_f(crc == vpfn_crc32c(words, SIZE),
			     "failure %u: kept buffer %d does not hold what it did\n", n, i);
	}
}

/* The n-th of what counts; whether it came to that. */
static bool fail_once(const struct call *call, unsigned int n, int expected, unsigned int *refused)
{
	struct scene scene;
	bool failed;
	int err;

	scene_open(&scene);
	if (call->prepare)
		call->prepare(&scene);
	igt_assert(vpfn_failure_arm(nth, n));
	err = call->run(&scene);
	failed = vpfn_failure_disarm(nth);
	igt_assert_f(!err || (failed && err == expected), "failure %u: the answer is %d\n", n, err);
	*refused += err != 0;

	check_zero(&scene, &scene.vram, n);
	check_zero(&scene, &scene.system, n);
	if (failed && err)
		igt_assert_f(!call->run(&scene), "after failure %u it does not work\n", n);
	check_kept(&scene, n);
	scene_close(&scene);
	return failed;
}

static void fail_each(const struct call *call, const char *what, int expected,
		      unsigned int failures, unsigned int least)
{
	unsigned int n = 0, refused = 0, ghosts;
	const struct rest before = take_rest();
	struct rest after;
	char cell[32];

	while (fail_once(call, n + 1, expected, &refused)) {
		n++;
		igt_assert_lte(n, MAX_NTH);
	}
	after = take_rest();
	ghosts = !call->makes_ghosts ? 0 : call->prepare ? n : refused;
	igt_assert(before.buffers <= after.buffers && after.buffers <= before.buffers + ghosts);
	igt_assert_eq_u64(after.vram, before.vram);
	igt_assert_eq_u64(after.system, before.system);

	snprintf(cell, sizeof(cell), "%u, refused %u", n, refused);
	pfnmap_matrix_cell("vpfn_failures", call->name, what, cell);
	igt_assert_lte(failures, n);
	igt_assert_lte(least, refused);
}

static void restore_at_exit(int sig)
{
	(void)sig;
	vpfn_pages_limit_set(pages_limit);
	pfnmap_text_write("/sys/power/pm_test", "none");
}

int igt_main()
{
	igt_fixture() {
		igt_assert_eq(vpfn_pages_limit_get(&pages_limit), 0);
		igt_install_exit_handler(restore_at_exit);
		big = vpfn_require_device();
		small = vpfn_require_small_device();
		vpfn_failures_require();
		nth = open(VPFN_FAIL_NTH, O_RDWR | O_CLOEXEC);
		igt_assert_lte(0, nth);
	}

	igt_describe("Each allocation fails once: the call has no memory, or can do without.");
	igt_subtest_with_dynamic("allocations") {
		/* The slab allocator needs pages of its own when it likes. */
		vpfn_failures_count(VPFN_FAIL_SLAB, NULL);
		vpfn_failures_count(VPFN_FAIL_PAGES, "allocate_slab");
		for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
			igt_dynamic(calls[i].name)
				fail_each(&calls[i], "allocations", calls[i].refusal ?: -ENOMEM,
					  calls[i].failures, calls[i].allocations);
		}
		vpfn_failures_ignore(VPFN_FAIL_SLAB);
		vpfn_failures_ignore(VPFN_FAIL_PAGES);
	}

	igt_describe("Each copy of user memory fails once, as at an address without memory.");
	igt_subtest_with_dynamic("copies") {
		vpfn_failures_count(VPFN_FAIL_COPIES, NULL);
		for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
			igt_dynamic(calls[i].name)
				fail_each(&calls[i], "copies", -EFAULT, calls[i].copies,
					  calls[i].copies);
		}
		vpfn_failures_ignore(VPFN_FAIL_COPIES);
	}

	igt_fixture() {
		vpfn_failures_end();
		close(nth);
		close(small);
		close(big);
	}
}
