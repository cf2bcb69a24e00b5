// SPDX-License-Identifier: MIT
/*
 * The device comes, sleeps and goes while processes use it: probe that fails at each step, unbind,
 * unplug, surprise removal, the module's end, function reset, suspend and runtime suspend.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_disk.h"
#include "vpfn_dmabuf.h"
#include "vpfn_gate.h"
#include "vpfn_host.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_pattern.h"
#include "vpfn_pressure.h"
#include "vpfn_task.h"
#include "vpfn_thread.h"
#include "vpfn_trace.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("The device comes, sleeps and goes, and what it leaves behind works.");

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM	DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE	DRM_VPFN_GEM_CREATE_CPU_ACCESS

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define SHORT_TIMEOUT_MS	500

#define INT_ENABLE	0x5c	/* a register of the device */
#define DEEP_SLEEP	"/sys/power/mem_sleep"
#define SLEEP		"/sys/power/state"
#define SLEEP_TEST	"/sys/power/pm_test"
#define SLEEP_TEST_TIME	"/sys/module/suspend/parameters/pm_test_delay"

static char big_name[VPFN_PCI_NAME], small_name[VPFN_PCI_NAME];

static int open_card(const char *name)
{
	int fd = vpfn_card_open(name, O_RDWR);

	igt_assert_lte(0, fd);
	return fd;
}

static void require_small(void)
{
	igt_require_f(*small_name, "no second device of the driver vpfn\n");
}

static uint32_t placement_of(int fd, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

/* The card does what a card is for, by CPU and by engine. */
static void check_works(const char *name)
{
	int fd = open_card(name);
	struct vpfn_bo bo;
	uint32_t crc;
	void *map;

	igt_assert_eq(vpfn_bo_create(fd, 2 * VPFN_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	igt_assert_eq_u64(vpfn_load(map), 0);
	memset(map, 0x5a, VPFN_PAGE);
	igt_assert_eq(vpfn_crc(fd, &bo, 0, VPFN_PAGE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(map, VPFN_PAGE));
	igt_assert_eq(vpfn_fill(fd, &bo, VPFN_2M, VPFN_2M, 0xa5a5a5a5), 0);
	igt_assert_eq_u64(vpfn_load((char *)map + VPFN_2M), 0xa5a5a5a5a5a5a5a5ull);
	igt_assert_eq_u64(vpfn_load((char *)map + VPFN_2M - 8), 0);
	munmap(map, bo.size);
	close(fd);
}

static uint32_t new_syncobj(int fd)
{
	uint32_t syncobj;

	igt_assert_eq(drmSyncobjCreate(fd, 0, &syncobj), 0);
	return syncobj;
}

/* The file of a job's fence: it can be asked when the device is no more. */
static int start(int fd, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate)
{
	uint32_t out = new_syncobj(fd), in = 0;
	int sync_file;

	if (gate)
		igt_assert_eq(vpfn_gate_syncobj(gate, fd, &in), 0);
	igt_assert_eq(vpfn_submit(fd, &cmd, 1, in, out), 0);
	igt_assert_eq(vpfn_sync_file_of(fd, out, &sync_file), 0);
	if (in)
		drmSyncobjDestroy(fd, in);
	drmSyncobjDestroy(fd, out);
	return sync_file;
}

static void make_gate(struct vpfn_gate *gate)
{
	int err = vpfn_gate_make(gate);

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
}

/* Plugging */

static void require_host(void)
{
	char answer[64];
	int err = vpfn_host_command(answer, sizeof(answer), "get " VPFN_HOST_SMALL " x-inject-gone");

	igt_require_f(err != -ENODEV, "no port vpfn.control: the machine's host does nothing\n");
	igt_assert_eq(err, 0);
}

static void plug_small(void)
{
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
}

static void bring_back(const char *name)
{
	char control[16];

	if (!*name)
		return;

	if (!vpfn_card_is_there(name)) {
		vpfn_text_write("/sys/bus/pci/rescan", "1");
		if (!vpfn_card_is_there(name))
			vpfn_host_plug(VPFN_HOST_SMALL);
	} else if (!vpfn_card_is_bound(name)) {
		vpfn_card_bind(name);
	}
	vpfn_card_wait_bound(name);
	if (!vpfn_card_get(name, "power/control", control, sizeof(control)) &&
	    strcmp(control, "on"))
		vpfn_card_set(name, "power/control", "on");
}

static void no_faults(void);

/* A test before this one may have failed: the answers do not matter. */
static void bring_all_back(void)
{
	if (access("/sys/module/vpfn", F_OK))
		vpfn_shell("modprobe vpfn");
	bring_back(big_name);
	bring_back(small_name);
	vpfn_timeout_restore();
	vpfn_limit_restore();
}

/* For the tests that follow, also if this one fails. */
static void put_back_at_exit(int sig)
{
	(void)sig;
	no_faults();
	vpfn_text_write(SLEEP_TEST, "none");
	bring_all_back();
}

/* A device under mappings of each size */

/* A mapping of a client of its own, with something in it. */
struct client {
	int fd;
	struct vpfn_bo bo;
	void *map;
};

static void client_open(struct client *client, uint64_t size, uint64_t word)
{
	client->fd = open_card(big_name);
	igt_assert_eq(vpfn_bo_create(client->fd, size, &client->bo), 0);
	igt_assert_eq(vpfn_bo_map(client->fd, &client->bo, &client->map), 0);
	igt_assert_eq_u64(vpfn_load(client->map), 0);
	vpfn_store(client->map, word);
}

static void client_close(struct client *client)
{
	igt_assert_eq(munmap(client->map, client->bo.size), 0);
	close(client->fd);
}

/* Neither a signal nor the device: memory that reads as zero, and that keeps what is written. */
static void check_memory_of_its_own(void *addr, uint64_t word)
{
	igt_assert_eq(vpfn_signal_of(addr, VPFN_READ), 0);
	igt_assert_eq_u64(vpfn_load(addr), 0);
	vpfn_store(addr, word);
	igt_assert_eq_u64(vpfn_load(addr), word);
}

/* Each call of the driver, and those of DRM. */
static void check_refusals(int fd, const struct vpfn_bo *bo)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(bo, 0, 4, 1);
	struct drm_vpfn_gem_mmap_offset get = { .handle = bo->handle };
	uint32_t placement, syncobj;
	struct vpfn_bo other;
	uint64_t size;
	void *map;
	int file;

	igt_assert_eq(vpfn_vram_size(fd, &size), -ENODEV);
	igt_assert_eq(vpfn_bo_create_in(fd, VPFN_PAGE, VRAM, 0, &other), -ENODEV);
	igt_assert_eq(vpfn_bo_create_in(fd, VPFN_PAGE, SYSTEM, 0, &other), -ENODEV);
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get), -ENODEV);
	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), -ENODEV);
	igt_assert_eq(vpfn_submit(fd, &cmd, 1, 0, 0), -ENODEV);
	igt_assert_eq(vpfn_bo_wait(fd, bo, 0, 0), -ENODEV);
	igt_assert_eq(vpfn_bo_export(fd, bo, &file), -ENODEV);
	igt_assert_eq(vpfn_bo_close(fd, bo), -ENODEV);
	igt_assert_eq(drmSyncobjCreate(fd, 0, &syncobj) ? errno : 0, ENODEV);
	igt_assert_eq(vpfn_bo_map(fd, bo, &map), -ENODEV);
}

