// SPDX-License-Identifier: GPL-2.0
/*
 * How are commands described to the engine? Descriptors and lists, as
 * docs/specs/vpfn.rst in QEMU's tree wants them.
 */

#include <kunit/device.h>
#include <kunit/test.h>

#include <linux/dma-mapping.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>
#include <drm/vpfn_drm.h>

#include "../vpfn_drv.h"
#include "../vpfn_engine.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

static void vpfn_test_job_num_descs(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs(0), 1);
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs(1), 1);
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs(VPFN_CHUNK_SIZE), 1);
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs(VPFN_CHUNK_SIZE + 1), 2);
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs(3ULL * VPFN_CHUNK_SIZE), 3);
	KUNIT_EXPECT_EQ(test, vpfn_job_num_descs((u64)SZ_1G * 64), SZ_1G / VPFN_CHUNK_SIZE * 64);
}

/* Three pieces of memory, as the DMA API may have given them */
static const struct {
	dma_addr_t addr;
	unsigned int len;
} vpfn_pieces[] = {
	{ 0x10001000, 0x1000 },
	{ 0x900000000, 0x3000 },
	{ 0x20000800, 0x800 },
};

static void vpfn_test_fill_sg(struct scatterlist *sgl)
{
	unsigned int i;

	sg_init_table(sgl, ARRAY_SIZE(vpfn_pieces));
	for (i = 0; i < ARRAY_SIZE(vpfn_pieces); i++) {
		sg_dma_address(&sgl[i]) = vpfn_pieces[i].addr;
		sg_dma_len(&sgl[i]) = vpfn_pieces[i].len;
	}
}

static void vpfn_test_cursor_advance(struct kunit *test)
{
	struct scatterlist sgl[ARRAY_SIZE(vpfn_pieces)];
	struct vpfn_cursor cursor = { .sg = sgl }, vram = { .vram = SZ_4G };

	vpfn_test_fill_sg(sgl);
	vpfn_cursor_advance(&cursor, 0xfff);
	KUNIT_EXPECT_PTR_EQ(test, cursor.sg, &sgl[0]);
	KUNIT_EXPECT_EQ(test, cursor.skip, 0xfff);
	vpfn_cursor_advance(&cursor, 1);
	KUNIT_EXPECT_PTR_EQ(test, cursor.sg, &sgl[1]);
	KUNIT_EXPECT_EQ(test, cursor.skip, 0);
	/* Across one as a whole */
	vpfn_cursor_advance(&cursor, 0x3001);
	KUNIT_EXPECT_PTR_EQ(test, cursor.sg, &sgl[2]);
	KUNIT_EXPECT_EQ(test, cursor.skip, 1);
	vpfn_cursor_advance(&cursor, 0x7ff);
	KUNIT_EXPECT_NULL(test, cursor.sg);

	vpfn_cursor_advance(&vram, SZ_4G + 1ULL);
	KUNIT_EXPECT_EQ(test, vram.vram, SZ_8G + 1ULL);
	KUNIT_EXPECT_NULL(test, vram.sg);
}

static void vpfn_expect_entry(struct kunit *test, const struct vpfn_entry *entry, u64 addr,
			      u32 length)
{
	KUNIT_EXPECT_EQ(test, le64_to_cpu(entry->addr), addr);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(entry->length), length);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(entry->reserved), 0);
}

