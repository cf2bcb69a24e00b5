/* SPDX-License-Identifier: MIT */
/*
 * Who else can reach memory? A card that vfio-pci gives to user space: its engine is driven from
 * here, and reaches what an IOMMU maps for it, by type1 or by iommufd.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_VFIO_H
#define VPFN_VFIO_H

#include <stdbool.h>
#include <stdint.h>

/* Who maps memory for the card. */
enum vpfn_vfio_by {
	VPFN_VFIO_TYPE1,
	VPFN_VFIO_IOMMUFD,
};

struct vpfn_vfio {
	enum vpfn_vfio_by by;
	int container;		/* type1's, or iommufd */
	int group;
	int device;
	uint32_t ioas;		/* iommufd's */
	uint64_t config;	/* where the device's file has its regions */
	uint64_t regs;
	uint64_t memory;
	bool has_iommu;
	char *ring;
};

int vpfn_vfio_take(const char *card);
int vpfn_vfio_bind(const char *card);
int vpfn_vfio_unbind(const char *card);

int vpfn_vfio_open_device(const char *card, enum vpfn_vfio_by by, struct vpfn_vfio *vfio);
int vpfn_vfio_open(const char *card, enum vpfn_vfio_by by, struct vpfn_vfio *vfio);
void vpfn_vfio_close(struct vpfn_vfio *vfio);

int vpfn_vfio_map(struct vpfn_vfio *vfio, uint64_t iova, void *addr, uint64_t len, bool write);
int vpfn_vfio_map_file(struct vpfn_vfio *vfio, uint64_t iova, int file, uint64_t len);
int vpfn_vfio_unmap(struct vpfn_vfio *vfio, uint64_t iova, uint64_t len);

/* The card's memory as a dma-buf, and whether it answers at all. */
int vpfn_vfio_export(struct vpfn_vfio *vfio, uint64_t len, int *dmabuf);
int vpfn_vfio_enable(struct vpfn_vfio *vfio, bool enable);

int vpfn_vfio_copy(struct vpfn_vfio *vfio, uint64_t dst, uint64_t src, uint64_t len);

#endif
