// SPDX-License-Identifier: MIT
/*
 * Who else can reach memory?
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_vfio.h"
#include "vpfn/vpfn_vfio_uapi.h"

#define BUS		"/sys/bus/pci/"
#define UNSAFE		"/sys/module/%s/parameters/allow_unsafe_interrupts"

/* Below all that the callers map: a page for the ring, one for the GART's table. */
#define RING_IOVA	0x10000
#define GART_IOVA	(RING_IOVA + PFNMAP_PAGE)
#define RING_LEN	(2 * PFNMAP_PAGE)

/*
 * Of the device's specification (docs/specs/vpfn.rst) what one copy needs: registers, the
 * descriptor, the GART.
 */
#define REG_CTRL	0x20
#define  CTRL_ENABLE	0x1
#define  CTRL_RESET	0x2
#define REG_STATUS	0x24
#define  STATUS_BUSY	0x1
#define REG_ERROR	0x28
#define  ERROR_NONE	0
#define  ERROR_DMA	9
#define REG_GART_BASE	0x38
#define REG_RING_BASE	0x40
#define REG_RING_SIZE	0x48
#define REG_RING_TAIL	0x50

#define OP_COPY		2

#define GART_START	0x10000000000ull
#define GART_VALID	1

struct desc {
	uint8_t op;
	uint8_t flags;
	uint8_t reserved0[2];
	uint32_t fence;
	uint64_t length;
	uint64_t src;
	uint64_t dst;
	uint32_t pattern;
	uint8_t reserved1[28];
};

static int probe(const char *card, const char *driver)
{
	char path[64];
	int err = vpfn_card_set(card, "driver_override", driver);

	if (err)
		return err;
	snprintf(path, sizeof(path), BUS "devices/%s/driver/unbind", card);
	err = pfnmap_text_write(path, card);
	if (err && err != -ENOENT)
		return err;
	return pfnmap_text_write(BUS "drivers_probe", card);
}

/**
 * vpfn_vfio_take:
 * @card: name of the PCI device
 *
 * Takes it from its driver and gives it to vfio-pci, which is loaded.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_take(const char *card)
{
	int err = probe(card, "vfio-pci");

	if (err)
		vpfn_vfio_unbind(card);
	return err;
}

/**
 * vpfn_vfio_bind:
 * @card: name of the PCI device
 *
 * As vpfn_vfio_take(), and loads what maps memory for the card. Its interrupts are not used: an
 * IOMMU that does not look at them will do.
 *
 * Returns: 0, -ENOENT if there is no IOMMU or the kernel lacks vfio, or another negative errno.
 */
int vpfn_vfio_bind(const char *card)
{
	static const char * const modules[] = { "vfio_iommu_type1", "iommufd" };
	char path[80];

	snprintf(path, sizeof(path), BUS "devices/%s/iommu_group", card);
	if (access(path, F_OK) || pfnmap_shell("modprobe -q vfio-pci"))
		return -ENOENT;

	for (unsigned int i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(path, sizeof(path), "modprobe -q %s", modules[i]);
		if (pfnmap_shell(path))
			return -ENOENT;
		snprintf(path, sizeof(path), UNSAFE, modules[i]);
		if (pfnmap_text_write(path, "1"))
			return -ENOENT;
	}
	return vpfn_vfio_take(card);
}

