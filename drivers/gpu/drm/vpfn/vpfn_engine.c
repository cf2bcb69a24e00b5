// SPDX-License-Identifier: GPL-2.0
/*
 * How the device works for us: jobs, the ring, the scheduler, fences,
 * interrupts, timeouts and recovery.
 *
 * The scheduler decides which job is next and puts it into the ring, which the
 * device works off in order; a job's credits are its descriptors, so that the
 * ring never overflows. The last descriptor of a job writes its seqno to the FENCE
 * register. When the device fails, it is reset; the guilty job fails, unless it is
 * the driver's own, and all others are put into the ring again.
 */

#include <linux/devcoredump.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"
#include "vpfn_engine.h"
#include "vpfn_regs.h"
#include "vpfn_trace.h"

/* Descriptors in the ring. One stays free, since a full ring would look empty. */
#define VPFN_RING_SIZE		8192
#define VPFN_RING_CREDITS	(VPFN_RING_SIZE - 1)

static uint timeout_ms = 2000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "Time in ms without progress after which the engine hangs (default: 2000)");

/* Room for the text of a device core dump */
#define VPFN_SNAPSHOT_SIZE	SZ_4K

/* How often the driver's own job, which a client's data depends on, is tried. */
#define VPFN_ATTEMPTS		3

static struct vpfn_device *sched_to_vpfn_device(struct drm_gpu_scheduler *sched)
{
	return container_of(sched, struct vpfn_device, engine.sched);
}

static struct vpfn_job *to_vpfn_job(struct drm_sched_job *base)
{
	return container_of(base, struct vpfn_job, base);
}

static const char *vpfn_fence_driver_name(struct dma_fence *fence)
{
	return KBUILD_MODNAME;
}

static const char *vpfn_fence_timeline_name(struct dma_fence *fence)
{
	return "engine";
}

static const struct dma_fence_ops vpfn_fence_ops = {
	.get_driver_name = vpfn_fence_driver_name,
	.get_timeline_name = vpfn_fence_timeline_name,
};

/**
 * vpfn_job_num_descs - how many descriptors a command needs
 * @length: bytes that it processes, or 0 for one that processes none
 *
 * Return: the number, at least 1.
 */
unsigned int vpfn_job_num_descs(u64 length)
{
	return max(DIV_ROUND_UP_ULL(length, VPFN_CHUNK_SIZE), 1);
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_job_num_descs);

/* Give back what the job has from the DMA API. The device does not use it any more. */
static void vpfn_job_unmap(struct vpfn_job *job)
{
	struct vpfn_list *list, *next;

	list_for_each_entry_safe(list, next, &job->lists, link) {
		dma_unmap_single(job->vdev->drm.dev, list->addr, list->size, DMA_TO_DEVICE);
		list_del(&list->link);
		kfree(list);
	}
}

/* The last job is gone, and so is who waits for that: see vpfn_engine_fini(). */
static void vpfn_engine_release(struct kref *refs)
{
	complete(&container_of(refs, struct vpfn_engine, refs)->released);
}

static void vpfn_job_free(struct vpfn_job *job)
{
	struct vpfn_engine *engine = &job->vdev->engine;

	mutex_lock(&engine->jobs_lock);
	vpfn_job_unmap(job);
	list_del(&job->link);
	mutex_unlock(&engine->jobs_lock);

	if (job->file)
		vpfn_file_put(job->file);
	vpfn_pm_put(job->vdev);
	/* A job that never ran has a fence that was never initialised. */
	if (job->seqno)
		dma_fence_put(job->hw_fence);
	else
		kfree(job->hw_fence);
	kvfree(job->descs);
	kfree(job);
	kref_put(&engine->refs, vpfn_engine_release);
}

/**
 * vpfn_job_create - begin a job
 * @vdev: the device
 * @file: whose job it is, or NULL for the driver's own
 * @max_descs: how many descriptors vpfn_job_add() will need in all
 *
 * Wakes the device, and keeps it awake until the job is done.
 *
 * Return: the job, or an ERR_PTR: -E2BIG if it does not fit into the ring,
 * -EIO if the engine is wedged, -ENOMEM, or what waking the device gave.
 */
