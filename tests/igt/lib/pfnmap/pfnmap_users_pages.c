// SPDX-License-Identifier: MIT
/*
 * Users of user memory: those to whom the page itself matters, and not its bytes alone. It is a
 * key to them, or a buffer that must not go away, or they want to replace it.
 *
 * On what would a broken test pass? Most of those who can do nothing with special entries say so
 * by doing nothing, as a service does that is not running: so each has to work on ordinary
 * memory, KSM at the same time and elsewhere on the same memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_vma.h"

#define LEN	PFNMAP_TARGET_LEN
#define PAGES	(LEN / PFNMAP_PAGE)
#define WORDS	(LEN / sizeof(uint64_t))

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* Nothing here takes so long, on whatever machine: who waits it out hangs. */
#define HANG_SECONDS	60

/* The first word of the target is the futex. Only the address is the key of a private one. */
static long futex(const struct pfnmap_target *target, int op, uint32_t value,
		  const struct timespec *timeout)
{
	return syscall(SYS_futex, target->addr, op, value, timeout, NULL, 0);
}

static uint32_t futex_word(const struct pfnmap_target *target)
{
	return __atomic_load_n((uint32_t *)target->addr, __ATOMIC_RELAXED);
}

/* No task waits for another value, and for the right one only until the time is up: at once. */
static int futex_wait(const struct pfnmap_target *target, const void *arg)
{
	const int op = FUTEX_WAIT | *(const int *)arg;
	const struct timespec at_once = {};
	uint32_t word = futex_word(target);

	if (!futex(target, op, word + 1, &at_once))
		return -EPROTO;
	if (errno != EAGAIN)
		return -errno;
	if (!futex(target, op, word, &at_once))
		return -EPROTO;
	return errno == ETIMEDOUT ? 0 : -EPROTO;
}

struct waiter {
	const struct pfnmap_target *target;
	int op;
	uint32_t word;
	long ret;
	atomic_bool done;
};

static void *wait_on_futex(void *arg)
{
	const struct timespec timeout = { .tv_sec = HANG_SECONDS };
	struct waiter *waiter = arg;

	waiter->ret = futex(waiter->target, waiter->op, waiter->word, &timeout) ? -errno : 0;
	waiter->done = true;
	return NULL;
}

/* The word stays what it was. A call that reports a wake-up has woken a task that was waiting. */
static int futex_wake(const struct pfnmap_target *target, const void *arg)
{
	const int flag = *(const int *)arg;
	struct waiter waiter = {
		.target = target,
		.op = FUTEX_WAIT | flag,
		.word = futex_word(target),
	};
	long woken = futex(target, FUTEX_WAKE | flag, 1, NULL);
	pthread_t thread;
	int err;

	if (woken)
		return woken < 0 ? -errno : -EPROTO;
	err = -pthread_create(&thread, NULL, wait_on_futex, &waiter);
	if (err)
		return err;

	while (!woken && !waiter.done) {
		woken = futex(target, FUTEX_WAKE | flag, 1, NULL);
		sched_yield();
	}
	pthread_join(thread, NULL);
	return waiter.ret ?: woken == 1 ? 0 : -EPROTO;
}

/* The kernel writes the word, by the address. */
static int futex_wake_op(const struct pfnmap_target *target, const void *arg)
{
	const uint32_t value = 0x5a5;
	uint64_t expected[WORDS];
	int err = target->peek(target, expected);

	if (err)
		return err;

	memcpy(expected, &value, sizeof(value));
	if (syscall(SYS_futex, target->addr, FUTEX_WAKE_OP | *(const int *)arg, 0, NULL,
		    target->addr, FUTEX_OP(FUTEX_OP_SET, value, FUTEX_OP_CMP_EQ, 0)) < 0)
		return -errno;
	return pfnmap_target_matches(target, expected);
}

#define PRIVATE_FUTEX	.arg = &(const int) { FUTEX_PRIVATE_FLAG }
#define SHARED_FUTEX	.arg = &(const int) { 0 }

/* get_futex_key(): a shared one is known by its page, which get_user_pages_fast() has to get */
static const struct pfnmap_user futex_users[] = {
	{ .name = "futex, private, wait", .call = futex_wait, PRIVATE_FUTEX },
	{ .name = "futex, private, wake", .call = futex_wake, PRIVATE_FUTEX },
	{ .name = "futex, private, wake and write", .call = futex_wake_op, PRIVATE_FUTEX },
	{ .name = "futex, shared, wait", .on_special = -EFAULT, .call = futex_wait, SHARED_FUTEX },
	{ .name = "futex, shared, wake", .on_special = -EFAULT, .call = futex_wake, SHARED_FUTEX },
	{ .name = "futex, shared, wake and write", .on_special = -EFAULT, .call = futex_wake_op,
	  SHARED_FUTEX },
};