static void vpfn_test_cursor_entries(struct kunit *test)
{
	struct scatterlist sgl[ARRAY_SIZE(vpfn_pieces)];
	struct vpfn_cursor cursor = { .sg = sgl };
	struct vpfn_entry entries[4] = {};

	vpfn_test_fill_sg(sgl);
	KUNIT_EXPECT_EQ(test, vpfn_cursor_entries(cursor, 1, NULL), 1);
	KUNIT_EXPECT_EQ(test, vpfn_cursor_entries(cursor, 0x1000, NULL), 1);
	KUNIT_EXPECT_EQ(test, vpfn_cursor_entries(cursor, 0x1001, NULL), 2);
	KUNIT_EXPECT_EQ(test, vpfn_cursor_entries(cursor, 0x4800, NULL), 3);

	/* From the middle of one to the middle of another */
	vpfn_cursor_advance(&cursor, 0x10);
	KUNIT_EXPECT_EQ(test, vpfn_cursor_entries(cursor, 0x4000, entries), 3);
	vpfn_expect_entry(test, &entries[0], 0x10001010, 0xff0);
	vpfn_expect_entry(test, &entries[1], 0x900000000, 0x3000);
	vpfn_expect_entry(test, &entries[2], 0x20000800, 0x10);
	vpfn_expect_entry(test, &entries[3], 0, 0);

	/* To describe a part is not to pass it. */
	KUNIT_EXPECT_PTR_EQ(test, cursor.sg, &sgl[0]);
	KUNIT_EXPECT_EQ(test, cursor.skip, 0x10);
}

/* A job that nobody will run, with room for some descriptors */
static struct vpfn_job *vpfn_test_job(struct kunit *test, unsigned int max_descs)
{
	struct vpfn_device *vdev = kunit_kzalloc(test, sizeof(*vdev), GFP_KERNEL);
	struct vpfn_job *job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);
	struct device *dev = kunit_device_register(test, "vpfn");

	KUNIT_ASSERT_NOT_NULL(test, vdev);
	KUNIT_ASSERT_NOT_NULL(test, job);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_EQ(test, dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);

	vdev->drm.dev = dev;
	job->vdev = vdev;
	job->max_descs = max_descs;
	job->descs = kunit_kcalloc(test, max_descs, sizeof(*job->descs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job->descs);
	INIT_LIST_HEAD(&job->lists);
	return job;
}

struct vpfn_expected_desc {
	u8 op, src_space, dst_space;
	u64 length, src_addr, dst_addr;
	u32 src_count, dst_count, pattern;
};

static void vpfn_expect_desc(struct kunit *test, const struct vpfn_desc *desc,
			     struct vpfn_expected_desc expected)
{
	KUNIT_EXPECT_EQ(test, desc->op, expected.op);
	KUNIT_EXPECT_EQ(test, desc->flags, 0);
	KUNIT_EXPECT_EQ(test, desc->src_space, expected.src_space);
	KUNIT_EXPECT_EQ(test, desc->dst_space, expected.dst_space);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->fence), 0);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->length), expected.length);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->src_addr), expected.src_addr);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->dst_addr), expected.dst_addr);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->src_count), expected.src_count);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->dst_count), expected.dst_count);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->pattern), expected.pattern);
	KUNIT_EXPECT_NULL(test, memchr_inv(desc->reserved, 0, sizeof(desc->reserved)));
}

static void vpfn_test_job_add_nop(struct kunit *test)
{
	struct vpfn_job *job = vpfn_test_job(test, 1);

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_NOP, NULL, NULL, 0, 0), 0);
	KUNIT_ASSERT_EQ(test, job->num_descs, 1);
	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) { .op = VPFN_OP_NOP });
}

/* Beyond 4 GiB, and longer than a descriptor */
static void vpfn_test_job_add_fill(struct kunit *test)
{
	struct ttm_resource res = { .mem_type = TTM_PL_VRAM, .start = SZ_4G >> PAGE_SHIFT };
	struct vpfn_operand dst = { .res = &res, .offset = 0x1234 };
	struct vpfn_job *job = vpfn_test_job(test, 3);

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_FILL, &dst, NULL,
					   2 * VPFN_CHUNK_SIZE + 8, 0xcafe), 0);
	KUNIT_ASSERT_EQ(test, job->num_descs, 3);
	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_VRAM, .pattern = 0xcafe,
		.dst_addr = SZ_4G + 0x1234ULL, .length = VPFN_CHUNK_SIZE,
	});
	vpfn_expect_desc(test, &job->descs[1], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_VRAM, .pattern = 0xcafe,
		.dst_addr = SZ_4G + 0x1234ULL + VPFN_CHUNK_SIZE, .length = VPFN_CHUNK_SIZE,
	});
	vpfn_expect_desc(test, &job->descs[2], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_VRAM, .pattern = 0xcafe,
		.dst_addr = SZ_4G + 0x1234ULL + 2 * VPFN_CHUNK_SIZE, .length = 8,
	});
}

