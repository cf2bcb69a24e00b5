// SPDX-License-Identifier: MIT
/*
 * Users of user memory: those who ask get_user_pages() for its pages, and those who would have to.
 *
 * On what would a broken test pass? A refusal comes as easily from a call that is wrong itself: so
 * each has to move the right bytes from or to ordinary memory in the same way, and where it moves
 * none, to say that it got all pages. What else there is to pass on is said where it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pins.h"
#include "pfnmap/pfnmap_uring.h"
#include "pfnmap/pfnmap_users.h"

#define LEN	PFNMAP_TARGET_LEN
#define PAGES	(LEN / PFNMAP_PAGE)
#define WORDS	(LEN / sizeof(uint64_t))

/* What is written to a target. */
#define SEED	0x6b9

/*
 * gup_test: the kernel says how far it came and not why it stopped, and no byte moves: a range that
 * is not mapped at all looks like a refusal. That there is a right errno, and that the pages are
 * those of the range, is seen by those who hold them, below.
 */
struct gup_call {
	unsigned long request;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t dump;		/* the number of a page, from 1; 0 if none is dumped */
};

/* The dump says of a single page whether it was got: of the last one, all came before it. */
static int get_pages(const struct pfnmap_target *target, const void *arg)
{
	const struct gup_call *call = arg;
	struct pfnmap_gup_test test = {
		.addr = (uintptr_t)target->addr,
		.size = LEN,
		.pages_per_call = PAGES,
		.gup_flags = call->gup_flags,
		.test_flags = call->test_flags,
		.dump = { call->dump },
	};
	int err = pfnmap_gup_run(call->request, &test);

	if (err)
		return err;
	if (!test.size)
		return test.dump[0] ? -EPROTO : -EFAULT;
	return test.size == LEN && test.dump[0] == call->dump ? 0 : -EPROTO;
}

/* What they hold is what the target does. */
static int check_held(int held, const struct pfnmap_target *target)
{
	uint64_t bytes[WORDS];

	return pfnmap_gup_read_held(held, bytes) ?: pfnmap_target_matches(target, bytes);
}

static int hold_pages(const struct pfnmap_target *target, const void *arg)
{
	int held = pfnmap_gup_hold(target->addr, LEN, *(const uint32_t *)arg), err;

	if (held < 0)
		return held;

	err = check_held(held, target);
	close(held);
	return err;
}

#define GETS(request_, gup_flags_)							\
	.call = get_pages, .needs = "CONFIG_GUP_TEST",					\
	.arg = &(const struct gup_call) { .request = (request_), .gup_flags = (gup_flags_) }
#define DUMPS(test_flags_)								\
	.call = get_pages, .needs = "CONFIG_GUP_TEST",					\
	.arg = &(const struct gup_call) {						\
		.request = PFNMAP_DUMP_PAGES, .test_flags = (test_flags_), .dump = PAGES }
#define HOLDS(flags_) \
	.call = hold_pages, .needs = "CONFIG_GUP_TEST", .arg = &(const uint32_t) { flags_ }

