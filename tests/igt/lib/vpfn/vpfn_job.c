// SPDX-License-Identifier: MIT
/*
 * What does the engine do for a client?
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

#include <linux/sync_file.h>

#include "vpfn/vpfn_job.h"

#define NS_PER_S	1000000000ll
#define CRC32C_POLY	0x82f63b78u

/**
 * vpfn_cmd_fill:
 * @dst: the buffer to write
 * @offset: where in it, in bytes
 * @len: number of bytes
 * @pattern: what to write, again and again
 *
 * Returns: the command.
 */
struct drm_vpfn_cmd vpfn_cmd_fill(const struct vpfn_bo *dst, uint64_t offset, uint64_t len,
				  uint32_t pattern)
{
	return (struct drm_vpfn_cmd) {
		.op = DRM_VPFN_CMD_FILL,
		.pattern = pattern,
		.dst_handle = dst->handle,
		.dst_offset = offset,
		.length = len,
	};
}

static struct drm_vpfn_cmd from_to(uint32_t op, const struct vpfn_bo *dst, uint64_t dst_offset,
				   const struct vpfn_bo *src, uint64_t src_offset, uint64_t len)
{
	return (struct drm_vpfn_cmd) {
		.op = op,
		.src_handle = src->handle,
		.dst_handle = dst->handle,
		.src_offset = src_offset,
		.dst_offset = dst_offset,
		.length = len,
	};
}

/**
 * vpfn_cmd_copy:
 * @dst: the buffer to write
 * @dst_offset: where in it, in bytes
 * @src: the buffer to read
 * @src_offset: where in it, in bytes
 * @len: number of bytes
 *
 * Returns: the command.
 */
struct drm_vpfn_cmd vpfn_cmd_copy(const struct vpfn_bo *dst, uint64_t dst_offset,
				  const struct vpfn_bo *src, uint64_t src_offset, uint64_t len)
{
	return from_to(DRM_VPFN_CMD_COPY, dst, dst_offset, src, src_offset, len);
}

/**
 * vpfn_cmd_crc:
 * @dst: the buffer that takes the checksum
 * @dst_offset: where in it, in bytes
 * @src: the buffer to read
 * @src_offset: where in it, in bytes
 * @len: number of bytes
 *
 * Returns: the command.
 */
struct drm_vpfn_cmd vpfn_cmd_crc(const struct vpfn_bo *dst, uint64_t dst_offset,
				 const struct vpfn_bo *src, uint64_t src_offset, uint64_t len)
{
	return from_to(DRM_VPFN_CMD_CRC32C, dst, dst_offset, src, src_offset, len);
}

/**
 * vpfn_submit:
 * @fd: DRM file descriptor
 * @cmds: the commands of one job
 * @count: how many
 * @in_sync: binary syncobj to wait for, or 0
 * @out_sync: binary syncobj to signal, or 0
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_submit(int fd, const struct drm_vpfn_cmd *cmds, unsigned int count,
		uint32_t in_sync, uint32_t out_sync)
{
	struct drm_vpfn_sync in = { .handle = in_sync }, out = { .handle = out_sync };
	struct drm_vpfn_submit submit = {
		.cmds = (uintptr_t)cmds,
		.num_cmds = count,
		.in_syncs = in_sync ? (uintptr_t)&in : 0,
		.num_in_syncs = in_sync ? 1 : 0,
		.out_syncs = out_sync ? (uintptr_t)&out : 0,
		.num_out_syncs = out_sync ? 1 : 0,
	};

	return vpfn_ioctl(fd, DRM_IOCTL_VPFN_SUBMIT, &submit);
}

/**
 * vpfn_deadline:
 * @relative_ns: time from now
 *
 * Returns: the time of CLOCK_MONOTONIC in ns, the last there is if that is beyond it.
 */
int64_t vpfn_deadline(int64_t relative_ns)
{
	struct timespec now;
	int64_t deadline;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (__builtin_add_overflow(now.tv_sec * NS_PER_S + now.tv_nsec, relative_ns, &deadline))
		return INT64_MAX;
	return deadline;
}

static int status_of_sync_file(int sync_file)
{
	struct sync_file_info info = {};

	if (ioctl(sync_file, SYNC_IOC_FILE_INFO, &info))
		return -errno;
	if (info.status < 0)
		return info.status;
	return info.status ? 0 : -EBUSY;
}

/**
 * vpfn_sync_status:
 * @fd: DRM file descriptor
 * @syncobj: a binary syncobj
 * @timeout_ns: how long to wait
 *
 * Waits until the job that signals a syncobj is done. A job that hung is told from one that is
 * not done in time by the caller's choice of a time that is longer than recovery takes.
 *
 * Returns: 0 if the job succeeded, its negative errno if it failed, -ETIME if the time has
 * passed, or another negative errno.
 */
int vpfn_sync_status(int fd, uint32_t syncobj, int64_t timeout_ns)
{
	int sync_file, err;

	err = drmSyncobjWait(fd, &syncobj, 1, vpfn_deadline(timeout_ns),
			     DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL);
	if (err)
		return err;
	if (drmSyncobjExportSyncFile(fd, syncobj, &sync_file))
		return -errno;

	err = status_of_sync_file(sync_file);
	close(sync_file);
	return err;
}

/**
 * vpfn_point_status:
 * @fd: DRM file descriptor
 * @syncobj: a timeline syncobj
 * @point: a point of it
 * @timeout_ns: how long to wait
 *
 * Like vpfn_sync_status(), for a point of a timeline.
 *
 * Returns: 0 if the job succeeded, its negative errno if it failed, -ETIME if the time has
 * passed, or another negative errno.
 */