static void test_mapped(enum vpfn_level level)
{
	uint64_t size = level == VPFN_PUD ? VPFN_1G : 2 * VPFN_2M;
	struct client mine, other, next;
	uint64_t word;

	igt_assert_eq(vpfn_limit_set(level), 0);
	client_open(&mine, size, 0x11);
	client_open(&other, VPFN_2M, 0x22);
	vpfn_assert_level(mine.fd, mine.map, level);

	igt_assert_eq(vpfn_card_unbind(big_name), 0);
	check_memory_of_its_own(mine.map, 0x33);
	check_memory_of_its_own((char *)other.map + VPFN_PAGE, 0x44);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);
	igt_assert_eq(vpfn_signal_of((char *)mine.map + size - VPFN_PAGE, VPFN_WRITE), 0);
	check_refusals(mine.fd, &mine.bo);
	igt_assert_eq(vpfn_proc_mem(mine.map, &word, sizeof(word), false), -EIO);

	/* A call that splits the mapping works on it as it is now. */
	igt_assert_eq(munmap((char *)mine.map + size / 2, VPFN_PAGE), 0);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);

	/* The device is back while the clients of its former life still live. */
	igt_assert_eq(vpfn_card_bind(big_name), 0);
	client_open(&next, size, 0x55);
	vpfn_assert_level(next.fd, next.map, level);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);
	igt_assert_eq_u64(vpfn_load(next.map), 0x55);

	client_close(&next);
	client_close(&other);
	client_close(&mine);
}

/* A device that goes with all that a process can have of it */

struct victim {
	int fd, dmabuf;
	struct vpfn_bo vram, system;
	char *vram_map, *system_map, *dmabuf_map, *untouched_map;
	struct vpfn_gate gate;
	int held;	/* a job that waits for the gate */
	int other_fd;
	int begun;	/* a job of the other file, which the engine has */
};

static void victim_make(struct victim *victim)
{
	int fd = open_card(small_name);
	void *map;

	victim->fd = fd;
	igt_assert_eq(vpfn_bo_create_in(fd, 2 * VPFN_2M, VRAM, VISIBLE, &victim->vram), 0);
	igt_assert_eq(vpfn_bo_create_in(fd, 2 * VPFN_2M, SYSTEM, 0, &victim->system), 0);
	igt_assert_eq(vpfn_bo_export(fd, &victim->vram, &victim->dmabuf), 0);

	igt_assert_eq(vpfn_bo_map(fd, &victim->vram, &map), 0);
	victim->vram_map = map;
	igt_assert_eq(vpfn_bo_map(fd, &victim->vram, &map), 0);
	victim->untouched_map = map;
	igt_assert_eq(vpfn_bo_map(fd, &victim->system, &map), 0);
	victim->system_map = map;
	igt_assert_eq(vpfn_map(victim->dmabuf, 0, victim->vram.size, PROT_READ | PROT_WRITE, &map),
		      0);
	victim->dmabuf_map = map;

	vpfn_store(victim->vram_map, 0x66);
	vpfn_store(victim->system_map, 0x77);
	igt_assert_eq_u64(vpfn_load(victim->dmabuf_map), 0x66);

	make_gate(&victim->gate);
	victim->held = start(fd, vpfn_cmd_fill(&victim->system, 0, VPFN_PAGE, 1), &victim->gate);
	victim->other_fd = -1;
	victim->begun = -1;
}

/* A job of another file, so that it need not wait for the one that is held. */
static void victim_begin(struct victim *victim)
{
	struct vpfn_bo bo;

	victim->other_fd = open_card(small_name);
	igt_assert_eq(vpfn_bo_create_in(victim->other_fd, VPFN_2M, SYSTEM, 0, &bo), 0);
	victim->begun = start(victim->other_fd, vpfn_cmd_fill(&bo, 0, VPFN_2M, 2), NULL);
}

/* The engine may have been done with it before the device went. */
static void check_begun(const struct victim *victim)
{
	int status = vpfn_sync_file_status(victim->begun, VPFN_LONG_NS);

	igt_assert_f(!status || status == -ENODEV, "status %d\n", status);
}

/* The device is gone: what is left is neither a signal nor another's memory. */
static void victim_check(struct victim *victim)
{
	void *map;

	/* What a job waits for comes first; then there is no device to run it. */
	igt_assert_eq(vpfn_gate_open(&victim->gate), 0);
	igt_assert_eq(vpfn_sync_file_status(victim->held, VPFN_LONG_NS), -ENODEV);
	check_memory_of_its_own(victim->vram_map, 0x88);
	check_memory_of_its_own(victim->system_map, 0x99);
	igt_assert_eq_u64(vpfn_load(victim->vram_map), 0x88);
	igt_assert_eq(vpfn_signal_of(victim->system_map + VPFN_2M, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_signal_of(victim->untouched_map + VPFN_2M, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_signal_of(victim->dmabuf_map + VPFN_2M, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_dmabuf_sync(victim->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);

	/* The dma-buf belongs to no file of the device: mapping it may work or not. */
	if (!vpfn_map(victim->dmabuf, 0, victim->vram.size, PROT_READ | PROT_WRITE, &map)) {
		igt_assert_eq(vpfn_signal_of(map, VPFN_READ), 0);
		munmap(map, victim->vram.size);
	}
	check_refusals(victim->fd, &victim->vram);
}

static void victim_bury(struct victim *victim)
{
	vpfn_gate_remove(&victim->gate);
	munmap(victim->vram_map, victim->vram.size);
	munmap(victim->untouched_map, victim->vram.size);
	close(victim->fd);
	/* These two outlive the file, the last one all else. */
	igt_assert_eq(vpfn_signal_of(victim->system_map + VPFN_PAGE, VPFN_WRITE), 0);
	munmap(victim->system_map, victim->system.size);
	close(victim->dmabuf);
	igt_assert_eq(vpfn_signal_of(victim->dmabuf_map + VPFN_PAGE, VPFN_WRITE), 0);
	munmap(victim->dmabuf_map, victim->vram.size);
	close(victim->held);
	if (victim->begun >= 0) {
		close(victim->other_fd);
		close(victim->begun);
	}
}

/* The engine has a job, and will not be done with it. */
static void test_unbind_busy(void)
{
	struct victim victim;

	require_host();
	victim_make(&victim);
	/* The end of the job is that of the device, not of the driver's patience. */
	vpfn_timeout_set(VPFN_LONG_NS / 1000000);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	victim_begin(&victim);
	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	vpfn_timeout_restore();
	igt_assert(!vpfn_card_is_bound(small_name));
	igt_assert_eq(vpfn_sync_file_status(victim.begun, VPFN_LONG_NS), -ENODEV);
	victim_check(&victim);
	victim_bury(&victim);

	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_bind(small_name), 0);
	check_works(small_name);
}

/* Unbinds the small card, which waits for calls that are under way. */
static int unbind_small(void *arg)
{
	(void)arg;
	return vpfn_card_unbind(small_name);
}

/* A buffer that the CPU does not reach, and a job that writes it on an engine that hangs. */
struct held {
	int fd;
	struct vpfn_bo bo;
	void *map;
	/* Has the mapping, too: a debugger of this process would hold a lock that threads need. */
	struct vpfn_child target;
};

static int sleep_for_ever(void *arg)
{
	(void)arg;
	while (pause())
		;
	return 0;
}

static int touch(void *arg)
{
	const struct held *held = arg;

	vpfn_load(held->map);
	return 0;
}

static int debug(void *arg)
{
	const struct held *held = arg;
	char path[32];
	uint64_t word;
	int mem, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", held->target.pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return -errno;
	if (pread(mem, &word, sizeof(word), (uintptr_t)held->map) < 0)
		err = -errno;
	close(mem);
	return err;
}

static int submit(void *arg)
{
	const struct held *held = arg;
	struct drm_vpfn_cmd fill = vpfn_cmd_fill(&held->bo, 0, VPFN_PAGE, 0);

	return vpfn_submit(held->fd, &fill, 1, 0, 0);
}

static int evict(void *arg)
{
	const struct held *held = arg;

	return vpfn_evict(held->fd);
}

/*
 * Tasks wait for a job that the engine will not be done with, directly or for the buffer that the
 * first of them has reserved. The card goes nevertheless, and with it the job.
 */
static void test_unbind_waited_for(int (*first)(void *held))
{
	int (* const runs[])(void *held) = { first, touch, debug, submit, evict };
	struct vpfn_thread threads[ARRAY_SIZE(runs)];
	struct held held = { .fd = open_card(small_name) };
	struct drm_vpfn_cmd fill;
	int ret;

	require_host();
	vpfn_timeout_set(VPFN_LONG_NS / 1000000);
	igt_assert_eq(vpfn_bo_create_in(held.fd, VPFN_2M, VRAM, 0, &held.bo), 0);
	igt_assert_eq(vpfn_bo_map(held.fd, &held.bo, &held.map), 0);
	igt_assert_eq(vpfn_fill(held.fd, &held.bo, 0, VPFN_2M, 0xaa), 0);
	igt_assert_eq(vpfn_child_start(&held.target, sleep_for_ever, NULL), 0);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	fill = vpfn_cmd_fill(&held.bo, 0, VPFN_2M, 0xbb);
	igt_assert_eq(vpfn_submit(held.fd, &fill, 1, 0, 0), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++) {
		igt_assert_eq(vpfn_thread_start(&threads[i], runs[i], &held), 0);
		igt_assert_eq(vpfn_thread_settle(&threads[i], i ? NULL : VPFN_IN_FENCE_WAIT), 0);
	}

	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	vpfn_timeout_restore();
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++) {
		igt_assert_eq(vpfn_thread_join(&threads[i], &ret), 0);
		igt_info("the %u. task: %s\n", i + 1, strerror(-ret));
	}
	igt_assert_eq(vpfn_child_kill(&held.target), 0);
	check_memory_of_its_own(held.map, 0xcc);
	munmap(held.map, VPFN_2M);
	close(held.fd);

	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_bind(small_name), 0);
	check_works(small_name);
}

static void test_unbind_touched(void)
{
	test_unbind_waited_for(touch);
}

static void test_unbind_debugged(void)
{
	test_unbind_waited_for(debug);
}

/*
 * A job outlives its file while it waits for others. It belongs to a scheduler that must be there
 * when the wait is over, though no other client has the device any more.
 */
static void test_unbind_waited(void)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	int fd = open_card(small_name), ret, job;
	struct vpfn_thread thread;
	struct vpfn_gate gate;

	make_gate(&gate);
	job = start(fd, nop, &gate);
	close(fd);
	igt_assert_eq(vpfn_thread_start(&thread, unbind_small, NULL), 0);
	igt_assert_eq(vpfn_thread_settle(&thread, "vpfn_"), 0);
	igt_assert_eq(vpfn_sync_file_status(job, 0), -EBUSY);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(job, VPFN_LONG_NS), -ESRCH);
	igt_assert_eq(vpfn_thread_join(&thread, &ret), 0);
	igt_assert_eq(ret, 0);
	close(job);
	vpfn_gate_remove(&gate);

	igt_assert_eq(vpfn_card_bind(small_name), 0);
	check_works(small_name);
}

