// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The hardware: ring, interrupts, reset.
 *
 * The scheduler puts one job into the ring at a time. The last descriptor of a job writes its
 * seqno to FENCE. If the device stops with an error or makes no progress, it is reset, and the job
 * fails, unless it is one of the driver's own, which is tried again.
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
#include <drm/drm_print.h>

#include "vpfn_drv.h"

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

/* Put a job into the ring; engine->lock is held. */
static void vpfn_ring_write(struct vpfn_engine *engine, struct vpfn_job *job)
{
	struct vpfn_desc *last = &job->descs[job->num_descs - 1];
	unsigned int i;

	last->flags = VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT;
	last->fence = cpu_to_le32(lower_32_bits(job->seqno));

	engine->job = job;
	engine->head = engine->tail;
	engine->progress = ktime_get();
	for (i = 0; i < job->num_descs; i++) {
		engine->ring[engine->tail] = job->descs[i];
		engine->tail = (engine->tail + 1) % VPFN_RING_SIZE;
	}
	vpfn_write(engine, VPFN_REG_RING_TAIL, engine->tail);
}

/**
 * vpfn_engine_run - put a job into the ring
 * @engine: the engine, not suspended
 * @job: the job; the one before it has ended
 *
 * Return: a reference to the job's hardware fence, or an ERR_PTR: -ENODEV after unplug, -EIO
 * if the engine is given up.
 */
struct dma_fence *vpfn_engine_run(struct vpfn_engine *engine, struct vpfn_job *job)
{
	guard(spinlock_irqsave)(&engine->lock);

	if (engine->error) {
		if (job->bo)
			WRITE_ONCE(job->bo->lost, engine->error);
		return ERR_PTR(engine->error);
	}

	job->seqno = ++engine->seqno;
	job->started = ktime_get();
	dma_fence_init(job->hw_fence, &vpfn_fence_ops, NULL, engine->fence_context, job->seqno);
	vpfn_ring_write(engine, job);
	return dma_fence_get(job->hw_fence);
}

/* End the job in the ring, with @error or without; engine->lock is held. */
static void vpfn_engine_end_job(struct vpfn_engine *engine, int error)
{
	struct vpfn_job *job = engine->job;

	engine->job = NULL;
	atomic64_add(ktime_to_ns(ktime_sub(ktime_get(), job->started)), &job->queue->engine_ns);
	if (error) {
		if (job->bo)
			WRITE_ONCE(job->bo->lost, error);
		dma_fence_set_error(job->hw_fence, error);
	}
	dma_fence_signal(job->hw_fence);
}

/* All ones: surprise removal. */
static bool vpfn_engine_gone(struct vpfn_engine *engine)
{
	return vpfn_read(engine, VPFN_REG_STATUS) == ~0;
}

/* End the job if the device has completed it; engine->lock is held. */
static void vpfn_engine_advance(struct vpfn_engine *engine)
{
	if (engine->job &&
	    vpfn_read(engine, VPFN_REG_FENCE) == lower_32_bits(engine->job->seqno) &&
	    !vpfn_engine_gone(engine))
		vpfn_engine_end_job(engine, 0);
}

static irqreturn_t vpfn_engine_irq(int irq, void *data)
{
	struct vpfn_device *vdev = data;
	struct vpfn_engine *engine = &vdev->engine;
	u32 status;

	guard(spinlock_irqsave)(&engine->lock);

	/* Clear first: a fence that passes after the read of FENCE raises the interrupt again. */
	status = vpfn_read(engine, VPFN_REG_INT_STATUS);
	if (!status || vpfn_engine_gone(engine))
		return IRQ_NONE;
	vpfn_write(engine, VPFN_REG_INT_STATUS, status);

	vpfn_engine_advance(engine);
	if (status & VPFN_INT_ERROR)
		drm_sched_fault(&vdev->sched);

	return IRQ_HANDLED;
}

/* Reset the engine. Returns false if it does not become idle. */
static bool vpfn_engine_reset(struct vpfn_engine *engine)
{
	vpfn_write(engine, VPFN_REG_CTRL, VPFN_CTRL_RESET);
	return vpfn_read(engine, VPFN_REG_STATUS) == 0;
}

/* Start the engine after a reset, with an empty ring; engine->lock is held. */
static void vpfn_engine_start(struct vpfn_engine *engine)
{
	dma_addr_t gart_addr = container_of(engine, struct vpfn_device, engine)->gart_addr;

	vpfn_write(engine, VPFN_REG_GART_BASE_LO, lower_32_bits(gart_addr));
	vpfn_write(engine, VPFN_REG_GART_BASE_HI, upper_32_bits(gart_addr));
	vpfn_write(engine, VPFN_REG_RING_BASE_LO, lower_32_bits(engine->ring_addr));
	vpfn_write(engine, VPFN_REG_RING_BASE_HI, upper_32_bits(engine->ring_addr));
	vpfn_write(engine, VPFN_REG_RING_SIZE, VPFN_RING_SIZE);
	/* Not the number of the job that is next. */
	vpfn_write(engine, VPFN_REG_FENCE, lower_32_bits(engine->seqno - 1));
	vpfn_write(engine, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE | VPFN_INT_ERROR);
	vpfn_write(engine, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);
	engine->tail = 0;
}

/*
 * End the job and all that follow with @error; engine->lock is held. The engine may not have
 * stopped: end its DMA.
 */
