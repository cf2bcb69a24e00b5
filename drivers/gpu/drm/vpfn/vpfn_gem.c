// SPDX-License-Identifier: GPL-2.0
/*
 * What a buffer is: GEM objects, their ioctls, and their share in a file's account.
 */

#include <linux/dma-resv.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_dumb_buffers.h>
#include <drm/drm_file.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_vma_manager.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/vpfn_drm.h>

#include "vpfn_drv.h"

static void vpfn_gem_free(struct drm_gem_object *obj)
{
	ttm_bo_fini(drm_gem_ttm_of_gem(obj));
}

/* For importers that use the CPU. The buffer stays in system memory until it is unmapped. */
static int vpfn_gem_vmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(obj);
	long ret;

	ret = vpfn_bo_move_to_system(bo);
	if (ret)
		return ret;

	ret = dma_resv_wait_timeout(obj->resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret;

	ret = ttm_bo_vmap(&bo->tbo, map);
	if (!ret)
		ttm_bo_pin(&bo->tbo);
	return ret;
}

static void vpfn_gem_vunmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(obj);

	ttm_bo_unpin(&bo->tbo);
	ttm_bo_vunmap(&bo->tbo, map);
}

static const struct drm_gem_object_funcs vpfn_gem_funcs = {
	.free = vpfn_gem_free,
	.export = vpfn_gem_export,
	.vmap = vpfn_gem_vmap,
	.vunmap = vpfn_gem_vunmap,
	.mmap = vpfn_gem_mmap,
	.vm_ops = &vpfn_vm_ops,
};

/* TTM calls this for the last reference; and vpfn_bo_init(), for a buffer that it refuses. */
static void vpfn_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct vpfn_bo *bo = to_vpfn_bo(tbo);

	/* A device that could not sleep for the sake of its VRAM may try again. */
	pm_request_autosuspend(tbo->base.dev->dev);

	if (drm_gem_is_imported(&tbo->base))
		drm_prime_gem_destroy(&tbo->base, NULL);
	drm_gem_object_release(&tbo->base);
	if (bo->dummy_page)
		__free_page(bo->dummy_page);
	kfree(bo);
}

static struct vpfn_bo *vpfn_bo_try_create(struct vpfn_device *vdev, u64 size, u32 placement,
					  u32 flags, struct dma_resv *resv)
{
	struct vpfn_bo *bo;
	int ret;

	bo = kzalloc_obj(*bo, GFP_KERNEL_ACCOUNT);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	bo->placement = placement;
	bo->flags = flags;
	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, size);
	bo->tbo.base.funcs = &vpfn_gem_funcs;

	if (resv)
		dma_resv_lock(resv, NULL);
	ret = vpfn_bo_init(vdev, bo, resv, vpfn_bo_destroy);
	if (resv)
		dma_resv_unlock(resv);

	return ret ? ERR_PTR(ret) : bo;
}

/**
 * vpfn_bo_create - create a buffer
 * @vdev: the device
 * @size: in bytes, a multiple of the page size
 * @placement: mask of DRM_VPFN_PLACEMENT_*, or 0 for memory of somebody else
 * @flags: mask of DRM_VPFN_GEM_CREATE_*
 * @resv: the reservation of the dma-buf whose memory it shall use, or NULL
 *
 * Return: the buffer or an ERR_PTR.
 */
struct vpfn_bo *vpfn_bo_create(struct vpfn_device *vdev, u64 size, u32 placement, u32 flags,
			       struct dma_resv *resv)
{
	struct vpfn_bo *bo = vpfn_bo_try_create(vdev, size, placement, flags, resv);

	if (bo != ERR_PTR(-ENOSPC))
		return bo;

	/* TTM could not evict what submissions have reserved: try without them. */
	down_write(&vdev->submit_lock);
	bo = vpfn_bo_try_create(vdev, size, placement, flags, resv);
	up_write(&vdev->submit_lock);
	return bo;
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
	struct vpfn_bo *bo;
	u64 max_size = 0;
	int ret;

	if (!args->placement || args->flags & ~DRM_VPFN_GEM_CREATE_CPU_ACCESS || args->pad ||
	    args->placement & ~(DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM))
		return -EINVAL;
	if (!args->size || !PAGE_ALIGNED(args->size))
		return -EINVAL;

	if (args->placement & DRM_VPFN_PLACEMENT_VRAM)
		max_size = vdev->vram_size;
	if (args->placement & DRM_VPFN_PLACEMENT_SYSTEM)
		max_size = max(max_size, (u64)totalram_pages() * PAGE_SIZE);
	if (args->size > max_size)
		return -E2BIG;

