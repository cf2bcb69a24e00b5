/* SPDX-License-Identifier: MIT */
/*
 * What does a client say to vpfn? Opening the device and the calls on a buffer.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or the
 * negative errno of what failed, so that a test can assert a failure as easily as a success.
 */
#ifndef VPFN_BO_H
#define VPFN_BO_H

#include <stdint.h>

#include "pfnmap/pfnmap_base.h"
#include "vpfn_drm.h"

struct vpfn_bo {
	uint32_t handle;
	uint64_t size;
	uint64_t offset;
};

int vpfn_open(int oflags);
int vpfn_open_small(int oflags);
int vpfn_ioctl(int fd, unsigned long request, void *arg);
int vpfn_vram_size(int fd, uint64_t *size);
int vpfn_visible_vram_size(int fd, uint64_t *size);
int vpfn_bar_start(int fd, int bar, uint64_t *start);

int vpfn_bo_create(int fd, uint64_t size, struct vpfn_bo *bo);
int vpfn_bo_create_in(int fd, uint64_t size, uint32_t placement, uint32_t flags,
		      struct vpfn_bo *bo);
int vpfn_bo_close(int fd, const struct vpfn_bo *bo);
int vpfn_bo_placement(int fd, const struct vpfn_bo *bo, uint32_t *placement);
int vpfn_bo_export(int fd, const struct vpfn_bo *bo, int *dmabuf);

int vpfn_bo_map(int fd, const struct vpfn_bo *bo, void **map);

#endif
