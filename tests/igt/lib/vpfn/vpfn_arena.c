// SPDX-License-Identifier: MIT
/*
 * Where do buffers fight for memory?
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_view.h"

#define MIB		(1ull << 20)
#define VRAM_BAR	2

/* A debugger's way is slow: of a large buffer, each eighth piece is looked at. */
#define PIECE		(64 * PFNMAP_PAGE)
#define PIECE_STEP	8

/**
 * vpfn_arena_open:
 * @arena: the card
 *
 * Opens the card with memory that the CPU cannot see, or skips.
 */
void vpfn_arena_open(struct vpfn_arena *arena)
{
	arena->fd = vpfn_require_small_device();
	igt_assert_eq(vpfn_vram_size(arena->fd, &arena->vram), 0);
	igt_assert_eq(vpfn_visible_vram_size(arena->fd, &arena->visible), 0);
	igt_assert_eq(vpfn_bar_start(arena->fd, VRAM_BAR, &arena->bar), 0);
	igt_assert_eq(vpfn_meter_open(arena->fd, &arena->meter), 0);
}

/**
 * vpfn_arena_close:
 * @arena: the card
 */
void vpfn_arena_close(struct vpfn_arena *arena)
{
	vpfn_meter_close(&arena->meter);
	close(arena->fd);
}

/**
 * vpfn_where:
 * @fd: DRM file descriptor
 * @bo: the buffer
 *
 * Returns: the DRM_VPFN_PLACEMENT_* in which it lies.
 */
uint32_t vpfn_where(int fd, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

/**
 * vpfn_map_whole:
 * @fd: DRM file descriptor
 * @bo: the buffer
 *
 * Returns: the address of a mapping of all of it.
 */
char *vpfn_map_whole(int fd, const struct vpfn_bo *bo)
{
	void *map;

	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	return map;
}

/**
 * vpfn_is_in_bar:
 * @arena: the card
 * @addr: an address that is mapped, and has been touched
 *
 * Returns: whether the card's memory is behind it.
 */
bool vpfn_is_in_bar(const struct vpfn_arena *arena, const void *addr)
{
	struct vpfn_leaf leaf;

	igt_assert_eq(vpfn_leaf_from_driver(arena->fd, addr, &leaf), 0);
	igt_assert_neq(leaf.level, VPFN_NONE);
	return leaf.pfn * PFNMAP_PAGE >= arena->bar &&
	       leaf.pfn * PFNMAP_PAGE < arena->bar + arena->visible;
}

/**
 * vpfn_set_add:
 * @set: the set
 * @bo: a new buffer, which belongs to the set from now on
 */
void vpfn_set_add(struct vpfn_set *set, const struct vpfn_bo *bo)
{
	igt_assert_lte(set->count + 1, ARRAY_SIZE(set->bos));
	set->contents[set->count] = VPFN_ZEROES;
	set->bos[set->count++] = *bo;
	set->bytes += bo->size;
}

/**
 * vpfn_set_create:
 * @set: the set
 * @size: size of a buffer, which is created and added
 * @placement: where it may lie
 * @flags: DRM_VPFN_GEM_CREATE_*
 */
void vpfn_set_create(struct vpfn_set *set, uint64_t size, uint32_t placement, uint32_t flags)
{
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create_in(set->arena->fd, size, placement, flags, &bo), 0);
	vpfn_set_add(set, &bo);
}

/**
 * vpfn_set_close:
 * @set: the set, empty afterwards
 */
void vpfn_set_close(struct vpfn_set *set)
{
	for (unsigned int i = 0; i < set->count; i++)
		igt_assert_eq(vpfn_bo_close(set->arena->fd, &set->bos[i]), 0);
	set->count = 0;
	set->bytes = 0;
}

/**
 * vpfn_set_fill:
 * @set: the set
 * @i: number of a buffer, which the engine fills
 */
void vpfn_set_fill(struct vpfn_set *set, unsigned int i)
{
	const struct vpfn_bo *bo = &set->bos[i];
	uint32_t pattern = 0x9e3779b9 * (i + 1);

	set->contents[i] = vpfn_content_pattern(pattern);
	igt_assert_eq(vpfn_fill(set->arena->fd, bo, 0, bo->size, pattern), 0);
}

/**
 * vpfn_set_write:
 * @set: the set
 * @i: number of a buffer, which the CPU writes
 */
void vpfn_set_write(struct vpfn_set *set, unsigned int i)
{
	const struct vpfn_bo *bo = &set->bos[i];
	char *map = vpfn_map_whole(set->arena->fd, bo);

	set->contents[i] = vpfn_content_words(i + 1);
	vpfn_content_write(&set->contents[i], map, 0, bo->size);
	munmap(map, bo->size);
}

/**
 * vpfn_set_in_vram:
 * @set: the set
 *
 * Returns: how many bytes of it are in device memory, all at the same time.
 */
uint64_t vpfn_set_in_vram(const struct vpfn_set *set)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < set->count; i++) {
		if (vpfn_where(set->arena->fd, &set->bos[i]) == DRM_VPFN_PLACEMENT_VRAM)
			bytes += set->bos[i].size;
	}
	return bytes;
}

/**
 * vpfn_set_fill_vram:
 * @set: the set, empty
 *
 * Adds buffers that may lie in both places, until none finds room in device memory. The memory of
 * buffers that were closed before is room.
 */
