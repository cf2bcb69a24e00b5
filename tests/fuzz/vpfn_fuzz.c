// SPDX-License-Identifier: MIT
/*
 * Does the driver survive what a client should never do? Starts processes that do it, and a
 * well-behaved one, and an administrator; kills some and starts others; and judges.
 *
 * The run fails if the kernel warned, if an operation gave an answer that it must not give, if
 * a byte of the well-behaved process changed, if a new buffer was not zero, if somebody does not go
 * on, if something is left over at the end - or if an operation never succeeded, or never
 * failed although it is given bad input: then the fuzzer has not done what it is for.
 */
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

#include "fuzz.h"
#include "vpfn/vpfn_host.h"

#define TICK_MS			50
#define KILL_EVERY_MS		2500	/* on average */
#define SIGNAL_EVERY_MS		200
#define STUCK_S			150
#define LONGER_S		300	/* for what has not happened yet */
#define MAX_PROCESS_BYTES	(128ull << 20)

#define TTM_BUFFERS	"/sys/kernel/debug/ttm/buffer_objects"
#define MODULE_USERS	"/sys/module/vpfn/refcnt"
#define TAINTED		"/proc/sys/kernel/tainted"

struct fuzz_shared *fuzz_shared;

/* What must be as before when all is over. */
struct state {
	long ttm_buffers, module_users, tainted;
};

static unsigned int seconds = 60;
static unsigned int next_ordinal;
static uint64_t killed;

/* Where the parent saw each thread last, and when. */
static struct {
	uint64_t number;
	time_t since;
} watched[FUZZ_PROCESSES_MAX + 2][FUZZ_THREADS];

/**
 * fuzz_finding:
 * @format: what is wrong
 *
 * Books it; the first one ends the run, and the parent prints it.
 */
void fuzz_finding(const char *format, ...)
{
	unsigned int i = __atomic_fetch_add(&fuzz_shared->findings, 1, __ATOMIC_SEQ_CST);
	va_list args;

	if (i < ARRAY_SIZE(fuzz_shared->finding)) {
		va_start(args, format);
		vsnprintf(fuzz_shared->finding[i], sizeof(fuzz_shared->finding[i]), format, args);
		va_end(args);
	}
	__atomic_store_n(&fuzz_shared->stop, true, __ATOMIC_SEQ_CST);
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static long read_number(const char *path)
{
	char text[64];

	return fuzz_read_text(path, text, sizeof(text)) ? strtol(text, NULL, 0) : -1;
}

static struct state read_state(void)
{
	return (struct state) {
		.ttm_buffers = read_number(TTM_BUFFERS),
		.module_users = read_number(MODULE_USERS),
		.tainted = read_number(TAINTED),
	};
}

/* The primary node is the one of the same device with the other kind of minor. */
static bool add_device(const char *render)
{
	struct fuzz_device *device = &fuzz_shared->devices[fuzz_shared->device_count];
	int fd = open(render, O_RDWR | O_CLOEXEC);
	drmVersionPtr version;
	struct stat st;
	char *primary;
	bool found;

	if (fd < 0)
		return false;
	version = drmGetVersion(fd);
	found = version && !strcmp(version->name, "vpfn");
	drmFreeVersion(version);
	primary = found ? drmGetPrimaryDeviceNameFromFd(fd) : NULL;
	if (primary && !fstat(fd, &st) && !vpfn_vram_size(fd, &device->vram_size) &&
	    !vpfn_visible_vram_size(fd, &device->visible_size)) {
		snprintf(device->render, sizeof(device->render), "%s", render);
		snprintf(device->primary, sizeof(device->primary), "%s", primary);
		snprintf(device->debugfs, sizeof(device->debugfs), "/sys/kernel/debug/dri/%u",
			 minor(st.st_rdev));
		snprintf(device->sysfs, sizeof(device->sysfs), "/sys/dev/char/%u:%u/device",
			 major(st.st_rdev), minor(st.st_rdev));
		fuzz_shared->device_count++;
	}
	free(primary);
	close(fd);
	return true;
}

static void find_devices(void)
{
	char path[32];

	for (int i = 128; i < 192 && fuzz_shared->device_count < FUZZ_DEVICES_MAX; i++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		add_device(path);
	}
}

/* A quarter of the machine's memory for all, even if all of it is in system memory. */
static uint64_t bytes_for_each(unsigned int processes)
{
	uint64_t share = (uint64_t)sysconf(_SC_PHYS_PAGES) * PFNMAP_PAGE / 4 / processes;

	return share < MAX_PROCESS_BYTES ? share : MAX_PROCESS_BYTES;
}

/* The keeper and the inspector have the places behind the workers. */
static pid_t start(enum fuzz_role role, unsigned int place)
{
	static struct fuzz_process process;
	unsigned int ordinal = role == FUZZ_WORKER ? next_ordinal++ : 0;
	pid_t pid;

	memset(fuzz_shared->progress[place], 0, sizeof(fuzz_shared->progress[place]));
	memset(watched[place], 0, sizeof(watched[place]));
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;

	process = (struct fuzz_process) {
		.role = role,
		.place = place,
		.ordinal = ordinal,
		.seed = fuzz_shared->seed + ordinal,
	};
	fuzz_process_main(&process);
}

static void start_worker(unsigned int place)
{
	pid_t pid = start(FUZZ_WORKER, place);

	if (pid < 0)
		fuzz_finding("no process: %s", strerrorname_np(errno));
	fuzz_shared->pids[place] = pid;
}

/* A process that has ended: killed by us, or by its own decision, or for no good reason. */
static void judge_end(const char *who, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		fuzz_finding("%s died of %s", who, strsignal(WTERMSIG(status)));
	else if (WIFEXITED(status) && WEXITSTATUS(status))
		fuzz_finding("%s ended with code %d", who, WEXITSTATUS(status));
}

/* True as long as there are children. */
static bool reap(bool restart)
{
	char who[64];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		unsigned int place = 0;

		while (place < fuzz_shared->processes && fuzz_shared->pids[place] != pid)
			place++;
		if (place == fuzz_shared->processes) {
			judge_end("the well-behaved process or the inspector", status);
			continue;
		}
		snprintf(who, sizeof(who), "a worker, process %d,", pid);
		judge_end(who, status);
		fuzz_huge_put(place + 1);
		fuzz_shared->pids[place] = 0;
		if (restart)
			start_worker(place);
	}
	return pid == 0;
}