static void test_remove(void)
{
	struct victim victim;

	victim_make(&victim);
	victim_begin(&victim);
	igt_assert_eq(vpfn_card_set(small_name, "remove", "1"), 0);
	igt_assert(!vpfn_card_is_there(small_name));
	check_begun(&victim);
	victim_check(&victim);

	igt_assert_eq(vpfn_text_write("/sys/bus/pci/rescan", "1"), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
	check_works(small_name);
	victim_bury(&victim);
	check_works(small_name);
}

static void test_unplug(void)
{
	struct victim victim;

	require_host();
	victim_make(&victim);
	victim_begin(&victim);
	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(small_name), 0);
	check_begun(&victim);
	victim_check(&victim);
	check_works(big_name);

	plug_small();
	check_works(small_name);
	victim_bury(&victim);
	check_works(small_name);
}

static void test_surprise(void)
{
	struct victim victim;

	require_host();
	victim_make(&victim);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
	vpfn_timeout_set(SHORT_TIMEOUT_MS);
	victim_begin(&victim);
	vpfn_timeout_restore();

	/* The driver has not noticed yet; a touch of the memory gets what the bus gives. */
	igt_assert_eq(vpfn_signal_of(victim.vram_map, VPFN_READ), 0);
	igt_assert_eq(vpfn_signal_of(victim.untouched_map, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_signal_of(victim.system_map, VPFN_WRITE), 0);
	igt_assert_eq(vpfn_sync_file_status(victim.begun, VPFN_LONG_NS), -EIO);

	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(small_name), 0);
	victim_check(&victim);
	check_works(big_name);
	victim_bury(&victim);

	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
	check_works(small_name);
}

/* Gone under the driver's feet while it is unbound, by sysfs alone. */
static void test_surprise_unbind(void)
{
	struct victim victim;

	require_host();
	victim_make(&victim);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	victim_check(&victim);
	victim_bury(&victim);

	/* Nothing answers: nothing binds. */
	igt_assert_neq(vpfn_card_bind(small_name), 0);
	igt_assert(!vpfn_card_is_bound(small_name));

	/* It is back, with its BARs disabled: the bus must be asked again. */
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_set(small_name, "remove", "1"), 0);
	igt_assert_eq(vpfn_text_write("/sys/bus/pci/rescan", "1"), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
	check_works(small_name);
}

/* Unbind and bind while others are at work */

struct load {
	int (*round)(int fd);
	pthread_t thread;
	bool stop;
	unsigned int rounds;
	int err;
};

static bool is_dead(int fd)
{
	uint64_t size;

	return vpfn_vram_size(fd, &size) == -ENODEV;
}

static int submit_round(int fd)
{
	uint32_t crc, expected = 0x7e57c0de;
	struct vpfn_bo bo;
	int err = vpfn_bo_create(fd, VPFN_PAGE, &bo);

	err = err ?: vpfn_fill(fd, &bo, 0, VPFN_PAGE, expected);
	/* Of one word, so that its checksum costs nothing. */
	err = err ?: vpfn_crc(fd, &bo, VPFN_PAGE - 4, 4, &crc);
	if (!err && crc != vpfn_crc32c(&expected, sizeof(expected)))
		err = -EBADMSG;
	if (!err)
		err = vpfn_bo_close(fd, &bo);
	return err;
}

static int map_round(int fd)
{
	struct vpfn_bo bo;
	int err = vpfn_bo_create(fd, 2 * VPFN_2M, &bo);
	void *map;

	err = err ?: vpfn_bo_map(fd, &bo, &map);
	if (err)
		return err;

	for (uint64_t i = 0; i < bo.size && !err; i += 64 * VPFN_PAGE) {
		vpfn_store((char *)map + i, ~i);
		if (vpfn_load((char *)map + i) != ~i)
			err = -EBADMSG;
	}
	munmap(map, bo.size);
	return err ?: vpfn_bo_close(fd, &bo);
}

/* A card that has gone answers ENODEV, its jobs too; its memory may be no longer there. */
static bool may_be(int err, int fd)
{
	return err == -ENODEV || (err == -EBADMSG && is_dead(fd));
}

