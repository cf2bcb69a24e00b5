// SPDX-License-Identifier: MIT
/*
 * What does a device that knows nothing of vpfn write into a shared buffer?
 */
#include <errno.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vpfn_camera.h"
#include "vpfn_card.h"
#include "vpfn_consumer.h"
#include "vpfn_disk.h"

#define CAPTURE		V4L2_BUF_TYPE_VIDEO_CAPTURE
#define ALLOCATORS	"/sys/module/vivid/parameters/allocators"

/* A camera that has no frame in this time will have none. */
#define FRAME_LIMIT_MS	60000

static int talk(const struct vpfn_camera *camera, unsigned long request, void *arg)
{
	return ioctl(camera->fd, request, arg) ? -errno : 0;
}

/* The module's first device: the others are not there. */
static int load(enum vpfn_camera_access access)
{
	char text[256], command[64];

	if (!vpfn_text_read(ALLOCATORS, text, sizeof(text)) && atoi(text) == (int)access)
		return 0;

	snprintf(command, sizeof(command), "modprobe -r vivid; modprobe vivid allocators=%d",
		 access);
	return vpfn_shell(command);
}

static int set_control(const struct vpfn_camera *camera, const char *name, int value)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	while (!talk(camera, VIDIOC_QUERYCTRL, &query)) {
		struct v4l2_control control = { .id = query.id, .value = value };

		if (!strcmp((char *)query.name, name))
			return talk(camera, VIDIOC_S_CTRL, &control);
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	return -ENOENT;
}

/* One byte a pixel, and no text in it that counts frames. */
static int set_up(struct vpfn_camera *camera)
{
	struct v4l2_format format = {
		.type = CAPTURE,
		.fmt.pix = { .width = 16, .height = 16, .pixelformat = V4L2_PIX_FMT_GREY },
	};
	int err = talk(camera, VIDIOC_S_FMT, &format) ?: set_control(camera, "OSD Text Mode", 2);

	if (!err && format.fmt.pix.pixelformat != V4L2_PIX_FMT_GREY)
		err = -EPROTO;
	camera->frame_size = format.fmt.pix.sizeimage;
	return err;
}

/**
 * vpfn_camera_open:
 * @access: how the camera is to get at buffers
 * @camera: the camera
 *
 * Returns: 0, -ENODEV if the kernel lacks vivid, or another negative errno.
 */
int vpfn_camera_open(enum vpfn_camera_access access, struct vpfn_camera *camera)
{
	int err = load(access);

	*camera = (struct vpfn_camera) { .fd = -1 };
	if (err)
		return -ENODEV;

	camera->fd = vpfn_vivid_open();
	if (camera->fd < 0)
		return camera->fd;

	err = set_up(camera);
	if (err)
		vpfn_camera_close(camera);
	return err;
}

/**
 * vpfn_camera_close:
 * @camera: the camera, which drops its buffers
 */
void vpfn_camera_close(struct vpfn_camera *camera)
{
	close(camera->fd);
	camera->fd = -1;
}

static int request_buffers(const struct vpfn_camera *camera, unsigned int count,
			   enum v4l2_memory memory)
{
	struct v4l2_requestbuffers request = { .count = count, .type = CAPTURE, .memory = memory };

	return talk(camera, VIDIOC_REQBUFS, &request);
}

/* Waits for one frame. */
static int stream(const struct vpfn_camera *camera, enum v4l2_memory memory)
{
	struct v4l2_buffer buffer = { .type = CAPTURE, .memory = memory };
	struct pollfd wait = { .fd = camera->fd, .events = POLLIN };
	int type = CAPTURE, err;

	err = talk(camera, VIDIOC_STREAMON, &type);
	if (err)
		return err;

	if (poll(&wait, 1, FRAME_LIMIT_MS) != 1)
		err = -ETIME;
	else
		err = talk(camera, VIDIOC_DQBUF, &buffer);
	if (!err && (buffer.flags & V4L2_BUF_FLAG_ERROR || buffer.bytesused != camera->frame_size))
		err = -EIO;

	return talk(camera, VIDIOC_STREAMOFF, &type) ?: err;
}

static int picture(const struct vpfn_camera *camera, void *frame)
{
	struct v4l2_buffer buffer = { .type = CAPTURE, .memory = V4L2_MEMORY_MMAP };
	void *map;
	int err = talk(camera, VIDIOC_QUERYBUF, &buffer);

	if (err)
		return err;

	map = mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, camera->fd, buffer.m.offset);
	if (map == MAP_FAILED)
		return -errno;

	err = talk(camera, VIDIOC_QBUF, &buffer) ?: stream(camera, V4L2_MEMORY_MMAP);
	if (!err)
		memcpy(frame, map, camera->frame_size);
	munmap(map, buffer.length);
	return err;
}

/**
 * vpfn_camera_picture:
 * @camera: the camera
 * @frame: where a frame goes, taken without any shared buffer
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_camera_picture(const struct vpfn_camera *camera, void *frame)
{
	int err = request_buffers(camera, 1, V4L2_MEMORY_MMAP);

	if (!err)
		err = picture(camera, frame);
	return request_buffers(camera, 0, V4L2_MEMORY_MMAP) ?: err;
}

/**
 * vpfn_camera_start:
 * @camera: the camera, which will capture into one buffer of somebody else's
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_camera_start(const struct vpfn_camera *camera)
{
	return request_buffers(camera, 1, V4L2_MEMORY_DMABUF);
}

/**
 * vpfn_camera_queue:
 * @camera: the camera
 * @dmabuf: the buffer for a frame, of which the camera takes hold
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_camera_queue(const struct vpfn_camera *camera, int dmabuf)
{
	struct v4l2_buffer buffer = {
		.type = CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
		.m.fd = dmabuf,
		.length = camera->frame_size,
	};

	return talk(camera, VIDIOC_QBUF, &buffer);
}

/**
 * vpfn_camera_expose:
 * @camera: the camera, which writes one frame into the buffer that is queued, and keeps that
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_camera_expose(const struct vpfn_camera *camera)
{
	return stream(camera, V4L2_MEMORY_DMABUF);
}

/**
 * vpfn_camera_release:
 * @camera: the camera, which lets go of its buffer
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_camera_release(const struct vpfn_camera *camera)
{
	return request_buffers(camera, 0, V4L2_MEMORY_DMABUF);
}
