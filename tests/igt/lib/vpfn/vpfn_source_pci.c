// SPDX-License-Identifier: MIT
/*
 * Which drivers give a process a mapping of a PCI card's memory, beside the card's own?
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_source.h"

#define DEVICES		"/sys/bus/pci/devices/"
#define NO_IOMMU	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

#define LARGEST_LEAF	"/sys/module/vpfn/parameters/largest_leaf"

#define VRAM_BAR	2

/* Two large pages, so that the target can lie in the middle of the second. */
#define SIZE		(2 * PFNMAP_2M)

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

static int limit_leaves(struct vpfn_source *source, enum vpfn_level level)
{
	int err = pfnmap_text_read(LARGEST_LEAF, source->setting, sizeof(source->setting));

	return err ?: vpfn_limit_set(level);
}

/**
 * vpfn_source_open_vpfn:
 * @source: the source, a buffer of vpfn's
 * @n: which one: there are five
 *
 * Until vpfn_source_close_vpfn() vpfn has no larger leaves than the source's.
 *
 * Returns: 0, -ENOENT without vpfn, or another negative errno.
 */
int vpfn_source_open_vpfn(struct vpfn_source *source, unsigned int n)
{
	int err;

	if (n >= ARRAY_SIZE(places))
		return -ENOENT;

	source->owner = vpfn_open(O_RDWR);
	if (source->owner < 0)
		return -ENOENT;

	snprintf(source->name, sizeof(source->name), "%s", places[n].name);
	err = limit_leaves(source, places[n].level) ?:
	      vpfn_bo_create_in(source->owner, places[n].level == VPFN_PUD ? PFNMAP_1G : SIZE,
				places[n].placement, DRM_VPFN_GEM_CREATE_CPU_ACCESS, &source->bo);
	return err ?: vpfn_source_map(source, source->owner, source->bo.offset, source->bo.size) ?:
	       vpfn_source_use_engine(source);
}

/**
 * vpfn_source_close_vpfn:
 * @source: the source
 */
void vpfn_source_close_vpfn(struct vpfn_source *source)
{
	vpfn_source_drop(source);
	if (source->setting[0])
		pfnmap_text_write(LARGEST_LEAF, source->setting);
}

/* Where the buffer that the source has is for the CPU: a physical address. */
static int find_buffer(const struct vpfn_source *source, uint64_t *address)
{
	struct vpfn_leaf leaf;
	void *map;
	int err = vpfn_bo_map(source->owner, &source->bo, &map);

	if (err)
		return err;

	pfnmap_store(map, 0);
	err = vpfn_leaf_from_driver(source->owner, map, &leaf);
	munmap(map, source->bo.size);
	*address = leaf.pfn * PFNMAP_PAGE;
	return err;
}

/*
 * A buffer in the memory of a card that stays with its driver, which moves no buffer as long as
 * there is room for all.
 */
static int open_buffer(struct vpfn_source *source, uint64_t *address)
{
	int err;

	source->owner = vpfn_open(O_RDWR);
	if (source->owner < 0)
		return -ENOENT;

	err = vpfn_bo_create(source->owner, SIZE, &source->bo) ?: find_buffer(source, address);

	/* The file of debugfs is for root alone. */
	return err == -EACCES ? -ENOENT : err;
}

static int map_buffer(struct vpfn_source *source, const char *path, uint64_t offset)
{
	source->file = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (source->file < 0)
		return errno == EACCES ? -ENOENT : -errno;

	return vpfn_source_map(source, source->file, offset, SIZE) ?:
	       vpfn_source_use_engine(source);
}

/**
 * vpfn_source_open_devmem:
 * @source: the source, a buffer of vpfn's
 * @n: which one: there is one
 *
 * With CONFIG_STRICT_DEVMEM, too, /dev/mem gives away what is no RAM, unless its driver claims it
 * exclusively or CONFIG_IO_STRICT_DEVMEM makes each claim such.
 *
 * Returns: 0, -ENOENT without /dev/mem or vpfn, or another negative errno.
 */
int vpfn_source_open_devmem(struct vpfn_source *source, unsigned int n)
{
	uint64_t address;
	int err = n ? -ENOENT : open_buffer(source, &address);

	return err ?: map_buffer(source, "/dev/mem", address);
}

/**
 * vpfn_source_open_sysfs:
 * @source: the source, a buffer of vpfn's
 * @n: which one: there is one
 *
 * Returns: 0, -ENOENT without vpfn, or another negative errno.
 */
int vpfn_source_open_sysfs(struct vpfn_source *source, unsigned int n)
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
static int take_card(struct vpfn_source *source)
{
	int fd = vpfn_open_small(O_RDWR), err;

	if (fd < 0)
		return -ENOENT;

	err = vpfn_card_name(fd, source->card);
	close(fd);
	return err ?: rebind(source->card, "vfio-pci");
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

static int map_bar(struct vpfn_source *source)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR2_REGION_INDEX,
	};

	if (ioctl(source->file, VFIO_DEVICE_GET_REGION_INFO, &bar))
		return -errno;
	return vpfn_source_map(source, source->file, bar.offset, SIZE) ?:
	       vpfn_source_use_file(source, bar.offset);
}

/**
 * vpfn_source_open_vfio:
 * @source: the source, a BAR of the card of vpfn that has memory which the CPU cannot see
 * @n: which one: there is one
 *
 * The card is vfio-pci's until vpfn_source_close_vfio(). Without an IOMMU vfio is told to do
 * without: nothing makes the card access memory meanwhile.
 *
 * Returns: 0, -ENOENT without such a card or vfio-pci, or another negative errno.
 */
int vpfn_source_open_vfio(struct vpfn_source *source, unsigned int n)
{
	int err;

	if (n || pfnmap_shell("modprobe -q vfio-pci"))
		return -ENOENT;

	if (!pfnmap_text_read(NO_IOMMU, source->setting, sizeof(source->setting)))
		pfnmap_text_write(NO_IOMMU, "1");
	err = take_card(source);
	if (err)
		return err;

	source->file = open_device(source->card);
	return source->file < 0 ? source->file : map_bar(source);
}

/**
 * vpfn_source_close_vfio:
 * @source: the source, whose card vpfn gets back
 */
void vpfn_source_close_vfio(struct vpfn_source *source)
{
	vpfn_source_drop(source);
	if (source->card[0]) {
		rebind(source->card, "\n");
		vpfn_card_wait_bound(source->card);
	}
	if (source->setting[0])
		pfnmap_text_write(NO_IOMMU, source->setting);
}
