// SPDX-License-Identifier: GPL-2.0
/*
 * How user space sees a buffer: mappings of device memory with page-table
 * entries ("leaves") of a page, of PMD_SIZE and of PUD_SIZE.
 *
 * "R1" to "R13" are the rules of Documentation/gpu/huge-pfnmap.rst. Each check
 * below says what breaks without it.
 */

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_vma_manager.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>
#include <drm/vpfn_drm.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"
#include "vpfn_trace.h"

static bool vpfn_pud_supported(void)
{
#ifdef CONFIG_X86_64
	/* The fault path does not ask the CPU: on one without 1 GiB pages the bit is reserved. */
	if (!boot_cpu_has(X86_FEATURE_GBPAGES))
		return false;
#endif
	return IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP);
}

/* The order of the largest leaf that the administrator, the kernel and the CPU allow. */
static unsigned int vpfn_max_order(void)
{
	enum vpfn_leaf leaf = vpfn_largest_leaf();

	if (leaf >= VPFN_LEAF_PUD && vpfn_pud_supported())
		return PUD_ORDER;
	if (leaf >= VPFN_LEAF_PMD && IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP))
		return PMD_ORDER;
	return 0;
}

VISIBLE_IF_KUNIT bool vpfn_pages_contiguous(struct page *const *pages, unsigned long count)
{
	unsigned long pfn = page_to_pfn(pages[0]), i;

	for (i = 1; i < count; i++) {
		if (page_to_pfn(pages[i]) != pfn + i)
			return false;
	}
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_pages_contiguous);

/*
 * R2: the core checks only the faulting address. A leaf that reaches out of the VMA
 * outlives it, and may reach out of the buffer, into another client's memory: the
 * VMA lies in the buffer, mmap() saw to that.
 */
VISIBLE_IF_KUNIT bool vpfn_leaf_in_vma(const struct vm_area_struct *vma, unsigned long address,
				       unsigned long size)
{
	unsigned long addr = ALIGN_DOWN(address, size);

	return addr >= vma->vm_start && vma->vm_end - addr >= size;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_leaf_in_vma);

static vm_fault_t vpfn_fault_error(int err)
{
	/* A signal: handle it, then touch again. */
	if (err == -ERESTARTSYS || err == -EINTR || err == -EAGAIN || err == -EBUSY)
		return VM_FAULT_NOPAGE;
	return VM_FAULT_SIGBUS;
}

/*
 * A CPU that a signal keeps from its page handles it and touches again. KVM and VFIO, who do
 * not, leave the flag out: to them a fault without an entry is the end.
 */
static bool vpfn_fault_interruptible(const struct vm_fault *vmf)
{
	return vmf->flags & FAULT_FLAG_INTERRUPTIBLE;
}

/*
 * Wait until the moves of the buffer are done. R4: falling back instead would put a
 * page table where a leaf belongs. Like ttm_bo_vm_fault_reserved(), it waits without
 * the locks if it may: VM_FAULT_RETRY without FAULT_FLAG_RETRY_NOWAIT says that it
 * has given back the reservation and mmap_lock.
 */
static vm_fault_t vpfn_vm_wait_idle(struct vm_fault *vmf)
{
	struct ttm_buffer_object *bo = vmf->vma->vm_private_data;
	long ret;

	if (dma_resv_test_signaled(bo->base.resv, DMA_RESV_USAGE_KERNEL))
		return 0;

	if (fault_flag_allow_retry_first(vmf->flags)) {
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;

		drm_gem_object_get(&bo->base);
		mmap_read_unlock(vmf->vma->vm_mm);
		dma_resv_unlock(bo->base.resv);
		dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				      MAX_SCHEDULE_TIMEOUT);
		drm_gem_object_put(&bo->base);
		return VM_FAULT_RETRY;
	}

	ret = dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_KERNEL,
				    vpfn_fault_interruptible(vmf), MAX_SCHEDULE_TIMEOUT);
	return ret < 0 ? vpfn_fault_error(ret) : 0;
}

