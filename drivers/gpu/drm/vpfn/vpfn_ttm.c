// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What TTM asks of a driver: pages of a buffer, moves, eviction.
 *
 * Memory types:
 *
 *	TTM_PL_VRAM	device memory; the CPU may reach only its beginning
 *	TTM_PL_TT	system pages that the GART maps, so that the engine reaches them
 *	TTM_PL_SYSTEM	system pages, or none yet, that the engine does not reach
 *
 * Pages come into being when a buffer enters TTM_PL_TT, whose size is therefore the limit for
 * system memory. A buffer leaves it for TTM_PL_SYSTEM only if TTM can swap it out from there.
 * Moves from and to VRAM run on the engine and are pipelined: users of the buffer wait for the
 * fence. They go by TTM_PL_TT, if need be in two hops.
 */

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_prime.h>
#include <drm/ttm/ttm_allocation.h>
#include <drm/ttm/ttm_backup.h>
#include <drm/ttm/ttm_pool.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/vpfn_drm.h>

#include "vpfn_drv.h"
#include "vpfn_trace.h"

/*
 * From the top: TTM aligns a buffer to its largest leaf here, too, so that one of a GiB finds room
 * only if smaller ones leave the bottom of the window.
 */
const struct ttm_place vpfn_ttm_gart_place = {
	.mem_type = TTM_PL_TT,
	.flags = TTM_PL_FLAG_TOPDOWN,
};

/* TTM calls this for the last reference, and when vpfn_ttm_bo_init() fails. */
static void vpfn_ttm_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct vpfn_bo *bo = to_vpfn_bo(tbo);

	/* The buffer may have been what kept the device from a runtime suspend. */
	pm_request_autosuspend(tbo->base.dev->dev);

	if (drm_gem_is_imported(&tbo->base))
		drm_prime_gem_destroy(&tbo->base, NULL);
	drm_gem_object_release(&tbo->base);
	if (bo->dummy_page)
		__free_page(bo->dummy_page);
	kfree(bo);
}

/*
 * A pipelined move leaves the old place to a ghost object of TTM's, which is no struct vpfn_bo and
 * has no DRM device. TTM hands it to the driver as any other.
 */
bool vpfn_ttm_is_vpfn_bo(const struct ttm_buffer_object *tbo)
{
	return tbo->destroy == vpfn_ttm_bo_destroy;
}

/* Hand a new buffer to TTM, which frees it if this fails. @resv is held, for an import. */
int vpfn_ttm_bo_init(struct vpfn_device *vdev, struct vpfn_bo *bo,
		     struct ttm_placement *placement, u32 alignment, struct dma_resv *resv)
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	int ret;

	ret = ttm_bo_init_reserved(&vdev->bdev, &bo->tbo,
				   resv ? ttm_bo_type_sg : ttm_bo_type_device, placement,
				   alignment, &ctx, NULL, resv, vpfn_ttm_bo_destroy);
	if (!ret && !resv)
		ttm_bo_unreserve(&bo->tbo);
	return ret;
}

/* The engine address of a resource in TTM_PL_VRAM or TTM_PL_TT */
u64 vpfn_ttm_addr(const struct ttm_resource *res)
{
	u64 offset = (u64)res->start << PAGE_SHIFT;

	return res->mem_type == TTM_PL_TT ? VPFN_GART_START + offset : offset;
}

static void vpfn_tt_destroy(struct ttm_device *bdev, struct ttm_tt *ttm)
{
	ttm_tt_fini(ttm);
	kfree(to_vpfn_tt(ttm));
}

/*
 * TTM does not charge the array of pages, 8 bytes a page, to the client's memory cgroup. A new
 * buffer takes no other memory, so that a client could fill the machine with such arrays.
 */
