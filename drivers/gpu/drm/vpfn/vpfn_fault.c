// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * CPU faults on buffers: which page-table entries ("leaves") of PAGE_SIZE, PMD_SIZE and PUD_SIZE
 * they install.
 *
 * "R1" to "R14" are the rules of Documentation/gpu/huge-pfnmap.rst. Each check below says what
 * breaks without it.
 *
 * A fault first tries without blocking. If the buffer is reserved, has to move or is moving, it
 * drops its lock, does the work, and has the fault repeated. Only if that is not allowed, which
 * includes the repetition, it blocks under mmap_lock.
 */

#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include <drm/drm_drv.h>
#include <drm/drm_vma_manager.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"
#include "vpfn_trace.h"

/* Order of the largest leaf that the administrator allows, see the module parameter */
unsigned int vpfn_largest_leaf = PUD_ORDER;

/*
 * R14: the order of the largest leaf that the kernel and the CPU support. Without
 * ARCH_SUPPORTS_PMD_PFNMAP pmd_mkspecial() does nothing, and get_user_pages_fast() would take the
 * leaf for one with struct pages; likewise for PUDs.
 */
unsigned int vpfn_max_order(void)
{
	unsigned int order = READ_ONCE(vpfn_largest_leaf);

#ifdef CONFIG_X86_64
	/* The fault path does not ask the CPU: without 1 GiB pages the bit is reserved. */
	if (!boot_cpu_has(X86_FEATURE_GBPAGES))
		order = min(order, PMD_ORDER);
#endif
	if (!IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP))
		order = min(order, PMD_ORDER);
	if (!IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP))
		order = 0;
	return order;
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
 * R2: mm does not check the end of the leaf. One that reaches out of the VMA would outlive it, and
 * map memory behind the buffer.
 */
VISIBLE_IF_KUNIT bool vpfn_leaf_in_vma(const struct vm_area_struct *vma, unsigned long address,
				       unsigned long size)
{
	unsigned long addr = ALIGN_DOWN(address, size);

	return addr >= vma->vm_start && vma->vm_end - addr >= size;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_leaf_in_vma);

/*
 * R2: find the pfn of a leaf of @order at @page of the buffer. Returns false if the memory is not
 * one range that is aligned to the leaf: pages of the pool are so by chance, and device memory
 * only if the resource says so.
 */
static bool vpfn_leaf_pfn(struct ttm_buffer_object *tbo, pgoff_t page, unsigned int order,
			  unsigned long *pfn)
{
	if (tbo->resource->bus.is_iomem) {
		*pfn = PHYS_PFN(tbo->resource->bus.offset) + page;
		if (!(tbo->resource->placement & TTM_PL_FLAG_CONTIGUOUS))
			return false;
	} else {
		*pfn = page_to_pfn(tbo->ttm->pages[page]);
		if (!vpfn_pages_contiguous(tbo->ttm->pages + page, 1UL << order))
			return false;
	}
	/* The entry has no room for low pfn bits; the leaf would begin at other memory. */
	return IS_ALIGNED(*pfn, 1UL << order);
}

/*
 * R7: the protection for where the buffer is now. Based on vm_page_prot and not on vm_flags: mm
 * takes the write permission out of it to be told of the first write.
 */
static pgprot_t vpfn_page_prot(const struct vm_area_struct *vma)
{
	struct ttm_buffer_object *tbo = vma->vm_private_data;
	pgprot_t prot = ttm_io_prot(tbo, tbo->resource, vma->vm_page_prot);

	return tbo->resource->bus.is_iomem ? pgprot_decrypted(prot) : pgprot_encrypted(prot);
}

/*
 * A CPU access is retried after the signal. Accesses by the kernel are not: a system call would
 * fault again and again. KVM and VFIO do not retry either, and omit FAULT_FLAG_INTERRUPTIBLE.
 */
static bool vpfn_fault_interruptible(const struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_INTERRUPTIBLE) && (vmf->flags & FAULT_FLAG_USER);
}