/* check_vma_flags() refuses them all; gup_fast_*_leaf() have given up before, at the entry */
static const struct pfnmap_user gup_test_users[] = {
	{ .name = "get_user_pages, to read", .on_special = -EFAULT, GETS(PFNMAP_GET, 0) },
	{ .name = "get_user_pages, to write", .on_special = -EFAULT,
	  GETS(PFNMAP_GET, PFNMAP_FOLL_WRITE) },
	{ .name = "get_user_pages_fast, to read", .on_special = -EFAULT, GETS(PFNMAP_GET_FAST, 0) },
	{ .name = "get_user_pages_fast, to write", .on_special = -EFAULT,
	  GETS(PFNMAP_GET_FAST, PFNMAP_FOLL_WRITE) },
	{ .name = "pin_user_pages, to read", .on_special = -EFAULT, GETS(PFNMAP_PIN, 0) },
	{ .name = "pin_user_pages, to write", .on_special = -EFAULT,
	  GETS(PFNMAP_PIN, PFNMAP_FOLL_WRITE) },
	{ .name = "pin_user_pages_fast, to read", .on_special = -EFAULT, GETS(PFNMAP_PIN_FAST, 0) },
	{ .name = "pin_user_pages_fast, to write", .on_special = -EFAULT,
	  GETS(PFNMAP_PIN_FAST, PFNMAP_FOLL_WRITE) },
	{ .name = "pin_user_pages, FOLL_LONGTERM", .on_special = -EFAULT,
	  GETS(PFNMAP_PIN_LONGTERM, PFNMAP_FOLL_WRITE) },
	{ .name = "held by pin_user_pages, to read", .on_special = -EFAULT, HOLDS(0) },
	{ .name = "held by pin_user_pages, to write", .on_special = -EFAULT,
	  HOLDS(PFNMAP_LONGTERM_WRITE) },
	{ .name = "held by pin_user_pages_fast, to read", .on_special = -EFAULT,
	  HOLDS(PFNMAP_LONGTERM_FAST) },
	{ .name = "held by pin_user_pages_fast, to write", .on_special = -EFAULT,
	  HOLDS(PFNMAP_LONGTERM_FAST | PFNMAP_LONGTERM_WRITE) },
};

static const struct pfnmap_user gup_dump_users[] = {
	{ .name = "dump of pages got", .on_special = -EFAULT, DUMPS(0) },
	{ .name = "dump of pages pinned", .on_special = -EFAULT, DUMPS(PFNMAP_DUMP_BY_PIN) },
};

/*
 * The remote side is pinned; the local side is copied to and from. EFAULT is also
 * the answer to a bad local side: so the two change their roles.
 */
struct transfer {
	ssize_t (*call)(pid_t pid, const struct iovec *local, unsigned long locals,
			const struct iovec *remote, unsigned long remotes, unsigned long flags);
	bool is_remote;		/* the target is */
	bool writes;		/* to the target */
};

static int do_transfer(const struct pfnmap_target *target, const void *arg)
{
	const struct transfer *transfer = arg;
	struct iovec piece = { target->addr, LEN }, beside = { pfnmap_anonymous(LEN), LEN };
	int err;

	if (!beside.iov_base)
		return -ENOMEM;
	if (transfer->writes)
		pfnmap_target_pattern(SEED, beside.iov_base);
	err = pfnmap_moved(transfer->call(getpid(), transfer->is_remote ? &beside : &piece, 1,
					  transfer->is_remote ? &piece : &beside, 1, 0), LEN) ?:
	      pfnmap_target_matches(target, beside.iov_base);
	munmap(beside.iov_base, LEN);
	return err;
}

#define TRANSFER(how...)	.call = do_transfer, .arg = &(const struct transfer) { how }

static const struct pfnmap_user process_vm_users[] = {
	{ .name = "process_vm_readv, remote side", .on_special = -EFAULT,
	  TRANSFER(process_vm_readv, true, false) },
	{ .name = "process_vm_writev, remote side", .on_special = -EFAULT,
	  TRANSFER(process_vm_writev, true, true) },
	{ .name = "process_vm_readv, local side", TRANSFER(process_vm_readv, false, true) },
	{ .name = "process_vm_writev, local side", TRANSFER(process_vm_writev, false, false) },
};

/* A pipe takes the pages of a writer, as many as it has room for, and gives bytes to a reader. */
static int splice_out(int reader, int writer, const struct pfnmap_target *target)
{
	struct iovec iov = { target->addr, LEN };
	uint64_t bytes[WORDS];

	return pfnmap_moved(vmsplice(writer, &iov, 1, SPLICE_F_NONBLOCK), LEN) ?:
	       pfnmap_moved(read(reader, bytes, LEN), LEN) ?: pfnmap_target_matches(target, bytes);
}