static void vpfn_engine_give_up(struct vpfn_device *vdev, int error)
{
	struct vpfn_engine *engine = &vdev->engine;

	WRITE_ONCE(engine->error, error);
	pci_clear_master(to_pci_dev(vdev->drm.dev));
	if (engine->job)
		vpfn_engine_end_job(engine, error);
}

/**
 * vpfn_engine_is_stuck - ask whether the job in the ring needs a reset
 * @engine: the engine
 *
 * Called from time to time, and after an interrupt for an error.
 *
 * Return: true if the device has stopped with an error, or if RING_HEAD has not moved for
 * timeout_ms.
 */
bool vpfn_engine_is_stuck(struct vpfn_engine *engine)
{
	u32 head;

	guard(spinlock_irqsave)(&engine->lock);

	/* Not even a read: a suspended device does not answer. */
	if (!engine->job)
		return false;

	/* The interrupt may be lost. While its bit is set there is no other one. */
	vpfn_write(engine, VPFN_REG_INT_STATUS, VPFN_INT_FENCE);
	vpfn_engine_advance(engine);
	if (!engine->job)
		return false;
	if (vpfn_read(engine, VPFN_REG_ERROR) != VPFN_ERROR_NONE)
		return true;

	head = vpfn_read(engine, VPFN_REG_RING_HEAD);
	if (head != engine->head) {
		engine->head = head;
		engine->progress = ktime_get();
	}
	return ktime_ms_delta(ktime_get(), engine->progress) >= READ_ONCE(timeout_ms);
}

/* Describe the state of the engine for a core dump; engine->lock is held. */
static void vpfn_engine_print(struct vpfn_engine *engine, char *text)
{
	const struct vpfn_job *job = engine->job;
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
		   job->seqno, job->base.s_fence->drm_client_id, job->num_descs,
		   job->attempts + 1);
	for (i = 0; i < min(job->num_descs, 16); i++) {
		desc = &job->descs[i];
		drm_printf(&p, "descriptor: op %u, length %#llx, from %#llx, to %#llx\n", desc->op,
			   le64_to_cpu(desc->length), le64_to_cpu(desc->src_addr),
			   le64_to_cpu(desc->dst_addr));
	}
}

/* Announce a reset. In a work item: a uevent takes memory, see vpfn_engine_recover(). */
static void vpfn_engine_report(struct work_struct *work)
{
	struct vpfn_engine *engine = container_of(work, struct vpfn_engine, report);
	struct vpfn_device *vdev = container_of(engine, struct vpfn_device, engine);
	bool wedged = READ_ONCE(engine->error) == -EIO;
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

/**
 * vpfn_engine_recover - reset the engine because of the job in the ring
 * @vdev: the device; its scheduler is stopped
 *
 * A client's job fails. One of the driver's own, which moves or clears a buffer, is put into the
 * ring again; if it keeps failing, the engine is given up, because the jobs that follow would read
 * what should have been overwritten.
 *
 * Reclaim may wait for jobs, so that this does not block on allocation.
 */
void vpfn_engine_recover(struct vpfn_device *vdev)
{
	char *snapshot = __vmalloc(VPFN_SNAPSHOT_SIZE, GFP_NOWAIT | __GFP_NOWARN | __GFP_ZERO);
	struct vpfn_engine *engine = &vdev->engine;
	struct vpfn_job *job;
	u32 error;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		job = engine->job;
		/* It may have ended since vpfn_engine_is_stuck() was asked. */
		if (!job)
			break;

		error = vpfn_read(engine, VPFN_REG_ERROR);
		WRITE_ONCE(engine->report_error, error);
		if (snapshot)
			vpfn_engine_print(engine, snapshot);
		snapshot = xchg(&engine->snapshot, snapshot);

		if (!vpfn_engine_reset(engine) || ++job->attempts == VPFN_ATTEMPTS) {
			vpfn_engine_give_up(vdev, -EIO);
		} else {
			vpfn_engine_start(engine);
			if (job->bo)
				vpfn_ring_write(engine, job);
			else
				vpfn_engine_end_job(engine, error ? -EIO : -ETIME);
		}
		schedule_work(&engine->report);
	}
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
				       KBUILD_MODNAME, vdev);
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
	INIT_WORK(&engine->report, vpfn_engine_report);

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
		vpfn_engine_give_up(vdev, -EIO);
	}
	return dev_err_probe(vdev->drm.dev, -EIO, "cannot reset the engine\n");
}

/* Wait until the job in the ring has ended; the timeout bounds that. */
void vpfn_engine_wait(struct vpfn_engine *engine)
{
	struct dma_fence *fence = NULL;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		if (engine->job)
			fence = dma_fence_get(engine->job->hw_fence);
	}
	if (fence)
		dma_fence_wait(fence, false);
	dma_fence_put(fence);
}

/**
 * vpfn_engine_suspend - stop the engine
 * @engine: the engine; no job is put into the ring before vpfn_engine_resume()
 *
 * Return: false if there is still a job in the ring, and the engine runs.
 */
bool vpfn_engine_suspend(struct vpfn_engine *engine)
{
	guard(spinlock_irqsave)(&engine->lock);

	if (engine->job)
		return false;
	vpfn_engine_reset(engine);
	return true;
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
		vpfn_engine_reset(engine);
		vpfn_engine_give_up(vdev, -ENODEV);
	}

	cancel_work_sync(&engine->report);
	vfree(xchg(&engine->snapshot, NULL));
}
