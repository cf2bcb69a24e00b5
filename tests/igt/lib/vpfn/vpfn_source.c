// SPDX-License-Identifier: MIT
/*
 * Which drivers give a process a mapping of a card's memory? vpfn itself, and those to which it
 * lends a card, or a buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_source.h"

#define DEVICES		"/sys/bus/pci/devices/"
#define NO_IOMMU	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

#define LARGEST_LEAF	"/sys/module/vpfn/parameters/largest_leaf"

#define VRAM_BAR	2

/* Two large pages, so that the target can lie in the middle of the second. */
#define SIZE		(2 * PFNMAP_2M)

/* What a source has of vpfn */
struct lender {
	struct vpfn_bo bo;		/* the owner's buffer */
	struct vpfn_bo aside;		/* where its engine copies to and from, ... */
	char *aside_map;		/* ... and a mapping of that */
	char card[VPFN_PCI_NAME];	/* taken from its driver, "" if none is */
	char setting[8];		/* a parameter's old value, "" if it stays */
};

static struct lender *lender_of(const struct pfnmap_source *source)
{
	return source->data;
}

static int lend(struct pfnmap_source *source)
{
	source->data = calloc(1, sizeof(struct lender));
	return source->data ? 0 : -ENOMEM;
}

static void take_back(struct pfnmap_source *source)
{
	struct lender *lender = lender_of(source);

	if (lender && lender->aside_map)
		munmap(lender->aside_map, PFNMAP_TARGET_LEN);
	pfnmap_source_drop(source);
	free(lender);
}

static int peek_engine(const struct pfnmap_target *target, void *bytes)
{
	const struct pfnmap_source *source = target->data;
	const struct lender *lender = lender_of(source);
	int err = vpfn_copy(source->owner, &lender->aside, 0, &lender->bo,
			    pfnmap_source_inside(source), PFNMAP_TARGET_LEN);

	if (!err)
		memcpy(bytes, lender->aside_map, PFNMAP_TARGET_LEN);
	return err;
}

static int poke_engine(const struct pfnmap_target *target, const void *bytes)
{
	const struct pfnmap_source *source = target->data;
	const struct lender *lender = lender_of(source);

	memcpy(lender->aside_map, bytes, PFNMAP_TARGET_LEN);
	return vpfn_copy(source->owner, &lender->bo, pfnmap_source_inside(source), &lender->aside,
			 0, PFNMAP_TARGET_LEN);
}

/* For a source, mapped, whose memory is a buffer of vpfn. */
static int use_engine(struct pfnmap_source *source)
{
	struct lender *lender = lender_of(source);
	void *map;
	int err = vpfn_bo_create_in(source->owner, PFNMAP_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
				    &lender->aside) ?:
		  vpfn_bo_map(source->owner, &lender->aside, &map);

	if (err)
		return err;

	lender->aside_map = map;
	source->target.peek = peek_engine;
	source->target.poke = poke_engine;
	return 0;
}

/* By which leaves vpfn maps a buffer, and where it lies. */
static const struct {
	const char *name;
	enum vpfn_level level;
	uint32_t placement;
} places[] = {
	{ "vpfn-pte-vram", VPFN_PTE, DRM_VPFN_PLACEMENT_VRAM },
	{ "vpfn-pmd-vram", VPFN_PMD, DRM_VPFN_PLACEMENT_VRAM },
	{ "vpfn-pud-vram", VPFN_PUD, DRM_VPFN_PLACEMENT_VRAM },
	{ "vpfn-pte-system", VPFN_PTE, DRM_VPFN_PLACEMENT_SYSTEM },
	{ "vpfn-pmd-system", VPFN_PMD, DRM_VPFN_PLACEMENT_SYSTEM },
};

static int limit_leaves(struct pfnmap_source *source, enum vpfn_level level)
{
	struct lender *lender = lender_of(source);
	int err = pfnmap_text_read(LARGEST_LEAF, lender->setting, sizeof(lender->setting));

	return err ?: vpfn_limit_set(level);
}

