// SPDX-License-Identifier: MIT
/*
 * Rules of huge pfnmap that only a test of its own sees broken: what a call must leave alone,
 * what threads must not do to each other, and what get_user_pages() must not take for a page.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_direct.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("What huge leaves may cost, and that they are not taken for page tables.");

static int fd = -1;
static struct pfnmap_disk disk;

static void remove_disk(int sig)
{
	(void)sig;
	pfnmap_disk_remove(&disk);
}

/* A buffer of @leaves leaves of @level, and an untouched mapping of it. */
static char *map_leaves(enum vpfn_level level, unsigned int leaves, struct vpfn_bo *bo)
{
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(fd, leaves * vpfn_level_size(level), bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	return map;
}

static void unmap_leaves(char *map, const struct vpfn_bo *bo)
{
	igt_assert_eq(munmap(map, bo->size), 0);
	vpfn_bo_close(fd, bo);
}

static const char *answer(int err)
{
	return err ? strerror(-err) : "works";
}

/*
 * Direct I/O pins pages by get_user_pages_fast(), which sees nothing but the entry. The driver
 * is not asked what it has put there: the dump of the page table says that it is large.
 */
static void test_direct_io(enum vpfn_level level)
{
	const size_t len = 4 * PFNMAP_PAGE;
	struct pfnmap_pattern pattern = { .seed = level, .size = len };
	char *plain = pfnmap_anonymous(len), *copy = pfnmap_anonymous(len), *map, *bytes;
	int file = open(disk.device, O_RDWR | O_DIRECT | O_CLOEXEC);
	const void *addrs[1];
	struct vpfn_leaf leaf;
	struct vpfn_bo bo;
	int err;

	igt_assert(file >= 0 && plain && copy);
	map = map_leaves(level, level == VPFN_PTE ? len / PFNMAP_PAGE : 1, &bo);
	bytes = map + bo.size / 2 - len / 2;
	pfnmap_pattern_bytes(&pattern, bytes, len);
	memcpy(plain, bytes, len);
	addrs[0] = bytes;
	igt_assert_eq(vpfn_leaves_from_ptdump(1, addrs, &leaf), 0);
	igt_assert_eq(leaf.level, level);

	err = pfnmap_write_direct(file, bytes, len);
	igt_info("  %s: O_DIRECT write: %s\n", vpfn_level_name(level), answer(err));
	igt_assert_eq(err, -EFAULT);
	err = pfnmap_read_direct(file, bytes, len);
	igt_info("  %s: O_DIRECT read: %s\n", vpfn_level_name(level), answer(err));
	igt_assert_eq(err, -EFAULT);
	igt_assert(!memcmp(plain, bytes, len));

	igt_assert_eq(pfnmap_write_direct(file, plain, len), 0);
	igt_assert_eq(pfnmap_read_direct(file, copy, len), 0);
	igt_assert(!memcmp(plain, copy, len));
	unmap_leaves(map, &bo);
	munmap(plain, len);
	munmap(copy, len);
	close(file);
}

/* Both leaves are there without another touch. */
static void assert_both(const char *map, enum vpfn_level level)
{
	vpfn_assert_level(fd, map, level);
	vpfn_assert_level(fd, map + vpfn_level_size(level), level);
}

static void split_by_munmap(char *page)
{
	igt_assert_eq(munmap(page, PFNMAP_PAGE), 0);
}

static void split_by_mprotect(char *page)
{
	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ), 0);
}

static void split_by_madvise(char *page)
{
	igt_assert_eq(madvise(page, PFNMAP_PAGE, MADV_DONTFORK), 0);
}

static void split_by_mmap(char *page)
{
	igt_assert(mmap(page, PFNMAP_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			-1, 0) == page);
}

static void (* const splits[])(char *page) = {
	split_by_munmap, split_by_mprotect, split_by_madvise, split_by_mmap,
};

/*
 * A process splits its mapping in the middle of the first of two leaves. It loses that one
 * alone, and its parent, who maps the same memory, loses none. The child has its leaves from
 * fork(), which takes none from the parent either.
 */
