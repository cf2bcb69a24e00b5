/* SPDX-License-Identifier: MIT */
/*
 * What follows special entries? KVM, VFIO's type1 and iommufd, each with ordinary memory of its own
 * and an address space in which it maps memory of this process. These helpers are IGT's: they
 * assert and skip.
 */
#ifndef VPFN_FOLLOWER_H
#define VPFN_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "pfnmap/pfnmap_target.h"
#include "vpfn/vpfn_guest.h"
#include "vpfn/vpfn_vfio.h"

/* Patterns, each of which is in one place at a time */
enum {
	VPFN_OWN = 0xf0110,
	VPFN_WRITTEN,
	VPFN_OTHER,
};

/**
 * struct vpfn_follower - a consumer that follows special entries
 * @name: as subtests have it
 * @on_system: its result on system memory behind special entries
 * @on_read_only: its result of a write where the mapping allows none, while the leaf is there
 * @on_tracked: its result where the mapping allows it, but the leaf does not yet
 * @stale: whether it goes on to use memory that the buffer has left
 * @by_leaf: whether it tells the size of the entries that it has made
 * @aside: where it has ordinary memory
 * @free: where it has none, and takes a mapping of any size
 * @require: skips if this machine has none
 * @open: opens it; @close closes it
 * @memory: what is at @aside
 * @map: gives it memory at @free, to read and perhaps to write; returns its result
 * @copy: makes it copy between two of its addresses; returns its result
 */
struct vpfn_follower {
	const char *name;
	int on_system;
	int on_read_only;
	int on_tracked;
	bool stale;
	bool by_leaf;
	uint64_t aside;
	uint64_t free;
	void (*require)(void);
	int (*open)(void);
	void (*close)(void);
	char *(*memory)(void);
	int (*map)(void *addr, uint64_t len, bool write);
	int (*copy)(uint64_t dst, uint64_t src);
};

extern const struct vpfn_follower vpfn_type1, vpfn_kvm, vpfn_iommufd;

/* What the open one uses */
extern struct vpfn_vfio vpfn_follower_vfio;
extern struct vpfn_guest vpfn_follower_guest;

void vpfn_follower_open(const struct vpfn_follower *follower);
void vpfn_followers_close(void);

int vpfn_follower_read(const struct vpfn_follower *follower, uint64_t at, uint64_t seed);
int vpfn_follower_write(const struct vpfn_follower *follower, uint64_t at, uint64_t seed);
int vpfn_follower_check(const struct vpfn_follower *follower, const struct pfnmap_target *target,
			uint64_t at);

#endif
