// SPDX-License-Identifier: MIT
/*
 * A job fails, hangs or loses its interrupt: which jobs fail with it, and does all else go on?
 *
 * The host makes the device fail. What a fault hits is certain: each is injected while the engine
 * has nothing to do, or has jobs that a gate holds back.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_heal.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_report.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Jobs of vpfn that hang, fail or lose interrupts.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * PFNMAP_PAGE)

static char big[VPFN_PCI_NAME], small[VPFN_PCI_NAME];

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define TIMEOUT_MS	500

static void hang(void)
{
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_BIG, true), 0);
}

static void fail_next(void)
{
	igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, 1), 0);
}

/* For the tests that follow, also if this one fails: the answers do not matter. */
static void heal_at_exit(int sig)
{
	(void)sig;
	vpfn_heal(VPFN_HOST_BIG);
	vpfn_dump_drop(big);
}

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
	igt_assert_eq(vpfn_bo_wait(file, &mem->bo, 0, VPFN_LONG_NS), 0);
}

/* Two clients, and buffers that no job touches while the device fails. */
struct scene {
	int a, b;
	struct vpfn_mem guilty;		/* what the job writes that fails */
	struct vpfn_mem mine, theirs;	/* what jobs behind it write */
	struct vpfn_mem vram, system;	/* what keeps its contents */
};

static void scene_open(struct scene *scene)
{
	scene->a = vpfn_client_open();
	scene->b = vpfn_client_open();
	create(scene->a, VRAM, 1, &scene->guilty);
	create(scene->a, VRAM, 2, &scene->mine);
	create(scene->b, SYSTEM, 3, &scene->theirs);
	create(scene->a, VRAM, 4, &scene->vram);
	create(scene->b, SYSTEM, 5, &scene->system);
	vpfn_assert_mem_by_both(&scene->vram);
	vpfn_assert_mem_by_both(&scene->system);
}

/* Nothing else has changed, and everything still works. */
static void scene_close(struct scene *scene)
{
	vpfn_assert_no_fault_left(VPFN_HOST_BIG);
	vpfn_assert_mem_by_both(&scene->mine);
	vpfn_assert_mem_by_both(&scene->theirs);
	vpfn_assert_mem_by_both(&scene->vram);
	vpfn_assert_mem_by_both(&scene->system);

	vpfn_assert_runs(scene->a, vpfn_mem_fill(&scene->guilty, 0, SIZE, 0x600d));
	vpfn_assert_runs(scene->a, vpfn_mem_copy(&scene->guilty, 3, &scene->vram, 1, SIZE - 3));
	vpfn_assert_mem_by_both(&scene->guilty);
	vpfn_assert_runs(scene->b, vpfn_mem_copy(&scene->theirs, 1, &scene->system, 0, SIZE - 1));
	vpfn_assert_mem_by_both(&scene->theirs);
	close(scene->a);
	close(scene->b);
}

static struct drm_vpfn_cmd guilty_cmd(const struct scene *scene)
{
	return vpfn_cmd_fill(&scene->guilty.bo, 0, SIZE, 0xbad);
}

/* One job fails */

static void one_fails(struct scene *scene, void (*fault)(void), int expected)
{
	uint32_t guilty, mine, theirs;

	fault();
	guilty = vpfn_start(scene->a, guilty_cmd(scene), NULL);
	mine = vpfn_start(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, 0x11), NULL);
	theirs = vpfn_start(scene->b, vpfn_mem_copy(&scene->theirs, 5, &scene->system, 2, SIZE - 5),
			    NULL);

	igt_assert_eq(vpfn_job_status(scene->a, guilty), expected);
	igt_assert_eq(vpfn_job_status(scene->a, mine), 0);
	igt_assert_eq(vpfn_job_status(scene->b, theirs), 0);
	igt_assert_eq(vpfn_bo_wait(scene->a, &scene->guilty.bo, 0, VPFN_LONG_NS), 0);
	vpfn_assert_mem(&scene->mine);
	vpfn_assert_mem(&scene->theirs);
}

static void test_hang(struct scene *scene)
{
	one_fails(scene, hang, -ETIME);
}

static void test_dma_error(struct scene *scene)
{
	one_fails(scene, fail_next, -EIO);
}

static void test_in_turn(struct scene *scene)
{
	one_fails(scene, hang, -ETIME);
	one_fails(scene, fail_next, -EIO);
	one_fails(scene, fail_next, -EIO);
	one_fails(scene, hang, -ETIME);
}

#define JOBS	6