static void test_split_cost(enum vpfn_level level)
{
	uint64_t leaf = vpfn_level_size(level);
	struct vpfn_bo bo;
	char *map = map_leaves(level, 2, &bo);

	pfnmap_store(map, 1);
	pfnmap_store(map + leaf, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(splits); i++) {
		igt_fork(child, 1) {
			assert_both(map, level);
			splits[i](map + leaf / 2);
			vpfn_assert_level(fd, map, VPFN_NONE);
			vpfn_assert_level(fd, map + leaf, level);
			igt_assert_eq_u64(pfnmap_load(map), 1);
			igt_assert_eq_u64(pfnmap_load(map + leaf), 2);
		}
		igt_waitchildren();
		assert_both(map, level);
	}
	unmap_leaves(map, &bo);
}

/* A change of the protection changes the entries; only those without access have to go. */
static void test_protect_cost(enum vpfn_level level)
{
	uint64_t leaf = vpfn_level_size(level);
	struct vpfn_leaf seen;
	struct vpfn_bo bo;
	char *map = map_leaves(level, 2, &bo);

	pfnmap_store(map, 1);
	pfnmap_store(map + leaf, 2);
	igt_assert_eq(mprotect(map, bo.size, PROT_READ), 0);
	assert_both(map, level);
	igt_assert_eq(vpfn_leaf_from_driver(fd, map, &seen), 0);
	igt_assert(!seen.writable);
	igt_assert_eq(mprotect(map, bo.size, PROT_READ | PROT_WRITE), 0);
	assert_both(map, level);

	igt_assert_eq(mprotect(map + leaf, leaf, PROT_NONE), 0);
	vpfn_assert_level(fd, map, level);
	igt_assert_eq(mprotect(map + leaf, leaf, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq_u64(pfnmap_load(map), 1);
	igt_assert_eq_u64(pfnmap_load(map + leaf), 2);
	unmap_leaves(map, &bo);
}

#define RACERS	4
#define ROUNDS	250
#define SPLITS	300

/* Threads that fill one slot, each by a leaf of a size that the next one does not want. */
struct slot_race {
	enum vpfn_level limits[2];
	struct vpfn_bo bo;
	pthread_barrier_t barrier;
	char *map;		/* a new one each round */
	char *other_map;	/* of the same buffer, for the debugger */
	atomic_bool stop;
	atomic_uint wrong;
};

struct racer {
	struct slot_race *race;
	unsigned int self;
	pthread_t thread;
};

static uint64_t racer_offset(const struct slot_race *race, unsigned int self)
{
	return self * race->bo.size / RACERS;
}

static void *race_for_slot(void *arg)
{
	struct racer *racer = arg;
	struct slot_race *race = racer->race;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&race->barrier);
		if (vpfn_limit_set(race->limits[racer->self % 2]) ||
		    pfnmap_load(race->map + racer_offset(race, racer->self)) != racer->self)
			race->wrong++;
		pthread_barrier_wait(&race->barrier);
	}
	return NULL;
}

/* Keeps the buffer reserved most of the time, so that faults wait between two looks at the slot. */
static void *debug_buffer(void *arg)
{
	struct slot_race *race = arg;
	uint64_t bytes[PFNMAP_PAGE / sizeof(uint64_t)];

	while (!race->stop) {
		if (pfnmap_proc_mem(race->other_map, bytes, sizeof(bytes), false))
			race->wrong++;
	}
	return NULL;
}

static void run_rounds(struct slot_race *race)
{
	void *map;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		igt_assert_eq(vpfn_bo_map(fd, &race->bo, &map), 0);
		race->map = map;
		pthread_barrier_wait(&race->barrier);
		pthread_barrier_wait(&race->barrier);
		igt_assert_eq(munmap(map, race->bo.size), 0);
	}
}

/*
 * The core looks at the slot, the driver waits for the reservation, and meanwhile a leaf of
 * another size has come to be there: a fault may neither walk into it nor replace it.
 */