static int vpfn_tt_charge_pages(struct ttm_tt *ttm)
{
	struct page **pages = kvcalloc(ttm->num_pages, sizeof(*pages), GFP_KERNEL_ACCOUNT);

	if (!pages)
		return -ENOMEM;
	kvfree(ttm->pages);
	ttm->pages = pages;
	return 0;
}

static struct ttm_tt *vpfn_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	/* An eviction must not fail because of the limit of the client that it is for. */
	gfp_t gfp = tbo->resource ? GFP_KERNEL : GFP_KERNEL_ACCOUNT;
	enum ttm_caching caching = ttm_cached;
	struct vpfn_tt *tt;
	int ret;

	/*
	 * R7: the cache mode belongs to the buffer, wherever it is, since it is part of
	 * vm_page_prot, which a fault cannot change.
	 */
	if (vpfn_ttm_is_vpfn_bo(tbo) && to_vpfn_bo(tbo)->placement & DRM_VPFN_PLACEMENT_VRAM)
		caching = ttm_write_combined;

	tt = kzalloc_obj(*tt, gfp);
	if (!tt)
		return NULL;

	if (page_flags & TTM_TT_FLAG_EXTERNAL)
		ret = ttm_sg_tt_init(&tt->base, tbo, page_flags, caching);
	else
		ret = ttm_tt_init(&tt->base, tbo, page_flags, caching, 0);
	if (ret) {
		kfree(tt);
		return NULL;
	}

	tt->obj = &tbo->base;
	INIT_LIST_HEAD(&tt->link);
	if (tbo->type == ttm_bo_type_device && !tbo->resource && vpfn_tt_charge_pages(&tt->base)) {
		vpfn_tt_destroy(tbo->bdev, &tt->base);
		return NULL;
	}
	return &tt->base;
}

static int vpfn_tt_populate(struct ttm_device *bdev, struct ttm_tt *ttm,
			    struct ttm_operation_ctx *ctx)
{
	struct sg_table *sgt;

	if (!(ttm->page_flags & TTM_TT_FLAG_EXTERNAL))
		return ttm_pool_alloc(&bdev->pool, ttm, ctx);

	sgt = dma_buf_map_attachment(to_vpfn_tt(ttm)->obj->import_attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	ttm->sg = sgt;
	return 0;
}

static void vpfn_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *ttm)
{
	struct vpfn_tt *tt = to_vpfn_tt(ttm);

	vpfn_gart_unbind(bdev_to_vpfn_device(bdev), tt);
	if (!(ttm->page_flags & TTM_TT_FLAG_EXTERNAL)) {
		ttm_pool_free(&bdev->pool, ttm);
		return;
	}

	/* Not if vpfn_prime_unplug() has done it. */
	if (ttm->sg)
		dma_buf_unmap_attachment(tt->obj->import_attach, ttm->sg, DMA_BIDIRECTIONAL);
	ttm->sg = NULL;
}

static bool vpfn_ttm_has_room(struct vpfn_device *vdev, u32 mem_type, u64 size)
{
	struct ttm_resource_manager *man = ttm_manager_type(&vdev->bdev, mem_type);

	return ttm_resource_manager_usage(man) + size <= (u64)man->size << PAGE_SHIFT;
}

/*
 * Would an eviction from VRAM find a place? If not, TTM would end it with an error message. A
 * buffer in the BAR can make room there by going to the rest of VRAM.
 */
static bool vpfn_ttm_can_leave_vram(struct vpfn_device *vdev, const struct ttm_resource *res)
{
	return vpfn_ttm_has_room(vdev, TTM_PL_TT, res->size) ||
	       ttm_backup_bytes_avail() >= res->size ||
	       (vpfn_vram_is_visible(vdev, res) && !READ_ONCE(vdev->engine.error) &&
		vpfn_ttm_has_room(vdev, TTM_PL_VRAM, res->size));
}

