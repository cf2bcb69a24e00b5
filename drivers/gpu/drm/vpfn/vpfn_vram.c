// SPDX-License-Identifier: GPL-2.0
/*
 * Where memory lives: the TTM device, the VRAM manager, and access to VRAM by
 * the kernel itself.
 */

#include <linux/io.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_vma_manager.h>
#include <drm/ttm/ttm_allocation.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_resource.h>

#include "vpfn_drv.h"
#include "vpfn_regs.h"

static struct vpfn_device *bdev_to_vpfn_device(struct ttm_device *bdev)
{
	return container_of(bdev, struct vpfn_device, bdev);
}

static u64 vpfn_vram_offset(const struct ttm_resource *res)
{
	return (u64)res->start << PAGE_SHIFT;
}

/*
 * Zero a range of VRAM. A gigabyte takes long enough to let other tasks run in
 * between, and to let the caller be killed.
 */
static int vpfn_vram_clear(struct vpfn_device *vdev, const struct ttm_resource *res)
{
	u64 start = vpfn_vram_offset(res), end = start + res->size;
	u64 offset, i;

	for (offset = start; offset < end; offset += SZ_2M) {
		u64 stop = min_t(u64, offset + SZ_2M, end);

		if (fatal_signal_pending(current))
			return -EINTR;

		/* 8 bytes a store: the byte-wise memset_io() takes several times as long. */
		for (i = offset; i < stop; i += sizeof(u64))
			__raw_writeq(0, vdev->vram + i);
		cond_resched();
	}

	return 0;
}

/*
 * VRAM is the only place for a buffer, so the only move is the first one: into
 * the range that the manager has just allocated. What another client left
 * there goes before anyone can see it.
 */
static int vpfn_bo_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
			struct ttm_resource *new_res, struct ttm_place *hop)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	int ret, idx;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;

	ret = vpfn_vram_clear(vdev, new_res);
	drm_dev_exit(idx);
	if (ret)
		return ret;

	ttm_bo_move_null(tbo, new_res);
	return 0;
}

/* There is nowhere to evict to: full VRAM is -ENOSPC for the one who asks. */
static bool vpfn_bo_eviction_valuable(struct ttm_buffer_object *tbo, const struct ttm_place *place)
{
	return false;
}

/**
 * vpfn_vram_io_mem_reserve - say where in the physical address space VRAM is
 * @bdev: the TTM device
 * @res: a resource in VRAM
 *
 * Fills in @res->bus. Calling it again changes nothing.
 *
 * Return: 0.
 */
int vpfn_vram_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(bdev);

	res->bus.offset = vdev->vram_base + vpfn_vram_offset(res);
	res->bus.is_iomem = true;
	res->bus.caching = ttm_write_combined;
	return 0;
}

/*
 * ptrace(2) and /proc/pid/mem, which cannot pin a page of VRAM. Called with
 * the reservation held; TTM has checked the range.
 */
static int vpfn_vram_access_memory(struct ttm_buffer_object *tbo, unsigned long offset, void *buf,
				   int len, int write)
{
	struct vpfn_device *vdev = bdev_to_vpfn_device(tbo->bdev);
	void __iomem *p;
	int idx;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;

	p = vdev->vram + vpfn_vram_offset(tbo->resource) + offset;
	if (write)
		memcpy_toio(p, buf, len);
	else
		memcpy_fromio(buf, p, len);

	drm_dev_exit(idx);
	return len;
}

static const struct ttm_device_funcs vpfn_ttm_funcs = {
	.move = vpfn_bo_move,
	.eviction_valuable = vpfn_bo_eviction_valuable,
	.io_mem_reserve = vpfn_vram_io_mem_reserve,
	.access_memory = vpfn_vram_access_memory,
};

static void vpfn_ttm_fini(struct drm_device *drm, void *data)
{
	ttm_device_fini(data);
}

static void vpfn_vram_man_fini(struct drm_device *drm, void *data)
{
	ttm_range_man_fini(data, TTM_PL_VRAM);
}

/**
 * vpfn_vram_init - take over the VRAM BAR and put TTM on it
 * @vdev: the device
 * @size: size of VRAM in bytes, as the device says
 *
 * TTM and its manager live until the last file is closed, since open files may
 * hold buffers of a device that is gone; the BAR's mapping ends with the device.
 *
 * Return: 0, or a negative errno with a line in the log; all is undone by the
 * managed-resource actions.
 */
int vpfn_vram_init(struct vpfn_device *vdev, u64 size)
{
	struct drm_device *drm = &vdev->drm;
	struct pci_dev *pdev = to_pci_dev(drm->dev);
	int ret;

	if (!size || !PAGE_ALIGNED(size) || size != pci_resource_len(pdev, VPFN_BAR_VRAM))
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "%#llx bytes of VRAM behind a BAR of %#llx bytes\n", size,
				     (u64)pci_resource_len(pdev, VPFN_BAR_VRAM));

	vdev->vram_base = pci_resource_start(pdev, VPFN_BAR_VRAM);
	vdev->vram_size = size;

	ret = pcim_request_region(pdev, VPFN_BAR_VRAM, KBUILD_MODNAME);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot reserve the VRAM BAR\n");

	/* On x86 with PAT this, not vm_page_prot, makes user mappings write-combined. */
	ret = devm_arch_io_reserve_memtype_wc(&pdev->dev, vdev->vram_base, size);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot make VRAM write-combined\n");

	vdev->vram = devm_ioremap_wc(&pdev->dev, vdev->vram_base, size);
	if (!vdev->vram)
		return dev_err_probe(&pdev->dev, -ENOMEM, "cannot map VRAM\n");

	ret = ttm_device_init(&vdev->bdev, &vpfn_ttm_funcs, drm->dev, drm->anon_inode->i_mapping,
			      drm->vma_offset_manager, TTM_ALLOCATION_PROPAGATE_ENOSPC);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up TTM\n");

	ret = drmm_add_action_or_reset(drm, vpfn_ttm_fini, &vdev->bdev);
	if (ret)
		return ret;

	ret = ttm_range_man_init(&vdev->bdev, TTM_PL_VRAM, false, size >> PAGE_SHIFT);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up the VRAM manager\n");

	return drmm_add_action_or_reset(drm, vpfn_vram_man_fini, &vdev->bdev);
}
