// SPDX-License-Identifier: MIT
/*
 * How do devices of V4L2 get at memory?
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_video.h"

#define MAX_NODES	64
#define ALLOCATORS	"/sys/module/vivid/parameters/allocators"
#define FRAME_WIDTH	128

/*
 * Two of vivid's devices, which differ in how they get at memory: nobody has to load the module
 * anew to change that. Each has a display, and a camera with two inputs: one for vivid's pattern,
 * and one for a cable from the display, which is never pulled out again. Whoever plugs a cable in
 * while vivid still works on the last one that was pulled out may find it pulled out, too
 * (update_hdmi_ctrls_work_handler() looks at the old choice, and makes the new one invalid).
 */
#define VIVID_LOAD							\
	"modprobe -r vivid; "						\
	"modprobe vivid n_devs=2 allocators=0,1 node_types=0x101,0x101 "	\
	"num_inputs=2,2 input_types=15,15 num_outputs=1,1 output_types=1,1"

/* The choice of vivid's control for a cable to the display of the first device; others follow. */
#define CABLE_FIRST	2

/* A queue that has no frame in this time will have none. */
#define FRAME_LIMIT_MS	60000

static int talk(const struct pfnmap_video *video, unsigned long request, void *arg)
{
	return ioctl(video->fd, request, arg) ? -errno : 0;
}

static int is_loaded(void)
{
	char text[256];

	return !pfnmap_text_read(ALLOCATORS, text, sizeof(text)) && !strncmp(text, "0,1,", 4);
}

static int load_vivid(void)
{
	if (!is_loaded())
		pfnmap_shell(VIVID_LOAD);
	return is_loaded() ? 0 : -ENODEV;
}

static int is_node(int fd, const char *bus, uint32_t capability)
{
	struct v4l2_capability capabilities = {};

	return !ioctl(fd, VIDIOC_QUERYCAP, &capabilities) &&
	       !strcmp((char *)capabilities.bus_info, bus) &&
	       capabilities.device_caps & capability;
}

static int open_node(const char *bus, uint32_t capability, struct pfnmap_video *video)
{
	for (int i = 0; i < MAX_NODES; i++) {
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_node(fd, bus, capability)) {
			video->fd = fd;
			return 0;
		}
		close(fd);
	}
	return -ENODEV;
}

static int open_vivid(enum pfnmap_vivid vivid, uint32_t capability, struct pfnmap_video *video)
{
	char bus[32];

	snprintf(bus, sizeof(bus), "platform:vivid-%03d", vivid);
	return load_vivid() ?: open_node(bus, capability, video);
}

static int set_control_by_id(const struct pfnmap_video *video, uint32_t id, int value)
{
	struct v4l2_control control = { .id = id };
	int err = talk(video, VIDIOC_G_CTRL, &control);

	if (err || control.value == value)
		return err;

	control.value = value;
	return talk(video, VIDIOC_S_CTRL, &control);
}

static int set_control(const struct pfnmap_video *video, const char *name, int value)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	while (!talk(video, VIDIOC_QUERYCTRL, &query)) {
		if (!strcmp((char *)query.name, name))
			return set_control_by_id(video, query.id, value);
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	return -ENOENT;
}

static int set_format(const struct pfnmap_video *video, uint32_t pixel_format, uint32_t height)
{
	struct v4l2_format format = {
		.type = video->type,
		.fmt.pix = {
			.width = FRAME_WIDTH,
			.height = height,
			.pixelformat = pixel_format,
		},
	};
	int err = talk(video, VIDIOC_S_FMT, &format);

	if (err)
		return err;
	return format.fmt.pix.pixelformat == pixel_format &&
	       format.fmt.pix.sizeimage == PFNMAP_FRAME_SIZE ? 0 : -EPROTO;
}

/* What is outside the rectangle would be black, and what is scaled would not be what was shown. */
static int select_all(const struct pfnmap_video *video, uint32_t target)
{
	struct v4l2_selection selection = {
		.type = video->type,
		.target = target,
		.r = { .width = FRAME_WIDTH, .height = FRAME_WIDTH },
	};

	return talk(video, VIDIOC_S_SELECTION, &selection);
}

static int set_up_vivid(const struct pfnmap_video *video)
{
	return set_format(video, V4L2_PIX_FMT_GREY, FRAME_WIDTH) ?:
	       select_all(video, V4L2_SEL_TGT_COMPOSE) ?: select_all(video, V4L2_SEL_TGT_CROP);
}

