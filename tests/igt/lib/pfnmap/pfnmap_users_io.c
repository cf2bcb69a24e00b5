// SPDX-License-Identifier: MIT
/*
 * Reads and writes of a file or a disk: each way to ask for one, with the memory that it is asked
 * for in one piece or beside ordinary memory.
 *
 * What on would a broken test have passed? On a call that fails for a reason of its own: the
 * same call has to work on ordinary memory. On one that moves nothing, or the wrong bytes: the
 * file holds other bytes than the memory before, and is looked at by direct reads into
 * ordinary memory, with no part for the page cache or the mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_direct.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_uring.h"
#include "pfnmap/pfnmap_users.h"

/* For C libraries of 2024 and before. */
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND	0x20
#endif
#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE	0x80
#endif

#define LEN		PFNMAP_TARGET_LEN
#define FILE_LEN	(2 * LEN)		/* before a call; one that appends adds LEN */
#define MAX_LEN		(3 * LEN)
#define BLOCK		512			/* nothing moves less */

/* What file and ordinary memory hold before a call. */
#define FILE_SEED	0xf11e
#define BESIDE_SEED	0xbe51de

static char io_path[96];

/* Where is the memory in question in what the call moves? */
enum shape {
	ALONE,
	LAST,			/* ordinary memory comes before it */
	FIRST,			/* and after it */
};

/* A call that is under way. */
struct request {
	const struct io *io;
	int fd;
	struct iovec iov[2];
	int count;
	size_t len;
};

/* A way to move bytes. */
struct io {
	ssize_t (*submit)(const struct request *request);
	enum pfnmap_io_kind kind;
	bool write;
	int oflags;
	int rwf;		/* RWF_* */
	enum shape shape;
	bool hole;		/* the file has no blocks */
};

