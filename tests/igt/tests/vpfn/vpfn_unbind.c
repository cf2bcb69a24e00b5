// SPDX-License-Identifier: MIT
/*
 * The driver is unbound, and its module removed, while processes use the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_failure.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_holdings.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_plug.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("The driver of vpfn is unbound while its device is in use.");

#define VRAM	DRM_VPFN_PLACEMENT_VRAM

/* Mappings of each leaf size */

/* A mapping of a client of its own, with something in it. */
struct client {
	int fd;
	struct vpfn_bo bo;
	void *map;
};

static void client_open(struct client *client, uint64_t size, uint64_t word)
{
	client->fd = vpfn_client_open_card(vpfn_big_name);
	igt_assert_eq(vpfn_bo_create(client->fd, size, &client->bo), 0);
	igt_assert_eq(vpfn_bo_map(client->fd, &client->bo, &client->map), 0);
	igt_assert_eq_u64(pfnmap_load(client->map), 0);
	pfnmap_store(client->map, word);
}

static void client_close(struct client *client)
{
	igt_assert_eq(munmap(client->map, client->bo.size), 0);
	close(client->fd);
}

static void test_mapped(enum vpfn_level level)
{
	uint64_t size = level == VPFN_PUD ? PFNMAP_1G : 2 * PFNMAP_2M;
	struct client mine, other, next;
	uint64_t word;

	igt_assert_eq(vpfn_limit_set(level), 0);
	client_open(&mine, size, 0x11);
	client_open(&other, PFNMAP_2M, 0x22);
	vpfn_assert_level(mine.fd, mine.map, level);

	igt_assert_eq(vpfn_card_unbind(vpfn_big_name), 0);
	vpfn_check_private_page(mine.map, 0x33);
	vpfn_check_private_page((char *)other.map + PFNMAP_PAGE, 0x44);
	igt_assert_eq_u64(pfnmap_load(mine.map), 0x33);
	igt_assert_eq(pfnmap_signal_of((char *)mine.map + size - PFNMAP_PAGE, PFNMAP_WRITE), 0);
	vpfn_check_refusals(mine.fd, &mine.bo);
	igt_assert_eq(pfnmap_proc_mem(mine.map, &word, sizeof(word), false), -EIO);

	/* A call that splits the mapping works on it as it is now. */
	igt_assert_eq(munmap((char *)mine.map + size / 2, PFNMAP_PAGE), 0);
	igt_assert_eq_u64(pfnmap_load(mine.map), 0x33);

	/* The device is bound again while old clients are still there. */
	igt_assert_eq(vpfn_card_bind(vpfn_big_name), 0);
	client_open(&next, size, 0x55);
	vpfn_assert_level(next.fd, next.map, level);
	igt_assert_eq_u64(pfnmap_load(mine.map), 0x33);
	igt_assert_eq_u64(pfnmap_load(next.map), 0x55);

	client_close(&next);
	client_close(&other);
	client_close(&mine);
}

/* Jobs and waiting tasks */