static int splice_in(int reader, int writer, const struct pfnmap_target *target)
{
	struct iovec iov = { target->addr, LEN };
	uint64_t bytes[WORDS];

	pfnmap_target_pattern(SEED, bytes);
	return pfnmap_moved(write(writer, bytes, LEN), LEN) ?:
	       pfnmap_moved(vmsplice(reader, &iov, 1, SPLICE_F_NONBLOCK), LEN) ?:
	       pfnmap_target_check(target, SEED);
}

struct splice {
	int (*run)(int reader, int writer, const struct pfnmap_target *target);
};

static int with_pipe(const struct pfnmap_target *target, const void *arg)
{
	const struct splice *splice = arg;
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;

	err = splice->run(ends[0], ends[1], target);
	close(ends[0]);
	close(ends[1]);
	return err;
}

#define SPLICE(run)	.call = with_pipe, .arg = &(const struct splice) { run }

static const struct pfnmap_user vmsplice_users[] = {
	{ .name = "vmsplice to a pipe", .on_special = -EFAULT, SPLICE(splice_out) },
	{ .name = "vmsplice from a pipe", SPLICE(splice_in) },
};

/* A file in memory and an io_uring, with the target as its registered buffer. */
struct fixed {
	struct pfnmap_uring ring;
	int file;
	const struct pfnmap_target *target;
};

static int run_fixed(const struct fixed *fixed, uint8_t opcode)
{
	struct io_uring_sqe sqe = {
		.opcode = opcode,
		.fd = fixed->file,
		.addr = (uintptr_t)fixed->target->addr,
		.len = LEN,
	};
	int result, err = pfnmap_uring_run(&fixed->ring, &sqe, &result);

	if (err)
		return err;
	if (result < 0)
		return result;
	return result == LEN ? 0 : -ENODATA;
}

static int read_fixed(const struct fixed *fixed)
{
	uint64_t bytes[WORDS];

	pfnmap_target_pattern(SEED, bytes);
	return pfnmap_moved(pwrite(fixed->file, bytes, LEN, 0), LEN) ?:
	       run_fixed(fixed, IORING_OP_READ_FIXED) ?: pfnmap_target_check(fixed->target, SEED);
}

static int write_fixed(const struct fixed *fixed)
{
	uint64_t bytes[WORDS];

	return run_fixed(fixed, IORING_OP_WRITE_FIXED) ?:
	       pfnmap_moved(pread(fixed->file, bytes, LEN, 0), LEN) ?:
	       pfnmap_target_matches(fixed->target, bytes);
}

struct fixed_use {
	int (*run)(const struct fixed *fixed);
};

/*
 * The buffer is refused when it is registered, as is an array of them at a bad address: the rest is
 * the control, that it has become the buffer of requests.
 */
static int register_buffer(const struct pfnmap_target *target, const void *arg)
{
	const struct fixed_use *use = arg;
	struct iovec buffer = { target->addr, LEN };
	struct fixed fixed = { .target = target };
	int err = pfnmap_uring_open(&fixed.ring);

	if (err)
		return err;

	fixed.file = memfd_create("fixed", MFD_CLOEXEC);
	err = fixed.file < 0 ? -errno : pfnmap_uring_register(&fixed.ring, &buffer) ?:
				       use->run(&fixed);
	close(fixed.file);
	pfnmap_uring_close(&fixed.ring);
	return err;
}

#define FIXED(run)									\
	.needs = "CONFIG_IO_URING", .call = register_buffer,				\
	.arg = &(const struct fixed_use) { run }

static const struct pfnmap_user uring_users[] = {
	{ .name = "io_uring, registered to read into", .on_special = -EFAULT,
	  FIXED(read_fixed) },
	{ .name = "io_uring, registered to write from", .on_special = -EFAULT,
	  FIXED(write_fixed) },
};

/*
 * A debugger gets no page either, but then the kernel asks the driver's vm_ops->access, which has
 * a way of its own to the bytes. The debugger's victim is another process with the same memory, so
 * that the ordinary kind of it is shared.
 */
