/* SPDX-License-Identifier: MIT */
/*
 * How do devices of V4L2 get at memory? vivid's virtual camera and display, and vim2m, which turns
 * pictures round: each queue takes buffers of its own, memory of the process, or dma-bufs.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno, -ENODEV if the
 * kernel lacks the device.
 */
#ifndef VPFN_VIDEO_H
#define VPFN_VIDEO_H

#include <linux/videodev2.h>
#include <stdint.h>

/* A frame of all these devices: 128 x 128 pixels of a byte, or 128 x 64 of two. */
#define VPFN_FRAME_SIZE		(4 * 4096)
#define VPFN_VIDEO_BUFFERS	4

/* How vivid gets at a buffer: as the kernel's CPU does, or by DMA to contiguous memory. */
enum vpfn_vivid {
	VPFN_VIVID_BY_CPU,
	VPFN_VIVID_BY_DMA,
};

/* What a camera sees: its inputs. */
enum vpfn_scenery {
	VPFN_SEES_PATTERN,	/* vivid's own, always the same */
	VPFN_SEES_OUTPUT,	/* what the display of the same vivid shows */
};

struct vpfn_video {
	int fd;
	enum v4l2_buf_type type;
	enum v4l2_memory memory;
	unsigned int count;			/* of buffers */
	uint8_t *frames[VPFN_VIDEO_BUFFERS];	/* the device's own, if it has any */
};

int vpfn_video_open_camera(enum vpfn_vivid vivid, enum vpfn_scenery scenery,
			   struct vpfn_video *camera);
int vpfn_video_open_display(enum vpfn_vivid vivid, struct vpfn_video *display);

/* The two queues of one device: what goes in comes out turned by 180 degrees. */
int vpfn_video_open_turner(struct vpfn_video *in, struct vpfn_video *out);
void vpfn_video_turn(const uint8_t *frame, uint8_t *turned);

void vpfn_video_close(struct vpfn_video *video);

int vpfn_video_request(struct vpfn_video *video, enum v4l2_memory memory, unsigned int count);
int vpfn_video_release(struct vpfn_video *video);

/* @where is an address or a dma-buf; it is not used for buffers of the device's own. */
int vpfn_video_queue(const struct vpfn_video *video, unsigned int index, uintptr_t where);
int vpfn_video_dequeue(const struct vpfn_video *video, unsigned int *index);
int vpfn_video_start(const struct vpfn_video *video);
int vpfn_video_stop(const struct vpfn_video *video);

int vpfn_video_picture(enum vpfn_vivid vivid, uint8_t *frame);

#endif
