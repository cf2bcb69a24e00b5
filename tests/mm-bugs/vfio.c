// SPDX-License-Identifier: GPL-2.0
/*
 * A PCI device's BAR by way of vfio-pci without an IOMMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mm_bugs.h"

const char *vfio_address;

static int device;
static struct vfio_region_info bar = {
	.argsz = sizeof(bar),
	.index = VFIO_PCI_BAR2_REGION_INDEX,
};

static int open_group(void)
{
	char link[PATH_MAX], target[PATH_MAX] = "";
	int group;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", vfio_address);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		cannot("%s", link);
	snprintf(link, sizeof(link), "/dev/vfio/noiommu-%.16s", basename(target));
	group = open(link, O_RDWR);
	if (group < 0)
		cannot("%s", link);
	return group;
}

void bar_open(void)
{
	int container, group;

	errno = EINVAL;
	if (!vfio_address)
		cannot("no PCI address");
	container = open("/dev/vfio/vfio", O_RDWR);
	if (container < 0)
		cannot("/dev/vfio/vfio");
	group = open_group();
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		cannot("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU))
		cannot("VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, vfio_address);
	if (device < 0)
		cannot("VFIO_GROUP_GET_DEVICE_FD");
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar))
		cannot("VFIO_DEVICE_GET_REGION_INFO");
	errno = ENOSPC;
	if (!(bar.flags & VFIO_REGION_INFO_FLAG_MMAP) || bar.size < BAR_SIZE)
		cannot("BAR 2, flags %#x, size %#llx", bar.flags, (unsigned long long)bar.size);
}

int bar_fd(void)
{
	return device;
}

/* What mmap() of the BAR's first byte takes as the offset. */
uint64_t bar_mmap_offset(void)
{
	return bar.offset;
}

/* These two go through no mapping of this process. */
void bar_write(uint64_t offset, uint64_t value)
{
	if (pwrite(device, &value, sizeof(value), bar.offset + offset) != sizeof(value))
		cannot("pwrite() to the BAR");
}

uint64_t bar_read(uint64_t offset)
{
	uint64_t value;

	if (pread(device, &value, sizeof(value), bar.offset + offset) != sizeof(value))
		cannot("pread() of the BAR");
	return value;
}
