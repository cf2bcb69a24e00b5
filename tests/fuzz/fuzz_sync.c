// SPDX-License-Identifier: MIT
/*
 * Synchronisation objects, binary and timeline.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"

#define MUTATED		30	/* percent of the calls */
#define MANY		4	/* syncobjs in one call */

static int op_create(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_create, flags, FUZZ_NUMBER),
	};
	struct drm_syncobj_create args = { .flags = fuzz_chance(&t->random, 20) }, seen;
	struct fuzz_call call;
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_CREATE);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (ret || !fuzz_call_returns(&call, 4))
		return ret;

	fuzz_sync_put(t, (struct fuzz_sync) {
		.file = slot,
		.handle = args.handle,
		.timeline = fuzz_chance(&t->random, 50),
		.used = args.flags,
	});
	return 0;
}

static int op_destroy(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_destroy, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_syncobj_destroy, pad, FUZZ_NUMBER),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct drm_syncobj_destroy args = { .handle = fuzz_sync_pick(t, slot, true).handle }, seen;
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_DESTROY);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (!ret && call.known)
		fuzz_sync_drop(t, slot, seen.handle);
	return ret;
}

static const struct fuzz_field handle_fields[] = {
	FUZZ_FIELD(drm_syncobj_handle, handle, FUZZ_HANDLE),
	FUZZ_FIELD(drm_syncobj_handle, flags, FUZZ_NUMBER),
	FUZZ_FIELD(drm_syncobj_handle, fd, FUZZ_FD),
	FUZZ_FIELD(drm_syncobj_handle, pad, FUZZ_NUMBER),
	FUZZ_FIELD(drm_syncobj_handle, point, FUZZ_NUMBER),
};

static int op_export(struct fuzz_thread *t)
{
	struct drm_syncobj_handle args = { .flags = fuzz_below(&t->random, 2) }, seen;
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct fuzz_call call;
	int ret;

	args.handle = fuzz_sync_pick(t, slot, true).handle;
	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD);
	/* A lost answer is a lost fd, and there are not many of them. */
	if (!fuzz_call_returns(&call, sizeof(args)))
		args.handle = 0;
	else if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, handle_fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (!ret && fuzz_call_returns(&call, sizeof(args)))
		fuzz_sync_fd_put(t, args.fd);
	return ret;
}

static int op_import(struct fuzz_thread *t)
{
	struct drm_syncobj_handle args = { .fd = fuzz_sync_fd_pick(t) }, seen;
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct fuzz_call call;
	int ret;

	if (fuzz_chance(&t->random, 50)) {
		args.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE;
		args.handle = fuzz_sync_pick(t, slot, false).handle;
	}
	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, handle_fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (!ret && !seen.flags && fuzz_call_returns(&call, sizeof(args)))
		fuzz_sync_put(t, (struct fuzz_sync) {
			.file = slot,
			.handle = args.handle,
			.used = true,
		});
	return ret;
}

/* Handles and points for those that take several. */
struct set {
	unsigned int count;
	uint32_t handles[MANY];
	uint64_t points[MANY];
};

static void make_set(struct fuzz_thread *t, struct set *set, unsigned int file, bool past)
{
	set->count = 1 + fuzz_below(&t->random, MANY);
	for (unsigned int i = 0; i < set->count; i++) {
		struct fuzz_sync sync = fuzz_sync_pick(t, file, true);

		set->handles[i] = sync.handle;
		set->points[i] = past ? fuzz_below(&t->random, sync.point + 1) : sync.point + 1;
	}
}

static int64_t soon(struct fuzz_thread *t)
{
	const int64_t times[] = { 0, vpfn_deadline(100 * 1000), vpfn_deadline(10 * 1000 * 1000) };

	return FUZZ_PICK(&t->random, times);
}

static int op_wait(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_wait, handles, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_wait, timeout_nsec, FUZZ_TIME),
		FUZZ_FIELD(drm_syncobj_wait, count_handles, FUZZ_COUNT),
		FUZZ_FIELD(drm_syncobj_wait, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_wait, deadline_nsec, FUZZ_TIME),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct set set;
	struct drm_syncobj_wait args, seen;
	struct fuzz_call call;

	make_set(t, &set, slot, true);
	args = (struct drm_syncobj_wait) {
		.handles = (uintptr_t)set.handles,
		.timeout_nsec = soon(t),
		.count_handles = set.count,
		.flags = fuzz_below(&t->random, 16) & ~DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE,
	};
	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_WAIT);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, file.fd, &args, &seen);
}

static int op_timeline_wait(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_timeline_wait, handles, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_timeline_wait, points, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_timeline_wait, timeout_nsec, FUZZ_TIME),
		FUZZ_FIELD(drm_syncobj_timeline_wait, count_handles, FUZZ_COUNT),
		FUZZ_FIELD(drm_syncobj_timeline_wait, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_timeline_wait, deadline_nsec, FUZZ_TIME),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct set set;
	struct drm_syncobj_timeline_wait args, seen;
	struct fuzz_call call;

	make_set(t, &set, slot, true);
	args = (struct drm_syncobj_timeline_wait) {
		.handles = (uintptr_t)set.handles,
		.points = (uintptr_t)set.points,
		.timeout_nsec = soon(t),
		.count_handles = set.count,
		.flags = fuzz_below(&t->random, 16),
	};
	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, file.fd, &args, &seen);
}