static void *work(void *arg)
{
	struct load *load = arg;

	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED) && !load->err) {
		int fd = vpfn_card_open(small_name, O_RDWR), err = 0;

		while (fd >= 0 && !err && !__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
			err = load->round(fd);
			if (!err)
				__atomic_fetch_add(&load->rounds, 1, __ATOMIC_RELAXED);
		}
		if (err && !may_be(err, fd))
			load->err = err;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

struct goal {
	const struct load *load;
	unsigned int rounds;
};

static bool reached(const void *arg)
{
	const struct goal *goal = arg;

	return __atomic_load_n(&goal->load->rounds, __ATOMIC_RELAXED) >= goal->rounds ||
	       __atomic_load_n(&goal->load->err, __ATOMIC_RELAXED);
}

static void test_unbind_under_load(void)
{
	struct load loads[] = {
		{ .round = submit_round }, { .round = submit_round },
		{ .round = map_round }, { .round = map_round },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++)
		igt_assert_eq(pthread_create(&loads[i].thread, NULL, work, &loads[i]), 0);

	for (int times = 0; times < 8; times++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++) {
			struct goal goal = { &loads[i], loads[i].rounds + 2 };

			igt_assert_eq(vpfn_wait_until(reached, &goal), 0);
		}
		igt_assert_eq(vpfn_card_unbind(small_name), 0);
		igt_assert_eq(vpfn_card_bind(small_name), 0);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++) {
		__atomic_store_n(&loads[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(loads[i].thread, NULL);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++)
		igt_assert_eq(loads[i].err, 0);
	check_works(small_name);
}

/* The module */

static bool no_users(const void *arg)
{
	char count[16];

	(void)arg;
	return !vpfn_text_read("/sys/module/vpfn/refcnt", count, sizeof(count)) && !atoi(count);
}

static void test_module(void)
{
	struct vpfn_bo bo;
	int fd, dmabuf;
	void *map;

	igt_require_f(!access("/sys/module/vpfn/refcnt", F_OK), "vpfn is no module\n");
	fd = open_card(big_name);
	igt_assert_neq(vpfn_shell("rmmod vpfn 2>/dev/null"), 0);
	igt_assert_eq(vpfn_bo_create(fd, VPFN_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_export(fd, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_map(dmabuf, 0, VPFN_2M, PROT_READ | PROT_WRITE, &map), 0);
	vpfn_store(map, 1);

	/* The last one that needs the code counts: file, dma-buf, mapping. */
	close(fd);
	igt_assert_neq(vpfn_shell("rmmod vpfn 2>/dev/null"), 0);
	close(dmabuf);
	igt_assert_neq(vpfn_shell("rmmod vpfn 2>/dev/null"), 0);
	igt_assert_eq_u64(vpfn_load(map), 1);
	munmap(map, VPFN_2M);
	igt_assert_eq(vpfn_wait_until(no_users, NULL), 0);

	for (int i = 0; i < 3; i++) {
		igt_assert_eq(vpfn_shell("rmmod vpfn"), 0);
		igt_assert(access("/sys/module/vpfn", F_OK));
		igt_assert_lte(vpfn_card_open(big_name, O_RDWR), -1);
		igt_assert_eq(vpfn_shell("modprobe vpfn"), 0);
		check_works(big_name);
		if (*small_name)
			check_works(small_name);
	}
}

/* A module that goes while a dead device still has users. */
static void test_module_after_unbind(void)
{
	struct victim victim;

	igt_require_f(!access("/sys/module/vpfn/refcnt", F_OK), "vpfn is no module\n");
	victim_make(&victim);
	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	igt_assert_neq(vpfn_shell("rmmod vpfn 2>/dev/null"), 0);
	victim_check(&victim);
	victim_bury(&victim);
	igt_assert_eq(vpfn_wait_until(no_users, NULL), 0);
	igt_assert_eq(vpfn_shell("rmmod vpfn"), 0);
	igt_assert_eq(vpfn_shell("modprobe vpfn"), 0);
	check_works(small_name);
}

/* Function level reset, as an administrator does it */

static uint32_t *map_registers(const char *name)
{
	char path[PATH_MAX];
	void *map;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq(vpfn_map(fd, 0, VPFN_PAGE, PROT_READ | PROT_WRITE, &map), 0);
	close(fd);
	return map;
}

static void test_reset_unbound(void)
{
	uint32_t *registers, *enable;
	char methods[64];

	igt_assert_eq(vpfn_card_get(small_name, "reset_method", methods, sizeof(methods)), 0);
	igt_assert(strstr(methods, "flr"));

	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	igt_assert_eq(vpfn_card_set(small_name, "enable", "1"), 0);
	registers = map_registers(small_name);
	enable = registers + INT_ENABLE / sizeof(*registers);
	__atomic_store_n(enable, 3, __ATOMIC_RELAXED);
	igt_assert_eq_u64(__atomic_load_n(enable, __ATOMIC_RELAXED), 3);
	igt_assert_eq(vpfn_card_set(small_name, "reset", "1"), 0);
	igt_assert_eq_u64(__atomic_load_n(enable, __ATOMIC_RELAXED), 0);
	__atomic_store_n(enable, 3, __ATOMIC_RELAXED);
	munmap(registers, VPFN_PAGE);
	igt_assert_eq(vpfn_card_set(small_name, "enable", "0"), 0);

	/* What is left in the registers does not matter to the driver. */
	igt_assert_eq(vpfn_card_bind(small_name), 0);
	check_works(small_name);
}

/* Probe that fails */

#define FAULTS		"/sys/kernel/debug/"
#define EACH_FAULT	"/proc/thread-self/fail-nth"
#define MAX_PROBERS	256

static const char * const fault_kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

static int set_fault(const char *kind, const char *attribute, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "%s/%s", kind, attribute);
	return vpfn_text_write(path, value);
}

/* Addresses in the kernel's code */
struct range {
	uint64_t start, end;
};

static bool next_symbol(FILE *symbols, uint64_t *addr, char name[128], bool *in_module)
{
	char line[512];

	if (!fgets(line, sizeof(line), symbols))
		return false;
	*in_module = strstr(line, "[vpfn]");
	return sscanf(line, "%" SCNx64 " %*c %127s", addr, name) == 2;
}

/* The code of the module, and that of one function of the kernel. */
static void find_code(struct range *module, struct range *function, const char *function_name)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char name[128];
	uint64_t addr;
	bool inside;

	*module = *function = (struct range) { .start = UINT64_MAX };
	igt_assert(symbols);
	while (next_symbol(symbols, &addr, name, &inside)) {
		if (inside && addr < module->start)
			module->start = addr;
		if (inside && addr > module->end)
			module->end = addr;
		/* The kernel's own are sorted. */
		if (!strcmp(name, function_name))
			function->start = addr;
		else if (addr > function->start && !function->end)
			function->end = addr;
	}
	fclose(symbols);
	module->end += VPFN_PAGE;
	igt_require_f(module->end > module->start, "vpfn is no module\n");
	igt_assert(function->end > function->start);
}

static void set_fault_range(const char *kind, const char *which, const struct range *range)
{
	char attribute[32], text[32];

	snprintf(attribute, sizeof(attribute), "%s-start", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->start);
	igt_assert_eq(set_fault(kind, attribute, text), 0);
	snprintf(attribute, sizeof(attribute), "%s-end", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->end);
	igt_assert_eq(set_fault(kind, attribute, text), 0);
}

/* Failures of slab caches count for those caches alone that the test names. */
#define CACHES	"/sys/kernel/slab/"

static void set_caches(const char *value)
{
	glob_t caches;

	if (glob(CACHES "*/failslab", 0, NULL, &caches))
		return;
	for (size_t i = 0; i < caches.gl_pathc; i++)
		vpfn_text_write(caches.gl_pathv[i], value);
	globfree(&caches);
}

/* Failures can be asked for; none counts so far. */
static void make_faults(void)
{
	const struct range nothing = { 0, 0 };

	igt_require_f(!set_fault("failslab", "ignore-gfp-wait", "N") &&
		      !set_fault("fail_page_alloc", "ignore-gfp-wait", "N"),
		      "the kernel lacks CONFIG_FAILSLAB or CONFIG_FAIL_PAGE_ALLOC\n");
	igt_assert_eq(set_fault("fail_page_alloc", "min-order", "0"), 0);
	igt_assert_eq(set_fault("fail_page_alloc", "ignore-gfp-highmem", "N"), 0);
	set_caches("1");
	igt_assert_eq(vpfn_text_write(CACHES "proc_dir_entry/failslab", "0"), 0);
	igt_assert_eq(set_fault("failslab", "cache-filter", "Y"), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		/* The third need not be there. */
		if (set_fault(fault_kinds[i], "verbose", "0") == -ENOENT)
			continue;
		igt_assert_eq(set_fault(fault_kinds[i], "stacktrace-depth", "32"), 0);
		set_fault_range(fault_kinds[i], "require", &nothing);
	}
}

/*
 * The allocations of one kind count that something in the module asks for: a failure is asked for
 * by its number, which must mean the same allocation at each probe. So objects come first, and then
 * pages, but for those that the slab allocator needs for itself.
 *
 * Two objects do not count, because the kernel itself does not survive their failure:
 * drm_minor_alloc_release() takes the error of drm_sysfs_minor_alloc() for a device, and
 * unregister_irq_proc() complains about files in /proc for which there was no memory.
 */
static const struct allocations {
	const char *kind, *not_below;
	unsigned int needed;
} allocations[] = {
	{ "failslab", "drm_sysfs_minor_alloc", 50 },
	{ "fail_page_alloc", "allocate_slab", 1 },
};

static void count_faults(const struct allocations *of, bool on)
{
	struct range module, function, nothing = { 0, 0 };

	find_code(&module, &function, of->not_below);
	set_fault_range(of->kind, "require", on ? &module : &nothing);
	set_fault_range(of->kind, "reject", &function);
}

/* As the kernel has it at its start. */
static void no_faults(void)
{
	static const struct {
		const char *name, *value;
	} attributes[] = {
		{ "verbose", "2" },
		{ "require-start", "0" },
		{ "require-end", "0xffffffffffffffff" },
		{ "reject-start", "0" },
		{ "reject-end", "0" },
		{ "cache-filter", "N" },
		{ "ignore-gfp-wait", "Y" },
		{ "ignore-gfp-highmem", "Y" },
		{ "min-order", "1" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(attributes); j++)
			set_fault(fault_kinds[i], attributes[j].name, attributes[j].value);
	}
	set_caches("0");
}

/* What a card that is bound adds to the machine, counted in the kernel's own lists. */
struct footprint {
	int regions, mappings, interrupts, nodes, users;
};

static int count_lines(const char *path, const char *word)
{
	FILE *file = fopen(path, "r");
	char line[1024];
	int count = 0;

	igt_assert(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, word) ? 1 : 0;
	fclose(file);
	return count;
}

static struct footprint take_footprint(void)
{
	struct footprint footprint = {
		.regions = count_lines("/proc/iomem", "vpfn"),
		.mappings = count_lines("/proc/vmallocinfo", "ioremap"),
		.interrupts = count_lines("/proc/interrupts", "vpfn"),
	};
	char text[32];

	for (int minor = 0; minor < 256; minor++) {
		snprintf(text, sizeof(text), "/sys/dev/char/226:%d", minor);
		footprint.nodes += !access(text, F_OK);
	}
	igt_assert_eq(vpfn_text_read("/sys/module/vpfn/refcnt", text, sizeof(text)), 0);
	footprint.users = atoi(text);
	return footprint;
}

static void check_footprint(const struct footprint *expected, unsigned int n)
{
	struct footprint now = take_footprint();

	igt_assert_f(now.regions == expected->regions && now.mappings == expected->mappings &&
		     now.interrupts == expected->interrupts && now.nodes == expected->nodes &&
		     now.users == expected->users,
		     "failure %u leaves %d regions, %d mappings, %d interrupts, %d nodes, %d users\n",
		     n, now.regions - expected->regions, now.mappings - expected->mappings,
		     now.interrupts - expected->interrupts, now.nodes - expected->nodes,
		     now.users - expected->users);
}

/*
 * Tasks that may probe: this thread, or a worker of the kernel's where the device belongs to a NUMA
 * node. The n-th fault of each is asked for; one of them comes to that.
 */
static unsigned int find_probers(int probers[MAX_PROBERS])
{
	unsigned int count = 0;
	char path[280], comm[32];
	glob_t tasks;

	probers[count++] = open(EACH_FAULT, O_RDWR | O_CLOEXEC);
	if (probers[0] < 0)
		return 0;
	if (!vpfn_card_get(small_name, "numa_node", comm, sizeof(comm)) && !strcmp(comm, "-1"))
		return count;
	if (glob("/proc/[0-9]*", 0, NULL, &tasks))
		return 0;
	for (size_t i = 0; i < tasks.gl_pathc && count < MAX_PROBERS; i++) {
		snprintf(path, sizeof(path), "%s/comm", tasks.gl_pathv[i]);
		if (vpfn_text_read(path, comm, sizeof(comm)) || strncmp(comm, "kworker/", 8))
			continue;
		snprintf(path, sizeof(path), "%s/fail-nth", tasks.gl_pathv[i]);
		probers[count] = open(path, O_RDWR | O_CLOEXEC);
		if (probers[count] >= 0)
			count++;
	}
	globfree(&tasks);
	return count;
}

/* Has the n-th allocation from now on fail; whether it came to that. */
static int bind_with_failure(unsigned int n, bool *failed)
{
	int probers[MAX_PROBERS], err;
	unsigned int count = find_probers(probers);
	char text[16];

	igt_assert_lte(1, count);
	snprintf(text, sizeof(text), "%u", n);
	/* A worker that has gone meanwhile takes nothing, and probes nothing. */
	for (unsigned int i = 0; i < count; i++)
		igt_assert(pwrite(probers[i], text, strlen(text), 0) > 0 || i);
	err = vpfn_card_bind(small_name);

	*failed = false;
	for (unsigned int i = 0; i < count; i++) {
		memset(text, 0, sizeof(text));
		if (pread(probers[i], text, sizeof(text) - 1, 0) > 0)
			*failed |= !atoi(text);
		igt_assert(pwrite(probers[i], "0", 1, 0) > 0 || i);
		close(probers[i]);
	}
	return err;
}

/* The card is not bound. Binds it, and has each of these allocations fail once before. */
static void fail_each(const struct allocations *of, const struct footprint *unbound)
{
	unsigned int n, refused = 0;
	bool failed = true;

	count_faults(of, true);
	for (n = 1; failed; n++) {
		int err = bind_with_failure(n, &failed);

		if (err) {
			igt_assert_f(failed, "bind fails with %d without a failure\n", err);
			refused++;
		} else if (failed) {
			/* An allocation that the card can do without. */
			igt_assert_eq(vpfn_card_unbind(small_name), 0);
		}
		if (failed) {
			igt_assert(!vpfn_card_is_bound(small_name));
			check_footprint(unbound, n);
		}
	}
	count_faults(of, false);
	igt_info("%s: %u allocations, of which %u are needed\n", of->kind, n - 2, refused);
	igt_assert_lte(of->needed, refused);
}

static void test_probe_fails(void)
{
	struct footprint unbound, bound;

	igt_require_f(!access(EACH_FAULT, W_OK), "the kernel lacks CONFIG_FAULT_INJECTION\n");
	make_faults();
	bound = take_footprint();
	for (unsigned int i = 0; i < ARRAY_SIZE(allocations); i++) {
		igt_assert_eq(vpfn_card_unbind(small_name), 0);
		unbound = take_footprint();
		igt_assert(bound.regions > unbound.regions && bound.mappings > unbound.mappings &&
			   bound.nodes > unbound.nodes);
		fail_each(&allocations[i], &unbound);
		check_footprint(&bound, 0);
	}
	no_faults();
	check_works(small_name);
}

/* Sleep: what is in the buffers is there afterwards */

#define SURVIVOR_SIZE	(2 * VPFN_2M)

struct survivor {
	const char *name;
	uint32_t placement, flags;
	uint64_t seed;
	int fd;
	struct vpfn_bo bo;
	void *map;
};

static const void *bytes_of(uint64_t seed)
{
	static uint64_t bytes[SURVIVOR_SIZE / sizeof(uint64_t)];
	struct vpfn_pattern pattern = { .seed = seed, .size = SURVIVOR_SIZE };

	vpfn_pattern_bytes(&pattern, bytes, sizeof(bytes));
	return bytes;
}

/* What the CPU cannot see comes into it by the engine, from a buffer that can be seen. */
static void survivor_make(struct survivor *survivor)
{
	struct vpfn_bo source;
	void *map;

	survivor->fd = open_card(survivor->name);
	igt_assert_eq(vpfn_bo_create_in(survivor->fd, SURVIVOR_SIZE, survivor->placement,
					survivor->flags, &survivor->bo), 0);
	igt_assert_eq(vpfn_bo_create_in(survivor->fd, SURVIVOR_SIZE, SYSTEM, 0, &source), 0);
	igt_assert_eq(vpfn_bo_map(survivor->fd, &source, &map), 0);
	memcpy(map, bytes_of(survivor->seed), SURVIVOR_SIZE);
	munmap(map, SURVIVOR_SIZE);
	igt_assert_eq(vpfn_copy(survivor->fd, &survivor->bo, 0, &source, 0, SURVIVOR_SIZE), 0);
	igt_assert_eq(vpfn_bo_close(survivor->fd, &source), 0);

	igt_assert_eq(vpfn_bo_map(survivor->fd, &survivor->bo, &map), 0);
	survivor->map = map;
	if (survivor->flags & VISIBLE)
		igt_assert_eq(memcmp(map, bytes_of(survivor->seed), SURVIVOR_SIZE), 0);
	if (survivor->placement & VRAM)
		igt_assert_eq(placement_of(survivor->fd, &survivor->bo), VRAM);
}

static void survivor_check_by_cpu(const struct survivor *survivor)
{
	igt_assert_eq(memcmp(survivor->map, bytes_of(survivor->seed), SURVIVOR_SIZE), 0);
}

static void survivor_check_by_engine(const struct survivor *survivor)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(survivor->fd, &survivor->bo, 0, SURVIVOR_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(bytes_of(survivor->seed), SURVIVOR_SIZE));
}

/* Back where the engine needs it, the buffer is mapped as before. */
static void survivor_check_leaf(const struct survivor *survivor)
{
	if (survivor->placement != VRAM || !(survivor->flags & VISIBLE))
		return;
	igt_assert_eq(placement_of(survivor->fd, &survivor->bo), VRAM);
	vpfn_load(survivor->map);
	vpfn_assert_level(survivor->fd, survivor->map, VPFN_PMD);
}

static void survivor_drop(struct survivor *survivor)
{
	munmap(survivor->map, SURVIVOR_SIZE);
	close(survivor->fd);
}

static void require_sleep(void)
{
	char text[64];

	igt_require_f(!vpfn_text_read(SLEEP, text, sizeof(text)) && strstr(text, "mem"),
		      "the machine does not know how to sleep\n");
}

/* A wakeup ordered beforehand: by the host if it takes orders, else by the clock. */
static void order_wakeup(void)
{
	char text[32];
	int err = vpfn_host_command(NULL, 0, "wakeup 2000");

	if (err == -ENODEV) {
		snprintf(text, sizeof(text), "%lld", (long long)time(NULL) + 5);
		vpfn_text_write("/sys/class/rtc/rtc0/wakealarm", "0");
		err = vpfn_text_write("/sys/class/rtc/rtc0/wakealarm", text);
	}
	igt_assert_eq(err, 0);
}

/* Everything but the sleep itself: devices go to sleep and come back. */
static int sleep_devices(void)
{
	char delay[16] = "5";
	int err;

	igt_require_f(!vpfn_text_write(SLEEP_TEST, "devices"), "the kernel lacks CONFIG_PM_DEBUG\n");
	vpfn_text_read(SLEEP_TEST_TIME, delay, sizeof(delay));
	vpfn_text_write(SLEEP_TEST_TIME, "0");
	err = vpfn_text_write(SLEEP, "mem");
	vpfn_text_write(SLEEP_TEST_TIME, delay);
	igt_assert_eq(vpfn_text_write(SLEEP_TEST, "none"), 0);
	return err;
}

/*
 * SeaBIOS does not put the power management registers of QEMU's q35 machine back in place
 * after a sleep: the machine would neither sleep again nor switch off.
 */
#define ICH9_LPC	"/sys/bus/pci/devices/0000:00:1f.0/config"
#define ICH9_LPC_ID	0x29188086
#define ICH9_LPC_PMBASE	0x40

static int sleep_and_mend(void)
{
	int bridge = open(ICH9_LPC, O_RDWR | O_CLOEXEC), err;
	uint64_t before, after;
	uint32_t id = 0;

	if (bridge >= 0 && pread(bridge, &id, sizeof(id), 0) == sizeof(id) && id == ICH9_LPC_ID)
		igt_assert_eq(pread(bridge, &before, sizeof(before), ICH9_LPC_PMBASE),
			      sizeof(before));
	err = vpfn_text_write(SLEEP, "mem");
	if (id == ICH9_LPC_ID) {
		igt_assert_eq(pread(bridge, &after, sizeof(after), ICH9_LPC_PMBASE),
			      sizeof(after));
		if (after != before)
			igt_assert_eq(pwrite(bridge, &before, sizeof(before), ICH9_LPC_PMBASE),
				      sizeof(before));
	}
	close(bridge);
	return err;
}

static int sleep_deeply(void)
{
	igt_require_f(!vpfn_text_write(DEEP_SLEEP, "deep"), "the machine has no deep sleep\n");
	order_wakeup();
	return sleep_and_mend();
}

/* A chain of work that lasts longer than it takes to fall asleep. */
#define CHAIN	32

static void chain_start(int fd, const struct vpfn_bo bo[2], int sync_files[CHAIN])
{
	for (int i = 0; i < CHAIN; i++) {
		struct drm_vpfn_cmd cmds[] = {
			vpfn_cmd_fill(&bo[0], 0, bo[0].size, 0x01010101 * (i + 1)),
			vpfn_cmd_copy(&bo[1], 0, &bo[0], 0, bo[0].size),
		};
		uint32_t out = new_syncobj(fd);

		igt_assert_eq(vpfn_submit(fd, cmds, ARRAY_SIZE(cmds), 0, out), 0);
		igt_assert_eq(vpfn_sync_file_of(fd, out, &sync_files[i]), 0);
		drmSyncobjDestroy(fd, out);
	}
}

static void chain_check(int fd, const struct vpfn_bo *bo, int sync_files[CHAIN])
{
	uint32_t word = 0x01010101 * CHAIN;
	void *map;

	for (int i = 0; i < CHAIN; i++) {
		igt_assert_eq(vpfn_sync_file_status(sync_files[i], VPFN_LONG_NS), 0);
		close(sync_files[i]);
	}
	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	for (uint64_t i = 0; i < bo->size; i += VPFN_PAGE)
		igt_assert_eq_u64(vpfn_load((char *)map + i), (uint64_t)word << 32 | word);
	munmap(map, bo->size);
}

static void test_sleep(int (*fall_asleep)(void))
{
	struct survivor survivors[] = {
		{ big_name, VRAM, VISIBLE, 1, .fd = -1 },
		{ big_name, SYSTEM, 0, 2, .fd = -1 },
		{ small_name, VRAM, VISIBLE, 3, .fd = -1 },
		{ small_name, VRAM, 0, 4, .fd = -1 },
		{ small_name, VRAM | SYSTEM, VISIBLE, 5, .fd = -1 },
	};
	unsigned int count = *small_name ? ARRAY_SIZE(survivors) : 2;
	struct vpfn_bo work_bo[2];
	int sync_files[CHAIN];
	int fd;

	require_sleep();
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < count; i++)
		survivor_make(&survivors[i]);
	fd = open_card(big_name);
	for (int i = 0; i < 2; i++)
		igt_assert_eq(vpfn_bo_create(fd, 16 * VPFN_2M, &work_bo[i]), 0);

	for (int times = 0; times < 2; times++) {
		chain_start(fd, work_bo, sync_files);
		igt_assert_eq(fall_asleep(), 0);
		for (unsigned int i = 0; i < count; i++)
			survivor_check_by_cpu(&survivors[i]);
		chain_check(fd, &work_bo[1], sync_files);
		for (unsigned int i = 0; i < count; i++) {
			survivor_check_by_engine(&survivors[i]);
			survivor_check_leaf(&survivors[i]);
			survivor_check_by_cpu(&survivors[i]);
		}
	}

	for (unsigned int i = 0; i < count; i++)
		survivor_drop(&survivors[i]);
	close(fd);
	check_works(big_name);
}

