// SPDX-License-Identifier: MIT
/*
 * Devices of V4L2 that are given the memory of a process: VIDIOC_QBUF with V4L2_MEMORY_USERPTR,
 * which pins pages by the kernel's frame vector.
 *
 * Broken tests that would pass: a frame larger than the memory is refused before the memory is
 * looked up, and so is any memory by a queue without V4L2_MEMORY_USERPTR. Hence frames are as large
 * as a target, ordinary memory must work through the same calls, and a device that refuses a target
 * must then work with ordinary memory in the same buffer.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pins.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_video.h"

#define LEN		PFNMAP_TARGET_LEN
#define MAX_FRAMES	20

_Static_assert(LEN == PFNMAP_FRAME_SIZE, "a target holds a frame, and nothing else");

/*
 * A device at work on one buffer of memory, and what its work must look like. The partner is the
 * queue, with a buffer of its own, that shows or gives it the other half of the work.
 */
struct work {
	struct pfnmap_video queue;
	struct pfnmap_video partner;
	uint8_t expected[LEN];	/* what a queue that writes must have written */
};

struct device {
	int (*open)(struct work *work);
	/* Reads or writes the frame that has been queued. */
	int (*run)(struct work *work, const uint8_t *given);
	int writes;
};

static int start_both(const struct pfnmap_video *first, const struct pfnmap_video *second)
{
	return pfnmap_video_start(first) ?: pfnmap_video_start(second);
}

/* What goes into the one that turns pictures, if it is not a target. */
static void set_input(struct work *work)
{
	pfnmap_target_pattern(1, work->partner.frames[0]);
	pfnmap_video_turn(work->partner.frames[0], work->expected);
}

static int open_camera(struct work *work)
{
	return pfnmap_video_picture(PFNMAP_VIVID_BY_CPU, work->expected) ?:
	       pfnmap_video_open_camera(PFNMAP_VIVID_BY_CPU, PFNMAP_SEES_PATTERN, &work->queue);
}

static int run_camera(struct work *work, const uint8_t *given)
{
	unsigned int index;

	(void)given;
	return pfnmap_video_start(&work->queue) ?: pfnmap_video_dequeue(&work->queue, &index);
}

static int open_display(struct work *work)
{
	return pfnmap_video_open_display(PFNMAP_VIVID_BY_CPU, &work->queue) ?:
	       pfnmap_video_open_camera(PFNMAP_VIVID_BY_CPU, PFNMAP_SEES_OUTPUT, &work->partner) ?:
	       pfnmap_video_request(&work->partner, V4L2_MEMORY_MMAP, 1);
}

/*
 * A display keeps the last frame that it has; the camera before it tells what that is, if it does
 * not look too early.
 */
static int run_display(struct work *work, const uint8_t *given)
{
	for (unsigned int frame = 0; frame < MAX_FRAMES; frame++) {
		unsigned int index;
		int err = pfnmap_video_queue(&work->partner, 0, 0);

		if (!err && !frame)
			err = start_both(&work->queue, &work->partner);
		if (!err)
			err = pfnmap_video_dequeue(&work->partner, &index);
		if (err)
			return err;
		if (!memcmp(work->partner.frames[0], given, LEN))
			return 0;
	}
	return -EBADMSG;
}

static int open_turner_in(struct work *work)
{
	return pfnmap_video_open_turner(&work->queue, &work->partner) ?:
	       pfnmap_video_request(&work->partner, V4L2_MEMORY_MMAP, 1);
}

static int run_turner_in(struct work *work, const uint8_t *given)
{
	uint8_t turned[LEN];
	unsigned int index;
	int err = pfnmap_video_queue(&work->partner, 0, 0) ?:
		  start_both(&work->queue, &work->partner) ?:
		  pfnmap_video_dequeue(&work->partner, &index);

	if (err)
		return err;

	pfnmap_video_turn(given, turned);
	return memcmp(work->partner.frames[0], turned, LEN) ? -EBADMSG : 0;
}

static int open_turner_out(struct work *work)
{
	int err = pfnmap_video_open_turner(&work->partner, &work->queue) ?:
		  pfnmap_video_request(&work->partner, V4L2_MEMORY_MMAP, 1);

	if (!err)
		set_input(work);
	return err;
}

static int run_turner_out(struct work *work, const uint8_t *given)
{
	unsigned int index;

	(void)given;
	return pfnmap_video_queue(&work->partner, 0, 0) ?:
	       start_both(&work->partner, &work->queue) ?:
	       pfnmap_video_dequeue(&work->queue, &index);
}

static int use_ordinary(const struct device *device, struct work *work, uint8_t *memory)
{
	long acquired = pfnmap_pins_acquired();
	int err;

	pfnmap_target_pattern(2, memory);
	err = pfnmap_video_queue(&work->queue, 0, (uintptr_t)memory);
	if (err)
		return err;

	/* If these were not counted, a leaked pin would not be seen. */
	if (pfnmap_pins_acquired() < acquired + LEN / (long)PFNMAP_PAGE)
		return -ENODATA;

	err = device->run(work, memory) ?: pfnmap_video_release(&work->queue);
	if (err)
		return err;
	return device->writes && memcmp(memory, work->expected, LEN) ? -EBADMSG : 0;
}

