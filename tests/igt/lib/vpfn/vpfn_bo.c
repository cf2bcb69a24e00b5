// SPDX-License-Identifier: MIT
/*
 * What does a client say to vpfn?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xf86drm.h>

#include "vpfn/vpfn_bo.h"

/* The minor of the first render node; the nodes of a class are at most 64. */
#define FIRST_RENDER	128
#define MAX_NODES	64

static bool is_vpfn(int fd)
{
	drmVersionPtr version = drmGetVersion(fd);
	bool found = version && !strcmp(version->name, "vpfn");

	drmFreeVersion(version);
	return found;
}

static bool is_all_visible(int fd)
{
	uint64_t size, visible;

	return !vpfn_vram_size(fd, &size) && !vpfn_visible_vram_size(fd, &visible) &&
	       visible == size;
}

static int open_first(int oflags, bool all_visible)
{
	char path[32];
	int i, fd;

	for (i = FIRST_RENDER; i < FIRST_RENDER + MAX_NODES; i++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		fd = open(path, oflags | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_vpfn(fd) && is_all_visible(fd) == all_visible)
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/**
 * vpfn_open:
 * @oflags: flags for open(2), O_RDWR or O_RDONLY
 *
 * Opens the render node of the first vpfn device whose memory is all visible to the CPU.
 *
 * Returns: a file descriptor, or -ENODEV if there is none.
 */
int vpfn_open(int oflags)
{
	return open_first(oflags, true);
}

/**
 * vpfn_open_small:
 * @oflags: flags for open(2), O_RDWR or O_RDONLY
 *
 * Opens the render node of the first vpfn device with memory that the CPU cannot see.
 *
 * Returns: a file descriptor, or -ENODEV if there is none.
 */
int vpfn_open_small(int oflags)
{
	return open_first(oflags, false);
}

/**
 * vpfn_ioctl:
 * @fd: DRM file descriptor
 * @request: ioctl number
 * @arg: its argument
 *
 * Returns: 0 or the negative errno that the ioctl gave.
 */
int vpfn_ioctl(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

static int get_param(int fd, uint32_t param, uint64_t *value)
{
	struct drm_vpfn_get_param get = { .param = param };
	int err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GET_PARAM, &get);

	*value = get.value;
	return err;
}

/**
 * vpfn_vram_size:
 * @fd: DRM file descriptor
 * @size: where the size of the device memory goes, in bytes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vram_size(int fd, uint64_t *size)
{
	return get_param(fd, DRM_VPFN_PARAM_VRAM_SIZE, size);
}

/**
 * vpfn_visible_vram_size:
 * @fd: DRM file descriptor
 * @size: where the size of the part of it that the CPU sees goes, in bytes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_visible_vram_size(int fd, uint64_t *size)
{
	return get_param(fd, DRM_VPFN_PARAM_VISIBLE_VRAM_SIZE, size);
}

/**
 * vpfn_bar_start:
 * @fd: DRM file descriptor
 * @bar: number of the PCI BAR
 * @start: where its physical address goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bar_start(int fd, int bar, uint64_t *start)
{
	char path[64], line[80];
	struct stat st;
	FILE *file;
	int i, err = -ENXIO;

	if (fstat(fd, &st))
		return -errno;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device/resource",
		 major(st.st_rdev), minor(st.st_rdev));
	file = fopen(path, "r");
	if (!file)
		return -errno;

	for (i = 0; i <= bar; i++) {
		if (!fgets(line, sizeof(line), file))
			break;
		if (i == bar && sscanf(line, "%" SCNx64, start) == 1)
			err = 0;
	}
	fclose(file);
	return err;
}

/**
 * vpfn_bo_create:
 * @fd: DRM file descriptor
 * @size: size of the buffer in bytes
 * @bo: the buffer, with its mmap offset
 *
 * Creates a buffer in device memory, where the CPU reaches it.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_create(int fd, uint64_t size, struct vpfn_bo *bo)
{
	return vpfn_bo_create_in(fd, size, DRM_VPFN_PLACEMENT_VRAM,
				 DRM_VPFN_GEM_CREATE_CPU_ACCESS, bo);
}

/**
 * vpfn_bo_create_in:
 * @fd: DRM file descriptor
 * @size: size of the buffer in bytes
 * @placement: where it may lie, a mask of DRM_VPFN_PLACEMENT_*
 * @flags: a mask of DRM_VPFN_GEM_CREATE_*
 * @bo: the buffer, with its mmap offset
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_create_in(int fd, uint64_t size, uint32_t placement, uint32_t flags,
		      struct vpfn_bo *bo)
{
	struct drm_vpfn_gem_create create = {
		.size = size,
		.placement = placement,
		.flags = flags,
	};
	struct drm_vpfn_gem_mmap_offset get = {};
	int err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_CREATE, &create);

	if (err)
		return err;

	get.handle = create.handle;
	err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get);
	*bo = (struct vpfn_bo) { .handle = create.handle, .size = size, .offset = get.offset };
	if (err)
		vpfn_bo_close(fd, bo);
	return err;
}

/**
 * vpfn_bo_close:
 * @fd: DRM file descriptor
 * @bo: the buffer; a mapping of it stays what it is
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_close(int fd, const struct vpfn_bo *bo)
{
	struct drm_gem_close close = { .handle = bo->handle };

	return vpfn_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &close);
}

/**
 * vpfn_bo_placement:
 * @fd: DRM file descriptor
 * @bo: the buffer
 * @placement: where it goes which DRM_VPFN_PLACEMENT_* the buffer lies in
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_placement(int fd, const struct vpfn_bo *bo, uint32_t *placement)
{
	struct drm_vpfn_gem_info info = { .handle = bo->handle };
	int err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_INFO, &info);

	*placement = info.placement;
	return err;
}

/**
 * vpfn_bo_export:
 * @fd: DRM file descriptor
 * @bo: the buffer
 * @dmabuf: where the dma-buf's file descriptor goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_export(int fd, const struct vpfn_bo *bo, int *dmabuf)
{
	return drmPrimeHandleToFD(fd, bo->handle, DRM_CLOEXEC | DRM_RDWR, dmabuf) ? -errno : 0;
}

/**
 * vpfn_bo_map:
 * @fd: DRM file descriptor
 * @bo: the buffer, mapped whole, readable and writable
 * @map: where the address goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_bo_map(int fd, const struct vpfn_bo *bo, void **map)
{
	return pfnmap_map(fd, bo->offset, bo->size, PROT_READ | PROT_WRITE, map);
}
