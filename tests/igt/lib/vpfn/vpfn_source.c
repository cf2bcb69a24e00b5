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
#include <unistd.h>
#include <xf86drm.h>

#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_foreign.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_vma.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_source.h"

#define MAX_NODES	64

/* Two large pages, so that the target can lie in the middle of the second. */
#define SIZE		(2 * PFNMAP_2M)

/* Where a target lies in a mapping: with mapping on both sides of it, and in a leaf's middle. */
static uint64_t inside(const struct vpfn_source *source)
{
	return source->size - source->size / 4;
}

/**
 * vpfn_source_map:
 * @source: the source
 * @file: who is asked for the mapping
 * @offset: where in it the memory begins, for mmap()
 * @size: how many bytes
 *
 * Maps the memory at an address that allows large leaves, and puts the target into it.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_source_map(struct vpfn_source *source, int file, uint64_t offset, size_t size)
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
	source->target.addr = source->map + inside(source);
	source->target.map = source->map;
	source->target.map_len = size;
	source->target.data = source;
	return 0;
}

static int peek_twin(const struct pfnmap_target *target, void *bytes)
{
	const struct vpfn_source *source = target->data;

	memcpy(bytes, source->twin + inside(source), PFNMAP_TARGET_LEN);
	return 0;
}

static int poke_twin(const struct pfnmap_target *target, const void *bytes)
{
	const struct vpfn_source *source = target->data;

	memcpy(source->twin + inside(source), bytes, PFNMAP_TARGET_LEN);
	return 0;
}

/**
 * vpfn_source_use_twin:
 * @source: the source, mapped
 * @file: who gives another mapping of the same memory
 * @offset: where in it the memory begins
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_source_use_twin(struct vpfn_source *source, int file, uint64_t offset)
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

static int moved(ssize_t n)
{
	if (n < 0)
		return -errno;
	return n == PFNMAP_TARGET_LEN ? 0 : -ENODATA;
}

static int peek_file(const struct pfnmap_target *target, void *bytes)
{
	const struct vpfn_source *source = target->data;

	return moved(pread(source->file, bytes, PFNMAP_TARGET_LEN, source->offset));
}

static int poke_file(const struct pfnmap_target *target, const void *bytes)
{
	const struct vpfn_source *source = target->data;

	return moved(pwrite(source->file, bytes, PFNMAP_TARGET_LEN, source->offset));
}

/**
 * vpfn_source_use_file:
 * @source: the source, mapped
 * @offset: where the memory begins in its file, which can be read and written
 *
 * Returns: 0.
 */
int vpfn_source_use_file(struct vpfn_source *source, uint64_t offset)
{
	source->offset = offset + inside(source);
	source->target.peek = peek_file;
	source->target.poke = poke_file;
	return 0;
}

static int peek_engine(const struct pfnmap_target *target, void *bytes)
{
	const struct vpfn_source *source = target->data;
	int err = vpfn_copy(source->owner, &source->aside, 0, &source->bo, inside(source),
			    PFNMAP_TARGET_LEN);

	if (!err)
		memcpy(bytes, source->aside_map, PFNMAP_TARGET_LEN);
	return err;
}

static int poke_engine(const struct pfnmap_target *target, const void *bytes)
{
	const struct vpfn_source *source = target->data;

	memcpy(source->aside_map, bytes, PFNMAP_TARGET_LEN);
	return vpfn_copy(source->owner, &source->bo, inside(source), &source->aside, 0,
			 PFNMAP_TARGET_LEN);
}

/**
 * vpfn_source_use_engine:
 * @source: the source, mapped, whose memory is a buffer of vpfn
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_source_use_engine(struct vpfn_source *source)
{
	void *map;
	int err = vpfn_bo_create_in(source->owner, PFNMAP_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
				    &source->aside) ?:
		  vpfn_bo_map(source->owner, &source->aside, &map);

	if (err)
		return err;

	source->aside_map = map;
	source->target.peek = peek_engine;
	source->target.poke = poke_engine;
	return 0;
}

static void unmap(char *map, size_t size)
{
	if (map)
		munmap(map, size);
}

/**
 * vpfn_source_drop:
 * @source: the source, whose mappings and files go, and the memory with them
 */
