// SPDX-License-Identifier: MIT
/*
 * Does any sequence of calls on a process's address space leave a wrong byte, a stale translation
 * or a wrong answer behind? Threads of several processes map the same buffers, each into an arena
 * of its own, and do to any part of it what the kernel offers. Each knows what is mapped where in
 * its arena, and which answer a call must give; all know which word a buffer must hold where.
 *
 * VPFN_MM_FUZZ_SECONDS is how long each subtest runs at least; it goes on until it has seen leaves
 * of each size. VPFN_MM_FUZZ_SEED, a number that each run prints, makes each thread's choices; how
 * they meet is chance.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_random.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

IGT_TEST_DESCRIPTION("Random calls on mappings of vpfn, every byte and every answer checked.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

#define MIB		(1ull << 20)
#define SECONDS		2
#define SEED		1
#define MIN_STEPS	50
#define VICTIM_STEPS	10
#define CHUNK		MIB

static int64_t seconds;
static struct vpfn_bo scratch;
static struct vpfn_meter meter;
static int64_t deadline;

/* Not before leaves of each size were seen, unless that takes far too long. */
static bool is_over(const struct task *task)
{
	int64_t left = deadline - vpfn_deadline(0);

	if (task->steps < MIN_STEPS || left > 0)
		return false;
	return -left > VPFN_LONG_NS ||
	       (fuzz_shared->leaves[VPFN_PTE] && fuzz_shared->leaves[VPFN_PMD] &&
		fuzz_shared->leaves[VPFN_PUD]);
}

static void *run_task(void *arg)
{
	struct task *task = arg;
	void *arena;

	fuzz_current = task;
	task->pkey = pkey_alloc(0, 0);
	fuzz_lock_places(task);
	if (pipe(task->pipe) || pfnmap_reserve(ARENA, PFNMAP_1G, &arena))
		fuzz_fail(task, "no place for an arena");
	fuzz_unlock_holes(task);
	task->arena = (uintptr_t)arena;
	task->segments[0] = (struct segment) { .start = task->arena, .end = task->arena + ARENA };
	task->num_segments = 1;
	for (unsigned int i = 0; i < fuzz_num_buffers; i++)
		fuzz_map_whole(task, i);
	while (!is_over(task) && !fuzz_shared->failed)
		fuzz_one_step(task);
	return NULL;
}

static void start_task(struct task *task, unsigned int writer, uint64_t stream)
{
	task->writer = writer;
	vpfn_random_init(&task->random, fuzz_seed, stream);
	if (pthread_create(&task->thread, NULL, run_task, task))
		fuzz_fail(task, "no thread");
}

static void run_process(unsigned int first_writer, unsigned int threads)
{
	fuzz_catch_signals();
	fuzz_num_tasks = threads;
	for (unsigned int i = 0; i < threads; i++) {
		fuzz_tasks[i].may_store = true;
		start_task(&fuzz_tasks[i], first_writer + i, first_writer + i);
	}
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(fuzz_tasks[i].thread, NULL);
	_exit(0);
}

/* Processes that the OOM killer kills meanwhile */

#define GROUP		"/sys/fs/cgroup/vpfn_mm_fuzz"
#define GROUP_LIMIT	"33554432"

static void create_group(void)
{
	igt_require_f(!pfnmap_text_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory"),
		      "no control groups for memory\n");
	igt_assert(!mkdir(GROUP, 0755) || errno == EEXIST);
	igt_assert_eq(pfnmap_text_write(GROUP "/memory.max", GROUP_LIMIT), 0);
	igt_assert_eq(pfnmap_text_write(GROUP "/memory.swap.max", "0"), 0);
}

