// SPDX-License-Identifier: MIT
/*
 * Do the contents of a buffer, its leaf and queued jobs survive a sleep or a reset of the device?
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_kept.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_view.h"

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM	DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE	DRM_VPFN_GEM_CREATE_CPU_ACCESS

/**
 * vpfn_kept_bytes:
 * @seed: of the buffer
 *
 * Returns: the VPFN_KEPT_SIZE bytes of the seed, until the next call.
 */
const void *vpfn_kept_bytes(uint64_t seed)
{
	static uint64_t bytes[VPFN_KEPT_SIZE / sizeof(uint64_t)];
	struct pfnmap_pattern pattern = { .seed = seed, .size = VPFN_KEPT_SIZE };

	pfnmap_pattern_bytes(&pattern, bytes, sizeof(bytes));
	return bytes;
}

/**
 * vpfn_kept_open:
 * @kept: the buffer, with its first four members set
 *
 * The engine writes the bytes: the CPU may not reach the buffer.
 */
void vpfn_kept_open(struct vpfn_kept *kept)
{
	struct vpfn_bo source;
	void *map;

	kept->fd = vpfn_client_open_card(kept->name);
	igt_assert_eq(vpfn_bo_create_in(kept->fd, VPFN_KEPT_SIZE, kept->placement,
					kept->flags, &kept->bo), 0);
	igt_assert_eq(vpfn_bo_create_in(kept->fd, VPFN_KEPT_SIZE, SYSTEM, 0, &source), 0);
	igt_assert_eq(vpfn_bo_map(kept->fd, &source, &map), 0);
	memcpy(map, vpfn_kept_bytes(kept->seed), VPFN_KEPT_SIZE);
	munmap(map, VPFN_KEPT_SIZE);
	igt_assert_eq(vpfn_copy(kept->fd, &kept->bo, 0, &source, 0, VPFN_KEPT_SIZE), 0);
	igt_assert_eq(vpfn_bo_close(kept->fd, &source), 0);

	igt_assert_eq(vpfn_bo_map(kept->fd, &kept->bo, &map), 0);
	kept->map = map;
	if (kept->flags & VISIBLE)
		igt_assert_eq(memcmp(map, vpfn_kept_bytes(kept->seed), VPFN_KEPT_SIZE), 0);
	if (kept->placement & VRAM)
		igt_assert_eq(vpfn_where(kept->fd, &kept->bo), VRAM);
}

/**
 * vpfn_kept_check_by_cpu:
 * @kept: the buffer
 */
void vpfn_kept_check_by_cpu(const struct vpfn_kept *kept)
{
	igt_assert_eq(memcmp(kept->map, vpfn_kept_bytes(kept->seed), VPFN_KEPT_SIZE), 0);
}

/**
 * vpfn_kept_check_by_engine:
 * @kept: the buffer
 */
void vpfn_kept_check_by_engine(const struct vpfn_kept *kept)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(kept->fd, &kept->bo, 0, VPFN_KEPT_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(vpfn_kept_bytes(kept->seed), VPFN_KEPT_SIZE));
}

/**
 * vpfn_kept_check_leaf:
 * @kept: the buffer, which the engine has used
 *
 * Asserts that the CPU maps it by a PMD leaf, if it is in visible device memory.
 */
void vpfn_kept_check_leaf(const struct vpfn_kept *kept)
{
	if (kept->placement != VRAM || !(kept->flags & VISIBLE))
		return;
	igt_assert_eq(vpfn_where(kept->fd, &kept->bo), VRAM);
	pfnmap_load(kept->map);
	vpfn_assert_level(kept->fd, kept->map, VPFN_PMD);
}

/**
 * vpfn_kept_close:
 * @kept: the buffer
 */
void vpfn_kept_close(struct vpfn_kept *kept)
{
	munmap(kept->map, VPFN_KEPT_SIZE);
	close(kept->fd);
}

/**
 * vpfn_chain_start:
 * @fd: DRM file descriptor
 * @bo: two buffers of the same size
 * @sync_files: where the files of the fences go
 *
 * Starts jobs that fill the first buffer and copy it to the second.
 */
void vpfn_chain_start(int fd, const struct vpfn_bo bo[2], int sync_files[VPFN_CHAIN])
{
	for (int i = 0; i < VPFN_CHAIN; i++) {
		struct drm_vpfn_cmd cmds[] = {
			vpfn_cmd_fill(&bo[0], 0, bo[0].size, 0x01010101 * (i + 1)),
			vpfn_cmd_copy(&bo[1], 0, &bo[0], 0, bo[0].size),
		};
		uint32_t out = vpfn_new_syncobj(fd);

		igt_assert_eq(vpfn_submit(fd, cmds, ARRAY_SIZE(cmds), 0, out), 0);
		igt_assert_eq(vpfn_sync_file_of(fd, out, &sync_files[i]), 0);
		drmSyncobjDestroy(fd, out);
	}
}

/**
 * vpfn_chain_check:
 * @fd: DRM file descriptor
 * @bo: the second buffer
 * @sync_files: of vpfn_chain_start()
 *
 * Asserts that all jobs have succeeded, the last one last.
 */
void vpfn_chain_check(int fd, const struct vpfn_bo *bo, int sync_files[VPFN_CHAIN])
{
	uint32_t word = 0x01010101 * VPFN_CHAIN;
	void *map;

	for (int i = 0; i < VPFN_CHAIN; i++) {
		igt_assert_eq(vpfn_sync_file_status(sync_files[i], VPFN_LONG_NS), 0);
		close(sync_files[i]);
	}
	igt_assert_eq(vpfn_bo_map(fd, bo, &map), 0);
	for (uint64_t i = 0; i < bo->size; i += PFNMAP_PAGE)
		igt_assert_eq_u64(pfnmap_load((char *)map + i), (uint64_t)word << 32 | word);
	munmap(map, bo->size);
}