/*
 * Make the buffer ready for a mapping: R8: at rest, within reach of the CPU, and with
 * pages, if it is in system memory. Called with the reservation held; 0, or as
 * vpfn_vm_wait_idle().
 */
static vm_fault_t vpfn_vm_prepare(struct vm_fault *vmf)
{
	struct ttm_buffer_object *bo = vmf->vma->vm_private_data;
	struct ttm_operation_ctx ctx = {
		.interruptible = vpfn_fault_interruptible(vmf),
		.gfp_retry_mayfail = true,
	};
	vm_fault_t ret;
	int err;

	err = vpfn_bo_make_visible(to_vpfn_bo(bo), &ctx);
	if (err)
		return vpfn_fault_error(err);

	ret = vpfn_vm_wait_idle(vmf);
	if (ret)
		return ret;

	err = vpfn_io_mem_reserve(bo->bdev, bo->resource);
	return err ? vpfn_fault_error(err) : 0;
}

/*
 * R7: the protection that fits to where the buffer is now. Based on vm_page_prot and
 * not on vm_flags: mm takes the write permission out of it to be told of the first write.
 */
static pgprot_t vpfn_page_prot(const struct vm_area_struct *vma)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;
	pgprot_t prot = ttm_io_prot(bo, bo->resource, vma->vm_page_prot);

	return bo->resource->bus.is_iomem ? pgprot_decrypted(prot) : pgprot_encrypted(prot);
}

/* What TTM's helpers and vpfn_vm_wait_idle() have not given back already */
static void vpfn_vm_unlock(struct vm_fault *vmf, vm_fault_t ret)
{
	struct ttm_buffer_object *bo;

	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return;

	bo = vmf->vma->vm_private_data;
	dma_resv_unlock(bo->base.resv);
}

/* R2: a leaf is one aligned range of memory; the pool gives many. VRAM is one. */
static bool vpfn_is_one_range(struct ttm_buffer_object *bo, unsigned long page_offset,
			      unsigned int order)
{
	struct page *const *pages;

	if (bo->resource->bus.is_iomem)
		return true;

	pages = bo->ttm->pages + page_offset;
	return IS_ALIGNED(page_to_pfn(pages[0]), 1UL << order) &&
	       vpfn_pages_contiguous(pages, 1UL << order);
}

/*
 * Map the leaf of @order around the faulting address, or say VM_FAULT_FALLBACK,
 * upon which the core comes back for the next smaller one. Called with the
 * reservation held, which serialises all inserts for this buffer.
 */
static vm_fault_t vpfn_insert_leaf(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ttm_buffer_object *bo = vma->vm_private_data;
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, size);
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	unsigned long page_offset, pfn;
	vm_fault_t ret;

	if (order > vpfn_max_order() || !vpfn_leaf_in_vma(vma, vmf->address, size))
		return VM_FAULT_FALLBACK;

	ret = vpfn_vm_prepare(vmf);
	if (ret)
		return ret;

	page_offset = linear_page_index(vma, addr) - drm_vma_node_start(&bo->base.vma_node);
	if (!vpfn_is_one_range(bo, page_offset, order)) {
		/*
		 * R4: back to VRAM, if there is room again; and the leaf in the same fault. KVM
		 * and VFIO do not touch again: without an entry after a fault that succeeded
		 * they give up.
		 */
		if (!vpfn_bo_return_to_vram(to_vpfn_bo(bo)))
			return VM_FAULT_FALLBACK;
		ret = vpfn_vm_prepare(vmf);
		if (ret)
			return ret;
	}
	if (bo->resource->bus.is_iomem)
		pfn = PHYS_PFN(bo->resource->bus.offset) + page_offset;
	else
		pfn = page_to_pfn(bo->ttm->pages[page_offset]);

	/* R2: the entry has no room for low pfn bits; the leaf would begin at other memory. */
	if (!IS_ALIGNED(pfn, 1UL << order))
		return VM_FAULT_FALLBACK;

	/* R7: the inserters take vm_page_prot; only PTEs can have a protection of their own. */
	if (pgprot_val(vpfn_page_prot(vma)) != pgprot_val(vma->vm_page_prot))
		return VM_FAULT_FALLBACK;

	/*
	 * R6: with write=false a write to a read-only leaf faults for ever.
	 * R9: the core looked at the slot before the reservation was held; the
	 * inserters warn about a page table that came to be since then.
	 */
	if (order == PUD_ORDER) {
		pud_t pud = pudp_get(vmf->pud);

		if (!pud_none(pud) && !pud_leaf(pud))
			return VM_FAULT_FALLBACK;
		return vmf_insert_pfn_pud(vmf, pfn, write);
	}
	if (order == PMD_ORDER) {
		pmd_t pmd = pmdp_get_lockless(vmf->pmd);

		if (!pmd_none(pmd) && !pmd_leaf(pmd))
			return VM_FAULT_FALLBACK;
		return vmf_insert_pfn_pmd(vmf, pfn, write);
	}

	return VM_FAULT_FALLBACK;
}

