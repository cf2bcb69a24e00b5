// SPDX-License-Identifier: MIT
/*
 * In which order do jobs run, by syncobjs and by the buffers that they share, and when does a task
 * wait for them?
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("The order of jobs of vpfn, explicit and implicit, and waiting for them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * PFNMAP_PAGE)

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
}

static void import(int file, const struct vpfn_mem *other, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_import(file, other, mem), 0);
}

static int submit_syncs(int file, struct drm_vpfn_cmd cmd,
			const struct drm_vpfn_sync *in, unsigned int num_in,
			const struct drm_vpfn_sync *out, unsigned int num_out)
{
	struct drm_vpfn_submit arg = {
		.cmds = (uintptr_t)&cmd,
		.in_syncs = (uintptr_t)in,
		.out_syncs = (uintptr_t)out,
		.num_cmds = 1,
		.num_in_syncs = num_in,
		.num_out_syncs = num_out,
	};

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_SUBMIT, &arg);
}

static bool is_done(int file, uint32_t sync)
{
	return !drmSyncobjWait(file, &sync, 1, 0, 0, NULL);
}

/* Syncobjs */

static void test_in(void)
{
	int file = vpfn_client_open();
	struct vpfn_mem first, second;
	struct vpfn_gate gate;
	uint32_t out, later;

	create(file, VRAM, 1, &first);
	create(file, SYSTEM, 2, &second);
	vpfn_require_gate(&gate);
	out = vpfn_start(file, vpfn_cmd_fill(&first.bo, 0, SIZE, 0x11), &gate);
	later = vpfn_start(file, vpfn_cmd_fill(&second.bo, 0, SIZE, 0x22), NULL);

	/* The second job has nothing to wait for but the first. */
	vpfn_assert_waits(file, out);
	vpfn_assert_waits(file, later);
	vpfn_assert_mem(&first);
	vpfn_assert_mem(&second);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(file, out);
	vpfn_mem_fill(&first, 0, SIZE, 0x11);
	vpfn_assert_mem(&first);
	vpfn_finish(file, later);
	vpfn_mem_fill(&second, 0, SIZE, 0x22);
	vpfn_assert_mem(&second);
	vpfn_gate_remove(&gate);
	close(file);
}

/* As many syncobjs as a job may have: it runs after the last of their fences. */
static void test_in_all(void)
{
	struct drm_vpfn_sync in[DRM_VPFN_SUBMIT_SYNCS_MAX] = {}, out = {};
	static const unsigned int order[] = { 1, 3, 0, 2 };
	struct vpfn_gate gates[ARRAY_SIZE(order)];
	int file = vpfn_client_open();
	struct vpfn_mem mem;

	create(file, VRAM, 3, &mem);
	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++)
		vpfn_require_gate(&gates[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(in); i++)
		in[i].handle =
			vpfn_gate_new_syncobj(&gates[i * ARRAY_SIZE(gates) / ARRAY_SIZE(in)], file);
	out.handle = vpfn_new_syncobj(file);
	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x33),
				   in, ARRAY_SIZE(in), &out, 1), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
		vpfn_assert_waits(file, out.handle);
		vpfn_assert_mem(&mem);
		igt_assert_eq(vpfn_gate_open(&gates[order[i]]), 0);
	}
	vpfn_finish(file, out.handle);
	vpfn_mem_fill(&mem, 0, SIZE, 0x33);
	vpfn_assert_mem(&mem);
	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++)
		vpfn_gate_remove(&gates[i]);
	close(file);
}

/* A gate that goes without having opened signals an error. */
static void test_in_failed(void)
{
	int file = vpfn_client_open();
	struct vpfn_mem mem, other;
	struct vpfn_gate gate;
	uint32_t out, later;

	create(file, VRAM, 4, &mem);
	create(file, VRAM, 5, &other);
	vpfn_require_gate(&gate);
	out = vpfn_start(file, vpfn_mem_fill(&mem, 0, SIZE, 0x44), &gate);
	later = vpfn_start(file, vpfn_mem_fill(&other, 0, SIZE, 0x55), NULL);
	vpfn_assert_waits(file, out);

	/* An error opens the gate as well. */
	vpfn_gate_remove(&gate);
	vpfn_finish(file, out);
	vpfn_finish(file, later);
	vpfn_assert_mem(&mem);
	vpfn_assert_mem(&other);
	close(file);
}

