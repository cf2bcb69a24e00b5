// SPDX-License-Identifier: MIT
/*
 * Buffers that leave their file: export, import into another file or another device, and
 * what one does with a dma-buf itself.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "fuzz.h"

#define MUTATED		30	/* percent of the calls */

static const struct fuzz_field prime_fields[] = {
	FUZZ_FIELD(drm_prime_handle, handle, FUZZ_HANDLE),
	FUZZ_FIELD(drm_prime_handle, flags, FUZZ_NUMBER),
	FUZZ_FIELD(drm_prime_handle, fd, FUZZ_FD),
};

static int op_export(struct fuzz_thread *t)
{
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct drm_prime_handle args = {
		.handle = bo.handle,
		.flags = DRM_CLOEXEC | (fuzz_chance(&t->random, 80) ? DRM_RDWR : 0),
	}, seen;
	struct fuzz_call call;
	off_t size;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_PRIME_HANDLE_TO_FD);
	/* A lost answer is a lost fd, and there are not many of them. */
	if (!fuzz_call_returns(&call, sizeof(args)))
		args.handle = 0;
	else if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, prime_fields);
	ret = fuzz_call_do(t, &call, fuzz_file_of(t, bo.file).fd, &args, &seen);
	if (!ret && call.known && seen.flags & ~(DRM_CLOEXEC | DRM_RDWR))
		fuzz_finding("HANDLE_TO_FD succeeded with flags %#x", seen.flags);
	if (ret || !fuzz_call_returns(&call, sizeof(args)))
		return ret;

	size = lseek(args.fd, 0, SEEK_END);
	if (args.handle != bo.handle || size != (off_t)bo.size) {
		/* Another buffer than was picked: its owner is unknown. */
		close(args.fd);
		return 0;
	}
	fuzz_dmabuf_put(t, (struct fuzz_dmabuf) {
		.fd = args.fd,
		.size = bo.size,
		.object = fuzz_object_get(t, bo.object),
	});
	return 0;
}

static int op_import(struct fuzz_thread *t)
{
	struct fuzz_dmabuf dmabuf = fuzz_dmabuf_pick(t);
	struct drm_prime_handle args = { .fd = dmabuf.fd }, seen;
	struct drm_vpfn_gem_mmap_offset get = {};
	struct fuzz_call call;
	unsigned int slot;
	struct fuzz_file file = fuzz_file_pick(t, &slot);
	bool returns;
	int ret;

	fuzz_call_init(t, &call, DRM_IOCTL_PRIME_FD_TO_HANDLE);
	returns = fuzz_call_returns(&call, sizeof(args));
	if (fuzz_chance(&t->random, MUTATED))
		FUZZ_MUTATE(t, &args, prime_fields);
	ret = fuzz_call_do(t, &call, file.fd, &args, &seen);
	if (ret || !returns || seen.fd != dmabuf.fd)
		return ret;

	get.handle = args.handle;
	vpfn_ioctl(file.fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get);
	fuzz_bo_put(t, (struct fuzz_bo) {
		.file = slot,
		.handle = args.handle,
		.size = dmabuf.size,
		.offset = get.offset,
		.object = fuzz_object_get(t, dmabuf.object),
	});
	return 0;
}

static int op_mmap(struct fuzz_thread *t)
{
	struct fuzz_dmabuf dmabuf = fuzz_dmabuf_pick(t);
	uint64_t offset = fuzz_chance(&t->random, 20) ? PFNMAP_PAGE : 0, size = dmabuf.size;
	bool private = fuzz_chance(&t->random, 10);
	void *map;

	if (dmabuf.fd < 0)
		return FUZZ_SKIP;
	if (fuzz_chance(&t->random, 10))
		size += PFNMAP_PAGE;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, private ? MAP_PRIVATE : MAP_SHARED,
		   dmabuf.fd, offset);
	if (map == MAP_FAILED)
		return -errno;
	if (private)
		fuzz_finding("a private mapping of a dma-buf");
	fuzz_map_put(t, (struct fuzz_map) {
		.addr = map,
		.size = size,
		.object = fuzz_object_get(t, dmabuf.object),
	});
	return 0;
}

/* CPU access: begun, and ended, in any order. */
static int op_sync(struct fuzz_thread *t)
{
	struct dma_buf_sync args = { .flags = fuzz_below(&t->random, 8) };
	struct fuzz_dmabuf dmabuf = fuzz_dmabuf_pick(t);

	if (dmabuf.fd < 0)
		return FUZZ_SKIP;
	return ioctl(dmabuf.fd, DMA_BUF_IOCTL_SYNC, &args) ? -errno : 0;
}

static int op_export_sync_file(struct fuzz_thread *t)
{
	struct dma_buf_export_sync_file args = { .flags = fuzz_below(&t->random, 5) };
	struct fuzz_dmabuf dmabuf = fuzz_dmabuf_pick(t);

	if (dmabuf.fd < 0)
		return FUZZ_SKIP;
	if (ioctl(dmabuf.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &args))
		return -errno;
	fuzz_sync_fd_put(t, args.fd);
	return 0;
}

/* A job of one buffer becomes what users of another one wait for. */
static int op_import_sync_file(struct fuzz_thread *t)
{
	struct dma_buf_import_sync_file args = {
		.flags = fuzz_below(&t->random, 5),
		.fd = fuzz_chance(&t->random, 10) ? t->process->event_fd : fuzz_sync_fd_pick(t),
	};
	struct fuzz_dmabuf dmabuf = fuzz_dmabuf_pick(t);

	if (dmabuf.fd < 0)
		return FUZZ_SKIP;
	return ioctl(dmabuf.fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &args) ? -errno : 0;
}

static int op_close(struct fuzz_thread *t)
{
	fuzz_dmabuf_put(t, (struct fuzz_dmabuf) { .fd = -1 });
	return 0;
}

static const struct fuzz_op ops[] = {
	{ "PRIME_HANDLE_TO_FD", 15, FUZZ_FAILS, op_export, { EINVAL, ENOENT } },
	{ "PRIME_FD_TO_HANDLE", 20, FUZZ_FAILS, op_import, { FUZZ_ANY } },
	{ "dma-buf mmap", 15, FUZZ_FAILS, op_mmap, { EINVAL, EACCES } },
	{ "dma-buf SYNC", 8, FUZZ_FAILS, op_sync, { EINVAL } },
	{ "dma-buf EXPORT_SYNC_FILE", 5, FUZZ_FAILS, op_export_sync_file, { EINVAL } },
	{ "dma-buf IMPORT_SYNC_FILE", 5, FUZZ_FAILS, op_import_sync_file, { EINVAL } },
	{ "dma-buf close", 5, FUZZ_MAY_FAIL, op_close, {} },
};

const struct fuzz_group fuzz_dmabuf_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
