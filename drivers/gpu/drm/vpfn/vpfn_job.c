// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Jobs: descriptors for the engine, and the scheduler that decides which job runs next.
 *
 * One job runs at a time. Each DRM file has a queue, and so have the driver's own moves. What a
 * client has in flight is bounded and charged to its memory cgroup.
 */

#include <linux/dma-fence.h>
#include <linux/pm_runtime.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

/* Jobs that a client may have in flight */
#define VPFN_QUEUE_JOBS_MAX	64

/* How often the scheduler asks whether a job makes progress */
#define VPFN_CHECK_PERIOD	(HZ / 10)

static struct vpfn_job *to_vpfn_job(struct drm_sched_job *base)
{
	return container_of(base, struct vpfn_job, base);
}

static void vpfn_queue_release(struct kref *refs)
{
	kfree(container_of(refs, struct vpfn_queue, refs));
}

static void vpfn_queue_put(struct vpfn_queue *queue)
{
	kref_put(&queue->refs, vpfn_queue_release);
}

/* Create a queue for jobs, to be given back by vpfn_queue_close(). */
struct vpfn_queue *vpfn_queue_create(struct vpfn_device *vdev, enum drm_sched_priority priority)
{
	struct drm_gpu_scheduler *sched = &vdev->sched;
	struct vpfn_queue *queue;
	int ret;

	queue = kzalloc_obj(*queue, GFP_KERNEL_ACCOUNT);
	if (!queue)
		return ERR_PTR(-ENOMEM);

	ret = drm_sched_entity_init(&queue->entity, priority, &sched, 1, NULL);
	if (ret) {
		kfree(queue);
		return ERR_PTR(ret);
	}

	kref_init(&queue->refs);
	mutex_init(&queue->lock);
	init_waitqueue_head(&queue->wait);
	spin_lock_init(&queue->waiting_lock);
	INIT_LIST_HEAD(&queue->waiting);
	return queue;
}

/**
 * vpfn_queue_close - end a queue
 * @queue: from vpfn_queue_create(); no job is being made for it
 *
 * Jobs that have not begun end with -ESRCH, but only when their dependencies have signalled:
 * drm_sched_entity_kill() guarantees that order to other fences' waiters. Their descriptors are
 * freed here, so that a dead client does not keep memory. To wait for the dependencies, as
 * drm_sched_entity_destroy() does, would let other drivers' fences block close(2).
 */
void vpfn_queue_close(struct vpfn_queue *queue)
{
	struct vpfn_desc *descs;
	struct vpfn_job *job;

	drm_sched_entity_fini(&queue->entity);

	do {
		descs = NULL;
		scoped_guard(spinlock, &queue->waiting_lock) {
			job = list_first_entry_or_null(&queue->waiting, struct vpfn_job, link);
			if (job) {
				list_del_init(&job->link);
				swap(job->descs, descs);
			}
		}
		/* vfree() sleeps. */
		kvfree(descs);
	} while (descs);
	mutex_destroy(&queue->lock);
	vpfn_queue_put(queue);
}

/**
 * vpfn_queue_enter - wait until a client may have one more job
 * @queue: the client's queue
 *
 * Called without locks and outside of drm_dev_enter(): the wait lasts as long as the client's
 * other jobs, which may depend on anything.
 *
 * Return: 0, to be undone by vpfn_queue_leave() if no job is created, or -ERESTARTSYS.
 */
int vpfn_queue_enter(struct vpfn_queue *queue)
{
	return wait_event_interruptible(queue->wait, atomic_add_unless(&queue->num_jobs, 1,
								       VPFN_QUEUE_JOBS_MAX));
}

/* End what vpfn_queue_enter() began, if no job was created. */
void vpfn_queue_leave(struct vpfn_queue *queue)
{
	atomic_dec(&queue->num_jobs);
	wake_up(&queue->wait);
}