/* The first and the last of a client's jobs, and one between others. */
static void test_nth_job(struct scene *scene)
{
	static const unsigned int bad[] = { 1, 4, JOBS };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vpfn_gate gate;
		uint32_t out[JOBS];

		vpfn_require_gate(&gate);
		for (unsigned int n = 0; n < JOBS; n++) {
			uint64_t at = n * PFNMAP_PAGE;
			struct drm_vpfn_cmd cmd =
				n + 1 == bad[i] ? guilty_cmd(scene) :
				vpfn_mem_fill(&scene->mine, at, PFNMAP_PAGE, i << 8 | n);

			out[n] = vpfn_start(scene->a, cmd, n ? NULL : &gate);
		}

		/* A command on so little is one descriptor. */
		igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, bad[i]), 0);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		for (unsigned int n = 0; n < JOBS; n++)
			igt_assert_eq(vpfn_job_status(scene->a, out[n]),
				      n + 1 == bad[i] ? -EIO : 0);
		vpfn_assert_mem(&scene->mine);
		vpfn_gate_remove(&gate);
	}
}

/* The job fails, whichever of its commands does. */
static void test_nth_command(struct scene *scene)
{
	struct drm_vpfn_cmd cmds[JOBS];
	uint32_t guilty, mine;

	for (unsigned int bad = 1; bad <= JOBS; bad += JOBS - 1) {
		igt_assert_eq(drmSyncobjCreate(scene->a, 0, &guilty), 0);
		for (unsigned int n = 0; n < JOBS; n++)
			cmds[n] = vpfn_cmd_fill(&scene->guilty.bo, n * PFNMAP_PAGE, PFNMAP_PAGE, n);
		igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, bad), 0);
		igt_assert_eq(vpfn_submit(scene->a, cmds, JOBS, 0, guilty), 0);
		mine = vpfn_start(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, bad), NULL);
		igt_assert_eq(vpfn_job_status(scene->a, guilty), -EIO);
		igt_assert_eq(vpfn_job_status(scene->a, mine), 0);
		vpfn_assert_mem(&scene->mine);
	}
}

#define QUEUED	64

/* Both clients have many jobs queued: exactly one of them fails, the first to run. */
static void many_queued(struct scene *scene, void (*fault)(void), int expected)
{
	uint32_t mine[QUEUED], theirs[QUEUED];
	struct vpfn_mem buffers[2], *well;
	struct vpfn_gate gate;
	int first_of_a, first_of_b;

	create(scene->a, VRAM, 6, &buffers[0]);
	create(scene->b, VRAM, 7, &buffers[1]);
	vpfn_require_gate(&gate);
	for (unsigned int i = 0; i < QUEUED; i++) {
		uint64_t at = i * PFNMAP_PAGE;

		mine[i] = vpfn_start(scene->a, i ?
				     vpfn_mem_copy(&scene->mine, at, &scene->vram, 9, 1000) :
				     vpfn_cmd_fill(&buffers[0].bo, 0, SIZE, 1),
				     i ? NULL : &gate);
		theirs[i] = vpfn_start(scene->b, i ?
				       vpfn_mem_copy(&scene->theirs, at, &scene->system, 7, 999) :
				       vpfn_cmd_fill(&buffers[1].bo, 0, SIZE, 1),
				       i ? NULL : &gate);
	}
	fault();
	igt_assert_eq(vpfn_gate_open(&gate), 0);

	first_of_a = vpfn_job_status(scene->a, mine[0]);
	first_of_b = vpfn_job_status(scene->b, theirs[0]);
	igt_assert(first_of_a ? !first_of_b : first_of_b);
	igt_assert_eq(first_of_a ?: first_of_b, expected);

	/* The other one has run. */
	well = first_of_a ? &buffers[1] : &buffers[0];
	vpfn_mem_fill(well, 0, SIZE, 1);
	vpfn_assert_mem_by_both(well);
	for (unsigned int i = 1; i < QUEUED; i++) {
		igt_assert_eq(vpfn_job_status(scene->a, mine[i]), 0);
		igt_assert_eq(vpfn_job_status(scene->b, theirs[i]), 0);
	}
	vpfn_gate_remove(&gate);
}

static void test_hang_queued(struct scene *scene)
{
	many_queued(scene, hang, -ETIME);
}

static void test_dma_error_queued(struct scene *scene)
{
	many_queued(scene, fail_next, -EIO);
}

