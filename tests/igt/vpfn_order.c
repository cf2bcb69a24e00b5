// SPDX-License-Identifier: MIT
/*
 * In which order do jobs run, who can wait for them, and what becomes of them when their
 * submitter goes?
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_gate.h"
#include "vpfn_job.h"
#include "vpfn_mem.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("The order of jobs of vpfn, explicit and implicit, and waiting for them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * VPFN_PAGE)

#define WORD		sizeof(uint32_t)

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

static int open_client(void)
{
	int file = vpfn_open(O_RDWR);

	igt_assert_lte(0, file);
	return file;
}

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
}

static void import(int file, const struct vpfn_mem *other, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_import(file, other, mem), 0);
}

static void check(const struct vpfn_mem *mem)
{
	igt_assert_eq_u64(vpfn_mem_check(mem), mem->bo.size);
}

static uint32_t new_sync(int file)
{
	uint32_t handle;

	igt_assert_eq(drmSyncobjCreate(file, 0, &handle), 0);
	return handle;
}

static void make_gate(struct vpfn_gate *gate)
{
	int err = vpfn_gate_make(gate);

	igt_require_f(err != -ENOENT, "no fences for tests: the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
}

static uint32_t gate_sync(const struct vpfn_gate *gate, int file)
{
	uint32_t handle;

	igt_assert_eq(vpfn_gate_syncobj(gate, file, &handle), 0);
	return handle;
}

/* One command, one sync to wait for and one to signal; 0 for none. */
static uint32_t submit(int file, struct drm_vpfn_cmd cmd, uint32_t in)
{
	uint32_t out = new_sync(file);

	igt_assert_eq(vpfn_submit(file, &cmd, 1, in, out), 0);
	return out;
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

/* Another client's later job is done: whatever could run before it is done, too. */
static void let_engine_pass(void)
{
	int bystander = open_client();

	igt_assert_eq(vpfn_run(bystander, &nop, 1), 0);
	close(bystander);
}

static void assert_held(int file, uint32_t sync)
{
	let_engine_pass();
	igt_assert(!is_done(file, sync));
}

static void assert_succeeds(int file, uint32_t sync)
{
	igt_assert_eq(vpfn_sync_status(file, sync, VPFN_LONG_NS), 0);
}

/* ---- Syncs ---- */

static void test_in(void)
{
	int file = open_client();
	struct vpfn_mem first, second;
	struct vpfn_gate gate;
	uint32_t out, later;

	create(file, VRAM, 1, &first);
	create(file, SYSTEM, 2, &second);
	make_gate(&gate);
	out = submit(file, vpfn_cmd_fill(&first.bo, 0, SIZE, 0x11), gate_sync(&gate, file));
	later = submit(file, vpfn_cmd_fill(&second.bo, 0, SIZE, 0x22), 0);

	/* The second job has nothing to wait for but the first. */
	assert_held(file, out);
	assert_held(file, later);
	check(&first);
	check(&second);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	assert_succeeds(file, out);
	vpfn_mem_fill(&first, 0, SIZE, 0x11);
	check(&first);
	assert_succeeds(file, later);
	vpfn_mem_fill(&second, 0, SIZE, 0x22);
	check(&second);
	vpfn_gate_remove(&gate);
	close(file);
}

/* As many syncs as there may be; the last to come decides, whichever that is. */
static void test_in_all(void)
{
	struct drm_vpfn_sync in[DRM_VPFN_SUBMIT_SYNCS_MAX] = {}, out = {};
	static const unsigned int order[] = { 1, 3, 0, 2 };
	struct vpfn_gate gates[ARRAY_SIZE(order)];
	int file = open_client();
	struct vpfn_mem mem;

	create(file, VRAM, 3, &mem);
	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++)
		make_gate(&gates[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(in); i++)
		in[i].handle = gate_sync(&gates[i * ARRAY_SIZE(gates) / ARRAY_SIZE(in)], file);
	out.handle = new_sync(file);
	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x33),
				   in, ARRAY_SIZE(in), &out, 1), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
		assert_held(file, out.handle);
		check(&mem);
		igt_assert_eq(vpfn_gate_open(&gates[order[i]]), 0);
	}
	assert_succeeds(file, out.handle);
	vpfn_mem_fill(&mem, 0, SIZE, 0x33);
	check(&mem);
	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++)
		vpfn_gate_remove(&gates[i]);
	close(file);
}