/**
 * vpfn_vfio_unbind:
 * @card: name of the PCI device, which goes back to its driver
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_unbind(const char *card)
{
	return probe(card, "\n");
}

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int reg_write(struct vpfn_vfio *vfio, uint32_t reg, uint32_t value)
{
	ssize_t n = pwrite(vfio->device, &value, sizeof(value), vfio->regs + reg);

	return n == sizeof(value) ? 0 : -EIO;
}

static int reg_read(const struct vpfn_vfio *vfio, uint32_t reg, uint32_t *value)
{
	ssize_t n = pread(vfio->device, value, sizeof(*value), vfio->regs + reg);

	return n == sizeof(*value) ? 0 : -EIO;
}

/* Without an IOMMU the group has another name. */
static int open_group(const char *card, struct vpfn_vfio *vfio)
{
	char path[64], link[PATH_MAX] = "";
	const char *number;

	snprintf(path, sizeof(path), BUS "devices/%s/iommu_group", card);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -errno;
	number = strrchr(link, '/') + 1;
	snprintf(path, sizeof(path), "/dev/vfio/%.16s", number);
	vfio->has_iommu = !access(path, F_OK);
	if (!vfio->has_iommu)
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.16s", number);
	vfio->group = open(path, O_RDWR | O_CLOEXEC);
	return vfio->group < 0 ? -errno : 0;
}

/* iommufd is a container, too, with an address space that has a number. */
static int join_iommufd(struct vpfn_vfio *vfio)
{
	struct vpfn_vfio_ioas get = { .size = sizeof(get) };
	int err;

	vfio->container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (vfio->container < 0)
		return -errno;
	err = call(vfio->group, VFIO_GROUP_SET_CONTAINER, &vfio->container);
	if (!err)
		err = call(vfio->container, VPFN_VFIO_IOAS, &get);
	vfio->ioas = get.ioas;
	return err;
}

static int join_type1(struct vpfn_vfio *vfio)
{
	int err;

	vfio->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vfio->container < 0)
		return -errno;
	err = call(vfio->group, VFIO_GROUP_SET_CONTAINER, &vfio->container);
	if (err)
		return err;
	return ioctl(vfio->container, VFIO_SET_IOMMU,
		     vfio->has_iommu ? VFIO_TYPE1v2_IOMMU : VFIO_NOIOMMU_IOMMU) ? -errno : 0;
}

static int find_region(const struct vpfn_vfio *vfio, uint32_t index, uint64_t *offset)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int err = call(vfio->device, VFIO_DEVICE_GET_REGION_INFO, &info);

	*offset = info.offset;
	return err;
}

/**
 * vpfn_vfio_open_device:
 * @card: name of the PCI device, from vpfn_vfio_take()
 * @by: who maps memory for it, if there is an IOMMU
 * @vfio: the card, as vfio-pci shows it; vpfn_vfio_close() closes it, whatever this returns
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_open_device(const char *card, enum vpfn_vfio_by by, struct vpfn_vfio *vfio)
{
	int err;

	*vfio = (struct vpfn_vfio) { .by = by, .container = -1, .group = -1, .device = -1 };
	err = open_group(card, vfio);
	if (!err)
		err = by == VPFN_VFIO_TYPE1 ? join_type1(vfio) : join_iommufd(vfio);
	if (err)
		return err;

	vfio->device = ioctl(vfio->group, VFIO_GROUP_GET_DEVICE_FD, card);
	if (vfio->device < 0)
		return -errno;
	err = find_region(vfio, VFIO_PCI_CONFIG_REGION_INDEX, &vfio->config);
	if (!err)
		err = find_region(vfio, VFIO_PCI_BAR0_REGION_INDEX, &vfio->regs);
	if (!err)
		err = find_region(vfio, VFIO_PCI_BAR2_REGION_INDEX, &vfio->memory);
	return err;
}

/**
 * vpfn_vfio_enable:
 * @vfio: the card
 * @enable: whether it shows its registers and its memory, and may do DMA
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_enable(struct vpfn_vfio *vfio, bool enable)
{
	uint16_t command = enable ? PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : 0;
	ssize_t n = pwrite(vfio->device, &command, sizeof(command), vfio->config + PCI_COMMAND);

	return n == sizeof(command) ? 0 : -EIO;
}

/**
 * vpfn_vfio_open:
 * @card: name of the PCI device, from vpfn_vfio_bind()
 * @by: who maps memory for it
 * @vfio: the card, able to copy
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_open(const char *card, enum vpfn_vfio_by by, struct vpfn_vfio *vfio)
{
	int err = vpfn_vfio_open_device(card, by, vfio);

	if (!err)
		err = vpfn_vfio_enable(vfio, true);
	if (!err) {
		vfio->ring = pfnmap_anonymous(RING_LEN);
		err = vfio->ring ? 0 : -ENOMEM;
	}
	if (!err)
		err = vpfn_vfio_map(vfio, RING_IOVA, vfio->ring, RING_LEN, false);
	if (err)
		vpfn_vfio_close(vfio);
	return err;
}

/**
 * vpfn_vfio_close:
 * @vfio: the card, whose mappings go
 */