/* Until it is closed, vpfn has no larger leaves than the source's. */
static int open_vpfn(struct pfnmap_source *source, unsigned int n)
{
	struct vpfn_bo *bo;
	int err;

	if (n >= ARRAY_SIZE(places))
		return -ENOENT;
	if (lend(source))
		return -ENOMEM;

	bo = &lender_of(source)->bo;
	source->owner = vpfn_open(O_RDWR);
	if (source->owner < 0)
		return -ENOENT;

	snprintf(source->name, sizeof(source->name), "%s", places[n].name);
	err = limit_leaves(source, places[n].level) ?:
	      vpfn_bo_create_in(source->owner, places[n].level == VPFN_PUD ? PFNMAP_1G : SIZE,
				places[n].placement, DRM_VPFN_GEM_CREATE_CPU_ACCESS, bo);
	return err ?: pfnmap_source_map(source, source->owner, bo->offset, bo->size) ?:
	       use_engine(source);
}

static void close_vpfn(struct pfnmap_source *source)
{
	if (lender_of(source) && lender_of(source)->setting[0])
		pfnmap_text_write(LARGEST_LEAF, lender_of(source)->setting);
	take_back(source);
}

/* Where the buffer that the source has is for the CPU: a physical address. */
static int find_buffer(const struct pfnmap_source *source, uint64_t *address)
{
	struct vpfn_leaf leaf;
	void *map;
	int err = vpfn_bo_map(source->owner, &lender_of(source)->bo, &map);

	if (err)
		return err;

	pfnmap_store(map, 0);
	err = vpfn_leaf_from_driver(source->owner, map, &leaf);
	munmap(map, lender_of(source)->bo.size);
	*address = leaf.pfn * PFNMAP_PAGE;
	return err;
}

/*
 * A buffer in the memory of a card that stays with its driver, which moves no buffer as long as
 * there is room for all.
 */
static int open_buffer(struct pfnmap_source *source, uint64_t *address)
{
	int err = lend(source);

	if (err)
		return err;

	source->owner = vpfn_open(O_RDWR);
	if (source->owner < 0)
		return -ENOENT;

	err = vpfn_bo_create(source->owner, SIZE, &lender_of(source)->bo) ?:
	      find_buffer(source, address);

	/* The file of debugfs is for root alone. */
	return err == -EACCES ? -ENOENT : err;
}

static int map_buffer(struct pfnmap_source *source, const char *path, uint64_t offset)
{
	source->file = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (source->file < 0)
		return errno == EACCES ? -ENOENT : -errno;

	return pfnmap_source_map(source, source->file, offset, SIZE) ?:
	       use_engine(source);
}

/*
 * With CONFIG_STRICT_DEVMEM, too, /dev/mem gives away what is no RAM, unless its driver claims it
 * exclusively or CONFIG_IO_STRICT_DEVMEM makes each claim such.
 */
static int open_devmem(struct pfnmap_source *source, unsigned int n)
{
	uint64_t address;
	int err = n ? -ENOENT : open_buffer(source, &address);

	return err ?: map_buffer(source, "/dev/mem", address);
}

static int open_sysfs(struct pfnmap_source *source, unsigned int n)
{
	char name[VPFN_PCI_NAME], path[PATH_MAX];
	uint64_t address, bar;
	int err = n ? -ENOENT : open_buffer(source, &address);

	err = err ?: vpfn_bar_start(source->owner, VRAM_BAR, &bar) ?:
	      vpfn_card_name(source->owner, name);
	if (err)
		return err;

	snprintf(path, sizeof(path), DEVICES "%s/resource%d_wc", name, VRAM_BAR);
	return map_buffer(source, path, address - bar);
}

/* The kernel looks for a driver again. */
static int rebind(const char *card, const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "%s/driver/unbind", card);
	pfnmap_text_write(path, card);
	return vpfn_card_set(card, "driver_override", driver) ?:
	       pfnmap_text_write("/sys/bus/pci/drivers_probe", card);
}