static vm_fault_t vpfn_vm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct ttm_buffer_object *bo = vmf->vma->vm_private_data;
	vm_fault_t ret;
	int idx;

	/*
	 * R5: ttm_bo_vm_reserve() may drop mmap_lock, which a fault under the
	 * VMA lock does not hold. R10: nor may such a fault put a leaf back
	 * between vpfn_vm_may_split() and the split.
	 */
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		vma_end_read(vmf->vma);
		return VM_FAULT_RETRY;
	}

	ret = ttm_bo_vm_reserve(bo, vmf);
	if (ret)
		return ret;

	/* R11: no leaf of a device that is gone; vpfn_vm_fault() has the answer. */
	ret = VM_FAULT_FALLBACK;
	if (drm_dev_enter(bo->base.dev, &idx)) {
		ret = vpfn_insert_leaf(vmf, order);
		drm_dev_exit(idx);
	}

	trace_vpfn_fault(vmf, order, ret);
	vpfn_vm_unlock(vmf, ret);
	return ret;
}

/*
 * R11: the device is gone, the process goes on. A page of the buffer's own, not
 * of the device's, since the clients of a device must not meet in it; one entry
 * a fault, since the rest of the VMA may hold leaves that are about to be zapped.
 */
static vm_fault_t vpfn_vm_fault_unplugged(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vpfn_bo *bo = to_vpfn_bo(vma->vm_private_data);

	if (!bo->dummy_page)
		bo->dummy_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!bo->dummy_page)
		return VM_FAULT_OOM;

	/* vm_page_prot is for device memory; this is a page of system memory. */
	return vmf_insert_pfn_prot(vma, vmf->address, page_to_pfn(bo->dummy_page),
				   vm_get_page_prot(vma->vm_flags));
}

/* R9: how many pages to map from the fault on: none beyond the slot, where a leaf may begin. */
VISIBLE_IF_KUNIT pgoff_t vpfn_num_prefault(unsigned long address)
{
	return min(TTM_BO_VM_NUM_PREFAULT, (PMD_SIZE - (address & ~PMD_MASK)) >> PAGE_SHIFT);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_num_prefault);

static vm_fault_t vpfn_vm_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ttm_buffer_object *bo = vma->vm_private_data;
	vm_fault_t ret;
	int idx;

	ret = ttm_bo_vm_reserve(bo, vmf);
	if (ret)
		return ret;

	if (pmd_leaf(pmdp_get_lockless(vmf->pmd))) {
		/* R9: another thread was faster; inserting a PTE would walk into its leaf. */
		ret = VM_FAULT_NOPAGE;
	} else if (drm_dev_enter(bo->base.dev, &idx)) {
		ret = vpfn_vm_prepare(vmf);
		if (!ret)
			ret = ttm_bo_vm_fault_reserved(vmf, vpfn_page_prot(vma),
						       vpfn_num_prefault(vmf->address));
		drm_dev_exit(idx);
	} else {
		ret = vpfn_vm_fault_unplugged(vmf);
	}

	trace_vpfn_fault(vmf, 0, ret);
	vpfn_vm_unlock(vmf, ret);
	return ret;
}

