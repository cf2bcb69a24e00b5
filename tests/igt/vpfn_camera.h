/* SPDX-License-Identifier: MIT */
/*
 * What does a device that knows nothing of vpfn write into a shared buffer? vivid, the
 * kernel's virtual camera, whose picture is always the same.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef VPFN_CAMERA_H
#define VPFN_CAMERA_H

#include <stdint.h>

/* How vivid gets at a buffer: as the kernel's CPU does, or by DMA to contiguous memory. */
enum vpfn_camera_access {
	VPFN_CAMERA_BY_CPU,
	VPFN_CAMERA_BY_DMA,
};

struct vpfn_camera {
	int fd;
	uint32_t frame_size;
};

int vpfn_camera_open(enum vpfn_camera_access access, struct vpfn_camera *camera);
void vpfn_camera_close(struct vpfn_camera *camera);

/* What a frame looks like, in memory of the camera's own. */
int vpfn_camera_picture(const struct vpfn_camera *camera, void *frame);

/* The parts of a capture. From the first queue to the release the camera holds the buffer. */
int vpfn_camera_start(const struct vpfn_camera *camera);
int vpfn_camera_queue(const struct vpfn_camera *camera, int dmabuf);
int vpfn_camera_expose(const struct vpfn_camera *camera);
int vpfn_camera_release(const struct vpfn_camera *camera);

#endif
