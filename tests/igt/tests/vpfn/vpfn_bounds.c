// SPDX-License-Identifier: MIT
/*
 * What can a client take? The time of an engine that hangs, kernel memory of queued jobs, the
 * room of buffers that nothing touches: each has a bound that other clients can rely on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_cgroup.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_report.h"
#include "vpfn/vpfn_sleep.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Bounds of what a client of vpfn takes from the machine and from others.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define KIB		(1ull << 10)
#define MIB		(1ull << 20)
#define SIZE		(64 * PFNMAP_PAGE)

static const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

static char name[VPFN_PCI_NAME];

/* Submits a job; the file of its fence outlives the client. */
static int start(int fd, const struct drm_vpfn_cmd *cmds, unsigned int count, uint32_t in)
{
	uint32_t out;
	int sync_file;

	igt_assert_eq(drmSyncobjCreate(fd, 0, &out), 0);
	igt_assert_eq(vpfn_submit(fd, cmds, count, in, out), 0);
	igt_assert_eq(vpfn_sync_file_of(fd, out, &sync_file), 0);
	drmSyncobjDestroy(fd, out);
	return sync_file;
}

/* ---- Hang detection ---- */

/*
 * Pieces of work that come while the engine hangs, and the pause between two of them: shorter
 * than the time that a hang takes to be detected; all together they take longer.
 */
#define PIECES		48
#define PAUSE_NS	(250ll * 1000 * 1000)

static int files[PIECES];
static unsigned int num_files;

static void close_files(void)
{
	while (num_files)
		close(files[--num_files]);
}

/* Each NOP of a new client, so that no bound on the jobs of one ends the traffic. */
static void add_others_nop(int fd)
{
	(void)fd;
	files[num_files] = vpfn_client_open();
	igt_assert_eq(vpfn_submit(files[num_files++], &nop, 1, 0, 0), 0);
}

static void add_own_nop(int fd)
{
	igt_assert_eq(vpfn_submit(fd, &nop, 1, 0, 0), 0);
}

/* The driver clears each new buffer by a job of its own. */
static void add_clear(int fd)
{
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create(fd, PFNMAP_PAGE, &bo), 0);
}

static void add_nothing(int fd)
{
	(void)fd;
}

static const struct {
	const char *name;
	void (*add)(int fd);
} traffic[] = {
	{ "none", add_nothing },
	{ "others", add_others_nop },
	{ "own", add_own_nop },
	{ "clears", add_clear },
};

static void heal_at_exit(int sig)
{
	(void)sig;
	vpfn_host_hang(VPFN_HOST_BIG, false);
	vpfn_dump_drop(name);
}

static void test_hang(void (*add)(int fd))
{
	int guilty, fd = vpfn_client_open(), status = -EBUSY;
	struct drm_vpfn_cmd fill;
	struct vpfn_bo bo;
	bool hangs;

	igt_require_f(vpfn_host_hangs(VPFN_HOST_BIG, &hangs) != -ENODEV,
		      "no port vpfn.control: nothing makes the engine hang\n");
	igt_install_exit_handler(heal_at_exit);
	igt_assert_eq(vpfn_bo_create(fd, SIZE, &bo), 0);
	igt_assert_eq(vpfn_bo_wait(fd, &bo, 0, VPFN_LONG_NS), 0);

	igt_assert_eq(vpfn_host_hang(VPFN_HOST_BIG, true), 0);
	fill = vpfn_cmd_fill(&bo, 0, SIZE, 1);
	guilty = start(fd, &fill, 1, 0);
	for (unsigned int i = 0; i < PIECES && status == -EBUSY; i++) {
		add(fd);
		status = vpfn_sync_file_status(guilty, PAUSE_NS);
	}
	/*
	 * Jobs of the driver's own run first. If one of them hangs, it is tried again, and the
	 * client's job passes.
	 */
	igt_assert_f(status == -ETIME || (add == add_clear && !status),
		     "after %u more jobs the fence of the job that hangs is %d\n", PIECES, status);

	/* The jobs behind it are not lost. */
	igt_assert_eq(vpfn_run(fd, &nop, 1), 0);
	close(guilty);
	close_files();
	close(fd);
	vpfn_dump_drop(name);
}

