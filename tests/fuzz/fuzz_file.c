// SPDX-License-Identifier: MIT
/*
 * Files, and the ioctls of the DRM core that a driver answers for: handles, names, dumb
 * buffers, and those that it must refuse.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"

#define MUTATED		30	/* percent of the calls */

static int op_open(struct fuzz_thread *t)
{
	static const int modes[] = { O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY };
	struct fuzz_file file = {
		.device = fuzz_below(&t->random, fuzz_shared->device_count),
		.primary = fuzz_chance(&t->random, 30),
	};
	const struct fuzz_device *device = &fuzz_shared->devices[file.device];
	int flags = FUZZ_PICK(&t->random, modes) | O_CLOEXEC;

	/* O_EXCL is what DRM refuses. */
	if (fuzz_chance(&t->random, 10))
		flags |= O_EXCL;
	file.fd = open(file.primary ? device->primary : device->render, flags);
	if (file.fd < 0)
		return -errno;
	if (flags & O_EXCL)
		fuzz_finding("open() with O_EXCL");
	fuzz_file_put(t, fuzz_below(&t->random, FUZZ_FILES), file);
	return 0;
}

static int op_close(struct fuzz_thread *t)
{
	/* One at a time: a process without files has nothing to do. */
	unsigned int slot = fuzz_below(&t->random, FUZZ_FILES);
	struct fuzz_file file = fuzz_file_of(t, slot);
	int fd = file.fd;

	if (fd < 0 || slot < 2)
		return FUZZ_SKIP;
	file.fd = -1;
	fuzz_file_put(t, slot, file);
	return 0;
}

/* Two slots with one file: the handles of one are those of the other. */
static int op_dup(struct fuzz_thread *t)
{
	struct fuzz_file file = fuzz_file_pick(t, NULL);

	file.fd = fcntl(file.fd, F_DUPFD_CLOEXEC, 0);
	if (file.fd < 0)
		return -errno;
	fuzz_file_put(t, fuzz_below(&t->random, FUZZ_FILES), file);
	return 0;
}

static int op_poll(struct fuzz_thread *t)
{
	struct pollfd poll_fd = { .fd = fuzz_file_pick(t, NULL).fd, .events = POLLIN | POLLOUT };

	if (fuzz_chance(&t->random, 30))
		poll_fd.fd = fuzz_dmabuf_pick(t).fd;
	if (poll_fd.fd < 0)
		return FUZZ_SKIP;
	return poll(&poll_fd, 1, 0) < 0 ? -errno : 0;
}

static int op_fdinfo(struct fuzz_thread *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fuzz_file_pick(t, NULL).fd);
	return fuzz_read_text(path, t->scratch, sizeof(t->scratch)) ? 0 : -ENOENT;
}

static int op_gem_close(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_gem_close, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_gem_close, pad, FUZZ_NUMBER),
	};
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct drm_gem_close args = { .handle = bo.handle }, seen;
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_GEM_CLOSE);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, fuzz_file_of(t, bo.file).fd, &args, &seen);
	if (!ret && call.known)
		fuzz_bo_drop(t, bo.file, seen.handle);
	return ret;
}

static int op_flink(struct fuzz_thread *t)
{
	struct fuzz_bo bo = fuzz_bo_pick_primary(t);
	struct drm_gem_flink args = { .handle = bo.handle }, seen;
	struct fuzz_call call;

	if (fuzz_chance(&t->random, MUTATED))
		args.handle = fuzz_below(&t->random, 100);
	fuzz_call_init(t, &call, DRM_IOCTL_GEM_FLINK);
	return fuzz_call_do(t, &call, fuzz_file_of(t, bo.file).fd, &args, &seen);
}

/* Another's buffer by its name, which may be that of another process. */
static int op_gem_open(struct fuzz_thread *t)
{
	struct drm_gem_open args = { .name = fuzz_below(&t->random, 40) }, seen;
	struct fuzz_call call;
	unsigned int slot, object;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_GEM_OPEN);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (ret || !fuzz_call_returns(&call, sizeof(args)))
		return ret;

	/* What it keeps alive is another's, at most a few times. */
	object = args.size < PFNMAP_1G ? fuzz_object_new(t, args.size) : 0;
	if (!object) {
		struct drm_gem_close close = { .handle = args.handle };

		ioctl(file.fd, DRM_IOCTL_GEM_CLOSE, &close);
		return 0;
	}
	fuzz_bo_put(t, (struct fuzz_bo) {
		.file = slot,
		.handle = args.handle,
		.size = args.size,
		.object = object,
	});
	return 0;
}