static ssize_t result_of(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/* The classic calls. */
static ssize_t by_call(const struct request *request)
{
	const struct iovec *iov = &request->iov[0];

	return result_of(request->io->write ? write(request->fd, iov->iov_base, iov->iov_len) :
					      read(request->fd, iov->iov_base, iov->iov_len));
}

static ssize_t by_vector(const struct request *request)
{
	const struct io *io = request->io;

	return result_of(io->write ?
			 pwritev2(request->fd, request->iov, request->count, 0, io->rwf) :
			 preadv2(request->fd, request->iov, request->count, 0, io->rwf));
}

static ssize_t aio_in(aio_context_t context, const struct request *request)
{
	struct iocb iocb = {
		.aio_fildes = request->fd,
		.aio_lio_opcode = request->io->write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_buf = (uintptr_t)request->iov,
		.aio_nbytes = request->count,
	};
	struct iocb *list[] = { &iocb };
	struct io_event event;

	if (syscall(SYS_io_submit, context, 1, list) != 1)
		return -errno;
	if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
		return -errno;
	return event.res;
}

static ssize_t by_aio(const struct request *request)
{
	aio_context_t context = 0;
	ssize_t n;

	if (syscall(SYS_io_setup, 1, &context))
		return -ENODEV;

	n = aio_in(context, request);
	syscall(SYS_io_destroy, context);
	return n;
}

static ssize_t uring_in(const struct pfnmap_uring *ring, const struct request *request)
{
	const struct iovec *iov = &request->iov[0];
	struct io_uring_sqe sqe = {
		.opcode = request->io->write ? IORING_OP_WRITEV : IORING_OP_READV,
		.fd = request->fd,
		.addr = (uintptr_t)request->iov,
		.len = request->count,
	};
	int n, err = 0;

	if (request->io->kind == PFNMAP_IO_REGISTERED) {
		err = pfnmap_uring_register(ring, iov);
		sqe.opcode = request->io->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		sqe.addr = (uintptr_t)iov->iov_base;
		sqe.len = iov->iov_len;
	}
	return err ?: pfnmap_uring_run(ring, &sqe, &n) ?: n;
}

static ssize_t by_uring(const struct request *request)
{
	struct pfnmap_uring ring;
	ssize_t n = pfnmap_uring_open(&ring);

	if (n)
		return n;

	n = uring_in(&ring, request);
	pfnmap_uring_close(&ring);
	return n;
}

/* What there is beside the memory in question; all of it ordinary and large enough for DMA. */
struct beside {
	int file;		/* by which the file is set and seen, O_DIRECT */
	struct stat stat;
	char *seen;		/* MAX_LEN: the file's bytes */
	char *expected;		/* MAX_LEN: what they must be */
	char *memory;		/* LEN: the rest of a vector */
	char *target;		/* LEN: the target's bytes before the call */
};

#define BESIDE_LEN	(2 * MAX_LEN + 2 * LEN)

static int beside_open(struct beside *beside)
{
	beside->file = open(io_path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (beside->file < 0)
		return -errno;

	beside->seen = pfnmap_anonymous(BESIDE_LEN);
	if (!beside->seen || fstat(beside->file, &beside->stat)) {
		close(beside->file);
		return -ENOMEM;
	}
	beside->expected = beside->seen + MAX_LEN;
	beside->memory = beside->expected + MAX_LEN;
	beside->target = beside->memory + LEN;
	return 0;
}

static void beside_close(struct beside *beside)
{
	munmap(beside->seen, BESIDE_LEN);
	close(beside->file);
}

static int set_size(const struct beside *beside, const struct io *io)
{
	if (!S_ISREG(beside->stat.st_mode))
		return 0;
	if (io->hole && ftruncate(beside->file, 0))
		return -errno;
	return ftruncate(beside->file, FILE_LEN) ? -errno : 0;
}

static int set_file(struct beside *beside, const struct io *io)
{
	struct pfnmap_pattern pattern = { .seed = FILE_SEED, .size = FILE_LEN };
	int err = set_size(beside, io);

	if (err || io->hole)
		return err;

	pfnmap_pattern_bytes(&pattern, beside->expected, FILE_LEN);
	return pfnmap_file_set(beside->file, beside->expected, FILE_LEN);
}

/* Is the file as expected, @len bytes of it? */
static int check_file(struct beside *beside, size_t len)
{
	ssize_t n = pread(beside->file, beside->seen, len, 0);

	if (n < 0)
		return -errno;
	if (S_ISREG(beside->stat.st_mode) && !fstat(beside->file, &beside->stat) &&
	    (size_t)beside->stat.st_size != len)
		return -EBADMSG;
	return (size_t)n == len && !memcmp(beside->seen, beside->expected, len) ? 0 : -EBADMSG;
}

static void request_init(struct request *request, const struct io *io,
			 const struct beside *beside, const struct pfnmap_target *target)
{
	const struct iovec ours = { beside->memory, LEN }, theirs = { target->addr, LEN };

	request->io = io;
	request->iov[0] = io->shape == LAST ? ours : theirs;
	request->iov[1] = io->shape == LAST ? theirs : ours;
	request->count = io->shape == ALONE ? 1 : 2;
	request->len = request->count * LEN;
}

/* The offset in the file of what the memory in question takes or gives. */
static size_t place_of(const struct io *io)
{
	if (io->rwf & RWF_APPEND)
		return FILE_LEN;
	return io->shape == LAST ? LEN : 0;
}

/* All has moved: the file, the target and the memory beside it hold the right bytes. */
static int check_written(const struct request *request, struct beside *beside,
			 const struct pfnmap_target *target)
{
	const struct io *io = request->io;
	size_t place = place_of(io);

	memcpy(beside->expected + place, beside->target, LEN);
	if (io->shape != ALONE)
		memcpy(beside->expected + LEN - place, beside->memory, LEN);
	return check_file(beside, place == FILE_LEN ? MAX_LEN : FILE_LEN) ?:
	       pfnmap_target_matches(target, beside->target);
}

static int check_read(const struct request *request, struct beside *beside,
		      const struct pfnmap_target *target)
{
	const struct io *io = request->io;
	size_t place = place_of(io);

	if (io->shape != ALONE && memcmp(beside->memory, beside->expected + LEN - place, LEN))
		return -EBADMSG;
	return check_file(beside, FILE_LEN) ?:
	       pfnmap_target_matches(target, beside->expected + place);
}

/* Ordinary memory that comes first may have moved: so many blocks of it, and no part of one. */
static int check_moved_before(char *before, const char *moved, const char *seen)
{
	for (size_t at = 0; at < LEN && !memcmp(seen + at, moved + at, BLOCK); at += BLOCK)
		memcpy(before + at, moved + at, BLOCK);
	return memcmp(seen, before, LEN) ? -EBADMSG : 0;
}

/* Of ordinary memory that comes first some may have moved, of the other nothing. */
static int check_refused(const struct request *request, struct beside *beside)
{
	const struct io *io = request->io;
	uint64_t words[LEN / sizeof(uint64_t)];
	char *before = (char *)words;
	int err = 0;

	pfnmap_target_pattern(BESIDE_SEED, words);
	if (io->write && io->shape == LAST) {
		if (pread(beside->file, beside->seen, LEN, 0) != LEN)
			return -EIO;
		err = check_moved_before(beside->expected, before, beside->seen);
	} else if (io->shape == LAST) {
		err = check_moved_before(before, beside->expected, beside->memory);
	} else if (io->shape == FIRST) {
		err = memcmp(beside->memory, before, LEN) ? -EBADMSG : 0;
	}
	return err ?: check_file(beside, FILE_LEN);
}

static int ask_in(struct beside *beside, const struct pfnmap_target *target, const struct io *io)
{
	struct request request;
	ssize_t n;
	int err = set_file(beside, io) ?: target->peek(target, beside->target);

	if (err)
		return err;

	pfnmap_target_pattern(BESIDE_SEED, beside->memory);
	request_init(&request, io, beside, target);
	request.fd = open(io_path, O_RDWR | O_CLOEXEC | io->oflags);
	if (request.fd < 0)
		return -errno;

	n = io->submit(&request);
	close(request.fd);
	if (n == (ssize_t)request.len)
		return io->write ? check_written(&request, beside, target) :
				   check_read(&request, beside, target);
	return check_refused(&request, beside) ?: n < 0 ? n : -ENODATA;
}

static int ask(const struct pfnmap_target *target, const void *arg)
{
	struct beside beside;
	int answer = beside_open(&beside);

	if (answer)
		return answer;

	answer = ask_in(&beside, target, arg);
	beside_close(&beside);
	return answer;
}

#define DIRECT(dir, ...)	{ .kind = PFNMAP_IO_##dir, \
				  .write = PFNMAP_IO_##dir == PFNMAP_IO_WRITE, \
				  .oflags = O_DIRECT, __VA_ARGS__ }

static const struct io read_call = DIRECT(READ, .submit = by_call);
static const struct io write_call = DIRECT(WRITE, .submit = by_call);
static const struct io readv_last = DIRECT(READ, .submit = by_vector, .shape = LAST);
static const struct io readv_first = DIRECT(READ, .submit = by_vector, .shape = FIRST);
static const struct io writev_last = DIRECT(WRITE, .submit = by_vector, .shape = LAST);
static const struct io writev_first = DIRECT(WRITE, .submit = by_vector, .shape = FIRST);
static const struct io read_nowait = DIRECT(READ, .submit = by_vector, .rwf = RWF_NOWAIT);
static const struct io read_hipri = DIRECT(READ, .submit = by_vector, .rwf = RWF_HIPRI);
static const struct io write_nowait = DIRECT(WRITE, .submit = by_vector, .rwf = RWF_NOWAIT);
static const struct io write_hipri = DIRECT(WRITE, .submit = by_vector, .rwf = RWF_HIPRI);
static const struct io write_dsync = DIRECT(WRITE, .submit = by_vector, .rwf = RWF_DSYNC);
static const struct io write_sync = DIRECT(WRITE, .submit = by_vector, .rwf = RWF_SYNC);
static const struct io write_append = DIRECT(WRITE, .submit = by_vector, .rwf = RWF_APPEND);

static const struct io write_noappend = {
	.submit = by_vector, .kind = PFNMAP_IO_WRITE, .write = true,
	.oflags = O_DIRECT | O_APPEND, .rwf = RWF_NOAPPEND,
};

static const struct io aio_read = DIRECT(READ, .submit = by_aio);
static const struct io aio_write = DIRECT(WRITE, .submit = by_aio);
static const struct io uring_read = DIRECT(READ, .submit = by_uring);
static const struct io uring_write = DIRECT(WRITE, .submit = by_uring);

static const struct io fixed_read = {
	.submit = by_uring, .kind = PFNMAP_IO_REGISTERED, .oflags = O_DIRECT,
};

static const struct io fixed_write = {
	.submit = by_uring, .kind = PFNMAP_IO_REGISTERED, .oflags = O_DIRECT, .write = true,
};

/* iomap pins nothing to read zeroes: iomap_dio_hole_iter() writes them by way of the mapping. */
static const struct io hole_read = {
	.submit = by_call, .kind = PFNMAP_IO_COPY, .oflags = O_DIRECT, .hole = true,
};

static const struct io buffered_read = { .submit = by_call, .kind = PFNMAP_IO_COPY };
static const struct io buffered_write = {
	.submit = by_call, .kind = PFNMAP_IO_COPY, .write = true,
};

/* By way of the page cache, which drops its pages at once. */
static const struct io uncached_read = {
	.submit = by_vector, .kind = PFNMAP_IO_COPY, .rwf = RWF_DONTCACHE,
};

static const struct io uncached_write = {
	.submit = by_vector, .kind = PFNMAP_IO_COPY, .rwf = RWF_DONTCACHE, .write = true,
};

#define USER(n, io, special, ...)	{ .name = (n), .on_special = (special), .call = ask, \
					  .arg = &(io), __VA_ARGS__ }
