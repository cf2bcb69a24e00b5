// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where a buffer may be, and how it is brought there: placements, validation, eviction, and
 * access by the kernel.
 */

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_vma_manager.h>
#include <drm/vpfn_drm.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

/* A leaf needs a pfn aligned to its size: align a buffer to the largest leaf that fits into it. */
VISIBLE_IF_KUNIT u32 vpfn_bo_alignment(u64 size)
{
	if (size >= PUD_SIZE)
		return PUD_SIZE >> PAGE_SHIFT;
	if (size >= PMD_SIZE)
		return PMD_SIZE >> PAGE_SHIFT;
	return 1;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_bo_alignment);

/* &vpfn_device.flush */
void vpfn_bo_flush_work(struct work_struct *work)
{
	struct vpfn_device *vdev = container_of(work, struct vpfn_device, flush);
	int run = atomic_inc_return(&vdev->flush_started);

	flush_workqueue(vdev->bdev.wq);
	WRITE_ONCE(vdev->flush_done, run);
	wake_up_all(&vdev->flush_wait);
}

/**
 * vpfn_bo_flush - wait until buffers that are being freed have given back their places
 * @vdev: the device
 *
 * TTM frees them in a workqueue and does not evict them then. flush_workqueue() has no killable
 * form, so that a work item calls it: one that begins after this call.
 *
 * Return: 0, or -ERESTARTSYS upon a fatal signal.
 */
int vpfn_bo_flush(struct vpfn_device *vdev)
{
	int run = atomic_read(&vdev->flush_started) + 1;

	schedule_work(&vdev->flush);
	return wait_event_killable(vdev->flush_wait, READ_ONCE(vdev->flush_done) - run >= 0);
}

/*
 * Fill in where a buffer of @placement may be, best first, with TTM memory type @system_type
 * for system memory. TTM first tries all places but those of TTM_PL_FLAG_FALLBACK without
 * evicting, then all but those of TTM_PL_FLAG_DESIRED with evicting. So a buffer for both kinds
 * of memory returns to VRAM as soon as there is room, and never evicts another one for that.
 */
VISIBLE_IF_KUNIT unsigned int vpfn_bo_places(struct vpfn_device *vdev, u32 placement, u32 flags,
					     u32 system_type, struct ttm_place *places)
{
	bool both = placement == (DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM);
	unsigned int n = 0;

	memset(places, 0, 3 * sizeof(*places));
	if (placement & DRM_VPFN_PLACEMENT_VRAM) {
		if (flags & DRM_VPFN_GEM_CREATE_CPU_ACCESS) {
			places[n].mem_type = TTM_PL_VRAM;
			places[n].flags = TTM_PL_FLAG_CONTIGUOUS | TTM_PL_FLAG_DESIRED;
			places[n++].lpfn = vdev->visible_size >> PAGE_SHIFT;
		}
		/* From the top: leave the visible part to buffers that the CPU needs. */
		places[n].mem_type = TTM_PL_VRAM;
		places[n++].flags = TTM_PL_FLAG_CONTIGUOUS | TTM_PL_FLAG_TOPDOWN |
				    (both ? TTM_PL_FLAG_DESIRED : 0);
	}
	if (placement & DRM_VPFN_PLACEMENT_SYSTEM) {
		places[n].mem_type = system_type;
		places[n++].flags = TTM_PL_FLAG_TOPDOWN | (both ? TTM_PL_FLAG_FALLBACK : 0);
	}
	return n;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_bo_places);

static struct vpfn_bo *vpfn_bo_try_create(struct vpfn_device *vdev, u64 size, u32 placement,
					  u32 flags, const struct drm_gem_object_funcs *funcs,
					  struct dma_resv *resv)
{
	struct ttm_place places[3] = { { .mem_type = TTM_PL_SYSTEM } };
	struct ttm_placement ttm_placement = { .num_placement = 1, .placement = places };
	struct vpfn_bo *bo;
	int ret, idx;

