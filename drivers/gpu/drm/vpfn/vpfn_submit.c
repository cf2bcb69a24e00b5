// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a client may ask of the engine: submission of jobs, and waiting.
 *
 * Commands name handles and offsets, and the driver writes the descriptors. All of the client's
 * memory is read, and all waits for the client's own jobs are over, before drm_dev_enter(): a
 * page that does not come, or a job that waits for ever, must not hold up drm_dev_unplug().
 */

#include <linux/dma-fence.h>
#include <linux/dma-fence-chain.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_syncobj.h>
#include <drm/drm_utils.h>
#include <drm/vpfn_drm.h>

#include <kunit/visibility.h>

#include "vpfn_drv.h"

static_assert(DRM_VPFN_CMD_NOP == VPFN_OP_NOP);
static_assert(DRM_VPFN_CMD_FILL == VPFN_OP_FILL);
static_assert(DRM_VPFN_CMD_COPY == VPFN_OP_COPY);
static_assert(DRM_VPFN_CMD_CRC32C == VPFN_OP_CRC32C);

/* A command, and the buffers that it names */
struct vpfn_cmd {
	struct drm_vpfn_cmd args;
	struct drm_gem_object *src;
	struct drm_gem_object *dst;
};

/* A point of a syncobj to signal */
struct vpfn_out_sync {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;	/* for a timeline, else NULL */
	u64 point;
};

struct vpfn_submission {
	struct drm_file *file;
	struct drm_vpfn_submit *args;
	struct vpfn_cmd *cmds;
	struct drm_gem_object **objs;	/* of all commands, with a reference each */
	unsigned int num_objs;
	struct drm_vpfn_sync *in_syncs;
	struct vpfn_out_sync *out_syncs;
	struct drm_exec exec;
	struct vpfn_job *job;
};

static bool vpfn_cmd_reads(const struct drm_vpfn_cmd *cmd)
{
	return cmd->op == DRM_VPFN_CMD_COPY || cmd->op == DRM_VPFN_CMD_CRC32C;
}

static bool vpfn_cmd_writes(const struct drm_vpfn_cmd *cmd)
{
	return cmd->op != DRM_VPFN_CMD_NOP;
}

/* Bytes that the command writes */
static u64 vpfn_cmd_dst_length(const struct drm_vpfn_cmd *cmd)
{
	return cmd->op == DRM_VPFN_CMD_CRC32C ? VPFN_CRC_SIZE : cmd->length;
}

/* The rules of the uAPI header for a submission as a whole */
VISIBLE_IF_KUNIT int vpfn_submit_check(const struct drm_vpfn_submit *args)
{
	if (args->flags || !args->num_cmds)
		return -EINVAL;
	if (args->num_cmds > DRM_VPFN_SUBMIT_CMDS_MAX ||
	    args->num_in_syncs > DRM_VPFN_SUBMIT_SYNCS_MAX ||
	    args->num_out_syncs > DRM_VPFN_SUBMIT_SYNCS_MAX)
		return -E2BIG;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_submit_check);

/* The rules for a command that need no buffers */
VISIBLE_IF_KUNIT int vpfn_cmd_check(const struct drm_vpfn_cmd *cmd)
{
	if (cmd->op > DRM_VPFN_CMD_CRC32C)
		return -EINVAL;
	if (cmd->op != DRM_VPFN_CMD_FILL && cmd->pattern)
		return -EINVAL;
	if (!vpfn_cmd_reads(cmd) && (cmd->src_handle || cmd->src_offset))
		return -EINVAL;
	if (!vpfn_cmd_writes(cmd))
		return cmd->dst_handle || cmd->dst_offset || cmd->length ? -EINVAL : 0;

	if (!cmd->length)
		return -EINVAL;
	/* A split of the range must not break the pattern. */
	if (cmd->op == DRM_VPFN_CMD_FILL && (cmd->dst_offset | cmd->length) % sizeof(u32))
		return -EINVAL;
	/* The CRC is of one descriptor, and is written to one page. */
	if (cmd->op == DRM_VPFN_CMD_CRC32C &&
	    (cmd->length > DRM_VPFN_CRC_LENGTH_MAX || cmd->dst_offset % VPFN_CRC_SIZE))
		return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_cmd_check);

/* Do @length bytes at @offset lie in @obj? */
static bool vpfn_range_fits(const struct drm_gem_object *obj, u64 offset, u64 length)
{
	return offset <= obj->size && length <= obj->size - offset;
}