/* The number of descriptors for a command that processes @length bytes */
unsigned int vpfn_job_num_descs(u64 length)
{
	return max(DIV_ROUND_UP_ULL(length, VPFN_CHUNK_SIZE), 1);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_job_num_descs);

/*
 * Wake the device and keep it awake. The task that suspends it moves buffers out of VRAM, which
 * takes jobs, and must not wait for a resume.
 */
static int vpfn_job_pm_get(struct vpfn_device *vdev)
{
	if (READ_ONCE(vdev->suspending) == current) {
		pm_runtime_get_noresume(vdev->drm.dev);
		return 0;
	}
	return pm_runtime_resume_and_get(vdev->drm.dev);
}

static void vpfn_job_free(struct vpfn_job *job)
{
	struct vpfn_device *vdev = job->vdev;

	/* A job that never ran has a fence that was never initialised. */
	if (job->seqno)
		dma_fence_put(job->hw_fence);
	else
		kfree(job->hw_fence);
	kvfree(job->descs);

	if (job->queue != vdev->kernel_queue)
		vpfn_queue_leave(job->queue);
	vpfn_queue_put(job->queue);
	kfree(job);

	pm_runtime_put_autosuspend(vdev->drm.dev);
	if (atomic_dec_and_test(&vdev->num_jobs))
		wake_up_var(&vdev->num_jobs);
}

/**
 * vpfn_job_create - begin a job
 * @vdev: the device; inside of drm_dev_enter()
 * @queue: the queue; a client has called vpfn_queue_enter(), which is undone with the job
 * @num_descs: number of descriptors that vpfn_job_add() will need in all
 * @client_id: &drm_file.client_id of the client, or 0
 *
 * Wakes the device and keeps it awake until the job has ended.
 *
 * Return: the job, or an ERR_PTR: -E2BIG if it does not fit into the ring, -EIO if the engine
 * is given up, -ENOMEM, or an error of the resume.
 */
struct vpfn_job *vpfn_job_create(struct vpfn_device *vdev, struct vpfn_queue *queue,
				 unsigned int num_descs, u64 client_id)
{
	/* An eviction must not fail because of the limit of the client that it is for. */
	gfp_t gfp = queue == vdev->kernel_queue ? GFP_KERNEL : GFP_KERNEL_ACCOUNT;
	struct vpfn_job *job;
	int ret;

	if (num_descs >= VPFN_RING_SIZE)
		return ERR_PTR(-E2BIG);
	/* After unplug it fails when it runs: TTM would log an eviction that failed here. */
	if (READ_ONCE(vdev->engine.error) == -EIO)
		return ERR_PTR(-EIO);

	job = kzalloc_obj(*job, gfp);
	if (!job)
		return ERR_PTR(-ENOMEM);

	ret = -ENOMEM;
	job->descs = kvcalloc(num_descs, sizeof(*job->descs), gfp);
	job->hw_fence = kzalloc_obj(*job->hw_fence, gfp);
	if (!job->descs || !job->hw_fence)
		goto err_free;

	ret = vpfn_job_pm_get(vdev);
	if (ret)
		goto err_free;

	ret = drm_sched_job_init(&job->base, &queue->entity, 1, vdev, client_id);
	if (ret)
		goto err_pm;

	atomic_inc(&vdev->num_jobs);
	kref_get(&queue->refs);
	job->vdev = vdev;
	job->queue = queue;
	return job;

err_pm:
	pm_runtime_put_autosuspend(vdev->drm.dev);
err_free:
	kfree(job->hw_fence);
	kvfree(job->descs);
	kfree(job);
	return ERR_PTR(ret);
}

/* Throw away a job that was not pushed. */
void vpfn_job_abort(struct vpfn_job *job)
{
	drm_sched_job_cleanup(&job->base);
	vpfn_job_free(job);
}

