/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VPFN_DRV_H
#define VPFN_DRV_H

#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>

struct drm_file;
struct drm_minor;
struct vm_operations_struct;

/** enum vpfn_leaf - levels of the page table at which an entry can map memory */
enum vpfn_leaf {
	/** @VPFN_LEAF_PTE: one page */
	VPFN_LEAF_PTE,
	/** @VPFN_LEAF_PMD: PMD_SIZE, 2 MiB on x86-64 */
	VPFN_LEAF_PMD,
	/** @VPFN_LEAF_PUD: PUD_SIZE, 1 GiB on x86-64 */
	VPFN_LEAF_PUD,
};

/** struct vpfn_device - one vpfn device */
struct vpfn_device {
	/** @drm: the DRM device */
	struct drm_device drm;

	/** @bdev: the TTM device, owner of all buffers */
	struct ttm_device bdev;

	/** @vram: kernel mapping of all VRAM; valid inside drm_dev_enter() only */
	void __iomem *vram;

	/** @vram_base: physical address of VRAM */
	resource_size_t vram_base;

	/** @vram_size: size of VRAM in bytes */
	u64 vram_size;
};

/** struct vpfn_bo - a buffer object */
struct vpfn_bo {
	/** @tbo: the TTM buffer object, with the GEM object in it */
	struct ttm_buffer_object tbo;

	/**
	 * @dummy_page: what mappings of this buffer show once the device is
	 * gone; allocated by the first fault after that. Protected by the
	 * buffer's reservation.
	 */
	struct page *dummy_page;
};

static inline struct vpfn_device *to_vpfn_device(struct drm_device *drm)
{
	return container_of(drm, struct vpfn_device, drm);
}

static inline struct vpfn_bo *to_vpfn_bo(struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct vpfn_bo, tbo);
}

/* vpfn_drv.c */
enum vpfn_leaf vpfn_largest_leaf(void);

/* vpfn_vram.c */
int vpfn_vram_init(struct vpfn_device *vdev, u64 size);
int vpfn_vram_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res);

/* vpfn_gem.c */
int vpfn_ioctl_gem_create(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_info(struct drm_device *drm, void *data, struct drm_file *file);

/* vpfn_mmap.c */
extern const struct vm_operations_struct vpfn_vm_ops;
unsigned long vpfn_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
				     unsigned long pgoff, unsigned long flags);
int vpfn_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma);

/* vpfn_debugfs.c */
void vpfn_debugfs_init(struct drm_minor *minor);

#endif /* VPFN_DRV_H */
