// SPDX-License-Identifier: GPL-2.0
/*
 * Where memory lives: the TTM device, the VRAM manager, placements, and moves.
 *
 * There are two places: VRAM, of which the CPU may reach only the beginning, and
 * system memory (TTM_PL_SYSTEM), which the engine reaches by DMA. Every move waits
 * for all users of the buffer, runs on the engine and is pipelined: whoever comes
 * next waits for its fence. Without an engine the CPU moves what it can reach.
 */

#include <linux/atomic.h>
#include <linux/cgroup_dmem.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_vma_manager.h>
#include <drm/ttm/ttm_allocation.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_pool.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>
#include <drm/vpfn_drm.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"
#include "vpfn_regs.h"
#include "vpfn_trace.h"

/*
 * Bytes of buffers in system memory or swapped out from there, on all devices
 * together: the memory that they compete for is the same.
 */
static atomic64_t vpfn_system_bytes = ATOMIC64_INIT(0);

static struct vpfn_device *bdev_to_vpfn_device(struct ttm_device *bdev)
{
	return container_of(bdev, struct vpfn_device, bdev);
}

/*
 * May so much more go to system memory? Half of it, as TTM allows before it begins
 * to swap. Without a limit a client could move the memory of others out of VRAM until
 * the OOM killer comes. The check is not exact, several may pass it at once.
 */
static bool vpfn_system_has_room(u64 size)
{
	return atomic64_read(&vpfn_system_bytes) + size <= (u64)totalram_pages() * PAGE_SIZE / 2;
}

/**
 * vpfn_vram_visible - can the CPU reach all of it?
 * @vdev: the device
 * @res: a resource in VRAM
 *
 * Return: true if it lies in the BAR.
 */
bool vpfn_vram_visible(struct vpfn_device *vdev, const struct ttm_resource *res)
{
	return ((u64)res->start << PAGE_SHIFT) + res->size <= vdev->visible_size;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_vram_visible);

/* What it counts for in vpfn_system_bytes: others pay for what is imported. */
static u64 vpfn_tt_bytes(const struct ttm_tt *tt)
{
	return tt->page_flags & TTM_TT_FLAG_EXTERNAL ? 0 : (u64)tt->num_pages << PAGE_SHIFT;
}

static struct ttm_tt *vpfn_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	/*
	 * R7: the cache mode belongs to the buffer, wherever it lies, since it is part of
	 * vm_page_prot, which no fault can change.
	 */
	bool wc = to_vpfn_bo(tbo)->placement & DRM_VPFN_PLACEMENT_VRAM;
	struct vpfn_tt *tt;

	tt = kzalloc_obj(*tt);
	if (!tt)
		return NULL;

	if (ttm_tt_init(&tt->base, tbo, page_flags, wc ? ttm_write_combined : ttm_cached, 0)) {
		kfree(tt);
		return NULL;
	}

	tt->obj = &tbo->base;
	atomic64_add(vpfn_tt_bytes(&tt->base), &vpfn_system_bytes);
	return &tt->base;
}

static void vpfn_tt_destroy(struct ttm_device *bdev, struct ttm_tt *tt)
{
	atomic64_sub(vpfn_tt_bytes(tt), &vpfn_system_bytes);
	ttm_tt_fini(tt);
	kfree(to_vpfn_tt(tt));
}

/* Map pages of our own for the engine. */
static int vpfn_tt_map(struct vpfn_device *vdev, struct vpfn_tt *tt)
{
	unsigned int count = tt->base.num_pages;
	int ret;

	ret = sg_alloc_table_from_pages(&tt->sgt, tt->base.pages, count, 0,
					(unsigned long)count << PAGE_SHIFT, GFP_KERNEL);
	if (ret)
		return ret;

	guard(mutex)(&vdev->tables_lock);
	ret = dma_map_sgtable(vdev->drm.dev, &tt->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret) {
		sg_free_table(&tt->sgt);
		return ret;
	}

	tt->base.sg = &tt->sgt;
	list_add(&tt->link, &vdev->tables);
	return 0;
}