	bo = kzalloc_obj(*bo, GFP_KERNEL_ACCOUNT);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	bo->placement = placement;
	bo->flags = flags;
	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, size);
	bo->tbo.base.funcs = funcs;

	/* System memory is not populated before it is used. */
	if (placement)
		ttm_placement.num_placement = vpfn_bo_places(vdev, placement, flags,
							     TTM_PL_SYSTEM, places);

	/* The dmem region of VRAM goes with the device. */
	if (!drm_dev_enter(&vdev->drm, &idx)) {
		drm_gem_private_object_fini(&bo->tbo.base);
		kfree(bo);
		return ERR_PTR(-ENODEV);
	}
	if (resv)
		dma_resv_lock(resv, NULL);
	ret = vpfn_ttm_bo_init(vdev, bo, &ttm_placement, vpfn_bo_alignment(size), resv);
	if (resv)
		dma_resv_unlock(resv);
	drm_dev_exit(idx);

	return ret ? ERR_PTR(ret) : bo;
}

/**
 * vpfn_bo_create - create a buffer
 * @vdev: the device
 * @size: in bytes, a multiple of the page size
 * @placement: mask of DRM_VPFN_PLACEMENT_*, or 0 for an import
 * @flags: mask of DRM_VPFN_GEM_CREATE_*
 * @funcs: of the GEM object
 * @resv: the reservation of the dma-buf, if the buffer is an import; else NULL
 *
 * Return: the buffer or an ERR_PTR.
 */
struct vpfn_bo *vpfn_bo_create(struct vpfn_device *vdev, u64 size, u32 placement, u32 flags,
			       const struct drm_gem_object_funcs *funcs, struct dma_resv *resv)
{
	struct vpfn_bo *bo = vpfn_bo_try_create(vdev, size, placement, flags, funcs, resv);

	if (bo != ERR_PTR(-ENOSPC))
		return bo;

	/* TTM does not evict what submissions have reserved, nor what is being freed. */
	if (vpfn_bo_flush(vdev) || down_write_killable(&vdev->submit_lock))
		return ERR_PTR(-EINTR);
	bo = vpfn_bo_try_create(vdev, size, placement, flags, funcs, resv);
	up_write(&vdev->submit_lock);
	return bo;
}

/**
 * vpfn_bo_validate - bring a buffer to where the engine reaches it
 * @bo: the buffer, reserved
 * @ctx: how to wait
 *
 * It stays there until the reservation is given back and the fences in it have signalled.
 *
 * Return: 0 or a negative errno, -ENOSPC or -ENOMEM if there is no room, &vpfn_bo.lost if its
 * contents are lost.
 */
int vpfn_bo_validate(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	struct ttm_place places[3] = { vpfn_ttm_gart_place };
	struct ttm_placement placement = { .num_placement = 1, .placement = places };
	int lost = READ_ONCE(bo->lost);

	if (lost)
		return lost;
	/* Pinned buffers are in TTM_PL_TT. */
	if (bo->tbo.pin_count)
		return 0;

	if (bo->placement)
		placement.num_placement = vpfn_bo_places(vdev, bo->placement, bo->flags,
							 TTM_PL_TT, places);
	return ttm_bo_validate(&bo->tbo, &placement, ctx);
}

/* Does the CPU reach the buffer, which is reserved, where it is? */
static bool vpfn_bo_is_visible(struct vpfn_bo *bo)
{
	struct ttm_resource *res = bo->tbo.resource;

	return res->mem_type == TTM_PL_TT ||
	       (res->mem_type == TTM_PL_VRAM &&
		vpfn_vram_is_visible(bdev_to_vpfn_device(bo->tbo.bdev), res));
}

static int vpfn_bo_move_to_visible(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	bool in_vram = bo->tbo.resource->mem_type == TTM_PL_VRAM;
	const struct ttm_place places[] = {
		{
			.mem_type = TTM_PL_VRAM,
			.flags = TTM_PL_FLAG_CONTIGUOUS | (in_vram ? 0 : TTM_PL_FLAG_DESIRED),
			.lpfn = vdev->visible_size >> PAGE_SHIFT,
		},
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_TOPDOWN | TTM_PL_FLAG_FALLBACK },
	};
	struct ttm_placement placement = { .num_placement = 2, .placement = places };

	if (!(bo->placement & DRM_VPFN_PLACEMENT_VRAM)) {
		placement.placement = &places[1];
		placement.num_placement = 1;
	}
	return ttm_bo_validate(&bo->tbo, &placement, ctx);
}

/**
 * vpfn_bo_make_visible - bring a buffer to where the CPU reaches it
 * @bo: the buffer, reserved
 * @ctx: how to wait, or NULL to move nothing
 *
 * A buffer in VRAM beyond the BAR goes into the BAR, or to system memory if there is no room.
 * One without pages gets VRAM, if that takes no eviction, or pages. The move may still be going
 * on at return.
 *
 * Return: 0 or a negative errno, -EBUSY if the buffer would have to move but may not, -ENOSPC or
 * -ENOMEM if there is no room.
 */
