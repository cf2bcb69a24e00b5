// SPDX-License-Identifier: MIT
/*
 * The device fails: whose job fails with it, and does everything else go on?
 *
 * The host makes it fail. What a fault hits is certain, because each is injected while
 * the engine has nothing to do, or has jobs that a gate holds back.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_gate.h"
#include "vpfn_host.h"
#include "vpfn_job.h"
#include "vpfn_mem.h"
#include "vpfn_pattern.h"
#include "vpfn_report.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("vpfn when the device hangs, fails, loses interrupts or is gone.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * VPFN_PAGE)

static char big[VPFN_PCI_NAME], small[VPFN_PCI_NAME];

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define TIMEOUT_MS	500

/* ---- Faults ---- */

static void hang(void)
{
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_BIG, true), 0);
}

static void fail_next(void)
{
	igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, 1), 0);
}

/* It has hit something, and lasts no longer. */
static void assert_no_fault_left(const char *id)
{
	uint32_t errors, interrupts;
	bool hangs;

	igt_assert_eq(vpfn_host_hangs(id, &hangs), 0);
	igt_assert(!hangs);
	igt_assert_eq(vpfn_host_dma_error_left(id, &errors), 0);
	igt_assert_eq(errors, 0);
	igt_assert_eq(vpfn_host_interrupts_to_lose(id, &interrupts), 0);
	igt_assert_eq(interrupts, 0);
}

static void heal(const char *id)
{
	vpfn_host_hang(id, false);
	vpfn_host_dma_error(id, 0);
	vpfn_host_lose_interrupts(id, 0);
}

/* For the tests that follow, also if this one fails: the answers do not matter. */
static void heal_at_exit(int sig)
{
	(void)sig;
	heal(VPFN_HOST_BIG);
	vpfn_dump_drop(big);
}

/* ---- Clients ---- */

static int open_client(void)
{
	int file = vpfn_open(O_RDWR);

	igt_assert_lte(0, file);
	return file;
}

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
	igt_assert_eq(vpfn_bo_wait(file, &mem->bo, 0, VPFN_LONG_NS), 0);
}

static void check(const struct vpfn_mem *mem)
{
	igt_assert_eq_u64(vpfn_mem_check(mem), mem->bo.size);
}

static void check_by_both(const struct vpfn_mem *mem)
{
	check(mem);
	igt_assert_eq(vpfn_mem_check_by_engine(mem), 0);
}

static uint32_t submit_after(int file, struct drm_vpfn_cmd cmd, uint32_t in)
{
	uint32_t out;

	igt_assert_eq(drmSyncobjCreate(file, 0, &out), 0);
	igt_assert_eq(vpfn_submit(file, &cmd, 1, in, out), 0);
	return out;
}

static uint32_t submit(int file, struct drm_vpfn_cmd cmd)
{
	return submit_after(file, cmd, 0);
}

/* Done, whether well or not: a job that hangs is not taken for one that has hung. */
static int status_of(int file, uint32_t sync)
{
	igt_assert_f(!drmSyncobjWait(file, &sync, 1, vpfn_deadline(VPFN_LONG_NS), 0, NULL),
		     "the job is not done\n");
	return vpfn_sync_status(file, sync, VPFN_LONG_NS);
}

static void run(int file, struct drm_vpfn_cmd cmd)
{
	igt_assert_eq(status_of(file, submit(file, cmd)), 0);
}