/* vdev->tables_lock is held. */
static void vpfn_tt_unmap_locked(struct vpfn_device *vdev, struct vpfn_tt *tt)
{
	if (!tt->base.sg)
		return;

	dma_unmap_sgtable(vdev->drm.dev, &tt->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(&tt->sgt);
	tt->base.sg = NULL;
	list_del(&tt->link);
}

static int vpfn_tt_populate(struct ttm_device *bdev, struct ttm_tt *ttm,
			    struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bdev);
	struct vpfn_tt *tt = to_vpfn_tt(ttm);
	int ret, idx;

	if (ttm->page_flags & TTM_TT_FLAG_EXTERNAL)
		return vpfn_import_map(tt);

	ret = ttm_pool_alloc(&bdev->pool, ttm, ctx);
	if (ret)
		return ret;

	/* The CPU may want the pages even of a device that is gone. */
	if (!drm_dev_enter(&vdev->drm, &idx))
		return 0;

	ret = vpfn_tt_map(vdev, tt);
	if (ret)
		ttm_pool_free(&bdev->pool, ttm);
	drm_dev_exit(idx);
	return ret;
}

static void vpfn_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *ttm)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bdev);
	struct vpfn_tt *tt = to_vpfn_tt(ttm);

	if (ttm->page_flags & TTM_TT_FLAG_EXTERNAL) {
		vpfn_import_unmap(tt);
		return;
	}

	scoped_guard(mutex, &vdev->tables_lock)
		vpfn_tt_unmap_locked(vdev, tt);
	ttm_pool_free(&bdev->pool, ttm);
}

/**
 * vpfn_vram_unplug - the device goes away
 * @vdev: the device, after vpfn_engine_unplug()
 *
 * Gives back the DMA mappings of all buffers of our own; the buffers stay.
 */
void vpfn_vram_unplug(struct vpfn_device *vdev)
{
	struct vpfn_tt *tt, *next;

	guard(mutex)(&vdev->tables_lock);
	list_for_each_entry_safe(tt, next, &vdev->tables, link)
		vpfn_tt_unmap_locked(vdev, tt);
}

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

/*
 * Where a buffer of @placement may be, best first. TTM tries "desired" places
 * without evicting anyone, and only then those that are not, by force.
 */
VISIBLE_IF_KUNIT unsigned int vpfn_bo_places(struct vpfn_device *vdev, u32 placement, u32 flags,
					     struct ttm_place *places)
{
	u32 vram_flags = placement & DRM_VPFN_PLACEMENT_SYSTEM ? TTM_PL_FLAG_DESIRED : 0;
	unsigned int n = 0;

	memset(places, 0, 3 * sizeof(*places));
	if (placement & DRM_VPFN_PLACEMENT_VRAM) {
		if (flags & DRM_VPFN_GEM_CREATE_CPU_ACCESS) {
			places[n].mem_type = TTM_PL_VRAM;
			places[n].flags = TTM_PL_FLAG_DESIRED;
			places[n++].lpfn = vdev->visible_size >> PAGE_SHIFT;
		}
		/* From the top: what the CPU does not ask for leaves the visible part to others. */
		places[n].mem_type = TTM_PL_VRAM;
		places[n++].flags = TTM_PL_FLAG_TOPDOWN | vram_flags;
	}
	if (placement & DRM_VPFN_PLACEMENT_SYSTEM)
		places[n++].mem_type = TTM_PL_SYSTEM;

	return n;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_bo_places);

/**
 * vpfn_bo_init - give a new buffer memory
 * @vdev: the device
 * @bo: the buffer: its GEM object, its placement and its flags
 * @resv: the reservation that it shares with an exporter, held; or NULL
 * @destroy: what frees it, also if this fails
 *
 * Return: 0, or a negative errno, -ENOSPC or -ENOMEM if there is no room.
 */
int vpfn_bo_init(struct vpfn_device *vdev, struct vpfn_bo *bo, struct dma_resv *resv,
		 void (*destroy)(struct ttm_buffer_object *tbo))
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	enum ttm_bo_type type = resv ? ttm_bo_type_sg : ttm_bo_type_device;
	struct ttm_place places[3] = { { .mem_type = TTM_PL_SYSTEM } };
	struct ttm_placement placement = { .num_placement = 1, .placement = places };
	u32 mask = bo->placement;
	int ret;

	if (!resv) {
		/* A new buffer takes room in system memory; one that is evicted has to. */
		if (!vpfn_system_has_room(bo->tbo.base.size))
			mask &= ~DRM_VPFN_PLACEMENT_SYSTEM;
		placement.num_placement = vpfn_bo_places(vdev, mask, bo->flags, places);
	}
	if (!placement.num_placement) {
		destroy(&bo->tbo);
		return -ENOSPC;
	}

	ret = ttm_bo_init_reserved(&vdev->bdev, &bo->tbo, type, &placement,
				   vpfn_bo_alignment(bo->tbo.base.size), &ctx, NULL, resv, destroy);
	if (ret)
		return ret;

	if (!resv)
		ttm_bo_unreserve(&bo->tbo);
	return 0;
}

