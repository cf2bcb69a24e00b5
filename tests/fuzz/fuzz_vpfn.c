// SPDX-License-Identifier: MIT
/*
 * The ioctls of vpfn itself. Each is filled as a client would, mostly; then fields of it are
 * replaced. For what the kernel saw in the end, the rules of the user-space interface say
 * whether it may succeed: what they forbid must fail, whatever the other threads do.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

#define MUTATED		35	/* percent of the calls */

/* Sizes and offsets beyond this are beyond any memory. */
#define ABSURD		(1ull << 40)

/* A job does no more than this, unless a field was replaced. */
#define JOB_BYTES	(8ull << 20)

/* Jobs that may wait: another submission waits. */
#define PENDING_BYTES	(64ull << 20)
#define PENDING_JOBS	64

#define PLACEMENTS	(DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM)

/* Says so if a call was successful that breaks a rule, with the bytes that do. */
static void must_fail(struct fuzz_thread *t, const struct fuzz_call *call, int result,
		      bool is_bad, const char *what, const void *bytes, size_t size)
{
	char text[3 * 64 + 1] = "";

	if (!call->known || !is_bad || result < 0)
		return;
	for (size_t i = 0; i < size && i < 64; i++)
		snprintf(text + 3 * i, 4, " %02x", ((const uint8_t *)bytes)[i]);
	fuzz_finding("%s succeeded against the rules (process %u, thread %u, operation %llu):%s",
		     what, t->process->ordinal, t->index, (unsigned long long)t->number, text);
}

static int op_get_param(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_get_param, param, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_get_param, pad, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_get_param, value, FUZZ_NUMBER),
	};
	struct fuzz_file file = fuzz_file_pick(t, NULL);
	struct drm_vpfn_get_param args = { .param = fuzz_below(&t->random, 2) }, seen;
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_GET_PARAM);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	must_fail(t, &call, ret, seen.pad || seen.param > DRM_VPFN_PARAM_VISIBLE_VRAM_SIZE,
		  "GET_PARAM", &seen, sizeof(seen));
	return ret;
}

static bool create_is_bad(const struct drm_vpfn_gem_create *args)
{
	return !args->size || args->size % PFNMAP_PAGE || args->size >= ABSURD ||
	       !args->placement || args->placement & ~PLACEMENTS ||
	       args->flags & ~DRM_VPFN_GEM_CREATE_CPU_ACCESS || args->pad;
}

static uint64_t new_size(struct fuzz_thread *t)
{
	unsigned int percent = fuzz_below(&t->random, 100);

	if (percent < 45)
		return PFNMAP_PAGE * (1 + fuzz_below(&t->random, 16));
	if (percent < 65)
		return PFNMAP_PAGE * (16 + fuzz_below(&t->random, 240));
	if (percent < 85)
		return PFNMAP_2M;
	if (percent < 95)
		return PFNMAP_2M + PFNMAP_PAGE * fuzz_below(&t->random, 1024);
	if (percent < 99)
		return 8 * PFNMAP_2M;
	return PFNMAP_1G;
}

/* As large as there is room for, and as it is wise to have in that place. */
static unsigned int new_object(struct fuzz_thread *t, struct drm_vpfn_gem_create *args,
			       unsigned int device)
{
	unsigned int object;

	if (args->size >= PFNMAP_1G) {
		args->placement = DRM_VPFN_PLACEMENT_VRAM;
		if (fuzz_shared->devices[device].vram_size <= 2 * PFNMAP_1G)
			args->size = PFNMAP_2M;
	}
	object = fuzz_object_new(t, args->size);
	if (!object) {
		args->size = PFNMAP_PAGE;
		object = fuzz_object_new(t, args->size);
	}
	return object;
}

