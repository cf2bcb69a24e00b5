// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sharing with other devices: exported and imported dma-bufs.
 *
 * An importer that obeys &dma_buf_attach_ops.invalidate_mappings maps the buffer where it is,
 * VRAM if the PCI topology lets it reach VRAM. Any other importer pins the buffer in system
 * memory: what is pinned in VRAM could be neither saved at suspend nor taken away at unplug.
 */

#include <linux/dma-buf.h>
#include <linux/dma-buf-mapping.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>

#include "vpfn_drv.h"

MODULE_IMPORT_NS("DMA_BUF");

static int vpfn_dma_buf_attach(struct dma_buf *dma_buf, struct dma_buf_attachment *attach)
{
	struct drm_gem_object *obj = dma_buf->priv;

	/* vpfn_bo_revoke_vram() waits for the importer to unmap. */
	if (attach->peer2peer &&
	    (!to_vpfn_device(obj->dev)->p2p || !dma_buf_attach_revocable(attach) ||
	     pci_p2pdma_distance(to_pci_dev(obj->dev->dev), attach->dev, false) < 0))
		attach->peer2peer = false;
	return 0;
}

/* For importers that cannot be told of moves, and those that do not want them */
static int vpfn_dma_buf_pin(struct dma_buf_attachment *attach)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(attach->dmabuf->priv);
	int ret = vpfn_bo_move_to_tt(bo);

	if (!ret)
		ttm_bo_pin(&bo->tbo);
	return ret;
}

static void vpfn_dma_buf_unpin(struct dma_buf_attachment *attach)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(attach->dmabuf->priv);

	ttm_bo_unpin(&bo->tbo);
}

static struct sg_table *vpfn_dma_buf_map_vram(struct dma_buf_attachment *attach,
					      struct vpfn_bo *bo, enum dma_data_direction dir)
{
	struct vpfn_device *vdev = to_vpfn_device(bo->tbo.base.dev);
	struct phys_vec range = {
		.paddr = vdev->vram_base + vpfn_ttm_addr(bo->tbo.resource),
		.len = bo->tbo.base.size,
	};
	struct sg_table *sgt;

	sgt = dma_buf_phys_vec_to_sgt(attach, vdev->p2p, &range, 1, range.len, dir);
	if (!IS_ERR(sgt))
		atomic_inc(&vdev->vram_maps);
	return sgt;
}

static struct sg_table *vpfn_dma_buf_map_system(struct dma_buf_attachment *attach,
						struct vpfn_bo *bo, enum dma_data_direction dir)
{
	struct sg_table *sgt;
	int ret;

	sgt = drm_prime_pages_to_sg(bo->tbo.base.dev, bo->tbo.ttm->pages, bo->tbo.ttm->num_pages);
	if (IS_ERR(sgt))
		return sgt;

	ret = dma_map_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret) {
		sg_free_table(sgt);
		kfree(sgt);
		return ERR_PTR(ret);
	}
	return sgt;
}

static struct sg_table *vpfn_dma_buf_map(struct dma_buf_attachment *attach,
					 enum dma_data_direction dir)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(attach->dmabuf->priv);
	struct vpfn_device *vdev = to_vpfn_device(bo->tbo.base.dev);
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	struct sg_table *sgt;
	int ret, idx;

	if (!drm_dev_enter(bo->tbo.base.dev, &idx))
		return ERR_PTR(-ENODEV);

	if (attach->peer2peer)
		ret = vpfn_bo_make_visible(bo, &ctx);
	else
		ret = vpfn_bo_move_to_tt(bo);
	/* Only the end of the move tells whether the buffer has its own bytes. */
	if (!ret)
		ret = vpfn_bo_wait_moves(bo, true);
	/* A function reset switches the BAR off; vpfn_bo_revoke_vram() may have missed the move. */
	if (!ret && bo->tbo.resource->mem_type == TTM_PL_VRAM && READ_ONCE(vdev->vram_blocked))
		ret = vpfn_bo_move_to_tt(bo) ?: vpfn_bo_wait_moves(bo, true);
	if (!ret)
		ret = READ_ONCE(bo->lost);

	if (ret)
		sgt = ERR_PTR(ret);
	else if (bo->tbo.resource->mem_type == TTM_PL_VRAM)
		sgt = vpfn_dma_buf_map_vram(attach, bo, dir);
	else
		sgt = vpfn_dma_buf_map_system(attach, bo, dir);

	drm_dev_exit(idx);
	return sgt;
}

static void vpfn_dma_buf_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			       enum dma_data_direction dir)
{
	struct drm_gem_object *obj = attach->dmabuf->priv;
	struct vpfn_device *vdev = to_vpfn_device(obj->dev);

	/* VRAM has no struct page. */
	if (!sg_page(sgt->sgl)) {
		dma_buf_free_sgt(attach, sgt, dir);
		if (atomic_dec_and_test(&vdev->vram_maps))
			wake_up_var(&vdev->vram_maps);
		return;
	}

	dma_unmap_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	kfree(sgt);
}

static void vpfn_dma_buf_release(struct dma_buf *dma_buf)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(dma_buf->priv);

	dma_resv_lock(bo->tbo.base.resv, NULL);
	bo->dma_buf = NULL;
	dma_resv_unlock(bo->tbo.base.resv);

	drm_gem_dmabuf_release(dma_buf);
}