static vm_fault_t vpfn_fault_error(int err)
{
	switch (err) {
	case -EBUSY:
		return VM_FAULT_RETRY;
	case -ERESTARTSYS:
	case -EINTR:
		return VM_FAULT_NOPAGE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/*
 * Map the leaf of @order with @pfn around the faulting address. Called with the reservation held,
 * which serialises all inserts for this buffer; the buffer is visible and does not move.
 */
static vm_fault_t vpfn_insert_leaf(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	/* R7: the inserters take vm_page_prot; only PTEs can have a protection of their own. */
	if (pgprot_val(vpfn_page_prot(vmf->vma)) != pgprot_val(vmf->vma->vm_page_prot))
		return VM_FAULT_FALLBACK;

	/*
	 * R6: with write=false a write to a read-only leaf would fault for ever.
	 * R9: the core looked at the slot before the reservation was held. Another fault may
	 * have put a page table there since then, which the inserters do not expect.
	 */
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP) && order == PUD_ORDER) {
		pud_t pud = pudp_get(vmf->pud);

		if (!pud_none(pud) && !pud_leaf(pud))
			return VM_FAULT_FALLBACK;
		return vmf_insert_pfn_pud(vmf, pfn, write);
	}
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && order == PMD_ORDER) {
		pmd_t pmd = pmdp_get_lockless(vmf->pmd);

		if (!pmd_none(pmd) && !pmd_leaf(pmd))
			return VM_FAULT_FALLBACK;
		return vmf_insert_pfn_pmd(vmf, pfn, write);
	}
	return VM_FAULT_FALLBACK;
}

/* R9: pages to map from the fault on: none beyond the slot, where a leaf may begin. */
VISIBLE_IF_KUNIT pgoff_t vpfn_num_prefault(unsigned long address)
{
	return min(TTM_BO_VM_NUM_PREFAULT, (PMD_SIZE - (address & ~PMD_MASK)) >> PAGE_SHIFT);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_num_prefault);

/*
 * R11: after unplug the process goes on. Use a per-buffer page: a device-wide one would be shared
 * between clients. One entry a fault: the rest of the VMA may hold leaves that are about to be
 * zapped.
 */
static vm_fault_t vpfn_fault_unplugged(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vpfn_bo *bo = to_vpfn_bo(vma->vm_private_data);

	if (!bo->dummy_page)
		bo->dummy_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!bo->dummy_page)
		return VM_FAULT_OOM;

	/* R7: vm_page_prot is for device memory; this is a page of system memory. */
	return vmf_insert_pfn_prot(vma, vmf->address, page_to_pfn(bo->dummy_page),
				   pgprot_encrypted(vm_get_page_prot(vma->vm_flags)));
}

/* R8: make the buffer, which is reserved, visible and wait for its moves. */
static int vpfn_fault_settle(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_buffer_object *tbo = &bo->tbo;
	int ret = vpfn_bo_make_visible(bo, ctx);

	if (ret)
		return ret;
	if (!dma_resv_test_signaled(tbo->base.resv, DMA_RESV_USAGE_KERNEL)) {
		ret = ctx ? vpfn_bo_wait_moves(bo, ctx->interruptible) : -EBUSY;
		if (ret)
			return ret;
	}
	/* During an unplug the contents may be lost already: R11, the process goes on. */
	if (READ_ONCE(bdev_to_vpfn_device(tbo->bdev)->vram_blocked))
		return -EBUSY;
	return vpfn_ttm_io_mem_reserve(tbo->bdev, tbo->resource);
}

/*
 * Find the leaf of @order at @page of the buffer, which is reserved. R4: what does not offer one
 * returns to VRAM if there is room; falling back instead would put a page table where a leaf
 * belongs. In the same fault, since KVM and VFIO fail without an entry. Without @ctx: -EBUSY if
 * there is anything to do. @pfn is 0 if there is no leaf.
 */
static int vpfn_fault_prepare(struct vpfn_bo *bo, pgoff_t page, unsigned int order,
			      struct ttm_operation_ctx *ctx, unsigned long *pfn)
{
	struct ttm_buffer_object *tbo = &bo->tbo;
	int ret = 0;

	do {
		/* VRAM with an address is settled; a move or an unmap by TTM clears it. */
		if (!tbo->resource->bus.offset)
			ret = vpfn_fault_settle(bo, ctx);
		else if (READ_ONCE(bdev_to_vpfn_device(tbo->bdev)->vram_blocked))
			ret = -EBUSY;
		if (ret)
			return ret;
		if (!order || vpfn_leaf_pfn(tbo, page, order, pfn))
			return 0;
		ret = vpfn_bo_return_to_vram(bo, ctx);
	} while (!ret);

	*pfn = 0;
	return ret == -ENOSPC || ret == -ENOMEM ? 0 : ret;
}