static bool vpfn_ttm_eviction_valuable(struct ttm_buffer_object *tbo,
				       const struct ttm_place *place)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	struct ttm_resource *res = tbo->resource;

	/* What is being freed costs nothing to evict. */
	if (tbo->deleted || !vpfn_ttm_is_vpfn_bo(tbo))
		return ttm_bo_eviction_valuable(tbo, place);

	if (res->mem_type == TTM_PL_VRAM) {
		if (drm_dev_is_unplugged(&vdev->drm) || !vpfn_ttm_can_leave_vram(vdev, res))
			return false;
		/* Without the engine the CPU has to reach it. */
		if (READ_ONCE(vdev->engine.error) &&
		    (!vpfn_vram_is_visible(vdev, res) || READ_ONCE(to_vpfn_bo(tbo)->lost)))
			return false;
	} else if (tbo->type == ttm_bo_type_device && tbo->ttm && ttm_tt_is_populated(tbo->ttm)) {
		/* A client could fill all memory with buffers that have left TTM_PL_TT. */
		if (ttm_backup_bytes_avail() < res->size)
			return false;
	}
	return ttm_bo_eviction_valuable(tbo, place);
}

static void vpfn_ttm_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	static const struct ttm_place system = { .mem_type = TTM_PL_SYSTEM };
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);

	/* No place: TTM waits until it is idle and frees it. An import is mapped again later. */
	placement->num_placement = 0;
	if (!vpfn_ttm_is_vpfn_bo(tbo))
		return;
	if (tbo->type == ttm_bo_type_sg) {
		WRITE_ONCE(to_vpfn_bo(tbo)->mem_type, TTM_PL_SYSTEM);
		return;
	}

	placement->num_placement = 1;
	placement->placement = &system;
	if (tbo->resource->mem_type != TTM_PL_VRAM)
		return;

	placement->num_placement = ARRAY_SIZE(vdev->evict_places);
	placement->placement = vdev->evict_places;
	/* Only a buffer in the BAR makes room by going to the rest of VRAM, by the engine. */
	if (!vpfn_vram_is_visible(vdev, tbo->resource) || READ_ONCE(vdev->engine.error)) {
		placement->num_placement--;
		placement->placement++;
	}
}

/*
 * Tell importers that a buffer moves; it is reserved. They map it again only after that, and
 * fences that they leave in the reservation keep its memory.
 */
static void vpfn_ttm_invalidate_exports(struct ttm_buffer_object *tbo)
{
	if (vpfn_ttm_is_vpfn_bo(tbo) && to_vpfn_bo(tbo)->dma_buf)
		dma_buf_invalidate_mappings(to_vpfn_bo(tbo)->dma_buf);
}

/* Clear or copy a buffer by the engine. */
static int vpfn_ttm_move_by_engine(struct ttm_buffer_object *tbo, bool evict, bool clear,
				   struct ttm_resource *new_res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	u64 size = tbo->base.size, dst = vpfn_ttm_addr(new_res);
	struct dma_fence *fence;
	struct vpfn_job *job;
	int ret;

	trace_vpfn_move(tbo, new_res, evict, clear);

	job = vpfn_job_create(vdev, vdev->kernel_queue, vpfn_job_num_descs(size), 0);
	if (IS_ERR(job))
		return PTR_ERR(job);

	job->bo = to_vpfn_bo(tbo);
	if (clear)
		vpfn_job_add(job, VPFN_OP_FILL, dst, 0, size, 0);
	else
		vpfn_job_add(job, VPFN_OP_COPY, dst, vpfn_ttm_addr(tbo->resource), size, 0);
	ret = drm_sched_job_add_resv_dependencies(&job->base, tbo->base.resv,
						  DMA_RESV_USAGE_BOOKKEEP);
	if (ret) {
		vpfn_job_abort(job);
		return ret;
	}

	fence = vpfn_job_push(job);
	if (clear) {
		dma_resv_add_fence(tbo->base.resv, fence, DMA_RESV_USAGE_KERNEL);
		ttm_bo_move_null(tbo, new_res);
	} else {
		ret = ttm_bo_move_accel_cleanup(tbo, fence, evict, true, new_res);
		/* TTM frees the new place: the engine must have left it. */
		if (ret)
			dma_fence_wait(fence, false);
	}
	dma_fence_put(fence);
	return ret;
}