struct vpfn_job *vpfn_job_create(struct vpfn_device *vdev, struct drm_file *file,
				 unsigned int max_descs)
{
	struct vpfn_file *vfile = file ? file->driver_priv : NULL;
	struct vpfn_engine *engine = &vdev->engine;
	struct vpfn_job *job;
	int ret;

	if (max_descs > VPFN_RING_CREDITS)
		return ERR_PTR(-E2BIG);
	if (READ_ONCE(engine->wedged))
		return ERR_PTR(-EIO);

	job = kzalloc_obj(*job);
	if (!job)
		return ERR_PTR(-ENOMEM);

	ret = -ENOMEM;
	job->descs = kvcalloc(max_descs, sizeof(*job->descs), GFP_KERNEL);
	job->hw_fence = kzalloc_obj(*job->hw_fence);
	if (!job->descs || !job->hw_fence)
		goto err_free;

	ret = vpfn_pm_get(vdev);
	if (ret)
		goto err_free;

	WRITE_ONCE(engine->sched.timeout, msecs_to_jiffies(timeout_ms));
	ret = drm_sched_job_init(&job->base, vfile ? &vfile->entity : &engine->entity, max_descs,
				 vdev, file ? file->client_id : 0);
	if (ret)
		goto err_pm;

	kref_get(&engine->refs);
	job->vdev = vdev;
	job->max_descs = max_descs;
	INIT_LIST_HEAD(&job->lists);
	if (vfile) {
		kref_get(&vfile->refs);
		job->file = vfile;
	}

	mutex_lock(&engine->jobs_lock);
	list_add_tail(&job->link, &engine->jobs);
	mutex_unlock(&engine->jobs_lock);
	return job;

err_pm:
	vpfn_pm_put(vdev);
err_free:
	kfree(job->hw_fence);
	kvfree(job->descs);
	kfree(job);
	return ERR_PTR(ret);
}

/**
 * vpfn_job_abort - throw away a job that was not submitted
 * @job: from vpfn_job_create()
 */
void vpfn_job_abort(struct vpfn_job *job)
{
	drm_sched_job_cleanup(&job->base);
	vpfn_job_free(job);
}

VISIBLE_IF_KUNIT void vpfn_cursor_advance(struct vpfn_cursor *cursor, u64 length)
{
	cursor->vram += length;
	cursor->skip += length;
	while (cursor->sg && cursor->skip >= sg_dma_len(cursor->sg)) {
		cursor->skip -= sg_dma_len(cursor->sg);
		cursor->sg = sg_next(cursor->sg);
	}
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_cursor_advance);

/* Where an operand begins for the device; nowhere if there is none */
static int vpfn_cursor_init(struct vpfn_cursor *cursor, const struct vpfn_operand *operand)
{
	const struct sg_table *sgt;

	memset(cursor, 0, sizeof(*cursor));
	if (!operand)
		return 0;

	if (operand->res->mem_type == TTM_PL_VRAM) {
		cursor->vram = ((u64)operand->res->start << PAGE_SHIFT) + operand->offset;
		return 0;
	}

	/* Pages that came when the device had gone have no address for it. */
	sgt = operand->bo->tbo.ttm->sg;
	if (!sgt)
		return -ENODEV;

	cursor->sg = sgt->sgl;
	vpfn_cursor_advance(cursor, operand->offset);
	return 0;
}

/* Write the entries for @length bytes to @entries, or just count them if that is NULL. */
VISIBLE_IF_KUNIT unsigned int vpfn_cursor_entries(struct vpfn_cursor cursor, u64 length,
						  struct vpfn_entry *entries)
{
	unsigned int count = 0;

	while (length) {
		u64 part = min(length, sg_dma_len(cursor.sg) - cursor.skip);

		if (entries) {
			entries[count].addr = cpu_to_le64(sg_dma_address(cursor.sg) + cursor.skip);
			entries[count].length = cpu_to_le32(part);
		}
		count++;
		length -= part;
		vpfn_cursor_advance(&cursor, part);
	}
	return count;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_cursor_entries);

