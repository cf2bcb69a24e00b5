// SPDX-License-Identifier: MIT
/*
 * Memory that vpfn shares with other drivers: a memfd and a heap that it imports, cameras that
 * write to its buffers.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_foreign.h"
#include "pfnmap/pfnmap_video.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_shared.h"

IGT_TEST_DESCRIPTION("Buffers that vpfn and other drivers share.");

#define SIZE		VPFN_SHARED_SIZE
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE		DRM_VPFN_GEM_CREATE_CPU_ACCESS

static struct vpfn_cards cards;

/* Memory of others */

static void check_foreign(int file, struct pfnmap_foreign *foreign)
{
	struct drm_vpfn_cmd beyond;
	struct vpfn_bo bo, own;
	void *map;

	vpfn_shared_write(foreign->map, 17);
	vpfn_shared_import(file, foreign->dmabuf, &bo);
	igt_assert_eq(vpfn_where(file, &bo), SYSTEM);
	igt_assert_eq(vpfn_bo_create(file, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(file, &own, &map), 0);

	/* From it ... */
	vpfn_shared_check_by_engine(file, &bo, 17);
	igt_assert_eq(vpfn_copy(file, &own, 0, &bo, 0, SIZE), 0);
	vpfn_shared_check(map, 17);

	/* ... and to it; nothing beside what was asked for. */
	vpfn_shared_write(map, 18);
	igt_assert_eq(vpfn_copy(file, &bo, 0, &own, 0, SIZE), 0);
	vpfn_shared_check(foreign->map, 18);
	vpfn_shared_write(foreign->map, 19);
	igt_assert_eq(vpfn_fill(file, &bo, PFNMAP_PAGE - 8, 2 * PFNMAP_PAGE + 16, 0x1dea1dea), 0);
	vpfn_assert_words(foreign->map, PFNMAP_PAGE - 8, 3 * PFNMAP_PAGE + 8, 0x1dea1dea);
	memcpy((char *)foreign->map + PFNMAP_PAGE - 8,
	       (const char *)vpfn_shared_bytes(19) + PFNMAP_PAGE - 8, 2 * PFNMAP_PAGE + 16);
	vpfn_shared_check(foreign->map, 19);

	beyond = vpfn_cmd_fill(&bo, SIZE - 4, 8, 1);
	igt_assert_eq(vpfn_submit(file, &beyond, 1, 0, 0), -EINVAL);
	vpfn_shared_check(foreign->map, 19);

	/* An imported buffer is not evicted. */
	igt_assert_eq(vpfn_evict(file), 0);
	vpfn_shared_check_by_engine(file, &bo, 19);
	igt_assert_eq(vpfn_where(file, &bo), SYSTEM);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(file, &own), 0);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
}

/* An import keeps the memory when its other users are gone. */
static void check_foreign_alone(int file, struct pfnmap_foreign *foreign)
{
	struct vpfn_bo bo;

	vpfn_shared_write(foreign->map, 20);
	vpfn_shared_import(file, foreign->dmabuf, &bo);
	pfnmap_foreign_remove(foreign);
	vpfn_shared_check_by_engine(file, &bo, 20);
	vpfn_shared_check_import_map(file, &bo, 20);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
}

static void test_foreign(int (*make)(uint64_t size, struct pfnmap_foreign *foreign), int file)
{
	struct pfnmap_foreign foreign;
	int err = make(SIZE, &foreign);

	igt_require_f(err != -ENOENT, "the kernel has no exporter of that kind\n");
	igt_assert_eq(err, 0);
	check_foreign(file, &foreign);
	check_foreign_alone(file, &foreign);
}

/* Devices that write to buffers of vpfn */

static void check_frame(const void *map, const void *frame, uint64_t size)
{
	igt_assert(!memcmp(map, frame, PFNMAP_FRAME_SIZE));
	vpfn_assert_words(map, PFNMAP_FRAME_SIZE, size, 0xc0c0c0c0);
}

static void check_frame_by_engine(const struct vpfn_bo *bo, const void *frame)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(cards.big, bo, 0, PFNMAP_FRAME_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(frame, PFNMAP_FRAME_SIZE));
}

static void check_pinned(const struct vpfn_bo *bo)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(bo, bo->size - 8, 8, 0xc0c0c0c0);

	igt_assert_eq(vpfn_where(cards.big, bo), SYSTEM);
	igt_assert_eq(vpfn_evict(cards.big), 0);
	/* A job may be refused because of the pin, but may not move the buffer. */
	vpfn_run(cards.big, &cmd, 1);
	igt_assert_eq(vpfn_where(cards.big, bo), SYSTEM);
}

