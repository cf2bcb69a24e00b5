// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The hardware: ring, interrupts, watchdog and reset.
 *
 * Jobs go into the ring in the order in which the scheduler runs them; the device works
 * them off in that order. The last descriptor of a job writes its seqno to FENCE. When the
 * device stops with an error or hangs, it is reset: the guilty job fails, unless it is one of
 * the driver's own, and all others are put into the ring again.
 *
 * The scheduler's timeout is not used: each job that begins arms its timer anew (see
 * drm_sched_job_begin()), so that a client which submits often enough would keep a hang from
 * being found.
 */

#include <linux/devcoredump.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vpfn_drv.h"
#include "vpfn_trace.h"

/* Room for the text of a device core dump */
#define VPFN_SNAPSHOT_SIZE	SZ_4K

/* How often one of the driver's own jobs, which a client's data depends on, is tried. */
#define VPFN_ATTEMPTS		3

static unsigned int timeout_ms = 2000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "Time without progress after which the engine is reset, in ms (default: 2000)");

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

static u32 vpfn_read(struct vpfn_engine *engine, unsigned int offset)
{
	return readl(engine->regs + offset);
}

static void vpfn_write(struct vpfn_engine *engine, unsigned int offset, u32 value)
{
	writel(value, engine->regs + offset);
}

static struct vpfn_job *vpfn_engine_first(struct vpfn_engine *engine)
{
	return list_first_entry(&engine->pending, struct vpfn_job, link);
}

/* Expect progress of the pending jobs within the timeout from now on. */
static void vpfn_engine_watch(struct vpfn_engine *engine)
{
	engine->first = vpfn_engine_first(engine)->seqno;
	engine->head = vpfn_read(engine, VPFN_REG_RING_HEAD);
	mod_delayed_work(engine->wq, &engine->watchdog,
			 msecs_to_jiffies(max(READ_ONCE(timeout_ms), 1)));
}

/* Put a job into the ring; engine->lock is held. The scheduler's credits guarantee room. */
static void vpfn_ring_write(struct vpfn_engine *engine, struct vpfn_job *job)
{
	struct vpfn_desc *last = &job->descs[job->num_descs - 1];
	unsigned int i;

	last->flags = VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT;
	last->fence = cpu_to_le32(lower_32_bits(job->seqno));

	job->started = ktime_get();
	for (i = 0; i < job->num_descs; i++) {
		engine->ring[engine->tail] = job->descs[i];
		engine->tail = (engine->tail + 1) % VPFN_RING_SIZE;
	}
	vpfn_write(engine, VPFN_REG_RING_TAIL, engine->tail);
}

/**
 * vpfn_engine_run - put a job into the ring
 * @engine: the engine, not suspended
 * @job: the job
 *
 * Return: a reference to the job's hardware fence, or an ERR_PTR: -ENODEV after unplug, -EIO
 * if the engine is given up.
 */
struct dma_fence *vpfn_engine_run(struct vpfn_engine *engine, struct vpfn_job *job)
{
	guard(spinlock_irqsave)(&engine->lock);

	if (engine->unplugged || engine->wedged) {
		int error = engine->unplugged ? -ENODEV : -EIO;

		if (job->bo)
			WRITE_ONCE(job->bo->lost, error);
		return ERR_PTR(error);
	}

	job->seqno = ++engine->seqno;
	dma_fence_init(job->hw_fence, &vpfn_fence_ops, NULL, engine->fence_context, job->seqno);
	list_add_tail(&job->link, &engine->pending);
	vpfn_ring_write(engine, job);
	/* Only an idle engine: other jobs must not put the watchdog off. */
	if (list_is_singular(&engine->pending))
		vpfn_engine_watch(engine);
	return dma_fence_get(job->hw_fence);
}

/* End the first job of the ring, with @error or without; engine->lock is held. */
static void vpfn_engine_end_job(struct vpfn_engine *engine, struct vpfn_job *job, int error)
{
	ktime_t now = ktime_get();

	/* The engine has worked for this job since the job before it ended. */
	atomic64_add(ktime_to_ns(ktime_sub(now, max(job->started, engine->idle_since))),
		     &job->queue->engine_ns);
	engine->idle_since = now;

	trace_vpfn_job(job->seqno, job->num_descs, job->attempts, error);
	list_del_init(&job->link);
	if (error) {
		if (job->bo)
			WRITE_ONCE(job->bo->lost, error);
		dma_fence_set_error(job->hw_fence, error);
	}
	dma_fence_signal(job->hw_fence);
}

