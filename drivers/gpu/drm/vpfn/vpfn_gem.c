// SPDX-License-Identifier: GPL-2.0
/*
 * What a buffer is: GEM objects and their ioctls.
 */

#include <linux/gfp.h>
#include <linux/pgtable.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_vma_manager.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/vpfn_drm.h>

#include "vpfn_drv.h"

static void vpfn_gem_free(struct drm_gem_object *obj)
{
	ttm_bo_fini(drm_gem_ttm_of_gem(obj));
}

static const struct drm_gem_object_funcs vpfn_gem_funcs = {
	.free = vpfn_gem_free,
	.print_info = drm_gem_ttm_print_info,
	.mmap = vpfn_gem_mmap,
	.vm_ops = &vpfn_vm_ops,
};

/* TTM calls this for the last reference, and for a buffer that ttm_bo_init_validate() refused. */
static void vpfn_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct vpfn_bo *bo = to_vpfn_bo(tbo);

	drm_gem_object_release(&tbo->base);
	if (bo->dummy_page)
		__free_page(bo->dummy_page);
	kfree(bo);
}

/* A leaf needs a pfn aligned to its size: align a buffer to the largest leaf that fits into it. */
static u32 vpfn_bo_alignment(u64 size)
{
	if (size >= PUD_SIZE)
		return PUD_SIZE >> PAGE_SHIFT;
	if (size >= PMD_SIZE)
		return PMD_SIZE >> PAGE_SHIFT;
	return 1;
}

static struct drm_gem_object *vpfn_bo_create(struct vpfn_device *vdev, u64 size)
{
	static const struct ttm_place place = { .mem_type = TTM_PL_VRAM };
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct vpfn_bo *bo;
	int ret;

	bo = kzalloc_obj(*bo, GFP_KERNEL_ACCOUNT);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, size);
	bo->tbo.base.funcs = &vpfn_gem_funcs;

	ret = ttm_bo_init_validate(&vdev->bdev, &bo->tbo, ttm_bo_type_device, &placement,
				   vpfn_bo_alignment(size), true, NULL, NULL, vpfn_bo_destroy);
	if (ret)
		return ERR_PTR(ret);

	return &bo->tbo.base;
}

/**
 * vpfn_ioctl_gem_create - DRM_IOCTL_VPFN_GEM_CREATE, see there
 * @drm: the device
 * @data: struct drm_vpfn_gem_create
 * @file: who asks
 *
 * Return: 0 or a negative errno.
 */
int vpfn_ioctl_gem_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vpfn_device *vdev = to_vpfn_device(drm);
	struct drm_vpfn_gem_create *args = data;
	struct drm_gem_object *obj;
	int ret;

	if (args->flags || !args->size || !PAGE_ALIGNED(args->size))
		return -EINVAL;
	if (args->size > vdev->vram_size)
		return -E2BIG;

	obj = vpfn_bo_create(vdev, args->size);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	ret = drm_gem_handle_create(file, obj, &args->handle);
	drm_gem_object_put(obj);
	return ret;
}

/**
 * vpfn_ioctl_gem_mmap_offset - DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, see there
 * @drm: the device
 * @data: struct drm_vpfn_gem_mmap_offset
 * @file: who asks
 *
 * Return: 0 or a negative errno.
 */
int vpfn_ioctl_gem_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_gem_mmap_offset *args = data;

	if (args->flags)
		return -EINVAL;

	return drm_gem_ttm_dumb_map_offset(file, drm, args->handle, &args->offset);
}

/**
 * vpfn_ioctl_gem_info - DRM_IOCTL_VPFN_GEM_INFO, see there
 * @drm: the device
 * @data: struct drm_vpfn_gem_info
 * @file: who asks
 *
 * Return: 0 or a negative errno.
 */
int vpfn_ioctl_gem_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_gem_info *args = data;
	struct drm_gem_object *obj;

	if (args->placement)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	args->placement = DRM_VPFN_PLACEMENT_VRAM;
	args->size = obj->size;
	drm_gem_object_put(obj);
	return 0;
}