/* ---- Kernel memory of jobs ---- */

/*
 * The driver has to keep at least so much of a FILL until the job has run: destination, length
 * and pattern.
 */
#define CMD_SIZE	24ull
#define JOB_SIZE	(DRM_VPFN_SUBMIT_CMDS_MAX * CMD_SIZE)

/* Jobs that any client may have in flight, and what a group may have in all. */
#define FEW_JOBS	32
#define GROUP_SIZE	(16 * MIB)

static struct vpfn_cgroup group;

static void remove_group(int sig)
{
	(void)sig;
	vpfn_cgroup_remove(&group);
}

static void make_group(void)
{
	int err = vpfn_cgroup_make("vpfn-bounds", "memory", &group);

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_MEMCG\n");
	igt_assert_eq(err, 0);
	igt_install_exit_handler(remove_group);
}

/* Kernel memory that is charged to the group */
static uint64_t kernel_memory(void)
{
	uint64_t bytes = 0;

	vpfn_cgroup_read(&group, "memory.stat", "kernel", &bytes);
	return bytes;
}

/* A client in the group, and what it tells. */
struct client {
	struct vpfn_gate gate;
	struct vpfn_child child;
	unsigned int max_jobs;
	unsigned int jobs;		/* accepted */
	uint64_t before, tables, queued;	/* kernel memory of the group */
	int last;			/* file of the fence of the last job */
	bool stopped;			/* no more jobs are submitted */
	bool close;			/* an order to close the DRM file */
	bool no_large_pages;		/* its memory comes from vmalloc() */
	int ret;
	int after;			/* what a job gets once the queue has run */
};

/* Page tables for a mapping: the kernel charges one page for each 2 MiB that are touched. */
#define TABLES		512