static void disturb(struct fuzz_random *random)
{
	pid_t pid = fuzz_shared->pids[fuzz_below(random, fuzz_shared->processes)];

	if (!pid)
		return;
	if (!fuzz_below(random, KILL_EVERY_MS / TICK_MS)) {
		kill(pid, SIGKILL);
		killed++;
	} else if (!fuzz_below(random, SIGNAL_EVERY_MS / TICK_MS)) {
		kill(pid, SIGUSR1);
	}
}

static void print_stack(pid_t tid)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/stack", tid);
	if (fuzz_read_text(path, text, sizeof(text)))
		printf("  stack of %d:\n%s", tid, text);
}

static void watch(void)
{
	for (unsigned int i = 0; i < fuzz_shared->processes + 2; i++) {
		for (unsigned int k = 0; k < FUZZ_THREADS; k++) {
			struct fuzz_progress *p = &fuzz_shared->progress[i][k];
			uint64_t number = __atomic_load_n(&p->number, __ATOMIC_RELAXED);

			if (!p->tid || watched[i][k].number != number || !watched[i][k].since) {
				watched[i][k].number = number;
				watched[i][k].since = now();
			} else if (now() - watched[i][k].since > STUCK_S) {
				fuzz_finding("thread %d does not come back from \"%s\"", p->tid,
					     fuzz_op(p->op)->name);
				print_stack(p->tid);
				watched[i][k].since = now();
			}
		}
	}
}

static void tick(int log)
{
	poll(NULL, 0, TICK_MS);
	fuzz_log_check(log);
	watch();
}

/* What the threads did last, for who wants to know what led to a finding. */
static void print_history(void)
{
	for (unsigned int i = 0; i < fuzz_shared->processes + 2; i++) {
		for (unsigned int k = 0; k < FUZZ_THREADS; k++) {
			const struct fuzz_progress *p = &fuzz_shared->progress[i][k];

			if (!p->tid)
				continue;
			printf("  thread %d:", p->tid);
			for (unsigned int n = 1; n <= FUZZ_HISTORY; n++) {
				const struct fuzz_trace *trace =
					&p->history[(p->number + n) % FUZZ_HISTORY];
				const char *error = trace->result < 0 ?
						    strerrorname_np(-trace->result) : "";

				if (trace->number)
					printf(" %s%s%s;", fuzz_op(trace->op)->name,
					       *error ? "=" : "", error);
			}
			printf("\n");
		}
	}
}