/* The rules that need the buffers, NULL if not used: ranges lie in them, and do not overlap */
VISIBLE_IF_KUNIT int vpfn_cmd_check_ranges(const struct drm_vpfn_cmd *cmd,
					   const struct drm_gem_object *dst,
					   const struct drm_gem_object *src)
{
	u64 dst_length = vpfn_cmd_dst_length(cmd);

	if (dst && !vpfn_range_fits(dst, cmd->dst_offset, dst_length))
		return -EINVAL;
	if (!src)
		return 0;
	if (!vpfn_range_fits(src, cmd->src_offset, cmd->length))
		return -EINVAL;
	if (src == dst && cmd->src_offset < cmd->dst_offset + dst_length &&
	    cmd->dst_offset < cmd->src_offset + cmd->length)
		return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vpfn_cmd_check_ranges);

/* Look up a buffer; NULL if there is none. */
static struct drm_gem_object *vpfn_submission_get_obj(struct vpfn_submission *sub, u32 handle)
{
	struct drm_gem_object *obj = drm_gem_object_lookup(sub->file, handle);

	if (obj)
		sub->objs[sub->num_objs++] = obj;
	return obj;
}

static int vpfn_submission_get_cmds(struct vpfn_submission *sub)
{
	const struct drm_vpfn_cmd __user *user = u64_to_user_ptr(sub->args->cmds);
	struct vpfn_cmd *cmd;
	int ret;

	sub->cmds = kvcalloc(sub->args->num_cmds, sizeof(*sub->cmds), GFP_KERNEL_ACCOUNT);
	sub->objs = kvcalloc(sub->args->num_cmds, 2 * sizeof(*sub->objs), GFP_KERNEL_ACCOUNT);
	if (!sub->cmds || !sub->objs)
		return -ENOMEM;

	for (cmd = sub->cmds; cmd < sub->cmds + sub->args->num_cmds; cmd++, user++) {
		if (copy_from_user(&cmd->args, user, sizeof(cmd->args)))
			return -EFAULT;
		ret = vpfn_cmd_check(&cmd->args);
		if (ret)
			return ret;

		if (vpfn_cmd_reads(&cmd->args)) {
			cmd->src = vpfn_submission_get_obj(sub, cmd->args.src_handle);
			if (!cmd->src)
				return -ENOENT;
		}
		if (vpfn_cmd_writes(&cmd->args)) {
			cmd->dst = vpfn_submission_get_obj(sub, cmd->args.dst_handle);
			if (!cmd->dst)
				return -ENOENT;
		}
		ret = vpfn_cmd_check_ranges(&cmd->args, cmd->dst, cmd->src);
		if (ret)
			return ret;
	}
	return 0;
}

/* Copy an array of syncs; NULL if there are none. */
static struct drm_vpfn_sync *vpfn_get_syncs(u64 user, u32 count)
{
	struct drm_vpfn_sync *syncs;
	u32 i;

	if (!count)
		return NULL;

	syncs = memdup_array_user(u64_to_user_ptr(user), count, sizeof(*syncs));
	for (i = 0; !IS_ERR(syncs) && i < count; i++) {
		if (syncs[i].pad) {
			kvfree(syncs);
			return ERR_PTR(-EINVAL);
		}
	}
	return syncs;
}

static int vpfn_submission_get_in_syncs(struct vpfn_submission *sub)
{
	struct drm_vpfn_sync *syncs = vpfn_get_syncs(sub->args->in_syncs, sub->args->num_in_syncs);

	if (IS_ERR(syncs))
		return PTR_ERR(syncs);
	sub->in_syncs = syncs;
	return 0;
}

static int vpfn_submission_get_out_syncs(struct vpfn_submission *sub)
{
	u32 count = sub->args->num_out_syncs, i;
	struct drm_vpfn_sync *syncs __free(kvfree) = NULL;

	syncs = vpfn_get_syncs(sub->args->out_syncs, count);
	if (IS_ERR_OR_NULL(syncs))
		return PTR_ERR(no_free_ptr(syncs));

	sub->out_syncs = kcalloc(count, sizeof(*sub->out_syncs), GFP_KERNEL_ACCOUNT);
	if (!sub->out_syncs)
		return -ENOMEM;

	for (i = 0; i < count; i++) {
		struct vpfn_out_sync *out = &sub->out_syncs[i];

		out->syncobj = drm_syncobj_find(sub->file, syncs[i].handle);
		if (!out->syncobj)
			return -ENOENT;

		out->point = syncs[i].point;
		if (out->point) {
			out->chain = dma_fence_chain_alloc();
			if (!out->chain)
				return -ENOMEM;
		}
	}
	return 0;
}