#define AIO	.needs = "CONFIG_AIO"
#define URING	.needs = "CONFIG_IO_URING"

/* The answers are those of a disk, and of a file system that pins the pages. */
const struct pfnmap_user pfnmap_io_users[] = {
	USER("read", read_call, -EFAULT),
	USER("write", write_call, -EFAULT),
	USER("readv-last", readv_last, -EFAULT),
	USER("readv-first", readv_first, -EFAULT),
	USER("writev-last", writev_last, -EFAULT),
	USER("writev-first", writev_first, -EFAULT),
	USER("read-nowait", read_nowait, -EFAULT),
	USER("read-hipri", read_hipri, -EFAULT),
	USER("write-hipri", write_hipri, -EFAULT),
	USER("write-dsync", write_dsync, -EFAULT),
	USER("write-sync", write_sync, -EFAULT),
	USER("write-append", write_append, -EFAULT),
	USER("write-noappend", write_noappend, -EFAULT),
	USER("aio-read", aio_read, -EFAULT, AIO),
	USER("aio-write", aio_write, -EFAULT, AIO),
	USER("uring-read", uring_read, -EFAULT, URING),
	USER("uring-write", uring_write, -EFAULT, URING),
	USER("uring-read-fixed", fixed_read, -EFAULT, URING),
	USER("uring-write-fixed", fixed_write, -EFAULT, URING),
	USER("read-hole", hole_read, 0),
	USER("buffered-read", buffered_read, 0),
	USER("buffered-write", buffered_write, 0),
	USER("uncached-read", uncached_read, 0),
	USER("uncached-write", uncached_write, 0),
	/* The last one, see pfnmap_ext4_families */
	USER("write-nowait", write_nowait, -EFAULT),
};

