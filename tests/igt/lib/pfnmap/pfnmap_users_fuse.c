// SPDX-License-Identifier: MIT
/*
 * A file system in user space: what FUSE returns if the mapping is the memory of the process that
 * reads and writes by O_DIRECT, or of the server. A thread serves one file, which is the root of
 * the mount.
 *
 * What would a broken test pass on? On a server that answers nothing: the bytes of the file are
 * memory that client and server share, set before and compared after each call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_users.h"

#define LEN		PFNMAP_TARGET_LEN
#define SEED		0xf05e
#define MOUNT		"/tmp/pfnmap-fuse"

/* So that a request with all that it writes fits into LEN bytes. */
#define MAX_WRITE	(LEN / 2)

/* Any later kernel speaks this version of the protocol, too. */
#define MINOR		31

/* Whose memory is the target, and what is done with it? */
enum role {
	CLIENT_READ,
	CLIENT_WRITE,
	SERVER_REQUEST,		/* the server receives the data of a write in it */
	SERVER_REPLY,		/* the server sends the data of a read from it */
};

struct server {
	int fd;			/* of /dev/fuse */
	char *file;		/* LEN bytes */
	char *request;		/* LEN bytes */
	char *next;		/* where the next request is received */
	char *request_at_write;	/* where that after an open is received */
	const char *source;	/* of the data of a read */
	int answer;		/* to the server's own calls */
	pthread_t thread;
};

static int reply(const struct server *server, uint64_t unique, int error, const void *data,
		 size_t len)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + len,
		.error = error,
		.unique = unique,
	};
	struct iovec iov[] = { { &header, sizeof(header) }, { (void *)data, len } };

	return writev(server->fd, iov, 2) < 0 ? -errno : 0;
}

static void serve_init(const struct server *server, uint64_t unique)
{
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = MINOR,
		.max_write = MAX_WRITE,
	};

	reply(server, unique, 0, &out, sizeof(out));
}

static void serve_getattr(const struct server *server, uint64_t unique)
{
	const struct fuse_attr_out out = {
		.attr = { .ino = FUSE_ROOT_ID, .size = LEN, .mode = S_IFREG | 0600, .nlink = 1 },
	};

	reply(server, unique, 0, &out, sizeof(out));
}

static void serve_open(struct server *server, uint64_t unique)
{
	const struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO };

	server->next = server->request_at_write;
	reply(server, unique, 0, &out, sizeof(out));
}

static bool is_inside(uint64_t offset, uint32_t size)
{
	return offset <= LEN && size <= LEN - offset;
}

/* A reply that the kernel refuses leaves the client waiting for another one. */
static void serve_read(struct server *server, uint64_t unique, const struct fuse_read_in *in)
{
	int err = -EINVAL;

	if (is_inside(in->offset, in->size))
		err = reply(server, unique, 0, server->source + in->offset, in->size);
	if (!err)
		return;
	server->answer = err;
	reply(server, unique, err, NULL, 0);
}

static void serve_write(const struct server *server, uint64_t unique,
			const struct fuse_write_in *in)
{
	const struct fuse_write_out out = { .size = in->size };

	if (!is_inside(in->offset, in->size)) {
		reply(server, unique, -EINVAL, NULL, 0);
		return;
	}
	memcpy(server->file + in->offset, in + 1, in->size);
	reply(server, unique, 0, &out, sizeof(out));
}

static void serve_request(struct server *server, const char *request)
{
	const struct fuse_in_header *header = (void *)request;
	const void *in = header + 1;

	switch (header->opcode) {
	case FUSE_INIT:
		serve_init(server, header->unique);
		break;
	case FUSE_GETATTR:
		serve_getattr(server, header->unique);
		break;
	case FUSE_OPEN:
		serve_open(server, header->unique);
		break;
	case FUSE_READ:
		serve_read(server, header->unique, in);
		break;
	case FUSE_WRITE:
		serve_write(server, header->unique, in);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_DESTROY:
		reply(server, header->unique, 0, NULL, 0);
		break;
	default:
		reply(server, header->unique, -EOPNOTSUPP, NULL, 0);
	}
}

/*
 * Until the file system is unmounted. A request that the kernel cannot write to the server's memory
 * ends with an error.
 */
static void *serve(void *arg)
{
	struct server *server = arg;

	for (;;) {
		char *request = server->next;
		ssize_t n = read(server->fd, request, LEN);

		if (n < 0 && errno == ENODEV)
			return NULL;
		server->next = server->request;
		if (n > 0)
			serve_request(server, request);
		else
			server->answer = -errno;
	}
}