static void make_gate(struct vpfn_gate *gate)
{
	int err = vpfn_gate_make(gate);

	igt_require_f(err != -ENOENT, "no fences for tests: the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
}

static uint32_t gate_sync(const struct vpfn_gate *gate, int file)
{
	uint32_t sync;

	igt_assert_eq(vpfn_gate_syncobj(gate, file, &sync), 0);
	return sync;
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
	scene->a = open_client();
	scene->b = open_client();
	create(scene->a, VRAM, 1, &scene->guilty);
	create(scene->a, VRAM, 2, &scene->mine);
	create(scene->b, SYSTEM, 3, &scene->theirs);
	create(scene->a, VRAM, 4, &scene->vram);
	create(scene->b, SYSTEM, 5, &scene->system);
	check_by_both(&scene->vram);
	check_by_both(&scene->system);
}

/* Nothing else has changed, and everything still works. */
static void scene_close(struct scene *scene)
{
	assert_no_fault_left(VPFN_HOST_BIG);
	check_by_both(&scene->mine);
	check_by_both(&scene->theirs);
	check_by_both(&scene->vram);
	check_by_both(&scene->system);

	run(scene->a, vpfn_mem_fill(&scene->guilty, 0, SIZE, 0x600d));
	run(scene->a, vpfn_mem_copy(&scene->guilty, 3, &scene->vram, 1, SIZE - 3));
	check_by_both(&scene->guilty);
	run(scene->b, vpfn_mem_copy(&scene->theirs, 1, &scene->system, 0, SIZE - 1));
	check_by_both(&scene->theirs);
	close(scene->a);
	close(scene->b);
}

static struct drm_vpfn_cmd guilty_cmd(const struct scene *scene)
{
	return vpfn_cmd_fill(&scene->guilty.bo, 0, SIZE, 0xbad);
}

/* ---- One job fails ---- */

static void one_fails(struct scene *scene, void (*fault)(void), int expected)
{
	uint32_t guilty, mine, theirs;

	fault();
	guilty = submit(scene->a, guilty_cmd(scene));
	mine = submit(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, 0x11));
	theirs = submit(scene->b, vpfn_mem_copy(&scene->theirs, 5, &scene->system, 2, SIZE - 5));

	igt_assert_eq(status_of(scene->a, guilty), expected);
	igt_assert_eq(status_of(scene->a, mine), 0);
	igt_assert_eq(status_of(scene->b, theirs), 0);
	igt_assert_eq(vpfn_bo_wait(scene->a, &scene->guilty.bo, 0, VPFN_LONG_NS), 0);
	check(&scene->mine);
	check(&scene->theirs);
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

		make_gate(&gate);
		for (unsigned int n = 0; n < JOBS; n++) {
			uint64_t at = n * VPFN_PAGE;
			struct drm_vpfn_cmd cmd =
				n + 1 == bad[i] ? guilty_cmd(scene) :
				vpfn_mem_fill(&scene->mine, at, VPFN_PAGE, i << 8 | n);

			out[n] = submit_after(scene->a, cmd, n ? 0 : gate_sync(&gate, scene->a));
		}

		/* A command on so little is one descriptor. */
		igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, bad[i]), 0);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		for (unsigned int n = 0; n < JOBS; n++)
			igt_assert_eq(status_of(scene->a, out[n]), n + 1 == bad[i] ? -EIO : 0);
		check(&scene->mine);
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
			cmds[n] = vpfn_cmd_fill(&scene->guilty.bo, n * VPFN_PAGE, VPFN_PAGE, n);
		igt_assert_eq(vpfn_host_dma_error(VPFN_HOST_BIG, bad), 0);
		igt_assert_eq(vpfn_submit(scene->a, cmds, JOBS, 0, guilty), 0);
		mine = submit(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, bad));
		igt_assert_eq(status_of(scene->a, guilty), -EIO);
		igt_assert_eq(status_of(scene->a, mine), 0);
		check(&scene->mine);
	}
}

#define QUEUED	64

