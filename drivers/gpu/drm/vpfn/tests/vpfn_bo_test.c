// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Placements: where a buffer may be.
 */

#include <kunit/test.h>

#include <linux/pgtable.h>
#include <linux/sizes.h>

#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/vpfn_drm.h>

#include "../vpfn_drv.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU		DRM_VPFN_GEM_CREATE_CPU_ACCESS
#define VISIBLE_PFN	(SZ_64M >> PAGE_SHIFT)

struct vpfn_places_case {
	const char *name;
	u32 placement, flags;
	unsigned int count;
	struct ttm_place places[3];
};

#define CONTIGUOUS	TTM_PL_FLAG_CONTIGUOUS
#define TOPDOWN		(TTM_PL_FLAG_CONTIGUOUS | TTM_PL_FLAG_TOPDOWN)
#define DESIRED		TTM_PL_FLAG_DESIRED
#define FALLBACK	TTM_PL_FLAG_FALLBACK

/*
 * A buffer for both kinds of memory is in system memory only as long as VRAM has no room, and
 * evicts nothing from VRAM. One for VRAM alone may evict, but not for a visible place.
 */
static const struct vpfn_places_case vpfn_places_cases[] = {
	{ "VRAM", VRAM, 0, 1, {
		{ .mem_type = TTM_PL_VRAM, .flags = TOPDOWN },
	} },
	{ "VRAM for the CPU", VRAM, CPU, 2, {
		{ .mem_type = TTM_PL_VRAM, .flags = CONTIGUOUS | DESIRED, .lpfn = VISIBLE_PFN },
		{ .mem_type = TTM_PL_VRAM, .flags = TOPDOWN },
	} },
	{ "system memory", SYSTEM, 0, 1, {
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_TOPDOWN },
	} },
	{ "system memory for the CPU", SYSTEM, CPU, 1, {
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_TOPDOWN },
	} },
	{ "both", VRAM | SYSTEM, 0, 2, {
		{ .mem_type = TTM_PL_VRAM, .flags = TOPDOWN | DESIRED },
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_TOPDOWN | FALLBACK },
	} },
	{ "both for the CPU", VRAM | SYSTEM, CPU, 3, {
		{ .mem_type = TTM_PL_VRAM, .flags = CONTIGUOUS | DESIRED, .lpfn = VISIBLE_PFN },
		{ .mem_type = TTM_PL_VRAM, .flags = TOPDOWN | DESIRED },
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_TOPDOWN | FALLBACK },
	} },
	{ "neither", 0, CPU, 0 },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_places, vpfn_places_cases, name);

static struct vpfn_device *vpfn_test_device(struct kunit *test)
{
	struct vpfn_device *vdev = kunit_kzalloc(test, sizeof(*vdev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vdev);
	vdev->visible_size = SZ_64M;
	vdev->vram_size = SZ_256M;
	return vdev;
}

static void vpfn_test_bo_places(struct kunit *test)
{
	const struct vpfn_places_case *c = test->param_value;
	struct ttm_place places[3];
	unsigned int i;

	memset(places, 0xff, sizeof(places));
	KUNIT_EXPECT_EQ(test, vpfn_bo_places(vpfn_test_device(test), c->placement, c->flags,
					     TTM_PL_TT, places), c->count);
	for (i = 0; i < c->count; i++) {
		KUNIT_EXPECT_EQ(test, places[i].mem_type, c->places[i].mem_type);
		KUNIT_EXPECT_EQ(test, places[i].flags, c->places[i].flags);
		KUNIT_EXPECT_EQ(test, places[i].fpfn, 0);
		KUNIT_EXPECT_EQ(test, places[i].lpfn, c->places[i].lpfn);
	}
}

/* In pages: as aligned as the largest leaf that the buffer has room for. */
static void vpfn_test_bo_alignment(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PMD_SIZE - PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PMD_SIZE), 1 << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PMD_SIZE + PAGE_SIZE), 1 << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PUD_SIZE - PAGE_SIZE), 1 << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment(PUD_SIZE), 1 << PUD_ORDER);
	KUNIT_EXPECT_EQ(test, vpfn_bo_alignment((u64)8 << PUD_SHIFT), 1 << PUD_ORDER);
}

static void vpfn_test_is_visible(struct kunit *test)
{
	struct vpfn_device *vdev = vpfn_test_device(test);
	struct ttm_resource res = { .mem_type = TTM_PL_VRAM, .size = PAGE_SIZE };

	KUNIT_EXPECT_TRUE(test, vpfn_vram_is_visible(vdev, &res));
	res.start = VISIBLE_PFN - 1;
	KUNIT_EXPECT_TRUE(test, vpfn_vram_is_visible(vdev, &res));
	res.size = 2 * PAGE_SIZE;
	KUNIT_EXPECT_FALSE(test, vpfn_vram_is_visible(vdev, &res));
	res.start = VISIBLE_PFN;
	res.size = PAGE_SIZE;
	KUNIT_EXPECT_FALSE(test, vpfn_vram_is_visible(vdev, &res));

	res.start = 0;
	res.size = SZ_64M;
	KUNIT_EXPECT_TRUE(test, vpfn_vram_is_visible(vdev, &res));
	res.size = SZ_64M + PAGE_SIZE;
	KUNIT_EXPECT_FALSE(test, vpfn_vram_is_visible(vdev, &res));
}

static struct kunit_case vpfn_bo_cases[] = {
	KUNIT_CASE_PARAM(vpfn_test_bo_places, vpfn_places_gen_params),
	KUNIT_CASE(vpfn_test_bo_alignment),
	KUNIT_CASE(vpfn_test_is_visible),
	{ }
};

static struct kunit_suite vpfn_bo_suite = {
	.name = "vpfn_bo",
	.test_cases = vpfn_bo_cases,
};

kunit_test_suite(vpfn_bo_suite);