/* A connection through the loopback device, which is up for so long. */
struct wire {
	int from;
	int to;
	struct ifreq loopback;	/* its flags before */
};

static int loopback_up(int sock, struct ifreq *before)
{
	struct ifreq up;

	*before = (struct ifreq) { .ifr_name = "lo" };
	if (ioctl(sock, SIOCGIFFLAGS, before))
		return -errno;

	up = *before;
	up.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &up) ? -errno : 0;
}

static int connect_to(struct wire *wire, int listener)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	const int on = 1;

	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    setsockopt(wire->from, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) ||
	    connect(wire->from, (struct sockaddr *)&addr, len))
		return -errno;

	wire->to = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return wire->to < 0 ? -errno : 0;
}

static void wire_close(struct wire *wire)
{
	ioctl(wire->from, SIOCSIFFLAGS, &wire->loopback);
	close(wire->from);
	if (wire->to >= 0)
		close(wire->to);
}

static int wire_open(struct wire *wire)
{
	int listener, err;

	wire->to = -1;
	wire->from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (wire->from < 0)
		return errno == EAFNOSUPPORT ? -ENODEV : -errno;

	err = loopback_up(wire->from, &wire->loopback);
	if (err) {
		close(wire->from);
		return err;
	}

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = listener < 0 ? -errno : connect_to(wire, listener);
	if (listener >= 0)
		close(listener);
	if (err)
		wire_close(wire);
	return err;
}

/*
 * The kernel reports the end of a zero-copy transmission, and of no other one: a socket without
 * SO_ZEROCOPY ignores MSG_ZEROCOPY, and copies from whatever memory there is.
 */
static int wait_for_report(int sock)
{
	char control[128];
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct pollfd poll_fd = { .fd = sock };
	const struct sock_extended_err *report;
	const struct cmsghdr *cmsg;

	if (poll(&poll_fd, 1, HANG_SECONDS * 1000) != 1)
		return -ETIME;
	if (recvmsg(sock, &msg, MSG_ERRQUEUE) < 0)
		return -errno;

	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg)
		return -EPROTO;
	report = (const struct sock_extended_err *)CMSG_DATA(cmsg);
	return report->ee_origin == SO_EE_ORIGIN_ZEROCOPY && !report->ee_errno ? 0 : -EPROTO;
}

static int transmit(const struct wire *wire, const struct pfnmap_target *target)
{
	uint64_t bytes[WORDS];

	return pfnmap_moved(send(wire->from, target->addr, LEN, MSG_ZEROCOPY), LEN) ?:
	       pfnmap_moved(recv(wire->to, bytes, LEN, MSG_WAITALL), LEN) ?:
	       wait_for_report(wire->from) ?: pfnmap_target_matches(target, bytes);
}

static int send_zerocopy(const struct pfnmap_target *target)
{
	struct wire wire;
	int err = wire_open(&wire);

	if (err)
		return err;
	err = transmit(&wire, target);
	wire_close(&wire);
	return err;
}

/* zerocopy_fill_skb_from_iter() */
static const struct pfnmap_user zerocopy_users[] = {
	{ .name = "send, MSG_ZEROCOPY", .on_special = -EFAULT, .run = send_zerocopy,
	  .needs = "CONFIG_INET" },
};

static int read_number(const char *path, long *number)
{
	FILE *file = fopen(path, "r");
	int err = 0;

	if (!file)
		return errno == ENOENT ? -ENODEV : -errno;
	if (fscanf(file, "%ld", number) != 1)
		err = -EPROTO;
	fclose(file);
	return err;
}

static int write_number(const char *path, long number)
{
	FILE *file = fopen(path, "w");
	int err;

	if (!file)
		return errno == ENOENT ? -ENODEV : -errno;
	err = fprintf(file, "%ld", number) < 0 ? -EIO : 0;
	return fclose(file) ? -errno : err;
}

/* KSM at work, as fast as it can be. */
#define KSM	"/sys/kernel/mm/ksm/"

static const struct {
	const char *path;
	long value;
} ksm_settings[] = {
	{ KSM "sleep_millisecs", 1 },
	{ KSM "pages_to_scan", 10000 },
	{ KSM "run", 1 },
};

#define KSM_SETTINGS	ARRAY_SIZE(ksm_settings)

static void ksm_restore(const long before[KSM_SETTINGS])
{
	for (size_t i = KSM_SETTINGS; i--; )
		write_number(ksm_settings[i].path, before[i]);
}

