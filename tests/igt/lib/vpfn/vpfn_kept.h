/* SPDX-License-Identifier: MIT */
/*
 * Do the contents of a buffer, its leaf and queued jobs survive a sleep or a reset of the device?
 * These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_KEPT_H
#define VPFN_KEPT_H

#include <stdint.h>

#include "vpfn/vpfn_bo.h"

#define VPFN_KEPT_SIZE	(2 * PFNMAP_2M)

struct vpfn_kept {
	const char *name;	/* of the card */
	uint32_t placement, flags;
	uint64_t seed;
	int fd;
	struct vpfn_bo bo;
	void *map;
};

const void *vpfn_kept_bytes(uint64_t seed);
void vpfn_kept_open(struct vpfn_kept *kept);
void vpfn_kept_check_by_cpu(const struct vpfn_kept *kept);
void vpfn_kept_check_by_engine(const struct vpfn_kept *kept);
void vpfn_kept_check_leaf(const struct vpfn_kept *kept);
void vpfn_kept_close(struct vpfn_kept *kept);

/* So many jobs take longer than the device needs to fall asleep. */
#define VPFN_CHAIN	32

void vpfn_chain_start(int fd, const struct vpfn_bo bo[2], int sync_files[VPFN_CHAIN]);
void vpfn_chain_check(int fd, const struct vpfn_bo *bo, int sync_files[VPFN_CHAIN]);

#endif
