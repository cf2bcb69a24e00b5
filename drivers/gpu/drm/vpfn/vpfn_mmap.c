// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * CPU mappings of buffers: how they begin, and what becomes of their page-table entries when they
 * change. vpfn_fault.c fills them.
 *
 * "R1" to "R14" are the rules of Documentation/gpu/huge-pfnmap.rst. Each check below says what
 * breaks without it.
 */

#include <linux/dma-buf.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_vma_manager.h>
#include <drm/vpfn_drm.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

/*
 * R10: @vma is about to be split at @addr, or cut there by mremap(). mm takes a PUD leaf for a
 * page table, so zap one across @addr first; refaults install PMD leaves. mmap_lock is held for
 * writing, but that does not exclude a fault under the VMA lock.
 */
static int vpfn_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = addr };
	unsigned long leaf_mask;

	if (IS_ALIGNED(addr, PUD_SIZE))
		return 0;

	vma_start_write(vma);
	if (follow_pfnmap_start(&args))
		return 0;

	leaf_mask = args.addr_mask;
	follow_pfnmap_end(&args);
	if (leaf_mask == PUD_MASK)
		zap_special_vma_range(vma, addr & PUD_MASK, PUD_SIZE);

	return 0;
}

/*
 * R10: x86 takes a PUD leaf that allows no access for an absent one: a later mprotect() would warn
 * about it, and vpfn_vm_may_split() would not see it. The leaves at the ends of the range are
 * zapped as a whole.
 */
static int vpfn_vm_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			    unsigned long newflags)
{
	struct ttm_buffer_object *tbo = vma->vm_private_data;

	if (tbo->base.size >= PUD_SIZE && !(newflags & VM_ACCESS_FLAGS)) {
		vma_start_write(vma);
		zap_special_vma_range(vma, start, end - start);
	}
	return 0;
}

/*
 * R10: mremap() clears a PUD leaf that it should move, without a TLB flush: zap before it begins.
 * The new VMA is not in the tree yet. If a VMA already covers vm_start, this is a split, for which
 * vpfn_vm_may_split() has zapped. fork() copies leaves correctly.
 */
static void vpfn_vm_open(struct vm_area_struct *vma)
{
	struct ttm_buffer_object *tbo = vma->vm_private_data;

	if (tbo->base.size >= PUD_SIZE && vma->vm_mm == current->mm &&
	    !vma_lookup(vma->vm_mm, vma->vm_start))
		drm_vma_node_unmap(&tbo->base.vma_node, tbo->bdev->dev_mapping);

	ttm_bo_vm_open(vma);
}

/*
 * R12: ptrace() and /proc/pid/mem cannot pin a page behind a special entry and use this.
 * ttm_bo_vm_access() checks neither the end of the VMA nor VM_WRITE, and does not wait for moves.
 */
static int vpfn_vm_access(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
			  int write)
{
	struct ttm_buffer_object *tbo = vma->vm_private_data;
	pgoff_t page = linear_page_index(vma, addr) - drm_vma_node_start(&tbo->base.vma_node);

	/* get_user_pages() would refuse this, but mm does not ask it for VM_PFNMAP. */
	if (write && !(vma->vm_flags & VM_WRITE))
		return -EFAULT;

	/* The caller's length may reach past the VMA, to other mappings. */
	len = min_t(unsigned long, len, vma->vm_end - addr);

	return vpfn_bo_access(to_vpfn_bo(tbo), ((u64)page << PAGE_SHIFT) + offset_in_page(addr),
			      buf, len, write);
}

const struct vm_operations_struct vpfn_vm_ops = {
	.fault = vpfn_vm_fault,
	.huge_fault = vpfn_vm_huge_fault,
	.may_split = vpfn_vm_may_split,
	.mprotect = vpfn_vm_mprotect,
	.open = vpfn_vm_open,
	.close = ttm_bo_vm_close,
	.access = vpfn_vm_access,
};

/**
 * vpfn_gem_mmap - &drm_gem_object_funcs.mmap
 * @obj: the buffer
 * @vma: the new mapping
 *
 * An import is mapped by its exporter.
 *
 * Return: 0, -EINVAL for a private mapping, or an error of the exporter.
 */
int vpfn_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	int ret;

	if (drm_gem_is_imported(obj)) {
		/* An exporter without vm_ops leaves those of drm_gem_mmap() in place. */
		vma->vm_ops = NULL;
		vma->vm_private_data = NULL;
		ret = dma_buf_mmap(obj->import_attach->dmabuf, vma,
				   vma->vm_pgoff - drm_vma_node_start(&obj->vma_node));
		/* The mapping holds the dma-buf instead of the object. */
		if (!ret)
			drm_gem_object_put(obj);
		return ret;
	}

	/* R1, R13: sets VM_PFNMAP, which get_user_pages() refuses, and rejects copy-on-write. */
	ret = drm_gem_ttm_mmap(obj, vma);
	if (ret)
		return ret;

	/* R7: the cache mode of VRAM from the start: a fault cannot change vm_page_prot. */
	if (gem_to_vpfn_bo(obj)->placement & DRM_VPFN_PLACEMENT_VRAM)
		vma->vm_page_prot = pgprot_decrypted(pgprot_writecombine(vma->vm_page_prot));
	return 0;
}

/* The alignment that lets @len bytes have leaves of up to @max_order; PAGE_SIZE if none helps. */
VISIBLE_IF_KUNIT unsigned long vpfn_area_align(unsigned long len, unsigned int max_order)
{
	if (max_order >= PUD_ORDER && len >= PUD_SIZE)
		return PUD_SIZE;
	if (max_order >= PMD_ORDER && len >= PMD_SIZE)
		return PMD_SIZE;
	return PAGE_SIZE;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_area_align);

/**
 * vpfn_get_unmapped_area - find an address at which large leaves are possible
 * @file: the DRM file
 * @addr: the address that user space prefers, or 0
 * @len: length of the mapping in bytes
 * @pgoff: offset of the mapping in @file, in pages
 * @flags: MAP_* of mmap()
 *
 * R3: a leaf needs an address congruent to the buffer's offset modulo the size of the leaf, and mm
 * does not provide one. A mapping begins where its buffer does: mmap() takes no other offset, and
 * mremap() asks for a place only to grow, which VM_PFNMAP forbids. An address of the caller's takes
 * precedence, even if it makes large leaves impossible.
 *
 * Return: the address, or a negative errno as unsigned long.
 */
unsigned long vpfn_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
				     unsigned long pgoff, unsigned long flags)
{
	unsigned long align = vpfn_area_align(len, vpfn_max_order());
	unsigned long area;

	if (align == PAGE_SIZE)
		return mm_get_unmapped_area(file, addr, len, 0, flags);

	if (addr || (flags & MAP_FIXED)) {
		area = mm_get_unmapped_area(file, addr, len, 0, flags);
		if ((flags & MAP_FIXED) || area == PAGE_ALIGN(addr))
			return area;
	}

	area = mm_get_unmapped_area(file, 0, len + align - PAGE_SIZE, 0, flags);
	if (IS_ERR_VALUE(area))
		return mm_get_unmapped_area(file, 0, len, 0, flags);

	return ALIGN(area, align);
}
