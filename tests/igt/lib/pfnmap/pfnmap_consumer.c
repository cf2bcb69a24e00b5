// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory return?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_consumer.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"

#define MAX_VIDEO_NODES	64

/**
 * pfnmap_anonymous:
 * @len: bytes of ordinary memory
 *
 * Returns: its page-aligned address, zeroed and present; NULL if there is no memory.
 */
void *pfnmap_anonymous(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* What a call that moves bytes has answered. */
static int moved(ssize_t n, size_t len)
{
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENODATA;
}

/* The consumers look at memory that may be slow and uncached: word by word, once. */
static int compare(const void *a, const void *b, size_t len)
{
	const char *x = a, *y = b;

	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		if (pfnmap_load(x + i) != pfnmap_load(y + i))
			return -EBADMSG;
	}
	return 0;
}

/**
 * pfnmap_file_set:
 * @fd: a file, O_DIRECT or not
 * @bytes: what its first bytes must be
 * @len: how many, a multiple of the page size
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_file_set(int fd, const void *bytes, size_t len)
{
	void *copy = pfnmap_anonymous(len);
	int err;

	if (!copy)
		return -ENOMEM;

	memcpy(copy, bytes, len);
	err = moved(pwrite(fd, copy, len, 0), len);
	munmap(copy, len);
	return err;
}

/**
 * pfnmap_file_compare:
 * @fd: a file, O_DIRECT or not
 * @bytes: what its first bytes should be
 * @len: how many, a multiple of the page size
 *
 * Returns: 0 if they are, -EBADMSG if not, or a negative errno.
 */
int pfnmap_file_compare(int fd, const void *bytes, size_t len)
{
	void *copy = pfnmap_anonymous(len);
	int err;

	if (!copy)
		return -ENOMEM;

	err = moved(pread(fd, copy, len, 0), len) ?: compare(copy, bytes, len);
	munmap(copy, len);
	return err;
}

/**
 * pfnmap_write_direct:
 * @fd: a file open for O_DIRECT
 * @addr: the memory that the disk reads
 * @len: how many bytes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_write_direct(int fd, const void *addr, size_t len)
{
	return moved(pwrite(fd, addr, len, 0), len) ?: pfnmap_file_compare(fd, addr, len);
}

/**
 * pfnmap_read_direct:
 * @fd: a file open for O_DIRECT, at least @len bytes long
 * @addr: the memory that the disk writes
 * @len: how many bytes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_read_direct(int fd, void *addr, size_t len)
{
	return moved(pread(fd, addr, len, 0), len) ?: pfnmap_file_compare(fd, addr, len);
}

static int write_direct(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	return env->direct_fd < 0 ? -ENODEV : pfnmap_write_direct(env->direct_fd, addr, len);
}

static int read_direct(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	void *bytes;
	int err;

	if (env->direct_fd < 0)
		return -ENODEV;

	bytes = pfnmap_anonymous(len);
	if (!bytes)
		return -ENOMEM;

	memset(bytes, 0x5a, len);
	err = pfnmap_file_set(env->direct_fd, bytes, len);
	munmap(bytes, len);
	return err ?: pfnmap_read_direct(env->direct_fd, addr, len);
}

/* The memory is the remote side, which is pinned; the local side is merely copied to. */
static int process_vm(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	void *copy = pfnmap_anonymous(len);
	struct iovec local = { copy, len }, remote = { addr, len };
	int err;

	(void)env;
	if (!copy)
		return -ENOMEM;

	err = moved(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), len) ?:
	      compare(copy, addr, len);
	munmap(copy, len);
	return err;
}

/* One page, because a pipe takes no more than it has room for. */
static int vmsplice_page(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	uint64_t page[4096 / sizeof(uint64_t)];
	struct iovec iov = { addr, sizeof(page) };
	int pipe_fd[2], err;

	(void)env;
	(void)len;
	if (pipe(pipe_fd))
		return -errno;

	err = moved(vmsplice(pipe_fd[1], &iov, 1, 0), sizeof(page));
	if (!err)
		err = moved(read(pipe_fd[0], page, sizeof(page)), sizeof(page)) ?:
		      compare(page, addr, sizeof(page));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return err;
}

static int write_buffered(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	if (env->buffered_fd < 0)
		return -ENODEV;

	return moved(pwrite(env->buffered_fd, addr, len, 0), len) ?:
	       pfnmap_file_compare(env->buffered_fd, addr, len);
}

static int vivid_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int request_buffers(int fd, unsigned int count)
{
	struct v4l2_requestbuffers request = {
		.count = count,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_USERPTR,
	};

	return vivid_ioctl(fd, VIDIOC_REQBUFS, &request);
}

static int queue_buffer(int fd, void *addr, size_t len)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_USERPTR,
		.m.userptr = (uintptr_t)addr,
		.length = len,
	};
	int err = vivid_ioctl(fd, VIDIOC_G_FMT, &format);

	if (err)
		return err;

	/* A frame that does not fit is refused before the memory is looked up. */
	if (format.fmt.pix.sizeimage > len)
		return -EMSGSIZE;
	return vivid_ioctl(fd, VIDIOC_QBUF, &buffer);
}

static int queue_vivid(const struct pfnmap_consumer_env *env, void *addr, size_t len)
{
	int err;

	if (env->vivid_fd < 0)
		return -ENODEV;

	err = request_buffers(env->vivid_fd, 1);
	if (err)
		return err;

	err = queue_buffer(env->vivid_fd, addr, len);
	request_buffers(env->vivid_fd, 0);
	return err;
}

const struct pfnmap_consumer pfnmap_consumers[] = {
	{ "O_DIRECT write", -EFAULT, write_direct },
	{ "O_DIRECT read", -EFAULT, read_direct },
	{ "process_vm_readv", -EFAULT, process_vm },
	{ "vmsplice", -EFAULT, vmsplice_page },
	{ "vivid USERPTR QBUF", -EFAULT, queue_vivid },
	{ "buffered write", 0, write_buffered },
};

const size_t pfnmap_consumer_count = ARRAY_SIZE(pfnmap_consumers);

static int is_vivid_capture(int fd)
{
	struct v4l2_capability capability = {};

	if (vivid_ioctl(fd, VIDIOC_QUERYCAP, &capability))
		return 0;
	return !strcmp((char *)capability.driver, "vivid") &&
	       capability.device_caps & V4L2_CAP_VIDEO_CAPTURE;
}

/* Small frames, so that little memory holds one. */
static void set_smallest_frame(int fd)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.fmt.pix = { .width = 16, .height = 16, .pixelformat = V4L2_PIX_FMT_YUYV },
	};

	vivid_ioctl(fd, VIDIOC_S_FMT, &format);
}

static int find_vivid(void)
{
	char path[32];

	for (int i = 0; i < MAX_VIDEO_NODES; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_vivid_capture(fd))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/**
 * pfnmap_vivid_open:
 *
 * Returns: a file descriptor of the first capture node of vivid, set to small frames;
 * -ENODEV if the kernel lacks it.
 */
int pfnmap_vivid_open(void)
{
	int fd = find_vivid();

	if (fd < 0) {
		pfnmap_shell("modprobe -q vivid");
		fd = find_vivid();
	}
	if (fd >= 0)
		set_smallest_frame(fd);
	return fd;
}