/* A function reset of a device that is at work: what it has begun it ends, and nothing is lost. */
static void test_reset_bound(void)
{
	struct survivor survivors[] = {
		{ small_name, VRAM, VISIBLE, 21, .fd = -1 },
		{ small_name, VRAM, 0, 22, .fd = -1 },
	};
	struct vpfn_bo work_bo[2];
	int sync_files[CHAIN];
	int fd;

	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++)
		survivor_make(&survivors[i]);
	fd = open_card(small_name);
	for (int i = 0; i < 2; i++)
		igt_assert_eq(vpfn_bo_create(fd, 8 * VPFN_2M, &work_bo[i]), 0);

	for (int times = 0; times < 3; times++) {
		chain_start(fd, work_bo, sync_files);
		igt_assert_eq(vpfn_card_set(small_name, "reset", "1"), 0);
		survivor_check_by_cpu(&survivors[0]);
		chain_check(fd, &work_bo[1], sync_files);
		for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++) {
			survivor_check_by_engine(&survivors[i]);
			survivor_check_leaf(&survivors[i]);
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++)
		survivor_drop(&survivors[i]);
	close(fd);
	check_works(small_name);
}

/* A job that hangs ends by the time-out. */
static void test_reset_hung(void)
{
	struct victim victim;
	bool hangs;

	require_host();
	victim_make(&victim);
	vpfn_timeout_set(SHORT_TIMEOUT_MS);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	victim_begin(&victim);
	igt_assert_eq(vpfn_card_set(small_name, "reset", "1"), 0);
	vpfn_timeout_restore();
	igt_assert_eq(vpfn_host_hangs(VPFN_HOST_SMALL, &hangs), 0);
	igt_assert(!hangs);
	igt_assert_eq(vpfn_sync_file_status(victim.begun, VPFN_LONG_NS), -ETIME);
	check_works(small_name);

	igt_assert_eq_u64(vpfn_load(victim.vram_map), 0x66);
	igt_assert_eq_u64(vpfn_load(victim.system_map), 0x77);
	igt_assert_eq(vpfn_gate_open(&victim.gate), 0);
	igt_assert_eq(vpfn_sync_file_status(victim.held, VPFN_LONG_NS), 0);
	igt_assert_eq_u64(vpfn_load(victim.system_map), 0x100000001ull);
	victim_bury(&victim);
}