/**
 * vpfn_bo_validate - bring a buffer to where the engine may use it
 * @bo: the buffer, reserved
 * @ctx: how to wait
 *
 * It stays there until the reservation is given back and the fences in it are
 * signalled.
 *
 * Return: 0, or a negative errno, -ENOSPC or -ENOMEM if there is no room, -EIO if its
 * contents are lost.
 */
int vpfn_bo_validate(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	struct ttm_place places[3] = { { .mem_type = TTM_PL_SYSTEM } };
	struct ttm_placement placement = { .num_placement = 1, .placement = places };
	int ret;

	if (READ_ONCE(bo->lost))
		return -EIO;

	if (!bo->tbo.pin_count) {
		if (bo->placement)
			placement.num_placement = vpfn_bo_places(vdev, bo->placement, bo->flags,
								 places);
		ret = ttm_bo_validate(&bo->tbo, &placement, ctx);
		if (ret)
			return ret;
	}

	if (bo->tbo.resource->mem_type == TTM_PL_SYSTEM)
		return ttm_bo_populate(&bo->tbo, ctx);
	return 0;
}

/**
 * vpfn_bo_make_visible - bring a buffer to where the CPU can reach it
 * @bo: the buffer, reserved
 * @ctx: how to wait
 *
 * That is, if it lies in VRAM beyond the BAR, into the BAR, or to system memory if
 * there is no room in the BAR; beyond the limit if need be, since the alternative is
 * a signal. In system memory it has pages then. The move may still be going on at
 * return.
 *
 * Return: 0, or a negative errno.
 */
int vpfn_bo_make_visible(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	const struct ttm_place places[] = {
		{ .mem_type = TTM_PL_VRAM, .lpfn = vdev->visible_size >> PAGE_SHIFT },
		{ .mem_type = TTM_PL_SYSTEM, .flags = TTM_PL_FLAG_FALLBACK },
	};
	struct ttm_placement placement = { .num_placement = 2, .placement = places };
	struct ttm_resource *res = bo->tbo.resource;
	int ret;

	if (!res || (res->mem_type == TTM_PL_VRAM && !vpfn_vram_visible(vdev, res))) {
		ret = ttm_bo_validate(&bo->tbo, &placement, ctx);
		if (ret)
			return ret;
	}

	if (bo->tbo.resource->mem_type == TTM_PL_SYSTEM)
		return ttm_bo_populate(&bo->tbo, ctx);
	return 0;
}

/**
 * vpfn_bo_return_to_vram - bring an evicted buffer back to where the CPU can reach it
 * @bo: the buffer, reserved
 *
 * Nobody is evicted for it. The move may still be going on at return.
 *
 * Return: false if it has to stay in system memory.
 */
bool vpfn_bo_return_to_vram(struct vpfn_bo *bo)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	const struct ttm_place visible = {
		.mem_type = TTM_PL_VRAM,
		.flags = TTM_PL_FLAG_DESIRED,
		.lpfn = vdev->visible_size >> PAGE_SHIFT,
	};
	struct ttm_placement placement = { .num_placement = 1, .placement = &visible };
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };

	if (!(bo->placement & DRM_VPFN_PLACEMENT_VRAM) || bo->tbo.pin_count)
		return false;
	return !ttm_bo_validate(&bo->tbo, &placement, &ctx);
}

/**
 * vpfn_bo_move_to_system - bring a buffer to system memory
 * @bo: the buffer, reserved
 *
 * The move may still be going on at return.
 *
 * Return: 0 or a negative errno.
 */
int vpfn_bo_move_to_system(struct vpfn_bo *bo)
{
	static const struct ttm_place system = { .mem_type = TTM_PL_SYSTEM };
	struct ttm_placement placement = { .num_placement = 1, .placement = &system };
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	int ret;

	ret = ttm_bo_validate(&bo->tbo, &placement, &ctx);
	if (ret)
		return ret;
	return ttm_bo_populate(&bo->tbo, &ctx);
}

