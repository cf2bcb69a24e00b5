// SPDX-License-Identifier: MIT
/*
 * What every test of mappings needs: mappings, files of the kernel's, and waiting for a condition.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"

/* A longer wait is for something that will not happen. */
#define LOOKS		3000
#define LOOK_EACH_NS	(20 * 1000 * 1000)

static int do_map(int fd, uint64_t offset, uint64_t len, int prot, void *addr, int flags,
		  void **map)
{
	*map = mmap(addr, len, prot, flags, fd, offset);
	if (*map != MAP_FAILED)
		return 0;

	*map = NULL;
	return -errno;
}

/**
 * pfnmap_map:
 * @fd: DRM or dma-buf file descriptor
 * @offset: mmap offset of the buffer
 * @len: bytes to map
 * @prot: protection, PROT_*
 * @map: where the address goes
 *
 * Maps memory shared, at an address of the kernel's choice.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_map(int fd, uint64_t offset, uint64_t len, int prot, void **map)
{
	return do_map(fd, offset, len, prot, NULL, MAP_SHARED, map);
}

/**
 * pfnmap_map_at:
 * @fd: DRM or dma-buf file descriptor
 * @offset: mmap offset of the buffer
 * @len: bytes to map
 * @addr: address for mmap(2)
 * @flags: MAP_FIXED, MAP_FIXED_NOREPLACE, or 0 for a hint
 * @map: where the address goes
 *
 * Maps memory shared, readable and writable, at an address of the caller's choice.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_map_at(int fd, uint64_t offset, uint64_t len, void *addr, int flags, void **map)
{
	return do_map(fd, offset, len, PROT_READ | PROT_WRITE, addr, MAP_SHARED | flags, map);
}

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

/**
 * pfnmap_reserve:
 * @len: bytes to reserve
 * @align: alignment of the area, a power of two
 * @area: where the address goes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_reserve(uint64_t len, uint64_t align, void **area)
{
	char *whole = mmap(NULL, len + align, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t head;

	if (whole == MAP_FAILED)
		return -errno;

	/* The rest goes back; what is left is the area alone. */
	head = -(uintptr_t)whole & (align - 1);
	if (head)
		munmap(whole, head);
	munmap(whole + head + len, align - head);
	*area = whole + head;
	return 0;
}

/**
 * pfnmap_moved:
 * @n: what a call that moves bytes has returned
 * @len: how many it should move
 *
 * Returns: 0, its negative errno, or -ENODATA if it has moved another number.
 */
int pfnmap_moved(ssize_t n, size_t len)
{
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENODATA;
}

/**
 * pfnmap_text_read:
 * @path: a file of the kernel's
 * @text: where what it says goes, up to the first newline at the end
 * @size: room for it
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_text_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;

	do {
		n = read(fd, text + len, size - 1 - len);
		if (n > 0)
			len += n;
	} while (n > 0 && len < size - 1);
	err = n < 0 ? -errno : 0;
	close(fd);

	if (len && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	return err;
}

/**
 * pfnmap_text_write:
 * @path: a file of the kernel's
 * @text: what to tell it, in one piece
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_text_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int err = 0;

	if (fd < 0)
		return -errno;

	n = write(fd, text, strlen(text));
	if (n < 0)
		err = -errno;
	else if (n != (ssize_t)strlen(text))
		err = -EIO;
	close(fd);
	return err;
}

/**
 * pfnmap_wait_until:
 * @holds: a condition
 * @arg: its argument
 *
 * Returns: 0 once the condition holds, -ETIME if a minute has passed.
 */
int pfnmap_wait_until(bool (*holds)(const void *arg), const void *arg)
{
	struct timespec pause = { .tv_nsec = LOOK_EACH_NS };

	for (int i = 0; i < LOOKS; i++) {
		if (holds(arg))
			return 0;
		nanosleep(&pause, NULL);
	}
	return holds(arg) ? 0 : -ETIME;
}