/* Each of the syncs of one job: binary ones and points of timelines. */
static void test_out(void)
{
	int file = vpfn_client_open();
	struct drm_vpfn_sync out[4] = {
		{ .handle = vpfn_new_syncobj(file) },
		{ .handle = vpfn_new_syncobj(file), .point = 3 },
		{ .handle = vpfn_new_syncobj(file), .point = 1ull << 40 },
		{ .handle = vpfn_new_syncobj(file) },
	};
	struct drm_vpfn_sync in = {};
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	uint64_t point;

	create(file, VRAM, 6, &mem);
	vpfn_require_gate(&gate);
	in.handle = vpfn_gate_new_syncobj(&gate, file);
	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x77), &in, 1,
				   out, ARRAY_SIZE(out)), 0);
	vpfn_let_engine_pass();
	for (unsigned int i = 0; i < ARRAY_SIZE(out); i++) {
		igt_assert(!is_done(file, out[i].handle));
		igt_assert_eq(drmSyncobjQuery(file, &out[i].handle, &point, 1), 0);
		igt_assert_eq_u64(point, 0);
	}
	vpfn_assert_mem(&mem);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_mem_fill(&mem, 0, SIZE, 0x77);
	for (unsigned int i = 0; i < ARRAY_SIZE(out); i++) {
		uint32_t sync = out[i].handle;

		if (!out[i].point) {
			vpfn_finish(file, sync);
			vpfn_assert_mem(&mem);
			continue;
		}
		igt_assert_eq(vpfn_point_status(file, sync, out[i].point, VPFN_LONG_NS), 0);
		vpfn_assert_mem(&mem);
		igt_assert_eq(drmSyncobjQuery(file, &out[i].handle, &point, 1), 0);
		igt_assert_eq_u64(point, out[i].point);
	}
	vpfn_gate_remove(&gate);
	close(file);
}

static uint32_t share_sync(int from, uint32_t sync, int to)
{
	uint32_t handle;
	int file;

	igt_assert_eq(drmSyncobjHandleToFD(from, sync, &file), 0);
	igt_assert_eq(drmSyncobjFDToHandle(to, file, &handle), 0);
	close(file);
	return handle;
}

/* Jobs of three files that have nothing in common but a timeline. */
static void test_timeline(void)
{
	struct vpfn_mem mem[3];
	uint32_t timeline[ARRAY_SIZE(mem)];
	struct vpfn_gate gate;
	uint64_t point;

	vpfn_require_gate(&gate);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		int file = vpfn_client_open();
		struct drm_vpfn_sync in = {}, out = { .point = i + 1 };

		create(file, VRAM, i, &mem[i]);
		timeline[i] = i ? share_sync(mem[0].fd, timeline[0], file) : vpfn_new_syncobj(file);
		in.handle = i ? timeline[i] : vpfn_gate_new_syncobj(&gate, file);
		in.point = i;
		out.handle = timeline[i];
		igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem[i].bo, 0, SIZE, i), &in, 1,
					   &out, 1), 0);
	}

	vpfn_let_engine_pass();
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++)
		vpfn_assert_mem(&mem[i]);
	igt_assert_eq(drmSyncobjQuery(mem[0].fd, &timeline[0], &point, 1), 0);
	igt_assert_eq_u64(point, 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_point_status(mem[0].fd, timeline[0], 3, VPFN_LONG_NS), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		vpfn_mem_fill(&mem[i], 0, SIZE, i);
		vpfn_assert_mem(&mem[i]);
		close(mem[i].fd);
	}
	vpfn_gate_remove(&gate);
}

/* Waiting */

/* Not drmIoctl(), which repeats the call after a signal. */
static int wait_once(void *arg)
{
	const struct vpfn_mem *mem = arg;
	struct drm_vpfn_wait wait = {
		.handle = mem->bo.handle, .timeout_ns = vpfn_deadline(VPFN_LONG_NS),
	};

	return ioctl(mem->fd, DRM_IOCTL_VPFN_WAIT, &wait) ? -errno : 0;
}

