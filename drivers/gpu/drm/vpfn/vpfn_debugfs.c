// SPDX-License-Identifier: GPL-2.0
/*
 * How the driver looks from outside.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>

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

/**
 * vpfn_debugfs_init - &drm_driver.debugfs_init
 * @minor: the minor whose directory it is
 */
void vpfn_debugfs_init(struct drm_minor *minor)
{
	debugfs_create_file("leaf", 0400, minor->debugfs_root, NULL, &vpfn_leaf_fops);
}