/*
 * R10: @vma is about to be split at @addr, or cut there by mremap(). mm takes
 * what it finds in a PUD for a page table, so a PUD leaf across @addr must go
 * first; it comes back as PMD leaves. mmap_lock is held for writing.
 */
static int vpfn_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = addr };
	unsigned long leaf_mask;

	if (IS_ALIGNED(addr, PUD_SIZE) || follow_pfnmap_start(&args))
		return 0;

	leaf_mask = args.addr_mask;
	follow_pfnmap_end(&args);
	if (leaf_mask == PUD_MASK)
		zap_special_vma_range(vma, addr & PUD_MASK, PUD_SIZE);

	return 0;
}

/*
 * R10: x86 takes a PUD leaf that allows no access for an absent one: a later
 * mprotect() warns about it, and vpfn_vm_may_split() would not see it. So there
 * must be none. The leaves at the ends of the range go as a whole.
 */
static int vpfn_vm_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			    unsigned long newflags)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;

	if (bo->base.size >= PUD_SIZE && !(newflags & VM_ACCESS_FLAGS))
		zap_special_vma_range(vma, start, end - start);

	return 0;
}

/*
 * R10: mremap() clears a PUD leaf that it should move, without a TLB flush, so
 * the leaves go before it begins. The new VMA is not yet in the tree: whoever
 * is found at its address is the VMA of a split, which vpfn_vm_may_split() has
 * seen to. fork() copies leaves correctly.
 */
static void vpfn_vm_open(struct vm_area_struct *vma)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;

	if (bo->base.size >= PUD_SIZE && vma->vm_mm == current->mm &&
	    !vma_lookup(vma->vm_mm, vma->vm_start))
		drm_vma_node_unmap(&bo->base.vma_node, bo->bdev->dev_mapping);

	ttm_bo_vm_open(vma);
}

/*
 * R12: ptrace() and /proc/pid/mem, which cannot pin a page behind a special entry, come
 * here. ttm_bo_vm_access() would not do: it neither looks at the VMA's end and
 * VM_WRITE, nor waits for moves.
 */
static int vpfn_vm_access(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
			  int write)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;
	pgoff_t page = linear_page_index(vma, addr) - drm_vma_node_start(&bo->base.vma_node);

	/* What get_user_pages() would say, but mm does not ask it for VM_PFNMAP. */
	if (write && !(vma->vm_flags & VM_WRITE))
		return -EFAULT;

	/* The caller's length may reach past the VMA, to addresses that are not the buffer's. */
	len = min_t(unsigned long, len, vma->vm_end - addr);

	return vpfn_bo_access(to_vpfn_bo(bo), ((u64)page << PAGE_SHIFT) + offset_in_page(addr),
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
 * @vma: the new mapping, not yet visible to anyone
 *
 * A mapping of an imported buffer is the exporter's.
 *
 * Return: 0, -EINVAL for a private mapping, or what the exporter says.
 */
int vpfn_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	int ret;

	if (drm_gem_is_imported(obj)) {
		/* An exporter that needs none leaves those of drm_gem_mmap() in place. */
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

	/* R7: what VRAM wants, from the start: a fault cannot change vm_page_prot. */
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
 * @addr: the address that user space would like, or 0
 * @len: length of the mapping in bytes
 * @pgoff: offset of the mapping in @file, in pages
 * @flags: MAP_* of mmap()
 *
 * R3: a leaf needs an address congruent to the buffer's offset modulo the size
 * of the leaf, and nothing in mm sees to that. A mapping begins where its buffer
 * does: mmap() takes no other offset, and mremap() asks for a place only to grow,
 * which VM_PFNMAP forbids. The caller's own address comes first, also where it
 * makes large leaves impossible.
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