/* A gate that goes without having opened signals an error. */
static void test_in_failed(void)
{
	int file = open_client();
	struct vpfn_mem mem, other;
	struct vpfn_gate gate;
	uint32_t out, later;

	create(file, VRAM, 4, &mem);
	create(file, VRAM, 5, &other);
	make_gate(&gate);
	out = submit(file, vpfn_mem_fill(&mem, 0, SIZE, 0x44), gate_sync(&gate, file));
	later = submit(file, vpfn_mem_fill(&other, 0, SIZE, 0x55), 0);
	assert_held(file, out);

	/* An error opens the gate as well. */
	vpfn_gate_remove(&gate);
	assert_succeeds(file, out);
	assert_succeeds(file, later);
	check(&mem);
	check(&other);
	close(file);
}

/* Each of the syncs of one job: binary ones and points of timelines. */
static void test_out(void)
{
	int file = open_client();
	struct drm_vpfn_sync out[4] = {
		{ .handle = new_sync(file) },
		{ .handle = new_sync(file), .point = 3 },
		{ .handle = new_sync(file), .point = 1ull << 40 },
		{ .handle = new_sync(file) },
	};
	struct drm_vpfn_sync in = {};
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	uint64_t point;

	create(file, VRAM, 6, &mem);
	make_gate(&gate);
	in.handle = gate_sync(&gate, file);
	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x77), &in, 1,
				   out, ARRAY_SIZE(out)), 0);
	let_engine_pass();
	for (unsigned int i = 0; i < ARRAY_SIZE(out); i++) {
		igt_assert(!is_done(file, out[i].handle));
		igt_assert_eq(drmSyncobjQuery(file, &out[i].handle, &point, 1), 0);
		igt_assert_eq_u64(point, 0);
	}
	check(&mem);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_mem_fill(&mem, 0, SIZE, 0x77);
	for (unsigned int i = 0; i < ARRAY_SIZE(out); i++) {
		uint32_t sync = out[i].handle;

		if (!out[i].point) {
			assert_succeeds(file, sync);
			check(&mem);
			continue;
		}
		igt_assert_eq(vpfn_point_status(file, sync, out[i].point, VPFN_LONG_NS), 0);
		check(&mem);
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

	make_gate(&gate);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		int file = open_client();
		struct drm_vpfn_sync in = {}, out = { .point = i + 1 };

		create(file, VRAM, i, &mem[i]);
		timeline[i] = i ? share_sync(mem[0].fd, timeline[0], file) : new_sync(file);
		in.handle = i ? timeline[i] : gate_sync(&gate, file);
		in.point = i;
		out.handle = timeline[i];
		igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem[i].bo, 0, SIZE, i), &in, 1,
					   &out, 1), 0);
	}

	let_engine_pass();
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++)
		check(&mem[i]);
	igt_assert_eq(drmSyncobjQuery(mem[0].fd, &timeline[0], &point, 1), 0);
	igt_assert_eq_u64(point, 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_point_status(mem[0].fd, timeline[0], 3, VPFN_LONG_NS), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		vpfn_mem_fill(&mem[i], 0, SIZE, i);
		check(&mem[i]);
		close(mem[i].fd);
	}
	vpfn_gate_remove(&gate);
}

/* ---- A thread that waits ---- */

enum what {
	WAIT_BUFFER,
	WAIT_POINT,
	CLOSE_FILE,
};

struct waiter {
	pthread_t thread;
	enum what what;
	int file;
	uint32_t handle;	/* of the buffer or of the syncobj */
	uint64_t point;
	pid_t tid;		/* these two: across threads */
	bool returned;
	int err;
};