/* Both clients have many jobs in the ring: exactly one of them fails, the first to run. */
static void many_queued(struct scene *scene, void (*fault)(void), int expected)
{
	uint32_t mine[QUEUED], theirs[QUEUED];
	struct vpfn_mem buffers[2], *well;
	struct vpfn_gate gate;
	int first_of_a, first_of_b;

	create(scene->a, VRAM, 6, &buffers[0]);
	create(scene->b, VRAM, 7, &buffers[1]);
	make_gate(&gate);
	for (unsigned int i = 0; i < QUEUED; i++) {
		uint64_t at = i * VPFN_PAGE;

		mine[i] = submit_after(scene->a, i ?
				       vpfn_mem_copy(&scene->mine, at, &scene->vram, 9, 1000) :
				       vpfn_cmd_fill(&buffers[0].bo, 0, SIZE, 1),
				       i ? 0 : gate_sync(&gate, scene->a));
		theirs[i] = submit_after(scene->b, i ?
					 vpfn_mem_copy(&scene->theirs, at, &scene->system, 7, 999) :
					 vpfn_cmd_fill(&buffers[1].bo, 0, SIZE, 1),
					 i ? 0 : gate_sync(&gate, scene->b));
	}
	fault();
	igt_assert_eq(vpfn_gate_open(&gate), 0);

	first_of_a = status_of(scene->a, mine[0]);
	first_of_b = status_of(scene->b, theirs[0]);
	igt_assert(first_of_a ? !first_of_b : first_of_b);
	igt_assert_eq(first_of_a ?: first_of_b, expected);

	/* The other one is done, not just said to be. */
	well = first_of_a ? &buffers[1] : &buffers[0];
	vpfn_mem_fill(well, 0, SIZE, 1);
	check_by_both(well);
	for (unsigned int i = 1; i < QUEUED; i++) {
		igt_assert_eq(status_of(scene->a, mine[i]), 0);
		igt_assert_eq(status_of(scene->b, theirs[i]), 0);
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
	guilty = submit(scene->a, guilty_cmd(scene));
	igt_assert_eq(drmSyncobjHandleToFD(scene->a, guilty, &file), 0);
	igt_assert_eq(drmSyncobjFDToHandle(scene->b, file, &shared), 0);
	close(file);
	dependent = submit_after(scene->b, nop, shared);
	theirs = submit(scene->b, vpfn_mem_fill(&scene->theirs, 0, SIZE, 0x22));

	igt_assert_eq(status_of(scene->a, guilty), -EIO);
	igt_assert_eq(status_of(scene->b, dependent), 0);
	igt_assert_eq(status_of(scene->b, theirs), 0);
}

/* The client of the job that hangs goes while it hangs. */
static void test_hang_closed(struct scene *scene)
{
	struct vpfn_mem mem;
	uint32_t theirs;
	int file = open_client(), guilty;

	create(file, VRAM, 8, &mem);
	hang();
	igt_assert_eq(vpfn_sync_file_of(file, submit(file, vpfn_cmd_fill(&mem.bo, 0, SIZE, 1)),
					&guilty), 0);
	theirs = submit(scene->b, vpfn_mem_fill(&scene->theirs, 0, SIZE, 0x33));
	vpfn_mem_destroy(&mem);
	close(file);

	igt_assert_eq(vpfn_sync_file_status(guilty, VPFN_LONG_NS), -ETIME);
	igt_assert_eq(status_of(scene->b, theirs), 0);
	close(guilty);
}

/* ---- The driver's own jobs: they lose nothing ---- */

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
	check(&scene->vram);
	check(&scene->mine);
	assert_no_fault_left(VPFN_HOST_BIG);

	fault();
	run(scene->a, vpfn_mem_copy(&scene->mine, 0, &scene->vram, 11, SIZE - 11));
	assert_placement(&scene->vram, VRAM);
	assert_placement(&scene->mine, VRAM);
	check(&scene->vram);
	check(&scene->mine);
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
	heal(VPFN_HOST_SMALL);
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
	assert_no_fault_left(VPFN_HOST_SMALL);
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

/* ---- Interrupts ---- */

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

/* Interrupts come again afterwards: not each job waits for the watchdog. */
static void assert_interrupts_work(struct scene *scene)
{
	uint64_t before;

	igt_assert_eq(vpfn_bo_wait(scene->a, &scene->mine.bo, 0, VPFN_LONG_NS), 0);
	before = interrupts();
	for (unsigned int i = 0; i < 3; i++) {
		run(scene->a, nop);
		igt_assert(interrupts() > before);
		before = interrupts();
	}
}

static void test_lost(struct scene *scene)
{
	assert_interrupts_work(scene);
	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 1), 0);
	run(scene->a, vpfn_mem_fill(&scene->mine, 0, SIZE, 0x44));
	assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
	assert_no_dump();
}

static void test_lost_queued(struct scene *scene)
{
	uint32_t mine[JOBS], theirs[JOBS];

	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 2), 0);
	for (unsigned int i = 0; i < JOBS; i++) {
		mine[i] = submit(scene->a, vpfn_mem_copy(&scene->mine, i * VPFN_PAGE,
							 &scene->vram, i, 4000));
		theirs[i] = submit(scene->b, vpfn_mem_fill(&scene->theirs, i * VPFN_PAGE,
							   VPFN_PAGE, i));
	}
	for (unsigned int i = 0; i < JOBS; i++) {
		igt_assert_eq(status_of(scene->a, mine[i]), 0);
		igt_assert_eq(status_of(scene->b, theirs[i]), 0);
	}

	/* How many interrupts all these jobs take is the device's choice; it is at least one. */
	run(scene->a, nop);
	assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
	assert_no_dump();
}

