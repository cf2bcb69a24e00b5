/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef VPFN_DRV_H
#define VPFN_DRV_H

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/gpu_scheduler.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>

#include "vpfn_regs.h"

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

/* Descriptors in the ring. One stays free, since a full ring would look empty. */
#define VPFN_RING_SIZE		8192

/*
 * Bytes that one descriptor processes. Small enough for RING_HEAD to move within the timeout:
 * that tells a long job from a hung one.
 */
#define VPFN_CHUNK_SIZE		SZ_16M

/* A descriptor, see docs/specs/vpfn.rst in QEMU's tree */
struct vpfn_desc {
	u8 op;
	u8 flags;
	u8 reserved0[2];
	__le32 fence;
	__le64 length;
	__le64 src_addr;
	__le64 dst_addr;
	__le32 pattern;
	u8 reserved1[28];
};

static_assert(sizeof(struct vpfn_desc) == VPFN_DESC_SIZE);
static_assert(offsetof(struct vpfn_desc, fence) == VPFN_DESC_FENCE);
static_assert(offsetof(struct vpfn_desc, length) == VPFN_DESC_LENGTH);
static_assert(offsetof(struct vpfn_desc, src_addr) == VPFN_DESC_SRC_ADDR);
static_assert(offsetof(struct vpfn_desc, dst_addr) == VPFN_DESC_DST_ADDR);
static_assert(offsetof(struct vpfn_desc, pattern) == VPFN_DESC_PATTERN);

/* The copy engine */
struct vpfn_engine {
	void __iomem *regs;	/* valid until @error is -ENODEV */
	struct vpfn_desc *ring;
	dma_addr_t ring_addr;
	u64 fence_context;

	spinlock_t lock;	/* protects the members up to @error */
	struct vpfn_job *job;	/* in the ring, or NULL */
	u64 seqno;		/* of the last job */
	u32 tail;		/* index of the descriptor after the last one in the ring */
	u32 head;		/* RING_HEAD, and when it was seen to move */
	ktime_t progress;
	int error;		/* of all further jobs: -EIO, engine given up; -ENODEV; or 0 */

	/* Announces a reset, outside of the path that reclaim waits for */
	struct work_struct report;
	u32 report_error;	/* the register ERROR before the last reset */
	char *snapshot;		/* text of the core dump, or NULL */
};

struct vpfn_device {
	struct drm_device drm;
	struct ttm_device bdev;

	resource_size_t vram_base;	/* physical address */
	u64 vram_size;			/* bytes */
	u64 visible_size;		/* bytes of VRAM, from its beginning, in the BAR */
	struct ttm_place evict_places[2];	/* for buffers in VRAM: its rest, the GART */

	u64 gart_size;			/* bytes of the GART window */
	__le64 *gart;			/* the table, an entry a page, in coherent memory */
	dma_addr_t gart_addr;
	struct mutex gart_lock;		/* protects @gart_bindings and &vpfn_tt.sgt */
	struct list_head gart_bindings;	/* of struct vpfn_tt */

	struct vpfn_engine engine;
	struct drm_gpu_scheduler sched;
	struct mutex reset_lock;		/* while @sched is being stopped or started */
	struct vpfn_queue *kernel_queue;	/* jobs that move and clear buffers */
	atomic_t num_jobs;			/* not freed yet */

	/*
	 * Held for reading while a submission has its buffers reserved; for writing by a task
	 * that found no room because too many buffers were reserved.
	 */
	struct rw_semaphore submit_lock;

	/* See vpfn_bo_flush(). Runs of @flush are numbered. */
	struct work_struct flush;
	wait_queue_head_t flush_wait;
	atomic_t flush_started;
	int flush_done;

	struct p2pdma_provider *p2p;	/* NULL if no other PCI device can reach VRAM */
	atomic_t vram_maps;		/* DMA mappings of VRAM by importers */

	/*
	 * No new mapping of VRAM by CPU or importers, because a function reset switches the BAR
	 * off, or the device goes. Read with a reservation held.
	 */
	bool vram_blocked;

	struct task_struct *suspending;	/* task that empties VRAM to suspend, or NULL */
};

/* The jobs of a DRM file, or of the driver */
struct vpfn_queue {
	struct kref refs;		/* held by the owner and by each job */
	struct drm_sched_entity entity;
	struct mutex lock;		/* a job is armed and pushed in one step */

	atomic_t num_jobs;		/* of a DRM file: not freed yet */
	wait_queue_head_t wait;		/* for @num_jobs to fall */