/* What is in the middle of a store when it is killed cannot tell of it: it may not store. */
static void run_victim(unsigned int writer, uint64_t stream)
{
	fuzz_catch_signals();
	if (pfnmap_text_write(GROUP "/cgroup.procs", "0"))
		fuzz_fail(&fuzz_tasks[0], "no way into " GROUP);
	deadline = INT64_MAX;
	fuzz_num_tasks = 2;
	for (unsigned int i = 0; i < fuzz_num_tasks; i++)
		start_task(&fuzz_tasks[i], writer + i, stream + i);
	while (fuzz_tasks[0].steps < VICTIM_STEPS)
		sched_yield();
	for (;;)
		mmap(NULL, MIB, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static void run_victims(unsigned int writer)
{
	struct task *task = &fuzz_tasks[0];
	uint64_t stream = 1ull << 32;
	int status;
	pid_t pid;

	do {
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run_victim(writer, stream);
		}
		stream += 2;
		status = fuzz_wait_for(task, pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			fuzz_fail(task, "the victim ended with %#x", status);
		fuzz_count(CALL_OOM_KILL, true);
	} while (vpfn_deadline(0) < deadline && !fuzz_shared->failed);
	_exit(0);
}

/* A process that moves the buffers and has the engine work on them */

static void mover_expect(struct task *task, enum call call, unsigned int buffer, int err,
			 int expected)
{
	errno = -err;
	fuzz_judge(task, call, (struct range) {}, buffer, err ? -1 : 0, expected);
}

/* What the engine reads is what the writers have written. */
static void mover_copy(struct task *task, const char *map)
{
	static uint32_t oldest[CHUNK / PFNMAP_PAGE][VPFN_WRITERS];
	unsigned int buffer = pick(task, fuzz_num_buffers), first, sites;
	const struct vpfn_words *words = &fuzz_shared->words[buffer];
	uint64_t len = words->tail < CHUNK ? words->tail : CHUNK, from, at, word;

	from = pick(task, (words->tail - len) / PFNMAP_PAGE + 1) * PFNMAP_PAGE;
	sites = vpfn_words_sites(words, from, from + len, &first);
	for (unsigned int i = 0; i < sites; i++) {
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++)
			oldest[i][writer] = vpfn_words_generation(words, first + i, writer);
	}
	mover_expect(task, CALL_ENGINE_COPY, buffer,
		     vpfn_copy(fuzz_fd, &scratch, 0, &fuzz_bos[buffer], from, len), 0);
	for (unsigned int i = 0; i < sites; i++) {
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++) {
			at = vpfn_words_offset(words, first + i) + writer * sizeof(word);
			word = pfnmap_load(map + at - from);
			if (!vpfn_words_between(words, first + i, writer, word, oldest[i][writer],
						vpfn_words_generation(words, first + i,
								      writer) + 1))
				fuzz_fail(task, "the engine copied %#" PRIx64 " from %#" PRIx64
					  " of buffer %u, older than generation %u of writer %u",
					  word,
					  at, buffer, oldest[i][writer], writer);
		}
	}
}

static void mover_fill(struct task *task)
{
	unsigned int buffer = pick(task, fuzz_num_buffers);
	struct vpfn_words *words = &fuzz_shared->words[buffer];
	uint32_t next = words->tail_begun + 1;

	__atomic_store_n(&words->tail_begun, next, __ATOMIC_SEQ_CST);
	mover_expect(task, CALL_ENGINE_FILL, buffer,
		     vpfn_fill(fuzz_fd, &fuzz_bos[buffer], words->tail, words->size - words->tail,
			       vpfn_words_tail(words, next)), 0);
	__atomic_store_n(&words->tail_done, next, __ATOMIC_SEQ_CST);
}

static void mover_crc(struct task *task)
{
	unsigned int buffer = pick(task, fuzz_num_buffers);
	const struct vpfn_words *words = &fuzz_shared->words[buffer];
	struct vpfn_content content =
		vpfn_content_pattern(vpfn_words_tail(words, words->tail_done));

	mover_expect(task, CALL_ENGINE_CRC, buffer,
		     vpfn_meter_check(&meter, &fuzz_bos[buffer], &content, words->tail,
				      words->size), 0);
}

/* System memory may have no room for what it held a moment ago: the pages go back later. */
static void mover_evict(struct task *task)
{
	int err = vpfn_evict(fuzz_fd);

	mover_expect(task, CALL_EVICT, 0, err, err == -ENOMEM ? err : 0);
}