static int plug_in(enum pfnmap_vivid vivid, const struct pfnmap_video *camera)
{
	char name[32];

	snprintf(name, sizeof(name), "HDMI %03d-%d Is Connected To", vivid, PFNMAP_SEES_OUTPUT);
	return set_control(camera, name, CABLE_FIRST + (int)vivid);
}

/* No text in the picture that counts frames. */
static int set_up_camera(enum pfnmap_vivid vivid, enum pfnmap_scenery scenery,
			 const struct pfnmap_video *camera)
{
	int input = scenery, err = talk(camera, VIDIOC_S_INPUT, &input);

	if (!err && scenery == PFNMAP_SEES_OUTPUT)
		err = plug_in(vivid, camera);
	return err ?: set_control(camera, "OSD Text Mode", 2) ?: set_up_vivid(camera);
}

static int close_upon(int err, struct pfnmap_video *video)
{
	if (err)
		pfnmap_video_close(video);
	return err;
}

/**
 * pfnmap_video_open_camera:
 * @vivid: which of vivid's devices
 * @scenery: what it is to see
 * @camera: its queue
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_open_camera(enum pfnmap_vivid vivid, enum pfnmap_scenery scenery,
			     struct pfnmap_video *camera)
{
	int err;

	*camera = (struct pfnmap_video) { .fd = -1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	err = open_vivid(vivid, V4L2_CAP_VIDEO_CAPTURE, camera);
	if (err)
		return err;
	return close_upon(set_up_camera(vivid, scenery, camera), camera);
}

/**
 * pfnmap_video_open_display:
 * @vivid: which of vivid's devices
 * @display: its queue
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_open_display(enum pfnmap_vivid vivid, struct pfnmap_video *display)
{
	int err;

	*display = (struct pfnmap_video) { .fd = -1, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	err = open_vivid(vivid, V4L2_CAP_VIDEO_OUTPUT, display);
	if (err)
		return err;
	return close_upon(set_up_vivid(display), display);
}

/* Without both flips the device only copies. */
static int set_up_turner(const struct pfnmap_video *in, const struct pfnmap_video *out)
{
	return set_format(in, V4L2_PIX_FMT_RGB565, FRAME_WIDTH / 2) ?:
	       set_format(out, V4L2_PIX_FMT_RGB565, FRAME_WIDTH / 2) ?:
	       set_control_by_id(in, V4L2_CID_HFLIP, 1) ?:
	       set_control_by_id(in, V4L2_CID_VFLIP, 1);
}

/**
 * pfnmap_video_open_turner:
 * @in: the queue of what is to be turned
 * @out: the queue of what has been turned
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_open_turner(struct pfnmap_video *in, struct pfnmap_video *out)
{
	int err;

	*in = (struct pfnmap_video) { .fd = -1, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	*out = (struct pfnmap_video) { .fd = -1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	pfnmap_shell("modprobe -q vim2m");
	err = open_node("platform:vim2m", V4L2_CAP_VIDEO_M2M, in);
	if (err)
		return err;

	out->fd = dup(in->fd);
	err = out->fd < 0 ? -errno : set_up_turner(in, out);
	if (err)
		pfnmap_video_close(out);
	return close_upon(err, in);
}

/**
 * pfnmap_video_turn:
 * @frame: what goes in
 * @turned: what must come out: the same pixels of two bytes in reverse order
 */
void pfnmap_video_turn(const uint8_t *frame, uint8_t *turned)
{
	for (unsigned int i = 0; i < PFNMAP_FRAME_SIZE; i += 2)
		memcpy(turned + PFNMAP_FRAME_SIZE - 2 - i, frame + i, 2);
}

/**
 * pfnmap_video_close:
 * @video: a queue, which drops its buffers
 */
void pfnmap_video_close(struct pfnmap_video *video)
{
	if (video->fd < 0)
		return;

	pfnmap_video_release(video);
	close(video->fd);
	video->fd = -1;
}

static int map_frame(struct pfnmap_video *video, unsigned int index)
{
	struct v4l2_buffer buffer = {
		.index = index,
		.type = video->type,
		.memory = V4L2_MEMORY_MMAP,
	};
	int err = talk(video, VIDIOC_QUERYBUF, &buffer);
	void *map;

	if (err)
		return err;

	map = mmap(NULL, PFNMAP_FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, video->fd,
		   buffer.m.offset);
	if (map == MAP_FAILED)
		return -errno;
	video->frames[index] = map;
	return 0;
}

