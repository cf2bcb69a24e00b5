// SPDX-License-Identifier: MIT
/*
 * What happens while a task waits for a buffer? The task can be killed, uses no CPU time, and
 * delays neither other clients nor the unbinding of the card.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Tasks that wait for a buffer of vpfn, and what waits for them.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

#define SIZE		(16 * PFNMAP_PAGE)
#define WORD		0x5a5a5a5a5a5a5a5aull

static char name[VPFN_PCI_NAME];

/* ---- A buffer that is reserved and busy ---- */

/*
 * The CPU cannot reach the buffer, so it has to move for an access of the CPU; it cannot move
 * before a job has written it, which waits for the gate.
 */
struct busy {
	struct vpfn_gate gate;
	int fd;
	struct vpfn_bo bo;
	char *map;
	struct vpfn_child debugger;
	/* Has the mapping, too: one of this process would hold the lock that fork() takes. */
	struct vpfn_child target;
};

static int sleep_for_ever(void *arg)
{
	(void)arg;
	while (pause())
		;
	return 0;
}

static void busy_open(struct busy *busy, uint64_t size)
{
	struct drm_vpfn_cmd fill;
	uint32_t in;
	void *map;
	int err;

	err = vpfn_gate_make(&busy->gate);
	igt_require_f(err != -ENOENT, "no fences for tests: the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
	busy->fd = vpfn_client_open_card(name);
	igt_assert_eq(vpfn_bo_create_in(busy->fd, size, VRAM | SYSTEM, 0, &busy->bo), 0);
	igt_assert_eq(vpfn_bo_map(busy->fd, &busy->bo, &map), 0);
	busy->map = map;
	igt_assert_eq(vpfn_child_start(&busy->target, sleep_for_ever, NULL), 0);
	fill = vpfn_cmd_fill(&busy->bo, 0, size, (uint32_t)WORD);
	igt_assert_eq(vpfn_gate_syncobj(&busy->gate, busy->fd, &in), 0);
	igt_assert_eq(vpfn_submit(busy->fd, &fill, 1, in, 0), 0);
}

static void busy_end(struct busy *busy)
{
	igt_assert_eq(vpfn_gate_open(&busy->gate), 0);
	igt_assert_eq(vpfn_bo_wait(busy->fd, &busy->bo, 0, VPFN_LONG_NS), 0);
}

static void busy_close(struct busy *busy)
{
	igt_assert_eq(vpfn_child_kill(&busy->target), 0);
	munmap(busy->map, busy->bo.size);
	close(busy->fd);
	vpfn_gate_remove(&busy->gate);
}

/* Reads or writes a word of the target's memory; the exit code is an errno. */
static int access_target(const struct busy *busy, bool write)
{
	char path[32];
	uint64_t word = WORD;
	ssize_t n;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", busy->target.pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		return errno;

	if (write)
		n = pwrite(mem, &word, sizeof(word), (uintptr_t)busy->map);
	else
		n = pread(mem, &word, sizeof(word), (uintptr_t)busy->map);
	if (n < 0)
		return errno;
	return n == sizeof(word) && word == WORD ? 0 : EBADMSG;
}

static int read_target(void *busy)
{
	return access_target(busy, false);
}

static int write_target(void *busy)
{
	return access_target(busy, true);
}

/* A debugger reads the buffer, and so has it moved; the reservation may be held meanwhile. */
static void busy_debug(struct busy *busy)
{
	igt_assert_eq(vpfn_child_start(&busy->debugger, read_target, busy), 0);
	igt_assert_eq(vpfn_child_settle(&busy->debugger, SYS_pread64), 0);
	igt_assert(!busy->debugger.ended);
}

static void busy_end_debug(struct busy *busy)
{
	igt_assert_eq(vpfn_child_wait(&busy->debugger), 0);
	igt_assert_eq(busy->debugger.status, 0);
}

/* ---- Waits that a signal ends ---- */

static int read_file(const char *path)
{
	char text[16384];

	return -pfnmap_text_read(path, text, sizeof(text));
}

static int read_fdinfo(void *arg)
{
	const struct busy *busy = arg;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", getppid(), busy->fd);
	return read_file(path);
}

static int get_info(void *arg)
{
	const struct busy *busy = arg;
	uint32_t placement;

	return -vpfn_bo_placement(busy->fd, &busy->bo, &placement);
}

static int export_buffer(void *arg)
{
	const struct busy *busy = arg;
	int dmabuf;

	return -vpfn_bo_export(busy->fd, &busy->bo, &dmabuf);
}

static int submit_fill(void *arg)
{
	const struct busy *busy = arg;
	struct drm_vpfn_cmd fill = vpfn_cmd_fill(&busy->bo, 0, 4, (uint32_t)WORD);

	return -vpfn_submit(busy->fd, &fill, 1, 0, 0);
}

static int touch_buffer(void *arg)
{
	const struct busy *busy = arg;

	return pfnmap_load(busy->map) != WORD;
}

static int evict_all(void *arg)
{
	const struct busy *busy = arg;

	return -vpfn_evict(busy->fd);
}

static int open_card(void *arg)
{
	int fd = vpfn_card_open(name, O_RDWR);

	(void)arg;
	return fd < 0 ? -fd : 0;
}

static const struct {
	const char *name;
	int (*run)(void *busy);
	long nr;	/* where it waits */
} waits[] = {
	{ "fdinfo", read_fdinfo, SYS_read },
	{ "info", get_info, SYS_ioctl },
	{ "export", export_buffer, SYS_ioctl },
	{ "submit", submit_fill, SYS_ioctl },
	{ "touch", touch_buffer, VPFN_IN_FAULT },
	{ "debugger", read_target, SYS_pread64 },
	{ "evict", evict_all, SYS_write },
};

static void test_killable(int (*run)(void *busy), long nr)
{
	struct vpfn_child child;
	struct busy busy;
	int err;

	busy_open(&busy, SIZE);
	busy_debug(&busy);
	igt_assert_eq(vpfn_child_start(&child, run, &busy), 0);
	igt_assert_eq(vpfn_child_settle(&child, nr), 0);
	igt_info("it %s\n", child.ended ? "does not wait" : "waits");
	err = vpfn_child_kill(&child);

	busy_end(&busy);
	busy_end_debug(&busy);
	igt_assert_f(!err, "a task that waits for a buffer cannot be killed\n");
	/* Nothing is in its way now. */
	igt_assert_eq(vpfn_child_start(&child, run, &busy), 0);
	igt_assert_eq(vpfn_child_wait(&child), 0);
	igt_assert_eq(child.status, 0);
	busy_close(&busy);
}

static void test_open(void)
{
	struct vpfn_child reader, opener;
	struct busy busy;
	int err;

	busy_open(&busy, SIZE);
	igt_assert_eq(vpfn_child_start(&reader, read_fdinfo, &busy), 0);
	igt_assert_eq(vpfn_child_wait(&reader), 0);
	igt_assert_eq(reader.status, 0);

	busy_debug(&busy);
	igt_assert_eq(vpfn_child_start(&reader, read_fdinfo, &busy), 0);
	igt_assert_eq(vpfn_child_settle(&reader, SYS_read), 0);
	igt_assert_eq(vpfn_child_start(&opener, open_card, &busy), 0);
	err = vpfn_child_wait(&opener);

	busy_end(&busy);
	busy_end_debug(&busy);
	igt_assert_f(!err, "a reader of fdinfo keeps others from the card\n");
	igt_assert_eq(opener.status, 0);
	igt_assert_eq(vpfn_child_wait(&reader), 0);
	igt_assert_eq(reader.status, 0);
	busy_close(&busy);
}

static int create_all_vram(void *arg)
{
	int fd = vpfn_card_open(name, O_RDWR);
	struct vpfn_bo bo;
	uint64_t size;

	(void)arg;
	if (fd < 0)
		return -fd;
	return -(vpfn_vram_size(fd, &size) ?: vpfn_bo_create_in(fd, size, VRAM, 0, &bo));
}

static int submit_nop(void *arg)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	int fd = vpfn_card_open(name, O_RDWR);

	(void)arg;
	return fd < 0 ? -fd : -vpfn_submit(fd, &nop, 1, 0, 0);
}

