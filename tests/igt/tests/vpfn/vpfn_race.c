// SPDX-License-Identifier: MIT
/*
 * Threads and processes fault, map, unmap and fork while buffers move: is a byte lost?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_random.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that move while threads and processes use them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SIZE		(4 * PFNMAP_2M)

/* How often a buffer is evicted and comes back */
#define MOVES		20
#define RACE_MOVES	4
#define RACE_MOVES_PUD	2

static int big = -1, fd = -1;
static uint64_t vram;

static void create(int file, uint64_t size, uint32_t flags, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, flags, bo), 0);
}

/* A buffer on which threads fault while it moves */
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
	return value << 32 | (at / PFNMAP_PAGE) << 8 | writer->slot;
}

static int run_writer(void *arg)
{
	struct writer *writer = arg;
	struct race *race = writer->race;
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };
	uint64_t first = writer->slot * race->step, step = WRITERS * race->step;

	for (uint64_t value = 1; !race->stop || value == 1; value++) {
		for (uint64_t at = first; at < race->bo.size; at += step)
			pfnmap_store(race->map + at, word_of(writer, at, value));
		for (uint64_t at = first; at < race->bo.size; at += step) {
			if (pfnmap_load(race->map + at) != word_of(writer, at, value)) {
				writer->bad = at;
				return -EBADMSG;
			}
		}
		writer->last = value;
		/* Leave the CPU to the thread that moves the buffer. */
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
	uint64_t range = race->step == PFNMAP_PAGE ? race->bo.size : PFNMAP_PAGE;
	uint64_t stride = race->step == PFNMAP_PAGE ? race->bo.size : race->step;
	char *expected = pfnmap_anonymous(range);
	uint32_t crc;

	igt_assert(expected);
	for (uint64_t start = 0; start < race->bo.size; start += stride) {
		for (uint64_t at = start; at < start + range; at += PFNMAP_PAGE) {
			const struct writer *writer = &writers[at / race->step % WRITERS];

			pfnmap_store(expected + at - start, word_of(writer, at, writer->last));
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
	struct race race = { .fd = large ? big : fd, .step = large ? 8 * MIB : PFNMAP_PAGE };
	unsigned int moves = large ? RACE_MOVES_PUD :
				     vpfn_number_from_env("VPFN_RACE_MOVES", RACE_MOVES);
	unsigned int moved = 0, rounds = 0;
	struct writer writers[WRITERS] = {};
	struct vpfn_bo copy;
	uint32_t placement;
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(race.fd, large ? PFNMAP_1G : 2 * PFNMAP_2M, &race.bo), 0);
	igt_assert_eq(vpfn_bo_create(race.fd, PFNMAP_PAGE, &copy), 0);
	igt_assert_eq(vpfn_bo_map(race.fd, &race.bo, &map), 0);
	race.map = map;

	for (unsigned int i = 0; i < WRITERS; i++) {
		writers[i].race = &race;
		writers[i].slot = i;
		vpfn_worker_start(&writers[i].worker, run_writer, &writers[i]);
	}
	while (moved < moves) {
		/* It stays if a writer has it reserved. */
		int err = vpfn_evict(race.fd);

		igt_assert_eq(err, 0);
		igt_assert_eq(vpfn_bo_placement(race.fd, &race.bo, &placement), 0);
		/* A fault that wants a PUD leaf brings it back before GEM_INFO is called. */
		moved += large || placement == SYSTEM;
		igt_assert_eq(vpfn_copy(race.fd, &copy, 0, &race.bo, 0, PFNMAP_PAGE), 0);
		rounds++;
	}
	race.stop = true;
	igt_info("%u moves in %u rounds\n", moved, rounds);

	for (unsigned int i = 0; i < WRITERS; i++) {
		int err = vpfn_worker_finish(&writers[i].worker);

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

static void check_pattern(const struct pfnmap_pattern *pattern, const char *map)
{
	igt_assert_eq_u64(pfnmap_pattern_check(pattern, map, 0, SIZE), SIZE);
}

/* Maps, looks, makes a hole, looks, unmaps; the borders of the hole are those of no leaf. */
static void map_and_unmap(const struct vpfn_bo *bo, const struct pfnmap_pattern *pattern)
{
	uint64_t from = PFNMAP_2M - PFNMAP_PAGE, to = 2 * PFNMAP_2M + PFNMAP_PAGE;
	char *map = vpfn_map_whole(fd, bo);

	check_pattern(pattern, map);
	igt_assert_eq(munmap(map + from, to - from), 0);
	igt_assert_eq_u64(pfnmap_pattern_check(pattern, map, 0, from), from);
	igt_assert_eq_u64(pfnmap_pattern_check(pattern, map, to, SIZE), SIZE);
	igt_assert_eq(munmap(map, SIZE), 0);
}

/* A child inherits the mapping, looks, writes a word of its own, and goes. */
static void fork_and_look(const struct pfnmap_pattern *pattern, char *map, uint64_t word)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (pfnmap_pattern_check(pattern, map, 0, SIZE) != SIZE)
			_exit(1);
		pfnmap_store(map + sizeof(word), word);
		if (munmap(map + PFNMAP_2M + PFNMAP_PAGE, PFNMAP_PAGE))
			_exit(2);
		if (pfnmap_pattern_check(pattern, map, 2 * PFNMAP_2M, SIZE) != SIZE)
			_exit(3);
		_exit(0);
	}
	igt_assert(pid > 0);
	igt_assert_eq(waitpid(pid, &status, 0), pid);
	igt_assert_eq(status, 0);
	igt_assert_eq_u64(pfnmap_load(map + sizeof(word)), word);
	check_pattern(pattern, map);
}

static void test_unmap_race(bool with_fork)
{
	struct pfnmap_pattern pattern = { .seed = 0xfc, .size = SIZE };
	static struct mover mover;
	struct vpfn_thread worker;
	char *map;

	mover = (struct mover) {};
	create(fd, SIZE, CPU_ACCESS, &mover.bo);
	create(fd, SIZE, 0, &mover.copy);
	map = vpfn_map_whole(fd, &mover.bo);
	pfnmap_pattern_fill(&pattern, map, 0, SIZE);

	vpfn_worker_start(&worker, run_mover, &mover);
	for (int i = 1; i <= MOVES; i++) {
		if (with_fork)
			fork_and_look(&pattern, map, i);
		else
			map_and_unmap(&mover.bo, &pattern);
	}
	mover.stop = true;
	igt_assert_eq(vpfn_worker_finish(&worker), 0);
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
			uint64_t tail = bos[i].size - PFNMAP_2M, end;
			void *map;

			/* Both ends by the CPU, which is slow; all of it by the engine. */
			igt_assert_eq(vpfn_bo_map(file, &bos[i], &map), 0);
			end = vpfn_content_check(&content, map, 0, PFNMAP_2M);
			if (end == PFNMAP_2M)
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
	{ "munmap-race", "Mappings come, break and go while the buffer moves.", test_munmap_race },
	{ "fork-race", "Children inherit mappings and break them while the buffer moves.",
	  test_fork_race },
	{ "processes", "Several processes want more than there is, and each keeps its contents.",
	  test_processes },
};

/* Each test begins with files of its own: the buffers of another one go with its files. */
static void open_files(void)
{
	if (fd >= 0) {
		close(fd);
		close(big);
	}
	vpfn_limit_restore();
	big = vpfn_open(O_RDWR);
	igt_assert_lte(0, big);
	fd = vpfn_open_small(O_RDWR);
	igt_assert_lte(0, fd);
}

int igt_main()
{
	igt_fixture() {
		int file;

		close(vpfn_require_device());
		file = vpfn_require_small_device();
		igt_assert_eq(vpfn_vram_size(file, &vram), 0);
		close(file);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			open_files();
			tests[i].run();
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
