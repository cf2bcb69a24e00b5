// SPDX-License-Identifier: MIT
/*
 * Which drivers give a process a mapping?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xf86drm.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_foreign.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_source.h"
#include "pfnmap/pfnmap_vma.h"

#define MAX_NODES	64

/* Two large pages, so that the target can lie in the middle of the second. */
#define SIZE		(2 * PFNMAP_2M)

/**
 * pfnmap_source_inside:
 * @source: the source, mapped
 *
 * Returns: where the target lies in the mapping: in the middle of a leaf, with mapping on both
 * sides of it.
 */
uint64_t pfnmap_source_inside(const struct pfnmap_source *source)
{
	return source->size - source->size / 4;
}

/**
 * pfnmap_source_map:
 * @source: the source
 * @file: who is asked for the mapping
 * @offset: where in it the memory begins, for mmap()
 * @size: how many bytes
 *
 * Maps the memory at an address that allows large leaves, and puts the target into it.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_source_map(struct pfnmap_source *source, int file, uint64_t offset, size_t size)
{
	void *area, *map;
	int err = pfnmap_reserve(size, size < PFNMAP_1G ? PFNMAP_2M : PFNMAP_1G, &area);

	if (err)
		return err;

	err = pfnmap_map_at(file, offset, size, area, MAP_FIXED, &map);
	if (err) {
		munmap(area, size);
		return err;
	}
	source->map = map;
	source->size = size;
	source->target.addr = source->map + pfnmap_source_inside(source);
	source->target.map = source->map;
	source->target.map_len = size;
	source->target.data = source;
	return 0;
}

static int peek_twin(const struct pfnmap_target *target, void *bytes)
{
	const struct pfnmap_source *source = target->data;

	memcpy(bytes, source->twin + pfnmap_source_inside(source), PFNMAP_TARGET_LEN);
	return 0;
}

static int poke_twin(const struct pfnmap_target *target, const void *bytes)
{
	const struct pfnmap_source *source = target->data;

	memcpy(source->twin + pfnmap_source_inside(source), bytes, PFNMAP_TARGET_LEN);
	return 0;
}

/**
 * pfnmap_source_use_twin:
 * @source: the source, mapped
 * @file: who gives another mapping of the same memory
 * @offset: where in it the memory begins
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_source_use_twin(struct pfnmap_source *source, int file, uint64_t offset)
{
	void *twin;
	int err = pfnmap_map(file, offset, source->size, PROT_READ | PROT_WRITE, &twin);

	if (err)
		return err;

	source->twin = twin;
	source->target.peek = peek_twin;
	source->target.poke = poke_twin;
	return 0;
}

static int peek_file(const struct pfnmap_target *target, void *bytes)
{
	const struct pfnmap_source *source = target->data;

	return pfnmap_moved(pread(source->file, bytes, PFNMAP_TARGET_LEN, source->offset),
			    PFNMAP_TARGET_LEN);
}

static int poke_file(const struct pfnmap_target *target, const void *bytes)
{
	const struct pfnmap_source *source = target->data;

	return pfnmap_moved(pwrite(source->file, bytes, PFNMAP_TARGET_LEN, source->offset),
			    PFNMAP_TARGET_LEN);
}

/**
 * pfnmap_source_use_file:
 * @source: the source, mapped
 * @offset: where the memory begins in its file, which can be read and written
 *
 * Returns: 0.
 */
int pfnmap_source_use_file(struct pfnmap_source *source, uint64_t offset)
{
	source->offset = offset + pfnmap_source_inside(source);
	source->target.peek = peek_file;
	source->target.poke = poke_file;
	return 0;
}

static void unmap(char *map, size_t size)
{
	if (map)
		munmap(map, size);
}

/**
 * pfnmap_source_drop:
 * @source: the source, whose mappings and files go, and the memory with them
 */
void pfnmap_source_drop(struct pfnmap_source *source)
{
	unmap(source->map, source->size);
	unmap(source->twin, source->size);
	if (source->file >= 0)
		close(source->file);
	if (source->owner >= 0)
		close(source->owner);
}

static int open_card(const char *path, char *driver, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	drmVersionPtr version;

	if (fd < 0)
		return -errno;

	version = drmGetVersion(fd);
	snprintf(driver, size, "%s", version ? version->name : "?");
	drmFreeVersion(version);
	return fd;
}

/* Two that need no device, and those of the display devices, which nothing else may have loaded. */
static void load_drivers(void)
{
	static bool loaded;

	if (loaded)
		return;
	loaded = true;
	pfnmap_shell("modprobe -q vgem; modprobe -q vkms; "
		     "cat /sys/bus/pci/devices/*/modalias | grep bc03 | xargs -n 1 modprobe -q");
}