/* Evicted buffers go to system memory. */
static void vpfn_bo_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	static const struct ttm_place system = { .mem_type = TTM_PL_SYSTEM };

	placement->num_placement = 1;
	placement->placement = &system;
}

/* An eviction that cannot succeed is not tried: TTM would complain in the log. */
static bool vpfn_bo_eviction_valuable(struct ttm_buffer_object *tbo, const struct ttm_place *place)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);

	if (tbo->resource->mem_type == TTM_PL_VRAM &&
	    (drm_dev_is_unplugged(&vdev->drm) || !vpfn_system_has_room(tbo->base.size) ||
	     (READ_ONCE(vdev->engine.wedged) &&
	      (!vpfn_vram_visible(vdev, tbo->resource) || READ_ONCE(to_vpfn_bo(tbo)->lost)))))
		return false;

	return ttm_bo_eviction_valuable(tbo, place);
}

static int vpfn_bo_move_by_engine(struct vpfn_bo *bo, bool evict, struct ttm_operation_ctx *ctx,
				  struct ttm_resource *new_res)
{
	struct ttm_buffer_object *tbo = &bo->tbo;
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	struct ttm_resource *old_res = tbo->resource;
	struct vpfn_operand dst = { .bo = bo, .res = new_res };
	struct vpfn_operand src = { .bo = bo, .res = old_res };
	struct dma_fence *fence;
	struct vpfn_job *job;
	bool clear;
	int ret;

	/* Memory that nobody has touched yet, in no place or in system memory, reads as zeroes. */
	clear = !old_res ||
		(old_res->mem_type == TTM_PL_SYSTEM && !ttm_tt_is_populated(tbo->ttm));
	trace_vpfn_move(tbo, new_res, evict, clear);

	job = vpfn_job_create(vdev, NULL, vpfn_job_num_descs(tbo->base.size));
	if (IS_ERR(job))
		return PTR_ERR(job);
	job->bo = bo;

	if (clear)
		ret = vpfn_job_add(job, VPFN_OP_FILL, &dst, NULL, tbo->base.size, 0);
	else
		ret = vpfn_job_add(job, VPFN_OP_COPY, &dst, &src, tbo->base.size, 0);
	if (!ret)
		ret = drm_sched_job_add_resv_dependencies(&job->base, tbo->base.resv,
							  DMA_RESV_USAGE_BOOKKEEP);
	if (ret) {
		vpfn_job_abort(job);
		return ret;
	}

	fence = vpfn_job_submit(job);
	if (old_res) {
		ret = ttm_bo_move_accel_cleanup(tbo, fence, evict, true, new_res);
		/* The caller gives the new place back: the engine must have left it. */
		if (ret)
			dma_fence_wait(fence, false);
	} else {
		dma_resv_add_fence(tbo->base.resv, fence, DMA_RESV_USAGE_KERNEL);
		ttm_bo_move_null(tbo, new_res);
	}
	dma_fence_put(fence);
	return ret;
}

/*
 * R8: TTM has zapped all mappings, and holds the reservation, so that no fault can
 * bring them back before the buffer has its new place, and the fence of the move.
 */
static int vpfn_bo_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
			struct ttm_resource *new_res, struct ttm_place *hop)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	struct ttm_resource *old_res = tbo->resource;
	/* An eviction that finds no memory fails; it does not call the OOM killer. */
	struct ttm_operation_ctx populate = *ctx;
	int ret = 0, idx;

	if (new_res->mem_type == TTM_PL_SYSTEM &&
	    (!old_res || old_res->mem_type == TTM_PL_SYSTEM)) {
		ttm_bo_move_null(tbo, new_res);
		return 0;
	}

	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;

	vpfn_bo_invalidate_exports(tbo);

	populate.gfp_retry_mayfail = true;
	if (new_res->mem_type == TTM_PL_SYSTEM || (tbo->ttm && ttm_tt_is_swapped(tbo->ttm)))
		ret = ttm_bo_populate(tbo, &populate);
	if (!ret)
		ret = vpfn_bo_move_by_engine(to_vpfn_bo(tbo), evict, ctx, new_res);

	/* Without an engine the CPU copies what it can reach; it waits for all users before. */
	if (ret == -EIO && old_res) {
		ret = ttm_bo_wait_ctx(tbo, ctx);
		if (!ret)
			ret = ttm_bo_move_memcpy(tbo, ctx, new_res);
	}

	drm_dev_exit(idx);
	return ret;
}