static int op_create(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_gem_create, size, FUZZ_SIZE),
		FUZZ_FIELD(drm_vpfn_gem_create, placement, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_gem_create, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_gem_create, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_gem_create, pad, FUZZ_NUMBER),
	};
	struct drm_vpfn_gem_create args = {
		.size = new_size(t),
		.placement = 1 + fuzz_below(&t->random, 3),
		.flags = fuzz_below(&t->random, 2),
	}, seen;
	struct drm_vpfn_gem_mmap_offset get = {};
	struct fuzz_call call;
	unsigned int slot, object;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	bool returns;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_GEM_CREATE);
	returns = fuzz_call_returns(&call, offsetof(struct drm_vpfn_gem_create, pad));
	if (!returns)
		args.size = PFNMAP_PAGE;
	object = new_object(t, &args, file.device);
	if (!object)
		return FUZZ_SKIP;
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);

	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	must_fail(t, &call, ret, create_is_bad(&seen),
		  "GEM_CREATE", &seen, sizeof(seen));
	if (ret || !returns) {
		fuzz_object_put(t, object);
		return ret;
	}
	if (!args.handle)
		fuzz_finding("GEM_CREATE gave handle 0");

	get.handle = args.handle;
	vpfn_ioctl(file.fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get);
	fuzz_bo_put(t, (struct fuzz_bo) {
		.file = slot,
		.handle = args.handle,
		.size = args.size,
		.offset = get.offset,
		.object = object,
	});
	return 0;
}

static int op_mmap_offset(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_gem_mmap_offset, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_gem_mmap_offset, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_gem_mmap_offset, offset, FUZZ_BYTES),
	};
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct drm_vpfn_gem_mmap_offset args = { .handle = bo.handle }, seen;
	struct fuzz_file file = fuzz_file_of(t, bo.file);
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	must_fail(t, &call, ret, seen.flags || !seen.handle,
		  "GEM_MMAP_OFFSET", &seen, sizeof(seen));
	return ret;
}

static int op_info(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_gem_info, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_gem_info, placement, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_gem_info, size, FUZZ_BYTES),
	};
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct drm_vpfn_gem_info args = { .handle = bo.handle }, seen;
	struct fuzz_file file = fuzz_file_of(t, bo.file);
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_GEM_INFO);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	must_fail(t, &call, ret, seen.placement || !seen.handle,
		  "GEM_INFO", &seen, sizeof(seen));

	if (!ret && fuzz_call_returns(&call, sizeof(args)) &&
	    (!args.size || args.size % PFNMAP_PAGE || args.placement & ~PLACEMENTS ||
	     __builtin_popcount(args.placement) != 1))
		fuzz_finding("GEM_INFO says size %#llx, placement %#x",
			     (unsigned long long)args.size, args.placement);
	return ret;
}

static bool overlaps(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

static bool range_is_bad(uint64_t offset, uint64_t length)
{
	return !length || length >= ABSURD || offset >= ABSURD;
}

static bool cmd_is_bad(const struct drm_vpfn_cmd *cmd)
{
	switch (cmd->op) {
	case DRM_VPFN_CMD_NOP:
		return cmd->pattern || cmd->src_handle || cmd->dst_handle || cmd->src_offset ||
		       cmd->dst_offset || cmd->length;
	case DRM_VPFN_CMD_FILL:
		return cmd->src_handle || cmd->src_offset || !cmd->dst_handle ||
		       cmd->dst_offset % 4 || cmd->length % 4 ||
		       range_is_bad(cmd->dst_offset, cmd->length);
	case DRM_VPFN_CMD_COPY:
		return cmd->pattern || !cmd->src_handle || !cmd->dst_handle ||
		       range_is_bad(cmd->dst_offset, cmd->length) ||
		       range_is_bad(cmd->src_offset, cmd->length) ||
		       (cmd->src_handle == cmd->dst_handle &&
			overlaps(cmd->src_offset, cmd->length, cmd->dst_offset, cmd->length));
	case DRM_VPFN_CMD_CRC32C:
		return cmd->pattern || !cmd->src_handle || !cmd->dst_handle ||
		       cmd->dst_offset % 4 || cmd->length > DRM_VPFN_CRC_LENGTH_MAX ||
		       range_is_bad(cmd->dst_offset, 4) ||
		       range_is_bad(cmd->src_offset, cmd->length) ||
		       (cmd->src_handle == cmd->dst_handle &&
			overlaps(cmd->src_offset, cmd->length, cmd->dst_offset, 4));
	default:
		return true;
	}
}

struct job {
	struct drm_vpfn_submit args;
	struct drm_vpfn_cmd cmds[DRM_VPFN_SUBMIT_CMDS_MAX + 1];
	struct drm_vpfn_sync in[DRM_VPFN_SUBMIT_SYNCS_MAX + 1];
	struct drm_vpfn_sync out[DRM_VPFN_SUBMIT_SYNCS_MAX + 1];
};

/* Handle 0 may be valid: on Linux 7.3 it is free as soon as a client has destroyed it. */
static const void *bad_sync(const struct drm_vpfn_sync *syncs, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (syncs[i].pad)
			return &syncs[i];
	}
	return NULL;
}

