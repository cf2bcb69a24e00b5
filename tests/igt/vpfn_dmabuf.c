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
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "vpfn_dmabuf.h"

#define HEAP	"/dev/dma_heap/system"

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

/* Last page first: an order in which no two pages are contiguous. */
static int udmabuf_from_pages(int device, int memfd, uint64_t pages)
{
	struct udmabuf_create_list *create;
	int dmabuf;

	create = calloc(1, sizeof(*create) + pages * sizeof(create->list[0]));
	if (!create)
		return -ENOMEM;

	create->flags = UDMABUF_FLAGS_CLOEXEC;
	create->count = pages;
	for (uint64_t i = 0; i < pages; i++) {
		create->list[i].memfd = memfd;
		create->list[i].offset = (pages - 1 - i) * VPFN_PAGE;
		create->list[i].size = VPFN_PAGE;
	}
	dmabuf = again(device, UDMABUF_CREATE_LIST, create);
	free(create);
	return dmabuf;
}

static int map_pages(int memfd, uint64_t pages, void **map)
{
	void *page;
	int err = vpfn_reserve(pages * VPFN_PAGE, VPFN_PAGE, map);

	for (uint64_t i = 0; i < pages && !err; i++)
		err = vpfn_map_at(memfd, (pages - 1 - i) * VPFN_PAGE, VPFN_PAGE,
				  (char *)*map + i * VPFN_PAGE, MAP_FIXED, &page);
	return err;
}

static int memfd_to_dmabuf(int memfd, struct vpfn_foreign *foreign)
{
	uint64_t pages = foreign->size / VPFN_PAGE;
	int device;

	if (ftruncate(memfd, foreign->size) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return -errno;

	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;

	foreign->dmabuf = udmabuf_from_pages(device, memfd, pages);
	close(device);
	return foreign->dmabuf < 0 ? foreign->dmabuf : map_pages(memfd, pages, &foreign->map);
}

/**
 * vpfn_foreign_from_memfd:
 * @size: size in bytes, a multiple of the page size
 * @foreign: the dma-buf, made of the pages of a memfd by udmabuf
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_UDMABUF, or another negative errno.
 */
int vpfn_foreign_from_memfd(uint64_t size, struct vpfn_foreign *foreign)
{
	int memfd = memfd_create("vpfn-foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	*foreign = (struct vpfn_foreign) { .dmabuf = -1, .size = size };
	if (memfd < 0)
		return -errno;

	err = memfd_to_dmabuf(memfd, foreign);
	close(memfd);
	if (err)
		vpfn_foreign_remove(foreign);
	return err;
}

/**
 * vpfn_foreign_from_heap:
 * @size: size in bytes, a multiple of the page size
 * @foreign: the dma-buf, from the kernel's heap of system memory
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_DMABUF_HEAPS_SYSTEM, or another negative errno.
 */
int vpfn_foreign_from_heap(uint64_t size, struct vpfn_foreign *foreign)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open(HEAP, O_RDWR | O_CLOEXEC);
	int err;

	*foreign = (struct vpfn_foreign) { .dmabuf = -1, .size = size };
	if (heap < 0)
		return -errno;

	err = again(heap, DMA_HEAP_IOCTL_ALLOC, &data);
	close(heap);
	if (err)
		return err;

	foreign->dmabuf = data.fd;
	err = vpfn_map(data.fd, 0, size, PROT_READ | PROT_WRITE, &foreign->map);
	if (err)
		vpfn_foreign_remove(foreign);
	return err;
}

/**
 * vpfn_foreign_remove:
 * @foreign: the dma-buf, of which others may keep a reference
 */
void vpfn_foreign_remove(struct vpfn_foreign *foreign)
{
	if (foreign->map)
		munmap(foreign->map, foreign->size);
	if (foreign->dmabuf >= 0)
		close(foreign->dmabuf);
	*foreign = (struct vpfn_foreign) { .dmabuf = -1 };
}
