// SPDX-License-Identifier: MIT
/*
 * Which bytes does a buffer have that files or cards share by a dma-buf?
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_shared.h"
#include "vpfn/vpfn_view.h"

/**
 * vpfn_shared_bytes:
 * @seed: what no other buffer has at that time
 *
 * Returns: bytes that differ at each place and for each seed, until the next call.
 */
const void *vpfn_shared_bytes(uint64_t seed)
{
	static uint64_t bytes[VPFN_SHARED_SIZE / sizeof(uint64_t)];
	struct pfnmap_pattern pattern = { .seed = seed, .size = VPFN_SHARED_SIZE };

	pfnmap_pattern_bytes(&pattern, bytes, sizeof(bytes));
	return bytes;
}

/**
 * vpfn_shared_write:
 * @map: mapping of the buffer
 * @seed: of the bytes to write
 */
void vpfn_shared_write(void *map, uint64_t seed)
{
	const uint64_t *bytes = vpfn_shared_bytes(seed);

	for (uint64_t i = 0; i < VPFN_SHARED_SIZE / sizeof(*bytes); i++)
		pfnmap_store((uint64_t *)map + i, bytes[i]);
}

/**
 * vpfn_shared_check:
 * @map: mapping of the buffer
 * @seed: of the bytes that must be there
 */
void vpfn_shared_check(const void *map, uint64_t seed)
{
	const uint64_t *bytes = vpfn_shared_bytes(seed);

	for (uint64_t i = 0; i < VPFN_SHARED_SIZE / sizeof(*bytes); i++)
		igt_assert_eq_u64(pfnmap_load((const uint64_t *)map + i), bytes[i]);
}

/**
 * vpfn_assert_words:
 * @map: mapping of the buffer
 * @from: offset of the first byte
 * @to: offset of the end
 * @word: what each 32 bits must be
 */
void vpfn_assert_words(const void *map, uint64_t from, uint64_t to, uint32_t word)
{
	for (uint64_t i = from; i < to; i += sizeof(uint64_t))
		igt_assert_eq_u64(pfnmap_load((const char *)map + i), (uint64_t)word << 32 | word);
}

/**
 * vpfn_shared_check_by_engine:
 * @file: DRM file descriptor, whose engine reads the buffer
 * @bo: the buffer
 * @seed: of the bytes that must be there
 */
void vpfn_shared_check_by_engine(int file, const struct vpfn_bo *bo, uint64_t seed)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(file, bo, 0, VPFN_SHARED_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(vpfn_shared_bytes(seed), VPFN_SHARED_SIZE));
}

/**
 * vpfn_share:
 * @shared: the buffer
 * @file: DRM file descriptor of its exporter
 * @placement: DRM_VPFN_PLACEMENT_*
 * @seed: of its bytes
 */
void vpfn_share(struct vpfn_shared *shared, int file, uint32_t placement, uint64_t seed)
{
	shared->file = file;
	igt_assert_eq(vpfn_bo_create_in(file, VPFN_SHARED_SIZE, placement,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &shared->bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &shared->bo, &shared->map), 0);
	igt_assert_eq(vpfn_bo_export(file, &shared->bo, &shared->dmabuf), 0);
	vpfn_shared_write(shared->map, seed);
}

/**
 * vpfn_shared_close:
 * @shared: the buffer
 */
void vpfn_shared_close(struct vpfn_shared *shared)
{
	igt_assert_eq(munmap(shared->map, VPFN_SHARED_SIZE), 0);
	igt_assert_eq(vpfn_bo_close(shared->file, &shared->bo), 0);
	close(shared->dmabuf);
}

/**
 * vpfn_shared_import:
 * @file: DRM file descriptor of the importer
 * @dmabuf: a dma-buf of VPFN_SHARED_SIZE bytes
 * @bo: the imported buffer
 */
void vpfn_shared_import(int file, int dmabuf, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_dmabuf_import(file, dmabuf, VPFN_SHARED_SIZE, bo), 0);
}