/* ptrace() moves a word at a time, a call each: one in each line of a cache is looked at. */
#define STRIDE	8

static int peek_words(pid_t pid, const struct pfnmap_target *target)
{
	uint64_t bytes[WORDS];
	int err = target->peek(target, bytes);

	if (err)
		return err;

	for (size_t i = 0; i < WORDS; i += STRIDE) {
		errno = 0;
		bytes[i] = ptrace(PTRACE_PEEKDATA, pid, target->addr + i * sizeof(bytes[0]), NULL);
		if (errno)
			return -errno;
	}
	return pfnmap_target_matches(target, bytes);
}

static int poke_words(pid_t pid, const struct pfnmap_target *target)
{
	uint64_t bytes[WORDS];
	int err = target->peek(target, bytes);

	if (err)
		return err;

	for (size_t i = 0; i < WORDS; i += STRIDE) {
		bytes[i] = ~bytes[i];
		if (ptrace(PTRACE_POKEDATA, pid, target->addr + i * sizeof(bytes[0]), bytes[i]))
			return -errno;
	}
	return pfnmap_target_matches(target, bytes);
}

static int open_mem(pid_t pid)
{
	char path[32];
	int file;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	file = open(path, O_RDWR | O_CLOEXEC);
	return file < 0 ? -errno : file;
}

static int read_mem(pid_t pid, const struct pfnmap_target *target)
{
	int file = open_mem(pid), err;
	uint64_t bytes[WORDS];

	if (file < 0)
		return file;
	err = pfnmap_moved(pread(file, bytes, LEN, (uintptr_t)target->addr), LEN) ?:
	      pfnmap_target_matches(target, bytes);
	close(file);
	return err;
}

static int write_mem(pid_t pid, const struct pfnmap_target *target)
{
	int file = open_mem(pid), err;
	uint64_t bytes[WORDS];

	if (file < 0)
		return file;
	pfnmap_target_pattern(SEED, bytes);
	err = pfnmap_moved(pwrite(file, bytes, LEN, (uintptr_t)target->addr), LEN) ?:
	      pfnmap_target_check(target, SEED);
	close(file);
	return err;
}

static pid_t stopped_child(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		return pid;
	return -ECHILD;
}

struct debugger {
	int (*run)(pid_t pid, const struct pfnmap_target *target);
};

static int debug_child(const struct pfnmap_target *target, const void *arg)
{
	const struct debugger *debugger = arg;
	pid_t pid = stopped_child();
	int err;

	if (pid < 0)
		return pid;
	err = debugger->run(pid, target);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return err;
}

#define DEBUG(run)									\
	.ordinary = pfnmap_target_shared, .call = debug_child,				\
	.arg = &(const struct debugger) { run }

static const struct pfnmap_user debugger_users[] = {
	{ .name = "PTRACE_PEEKDATA", DEBUG(peek_words) },
	{ .name = "PTRACE_POKEDATA", DEBUG(poke_words) },
	{ .name = "read of /proc/pid/mem", DEBUG(read_mem) },
	{ .name = "write to /proc/pid/mem", DEBUG(write_mem) },
};

const struct pfnmap_user_family pfnmap_gup_families[] = {
	PFNMAP_FAMILY("gup-test", "get_user_pages() and its kin get no page.", gup_test_users),
	PFNMAP_FAMILY("gup-dump", "Nor is there one that the kernel could show in its log.",
		      gup_dump_users),
	PFNMAP_FAMILY("process-vm",
		      "process_vm_readv() and process_vm_writev() refuse a remote side.",
		      process_vm_users),
	PFNMAP_FAMILY("vmsplice", "vmsplice() refuses to take pages, and takes bytes.",
		      vmsplice_users),
	PFNMAP_FAMILY("io-uring", "io_uring registers no buffer.", uring_users),
	PFNMAP_FAMILY("debugger", "Debuggers read and write all bytes.", debugger_users),
};

const size_t pfnmap_gup_family_count = ARRAY_SIZE(pfnmap_gup_families);
