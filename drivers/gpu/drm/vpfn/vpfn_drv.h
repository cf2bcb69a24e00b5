/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VPFN_DRV_H
#define VPFN_DRV_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/gpu_scheduler.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>

struct dma_buf;
struct drm_file;
struct drm_minor;
struct drm_mode_create_dumb;
struct drm_printer;
struct drm_vpfn_cmd;
struct drm_vpfn_submit;
struct p2pdma_provider;
struct page;
struct task_struct;
struct vm_area_struct;
struct vm_operations_struct;

/** enum vpfn_leaf - levels of the page table at which an entry can map memory */
enum vpfn_leaf {
	/** @VPFN_LEAF_PTE: one page */
	VPFN_LEAF_PTE,
	/** @VPFN_LEAF_PMD: PMD_SIZE, 2 MiB on x86-64 */
	VPFN_LEAF_PMD,
	/** @VPFN_LEAF_PUD: PUD_SIZE, 1 GiB on x86-64 */
	VPFN_LEAF_PUD,
};

/** struct vpfn_engine - the copy engine, and the scheduler that feeds it */
struct vpfn_engine {
	/** @sched: decides which job is next */
	struct drm_gpu_scheduler sched;

	/** @entity: the queue of the driver's own jobs, which move and clear buffers */
	struct drm_sched_entity entity;

	/** @regs: the registers; valid until @unplugged */
	void __iomem *regs;

	/** @ring: the descriptors, in memory that the device reads */
	struct vpfn_desc *ring;

	/** @ring_addr: DMA address of @ring */
	dma_addr_t ring_addr;

	/** @fence_context: of the fences that the device signals */
	u64 fence_context;

	/** @lock: protects what follows; taken by the interrupt handler */
	spinlock_t lock;

	/** @pending: jobs in the ring, in its order */
	struct list_head pending;

	/** @tail: index of the descriptor after the last one in the ring */
	u32 tail;

	/** @seqno: of the last job put into the ring */
	u64 seqno;

	/** @idle_since: when the last job ended, for the account of the next */
	ktime_t idle_since;

	/** @wedged: the engine is given up, nothing runs any more; never goes back to false */
	bool wedged;

	/** @unplugged: the device is gone; never goes back to false */
	bool unplugged;

	/** @refs: held by the engine and by its jobs */
	struct kref refs;

	/** @released: the last of @refs is gone */
	struct completion released;

	/** @jobs_lock: protects @jobs and the DMA mappings of the jobs on it */
	struct mutex jobs_lock;

	/** @jobs: jobs that may hold DMA mappings, see vpfn_engine_unplug() */
	struct list_head jobs;
};

/** struct vpfn_device - one vpfn device */
struct vpfn_device {
	/** @drm: the DRM device */
	struct drm_device drm;

	/** @bdev: the TTM device, owner of all buffers */
	struct ttm_device bdev;

	/** @vram_base: physical address of VRAM */
	resource_size_t vram_base;

	/** @vram_size: size of VRAM in bytes */
	u64 vram_size;

	/** @visible_size: how much of VRAM the CPU can reach, from its beginning */
	u64 visible_size;

	/** @engine: the copy engine */
	struct vpfn_engine engine;

	/** @tables_lock: protects @tables, and the DMA mappings in them */
	struct mutex tables_lock;

	/** @tables: the pages of our own buffers that are mapped for the engine */
	struct list_head tables;

	/**
	 * @submit_lock: held for reading while a submission has its buffers reserved;
	 * for writing by whoever needs VRAM, and found too much of it reserved
	 */
	struct rw_semaphore submit_lock;

	/** @p2p: how other PCI devices reach VRAM; NULL if the kernel knows no way */
	struct p2pdma_provider *p2p;

	/** @suspending: the task that suspends the device, see vpfn_pm_get() */
	struct task_struct *suspending;
};

/** struct vpfn_file - an open file */
struct vpfn_file {
	/** @refs: held by the file and by its jobs */
	struct kref refs;

	/** @entity: the queue of this file's jobs */
	struct drm_sched_entity entity;

	/** @engine_ns: how long the engine has worked for this file */
	atomic64_t engine_ns;
};

/** struct vpfn_bo - a buffer object */
struct vpfn_bo {
	/** @tbo: the TTM buffer object, with the GEM object in it */
	struct ttm_buffer_object tbo;

