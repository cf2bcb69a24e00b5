/* SPDX-License-Identifier: MIT */
/*
 * User-space interface of the vpfn driver.
 *
 * Every ioctl below is DRM_RENDER_ALLOW. All of them return -EINVAL for an
 * unknown flag or a pad that is not zero, -ENOENT for a handle that names no
 * object of this file, and -ENODEV once the device is gone.
 */
#ifndef _UAPI_VPFN_DRM_H_
#define _UAPI_VPFN_DRM_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_VPFN_GET_PARAM		0x00
#define DRM_VPFN_GEM_CREATE		0x01
#define DRM_VPFN_GEM_MMAP_OFFSET	0x02
#define DRM_VPFN_GEM_INFO		0x03
#define DRM_VPFN_SUBMIT			0x04
#define DRM_VPFN_WAIT			0x05

#define DRM_IOCTL_VPFN_GET_PARAM \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GET_PARAM, struct drm_vpfn_get_param)
#define DRM_IOCTL_VPFN_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_CREATE, struct drm_vpfn_gem_create)
#define DRM_IOCTL_VPFN_GEM_MMAP_OFFSET \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_MMAP_OFFSET, struct drm_vpfn_gem_mmap_offset)
#define DRM_IOCTL_VPFN_GEM_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_INFO, struct drm_vpfn_gem_info)
#define DRM_IOCTL_VPFN_SUBMIT \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VPFN_SUBMIT, struct drm_vpfn_submit)
#define DRM_IOCTL_VPFN_WAIT \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VPFN_WAIT, struct drm_vpfn_wait)

/** DRM_VPFN_PARAM_VRAM_SIZE - size of the device memory in bytes */
#define DRM_VPFN_PARAM_VRAM_SIZE		0
/** DRM_VPFN_PARAM_VISIBLE_VRAM_SIZE - bytes at the beginning of it that the CPU can reach */
#define DRM_VPFN_PARAM_VISIBLE_VRAM_SIZE	1

/**
 * struct drm_vpfn_get_param - ask for a property of the device
 *
 * Errors: -EINVAL if @param is unknown.
 */
struct drm_vpfn_get_param {
	/** @param: in, one of DRM_VPFN_PARAM_* */
	__u32 param;
	/** @pad: must be zero */
	__u32 pad;
	/** @value: out, the value, in the unit that the parameter names */
	__u64 value;
};

/** DRM_VPFN_PLACEMENT_VRAM - device memory; CPU mappings are write-combined in either memory */
#define DRM_VPFN_PLACEMENT_VRAM		(1 << 0)
/** DRM_VPFN_PLACEMENT_SYSTEM - system memory; without the other bit, CPU mappings are cached */
#define DRM_VPFN_PLACEMENT_SYSTEM	(1 << 1)

/**
 * DRM_VPFN_GEM_CREATE_CPU_ACCESS - prefer device memory that the CPU can reach
 *
 * A buffer without this flag may have to move when the CPU first accesses it.
 */
#define DRM_VPFN_GEM_CREATE_CPU_ACCESS	(1 << 0)

/**
 * struct drm_vpfn_gem_create - create a buffer object
 *
 * The buffer reads as zeroes. In device memory it is contiguous and naturally
 * aligned as far as page tables can use it: to 1 GiB if it is at least 1 GiB,
 * to 2 MiB if it is at least 2 MiB, else to a page.
 *
 * @placement says where jobs find the buffer; with both bits that is device
 * memory while there is room. Under memory pressure every buffer may be moved to
 * system memory, and swapped out from there. The next job that uses the buffer
 * brings it back.
 *
 * System memory is allocated by the first use: a job or a CPU access. If there is
 * no room then, the job is refused with -ENOSPC or -ENOMEM. A CPU access raises
 * SIGBUS; if the kernel itself has no memory, the access is repeated until it has.
 *
 * Errors: -EINVAL if @size is zero or no multiple of the page size or if
 * @placement is zero, -E2BIG if @size exceeds the memory of every allowed
 * placement, -ENOSPC or -ENOMEM if there is no room in device memory even after
 * other buffers were evicted, -EIO if the engine has been given up after a failure
 * and cannot clear device memory.
 */
