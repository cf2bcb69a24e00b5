// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How the device comes and goes: probe, remove, suspend, reset, module parameters.
 */

#include <linux/cc_platform.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pm_runtime.h>
#include <linux/string.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_ioctl.h>
#include <drm/vpfn_drm.h>

#include "vpfn_drv.h"

static const char * const vpfn_leaf_names[] = { "pte", "pmd", "pud" };
static const unsigned int vpfn_leaf_orders[] = { 0, PMD_ORDER, PUD_ORDER };

static int vpfn_leaf_param_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(vpfn_leaf_names, val);

	if (i < 0)
		return i;

	WRITE_ONCE(vpfn_largest_leaf, vpfn_leaf_orders[i]);
	return 0;
}

static int vpfn_leaf_param_get(char *buffer, const struct kernel_param *kp)
{
	unsigned int order = READ_ONCE(vpfn_largest_leaf);

	return sysfs_emit(buffer, "%s\n", vpfn_leaf_names[(order >= PMD_ORDER) +
							  (order >= PUD_ORDER)]);
}

static const struct kernel_param_ops vpfn_leaf_param_ops = {
	.set = vpfn_leaf_param_set,
	.get = vpfn_leaf_param_get,
};

/* Root may change it at any time; existing page-table entries stay. */
module_param_cb(largest_leaf, &vpfn_leaf_param_ops, NULL, 0644);
MODULE_PARM_DESC(largest_leaf,
		 "Largest page-table entry for mappings of buffers: pte, pmd or pud (default: pud)");

static int vpfn_ioctl_get_param(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_get_param *args = data;

	if (args->pad)
		return -EINVAL;

	switch (args->param) {
	case DRM_VPFN_PARAM_VRAM_SIZE:
		args->value = to_vpfn_device(drm)->vram_size;
		return 0;
	case DRM_VPFN_PARAM_VISIBLE_VRAM_SIZE:
		args->value = to_vpfn_device(drm)->visible_size;
		return 0;
	default:
		return -EINVAL;
	}
}

static const struct drm_ioctl_desc vpfn_ioctls[] = {
	DRM_IOCTL_DEF_DRV(VPFN_GET_PARAM, vpfn_ioctl_get_param, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VPFN_GEM_CREATE, vpfn_ioctl_gem_create, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VPFN_GEM_MMAP_OFFSET, vpfn_ioctl_gem_mmap_offset, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VPFN_GEM_INFO, vpfn_ioctl_gem_info, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VPFN_SUBMIT, vpfn_ioctl_submit, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VPFN_WAIT, vpfn_ioctl_wait, DRM_RENDER_ALLOW),
};

static int vpfn_open(struct drm_device *drm, struct drm_file *file)
{
	struct vpfn_queue *queue = vpfn_queue_create(to_vpfn_device(drm),
						     DRM_SCHED_PRIORITY_NORMAL);

	if (IS_ERR(queue))
		return PTR_ERR(queue);
	file->driver_priv = queue;
	return 0;
}

static void vpfn_postclose(struct drm_device *drm, struct drm_file *file)
{
	vpfn_queue_close(file->driver_priv);
}

static const struct file_operations vpfn_fops = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = drm_release,
	.unlocked_ioctl = drm_ioctl,
	.compat_ioctl = drm_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
	.get_unmapped_area = vpfn_get_unmapped_area,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

static const struct drm_driver vpfn_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.open = vpfn_open,
	.postclose = vpfn_postclose,
	.ioctls = vpfn_ioctls,
	.num_ioctls = ARRAY_SIZE(vpfn_ioctls),
	.fops = &vpfn_fops,
	.gem_prime_import = vpfn_gem_import,
	.dumb_create = vpfn_dumb_create,
	.dumb_map_offset = drm_gem_ttm_dumb_map_offset,
	.show_fdinfo = vpfn_show_fdinfo,
#ifdef CONFIG_DEBUG_FS
	.debugfs_init = vpfn_debugfs_init,
#endif
	.name = KBUILD_MODNAME,
	.desc = "Virtual GPU with huge device-memory mappings",
	.major = 1,
	.minor = 0,
};

/* VRAM loses its contents while the device sleeps: evict it. */
static int vpfn_pm_save_vram(struct vpfn_device *vdev)
{
	int ret;

	WRITE_ONCE(vdev->suspending, current);
	ret = vpfn_bo_evict_vram(vdev);
	WRITE_ONCE(vdev->suspending, NULL);
	return ret;
}

static bool vpfn_pm_vram_is_empty(struct vpfn_device *vdev)
{
	return !ttm_resource_manager_usage(ttm_manager_type(&vdev->bdev, TTM_PL_VRAM));
}