/* Called with the reservation held. VM_FAULT_RETRY: not without blocking, that is, without @ctx. */
static vm_fault_t vpfn_fault_reserved(struct vm_fault *vmf, pgoff_t page, unsigned int order,
				      struct ttm_operation_ctx *ctx)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	unsigned long pfn;
	vm_fault_t ret;
	int err, idx;

	/* R9: another thread installed a PMD leaf; do not treat it as a page table. */
	if (!order && pmd_leaf(pmdp_get_lockless(vmf->pmd)))
		return VM_FAULT_NOPAGE;

	/* R11: no leaf of a device that is gone */
	if (!drm_dev_enter(tbo->base.dev, &idx))
		return order ? VM_FAULT_FALLBACK : vpfn_fault_unplugged(vmf);

	err = vpfn_fault_prepare(to_vpfn_bo(tbo), page, order, ctx, &pfn);
	if (err)
		ret = vpfn_fault_error(err);
	else if (order)
		ret = pfn ? vpfn_insert_leaf(vmf, order, pfn) : VM_FAULT_FALLBACK;
	else
		ret = ttm_bo_vm_fault_reserved(vmf, vpfn_page_prot(vmf->vma),
					       vpfn_num_prefault(vmf->address));
	drm_dev_exit(idx);
	return ret;
}

/*
 * Do what the next attempt needs, without the lock of the fault, which is mmap_lock or the VMA
 * lock (R5). That attempt reports errors.
 */
static void vpfn_fault_unlocked(struct vm_fault *vmf, pgoff_t page, unsigned int order)
{
	struct ttm_operation_ctx ctx = { .interruptible = vpfn_fault_interruptible(vmf) };
	struct vpfn_bo *bo = to_vpfn_bo(vmf->vma->vm_private_data);
	struct vpfn_device *vdev = bdev_to_vpfn_device(bo->tbo.bdev);
	unsigned long pfn;
	int err = 0, idx;

	drm_gem_object_get(&bo->tbo.base);
	release_fault_lock(vmf);

	if (!vpfn_bo_wait_moves(bo, ctx.interruptible) && !vpfn_bo_lock(bo, ctx.interruptible)) {
		if (drm_dev_enter(&vdev->drm, &idx)) {
			err = vpfn_fault_prepare(bo, page, order, &ctx, &pfn);
			drm_dev_exit(idx);
		}
		dma_resv_unlock(bo->tbo.base.resv);
	}
	/* What is being freed may be room. */
	if (err == -ENOSPC)
		vpfn_bo_flush(vdev);
	drm_gem_object_put(&bo->tbo.base);
}

static vm_fault_t vpfn_fault_blocking(struct vm_fault *vmf, pgoff_t page, unsigned int order)
{
	struct ttm_operation_ctx ctx = { .interruptible = vpfn_fault_interruptible(vmf) };
	struct vpfn_bo *bo = to_vpfn_bo(vmf->vma->vm_private_data);
	vm_fault_t ret;

	if (vpfn_bo_lock(bo, ctx.interruptible))
		return VM_FAULT_NOPAGE;

	ret = vpfn_fault_reserved(vmf, page, order, &ctx);
	dma_resv_unlock(bo->tbo.base.resv);
	/* mmap_lock is still held. */
	return ret == VM_FAULT_RETRY ? VM_FAULT_NOPAGE : ret;
}

static vm_fault_t vpfn_fault(struct vm_fault *vmf, unsigned int order)
{
	unsigned long addr = ALIGN_DOWN(vmf->address, PAGE_SIZE << order);
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	pgoff_t page = linear_page_index(vmf->vma, addr) - drm_vma_node_start(&tbo->base.vma_node);
	vm_fault_t ret = VM_FAULT_RETRY;

	if (dma_resv_trylock(tbo->base.resv)) {
		ret = vpfn_fault_reserved(vmf, page, order, NULL);
		dma_resv_unlock(tbo->base.resv);
	}
	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT)) {
		if (fault_flag_allow_retry_first(vmf->flags))
			vpfn_fault_unlocked(vmf, page, order);
		else
			ret = vpfn_fault_blocking(vmf, page, order);
	}
	trace_vpfn_fault(vmf, order, ret);
	return ret;
}

vm_fault_t vpfn_vm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (order > vpfn_max_order() ||
	    !vpfn_leaf_in_vma(vmf->vma, vmf->address, PAGE_SIZE << order)) {
		trace_vpfn_fault(vmf, order, VM_FAULT_FALLBACK);
		return VM_FAULT_FALLBACK;
	}

	return vpfn_fault(vmf, order);
}

vm_fault_t vpfn_vm_fault(struct vm_fault *vmf)
{
	return vpfn_fault(vmf, 0);
}