/* Not drmIoctl(), which hides that a signal came. */
static int wait_once(int file, uint32_t handle)
{
	struct drm_vpfn_wait arg = { .handle = handle, .timeout_ns = vpfn_deadline(VPFN_LONG_NS) };

	return ioctl(file, DRM_IOCTL_VPFN_WAIT, &arg) ? -errno : 0;
}

static void *waiter_main(void *data)
{
	struct waiter *waiter = data;

	__atomic_store_n(&waiter->tid, gettid(), __ATOMIC_RELEASE);
	switch (waiter->what) {
	case WAIT_BUFFER:
		waiter->err = wait_once(waiter->file, waiter->handle);
		break;
	case WAIT_POINT:
		waiter->err = vpfn_point_status(waiter->file, waiter->handle, waiter->point,
						VPFN_LONG_NS);
		break;
	case CLOSE_FILE:
		waiter->err = close(waiter->file) ? -errno : 0;
		break;
	}
	__atomic_store_n(&waiter->returned, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool has_returned(const void *arg)
{
	const struct waiter *waiter = arg;

	return __atomic_load_n(&waiter->returned, __ATOMIC_ACQUIRE);
}

/* Sleeping, or through with it: "TID (NAME) STATE ..." */
static bool is_asleep(const void *arg)
{
	const struct waiter *waiter = arg;
	char path[64], text[512], *end;
	pid_t tid;

	if (has_returned(waiter))
		return true;
	tid = __atomic_load_n(&waiter->tid, __ATOMIC_ACQUIRE);
	if (!tid)
		return false;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	if (vpfn_text_read(path, text, sizeof(text)))
		return false;
	end = strrchr(text, ')');
	return end && (end[2] == 'S' || end[2] == 'D');
}

static void waiter_start(struct waiter *waiter)
{
	waiter->tid = 0;
	waiter->returned = false;
	igt_assert_eq(pthread_create(&waiter->thread, NULL, waiter_main, waiter), 0);
	igt_assert_eq(vpfn_wait_until(is_asleep, waiter), 0);
}

static int waiter_end(struct waiter *waiter)
{
	igt_assert_eq(vpfn_wait_until(has_returned, waiter), 0);
	igt_assert_eq(pthread_join(waiter->thread, NULL), 0);
	return waiter->err;
}

/* A thread waits for a point without a submission. */
static void test_wait_before_submit(void)
{
	int file = open_client();
	struct drm_vpfn_sync out = { .handle = new_sync(file), .point = 5 }, in = {};
	struct waiter waiter = {
		.what = WAIT_POINT, .file = file, .handle = out.handle, .point = out.point,
	};
	struct vpfn_gate gate;
	struct vpfn_mem mem;

	create(file, VRAM, 7, &mem);
	make_gate(&gate);
	in.handle = gate_sync(&gate, file);

	/* Jobs do not wait for what is not there, threads do. */
	igt_assert_eq(submit_syncs(file, nop, &out, 1, NULL, 0), -EINVAL);
	waiter_start(&waiter);
	igt_assert(!has_returned(&waiter));

	igt_assert_eq(submit_syncs(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x88), &in, 1, &out, 1),
		      0);
	let_engine_pass();
	igt_assert(!has_returned(&waiter));

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(waiter_end(&waiter), 0);
	vpfn_mem_fill(&mem, 0, SIZE, 0x88);
	check(&mem);
	vpfn_gate_remove(&gate);
	close(file);
}

/* ---- Implicit order: two files, one buffer, no sync ---- */

struct pair {
	int a, b;
	struct vpfn_gate gate;
	struct vpfn_mem xa, xb;		/* the buffer, for each of the files */
	struct vpfn_mem ya, yb;		/* each file's own */
};

static void pair_open(struct pair *pair, uint32_t placement)
{
	pair->a = open_client();
	pair->b = open_client();
	make_gate(&pair->gate);
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

static int poll_bo(const struct vpfn_mem *mem, uint32_t flags)
{
	return vpfn_bo_wait(mem->fd, &mem->bo, flags, 0);
}

static void test_write_read(struct pair *pair)
{
	uint32_t written, read;

	written = submit(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0x12),
			 gate_sync(&pair->gate, pair->a));
	read = submit(pair->b, vpfn_cmd_copy(&pair->yb.bo, 0, &pair->xb.bo, 0, SIZE), 0);
	assert_held(pair->a, written);
	assert_held(pair->b, read);
	check(&pair->yb);
	igt_assert_eq(poll_bo(&pair->xb, DRM_VPFN_WAIT_WRITERS), -ETIME);
	igt_assert_eq(poll_bo(&pair->yb, DRM_VPFN_WAIT_WRITERS), -ETIME);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->b, read);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x12);
	vpfn_mem_copy(&pair->yb, 0, &pair->xb, 0, SIZE);
	check(&pair->yb);
	check(&pair->xb);
}