/* More in device memory than the machine has of its own. */
struct hoard {
	int fd;
	struct vpfn_bo bo[8];
	void *map[8];
	unsigned int count;
};

static uint64_t machine_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * VPFN_PAGE;
}

static struct vpfn_pattern hoard_pattern(unsigned int i)
{
	return (struct vpfn_pattern) { .seed = 1000 + i, .size = VPFN_1G };
}

static void hoard_make(struct hoard *hoard)
{
	uint64_t vram;

	hoard->fd = open_card(big_name);
	hoard->count = machine_memory() / VPFN_1G + 1;
	igt_assert_eq(vpfn_vram_size(hoard->fd, &vram), 0);
	igt_require_f(hoard->count < vram / VPFN_1G && hoard->count <= ARRAY_SIZE(hoard->bo),
		      "the machine has as much memory as the device\n");

	for (unsigned int i = 0; i < hoard->count; i++) {
		struct vpfn_pattern pattern = hoard_pattern(i);

		igt_assert_eq(vpfn_bo_create(hoard->fd, VPFN_1G, &hoard->bo[i]), 0);
		igt_assert_eq(vpfn_bo_map(hoard->fd, &hoard->bo[i], &hoard->map[i]), 0);
		vpfn_pattern_fill(&pattern, hoard->map[i], 0, VPFN_1G);
	}
}

