// SPDX-License-Identifier: MIT
/*
 * What waits when a buffer moves? A touch, a debugger, faults of several sizes, and jobs before and
 * after the move.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Faults and jobs that wait for a buffer of vpfn to move.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define SIZE		(4 * PFNMAP_2M)

#define OLD		0x01d01d01
#define NEW		0x4e574e57

static int big = -1, fd = -1;
static struct vpfn_meter meter;
static uint64_t visible;

static void create(int file, uint64_t size, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, flags, bo), 0);
}

static void assert_engine_sees(const struct vpfn_bo *bo, const struct vpfn_content *content)
{
	igt_assert_eq(vpfn_meter_check(&meter, bo, content, 0, bo->size), 0);
}

static void assert_cpu_sees(const struct vpfn_bo *bo, const struct vpfn_content *content)
{
	char *map = vpfn_map_whole(fd, bo);

	igt_assert_eq_u64(vpfn_content_check(content, map, 0, bo->size), bo->size);
	munmap(map, bo->size);
}

static void assert_filled(const struct vpfn_bo *bo, uint32_t pattern)
{
	struct vpfn_content content = vpfn_content_pattern(pattern);

	assert_engine_sees(bo, &content);
	assert_cpu_sees(bo, &content);
}

/* A job that the gate holds back. */
static void hold(struct vpfn_gate *gate, int file, struct drm_vpfn_cmd cmd)
{
	vpfn_require_gate(gate);
	drmSyncobjDestroy(file, vpfn_start(file, cmd, gate));
}

static void let_go(struct vpfn_gate *gate)
{
	igt_assert_eq(vpfn_gate_open(gate), 0);
	vpfn_gate_remove(gate);
}

static void assert_busy(const struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_wait(fd, bo, 0, 0), -ETIME);
}

static void wait_idle(const struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_wait(fd, bo, 0, VPFN_LONG_NS), 0);
}