static void test_unbind_busy(void)
{
	struct vpfn_holdings holdings;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_holdings_open(&holdings);
	/* So long that not the time-out ends the job. */
	vpfn_timeout_set(VPFN_LONG_NS / 1000000);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	vpfn_holdings_start_job(&holdings);
	igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
	vpfn_timeout_restore();
	igt_assert(!vpfn_card_is_bound(vpfn_small_name));
	igt_assert_eq(vpfn_sync_file_status(holdings.begun, VPFN_LONG_NS), -ENODEV);
	vpfn_holdings_check_dead(&holdings);
	vpfn_holdings_close(&holdings);

	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

/* Unbinds the small card, which waits for calls that are under way. */
static int unbind_small(void *arg)
{
	(void)arg;
	return vpfn_card_unbind(vpfn_small_name);
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

	pfnmap_load(held->map);
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
	struct drm_vpfn_cmd fill = vpfn_cmd_fill(&held->bo, 0, PFNMAP_PAGE, 0);

	return vpfn_submit(held->fd, &fill, 1, 0, 0);
}

static int evict(void *arg)
{
	const struct held *held = arg;

	return vpfn_evict(held->fd);
}

/*
 * Tasks wait for a job that the engine will not be done with, directly or for the buffer that the
 * first of them has reserved. Unbind succeeds all the same, and ends the job.
 */
static void test_unbind_waited_for(int (*first)(void *held))
{
	int (* const runs[])(void *held) = { first, touch, debug, submit, evict };
	struct vpfn_thread threads[ARRAY_SIZE(runs)];
	struct held held = { .fd = vpfn_client_open_card(vpfn_small_name) };
	struct drm_vpfn_cmd fill;
	int ret;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_timeout_set(VPFN_LONG_NS / 1000000);
	igt_assert_eq(vpfn_bo_create_in(held.fd, PFNMAP_2M, VRAM, 0, &held.bo), 0);
	igt_assert_eq(vpfn_bo_map(held.fd, &held.bo, &held.map), 0);
	igt_assert_eq(vpfn_fill(held.fd, &held.bo, 0, PFNMAP_2M, 0xaa), 0);
	igt_assert_eq(vpfn_child_start(&held.target, sleep_for_ever, NULL), 0);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	fill = vpfn_cmd_fill(&held.bo, 0, PFNMAP_2M, 0xbb);
	igt_assert_eq(vpfn_submit(held.fd, &fill, 1, 0, 0), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++) {
		igt_assert_eq(vpfn_thread_start(&threads[i], runs[i], &held), 0);
		igt_assert_eq(vpfn_thread_settle(&threads[i], i ? NULL : VPFN_IN_FENCE_WAIT), 0);
	}

	igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
	vpfn_timeout_restore();
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++) {
		igt_assert_eq(vpfn_thread_join(&threads[i], &ret), 0);
		igt_info("the %u. task: %s\n", i + 1, strerror(-ret));
	}
	igt_assert_eq(vpfn_child_kill(&held.target), 0);
	vpfn_check_private_page(held.map, 0xcc);
	munmap(held.map, PFNMAP_2M);
	close(held.fd);

	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

static void test_unbind_touched(void)
{
	test_unbind_waited_for(touch);
}

static void test_unbind_debugged(void)
{
	test_unbind_waited_for(debug);
}

/* A job outlives its file while it waits for a fence: unbind keeps its scheduler until then. */
static void test_unbind_waited(void)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	int fd = vpfn_client_open_card(vpfn_small_name), ret, job;
	struct vpfn_thread thread;
	struct vpfn_gate gate;

	vpfn_require_gate(&gate);
	job = vpfn_start_sync_file(fd, nop, &gate);
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

	igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

/* Threads that go on */

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
	int err = vpfn_bo_create(fd, PFNMAP_PAGE, &bo);

	err = err ?: vpfn_fill(fd, &bo, 0, PFNMAP_PAGE, expected);
	/* Of one word, so that its checksum costs nothing. */
	err = err ?: vpfn_crc(fd, &bo, PFNMAP_PAGE - 4, 4, &crc);
	if (!err && crc != vpfn_crc32c(&expected, sizeof(expected)))
		err = -EBADMSG;
	if (!err)
		err = vpfn_bo_close(fd, &bo);
	return err;
}

static int map_round(int fd)
{
	struct vpfn_bo bo;
	int err = vpfn_bo_create(fd, 2 * PFNMAP_2M, &bo);
	void *map;

	err = err ?: vpfn_bo_map(fd, &bo, &map);
	if (err)
		return err;

	for (uint64_t i = 0; i < bo.size && !err; i += 64 * PFNMAP_PAGE) {
		pfnmap_store((char *)map + i, ~i);
		if (pfnmap_load((char *)map + i) != ~i)
			err = -EBADMSG;
	}
	munmap(map, bo.size);
	return err ?: vpfn_bo_close(fd, &bo);
}

/* After unbind, calls and jobs fail with ENODEV, and memory reads as zero. */
static bool may_be(int err, int fd)
{
	return err == -ENODEV || (err == -EBADMSG && is_dead(fd));
}

