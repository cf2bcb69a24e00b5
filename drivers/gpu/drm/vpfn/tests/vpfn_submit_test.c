// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Which submissions does the driver accept, and which commands? The rules of
 * include/uapi/drm/vpfn_drm.h.
 */

#include <kunit/test.h>

#include <linux/sizes.h>

#include <drm/drm_gem.h>
#include <drm/vpfn_drm.h>

#include "../vpfn_drv.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

struct vpfn_submit_case {
	const char *name;
	struct drm_vpfn_submit args;
	int ret;
};

static const struct vpfn_submit_case vpfn_submit_args[] = {
	{ "one command", { .num_cmds = 1 }, 0 },
	{ "all there can be", {
		.num_cmds = DRM_VPFN_SUBMIT_CMDS_MAX,
		.num_in_syncs = DRM_VPFN_SUBMIT_SYNCS_MAX,
		.num_out_syncs = DRM_VPFN_SUBMIT_SYNCS_MAX,
	}, 0 },
	{ "nothing", {}, -EINVAL },
	{ "syncs alone", { .num_in_syncs = 1, .num_out_syncs = 1 }, -EINVAL },
	{ "a flag", { .num_cmds = 1, .flags = 1 }, -EINVAL },
	{ "the last flag", { .num_cmds = 1, .flags = 1U << 31 }, -EINVAL },
	{ "a command more", { .num_cmds = DRM_VPFN_SUBMIT_CMDS_MAX + 1 }, -E2BIG },
	{ "most commands", { .num_cmds = ~0 }, -E2BIG },
	{ "a sync in more",
	  { .num_cmds = 1, .num_in_syncs = DRM_VPFN_SUBMIT_SYNCS_MAX + 1 }, -E2BIG },
	{ "most syncs in", { .num_cmds = 1, .num_in_syncs = ~0 }, -E2BIG },
	{ "a sync out more",
	  { .num_cmds = 1, .num_out_syncs = DRM_VPFN_SUBMIT_SYNCS_MAX + 1 }, -E2BIG },
	{ "most syncs out", { .num_cmds = 1, .num_out_syncs = ~0 }, -E2BIG },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_submit, vpfn_submit_args, name);

static void vpfn_test_submit_check(struct kunit *test)
{
	const struct vpfn_submit_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, vpfn_submit_check(&c->args), c->ret);
}

#define NOP	.op = DRM_VPFN_CMD_NOP
#define FILL	.op = DRM_VPFN_CMD_FILL, .dst_handle = 1
#define COPY	.op = DRM_VPFN_CMD_COPY, .dst_handle = 1, .src_handle = 2
#define CRC	.op = DRM_VPFN_CMD_CRC32C, .dst_handle = 1, .src_handle = 2

struct vpfn_cmd_case {
	const char *name;
	struct drm_vpfn_cmd cmd;
	int ret;
};

static const struct vpfn_cmd_case vpfn_cmd_cases[] = {
	{ "nop", { NOP }, 0 },
	{ "nop with a pattern", { NOP, .pattern = 1 }, -EINVAL },
	{ "nop with a source", { NOP, .src_handle = 1 }, -EINVAL },
	{ "nop with a destination", { NOP, .dst_handle = 1 }, -EINVAL },
	{ "nop with a source offset", { NOP, .src_offset = 4 }, -EINVAL },
	{ "nop with a destination offset", { NOP, .dst_offset = 4 }, -EINVAL },
	{ "nop with a length", { NOP, .length = 4 }, -EINVAL },

	{ "fill", { FILL, .length = 4 }, 0 },
	{ "fill with all", { FILL, .pattern = ~0, .dst_offset = 12, .length = SZ_1G }, 0 },
	{ "fill with a source", { FILL, .length = 4, .src_handle = 1 }, -EINVAL },
	{ "fill with a source offset", { FILL, .length = 4, .src_offset = 4 }, -EINVAL },
	{ "fill of nothing", { FILL }, -EINVAL },
	{ "fill of odd length 1", { FILL, .length = 5 }, -EINVAL },
	{ "fill of odd length 2", { FILL, .length = 6 }, -EINVAL },
	{ "fill at odd offset 1", { FILL, .length = 4, .dst_offset = 1 }, -EINVAL },
	{ "fill at odd offset 2", { FILL, .length = 4, .dst_offset = 2 }, -EINVAL },
	{ "fill, odd beyond 32 bits", { FILL, .length = (1ULL << 40) + 1 }, -EINVAL },

	{ "copy", { COPY, .length = 1 }, 0 },
	{ "copy with odd numbers", { COPY, .length = 7, .src_offset = 1, .dst_offset = 3 }, 0 },
	{ "copy with a pattern", { COPY, .length = 4, .pattern = 1 }, -EINVAL },
	{ "copy of nothing", { COPY }, -EINVAL },

	{ "crc", { CRC, .length = 1 }, 0 },
	{ "crc at odd source", { CRC, .length = 5, .src_offset = 3, .dst_offset = 4 }, 0 },
	{ "crc with a pattern", { CRC, .length = 4, .pattern = 1 }, -EINVAL },
	{ "crc of nothing", { CRC }, -EINVAL },
	{ "crc to odd offset 1", { CRC, .length = 4, .dst_offset = 1 }, -EINVAL },
	{ "crc to odd offset 2", { CRC, .length = 4, .dst_offset = 2 }, -EINVAL },
	{ "crc of the most", { CRC, .length = DRM_VPFN_CRC_LENGTH_MAX }, 0 },
	{ "crc of more", { CRC, .length = DRM_VPFN_CRC_LENGTH_MAX + 1 }, -EINVAL },
	{ "crc, more by 2^32", { CRC, .length = (1ULL << 32) + 4 }, -EINVAL },

	{ "unknown operation", { .op = DRM_VPFN_CMD_CRC32C + 1 }, -EINVAL },
	{ "unknown operation, all ones", { .op = ~0 }, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_cmd, vpfn_cmd_cases, name);

static void vpfn_test_cmd_check(struct kunit *test)
{
	const struct vpfn_cmd_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, vpfn_cmd_check(&c->cmd), c->ret);
}