	bo = vpfn_bo_create(vdev, args->size, args->placement, args->flags, NULL);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	ret = drm_gem_handle_create(file, &bo->tbo.base, &args->handle);
	drm_gem_object_put(&bo->tbo.base);
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
	struct vpfn_bo *bo;
	int ret;

	if (args->placement)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	bo = gem_to_vpfn_bo(obj);
	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (!ret) {
		args->placement = vpfn_bo_is_in_vram(bo) ? DRM_VPFN_PLACEMENT_VRAM :
							   DRM_VPFN_PLACEMENT_SYSTEM;
		args->size = obj->size;
		dma_resv_unlock(obj->resv);
	}

	drm_gem_object_put(obj);
	return ret;
}

/**
 * vpfn_dumb_create - &drm_driver.dumb_create
 * @file: who asks
 * @drm: the device
 * @args: the picture
 *
 * Return: 0 or a negative errno.
 */
int vpfn_dumb_create(struct drm_file *file, struct drm_device *drm,
		     struct drm_mode_create_dumb *args)
{
	struct vpfn_bo *bo;
	int ret;

	/* Of what is no color mode the helper guesses the size, and warns about it. */
	if (drm_driver_color_mode_format(drm, args->bpp) == DRM_FORMAT_INVALID)
		return -EINVAL;

	ret = drm_mode_size_dumb(drm, args, 0, 0);
	if (ret)
		return ret;

	bo = vpfn_bo_create(to_vpfn_device(drm), args->size,
			    DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM,
			    DRM_VPFN_GEM_CREATE_CPU_ACCESS, NULL);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	ret = drm_gem_handle_create(file, &bo->tbo.base, &args->handle);
	drm_gem_object_put(&bo->tbo.base);
	return ret;
}

/**
 * vpfn_file_next_bo - walk the buffers of a file
 * @file: the file
 * @handle: in, the lowest handle to look at; out, that of the buffer
 *
 * Return: the buffer, reserved and with a reference that vpfn_bo_unlock_put() gives
 * back; NULL after the last one.
 */
struct vpfn_bo *vpfn_file_next_bo(struct drm_file *file, int *handle)
{
	struct drm_gem_object *obj;

	spin_lock(&file->table_lock);
	obj = idr_get_next(&file->object_idr, handle);
	if (obj)
		drm_gem_object_get(obj);
	spin_unlock(&file->table_lock);
	if (!obj)
		return NULL;

	dma_resv_lock(obj->resv, NULL);
	return gem_to_vpfn_bo(obj);
}

/**
 * vpfn_bo_unlock_put - end what vpfn_file_next_bo() began
 * @bo: the buffer
 */
void vpfn_bo_unlock_put(struct vpfn_bo *bo)
{
	dma_resv_unlock(bo->tbo.base.resv);
	drm_gem_object_put(&bo->tbo.base);
}

/**
 * vpfn_show_fdinfo - &drm_driver.show_fdinfo
 * @p: where to print
 * @file: the file
 *
 * Documentation/gpu/drm-usage-stats.rst has the keys.
 */
void vpfn_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	const enum drm_gem_object_status supported = DRM_GEM_OBJECT_RESIDENT |
						     DRM_GEM_OBJECT_ACTIVE;
	struct vpfn_file *vfile = file->driver_priv;
	struct drm_memory_stats vram = {}, system = {};
	struct vpfn_bo *bo;
	int handle;

	for (handle = 0; (bo = vpfn_file_next_bo(file, &handle)); handle++) {
		struct drm_gem_object *obj = &bo->tbo.base;
		bool in_vram = vpfn_bo_is_in_vram(bo);
		struct drm_memory_stats *stats = in_vram ? &vram : &system;

		if (drm_gem_object_is_shared_for_memory_stats(obj))
			stats->shared += obj->size;
		else
			stats->private += obj->size;
		if (in_vram || (bo->tbo.ttm && ttm_tt_is_populated(bo->tbo.ttm)))
			stats->resident += obj->size;
		if (!dma_resv_test_signaled(obj->resv, DMA_RESV_USAGE_BOOKKEEP))
			stats->active += obj->size;

		vpfn_bo_unlock_put(bo);
	}

	drm_print_memory_stats(p, &vram, supported, "vram");
	drm_print_memory_stats(p, &system, supported, "system");
	drm_printf(p, "drm-engine-copy:\t%lld ns\n", (s64)atomic64_read(&vfile->engine_ns));
}