static void hoard_check(const struct hoard *hoard)
{
	for (unsigned int i = 0; i < hoard->count; i++) {
		struct vpfn_pattern pattern = hoard_pattern(i);

		igt_assert_eq_u64(vpfn_pattern_check(&pattern, hoard->map[i], 0, VPFN_1G), VPFN_1G);
	}
}

static void hoard_drop(struct hoard *hoard)
{
	for (unsigned int i = 0; i < hoard->count; i++)
		munmap(hoard->map[i], VPFN_1G);
	close(hoard->fd);
}

/* A device that cannot save everything does not go to sleep. */
static void test_sleep_refused(void)
{
	struct hoard hoard;
	int err;

	require_sleep();
	igt_assert_eq(vpfn_swap_off(), 0);
	hoard_make(&hoard);
	err = sleep_devices();
	igt_assert_f(err == -ENOMEM || err == -ENOSPC || err == -EBUSY, "sleep says %d\n", err);
	hoard_check(&hoard);
	hoard_drop(&hoard);
	igt_assert_eq(vpfn_swap_on(), 0);

	check_works(big_name);
	igt_assert_eq(sleep_devices(), 0);
	check_works(big_name);
}

/* Runtime suspend */

static void require_runtime_pm(const char *name)
{
	char status[32];

	igt_require_f(!vpfn_card_get(name, "power/runtime_status", status, sizeof(status)) &&
		      strcmp(status, "unsupported"), "the kernel lacks CONFIG_PM\n");
}

static void check_status(const char *name, const char *expected)
{
	char status[32];

	igt_assert_eq(vpfn_card_get(name, "power/runtime_status", status, sizeof(status)), 0);
	igt_assert_f(!strcmp(status, expected), "%s is %s, not %s\n", name, status, expected);
}

static bool is_suspended(const void *name)
{
	char status[32];

	return !vpfn_card_get(name, "power/runtime_status", status, sizeof(status)) &&
	       !strcmp(status, "suspended");
}

/* Without a delay the write of it suspends the device, if that is possible now. */
static void ask_to_suspend(const char *name)
{
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "0"), 0);
}

/* As soon as nothing needs it, and then not before it is needed again. */
static void suspend_card(const char *name)
{
	/* With a delay the PM core tries again after -EBUSY. */
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "50"), 0);
	igt_assert_eq(vpfn_card_set(name, "power/control", "auto"), 0);
	igt_assert_eq(vpfn_wait_until(is_suspended, name), 0);
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "100000"), 0);
	check_status(name, "suspended");
}

static void wake_card(const char *name)
{
	igt_assert_eq(vpfn_card_set(name, "power/control", "on"), 0);
	check_status(name, "active");
}

static void test_runtime(const char *name)
{
	struct survivor survivors[] = {
		{ name, VRAM, VISIBLE, 11, .fd = -1 },
		{ name, VRAM, 0, 12, .fd = -1 },
		{ name, SYSTEM, 0, 13, .fd = -1 },
	};
	uint64_t *word;
	uint32_t crc;

	require_runtime_pm(name);
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++)
		survivor_make(&survivors[i]);
	check_status(name, "active");

	suspend_card(name);
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++)
		igt_assert_eq(placement_of(survivors[i].fd, &survivors[i].bo), SYSTEM);
	check_status(name, "suspended");

	/* A touch works, whether or not it wakes the device; what is written is not lost. */
	survivor_check_by_cpu(&survivors[0]);
	word = survivors[0].map;
	vpfn_store(word, ~vpfn_load(word));

	/* Work wakes it. */
	igt_assert_eq(vpfn_crc(survivors[0].fd, &survivors[0].bo, 0, VPFN_PAGE, &crc), 0);
	check_status(name, "active");
	igt_assert_eq_u64(crc, vpfn_crc32c(word, VPFN_PAGE));
	vpfn_store(word, ~vpfn_load(word));
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++) {
		survivor_check_by_engine(&survivors[i]);
		survivor_check_leaf(&survivors[i]);
		survivor_check_by_cpu(&survivors[i]);
	}

	/* And again, with buffers that have been away before. */
	suspend_card(name);
	wake_card(name);
	for (unsigned int i = 0; i < ARRAY_SIZE(survivors); i++) {
		survivor_check_by_cpu(&survivors[i]);
		survivor_check_by_engine(&survivors[i]);
		survivor_check_leaf(&survivors[i]);
		survivor_drop(&survivors[i]);
	}
	check_works(name);
}

