// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The GART: a table of system pages, through which the engine reaches them.
 *
 * The table lies in coherent memory, so that it needs no restoring after a reset or a suspend.
 */

#include <linux/dma-mapping.h>
#include <linux/scatterlist.h>

#include <drm/drm_managed.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

/* vdev->gart_lock is held. */
static void vpfn_gart_unbind_locked(struct vpfn_device *vdev, struct vpfn_tt *tt)
{
	if (list_empty(&tt->link))
		return;

	list_del_init(&tt->link);
	memset(vdev->gart + tt->gart_page, 0, tt->base.num_pages * sizeof(*vdev->gart));
	/* An import's pages belong to its exporter. */
	if (tt->base.page_flags & TTM_TT_FLAG_EXTERNAL)
		return;

	dma_unmap_sgtable(vdev->drm.dev, &tt->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(&tt->sgt);
}

/* Write the entries; -EINVAL if the exporter's table is too short or not of whole pages. */
static int vpfn_gart_write(struct vpfn_device *vdev, struct vpfn_tt *tt, struct sg_table *sgt)
{
	__le64 *entry = vdev->gart + tt->gart_page, *end = entry + tt->base.num_pages;
	struct sg_dma_page_iter iter;
	dma_addr_t addr;

	for_each_sgtable_dma_page(sgt, &iter, 0) {
		if (entry == end)
			break;
		addr = sg_page_iter_dma_address(&iter);
		if (addr & ~VPFN_GART_ADDR_MASK)
			return -EINVAL;
		*entry++ = cpu_to_le64(addr | VPFN_GART_VALID);
	}
	return entry == end ? 0 : -EINVAL;
}

static int vpfn_gart_map(struct vpfn_device *vdev, struct vpfn_tt *tt)
{
	int ret;

	ret = sg_alloc_table_from_pages(&tt->sgt, tt->base.pages, tt->base.num_pages, 0,
					(u64)tt->base.num_pages << PAGE_SHIFT, GFP_KERNEL);
	if (ret)
		return ret;

	ret = dma_map_sgtable(vdev->drm.dev, &tt->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		sg_free_table(&tt->sgt);
	return ret;
}

/**
 * vpfn_gart_bind - let the engine reach the pages of a buffer
 * @vdev: the device; inside of drm_dev_enter()
 * @tt: the pages, populated and not bound
 * @gart_page: first page in the GART window, from the buffer's new resource
 *
 * Return: 0, -ENOMEM, or -EINVAL for an import whose exporter's table is too short.
 */
int vpfn_gart_bind(struct vpfn_device *vdev, struct vpfn_tt *tt, unsigned long gart_page)
{
	bool external = tt->base.page_flags & TTM_TT_FLAG_EXTERNAL;
	int ret;

	guard(mutex)(&vdev->gart_lock);

	if (!external) {
		ret = vpfn_gart_map(vdev, tt);
		if (ret)
			return ret;
	}

	tt->gart_page = gart_page;
	list_add(&tt->link, &vdev->gart_bindings);
	ret = vpfn_gart_write(vdev, tt, external ? tt->base.sg : &tt->sgt);
	if (ret)
		vpfn_gart_unbind_locked(vdev, tt);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_gart_bind);

/* End what vpfn_gart_bind() began. The engine does not use the pages. */
void vpfn_gart_unbind(struct vpfn_device *vdev, struct vpfn_tt *tt)
{
	guard(mutex)(&vdev->gart_lock);
	vpfn_gart_unbind_locked(vdev, tt);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_gart_unbind);

/* Give back all DMA mappings, after vpfn_engine_unplug(). */
void vpfn_gart_unbind_all(struct vpfn_device *vdev)
{
	struct vpfn_tt *tt, *next;

	guard(mutex)(&vdev->gart_lock);
	list_for_each_entry_safe(tt, next, &vdev->gart_bindings, link)
		vpfn_gart_unbind_locked(vdev, tt);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_gart_unbind_all);

/**
 * vpfn_gart_init - allocate the table of the GART
 * @vdev: the device, with &vpfn_device.gart_size
 *
 * Return: 0, or a negative errno with a line in the log; managed resources undo all of it.
 */
int vpfn_gart_init(struct vpfn_device *vdev)
{
	size_t size = vdev->gart_size / VPFN_GART_PAGE_SIZE * VPFN_GART_ENTRY_SIZE;

	INIT_LIST_HEAD(&vdev->gart_bindings);
	vdev->gart = dmam_alloc_coherent(vdev->drm.dev, size, &vdev->gart_addr, GFP_KERNEL);
	if (!vdev->gart)
		return dev_err_probe(vdev->drm.dev, -ENOMEM, "cannot allocate the GART table\n");

	return drmm_mutex_init(&vdev->drm, &vdev->gart_lock);
}
