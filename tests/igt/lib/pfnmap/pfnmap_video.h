/* SPDX-License-Identifier: MIT */
/*
 * How do devices of V4L2 get at memory? vivid's virtual camera and display, and vim2m, which turns
 * pictures round: each queue takes buffers of its own, memory of the process, or dma-bufs.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno, -ENODEV if the
 * kernel lacks the device.
 */
#ifndef PFNMAP_VIDEO_H
#define PFNMAP_VIDEO_H

#include <linux/videodev2.h>
#include <stdint.h>

/* A frame of all these devices: 128 x 128 pixels of a byte, or 128 x 64 of two. */
#define PFNMAP_FRAME_SIZE		(4 * 4096)
#define PFNMAP_VIDEO_BUFFERS	4

/* How vivid gets at a buffer: as the kernel's CPU does, or by DMA to contiguous memory. */
enum pfnmap_vivid {
	PFNMAP_VIVID_BY_CPU,
	PFNMAP_VIVID_BY_DMA,
};

/* What a camera sees: its inputs. */
enum pfnmap_scenery {
	PFNMAP_SEES_PATTERN,	/* vivid's own, always the same */
	PFNMAP_SEES_OUTPUT,	/* what the display of the same vivid shows */
};

struct pfnmap_video {
	int fd;
	enum v4l2_buf_type type;
	enum v4l2_memory memory;
	unsigned int count;			/* of buffers */
	uint8_t *frames[PFNMAP_VIDEO_BUFFERS];	/* the device's own, if it has any */
};

int pfnmap_video_open_camera(enum pfnmap_vivid vivid, enum pfnmap_scenery scenery,
			     struct pfnmap_video *camera);
int pfnmap_video_open_display(enum pfnmap_vivid vivid, struct pfnmap_video *display);

/* The two queues of one device: what goes in comes out turned by 180 degrees. */
int pfnmap_video_open_turner(struct pfnmap_video *in, struct pfnmap_video *out);
void pfnmap_video_turn(const uint8_t *frame, uint8_t *turned);

void pfnmap_video_close(struct pfnmap_video *video);

int pfnmap_video_request(struct pfnmap_video *video, enum v4l2_memory memory, unsigned int count);
int pfnmap_video_release(struct pfnmap_video *video);

/* @where is an address or a dma-buf; it is not used for buffers of the device's own. */
int pfnmap_video_queue(const struct pfnmap_video *video, unsigned int index, uintptr_t where);
int pfnmap_video_dequeue(const struct pfnmap_video *video, unsigned int *index);
int pfnmap_video_start(const struct pfnmap_video *video);
int pfnmap_video_stop(const struct pfnmap_video *video);

int pfnmap_video_picture(enum pfnmap_vivid vivid, uint8_t *frame);

#endif