int vpfn_bo_make_visible(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	if (vpfn_bo_is_visible(bo))
		return 0;
	return ctx ? vpfn_bo_move_to_visible(bo, ctx) : -EBUSY;
}

/**
 * vpfn_bo_return_to_vram - bring an evicted buffer back to the BAR
 * @bo: the buffer, reserved
 * @ctx: how to wait, or NULL to move nothing
 *
 * Evicts nothing. The move may still be going on at return.
 *
 * Return: 0 if it moves, -EBUSY if it would have to but may not, -ENOSPC or -ENOMEM if it stays
 * where it is, -ERESTARTSYS upon a signal.
 */
int vpfn_bo_return_to_vram(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	const struct ttm_place visible = {
		.mem_type = TTM_PL_VRAM,
		.flags = TTM_PL_FLAG_CONTIGUOUS | TTM_PL_FLAG_DESIRED,
		.lpfn = vdev->visible_size >> PAGE_SHIFT,
	};
	struct ttm_placement placement = { .num_placement = 1, .placement = &visible };

	if (!(bo->placement & DRM_VPFN_PLACEMENT_VRAM) || bo->tbo.pin_count ||
	    bo->tbo.resource->mem_type == TTM_PL_VRAM)
		return -ENOSPC;
	return ctx ? ttm_bo_validate(&bo->tbo, &placement, ctx) : -EBUSY;
}

/* The reservation has no killable lock. */
static int vpfn_bo_lock_killable(struct dma_resv *resv)
{
	while (!dma_resv_trylock(resv)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(1);
	}
	return 0;
}

/**
 * vpfn_bo_lock - reserve a buffer for access by the CPU
 * @bo: the buffer
 * @interruptible: give up upon any signal, instead of upon a fatal one alone
 *
 * During a function reset it waits, without the reservation, which vpfn_bo_revoke_vram() needs;
 * not inside of drm_dev_enter(), since drm_dev_unplug() comes before the end of that wait.
 *
 * Return: 0 or -EINTR.
 */
int vpfn_bo_lock(struct vpfn_bo *bo, bool interruptible)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	struct dma_resv *resv = bo->tbo.base.resv;
	int ret;

	for (;;) {
		if (wait_var_event_killable(&vdev->vram_blocked, !READ_ONCE(vdev->vram_blocked)))
			return -EINTR;
		ret = interruptible ? dma_resv_lock_interruptible(resv, NULL) :
				      vpfn_bo_lock_killable(resv);
		if (ret || !READ_ONCE(vdev->vram_blocked))
			return ret;
		dma_resv_unlock(resv);
	}
}

/* Bring a buffer, which is reserved, to where it has pages. The move may go on at return. */
int vpfn_bo_move_to_tt(struct vpfn_bo *bo)
{
	struct ttm_placement placement = {
		.num_placement = 1,
		.placement = &vpfn_ttm_gart_place,
	};
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };

	return ttm_bo_validate(&bo->tbo, &placement, &ctx);
}

/**
 * vpfn_bo_wait_moves - wait until the moves of a buffer are done
 * @bo: the buffer; may be reserved
 * @interruptible: end the wait for any signal, instead of for a fatal one alone
 *
 * Return: 0, -ERESTARTSYS upon a signal.
 */
int vpfn_bo_wait_moves(struct vpfn_bo *bo, bool interruptible)
{
	struct dma_resv *resv = bo->tbo.base.resv;
	long ret;

	if (interruptible) {
		ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
					    MAX_SCHEDULE_TIMEOUT);
		return ret < 0 ? ret : 0;
	}

	/* The reservation has no killable wait: look for a fatal signal now and then. */
	do {
		if (fatal_signal_pending(current))
			return -ERESTARTSYS;
		ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, false, HZ / 10);
	} while (!ret);
	return 0;
}