struct point {
	int file;
	uint32_t syncobj;
	uint64_t point;
};

static int wait_for_point(void *arg)
{
	const struct point *point = arg;

	return vpfn_point_status(point->file, point->syncobj, point->point, VPFN_LONG_NS);
}

/* A thread waits for a point without a submission. */
static void test_wait_before_submit(void)
{
	int file = vpfn_client_open();
	struct drm_vpfn_sync out = { .handle = vpfn_new_syncobj(file), .point = 5 }, in = {};
	struct point point = { file, out.handle, out.point };
	struct vpfn_thread waiter;
	struct vpfn_gate gate;
	struct vpfn_mem mem;

	create(file, VRAM, 7, &mem);
	vpfn_require_gate(&gate);
	in.handle = vpfn_gate_new_syncobj(&gate, file);

	/* A job cannot wait for a point without a fence, a thread can. */
	igt_assert_eq(submit_syncs(file, nop, &out, 1, NULL, 0), -EINVAL);
	vpfn_worker_start(&waiter, wait_for_point, &point);
	vpfn_worker_settle(&waiter);
	igt_assert(!vpfn_thread_is_done(&waiter));

	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x88), &in, 1, &out, 1),
		      0);
	vpfn_let_engine_pass();
	igt_assert(!vpfn_thread_is_done(&waiter));

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_worker_finish(&waiter), 0);
	vpfn_mem_fill(&mem, 0, SIZE, 0x88);
	vpfn_assert_mem(&mem);
	vpfn_gate_remove(&gate);
	close(file);
}

static int poll_bo(const struct vpfn_mem *mem, uint32_t flags)
{
	return vpfn_bo_wait(mem->fd, &mem->bo, flags, 0);
}

static void test_wait_time(void)
{
	int64_t moment = 300 * 1000 * 1000, before;
	int file = vpfn_client_open();
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	uint32_t out;

	create(file, VRAM, 8, &mem);
	igt_assert_eq(poll_bo(&mem, 0), 0);
	vpfn_require_gate(&gate);
	out = vpfn_start(file, vpfn_mem_fill(&mem, 0, SIZE, 0x99), &gate);

	for (uint32_t flags = 0; flags <= DRM_VPFN_WAIT_WRITERS; flags++) {
		struct drm_vpfn_wait past = {
			.handle = mem.bo.handle, .flags = flags, .timeout_ns = INT64_MIN,
		};

		igt_assert_eq(poll_bo(&mem, flags), -ETIME);
		igt_assert_eq(vpfn_ioctl(file, DRM_IOCTL_VPFN_WAIT, &past), -ETIME);
		past.timeout_ns = -1;
		igt_assert_eq(vpfn_ioctl(file, DRM_IOCTL_VPFN_WAIT, &past), -ETIME);
		past.timeout_ns = vpfn_deadline(-1000);
		igt_assert_eq(vpfn_ioctl(file, DRM_IOCTL_VPFN_WAIT, &past), -ETIME);

		/*
		 * Not at once. The kernel counts in jiffies, which may lag behind the clock on a
		 * busy machine; how long after its time the wait ends depends on the machine, too.
		 */
		before = vpfn_deadline(0);
		igt_assert_eq(vpfn_bo_wait(file, &mem.bo, flags, moment), -ETIME);
		igt_assert(vpfn_deadline(0) - before >= moment / 2);
	}

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_bo_wait(file, &mem.bo, 0, INT64_MAX), 0);
	vpfn_assert_mem(&mem);
	vpfn_finish(file, out);
	igt_assert_eq(poll_bo(&mem, 0), 0);
	vpfn_gate_remove(&gate);
	close(file);
}

static int signals;