/* What of a submission breaks the rules: NULL if nothing does, and its size. */
static const void *bad_part(const struct job *job, const struct drm_vpfn_submit *args, size_t *size)
{
	const void *bad = NULL;

	*size = sizeof(*args);
	if (args->flags || !args->num_cmds || args->num_cmds > DRM_VPFN_SUBMIT_CMDS_MAX ||
	    args->num_in_syncs > DRM_VPFN_SUBMIT_SYNCS_MAX ||
	    args->num_out_syncs > DRM_VPFN_SUBMIT_SYNCS_MAX)
		return args;

	/* No other process can have changed arrays of our own. */
	*size = sizeof(job->cmds[0]);
	for (unsigned int i = 0; i < args->num_cmds; i++) {
		if (args->cmds == (uintptr_t)job->cmds && cmd_is_bad(&job->cmds[i]))
			return &job->cmds[i];
	}
	*size = sizeof(job->in[0]);
	if (args->in_syncs == (uintptr_t)job->in)
		bad = bad_sync(job->in, args->num_in_syncs);
	if (!bad && args->out_syncs == (uintptr_t)job->out)
		bad = bad_sync(job->out, args->num_out_syncs);
	return bad;
}

static uint64_t some_length(struct fuzz_thread *t, uint64_t max)
{
	const uint64_t lengths[] = {
		4, 64, 4096, 65536, PFNMAP_2M, max, fuzz_below(&t->random, max),
	};
	uint64_t length = FUZZ_PICK(&t->random, lengths);

	if (length > JOB_BYTES)
		length = JOB_BYTES;
	return length < 4 ? 4 : length > max ? max : length;
}

/* An offset at which a range ends within the buffer. */
static uint64_t some_offset(struct fuzz_thread *t, uint64_t size, uint64_t length)
{
	const uint64_t offsets[] = { 0, size - length, fuzz_below(&t->random, size - length + 1) };

	return FUZZ_PICK(&t->random, offsets);
}

static void fill(struct fuzz_thread *t, struct drm_vpfn_cmd *cmd, const struct fuzz_bo *dst)
{
	cmd->op = DRM_VPFN_CMD_FILL;
	cmd->pattern = fuzz_next(&t->random);
	cmd->dst_handle = dst->handle;
	cmd->length = some_length(t, dst->size) & ~3ull;
	cmd->dst_offset = some_offset(t, dst->size, cmd->length) & ~3ull;
}

/* Of one buffer, the first half goes to the second. */
static void copy(struct fuzz_thread *t, struct drm_vpfn_cmd *cmd, const struct fuzz_bo *dst,
		 const struct fuzz_bo *src)
{
	bool same = dst->handle == src->handle;
	uint64_t room = dst->size < src->size ? dst->size : src->size;
	uint64_t half = dst->size / 2;

	cmd->op = DRM_VPFN_CMD_COPY;
	cmd->src_handle = src->handle;
	cmd->dst_handle = dst->handle;
	cmd->length = some_length(t, same ? half : room);
	cmd->src_offset = some_offset(t, same ? half : src->size, cmd->length);
	cmd->dst_offset = same ? half + some_offset(t, half, cmd->length) :
				 some_offset(t, dst->size, cmd->length);
}

static void crc(struct fuzz_thread *t, struct drm_vpfn_cmd *cmd, const struct fuzz_bo *dst,
		const struct fuzz_bo *src)
{
	bool same = dst->handle == src->handle;

	cmd->op = DRM_VPFN_CMD_CRC32C;
	cmd->src_handle = src->handle;
	cmd->dst_handle = dst->handle;
	cmd->length = some_length(t, same ? src->size - 4 : src->size);
	cmd->src_offset = some_offset(t, same ? src->size - 4 : src->size, cmd->length);
	cmd->dst_offset = same ? dst->size - 4 : some_offset(t, dst->size, 4) & ~3ull;
}