/* Two commands of one job stand one behind the other. */
static void vpfn_test_job_add_copy(struct kunit *test)
{
	struct ttm_resource there = { .mem_type = TTM_PL_VRAM, .start = 0x100 };
	struct ttm_resource here = { .mem_type = TTM_PL_VRAM, .start = 0x10 };
	struct vpfn_operand dst = { .res = &there }, src = { .res = &here, .offset = 1 };
	struct vpfn_job *job = vpfn_test_job(test, 3);

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_COPY, &dst, &src, VPFN_CHUNK_SIZE + 1, 0),
			0);
	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_COPY, &src, &dst, 7, 0), 0);
	KUNIT_ASSERT_EQ(test, job->num_descs, 3);
	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) {
		.op = VPFN_OP_COPY, .src_space = VPFN_SPACE_VRAM, .dst_space = VPFN_SPACE_VRAM,
		.src_addr = 0x10001, .dst_addr = 0x100000, .length = VPFN_CHUNK_SIZE,
	});
	vpfn_expect_desc(test, &job->descs[1], (struct vpfn_expected_desc) {
		.op = VPFN_OP_COPY, .src_space = VPFN_SPACE_VRAM, .dst_space = VPFN_SPACE_VRAM,
		.src_addr = 0x10001 + VPFN_CHUNK_SIZE, .dst_addr = 0x100000 + VPFN_CHUNK_SIZE,
		.length = 1,
	});
	vpfn_expect_desc(test, &job->descs[2], (struct vpfn_expected_desc) {
		.op = VPFN_OP_COPY, .src_space = VPFN_SPACE_VRAM, .dst_space = VPFN_SPACE_VRAM,
		.src_addr = 0x100000, .dst_addr = 0x10001, .length = 7,
	});
}

static void vpfn_test_job_add_crc(struct kunit *test)
{
	struct ttm_resource res = { .mem_type = TTM_PL_VRAM, .start = 1 };
	struct vpfn_operand src = { .res = &res }, dst = { .res = &res, .offset = SZ_1G };
	struct vpfn_job *job = vpfn_test_job(test, 1);

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_CRC32C, &dst, &src,
					   DRM_VPFN_CRC_LENGTH_MAX, 0), 0);
	/* The checksum of two ranges is not that of both: it must be one descriptor. */
	KUNIT_ASSERT_EQ(test, job->num_descs, 1);
	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) {
		.op = VPFN_OP_CRC32C, .src_space = VPFN_SPACE_VRAM, .dst_space = VPFN_SPACE_VRAM,
		.src_addr = PAGE_SIZE, .dst_addr = PAGE_SIZE + SZ_1G,
		.length = DRM_VPFN_CRC_LENGTH_MAX,
	});
}

/* System memory: an address where one piece of memory will do, else a list of them */
static void vpfn_test_job_add_lists(struct kunit *test)
{
	struct vpfn_job *job = vpfn_test_job(test, 2);
	struct vpfn_bo *bo = kunit_kzalloc(test, sizeof(*bo), GFP_KERNEL);
	struct ttm_resource res = { .mem_type = TTM_PL_SYSTEM };
	struct vpfn_operand dst = { .bo = bo, .res = &res, .offset = 0x1000 };
	struct scatterlist sgl[3];
	struct sg_table sgt = { .sgl = sgl };
	struct ttm_tt tt = { .sg = &sgt };
	struct vpfn_list *list;

	KUNIT_ASSERT_NOT_NULL(test, bo);
	bo->tbo.ttm = &tt;
	sg_init_table(sgl, ARRAY_SIZE(sgl));
	sg_dma_address(&sgl[0]) = 0x40000000;
	sg_dma_len(&sgl[0]) = 0x3000;
	sg_dma_address(&sgl[1]) = 0x700000000;
	sg_dma_len(&sgl[1]) = VPFN_CHUNK_SIZE;
	sg_dma_address(&sgl[2]) = 0x50000000;
	sg_dma_len(&sgl[2]) = 0x1000;

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_FILL, &dst, NULL,
					   VPFN_CHUNK_SIZE + 0x800, 0), 0);
	KUNIT_ASSERT_EQ(test, job->num_descs, 2);
	KUNIT_ASSERT_TRUE(test, list_is_singular(&job->lists));
	list = list_first_entry(&job->lists, struct vpfn_list, link);

	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_LIST, .dst_addr = list->addr,
		.dst_count = 2, .length = VPFN_CHUNK_SIZE,
	});
	KUNIT_EXPECT_EQ(test, list->size, 2 * VPFN_ENTRY_SIZE);
	vpfn_expect_entry(test, &list->entries[0], 0x40001000, 0x2000);
	vpfn_expect_entry(test, &list->entries[1], 0x700000000, VPFN_CHUNK_SIZE - 0x2000);
	vpfn_expect_desc(test, &job->descs[1], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_SYSTEM,
		.dst_addr = 0x700000000 + VPFN_CHUNK_SIZE - 0x2000, .length = 0x800,
	});

	dma_unmap_single(job->vdev->drm.dev, list->addr, list->size, DMA_TO_DEVICE);
	kfree(list);
}