/* The destination has 64 KiB, the source 128 KiB, unless both are the destination. */
struct vpfn_range_case {
	const char *name;
	struct drm_vpfn_cmd cmd;
	bool same;
	int ret;
};

#define DST_SIZE	SZ_64K
#define SRC_SIZE	SZ_128K

static const struct vpfn_range_case vpfn_range_cases[] = {
	{ "nop", { NOP }, .ret = 0 },
	{ "fill all", { FILL, .length = DST_SIZE }, .ret = 0 },
	{ "fill the end", { FILL, .dst_offset = DST_SIZE - 4, .length = 4 }, .ret = 0 },
	{ "fill one word more", { FILL, .length = DST_SIZE + 4 }, .ret = -EINVAL },
	{ "fill across the end",
	  { FILL, .dst_offset = DST_SIZE - 4, .length = 8 }, .ret = -EINVAL },
	{ "fill behind the end", { FILL, .dst_offset = DST_SIZE, .length = 4 }, .ret = -EINVAL },
	{ "fill far behind", { FILL, .dst_offset = DST_SIZE + 4, .length = 4 }, .ret = -EINVAL },
	{ "fill, sum overflows", { FILL, .dst_offset = -4ULL, .length = 8 }, .ret = -EINVAL },
	{ "fill, longest", { FILL, .dst_offset = 4, .length = -4ULL }, .ret = -EINVAL },

	{ "copy all", { COPY, .length = DST_SIZE }, .ret = 0 },
	{ "copy from the end", { COPY, .src_offset = SRC_SIZE - 1, .length = 1 }, .ret = 0 },
	{ "copy across the source's end",
	  { COPY, .src_offset = SRC_SIZE - 1, .length = 2 }, .ret = -EINVAL },
	{ "copy, source behind the end",
	  { COPY, .src_offset = SRC_SIZE + 1, .length = 1 }, .ret = -EINVAL },
	{ "copy, source overflows", { COPY, .src_offset = -1ULL, .length = 2 }, .ret = -EINVAL },
	{ "copy across the destination's end",
	  { COPY, .dst_offset = DST_SIZE - 1, .length = 2 }, .ret = -EINVAL },
	{ "copy more than the destination", { COPY, .length = DST_SIZE + 1 }, .ret = -EINVAL },

	{ "copy up", { COPY, .dst_offset = 100, .length = 100 }, true, 0 },
	{ "copy down", { COPY, .src_offset = 100, .length = 100 }, true, 0 },
	{ "copy up, overlapping", { COPY, .dst_offset = 99, .length = 100 }, true, -EINVAL },
	{ "copy down, overlapping", { COPY, .src_offset = 99, .length = 100 }, true, -EINVAL },
	{ "copy to itself", { COPY, .length = 100 }, true, -EINVAL },
	{ "the same range elsewhere", { COPY, .length = 100 }, false, 0 },

	{ "crc of all", { CRC, .length = SRC_SIZE }, .ret = 0 },
	{ "crc at the end", { CRC, .dst_offset = DST_SIZE - 4, .length = 1 }, .ret = 0 },
	{ "crc behind the end", { CRC, .dst_offset = DST_SIZE, .length = 1 }, .ret = -EINVAL },
	{ "crc of too much", { CRC, .length = SRC_SIZE + 1 }, .ret = -EINVAL },
	{ "crc, destination shorter than length",
	  { CRC, .dst_offset = DST_SIZE - 4, .length = SZ_4K }, .ret = 0 },
	{ "crc before its range", { CRC, .src_offset = 4, .length = 100 }, true, 0 },
	{ "crc after its range", { CRC, .dst_offset = 100, .length = 100 }, true, 0 },
	{ "crc in its range", { CRC, .dst_offset = 96, .length = 100 }, true, -EINVAL },
	{ "crc at its beginning", { CRC, .src_offset = 3, .length = 100 }, true, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(vpfn_range, vpfn_range_cases, name);

static void vpfn_test_cmd_check_ranges(struct kunit *test)
{
	const struct vpfn_range_case *c = test->param_value;
	struct drm_gem_object dst = { .size = DST_SIZE }, src = { .size = SRC_SIZE };
	bool reads = c->cmd.src_handle, writes = c->cmd.dst_handle;
	struct drm_gem_object *from = c->same ? &dst : &src;

	/* A case that fails for another reason proves nothing. */
	if (!c->ret)
		KUNIT_EXPECT_EQ(test, vpfn_cmd_check(&c->cmd), 0);
	KUNIT_EXPECT_EQ(test, vpfn_cmd_check_ranges(&c->cmd, writes ? &dst : NULL,
						    reads ? from : NULL), c->ret);
}

static struct kunit_case vpfn_submit_cases[] = {
	KUNIT_CASE_PARAM(vpfn_test_submit_check, vpfn_submit_gen_params),
	KUNIT_CASE_PARAM(vpfn_test_cmd_check, vpfn_cmd_gen_params),
	KUNIT_CASE_PARAM(vpfn_test_cmd_check_ranges, vpfn_range_gen_params),
	{ }
};

static struct kunit_suite vpfn_submit_suite = {
	.name = "vpfn_submit",
	.test_cases = vpfn_submit_cases,
};

kunit_test_suite(vpfn_submit_suite);

MODULE_DESCRIPTION("KUnit tests for vpfn");
MODULE_LICENSE("GPL");