/* Copy between the kernel and the buffer, which is reserved, visible and not moving. */
static int vpfn_bo_copy(struct ttm_buffer_object *tbo, u64 offset, void *buf, int len, bool write)
{
	struct ttm_bo_kmap_obj map;
	struct iosys_map page;
	bool is_iomem;
	void *virt;
	int done, part, ret;

	for (done = 0; done < len; done += part, offset += part) {
		ret = ttm_bo_kmap(tbo, PHYS_PFN(offset), 1, &map);
		if (ret)
			return ret;

		virt = ttm_kmap_obj_virtual(&map, &is_iomem);
		if (is_iomem)
			iosys_map_set_vaddr_iomem(&page, (void __iomem *)virt);
		else
			iosys_map_set_vaddr(&page, virt);

		part = min_t(unsigned long, len - done, PAGE_SIZE - offset_in_page(offset));
		if (write)
			iosys_map_memcpy_to(&page, offset_in_page(offset), buf + done, part);
		else
			iosys_map_memcpy_from(buf + done, &page, offset_in_page(offset), part);
		ttm_bo_kunmap(&map);
	}
	return len;
}

/**
 * vpfn_bo_access - read or write a buffer on behalf of the kernel
 * @bo: the buffer
 * @offset: in the buffer, in bytes
 * @buf: the kernel's memory
 * @len: bytes, which lie in the buffer
 * @write: from @buf to the buffer, instead of the other way
 *
 * Called without the reservation. Waits for moves; only a fatal signal ends that, because
 * callers take an error for the failure of the access.
 *
 * Return: @len or a negative errno.
 */
int vpfn_bo_access(struct vpfn_bo *bo, u64 offset, void *buf, int len, bool write)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	struct ttm_buffer_object *tbo = &bo->tbo;
	bool blocked;
	int ret, idx;

	do {
		ret = vpfn_bo_lock(bo, false);
		if (ret)
			return ret;

		ret = -ENODEV;
		blocked = false;
		if (drm_dev_enter(tbo->base.dev, &idx)) {
			ret = vpfn_bo_make_visible(bo, &ctx);
			if (!ret)
				ret = vpfn_bo_wait_moves(bo, false);
			/* vpfn_bo_revoke_vram() may have missed it on its way to VRAM. */
			blocked = !ret && READ_ONCE(vdev->vram_blocked);
			if (!ret && !blocked)
				ret = vpfn_bo_copy(tbo, offset, buf, len, write);
			drm_dev_exit(idx);
		}
		dma_resv_unlock(tbo->base.resv);
	} while (blocked);
	return ret;
}

/**
 * vpfn_bo_evict_vram - move all that can be moved out of VRAM
 * @vdev: the device, awake
 *
 * Leaves out reserved buffers, unlike ttm_resource_manager_evict_all(), which would wait for a
 * task that waits for this device to resume. The moves may still be going on at return.
 *
 * Return: 0 or a negative errno, -ENOSPC or -ENOMEM if there is no room in system memory; the
 * buffers that have been moved until then stay there.
 */
int vpfn_bo_evict_vram(struct vpfn_device *vdev)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	struct ttm_bo_lru_cursor cursor;
	struct ttm_buffer_object *tbo;
	int ret = 0;

	ttm_bo_lru_for_each_reserved_guarded(&cursor, ttm_manager_type(&vdev->bdev, TTM_PL_VRAM),
					     &arg, tbo) {
		if (tbo->deleted || !vpfn_ttm_is_vpfn_bo(tbo))
			continue;
		ret = vpfn_bo_move_to_tt(to_vpfn_bo(tbo));
		if (ret)
			break;
	}
	return ret;
}

/**
 * vpfn_bo_revoke_vram - take VRAM away from CPU mappings and from importers
 * @vdev: the device; after drm_dev_unplug(), or with &vpfn_device.vram_blocked set
 *
 * Waits until importers have ended their DMA and unmapped: the bus addresses must not be used
 * after that. The engine goes on.
 */
void vpfn_bo_revoke_vram(struct vpfn_device *vdev)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .sleeping_lock = true };
	struct ttm_bo_lru_cursor cursor;
	struct ttm_buffer_object *tbo;

	ttm_bo_lru_for_each_reserved_guarded(&cursor, ttm_manager_type(&vdev->bdev, TTM_PL_VRAM),
					     &arg, tbo) {
		if (tbo->deleted || !vpfn_ttm_is_vpfn_bo(tbo))
			continue;
		drm_vma_node_unmap(&tbo->base.vma_node, vdev->bdev.dev_mapping);
		if (to_vpfn_bo(tbo)->dma_buf)
			dma_buf_invalidate_mappings(to_vpfn_bo(tbo)->dma_buf);
	}
	wait_var_event(&vdev->vram_maps, !atomic_read(&vdev->vram_maps));
}