/*
 * A submission waits for a buffer that a debugger has reserved, a new buffer needs the place of
 * that one, and a client that wants neither comes after them.
 */
static void test_submit_killable(void)
{
	int (* const runs[])(void *) = { submit_fill, create_all_vram, submit_nop };
	struct vpfn_child children[ARRAY_SIZE(runs)];
	unsigned int immortal = 0;
	struct busy busy;

	busy_open(&busy, SIZE);
	busy_debug(&busy);
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++) {
		igt_assert_eq(vpfn_child_start(&children[i], runs[i], &busy), 0);
		igt_assert_eq(vpfn_child_settle(&children[i], SYS_ioctl), 0);
	}
	for (int i = ARRAY_SIZE(runs) - 1; i >= 0; i--)
		immortal |= vpfn_child_kill(&children[i]) ? 1 << i : 0;

	busy_end(&busy);
	busy_end_debug(&busy);
	igt_assert_f(!immortal, "clients that cannot be killed: %#x\n", immortal);
	igt_assert_eq(vpfn_child_start(&children[0], submit_nop, &busy), 0);
	igt_assert_eq(vpfn_child_wait(&children[0]), 0);
	igt_assert_eq(children[0].status, 0);
	busy_close(&busy);
}

/* ---- A signal to a debugger ---- */