static int op_create_dumb(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_mode_create_dumb, width, FUZZ_NUMBER),
		FUZZ_FIELD(drm_mode_create_dumb, height, FUZZ_NUMBER),
		FUZZ_FIELD(drm_mode_create_dumb, bpp, FUZZ_NUMBER),
		FUZZ_FIELD(drm_mode_create_dumb, flags, FUZZ_NUMBER),
	};
	struct drm_mode_create_dumb args = {
		.width = 1 + fuzz_below(&t->random, 128),
		.height = 1 + fuzz_below(&t->random, 64),
		.bpp = 32,
	}, seen;
	struct drm_mode_map_dumb get = {};
	struct fuzz_call call;
	unsigned int slot, object;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	bool returns;
	int ret;

	if (!file.primary && !fuzz_chance(&t->random, 20))
		return FUZZ_SKIP;
	object = fuzz_object_new(t, 16 * PFNMAP_PAGE);
	if (!object)
		return FUZZ_SKIP;

	fuzz_call_init(t, &call, DRM_IOCTL_MODE_CREATE_DUMB);
	returns = fuzz_call_returns(&call, sizeof(args));
	/* Without an answer, or with other numbers, the buffer may be a large one: none then. */
	if (!returns)
		args.width = 0;
	else if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (!ret && (!seen.width || !seen.height || !seen.bpp))
		fuzz_finding("CREATE_DUMB of no size");
	if (!ret && returns && args.size <= 16 * PFNMAP_PAGE) {
		get.handle = args.handle;
		ioctl(file.fd, DRM_IOCTL_MODE_MAP_DUMB, &get);
		fuzz_bo_put(t, (struct fuzz_bo) {
			.file = slot,
			.handle = args.handle,
			.size = args.size,
			.offset = get.offset,
			.object = object,
		});
		return 0;
	}
	if (!ret && returns) {
		struct drm_mode_destroy_dumb destroy = { .handle = args.handle };

		ioctl(file.fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	}
	fuzz_object_put(t, object);
	return ret;
}

static int op_map_dumb(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_mode_map_dumb, handle, FUZZ_HANDLE),
		FUZZ_FIELD(drm_mode_map_dumb, pad, FUZZ_NUMBER),
	};
	struct fuzz_bo bo = fuzz_bo_pick_primary(t);
	struct drm_mode_map_dumb args = { .handle = bo.handle }, seen;
	struct fuzz_call call;

	fuzz_call_init(t, &call, DRM_IOCTL_MODE_MAP_DUMB);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, fuzz_file_of(t, bo.file).fd, &args, &seen);
}

static int op_destroy_dumb(struct fuzz_thread *t)
{
	struct fuzz_bo bo = fuzz_bo_pick_primary(t);
	struct drm_mode_destroy_dumb args = { .handle = bo.handle }, seen;
	struct fuzz_call call;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_MODE_DESTROY_DUMB);
	if (fuzz_chance(&t->random, MUTATED))
		args.handle = fuzz_next(&t->random);
	ret = fuzz_call_do(t, &call, fuzz_file_of(t, bo.file).fd, &args, &seen);
	if (!ret && call.known)
		fuzz_bo_drop(t, bo.file, seen.handle);
	return ret;
}

static int op_get_cap(struct fuzz_thread *t)
{
	static const uint64_t supported[] = { DRM_CAP_PRIME, DRM_CAP_SYNCOBJ, DRM_CAP_DUMB_BUFFER };
	struct drm_get_cap args = { .capability = FUZZ_PICK(&t->random, supported) }, seen;
	struct fuzz_call call;

	if (fuzz_chance(&t->random, MUTATED))
		args.capability = fuzz_below(&t->random, 0x18);
	fuzz_call_init(t, &call, DRM_IOCTL_GET_CAP);
	return fuzz_call_do(t, &call, fuzz_file_pick(t, NULL).fd, &args, &seen);
}

static int op_client_name(struct fuzz_thread *t)
{
	static const struct fuzz_field fields[] = {
		FUZZ_FIELD(drm_set_client_name, name_len, FUZZ_NUMBER),
		FUZZ_FIELD(drm_set_client_name, name, FUZZ_POINTER),
	};
	static const char name[] = "vpfn_fuzz";
	struct drm_set_client_name args = {
		.name_len = strlen(name), .name = (uintptr_t)name,
	}, seen;
	struct fuzz_call call;

	fuzz_call_init(t, &call, DRM_IOCTL_SET_CLIENT_NAME);
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, fields);
	return fuzz_call_do(t, &call, fuzz_file_pick(t, NULL).fd, &args, &seen);
}