static int on_array(struct fuzz_thread *t, unsigned long request)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_array, handles, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_array, count_handles, FUZZ_COUNT),
		FUZZ_FIELD(drm_syncobj_array, pad, FUZZ_NUMBER),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct set set;
	struct drm_syncobj_array args, seen;
	struct fuzz_call call;

	make_set(t, &set, slot, true);
	args = (struct drm_syncobj_array) {
		.handles = (uintptr_t)set.handles,
		.count_handles = set.count,
	};
	fuzz_call_init(t, &call, request);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, file.fd, &args, &seen);
}

static int op_reset(struct fuzz_thread *t)
{
	return on_array(t, DRM_IOCTL_SYNCOBJ_RESET);
}

static int op_signal(struct fuzz_thread *t)
{
	return on_array(t, DRM_IOCTL_SYNCOBJ_SIGNAL);
}

static int on_timeline(struct fuzz_thread *t, unsigned long request, bool past)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_timeline_array, handles, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_timeline_array, points, FUZZ_POINTER),
		FUZZ_FIELD(drm_syncobj_timeline_array, count_handles, FUZZ_COUNT),
		FUZZ_FIELD(drm_syncobj_timeline_array, flags, FUZZ_NUMBER),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct set set;
	struct drm_syncobj_timeline_array args, seen;
	struct fuzz_call call;

	make_set(t, &set, slot, past);
	args = (struct drm_syncobj_timeline_array) {
		.handles = (uintptr_t)set.handles,
		.points = (uintptr_t)set.points,
		.count_handles = set.count,
	};
	fuzz_call_init(t, &call, request);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, file.fd, &args, &seen);
}

static int op_query(struct fuzz_thread *t)
{
	return on_timeline(t, DRM_IOCTL_SYNCOBJ_QUERY, true);
}

static int op_timeline_signal(struct fuzz_thread *t)
{
	return on_timeline(t, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, false);
}

static int op_transfer(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_transfer, src_handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_syncobj_transfer, dst_handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_syncobj_transfer, src_point, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_transfer, dst_point, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_transfer, pad, FUZZ_NUMBER),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct fuzz_sync src = fuzz_sync_pick(t, slot, true), dst = fuzz_sync_pick(t, slot, false);
	/* Not with WAIT_FOR_SUBMIT, which has no time limit. */
	struct drm_syncobj_transfer args = {
		.src_handle = src.handle,
		.dst_handle = dst.handle,
		.src_point = src.timeline ? src.point : 0,
		.dst_point = dst.timeline ? ++dst.point : 0,
	}, seen;
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_TRANSFER);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (!ret) {
		dst.used = true;
		fuzz_sync_update(t, &dst);
	}
	return ret;
}

static int op_eventfd(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_syncobj_eventfd, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_syncobj_eventfd, flags, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_eventfd, point, FUZZ_NUMBER),
		FUZZ_FIELD(drm_syncobj_eventfd, fd, FUZZ_FD),
		FUZZ_FIELD(drm_syncobj_eventfd, pad, FUZZ_NUMBER),
	};
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	struct fuzz_sync sync = fuzz_sync_pick(t, slot, false);
	struct drm_syncobj_eventfd args = {
		.handle = sync.handle,
		.flags = fuzz_chance(&t->random, 50) ? DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE : 0,
		.point = sync.timeline ? sync.point + fuzz_below(&t->random, 2) : 0,
		.fd = t->process->event_fd,
	}, seen;
	struct fuzz_call call;

	fuzz_call_init(t, &call, DRM_IOCTL_SYNCOBJ_EVENTFD);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, file.fd, &args, &seen);
}

static const struct fuzz_op ops[] = {
	{ "SYNCOBJ_CREATE", 20, FUZZ_FAILS, op_create, { EINVAL } },
	{ "SYNCOBJ_DESTROY", 5, FUZZ_FAILS, op_destroy, { EINVAL } },
	{ "SYNCOBJ_HANDLE_TO_FD", 8, FUZZ_FAILS, op_export, { EINVAL, ENOENT } },
	{ "SYNCOBJ_FD_TO_HANDLE", 8, FUZZ_FAILS, op_import, { EINVAL, ENOENT } },
	{ "SYNCOBJ_WAIT", 10, FUZZ_FAILS, op_wait, { EINVAL, ENOENT, ETIME } },
	{ "SYNCOBJ_TIMELINE_WAIT", 10, FUZZ_FAILS, op_timeline_wait, { EINVAL, ENOENT, ETIME } },
	{ "SYNCOBJ_RESET", 5, FUZZ_FAILS, op_reset, { EINVAL, ENOENT } },
	{ "SYNCOBJ_SIGNAL", 5, FUZZ_FAILS, op_signal, { EINVAL, ENOENT } },
	{ "SYNCOBJ_QUERY", 5, FUZZ_FAILS, op_query, { EINVAL, ENOENT } },
	{ "SYNCOBJ_TIMELINE_SIGNAL", 5, FUZZ_FAILS, op_timeline_signal, { EINVAL, ENOENT } },
	{ "SYNCOBJ_TRANSFER", 8, FUZZ_FAILS, op_transfer, { EINVAL, ENOENT } },
	{ "SYNCOBJ_EVENTFD", 5, FUZZ_FAILS, op_eventfd, { EINVAL, ENOENT } },
};

const struct fuzz_group fuzz_sync_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
