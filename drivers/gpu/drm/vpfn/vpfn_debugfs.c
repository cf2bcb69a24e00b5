// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What can be seen from outside: files in debugfs.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "vpfn_drv.h"

static const char *vpfn_leaf_level(unsigned long addr_mask)
{
	if (addr_mask == PAGE_MASK)
		return "pte";
	return addr_mask == PMD_MASK ? "pmd" : "pud";
}

/* Describe how @addr is mapped in @mm; the length of the line, or a negative errno. */
static int vpfn_leaf_describe(struct mm_struct *mm, unsigned long addr, char *line, size_t size)
{
	struct follow_pfnmap_args args = { .address = addr };
	int len;

	args.vma = vma_lookup(mm, addr);
	if (!args.vma)
		return -EFAULT;
	if (!(args.vma->vm_flags & (VM_IO | VM_PFNMAP)))
		return -EINVAL;
	if (follow_pfnmap_start(&args))
		return scnprintf(line, size, "level=none\n");

	len = scnprintf(line, size, "level=%s special=%d writable=%d pfn=%#lx prot=%#llx\n",
			vpfn_leaf_level(args.addr_mask), args.special, args.writable, args.pfn,
			(u64)pgprot_val(args.pgprot));
	follow_pfnmap_end(&args);
	return len;
}

/*
 * "leaf": pread(2) at the offset A tells how the address A of the calling
 * process is mapped, in one line:
 *
 *	level=pud special=1 writable=1 pfn=0x100000 prot=0x80000000000001ef
 *
 * with the level of the entry (pte, pmd, pud), its special bit, whether it
 * allows writing, the page frame of A and the protection bits; or "level=none"
 * if nothing is mapped at A yet. It looks at the page table itself, by
 * follow_pfnmap_start(), and answers for mappings of other drivers too.
 *
 * Errors: -EFAULT if there is no mapping at A, -EINVAL if it is neither VM_IO
 * nor VM_PFNMAP.
 */
static ssize_t vpfn_leaf_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct mm_struct *mm = current->mm;
	loff_t pos = 0;
	char line[128];
	int len;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	len = vpfn_leaf_describe(mm, *ppos, line, sizeof(line));
	mmap_read_unlock(mm);
	if (len < 0)
		return len;

	return simple_read_from_buffer(buf, count, &pos, line, len);
}

static const struct file_operations vpfn_leaf_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = vpfn_leaf_read,
	.llseek = default_llseek,
};

/* "evict": writing 1 moves all that can be moved out of VRAM. */
static int vpfn_evict_set(void *data, u64 value)
{
	struct vpfn_device *vdev = data;
	int ret, idx;

	if (value != 1)
		return -EINVAL;
	/* What is being freed is room. */
	ret = vpfn_bo_flush(vdev);
	if (ret)
		return ret;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;
	ret = vpfn_bo_evict_vram(vdev);
	drm_dev_exit(idx);

	/* Wait until the engine has left the old places. */
	return ret ?: vpfn_bo_flush(vdev);
}

DEFINE_DEBUGFS_ATTRIBUTE(vpfn_evict_fops, NULL, vpfn_evict_set, "%llu\n");

void vpfn_debugfs_init(struct drm_minor *minor)
{
	struct vpfn_device *vdev = to_vpfn_device(minor->dev);

	debugfs_create_file("leaf", 0400, minor->debugfs_root, NULL, &vpfn_leaf_fops);
	debugfs_create_file_unsafe("evict", 0200, minor->debugfs_root, vdev, &vpfn_evict_fops);
	ttm_resource_manager_create_debugfs(ttm_manager_type(&vdev->bdev, TTM_PL_VRAM),
					    minor->debugfs_root, "vram");
	ttm_resource_manager_create_debugfs(ttm_manager_type(&vdev->bdev, TTM_PL_TT),
					    minor->debugfs_root, "gart");
}