/* Evict before other devices suspend, while reclaim still works. */
static int vpfn_pm_prepare(struct device *dev)
{
	struct vpfn_device *vdev = dev_get_drvdata(dev);
	int ret;

	/* What is being freed is room. */
	flush_workqueue(vdev->bdev.wq);
	ret = vpfn_pm_save_vram(vdev);
	if (ret)
		return ret;

	flush_workqueue(vdev->bdev.wq);
	return vpfn_pm_vram_is_empty(vdev) ? 0 : -EBUSY;
}

static int vpfn_pm_suspend(struct device *dev)
{
	vpfn_job_stop(dev_get_drvdata(dev));
	return 0;
}

static int vpfn_pm_resume(struct device *dev)
{
	return vpfn_job_start(dev_get_drvdata(dev));
}

static int vpfn_pm_runtime_suspend(struct device *dev)
{
	struct vpfn_device *vdev = dev_get_drvdata(dev);

	/* Any errno but -EBUSY would forbid further attempts. The last move's end makes one. */
	if (vpfn_pm_save_vram(vdev) || !vpfn_pm_vram_is_empty(vdev))
		return -EBUSY;

	vpfn_job_stop(vdev);
	return 0;
}

static const struct dev_pm_ops vpfn_pm_ops = {
	.prepare = pm_sleep_ptr(vpfn_pm_prepare),
	SYSTEM_SLEEP_PM_OPS(vpfn_pm_suspend, vpfn_pm_resume)
	RUNTIME_PM_OPS(vpfn_pm_runtime_suspend, vpfn_pm_resume, NULL)
};

static u64 vpfn_read64(void __iomem *regs, unsigned int lo, unsigned int hi)
{
	return (u64)readl(regs + hi) << 32 | readl(regs + lo);
}

/* Check that the device is one that this driver knows, and read the sizes of its memories. */
static int vpfn_identify(struct vpfn_device *vdev, void __iomem *regs)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	u64 bar_size = pci_resource_len(pdev, VPFN_BAR_VRAM);
	u32 id, revision;

	id = readl(regs + VPFN_REG_ID);
	if (id != VPFN_ID)
		return dev_err_probe(&pdev->dev, -ENODEV, "not a vpfn device: id %#x\n", id);

	revision = readl(regs + VPFN_REG_REVISION);
	if (revision != VPFN_REVISION)
		return dev_err_probe(&pdev->dev, -ENODEV, "unknown revision %u\n", revision);

	vdev->vram_size = vpfn_read64(regs, VPFN_REG_VRAM_SIZE_LO, VPFN_REG_VRAM_SIZE_HI);
	vdev->visible_size = vpfn_read64(regs, VPFN_REG_VISIBLE_SIZE_LO, VPFN_REG_VISIBLE_SIZE_HI);
	vdev->gart_size = vpfn_read64(regs, VPFN_REG_GART_SIZE_LO, VPFN_REG_GART_SIZE_HI);
	if (!vdev->visible_size || !PAGE_ALIGNED(vdev->visible_size) ||
	    !PAGE_ALIGNED(vdev->vram_size) || vdev->visible_size > vdev->vram_size ||
	    vdev->visible_size != bar_size || vdev->vram_size > VPFN_GART_START ||
	    !vdev->gart_size || !PAGE_ALIGNED(vdev->gart_size))
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "%#llx bytes of %#llx visible in a BAR of %#llx, GART of %#llx\n",
				     vdev->visible_size, vdev->vram_size, bar_size,
				     vdev->gart_size);
	return 0;
}

/*
 * The engine and the CPU use system pages at the same time, without dma_sync_*() in between.
 * Bounce buffers, and memory that is encrypted against the device, rule that out.
 */
static int vpfn_init_dma(struct pci_dev *pdev)
{
	int ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));

	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot do DMA\n");
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT) ||
	    dma_max_mapping_size(&pdev->dev) != SIZE_MAX)
		return dev_err_probe(&pdev->dev, -EOPNOTSUPP,
				     "DMA through bounce buffers is not supported\n");
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	return 0;
}

/* Let other PCI devices reach VRAM, where kernel and topology allow it. */
static int vpfn_init_p2p(struct vpfn_device *vdev)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	int ret = pcim_p2pdma_init(pdev);

	if (ret == -EOPNOTSUPP)
		return 0;
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot set up peer-to-peer DMA\n");

	vdev->p2p = pcim_p2pdma_provider(pdev, VPFN_BAR_VRAM);
	return 0;
}

