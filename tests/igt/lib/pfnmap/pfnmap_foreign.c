// SPDX-License-Identifier: MIT
/*
 * Which dma-bufs belong to no device?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_foreign.h"

#define HEAP	"/dev/dma_heap/system"

static int map_pages(int memfd, uint64_t pages, void **map)
{
	void *page;
	int err = pfnmap_reserve(pages * PFNMAP_PAGE, PFNMAP_PAGE, map);

	for (uint64_t i = 0; i < pages && !err; i++)
		err = pfnmap_map_at(memfd, (pages - 1 - i) * PFNMAP_PAGE, PFNMAP_PAGE,
				    (char *)*map + i * PFNMAP_PAGE, MAP_FIXED, &page);
	return err;
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
		create->list[i].offset = (pages - 1 - i) * PFNMAP_PAGE;
		create->list[i].size = PFNMAP_PAGE;
	}
	dmabuf = drmIoctl(device, UDMABUF_CREATE_LIST, create);
	free(create);
	return dmabuf < 0 ? -errno : dmabuf;
}

static int memfd_to_dmabuf(int memfd, struct pfnmap_foreign *foreign)
{
	uint64_t pages = foreign->size / PFNMAP_PAGE;
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
 * pfnmap_foreign_from_memfd:
 * @size: size in bytes, a multiple of the page size
 * @foreign: the dma-buf, made of the pages of a memfd by udmabuf
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_UDMABUF, or another negative errno.
 */
int pfnmap_foreign_from_memfd(uint64_t size, struct pfnmap_foreign *foreign)
{
	int memfd = memfd_create("pfnmap-foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	*foreign = (struct pfnmap_foreign) { .dmabuf = -1, .size = size };
	if (memfd < 0)
		return -errno;

	err = memfd_to_dmabuf(memfd, foreign);
	close(memfd);
	if (err)
		pfnmap_foreign_remove(foreign);
	return err;
}

/**
 * pfnmap_foreign_from_heap:
 * @size: size in bytes, a multiple of the page size
 * @foreign: the dma-buf, from the kernel's heap of system memory
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_DMABUF_HEAPS_SYSTEM, or another negative errno.
 */
int pfnmap_foreign_from_heap(uint64_t size, struct pfnmap_foreign *foreign)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open(HEAP, O_RDWR | O_CLOEXEC);
	int err;

	*foreign = (struct pfnmap_foreign) { .dmabuf = -1, .size = size };
	if (heap < 0)
		return -errno;

	err = drmIoctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno : 0;
	close(heap);
	if (err)
		return err;

	foreign->dmabuf = data.fd;
	err = pfnmap_map(data.fd, 0, size, PROT_READ | PROT_WRITE, &foreign->map);
	if (err)
		pfnmap_foreign_remove(foreign);
	return err;
}

/**
 * pfnmap_foreign_remove:
 * @foreign: the dma-buf, of which others may keep a reference
 */
void pfnmap_foreign_remove(struct pfnmap_foreign *foreign)
{
	if (foreign->map)
		munmap(foreign->map, foreign->size);
	if (foreign->dmabuf >= 0)
		close(foreign->dmabuf);
	*foreign = (struct pfnmap_foreign) { .dmabuf = -1 };
}