/* The message that the device has failed is lost, too. */
static void test_lost_error(struct scene *scene)
{
	igt_assert_eq(vpfn_host_lose_interrupts(VPFN_HOST_BIG, 1), 0);
	one_fails(scene, fail_next, -EIO);
	assert_no_fault_left(VPFN_HOST_BIG);
	assert_interrupts_work(scene);
}

/* ---- What takes long does not hang ---- */

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
	int file = open_client();
	unsigned int count = 1;
	struct vpfn_bo bo;
	int64_t all;

	igt_assert_eq(vpfn_bo_create(file, VPFN_1G, &bo), 0);
	while ((all = time_fill(file, &bo, count)) < long_ns) {
		count *= 2;
		igt_require_f(count <= MAX_FILLS, "the engine fills %u GiB in less than %d ms\n",
			      count / 2, 4 * TIMEOUT_MS);
	}
	igt_info("%u times a gigabyte in %" PRId64 " ms\n", count, all / 1000000);
	assert_no_dump();
	close(file);
}

/* ---- What the kernel tells ---- */

static void read_dump(char *text, size_t size)
{
	char path[PATH_MAX];

	igt_assert_eq(vpfn_dump_find(big, path, sizeof(path)), 0);
	igt_assert_eq(vpfn_text_read(path, text, size), 0);
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
	int status;

	assert_no_dump();
	fault();
	status = status_of(scene->a, submit(scene->a, vpfn_cmd_fill(&scene->guilty.bo, 0, length,
								    0xbad)));
	igt_assert_eq(status, expected);

	/* It is written before the job ends, or soon after. */
	run(scene->b, nop);
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

/* ---- Gone ---- */

static void bring_back(void)
{
	vpfn_host_gone(VPFN_HOST_SMALL, false);
	heal(VPFN_HOST_SMALL);
	vpfn_dump_drop(small);
	if (vpfn_card_is_there(small))
		vpfn_card_set(small, "remove", "1");
	vpfn_card_wait_gone(small);
	vpfn_text_write("/sys/bus/pci/rescan", "1");
	vpfn_card_wait_bound(small);
}

static bool is_down;

static void bring_back_at_exit(int sig)
{
	(void)sig;
	if (is_down)
		bring_back();
}

/* The small card is pulled out of the machine, as far as the driver can tell. */
static void pull_out(void)
{
	is_down = true;
	igt_install_exit_handler(bring_back_at_exit);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
}

static void assert_works(const char *name)
{
	int file = vpfn_card_open(name, O_RDWR);
	struct vpfn_mem mem, other;

	igt_assert_lte(0, file);
	create(file, VRAM, 0x90, &mem);
	create(file, SYSTEM, 0x91, &other);
	run(file, vpfn_mem_copy(&mem, 1, &other, 0, SIZE - 1));
	run(file, vpfn_mem_fill(&other, 0, SIZE / 2, 0x92));
	check_by_both(&mem);
	check_by_both(&other);
	vpfn_mem_destroy(&mem);
	vpfn_mem_destroy(&other);
	close(file);
}

/*
 * Jobs wait when the device goes; the driver finds that it cannot reset it. Everybody is told,
 * and no task waits in vain.
 */
static int wedge(void)
{
	int file = open_small(), events = vpfn_uevent_open();
	struct drm_vpfn_cmd cmd;
	uint32_t out[JOBS];
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	char value[256];
	int err;

	igt_assert_lte(0, events);
	vpfn_dump_drop(small);
	create(file, VRAM, 0x80, &mem);
	cmd = vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x81);
	make_gate(&gate);
	for (unsigned int i = 0; i < JOBS; i++)
		out[i] = submit_after(file, cmd, i ? 0 : gate_sync(&gate, file));

	pull_out();
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	for (unsigned int i = 0; i < JOBS; i++) {
		err = status_of(file, out[i]);
		igt_assert_f(err == -EIO, "job %u ended with %d\n", i, err);
	}
	igt_assert_eq(vpfn_bo_wait(file, &mem.bo, 0, VPFN_LONG_NS), 0);

	igt_assert_eq(vpfn_uevent_wait(events, small, "WEDGED", value, sizeof(value),
				       VPFN_LONG_NS), 0);
	igt_info("WEDGED=%s\n", value);
	igt_assert(!strcmp(value, "rebind,bus-reset"));

	igt_assert_eq(vpfn_submit(file, &cmd, 1, 0, 0), -EIO);
	assert_works(big);
	munmap(mem.map, SIZE);
	free(mem.expected);
	vpfn_gate_remove(&gate);
	close(events);
	return file;
}