/* Memory that is not the target, in the buffer that was to be the target. */
static int run_on_ordinary(const struct device *device, struct work *work)
{
	uint8_t *memory = pfnmap_anonymous(LEN);
	int err;

	if (!memory)
		return -ENOMEM;

	err = use_ordinary(device, work, memory);
	munmap(memory, LEN);
	return err;
}

/*
 * Nothing is pinned, and ordinary memory works in the same buffer. If it does not, the errno
 * differs from that of a refusal.
 */
static int check_refusal(const struct device *device, struct work *work, long pins)
{
	int err;

	if (pfnmap_pins_returned(pins))
		return -ESTALE;
	err = run_on_ordinary(device, work);
	if (err)
		return err == -EFAULT ? -EREMOTEIO : err;
	return pfnmap_pins_returned(pins) ? -ESTALE : 0;
}

static int run_on_target(const struct device *device, struct work *work,
			 const struct pfnmap_target *target)
{
	uint8_t given[LEN];
	int err = target->peek(target, given) ?: device->run(work, given) ?:
		  pfnmap_video_release(&work->queue);

	return err ?: pfnmap_target_matches(target, device->writes ? work->expected : given);
}

static int give(const struct device *device, struct work *work, const struct pfnmap_target *target)
{
	long pins = pfnmap_pins();
	int err = pins == PFNMAP_PINS_UNKNOWN ? -ENODATA :
		  pfnmap_video_request(&work->queue, V4L2_MEMORY_USERPTR, 1);

	if (err)
		return err;

	err = pfnmap_video_queue(&work->queue, 0, (uintptr_t)target->addr);
	if (!err)
		return run_on_target(device, work, target);
	return check_refusal(device, work, pins) ?: err;
}

static int give_to(const struct pfnmap_target *target, const void *arg)
{
	struct work work = { .queue.fd = -1, .partner.fd = -1 };
	const struct device *device = arg;
	int err = device->open(&work) ?: give(device, &work, target);

	pfnmap_video_close(&work.queue);
	pfnmap_video_close(&work.partner);
	return err;
}

struct dma_device {
	int (*open)(struct pfnmap_video *video);
};

static int open_dma_camera(struct pfnmap_video *video)
{
	return pfnmap_video_open_camera(PFNMAP_VIVID_BY_DMA, PFNMAP_SEES_PATTERN, video);
}

static int open_dma_display(struct pfnmap_video *video)
{
	return pfnmap_video_open_display(PFNMAP_VIVID_BY_DMA, video);
}

/*
 * A vivid that gets at memory by DMA has no V4L2_MEMORY_USERPTR at all (vivid_create_queue()):
 * the queue says so when it is asked for such buffers, and has those of the other kind.
 */
static int give_to_dma(const struct pfnmap_target *target, const void *arg)
{
	const struct dma_device *device = arg;
	struct pfnmap_video video;
	int err = device->open(&video);

	if (err)
		return err;

	err = pfnmap_video_request(&video, V4L2_MEMORY_USERPTR, 1);
	if (!err)
		err = pfnmap_video_queue(&video, 0, (uintptr_t)target->addr);
	else if (pfnmap_video_request(&video, V4L2_MEMORY_DMABUF, 1))
		err = -EREMOTEIO;
	pfnmap_video_close(&video);
	return err;
}

static const struct device camera = { open_camera, run_camera, 1 };
static const struct device display = { open_display, run_display, 0 };
static const struct device turner_in = { open_turner_in, run_turner_in, 0 };
static const struct device turner_out = { open_turner_out, run_turner_out, 1 };

static const struct dma_device dma_camera = { open_dma_camera };
static const struct dma_device dma_display = { open_dma_display };

static const struct pfnmap_user vivid_users[] = {
	{ .name = "vivid-capture", .on_special = -EFAULT, .call = give_to, .arg = &camera,
	  .needs = "CONFIG_VIDEO_VIVID" },
	{ .name = "vivid-output", .on_special = -EFAULT, .call = give_to, .arg = &display,
	  .needs = "CONFIG_VIDEO_VIVID" },
	{ .name = "vivid-dma-capture", .on_special = -EINVAL, .on_ordinary = -EINVAL,
	  .call = give_to_dma, .arg = &dma_camera, .needs = "CONFIG_VIDEO_VIVID" },
	{ .name = "vivid-dma-output", .on_special = -EINVAL, .on_ordinary = -EINVAL,
	  .call = give_to_dma, .arg = &dma_display, .needs = "CONFIG_VIDEO_VIVID" },
};

static const struct pfnmap_user vim2m_users[] = {
	{ .name = "vim2m-in", .on_special = -EFAULT, .call = give_to, .arg = &turner_in,
	  .needs = "CONFIG_VIDEO_VIM2M" },
	{ .name = "vim2m-out", .on_special = -EFAULT, .call = give_to, .arg = &turner_out,
	  .needs = "CONFIG_VIDEO_VIM2M" },
};

const struct pfnmap_user_family pfnmap_video_families[] = {
	PFNMAP_FAMILY("userptr-vivid",
		      "A camera and a display do not get the pages, and work with others at once.",
		      vivid_users),
	PFNMAP_FAMILY("userptr-vim2m",
		      "A device that turns pictures gets the pages at neither end.",
		      vim2m_users),
};

const size_t pfnmap_video_family_count = ARRAY_SIZE(pfnmap_video_families);