/**
 * vpfn_job_add - add a command to a job
 * @job: from vpfn_job_create(), with vpfn_job_num_descs() descriptors left for this
 * @op: VPFN_OP_*
 * @dst: engine address that it writes to, or 0
 * @src: engine address that it reads from, or 0
 * @length: bytes; for VPFN_OP_CRC32C at most DRM_VPFN_CRC_LENGTH_MAX, for VPFN_OP_NOP 0
 * @pattern: of VPFN_OP_FILL, else 0
 *
 * The reservations of the buffers are held until the fence of the job is in them, so that the
 * addresses stay valid. The ranges do not overlap.
 */
void vpfn_job_add(struct vpfn_job *job, u8 op, u64 dst, u64 src, u64 length, u32 pattern)
{
	do {
		struct vpfn_desc *desc = &job->descs[job->num_descs++];
		u64 chunk = min_t(u64, length, VPFN_CHUNK_SIZE);

		desc->op = op;
		desc->length = cpu_to_le64(chunk);
		desc->dst_addr = cpu_to_le64(dst);
		desc->src_addr = cpu_to_le64(src);
		desc->pattern = cpu_to_le32(pattern);

		dst += chunk;
		/* VRAM begins at 0, which is also the address of no source. */
		if (op != VPFN_OP_FILL)
			src += chunk;
		length -= chunk;
	} while (length);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_job_add);

/**
 * vpfn_job_push - give a job to the scheduler
 * @job: from vpfn_job_create(), with its dependencies
 *
 * From here on the job belongs to the scheduler. The caller holds the reservations of all its
 * buffers and adds the fence to them.
 *
 * Return: a reference to the fence that signals when the job has ended.
 */
struct dma_fence *vpfn_job_push(struct vpfn_job *job)
{
	struct vpfn_queue *queue = job->queue;
	struct dma_fence *fence;

	guard(mutex)(&queue->lock);
	drm_sched_job_arm(&job->base);
	fence = dma_fence_get(&job->base.s_fence->finished);
	scoped_guard(spinlock, &queue->waiting_lock)
		list_add_tail(&job->link, &queue->waiting);
	drm_sched_entity_push_job(&job->base);
	return fence;
}

static struct dma_fence *vpfn_sched_run_job(struct drm_sched_job *base)
{
	struct vpfn_job *job = to_vpfn_job(base);
	bool cookie = dma_fence_begin_signalling();
	struct dma_fence *fence;

	scoped_guard(spinlock, &job->queue->waiting_lock)
		list_del_init(&job->link);
	fence = vpfn_engine_run(&job->vdev->engine, job);
	dma_fence_end_signalling(cookie);
	return fence;
}

static enum drm_gpu_sched_stat vpfn_sched_timedout_job(struct drm_sched_job *base)
{
	struct vpfn_job *job = to_vpfn_job(base);
	struct vpfn_device *vdev = job->vdev;

	guard(mutex)(&vdev->reset_lock);
	if (!vpfn_engine_is_stuck(&vdev->engine))
		return DRM_GPU_SCHED_STAT_NO_HANG;

	drm_sched_stop(&vdev->sched, base);
	vpfn_engine_recover(vdev);
	/* drm_sched_stop() forgets the fence, which has the outcome, or will have it. */
	if (!base->s_fence->parent)
		base->s_fence->parent = dma_fence_get(job->hw_fence);
	drm_sched_start(&vdev->sched, 0);
	return DRM_GPU_SCHED_STAT_RESET;
}

static void vpfn_sched_free_job(struct drm_sched_job *base)
{
	struct vpfn_job *job = to_vpfn_job(base);

	/* Still there if the queue was closed before the job could run */
	scoped_guard(spinlock, &job->queue->waiting_lock)
		list_del_init(&job->link);
	drm_sched_job_cleanup(base);
	vpfn_job_free(job);
}

/* Nothing to cancel: vpfn_engine_unplug() has ended all jobs before the scheduler goes. */
static void vpfn_sched_cancel_job(struct drm_sched_job *base)
{
}

