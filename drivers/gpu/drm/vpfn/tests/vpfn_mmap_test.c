// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Which leaves are possible? "R2" and so on are the rules of
 * Documentation/gpu/huge-pfnmap.rst.
 */

#include <kunit/test.h>

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pgtable.h>

#include <drm/ttm/ttm_bo.h>

#include "../vpfn_drv.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

/* An address at which leaves of all sizes may begin */
#define BASE	(64 * PUD_SIZE)

struct vpfn_leaf_case {
	const char *name;
	unsigned long start, end, address, size;
	bool fits;
};

/* R2: of a VMA, with the leaf around the address */
static const struct vpfn_leaf_case vpfn_leaf_cases[] = {
	{ "page, only one", BASE, BASE + PAGE_SIZE, BASE, PAGE_SIZE, true },
	{ "PMD, exactly", BASE, BASE + PMD_SIZE, BASE, PMD_SIZE, true },
	{ "PMD, around the last byte",
	  BASE, BASE + PMD_SIZE, BASE + PMD_SIZE - 1, PMD_SIZE, true },
	{ "PMD, VMA begins a page later",
	  BASE + PAGE_SIZE, BASE + 2 * PMD_SIZE, BASE + PAGE_SIZE, PMD_SIZE, false },
	{ "PMD, its second leaf",
	  BASE + PAGE_SIZE, BASE + 2 * PMD_SIZE, BASE + PMD_SIZE, PMD_SIZE, true },
	{ "PMD, VMA ends a page earlier",
	  BASE, BASE + PMD_SIZE - PAGE_SIZE, BASE, PMD_SIZE, false },
	{ "PMD, last leaf is a part",
	  BASE, BASE + 2 * PMD_SIZE - PAGE_SIZE, BASE + PMD_SIZE, PMD_SIZE, false },
	{ "PMD, first leaf of that",
	  BASE, BASE + 2 * PMD_SIZE - PAGE_SIZE, BASE + PMD_SIZE - 1, PMD_SIZE, true },
	{ "PMD, a page", BASE, BASE + PAGE_SIZE, BASE, PMD_SIZE, false },
	{ "PUD, exactly", BASE, BASE + PUD_SIZE, BASE + PUD_SIZE / 2, PUD_SIZE, true },
	{ "PUD, VMA begins a PMD later",
	  BASE + PMD_SIZE, BASE + 2 * PUD_SIZE, BASE + PMD_SIZE, PUD_SIZE, false },
	{ "PUD, VMA ends a page earlier",
	  BASE, BASE + PUD_SIZE - PAGE_SIZE, BASE + PMD_SIZE, PUD_SIZE, false },
	{ "PUD, long enough, but across",
	  BASE + PUD_SIZE / 2, BASE + PUD_SIZE + PUD_SIZE / 2, BASE + PUD_SIZE, PUD_SIZE, false },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_leaf, vpfn_leaf_cases, name);

static void vpfn_test_leaf_in_vma(struct kunit *test)
{
	const struct vpfn_leaf_case *c = test->param_value;
	struct vm_area_struct *vma = kunit_kzalloc(test, sizeof(*vma), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vma);
	vma->vm_start = c->start;
	vma->vm_end = c->end;
	KUNIT_EXPECT_EQ(test, vpfn_leaf_in_vma(vma, c->address, c->size), c->fits);
}

/* R2: pages of a pool follow each other by chance. The test does not access them. */
static void vpfn_test_pages_contiguous(struct kunit *test)
{
	struct page *pages[8], *first = pfn_to_page(PHYS_PFN(virt_to_phys(test)) & ~7UL);
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = first + i;
	KUNIT_EXPECT_TRUE(test, vpfn_pages_contiguous(pages, 1));
	KUNIT_EXPECT_TRUE(test, vpfn_pages_contiguous(pages, ARRAY_SIZE(pages)));

	/* Any two in each other's place */
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		for (k = i + 1; k < ARRAY_SIZE(pages); k++) {
			swap(pages[i], pages[k]);
			KUNIT_EXPECT_FALSE(test, vpfn_pages_contiguous(pages, ARRAY_SIZE(pages)));
			swap(pages[i], pages[k]);
		}
	}

	/* What is behind the leaf does not matter. */
	swap(pages[6], pages[7]);
	KUNIT_EXPECT_TRUE(test, vpfn_pages_contiguous(pages, 6));
	KUNIT_EXPECT_FALSE(test, vpfn_pages_contiguous(pages, 7));
}

/* R9: never beyond the slot of a PMD */
static void vpfn_test_num_prefault(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE), TTM_BO_VM_NUM_PREFAULT);
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE + PAGE_SIZE), TTM_BO_VM_NUM_PREFAULT);
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE + PMD_SIZE -
						TTM_BO_VM_NUM_PREFAULT * PAGE_SIZE),
			TTM_BO_VM_NUM_PREFAULT);
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE + PMD_SIZE -
						(TTM_BO_VM_NUM_PREFAULT - 1) * PAGE_SIZE),
			TTM_BO_VM_NUM_PREFAULT - 1);
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE + PMD_SIZE - PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, vpfn_num_prefault(BASE + PMD_SIZE), TTM_BO_VM_NUM_PREFAULT);
}

/* R3: as far as length and limit make it worth while */
static void vpfn_test_area_align(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PAGE_SIZE, PUD_ORDER), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PMD_SIZE - PAGE_SIZE, PUD_ORDER), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PMD_SIZE, PUD_ORDER), PMD_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PUD_SIZE - PAGE_SIZE, PUD_ORDER), PMD_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PUD_SIZE, PUD_ORDER), PUD_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PUD_SIZE, PMD_ORDER), PMD_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PMD_SIZE - PAGE_SIZE, PMD_ORDER), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vpfn_area_align(PUD_SIZE, 0), PAGE_SIZE);
}

static struct kunit_case vpfn_mmap_cases[] = {
	KUNIT_CASE_PARAM(vpfn_test_leaf_in_vma, vpfn_leaf_gen_params),
	KUNIT_CASE(vpfn_test_pages_contiguous),
	KUNIT_CASE(vpfn_test_num_prefault),
	KUNIT_CASE(vpfn_test_area_align),
	{ }
};

static struct kunit_suite vpfn_mmap_suite = {
	.name = "vpfn_mmap",
	.test_cases = vpfn_mmap_cases,
};

kunit_test_suite(vpfn_mmap_suite);