/* Put the entries for @length bytes where the device can read them. */
static struct vpfn_list *vpfn_job_add_list(struct vpfn_job *job, const struct vpfn_cursor *cursor,
					   u64 length, unsigned int *count)
{
	struct device *dev = job->vdev->drm.dev;
	struct vpfn_list *list;

	*count = vpfn_cursor_entries(*cursor, length, NULL);
	list = kzalloc(struct_size(list, entries, *count), GFP_KERNEL | __GFP_NOWARN);
	if (!list)
		return ERR_PTR(-ENOMEM);

	vpfn_cursor_entries(*cursor, length, list->entries);
	list->size = *count * sizeof(*list->entries);
	list->addr = dma_map_single(dev, list->entries, list->size, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, list->addr)) {
		kfree(list);
		return ERR_PTR(-ENOMEM);
	}

	list_add_tail(&list->link, &job->lists);
	return list;
}

/* What a descriptor says about an operand */
struct vpfn_location {
	u8 space;
	u64 addr;
	u32 count;
};

static int vpfn_job_locate(struct vpfn_job *job, const struct vpfn_operand *operand,
			   const struct vpfn_cursor *cursor, u64 length, struct vpfn_location *loc)
{
	struct vpfn_list *list;

	memset(loc, 0, sizeof(*loc));
	if (!operand)
		return 0;

	if (!cursor->sg) {
		loc->space = VPFN_SPACE_VRAM;
		loc->addr = cursor->vram;
		return 0;
	}

	if (length <= sg_dma_len(cursor->sg) - cursor->skip) {
		loc->space = VPFN_SPACE_SYSTEM;
		loc->addr = sg_dma_address(cursor->sg) + cursor->skip;
		return 0;
	}

	list = vpfn_job_add_list(job, cursor, length, &loc->count);
	if (IS_ERR(list))
		return PTR_ERR(list);
	loc->space = VPFN_SPACE_LIST;
	loc->addr = list->addr;
	return 0;
}

/**
 * vpfn_job_add - add a command to a job
 * @job: from vpfn_job_create(), with vpfn_job_num_descs() descriptors left for this
 * @op: VPFN_OP_*
 * @dst: what it writes, or NULL
 * @src: what it reads, or NULL
 * @length: bytes; for VPFN_OP_CRC32C at most DRM_VPFN_CRC_LENGTH_MAX
 * @pattern: of VPFN_OP_FILL, else 0
 *
 * The reservations of the buffers are held until their fences are in place, so
 * that they stay where they are. What is in system memory is populated. Ranges are
 * in the buffers and do not overlap; the destination of a VPFN_OP_CRC32C is aligned
 * to 4 bytes, so that no page boundary goes through it.
 *
 * Return: 0 or a negative errno.
 */
int vpfn_job_add(struct vpfn_job *job, u8 op, const struct vpfn_operand *dst,
		 const struct vpfn_operand *src, u64 length, u32 pattern)
{
	u64 dst_length = op == VPFN_OP_CRC32C ? VPFN_CRC_SIZE : length;
	struct vpfn_cursor dst_cursor, src_cursor;
	int ret;

	ret = vpfn_cursor_init(&dst_cursor, dst);
	if (ret)
		return ret;
	ret = vpfn_cursor_init(&src_cursor, src);
	if (ret)
		return ret;

	do {
		u64 chunk = min_t(u64, length, VPFN_CHUNK_SIZE);
		u64 dst_chunk = min(chunk, dst_length);
		struct vpfn_desc *desc = &job->descs[job->num_descs];
		struct vpfn_location to, from;

		ret = vpfn_job_locate(job, dst, &dst_cursor, dst_chunk, &to);
		if (ret)
			return ret;
		ret = vpfn_job_locate(job, src, &src_cursor, chunk, &from);
		if (ret)
			return ret;

		desc->op = op;
		desc->src_space = from.space;
		desc->dst_space = to.space;
		desc->length = cpu_to_le64(chunk);
		desc->src_addr = cpu_to_le64(from.addr);
		desc->dst_addr = cpu_to_le64(to.addr);
		desc->src_count = cpu_to_le32(from.count);
		desc->dst_count = cpu_to_le32(to.count);
		desc->pattern = cpu_to_le32(pattern);
		job->num_descs++;

		vpfn_cursor_advance(&dst_cursor, dst_chunk);
		vpfn_cursor_advance(&src_cursor, chunk);
		length -= chunk;
	} while (length);

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_job_add);

/**
 * vpfn_job_submit - give a job to the scheduler
 * @job: from vpfn_job_create(), with its dependencies
 *
 * From here on the job belongs to the scheduler. The caller holds the reservations
 * of all its buffers, and adds the fence to them.
 *
 * Return: a reference to the fence that is signalled when the job has ended.
 */
