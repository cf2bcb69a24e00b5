/* SPDX-License-Identifier: MIT */
/*
 * What distributions' headers may be too old to know: iommufd, of Linux 6.2, its mappings of files,
 * of 6.13, and the dma-bufs of vfio-pci, of 6.19. The numbers are ABI.
 */
#ifndef VPFN_VFIO_UAPI_H
#define VPFN_VFIO_UAPI_H

#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* Calls of iommufd. Each takes its struct below, with the size in it. */
#define VPFN_IOAS_MAP		_IO(';', 0x85)
#define VPFN_IOAS_UNMAP		_IO(';', 0x86)
#define VPFN_VFIO_IOAS		_IO(';', 0x88)
#define VPFN_IOAS_MAP_FILE	_IO(';', 0x8f)

/* Flags of both ways to map: at the address that is asked for, and for what. */
#define VPFN_IOAS_FIXED		(1 << 0)
#define VPFN_IOAS_WRITE		(1 << 1)
#define VPFN_IOAS_READ		(1 << 2)

struct vpfn_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas;
	uint32_t reserved;
	uint64_t addr;
	uint64_t len;
	uint64_t iova;
};

struct vpfn_ioas_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas;
	int32_t file;
	uint64_t offset;
	uint64_t len;
	uint64_t iova;
};

/* The length of what has been unmapped comes back. */
struct vpfn_ioas_unmap {
	uint32_t size;
	uint32_t ioas;
	uint64_t iova;
	uint64_t len;
};

/* The address space of those who know VFIO's containers alone: operation 0 tells its number. */
struct vpfn_vfio_ioas {
	uint32_t size;
	uint32_t ioas;
	uint16_t op;
	uint16_t reserved;
};

/* A feature to get: a dma-buf of one range of a region, its file descriptor the ioctl's result. */
#define VPFN_VFIO_FEATURE_DMA_BUF	11

struct vpfn_vfio_dma_buf {
	struct vfio_device_feature feature;
	uint32_t region;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t ranges;
	uint64_t offset;
	uint64_t len;
};

#endif