/* End all jobs that the device has completed; engine->lock is held. */
static void vpfn_engine_advance(struct vpfn_engine *engine)
{
	u32 passed = vpfn_read(engine, VPFN_REG_FENCE);
	struct vpfn_job *job, *next;

	list_for_each_entry_safe(job, next, &engine->pending, link) {
		if ((s32)(passed - lower_32_bits(job->seqno)) < 0)
			break;
		vpfn_engine_end_job(engine, job, 0);
	}
}

/* End all jobs with @error; engine->lock is held. */
static void vpfn_engine_fail_all(struct vpfn_engine *engine, int error)
{
	struct vpfn_job *job, *next;

	list_for_each_entry_safe(job, next, &engine->pending, link)
		vpfn_engine_end_job(engine, job, error);
}

/* All ones: surprise removal. */
static bool vpfn_engine_gone(struct vpfn_engine *engine)
{
	return vpfn_read(engine, VPFN_REG_STATUS) == ~0;
}

static irqreturn_t vpfn_engine_irq(int irq, void *data)
{
	struct vpfn_engine *engine = data;
	u32 status;

	guard(spinlock_irqsave)(&engine->lock);

	/* Clear first: a fence that passes after the read of FENCE raises the interrupt again. */
	status = vpfn_read(engine, VPFN_REG_INT_STATUS);
	if (!status || vpfn_engine_gone(engine))
		return IRQ_NONE;
	vpfn_write(engine, VPFN_REG_INT_STATUS, status);

	vpfn_engine_advance(engine);
	if (status & VPFN_INT_ERROR)
		mod_delayed_work(engine->wq, &engine->watchdog, 0);

	return IRQ_HANDLED;
}

/* Reset the engine. Returns false if it does not become idle. */
static bool vpfn_engine_reset(struct vpfn_engine *engine)
{
	vpfn_write(engine, VPFN_REG_CTRL, VPFN_CTRL_RESET);
	return vpfn_read(engine, VPFN_REG_STATUS) == 0;
}

/* Start the engine after a reset, with all pending jobs; engine->lock is held. */
static void vpfn_engine_start(struct vpfn_engine *engine)
{
	struct vpfn_job *job = list_first_entry_or_null(&engine->pending, struct vpfn_job, link);
	dma_addr_t gart_addr = container_of(engine, struct vpfn_device, engine)->gart_addr;
	u64 passed = job ? job->seqno - 1 : engine->seqno;

	vpfn_write(engine, VPFN_REG_GART_BASE_LO, lower_32_bits(gart_addr));
	vpfn_write(engine, VPFN_REG_GART_BASE_HI, upper_32_bits(gart_addr));
	vpfn_write(engine, VPFN_REG_RING_BASE_LO, lower_32_bits(engine->ring_addr));
	vpfn_write(engine, VPFN_REG_RING_BASE_HI, upper_32_bits(engine->ring_addr));
	vpfn_write(engine, VPFN_REG_RING_SIZE, VPFN_RING_SIZE);
	vpfn_write(engine, VPFN_REG_FENCE, lower_32_bits(passed));
	vpfn_write(engine, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE | VPFN_INT_ERROR);
	vpfn_write(engine, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);

	engine->tail = 0;
	list_for_each_entry(job, &engine->pending, link)
		vpfn_ring_write(engine, job);
	if (!list_empty(&engine->pending))
		vpfn_engine_watch(engine);
}

/* Give the engine up; engine->lock is held. It may not have stopped: end its DMA. */
static void vpfn_engine_wedge(struct vpfn_device *vdev)
{
	WRITE_ONCE(vdev->engine.wedged, true);
	pci_clear_master(to_pci_dev(vdev->drm.dev));
	vpfn_engine_fail_all(&vdev->engine, -EIO);
}

