// SPDX-License-Identifier: MIT
/*
 * What becomes of jobs when their submitter closes its handles or its file, forks, is killed, or is
 * one of many?
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Jobs of vpfn and those who submit them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * PFNMAP_PAGE)

#define WORD		sizeof(uint32_t)

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
}

static void import(int file, const struct vpfn_mem *other, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_import(file, other, mem), 0);
}

/* A job has what it needs, once it is submitted. */
static void test_close_handles(void)
{
	int file = vpfn_client_open(), out_file;
	struct vpfn_mem dst, src;
	struct vpfn_gate gate;
	uint32_t in, out;

	create(file, VRAM, 10, &dst);
	create(file, SYSTEM, 11, &src);
	vpfn_require_gate(&gate);
	in = vpfn_gate_new_syncobj(&gate, file);
	out = vpfn_start_after(file, vpfn_mem_copy(&dst, 1, &src, 2, SIZE - 2), in);
	igt_assert_eq(vpfn_sync_file_of(file, out, &out_file), 0);
	igt_assert_eq(drmSyncobjDestroy(file, in), 0);
	igt_assert_eq(drmSyncobjDestroy(file, out), 0);
	vpfn_mem_destroy(&src);
	igt_assert_eq(vpfn_bo_close(file, &dst.bo), 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(out_file, VPFN_LONG_NS), 0);
	vpfn_assert_mem(&dst);
	munmap(dst.map, SIZE);
	close(out_file);
	vpfn_gate_remove(&gate);
	close(file);
}

#define QUEUED	20

static int run_close(void *file)
{
	return close(*(int *)file) ? -errno : 0;
}