/* Copy @len bytes at @offset of the buffer, which is reserved and at rest, by way of the CPU. */
static int vpfn_bo_copy(struct ttm_buffer_object *bo, u64 offset, void *buf, int len,
			bool write)
{
	struct ttm_bo_kmap_obj map;
	struct iosys_map page;
	bool is_iomem;
	void *virt;
	int done, part, ret;

	for (done = 0; done < len; done += part, offset += part) {
		ret = ttm_bo_kmap(bo, PHYS_PFN(offset), 1, &map);
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
 * @offset: where in the buffer, in bytes
 * @buf: the kernel's memory
 * @len: bytes, which lie in the buffer
 * @write: from @buf to the buffer, instead of the other way
 *
 * Waits for moves. Called without the reservation.
 *
 * Return: @len or a negative errno.
 */
int vpfn_bo_access(struct vpfn_bo *bo, u64 offset, void *buf, int len, bool write)
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	struct ttm_buffer_object *tbo = &bo->tbo;
	long ret;
	int idx;

	if (!drm_dev_enter(tbo->base.dev, &idx))
		return -ENODEV;

	ret = ttm_bo_reserve(tbo, true, false, NULL);
	if (ret)
		goto out_exit;

	ret = vpfn_bo_make_visible(bo, &ctx);
	if (!ret)
		ret = dma_resv_wait_timeout(tbo->base.resv, DMA_RESV_USAGE_KERNEL, true,
					    MAX_SCHEDULE_TIMEOUT);
	if (ret > 0)
		ret = vpfn_bo_copy(tbo, offset, buf, len, write);
	ttm_bo_unreserve(tbo);
out_exit:
	drm_dev_exit(idx);
	return ret;
}

/**
 * vpfn_io_mem_reserve - say where in the physical address space the CPU finds a resource
 * @bdev: the TTM device
 * @res: the resource of a buffer
 *
 * Fills in @res->bus. Calling it again changes nothing. Whoever maps a buffer for the CPU,
 * for user space or for the kernel, comes by here, when the moves of the buffer are done.
 *
 * Return: 0, -EINVAL if it lies in VRAM, but beyond the BAR, or -EIO if it holds bytes of
 * others.
 */
int vpfn_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bdev);

	if (READ_ONCE(to_vpfn_bo(res->bo)->lost))
		return -EIO;
	if (res->mem_type != TTM_PL_VRAM)
		return 0;
	if (!vpfn_vram_visible(vdev, res))
		return -EINVAL;

	res->bus.offset = vdev->vram_base + ((u64)res->start << PAGE_SHIFT);
	res->bus.is_iomem = true;
	res->bus.caching = ttm_write_combined;
	return 0;
}

static const struct ttm_device_funcs vpfn_ttm_funcs = {
	.ttm_tt_create = vpfn_tt_create,
	.ttm_tt_populate = vpfn_tt_populate,
	.ttm_tt_unpopulate = vpfn_tt_unpopulate,
	.ttm_tt_destroy = vpfn_tt_destroy,
	.eviction_valuable = vpfn_bo_eviction_valuable,
	.evict_flags = vpfn_bo_evict_flags,
	.move = vpfn_bo_move,
	.swap_notify = vpfn_bo_invalidate_exports,
	.io_mem_reserve = vpfn_io_mem_reserve,
};

/**
 * vpfn_vram_evict - move all that can be moved out of VRAM
 * @vdev: the device, awake
 *
 * Leaves out what somebody has reserved: unlike ttm_resource_manager_evict_all(),
 * which would wait for a task that waits for this device to wake up. The moves may
 * still be going on at return, see vpfn_vram_drain().
 *
 * Return: 0 or a negative errno, -ENOMEM if there is no room in system memory; what
 * has been moved until then stays there.
 */
int vpfn_vram_evict(struct vpfn_device *vdev)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	struct ttm_bo_lru_cursor cursor;
	struct ttm_buffer_object *tbo;
	int ret = 0;

	ttm_bo_lru_for_each_reserved_guarded(&cursor, ttm_manager_type(&vdev->bdev, TTM_PL_VRAM),
					     &arg, tbo) {
		if (tbo->deleted)
			continue;
		if (!vpfn_system_has_room(tbo->base.size))
			ret = -ENOMEM;
		else
			ret = vpfn_bo_move_to_system(to_vpfn_bo(tbo));
		if (ret)
			break;
	}
	return ret;
}