struct dma_fence *vpfn_job_submit(struct vpfn_job *job)
{
	struct dma_fence *fence;

	drm_sched_job_arm(&job->base);
	fence = dma_fence_get(&job->base.s_fence->finished);
	drm_sched_entity_push_job(&job->base);
	return fence;
}

/* Put a job into the ring; engine->lock is held. */
static void vpfn_ring_write(struct vpfn_engine *engine, struct vpfn_job *job)
{
	struct vpfn_desc *last = &job->descs[job->num_descs - 1];
	unsigned int i;

	last->flags = VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT;
	last->fence = cpu_to_le32(lower_32_bits(job->seqno));

	job->started = ktime_get();
	job->head = engine->tail;
	for (i = 0; i < job->num_descs; i++) {
		engine->ring[engine->tail] = job->descs[i];
		engine->tail = (engine->tail + 1) % VPFN_RING_SIZE;
	}
	writel(engine->tail, engine->regs + VPFN_REG_RING_TAIL);
}

/* A move that failed leaves a buffer with bytes that are not its own. */
static void vpfn_job_lose_bo(struct vpfn_job *job)
{
	if (job->bo)
		WRITE_ONCE(job->bo->lost, true);
}

/* Not inside of drm_dev_enter(), see vpfn_sched_timedout_job(). */
static struct dma_fence *vpfn_sched_run_job(struct drm_sched_job *base)
{
	struct vpfn_job *job = to_vpfn_job(base);
	struct vpfn_engine *engine = &job->vdev->engine;

	guard(spinlock_irqsave)(&engine->lock);

	if (engine->unplugged || engine->wedged) {
		vpfn_job_lose_bo(job);
		return ERR_PTR(engine->unplugged ? -ENODEV : -EIO);
	}

	job->seqno = ++engine->seqno;
	dma_fence_init(job->hw_fence, &vpfn_fence_ops, NULL, engine->fence_context, job->seqno);
	list_add_tail(&job->pending, &engine->pending);
	vpfn_ring_write(engine, job);
	return dma_fence_get(job->hw_fence);
}

/* A job has left the ring, well or with @error; engine->lock is held. */
static void vpfn_job_end(struct vpfn_job *job, int error)
{
	struct vpfn_engine *engine = &job->vdev->engine;
	ktime_t now = ktime_get();

	/* The engine has worked for this job since the one before it ended. */
	if (job->file)
		atomic64_add(ktime_to_ns(ktime_sub(now, max(job->started, engine->idle_since))),
			     &job->file->engine_ns);
	engine->idle_since = now;

	trace_vpfn_job(job->seqno, job->num_descs, job->attempts, error);
	list_del(&job->pending);
	if (error) {
		vpfn_job_lose_bo(job);
		dma_fence_set_error(job->hw_fence, error);
	}
	dma_fence_signal(job->hw_fence);
}

/* End all jobs that the device has done; engine->lock is held. */
static void vpfn_engine_advance(struct vpfn_engine *engine)
{
	u32 passed = readl(engine->regs + VPFN_REG_FENCE);
	struct vpfn_job *job, *next;

	list_for_each_entry_safe(job, next, &engine->pending, pending) {
		if ((s32)(passed - lower_32_bits(job->seqno)) < 0)
			break;
		vpfn_job_end(job, 0);
	}
}

/* The registers read as all ones: somebody has pulled the device out. */
static bool vpfn_engine_gone(struct vpfn_engine *engine)
{
	return readl(engine->regs + VPFN_REG_STATUS) == ~0;
}

static irqreturn_t vpfn_engine_irq(int irq, void *data)
{
	struct vpfn_engine *engine = data;
	u32 status;

	guard(spinlock_irqsave)(&engine->lock);

	/* First clear, then look: what happens in between comes with an interrupt of its own. */
	status = readl(engine->regs + VPFN_REG_INT_STATUS);
	if (!status || vpfn_engine_gone(engine))
		return IRQ_NONE;
	writel(status, engine->regs + VPFN_REG_INT_STATUS);

	vpfn_engine_advance(engine);
	if (status & VPFN_INT_ERROR)
		drm_sched_fault(&engine->sched);

	return IRQ_HANDLED;
}