/* The first card of a driver. */
static int open_driver(const char *driver)
{
	char path[32], name[32];

	for (unsigned int minor = 0; minor < MAX_NODES; minor++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%u", minor);
		fd = open_card(path, name, sizeof(name));
		if (fd >= 0 && !strcmp(name, driver))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

struct dumb {
	uint32_t handle;
	uint64_t size;		/* what the driver makes of it */
	uint64_t offset;
};

static int create_dumb(int fd, struct dumb *dumb)
{
	struct drm_mode_create_dumb create = { .width = 1024, .height = SIZE / 4096, .bpp = 32 };
	struct drm_mode_map_dumb map = {};

	/* Many drivers have none. */
	if (drmIoctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		return -ENOENT;

	map.handle = create.handle;
	if (drmIoctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map))
		return -errno;
	*dumb = (struct dumb) { create.handle, create.size, map.offset };
	return 0;
}

/* The device that was chosen. */
static char chosen[128];

/**
 * pfnmap_source_set_card:
 * @path: the primary node of the device whose dumb buffers are asked about
 */
void pfnmap_source_set_card(const char *path)
{
	snprintf(chosen, sizeof(chosen), "%s", path);
}

static int open_device(struct pfnmap_source *source, struct dumb *dumb)
{
	const char *driver = source->kind->driver;

	if (driver) {
		load_drivers();
		source->owner = open_driver(driver);
	} else {
		source->owner = open_card(chosen, source->name, sizeof(source->name));
	}
	return source->owner < 0 ? source->owner : create_dumb(source->owner, dumb);
}

static int open_dumb(struct pfnmap_source *source, unsigned int n)
{
	struct dumb dumb;

	return (n ? -ENOENT : open_device(source, &dumb)) ?:
	       pfnmap_source_map(source, source->owner, dumb.offset, dumb.size) ?:
	       pfnmap_source_use_twin(source, source->owner, dumb.offset);
}

static int open_dma_buf(struct pfnmap_source *source, unsigned int n)
{
	struct dumb dumb;
	int err = n ? -ENOENT : open_device(source, &dumb);

	if (err)
		return err;

	if (!source->kind->driver)
		strncat(source->name, "-dma-buf", sizeof(source->name) - strlen(source->name) - 1);
	if (drmPrimeHandleToFD(source->owner, dumb.handle, DRM_CLOEXEC | DRM_RDWR, &source->file))
		return -ENOENT;
	return pfnmap_source_map(source, source->file, 0, dumb.size) ?:
	       pfnmap_source_use_twin(source, source->owner, dumb.offset);
}

/* The twin is a mapping that came about in another way, if that is possible. */
static int map_foreign(struct pfnmap_source *source, const struct pfnmap_foreign *foreign)
{
	source->file = foreign->dmabuf;
	source->twin = foreign->map;
	source->size = foreign->size;
	source->target.peek = peek_twin;
	source->target.poke = poke_twin;
	return pfnmap_source_map(source, source->file, 0, foreign->size);
}

static int open_udmabuf(struct pfnmap_source *source, unsigned int n)
{
	struct pfnmap_foreign foreign;

	return (n ? -ENOENT : pfnmap_foreign_from_memfd(SIZE, &foreign)) ?:
	       map_foreign(source, &foreign);
}

static int open_heap(struct pfnmap_source *source, unsigned int n)
{
	struct pfnmap_foreign foreign;

	return (n ? -ENOENT : pfnmap_foreign_from_heap(SIZE, &foreign)) ?:
	       map_foreign(source, &foreign);
}

static int open_memfd(struct pfnmap_source *source, unsigned int n)
{
	if (n)
		return -ENOENT;

	source->file = memfd_create("pfnmap-source", MFD_CLOEXEC);
	if (source->file < 0 || ftruncate(source->file, SIZE))
		return -errno;
	return pfnmap_source_map(source, source->file, 0, SIZE) ?:
	       pfnmap_source_use_file(source, 0);
}

static bool is_vim2m(int fd)
{
	struct v4l2_capability capability = {};

	return !ioctl(fd, VIDIOC_QUERYCAP, &capability) &&
	       !strcmp((char *)capability.driver, "vim2m");
}

static int open_vim2m(void)
{
	static bool loaded;
	char path[32];

	if (!loaded)
		pfnmap_shell("modprobe -q vim2m");
	loaded = true;
	for (unsigned int i = 0; i < MAX_NODES; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/video%u", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_vim2m(fd))
			return fd;
		close(fd);
	}
	return -ENOENT;
}

/* Nothing streams: the memory of the buffer is ours alone. */
static int open_vb2(struct pfnmap_source *source, unsigned int n)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.fmt.pix = { .width = 640, .height = 480, .pixelformat = V4L2_PIX_FMT_RGB565 },
	};
	struct v4l2_requestbuffers request = {
		.count = 1,
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.memory = V4L2_MEMORY_MMAP,
	};
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.memory = V4L2_MEMORY_MMAP,
	};

	source->file = n ? -ENOENT : open_vim2m();
	if (source->file < 0)
		return source->file;
	if (ioctl(source->file, VIDIOC_S_FMT, &format) ||
	    ioctl(source->file, VIDIOC_REQBUFS, &request) ||
	    ioctl(source->file, VIDIOC_QUERYBUF, &buffer))
		return -errno;
	return pfnmap_source_map(source, source->file, buffer.m.offset,
			       buffer.length & ~(4 * PFNMAP_PAGE - 1)) ?:
	       pfnmap_source_use_twin(source, source->file, buffer.m.offset);
}