struct drm_vpfn_gem_create {
	/** @size: in, size in bytes, a multiple of the page size */
	__u64 size;
	/** @placement: in, mask of DRM_VPFN_PLACEMENT_* */
	__u32 placement;
	/** @flags: in, mask of DRM_VPFN_GEM_CREATE_* */
	__u32 flags;
	/** @handle: out, the new handle, never zero */
	__u32 handle;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_vpfn_gem_mmap_offset - get the offset for mmap(2) of a buffer
 *
 * mmap(2) of the DRM file at @offset maps the buffer from its beginning. The
 * mapping must be MAP_SHARED (-EINVAL), must not reach past the end of the
 * buffer (-EINVAL), and the file must hold a handle of the buffer (-EACCES).
 * Unless the caller passes an address, the mapping is aligned such that huge
 * page-table entries are possible.
 */
struct drm_vpfn_gem_mmap_offset {
	/** @handle: in, the buffer */
	__u32 handle;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @offset: out, the offset to pass to mmap(2), in bytes */
	__u64 offset;
};

/**
 * struct drm_vpfn_gem_info - ask for the properties of a buffer
 *
 * @placement is a snapshot: the buffer may have moved when the ioctl returns.
 */
struct drm_vpfn_gem_info {
	/** @handle: in, the buffer */
	__u32 handle;
	/** @placement: in, must be zero; out, the DRM_VPFN_PLACEMENT_* where the buffer lies */
	__u32 placement;
	/** @size: out, size in bytes; of an imported dma-buf, rounded up to pages */
	__u64 size;
};

/** DRM_VPFN_CMD_NOP - nothing; handles, offsets, length and pattern must be zero */
#define DRM_VPFN_CMD_NOP	0
/**
 * DRM_VPFN_CMD_FILL - fill the destination with the 32-bit pattern
 *
 * @dst_offset and @length are multiples of 4.
 */
#define DRM_VPFN_CMD_FILL	1
/** DRM_VPFN_CMD_COPY - copy from source to destination; ranges of one buffer may not overlap */
#define DRM_VPFN_CMD_COPY	2
/**
 * DRM_VPFN_CMD_CRC32C - write the checksum of the source to the destination
 *
 * CRC32C (Castagnoli), initial value and final inversion of ~0, 4 bytes, little
 * endian. @length is at most %DRM_VPFN_CRC_LENGTH_MAX, @dst_offset a multiple of
 * 4. The checksum may not be written into the source range.
 */
#define DRM_VPFN_CMD_CRC32C	3

/** DRM_VPFN_CRC_LENGTH_MAX - bytes that one DRM_VPFN_CMD_CRC32C may cover */
#define DRM_VPFN_CRC_LENGTH_MAX	(16 << 20)

/**
 * struct drm_vpfn_cmd - one command for the engine
 *
 * What the operation does not use must be zero.
 */
struct drm_vpfn_cmd {
	/** @op: one of DRM_VPFN_CMD_* */
	__u32 op;
	/** @pattern: FILL: the pattern, repeated from @dst_offset on; little endian */
	__u32 pattern;
	/** @src_handle: COPY, CRC32C: the buffer to read */
	__u32 src_handle;
	/** @dst_handle: FILL, COPY, CRC32C: the buffer to write */
	__u32 dst_handle;
	/** @src_offset: COPY, CRC32C: where in @src_handle, in bytes */
	__u64 src_offset;
	/** @dst_offset: FILL, COPY, CRC32C: where in @dst_handle, in bytes */
	__u64 dst_offset;
	/** @length: FILL, COPY, CRC32C: bytes, not zero */
	__u64 length;
};

/** struct drm_vpfn_sync - a point of a synchronisation object */
struct drm_vpfn_sync {
	/** @handle: the syncobj */
	__u32 handle;
	/** @pad: must be zero */
	__u32 pad;
	/** @point: the point of a timeline syncobj, or zero for a binary one */
	__u64 point;
};

/** DRM_VPFN_SUBMIT_CMDS_MAX - commands that one DRM_IOCTL_VPFN_SUBMIT may hold */
#define DRM_VPFN_SUBMIT_CMDS_MAX	1024
/** DRM_VPFN_SUBMIT_SYNCS_MAX - syncs in, and syncs out, of one DRM_IOCTL_VPFN_SUBMIT */
#define DRM_VPFN_SUBMIT_SYNCS_MAX	64

/**
 * struct drm_vpfn_submit - give the engine a job
 *
 * A file may have 64 jobs in flight. With 64, DRM_IOCTL_VPFN_SUBMIT waits until
 * one of them has ended, or a signal arrives.
 *
 * The commands run in order, as one job. The job begins after all @in_syncs, after
 * earlier jobs of this file, after earlier writers of the buffers that it reads and
 * earlier users of the buffers that it writes. Evicted buffers are brought back
 * first. The job signals @out_syncs when it has ended. The status of a failed job is
 * -ETIME (the engine hung), -EIO (the device reported an error, or the engine was
 * given up), -ENODEV (the device is gone) or -ESRCH (this file was closed before the
 * job began). How much of a failed job has run is undefined. Jobs that depend on a
 * failed job run.
 *
 * Errors, after each of which no command has run and no sync has changed: -EINVAL for
 * a command or a sync that the rules above forbid, for an offset and length
 * outside of the buffer and for a sync that no fence was ever added to, -E2BIG
 * for more than %DRM_VPFN_SUBMIT_CMDS_MAX commands or more than
 * %DRM_VPFN_SUBMIT_SYNCS_MAX syncs, or if the job does not fit into the engine's
 * ring, -ENOSPC or -ENOMEM if there is no room for all the buffers at once, -EIO
 * if the engine has been given up after a failure, or if a buffer has lost its
 * contents by that, -EINTR if a signal ended the wait.
 */
struct drm_vpfn_submit {
	/** @cmds: pointer to @num_cmds struct drm_vpfn_cmd */
	__u64 cmds;
	/** @in_syncs: pointer to @num_in_syncs struct drm_vpfn_sync to wait for */
	__u64 in_syncs;
	/** @out_syncs: pointer to @num_out_syncs struct drm_vpfn_sync to signal */
	__u64 out_syncs;
	/** @num_cmds: at least one */
	__u32 num_cmds;
	/** @num_in_syncs: may be zero */
	__u32 num_in_syncs;
	/** @num_out_syncs: may be zero */
	__u32 num_out_syncs;
	/** @flags: must be zero */
	__u32 flags;
};

/** DRM_VPFN_WAIT_WRITERS - wait only for writers of the buffer: enough before reading it */
#define DRM_VPFN_WAIT_WRITERS	(1 << 0)

/**
 * struct drm_vpfn_wait - wait until a buffer is idle
 *
 * Waits for jobs, for moves of the buffer, and for other devices that share it.
 * The result does not tell whether their work has failed.
 *
 * Errors: -ETIME if the time has passed, -EINTR if a signal arrived.
 */
struct drm_vpfn_wait {
	/** @handle: the buffer */
	__u32 handle;
	/** @flags: mask of DRM_VPFN_WAIT_* */
	__u32 flags;
	/** @timeout_ns: end of the wait, in ns of CLOCK_MONOTONIC; zero or the past: no wait */
	__s64 timeout_ns;
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_VPFN_DRM_H_ */
