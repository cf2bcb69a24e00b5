/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vpfn

#if !defined(VPFN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VPFN_TRACE_H

#include <linux/mm.h>
#include <linux/tracepoint.h>

#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>

/* A CPU fault has been handled: with a leaf of @order, or not, as @result says. */
TRACE_EVENT(vpfn_fault,
	    TP_PROTO(const struct vm_fault *vmf, unsigned int order, vm_fault_t result),
	    TP_ARGS(vmf, order, result),
	    TP_STRUCT__entry(__field(unsigned long, address)
			     __field(unsigned int, flags)
			     __field(unsigned int, order)
			     __field(unsigned int, result)
	    ),
	    TP_fast_assign(__entry->address = vmf->address;
			   __entry->flags = vmf->flags;
			   __entry->order = order;
			   __entry->result = (__force unsigned int)result;
	    ),
	    TP_printk("address=%#lx flags=%s order=%u result=%s", __entry->address,
		      __print_flags(__entry->flags, "|", FAULT_FLAG_TRACE), __entry->order,
		      __print_flags(__entry->result, "|", VM_FAULT_RESULT_TRACE))
);

/* A buffer moves from @old, or from nowhere, to @new. */
TRACE_EVENT(vpfn_move,
	    TP_PROTO(const struct ttm_buffer_object *bo, const struct ttm_resource *new,
		     bool evict, bool clear),
	    TP_ARGS(bo, new, evict, clear),
	    TP_STRUCT__entry(__field(const void *, bo)
			     __field(u64, size)
			     __field(int, from)
			     __field(u32, to)
			     __field(bool, evict)
			     __field(bool, clear)
	    ),
	    TP_fast_assign(__entry->bo = bo;
			   __entry->size = bo->base.size;
			   __entry->from = bo->resource ? bo->resource->mem_type : -1;
			   __entry->to = new->mem_type;
			   __entry->evict = evict;
			   __entry->clear = clear;
	    ),
	    TP_printk("bo=%p size=%llu from=%s to=%s evict=%d clear=%d", __entry->bo,
		      __entry->size,
		      __print_symbolic(__entry->from, { -1, "none" }, { TTM_PL_SYSTEM, "system" },
				       { TTM_PL_TT, "gart" }, { TTM_PL_VRAM, "vram" }),
		      __print_symbolic(__entry->to, { TTM_PL_SYSTEM, "system" },
				       { TTM_PL_TT, "gart" }, { TTM_PL_VRAM, "vram" }),
		      __entry->evict, __entry->clear)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE vpfn_trace
#include <trace/define_trace.h>
