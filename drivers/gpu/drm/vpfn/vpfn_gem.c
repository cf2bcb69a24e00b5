// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Buffers as user space sees them: GEM functions, ioctls, fdinfo.
 */

#include <linux/dma-resv.h>
#include <linux/idr.h>
#include <linux/mm.h>

#include <drm/drm_drv.h>
#include <drm/drm_dumb_buffers.h>
#include <drm/drm_file.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_print.h>
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
	int ret;

	ret = vpfn_bo_move_to_tt(bo);
	if (!ret)
		ret = vpfn_bo_wait_moves(bo, true);
	if (!ret)
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

struct drm_gem_object *vpfn_gem_import(struct drm_device *drm, struct dma_buf *dma_buf)
{
	return vpfn_prime_import(drm, dma_buf, &vpfn_gem_funcs);
}

/* Create a buffer and a handle of it. */
static int vpfn_gem_create(struct drm_device *drm, struct drm_file *file, u64 size, u32 placement,
			   u32 flags, u32 *handle)
{
	struct vpfn_device *vdev = to_vpfn_device(drm);
	struct ttm_resource_manager *tt = ttm_manager_type(&vdev->bdev, TTM_PL_TT);
	struct vpfn_bo *bo;
	u64 max_size = 0;
	int ret;

	if (placement & DRM_VPFN_PLACEMENT_VRAM)
		max_size = vdev->vram_size;
	if (placement & DRM_VPFN_PLACEMENT_SYSTEM)
		max_size = max(max_size, tt->size << PAGE_SHIFT);
	if (size > max_size)
		return -E2BIG;

	bo = vpfn_bo_create(vdev, size, placement, flags, &vpfn_gem_funcs, NULL);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	ret = drm_gem_handle_create(file, &bo->tbo.base, handle);
	drm_gem_object_put(&bo->tbo.base);
	return ret;
}

int vpfn_ioctl_gem_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_gem_create *args = data;

	if (!args->placement || args->flags & ~DRM_VPFN_GEM_CREATE_CPU_ACCESS || args->pad ||
	    args->placement & ~(DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM))
		return -EINVAL;
	if (!args->size || !PAGE_ALIGNED(args->size))
		return -EINVAL;

	return vpfn_gem_create(drm, file, args->size, args->placement, args->flags, &args->handle);
}

int vpfn_ioctl_gem_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_gem_mmap_offset *args = data;

	if (args->flags)
		return -EINVAL;

	return drm_gem_ttm_dumb_map_offset(file, drm, args->handle, &args->offset);
}

int vpfn_ioctl_gem_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_gem_info *args = data;
	struct drm_gem_object *obj;

	if (args->placement)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	args->placement = READ_ONCE(gem_to_vpfn_bo(obj)->mem_type) == TTM_PL_VRAM ?
			  DRM_VPFN_PLACEMENT_VRAM : DRM_VPFN_PLACEMENT_SYSTEM;
	args->size = obj->size;
	drm_gem_object_put(obj);
	return 0;
}

int vpfn_dumb_create(struct drm_file *file, struct drm_device *drm,
		     struct drm_mode_create_dumb *args)
{
	int ret;

	/* drm_mode_size_dumb() warns about an unknown color mode, whose size it guesses. */
	if (drm_driver_color_mode_format(drm, args->bpp) == DRM_FORMAT_INVALID)
		return -EINVAL;

	ret = drm_mode_size_dumb(drm, args, 0, 0);
	if (ret)
		return ret;

	return vpfn_gem_create(drm, file, args->size,
			       DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM,
			       DRM_VPFN_GEM_CREATE_CPU_ACCESS, &args->handle);
}

/* No reservation is taken: the reader would wait for the tasks that hold it. */
void vpfn_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	const enum drm_gem_object_status supported = DRM_GEM_OBJECT_RESIDENT |
						     DRM_GEM_OBJECT_ACTIVE;
	struct vpfn_queue *queue = file->driver_priv;
	struct drm_memory_stats vram = {}, system = {}, *stats;
	struct drm_gem_object *obj;
	u32 mem_type;
	int handle;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, handle) {
		mem_type = READ_ONCE(gem_to_vpfn_bo(obj)->mem_type);
		stats = mem_type == TTM_PL_VRAM ? &vram : &system;

		if (drm_gem_object_is_shared_for_memory_stats(obj))
			stats->shared += obj->size;
		else
			stats->private += obj->size;
		if (mem_type != TTM_PL_SYSTEM)
			stats->resident += obj->size;
		if (!dma_resv_test_signaled(obj->resv, DMA_RESV_USAGE_BOOKKEEP))
			stats->active += obj->size;
	}
	spin_unlock(&file->table_lock);

	drm_print_memory_stats(p, &vram, supported, "vram");
	drm_print_memory_stats(p, &system, supported, "system");
	drm_printf(p, "drm-engine-copy:\t%lld ns\n", (s64)atomic64_read(&queue->engine_ns));
}