/* From or to VRAM */
static int vpfn_ttm_move_vram(struct ttm_buffer_object *tbo, bool evict, bool clear,
			      struct ttm_operation_ctx *ctx, struct ttm_resource *new_res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	int ret = 0, idx;

	/* TTM logs any other error of an eviction, and any client could be evicting. */
	if (!drm_dev_enter(&vdev->drm, &idx))
		return evict ? -EINTR : -ENODEV;

	vpfn_ttm_invalidate_exports(tbo);
	if (new_res->mem_type == TTM_PL_TT)
		ret = vpfn_gart_bind(vdev, to_vpfn_tt(tbo->ttm), new_res->start);
	if (!ret)
		ret = vpfn_ttm_move_by_engine(tbo, evict, clear, new_res);

	/* Without the engine the CPU copies what it reaches. */
	if (ret == -EIO && tbo->resource) {
		ret = ttm_bo_wait_ctx(tbo, ctx);
		if (!ret)
			ret = ttm_bo_move_memcpy(tbo, ctx, new_res);
	}
	drm_dev_exit(idx);
	return ret;
}

/* To a place where the engine finds the pages, which TTM has populated */
static int vpfn_ttm_move_to_tt(struct ttm_buffer_object *tbo, struct ttm_resource *new_res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	int ret, idx;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;

	ret = vpfn_gart_bind(vdev, to_vpfn_tt(tbo->ttm), new_res->start);
	drm_dev_exit(idx);
	if (!ret)
		ttm_bo_move_null(tbo, new_res);
	return ret;
}

static int vpfn_ttm_move_from_tt(struct ttm_buffer_object *tbo, struct ttm_operation_ctx *ctx,
				 struct ttm_resource *new_res)
{
	int ret;

	vpfn_ttm_invalidate_exports(tbo);
	ret = ttm_bo_wait_ctx(tbo, ctx);
	if (ret)
		return ret;

	vpfn_gart_unbind(bdev_to_vpfn_device(tbo->bdev), to_vpfn_tt(tbo->ttm));
	ttm_bo_move_null(tbo, new_res);
	return 0;
}

/*
 * R8: TTM has zapped all CPU mappings and holds the reservation, so that no fault can bring
 * them back before the buffer has its new place and the fence of the move.
 */
static int vpfn_ttm_try_move(struct ttm_buffer_object *tbo, bool evict,
			     struct ttm_operation_ctx *ctx, struct ttm_resource *new_res,
			     struct ttm_place *hop)
{
	u32 from = tbo->resource ? tbo->resource->mem_type : TTM_PL_SYSTEM;
	/* Memory that was never touched reads as zeroes. */
	bool clear = from == TTM_PL_SYSTEM &&
		     (!tbo->ttm || !(ttm_tt_is_populated(tbo->ttm) || ttm_tt_is_swapped(tbo->ttm)));

	switch (new_res->mem_type) {
	case TTM_PL_VRAM:
		if (from != TTM_PL_SYSTEM || clear)
			return vpfn_ttm_move_vram(tbo, evict, clear, ctx, new_res);
		break;
	case TTM_PL_TT:
		if (from == TTM_PL_VRAM)
			return vpfn_ttm_move_vram(tbo, evict, false, ctx, new_res);
		return vpfn_ttm_move_to_tt(tbo, new_res);
	default:
		if (from == TTM_PL_TT)
			return vpfn_ttm_move_from_tt(tbo, ctx, new_res);
		if (from == TTM_PL_VRAM)
			break;
		ttm_bo_move_null(tbo, new_res);
		return 0;
	}

