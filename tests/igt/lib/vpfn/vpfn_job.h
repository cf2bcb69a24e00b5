/* SPDX-License-Identifier: MIT */
/*
 * What does the engine do for a client? Commands, jobs, their end, and the checksum that the
 * engine's is compared with.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_JOB_H
#define VPFN_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "vpfn/vpfn_bo.h"

/* Longer than any job takes on a slow machine, recovery included: a longer wait is a hang. */
#define VPFN_LONG_NS	(60ll * 1000 * 1000 * 1000)

struct drm_vpfn_cmd vpfn_cmd_fill(const struct vpfn_bo *dst, uint64_t offset, uint64_t len,
				  uint32_t pattern);
struct drm_vpfn_cmd vpfn_cmd_copy(const struct vpfn_bo *dst, uint64_t dst_offset,
				  const struct vpfn_bo *src, uint64_t src_offset, uint64_t len);
struct drm_vpfn_cmd vpfn_cmd_crc(const struct vpfn_bo *dst, uint64_t dst_offset,
				 const struct vpfn_bo *src, uint64_t src_offset, uint64_t len);

int vpfn_submit(int fd, const struct drm_vpfn_cmd *cmds, unsigned int count,
		uint32_t in_sync, uint32_t out_sync);
int vpfn_sync_status(int fd, uint32_t syncobj, int64_t timeout_ns);
int vpfn_point_status(int fd, uint32_t syncobj, uint64_t point, int64_t timeout_ns);

int vpfn_run(int fd, const struct drm_vpfn_cmd *cmds, unsigned int count);
int vpfn_fill(int fd, const struct vpfn_bo *bo, uint64_t offset, uint64_t len, uint32_t pattern);
int vpfn_copy(int fd, const struct vpfn_bo *dst, uint64_t dst_offset,
	      const struct vpfn_bo *src, uint64_t src_offset, uint64_t len);
int vpfn_crc(int fd, const struct vpfn_bo *bo, uint64_t offset, uint64_t len, uint32_t *crc);

int vpfn_bo_wait(int fd, const struct vpfn_bo *bo, uint32_t flags, int64_t relative_ns);

int64_t vpfn_deadline(int64_t relative_ns);
uint32_t vpfn_crc32c(const void *p, size_t len);

#endif