static const struct dma_buf_ops vpfn_dma_buf_ops = {
	.attach = vpfn_dma_buf_attach,
	.pin = vpfn_dma_buf_pin,
	.unpin = vpfn_dma_buf_unpin,
	.map_dma_buf = vpfn_dma_buf_map,
	.unmap_dma_buf = vpfn_dma_buf_unmap,
	.release = vpfn_dma_buf_release,
	.mmap = drm_gem_dmabuf_mmap,
	.vmap = drm_gem_dmabuf_vmap,
	.vunmap = drm_gem_dmabuf_vunmap,
};

/**
 * vpfn_gem_export - &drm_gem_object_funcs.export
 * @obj: the buffer
 * @flags: of the new file
 *
 * Return: the dma-buf or an ERR_PTR.
 */
struct dma_buf *vpfn_gem_export(struct drm_gem_object *obj, int flags)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(obj);
	struct dma_buf *dma_buf = drm_gem_prime_export(obj, flags);
	int ret;

	if (IS_ERR(dma_buf))
		return dma_buf;

	/* &drm_gem_object.dma_buf will not do: it goes with the last handle. */
	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (ret) {
		dma_buf_put(dma_buf);
		return ERR_PTR(ret);
	}
	dma_buf->ops = &vpfn_dma_buf_ops;
	bo->dma_buf = dma_buf;
	dma_resv_unlock(obj->resv);
	return dma_buf;
}

/* Give up the place of an import, which is reserved; it is mapped again when it is used. */
static int vpfn_import_forget(struct ttm_buffer_object *tbo)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_placement nowhere = {};

	WRITE_ONCE(to_vpfn_bo(tbo)->mem_type, TTM_PL_SYSTEM);
	return ttm_bo_validate(tbo, &nowhere, &ctx);
}

/* The exporter moves the buffer. */
static void vpfn_import_invalidate(struct dma_buf_attachment *attach)
{
	struct vpfn_bo *bo = gem_to_vpfn_bo(attach->importer_priv);

	/* Not mapped, maybe because it moves for vpfn_tt_populate(), which goes on. */
	if (!bo->tbo.ttm || !bo->tbo.ttm->sg)
		return;

	/*
	 * On its way out: TTM unmaps it once its fences have signalled. The ghost object that
	 * ttm_bo_pipeline_gutting() would make of it now would be freed with its resource still
	 * in the LRU list.
	 */
	if (!kref_get_unless_zero(&bo->tbo.base.refcount))
		return;

	if (vpfn_import_forget(&bo->tbo)) {
		/* No memory for a ghost object: an idle buffer needs none. */
		dma_resv_wait_timeout(bo->tbo.base.resv, DMA_RESV_USAGE_BOOKKEEP, false,
				      MAX_SCHEDULE_TIMEOUT);
		vpfn_import_forget(&bo->tbo);
	}
	drm_gem_object_put(&bo->tbo.base);
}

static const struct dma_buf_attach_ops vpfn_import_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = vpfn_import_invalidate,
};

/**
 * vpfn_prime_import - &drm_driver.gem_prime_import
 * @drm: the device
 * @dma_buf: the dma-buf, another driver's or one of this device's
 * @funcs: of the GEM object
 *
 * Return: a new reference to the GEM object for it, or an ERR_PTR.
 */
struct drm_gem_object *vpfn_prime_import(struct drm_device *drm, struct dma_buf *dma_buf,
					 const struct drm_gem_object_funcs *funcs)
{
	struct vpfn_device *vdev = to_vpfn_device(drm);
	struct drm_gem_object *obj = dma_buf->priv;
	struct dma_buf_attachment *attach;
	struct vpfn_bo *bo;
	int ret;

	if (dma_buf->ops == &vpfn_dma_buf_ops && obj->dev == drm) {
		drm_gem_object_get(obj);
		return obj;
	}

	/* Before the attachment: from there on vpfn_import_invalidate() may be called. */
	bo = vpfn_bo_create(vdev, PAGE_ALIGN(dma_buf->size), 0, 0, funcs, dma_buf->resv);
	if (IS_ERR(bo)) {
		ret = PTR_ERR(bo);
		goto err_flush;
	}

	obj = &bo->tbo.base;
	attach = dma_buf_dynamic_attach(dma_buf, drm->dev, &vpfn_import_ops, obj);
	if (IS_ERR(attach)) {
		ret = PTR_ERR(attach);
		drm_gem_object_put(obj);
		goto err_flush;
	}

	get_dma_buf(dma_buf);
	obj->import_attach = attach;
	return obj;

err_flush:
	/* TTM destroys the buffer later, and needs the reservation of the dma-buf to do it. */
	flush_workqueue(vdev->bdev.wq);
	return ERR_PTR(ret);
}

/**
 * vpfn_prime_unplug - unmap all imports
 * @vdev: the device, after vpfn_engine_unplug()
 *
 * Their mappings belong to exporters, which go on.
 */
void vpfn_prime_unplug(struct vpfn_device *vdev)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .sleeping_lock = true };
	struct ttm_bo_lru_cursor cursor;
	struct ttm_buffer_object *tbo;
	struct vpfn_tt *tt;

	ttm_bo_lru_for_each_reserved_guarded(&cursor, ttm_manager_type(&vdev->bdev, TTM_PL_TT),
					     &arg, tbo) {
		if (tbo->type != ttm_bo_type_sg || !tbo->ttm || !tbo->ttm->sg)
			continue;
		tt = to_vpfn_tt(tbo->ttm);
		vpfn_gart_unbind(vdev, tt);
		dma_buf_unmap_attachment(tt->obj->import_attach, tt->base.sg, DMA_BIDIRECTIONAL);
		tt->base.sg = NULL;
	}
}