/* A card whose driver is not asked whether it can do without. */
static int take_card(struct pfnmap_source *source)
{
	int fd = vpfn_open_small(O_RDWR), err;

	if (fd < 0)
		return -ENOENT;

	err = vpfn_card_name(fd, lender_of(source)->card);
	close(fd);
	return err ?: rebind(lender_of(source)->card, "vfio-pci");
}

/* Its group, which without an IOMMU has another name. */
static int open_group(const char *card, bool *has_iommu)
{
	char path[PATH_MAX], target[PATH_MAX] = "";
	const char *number;
	int fd;

	snprintf(path, sizeof(path), DEVICES "%s/iommu_group", card);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		return -errno;

	number = strrchr(target, '/') + 1;
	snprintf(path, sizeof(path), "/dev/vfio/%.16s", number);
	*has_iommu = !access(path, F_OK);
	if (!*has_iommu)
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.16s", number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Container and group live as long as the device that came out of them. */
static int device_of_group(int container, int group, bool has_iommu, const char *card)
{
	int device;

	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, has_iommu ? VFIO_TYPE1v2_IOMMU : VFIO_NOIOMMU_IOMMU))
		return -errno;

	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, card);
	return device < 0 ? -errno : device;
}

static int open_device(const char *card)
{
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), group, device;
	bool has_iommu;

	if (container < 0)
		return -errno;

	group = open_group(card, &has_iommu);
	device = group < 0 ? group : device_of_group(container, group, has_iommu, card);
	if (group >= 0)
		close(group);
	close(container);
	return device;
}

static int map_bar(struct pfnmap_source *source)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR2_REGION_INDEX,
	};

	if (ioctl(source->file, VFIO_DEVICE_GET_REGION_INFO, &bar))
		return -errno;
	return pfnmap_source_map(source, source->file, bar.offset, SIZE) ?:
	       pfnmap_source_use_file(source, bar.offset);
}

/*
 * The card is vfio-pci's until the source is closed. Without an IOMMU vfio is told to do without:
 * nothing makes the card access memory meanwhile.
 */
static int open_vfio(struct pfnmap_source *source, unsigned int n)
{
	struct lender *lender;
	int err;

	if (n || pfnmap_shell("modprobe -q vfio-pci"))
		return -ENOENT;
	if (lend(source))
		return -ENOMEM;

	lender = lender_of(source);
	if (!pfnmap_text_read(NO_IOMMU, lender->setting, sizeof(lender->setting)))
		pfnmap_text_write(NO_IOMMU, "1");
	err = take_card(source);
	if (err)
		return err;

	source->file = open_device(lender->card);
	return source->file < 0 ? source->file : map_bar(source);
}

static void close_vfio(struct pfnmap_source *source)
{
	struct lender lender = {};

	if (lender_of(source))
		lender = *lender_of(source);
	take_back(source);
	if (lender.card[0]) {
		rebind(lender.card, "\n");
		vpfn_card_wait_bound(lender.card);
	}
	if (lender.setting[0])
		pfnmap_text_write(NO_IOMMU, lender.setting);
}

const struct pfnmap_source_kind vpfn_source_kinds[] = {
	{
		.name = "vpfn",
		.describe = "Buffers of vpfn, by leaves of each size, in device and system memory.",
		.open = open_vpfn,
		.close = close_vpfn,
	}, {
		.name = "vfio-pci",
		.describe = "A BAR, by vfio-pci, which has the card meanwhile.",
		.open = open_vfio,
		.close = close_vfio,
	}, {
		.name = "dev-mem",
		.describe = "A buffer in device memory, by /dev/mem.",
		.open = open_devmem,
		.close = take_back,
	}, {
		.name = "pci-sysfs",
		.describe = "A buffer in device memory, by the file of its BAR in sysfs.",
		.open = open_sysfs,
		.close = take_back,
	},
};

const size_t vpfn_source_kind_count = ARRAY_SIZE(vpfn_source_kinds);