static void test_wedged(void)
{
	int file = wedge();

	close(file);
	bring_back();
	is_down = false;
	assert_works(small);
}

/* A file that was open before the device came back gets no access to it. */
static void test_wedged_open(void)
{
	int file = wedge();

	bring_back();
	is_down = false;
	assert_works(small);
	igt_assert_eq(vpfn_submit(file, &nop, 1, 0, 0), -ENODEV);
	close(file);
	assert_works(small);
}

/* Gone while idle: the next job detects it. */
static void test_gone_idle(void)
{
	int file = open_small();

	run(file, nop);
	pull_out();
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	close(file);

	bring_back();
	is_down = false;
	assert_works(small);
}

/* What the device could not clear holds other clients' bytes: no access may show them. */
static void test_uncleared(void)
{
	struct vpfn_bo fresh, there;
	int file = open_small();
	char *fresh_map, *there_map;
	uint64_t word;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM | SYSTEM, 0, &there), 0);
	igt_assert_eq(vpfn_bo_map(file, &there, &map), 0);
	there_map = map;
	vpfn_store(there_map, 0x2ec);
	igt_assert_eq(vpfn_evict(file), 0);
	igt_assert_eq_u64(vpfn_load(there_map), 0x2ec);

	pull_out();
	igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &fresh), 0);
	igt_assert_eq(vpfn_bo_map(file, &fresh, &map), 0);
	fresh_map = map;
	igt_assert_eq(vpfn_signal_of(fresh_map, VPFN_READ), SIGBUS);
	igt_assert_eq(vpfn_signal_of(fresh_map + VPFN_PAGE, VPFN_WRITE), SIGBUS);
	igt_assert_eq(vpfn_proc_mem(fresh_map, &word, sizeof(word), false), -EIO);
	igt_assert_eq(vpfn_fill(file, &fresh, 0, SIZE, 1), -EIO);

	/* What the device did not have is still there. */
	igt_assert_eq_u64(vpfn_load(there_map), 0x2ec);
	munmap(fresh_map, SIZE);
	munmap(there_map, SIZE);
	close(file);

	bring_back();
	is_down = false;
	assert_works(small);
}

/* The host takes the wedged device away and puts it back. */
static void test_wedged_replug(void)
{
	close(wedge());
	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(small), 0);
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small), 0);
	is_down = false;
	assert_works(small);
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
	{ "hang-queued", "The device hangs with many jobs in its ring.", test_hang_queued },
	{ "dma-error-queued", "The device fails with many jobs in its ring.",
	  test_dma_error_queued },
	{ "dependent", "A job runs that waits for a failed one.", test_dependent },
	{ "hang-closed", "The client of the job that hangs goes.", test_hang_closed },
	{ "hang-moving", "The device hangs while a buffer moves.", test_hang_moving },
	{ "dma-error-moving", "The device fails while a buffer moves.", test_dma_error_moving },
	{ "lost-interrupt", "A lost interrupt lets no job fail, and the next one comes.",
	  test_lost },
	{ "lost-interrupts-queued", "Several interrupts are lost with jobs in the ring.",
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
	{ "wedged", "The device cannot be reset: all jobs fail, and an event tells.",
	  test_wedged },
	{ "wedged-open", "A file that is open before a device comes back stays without it.",
	  test_wedged_open },
	{ "uncleared", "No access shows a buffer that could not be cleared.", test_uncleared },
	{ "gone-idle", "The device goes while it has nothing to do.", test_gone_idle },
	{ "wedged-replug", "A wedged device is unplugged and plugged in again.",
	  test_wedged_replug },
};

/* A test before this one may have failed. */
static void begin(void)
{
	heal(VPFN_HOST_BIG);
	if (is_down)
		bring_back();
	is_down = false;
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
		bool hangs;

		igt_assert_eq(vpfn_card_name(fd, big), 0);
		igt_require_f(!vpfn_host_hangs(VPFN_HOST_BIG, &hangs),
			      "no port vpfn.control: the machine's host takes no commands\n");
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