static void test_slot_race(enum vpfn_level level)
{
	struct slot_race race = { .limits = { level, level - 1 } };
	struct racer racers[RACERS];
	pthread_t debugger;

	race.other_map = map_leaves(level, 1, &race.bo);
	for (unsigned int i = 0; i < RACERS; i++)
		pfnmap_store(race.other_map + racer_offset(&race, i), i);

	igt_assert_eq(pthread_barrier_init(&race.barrier, NULL, RACERS + 1), 0);
	igt_assert_eq(pthread_create(&debugger, NULL, debug_buffer, &race), 0);
	for (unsigned int i = 0; i < RACERS; i++) {
		racers[i] = (struct racer) { .race = &race, .self = i };
		igt_assert_eq(pthread_create(&racers[i].thread, NULL, race_for_slot, &racers[i]),
			      0);
	}
	run_rounds(&race);

	race.stop = true;
	pthread_join(debugger, NULL);
	for (unsigned int i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	pthread_barrier_destroy(&race.barrier);
	igt_assert_eq(race.wrong, 0);
	unmap_leaves(race.other_map, &race.bo);
}

static void forbid_and_allow(char *page)
{
	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_NONE), 0);
	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ | PROT_WRITE), 0);
}

/* The leaf as a whole, which the next change of the protection finds. */
static void forbid_whole(char *page)
{
	char *leaf = (char *)((uintptr_t)page & -PFNMAP_1G);

	igt_assert_eq(mprotect(leaf, PFNMAP_1G, PROT_NONE), 0);
	igt_assert_eq(mprotect(leaf, PFNMAP_1G, PROT_READ), 0);
}

/* A thread that touches an address, where there may be nothing to read */
struct toucher {
	struct vpfn_thread thread;
	char *addr;
	atomic_uint touches;
	atomic_bool stop;
};

static int touch_on(void *arg)
{
	struct toucher *toucher = arg;

	for (; !toucher->stop; toucher->touches++)
		pfnmap_signal_of(toucher->addr, PFNMAP_READ);
	return 0;
}

/*
 * A mapping changes while another thread faults, which takes no more than the lock of the VMA: the
 * leaf that was zapped for the change is not back before it.
 */
static void test_split_race(enum vpfn_level level)
{
	void (* const changes[])(char *page) = {
		split_by_munmap, split_by_mprotect, split_by_madvise, split_by_mmap,
		forbid_and_allow, level == VPFN_PUD ? forbid_whole : forbid_and_allow,
	};
	struct toucher toucher = {};
	struct vpfn_bo bo;
	int err;

	toucher.addr = map_leaves(level, 1, &bo);
	pfnmap_store(toucher.addr, 1);
	igt_assert_eq(vpfn_thread_start(&toucher.thread, touch_on, &toucher), 0);
	for (unsigned int round = 0; round < SPLITS; round++) {
		void *map;

		/* A new mapping in the place of the old one, so that the leaf is large again. */
		igt_assert_eq(pfnmap_map_at(fd, bo.offset, bo.size, toucher.addr, MAP_FIXED,
					    &map), 0);
		pfnmap_load(map);
		changes[round % ARRAY_SIZE(changes)](toucher.addr + bo.size / 2);
		igt_assert_eq_u64(pfnmap_load(map), 1);
	}
	toucher.stop = true;
	igt_assert_eq(vpfn_thread_join(&toucher.thread, &err), 0);
	igt_info("%u touches\n", toucher.touches);
	unmap_leaves(toucher.addr, &bo);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(enum vpfn_level level);
} huge_tests[] = {
	{ "split-cost", "A split takes the leaf it is in from the process that splits, and no other.",
	  test_split_cost },
	{ "protect-cost", "Leaves that still allow some access survive mprotect().",
	  test_protect_cost },
	{ "slot-race", "Threads that want leaves of different sizes fill one slot.",
	  test_slot_race },
	{ "split-race", "A fault does not bring a leaf back between its zap and the change that it is for.",
	  test_split_race },
};

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(huge_tests); i++) {
		igt_describe(huge_tests[i].describe);
		igt_subtest_with_dynamic(huge_tests[i].name) {
			igt_dynamic("pmd")
				huge_tests[i].run(VPFN_PMD);
			igt_dynamic("pud")
				huge_tests[i].run(VPFN_PUD);
		}
	}

	igt_describe("No leaf is taken for a page by direct I/O.");
	igt_subtest_with_dynamic("direct-io") {
		igt_install_exit_handler(remove_disk);
		igt_require_f(!pfnmap_disk_create(&disk),
			      "no null_blk in configfs (CONFIG_BLK_DEV_NULL_BLK, CONFIG_CONFIGFS_FS)\n");
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_direct_io(level);
		}
	}

	igt_fixture() {
		close(fd);
	}
}