/* A piece that is just long enough needs no list; nor do the 4 bytes of a checksum. */
static void vpfn_test_job_add_pieces(struct kunit *test)
{
	struct vpfn_job *job = vpfn_test_job(test, 2);
	struct vpfn_bo *bo = kunit_kzalloc(test, sizeof(*bo), GFP_KERNEL);
	struct ttm_resource res = { .mem_type = TTM_PL_SYSTEM };
	struct vpfn_operand first = { .bo = bo, .res = &res };
	struct vpfn_operand last = { .bo = bo, .res = &res, .offset = 0x4000 + 0x800 - 4 };
	struct scatterlist sgl[ARRAY_SIZE(vpfn_pieces)];
	struct sg_table sgt = { .sgl = sgl };
	struct ttm_tt tt = { .sg = &sgt };

	KUNIT_ASSERT_NOT_NULL(test, bo);
	bo->tbo.ttm = &tt;
	vpfn_test_fill_sg(sgl);

	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_FILL, &first, NULL, 0x1000, 1), 0);
	KUNIT_ASSERT_EQ(test, vpfn_job_add(job, VPFN_OP_CRC32C, &last, &first, 0x800, 0), 0);
	KUNIT_ASSERT_EQ(test, job->num_descs, 2);
	KUNIT_EXPECT_TRUE(test, list_empty(&job->lists));
	vpfn_expect_desc(test, &job->descs[0], (struct vpfn_expected_desc) {
		.op = VPFN_OP_FILL, .dst_space = VPFN_SPACE_SYSTEM, .dst_addr = 0x10001000,
		.length = 0x1000, .pattern = 1,
	});
	vpfn_expect_desc(test, &job->descs[1], (struct vpfn_expected_desc) {
		.op = VPFN_OP_CRC32C, .src_space = VPFN_SPACE_SYSTEM, .src_addr = 0x10001000,
		.dst_space = VPFN_SPACE_SYSTEM, .dst_addr = 0x20000800 + 0x800 - 4,
		.length = 0x800,
	});
}

static struct kunit_case vpfn_engine_cases[] = {
	KUNIT_CASE(vpfn_test_job_num_descs),
	KUNIT_CASE(vpfn_test_cursor_advance),
	KUNIT_CASE(vpfn_test_cursor_entries),
	KUNIT_CASE(vpfn_test_job_add_nop),
	KUNIT_CASE(vpfn_test_job_add_fill),
	KUNIT_CASE(vpfn_test_job_add_copy),
	KUNIT_CASE(vpfn_test_job_add_crc),
	KUNIT_CASE(vpfn_test_job_add_lists),
	KUNIT_CASE(vpfn_test_job_add_pieces),
	{ }
};

static struct kunit_suite vpfn_engine_suite = {
	.name = "vpfn_engine",
	.test_cases = vpfn_engine_cases,
};

kunit_test_suite(vpfn_engine_suite);
