// SPDX-License-Identifier: MIT
/*
 * A buffer moves, is evicted or swapped out while another card has it.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "igt.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_shared.h"
#include "vpfn/vpfn_thread.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that move while another card uses them.");

#define SIZE		VPFN_SHARED_SIZE
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

static struct vpfn_cards cards;

struct worker {
	int file;
	const struct vpfn_bo *bo;
	uint32_t crc;		/* what it must be all the time */
	bool stop;
	unsigned int rounds;
	int err;
};

static void *read_on_and_on(void *arg)
{
	struct worker *worker = arg;
	uint32_t crc;

	while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED) && !worker->err) {
		worker->err = vpfn_crc(worker->file, worker->bo, 0, SIZE, &crc);
		if (!worker->err && crc != worker->crc)
			worker->err = -EBADMSG;
		__atomic_fetch_add(&worker->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct goal {
	const struct worker *worker;
	unsigned int rounds;
};

static bool reached(const void *arg)
{
	const struct goal *goal = arg;

	return __atomic_load_n(&goal->worker->rounds, __ATOMIC_RELAXED) >= goal->rounds;
}

/* Until it has read all of the buffer at least once from now on. */
static void wait_for_worker(const struct worker *worker)
{
	struct goal goal = {
		.worker = worker,
		.rounds = __atomic_load_n(&worker->rounds, __ATOMIC_RELAXED) + 2,
	};

	igt_assert_eq(pfnmap_wait_until(reached, &goal), 0);
}

/* Overwrites the memory that the buffer has left, which a stale address would show. */
static void spoil_free_memory(int file)
{
	struct vpfn_bo bo[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(bo); i++) {
		igt_assert_eq(vpfn_bo_create(file, SIZE, &bo[i]), 0);
		igt_assert_eq(vpfn_fill(file, &bo[i], 0, SIZE, 0xbad0bad0 + i), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(bo); i++)
		igt_assert_eq(vpfn_bo_close(file, &bo[i]), 0);
}

static void test_moves_while_read(int exporter, int importer)
{
	struct worker worker = { .file = importer };
	struct vpfn_pair pair;
	pthread_t thread;

	vpfn_pair_open(&pair, exporter, importer, VRAM, 29);
	worker.bo = &pair.bo;
	worker.crc = vpfn_crc32c(vpfn_shared_bytes(29), SIZE);
	igt_assert_eq(pthread_create(&thread, NULL, read_on_and_on, &worker), 0);

	for (int i = 0; i < 5 && !worker.err; i++) {
		igt_assert_eq(vpfn_evict(exporter), 0);
		spoil_free_memory(exporter);
		wait_for_worker(&worker);
		/* The exporter's own job brings it back. */
		vpfn_shared_check_by_engine(exporter, &pair.shared.bo, 29);
		wait_for_worker(&worker);
	}

	__atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	igt_assert_eq(worker.err, 0);
	vpfn_shared_check(pair.shared.map, 29);
	vpfn_pair_close(&pair);
}

static void test_moves_while_written(int exporter, int importer)
{
	struct vpfn_bo own;
	struct vpfn_pair pair;
	void *map;

	vpfn_pair_open(&pair, exporter, importer, VRAM, 30);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	for (uint64_t seed = 31; seed < 36; seed++) {
		igt_assert_eq(vpfn_evict(exporter), 0);
		igt_assert_eq(vpfn_where(exporter, &pair.shared.bo), SYSTEM);
		vpfn_shared_write(map, seed);
		igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
		vpfn_shared_check(pair.shared.map, seed);

		vpfn_shared_check_by_engine(exporter, &pair.shared.bo, seed);
		vpfn_shared_write(map, seed + 100);
		igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
		vpfn_shared_check(pair.shared.map, seed + 100);
		vpfn_shared_check_by_engine(exporter, &pair.shared.bo, seed + 100);
	}

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

/* An eviction waits for the importer's job, which then still finds the buffer. */
static void test_move_waits(int exporter, int importer)
{
	struct vpfn_thread evict;
	struct vpfn_gate gate;
	struct vpfn_bo own;
	struct vpfn_pair pair;
	uint32_t job;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 37);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	job = vpfn_start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);

	/* The engine moves it in its turn; the eviction itself need not wait. */
	vpfn_worker_start(&evict, vpfn_worker_evict, &exporter);
	vpfn_worker_settle(&evict);
	vpfn_assert_waits(importer, job);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_worker_finish(&evict), 0);
	spoil_free_memory(exporter);
	vpfn_finish(importer, job);
	vpfn_shared_check_by_engine(importer, &own, 37);
	vpfn_shared_check(pair.shared.map, 37);

	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

/*
 * The import is closed, but its release waits for the exporter's job, behind which the buffer
 * moves. Then TTM walks all buffers.
 */
static void test_import_dies(int exporter, int importer)
{
	struct vpfn_thread evict;
	struct vpfn_gate gate;
	uint64_t swapped;
	struct vpfn_pair pair;
	uint32_t job;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 51);
	job = vpfn_start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x55555555), &gate);
	igt_assert_eq(vpfn_bo_close(importer, &pair.bo), 0);

	/* It returns when the buffer has moved. */
	vpfn_worker_start(&evict, vpfn_worker_evict, &exporter);
	vpfn_worker_settle(&evict);
	vpfn_assert_waits(exporter, job);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_worker_finish(&evict), 0);
	vpfn_finish(exporter, job);
	igt_assert_eq(vpfn_where(exporter, &pair.shared.bo), SYSTEM);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	vpfn_assert_words(pair.shared.map, 0, SIZE, 0x55555555);

	vpfn_gate_remove(&gate);
	vpfn_shared_close(&pair.shared);
}

/* The exporter's buffer has no pages, since TTM has swapped them out. */
static void test_swapped(int exporter, int importer)
{
	struct vpfn_shared shared;
	uint64_t swapped;
	struct vpfn_bo bo;

	vpfn_share(&shared, exporter, SYSTEM, 52);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	igt_assert_lte(SIZE, swapped);

	vpfn_shared_import(importer, shared.dmabuf, &bo);
	vpfn_shared_check_by_engine(importer, &bo, 52);
	vpfn_shared_write(shared.map, 53);
	vpfn_shared_check_by_engine(importer, &bo, 53);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	igt_assert_lte(SIZE, swapped);
	vpfn_shared_check_by_engine(importer, &bo, 53);
	igt_assert_eq(vpfn_bo_close(importer, &bo), 0);
	vpfn_shared_close(&shared);
}

static const struct vpfn_pair_test pair_tests[] = {
	{ "moves-while-read", "A buffer is evicted and brought back while the importer reads it.",
	  test_moves_while_read },
	{ "moves-while-written", "What the importer writes is there after each move.",
	  test_moves_while_written },
	{ "move-waits", "A buffer does not go away under an importer's job.", test_move_waits },
	{ "import-dies", "A buffer moves whose importer has just given it up.", test_import_dies },
	{ "swapped", "A buffer that is swapped out is imported.", test_swapped },
};

int igt_main()
{
	igt_fixture()
		vpfn_cards_open(&cards);

	vpfn_pair_subtests(&cards, pair_tests, ARRAY_SIZE(pair_tests));

	igt_fixture()
		vpfn_cards_close(&cards);
}