/**
 * vpfn_map_err:
 * @file: DRM or dma-buf file descriptor
 * @offset: offset in the file
 * @len: length of the mapping
 * @flags: MAP_SHARED or MAP_PRIVATE
 *
 * Returns: 0 if it can be mapped to be written, or a negative errno.
 */
int vpfn_map_err(int file, uint64_t offset, uint64_t len, int flags)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, file, offset);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, len);
	return 0;
}

/**
 * vpfn_shared_check_import_map:
 * @file: DRM file descriptor of the importer
 * @bo: the imported buffer
 * @seed: of the bytes that must be there
 *
 * Checks the mapping by the importer's handle, which is the exporter's mapping.
 */
void vpfn_shared_check_import_map(int file, const struct vpfn_bo *bo, uint64_t seed)
{
	struct drm_vpfn_gem_mmap_offset get = { .handle = bo->handle };
	void *map;

	igt_assert_eq(vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get), 0);
	igt_assert_eq(vpfn_map_err(file, get.offset, VPFN_SHARED_SIZE + PFNMAP_PAGE,
				   MAP_SHARED), -EINVAL);
	igt_assert_eq(pfnmap_map(file, get.offset, VPFN_SHARED_SIZE, PROT_READ | PROT_WRITE,
				 &map), 0);
	vpfn_shared_check(map, seed);
	pfnmap_store(map, ~pfnmap_load(map));
	pfnmap_store(map, ~pfnmap_load(map));
	munmap(map, VPFN_SHARED_SIZE);
}

/**
 * vpfn_pair_open:
 * @pair: the buffer and its import
 * @exporter: DRM file descriptor
 * @importer: DRM file descriptor
 * @placement: DRM_VPFN_PLACEMENT_*
 * @seed: of its bytes
 *
 * The importer's engine has used the buffer once.
 */
void vpfn_pair_open(struct vpfn_pair *pair, int exporter, int importer, uint32_t placement,
		    uint64_t seed)
{
	vpfn_share(&pair->shared, exporter, placement, seed);
	pair->importer = importer;
	vpfn_shared_import(importer, pair->shared.dmabuf, &pair->bo);
	vpfn_shared_check_by_engine(importer, &pair->bo, seed);
}

/**
 * vpfn_pair_close:
 * @pair: the buffer and its import
 */
void vpfn_pair_close(struct vpfn_pair *pair)
{
	igt_assert_eq(vpfn_bo_close(pair->importer, &pair->bo), 0);
	vpfn_shared_close(&pair->shared);
}

/**
 * vpfn_cards_open:
 * @cards: the cards; skips if there is none
 */
void vpfn_cards_open(struct vpfn_cards *cards)
{
	cards->big = vpfn_require_device();
	cards->small = vpfn_open_small(O_RDWR);
}

/**
 * vpfn_cards_close:
 * @cards: the cards
 */
void vpfn_cards_close(struct vpfn_cards *cards)
{
	close(cards->big);
	if (cards->small >= 0)
		close(cards->small);
}

/**
 * vpfn_require_small:
 * @cards: the cards; skips if there is only one
 */
void vpfn_require_small(const struct vpfn_cards *cards)
{
	igt_require_f(cards->small >= 0, "no second device of the driver vpfn\n");
}

/**
 * vpfn_pair_subtests:
 * @cards: the cards
 * @tests: the subtests
 * @count: how many
 */
void vpfn_pair_subtests(const struct vpfn_cards *cards, const struct vpfn_pair_test tests[],
			size_t count)
{
	for (size_t i = 0; i < count; i++) {
		igt_describe(tests[i].describe);
		igt_subtest_with_dynamic(tests[i].name) {
			igt_dynamic("big-to-small") {
				vpfn_require_small(cards);
				tests[i].run(cards->big, cards->small);
			}
			igt_dynamic("small-to-big") {
				vpfn_require_small(cards);
				tests[i].run(cards->small, cards->big);
			}
		}
	}
}
