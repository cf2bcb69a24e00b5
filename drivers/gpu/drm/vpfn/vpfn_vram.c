// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VRAM: its BAR, its manager, its region in the dmem controller.
 */

#include <linux/cgroup_dmem.h>
#include <linux/io.h>
#include <linux/pci.h>

#include <drm/drm_managed.h>
#include <drm/ttm/ttm_range_manager.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

/* Does the CPU reach all of a resource in TTM_PL_VRAM? */
bool vpfn_vram_is_visible(struct vpfn_device *vdev, const struct ttm_resource *res)
{
	return ((u64)res->start << PAGE_SHIFT) + res->size <= vdev->visible_size;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_vram_is_visible);

static const struct dmem_cgroup_ops vpfn_dmem_ops = {
	.reclaim = ttm_resource_manager_dmem_reclaim,
};

/*
 * With the device, not with the last DRM file: a card that is bound again would have two
 * regions of one name, and limits would bind only the first.
 */
static void vpfn_vram_unregister_region(void *data)
{
	struct ttm_resource_manager *man = data;
	struct dmem_cgroup_region *region = man->cg;

	ttm_resource_manager_set_dmem_region(man, NULL);
	dmem_cgroup_unregister_region(region);
}

static int vpfn_vram_register_region(struct vpfn_device *vdev)
{
	struct ttm_resource_manager *man = ttm_manager_type(&vdev->bdev, TTM_PL_VRAM);
	const struct dmem_cgroup_init init = {
		.size = vdev->vram_size,
		.ops = &vpfn_dmem_ops,
		.reclaim_priv = man,
	};
	struct dmem_cgroup_region *region;

	region = dmem_cgroup_register_region(&init, "drm/%s/vram", vdev->drm.unique);
	if (IS_ERR(region))
		return PTR_ERR(region);

	ttm_resource_manager_set_dmem_region(man, region);
	return devm_add_action_or_reset(vdev->drm.dev, vpfn_vram_unregister_region, man);
}

static void vpfn_vram_fini(struct drm_device *drm, void *data)
{
	ttm_range_man_fini(data, TTM_PL_VRAM);
}

/**
 * vpfn_vram_init - take over the VRAM BAR and put a manager on VRAM
 * @vdev: the device, with its TTM device and the sizes of VRAM
 *
 * Return: 0, or a negative errno with a line in the log; managed resources undo all of it.
 */
int vpfn_vram_init(struct vpfn_device *vdev)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	int ret;

	ret = pcim_request_region(pdev, VPFN_BAR_VRAM, KBUILD_MODNAME);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot reserve the VRAM BAR\n");

	/* On x86 with PAT this, not vm_page_prot, makes user mappings write-combined. */
	vdev->vram_base = pci_resource_start(pdev, VPFN_BAR_VRAM);
	ret = devm_arch_io_reserve_memtype_wc(&pdev->dev, vdev->vram_base, vdev->visible_size);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot make VRAM write-combined\n");

	ret = ttm_range_man_init(&vdev->bdev, TTM_PL_VRAM, false, vdev->vram_size >> PAGE_SHIFT);
	if (!ret)
		ret = drmm_add_action_or_reset(&vdev->drm, vpfn_vram_fini, &vdev->bdev);
	if (!ret)
		ret = vpfn_vram_register_region(vdev);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up the VRAM manager\n");
	return 0;
}