static int touch_tables(void)
{
	char *map = mmap(NULL, TABLES * PFNMAP_2M, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -errno;

	for (unsigned int i = 0; i < TABLES; i++)
		pfnmap_load(map + i * PFNMAP_2M);
	return 0;
}

struct queue {
	int fd;
	struct vpfn_bo bo;
	struct drm_vpfn_cmd cmds[DRM_VPFN_SUBMIT_CMDS_MAX];
	struct drm_vpfn_sync in, out;
};

static int queue_open(struct queue *queue, const struct vpfn_gate *gate)
{
	int err;

	queue->fd = vpfn_open(O_RDWR);
	if (queue->fd < 0)
		return queue->fd;

	err = vpfn_bo_create(queue->fd, PFNMAP_PAGE, &queue->bo) ?:
	      vpfn_gate_syncobj(gate, queue->fd, &queue->in.handle) ?:
	      drmSyncobjCreate(queue->fd, 0, &queue->out.handle);
	for (unsigned int i = 0; i < DRM_VPFN_SUBMIT_CMDS_MAX; i++)
		queue->cmds[i] = vpfn_cmd_fill(&queue->bo, i % 1024 * 4, 4, i);
	return err;
}

/* Unlike drmIoctl(), does not go on after a signal. */
static int queue_submit(struct queue *queue)
{
	struct drm_vpfn_submit submit = {
		.cmds = (uintptr_t)queue->cmds,
		.num_cmds = DRM_VPFN_SUBMIT_CMDS_MAX,
		.in_syncs = (uintptr_t)&queue->in,
		.num_in_syncs = 1,
		.out_syncs = (uintptr_t)&queue->out,
		.num_out_syncs = 1,
	};

	return ioctl(queue->fd, DRM_IOCTL_VPFN_SUBMIT, &submit) ? -errno : 0;
}

static void on_signal(int sig)
{
	(void)sig;
}

static int run_client(void *arg)
{
	struct sigaction action = { .sa_handler = on_signal };	/* without SA_RESTART */
	struct client *client = arg;
	struct queue queue = {};

	sigaction(SIGUSR1, &action, NULL);
	client->ret = vpfn_cgroup_join(&group) ?: queue_open(&queue, &client->gate);
	if (client->ret)
		return 1;

	client->before = kernel_memory();
	client->ret = touch_tables();
	client->tables = kernel_memory();
	while (!client->ret && client->jobs < client->max_jobs) {
		client->ret = queue_submit(&queue);
		if (!client->ret)
			client->jobs++;
	}
	client->queued = kernel_memory();
	if (vpfn_sync_file_of(queue.fd, queue.out.handle, &client->last))
		return 1;
	__atomic_store_n(&client->stopped, true, __ATOMIC_SEQ_CST);

	if (vpfn_sync_status(queue.fd, queue.out.handle, INT64_MAX))
		return 1;
	client->after = queue_submit(&queue);
	return 0;
}

static int run_leaving_client(void *arg)
{
	struct client *client = arg;
	struct queue queue = {};

	client->ret = vpfn_cgroup_join(&group) ?: queue_open(&queue, &client->gate);
	if (client->no_large_pages)
		client->ret = client->ret ?: pfnmap_text_write("/proc/self/make-it-fail", "1");
	while (!client->ret && client->jobs < client->max_jobs) {
		client->ret = queue_submit(&queue);
		if (!client->ret)
			client->jobs++;
	}
	client->ret = client->ret ?: vpfn_sync_file_of(queue.fd, queue.out.handle, &client->last);
	client->queued = kernel_memory();
	__atomic_store_n(&client->stopped, true, __ATOMIC_SEQ_CST);
	if (client->ret)
		return 1;

	while (!__atomic_load_n(&client->close, __ATOMIC_SEQ_CST))
		sched_yield();
	close(queue.fd);
	/* Until it is killed */
	for (;;)
		pause();
}

static struct client *start_client(int (*run)(void *arg), unsigned int max_jobs,
				   bool no_large_pages)
{
	struct client *client = vpfn_shared_alloc(sizeof(*client));

	igt_assert(client);
	client->no_large_pages = no_large_pages;
	vpfn_children_end();
	make_group();
	vpfn_require_gate(&client->gate);
	client->max_jobs = max_jobs;
	igt_assert_eq(vpfn_child_start(&client->child, run, client), 0);
	return client;
}

static void drop_client(struct client *client)
{
	igt_assert_eq(vpfn_child_kill(&client->child), 0);
	vpfn_gate_remove(&client->gate);
	munmap(client, sizeof(*client));
}

static bool has_stopped(const void *arg)
{
	const struct client *client = arg;

	return __atomic_load_n(&client->stopped, __ATOMIC_SEQ_CST);
}

static void test_job_memory(void)
{
	struct client *client = start_client(run_client, FEW_JOBS, false);

	igt_assert_eq(pfnmap_wait_until(has_stopped, client), 0);
	igt_assert_eq(client->ret, 0);
	igt_info("%llu KiB of page tables, %llu KiB of jobs are charged\n",
		 (client->tables - client->before) / KIB, (client->queued - client->tables) / KIB);
	igt_assert(client->tables - client->before >= TABLES * PFNMAP_PAGE);
	igt_assert_f(client->queued - client->tables >= FEW_JOBS * JOB_SIZE,
		     "of %u jobs with at least %llu KiB, %llu KiB are charged\n",
		     FEW_JOBS, JOB_SIZE / KIB, (client->queued - client->tables) / KIB);

	igt_assert_eq(vpfn_gate_open(&client->gate), 0);
	igt_assert_eq(vpfn_child_wait(&client->child), 0);
	igt_assert_eq(client->child.status, 0);
	igt_assert_eq(client->after, 0);
	drop_client(client);
}

/* A wait for room in the queue is interruptible. */
static bool has_stopped_or_is_told(const void *arg)
{
	const struct client *client = arg;

	if (has_stopped(client))
		return true;
	if (vpfn_task_waits_in(client->child.pid, client->child.pid) == SYS_ioctl)
		kill(client->child.pid, SIGUSR1);
	return false;
}

/* Any bound passes that is below what the memory of the group allows. */
static void test_job_bound(void)
{
	struct client *client = start_client(run_client, GROUP_SIZE / JOB_SIZE, false);
	int fd = vpfn_client_open();
	char limit[24];

	snprintf(limit, sizeof(limit), "%llu", GROUP_SIZE);
	igt_assert_eq(vpfn_cgroup_write(&group, "memory.max", limit), 0);
	igt_assert_eq(pfnmap_wait_until(has_stopped_or_is_told, client), 0);
	igt_info("%u jobs are accepted, then %d\n", client->jobs, client->ret);
	igt_assert_f(client->ret == -EINTR || client->ret == -ENOMEM,
		     "%u jobs of at least %llu KiB in a group of %llu KiB: %d\n",
		     client->jobs, JOB_SIZE / KIB, GROUP_SIZE / KIB,
		     client->ret);
	igt_assert_lte(1, client->jobs);

	/* The queue of another client is empty. */
	igt_assert_eq(vpfn_run(fd, &nop, 1), 0);
	close(fd);

	/* It was the gate that they waited for. */
	igt_assert_eq(vpfn_gate_open(&client->gate), 0);
	igt_assert_eq(vpfn_child_wait(&client->child), 0);
	igt_assert_eq(client->child.status, 0);
	igt_assert_eq(client->after, 0);
	drop_client(client);
}

struct drained {
	uint64_t bytes;
};

static bool is_drained(const void *arg)
{
	const struct drained *drained = arg;

	return kernel_memory() <= drained->bytes;
}

static int set_fault(const char *file, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/fail_page_alloc/%s", file);
	return pfnmap_text_write(path, text);
}

static void allow_large_pages(int sig)
{
	(void)sig;
	set_fault("probability", "0");
	set_fault("times", "1");
	set_fault("task-filter", "N");
	set_fault("min-order", "1");
}

/* For tasks that have set make-it-fail: no allocation of four pages or more in a row */
static void refuse_large_pages(void)
{
	igt_require_f(!set_fault("min-order", "2"), "the kernel lacks CONFIG_FAIL_PAGE_ALLOC\n");
	igt_install_exit_handler(allow_large_pages);
	igt_assert_eq(set_fault("verbose", "0"), 0);
	igt_assert_eq(set_fault("task-filter", "Y"), 0);
	igt_assert_eq(set_fault("times", "-1"), 0);
	igt_assert_eq(set_fault("probability", "100"), 0);
}

/* The jobs of a client that has gone take no memory while they wait for a fence. */
static void test_dead_queue(bool killed, bool no_large_pages)
{
	struct client *client = start_client(run_leaving_client, FEW_JOBS, no_large_pages);
	struct drained drained;
	int last;

	igt_assert_eq(pfnmap_wait_until(has_stopped, client), 0);
	igt_assert_eq(client->ret, 0);
	last = vpfn_child_get_fd(&client->child, client->last);
	igt_assert_lte(0, last);
	igt_assert_eq(vpfn_sync_file_status(last, 0), -EBUSY);

	if (killed)
		igt_assert_eq(vpfn_child_kill(&client->child), 0);
	else
		__atomic_store_n(&client->close, true, __ATOMIC_SEQ_CST);
	drained.bytes = client->queued - FEW_JOBS * JOB_SIZE / 2;
	igt_assert_eq(pfnmap_wait_until(is_drained, &drained), 0);

	/* They end only now: a fence of a job signals after those that the job waits for. */
	igt_assert_eq(vpfn_sync_file_status(last, 0), -EBUSY);
	igt_assert_eq(vpfn_gate_open(&client->gate), 0);
	igt_assert_eq(vpfn_sync_file_status(last, VPFN_LONG_NS), -ESRCH);

	close(last);
	drop_client(client);
}

/* ---- Buffers that nothing has touched ---- */

/* Twice the memory of the machine, as far as the driver accepts it. */
static uint64_t create_untouched(int fd)
{
	uint64_t wanted = 2ull * sysconf(_SC_PHYS_PAGES) * PFNMAP_PAGE, total = 0;
	struct vpfn_bo bo;

	for (uint64_t size = 64 * MIB; size >= PFNMAP_PAGE; size /= 4) {
		while (total < wanted && !vpfn_bo_create_in(fd, size, SYSTEM, 0, &bo))
			total += size;
	}
	igt_info("%llu MiB of untouched buffers\n", total / MIB);
	return total;
}

static void check_client(uint32_t placement)
{
	int fd = vpfn_client_open();
	struct vpfn_bo bo;
	void *map;
	int err;

	err = vpfn_bo_create_in(fd, MIB, placement, CPU_ACCESS, &bo);
	igt_assert_f(!err, "another client's buffer for %#x: %d\n", placement, err);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, MIB, 0x5a5a5a5a), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0x5a5a5a5a5a5a5a5aull);
	munmap(map, MIB);
	close(fd);
}