void vpfn_set_fill_vram(struct vpfn_set *set)
{
	uint32_t both = DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM;
	int fd = set->arena->fd;

	/* It is freed behind the back of the ioctl that closes a buffer; this waits for it. */
	igt_assert_eq(vpfn_evict(fd), 0);
	for (uint64_t size = VPFN_LARGE; size >= MIB; size /= VPFN_LARGE / MIB) {
		struct vpfn_bo bo;

		for (;;) {
			igt_assert_eq(vpfn_bo_create_in(fd, size, both, 0, &bo), 0);
			if (vpfn_where(fd, &bo) != DRM_VPFN_PLACEMENT_VRAM)
				break;
			vpfn_set_add(set, &bo);
		}
		vpfn_bo_close(fd, &bo);
	}
	igt_assert(set->bytes >= set->arena->vram / 4 * 3);
	igt_assert_eq_u64(vpfn_set_in_vram(set), set->bytes);
}

/**
 * vpfn_set_fill_visible:
 * @set: the set, empty
 *
 * Adds buffers for the CPU, written where they lie, until the visible part is full.
 */
void vpfn_set_fill_visible(struct vpfn_set *set)
{
	while (set->bytes < set->arena->visible) {
		unsigned int i = set->count;

		vpfn_set_create(set, VPFN_LARGE, DRM_VPFN_PLACEMENT_VRAM,
				DRM_VPFN_GEM_CREATE_CPU_ACCESS);
		vpfn_set_write(set, i);
		igt_assert_eq(vpfn_where(set->arena->fd, &set->bos[i]), DRM_VPFN_PLACEMENT_VRAM);
	}
}

/**
 * vpfn_observer_name:
 * @by: who looks
 *
 * Returns: a name for it, as subtests have them.
 */
const char *vpfn_observer_name(enum vpfn_observer by)
{
	static const char * const names[] = {
		[VPFN_BY_MAPPING] = "mapping",
		[VPFN_BY_ENGINE] = "engine",
		[VPFN_BY_DMA_BUF] = "dma-buf",
		[VPFN_BY_PTRACE] = "ptrace",
	};

	return names[by];
}

/**
 * vpfn_map_dma_buf:
 * @fd: DRM file descriptor
 * @bo: the buffer
 *
 * Returns: the address of a mapping of all of it, made by its dma-buf.
 */
void *vpfn_map_dma_buf(int fd, const struct vpfn_bo *bo)
{
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_bo_export(fd, bo, &dmabuf), 0);
	igt_assert_eq(pfnmap_map(dmabuf, 0, bo->size, PROT_READ | PROT_WRITE, &map), 0);
	close(dmabuf);
	return map;
}

static uint64_t check_by_ptrace(const struct vpfn_content *content, char *map, uint64_t size)
{
	static uint64_t bytes[PIECE / sizeof(uint64_t)];
	uint64_t step = size < VPFN_LARGE ? PIECE : PIECE_STEP * PIECE;

	for (uint64_t at = 0; at < size; at += step) {
		uint64_t len = size - at < PIECE ? size - at : PIECE;
		uint64_t end;

		igt_assert_eq(pfnmap_proc_mem(map + at, bytes, len, false), 0);
		end = vpfn_content_check(content, (char *)bytes - at, at, at + len);
		if (end < at + len)
			return end;
	}
	return size;
}

/**
 * vpfn_assert_seen:
 * @arena: the card
 * @by: who looks, by a way that has not been used yet
 * @bo: the buffer
 * @content: what all of it must hold
 */
void vpfn_assert_seen(struct vpfn_arena *arena, enum vpfn_observer by, const struct vpfn_bo *bo,
		      const struct vpfn_content *content)
{
	uint64_t end;
	char *map;

	if (by == VPFN_BY_ENGINE) {
		igt_assert_eq(vpfn_meter_check(&arena->meter, bo, content, 0, bo->size), 0);
		return;
	}

	map = by == VPFN_BY_DMA_BUF ? vpfn_map_dma_buf(arena->fd, bo) :
				      vpfn_map_whole(arena->fd, bo);
	if (by == VPFN_BY_PTRACE)
		end = check_by_ptrace(content, map, bo->size);
	else
		end = vpfn_content_check(content, map, 0, bo->size);
	igt_assert_f(end == bo->size, "%s: wrong at %#llx of %#llx\n", vpfn_observer_name(by),
		     (unsigned long long)end, (unsigned long long)bo->size);
	munmap(map, bo->size);
}

/**
 * vpfn_set_assert_seen:
 * @set: the set, each of whose buffers must hold what it did
 * @by: who looks
 */
void vpfn_set_assert_seen(const struct vpfn_set *set, enum vpfn_observer by)
{
	for (unsigned int i = 0; i < set->count; i++)
		vpfn_assert_seen(set->arena, by, &set->bos[i], &set->contents[i]);
}

/**
 * vpfn_require_room:
 * @bytes: how much system memory buffers must be allowed to take
 */
void vpfn_require_room(uint64_t bytes)
{
	uint64_t room;

	igt_assert_eq(vpfn_system_room(&room), 0);
	igt_require_f(room >= bytes, "buffers may take %llu MiB of system memory, not %llu\n",
		      (unsigned long long)room >> 20, (unsigned long long)bytes >> 20);
}