/* A file is closed while its jobs wait: none of them runs, and what waits for them goes on. */
static void test_close_file(void)
{
	int victim = vpfn_client_open(), other = vpfn_client_open(), out_files[QUEUED], err, ret;
	struct vpfn_thread closer;
	struct vpfn_mem mine, shared, theirs;
	struct vpfn_gate gate;
	uint32_t read;

	create(other, VRAM, 12, &mine);
	create(other, SYSTEM, 13, &shared);
	import(victim, &shared, &theirs);
	vpfn_require_gate(&gate);
	for (unsigned int i = 0; i < QUEUED; i++) {
		out_files[i] = vpfn_start_sync_file(victim,
						    vpfn_cmd_fill(&theirs.bo, 0, SIZE, i),
						    i ? NULL : &gate);
	}
	read = vpfn_start(other, vpfn_mem_copy(&mine, 0, &shared, 0, SIZE), NULL);
	vpfn_assert_waits(other, read);
	munmap(theirs.map, SIZE);
	free(theirs.expected);

	/* close() does not wait for fences of others. If it does, the open gate ends that. */
	vpfn_worker_start(&closer, run_close, &victim);
	err = vpfn_thread_join(&closer, &ret);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(err, 0);
	igt_assert_eq(ret, 0);

	for (unsigned int i = 0; i < QUEUED; i++) {
		igt_assert_eq(vpfn_sync_file_status(out_files[i], VPFN_LONG_NS), -ESRCH);
		close(out_files[i]);
	}
	vpfn_assert_mem(&shared);
	igt_assert_eq(vpfn_bo_wait(other, &shared.bo, 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_wait(other, &mine.bo, 0, VPFN_LONG_NS), 0);

	/* What remains works. */
	vpfn_finish(other, vpfn_start(other, vpfn_mem_fill(&shared, 0, SIZE, 0xcc), NULL));
	vpfn_finish(other, vpfn_start(other, vpfn_mem_copy(&mine, 0, &shared, 0, SIZE), NULL));
	vpfn_assert_mem(&mine);
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

/* A child that submits a job, and then waits to be killed. */
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
	int file = vpfn_client_open();
	uint32_t before, out = vpfn_new_syncobj(file), after;
	struct vpfn_mem mem, other;
	struct drm_vpfn_cmd cmd;
	struct vpfn_gate gate;
	pid_t child;

	create(file, VRAM, 14, &mem);
	create(file, VRAM, 15, &other);
	vpfn_require_gate(&gate);
	before = vpfn_start(file, vpfn_mem_fill(&mem, 0, SIZE, 0x10), &gate);
	cmd = vpfn_mem_copy(&mem, 0, &mem, SIZE / 2, SIZE / 2 - 1);
	child = fork_submitter(file, &cmd, 0, out);
	kill_child(child);
	vpfn_assert_waits(file, before);
	after = vpfn_start(file, vpfn_mem_copy(&other, 3, &mem, 0, SIZE - 3), NULL);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(file, before);
	vpfn_finish(file, out);
	vpfn_finish(file, after);
	vpfn_assert_mem(&mem);
	vpfn_assert_mem(&other);
	vpfn_gate_remove(&gate);
	close(file);
}

/* Parent and child take turns with one file. */
static void test_fork(void)
{
	int file = vpfn_client_open();
	struct vpfn_mem mem;

	create(file, SYSTEM, 16, &mem);
	for (unsigned int i = 0; i < 4; i++) {
		struct drm_vpfn_cmd cmd = vpfn_mem_fill(&mem, i * PFNMAP_PAGE, PFNMAP_PAGE, i + 1);

		igt_fork(child, 1) {
			igt_assert_eq(vpfn_run(file, &cmd, 1), 0);
			vpfn_assert_mem(&mem);
		}
		igt_waitchildren();
		cmd = vpfn_mem_copy(&mem, 32 * PFNMAP_PAGE + i, &mem, i * PFNMAP_PAGE, PFNMAP_PAGE);
		igt_assert_eq(vpfn_run(file, &cmd, 1), 0);
		vpfn_assert_mem(&mem);
	}
	close(file);
}

/* A process is killed that has jobs in the queue of a file of its own. */
static void test_killed(void)
{
	int victim = vpfn_client_open(), other = vpfn_client_open(), out_file;
	struct vpfn_mem shared, theirs;
	struct drm_vpfn_cmd cmd;
	struct vpfn_gate gate;
	uint32_t in, out;
	pid_t child;

	create(other, VRAM, 17, &shared);
	import(victim, &shared, &theirs);
	vpfn_require_gate(&gate);
	in = vpfn_gate_new_syncobj(&gate, victim);
	out = vpfn_new_syncobj(victim);
	cmd = vpfn_cmd_fill(&theirs.bo, 0, SIZE, 0x20);
	child = fork_submitter(victim, &cmd, in, out);
	igt_assert_eq(vpfn_sync_file_of(victim, out, &out_file), 0);

	/* The child alone has the file now. */
	munmap(theirs.map, SIZE);
	free(theirs.expected);
	close(victim);
	vpfn_let_engine_pass();
	igt_assert_eq(vpfn_sync_file_status(out_file, 0), -EBUSY);
	kill_child(child);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(out_file, VPFN_LONG_NS), -ESRCH);
	vpfn_assert_mem(&shared);
	vpfn_finish(other, vpfn_start(other, vpfn_mem_fill(&shared, 0, SIZE, 0x30), NULL));
	vpfn_assert_mem(&shared);
	close(out_file);
	vpfn_gate_remove(&gate);
	close(other);
}

/* Many at a time */

#define DEPTH	8
#define JOBS	240
#define LONG	(16ull << 20)

/* The jobs of a file, DEPTH of which are queued at any time */
struct queue {
	int file;
	struct vpfn_bo bo;
	int out[DEPTH];		/* the files of the jobs' fences */
	unsigned int done;
};

static void queue_put(struct queue *queue, unsigned int slot)
{
	queue->out[slot] = vpfn_start_sync_file(queue->file,
						vpfn_cmd_fill(&queue->bo, 0, LONG, slot), NULL);
}

static void queue_open(struct queue *queue)
{
	queue->done = 0;
	queue->file = vpfn_client_open();
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
	struct vpfn_thread thread;
	unsigned int number;
	int shared;
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

static int run_worker(void *arg)
{
	struct worker *worker = arg;
	int err = 0;

	for (worker->round = 0; worker->round < ROUNDS && !err; worker->round++) {
		int file = worker->number % 2 ? worker->shared : vpfn_open(O_RDWR);

		err = file < 0 ? file : work(file, worker->number << 8 | worker->round);
		if (file != worker->shared)
			close(file);
	}
	return err;
}

static void test_threads(void)
{
	struct worker workers[THREADS] = {};
	int shared = vpfn_client_open();

	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].shared = shared;
		vpfn_worker_start(&workers[i].thread, run_worker, &workers[i]);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		igt_assert_eq(vpfn_worker_finish(&workers[i].thread), 0);
		igt_assert_eq(workers[i].round, ROUNDS);
	}
	close(shared);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
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
}