/* One frame, after which the camera still holds the buffer. */
static void expose(const struct pfnmap_video *camera)
{
	unsigned int index;

	igt_assert_eq(pfnmap_video_start(camera), 0);
	igt_assert_eq(pfnmap_video_dequeue(camera, &index), 0);
	igt_assert_eq(pfnmap_video_stop(camera), 0);
}

static void test_camera(enum pfnmap_vivid vivid, uint32_t placement)
{
	static uint8_t frame[PFNMAP_FRAME_SIZE], nothing[PFNMAP_FRAME_SIZE];
	const uint64_t size = 2 * PFNMAP_FRAME_SIZE;
	struct pfnmap_video camera;
	struct vpfn_bo bo;
	int dmabuf;
	void *map;

	igt_require_f(!pfnmap_video_picture(vivid, frame), "no camera of vivid\n");
	igt_assert(memcmp(frame, nothing, sizeof(frame)));
	igt_assert_eq(pfnmap_video_open_camera(vivid, PFNMAP_SEES_PATTERN, &camera), 0);

	igt_assert_eq(vpfn_bo_create_in(cards.big, size, placement, VISIBLE, &bo), 0);
	igt_assert_eq(vpfn_bo_map(cards.big, &bo, &map), 0);
	igt_assert_eq(vpfn_fill(cards.big, &bo, 0, size, 0xc0c0c0c0), 0);
	igt_assert_eq(vpfn_where(cards.big, &bo), placement & VRAM ? VRAM : SYSTEM);
	igt_assert_eq(vpfn_bo_export(cards.big, &bo, &dmabuf), 0);

	igt_assert_eq(pfnmap_video_request(&camera, V4L2_MEMORY_DMABUF, 1), 0);
	igt_assert_eq(pfnmap_video_queue(&camera, 0, dmabuf), 0);
	vpfn_assert_words(map, 0, size, 0xc0c0c0c0);
	check_pinned(&bo);
	expose(&camera);
	check_frame(map, frame, size);

	/* While the camera holds it, it does not move. */
	igt_assert_eq(vpfn_evict(cards.big), 0);
	memset(map, 0xc0, size);
	igt_assert_eq(pfnmap_video_queue(&camera, 0, dmabuf), 0);
	expose(&camera);
	check_frame(map, frame, size);

	igt_assert_eq(pfnmap_video_release(&camera), 0);
	check_frame_by_engine(&bo, frame);
	if (placement == VRAM)
		igt_assert_eq(vpfn_where(cards.big, &bo), VRAM);
	check_frame(map, frame, size);
	igt_assert_eq(vpfn_evict(cards.big), 0);
	igt_assert_eq(vpfn_where(cards.big, &bo), SYSTEM);
	check_frame(map, frame, size);

	pfnmap_video_close(&camera);
	close(dmabuf);
	munmap(map, size);
	igt_assert_eq(vpfn_bo_close(cards.big, &bo), 0);
}

static void run_on_both(int (*make)(uint64_t size, struct pfnmap_foreign *foreign))
{
	igt_dynamic("big")
		test_foreign(make, cards.big);
	igt_dynamic("small") {
		vpfn_require_small(&cards);
		test_foreign(make, cards.small);
	}
}

static void run_camera(enum pfnmap_vivid vivid)
{
	igt_dynamic("vram")
		test_camera(vivid, VRAM);
	igt_dynamic("system")
		test_camera(vivid, SYSTEM);
	igt_dynamic("both")
		test_camera(vivid, VRAM | SYSTEM);
}

int igt_main()
{
	igt_fixture()
		vpfn_cards_open(&cards);

	igt_describe("The engine works on the pages of a memfd, in any order.");
	igt_subtest_with_dynamic("udmabuf")
		run_on_both(pfnmap_foreign_from_memfd);

	igt_describe("The engine works on a buffer of a dma-buf heap.");
	igt_subtest_with_dynamic("dma-heap")
		run_on_both(pfnmap_foreign_from_heap);

	igt_describe("A camera captures into a buffer by the kernel's mapping of it.");
	igt_subtest_with_dynamic("camera-by-cpu")
		run_camera(PFNMAP_VIVID_BY_CPU);

	igt_describe("A camera captures into a buffer by DMA: that pins it in system memory.");
	igt_subtest_with_dynamic("camera-by-dma")
		run_camera(PFNMAP_VIVID_BY_DMA);

	igt_fixture()
		vpfn_cards_close(&cards);
}
