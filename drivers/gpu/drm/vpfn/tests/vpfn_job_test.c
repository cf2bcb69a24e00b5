// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Descriptors: how commands are described to the engine, as docs/specs/vpfn.rst in QEMU's tree
 * wants them.
 */

#include <kunit/test.h>

#include <linux/sizes.h>
#include <linux/string.h>

#include <drm/vpfn_drm.h>

#include "../vpfn_drv.h"

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

struct vpfn_job_case {
	const char *name;
	u8 op;
	u64 dst, src, length;
	u32 pattern;
	unsigned int num_descs;
	struct {
		u64 dst, src, length;
	} descs[3];
};

#define CHUNK	((u64)VPFN_CHUNK_SIZE)
#define GART	VPFN_GART_START

static const struct vpfn_job_case vpfn_job_cases[] = {
	{ "no-op", VPFN_OP_NOP, 0, 0, 0, 0, 1, { { 0, 0, 0 } } },
	{ "a descriptor, exactly", VPFN_OP_FILL, 0x1234, 0, CHUNK, 1, 1, {
		{ 0x1234, 0, CHUNK },
	} },
	/* The address of VRAM's first byte is the address of no operand, too. */
	{ "fill of VRAM from its first byte on", VPFN_OP_FILL, 0, 0, 2 * CHUNK + 8, 0xcafe, 3, {
		{ 0, 0, CHUNK },
		{ CHUNK, 0, CHUNK },
		{ 2 * CHUNK, 0, 8 },
	} },
	{ "copy from VRAM's first byte on", VPFN_OP_COPY, SZ_4G, 0, CHUNK + 1, 0, 2, {
		{ SZ_4G, 0, CHUNK },
		{ SZ_4G + CHUNK, CHUNK, 1 },
	} },
	{ "copy to the GART", VPFN_OP_COPY, GART + 0x1000, 0x10001, CHUNK + 7, 0, 2, {
		{ GART + 0x1000, 0x10001, CHUNK },
		{ GART + 0x1000 + CHUNK, 0x10001 + CHUNK, 7 },
	} },
	/* The checksum of two ranges is not that of both: it must be one descriptor. */
	{ "longest CRC", VPFN_OP_CRC32C, GART, PAGE_SIZE, DRM_VPFN_CRC_LENGTH_MAX, 0, 1, {
		{ GART, PAGE_SIZE, DRM_VPFN_CRC_LENGTH_MAX },
	} },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_job, vpfn_job_cases, name);

/* Each command behind another one: jobs are filled from the front. */
static void vpfn_test_job_add(struct kunit *test)
{
	const struct vpfn_job_case *c = test->param_value;
	struct vpfn_job *job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);
	const struct vpfn_desc *desc;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, job);
	job->descs = kunit_kcalloc(test, 5, sizeof(*job->descs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job->descs);

	vpfn_job_add(job, VPFN_OP_FILL, 0x77, 0, 4, 0x88);
	vpfn_job_add(job, c->op, c->dst, c->src, c->length, c->pattern);
	KUNIT_ASSERT_EQ(test, job->num_descs, 1 + c->num_descs);

	KUNIT_EXPECT_EQ(test, le64_to_cpu(job->descs[0].dst_addr), 0x77);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(job->descs[0].pattern), 0x88);
	for (i = 0; i < c->num_descs; i++) {
		desc = &job->descs[1 + i];
		KUNIT_EXPECT_EQ(test, desc->op, c->op);
		KUNIT_EXPECT_EQ(test, desc->flags, 0);
		KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->fence), 0);
		KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->length), c->descs[i].length);
		KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->src_addr), c->descs[i].src);
		KUNIT_EXPECT_EQ(test, le64_to_cpu(desc->dst_addr), c->descs[i].dst);
		KUNIT_EXPECT_EQ(test, le32_to_cpu(desc->pattern), c->pattern);
		KUNIT_EXPECT_NULL(test, memchr_inv(desc->reserved0, 0, sizeof(desc->reserved0)));
		KUNIT_EXPECT_NULL(test, memchr_inv(desc->reserved1, 0, sizeof(desc->reserved1)));
	}
}

static struct kunit_case vpfn_job_test_cases[] = {
	KUNIT_CASE(vpfn_test_job_num_descs),
	KUNIT_CASE_PARAM(vpfn_test_job_add, vpfn_job_gen_params),
	{ }
};

static struct kunit_suite vpfn_job_suite = {
	.name = "vpfn_job",
	.test_cases = vpfn_job_test_cases,
};

kunit_test_suite(vpfn_job_suite);