	spinlock_t waiting_lock;	/* protects @waiting */
	struct list_head waiting;	/* pushed jobs that have not been in the ring */

	atomic64_t engine_ns;		/* time that the engine has spent on the jobs */
};

struct vpfn_bo {
	struct ttm_buffer_object tbo;
	u32 placement;		/* mask of DRM_VPFN_PLACEMENT_*; zero for an import */
	u32 flags;		/* mask of DRM_VPFN_GEM_CREATE_* */
	u32 mem_type;		/* TTM_PL_* after the last move, to be read without locks */

	/*
	 * errno of the move or the clearing that failed, else 0: the buffer may hold another
	 * client's bytes, so every access to it fails. Written before the fence of that move
	 * signals.
	 */
	int lost;

	/* Protected by the reservation */
	struct dma_buf *dma_buf;	/* that exports the buffer, or NULL */
	struct page *dummy_page;	/* for CPU mappings after unplug; from the first fault */
};

/* System pages of a buffer */
struct vpfn_tt {
	struct ttm_tt base;
	struct drm_gem_object *obj;	/* outlives this structure */
	struct sg_table sgt;		/* DMA mapping of our own pages while they are bound */
	unsigned long gart_page;	/* first page in the GART window */
	struct list_head link;		/* in &vpfn_device.gart_bindings while bound */
};

/* Descriptors for the engine, with one fence */
struct vpfn_job {
	struct drm_sched_job base;
	struct vpfn_device *vdev;
	struct vpfn_queue *queue;
	struct vpfn_bo *bo;		/* buffer that it moves; NULL for a client's job */
	struct dma_fence *hw_fence;	/* signalled by the engine */
	u64 seqno;			/* written to FENCE; 0 before the job has run */
	ktime_t started;		/* when it was put into the ring */
	unsigned int attempts;		/* that the engine failed on */
	struct list_head link;		/* in &vpfn_queue.waiting */
	unsigned int num_descs;		/* that are filled in */
	struct vpfn_desc *descs;
};

static inline struct vpfn_device *to_vpfn_device(struct drm_device *drm)
{
	return container_of(drm, struct vpfn_device, drm);
}

static inline struct vpfn_device *bdev_to_vpfn_device(struct ttm_device *bdev)
{
	return container_of(bdev, struct vpfn_device, bdev);
}

static inline struct vpfn_bo *to_vpfn_bo(struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct vpfn_bo, tbo);
}

static inline struct vpfn_tt *to_vpfn_tt(struct ttm_tt *ttm)
{
	return container_of(ttm, struct vpfn_tt, base);
}

static inline struct vpfn_bo *gem_to_vpfn_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct vpfn_bo, tbo.base);
}

/* vpfn_gart.c */
int vpfn_gart_init(struct vpfn_device *vdev);
int vpfn_gart_bind(struct vpfn_device *vdev, struct vpfn_tt *tt, unsigned long gart_page);
void vpfn_gart_unbind(struct vpfn_device *vdev, struct vpfn_tt *tt);
void vpfn_gart_unbind_all(struct vpfn_device *vdev);

/* vpfn_engine.c */
int vpfn_engine_init(struct vpfn_device *vdev, void __iomem *regs);
int vpfn_engine_resume(struct vpfn_device *vdev);
void vpfn_engine_wait(struct vpfn_engine *engine);
bool vpfn_engine_suspend(struct vpfn_engine *engine);
void vpfn_engine_unplug(struct vpfn_device *vdev);
struct dma_fence *vpfn_engine_run(struct vpfn_engine *engine, struct vpfn_job *job);
bool vpfn_engine_is_stuck(struct vpfn_engine *engine);
void vpfn_engine_recover(struct vpfn_device *vdev);

/* vpfn_job.c */
int vpfn_job_init(struct vpfn_device *vdev);
void vpfn_job_stop(struct vpfn_device *vdev);
int vpfn_job_start(struct vpfn_device *vdev);
struct vpfn_queue *vpfn_queue_create(struct vpfn_device *vdev, enum drm_sched_priority priority);
void vpfn_queue_close(struct vpfn_queue *queue);
int vpfn_queue_enter(struct vpfn_queue *queue);
void vpfn_queue_leave(struct vpfn_queue *queue);
unsigned int vpfn_job_num_descs(u64 length);
struct vpfn_job *vpfn_job_create(struct vpfn_device *vdev, struct vpfn_queue *queue,
				 unsigned int num_descs, u64 client_id);
