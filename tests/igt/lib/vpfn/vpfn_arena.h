/* SPDX-License-Identifier: MIT */
/*
 * Where do buffers fight for memory? On a card that is small enough to be filled: sets of buffers
 * with known contents, and those who look at them. These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_ARENA_H
#define VPFN_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_model.h"

/* Of buffers of this size it takes several to fill the visible part, and all of the memory. */
#define VPFN_LARGE	(16ull << 20)

struct vpfn_arena {
	int fd;
	struct vpfn_meter meter;
	uint64_t vram;
	uint64_t visible;	/* so much of it, from its beginning, the CPU reaches */
	uint64_t bar;		/* where, in physical memory */
};

void vpfn_arena_open(struct vpfn_arena *arena);
void vpfn_arena_close(struct vpfn_arena *arena);

uint32_t vpfn_where(int fd, const struct vpfn_bo *bo);
char *vpfn_map_whole(int fd, const struct vpfn_bo *bo);
bool vpfn_is_in_bar(const struct vpfn_arena *arena, const void *addr);

/* A number of buffers, each with a content that no other has. */
struct vpfn_set {
	struct vpfn_arena *arena;
	unsigned int count;
	struct vpfn_bo bos[1024];
	struct vpfn_content contents[1024];
	uint64_t bytes;
};

void vpfn_set_add(struct vpfn_set *set, const struct vpfn_bo *bo);
void vpfn_set_create(struct vpfn_set *set, uint64_t size, uint32_t placement, uint32_t flags);
void vpfn_set_close(struct vpfn_set *set);

/* A new content for one of them, by the engine or by the CPU. */
void vpfn_set_fill(struct vpfn_set *set, unsigned int i);
void vpfn_set_write(struct vpfn_set *set, unsigned int i);

/* As many as it takes to fill all device memory, or the visible part of it. */
void vpfn_set_fill_vram(struct vpfn_set *set);
void vpfn_set_fill_visible(struct vpfn_set *set);
uint64_t vpfn_set_in_vram(const struct vpfn_set *set);

/* Who looks at a buffer? */
enum vpfn_observer {
	VPFN_BY_MAPPING,
	VPFN_BY_ENGINE,
	VPFN_BY_DMA_BUF,
	VPFN_BY_PTRACE,
};

#define for_each_vpfn_observer(by) \
	for (enum vpfn_observer by = VPFN_BY_MAPPING; by <= VPFN_BY_PTRACE; by++)

const char *vpfn_observer_name(enum vpfn_observer by);
void *vpfn_map_dma_buf(int fd, const struct vpfn_bo *bo);
void vpfn_assert_seen(struct vpfn_arena *arena, enum vpfn_observer by, const struct vpfn_bo *bo,
		      const struct vpfn_content *content);
void vpfn_set_assert_seen(const struct vpfn_set *set, enum vpfn_observer by);

/* Skips if all buffers together may not take so much system memory. */
void vpfn_require_room(uint64_t bytes);

#endif
