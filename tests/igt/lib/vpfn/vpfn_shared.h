/* SPDX-License-Identifier: MIT */
/*
 * Which bytes does a buffer have that files or cards share by a dma-buf? These helpers are IGT's:
 * they assert and skip.
 */
#ifndef VPFN_SHARED_H
#define VPFN_SHARED_H

#include <stddef.h>
#include <stdint.h>

#include "vpfn/vpfn_bo.h"

#define VPFN_SHARED_SIZE	(17 * PFNMAP_PAGE)

/* A buffer, its mapping, and its dma-buf. */
struct vpfn_shared {
	int file;
	struct vpfn_bo bo;
	void *map;
	int dmabuf;
};

void vpfn_share(struct vpfn_shared *shared, int file, uint32_t placement, uint64_t seed);
void vpfn_shared_close(struct vpfn_shared *shared);
void vpfn_shared_import(int file, int dmabuf, struct vpfn_bo *bo);

/* The VPFN_SHARED_SIZE bytes of a seed. */
const void *vpfn_shared_bytes(uint64_t seed);
void vpfn_shared_write(void *map, uint64_t seed);
void vpfn_shared_check(const void *map, uint64_t seed);
void vpfn_shared_check_by_engine(int file, const struct vpfn_bo *bo, uint64_t seed);
void vpfn_shared_check_import_map(int file, const struct vpfn_bo *bo, uint64_t seed);
void vpfn_assert_words(const void *map, uint64_t from, uint64_t to, uint32_t word);

int vpfn_map_err(int file, uint64_t offset, uint64_t len, int flags);

/* A buffer of one card, imported by another. */
struct vpfn_pair {
	struct vpfn_shared shared;
	int importer;
	struct vpfn_bo bo;
};

void vpfn_pair_open(struct vpfn_pair *pair, int exporter, int importer, uint32_t placement,
		    uint64_t seed);
void vpfn_pair_close(struct vpfn_pair *pair);

/* A file of each card; -1 if there is no small one. */
struct vpfn_cards {
	int big;
	int small;
};

void vpfn_cards_open(struct vpfn_cards *cards);
void vpfn_cards_close(struct vpfn_cards *cards);
void vpfn_require_small(const struct vpfn_cards *cards);

struct vpfn_pair_test {
	const char *name;
	const char *describe;
	void (*run)(int exporter, int importer);
};

/* A subtest for each, and in it a dynamic one for each direction. */
void vpfn_pair_subtests(const struct vpfn_cards *cards, const struct vpfn_pair_test tests[],
			size_t count);

#endif