static int ksm_start(long before[KSM_SETTINGS])
{
	int err = 0;

	for (size_t i = 0; i < KSM_SETTINGS && !err; i++)
		err = read_number(ksm_settings[i].path, &before[i]);
	if (err)
		return err;

	for (size_t i = 0; i < KSM_SETTINGS && !err; i++)
		err = write_number(ksm_settings[i].path, ksm_settings[i].value);
	if (err)
		ksm_restore(before);
	return err;
}

static int ksm_wait(const char *path, long number)
{
	time_t end = time(NULL) + HANG_SECONDS;
	long seen;
	int err;

	do {
		err = read_number(path, &seen);
		if (err || seen >= number)
			return err;
		usleep(1000);
	} while (time(NULL) < end);
	return -ETIME;
}

/*
 * Pages that are the same as each other but not as the target's are merged meanwhile. A page is
 * looked at in one scan and merged in the next, and the scan that is under way may have passed
 * it: after three more, what has not been merged will not be.
 */
static int ksm_merged(long *merged)
{
	long scans;

	return ksm_wait("/proc/self/ksm_merging_pages", PAGES) ?:
	       read_number(KSM "full_scans", &scans) ?:
	       ksm_wait(KSM "full_scans", scans + 3) ?:
	       read_number("/proc/self/ksm_merging_pages", merged);
}

static int merge_beside(const struct pfnmap_target *target, char *companion)
{
	long before[KSM_SETTINGS], merged;
	int err;

	if (madvise(target->addr, LEN, MADV_MERGEABLE) || madvise(companion, LEN, MADV_MERGEABLE))
		return errno == EINVAL ? -ENODEV : -errno;

	err = ksm_start(before);
	if (err)
		return err;
	err = ksm_merged(&merged);
	ksm_restore(before);
	if (err)
		return err;
	if (merged == PAGES)
		return PFNMAP_IGNORED;
	return merged == 2 * PAGES ? 0 : -EPROTO;
}

/* Each page of the target is the first one. */
static int make_equal(const struct pfnmap_target *target, const uint64_t *bytes)
{
	uint64_t equal[WORDS];

	for (size_t i = 0; i < WORDS; i++)
		equal[i] = bytes[i % (PFNMAP_PAGE / sizeof(*bytes))];
	return target->poke(target, equal);
}

static int check_equal(const struct pfnmap_target *target, const uint64_t *bytes)
{
	uint64_t equal[WORDS];

	for (size_t i = 0; i < WORDS; i++)
		equal[i] = bytes[i % (PFNMAP_PAGE / sizeof(*bytes))];
	return pfnmap_target_matches(target, equal);
}

static int ksm(const struct pfnmap_target *target)
{
	char *companion = pfnmap_anonymous(LEN);
	uint64_t bytes[WORDS];
	int answer, err;

	if (!companion)
		return -ENOMEM;

	memset(companion, 0x3c, LEN);
	err = target->peek(target, bytes) ?: make_equal(target, bytes);
	answer = err ?: merge_beside(target, companion);
	err = err ?: check_equal(target, bytes) ?: target->poke(target, bytes);
	madvise(target->addr, LEN, MADV_UNMERGEABLE);
	munmap(companion, LEN);
	return err ?: answer;
}

/*
 * ksm_compatible(): no error, and nothing is merged. That a mapping is shared would be enough
 * for it, so this says nothing of special entries, but that KSM does not come to them.
 */
static const struct pfnmap_user ksm_users[] = {
	{ .name = "KSM", .on_special = PFNMAP_IGNORED, .run = ksm, .needs = "CONFIG_KSM" },
};

/* One answer for all pages, or something unexpected. */
static int common_status(const int status[PAGES])
{
	for (size_t i = 1; i < PAGES; i++) {
		if (status[i] != status[0])
			return -EPROTO;
	}
	return status[0];
}

static int move_to(const struct pfnmap_target *target, const int *nodes)
{
	void *pages[PAGES];
	int status[PAGES];

	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = target->addr + i * PFNMAP_PAGE;
		status[i] = -EPROTO;
	}
	/* To be asked for nothing is no problem for a kernel that has the call. */
	if (syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0))
		return -ENODEV;
	if (syscall(SYS_move_pages, 0, PAGES, pages, nodes, status, MPOL_MF_MOVE) < 0)
		return -errno;
	return common_status(status);
}

static int query_nodes(const struct pfnmap_target *target)
{
	int node = move_to(target, NULL);

	return node < 0 ? node : 0;
}

/*
 * To another node if there is one. Else the kernel finds each page where it has to be, which shows
 * that it looks for pages, and not that it can move them.
 */