void vpfn_source_drop(struct vpfn_source *source)
{
	unmap(source->map, source->size);
	unmap(source->twin, source->size);
	unmap(source->aside_map, PFNMAP_TARGET_LEN);
	if (source->file >= 0)
		close(source->file);
	if (source->owner >= 0)
		close(source->owner);
}

static int open_card(unsigned int minor, char *driver, size_t size)
{
	drmVersionPtr version;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/dri/card%u", minor);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	version = drmGetVersion(fd);
	snprintf(driver, size, "%s", version ? version->name : "?");
	drmFreeVersion(version);
	return fd;
}

/**
 * vpfn_source_has_card:
 * @driver: name of a DRM driver, or NULL for any
 *
 * Returns: whether there is a card of it.
 */
bool vpfn_source_has_card(const char *driver)
{
	char name[32];

	for (unsigned int minor = 0; minor < MAX_NODES; minor++) {
		int fd = open_card(minor, name, sizeof(name));

		if (fd < 0)
			continue;
		close(fd);
		if (!driver || !strcmp(name, driver))
			return true;
	}
	return false;
}

/* Of several cards of one driver one is enough. */
static bool is_first_of_driver(unsigned int minor, const char *driver)
{
	char other[32];

	for (unsigned int i = 0; i < minor; i++) {
		int fd = open_card(i, other, sizeof(other));

		if (fd < 0)
			continue;
		close(fd);
		if (!strcmp(other, driver))
			return false;
	}
	return true;
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

struct dumb {
	uint32_t handle;
	uint64_t size;		/* what the driver makes of it */
	uint64_t offset;
};

static int create_dumb(int fd, struct dumb *dumb)
{
	struct drm_mode_create_dumb create = { .width = 1024, .height = SIZE / 4096, .bpp = 32 };
	struct drm_mode_map_dumb map = {};

	if (drmIoctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		return -errno;

	map.handle = create.handle;
	if (drmIoctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map))
		return -errno;
	*dumb = (struct dumb) { create.handle, create.size, map.offset };
	return 0;
}

static int open_dumb(struct vpfn_source *source, unsigned int n);

/* A kind of that name which is made of other memory does not count. */
static bool has_own_kind(const char *driver)
{
	for (size_t i = 0; i < vpfn_source_kind_count; i++) {
		const struct vpfn_source_kind *kind = &vpfn_source_kinds[i];

		if (kind->open == open_dumb && !strcmp(kind->name, driver))
			return true;
	}
	return false;
}

static bool is_wanted(const struct vpfn_source *source, const char *driver)
{
	switch (source->kind->drivers) {
	case VPFN_DRIVER_OF_THAT_NAME:
		return !strcmp(driver, source->kind->name);
	case VPFN_OTHER_DRIVERS:
		return !has_own_kind(driver);
	default:
		return true;
	}
}

/* A picture of no size is refused by those who would make one. */
static bool has_dumb_buffers(int fd)
{
	struct drm_mode_create_dumb nothing = {};

	return drmIoctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &nothing) && errno == EINVAL;
}

/* The n-th wanted driver's first card. */
static int open_nth_driver(struct vpfn_source *source, unsigned int n)
{
	char driver[sizeof(source->name)];

	load_drivers();
	for (unsigned int minor = 0; minor < MAX_NODES; minor++) {
		int fd = open_card(minor, driver, sizeof(driver));

		if (fd < 0)
			continue;
		if (is_wanted(source, driver) && has_dumb_buffers(fd) &&
		    is_first_of_driver(minor, driver) && !n--) {
			memcpy(source->name, driver, sizeof(driver));
			return fd;
		}
		close(fd);
	}
	return -ENOENT;
}