/* Whatever comes to a device that sleeps finds it, wakes it, or leaves it asleep; nothing fails. */
static void test_runtime_visitors(const char *name)
{
	struct survivor survivor = { name, VRAM, VISIBLE, 14, .fd = -1 };
	struct vpfn_bo imported;
	int fd, dmabuf;
	void *map;

	require_runtime_pm(name);
	survivor_make(&survivor);

	suspend_card(name);
	fd = open_card(name);
	close(fd);
	suspend_card(name);
	check_works(name);
	suspend_card(name);
	igt_assert_eq(vpfn_evict(survivor.fd), 0);
	survivor_check_by_cpu(&survivor);

	suspend_card(name);
	igt_assert_eq(vpfn_bo_export(survivor.fd, &survivor.bo, &dmabuf), 0);
	igt_assert_eq(vpfn_map(dmabuf, 0, SURVIVOR_SIZE, PROT_READ, &map), 0);
	igt_assert_eq(memcmp(map, bytes_of(14), SURVIVOR_SIZE), 0);
	munmap(map, SURVIVOR_SIZE);
	if (*small_name && strcmp(name, small_name)) {
		/* The other device reads what this one has put away. */
		fd = open_card(small_name);
		igt_assert_eq(vpfn_dmabuf_import(fd, dmabuf, SURVIVOR_SIZE, &imported), 0);
		suspend_card(name);
		survivor_check_by_engine(&(struct survivor) {
			.fd = fd, .bo = imported, .seed = 14
		});
		close(fd);
	}
	close(dmabuf);

	suspend_card(name);
	survivor_drop(&survivor);
	check_works(name);

	/* Bound again, it is awake. */
	suspend_card(name);
	igt_assert_eq(vpfn_card_unbind(name), 0);
	igt_assert_eq(vpfn_card_bind(name), 0);
	check_works(name);
	wake_card(name);
}

/* A job that has not begun keeps the device awake, or has it woken. */
static void test_runtime_job(const char *name)
{
	int fd = open_card(name), job;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	void *map;

	require_runtime_pm(name);
	make_gate(&gate);
	igt_assert_eq(vpfn_bo_create(fd, VPFN_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	job = start(fd, vpfn_cmd_fill(&bo, 0, VPFN_2M, 0x70707070), &gate);
	igt_assert_eq(vpfn_card_set(name, "power/control", "auto"), 0);
	ask_to_suspend(name);
	igt_assert_eq(vpfn_sync_file_status(job, 0), -EBUSY);

	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "50"), 0);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(job, VPFN_LONG_NS), 0);
	for (uint64_t i = 0; i < VPFN_2M; i += VPFN_PAGE)
		igt_assert_eq_u64(vpfn_load((char *)map + i), 0x7070707070707070ull);
	igt_assert_eq(vpfn_wait_until(is_suspended, name), 0);
	igt_assert_eq_u64(vpfn_load(map), 0x7070707070707070ull);

	wake_card(name);
	vpfn_gate_remove(&gate);
	close(job);
	munmap(map, VPFN_2M);
	close(fd);
}

struct refusals {
	const char *name;
	unsigned int count;
};

/* "rpm_suspend+0x...:NAME ret=ERRNO" */
static void count_refusal(const char *line, void *arg)
{
	struct refusals *refusals = arg;

	if (!strncmp(line, "rpm_suspend", strlen("rpm_suspend")) &&
	    strstr(line, refusals->name) && vpfn_trace_number(line, "ret=") == -EBUSY)
		refusals->count++;
}

/* The driver was asked, and has refused. */
static bool was_refused(const void *name)
{
	struct refusals refusals = { .name = name };

	vpfn_trace_lines("rpm_return_int", count_refusal, &refusals);
	return refusals.count;
}

/* A device whose memory fits nowhere stays awake. */
static void test_runtime_refused(void)
{
	struct hoard hoard;

	require_runtime_pm(big_name);
	hoard_make(&hoard);
	vpfn_trace_begin("rpm/rpm_return_int");
	igt_assert_eq(vpfn_card_set(big_name, "power/control", "auto"), 0);
	for (int i = 0; i < 2; i++) {
		vpfn_trace_clear();
		ask_to_suspend(big_name);
		igt_assert_eq(vpfn_wait_until(was_refused, big_name), 0);
		igt_assert(!is_suspended(big_name));
	}
	hoard_check(&hoard);
	hoard_drop(&hoard);
	suspend_card(big_name);
	wake_card(big_name);
	check_works(big_name);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} small_tests[] = {
	{ "probe-fails", "Each allocation of probe fails once: nothing is left behind.",
	  test_probe_fails },
	{ "unbind-busy", "The driver is unbound while the engine has a job it cannot end.",
	  test_unbind_busy },
	{ "unbind-touched", "The driver is unbound while a touch, and others behind it, wait for a job.",
	  test_unbind_touched },
	{ "unbind-debugged", "The driver is unbound while a debugger, and others behind it, wait for a job.",
	  test_unbind_debugged },
	{ "unbind-waited", "The driver is unbound while a job of a closed file waits.",
	  test_unbind_waited },
	{ "unbind-under-load", "The driver is unbound and bound while threads submit and map.",
	  test_unbind_under_load },
	{ "remove", "The device is removed by sysfs, with mappings, jobs and dma-bufs alive.",
	  test_remove },
	{ "unplug", "The device is unplugged, with mappings, jobs and dma-bufs alive.",
	  test_unplug },
	{ "surprise", "The device stops to answer, and is unplugged later.", test_surprise },
	{ "surprise-unbind", "The device stops to answer, and its driver is unbound.",
	  test_surprise_unbind },
	{ "module-after-unbind", "The module stays until the last user of a dead device goes.",
	  test_module_after_unbind },
	{ "reset-unbound", "A function reset while no driver is bound.",
	  test_reset_unbound },
	{ "reset", "A function reset while the engine has work.", test_reset_bound },
	{ "reset-hung", "A function reset while the engine hangs.", test_reset_hung },
};

static void test_sleep_devices(void)
{
	test_sleep(sleep_devices);
}

static void test_sleep_deeply(void)
{
	test_sleep(sleep_deeply);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "module", "The module goes when its last user has gone, and comes back.", test_module },
	{ "sleep-devices", "Mappings, contents and queued jobs survive the sleep of the devices.",
	  test_sleep_devices },
	{ "sleep", "Mappings, contents and queued jobs survive suspend to RAM.",
	  test_sleep_deeply },
	{ "sleep-refused",
	  "Without room for what is in device memory there is no sleep, and no loss.",
	  test_sleep_refused },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(const char *name);
} runtime_tests[] = {
	{ "runtime", "A device that sleeps has put its memory away; a touch and work find it.",
	  test_runtime },
	{ "runtime-visitors", "Files, evictions, dma-bufs and unbind come to a device that sleeps.",
	  test_runtime_visitors },
	{ "runtime-job", "A job that waits runs, whether the device slept or not.",
	  test_runtime_job },
};

int igt_main()
{
	igt_fixture() {
		int fd = vpfn_require_device();

		igt_assert_eq(vpfn_card_name(fd, big_name), 0);
		close(fd);
		fd = vpfn_open_small(O_RDWR);
		if (fd >= 0) {
			igt_assert_eq(vpfn_card_name(fd, small_name), 0);
			close(fd);
		}
		igt_install_exit_handler(put_back_at_exit);
	}

	igt_describe("The driver is unbound under a mapping, and bound again.");
	igt_subtest_with_dynamic("mapped") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level)) {
				bring_all_back();
				test_mapped(level);
			}
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(small_tests); i++) {
		igt_describe(small_tests[i].describe);
		igt_subtest(small_tests[i].name) {
			require_small();
			bring_all_back();
			small_tests[i].run();
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			bring_all_back();
			tests[i].run();
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(runtime_tests); i++) {
		igt_describe(runtime_tests[i].describe);
		igt_subtest_with_dynamic(runtime_tests[i].name) {
			igt_dynamic("big") {
				bring_all_back();
				runtime_tests[i].run(big_name);
			}
			igt_dynamic("small") {
				require_small();
				bring_all_back();
				runtime_tests[i].run(small_name);
			}
		}
	}

	igt_describe("Without room for what is in device memory the device stays awake.");
	igt_subtest("runtime-refused") {
		bring_all_back();
		test_runtime_refused();
	}
}