static void on_signal(int sig)
{
	(void)sig;
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static bool was_signalled(const void *arg)
{
	(void)arg;
	return __atomic_load_n(&signals, __ATOMIC_RELAXED);
}

static void test_wait_signal(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	int file = vpfn_client_open();
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	struct vpfn_thread waiter;

	create(file, VRAM, 9, &mem);
	vpfn_require_gate(&gate);
	vpfn_start(file, vpfn_mem_fill(&mem, 0, SIZE, 0xaa), &gate);

	/* A signal ends it ... */
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	vpfn_worker_start(&waiter, wait_once, &mem);
	vpfn_worker_settle(&waiter);
	igt_assert(!vpfn_thread_is_done(&waiter));
	pthread_kill(waiter.thread, SIGUSR1);
	igt_assert_eq(vpfn_worker_finish(&waiter), -EINTR);
	igt_assert_eq(signals, 1);

	/* ... or the kernel goes on with it, until the job is done. */
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	vpfn_worker_start(&waiter, wait_once, &mem);
	vpfn_worker_settle(&waiter);
	pthread_kill(waiter.thread, SIGUSR1);
	igt_assert_eq(pfnmap_wait_until(was_signalled, NULL), 0);
	vpfn_worker_settle(&waiter);
	igt_assert(!vpfn_thread_is_done(&waiter));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_worker_finish(&waiter), 0);
	vpfn_assert_mem(&mem);

	signal(SIGUSR1, SIG_DFL);
	vpfn_gate_remove(&gate);
	close(file);
}

/* Implicit order: two files, one buffer, no syncobj */

struct pair {
	int a, b;
	struct vpfn_gate gate;
	struct vpfn_mem xa, xb;		/* the buffer, for each of the files */
	struct vpfn_mem ya, yb;		/* each file's own */
};

static void pair_open(struct pair *pair, uint32_t placement)
{
	pair->a = vpfn_client_open();
	pair->b = vpfn_client_open();
	vpfn_require_gate(&pair->gate);
	create(pair->a, placement, 0xa, &pair->xa);
	import(pair->b, &pair->xa, &pair->xb);
	create(pair->a, SYSTEM, 0xaa, &pair->ya);
	create(pair->b, VRAM, 0xbb, &pair->yb);
}

static void pair_close(struct pair *pair)
{
	vpfn_gate_remove(&pair->gate);
	vpfn_mem_destroy(&pair->xa);
	vpfn_mem_destroy(&pair->xb);
	vpfn_mem_destroy(&pair->ya);
	vpfn_mem_destroy(&pair->yb);
	close(pair->a);
	close(pair->b);
}

static void test_write_read(struct pair *pair)
{
	uint32_t written, read;

	written = vpfn_start(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0x12), &pair->gate);
	read = vpfn_start(pair->b, vpfn_cmd_copy(&pair->yb.bo, 0, &pair->xb.bo, 0, SIZE), NULL);
	vpfn_assert_waits(pair->a, written);
	vpfn_assert_waits(pair->b, read);
	vpfn_assert_mem(&pair->yb);
	igt_assert_eq(poll_bo(&pair->xb, DRM_VPFN_WAIT_WRITERS), -ETIME);
	igt_assert_eq(poll_bo(&pair->yb, DRM_VPFN_WAIT_WRITERS), -ETIME);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->b, read);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x12);
	vpfn_mem_copy(&pair->yb, 0, &pair->xb, 0, SIZE);
	vpfn_assert_mem(&pair->yb);
	vpfn_assert_mem(&pair->xb);
}

static void test_read_write(struct pair *pair)
{
	uint32_t written, read;

	read = vpfn_start(pair->a, vpfn_cmd_copy(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
			  &pair->gate);
	written = vpfn_start(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE, 0x34), NULL);
	vpfn_assert_waits(pair->a, read);
	vpfn_assert_waits(pair->b, written);
	vpfn_assert_mem(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->b, written);
	vpfn_finish(pair->a, read);
	vpfn_mem_copy(&pair->ya, 0, &pair->xa, 0, SIZE);
	vpfn_assert_mem(&pair->ya);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x34);
	vpfn_assert_mem(&pair->xb);
}

static void test_write_write(struct pair *pair)
{
	uint32_t first, second;

	first = vpfn_start(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0x56), &pair->gate);
	second = vpfn_start(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE / 2, 0x78), NULL);
	vpfn_assert_waits(pair->b, second);
	vpfn_assert_mem(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->b, second);
	vpfn_finish(pair->a, first);
	vpfn_mem_fill(&pair->xa, 0, SIZE, 0x56);
	vpfn_mem_fill(&pair->xa, 0, SIZE / 2, 0x78);
	vpfn_assert_mem(&pair->xa);
}