/* A job that waits for a failed one runs, and so do later jobs. */
static void test_dependent(struct scene *scene)
{
	uint32_t guilty, shared, dependent, theirs;
	int file;

	fail_next();
	guilty = vpfn_start(scene->a, guilty_cmd(scene), NULL);
	igt_assert_eq(drmSyncobjHandleToFD(scene->a, guilty, &file), 0);
	igt_assert_eq(drmSyncobjFDToHandle(scene->b, file, &shared), 0);
	close(file);
	dependent = vpfn_start_after(scene->b, nop, shared);
	theirs = vpfn_start(scene->b, vpfn_mem_fill(&scene->theirs, 0, SIZE, 0x22), NULL);

	igt_assert_eq(vpfn_job_status(scene->a, guilty), -EIO);
	igt_assert_eq(vpfn_job_status(scene->b, dependent), 0);
	igt_assert_eq(vpfn_job_status(scene->b, theirs), 0);
}

/* The client of the job that hangs goes while it hangs. */
static void test_hang_closed(struct scene *scene)
{
	struct vpfn_mem mem;
	uint32_t theirs;
	int file = vpfn_client_open(), guilty;

	create(file, VRAM, 8, &mem);
	hang();
	guilty = vpfn_start_sync_file(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 1), NULL);
	theirs = vpfn_start(scene->b, vpfn_mem_fill(&scene->theirs, 0, SIZE, 0x33), NULL);
	vpfn_mem_destroy(&mem);
	close(file);

	igt_assert_eq(vpfn_sync_file_status(guilty, VPFN_LONG_NS), -ETIME);
	igt_assert_eq(vpfn_job_status(scene->b, theirs), 0);
	close(guilty);
}

/* The driver's own jobs: they lose nothing */

static void assert_placement(const struct vpfn_mem *mem, uint32_t expected)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(mem->fd, &mem->bo, &placement), 0);
	igt_assert_eq(placement, expected);
}

/* Out of device memory, and back for a job. */
static void moves_fail(struct scene *scene, void (*fault)(void))
{
	fault();
	igt_assert_eq(vpfn_evict(scene->a), 0);
	assert_placement(&scene->vram, SYSTEM);
	assert_placement(&scene->mine, SYSTEM);
	vpfn_assert_mem(&scene->vram);
	vpfn_assert_mem(&scene->mine);
	vpfn_assert_no_fault_left(VPFN_HOST_BIG);

	fault();
	vpfn_assert_runs(scene->a, vpfn_mem_copy(&scene->mine, 0, &scene->vram, 11, SIZE - 11));
	assert_placement(&scene->vram, VRAM);
	assert_placement(&scene->mine, VRAM);
	vpfn_assert_mem(&scene->vram);
	vpfn_assert_mem(&scene->mine);
}

static void test_hang_moving(struct scene *scene)
{
	moves_fail(scene, hang);
}

static void test_dma_error_moving(struct scene *scene)
{
	moves_fail(scene, fail_next);
}

static int open_small(void)
{
	int file = vpfn_open_small(O_RDWR);

	igt_require_f(file >= 0, "no device with little memory\n");
	igt_assert_eq(vpfn_card_name(file, small), 0);
	return file;
}

static void heal_small_at_exit(int sig)
{
	(void)sig;
	vpfn_heal(VPFN_HOST_SMALL);
	vpfn_dump_drop(small);
}

static void assert_word_everywhere(int file, const struct vpfn_bo *bo, uint32_t word)
{
	uint64_t part = 4ull << 20;
	uint32_t *words = malloc(part), expected, crc;

	igt_assert(words);
	for (uint64_t i = 0; i < part / sizeof(word); i++)
		words[i] = word;
	expected = vpfn_crc32c(words, part);
	free(words);

	for (uint64_t at = 0; at < bo->size; at += part) {
		igt_assert_eq(vpfn_crc(file, bo, at, part, &crc), 0);
		igt_assert_f(crc == expected, "wrong between %#" PRIx64 " and %#" PRIx64 "\n",
			     at, at + part);
	}
}

/*
 * A buffer takes three quarters of the memory and goes; the next one of that size gets at least
 * half of what the first one wrote.
 */