	*hop = vpfn_ttm_gart_place;
	hop->flags |= TTM_PL_FLAG_TEMPORARY;
	return -EMULTIHOP;
}

static int vpfn_ttm_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
			 struct ttm_resource *new_res, struct ttm_place *hop)
{
	int ret = vpfn_ttm_try_move(tbo, evict, ctx, new_res, hop);

	if (!ret && vpfn_ttm_is_vpfn_bo(tbo))
		WRITE_ONCE(to_vpfn_bo(tbo)->mem_type, new_res->mem_type);
	return ret;
}

/*
 * Where the CPU finds a buffer whose moves are done. Every CPU mapping, by user space or by the
 * kernel, comes by here. -EINVAL for VRAM beyond the BAR, &vpfn_bo.lost if the contents are lost.
 */
int vpfn_ttm_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bdev);

	int lost = vpfn_ttm_is_vpfn_bo(res->bo) ? READ_ONCE(to_vpfn_bo(res->bo)->lost) : 0;

	if (lost)
		return lost;
	if (res->mem_type != TTM_PL_VRAM)
		return 0;
	if (!vpfn_vram_is_visible(vdev, res))
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
	.eviction_valuable = vpfn_ttm_eviction_valuable,
	.evict_flags = vpfn_ttm_evict_flags,
	.move = vpfn_ttm_move,
	.io_mem_reserve = vpfn_ttm_io_mem_reserve,
};

static void vpfn_ttm_fini(struct drm_device *drm, void *data)
{
	ttm_device_fini(data);
}

/* The last buffers may still wait for their fences in TTM's workqueue. */
static void vpfn_ttm_fini_tt(struct drm_device *drm, void *data)
{
	struct ttm_device *bdev = data;

	cancel_work_sync(&bdev_to_vpfn_device(bdev)->flush);
	flush_workqueue(bdev->wq);
	ttm_range_man_fini(bdev, TTM_PL_TT);
}

/**
 * vpfn_ttm_init - set up TTM, until the last DRM file is closed
 * @vdev: the device, with the sizes of its memories and its engine
 *
 * Return: 0, or a negative errno with a line in the log; managed resources undo all of it.
 */
int vpfn_ttm_init(struct vpfn_device *vdev)
{
	struct drm_device *drm = &vdev->drm;
	int ret;

	ret = ttm_device_init(&vdev->bdev, &vpfn_ttm_funcs, drm->dev, drm->anon_inode->i_mapping,
			      drm->vma_offset_manager,
			      TTM_ALLOCATION_PROPAGATE_ENOSPC |
			      TTM_ALLOCATION_POOL_BENEFICIAL_ORDER(PMD_ORDER));
	if (ret)
		return dev_err_probe(drm->dev, ret, "cannot set up TTM\n");
	ret = drmm_add_action_or_reset(drm, vpfn_ttm_fini, &vdev->bdev);
	if (ret)
		return ret;

	ret = vpfn_vram_init(vdev);
	if (ret)
		return ret;

	vdev->evict_places[0].mem_type = TTM_PL_VRAM;
	vdev->evict_places[0].flags = TTM_PL_FLAG_CONTIGUOUS | TTM_PL_FLAG_DESIRED;
	vdev->evict_places[0].fpfn = vdev->visible_size >> PAGE_SHIFT;
	vdev->evict_places[1] = vpfn_ttm_gart_place;

	/* At most half of the memory, as TTM allows before it begins to swap. */
	ret = ttm_range_man_init(&vdev->bdev, TTM_PL_TT, true,
				 min(vdev->gart_size >> PAGE_SHIFT, totalram_pages() / 2));
	if (ret)
		return dev_err_probe(drm->dev, ret, "cannot set up the GART manager\n");
	return drmm_add_action_or_reset(drm, vpfn_ttm_fini_tt, &vdev->bdev);
}