static void vpfn_pm_init(struct device *dev)
{
	/* User space says whether the device may sleep: power/control. */
	pm_runtime_set_autosuspend_delay(dev, 1000);
	pm_runtime_use_autosuspend(dev);
	pm_runtime_put_autosuspend(dev);
}

static int vpfn_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vpfn_device *vdev;
	void __iomem *regs;
	int ret;

	vdev = devm_drm_dev_alloc(&pdev->dev, &vpfn_driver, struct vpfn_device, drm);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);

	pci_set_drvdata(pdev, vdev);
	init_rwsem(&vdev->submit_lock);
	INIT_WORK(&vdev->flush, vpfn_bo_flush_work);
	init_waitqueue_head(&vdev->flush_wait);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);

	ret = vpfn_init_dma(pdev);
	if (ret)
		return ret;

	regs = pcim_iomap_region(pdev, VPFN_BAR_REGS, KBUILD_MODNAME);
	if (IS_ERR(regs))
		return dev_err_probe(&pdev->dev, PTR_ERR(regs), "cannot map the registers\n");

	ret = vpfn_identify(vdev, regs);
	if (ret)
		return ret;

	ret = vpfn_init_p2p(vdev);
	if (ret)
		return ret;

	ret = vpfn_gart_init(vdev);
	if (ret)
		return ret;

	ret = vpfn_engine_init(vdev, regs);
	if (ret)
		return ret;

	ret = vpfn_job_init(vdev);
	if (ret)
		return ret;

	ret = vpfn_ttm_init(vdev);
	if (ret)
		return ret;

	ret = drm_dev_register(&vdev->drm, 0);
	if (ret)
		return ret;

	vpfn_pm_init(&pdev->dev);
	return 0;
}

static void vpfn_unblock_vram(struct vpfn_device *vdev)
{
	WRITE_ONCE(vdev->vram_blocked, false);
	wake_up_var(&vdev->vram_blocked);
}

static void vpfn_pci_remove(struct pci_dev *pdev)
{
	struct vpfn_device *vdev = pci_get_drvdata(pdev);

	/* Takes back the reference that vpfn_pm_init() gave away: awake from here on. */
	pm_runtime_get_sync(&pdev->dev);
	pm_runtime_dont_use_autosuspend(&pdev->dev);

	/*
	 * drm_dev_unplug() waits for tasks that may wait for any number of jobs: end the jobs
	 * first. Faults take no notice of that before the device is gone.
	 */
	WRITE_ONCE(vdev->vram_blocked, true);
	vpfn_engine_unplug(vdev);
	drm_dev_unplug(&vdev->drm);
	vpfn_unblock_vram(vdev);

	vpfn_bo_revoke_vram(vdev);
	vpfn_prime_unplug(vdev);
	vpfn_gart_unbind_all(vdev);
}

/*
 * A reset of the function switches the BAR off and stops the engine; VRAM keeps its contents.
 * Take VRAM away from the CPU and from importers while jobs still run, since tasks that wait for
 * jobs hold reservations.
 */
static void vpfn_pci_reset_prepare(struct pci_dev *pdev)
{
	struct vpfn_device *vdev = pci_get_drvdata(pdev);

	WRITE_ONCE(vdev->vram_blocked, true);
	vpfn_bo_revoke_vram(vdev);
	vpfn_job_stop(vdev);
}

static void vpfn_pci_reset_done(struct pci_dev *pdev)
{
	struct vpfn_device *vdev = pci_get_drvdata(pdev);

	vpfn_job_start(vdev);
	vpfn_unblock_vram(vdev);
}

static const struct pci_error_handlers vpfn_pci_err_handler = {
	.reset_prepare = vpfn_pci_reset_prepare,
	.reset_done = vpfn_pci_reset_done,
};

static const struct pci_device_id vpfn_pci_ids[] = {
	{ PCI_DEVICE(VPFN_PCI_VENDOR_ID, VPFN_PCI_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vpfn_pci_ids);

static struct pci_driver vpfn_pci_driver = {
	.name = KBUILD_MODNAME,
	.id_table = vpfn_pci_ids,
	.probe = vpfn_pci_probe,
	.remove = vpfn_pci_remove,
	/* The engine must not write to memory of the kernel that kexec starts. */
	.shutdown = vpfn_pci_remove,
	.err_handler = &vpfn_pci_err_handler,
	.driver.pm = pm_ptr(&vpfn_pm_ops),
};
module_pci_driver(vpfn_pci_driver);

MODULE_DESCRIPTION("Virtual GPU with huge device-memory mappings");
MODULE_LICENSE("Dual MIT/GPL");