int vpfn_point_status(int fd, uint32_t syncobj, uint64_t point, int64_t timeout_ns)
{
	uint32_t binary;
	int err;

	err = drmSyncobjTimelineWait(fd, &syncobj, &point, 1, vpfn_deadline(timeout_ns),
				     DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL);
	if (err)
		return err;
	if (drmSyncobjCreate(fd, 0, &binary))
		return -errno;

	err = drmSyncobjTransfer(fd, binary, 0, syncobj, point, 0) ? -errno : 0;
	if (!err)
		err = vpfn_sync_status(fd, binary, timeout_ns);
	drmSyncobjDestroy(fd, binary);
	return err;
}

/**
 * vpfn_run:
 * @fd: DRM file descriptor
 * @cmds: the commands of one job
 * @count: how many
 *
 * Submits a job and waits until it is done.
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_run(int fd, const struct drm_vpfn_cmd *cmds, unsigned int count)
{
	uint32_t done;
	int err;

	if (drmSyncobjCreate(fd, 0, &done))
		return -errno;

	err = vpfn_submit(fd, cmds, count, 0, done);
	if (!err)
		err = vpfn_sync_status(fd, done, VPFN_LONG_NS);
	drmSyncobjDestroy(fd, done);
	return err;
}

/**
 * vpfn_fill:
 * @fd: DRM file descriptor
 * @bo: the buffer to write
 * @offset: where in it, in bytes
 * @len: number of bytes
 * @pattern: what to write, again and again
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_fill(int fd, const struct vpfn_bo *bo, uint64_t offset, uint64_t len, uint32_t pattern)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(bo, offset, len, pattern);

	return vpfn_run(fd, &cmd, 1);
}

/**
 * vpfn_copy:
 * @fd: DRM file descriptor
 * @dst: the buffer to write
 * @dst_offset: where in it, in bytes
 * @src: the buffer to read
 * @src_offset: where in it, in bytes
 * @len: number of bytes
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_copy(int fd, const struct vpfn_bo *dst, uint64_t dst_offset,
	      const struct vpfn_bo *src, uint64_t src_offset, uint64_t len)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_copy(dst, dst_offset, src, src_offset, len);

	return vpfn_run(fd, &cmd, 1);
}

static int read_first_word(int fd, const struct vpfn_bo *bo, uint32_t *word)
{
	void *map;
	int err = vpfn_bo_map(fd, bo, &map);

	if (err)
		return err;

	*word = __atomic_load_n((uint32_t *)map, __ATOMIC_RELAXED);
	munmap(map, bo->size);
	return 0;
}

/**
 * vpfn_crc:
 * @fd: DRM file descriptor
 * @bo: the buffer to read
 * @offset: where in it, in bytes
 * @len: number of bytes, at most DRM_VPFN_CRC_LENGTH_MAX
 * @crc: where the checksum goes that the engine computes
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_crc(int fd, const struct vpfn_bo *bo, uint64_t offset, uint64_t len, uint32_t *crc)
{
	struct drm_vpfn_cmd cmd;
	struct vpfn_bo result;
	int err;

	err = vpfn_bo_create_in(fd, PFNMAP_PAGE, DRM_VPFN_PLACEMENT_SYSTEM, 0, &result);
	if (err)
		return err;

	cmd = vpfn_cmd_crc(&result, 0, bo, offset, len);
	err = vpfn_run(fd, &cmd, 1);
	if (!err)
		err = read_first_word(fd, &result, crc);
	vpfn_bo_close(fd, &result);
	return err;
}

/**
 * vpfn_bo_wait:
 * @fd: DRM file descriptor
 * @bo: the buffer
 * @flags: mask of DRM_VPFN_WAIT_*
 * @relative_ns: how long to wait, 0 to ask only
 *
 * Returns: 0, -ETIME if the time has passed, or another negative errno.
 */
int vpfn_bo_wait(int fd, const struct vpfn_bo *bo, uint32_t flags, int64_t relative_ns)
{
	struct drm_vpfn_wait wait = {
		.handle = bo->handle,
		.flags = flags,
		.timeout_ns = relative_ns > 0 ? vpfn_deadline(relative_ns) : 0,
	};

	return vpfn_ioctl(fd, DRM_IOCTL_VPFN_WAIT, &wait);
}

static uint32_t crc_table[8][256];

/* Entry i of table t: what the byte i does to the checksum, t bytes later. */
static void make_crc_table(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLY : 0);
		crc_table[0][i] = crc;
	}
	for (unsigned int i = 0; i < 256; i++) {
		for (int t = 1; t < 8; t++) {
			uint32_t crc = crc_table[t - 1][i];

			crc_table[t][i] = crc >> 8 ^ crc_table[0][crc & 0xff];
		}
	}
}

static uint32_t crc_of_word(uint32_t crc, uint64_t word)
{
	uint32_t next = 0;

	word ^= crc;
	for (int t = 7; t >= 0; t--, word >>= 8)
		next ^= crc_table[t][word & 0xff];
	return next;
}

/**
 * vpfn_crc32c:
 * @p: the bytes
 * @len: how many
 *
 * Returns: their CRC32C, computed by the CPU.
 */
uint32_t vpfn_crc32c(const void *p, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const uint8_t *bytes = p;
	uint32_t crc = ~0u;
	uint64_t word;

	pthread_once(&once, make_crc_table);
	for (; len >= sizeof(word); len -= sizeof(word), bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		crc = crc_of_word(crc, word);
	}
	for (; len; len--, bytes++)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *bytes) & 0xff];
	return ~crc;
}