#define DUMB(name_, driver_, describe_)						\
	{ .name = name_, .driver = driver_, .describe = describe_,			\
	  .open = open_dumb, .close = pfnmap_source_drop }
#define EXPORT(name_, driver_, describe_)						\
	{ .name = name_, .driver = driver_, .describe = describe_, .is_export = true,	\
	  .open = open_dma_buf, .close = pfnmap_source_drop }

const struct pfnmap_source_kind pfnmap_device_kinds[] = {
	DUMB("dumb-buffer", NULL, "A dumb buffer of the device."),
	EXPORT("dma-buf", NULL, "A dumb buffer of the device, mapped by its dma-buf."),
};

const size_t pfnmap_device_kind_count = ARRAY_SIZE(pfnmap_device_kinds);

const struct pfnmap_source_kind pfnmap_machine_kinds[] = {
	DUMB("vgem", "vgem", "A dumb buffer of vgem."),
	DUMB("vkms", "vkms", "A dumb buffer of vkms."),
	DUMB("bochs-drm", "bochs-drm", "A dumb buffer of QEMU's display device."),
	EXPORT("vgem-dma-buf", "vgem", "A dumb buffer of vgem, mapped by its dma-buf."),
	EXPORT("vkms-dma-buf", "vkms", "A dumb buffer of vkms, mapped by its dma-buf."),
	EXPORT("bochs-drm-dma-buf", "bochs-drm", "That of QEMU's display, mapped by its dma-buf."),
	{
		.name = "udmabuf",
		.describe = "A dma-buf made of the pages of a memfd.",
		.open = open_udmabuf,
		.close = pfnmap_source_drop,
	}, {
		.name = "system-heap",
		.describe = "A dma-buf from the heap of system memory.",
		.open = open_heap,
		.close = pfnmap_source_drop,
	}, {
		.name = "vb2-vmalloc",
		.describe = "A buffer of a video device, made of pages that the kernel may pin.",
		.gives_pages = true,
		.open = open_vb2,
		.close = pfnmap_source_drop,
	}, {
		.name = "memfd",
		.describe = "A file in memory, in which no driver has a part.",
		.gives_pages = true,
		.open = open_memfd,
		.close = pfnmap_source_drop,
	},
};

const size_t pfnmap_machine_kind_count = ARRAY_SIZE(pfnmap_machine_kinds);

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* An entry that is still there needs no fault. */
static int kept(const struct pfnmap_target *target)
{
	long before;

	/* The stack may be shared with a child that is gone: writing to it is a fault. */
	faults();
	before = faults();
	pfnmap_load(target->addr);
	return faults() == before ? 0 : -ESTALE;
}

static int look_at_vma(struct pfnmap_source *source)
{
	int is_io = pfnmap_vma_flag(source->target.addr, "io");

	source->is_io = is_io > 0;
	return is_io < 0 ? is_io : 0;
}

/**
 * pfnmap_source_open:
 * @source: the source, which pfnmap_source_close() closes if this returns 0
 * @kind: the kind of it
 * @n: which one of this kind
 *
 * Returns: 0, -ENOENT if the machine has fewer, or another negative errno.
 */
int pfnmap_source_open(struct pfnmap_source *source, const struct pfnmap_source_kind *kind,
		       unsigned int n)
{
	int err;

	*source = (struct pfnmap_source) { .kind = kind, .file = -1, .owner = -1 };
	snprintf(source->name, sizeof(source->name), "%s", kind->name);
	err = kind->open(source, n);
	if (!err && source->map)
		err = look_at_vma(source);
	if (err) {
		pfnmap_source_close(source);
		return err;
	}
	if (!source->map)
		return 0;

	pfnmap_load(source->target.addr);
	if (!kind->gives_pages && !source->target.kept)
		source->target.kept = kept;
	return 0;
}

/**
 * pfnmap_source_close:
 * @source: the source; if it is not open nothing happens
 */
void pfnmap_source_close(struct pfnmap_source *source)
{
	if (!source->kind)
		return;

	source->kind->close(source);
	source->kind = NULL;
}