/* The checksum is what this job writes; no other job has to wait for the buffer that it reads. */
static void test_checksum_write(struct pair *pair)
{
	uint32_t summed, written;

	summed = vpfn_start(pair->a, vpfn_cmd_crc(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
			    &pair->gate);
	igt_assert_eq(poll_bo(&pair->xa, DRM_VPFN_WAIT_WRITERS), 0);
	igt_assert_eq(poll_bo(&pair->xa, 0), -ETIME);
	igt_assert_eq(poll_bo(&pair->ya, DRM_VPFN_WAIT_WRITERS), -ETIME);
	written = vpfn_start(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE, 0x9a), NULL);
	vpfn_assert_waits(pair->b, written);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->b, written);
	vpfn_finish(pair->a, summed);
	vpfn_mem_crc(&pair->ya, 0, &pair->xa, 0, SIZE);
	vpfn_assert_mem(&pair->ya);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x9a);
	vpfn_assert_mem(&pair->xb);
}

/* Readers do not wait for each other. */
static void test_read_read(struct pair *pair)
{
	uint32_t held, read;

	held = vpfn_start(pair->a, vpfn_cmd_copy(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
			  &pair->gate);
	read = vpfn_start(pair->b, vpfn_mem_copy(&pair->yb, 0, &pair->xb, 0, SIZE), NULL);
	vpfn_finish(pair->b, read);
	vpfn_assert_mem(&pair->yb);
	vpfn_assert_waits(pair->a, held);
	vpfn_assert_mem(&pair->ya);
	igt_assert_eq(poll_bo(&pair->xb, DRM_VPFN_WAIT_WRITERS), 0);
	igt_assert_eq(poll_bo(&pair->xb, 0), -ETIME);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->a, held);
	vpfn_mem_copy(&pair->ya, 0, &pair->xa, 0, SIZE);
	vpfn_assert_mem(&pair->ya);
}

/* Nor do jobs without a common buffer. */
static void test_apart(struct pair *pair)
{
	uint32_t held;

	held = vpfn_start(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0xbc), &pair->gate);
	vpfn_finish(pair->b, vpfn_start(pair->b, vpfn_mem_fill(&pair->yb, 0, SIZE, 0xde), NULL));
	vpfn_assert_mem(&pair->yb);
	igt_assert_eq(poll_bo(&pair->yb, 0), 0);
	vpfn_assert_waits(pair->a, held);
	vpfn_assert_mem(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	vpfn_finish(pair->a, held);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "in", "A job and what follows it wait for a sync.", test_in },
	{ "in-all", "A job waits for each of its syncs.", test_in_all },
	{ "in-failed", "A job runs although what it waited for has failed.", test_in_failed },
	{ "out", "A job signals each of its syncs, when it is done.", test_out },
	{ "timeline", "Jobs of several files in the order of a timeline.", test_timeline },
	{ "wait-before-submit", "A thread waits for a point before there is a job for it.",
	  test_wait_before_submit },
	{ "wait-time", "Waiting for a buffer lasts as long as the caller says.", test_wait_time },
	{ "wait-signal", "A signal interrupts waiting for a buffer, which can go on.",
	  test_wait_signal },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct pair *pair);
} pair_tests[] = {
	{ "write-read", "A read waits for a write.", test_write_read },
	{ "read-write", "A write waits for a read.", test_read_write },
	{ "write-write", "A write waits for an earlier write.", test_write_write },
	{ "checksum-write", "A write waits for a checksum.", test_checksum_write },
	{ "read-read", "Reads do not wait for each other.", test_read_read },
	{ "apart", "Jobs without a common buffer do not wait for each other.", test_apart },
};

static void run_pair(void (*test)(struct pair *pair), uint32_t placement)
{
	struct pair pair;

	pair_open(&pair, placement);
	test(&pair);
	pair_close(&pair);
}

int igt_main()
{
	igt_fixture() {
		close(vpfn_require_device());
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(pair_tests); i++) {
		igt_describe(pair_tests[i].describe);
		igt_subtest_with_dynamic(pair_tests[i].name) {
			igt_dynamic("vram")
				run_pair(pair_tests[i].run, VRAM);
			igt_dynamic("system")
				run_pair(pair_tests[i].run, SYSTEM);
		}
	}
}