static void test_read_write(struct pair *pair)
{
	uint32_t written, read;

	read = submit(pair->a, vpfn_cmd_copy(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
		      gate_sync(&pair->gate, pair->a));
	written = submit(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE, 0x34), 0);
	assert_held(pair->a, read);
	assert_held(pair->b, written);
	check(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->b, written);
	assert_succeeds(pair->a, read);
	vpfn_mem_copy(&pair->ya, 0, &pair->xa, 0, SIZE);
	check(&pair->ya);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x34);
	check(&pair->xb);
}

static void test_write_write(struct pair *pair)
{
	uint32_t first, second;

	first = submit(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0x56),
		       gate_sync(&pair->gate, pair->a));
	second = submit(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE / 2, 0x78), 0);
	assert_held(pair->b, second);
	check(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->b, second);
	assert_succeeds(pair->a, first);
	vpfn_mem_fill(&pair->xa, 0, SIZE, 0x56);
	vpfn_mem_fill(&pair->xa, 0, SIZE / 2, 0x78);
	check(&pair->xa);
}

/* The checksum is what this job writes; no other job has to wait for the buffer that it reads. */
static void test_checksum_write(struct pair *pair)
{
	uint32_t summed, written;

	summed = submit(pair->a, vpfn_cmd_crc(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
			gate_sync(&pair->gate, pair->a));
	igt_assert_eq(poll_bo(&pair->xa, DRM_VPFN_WAIT_WRITERS), 0);
	igt_assert_eq(poll_bo(&pair->xa, 0), -ETIME);
	igt_assert_eq(poll_bo(&pair->ya, DRM_VPFN_WAIT_WRITERS), -ETIME);
	written = submit(pair->b, vpfn_cmd_fill(&pair->xb.bo, 0, SIZE, 0x9a), 0);
	assert_held(pair->b, written);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->b, written);
	assert_succeeds(pair->a, summed);
	vpfn_mem_crc(&pair->ya, 0, &pair->xa, 0, SIZE);
	check(&pair->ya);
	vpfn_mem_fill(&pair->xb, 0, SIZE, 0x9a);
	check(&pair->xb);
}

/* Two who read do not wait for each other. */
static void test_read_read(struct pair *pair)
{
	uint32_t held, read;

	held = submit(pair->a, vpfn_cmd_copy(&pair->ya.bo, 0, &pair->xa.bo, 0, SIZE),
		      gate_sync(&pair->gate, pair->a));
	read = submit(pair->b, vpfn_mem_copy(&pair->yb, 0, &pair->xb, 0, SIZE), 0);
	assert_succeeds(pair->b, read);
	check(&pair->yb);
	assert_held(pair->a, held);
	check(&pair->ya);
	igt_assert_eq(poll_bo(&pair->xb, DRM_VPFN_WAIT_WRITERS), 0);
	igt_assert_eq(poll_bo(&pair->xb, 0), -ETIME);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->a, held);
	vpfn_mem_copy(&pair->ya, 0, &pair->xa, 0, SIZE);
	check(&pair->ya);
}