static void *work(void *arg)
{
	struct load *load = arg;

	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED) && !load->err) {
		int fd = vpfn_card_open(vpfn_small_name, O_RDWR), err = 0;

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

			igt_assert_eq(pfnmap_wait_until(reached, &goal), 0);
		}
		igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
		igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++) {
		__atomic_store_n(&loads[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(loads[i].thread, NULL);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++)
		igt_assert_eq(loads[i].err, 0);
	vpfn_check_works(vpfn_small_name);
}

/* The module */

static bool no_users(const void *arg)
{
	char count[16];

	(void)arg;
	return !pfnmap_text_read("/sys/module/vpfn/refcnt", count, sizeof(count)) && !atoi(count);
}

static void test_module(void)
{
	struct vpfn_bo bo;
	int fd, dmabuf;
	void *map;

	igt_require_f(!access("/sys/module/vpfn/refcnt", F_OK), "vpfn is no module\n");
	fd = vpfn_client_open_card(vpfn_big_name);
	igt_assert_neq(pfnmap_shell("rmmod vpfn 2>/dev/null"), 0);
	igt_assert_eq(vpfn_bo_create(fd, PFNMAP_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_export(fd, &bo, &dmabuf), 0);
	igt_assert_eq(pfnmap_map(dmabuf, 0, PFNMAP_2M, PROT_READ | PROT_WRITE, &map), 0);
	pfnmap_store(map, 1);

	/* File, dma-buf and mapping each keep the module. */
	close(fd);
	igt_assert_neq(pfnmap_shell("rmmod vpfn 2>/dev/null"), 0);
	close(dmabuf);
	igt_assert_neq(pfnmap_shell("rmmod vpfn 2>/dev/null"), 0);
	igt_assert_eq_u64(pfnmap_load(map), 1);
	munmap(map, PFNMAP_2M);
	igt_assert_eq(pfnmap_wait_until(no_users, NULL), 0);

	for (int i = 0; i < 3; i++) {
		igt_assert_eq(pfnmap_shell("rmmod vpfn"), 0);
		igt_assert(access("/sys/module/vpfn", F_OK));
		igt_assert_lte(vpfn_card_open(vpfn_big_name, O_RDWR), -1);
		igt_assert_eq(pfnmap_shell("modprobe vpfn"), 0);
		vpfn_check_works(vpfn_big_name);
		if (*vpfn_small_name)
			vpfn_check_works(vpfn_small_name);
	}
}

/* The module stays while an unbound device has users. */
static void test_module_after_unbind(void)
{
	struct vpfn_holdings holdings;

	igt_require_f(!access("/sys/module/vpfn/refcnt", F_OK), "vpfn is no module\n");
	vpfn_holdings_open(&holdings);
	igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
	igt_assert_neq(pfnmap_shell("rmmod vpfn 2>/dev/null"), 0);
	vpfn_holdings_check_dead(&holdings);
	vpfn_holdings_close(&holdings);
	igt_assert_eq(pfnmap_wait_until(no_users, NULL), 0);
	igt_assert_eq(pfnmap_shell("rmmod vpfn"), 0);
	igt_assert_eq(pfnmap_shell("modprobe vpfn"), 0);
	vpfn_check_works(vpfn_small_name);
}

/* Nobody can refuse it: without memory it ends as well, and what clients have is as dead. */
static void test_unbind_without_memory(void)
{
	int nth = open(VPFN_FAIL_NTH, O_RDWR | O_CLOEXEC);
	struct vpfn_holdings holdings;
	bool failed = true;
	unsigned int n;

	vpfn_failures_require();
	vpfn_failures_count(VPFN_FAIL_SLAB, NULL);
	vpfn_failures_count(VPFN_FAIL_PAGES, "allocate_slab");
	for (n = 1; failed; n++) {
		vpfn_holdings_open(&holdings);
		vpfn_holdings_start_job(&holdings);
		igt_assert(vpfn_failure_arm(nth, n));
		igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
		failed = vpfn_failure_disarm(nth);
		igt_assert(!vpfn_card_is_bound(vpfn_small_name));
		vpfn_holdings_check_job(&holdings);
		vpfn_holdings_check_dead(&holdings);
		vpfn_holdings_close(&holdings);
		igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	}
	vpfn_failures_end();
	close(nth);
	igt_info("%u allocations failed\n", n - 2);
	vpfn_check_works(vpfn_small_name);
}

static const struct vpfn_plug_test tests[] = {
	{ "unbind-busy", "The driver is unbound while the engine has a job it cannot end.",
	  test_unbind_busy },
	{ "unbind-touched", "The driver is unbound while a touch, and tasks behind it, wait.",
	  test_unbind_touched },
	{ "unbind-debugged", "The driver is unbound while a debugger, and tasks behind it, wait.",
	  test_unbind_debugged },
	{ "unbind-waited", "The driver is unbound while a job of a closed file waits.",
	  test_unbind_waited },
	{ "unbind-under-load", "The driver is unbound and bound while threads submit and map.",
	  test_unbind_under_load },
	{ "unbind-without-memory", "The driver is unbound, and each allocation of that fails once.",
	  test_unbind_without_memory },
	{ "module-after-unbind", "The module stays until the last user of a dead device goes.",
	  test_module_after_unbind },
};

static const struct vpfn_plug_test module_tests[] = {
	{ "module", "The module goes when its last user has gone, and comes back.", test_module },
};

int igt_main()
{
	igt_fixture()
		vpfn_plug_init();

	igt_describe("The driver is unbound under a mapping, and bound again.");
	igt_subtest_with_dynamic("mapped") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level)) {
				vpfn_bring_back();
				test_mapped(level);
			}
		}
	}

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), true);
	vpfn_plug_subtests(module_tests, ARRAY_SIZE(module_tests), false);
}