static void print_findings(void)
{
	unsigned int count = fuzz_shared->findings;

	for (unsigned int i = 0; i < count && i < ARRAY_SIZE(fuzz_shared->finding); i++)
		printf("FINDING: %s\n", fuzz_shared->finding[i]);
	if (count)
		print_history();
	fflush(stdout);
}

/* All processes end by themselves, the keeper after a last look; who does not is stuck. */
static void finish(int log)
{
	time_t limit = now() + STUCK_S;
	bool children;

	__atomic_store_n(&fuzz_shared->stop, true, __ATOMIC_SEQ_CST);
	while ((children = reap(false)) && now() < limit)
		tick(log);
	if (!children)
		return;
	fuzz_finding("processes do not end");
	for (unsigned int i = 0; i < fuzz_shared->processes + 2; i++) {
		for (unsigned int k = 0; k < FUZZ_THREADS; k++) {
			if (fuzz_shared->progress[i][k].tid)
				print_stack(fuzz_shared->progress[i][k].tid);
		}
	}
}

/* Buffers of clients that have gone are freed soon after, not at once. */
static void look_for_leaks(struct state before)
{
	time_t limit = now() + STUCK_S;
	struct state after;

	do {
		after = read_state();
		if (after.ttm_buffers == before.ttm_buffers &&
		    after.module_users == before.module_users)
			break;
		poll(NULL, 0, TICK_MS);
	} while (now() < limit);

	if (before.ttm_buffers < 0 || before.module_users < 0 || before.tainted < 0)
		fuzz_finding("%s, %s or %s cannot be read", TTM_BUFFERS, MODULE_USERS, TAINTED);
	if (after.ttm_buffers != before.ttm_buffers)
		fuzz_finding("%ld buffers were there before, %ld are now", before.ttm_buffers,
			     after.ttm_buffers);
	if (after.module_users != before.module_users)
		fuzz_finding("the module had %ld users before, it has %ld now",
			     before.module_users, after.module_users);
	if (after.tainted != before.tainted)
		fuzz_finding("the kernel became tainted: %ld", after.tainted);
}

static uint64_t failures_of(const struct fuzz_count *count)
{
	uint64_t sum = 0;

	for (int error = 1; error < FUZZ_ERRNO_MAX; error++)
		sum += count->error[error];
	return sum;
}

/* What an operation must have done in a run: NULL, or a word for what it has not. */
static const char *missing_in(unsigned int op)
{
	const struct fuzz_count *count = &fuzz_shared->counts[op];

	if (fuzz_op(op)->expect == FUZZ_BY_HOST && !fuzz_shared->faults)
		return NULL;
	if (!__atomic_load_n(&count->ok, __ATOMIC_RELAXED))
		return "succeeded";
	return fuzz_op(op)->expect == FUZZ_FAILS && !failures_of(count) ? "failed" : NULL;
}

static bool is_complete(void)
{
	for (unsigned int i = 0; fuzz_op(i); i++) {
		if (missing_in(i))
			return false;
	}
	return true;
}

static void print_count(const struct fuzz_op *op, const struct fuzz_count *count)
{
	uint64_t failures = failures_of(count);

	printf("%-32s %10llu %10llu %10llu ", op->name, (unsigned long long)count->ok,
	       (unsigned long long)failures, (unsigned long long)count->ns / 1000000);
	for (int error = 1; error < FUZZ_ERRNO_MAX; error++) {
		if (count->error[error])
			printf(" %s %llu", strerrorname_np(error),
			       (unsigned long long)count->error[error]);
	}
	printf("\n");
}

/* Has the fuzzer done what it is for? It could not, if a finding has ended it early. */
static void judge_counts(void)
{
	bool complete = !fuzz_shared->findings;
	uint64_t total = 0;

	printf("%-32s %10s %10s %10s  %s\n", "operation", "ok", "failed", "ms in all", "errors");
	for (unsigned int i = 0; fuzz_op(i); i++) {
		const struct fuzz_count *count = &fuzz_shared->counts[i];

		print_count(fuzz_op(i), count);
		total += count->ok + failures_of(count);
		if (complete && missing_in(i))
			fuzz_finding("\"%s\" never %s", fuzz_op(i)->name, missing_in(i));
	}
	printf("%llu operations, %u workers one after the other, %llu of them killed\n",
	       (unsigned long long)total, next_ordinal, (unsigned long long)killed);
}