/* Stop the engine; its registers lose their values. False: it does not obey. */
static bool vpfn_engine_reset(struct vpfn_engine *engine)
{
	writel(VPFN_CTRL_RESET, engine->regs + VPFN_REG_CTRL);
	return readl(engine->regs + VPFN_REG_STATUS) == 0;
}

/* Start the engine after a reset, with what is pending; engine->lock is held. */
static void vpfn_engine_start(struct vpfn_engine *engine)
{
	struct vpfn_job *job = list_first_entry_or_null(&engine->pending, struct vpfn_job, pending);
	u64 passed = job ? job->seqno - 1 : engine->seqno;

	engine->tail = 0;
	writel(lower_32_bits(engine->ring_addr), engine->regs + VPFN_REG_RING_BASE_LO);
	writel(upper_32_bits(engine->ring_addr), engine->regs + VPFN_REG_RING_BASE_HI);
	writel(VPFN_RING_SIZE, engine->regs + VPFN_REG_RING_SIZE);
	writel(lower_32_bits(passed), engine->regs + VPFN_REG_FENCE);
	writel(VPFN_INT_FENCE | VPFN_INT_ERROR, engine->regs + VPFN_REG_INT_ENABLE);
	writel(VPFN_CTRL_ENABLE, engine->regs + VPFN_REG_CTRL);

	list_for_each_entry(job, &engine->pending, pending)
		vpfn_ring_write(engine, job);
}

/* End everything in the ring with @error; engine->lock is held. */
static void vpfn_engine_fail_all(struct vpfn_engine *engine, int error)
{
	struct vpfn_job *job, *next;

	list_for_each_entry_safe(job, next, &engine->pending, pending)
		vpfn_job_end(job, error);
}

/*
 * Give the engine up; engine->lock is held. It may not have stopped: it must not reach memory
 * that others get from now on.
 */
static void vpfn_engine_wedge(struct vpfn_device *vdev)
{
	WRITE_ONCE(vdev->engine.wedged, true);
	pci_clear_master(to_pci_dev(vdev->drm.dev));
	vpfn_engine_fail_all(&vdev->engine, -EIO);
}

/* Write down what a developer wants to know of a failure; engine->lock is held. */
static void vpfn_engine_snapshot(struct vpfn_engine *engine, const struct vpfn_job *guilty,
				 char *text)
{
	static const struct {
		const char *name;
		u32 offset;
	} regs[] = {
		{ "CTRL", VPFN_REG_CTRL },
		{ "STATUS", VPFN_REG_STATUS },
		{ "ERROR", VPFN_REG_ERROR },
		{ "ERROR_INDEX", VPFN_REG_ERROR_INDEX },
		{ "RING_HEAD", VPFN_REG_RING_HEAD },
		{ "RING_TAIL", VPFN_REG_RING_TAIL },
		{ "FENCE", VPFN_REG_FENCE },
		{ "INT_STATUS", VPFN_REG_INT_STATUS },
	};
	struct drm_print_iterator iter = { .data = text, .remain = VPFN_SNAPSHOT_SIZE };
	struct drm_printer p = drm_coredump_printer(&iter);
	const struct vpfn_desc *desc;
	unsigned int i;

	drm_printf(&p, "driver: %s\n", KBUILD_MODNAME);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		drm_printf(&p, "%s: %#x\n", regs[i].name, readl(engine->regs + regs[i].offset));
	drm_printf(&p, "job: seqno %llu, client %llu, %u descriptors from %u on, attempt %u\n",
		   guilty->seqno, guilty->base.s_fence->drm_client_id, guilty->num_descs,
		   guilty->head, guilty->attempts + 1);
	for (i = 0; i < min(guilty->num_descs, 16); i++) {
		desc = &guilty->descs[i];
		drm_printf(&p, "descriptor: op %u, length %#llx, from %u:%#llx, to %u:%#llx\n",
			   desc->op, le64_to_cpu(desc->length),
			   desc->src_space, le64_to_cpu(desc->src_addr),
			   desc->dst_space, le64_to_cpu(desc->dst_addr));
	}
}