/* Nor do those who have nothing in common. */
static void test_apart(struct pair *pair)
{
	uint32_t held;

	held = submit(pair->a, vpfn_cmd_fill(&pair->xa.bo, 0, SIZE, 0xbc),
		      gate_sync(&pair->gate, pair->a));
	assert_succeeds(pair->b, submit(pair->b, vpfn_mem_fill(&pair->yb, 0, SIZE, 0xde), 0));
	check(&pair->yb);
	igt_assert_eq(poll_bo(&pair->yb, 0), 0);
	assert_held(pair->a, held);
	check(&pair->xa);

	igt_assert_eq(vpfn_gate_open(&pair->gate), 0);
	assert_succeeds(pair->a, held);
}

/* ---- Waiting for a buffer ---- */

static void test_wait_time(void)
{
	int64_t moment = 30 * 1000 * 1000, before;
	int file = open_client();
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	uint32_t out;

	create(file, VRAM, 8, &mem);
	igt_assert_eq(poll_bo(&mem, 0), 0);
	make_gate(&gate);
	out = submit(file, vpfn_mem_fill(&mem, 0, SIZE, 0x99), gate_sync(&gate, file));

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

		/* Not before the time has come; how long after it depends on the machine. */
		before = vpfn_deadline(0);
		igt_assert_eq(vpfn_bo_wait(file, &mem.bo, flags, moment), -ETIME);
		igt_assert(vpfn_deadline(0) - before >= moment);
	}

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_bo_wait(file, &mem.bo, 0, INT64_MAX), 0);
	check(&mem);
	assert_succeeds(file, out);
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
	int file = open_client();
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	struct waiter waiter = { .what = WAIT_BUFFER, .file = file };

	create(file, VRAM, 9, &mem);
	make_gate(&gate);
	submit(file, vpfn_mem_fill(&mem, 0, SIZE, 0xaa), gate_sync(&gate, file));
	waiter.handle = mem.bo.handle;

	/* A signal ends it ... */
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	waiter_start(&waiter);
	igt_assert(!has_returned(&waiter));
	pthread_kill(waiter.thread, SIGUSR1);
	igt_assert_eq(waiter_end(&waiter), -EINTR);
	igt_assert_eq(signals, 1);

	/* ... or the kernel goes on with it, until the job is done. */
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	waiter_start(&waiter);
	pthread_kill(waiter.thread, SIGUSR1);
	igt_assert_eq(vpfn_wait_until(was_signalled, NULL), 0);
	igt_assert_eq(vpfn_wait_until(is_asleep, &waiter), 0);
	igt_assert(!has_returned(&waiter));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(waiter_end(&waiter), 0);
	check(&mem);

	signal(SIGUSR1, SIG_DFL);
	vpfn_gate_remove(&gate);
	close(file);
}

/* ---- Who submitted goes ---- */

/* A job has what it needs, once it is submitted. */
static void test_close_handles(void)
{
	int file = open_client(), out_file;
	struct vpfn_mem dst, src;
	struct vpfn_gate gate;
	uint32_t in, out;

	create(file, VRAM, 10, &dst);
	create(file, SYSTEM, 11, &src);
	make_gate(&gate);
	in = gate_sync(&gate, file);
	out = submit(file, vpfn_mem_copy(&dst, 1, &src, 2, SIZE - 2), in);
	igt_assert_eq(vpfn_sync_file_of(file, out, &out_file), 0);
	igt_assert_eq(drmSyncobjDestroy(file, in), 0);
	igt_assert_eq(drmSyncobjDestroy(file, out), 0);
	vpfn_mem_destroy(&src);
	igt_assert_eq(vpfn_bo_close(file, &dst.bo), 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(out_file, VPFN_LONG_NS), 0);
	check(&dst);
	munmap(dst.map, SIZE);
	close(out_file);
	vpfn_gate_remove(&gate);
	close(file);
}

#define QUEUED	20