static int op_master(struct fuzz_thread *t)
{
	struct fuzz_bo bo = fuzz_bo_pick_primary(t);
	unsigned long request = fuzz_chance(&t->random, 50) ? DRM_IOCTL_SET_MASTER :
			DRM_IOCTL_DROP_MASTER;

	return ioctl(fuzz_file_of(t, bo.file).fd, request, NULL) ? -errno : 0;
}

/* Any number, with words that may be handles, sizes or bad pointers. */
static int op_any_ioctl(struct fuzz_thread *t)
{
	static const uint8_t known[] = { 0x00, 0x05, 0x0c, 0xa0, 0xa7, 0xb2 };
	unsigned int nr = fuzz_chance(&t->random, 30) ? FUZZ_PICK(&t->random, known) :
			  fuzz_below(&t->random, 256);
	uint64_t *words = (uint64_t *)t->scratch;
	size_t size = 8 * fuzz_below(&t->random, 24);
	struct fuzz_bo bo = fuzz_bo_pick(t);

	/* What creates: op_create() and others say how large. WAIT_VBLANK and events may sleep. */
	if (nr == DRM_COMMAND_BASE + DRM_VPFN_GEM_CREATE || nr == _IOC_NR(DRM_IOCTL_GEM_OPEN) ||
	    nr == _IOC_NR(DRM_IOCTL_MODE_CREATE_DUMB) ||
	    nr == _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD) ||
	    nr == _IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE) ||
	    (nr >= _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE) && nr <= _IOC_NR(DRM_IOCTL_SYNCOBJ_EVENTFD)))
		return FUZZ_SKIP;

	memset(words, 0, FUZZ_SCRATCH);
	for (unsigned int i = 0; i < 24 && fuzz_chance(&t->random, 90); i++) {
		switch (fuzz_below(&t->random, 6)) {
		case 0:
			words[i] = bo.handle;
			break;
		case 1:
			words[i] = fuzz_bad_pointer(t);
			break;
		case 2:
			words[i] = fuzz_below(&t->random, 300);
			break;
		}
	}
	return ioctl(fuzz_file_of(t, bo.file).fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', nr, size),
		     words) < 0 ? -errno : 0;
}

/* Moves the end of the file, or whatever else a device node has no use for. */
static int op_odd_call(struct fuzz_thread *t)
{
	int fd = fuzz_file_pick(t, NULL).fd, ret;

	switch (fuzz_below(&t->random, 4)) {
	case 0:
		ret = lseek(fd, fuzz_next(&t->random), SEEK_SET) < 0;
		break;
	case 1:
		ret = ftruncate(fd, PFNMAP_PAGE);
		break;
	case 2:
		ret = write(fd, t->scratch, 16) < 0;
		break;
	default:
		ret = fallocate(fd, 0, 0, PFNMAP_PAGE);
		break;
	}
	return ret ? -errno : 0;
}

static const struct fuzz_op ops[] = {
	{ "open", 15, FUZZ_FAILS, op_open, { EBUSY, EINVAL } },
	{ "close", 2, FUZZ_MAY_FAIL, op_close, {} },
	{ "dup", 3, FUZZ_MAY_FAIL, op_dup, {} },
	{ "poll", 4, FUZZ_MAY_FAIL, op_poll, {} },
	{ "fdinfo", 3, FUZZ_MAY_FAIL, op_fdinfo, { ENOENT } },
	{ "GEM_CLOSE", 15, FUZZ_FAILS, op_gem_close, { EINVAL } },
	{ "GEM_FLINK", 5, FUZZ_FAILS, op_flink, { ENOENT, EACCES, EINVAL } },
	{ "GEM_OPEN", 5, FUZZ_FAILS, op_gem_open, { ENOENT, EACCES } },
	{ "CREATE_DUMB", 20, FUZZ_FAILS, op_create_dumb, { FUZZ_ANY } },
	{ "MAP_DUMB", 8, FUZZ_FAILS, op_map_dumb, { FUZZ_ANY } },
	{ "DESTROY_DUMB", 3, FUZZ_FAILS, op_destroy_dumb, { FUZZ_ANY } },
	{ "GET_CAP", 3, FUZZ_FAILS, op_get_cap, { FUZZ_ANY } },
	{ "SET_CLIENT_NAME", 3, FUZZ_FAILS, op_client_name, { FUZZ_ANY } },
	{ "SET/DROP_MASTER", 8, FUZZ_FAILS, op_master, { FUZZ_ANY } },
	{ "any ioctl", 15, FUZZ_FAILS, op_any_ioctl, { FUZZ_ANY } },
	{ "odd system calls", 5, FUZZ_FAILS, op_odd_call, { FUZZ_ANY } },
};

const struct fuzz_group fuzz_file_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