static int vpfn_submission_add_in_syncs(struct vpfn_submission *sub)
{
	const struct drm_vpfn_sync *sync;
	struct dma_fence *fence;
	int ret;

	for (sync = sub->in_syncs; sync < sub->in_syncs + sub->args->num_in_syncs; sync++) {
		ret = drm_syncobj_find_fence(sub->file, sync->handle, sync->point, 0, &fence);
		if (ret)
			return ret;
		ret = drm_sched_job_add_dependency(&sub->job->base, fence);
		if (ret)
			return ret;
	}
	return 0;
}

/* Bring a buffer to where the engine can use it, with room for the fence of the job. */
static int vpfn_submission_prepare(struct drm_gem_object *obj)
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	int ret;

	ret = vpfn_bo_validate(gem_to_vpfn_bo(obj), &ctx);
	if (ret)
		return ret;

	/* Not before: a move takes places of its own. Two, to read and to write. */
	return dma_resv_reserve_fences(obj->resv, 2);
}

static u64 vpfn_engine_addr(struct drm_gem_object *obj, u64 offset)
{
	return obj ? vpfn_ttm_addr(drm_gem_ttm_of_gem(obj)->resource) + offset : 0;
}

static int vpfn_submission_add_cmd(struct vpfn_submission *sub, const struct vpfn_cmd *cmd)
{
	struct drm_sched_job *job = &sub->job->base;
	int ret = 0;

	if (cmd->dst)
		ret = drm_sched_job_add_implicit_dependencies(job, cmd->dst, true);
	if (!ret && cmd->src)
		ret = drm_sched_job_add_implicit_dependencies(job, cmd->src, false);
	if (ret)
		return ret;

	vpfn_job_add(sub->job, cmd->args.op, vpfn_engine_addr(cmd->dst, cmd->args.dst_offset),
		     vpfn_engine_addr(cmd->src, cmd->args.src_offset), cmd->args.length,
		     cmd->args.pattern);
	return 0;
}

/* Nothing fails from here on. */
static void vpfn_submission_push(struct vpfn_submission *sub)
{
	struct dma_fence *fence = vpfn_job_push(sub->job);
	const struct vpfn_cmd *cmd;
	u32 i;

	sub->job = NULL;
	for (cmd = sub->cmds; cmd < sub->cmds + sub->args->num_cmds; cmd++) {
		if (cmd->src)
			dma_resv_add_fence(cmd->src->resv, fence, DMA_RESV_USAGE_READ);
		if (cmd->dst)
			dma_resv_add_fence(cmd->dst->resv, fence, DMA_RESV_USAGE_WRITE);
	}

	for (i = 0; i < sub->args->num_out_syncs; i++) {
		struct vpfn_out_sync *out = &sub->out_syncs[i];

		if (out->chain)
			drm_syncobj_add_point(out->syncobj, out->chain, fence, out->point);
		else
			drm_syncobj_replace_fence(out->syncobj, fence);
		out->chain = NULL;
	}
	dma_fence_put(fence);
}

/*
 * Lock all buffers, so that they keep their places until the fence of the job is in them, and
 * bring them there; none evicts another of the same job. All inside of the loop: TTM may lock
 * other buffers to evict them as long as drm_exec is not done.
 */
static int vpfn_submission_reserve(struct vpfn_submission *sub)
{
	unsigned int i;
	int ret;

	drm_exec_init(&sub->exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES, 0);
	drm_exec_until_all_locked(&sub->exec) {
		ret = 0;
		for (i = 0; !ret && i < sub->num_objs; i++)
			ret = drm_exec_lock_obj(&sub->exec, sub->objs[i]);
		drm_exec_retry_on_contention(&sub->exec);
		/* drm_exec's list has one of several buffers with the same reservation. */
		for (i = 0; !ret && i < sub->num_objs; i++)
			ret = vpfn_submission_prepare(sub->objs[i]);
	}
	if (ret)
		drm_exec_fini(&sub->exec);
	return ret;
}