static void run(int log)
{
	struct fuzz_random random = { .state = fuzz_shared->seed };
	time_t end = now() + seconds;

	if (start(FUZZ_KEEPER, fuzz_shared->processes) < 0 ||
	    start(FUZZ_INSPECTOR, fuzz_shared->processes + 1) < 0)
		fuzz_finding("no process: %s", strerrorname_np(errno));
	for (unsigned int i = 0; i < fuzz_shared->processes; i++)
		start_worker(i);

	while ((now() < end || (!is_complete() && now() < end + LONGER_S)) &&
	       !fuzz_shared->findings) {
		tick(log);
		reap(true);
		disturb(&random);
	}
}

static bool host_answers(void)
{
	uint32_t nth;

	return !vpfn_host_dma_error_left(VPFN_HOST_BIG, &nth) &&
	       !vpfn_host_dma_error_left(VPFN_HOST_SMALL, &nth);
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: vpfn_fuzz [--seconds N] [--processes N] [--seed N] [--no-faults] [--verbose]\n"
		"  --seconds N    how long (60)\n"
		"  --processes N  workers at a time, two threads each (4)\n"
		"  --seed N       the seed of the first worker; the next one's is N + 1, and so on:\n"
		"                 with --processes 1 it repeats what that worker did\n"
		"  --no-faults    let the device work, although the host could make it fail\n"
		"  --verbose      print each operation before it is done\n");
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "processes", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 'S' },
		{ "no-faults", no_argument, NULL, 'n' },
		{ "verbose", no_argument, NULL, 'v' },
		{},
	};
	int option;

	fuzz_shared->processes = 4;
	fuzz_shared->faults = host_answers();
	if (getrandom(&fuzz_shared->seed, 4, 0) != 4)
		fuzz_shared->seed = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			seconds = strtoul(optarg, NULL, 0);
		else if (option == 'p')
			fuzz_shared->processes = strtoul(optarg, NULL, 0);
		else if (option == 'S')
			fuzz_shared->seed = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			fuzz_shared->faults = false;
		else if (option == 'v')
			fuzz_shared->verbose = true;
		else
			usage();
	}
	if (optind < argc || !seconds || !fuzz_shared->processes ||
	    fuzz_shared->processes > FUZZ_PROCESSES_MAX)
		usage();
}

int main(int argc, char **argv)
{
	static const struct fuzz_group * const groups[] = {
		&fuzz_vpfn_group, &fuzz_file_group, &fuzz_sync_group, &fuzz_dmabuf_group,
		&fuzz_map_group, &fuzz_process_group, &fuzz_keeper_group, &fuzz_inspector_group,
	};
	struct state before;
	int log;

	fuzz_shared = mmap(NULL, sizeof(*fuzz_shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz_shared == MAP_FAILED)
		return 1;
	parse(argc, argv);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		fuzz_register(groups[i]);

	find_devices();
	if (!fuzz_shared->device_count) {
		fprintf(stderr, "vpfn_fuzz: no vpfn device, or no permission to use it\n");
		return 1;
	}
	fuzz_shared->process_bytes = bytes_for_each(fuzz_shared->processes);
	log = fuzz_log_open();
	if (log < 0) {
		fprintf(stderr, "vpfn_fuzz: /dev/kmsg: %s\n", strerror(-log));
		return 1;
	}

	printf("vpfn_fuzz: seed %llu, %u devices with%s faults, %u processes with %llu MiB each, %u s\n",
	       (unsigned long long)fuzz_shared->seed, fuzz_shared->device_count,
	       fuzz_shared->faults ? "" : "out", fuzz_shared->processes,
	       (unsigned long long)fuzz_shared->process_bytes >> 20, seconds);
	before = read_state();
	/* Until a worker has a handler for it. */
	signal(SIGUSR1, SIG_IGN);
	run(log);
	finish(log);
	look_for_leaks(before);
	fuzz_log_check(log);
	judge_counts();
	print_findings();
	printf("vpfn_fuzz: %u findings\n", fuzz_shared->findings);
	return fuzz_shared->findings ? 1 : 0;
}
