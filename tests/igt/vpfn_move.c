// SPDX-License-Identifier: MIT
/*
 * Buffers move while they are in use: the CPU in the middle of a fault, jobs that have not
 * run yet, mappings that come and go, other processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_consumer.h"
#include "vpfn_dmabuf.h"
#include "vpfn_gate.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_model.h"
#include "vpfn_pattern.h"
#include "vpfn_random.h"
#include "vpfn_thread.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that move while CPU and engine use them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SIZE		(4 * VPFN_2M)

/* How often a buffer goes out and comes back while threads or processes work on it. */
#define MOVES		20
#define RACE_MOVES	4
#define RACE_MOVES_PUD	2

#define OLD		0x01d01d01
#define NEW		0x4e574e57

static int big = -1, fd = -1;
static struct vpfn_meter meter;
static uint64_t vram, visible;

static void create(int file, uint64_t size, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, flags, bo), 0);
}

static uint32_t where(const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

static char *map_whole(const struct vpfn_bo *bo)
{
	void *map;

	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	return map;
}

static void assert_engine_sees(const struct vpfn_bo *bo, const struct vpfn_content *content)
{
	igt_assert_eq(vpfn_meter_check(&meter, bo, content, 0, bo->size), 0);
}

static void assert_cpu_sees(const struct vpfn_bo *bo, const struct vpfn_content *content)
{
	char *map = map_whole(bo);

	igt_assert_eq_u64(vpfn_content_check(content, map, 0, bo->size), bo->size);
	munmap(map, bo->size);
}

static void assert_filled(const struct vpfn_bo *bo, uint32_t pattern)
{
	struct vpfn_content content = vpfn_content_pattern(pattern);

	assert_engine_sees(bo, &content);
	assert_cpu_sees(bo, &content);
}

/* A thread that may have to wait. No assertion may fail in there. */
static void worker_start(struct vpfn_thread *worker, int (*run)(void *arg), void *arg)
{
	igt_assert_eq(vpfn_thread_start(worker, run, arg), 0);
}

/* Until the worker is done, or waits for what keeps it from being done. */
static void worker_settle(const struct vpfn_thread *worker)
{
	igt_assert_eq(vpfn_thread_settle(worker, NULL), 0);
}

static int worker_finish(struct vpfn_thread *worker)
{
	int ret;

	igt_assert_eq(vpfn_thread_join(worker, &ret), 0);
	return ret;
}

/* A job that the gate holds back. */
static void hold(struct vpfn_gate *gate, int file, struct drm_vpfn_cmd cmd)
{
	uint32_t syncobj;

	igt_assert_eq(vpfn_gate_make(gate), 0);
	igt_assert_eq(vpfn_gate_syncobj(gate, file, &syncobj), 0);
	igt_assert_eq(vpfn_submit(file, &cmd, 1, syncobj, 0), 0);
	drmSyncobjDestroy(file, syncobj);
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

static int run_evict(void *file)
{
	return vpfn_evict(*(int *)file);
}

static int run_touch(void *addr)
{
	vpfn_load(addr);
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

	/* It began within reach, so nothing stands between the CPU and it: not even its job. */
	create(fd, SIZE, CPU_ACCESS, &bo);
	map = map_whole(&bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	worker_start(&worker, run_touch, map);
	igt_assert_eq(worker_finish(&worker), 0);
	igt_assert_eq_u64(vpfn_load(map), 0);
	assert_busy(&bo);
	igt_assert_eq(where(&bo), VRAM);

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
	map = map_whole(&bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	worker_start(&worker, run_touch, map);
	worker_settle(&worker);
	igt_assert(!vpfn_thread_is_done(&worker));
	assert_busy(&bo);

	let_go(&gate);
	igt_assert_eq(worker_finish(&worker), 0);
	igt_assert_eq_u64(vpfn_load(map), (uint64_t)NEW << 32 | NEW);
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

	return vpfn_proc_mem(debugger->addr, &debugger->word, sizeof(debugger->word), false);
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
 * A debugger has the buffer moved to within reach, and has it reserved while it waits for that.
 * A first touch, which comes under the lock of the VMA alone, finds it so.
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
	map = map_whole(&bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));

	touch.addr = map;
	worker_start(&touch_worker, run_late_touch, &touch);
	debugger.addr = map + SIZE / 2;
	worker_start(&debug_worker, run_debugger, &debugger);
	worker_settle(&debug_worker);
	igt_assert(!vpfn_thread_is_done(&debug_worker));
	touch.go = true;
	worker_settle(&touch_worker);
	igt_assert(!vpfn_thread_is_done(&touch_worker));
	assert_busy(&bo);

	let_go(&gate);
	igt_assert_eq(worker_finish(&debug_worker), 0);
	igt_assert_eq(worker_finish(&touch_worker), 0);
	igt_assert_eq_u64(debugger.word, (uint64_t)NEW << 32 | NEW);
	igt_assert_eq_u64(vpfn_load(map), (uint64_t)NEW << 32 | NEW);
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

	create(big, VPFN_2M, CPU_ACCESS, &first);
	hold(gate, big, vpfn_cmd_fill(&first, 0, VPFN_2M, NEW));
	worker_start(evict, run_evict, &big);
	worker_settle(evict);
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
	worker_settle(worker);
	igt_assert(!vpfn_thread_is_done(worker));
}

static void test_fault_order(const struct fault_order *order)
{
	struct late_touch faults[MAX_FAULTS] = {};
	struct vpfn_thread evict, workers[MAX_FAULTS];
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	void *maps[2];

	create_busy(&gate, &evict, VPFN_2M, &bo);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		igt_assert_eq(vpfn_bo_map(big, &bo, &maps[i]), 0);
	for (unsigned int i = 0; i < MAX_FAULTS; i++) {
		faults[i].addr = (char *)maps[order->faults[i].other] +
				 order->faults[i].half * bo.size / 2;
		worker_start(&workers[i], run_late_fault, &faults[i]);
	}
	for (unsigned int i = 0; i < MAX_FAULTS; i++) {
		igt_assert_eq(vpfn_limit_set(order->faults[i].limit), 0);
		let_wait(&workers[i], &faults[i].go);
	}

	let_go(&gate);
	igt_assert_eq(worker_finish(&evict), 0);
	for (unsigned int i = 0; i < MAX_FAULTS; i++)
		igt_assert_eq(worker_finish(&workers[i]), 0);
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

	create_busy(&gate, &evict, VPFN_1G, &bo);
	igt_assert_eq(vpfn_bo_map(big, &bo, &map), 0);
	small.addr = map;
	large.addr = (char *)map + VPFN_1G / 2;
	worker_start(&small_worker, run_late_fault, &small);
	worker_start(&large_worker, run_late_fault, &large);

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	let_wait(&large_worker, &large.go);
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	kib = vpfn_page_table_kib();
	let_wait(&small_worker, &small.go);
	igt_assert_eq(vpfn_wait_until(has_page_table, &kib), 0);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);

	let_go(&gate);
	igt_assert_eq(worker_finish(&evict), 0);
	igt_assert_eq(worker_finish(&small_worker), 0);
	igt_assert_eq(worker_finish(&large_worker), 0);
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
	_Atomic uint64_t *step = mmap(NULL, VPFN_PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vpfn_bo bo;
	struct vpfn_gate gate;
	char *map;
	pid_t pid;

	igt_assert(step != MAP_FAILED);
	fill_visible();
	create(fd, SIZE, 0, &bo);
	map = map_whole(&bo);
	hold(&gate, fd, vpfn_cmd_fill(&bo, 0, SIZE, NEW));
	pid = fork();
	if (!pid) {
		*step = 1;
		vpfn_load(map);
		*step = 2;
		_exit(0);
	}

	igt_assert(pid > 0);
	while (!*step)
		sched_yield();
	igt_assert_eq(vpfn_wait_until(child_sleeps, &pid), 0);
	igt_assert_eq_u64(*step, 1);

	/* The gate is closed: nothing but the signal can end the wait. */
	kill(pid, SIGKILL);
	igt_assert_eq(vpfn_wait_until(child_is_dead, &pid), 0);
	igt_assert(WIFSIGNALED(killed_status) && WTERMSIG(killed_status) == SIGKILL);
	igt_assert_eq_u64(*step, 1);
	assert_busy(&bo);

	let_go(&gate);
	wait_idle(&bo);
	assert_filled(&bo, NEW);
	munmap(map, SIZE);
	munmap((void *)step, VPFN_PAGE);
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
		worker_start(&evict, run_evict, &fd);
		worker_settle(&evict);
	}
	worker_start(&move_in, run_create, next);
	worker_settle(&move_in);
	worker_start(&submit, run_submit, &submission);
	worker_settle(&submit);
	if (!evict_first) {
		worker_start(&evict, run_evict, &fd);
		worker_settle(&evict);
	}
	assert_busy(x);
	if (vpfn_thread_is_done(&submit))
		igt_assert_eq(vpfn_still_waits(second_file, submission.done), 0);

	let_go(&gate);
	igt_assert_eq(worker_finish(&evict), 0);
	igt_assert_eq(worker_finish(&move_in), 0);
	igt_assert_eq(worker_finish(&submit), 0);
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

/* One buffer, and those who fault on it while it moves. */
struct race {
	int fd;
	struct vpfn_bo bo;
	char *map;
	uint64_t step;		/* from one word to the next, which is another writer's */
	atomic_bool stop;
};

/* A thread that writes words of its own and looks whether they are there. */
struct writer {
	struct vpfn_thread worker;
	struct race *race;
	unsigned int slot;
	uint64_t last;		/* the last value that was written everywhere */
	uint64_t bad;		/* offset of a word that was wrong */
};

#define WRITERS		8

static uint64_t word_of(const struct writer *writer, uint64_t at, uint64_t value)
{
	return value << 32 | (at / VPFN_PAGE) << 8 | writer->slot;
}

static int run_writer(void *arg)
{
	struct writer *writer = arg;
	struct race *race = writer->race;
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };
	uint64_t first = writer->slot * race->step, step = WRITERS * race->step;

	for (uint64_t value = 1; !race->stop || value == 1; value++) {
		for (uint64_t at = first; at < race->bo.size; at += step)
			vpfn_store(race->map + at, word_of(writer, at, value));
		for (uint64_t at = first; at < race->bo.size; at += step) {
			if (vpfn_load(race->map + at) != word_of(writer, at, value)) {
				writer->bad = at;
				return -EBADMSG;
			}
		}
		writer->last = value;
		/* Or those who move the buffer get the CPU too late. */
		nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * What the writers left, as the engine reads it: in each page a word and zeroes. Written pages that
 * adjoin are checked as one range.
 */
static void assert_written(const struct race *race, const struct writer *writers)
{
	uint64_t range = race->step == VPFN_PAGE ? race->bo.size : VPFN_PAGE;
	uint64_t stride = race->step == VPFN_PAGE ? race->bo.size : race->step;
	char *expected = vpfn_anonymous(range);
	uint32_t crc;

	igt_assert(expected);
	for (uint64_t start = 0; start < race->bo.size; start += stride) {
		for (uint64_t at = start; at < start + range; at += VPFN_PAGE) {
			const struct writer *writer = &writers[at / race->step % WRITERS];

			vpfn_store(expected + at - start, word_of(writer, at, writer->last));
		}
		igt_assert_eq(vpfn_crc(race->fd, &race->bo, start, range, &crc), 0);
		igt_assert_eq_u64(crc, vpfn_crc32c(expected, range));
	}
	munmap(expected, range);
}

/*
 * Out by the driver's file, back by a job or by a fault, VPFN_RACE_MOVES times. A PUD leaf needs a
 * buffer that takes long to move.
 */
static void test_fault_race(enum vpfn_level level)
{
	bool large = level == VPFN_PUD;
	struct race race = { .fd = large ? big : fd, .step = large ? 8 * MIB : VPFN_PAGE };
	unsigned int moves = large ? RACE_MOVES_PUD :
				     vpfn_number_from_env("VPFN_RACE_MOVES", RACE_MOVES);
	unsigned int moved = 0, rounds = 0;
	struct writer writers[WRITERS] = {};
	struct vpfn_bo copy;
	uint32_t placement;
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(race.fd, large ? VPFN_1G : 2 * VPFN_2M, &race.bo), 0);
	igt_assert_eq(vpfn_bo_create(race.fd, VPFN_PAGE, &copy), 0);
	igt_assert_eq(vpfn_bo_map(race.fd, &race.bo, &map), 0);
	race.map = map;

	for (unsigned int i = 0; i < WRITERS; i++) {
		writers[i].race = &race;
		writers[i].slot = i;
		worker_start(&writers[i].worker, run_writer, &writers[i]);
	}
	while (moved < moves) {
		/* It stays if a writer has it reserved. */
		int err = vpfn_evict(race.fd);

		igt_assert_eq(err, 0);
		igt_assert_eq(vpfn_bo_placement(race.fd, &race.bo, &placement), 0);
		/* A fault that wants a PUD leaf brings it back before GEM_INFO is called. */
		moved += large ? !err : placement == SYSTEM;
		igt_assert_eq(vpfn_copy(race.fd, &copy, 0, &race.bo, 0, VPFN_PAGE), 0);
		rounds++;
	}
	race.stop = true;
	igt_info("%u moves in %u rounds\n", moved, rounds);

	for (unsigned int i = 0; i < WRITERS; i++) {
		int err = worker_finish(&writers[i].worker);

		igt_info("%llu rounds\n", (unsigned long long)writers[i].last);
		igt_assert_f(!err, "lost at %#llx\n", (unsigned long long)writers[i].bad);
	}
	assert_written(&race, writers);
	igt_assert_eq(munmap(map, race.bo.size), 0);
	vpfn_bo_close(race.fd, &copy);
	vpfn_bo_close(race.fd, &race.bo);
}

struct mover {
	struct vpfn_bo bo, copy;
	atomic_bool stop;
	unsigned int moves;
};

static int run_mover(void *arg)
{
	struct mover *mover = arg;
	int err = 0;

	while (!err && (!mover->stop || !mover->moves)) {
		err = vpfn_evict(fd);
		if (!err)
			err = vpfn_copy(fd, &mover->copy, 0, &mover->bo, 0, SIZE);
		mover->moves++;
	}
	return err;
}

static void check_pattern(const struct vpfn_pattern *pattern, const char *map)
{
	igt_assert_eq_u64(vpfn_pattern_check(pattern, map, 0, SIZE), SIZE);
}

/* Maps, looks, makes a hole, looks, unmaps; the borders of the hole are those of no leaf. */
static void map_and_unmap(const struct vpfn_bo *bo, const struct vpfn_pattern *pattern)
{
	uint64_t from = VPFN_2M - VPFN_PAGE, to = 2 * VPFN_2M + VPFN_PAGE;
	char *map = map_whole(bo);

	check_pattern(pattern, map);
	igt_assert_eq(munmap(map + from, to - from), 0);
	igt_assert_eq_u64(vpfn_pattern_check(pattern, map, 0, from), from);
	igt_assert_eq_u64(vpfn_pattern_check(pattern, map, to, SIZE), SIZE);
	igt_assert_eq(munmap(map, SIZE), 0);
}

/* A child inherits the mapping, looks, writes a word of its own, and goes. */
static void fork_and_look(const struct vpfn_pattern *pattern, char *map, uint64_t word)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (vpfn_pattern_check(pattern, map, 0, SIZE) != SIZE)
			_exit(1);
		vpfn_store(map + sizeof(word), word);
		if (munmap(map + VPFN_2M + VPFN_PAGE, VPFN_PAGE))
			_exit(2);
		if (vpfn_pattern_check(pattern, map, 2 * VPFN_2M, SIZE) != SIZE)
			_exit(3);
		_exit(0);
	}
	igt_assert(pid > 0);
	igt_assert_eq(waitpid(pid, &status, 0), pid);
	igt_assert_eq(status, 0);
	igt_assert_eq_u64(vpfn_load(map + sizeof(word)), word);
	check_pattern(pattern, map);
}

static void test_unmap_race(bool with_fork)
{
	struct vpfn_pattern pattern = { .seed = 0xfc, .size = SIZE };
	static struct mover mover;
	struct vpfn_thread worker;
	char *map;

	mover = (struct mover) {};
	create(fd, SIZE, CPU_ACCESS, &mover.bo);
	create(fd, SIZE, 0, &mover.copy);
	map = map_whole(&mover.bo);
	vpfn_pattern_fill(&pattern, map, 0, SIZE);

	worker_start(&worker, run_mover, &mover);
	for (int i = 1; i <= MOVES; i++) {
		if (with_fork)
			fork_and_look(&pattern, map, i);
		else
			map_and_unmap(&mover.bo, &pattern);
	}
	mover.stop = true;
	igt_assert_eq(worker_finish(&worker), 0);
	igt_info("%u moves\n", mover.moves);
	check_pattern(&pattern, map);
	munmap(map, SIZE);
	vpfn_bo_close(fd, &mover.copy);
	vpfn_bo_close(fd, &mover.bo);
}

#define PROCESSES	4

/* One of several that together want twice the device memory there is. */
static void run_process(unsigned int self)
{
	struct vpfn_bo bos[8];
	struct vpfn_meter own;
	int file = vpfn_open_small(O_RDWR);

	igt_assert_lte(0, file);
	igt_assert_eq(vpfn_meter_open(file, &own), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bos); i++)
		create(file, vram / 2 / ARRAY_SIZE(bos), i % 2 ? CPU_ACCESS : 0, &bos[i]);

	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(bos); i++)
			igt_assert_eq(vpfn_fill(file, &bos[i], 0, bos[i].size,
						self << 16 | round << 8 | i), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(bos); i++) {
			struct vpfn_content content =
				vpfn_content_pattern(self << 16 | round << 8 | i);
			uint64_t tail = bos[i].size - VPFN_2M, end;
			void *map;

			/* Both ends by the CPU, which is slow; all of it by the engine. */
			igt_assert_eq(vpfn_bo_map(file, &bos[i], &map), 0);
			end = vpfn_content_check(&content, map, 0, VPFN_2M);
			if (end == VPFN_2M)
				end = vpfn_content_check(&content, map, tail, bos[i].size);
			igt_assert_f(end == bos[i].size, "process %u, round %u, buffer %u: %#llx\n",
				     self, round, i, (unsigned long long)end);
			munmap(map, bos[i].size);
			igt_assert_eq(vpfn_meter_check(&own, &bos[i], &content, 0, bos[i].size), 0);
		}
	}
	close(file);
}

static void test_processes(void)
{
	igt_fork(child, PROCESSES)
		run_process(child + 1);
	igt_waitchildren();
}

static void test_munmap_race(void)
{
	test_unmap_race(false);
}

static void test_fork_race(void)
{
	test_unmap_race(true);
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
	{ "munmap-race", "Mappings come, break and go while the buffer moves.", test_munmap_race },
	{ "fork-race", "Children inherit mappings and break them while the buffer moves.",
	  test_fork_race },
	{ "processes", "Several processes want more than there is, and each keeps its contents.",
	  test_processes },
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
		file = vpfn_open_small(O_RDWR);
		igt_require_f(file >= 0, "no device with memory that the CPU cannot see\n");
		igt_assert_eq(vpfn_vram_size(file, &vram), 0);
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

	igt_describe("Eight threads write and read while the buffer moves: nothing is lost.");
	igt_subtest_with_dynamic("fault-race") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level)) {
				open_files();
				test_fault_race(level);
			}
		}
	}
}