static const struct drm_sched_backend_ops vpfn_sched_ops = {
	.run_job = vpfn_sched_run_job,
	.timedout_job = vpfn_sched_timedout_job,
	.free_job = vpfn_sched_free_job,
	.cancel_job = vpfn_sched_cancel_job,
};

/*
 * The scheduler forgets jobs whose queue is closed before they run, but calls
 * vpfn_sched_free_job() when their dependencies have signalled: wait for that.
 */
static void vpfn_job_fini(struct drm_device *drm, void *data)
{
	struct vpfn_device *vdev = data;

	drm_sched_fini(&vdev->sched);
	wait_var_event(&vdev->num_jobs, !atomic_read(&vdev->num_jobs));
}

static void vpfn_job_fini_kernel_queue(struct drm_device *drm, void *data)
{
	struct vpfn_device *vdev = data;

	vpfn_queue_close(vdev->kernel_queue);
}

/**
 * vpfn_job_init - set up the scheduler and the queue of the driver's own jobs
 * @vdev: the device
 *
 * They live until the last DRM file is closed.
 *
 * Return: 0, or a negative errno with a line in the log; managed resources undo all of it.
 */
int vpfn_job_init(struct vpfn_device *vdev)
{
	struct device *dev = vdev->drm.dev;
	struct drm_sched_init_args args = {
		.ops = &vpfn_sched_ops,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		/* With more, each job that begins would extend the timeout of the first. */
		.credit_limit = 1,
		.timeout = VPFN_CHECK_PERIOD,
		.name = KBUILD_MODNAME,
		.dev = dev,
	};
	int ret;

	ret = drmm_mutex_init(&vdev->drm, &vdev->reset_lock);
	if (ret)
		return ret;

	/* Has a rescuer, since reclaim waits for jobs, and so for their timeouts. */
	args.timeout_wq = drmm_alloc_ordered_workqueue(&vdev->drm, KBUILD_MODNAME, WQ_MEM_RECLAIM);
	if (IS_ERR(args.timeout_wq))
		return PTR_ERR(args.timeout_wq);

	ret = drm_sched_init(&vdev->sched, &args);
	if (ret)
		return dev_err_probe(dev, ret, "cannot set up the scheduler\n");
	ret = drmm_add_action_or_reset(&vdev->drm, vpfn_job_fini, vdev);
	if (ret)
		return ret;

	vdev->kernel_queue = vpfn_queue_create(vdev, DRM_SCHED_PRIORITY_KERNEL);
	if (IS_ERR(vdev->kernel_queue))
		return dev_err_probe(dev, PTR_ERR(vdev->kernel_queue),
				     "cannot set up the scheduler\n");
	return drmm_add_action_or_reset(&vdev->drm, vpfn_job_fini_kernel_queue, vdev);
}

/**
 * vpfn_job_stop - let the job in the ring end, and stop the engine
 * @vdev: the device
 *
 * No job that has run in part runs again, since it may read what it has overwritten.
 */
void vpfn_job_stop(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;

	/* A reset before the lock is taken starts the scheduler again. */
	for (;;) {
		vpfn_engine_wait(engine);
		guard(mutex)(&vdev->reset_lock);
		drm_sched_wqueue_stop(&vdev->sched);
		if (vpfn_engine_suspend(engine))
			break;
	}

	/* Jobs that have ended are freed after vpfn_job_start(): no timer for them until then. */
	cancel_delayed_work_sync(&vdev->sched.work_tdr);
}

/**
 * vpfn_job_start - undo vpfn_job_stop()
 * @vdev: the device
 *
 * Return: 0, or -EIO with a line in the log; then the engine is given up, and jobs end with an
 * error.
 */
int vpfn_job_start(struct vpfn_device *vdev)
{
	int ret = vpfn_engine_resume(vdev);

	drm_sched_wqueue_start(&vdev->sched);
	return ret;
}