/* Describe the state of the engine for a core dump; engine->lock is held. */
static void vpfn_engine_print(struct vpfn_engine *engine, char *text)
{
	const struct vpfn_job *guilty = vpfn_engine_first(engine);
	static const struct {
		const char *name;
		u32 offset;
	} regs[] = {
		{ "CTRL", VPFN_REG_CTRL },
		{ "STATUS", VPFN_REG_STATUS },
		{ "ERROR", VPFN_REG_ERROR },
		{ "ERROR_INDEX", VPFN_REG_ERROR_INDEX },
		{ "ERROR_ADDR_LO", VPFN_REG_ERROR_ADDR_LO },
		{ "ERROR_ADDR_HI", VPFN_REG_ERROR_ADDR_HI },
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
		drm_printf(&p, "%s: %#x\n", regs[i].name, vpfn_read(engine, regs[i].offset));
	drm_printf(&p, "job: seqno %llu, client %llu, %u descriptors, attempt %u\n",
		   guilty->seqno, guilty->base.s_fence->drm_client_id, guilty->num_descs,
		   guilty->attempts + 1);
	for (i = 0; i < min(guilty->num_descs, 16); i++) {
		desc = &guilty->descs[i];
		drm_printf(&p, "descriptor: op %u, length %#llx, from %#llx, to %#llx\n", desc->op,
			   le64_to_cpu(desc->length), le64_to_cpu(desc->src_addr),
			   le64_to_cpu(desc->dst_addr));
	}
}

/* Announce a reset. In a work item of its own: a uevent allocates memory, see the watchdog. */
static void vpfn_engine_report(struct work_struct *work)
{
	struct vpfn_engine *engine = container_of(work, struct vpfn_engine, report);
	struct vpfn_device *vdev = container_of(engine, struct vpfn_device, engine);
	bool wedged = READ_ONCE(engine->wedged);
	char *snapshot = xchg(&engine->snapshot, NULL);
	u32 error = READ_ONCE(engine->report_error);
	int idx;

	if (!drm_dev_enter(&vdev->drm, &idx)) {
		vfree(snapshot);
		return;
	}

	drm_notice(&vdev->drm, "engine %s, %s\n",
		   error == ~0 ? "does not answer" : error ? "stopped with an error" : "hung",
		   wedged ? "and is given up" : "reset");
	if (snapshot)
		dev_coredumpv(vdev->drm.dev, snapshot, strlen(snapshot), GFP_KERNEL);
	if (wedged)
		drm_dev_wedged_event(&vdev->drm, DRM_WEDGE_RECOVERY_REBIND |
						 DRM_WEDGE_RECOVERY_BUS_RESET, NULL);
	drm_dev_exit(idx);
}

/*
 * Reset the engine because of the first pending job; engine->lock is held. A client's job fails
 * then. One of the driver's own, which moves or clears a buffer, is tried again; if it keeps
 * failing, the engine is given up, because the jobs behind it would read what should have been
 * overwritten.
 */
static void vpfn_engine_recover(struct vpfn_device *vdev, u32 error)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct vpfn_job *guilty = vpfn_engine_first(engine);
	bool idle = vpfn_engine_reset(engine);

	trace_vpfn_reset(guilty->seqno, error, idle);
	guilty->attempts++;
	if (!idle || guilty->attempts == VPFN_ATTEMPTS) {
		vpfn_engine_wedge(vdev);
	} else {
		if (!guilty->bo)
			vpfn_engine_end_job(engine, guilty, error ? -EIO : -ETIME);
		vpfn_engine_start(engine);
	}

	WRITE_ONCE(engine->report_error, error);
	schedule_work(&engine->report);
}

/*
 * Does the engine make progress? If not, reset it, and keep @snapshot, unless it is NULL, for the
 * report; engine->lock is held. Returns the text that is left to be freed.
 */
static char *vpfn_engine_check(struct vpfn_device *vdev, char *snapshot)
{
	struct vpfn_engine *engine = &vdev->engine;
	u32 error;

	if (engine->unplugged)
		return snapshot;

	/* The interrupt may be lost. While its bit is set there is no other one. */
	if (!vpfn_engine_gone(engine)) {
		vpfn_write(engine, VPFN_REG_INT_STATUS, VPFN_INT_FENCE);
		vpfn_engine_advance(engine);
	}
	if (list_empty(&engine->pending))
		return snapshot;

	/* RING_HEAD alone may have come round to where it was. */
	error = vpfn_read(engine, VPFN_REG_ERROR);
	if (error == VPFN_ERROR_NONE && (vpfn_engine_first(engine)->seqno != engine->first ||
					 vpfn_read(engine, VPFN_REG_RING_HEAD) != engine->head)) {
		vpfn_engine_watch(engine);
		return snapshot;
	}

	if (snapshot)
		vpfn_engine_print(engine, snapshot);
	snapshot = xchg(&engine->snapshot, snapshot);
	vpfn_engine_recover(vdev, error);
	return snapshot;
}