	/** @placement: mask of DRM_VPFN_PLACEMENT_*; constant, zero for an imported buffer */
	u32 placement;

	/** @flags: mask of DRM_VPFN_GEM_CREATE_*; constant */
	u32 flags;

	/** @dma_buf: the dma-buf of it, while there is one. Protected by the reservation. */
	struct dma_buf *dma_buf;

	/**
	 * @lost: a move or the clearing has failed, which leaves bytes of others here:
	 * vpfn_io_mem_reserve() shows them to nobody. Written before the fence of that move
	 * is signalled, and read after; never goes back to false.
	 */
	bool lost;

	/**
	 * @dummy_page: what mappings of this buffer show once the device is
	 * gone; allocated by the first fault after that. Protected by the
	 * buffer's reservation.
	 */
	struct page *dummy_page;
};

/** struct vpfn_tt - the pages of a buffer in system memory */
struct vpfn_tt {
	/** @base: TTM's view */
	struct ttm_tt base;

	/** @obj: the buffer; without a reference, since the buffer lives longer */
	struct drm_gem_object *obj;

	/** @sgt: for pages of our own, where the engine finds them; else &ttm_tt.sg */
	struct sg_table sgt;

	/** @link: on &vpfn_device.tables while they are mapped */
	struct list_head link;
};

/** struct vpfn_operand - what a descriptor reads or writes */
struct vpfn_operand {
	/** @bo: the buffer, reserved */
	struct vpfn_bo *bo;

	/** @res: where it lies; during a move, the old or the new place */
	struct ttm_resource *res;

	/** @offset: where in the buffer, in bytes */
	u64 offset;
};

/** struct vpfn_job - some descriptors for the engine */
struct vpfn_job {
	/** @base: the scheduler's view */
	struct drm_sched_job base;

	/** @vdev: the device */
	struct vpfn_device *vdev;

	/** @file: whose job it is; NULL for the driver's own */
	struct vpfn_file *file;

	/** @bo: the buffer that it moves; NULL for a client's. Its fence keeps it. */
	struct vpfn_bo *bo;

	/** @hw_fence: signalled when the device has passed @seqno */
	struct dma_fence *hw_fence;

	/** @seqno: what the last descriptor writes to the FENCE register */
	u64 seqno;

	/** @started: when it was put into the ring */
	ktime_t started;

	/** @head: RING_HEAD when it was its turn, or when it last timed out */
	u32 head;

	/** @attempts: how often the engine failed on it */
	unsigned int attempts;

	/** @pending: on &vpfn_engine.pending while it is in the ring */
	struct list_head pending;

	/** @link: on &vpfn_engine.jobs until its DMA mappings are gone */
	struct list_head link;

	/** @lists: DMA lists that the descriptors refer to; of struct vpfn_list */
	struct list_head lists;

	/** @num_descs: how many of @descs are filled in */
	unsigned int num_descs;

	/** @max_descs: length of @descs */
	unsigned int max_descs;

	/** @descs: the descriptors, kept to be put into the ring again after a reset */
	struct vpfn_desc *descs;
};

static inline struct vpfn_device *to_vpfn_device(struct drm_device *drm)
{
	return container_of(drm, struct vpfn_device, drm);
}

static inline struct vpfn_bo *to_vpfn_bo(struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct vpfn_bo, tbo);
}

/* Does the buffer, which is reserved, lie in VRAM? */
static inline bool vpfn_bo_is_in_vram(const struct vpfn_bo *bo)
{
	return bo->tbo.resource && bo->tbo.resource->mem_type == TTM_PL_VRAM;
}

static inline struct vpfn_tt *to_vpfn_tt(struct ttm_tt *tt)
{
	return container_of(tt, struct vpfn_tt, base);
}

static inline struct vpfn_bo *gem_to_vpfn_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct vpfn_bo, tbo.base);
}

/* vpfn_drv.c */
enum vpfn_leaf vpfn_largest_leaf(void);
int vpfn_pm_get(struct vpfn_device *vdev);
void vpfn_pm_put(struct vpfn_device *vdev);
void vpfn_file_put(struct vpfn_file *vfile);