static void make_cmd(struct fuzz_thread *t, struct drm_vpfn_cmd *cmd, unsigned int file)
{
	struct fuzz_bo dst = fuzz_bo_pick_of(t, file), src = fuzz_bo_pick_of(t, file);

	*cmd = (struct drm_vpfn_cmd) {};
	if (!dst.size || !src.size)
		return;

	switch (fuzz_below(&t->random, 8)) {
	case 0:
		break;
	case 1 ... 3:
		fill(t, cmd, &dst);
		break;
	case 4 ... 5:
		copy(t, cmd, &dst, &src);
		break;
	default:
		crc(t, cmd, &dst, &src);
		break;
	}
}

static unsigned int make_syncs(struct fuzz_thread *t, struct drm_vpfn_sync *syncs,
			       unsigned int file, bool out)
{
	unsigned int count = fuzz_chance(&t->random, 50) ? fuzz_below(&t->random, 4) : 0;

	if (fuzz_chance(&t->random, 1))
		count = DRM_VPFN_SUBMIT_SYNCS_MAX;
	for (unsigned int i = 0; i < count; i++) {
		struct fuzz_sync sync = fuzz_sync_pick(t, file, !out);

		syncs[i] = (struct drm_vpfn_sync) { .handle = sync.handle };
		if (out && sync.timeline)
			syncs[i].point = ++sync.point;
		else if (sync.timeline)
			syncs[i].point = 1 + fuzz_below(&t->random, sync.point + 1);
		if (out) {
			sync.used = true;
			fuzz_sync_update(t, &sync);
		}
	}
	return count;
}

static void make_job(struct fuzz_thread *t, struct job *job, unsigned int file)
{
	unsigned int count = 1 + fuzz_below(&t->random, 6);

	if (fuzz_chance(&t->random, 1))
		count = DRM_VPFN_SUBMIT_CMDS_MAX;

	memset(job, 0, sizeof(*job));
	for (unsigned int i = 0; i < count; i++) {
		make_cmd(t, &job->cmds[i], file);
		/* Many commands are short ones. */
		if (i > 6 && job->cmds[i].length > 64)
			job->cmds[i].length = 64;
	}
	job->args = (struct drm_vpfn_submit) {
		.cmds = (uintptr_t)job->cmds,
		.in_syncs = (uintptr_t)job->in,
		.out_syncs = (uintptr_t)job->out,
		.num_cmds = count,
		.num_in_syncs = make_syncs(t, job->in, file, false),
		.num_out_syncs = make_syncs(t, job->out, file, true),
	};
}

static void mutate_job(struct fuzz_thread *t, struct job *job)
{
	static const struct fuzz_field cmd_fields[] = {
		FUZZ_FIELD(drm_vpfn_cmd, op, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_cmd, pattern, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_cmd, src_handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_cmd, dst_handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_cmd, src_offset, FUZZ_BYTES),
		FUZZ_FIELD(drm_vpfn_cmd, dst_offset, FUZZ_BYTES),
		FUZZ_FIELD(drm_vpfn_cmd, length, FUZZ_BYTES),
	};
	static const struct fuzz_field sync_fields[] = {
		FUZZ_FIELD(drm_vpfn_sync, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_sync, pad, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_sync, point, FUZZ_NUMBER),
	};
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_submit, cmds, FUZZ_POINTER),
		FUZZ_FIELD(drm_vpfn_submit, in_syncs, FUZZ_POINTER),
		FUZZ_FIELD(drm_vpfn_submit, out_syncs, FUZZ_POINTER),
		FUZZ_FIELD(drm_vpfn_submit, num_cmds, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_submit, num_in_syncs, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_submit, num_out_syncs, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_submit, flags, FUZZ_NUMBER),
	};
	unsigned int which = fuzz_below(&t->random, 10);

	if (which < 5)
		FUZZ_MUTATE(t, &job->cmds[fuzz_below(&t->random, job->args.num_cmds)], cmd_fields);
	else if (which < 6 && job->args.num_in_syncs)
		FUZZ_MUTATE(t, &job->in[0], sync_fields);
	else if (which < 7 && job->args.num_out_syncs)
		FUZZ_MUTATE(t, &job->out[0], sync_fields);
	else
		FUZZ_MUTATE(t, &job->args, fields);
}

/* The arrays in a mapping: copying them in faults, and another thread may change them. */
static void move_into_mapping(struct fuzz_thread *t, struct job *job)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	size_t size = job->args.num_cmds * sizeof(job->cmds[0]);

	if (map.addr && size <= map.size && !FUZZ_GUARDED(t, memcpy(map.addr, job->cmds, size)))
		job->args.cmds = (uintptr_t)map.addr;
}

