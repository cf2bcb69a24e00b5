/* SPDX-License-Identifier: MIT */
/*
 * What must a buffer hold after the engine worked on it? A buffer with a mapping, and beside it
 * ordinary memory on which the CPU does what the engine is asked to do.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_MEM_H
#define VPFN_MEM_H

#include <stdint.h>

#include "vpfn/vpfn_bo.h"

struct vpfn_mem {
	int fd;
	struct vpfn_bo bo;
	uint8_t *map;		/* what is there */
	uint8_t *expected;	/* what must be there */
};

int vpfn_mem_create(int fd, uint64_t size, uint32_t placement, uint64_t seed,
		    struct vpfn_mem *mem);
int vpfn_mem_import(int fd, const struct vpfn_mem *other, struct vpfn_mem *mem);
void vpfn_mem_destroy(struct vpfn_mem *mem);
void vpfn_mem_refill(struct vpfn_mem *mem, uint64_t seed);

/* Commands, the effects of which are expected from then on. */
struct drm_vpfn_cmd vpfn_mem_fill(struct vpfn_mem *dst, uint64_t offset, uint64_t len,
				  uint32_t pattern);
struct drm_vpfn_cmd vpfn_mem_copy(struct vpfn_mem *dst, uint64_t dst_offset,
				  const struct vpfn_mem *src, uint64_t src_offset, uint64_t len);
struct drm_vpfn_cmd vpfn_mem_crc(struct vpfn_mem *dst, uint64_t dst_offset,
				 const struct vpfn_mem *src, uint64_t src_offset, uint64_t len);

uint64_t vpfn_mem_check(const struct vpfn_mem *mem);
int vpfn_mem_check_by_engine(const struct vpfn_mem *mem);

#endif