static void on_signal(int sig)
{
	(void)sig;
}

static void test_debugger_signal(int (*run)(void *busy), long nr, bool signal)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;
	struct vpfn_child debugger;
	struct busy busy;
	int code;

	busy_open(&busy, SIZE);
	sigaction(SIGUSR1, &action, &old);
	igt_assert_eq(vpfn_child_start(&debugger, run, &busy), 0);
	sigaction(SIGUSR1, &old, NULL);
	igt_assert_eq(vpfn_child_settle(&debugger, nr), 0);
	igt_assert(!debugger.ended);
	if (signal)
		kill(debugger.pid, SIGUSR1);
	busy_end(&busy);
	igt_assert_eq(vpfn_child_wait(&debugger), 0);
	igt_assert(WIFEXITED(debugger.status));
	code = WEXITSTATUS(debugger.status);
	igt_assert_f(!code || (signal && code == EINTR), "the access ends with \"%s\"\n",
		     strerror(code));
	busy_close(&busy);
}

/* ---- A signal to a task in a fault ---- */

/* Far more faults than the access needs, and far less than a task makes that spins. */
#define MANY_FAULTS	100

/*
 * So many looks in a row find the task asleep. To find it asleep too early makes the test
 * blind; it does not make it fail.
 */
#define LOOKS		25

struct access {
	struct vpfn_thread thread;
	struct busy *busy;
	int (*run)(const struct busy *busy, int file);
	int file;
	long nr;
	long before;		/* faults of the thread when it began to wait */
	long faults;		/* of the access, by getrusage() */
	unsigned int asleep;
};

static int write_from(const struct busy *busy, int file)
{
	ssize_t n = pwrite(file, busy->map, PFNMAP_PAGE, 0);
	uint64_t word;

	if (n < 0)
		return -errno;
	if (n == PFNMAP_PAGE && pread(file, &word, sizeof(word), 0) == sizeof(word) && word == WORD)
		return 0;
	return -EBADMSG;
}

/* The file is empty but for a page of zeroes. */
static int read_into(const struct busy *busy, int file)
{
	ssize_t n = pread(file, busy->map, PFNMAP_PAGE, 0);

	if (n < 0)
		return -errno;
	return n == PFNMAP_PAGE && !pfnmap_load(busy->map) ? 0 : -EBADMSG;
}

static int touch(const struct busy *busy, int file)
{
	(void)file;
	return pfnmap_load(busy->map) == WORD ? 0 : -EBADMSG;
}

static long own_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static int run_access(void *arg)
{
	struct access *access = arg;
	long before = own_faults();
	int err = access->run(access->busy, access->file);

	access->faults = own_faults() - before;
	return err;
}

static bool is_quiet_or_spins(const void *arg)
{
	/* The count of the looks is the only thing that changes. */
	struct access *access = (struct access *)arg;
	pid_t tid = access->thread.tid;

	if (vpfn_thread_is_done(&access->thread) ||
	    vpfn_task_faults(getpid(), tid) - access->before > MANY_FAULTS)
		return true;

	access->asleep = vpfn_task_waits_in(getpid(), tid) == access->nr ? access->asleep + 1 : 0;
	return access->asleep == LOOKS;
}