const size_t pfnmap_io_user_count = ARRAY_SIZE(pfnmap_io_users);

/**
 * pfnmap_io_set_file:
 * @path: of the block device, or of the regular file, which need not exist, that all users read
 *	and write from now on: its first bytes are lost
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_io_set_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;

	close(fd);
	return snprintf(io_path, sizeof(io_path), "%s", path) < (int)sizeof(io_path) ?
	       0 : -ENAMETOOLONG;
}

/**
 * pfnmap_io_kind_of:
 * @user: one of pfnmap_io_users
 *
 * Returns: what it does with pages.
 */
enum pfnmap_io_kind pfnmap_io_kind_of(const struct pfnmap_user *user)
{
	const struct io *io = user->arg;

	return io->kind;
}

/*
 * All but the last, whom ext4 sends away, before it looks at the memory, if a clock has ticked:
 * generic_update_time(), fs/inode.c, cannot write the file's times without waiting.
 */
const struct pfnmap_user_family pfnmap_ext4_families[] = {
	{ .name = "ext4", .describe = "Who reads or writes a file without a copy refuses.",
	  .users = pfnmap_io_users, .count = ARRAY_SIZE(pfnmap_io_users) - 1 },
};

const size_t pfnmap_ext4_family_count = ARRAY_SIZE(pfnmap_ext4_families);