/* vpfn_engine.c */
int vpfn_engine_init(struct vpfn_device *vdev, void __iomem *regs);
void vpfn_engine_unplug(struct vpfn_device *vdev);
void vpfn_engine_suspend(struct vpfn_device *vdev);
int vpfn_engine_resume(struct vpfn_device *vdev);
unsigned int vpfn_job_num_descs(u64 length);
struct vpfn_job *vpfn_job_create(struct vpfn_device *vdev, struct drm_file *file,
				 unsigned int max_descs);
int vpfn_job_add(struct vpfn_job *job, u8 op, const struct vpfn_operand *dst,
		 const struct vpfn_operand *src, u64 length, u32 pattern);
struct dma_fence *vpfn_job_submit(struct vpfn_job *job);
void vpfn_job_abort(struct vpfn_job *job);

/* vpfn_submit.c */
int vpfn_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_wait(struct drm_device *drm, void *data, struct drm_file *file);

#if IS_ENABLED(CONFIG_KUNIT)
int vpfn_submit_check(const struct drm_vpfn_submit *args);
int vpfn_cmd_check(const struct drm_vpfn_cmd *cmd);
int vpfn_cmd_check_ranges(const struct drm_vpfn_cmd *cmd, const struct drm_gem_object *dst,
			  const struct drm_gem_object *src);
#endif

/* vpfn_vram.c */
int vpfn_vram_init(struct vpfn_device *vdev);
void vpfn_vram_unplug(struct vpfn_device *vdev);
int vpfn_vram_evict(struct vpfn_device *vdev);
void vpfn_vram_drain(struct vpfn_device *vdev);
bool vpfn_vram_is_empty(struct vpfn_device *vdev);
bool vpfn_vram_visible(struct vpfn_device *vdev, const struct ttm_resource *res);
int vpfn_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res);
int vpfn_bo_validate(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx);
int vpfn_bo_make_visible(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx);
int vpfn_bo_access(struct vpfn_bo *bo, u64 offset, void *buf, int len, bool write);
bool vpfn_bo_return_to_vram(struct vpfn_bo *bo);
int vpfn_bo_move_to_system(struct vpfn_bo *bo);
int vpfn_bo_init(struct vpfn_device *vdev, struct vpfn_bo *bo, struct dma_resv *resv,
		 void (*destroy)(struct ttm_buffer_object *tbo));

#if IS_ENABLED(CONFIG_KUNIT)
u32 vpfn_bo_alignment(u64 size);
unsigned int vpfn_bo_places(struct vpfn_device *vdev, u32 placement, u32 flags,
			    struct ttm_place *places);
#endif

/* vpfn_gem.c */
struct vpfn_bo *vpfn_bo_create(struct vpfn_device *vdev, u64 size, u32 placement, u32 flags,
			       struct dma_resv *resv);
int vpfn_ioctl_gem_create(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_info(struct drm_device *drm, void *data, struct drm_file *file);
struct vpfn_bo *vpfn_file_next_bo(struct drm_file *file, int *handle);
void vpfn_bo_unlock_put(struct vpfn_bo *bo);
int vpfn_dumb_create(struct drm_file *file, struct drm_device *drm,
		     struct drm_mode_create_dumb *args);
void vpfn_show_fdinfo(struct drm_printer *p, struct drm_file *file);

/* vpfn_prime.c */
struct dma_buf *vpfn_gem_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *vpfn_gem_import(struct drm_device *drm, struct dma_buf *dma_buf);
void vpfn_bo_invalidate_exports(struct ttm_buffer_object *tbo);
int vpfn_import_map(struct vpfn_tt *tt);
void vpfn_import_unmap(struct vpfn_tt *tt);
void vpfn_prime_unplug(struct vpfn_device *vdev);

/* vpfn_mmap.c */
extern const struct vm_operations_struct vpfn_vm_ops;
unsigned long vpfn_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
				     unsigned long pgoff, unsigned long flags);
int vpfn_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma);

#if IS_ENABLED(CONFIG_KUNIT)
bool vpfn_pages_contiguous(struct page *const *pages, unsigned long count);
bool vpfn_leaf_in_vma(const struct vm_area_struct *vma, unsigned long address,
		      unsigned long size);
pgoff_t vpfn_num_prefault(unsigned long address);
unsigned long vpfn_area_align(unsigned long len, unsigned int max_order);
#endif

/* vpfn_debugfs.c */
void vpfn_debugfs_init(struct drm_minor *minor);

#endif /* VPFN_DRV_H */