void vpfn_vfio_close(struct vpfn_vfio *vfio)
{
	const int files[] = { vfio->device, vfio->group, vfio->container };

	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i] >= 0)
			close(files[i]);
	}
	if (vfio->ring)
		munmap(vfio->ring, RING_LEN);
	*vfio = (struct vpfn_vfio) { .container = -1, .group = -1, .device = -1 };
}

static int map_type1(struct vpfn_vfio *vfio, uint64_t iova, void *addr, uint64_t len, bool write)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | (write ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)addr,
		.iova = iova,
		.size = len,
	};

	return call(vfio->container, VFIO_IOMMU_MAP_DMA, &map);
}

static int map_iommufd(struct vpfn_vfio *vfio, uint64_t iova, void *addr, uint64_t len, bool write)
{
	struct vpfn_ioas_map map = {
		.size = sizeof(map),
		.flags = VPFN_IOAS_FIXED | VPFN_IOAS_READ | (write ? VPFN_IOAS_WRITE : 0),
		.ioas = vfio->ioas,
		.addr = (uintptr_t)addr,
		.len = len,
		.iova = iova,
	};

	return call(vfio->container, VPFN_IOAS_MAP, &map);
}

/**
 * vpfn_vfio_map:
 * @vfio: the card
 * @iova: where it is to find the memory
 * @addr: memory of this process
 * @len: how much of it
 * @write: whether the card may write to it
 *
 * Returns: 0 or the negative errno of the kernel's answer.
 */
int vpfn_vfio_map(struct vpfn_vfio *vfio, uint64_t iova, void *addr, uint64_t len, bool write)
{
	if (vfio->by == VPFN_VFIO_TYPE1)
		return map_type1(vfio, iova, addr, len, write);
	return map_iommufd(vfio, iova, addr, len, write);
}

/**
 * vpfn_vfio_map_file:
 * @vfio: the card, of iommufd
 * @iova: where it is to find the memory
 * @file: a memfd or a dma-buf
 * @len: how much of it, from its beginning
 *
 * Returns: 0 or the negative errno of the kernel's answer.
 */
int vpfn_vfio_map_file(struct vpfn_vfio *vfio, uint64_t iova, int file, uint64_t len)
{
	struct vpfn_ioas_map_file map = {
		.size = sizeof(map),
		.flags = VPFN_IOAS_FIXED | VPFN_IOAS_READ | VPFN_IOAS_WRITE,
		.ioas = vfio->ioas,
		.file = file,
		.len = len,
		.iova = iova,
	};

	return call(vfio->container, VPFN_IOAS_MAP_FILE, &map);
}

/**
 * vpfn_vfio_unmap:
 * @vfio: the card
 * @iova: where it finds some memory
 * @len: how much
 *
 * Returns: 0 or a negative errno, -ENODATA if it was another length.
 */