static void test_fault_signal(int (*run)(const struct busy *busy, int file), long nr,
			      uint64_t size)
{
	struct sigaction action = { .sa_handler = on_signal }, old;	/* without SA_RESTART */
	struct access access = { .run = run, .nr = nr };
	struct busy busy;
	int err;

	busy_open(&busy, size);
	access.busy = &busy;
	access.file = memfd_create("vpfn-waits", MFD_CLOEXEC);
	igt_assert_lte(0, access.file);
	igt_assert_eq(ftruncate(access.file, PFNMAP_PAGE), 0);
	sigaction(SIGUSR1, &action, &old);

	igt_assert_eq(vpfn_thread_start(&access.thread, run_access, &access), 0);
	igt_assert_eq(vpfn_thread_waits_in(&access.thread, nr), 0);
	igt_assert(!vpfn_thread_is_done(&access.thread));
	access.before = vpfn_task_faults(getpid(), access.thread.tid);
	syscall(SYS_tgkill, getpid(), access.thread.tid, SIGUSR1);
	igt_assert_eq(pfnmap_wait_until(is_quiet_or_spins, &access), 0);

	busy_end(&busy);
	igt_assert_eq(vpfn_thread_join(&access.thread, &err), 0);
	igt_assert_f(access.faults <= MANY_FAULTS, "%ld faults for one access\n", access.faults);
	igt_assert_f(!err || err == -EINTR, "the access ends with %d\n", err);

	sigaction(SIGUSR1, &old, NULL);
	close(access.file);
	busy_close(&busy);
}

static const struct {
	const char *name;
	int (*run)(const struct busy *busy, int file);
	long nr;
} accesses[] = {
	{ "write", write_from, SYS_pwrite64 },
	{ "read", read_into, SYS_pread64 },
	{ "touch", touch, VPFN_IN_FAULT },
};

static const struct {
	const char *name;
	uint64_t size;
} leaves[] = {
	{ "pte", SIZE },
	{ "pmd", PFNMAP_2M },
};

/* ---- User memory that does not come ---- */

static void bring_back(int sig)
{
	(void)sig;
	if (!vpfn_card_is_bound(name))
		vpfn_card_bind(name);
	vpfn_card_wait_bound(name);
}

/* Two pages, of which the second comes when the test says so. */
struct late {
	int uffd;
	char *pages;
	char content[2 * 4096] __attribute__((aligned(4096)));
};

static void late_open(struct late *late)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	void *map;

	late->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	igt_require_f(late->uffd >= 0, "the kernel lacks CONFIG_USERFAULTFD\n");
	igt_assert_eq(ioctl(late->uffd, UFFDIO_API, &api), 0);
	map = mmap(NULL, 2 * PFNMAP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	igt_assert(map != MAP_FAILED);
	late->pages = map;
	reg.range.start = (uintptr_t)map + PFNMAP_PAGE;
	reg.range.len = PFNMAP_PAGE;
	igt_assert_eq(ioctl(late->uffd, UFFDIO_REGISTER, &reg), 0);
	memset(late->content, 0, sizeof(late->content));
}

/*
 * Puts bytes such that the second page has all but the first @head of them.
 * Returns: their address.
 */
static uintptr_t late_put(struct late *late, const void *bytes, size_t len, size_t head)
{
	size_t at = PFNMAP_PAGE - head;

	memcpy(late->content + at, bytes, len);
	memcpy(late->pages, late->content, PFNMAP_PAGE);
	return (uintptr_t)late->pages + at;
}

static void late_wait_wanted(const struct late *late)
{
	struct pollfd wait = { .fd = late->uffd, .events = POLLIN };

	igt_assert_f(poll(&wait, 1, VPFN_LONG_NS / 1000000) == 1, "nothing reads the memory\n");
}

static void late_come(const struct late *late)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)late->pages + PFNMAP_PAGE,
		.src = (uintptr_t)late->content + PFNMAP_PAGE,
		.len = PFNMAP_PAGE,
	};

	igt_assert_eq(ioctl(late->uffd, UFFDIO_COPY, &copy), 0);
}

static void late_close(struct late *late)
{
	munmap(late->pages, 2 * PFNMAP_PAGE);
	close(late->uffd);
}