static void run_mover(void)
{
	static struct task task = { .writer = VPFN_WRITERS };
	void *map;

	fuzz_catch_signals();
	fuzz_current = &task;
	vpfn_random_init(&task.random, fuzz_seed, task.writer);
	if (vpfn_bo_map(fuzz_fd, &scratch, &map))
		fuzz_fail(&task, "no mapping for the mover");
	mover_evict(&task);
	task.steps++;
	while (vpfn_deadline(0) < deadline && !fuzz_shared->failed) {
		switch (pick(&task, 16)) {
		case 0:
			mover_evict(&task);
			break;
		case 1:
		case 2:
		case 3:
		case 4:
			mover_crc(&task);
			break;
		case 5:
		case 6:
		case 7:
		case 8:
			mover_fill(&task);
			break;
		default:
			mover_copy(&task, map);
		}
		task.steps++;
	}
	_exit(0);
}

/* Subtests */

struct mix {
	const char *name;
	const char *what;
	uint64_t large;			/* bytes of the largest buffer */
	unsigned int processes;
	unsigned int threads;		/* of each */
	bool moves;
	bool oom_kills;
};

static void create_buffers(const struct mix *mix)
{
	const struct {
		uint64_t size;
		uint32_t placement;
	} wanted[MAX_BUFFERS] = {
		{ mix->large, VRAM },
		{ 3 * PFNMAP_2M + 3 * PFNMAP_PAGE, VRAM },
		{ 40 * PFNMAP_PAGE, VRAM },
		{ 2 * PFNMAP_2M, VRAM | SYSTEM },
		{ 2 * PFNMAP_2M, SYSTEM },
	};

	fuzz_shared = vpfn_shared_alloc(sizeof(*fuzz_shared));
	igt_assert(fuzz_shared);
	/* A core dump of a child holds what the child alone knows. */
	igt_assert_eq(madvise(fuzz_shared, sizeof(*fuzz_shared), MADV_DONTDUMP), 0);
	fuzz_num_buffers = 0;
	for (unsigned int i = 0; i < MAX_BUFFERS; i++) {
		igt_assert_eq(vpfn_bo_create_in(fuzz_fd, wanted[i].size, wanted[i].placement, 0,
						&fuzz_bos[i]), 0);
		igt_assert_eq(vpfn_bo_export(fuzz_fd, &fuzz_bos[i], &fuzz_dmabufs[i]), 0);
		vpfn_words_init(&fuzz_shared->words[i], i, wanted[i].size);
		fuzz_num_buffers++;
	}
	/* Until they are cleared. */
	for (unsigned int i = 0; i < MAX_BUFFERS; i++)
		igt_assert_eq(vpfn_bo_wait(fuzz_fd, &fuzz_bos[i], 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_create_in(fuzz_fd, CHUNK, VRAM | SYSTEM, 0, &scratch), 0);
	igt_assert_eq(vpfn_meter_open(fuzz_fd, &meter), 0);
}

static void destroy_buffers(void)
{
	vpfn_meter_close(&meter);
	igt_assert_eq(vpfn_bo_close(fuzz_fd, &scratch), 0);
	for (unsigned int i = 0; i < fuzz_num_buffers; i++) {
		close(fuzz_dmabufs[i]);
		igt_assert_eq(vpfn_bo_close(fuzz_fd, &fuzz_bos[i]), 0);
	}
	munmap(fuzz_shared, sizeof(*fuzz_shared));
}

static pid_t start(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	igt_assert(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void run_processes(const struct mix *mix)
{
	unsigned int running = 0;
	bool all_ended_well = true;
	int status;

	for (unsigned int i = 0; i < mix->processes; i++, running++) {
		if (!start())
			run_process(i * mix->threads, mix->threads);
	}
	if (mix->moves && running++ && !start())
		run_mover();
	if (mix->oom_kills && running++ && !start())
		run_victims(mix->processes * mix->threads);
	while (running-- && wait(&status) > 0)
		all_ended_well = all_ended_well && WIFEXITED(status) && !WEXITSTATUS(status);
	igt_assert_f(!fuzz_shared->failed, "%s", fuzz_shared->message);
	igt_assert_f(all_ended_well, "a process ended with %#x\n", status);
	igt_assert(!mix->moves || fuzz_shared->done[CALL_EVICT][0]);
}

/* Each byte from @from on, seen by the engine: what the model says, and zero between. */
static void check_by_engine(const struct vpfn_words *words, uint64_t from, uint64_t to)
{
	static char image[16 * MIB];
	uint32_t crc;

	igt_assert(to - from <= sizeof(image));
	vpfn_words_image(words, from, to, image);
	igt_assert_eq(vpfn_meter_crc(&meter, &fuzz_bos[words->buffer], from, to, &crc), 0);
	igt_assert_f(crc == vpfn_crc32c(image, to - from), "buffer %u, from %#" PRIx64 " to %#"
		     PRIx64 ": the engine sees other bytes than the writers wrote\n",
		     words->buffer, from, to);
}

/* Each word of each writer, seen by the CPU. */
static void check_by_cpu(const struct vpfn_words *words)
{
	uint64_t offset, word;
	void *map;

	igt_assert_eq(vpfn_bo_map(fuzz_fd, &fuzz_bos[words->buffer], &map), 0);
	for (unsigned int site = 0; site < words->count; site++) {
		offset = vpfn_words_offset(words, site);
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++) {
			word = pfnmap_load((char *)map + offset + writer * sizeof(word));
			igt_assert_f(word == vpfn_words_value(words, site, writer,
							      words->generations[writer][site]),
				     "buffer %u, %#" PRIx64 ": writer %u's word is %#" PRIx64 "\n",
				     words->buffer, offset, writer, word);
		}
	}
	munmap(map, words->size);
}

static void check_all(void)
{
	for (unsigned int i = 0; i < fuzz_num_buffers; i++) {
		const struct vpfn_words *words = &fuzz_shared->words[i];

		check_by_cpu(words);
		if (words->size <= 16 * MIB) {
			check_by_engine(words, 0, words->size);
			continue;
		}
		for (uint64_t at = 0; at < words->size; at += words->size / 4)
			check_by_engine(words, at ? at - MIB : 0, at + MIB);
		check_by_engine(words, words->size - MIB, words->size);
	}
}

static void report(const struct mix *mix)
{
	igt_info("%lu steps; leaves seen: %lu ptes, %lu pmds, %lu puds\n", fuzz_shared->steps,
		 fuzz_shared->leaves[VPFN_PTE], fuzz_shared->leaves[VPFN_PMD],
		 fuzz_shared->leaves[VPFN_PUD]);
	for (unsigned int i = 0; i < CALLS; i++) {
		if (fuzz_shared->done[i][0] || fuzz_shared->done[i][1])
			igt_info("  %-24s %8lu ok %8lu failed\n", fuzz_call_names[i],
				 fuzz_shared->done[i][0], fuzz_shared->done[i][1]);
	}
	for_each_vpfn_level(level)
		igt_assert_f(fuzz_shared->leaves[level], "no %s in %s\n", vpfn_level_name(level),
			     mix->name);
}

static void run_mix(const struct mix *mix)
{
	igt_info("VPFN_MM_FUZZ_SEED=%#" PRIx64 ", %u processes of %u threads%s, %" PRId64 " s\n",
		 fuzz_seed, mix->processes, mix->threads, mix->moves ? ", and moves" : "", seconds);
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	if (mix->oom_kills)
		create_group();
	create_buffers(mix);
	deadline = vpfn_deadline(seconds * 1000 * 1000 * 1000);
	run_processes(mix);
	check_all();
	report(mix);
	destroy_buffers();
	if (mix->oom_kills)
		rmdir(GROUP);
}

int igt_main()
{
	static const struct mix mixes[] = {
		{ "thread", "One thread.", 2 * PFNMAP_1G, 1, 1, false, false },
		{ "threads", "Four threads of one process.", 2 * PFNMAP_1G, 1, 4, false, false },
		{ "processes", "Two processes, of two threads each.", 2 * PFNMAP_1G, 2, 2, false,
		  false },
		{ "moves", "Two processes, of two threads each, and one that moves the buffers.",
		  PFNMAP_1G, 2, 2, true, false },
		{ "oom-kill", "A process, and others that the OOM killer kills at it.",
		  PFNMAP_1G, 1, 2, false, true },
	};

	igt_fixture() {
		fuzz_fd = vpfn_require_device();
		fuzz_has_numa = !access("/proc/self/numa_maps", R_OK);
		fuzz_seed = vpfn_number_from_env("VPFN_MM_FUZZ_SEED", SEED);
		seconds = vpfn_number_from_env("VPFN_MM_FUZZ_SECONDS", SECONDS);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(mixes); i++) {
		igt_describe(mixes[i].what);
		igt_subtest(mixes[i].name)
			run_mix(&mixes[i]);
	}
}