static void check_others(void)
{
	check_client(SYSTEM);
	check_client(VRAM | SYSTEM);
	check_client(VRAM);
}

static void check_evict(void)
{
	int fd = vpfn_client_open();
	uint32_t placement;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create(fd, 8 * MIB, &bo), 0);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, bo.size, 1), 0);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_bo_placement(fd, &bo, &placement), 0);
	igt_assert_eq(placement, SYSTEM);
	close(fd);
}

static void check_sleep(void)
{
	int fd = vpfn_client_open();
	struct vpfn_bo bo;
	void *map;
	int err;

	igt_assert_eq(vpfn_bo_create(fd, 8 * MIB, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	pfnmap_store(map, 0x51ee9);
	err = vpfn_sleep_devices();
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_PM_DEBUG\n");
	igt_assert_f(!err, "the devices do not sleep: %d\n", err);
	igt_assert_eq_u64(pfnmap_load(map), 0x51ee9);
	munmap(map, bo.size);
	close(fd);
}

static const struct {
	const char *name;
	void (*check)(void);
} checks[] = {
	{ "others", check_others },
	{ "evict", check_evict },
	{ "sleep", check_sleep },
};

static void test_untouched(void (*check)(void))
{
	static int fd = -1;

	/* A test before this one may have failed. */
	close(fd);
	check();
	fd = vpfn_client_open();
	igt_assert(create_untouched(fd));
	check();
	close(fd);
	check();
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "job-memory", "The memory of queued jobs is charged to the group of their client.",
	  test_job_memory },
	{ "job-bound", "A client queues less than its group has memory for, and then waits.",
	  test_job_bound },
};

int igt_main()
{
	igt_fixture() {
		int fd = vpfn_require_device();

		igt_assert_eq(vpfn_card_name(fd, name), 0);
		close(fd);
	}

	igt_describe("A job that hangs is detected, whatever work is added meanwhile.");
	igt_subtest_with_dynamic("hang") {
		for (unsigned int i = 0; i < ARRAY_SIZE(traffic); i++) {
			igt_dynamic(traffic[i].name)
				test_hang(traffic[i].add);
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_describe("The queued jobs of a client that has gone take no memory, and end with -ESRCH.");
	igt_subtest_with_dynamic("dead-queue") {
		igt_dynamic("closed")
			test_dead_queue(false, false);
		igt_dynamic("killed")
			test_dead_queue(true, false);
		igt_dynamic("no-large-pages") {
			refuse_large_pages();
			test_dead_queue(false, true);
			allow_large_pages(0);
		}
	}

	igt_describe("Buffers in system memory without pages take no room from others.");
	igt_subtest_with_dynamic("untouched") {
		for (unsigned int i = 0; i < ARRAY_SIZE(checks); i++) {
			igt_dynamic(checks[i].name)
				test_untouched(checks[i].check);
		}
	}

	igt_fixture()
		vpfn_children_end();
}
