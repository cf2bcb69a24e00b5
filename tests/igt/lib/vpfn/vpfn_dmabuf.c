// SPDX-License-Identifier: MIT
/*
 * Which memory do devices share?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

#include <linux/dma-buf.h>

#include "vpfn/vpfn_dmabuf.h"

/* The ioctls restart themselves, and a fence to wait for may take a signal in between. */
static int again(int fd, unsigned long request, void *arg)
{
	int n;

	do {
		n = ioctl(fd, request, arg);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? -errno : n;
}

/**
 * vpfn_dmabuf_import:
 * @fd: DRM file descriptor
 * @dmabuf: a dma-buf
 * @size: its size in bytes
 * @bo: the buffer, as this file sees it; it has no mmap offset
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_dmabuf_import(int fd, int dmabuf, uint64_t size, struct vpfn_bo *bo)
{
	*bo = (struct vpfn_bo) { .size = size };
	return drmPrimeFDToHandle(fd, dmabuf, &bo->handle) ? -errno : 0;
}

/**
 * vpfn_dmabuf_same:
 * @a: a dma-buf
 * @b: a dma-buf
 *
 * Returns: whether both file descriptors are of one dma-buf.
 */
bool vpfn_dmabuf_same(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/**
 * vpfn_dmabuf_sync:
 * @dmabuf: a dma-buf
 * @flags: mask of DMA_BUF_SYNC_*
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_dmabuf_sync(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return again(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
}

/**
 * vpfn_dmabuf_get_fence:
 * @dmabuf: a dma-buf
 * @flags: DMA_BUF_SYNC_READ for the writers, DMA_BUF_SYNC_WRITE for all who use it
 * @sync_file: where the file of their fence goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_dmabuf_get_fence(int dmabuf, uint32_t flags, int *sync_file)
{
	struct dma_buf_export_sync_file get = { .flags = flags, .fd = -1 };
	int err = again(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &get);

	*sync_file = get.fd;
	return err;
}

/**
 * vpfn_dmabuf_add_fence:
 * @dmabuf: a dma-buf
 * @flags: DMA_BUF_SYNC_READ or DMA_BUF_SYNC_WRITE: the access that goes on until the fence signals
 * @sync_file: the file of the fence
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_dmabuf_add_fence(int dmabuf, uint32_t flags, int sync_file)
{
	struct dma_buf_import_sync_file add = { .flags = flags, .fd = sync_file };

	return again(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &add);
}