void vpfn_job_add(struct vpfn_job *job, u8 op, u64 dst, u64 src, u64 length, u32 pattern);
struct dma_fence *vpfn_job_push(struct vpfn_job *job);
void vpfn_job_abort(struct vpfn_job *job);

/* vpfn_vram.c */
int vpfn_vram_init(struct vpfn_device *vdev);
bool vpfn_vram_is_visible(struct vpfn_device *vdev, const struct ttm_resource *res);

/* vpfn_ttm.c */
extern const struct ttm_place vpfn_ttm_gart_place;
int vpfn_ttm_init(struct vpfn_device *vdev);
int vpfn_ttm_bo_init(struct vpfn_device *vdev, struct vpfn_bo *bo,
		     struct ttm_placement *placement, u32 alignment, struct dma_resv *resv);
bool vpfn_ttm_is_vpfn_bo(const struct ttm_buffer_object *tbo);
u64 vpfn_ttm_addr(const struct ttm_resource *res);
int vpfn_ttm_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res);

/* vpfn_bo.c */
struct vpfn_bo *vpfn_bo_create(struct vpfn_device *vdev, u64 size, u32 placement, u32 flags,
			       const struct drm_gem_object_funcs *funcs, struct dma_resv *resv);
int vpfn_bo_validate(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx);
int vpfn_bo_make_visible(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx);
int vpfn_bo_move_to_tt(struct vpfn_bo *bo);
int vpfn_bo_return_to_vram(struct vpfn_bo *bo, struct ttm_operation_ctx *ctx);
int vpfn_bo_lock(struct vpfn_bo *bo, bool interruptible);
int vpfn_bo_wait_moves(struct vpfn_bo *bo, bool interruptible);
int vpfn_bo_access(struct vpfn_bo *bo, u64 offset, void *buf, int len, bool write);
int vpfn_bo_evict_vram(struct vpfn_device *vdev);
void vpfn_bo_flush_work(struct work_struct *work);
int vpfn_bo_flush(struct vpfn_device *vdev);
void vpfn_bo_revoke_vram(struct vpfn_device *vdev);

/* vpfn_prime.c */
struct dma_buf *vpfn_gem_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *vpfn_prime_import(struct drm_device *drm, struct dma_buf *dma_buf,
					 const struct drm_gem_object_funcs *funcs);
void vpfn_prime_unplug(struct vpfn_device *vdev);

/* vpfn_fault.c */
extern unsigned int vpfn_largest_leaf;
unsigned int vpfn_max_order(void);
vm_fault_t vpfn_vm_fault(struct vm_fault *vmf);
vm_fault_t vpfn_vm_huge_fault(struct vm_fault *vmf, unsigned int order);

/* vpfn_mmap.c */
extern const struct vm_operations_struct vpfn_vm_ops;
int vpfn_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma);
unsigned long vpfn_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
				     unsigned long pgoff, unsigned long flags);

/* vpfn_gem.c */
int vpfn_ioctl_gem_create(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_gem_info(struct drm_device *drm, void *data, struct drm_file *file);
struct drm_gem_object *vpfn_gem_import(struct drm_device *drm, struct dma_buf *dma_buf);
int vpfn_dumb_create(struct drm_file *file, struct drm_device *drm,
		     struct drm_mode_create_dumb *args);
void vpfn_show_fdinfo(struct drm_printer *p, struct drm_file *file);

/* vpfn_submit.c */
int vpfn_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file);
int vpfn_ioctl_wait(struct drm_device *drm, void *data, struct drm_file *file);

/* vpfn_debugfs.c */
void vpfn_debugfs_init(struct drm_minor *minor);

#if IS_ENABLED(CONFIG_KUNIT)
bool vpfn_pages_contiguous(struct page *const *pages, unsigned long count);
bool vpfn_leaf_in_vma(const struct vm_area_struct *vma, unsigned long address,
		      unsigned long size);
pgoff_t vpfn_num_prefault(unsigned long address);
unsigned long vpfn_area_align(unsigned long len, unsigned int max_order);
int vpfn_submit_check(const struct drm_vpfn_submit *args);
int vpfn_cmd_check(const struct drm_vpfn_cmd *cmd);
int vpfn_cmd_check_ranges(const struct drm_vpfn_cmd *cmd, const struct drm_gem_object *dst,
			  const struct drm_gem_object *src);
u32 vpfn_bo_alignment(u64 size);
unsigned int vpfn_bo_places(struct vpfn_device *vdev, u32 placement, u32 flags,
			    u32 system_type, struct ttm_place *places);
#endif

#endif /* VPFN_DRV_H */