static void clear_fails(bool hangs)
{
	int file = open_small();
	struct vpfn_bo bo;
	uint64_t vram;

	igt_install_exit_handler(heal_small_at_exit);
	igt_assert_eq(vpfn_vram_size(file, &vram), 0);
	igt_assert_eq(vpfn_bo_create_in(file, vram / 4 * 3, VRAM, 0, &bo), 0);
	igt_assert_eq(vpfn_fill(file, &bo, 0, bo.size, 0xd1d1d1d1), 0);
	assert_word_everywhere(file, &bo, 0xd1d1d1d1);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);

	if (hangs)
		igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	else
		igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_SMALL, 3), 0);
	igt_assert_eq(vpfn_bo_create_in(file, vram / 4 * 3, VRAM, 0, &bo), 0);
	assert_word_everywhere(file, &bo, 0);
	vpfn_assert_no_fault_left(VPFN_HOST_SMALL);
	close(file);
	vpfn_dump_drop(small);
}

static void test_hang_clearing(void)
{
	clear_fails(true);
}

static void test_dma_error_clearing(void)
{
	clear_fails(false);
}

/* Interrupts */

static uint64_t interrupts(void)
{
	uint64_t count;

	igt_assert_eq(vpfn_interrupts(big, &count), 0);
	return count;
}

static void assert_no_dump(void)
{
	char path[PATH_MAX];

	igt_assert_eq(vpfn_dump_find(big, path, sizeof(path)), -ENOENT);
}

/* Interrupts work: jobs do not end by the timeout alone. */
static void assert_interrupts_work(struct scene *scene)
{
	uint64_t before;

	igt_assert_eq(vpfn_bo_wait(scene->a, &scene->mine.bo, 0, VPFN_LONG_NS), 0);
	before = interrupts();
	for (unsigned int i = 0; i < 3; i++) {
		vpfn_assert_runs(scene->a, nop);
		igt_assert(interrupts() > before);
		before = interrupts();
	}
}

static void test_lost(struct scene *scene)
{
	assert_interrupts_work(scene);
	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 1), 0);
	vpfn_assert_runs(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, 0x44));
	vpfn_assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
	assert_no_dump();
}

static void test_lost_queued(struct scene *scene)
{
	uint32_t mine[JOBS], theirs[JOBS];

	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 2), 0);
	for (unsigned int i = 0; i < JOBS; i++) {
		uint64_t at = i * PFNMAP_PAGE;

		mine[i] = vpfn_start(scene->a,
				     vpfn_mem_copy(&scene->mine, at, &scene->vram, i, 4000), NULL);
		theirs[i] = vpfn_start(scene->b, vpfn_mem_fill(&scene->theirs, at, PFNMAP_PAGE, i),
				       NULL);
	}
	for (unsigned int i = 0; i < JOBS; i++) {
		igt_assert_eq(vpfn_job_status(scene->a, mine[i]), 0);
		igt_assert_eq(vpfn_job_status(scene->b, theirs[i]), 0);
	}

	/* The device may coalesce interrupts: these jobs take at least one. */
	vpfn_assert_runs(scene->a, nop);
	vpfn_assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
	assert_no_dump();
}

/* The interrupt of the error is lost, too. */
static void test_lost_error(struct scene *scene)
{
	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 1), 0);
	one_fails(scene, fail_next, -EIO);
	vpfn_assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
}

/* A job that takes long does not hang */

/* So many gigabytes still fit into the ring. */
#define MAX_FILLS	64

static int64_t time_fill(int file, const struct vpfn_bo *bo, unsigned int count)
{
	struct drm_vpfn_cmd cmds[MAX_FILLS];
	int64_t start = vpfn_deadline(0);

	for (unsigned int i = 0; i < count; i++)
		cmds[i] = vpfn_cmd_fill(bo, 0, bo->size, i);
	igt_assert_eq(vpfn_run(file, cmds, count), 0);
	return vpfn_deadline(0) - start;
}

/* Twice as many commands each time, until a job lasts several time-outs. */
static void test_slow(void)
{
	const int64_t long_ns = 4 * TIMEOUT_MS * 1000ll * 1000;
	int file = vpfn_client_open();
	unsigned int count = 1;
	struct vpfn_bo bo;
	int64_t all;

	igt_assert_eq(vpfn_bo_create(file, PFNMAP_1G, &bo), 0);
	while ((all = time_fill(file, &bo, count)) < long_ns) {
		count *= 2;
		igt_require_f(count <= MAX_FILLS, "the engine fills %u GiB in less than %d ms\n",
			      count / 2, 4 * TIMEOUT_MS);
	}
	igt_info("%u times a gigabyte in %" PRId64 " ms\n", count, all / 1000000);
	assert_no_dump();
	close(file);
}

/* Dumps */

static void read_dump(char *text, size_t size)
{
	char path[PATH_MAX];

	igt_assert_eq(vpfn_dump_find(big, path, sizeof(path)), 0);
	igt_assert_eq(pfnmap_text_read(path, text, size), 0);
}

