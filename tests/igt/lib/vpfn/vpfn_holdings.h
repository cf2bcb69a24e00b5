/* SPDX-License-Identifier: MIT */
/*
 * What does a client still have of a device that is gone? These helpers are IGT's: they assert and
 * skip.
 */
#ifndef VPFN_HOLDINGS_H
#define VPFN_HOLDINGS_H

#include <stdint.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_gate.h"

/* All that a process can have of a device */
struct vpfn_holdings {
	int fd, dmabuf;
	struct vpfn_bo vram, system;
	char *vram_map, *system_map, *dmabuf_map, *untouched_map;
	struct vpfn_gate gate;
	int held;	/* a job that waits for the gate */
	int other_fd;
	int begun;	/* a job of the other file, which the engine has */
};

void vpfn_holdings_open(struct vpfn_holdings *holdings);
void vpfn_holdings_start_job(struct vpfn_holdings *holdings);
void vpfn_holdings_check_job(const struct vpfn_holdings *holdings);
void vpfn_holdings_check_dead(struct vpfn_holdings *holdings);
void vpfn_holdings_close(struct vpfn_holdings *holdings);

void vpfn_check_private_page(void *addr, uint64_t word);
void vpfn_check_refusals(int fd, const struct vpfn_bo *bo);

#endif