static void vpfn_engine_watchdog(struct work_struct *work)
{
	struct vpfn_engine *engine = container_of(work, struct vpfn_engine, watchdog.work);
	struct vpfn_device *vdev = container_of(engine, struct vpfn_device, engine);
	bool cookie = dma_fence_begin_signalling();
	/* Reclaim may wait for a reset: do not block on allocation. */
	char *snapshot = __vmalloc(VPFN_SNAPSHOT_SIZE, GFP_NOWAIT | __GFP_NOWARN | __GFP_ZERO);

	scoped_guard(spinlock_irqsave, &engine->lock)
		snapshot = vpfn_engine_check(vdev, snapshot);
	dma_fence_end_signalling(cookie);
	vfree(snapshot);
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
 * vpfn_engine_init - set up ring and interrupts, and start the engine
 * @vdev: the device, a bus master, with its GART
 * @regs: the registers
 *
 * Return: 0, or a negative errno with a line in the log; managed resources undo all of it.
 */
int vpfn_engine_init(struct vpfn_device *vdev, void __iomem *regs)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct device *dev = vdev->drm.dev;
	int ret;

	engine->regs = regs;
	engine->fence_context = dma_fence_context_alloc(1);
	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->pending);
	INIT_DELAYED_WORK(&engine->watchdog, vpfn_engine_watchdog);
	INIT_WORK(&engine->report, vpfn_engine_report);

	engine->wq = drmm_alloc_ordered_workqueue(&vdev->drm, KBUILD_MODNAME, WQ_MEM_RECLAIM);
	if (IS_ERR(engine->wq))
		return PTR_ERR(engine->wq);

	engine->ring = dmam_alloc_coherent(dev, VPFN_RING_SIZE * sizeof(*engine->ring),
					   &engine->ring_addr, GFP_KERNEL);
	if (!engine->ring)
		return dev_err_probe(dev, -ENOMEM, "cannot allocate the ring\n");

	ret = vpfn_engine_request_irqs(vdev);
	if (ret)
		return dev_err_probe(dev, ret, "cannot set up the interrupts\n");

	return vpfn_engine_resume(vdev);
}

/**
 * vpfn_engine_resume - start the engine
 * @vdev: the device; the engine is stopped
 *
 * Return: 0, or -EIO with a line in the log; then the engine is given up.
 */
int vpfn_engine_resume(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		if (vpfn_engine_reset(engine)) {
			vpfn_engine_start(engine);
			return 0;
		}
		vpfn_engine_wedge(vdev);
	}
	return dev_err_probe(vdev->drm.dev, -EIO, "cannot reset the engine\n");
}

/**
 * vpfn_engine_suspend - finish what is in the ring and stop the engine
 * @vdev: the device; no job is put into the ring before vpfn_engine_resume()
 */
void vpfn_engine_suspend(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;
	struct dma_fence *last = NULL;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		if (!list_empty(&engine->pending))
			last = dma_fence_get(list_last_entry(&engine->pending, struct vpfn_job,
							     link)->hw_fence);
	}
	/* The watchdog bounds this wait. */
	if (last)
		dma_fence_wait(last, false);
	dma_fence_put(last);

	scoped_guard(spinlock_irqsave, &engine->lock)
		vpfn_engine_reset(engine);
	cancel_delayed_work_sync(&engine->watchdog);
}

/**
 * vpfn_engine_unplug - the device goes away
 * @vdev: the device
 *
 * All jobs end with -ENODEV, those that the scheduler still holds when it runs them. There is
 * no DMA on return.
 */
void vpfn_engine_unplug(struct vpfn_device *vdev)
{
	struct vpfn_engine *engine = &vdev->engine;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		engine->unplugged = true;
		vpfn_engine_reset(engine);
		pci_clear_master(to_pci_dev(vdev->drm.dev));
		vpfn_engine_fail_all(engine, -ENODEV);
	}

	cancel_delayed_work_sync(&engine->watchdog);
	cancel_work_sync(&engine->report);
	vfree(xchg(&engine->snapshot, NULL));
}