/* Tell the log, whoever collects core dumps, and the session manager. */
static void vpfn_engine_report(struct vpfn_device *vdev, u32 error, char *snapshot)
{
	bool wedged = READ_ONCE(vdev->engine.wedged);

	drm_notice(&vdev->drm, "engine %s, %s\n",
		   error == ~0 ? "does not answer" : error ? "stopped with an error" : "hung",
		   wedged ? "and is given up" : "reset");
	if (snapshot)
		dev_coredumpv(vdev->drm.dev, snapshot, strlen(snapshot), GFP_NOWAIT);
	if (wedged)
		drm_dev_wedged_event(&vdev->drm, DRM_WEDGE_RECOVERY_REBIND |
						 DRM_WEDGE_RECOVERY_BUS_RESET, NULL);
}

/*
 * The device has stopped, or makes no progress. A client's job that was running
 * then fails; one of the driver's own, which moves somebody's data, is tried again,
 * and so is what stood behind. If that fails, too, the engine is given up: jobs behind it
 * may read what it should have cleared.
 */
static void vpfn_engine_recover(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct vpfn_job *guilty;
	char *snapshot;
	u32 head, error;
	bool obeys;
	int idx;

	/* Somebody who frees memory may wait for this reset: no waiting for memory here. */
	snapshot = __vmalloc(VPFN_SNAPSHOT_SIZE, GFP_NOWAIT | __GFP_NOWARN | __GFP_ZERO);

	scoped_guard(spinlock_irqsave, &engine->lock) {
		if (engine->unplugged)
			goto out_free;

		/* A lost interrupt, or one that came just now; while the bit is set none comes */
		if (!vpfn_engine_gone(engine)) {
			writel(VPFN_INT_FENCE, engine->regs + VPFN_REG_INT_STATUS);
			vpfn_engine_advance(engine);
		}
		guilty = list_first_entry_or_null(&engine->pending, struct vpfn_job, pending);
		if (!guilty)
			goto out_free;

		head = readl(engine->regs + VPFN_REG_RING_HEAD);
		error = readl(engine->regs + VPFN_REG_ERROR);
		if (error == VPFN_ERROR_NONE && head != guilty->head) {
			guilty->head = head;
			goto out_free;
		}

		if (snapshot)
			vpfn_engine_snapshot(engine, guilty, snapshot);
		obeys = vpfn_engine_reset(engine);
		trace_vpfn_reset(guilty->seqno, error, obeys);
		guilty->attempts++;
		if (!obeys || guilty->attempts == VPFN_ATTEMPTS) {
			vpfn_engine_wedge(vdev);
		} else {
			if (guilty->file)
				vpfn_job_end(guilty, error ? -EIO : -ETIME);
			vpfn_engine_start(engine);
		}
	}

	if (drm_dev_enter(&vdev->drm, &idx)) {
		vpfn_engine_report(vdev, error, snapshot);
		drm_dev_exit(idx);
		return;
	}
out_free:
	vfree(snapshot);
}

/*
 * The scheduler's job is not of interest: the ring knows better which one runs. To
 * say "no hang" makes the scheduler take it back, and free it in its turn.
 *
 * Not inside of drm_dev_enter(): drm_dev_unplug() waits for faults that wait for moves there, and
 * those may need this to end.
 */
static enum drm_gpu_sched_stat vpfn_sched_timedout_job(struct drm_sched_job *base)
{
	vpfn_engine_recover(sched_to_vpfn_device(base->sched));
	return DRM_GPU_SCHED_STAT_NO_HANG;
}

static void vpfn_sched_free_job(struct drm_sched_job *base)
{
	drm_sched_job_cleanup(base);
	vpfn_job_free(to_vpfn_job(base));
}

/* All that were in the ring have ended by then, see vpfn_engine_unplug(). */
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
 * The scheduler forgets jobs whose file is closed before it is their turn, but calls
 * vpfn_sched_free_job() when what they wait for has happened: the engine must be there.
 */
static void vpfn_engine_fini(struct drm_device *drm, void *data)
{
	struct vpfn_engine *engine = data;

	drm_sched_entity_destroy(&engine->entity);
	drm_sched_fini(&engine->sched);
	kref_put(&engine->refs, vpfn_engine_release);
	wait_for_completion(&engine->released);
}

static int vpfn_engine_request_irqs(struct vpfn_device *vdev)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	int i, ret;

	ret = pci_alloc_irq_vectors(pdev, VPFN_NUM_VECTORS, VPFN_NUM_VECTORS, PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;

	for (i = 0; i < VPFN_NUM_VECTORS; i++) {
		ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, i), vpfn_engine_irq, 0,
				       KBUILD_MODNAME, &vdev->engine);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * vpfn_engine_init - start the engine and its scheduler
 * @vdev: the device, a bus master
 * @regs: the registers
 *
 * The scheduler lives until the last file is closed; the ring ends with the device.
 *
 * Return: 0, or a negative errno with a line in the log; all is undone by the
 * managed-resource actions.
 */