static void assert_says(const char *text, const char *what)
{
	igt_assert_f(strstr(text, what), "no \"%s\" in:\n%s\n", what, text);
}

static void check_dump(struct scene *scene, void (*fault)(void), int expected, uint64_t length,
		       const char *evidence)
{
	static const char * const names[] = {
		"CTRL", "STATUS", "ERROR", "ERROR_INDEX", "ERROR_ADDR_LO", "ERROR_ADDR_HI",
		"RING_HEAD", "RING_TAIL", "FENCE", "INT_STATUS",
	};
	static char text[1 << 16];
	char word[32];
	uint32_t job;

	assert_no_dump();
	fault();
	job = vpfn_start(scene->a, vpfn_cmd_fill(&scene->guilty.bo, 0, length, 0xbad), NULL);
	igt_assert_eq(vpfn_job_status(scene->a, job), expected);

	/* It is written before the job ends, or soon after. */
	vpfn_assert_runs(scene->b, nop);
	igt_assert_eq(vpfn_dump_wait(big), 0);
	read_dump(text, sizeof(text));
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(word, sizeof(word), "\n%s: ", names[i]);
		assert_says(text, word);
	}
	assert_says(text, evidence);

	/* The job, by a length that no other has. */
	snprintf(word, sizeof(word), "%#" PRIx64, length);
	assert_says(text, word);

	igt_assert_eq(vpfn_dump_drop(big), 0);
	assert_no_dump();
}

static void test_dump(struct scene *scene)
{
	check_dump(scene, hang, -ETIME, 0x1234, "\nERROR: 0x0\n");
	check_dump(scene, fail_next, -EIO, 0x2344, "\nERROR: 0x9\n");
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct scene *scene);
} scene_tests[] = {
	{ "hang", "A job hangs: it fails, and what is behind it does not.", test_hang },
	{ "dma-error", "The device refuses a job: it fails, and what is behind it does not.",
	  test_dma_error },
	{ "in-turn", "The device hangs and fails several times.", test_in_turn },
	{ "nth-job", "One of several jobs fails, and it is the right one.", test_nth_job },
	{ "nth-command", "A job fails when its first or its last command does.",
	  test_nth_command },
	{ "hang-queued", "The device hangs while many jobs are queued.", test_hang_queued },
	{ "dma-error-queued", "The device fails while many jobs are queued.",
	  test_dma_error_queued },
	{ "dependent", "A job runs that waits for a failed one.", test_dependent },
	{ "hang-closed", "The client of the job that hangs goes.", test_hang_closed },
	{ "hang-moving", "The device hangs while a buffer moves.", test_hang_moving },
	{ "dma-error-moving", "The device fails while a buffer moves.", test_dma_error_moving },
	{ "lost-interrupt", "A lost interrupt lets no job fail, and the next one comes.",
	  test_lost },
	{ "lost-interrupts-queued", "Several interrupts are lost while jobs are queued.",
	  test_lost_queued },
	{ "lost-error-interrupt", "The interrupt is lost that says that a job failed.",
	  test_lost_error },
	{ "dump", "The kernel keeps a dump of a failure until it has been read.", test_dump },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "hang-clearing", "The device hangs while a new buffer is cleared.",
	  test_hang_clearing },
	{ "dma-error-clearing", "The device fails while a new buffer is cleared.",
	  test_dma_error_clearing },
	{ "slow", "A job that takes long is not taken for one that hangs.", test_slow },
};

/* A test before this one may have failed. */
static void begin(void)
{
	vpfn_heal(VPFN_HOST_BIG);
	igt_assert_eq(vpfn_dump_drop(big), 0);
	vpfn_timeout_set(TIMEOUT_MS);
}

static void run_in_scene(void (*test)(struct scene *scene))
{
	struct scene scene;

	scene_open(&scene);
	test(&scene);
	scene_close(&scene);
	igt_assert_eq(vpfn_dump_drop(big), 0);
}

int igt_main()
{
	igt_fixture() {
		int fd = vpfn_require_device();

		igt_assert_eq(vpfn_card_name(fd, big), 0);
		vpfn_require_host(VPFN_HOST_BIG);
		igt_install_exit_handler(heal_at_exit);
		close(fd);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(scene_tests); i++) {
		igt_describe(scene_tests[i].describe);
		igt_subtest(scene_tests[i].name) {
			begin();
			run_in_scene(scene_tests[i].run);
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			begin();
			tests[i].run();
		}
	}
}