static int request(struct pfnmap_video *video, enum v4l2_memory memory, unsigned int count)
{
	struct v4l2_requestbuffers buffers = {
		.count = count,
		.type = video->type,
		.memory = memory,
	};
	int err = talk(video, VIDIOC_REQBUFS, &buffers);

	if (err)
		return err;

	video->memory = memory;
	video->count = buffers.count;
	return 0;
}

/**
 * pfnmap_video_request:
 * @video: a queue without buffers
 * @memory: what its buffers are to be; its own ones are mapped
 * @count: how many, at most PFNMAP_VIDEO_BUFFERS; a device may add some, which need no use
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_request(struct pfnmap_video *video, enum v4l2_memory memory, unsigned int count)
{
	int err = request(video, memory, count);

	if (!err && video->count < count)
		err = -ENOBUFS;
	for (unsigned int i = 0; !err && memory == V4L2_MEMORY_MMAP && i < count; i++)
		err = map_frame(video, i);
	return err;
}

/**
 * pfnmap_video_release:
 * @video: a queue, which stops and lets go of its buffers
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_release(struct pfnmap_video *video)
{
	for (unsigned int i = 0; i < PFNMAP_VIDEO_BUFFERS; i++) {
		if (video->frames[i])
			munmap(video->frames[i], PFNMAP_FRAME_SIZE);
		video->frames[i] = NULL;
	}
	if (!video->count)
		return 0;
	return pfnmap_video_stop(video) ?: request(video, video->memory, 0);
}

/**
 * pfnmap_video_queue:
 * @video: the queue
 * @index: of the buffer
 * @where: its memory
 *
 * The device takes hold of the memory.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_queue(const struct pfnmap_video *video, unsigned int index, uintptr_t where)
{
	struct v4l2_buffer buffer = {
		.index = index,
		.type = video->type,
		.memory = video->memory,
		.length = PFNMAP_FRAME_SIZE,
		.bytesused = PFNMAP_FRAME_SIZE,
		.field = V4L2_FIELD_NONE,
	};

	if (video->memory == V4L2_MEMORY_DMABUF)
		buffer.m.fd = where;
	else
		buffer.m.userptr = where;
	return talk(video, VIDIOC_QBUF, &buffer);
}

/**
 * pfnmap_video_dequeue:
 * @video: the queue, started
 * @index: of the buffer that the device is done with
 *
 * Returns: 0, -ETIME if there is none, -EIO if its frame is not whole, or a negative errno.
 */
int pfnmap_video_dequeue(const struct pfnmap_video *video, unsigned int *index)
{
	struct v4l2_buffer buffer = { .type = video->type, .memory = video->memory };
	struct pollfd wait = {
		.fd = video->fd,
		.events = V4L2_TYPE_IS_OUTPUT(video->type) ? POLLOUT : POLLIN,
	};
	int err;

	if (poll(&wait, 1, FRAME_LIMIT_MS) != 1)
		return -ETIME;

	err = talk(video, VIDIOC_DQBUF, &buffer);
	if (err)
		return err;

	*index = buffer.index;
	return buffer.flags & V4L2_BUF_FLAG_ERROR || buffer.bytesused != PFNMAP_FRAME_SIZE ?
	       -EIO : 0;
}

/**
 * pfnmap_video_start:
 * @video: a queue, which begins to work on its buffers
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_start(const struct pfnmap_video *video)
{
	int type = video->type;

	return talk(video, VIDIOC_STREAMON, &type);
}

/**
 * pfnmap_video_stop:
 * @video: a queue, which drops what is in it
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_stop(const struct pfnmap_video *video)
{
	int type = video->type;

	return talk(video, VIDIOC_STREAMOFF, &type);
}

static int take_picture(struct pfnmap_video *camera, uint8_t *frame)
{
	unsigned int index;
	int err = pfnmap_video_request(camera, V4L2_MEMORY_MMAP, 1) ?:
		  pfnmap_video_queue(camera, 0, 0) ?: pfnmap_video_start(camera) ?:
		  pfnmap_video_dequeue(camera, &index);

	if (!err)
		memcpy(frame, camera->frames[0], PFNMAP_FRAME_SIZE);
	return err;
}

/**
 * pfnmap_video_picture:
 * @vivid: which of vivid's devices
 * @frame: the frame that its camera always takes, in a buffer of its own
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_video_picture(enum pfnmap_vivid vivid, uint8_t *frame)
{
	struct pfnmap_video camera;
	int err = pfnmap_video_open_camera(vivid, PFNMAP_SEES_PATTERN, &camera);

	if (err)
		return err;

	err = take_picture(&camera, frame);
	pfnmap_video_close(&camera);
	return err;
}