/* The same buffer in another file: only the buffer orders the jobs of the two. */
static void share(const struct vpfn_bo *bo, int file, struct vpfn_bo *shared)
{
	int dmabuf;

	igt_assert_eq(vpfn_bo_export(fd, bo, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(file, dmabuf, bo->size, shared), 0);
	close(dmabuf);
}

static int run_touch(void *addr)
{
	pfnmap_load(addr);
	return 0;
}

static int run_create(void *bo)
{
	return vpfn_bo_create_in(fd, SIZE, VRAM, 0, bo);
}

struct submission {
	int file;
	struct drm_vpfn_cmd cmd;
	uint32_t done;
};

static int run_submit(void *arg)
{
	struct submission *submission = arg;

	return vpfn_submit(submission->file, &submission->cmd, 1, 0, submission->done);
}

/* The visible part is full: what is created now without CPU_ACCESS has to move for a touch. */
static void fill_visible(void)
{
	for (uint64_t bytes = 0; bytes < visible; bytes += visible / 4) {
		struct vpfn_bo bo;

		create(fd, visible / 4, CPU_ACCESS, &bo);
	}
}

static void test_touch_does_not_wait(void)
{
	struct vpfn_thread worker;
	struct vpfn_bo bo;
	struct vpfn_gate gate;
	char *map;

	/* It was created within reach of the CPU: a touch does not wait for its job. */
	create(fd, SIZE, CPU_ACCESS, &bo);
	map = vpfn_map_whole(fd, &bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	vpfn_worker_start(&worker, run_touch, map);
	igt_assert_eq(vpfn_worker_finish(&worker), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0);
	assert_busy(&bo);
	igt_assert_eq(vpfn_where(fd, &bo), VRAM);

	let_go(&gate);
	wait_idle(&bo);
	assert_filled(&bo, NEW);
	munmap(map, SIZE);
}

static void test_touch_waits(void)
{
	struct vpfn_thread worker;
	struct vpfn_bo bo;
	struct vpfn_gate gate;
	char *map;

	/* It has to move, and cannot before the job that writes it has run. */
	fill_visible();
	create(fd, SIZE, 0, &bo);
	map = vpfn_map_whole(fd, &bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	vpfn_worker_start(&worker, run_touch, map);
	vpfn_worker_settle(&worker);
	igt_assert(!vpfn_thread_is_done(&worker));
	assert_busy(&bo);

	let_go(&gate);
	igt_assert_eq(vpfn_worker_finish(&worker), 0);
	igt_assert_eq_u64(pfnmap_load(map), (uint64_t)NEW << 32 | NEW);
	assert_filled(&bo, NEW);
	munmap(map, SIZE);
}

struct debugger {
	char *addr;
	uint64_t word;
};

static int run_debugger(void *arg)
{
	struct debugger *debugger = arg;

	return pfnmap_proc_mem(debugger->addr, &debugger->word, sizeof(debugger->word), false);
}

/* A touch at a moment that the test chooses: not even a thread starts under a debugger's locks. */
struct late_touch {
	char *addr;
	atomic_bool go;
};

static void wait_for_moment(const struct late_touch *touch)
{
	while (!touch->go)
		sched_yield();
}

static int run_late_touch(void *arg)
{
	struct late_touch *touch = arg;

	wait_for_moment(touch);
	return run_touch(touch->addr);
}

/*
 * A debugger holds the reservation while it waits for the buffer to move into reach. The first
 * touch, under the VMA lock alone, finds the buffer reserved.
 */
static void test_touch_vma_lock(void)
{
	struct vpfn_thread debug_worker, touch_worker;
	struct late_touch touch = {};
	struct debugger debugger;
	struct vpfn_bo bo;
	struct vpfn_gate gate;
	char *map;

	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	fill_visible();
	create(fd, SIZE, 0, &bo);
	map = vpfn_map_whole(fd, &bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));

	touch.addr = map;
	vpfn_worker_start(&touch_worker, run_late_touch, &touch);
	debugger.addr = map + SIZE / 2;
	vpfn_worker_start(&debug_worker, run_debugger, &debugger);
	vpfn_worker_settle(&debug_worker);
	igt_assert(!vpfn_thread_is_done(&debug_worker));
	touch.go = true;
	vpfn_worker_settle(&touch_worker);
	igt_assert(!vpfn_thread_is_done(&touch_worker));
	assert_busy(&bo);

	let_go(&gate);
	igt_assert_eq(vpfn_worker_finish(&debug_worker), 0);
	igt_assert_eq(vpfn_worker_finish(&touch_worker), 0);
	igt_assert_eq_u64(debugger.word, (uint64_t)NEW << 32 | NEW);
	igt_assert_eq_u64(pfnmap_load(map), (uint64_t)NEW << 32 | NEW);
	vpfn_assert_level(fd, map, VPFN_PMD);
	assert_filled(&bo, NEW);
	munmap(map, SIZE);
}

/*
 * The kernel writes a futex for its caller (fault_in_user_writeable()): such a fault may not ask
 * to be tried again without locks, so that it keeps the buffer reserved while it waits.
 */
static int run_late_fault(void *arg)
{
	struct late_touch *fault = arg;
	uint32_t none = 0;

	wait_for_moment(fault);
	return syscall(SYS_futex, &none, FUTEX_WAKE_OP_PRIVATE, 0, 0, fault->addr,
		       FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 1)) < 0 ? -errno : 0;
}

/*
 * A new buffer that is about to be cleared: the engine clears one after the other, and is busy
 * with the eviction of one that it may not touch before the gate opens.
 */
static void create_busy(struct vpfn_gate *gate, struct vpfn_thread *evict, uint64_t size,
			struct vpfn_bo *bo)
{
	struct vpfn_bo first;

	create(big, PFNMAP_2M, CPU_ACCESS, &first);
	hold(gate, big, vpfn_cmd_fill(&first, 0, PFNMAP_2M, NEW));
	vpfn_worker_start(evict, vpfn_worker_evict, &big);
	vpfn_worker_settle(evict);
	create(big, size, CPU_ACCESS, bo);
	igt_assert_eq(vpfn_bo_wait(big, bo, 0, 0), -ETIME);
}

#define MAX_FAULTS	2

/* Faults that begin one after the other, and the levels of the leaves that are there in the end. */
struct fault_order {
	const char *name;
	struct {
		bool other;		/* in another mapping of the buffer */
		unsigned int half;	/* of the buffer */
		enum vpfn_level limit;
		enum vpfn_level level;
	} faults[MAX_FAULTS];
};

static const struct fault_order fault_orders[] = {
	{
		/* A page table comes to be where a fault saw room for a PMD leaf. */
		"pmd", {
			{ false, 0, VPFN_PTE, VPFN_PTE },
			{ false, 1, VPFN_PMD, VPFN_PTE },
		},
	}, {
		/* The buffer is reserved, and the leaf is large all the same. */
		"reserved", {
			{ true, 0, VPFN_PTE, VPFN_PTE },
			{ false, 1, VPFN_PMD, VPFN_PMD },
		},
	},
};

/* A worker that waits for the buffer, or for what the holder of its reservation waits for. */
static void let_wait(struct vpfn_thread *worker, atomic_bool *go)
{
	*go = true;
	vpfn_worker_settle(worker);
	igt_assert(!vpfn_thread_is_done(worker));
}

static void test_fault_order(const struct fault_order *order)
{
	struct late_touch faults[MAX_FAULTS] = {};
	struct vpfn_thread evict, workers[MAX_FAULTS];
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	void *maps[2];

	create_busy(&gate, &evict, PFNMAP_2M, &bo);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		igt_assert_eq(vpfn_bo_map(big, &bo, &maps[i]), 0);
	for (unsigned int i = 0; i < MAX_FAULTS; i++) {
		faults[i].addr = (char *)maps[order->faults[i].other] +
				 order->faults[i].half * bo.size / 2;
		vpfn_worker_start(&workers[i], run_late_fault, &faults[i]);
	}
	for (unsigned int i = 0; i < MAX_FAULTS; i++) {
		igt_assert_eq(vpfn_limit_set(order->faults[i].limit), 0);
		let_wait(&workers[i], &faults[i].go);
	}

	let_go(&gate);
	igt_assert_eq(vpfn_worker_finish(&evict), 0);
	for (unsigned int i = 0; i < MAX_FAULTS; i++)
		igt_assert_eq(vpfn_worker_finish(&workers[i]), 0);
	for (unsigned int i = 0; i < MAX_FAULTS; i++)
		vpfn_assert_level(big, faults[i].addr, order->faults[i].level);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		igt_assert_eq(munmap(maps[i], bo.size), 0);
	igt_assert_eq(vpfn_bo_close(big, &bo), 0);
}

static bool has_page_table(const void *kib)
{
	return vpfn_page_table_kib() > *(const long *)kib;
}

/*
 * A fault that may use a PUD leaf saw an empty slot and waits for the buffer. A fault that may not
 * makes the core put a page table there meanwhile.
 */
static void test_fault_order_pud(void)
{
	struct late_touch small = {}, large = {};
	struct vpfn_thread evict, small_worker, large_worker;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	void *map;
	long kib;

	create_busy(&gate, &evict, PFNMAP_1G, &bo);
	igt_assert_eq(vpfn_bo_map(big, &bo, &map), 0);
	small.addr = map;
	large.addr = (char *)map + PFNMAP_1G / 2;
	vpfn_worker_start(&small_worker, run_late_fault, &small);
	vpfn_worker_start(&large_worker, run_late_fault, &large);

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	let_wait(&large_worker, &large.go);
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	kib = vpfn_page_table_kib();
	let_wait(&small_worker, &small.go);
	igt_assert_eq(pfnmap_wait_until(has_page_table, &kib), 0);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);

	let_go(&gate);
	igt_assert_eq(vpfn_worker_finish(&evict), 0);
	igt_assert_eq(vpfn_worker_finish(&small_worker), 0);
	igt_assert_eq(vpfn_worker_finish(&large_worker), 0);
	vpfn_assert_level(big, small.addr, VPFN_PMD);
	vpfn_assert_level(big, large.addr, VPFN_PMD);
	igt_assert_eq(munmap(map, bo.size), 0);
	igt_assert_eq(vpfn_bo_close(big, &bo), 0);
}

