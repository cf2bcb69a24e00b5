// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The GART: what its table holds while a buffer is bound, and after that. By imports, which need
 * no DMA mapping of the driver's.
 */

#include <kunit/test.h>

#include <linux/scatterlist.h>
#include <linux/string.h>

#include "../vpfn_drv.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

#define ENTRIES		16
#define FIRST		5	/* page of the window at which the buffer is bound */
#define ADDR_A		0x123456000ULL
#define ADDR_B		0x7000ULL

struct vpfn_gart_test {
	struct vpfn_device vdev;
	struct vpfn_tt tt;
	struct sg_table sgt;
	struct scatterlist sgl[2];
};

/* A table of two pages at ADDR_A and one at ADDR_B */
static int vpfn_gart_test_init(struct kunit *test)
{
	struct vpfn_gart_test *gart = kunit_kzalloc(test, sizeof(*gart), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, gart);
	test->priv = gart;
	gart->vdev.gart = kunit_kcalloc(test, ENTRIES, sizeof(*gart->vdev.gart), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, gart->vdev.gart);
	mutex_init(&gart->vdev.gart_lock);
	INIT_LIST_HEAD(&gart->vdev.gart_bindings);

	sg_init_table(gart->sgl, ARRAY_SIZE(gart->sgl));
	sg_dma_address(&gart->sgl[0]) = ADDR_A;
	sg_dma_len(&gart->sgl[0]) = 2 * PAGE_SIZE;
	sg_dma_address(&gart->sgl[1]) = ADDR_B;
	sg_dma_len(&gart->sgl[1]) = PAGE_SIZE;
	gart->sgt.sgl = gart->sgl;
	gart->sgt.nents = ARRAY_SIZE(gart->sgl);

	gart->tt.base.page_flags = TTM_TT_FLAG_EXTERNAL;
	gart->tt.base.sg = &gart->sgt;
	INIT_LIST_HEAD(&gart->tt.link);
	return 0;
}

static void vpfn_gart_test_expect_empty(struct kunit *test)
{
	struct vpfn_gart_test *gart = test->priv;

	KUNIT_EXPECT_NULL(test, memchr_inv(gart->vdev.gart, 0,
					   ENTRIES * sizeof(*gart->vdev.gart)));
	KUNIT_EXPECT_TRUE(test, list_empty(&gart->vdev.gart_bindings));
	KUNIT_EXPECT_TRUE(test, list_empty(&gart->tt.link));
}

/* A table may be longer than the buffer: only the pages of the buffer are bound. */
static void vpfn_test_gart_bind(struct kunit *test)
{
	static const u64 addrs[] = { ADDR_A, ADDR_A + PAGE_SIZE, ADDR_B };
	struct vpfn_gart_test *gart = test->priv;
	unsigned int pages, i;
	u64 expected;

	for (pages = 1; pages <= ARRAY_SIZE(addrs); pages++) {
		gart->tt.base.num_pages = pages;
		KUNIT_ASSERT_EQ(test, vpfn_gart_bind(&gart->vdev, &gart->tt, FIRST), 0);
		for (i = 0; i < ENTRIES; i++) {
			expected = 0;
			if (i >= FIRST && i < FIRST + pages)
				expected = addrs[i - FIRST] | VPFN_GART_VALID;
			KUNIT_EXPECT_EQ(test, le64_to_cpu(gart->vdev.gart[i]), expected);
		}

		vpfn_gart_unbind(&gart->vdev, &gart->tt);
		vpfn_gart_test_expect_empty(test);
	}
	/* It is not bound. */
	vpfn_gart_unbind(&gart->vdev, &gart->tt);
	vpfn_gart_test_expect_empty(test);
}

static void vpfn_test_gart_unbind_all(struct kunit *test)
{
	struct vpfn_gart_test *gart = test->priv;

	gart->tt.base.num_pages = 3;
	KUNIT_ASSERT_EQ(test, vpfn_gart_bind(&gart->vdev, &gart->tt, FIRST), 0);
	vpfn_gart_unbind_all(&gart->vdev);
	vpfn_gart_test_expect_empty(test);
}

static void vpfn_test_gart_short_table(struct kunit *test)
{
	struct vpfn_gart_test *gart = test->priv;

	gart->tt.base.num_pages = 4;
	KUNIT_EXPECT_EQ(test, vpfn_gart_bind(&gart->vdev, &gart->tt, FIRST), -EINVAL);
	vpfn_gart_test_expect_empty(test);
}

static void vpfn_test_gart_part_of_page(struct kunit *test)
{
	struct vpfn_gart_test *gart = test->priv;

	gart->tt.base.num_pages = 3;
	sg_dma_address(&gart->sgl[1]) += PAGE_SIZE / 2;
	KUNIT_EXPECT_EQ(test, vpfn_gart_bind(&gart->vdev, &gart->tt, FIRST), -EINVAL);
	vpfn_gart_test_expect_empty(test);
}

static struct kunit_case vpfn_gart_cases[] = {
	KUNIT_CASE(vpfn_test_gart_bind),
	KUNIT_CASE(vpfn_test_gart_unbind_all),
	KUNIT_CASE(vpfn_test_gart_short_table),
	KUNIT_CASE(vpfn_test_gart_part_of_page),
	{ }
};

static struct kunit_suite vpfn_gart_suite = {
	.name = "vpfn_gart",
	.init = vpfn_gart_test_init,
	.test_cases = vpfn_gart_cases,
};

kunit_test_suite(vpfn_gart_suite);