/* The queue of jobs has no limit but the memory, so that the client must be its limit. */
static void wait_for_engine(struct fuzz_thread *t, int fd, const struct job *job)
{
	struct fuzz_process *p = t->process;
	uint64_t bytes = 0;
	uint32_t handle = 0;
	struct drm_vpfn_wait args;
	int err;

	for (unsigned int i = 0; i < job->args.num_cmds; i++) {
		bytes += job->cmds[i].length;
		if (job->cmds[i].dst_handle)
			handle = job->cmds[i].dst_handle;
	}
	if (__atomic_add_fetch(&p->pending_bytes, bytes, __ATOMIC_RELAXED) < PENDING_BYTES &&
	    __atomic_add_fetch(&p->pending_jobs, 1, __ATOMIC_RELAXED) < PENDING_JOBS)
		return;
	if (!handle)
		return;

	args = (struct drm_vpfn_wait) {
		.handle = handle,
		.timeout_ns = vpfn_deadline(2 * VPFN_LONG_NS),
	};
	err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_WAIT, &args);
	if (err == -ETIME)
		fuzz_finding("WAIT: a job has not ended after two minutes");
	if (err)
		return;
	__atomic_store_n(&p->pending_bytes, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&p->pending_jobs, 0, __ATOMIC_RELAXED);
}

static int op_submit(struct fuzz_thread *t)
{
	static __thread struct job job;
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct drm_vpfn_submit seen;
	struct fuzz_call call;
	const void *bad;
	size_t bad_size;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_SUBMIT);
	make_job(t, &job, slot);
	if (fuzz_chance(&t->random, 10))
		move_into_mapping(t, &job);
	if (fuzz_chance(&t->random, MUTATED))
		mutate_job(t, &job);

	ret = fuzz_call_do(t, &call, file.fd, &job.args, &seen);
	bad = bad_part(&job, &seen, &bad_size);
	must_fail(t, &call, ret, bad, "SUBMIT", bad, bad_size);
	if (!ret)
		wait_for_engine(t, file.fd, &job);
	return ret;
}

static int op_wait(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_vpfn_wait, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_vpfn_wait, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_vpfn_wait, timeout_ns, FUZZ_TIME),
	};
	const int64_t timeouts[] = {
		0, -1, INT64_MIN, vpfn_deadline(100 * 1000), vpfn_deadline(20 * 1000 * 1000),
		INT64_MAX,
	};
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct drm_vpfn_wait args = {
		.handle = bo.handle,
		.flags = fuzz_below(&t->random, 2),
		.timeout_ns = FUZZ_PICK(&t->random, timeouts),
	}, seen;
	struct fuzz_file file = fuzz_file_of(t, bo.file);
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_VPFN_WAIT);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	must_fail(t, &call, ret, seen.flags & ~DRM_VPFN_WAIT_WRITERS || !seen.handle,
		  "WAIT", &seen, sizeof(seen));
	return ret;
}

static int op_fresh(struct fuzz_thread *t)
{
	if (t->child)
		return FUZZ_SKIP;
	return fuzz_fresh(t, fuzz_below(&t->random, fuzz_shared->device_count));
}

static const struct fuzz_op ops[] = {
	{ "GET_PARAM", 10, FUZZ_FAILS, op_get_param, { EINVAL } },
	{ "GEM_CREATE", 60, FUZZ_FAILS, op_create, { EINVAL, E2BIG, ENOSPC } },
	{ "GEM_MMAP_OFFSET", 20, FUZZ_FAILS, op_mmap_offset, { EINVAL, ENOENT } },
	{ "GEM_INFO", 20, FUZZ_FAILS, op_info, { EINVAL, ENOENT } },
	{ "SUBMIT", 120, FUZZ_FAILS, op_submit, { EINVAL, ENOENT, E2BIG, ENOSPC } },
	{ "WAIT", 40, FUZZ_FAILS, op_wait, { EINVAL, ENOENT, ETIME } },
	{ "new buffer is zero", 8, FUZZ_MAY_FAIL, op_fresh, { ENOSPC, EIO, ETIME } },
};

const struct fuzz_group fuzz_vpfn_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