/* A file is closed while its jobs wait: none of them runs, and no task waits for them in vain. */
static void test_close_file(void)
{
	int victim = open_client(), other = open_client(), out_files[QUEUED], err;
	struct waiter closer = { .what = CLOSE_FILE, .file = victim };
	struct vpfn_mem mine, shared, theirs;
	struct vpfn_gate gate;
	uint32_t read;

	create(other, VRAM, 12, &mine);
	create(other, SYSTEM, 13, &shared);
	import(victim, &shared, &theirs);
	make_gate(&gate);
	for (unsigned int i = 0; i < QUEUED; i++) {
		uint32_t out = submit(victim, vpfn_cmd_fill(&theirs.bo, 0, SIZE, i),
				      i ? 0 : gate_sync(&gate, victim));

		igt_assert_eq(vpfn_sync_file_of(victim, out, &out_files[i]), 0);
	}
	read = submit(other, vpfn_mem_copy(&mine, 0, &shared, 0, SIZE), 0);
	assert_held(other, read);
	munmap(theirs.map, SIZE);
	free(theirs.expected);

	/* Closing a file waits for no fence of others. If it does, it is set free. */
	waiter_start(&closer);
	err = vpfn_wait_until(has_returned, &closer);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(err, 0);
	igt_assert_eq(waiter_end(&closer), 0);

	for (unsigned int i = 0; i < QUEUED; i++) {
		igt_assert_eq(vpfn_sync_file_status(out_files[i], VPFN_LONG_NS), -ESRCH);
		close(out_files[i]);
	}
	check(&shared);
	igt_assert_eq(vpfn_bo_wait(other, &shared.bo, 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_wait(other, &mine.bo, 0, VPFN_LONG_NS), 0);

	/* What remains works. */
	assert_succeeds(other, submit(other, vpfn_mem_fill(&shared, 0, SIZE, 0xcc), 0));
	assert_succeeds(other, submit(other, vpfn_mem_copy(&mine, 0, &shared, 0, SIZE), 0));
	check(&mine);
	vpfn_gate_remove(&gate);
	close(other);
}

static void kill_child(pid_t child)
{
	int status;

	igt_assert_eq(kill(child, SIGKILL), 0);
	igt_assert_eq(waitpid(child, &status, 0), child);
	igt_assert(WIFSIGNALED(status));
}

/* A child that only its parent's signal ends. Its last word is a byte in the pipe. */
static pid_t fork_submitter(int file, const struct drm_vpfn_cmd *cmd, uint32_t in, uint32_t out)
{
	int pipes[2];
	pid_t child;
	char byte;

	igt_assert_eq(pipe(pipes), 0);
	child = fork();
	igt_assert_lte(0, child);
	if (!child) {
		byte = vpfn_submit(file, cmd, 1, in, out) ? 'n' : 'y';
		if (write(pipes[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	igt_assert_eq(read(pipes[0], &byte, 1), 1);
	igt_assert_eq(byte, 'y');
	close(pipes[0]);
	return child;
}

/* A child submits through its parent's file and is killed: the file, and all jobs, go on. */
static void test_fork_killed(void)
{
	int file = open_client();
	uint32_t in, before, out = new_sync(file), after;
	struct vpfn_mem mem, other;
	struct drm_vpfn_cmd cmd;
	struct vpfn_gate gate;
	pid_t child;

	create(file, VRAM, 14, &mem);
	create(file, VRAM, 15, &other);
	make_gate(&gate);
	in = gate_sync(&gate, file);
	before = submit(file, vpfn_mem_fill(&mem, 0, SIZE, 0x10), in);
	cmd = vpfn_mem_copy(&mem, 0, &mem, SIZE / 2, SIZE / 2 - 1);
	child = fork_submitter(file, &cmd, 0, out);
	kill_child(child);
	assert_held(file, before);
	after = submit(file, vpfn_mem_copy(&other, 3, &mem, 0, SIZE - 3), 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	assert_succeeds(file, before);
	assert_succeeds(file, out);
	assert_succeeds(file, after);
	check(&mem);
	check(&other);
	vpfn_gate_remove(&gate);
	close(file);
}

/* Parent and child take turns with one file. */
static void test_fork(void)
{
	int file = open_client();
	struct vpfn_mem mem;

	create(file, SYSTEM, 16, &mem);
	for (unsigned int i = 0; i < 4; i++) {
		struct drm_vpfn_cmd cmd = vpfn_mem_fill(&mem, i * VPFN_PAGE, VPFN_PAGE, i + 1);

		igt_fork(child, 1) {
			igt_assert_eq(vpfn_run(file, &cmd, 1), 0);
			check(&mem);
		}
		igt_waitchildren();
		cmd = vpfn_mem_copy(&mem, 32 * VPFN_PAGE + i, &mem, i * VPFN_PAGE, VPFN_PAGE);
		igt_assert_eq(vpfn_run(file, &cmd, 1), 0);
		check(&mem);
	}
	close(file);
}

/* A process is killed that has jobs in the queue of a file of its own. */
static void test_killed(void)
{
	int victim = open_client(), other = open_client(), out_file;
	struct vpfn_mem shared, theirs;
	struct drm_vpfn_cmd cmd;
	struct vpfn_gate gate;
	uint32_t in, out;
	pid_t child;

	create(other, VRAM, 17, &shared);
	import(victim, &shared, &theirs);
	make_gate(&gate);
	in = gate_sync(&gate, victim);
	out = new_sync(victim);
	cmd = vpfn_cmd_fill(&theirs.bo, 0, SIZE, 0x20);
	child = fork_submitter(victim, &cmd, in, out);
	igt_assert_eq(vpfn_sync_file_of(victim, out, &out_file), 0);

	/* From here on the child alone has the file. */
	munmap(theirs.map, SIZE);
	free(theirs.expected);
	close(victim);
	let_engine_pass();
	igt_assert_eq(vpfn_sync_file_status(out_file, 0), -EBUSY);
	kill_child(child);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(out_file, VPFN_LONG_NS), -ESRCH);
	check(&shared);
	assert_succeeds(other, submit(other, vpfn_mem_fill(&shared, 0, SIZE, 0x30), 0));
	check(&shared);
	close(out_file);
	vpfn_gate_remove(&gate);
	close(other);
}

/* ---- Many at a time ---- */

#define DEPTH	8
#define JOBS	240
#define LONG	(16ull << 20)

/* The jobs of a file, of which so many are always under way. */
struct queue {
	int file;
	struct vpfn_bo bo;
	int out[DEPTH];		/* the files of the jobs' fences */
	unsigned int done;
};

static void queue_put(struct queue *queue, unsigned int slot)
{
	uint32_t out = submit(queue->file, vpfn_cmd_fill(&queue->bo, 0, LONG, slot), 0);

	igt_assert_eq(vpfn_sync_file_of(queue->file, out, &queue->out[slot]), 0);
	igt_assert_eq(drmSyncobjDestroy(queue->file, out), 0);
}

static void queue_open(struct queue *queue)
{
	queue->done = 0;
	queue->file = open_client();
	igt_assert_eq(vpfn_bo_create(queue->file, LONG, &queue->bo), 0);
	igt_assert_eq(vpfn_bo_wait(queue->file, &queue->bo, 0, VPFN_LONG_NS), 0);
	for (unsigned int i = 0; i < DEPTH; i++)
		queue_put(queue, i);
}

/* The oldest job, if it is done, makes room for a new one. */
static bool queue_turn(struct queue *queue)
{
	unsigned int slot = queue->done % DEPTH;
	int status = vpfn_sync_file_status(queue->out[slot], 0);

	if (status == -EBUSY)
		return false;

	igt_assert_eq(status, 0);
	close(queue->out[slot]);
	queue->done++;
	queue_put(queue, slot);
	return true;
}

static void queue_close(struct queue *queue)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		igt_assert_eq(vpfn_sync_file_status(queue->out[i], VPFN_LONG_NS), 0);
		close(queue->out[i]);
	}
	close(queue->file);
}

/* Sleeps until the oldest job of one of the files is done. */
static void wait_for_any(const struct queue queues[2])
{
	struct pollfd fds[2];

	for (unsigned int i = 0; i < 2; i++) {
		fds[i].fd = queues[i].out[queues[i].done % DEPTH];
		fds[i].events = POLLIN;
	}
	igt_assert_lte(1, poll(fds, 2, VPFN_LONG_NS / 1000000));
}

static void test_fair(void)
{
	struct queue queues[2];

	queue_open(&queues[0]);
	queue_open(&queues[1]);
	while (queues[0].done + queues[1].done < JOBS) {
		bool first = queue_turn(&queues[0]), second = queue_turn(&queues[1]);

		if (!first && !second)
			wait_for_any(queues);
	}
	igt_info("of %u jobs, %u and %u\n", JOBS, queues[0].done, queues[1].done);
	igt_assert_lte(JOBS / 3, queues[0].done);
	igt_assert_lte(JOBS / 3, queues[1].done);
	queue_close(&queues[0]);
	queue_close(&queues[1]);
}

#define THREADS		8
#define ROUNDS		12

/* Works in a file of its own, a new one each time, or in one that it shares with others. */
struct worker {
	pthread_t thread;
	unsigned int number;
	int shared;
	int err;
	unsigned int round;
};

static int work(int file, unsigned int seed)
{
	struct vpfn_mem vram, system;
	struct drm_vpfn_cmd cmds[3];
	int err = vpfn_mem_create(file, SIZE, VRAM, seed, &vram);

	if (err)
		return err;

	err = vpfn_mem_create(file, SIZE, SYSTEM, ~seed, &system);
	if (err)
		goto out;

	cmds[0] = vpfn_mem_copy(&system, 5, &vram, 3, SIZE / 2);
	cmds[1] = vpfn_mem_fill(&vram, 0, SIZE / 4, seed);
	cmds[2] = vpfn_mem_crc(&vram, SIZE - WORD, &system, 1, SIZE - 1);
	err = vpfn_run(file, cmds, 3);
	if (!err && (vpfn_mem_check(&vram) != SIZE || vpfn_mem_check(&system) != SIZE))
		err = -EBADMSG;
	vpfn_mem_destroy(&system);
out:
	vpfn_mem_destroy(&vram);
	return err;
}

static void *worker_main(void *data)
{
	struct worker *worker = data;

	for (worker->round = 0; worker->round < ROUNDS && !worker->err; worker->round++) {
		int file = worker->number % 2 ? worker->shared : vpfn_open(O_RDWR);

		worker->err = file < 0 ? file : work(file, worker->number << 8 | worker->round);
		if (file != worker->shared)
			close(file);
	}
	return NULL;
}

static void test_threads(void)
{
	struct worker workers[THREADS] = {};
	int shared = open_client();

	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].shared = shared;
		igt_assert_eq(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]),
			      0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		igt_assert_eq(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		igt_assert_eq(workers[i].err, 0);
		igt_assert_eq(workers[i].round, ROUNDS);
	}
	close(shared);
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
	{ "wait-time", "Waiting for a buffer ends in time, and not earlier.", test_wait_time },
	{ "wait-signal", "A signal interrupts waiting for a buffer, which can go on.",
	  test_wait_signal },
	{ "close-handles", "A job outlives the handles of its buffers and syncs.",
	  test_close_handles },
	{ "close-file", "The jobs of a file that is closed do not run.", test_close_file },
	{ "fork", "A child uses its parent's file.", test_fork },
	{ "fork-killed", "A child that is killed takes none of its parent's jobs along.",
	  test_fork_killed },
	{ "killed", "The jobs of a process that is killed do not run.", test_killed },
	{ "fair", "Two files that keep the engine busy both get their share.", test_fair },
	{ "threads", "Many threads submit, in files of their own and in one.", test_threads },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct pair *pair);
} pair_tests[] = {
	{ "write-read", "Who reads waits for who writes.", test_write_read },
	{ "read-write", "Who writes waits for who reads.", test_read_write },
	{ "write-write", "Who writes waits for who wrote before.", test_write_write },
	{ "checksum-write", "Who writes waits for a checksum.", test_checksum_write },
	{ "read-read", "Two who read do not wait for each other.", test_read_read },
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