static bool child_sleeps(const void *arg)
{
	const pid_t *pid = arg;

	return vpfn_task_sleeps(*pid, *pid);
}

static int killed_status;

static bool child_is_dead(const void *arg)
{
	const pid_t *pid = arg;

	return waitpid(*pid, &killed_status, WNOHANG) == *pid;
}

static void test_killed(void)
{
	_Atomic uint64_t *step = mmap(NULL, PFNMAP_PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vpfn_bo bo;
	struct vpfn_gate gate;
	char *map;
	pid_t pid;

	igt_assert(step != MAP_FAILED);
	fill_visible();
	create(fd, SIZE, 0, &bo);
	map = vpfn_map_whole(fd, &bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	pid = fork();
	if (!pid) {
		*step = 1;
		pfnmap_load(map);
		*step = 2;
		_exit(0);
	}

	igt_assert(pid > 0);
	while (!*step)
		sched_yield();
	igt_assert_eq(pfnmap_wait_until(child_sleeps, &pid), 0);
	igt_assert_eq_u64(*step, 1);

	/* The gate is closed: nothing but the signal can end the wait. */
	kill(pid, SIGKILL);
	igt_assert_eq(pfnmap_wait_until(child_is_dead, &pid), 0);
	igt_assert(WIFSIGNALED(killed_status) && WTERMSIG(killed_status) == SIGKILL);
	igt_assert_eq_u64(*step, 1);
	assert_busy(&bo);

	let_go(&gate);
	wait_idle(&bo);
	assert_filled(&bo, NEW);
	munmap(map, SIZE);
	munmap((void *)step, PFNMAP_PAGE);
}

/*
 * A job that waits, a move that waits for it, and a job of another file, before or after the
 * move, that is ordered by the buffer alone. "first" writes or reads @x, "second" the other.
 * @next gets the place that @x leaves: no late job may write there.
 */
static void run_ordered(struct drm_vpfn_cmd first, struct drm_vpfn_cmd second, int second_file,
			bool evict_first, const struct vpfn_bo *x, struct vpfn_bo *next)
{
	struct submission submission = { .file = second_file, .cmd = second };
	struct vpfn_thread evict, submit, move_in;
	struct vpfn_gate gate;

	igt_assert_eq(drmSyncobjCreate(second_file, 0, &submission.done), 0);
	hold(&gate, fd, first);
	if (evict_first) {
		vpfn_worker_start(&evict, vpfn_worker_evict, &fd);
		vpfn_worker_settle(&evict);
	}
	vpfn_worker_start(&move_in, run_create, next);
	vpfn_worker_settle(&move_in);
	vpfn_worker_start(&submit, run_submit, &submission);
	vpfn_worker_settle(&submit);
	if (!evict_first) {
		vpfn_worker_start(&evict, vpfn_worker_evict, &fd);
		vpfn_worker_settle(&evict);
	}
	assert_busy(x);
	if (vpfn_thread_is_done(&submit))
		igt_assert_eq(vpfn_still_waits(second_file, submission.done), 0);

	let_go(&gate);
	igt_assert_eq(vpfn_worker_finish(&evict), 0);
	igt_assert_eq(vpfn_worker_finish(&move_in), 0);
	igt_assert_eq(vpfn_worker_finish(&submit), 0);
	igt_assert_eq(vpfn_sync_status(second_file, submission.done, VPFN_LONG_NS), 0);
	wait_idle(x);
}

static void test_order(bool write_first, bool evict_first)
{
	int other = vpfn_open_small(O_RDWR);
	struct vpfn_bo x, y, other_x, other_y, next;
	struct drm_vpfn_cmd write, read;

	create(fd, SIZE, 0, &x);
	create(fd, SIZE, 0, &y);
	share(&x, other, &other_x);
	share(&y, other, &other_y);
	igt_assert_eq(vpfn_fill(fd, &x, 0, SIZE, OLD), 0);

	if (write_first) {
		write = vpfn_cmd_fill(&x, 0, SIZE, NEW);
		read = vpfn_cmd_copy(&other_y, 0, &other_x, 0, SIZE);
		run_ordered(write, read, other, evict_first, &x, &next);
	} else {
		read = vpfn_cmd_copy(&y, 0, &x, 0, SIZE);
		write = vpfn_cmd_fill(&other_x, 0, SIZE, NEW);
		run_ordered(read, write, other, evict_first, &x, &next);
	}
	assert_filled(&x, NEW);
	assert_filled(&y, write_first ? NEW : OLD);
	assert_filled(&next, 0);
	close(other);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "touch-does-not-wait",
	  "A buffer that was created for the CPU is within reach at once, busy or not.",
	  test_touch_does_not_wait },
	{ "touch-waits", "A touch of a buffer that has to move waits for the job that writes it.",
	  test_touch_waits },
	{ "touch-vma-lock",
	  "A touch under the lock of the VMA finds the buffer reserved by a debugger.",
	  test_touch_vma_lock },
	{ "killed", "A task that waits in a fault can be killed.", test_killed },
};

static const struct {
	const char *name;
	const char *describe;
	bool write_first;
} orders[] = {
	{ "order-write-read",
	  "A buffer moves between a write and a read of it, and their order stays.", true },
	{ "order-read-write",
	  "A buffer moves between a read and a write of it, and their order stays.", false },
};

/* Each test begins with files of its own: the buffers of another one go with its files. */
static void open_files(void)
{
	if (fd >= 0) {
		vpfn_meter_close(&meter);
		close(fd);
		close(big);
	}
	vpfn_limit_restore();
	big = vpfn_open(O_RDWR);
	igt_assert_lte(0, big);
	fd = vpfn_open_small(O_RDWR);
	igt_assert_lte(0, fd);
	igt_assert_eq(vpfn_meter_open(fd, &meter), 0);
}

int igt_main()
{
	igt_fixture() {
		int file;

		close(vpfn_require_device());
		file = vpfn_require_small_device();
		igt_assert_eq(vpfn_visible_vram_size(file, &visible), 0);
		close(file);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			open_files();
			tests[i].run();
		}
	}

	igt_describe("Faults that want leaves of several sizes wait for one buffer.");
	igt_subtest_with_dynamic("fault-order") {
		for (unsigned int i = 0; i < ARRAY_SIZE(fault_orders); i++) {
			igt_dynamic(fault_orders[i].name) {
				open_files();
				test_fault_order(&fault_orders[i]);
			}
		}
		igt_dynamic("pud") {
			open_files();
			test_fault_order_pud();
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		igt_describe(orders[i].describe);
		igt_subtest_with_dynamic(orders[i].name) {
			igt_dynamic("move-first") {
				open_files();
				test_order(orders[i].write_first, true);
			}
			igt_dynamic(orders[i].write_first ? "read-first" : "write-first") {
				open_files();
				test_order(orders[i].write_first, false);
			}
		}
	}
}
