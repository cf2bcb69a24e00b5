// SPDX-License-Identifier: GPL-2.0
/*
 * How the device comes and goes.
 */

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/vpfn_drm.h>

#include "vpfn_drv.h"
#include "vpfn_regs.h"

static const char * const vpfn_leaf_names[] = {
	[VPFN_LEAF_PTE] = "pte",
	[VPFN_LEAF_PMD] = "pmd",
	[VPFN_LEAF_PUD] = "pud",
};

static int vpfn_leaf_param_set(const char *val, const struct kernel_param *kp)
{
	int leaf = sysfs_match_string(vpfn_leaf_names, val);

	if (leaf < 0)
		return leaf;

	WRITE_ONCE(*(enum vpfn_leaf *)kp->arg, leaf);
	return 0;
}

static int vpfn_leaf_param_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", vpfn_leaf_names[READ_ONCE(*(enum vpfn_leaf *)kp->arg)]);
}

static const struct kernel_param_ops vpfn_leaf_param_ops = {
	.set = vpfn_leaf_param_set,
	.get = vpfn_leaf_param_get,
};

static enum vpfn_leaf largest_leaf = VPFN_LEAF_PUD;
module_param_cb(largest_leaf, &vpfn_leaf_param_ops, &largest_leaf, 0644);
MODULE_PARM_DESC(largest_leaf,
		 "Largest page-table entry for mappings of VRAM: pte, pmd or pud (default: pud)");

/**
 * vpfn_largest_leaf - the largest leaf that the administrator allows
 *
 * Root may change the answer at any time; what is already mapped stays as it is.
 *
 * Return: the value of the module parameter largest_leaf.
 */
enum vpfn_leaf vpfn_largest_leaf(void)
{
	return READ_ONCE(largest_leaf);
}

static int vpfn_ioctl_get_param(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_get_param *args = data;

	if (args->pad)
		return -EINVAL;

	switch (args->param) {
	case DRM_VPFN_PARAM_VRAM_SIZE:
		args->value = to_vpfn_device(drm)->vram_size;
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
};

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
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

static const struct drm_driver vpfn_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.ioctls = vpfn_ioctls,
	.num_ioctls = ARRAY_SIZE(vpfn_ioctls),
	.fops = &vpfn_fops,
#ifdef CONFIG_DEBUG_FS
	.debugfs_init = vpfn_debugfs_init,
#endif
	.name = KBUILD_MODNAME,
	.desc = "Virtual GPU with huge device-memory mappings",
	.major = 1,
	.minor = 0,
};

/* Make sure that this is a device we know, and ask it for the size of its memory. */
static int vpfn_identify(struct pci_dev *pdev, u64 *vram_size)
{
	void __iomem *regs;
	u32 id, revision;

	regs = pcim_iomap_region(pdev, VPFN_BAR_REGS, KBUILD_MODNAME);
	if (IS_ERR(regs))
		return dev_err_probe(&pdev->dev, PTR_ERR(regs), "cannot map the registers\n");

	id = readl(regs + VPFN_REG_ID);
	if (id != VPFN_ID)
		return dev_err_probe(&pdev->dev, -ENODEV, "not a vpfn device: id %#x\n", id);

	revision = readl(regs + VPFN_REG_REVISION);
	if (revision != VPFN_REVISION)
		return dev_err_probe(&pdev->dev, -ENODEV, "unknown revision %u\n", revision);

	*vram_size = (u64)readl(regs + VPFN_REG_VRAM_SIZE_HI) << 32 |
		     readl(regs + VPFN_REG_VRAM_SIZE_LO);
	return 0;
}

static int vpfn_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vpfn_device *vdev;
	u64 vram_size;
	int ret;

	vdev = devm_drm_dev_alloc(&pdev->dev, &vpfn_driver, struct vpfn_device, drm);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);

	pci_set_drvdata(pdev, vdev);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ret = vpfn_identify(pdev, &vram_size);
	if (ret)
		return ret;

	ret = vpfn_vram_init(vdev, vram_size);
	if (ret)
		return ret;

	return drm_dev_register(&vdev->drm, 0);
}

static void vpfn_pci_remove(struct pci_dev *pdev)
{
	struct vpfn_device *vdev = pci_get_drvdata(pdev);

	drm_dev_unplug(&vdev->drm);
}

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
};
module_pci_driver(vpfn_pci_driver);

MODULE_DESCRIPTION("Virtual GPU with huge device-memory mappings");
MODULE_LICENSE("GPL");