struct call {
	int fd;
	unsigned long request;
	uintptr_t arg;
};

static int run_call(void *arg)
{
	const struct call *call = arg;

	return vpfn_ioctl(call->fd, call->request, (void *)call->arg);
}

static int run_unbind(void *arg)
{
	(void)arg;
	return vpfn_card_unbind(name);
}

/* What the ioctls of one test refer to. */
struct objects {
	struct vpfn_bo bo;
	struct drm_vpfn_cmd cmds[2];
	struct drm_vpfn_sync in[2], out[2];
	struct drm_vpfn_submit submit;
};

static void objects_make(struct objects *objects, int fd)
{
	igt_assert_eq(vpfn_bo_create_in(fd, PFNMAP_PAGE, VRAM, 0, &objects->bo), 0);
	for (int i = 0; i < 2; i++) {
		objects->cmds[i] = vpfn_cmd_fill(&objects->bo, 0, PFNMAP_PAGE, 1);
		igt_assert_eq(drmSyncobjCreate(fd, DRM_SYNCOBJ_CREATE_SIGNALED,
					       &objects->in[i].handle), 0);
		igt_assert_eq(drmSyncobjCreate(fd, 0, &objects->out[i].handle), 0);
	}
	objects->submit = (struct drm_vpfn_submit) {
		.cmds = (uintptr_t)objects->cmds,
		.in_syncs = (uintptr_t)objects->in,
		.out_syncs = (uintptr_t)objects->out,
		.num_cmds = 2,
		.num_in_syncs = 2,
		.num_out_syncs = 2,
	};
}

static void put_cmds(struct objects *objects, struct late *late, struct call *call)
{
	call->request = DRM_IOCTL_VPFN_SUBMIT;
	objects->submit.cmds = late_put(late, objects->cmds, sizeof(objects->cmds),
					sizeof(objects->cmds[0]));
	call->arg = (uintptr_t)&objects->submit;
}

static void put_in_syncs(struct objects *objects, struct late *late, struct call *call)
{
	call->request = DRM_IOCTL_VPFN_SUBMIT;
	objects->submit.in_syncs = late_put(late, objects->in, sizeof(objects->in),
					    sizeof(objects->in[0]));
	call->arg = (uintptr_t)&objects->submit;
}

static void put_out_syncs(struct objects *objects, struct late *late, struct call *call)
{
	call->request = DRM_IOCTL_VPFN_SUBMIT;
	objects->submit.out_syncs = late_put(late, objects->out, sizeof(objects->out),
					     sizeof(objects->out[0]));
	call->arg = (uintptr_t)&objects->submit;
}

static void put_submit(struct objects *objects, struct late *late, struct call *call)
{
	call->request = DRM_IOCTL_VPFN_SUBMIT;
	call->arg = late_put(late, &objects->submit, sizeof(objects->submit), 8);
}

static void put_get_param(struct objects *objects, struct late *late, struct call *call)
{
	struct drm_vpfn_get_param args = { .param = DRM_VPFN_PARAM_VRAM_SIZE };

	(void)objects;
	call->request = DRM_IOCTL_VPFN_GET_PARAM;
	call->arg = late_put(late, &args, sizeof(args), 8);
}

static void put_create(struct objects *objects, struct late *late, struct call *call)
{
	struct drm_vpfn_gem_create args = { .size = PFNMAP_PAGE, .placement = VRAM };

	(void)objects;
	call->request = DRM_IOCTL_VPFN_GEM_CREATE;
	call->arg = late_put(late, &args, sizeof(args), 8);
}

static void put_mmap_offset(struct objects *objects, struct late *late, struct call *call)
{
	struct drm_vpfn_gem_mmap_offset args = { .handle = objects->bo.handle };

	call->request = DRM_IOCTL_VPFN_GEM_MMAP_OFFSET;
	call->arg = late_put(late, &args, sizeof(args), 8);
}

static void put_info(struct objects *objects, struct late *late, struct call *call)
{
	struct drm_vpfn_gem_info args = { .handle = objects->bo.handle };

	call->request = DRM_IOCTL_VPFN_GEM_INFO;
	call->arg = late_put(late, &args, sizeof(args), 8);
}