static int mount_file(int fd)
{
	char options[96];
	int file = open(MOUNT, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (file < 0)
		return -errno;
	close(file);
	snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", fd);
	return mount("pfnmap", MOUNT, "fuse", 0, options) ? -errno : 0;
}

static int server_start(struct server *server)
{
	int err;

	if (access("/dev/fuse", F_OK))
		pfnmap_shell("modprobe -q fuse");
	server->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (server->fd < 0)
		return -ENODEV;

	err = mount_file(server->fd);
	if (!err)
		err = -pthread_create(&server->thread, NULL, serve, server);
	if (!err)
		return 0;
	umount2(MOUNT, MNT_DETACH);
	close(server->fd);
	return err;
}

static int server_stop(struct server *server)
{
	int err = umount(MOUNT) ? -errno : 0;

	if (err)
		umount2(MOUNT, MNT_DETACH);
	close(server->fd);
	pthread_join(server->thread, NULL);
	unlink(MOUNT);
	return err;
}

/* @len: of a write, MAX_WRITE at most for a single request */
static int do_io(bool write, void *addr, size_t len)
{
	int file = open(MOUNT, O_RDWR | O_DIRECT | O_CLOEXEC);
	ssize_t n;

	if (file < 0)
		return -errno;
	n = write ? pwrite(file, addr, len, 0) : pread(file, addr, len, 0);
	if (n < 0)
		n = -errno;
	close(file);
	if (n < 0)
		return n;
	return n == (ssize_t)len ? 0 : -ENODATA;
}

/* The data of a write are behind two headers. */
static int check_request(const struct pfnmap_target *target, const char *data)
{
	const size_t offset = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
	uint64_t bytes[LEN / sizeof(uint64_t)];
	int err = target->peek(target, bytes);

	if (err)
		return err;
	return memcmp((char *)bytes + offset, data, MAX_WRITE) ? -EBADMSG : 0;
}

/* @memory: LEN bytes for the other side, with the pattern of SEED, as the file has */
static int run_role(enum role role, struct server *server, const struct pfnmap_target *target,
		    char *memory)
{
	uint64_t before[LEN / sizeof(uint64_t)];
	int err;

	switch (role) {
	case CLIENT_READ:
		return do_io(false, target->addr, LEN) ?: pfnmap_target_check(target, SEED);
	case CLIENT_WRITE:
		err = do_io(true, target->addr, LEN) ?: pfnmap_target_matches(target, server->file);
		break;
	case SERVER_REPLY:
		server->source = target->addr;
		return do_io(false, memory, LEN) ?: pfnmap_target_matches(target, memory);
	default:
		memset(server->file, 0, LEN);
		server->request_at_write = target->addr;
		err = do_io(true, memory, MAX_WRITE) ?: check_request(target, memory);
		return err ?: (memcmp(server->file, memory, MAX_WRITE) ? -EBADMSG : 0);
	}

	/* A write that is refused leaves the file as it was. */
	pfnmap_target_pattern(SEED, before);
	return err && memcmp(server->file, before, LEN) ? -EBADMSG : err;
}

static int ask(const struct pfnmap_target *target, const void *arg)
{
	char *memory = pfnmap_anonymous(3 * LEN);
	struct server server = {
		.file = memory,
		.request = memory + LEN,
		.next = memory + LEN,
		.request_at_write = memory + LEN,
		.source = memory,
	};
	int answer;

	if (!memory)
		return -ENOMEM;
	pfnmap_target_pattern(SEED, server.file);
	pfnmap_target_pattern(SEED, memory + 2 * LEN);
	answer = server_start(&server);
	if (!answer) {
		answer = run_role(*(const enum role *)arg, &server, target, memory + 2 * LEN);
		/* The client may return before the server's own call does. */
		answer = server_stop(&server) ?: server.answer ?: answer;
	}
	munmap(memory, 3 * LEN);
	return answer;
}

#define USER(name_, role_)								\
	{ .name = (name_), .on_special = -EFAULT, .call = ask, .needs = "CONFIG_FUSE_FS",	\
	  .arg = &(const enum role) { role_ } }

/* fuse_get_user_pages() for the client, fuse_copy_fill() for the server */
static const struct pfnmap_user fuse_users[] = {
	USER("FUSE, O_DIRECT, read", CLIENT_READ),
	USER("FUSE, O_DIRECT, write", CLIENT_WRITE),
	USER("FUSE server, request", SERVER_REQUEST),
	USER("FUSE server, reply", SERVER_REPLY),
};

const struct pfnmap_user_family pfnmap_fuse_families[] = {
	PFNMAP_FAMILY("fuse", "FUSE refuses memory of the client and of the server.", fuse_users),
};

const size_t pfnmap_fuse_family_count = ARRAY_SIZE(pfnmap_fuse_families);