/* Reserve the buffers, describe the job, push it. submit_lock is held. */
static int vpfn_submission_run_locked(struct vpfn_submission *sub)
{
	const struct vpfn_cmd *end = sub->cmds + sub->args->num_cmds, *cmd;
	int ret;

	ret = vpfn_submission_reserve(sub);
	if (ret)
		return ret;

	for (cmd = sub->cmds; !ret && cmd < end; cmd++)
		ret = vpfn_submission_add_cmd(sub, cmd);
	if (!ret)
		vpfn_submission_push(sub);
	drm_exec_fini(&sub->exec);
	return ret;
}

/* Called inside of drm_dev_enter() */
static int vpfn_submission_run(struct vpfn_submission *sub, unsigned int num_descs)
{
	struct vpfn_device *vdev = to_vpfn_device(sub->file->minor->dev);
	struct vpfn_queue *queue = sub->file->driver_priv;
	struct vpfn_job *job;
	int ret;

	job = vpfn_job_create(vdev, queue, num_descs, sub->file->client_id);
	if (IS_ERR(job)) {
		vpfn_queue_leave(queue);
		return PTR_ERR(job);
	}

	sub->job = job;
	ret = vpfn_submission_add_in_syncs(sub);
	if (ret)
		return ret;

	if (down_read_killable(&vdev->submit_lock))
		return -EINTR;
	ret = vpfn_submission_run_locked(sub);
	up_read(&vdev->submit_lock);
	return ret;
}

/*
 * TTM does not evict what other submissions have reserved, nor what is being freed: wait for that.
 * Not inside of drm_dev_enter(): buffers are freed when their fences have signalled, which may be
 * another driver's.
 */
static int vpfn_submission_run_again(struct vpfn_submission *sub)
{
	struct vpfn_device *vdev = to_vpfn_device(sub->file->minor->dev);
	int ret = -ENODEV, idx;

	if (vpfn_bo_flush(vdev) || down_write_killable(&vdev->submit_lock))
		return -EINTR;
	if (drm_dev_enter(&vdev->drm, &idx)) {
		ret = vpfn_submission_run_locked(sub);
		drm_dev_exit(idx);
	}
	up_write(&vdev->submit_lock);
	return ret;
}

static void vpfn_submission_free(struct vpfn_submission *sub)
{
	u32 i;

	if (sub->job)
		vpfn_job_abort(sub->job);
	kvfree(sub->in_syncs);

	for (i = 0; sub->out_syncs && i < sub->args->num_out_syncs; i++) {
		dma_fence_chain_free(sub->out_syncs[i].chain);
		if (sub->out_syncs[i].syncobj)
			drm_syncobj_put(sub->out_syncs[i].syncobj);
	}
	kfree(sub->out_syncs);

	for (i = 0; i < sub->num_objs; i++)
		drm_gem_object_put(sub->objs[i]);
	kvfree(sub->objs);
	kvfree(sub->cmds);
}

int vpfn_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vpfn_submission sub = { .file = file, .args = data };
	const struct vpfn_cmd *cmd;
	u64 num_descs = 0;
	int ret, idx;

	ret = vpfn_submit_check(sub.args);
	if (ret)
		return ret;

	ret = vpfn_submission_get_cmds(&sub);
	if (!ret)
		ret = vpfn_submission_get_in_syncs(&sub);
	if (!ret)
		ret = vpfn_submission_get_out_syncs(&sub);
	if (!ret)
		ret = vpfn_queue_enter(file->driver_priv);
	if (ret)
		goto out_free;

	for (cmd = sub.cmds; cmd < sub.cmds + sub.args->num_cmds; cmd++)
		num_descs += vpfn_job_num_descs(cmd->args.length);

	if (drm_dev_enter(drm, &idx)) {
		ret = vpfn_submission_run(&sub, min(num_descs, UINT_MAX));
		drm_dev_exit(idx);
	} else {
		vpfn_queue_leave(file->driver_priv);
		ret = -ENODEV;
	}
	if (ret == -ENOSPC)
		ret = vpfn_submission_run_again(&sub);

out_free:
	vpfn_submission_free(&sub);
	return ret;
}

int vpfn_ioctl_wait(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vpfn_wait *args = data;
	long ret;

	if (args->flags & ~DRM_VPFN_WAIT_WRITERS)
		return -EINVAL;

	ret = drm_gem_dma_resv_wait(file, args->handle, !(args->flags & DRM_VPFN_WAIT_WRITERS),
				    drm_timeout_abs_to_jiffies(args->timeout_ns));
	return ret == -EINVAL ? -ENOENT : ret;
}