static int open_nth_dumb(struct vpfn_source *source, unsigned int n, struct dumb *dumb)
{
	source->owner = open_nth_driver(source, n);
	return source->owner < 0 ? source->owner : create_dumb(source->owner, dumb);
}

static int open_dumb(struct vpfn_source *source, unsigned int n)
{
	struct dumb dumb;

	return open_nth_dumb(source, n, &dumb) ?:
	       vpfn_source_map(source, source->owner, dumb.offset, dumb.size) ?:
	       vpfn_source_use_twin(source, source->owner, dumb.offset);
}

static int open_dma_buf(struct vpfn_source *source, unsigned int n)
{
	struct dumb dumb;
	int err = open_nth_dumb(source, n, &dumb);

	if (err)
		return err;

	strncat(source->name, "-dma-buf", sizeof(source->name) - strlen(source->name) - 1);
	if (drmPrimeHandleToFD(source->owner, dumb.handle, DRM_CLOEXEC | DRM_RDWR, &source->file))
		return -errno;
	return vpfn_source_map(source, source->file, 0, dumb.size) ?:
	       vpfn_source_use_twin(source, source->owner, dumb.offset);
}

/* The twin is a mapping that came about in another way, if that is possible. */
static int map_foreign(struct vpfn_source *source, const struct pfnmap_foreign *foreign)
{
	source->file = foreign->dmabuf;
	source->twin = foreign->map;
	source->size = foreign->size;
	source->target.peek = peek_twin;
	source->target.poke = poke_twin;
	return vpfn_source_map(source, source->file, 0, foreign->size);
}

static int open_udmabuf(struct vpfn_source *source, unsigned int n)
{
	struct pfnmap_foreign foreign;

	return (n ? -ENOENT : pfnmap_foreign_from_memfd(SIZE, &foreign)) ?:
	       map_foreign(source, &foreign);
}

static int open_heap(struct vpfn_source *source, unsigned int n)
{
	struct pfnmap_foreign foreign;

	return (n ? -ENOENT : pfnmap_foreign_from_heap(SIZE, &foreign)) ?:
	       map_foreign(source, &foreign);
}

static int open_memfd(struct vpfn_source *source, unsigned int n)
{
	if (n)
		return -ENOENT;

	source->file = memfd_create("vpfn-source", MFD_CLOEXEC);
	if (source->file < 0 || ftruncate(source->file, SIZE))
		return -errno;
	return vpfn_source_map(source, source->file, 0, SIZE) ?: vpfn_source_use_file(source, 0);
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
static int open_vb2(struct vpfn_source *source, unsigned int n)
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
	return vpfn_source_map(source, source->file, buffer.m.offset,
			       buffer.length & ~(4 * PFNMAP_PAGE - 1)) ?:
	       vpfn_source_use_twin(source, source->file, buffer.m.offset);
}