static void put_wait(struct objects *objects, struct late *late, struct call *call)
{
	struct drm_vpfn_wait args = { .handle = objects->bo.handle };

	call->request = DRM_IOCTL_VPFN_WAIT;
	call->arg = late_put(late, &args, sizeof(args), 8);
}

static const struct {
	const char *name;
	void (*put)(struct objects *objects, struct late *late, struct call *call);
} pointers[] = {
	{ "cmds", put_cmds },
	{ "in-syncs", put_in_syncs },
	{ "out-syncs", put_out_syncs },
	{ "submit", put_submit },
	{ "get-param", put_get_param },
	{ "create", put_create },
	{ "mmap-offset", put_mmap_offset },
	{ "info", put_info },
	{ "wait", put_wait },
};

static void test_unbind(void (*put)(struct objects *objects, struct late *late,
				    struct call *call))
{
	struct vpfn_thread caller, unbinder;
	struct objects objects = {};
	struct call call = {};
	int err, ret, unbound;
	struct late late;
	bool waited;

	igt_install_exit_handler(bring_back);
	late_open(&late);
	call.fd = vpfn_client_open_card(name);
	objects_make(&objects, call.fd);
	put(&objects, &late, &call);

	igt_assert_eq(vpfn_thread_start(&caller, run_call, &call), 0);
	late_wait_wanted(&late);
	igt_assert(!vpfn_thread_is_done(&caller));
	igt_assert_eq(vpfn_thread_start(&unbinder, run_unbind, NULL), 0);
	err = vpfn_thread_join(&unbinder, &unbound);

	/* Now the memory comes, be it in time or not. */
	waited = !vpfn_thread_is_done(&caller);
	late_come(&late);
	if (err)
		igt_assert_eq(vpfn_thread_join(&unbinder, &unbound), 0);
	igt_assert_eq(vpfn_thread_join(&caller, &ret), 0);
	close(call.fd);
	late_close(&late);
	bring_back(0);

	igt_assert_f(!err, "the card is not unbound while user memory does not come\n");
	igt_assert_eq(unbound, 0);
	igt_assert(waited);
	if (call.request == DRM_IOCTL_VPFN_SUBMIT)
		igt_assert_eq(ret, -ENODEV);
}

int igt_main()
{
	igt_fixture() {
		int fd;

		close(vpfn_require_device());
		fd = vpfn_require_small_device();
		igt_assert_eq(vpfn_card_name(fd, name), 0);
		close(fd);
	}

	igt_describe("A task that waits for a buffer which another has reserved can be killed.");
	igt_subtest_with_dynamic("killable") {
		for (unsigned int i = 0; i < ARRAY_SIZE(waits); i++) {
			igt_dynamic(waits[i].name)
				test_killable(waits[i].run, waits[i].nr);
		}
	}

	igt_describe("Submissions and new buffers that wait for each other can be killed.");
	igt_subtest("submit-killable")
		test_submit_killable();

	igt_describe("A reader of fdinfo keeps no client from the card while a buffer is reserved.");
	igt_subtest("open")
		test_open();

	igt_describe("A signal to a debugger does not make its access to a moving buffer fail.");
	igt_subtest_with_dynamic("debugger-signal") {
		igt_dynamic("none")
			test_debugger_signal(read_target, SYS_pread64, false);
		igt_dynamic("read")
			test_debugger_signal(read_target, SYS_pread64, true);
		igt_dynamic("write")
			test_debugger_signal(write_target, SYS_pwrite64, true);
	}

	igt_describe("A fault on a moving buffer sleeps, or lets the task handle a signal.");
	igt_subtest_with_dynamic("fault-signal") {
		for (unsigned int i = 0; i < ARRAY_SIZE(accesses); i++) {
			for (unsigned int j = 0; j < ARRAY_SIZE(leaves); j++) {
				igt_dynamic_f("%s-%s", accesses[i].name, leaves[j].name)
					test_fault_signal(accesses[i].run, accesses[i].nr,
							  leaves[j].size);
			}
		}
	}

	igt_describe("User memory that does not come does not keep the card from being unbound.");
	igt_subtest_with_dynamic("unbind") {
		for (unsigned int i = 0; i < ARRAY_SIZE(pointers); i++) {
			igt_dynamic(pointers[i].name)
				test_unbind(pointers[i].put);
		}
	}

	igt_fixture()
		vpfn_children_end();
}