static int move_nodes(const struct pfnmap_target *target)
{
	const int wanted = access("/sys/devices/system/node/node1", F_OK) ? 0 : 1;
	uint64_t bytes[WORDS];
	int nodes[PAGES], node, err = target->peek(target, bytes);

	if (err)
		return err;

	for (size_t i = 0; i < PAGES; i++)
		nodes[i] = wanted;
	node = move_to(target, nodes);
	if (node < 0)
		return node;
	if (node != wanted || move_to(target, NULL) != wanted)
		return -EPROTO;
	return pfnmap_target_matches(target, bytes);
}

/* do_pages_stat_array() finds no folio; add_folio_for_migration() asks vma_migratable() first */
static const struct pfnmap_user move_users[] = {
	{ .name = "move_pages, query", .on_special = -ENOENT, .run = query_nodes,
	  .needs = "CONFIG_MIGRATION" },
	{ .name = "move_pages", .on_special = -EFAULT, .run = move_nodes,
	  .needs = "CONFIG_MIGRATION" },
};

/*
 * Memory failure. Only CONFIG_HWPOISON_INJECT could bring back what the controls take: a page each,
 * which has no owner afterwards, and is never allocated again. That hurts no later test, so
 * both are done in earnest, but to the first page alone. It is a child's own copy, which its write
 * has made.
 */
static atomic_int sigbus_code;
static atomic_uintptr_t sigbus_addr;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	sigbus_code = info->si_code;
	sigbus_addr = (uintptr_t)info->si_addr;
}

/* The owner is told at once, by a signal. */
static int poison(const struct pfnmap_target *target, const void *arg)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	int err;

	(void)arg;
	sigbus_code = 0;
	sigaction(SIGBUS, &action, NULL);
	pfnmap_store(target->addr, pfnmap_load(target->addr));
	err = madvise(target->addr, PFNMAP_PAGE, MADV_HWPOISON) ? -errno : 0;
	if (err)
		return sigbus_code ? -EPROTO : err;
	return sigbus_code == BUS_MCEERR_AR && sigbus_addr == (uintptr_t)target->addr ?
	       0 : -EPROTO;
}

/*
 * The owner keeps its bytes, in another page. The copy is so new that nothing in the kernel refers
 * to it: the list by which pages become active does to one that a debugger has looked at twice.
 */
static int retire(const struct pfnmap_target *target, const void *arg)
{
	uint64_t bytes[WORDS], before, after;
	int err;

	(void)arg;
	pfnmap_store(target->addr, pfnmap_load(target->addr));
	memcpy(bytes, target->addr, LEN);
	err = pfnmap_frame_of(target->addr, &before);
	if (err)
		return err;
	if (madvise(target->addr, PFNMAP_PAGE, MADV_SOFT_OFFLINE))
		return -errno;

	err = pfnmap_frame_of(target->addr, &after) ?: pfnmap_target_matches(target, bytes);
	if (err)
		return err;
	return before && after && before != after ? 0 : -EPROTO;
}

/* There is such advice only where there is memory failure. */
static int in_child(const struct pfnmap_target *target,
		    int (*call)(const struct pfnmap_target *target, const void *arg))
{
	int err = pfnmap_target_in_child(target, call, NULL);

	return err == -EINVAL ? -ENODEV : err;
}

static int hwpoison(const struct pfnmap_target *target)
{
	return in_child(target, poison);
}

static int soft_offline(const struct pfnmap_target *target)
{
	return in_child(target, retire);
}

/* madvise_inject_error(): get_user_pages_fast() */
static const struct pfnmap_user failure_users[] = {
	{ .name = "MADV_HWPOISON", .on_special = -EFAULT, .run = hwpoison,
	  .needs = "CONFIG_MEMORY_FAILURE" },
	{ .name = "MADV_SOFT_OFFLINE", .on_special = -EFAULT, .run = soft_offline,
	  .needs = "CONFIG_MEMORY_FAILURE" },
};

const struct pfnmap_user_family pfnmap_page_families[] = {
	PFNMAP_FAMILY("futex", "A private futex works, one that processes share does not.",
		      futex_users),
	PFNMAP_FAMILY("zerocopy", "A socket refuses to send without a copy.", zerocopy_users),
	PFNMAP_FAMILY("ksm", "KSM merges no page.", ksm_users),
	PFNMAP_FAMILY("move-pages", "move_pages() neither finds nor moves a page.", move_users),
};

const size_t pfnmap_page_family_count = ARRAY_SIZE(pfnmap_page_families);

const struct pfnmap_user_family pfnmap_failure_families[] = {
	PFNMAP_FAMILY("memory-failure",
		      "A failure of memory is injected into no page that a special entry maps.",
		      failure_users),
};

const size_t pfnmap_failure_family_count = ARRAY_SIZE(pfnmap_failure_families);