const struct vpfn_source_kind vpfn_source_kinds[] = {
	{
		.name = "vpfn",
		.describe = "Buffers of vpfn, by leaves of each size, in device and system memory.",
		.open = vpfn_source_open_vpfn,
		.close = vpfn_source_close_vpfn,
	}, {
		.name = "vgem",
		.describe = "A dumb buffer of vgem.",
		.open = open_dumb,
		.close = vpfn_source_drop,
	}, {
		.name = "vkms",
		.describe = "A dumb buffer of vkms.",
		.open = open_dumb,
		.close = vpfn_source_drop,
	}, {
		.name = "bochs-drm",
		.describe = "A dumb buffer of QEMU's display device.",
		.open = open_dumb,
		.close = vpfn_source_drop,
	}, {
		.name = "dumb-buffer",
		.describe = "A dumb buffer of each other DRM driver that has a card.",
		.drivers = VPFN_OTHER_DRIVERS,
		.open = open_dumb,
		.close = vpfn_source_drop,
	}, {
		.name = "dma-buf",
		.describe = "A dumb buffer of each DRM driver, exported and mapped by its dma-buf.",
		.drivers = VPFN_ALL_DRIVERS,
		.open = open_dma_buf,
		.close = vpfn_source_drop,
	}, {
		.name = "udmabuf",
		.describe = "A dma-buf made of the pages of a memfd.",
		.open = open_udmabuf,
		.close = vpfn_source_drop,
	}, {
		.name = "system-heap",
		.describe = "A dma-buf from the heap of system memory.",
		.open = open_heap,
		.close = vpfn_source_drop,
	}, {
		.name = "vfio-pci",
		.describe = "A BAR, by vfio-pci, which has the card meanwhile.",
		.open = vpfn_source_open_vfio,
		.close = vpfn_source_close_vfio,
	}, {
		.name = "dev-mem",
		.describe = "A buffer in device memory, by /dev/mem.",
		.open = vpfn_source_open_devmem,
		.close = vpfn_source_drop,
	}, {
		.name = "pci-sysfs",
		.describe = "A buffer in device memory, by the file of its BAR in sysfs.",
		.open = vpfn_source_open_sysfs,
		.close = vpfn_source_drop,
	}, {
		.name = "vb2-vmalloc",
		.describe = "A buffer of a video device, made of pages that the kernel may pin.",
		.gives_pages = true,
		.open = open_vb2,
		.close = vpfn_source_drop,
	}, {
		.name = "memfd",
		.describe = "A file in memory, in which no driver has a part.",
		.gives_pages = true,
		.open = open_memfd,
		.close = vpfn_source_drop,
	},
};

const size_t vpfn_source_kind_count = ARRAY_SIZE(vpfn_source_kinds);

static int kept(const struct pfnmap_target *target)
{
	const struct vpfn_source *source = target->data;
	struct vpfn_leaf leaf;
	int err = vpfn_leaf_from_driver(source->witness, target->addr, &leaf);

	if (err)
		return err;
	return leaf.level == source->leaf.level && leaf.pfn == source->leaf.pfn && leaf.special ?
	       0 : -ESTALE;
}

static int look_at_vma(struct vpfn_source *source)
{
	int is_io = pfnmap_vma_flag(source->target.addr, "io");

	source->is_io = is_io > 0;
	return is_io < 0 ? is_io : 0;
}

/*
 * What a user leaves of the entry is seen by a debugfs file of vpfn's, if that is there. It says
 * EINVAL of memory that may have pages.
 */
static int watch(struct vpfn_source *source)
{
	int err;

	source->witness = vpfn_open(O_RDONLY);
	if (source->witness < 0)
		return 0;

	pfnmap_load(source->target.addr);
	err = vpfn_leaf_from_driver(source->witness, source->target.addr, &source->leaf);
	if (source->kind->gives_pages)
		return err == -EINVAL ? 0 : -EPROTO;

	source->target.kept = kept;
	return err;
}

/**
 * vpfn_source_open:
 * @source: the source, which vpfn_source_close() closes if this returns 0
 * @kind: the kind of it
 * @n: which one of this kind
 *
 * Returns: 0, -ENOENT if the machine has fewer, or another negative errno.
 */
int vpfn_source_open(struct vpfn_source *source, const struct vpfn_source_kind *kind,
		     unsigned int n)
{
	int err;

	*source = (struct vpfn_source) { .kind = kind, .file = -1, .owner = -1, .witness = -1 };
	snprintf(source->name, sizeof(source->name), "%s", kind->name);
	err = kind->open(source, n) ?: look_at_vma(source) ?: watch(source);
	if (err)
		vpfn_source_close(source);
	return err;
}

/**
 * vpfn_source_close:
 * @source: the source; if it is not open nothing happens
 */
void vpfn_source_close(struct vpfn_source *source)
{
	if (!source->kind)
		return;

	if (source->witness >= 0)
		close(source->witness);
	source->kind->close(source);
	source->kind = NULL;
}