int vpfn_vfio_unmap(struct vpfn_vfio *vfio, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap type1 = {
		.argsz = sizeof(type1), .iova = iova, .size = len,
	};
	struct vpfn_ioas_unmap iommufd = {
		.size = sizeof(iommufd), .ioas = vfio->ioas, .iova = iova, .len = len,
	};
	uint64_t unmapped;
	int err;

	if (vfio->by == VPFN_VFIO_TYPE1) {
		err = call(vfio->container, VFIO_IOMMU_UNMAP_DMA, &type1);
		unmapped = type1.size;
	} else {
		err = call(vfio->container, VPFN_IOAS_UNMAP, &iommufd);
		unmapped = iommufd.len;
	}
	if (err)
		return err;
	return unmapped == len ? 0 : -ENODATA;
}

/**
 * vpfn_vfio_export:
 * @vfio: the card
 * @len: how much of its memory, from the beginning
 * @dmabuf: where the dma-buf's file descriptor goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_vfio_export(struct vpfn_vfio *vfio, uint64_t len, int *dmabuf)
{
	struct vpfn_vfio_dma_buf arg = {
		.feature = {
			.argsz = sizeof(arg),
			.flags = VFIO_DEVICE_FEATURE_GET | VPFN_VFIO_FEATURE_DMA_BUF,
		},
		.region = VFIO_PCI_BAR2_REGION_INDEX,
		.open_flags = O_RDWR | O_CLOEXEC,
		.ranges = 1,
		.len = len,
	};

	*dmabuf = ioctl(vfio->device, VFIO_DEVICE_FEATURE, &arg);
	return *dmabuf < 0 ? -errno : 0;
}

static bool is_idle(const void *arg)
{
	uint32_t status;

	return reg_read(arg, REG_STATUS, &status) || !(status & STATUS_BUSY);
}

static int ring_doorbell(struct vpfn_vfio *vfio)
{
	static const uint32_t writes[][2] = {
		{ REG_CTRL, CTRL_RESET },
		{ REG_GART_BASE, GART_IOVA },
		{ REG_RING_BASE, RING_IOVA },
		{ REG_RING_SIZE, 2 },
		{ REG_CTRL, CTRL_ENABLE },
		{ REG_RING_TAIL, 1 },
	};
	int err = 0;

	for (unsigned int i = 0; !err && i < ARRAY_SIZE(writes); i++)
		err = reg_write(vfio, writes[i][0], writes[i][1]);
	return err;
}

/* Has the GART map @len bytes at @iova from its entry @first on; where the engine finds them. */
static uint64_t gart_map(struct vpfn_vfio *vfio, unsigned int first, uint64_t iova, uint64_t len)
{
	uint64_t *entries = (uint64_t *)(vfio->ring + PFNMAP_PAGE) + first;
	uint64_t begin = iova & -(uint64_t)PFNMAP_PAGE;

	for (uint64_t page = begin; page < iova + len; page += PFNMAP_PAGE)
		*entries++ = page | GART_VALID;
	return GART_START + first * (uint64_t)PFNMAP_PAGE + (iova - begin);
}

/**
 * vpfn_vfio_copy:
 * @vfio: the card
 * @dst: where its engine writes
 * @src: where it reads
 * @len: number of bytes, at most a MiB less a page
 *
 * Returns: 0, -EFAULT if the IOMMU forbids it, or another negative errno.
 */
int vpfn_vfio_copy(struct vpfn_vfio *vfio, uint64_t dst, uint64_t src, uint64_t len)
{
	struct desc desc = {
		.op = OP_COPY,
		.length = len,
		.src = gart_map(vfio, 0, src, len),
		.dst = gart_map(vfio, PFNMAP_PAGE / sizeof(uint64_t) / 2, dst, len),
	};
	uint32_t error;
	int err;

	memcpy(vfio->ring, &desc, sizeof(desc));
	err = ring_doorbell(vfio);
	if (!err)
		err = pfnmap_wait_until(is_idle, vfio);
	if (!err)
		err = reg_read(vfio, REG_ERROR, &error);
	if (err)
		return err;
	if (error == ERROR_DMA)
		return -EFAULT;
	return error == ERROR_NONE ? 0 : -EIO;
}