/**
 * vpfn_vram_drain - wait until the engine has left all places that are given up
 * @vdev: the device
 *
 * Called without reservations.
 */
void vpfn_vram_drain(struct vpfn_device *vdev)
{
	flush_workqueue(vdev->bdev.wq);
}

/**
 * vpfn_vram_is_empty - does VRAM hold nothing that would have to be saved?
 * @vdev: the device
 *
 * Return: true if no buffer has a place in VRAM.
 */
bool vpfn_vram_is_empty(struct vpfn_device *vdev)
{
	return !ttm_resource_manager_usage(ttm_manager_type(&vdev->bdev, TTM_PL_VRAM));
}

static const struct dmem_cgroup_ops vpfn_dmem_ops = {
	.reclaim = ttm_resource_manager_dmem_reclaim,
};

static void vpfn_ttm_fini(struct drm_device *drm, void *data)
{
	ttm_device_fini(data);
}

static void vpfn_vram_man_fini(struct drm_device *drm, void *data)
{
	ttm_range_man_fini(data, TTM_PL_VRAM);
}

static void vpfn_vram_fini(struct drm_device *drm, void *data)
{
	vpfn_vram_drain(data);
}

/* Put VRAM into the hands of TTM, and of the dmem controller. */
static int vpfn_vram_init_manager(struct vpfn_device *vdev)
{
	struct drm_device *drm = &vdev->drm;
	struct ttm_resource_manager *man;
	struct dmem_cgroup_region *region;
	int ret;

	ret = ttm_range_man_init(&vdev->bdev, TTM_PL_VRAM, false, vdev->vram_size >> PAGE_SHIFT);
	if (ret)
		return ret;
	ret = drmm_add_action_or_reset(drm, vpfn_vram_man_fini, &vdev->bdev);
	if (ret)
		return ret;

	man = ttm_manager_type(&vdev->bdev, TTM_PL_VRAM);
	region = drmm_cgroup_register_region(drm, "vram",
					     &(struct dmem_cgroup_init) {
						     .size = vdev->vram_size,
						     .ops = &vpfn_dmem_ops,
						     .reclaim_priv = man,
					     });
	if (IS_ERR(region))
		return PTR_ERR(region);
	ttm_resource_manager_set_dmem_region(man, region);

	return drmm_add_action_or_reset(drm, vpfn_vram_fini, vdev);
}

/**
 * vpfn_vram_init - take over the VRAM BAR and put TTM on it
 * @vdev: the device, with the sizes of VRAM and of the BAR, and its engine
 *
 * TTM and its manager live until the last file is closed, since open files may
 * hold buffers of a device that is gone.
 *
 * Return: 0, or a negative errno with a line in the log; all is undone by the
 * managed-resource actions.
 */
int vpfn_vram_init(struct vpfn_device *vdev)
{
	struct drm_device *drm = &vdev->drm;
	struct pci_dev *pdev = to_pci_dev(drm->dev);
	int ret;

	INIT_LIST_HEAD(&vdev->tables);
	ret = drmm_mutex_init(drm, &vdev->tables_lock);
	if (ret)
		return ret;

	ret = pcim_request_region(pdev, VPFN_BAR_VRAM, KBUILD_MODNAME);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot reserve the VRAM BAR\n");

	/* On x86 with PAT this, not vm_page_prot, makes user mappings write-combined. */
	vdev->vram_base = pci_resource_start(pdev, VPFN_BAR_VRAM);
	ret = devm_arch_io_reserve_memtype_wc(&pdev->dev, vdev->vram_base, vdev->visible_size);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot make VRAM write-combined\n");

	ret = ttm_device_init(&vdev->bdev, &vpfn_ttm_funcs, drm->dev, drm->anon_inode->i_mapping,
			      drm->vma_offset_manager, TTM_ALLOCATION_PROPAGATE_ENOSPC);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up TTM\n");
	ret = drmm_add_action_or_reset(drm, vpfn_ttm_fini, &vdev->bdev);
	if (ret)
		return ret;

	ret = vpfn_vram_init_manager(vdev);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up the VRAM manager\n");
	return 0;
}