int vpfn_engine_init(struct vpfn_device *vdev, void __iomem *regs)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct drm_gpu_scheduler *sched = &engine->sched;
	struct device *dev = vdev->drm.dev;
	const struct drm_sched_init_args args = {
		.ops = &vpfn_sched_ops,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		.credit_limit = VPFN_RING_CREDITS,
		.timeout = msecs_to_jiffies(timeout_ms),
		.name = KBUILD_MODNAME,
		.dev = dev,
	};
	int ret;

	engine->regs = regs;
	engine->fence_context = dma_fence_context_alloc(1);
	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->pending);
	INIT_LIST_HEAD(&engine->jobs);
	kref_init(&engine->refs);
	init_completion(&engine->released);
	ret = drmm_mutex_init(&vdev->drm, &engine->jobs_lock);
	if (ret)
		return ret;

	engine->ring = dmam_alloc_coherent(dev, VPFN_RING_SIZE * sizeof(*engine->ring),
					   &engine->ring_addr, GFP_KERNEL);
	if (!engine->ring)
		return dev_err_probe(dev, -ENOMEM, "cannot allocate the ring\n");

	ret = drm_sched_init(sched, &args);
	if (ret)
		return dev_err_probe(dev, ret, "cannot set up the scheduler\n");

	ret = drm_sched_entity_init(&engine->entity, DRM_SCHED_PRIORITY_KERNEL, &sched, 1, NULL);
	if (ret) {
		drm_sched_fini(sched);
		return dev_err_probe(dev, ret, "cannot set up the scheduler\n");
	}

	ret = drmm_add_action_or_reset(&vdev->drm, vpfn_engine_fini, engine);
	if (ret)
		return ret;

	ret = vpfn_engine_request_irqs(vdev);
	if (ret)
		return dev_err_probe(dev, ret, "cannot set up the interrupts\n");

	return vpfn_engine_resume(vdev);
}

/**
 * vpfn_engine_resume - start an engine that is stopped
 * @vdev: the device
 *
 * Return: 0, or -EIO with a line in the log; the jobs that wait for it fail then.
 */
int vpfn_engine_resume(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;
	bool obeys;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		obeys = vpfn_engine_reset(engine);
		if (obeys)
			vpfn_engine_start(engine);
		else
			vpfn_engine_wedge(vdev);
	}

	drm_sched_wqueue_start(&engine->sched);
	return obeys ? 0 : dev_err_probe(vdev->drm.dev, -EIO, "cannot reset the engine\n");
}

/**
 * vpfn_engine_suspend - finish what is in the ring and stop
 * @vdev: the device
 *
 * Jobs that are not in the ring wait for vpfn_engine_resume().
 */
void vpfn_engine_suspend(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct dma_fence *last = NULL;

	drm_sched_wqueue_stop(&engine->sched);

	scoped_guard(spinlock_irqsave, &engine->lock) {
		if (!list_empty(&engine->pending))
			last = dma_fence_get(list_last_entry(&engine->pending, struct vpfn_job,
							     pending)->hw_fence);
	}
	/* The timeout handler sees to it that this ends. */
	if (last)
		dma_fence_wait(last, false);
	dma_fence_put(last);

	vpfn_engine_reset(engine);
}

/**
 * vpfn_engine_unplug - the device goes away
 * @vdev: the device, after drm_dev_unplug(): no job is being made
 *
 * Ends the jobs in the ring with -ENODEV, and gives back their DMA mappings: none may
 * outlive the driver's hold on the device. Jobs that are not in the ring fail when
 * it is their turn.
 */
void vpfn_engine_unplug(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct vpfn_job *job;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		engine->unplugged = true;
		vpfn_engine_reset(engine);
		pci_clear_master(to_pci_dev(vdev->drm.dev));
		vpfn_engine_fail_all(engine, -ENODEV);
	}

	guard(mutex)(&engine->jobs_lock);
	list_for_each_entry(job, &engine->jobs, link)
		vpfn_job_unmap(job);
}
