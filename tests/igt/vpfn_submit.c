// SPDX-License-Identifier: MIT
/*
 * Jobs for the engine: which submissions are refused, and what the commands do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_job.h"
#include "vpfn_leaf.h"
#include "vpfn_mem.h"
#include "vpfn_pattern.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("Jobs for the engine of vpfn: bad input, and what the commands do.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

#define BAD_HANDLE	0xd0d0d0d0
#define CMDS_MAX	DRM_VPFN_SUBMIT_CMDS_MAX
#define SYNCS_MAX	DRM_VPFN_SUBMIT_SYNCS_MAX

#define WORD		sizeof(uint32_t)
#define LARGE		(256ull << 20)

/* A command or a sync, of which one field is another. */
#define BUT(original, field, value) ({					\
	typeof(original) changed = (original);				\
									\
	changed.field = (value);					\
	changed;							\
})

static int fd = -1;

/* ---- Bad input: whatever is refused has done nothing, and what is repaired works. ---- */

#define BOX		(4 * VPFN_PAGE)
#define MARK		0x4b52414d
#define MARK_LEN	64

/* All that a bad submission could get at. */
struct box {
	int file;
	struct vpfn_mem src, dst;
	uint32_t out;		/* a syncobj without a fence */
};

/* A submission to be judged: a command that leaves a mark, and after it another one. */
struct attempt {
	struct drm_vpfn_cmd cmds[2];
	struct drm_vpfn_sync in, out[2];
	struct drm_vpfn_submit submit;
};

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

static void box_open(struct box *box)
{
	box->file = vpfn_open(O_RDWR);
	igt_assert_lte(0, box->file);
	igt_assert_eq(vpfn_mem_create(box->file, BOX, SYSTEM, 0xb0, &box->src), 0);
	igt_assert_eq(vpfn_mem_create(box->file, BOX, VRAM, 0xb1, &box->dst), 0);
	igt_assert_eq(drmSyncobjCreate(box->file, 0, &box->out), 0);
}

static void box_close(struct box *box)
{
	vpfn_mem_destroy(&box->src);
	vpfn_mem_destroy(&box->dst);
	close(box->file);
}

static void attempt_init(struct attempt *attempt, const struct box *box, struct drm_vpfn_cmd cmd)
{
	*attempt = (struct attempt) {
		.cmds = { vpfn_cmd_fill(&box->dst.bo, 0, MARK_LEN, MARK), cmd },
		.out = { { .handle = box->out } },
		.submit = {
			.cmds = (uintptr_t)attempt->cmds,
			.num_cmds = 2,
			.out_syncs = (uintptr_t)attempt->out,
			.num_out_syncs = 1,
		},
	};
}

/* The next job of the file is done, so what came before it would be done as well. */
static void assert_nothing_ran(const struct box *box, const char *why)
{
	uint32_t out = box->out;

	igt_assert_eq(vpfn_run(box->file, &nop, 1), 0);
	igt_assert_f(drmSyncobjWait(box->file, &out, 1, 0, 0, NULL) == -EINVAL,
		     "%s: refused, but its syncobj has got a fence\n", why);
	igt_assert_f(vpfn_mem_check(&box->dst) == BOX, "%s: refused, but it has run\n", why);
	igt_assert_f(vpfn_mem_check(&box->src) == BOX, "%s: refused, but it has run\n", why);
	igt_assert_eq(vpfn_bo_wait(box->file, &box->dst.bo, 0, 0), 0);
	igt_assert_eq(vpfn_bo_wait(box->file, &box->src.bo, 0, 0), 0);
}

static void refuse(const struct box *box, struct attempt *attempt, int expected, const char *why)
{
	int err = vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt->submit);

	igt_assert_f(err == expected, "%s: the answer is %d, not %d\n", why, err, expected);
	assert_nothing_ran(box, why);
}

static bool is_marked(const struct box *box)
{
	for (unsigned int at = 0; at < MARK_LEN; at += WORD) {
		if (memcmp(box->dst.map + at, &(uint32_t) { MARK }, WORD))
			return false;
	}
	return true;
}

/* It runs, and everything is as before. */
static void accept(struct box *box, struct attempt *attempt, const char *why)
{
	int err = vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt->submit);

	igt_assert_f(!err, "what is right instead of %s: the answer is %d\n", why, err);
	igt_assert_eq(vpfn_sync_status(box->file, box->out, VPFN_LONG_NS), 0);
	igt_assert_f(is_marked(box), "what is right instead of %s has not run\n", why);
	vpfn_mem_refill(&box->src, 0xb0);
	vpfn_mem_refill(&box->dst, 0xb1);
	igt_assert_eq(drmSyncobjReset(box->file, &box->out, 1), 0);
}

static void judge(struct box *box, struct drm_vpfn_cmd bad, int expected,
		  struct drm_vpfn_cmd good, const char *why)
{
	struct attempt attempt;

	attempt_init(&attempt, box, bad);
	refuse(box, &attempt, expected, why);
	attempt_init(&attempt, box, good);
	accept(box, &attempt, why);
}

/* Good commands, each of which a test spoils. They leave the mark alone. */
static struct drm_vpfn_cmd good_fill(const struct box *box)
{
	return vpfn_cmd_fill(&box->dst.bo, 128, 64, 0x11);
}

static struct drm_vpfn_cmd good_copy(const struct box *box)
{
	return vpfn_cmd_copy(&box->dst.bo, 129, &box->src.bo, 3, 65);
}

static struct drm_vpfn_cmd good_crc(const struct box *box)
{
	return vpfn_cmd_crc(&box->dst.bo, 128, &box->src.bo, 3, 65);
}

static void test_bad_op(struct box *box)
{
	judge(box, BUT(nop, op, DRM_VPFN_CMD_CRC32C + 1), -EINVAL, nop, "the next operation");
	judge(box, BUT(nop, op, UINT32_MAX), -EINVAL, nop, "the last operation");
	judge(box, BUT(nop, op, 1u << 8), -EINVAL, nop, "an operation of more than 8 bits");
	judge(box, BUT(good_copy(box), op, 1 << 16 | DRM_VPFN_CMD_COPY), -EINVAL, good_copy(box),
	      "an operation with a flag");
}

static void test_bad_unused(struct box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);

	judge(box, BUT(nop, pattern, 1), -EINVAL, nop, "a nop with a pattern");
	judge(box, BUT(nop, src_handle, box->src.bo.handle), -EINVAL, nop, "a nop with a source");
	judge(box, BUT(nop, dst_handle, box->dst.bo.handle), -EINVAL, nop,
	      "a nop with a destination");
	judge(box, BUT(nop, src_offset, 1ull << 63), -EINVAL, nop, "a nop with a source offset");
	judge(box, BUT(nop, dst_offset, 1ull << 63), -EINVAL, nop,
	      "a nop with a destination offset");
	judge(box, BUT(nop, length, 1ull << 63), -EINVAL, nop, "a nop with a length");

	judge(box, BUT(fill, src_handle, box->src.bo.handle), -EINVAL, fill,
	      "a fill with a source");
	judge(box, BUT(fill, src_offset, 1), -EINVAL, fill, "a fill with a source offset");
	judge(box, BUT(copy, pattern, 1u << 31), -EINVAL, copy, "a copy with a pattern");
	judge(box, BUT(crc, pattern, 1), -EINVAL, crc, "a checksum with a pattern");
}

/* A handle that is good in another file, and means nothing in this one. */
static uint32_t foreign_handle(const struct box *box, int other)
{
	struct drm_vpfn_gem_info info = {};
	struct vpfn_bo bo;

	for (int i = 0; i < 8; i++)
		igt_assert_eq(vpfn_bo_create(other, VPFN_PAGE, &bo), 0);
	info.handle = bo.handle;
	igt_assert_eq(vpfn_ioctl(box->file, DRM_IOCTL_VPFN_GEM_INFO, &info), -ENOENT);
	return bo.handle;
}

static void test_bad_buffer(struct box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	int other = vpfn_open(O_RDWR);
	uint32_t bad[] = { 0, BAD_HANDLE, foreign_handle(box, other), 0 };
	struct vpfn_bo past;

	igt_assert_eq(vpfn_bo_create(box->file, BOX, &past), 0);
	igt_assert_eq(vpfn_bo_close(box->file, &past), 0);
	bad[3] = past.handle;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		judge(box, BUT(fill, dst_handle, bad[i]), -ENOENT, fill, "a fill of no buffer");
		judge(box, BUT(copy, dst_handle, bad[i]), -ENOENT, copy, "a copy to no buffer");
		judge(box, BUT(copy, src_handle, bad[i]), -ENOENT, copy, "a copy from no buffer");
		judge(box, BUT(crc, dst_handle, bad[i]), -ENOENT, crc, "a checksum to no buffer");
		judge(box, BUT(crc, src_handle, bad[i]), -ENOENT, crc, "a checksum of no buffer");
	}
	close(other);
}

/* Each is outside of the buffer, if only by a byte more than 32 or 64 bits can say. */
static const struct {
	uint64_t offset, length;
} bad_ranges[] = {
	{ BOX, WORD },
	{ BOX - WORD, 2 * WORD },
	{ BOX + WORD, WORD },
	{ 0, BOX + WORD },
	{ 1ull << 32, WORD },
	{ 0, 1ull << 32 },
	{ MARK_LEN, (1ull << 32) + WORD },
	{ (1ull << 32) + MARK_LEN, WORD },
	{ 1ull << 63, 1ull << 63 },
	{ -WORD, WORD },
	{ -WORD, 2 * WORD },
	{ MARK_LEN, -(uint64_t)MARK_LEN },
	{ MARK_LEN, -(uint64_t)MARK_LEN + WORD },
	{ 1ull << 63, WORD },
};

static struct drm_vpfn_cmd with_src(struct drm_vpfn_cmd cmd, uint64_t offset, uint64_t length)
{
	cmd.src_offset = offset;
	cmd.length = length;
	return cmd;
}

static struct drm_vpfn_cmd with_dst(struct drm_vpfn_cmd cmd, uint64_t offset, uint64_t length)
{
	cmd.dst_offset = offset;
	cmd.length = length;
	return cmd;
}

static void test_bad_range(struct box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	uint64_t last = BOX - WORD;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad_ranges); i++) {
		uint64_t offset = bad_ranges[i].offset, length = bad_ranges[i].length;

		judge(box, with_dst(fill, offset, length), -EINVAL, with_dst(fill, last, WORD),
		      "a fill beyond the buffer");
		judge(box, with_dst(copy, offset, length), -EINVAL, with_dst(copy, last, WORD),
		      "a copy beyond the destination");
		judge(box, with_src(copy, offset, length), -EINVAL, with_src(copy, last, WORD),
		      "a copy beyond the source");
		judge(box, with_src(crc, offset, length), -EINVAL, with_src(crc, last, WORD),
		      "a checksum beyond the source");
	}

	judge(box, BUT(crc, dst_offset, BOX), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put behind the buffer");
	judge(box, BUT(crc, dst_offset, -WORD), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put at the end of all");
	judge(box, BUT(crc, dst_offset, 1ull << 32), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put 4 GiB further");
	judge(box, with_src(copy, BOX - 1, 2), -EINVAL, with_src(copy, BOX - 1, 1),
	      "a copy of a byte too much");
	judge(box, with_dst(copy, BOX - 1, 2), -EINVAL, with_dst(copy, BOX - 1, 1),
	      "a copy to a byte too much");
	judge(box, with_src(crc, BOX - 1, 2), -EINVAL, with_src(crc, BOX - 1, 1),
	      "a checksum of a byte too much");
}

static void test_bad_length(struct box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	uint64_t max = DRM_VPFN_CRC_LENGTH_MAX;
	struct vpfn_bo large;

	judge(box, BUT(fill, length, 0), -EINVAL, fill, "a fill of nothing");
	judge(box, BUT(copy, length, 0), -EINVAL, copy, "a copy of nothing");
	judge(box, BUT(crc, length, 0), -EINVAL, crc, "a checksum of nothing");

	igt_assert_eq(vpfn_bo_create(box->file, max + VPFN_PAGE, &large), 0);
	crc.src_handle = large.handle;
	judge(box, with_src(crc, 0, max + 1), -EINVAL, with_src(crc, VPFN_PAGE, max),
	      "a checksum of a byte more than the limit");
	judge(box, with_src(crc, 0, max + VPFN_PAGE), -EINVAL, with_src(crc, 0, max),
	      "a checksum of a page more than the limit");
	vpfn_bo_close(box->file, &large);
}

static void test_bad_alignment(struct box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), crc = good_crc(box);

	for (unsigned int i = 1; i < WORD; i++) {
		judge(box, BUT(fill, dst_offset, 128 + i), -EINVAL, fill,
		      "a fill at an odd offset");
		judge(box, BUT(fill, length, i), -EINVAL, fill, "a fill of less than a pattern");
		judge(box, BUT(fill, length, 64 + i), -EINVAL, fill, "a fill of an odd length");
		judge(box, BUT(crc, dst_offset, 128 + i), -EINVAL, crc,
		      "a checksum put at an odd offset");
	}
}

static void test_bad_overlap(struct box *box)
{
	const struct vpfn_bo *bo = &box->dst.bo;
	struct drm_vpfn_cmd behind = vpfn_cmd_copy(bo, 300, bo, 200, 100);
	struct drm_vpfn_cmd before = vpfn_cmd_copy(bo, 200, bo, 300, 100);

	judge(box, vpfn_cmd_copy(bo, 200, bo, 200, 100), -EINVAL, behind, "a copy to itself");
	judge(box, vpfn_cmd_copy(bo, 201, bo, 200, 100), -EINVAL, behind, "a copy a byte up");
	judge(box, vpfn_cmd_copy(bo, 200, bo, 201, 100), -EINVAL, before, "a copy a byte down");
	judge(box, vpfn_cmd_copy(bo, 299, bo, 200, 100), -EINVAL, behind,
	      "a copy to the last byte");
	judge(box, vpfn_cmd_copy(bo, 200, bo, 299, 100), -EINVAL, before,
	      "a copy from the last byte");

	judge(box, vpfn_cmd_crc(bo, 200, bo, 200, 100), -EINVAL,
	      vpfn_cmd_crc(bo, 196, bo, 200, 100), "a checksum at the start of its range");
	judge(box, vpfn_cmd_crc(bo, 240, bo, 200, 100), -EINVAL,
	      vpfn_cmd_crc(bo, 300, bo, 200, 100), "a checksum amid its range");
	judge(box, vpfn_cmd_crc(bo, 296, bo, 200, 100), -EINVAL,
	      vpfn_cmd_crc(bo, 300, bo, 200, 100), "a checksum at the end of its range");
	judge(box, vpfn_cmd_crc(bo, 200, bo, 203, 97), -EINVAL, vpfn_cmd_crc(bo, 200, bo, 204, 96),
	      "a checksum with one byte in its range");
	judge(box, vpfn_cmd_crc(bo, 300, bo, 200, 101), -EINVAL,
	      vpfn_cmd_crc(bo, 304, bo, 200, 101), "a checksum on the last byte of its range");
	judge(box, vpfn_cmd_crc(bo, 200, bo, 201, 1), -EINVAL, vpfn_cmd_crc(bo, 200, bo, 204, 1),
	      "a checksum around its range");
}

static void test_bad_flags(struct box *box)
{
	struct attempt attempt;

	for (unsigned int bit = 0; bit < 32; bit++) {
		attempt_init(&attempt, box, nop);
		attempt.submit.flags = 1u << bit;
		refuse(box, &attempt, -EINVAL, "an unknown flag");
	}
	attempt.submit.flags = 0;
	accept(box, &attempt, "an unknown flag");
}

/* Commands and syncs of which there are more than enough. */
static void test_bad_count(struct box *box)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX + 1, sizeof(*cmds));
	struct drm_vpfn_sync *syncs = calloc(SYNCS_MAX + 1, sizeof(*syncs));
	struct attempt attempt;

	igt_assert(cmds && syncs);
	cmds[0] = vpfn_cmd_fill(&box->dst.bo, 0, MARK_LEN, MARK);
	for (unsigned int i = 0; i <= SYNCS_MAX; i++) {
		igt_assert_eq(drmSyncobjCreate(box->file, DRM_SYNCOBJ_CREATE_SIGNALED,
					       &syncs[i].handle), 0);
	}

	attempt_init(&attempt, box, nop);
	attempt.submit.num_cmds = 0;
	refuse(box, &attempt, -EINVAL, "no command");
	attempt.submit.cmds = 0;
	refuse(box, &attempt, -EINVAL, "no command and no pointer");

	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX + 1;
	refuse(box, &attempt, -E2BIG, "a command too many");
	attempt.submit.num_cmds = UINT32_MAX;
	refuse(box, &attempt, -E2BIG, "the most commands");
	attempt.submit.num_cmds = CMDS_MAX;
	accept(box, &attempt, "a command too many");

	attempt.submit.in_syncs = (uintptr_t)syncs;
	attempt.submit.num_in_syncs = SYNCS_MAX + 1;
	refuse(box, &attempt, -E2BIG, "a sync too many to wait for");
	attempt.submit.num_in_syncs = UINT32_MAX;
	refuse(box, &attempt, -E2BIG, "the most syncs to wait for");
	attempt.submit.num_in_syncs = SYNCS_MAX;
	accept(box, &attempt, "a sync too many to wait for");

	attempt.submit.num_in_syncs = 0;
	syncs[0].handle = box->out;
	attempt.submit.out_syncs = (uintptr_t)syncs;
	attempt.submit.num_out_syncs = SYNCS_MAX + 1;
	refuse(box, &attempt, -E2BIG, "a sync too many to signal");
	attempt.submit.num_out_syncs = UINT32_MAX;
	refuse(box, &attempt, -E2BIG, "the most syncs to signal");
	attempt.submit.num_out_syncs = SYNCS_MAX;
	accept(box, &attempt, "a sync too many to signal");
	free(cmds);
	free(syncs);
}

/* The last page before an unreadable one. */
static char *border(void)
{
	char *area = mmap(NULL, 2 * VPFN_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert(area != MAP_FAILED);
	igt_assert_eq(mprotect(area + VPFN_PAGE, VPFN_PAGE, PROT_NONE), 0);
	return area + VPFN_PAGE;
}

static void test_bad_pointer(struct box *box)
{
	char *end = border();
	uint64_t bad[] = { 0, 8, (uintptr_t)end, 0xffffffff81000000, -8ull };
	struct attempt attempt;
	uint64_t straddling;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		attempt_init(&attempt, box, nop);
		attempt.submit.cmds = bad[i];
		refuse(box, &attempt, -EFAULT, "a bad pointer to commands");

		attempt_init(&attempt, box, nop);
		attempt.submit.in_syncs = bad[i];
		attempt.submit.num_in_syncs = 1;
		refuse(box, &attempt, -EFAULT, "a bad pointer to syncs to wait for");

		attempt_init(&attempt, box, nop);
		attempt.submit.out_syncs = bad[i];
		refuse(box, &attempt, -EFAULT, "a bad pointer to syncs to signal");
	}

	/* The first element is there, the second is not. */
	attempt_init(&attempt, box, nop);
	straddling = (uintptr_t)end - sizeof(attempt.cmds[0]);
	memcpy((void *)straddling, attempt.cmds, sizeof(attempt.cmds[0]));
	attempt.submit.cmds = straddling;
	refuse(box, &attempt, -EFAULT, "commands up to a hole");
	attempt.submit.num_cmds = 1;
	accept(box, &attempt, "commands up to a hole");

	attempt_init(&attempt, box, nop);
	straddling = (uintptr_t)end - sizeof(attempt.out[0]);
	memcpy((void *)straddling, attempt.out, sizeof(attempt.out[0]));
	attempt.submit.out_syncs = straddling;
	attempt.submit.num_out_syncs = 2;
	refuse(box, &attempt, -EFAULT, "syncs up to a hole");
	attempt.submit.num_out_syncs = 1;
	accept(box, &attempt, "syncs up to a hole");
	munmap(end - VPFN_PAGE, 2 * VPFN_PAGE);
}

static void judge_in(struct box *box, struct drm_vpfn_sync bad, int expected,
		     struct drm_vpfn_sync good, const char *why)
{
	struct attempt attempt;

	attempt_init(&attempt, box, nop);
	attempt.in = bad;
	attempt.submit.in_syncs = (uintptr_t)&attempt.in;
	attempt.submit.num_in_syncs = 1;
	refuse(box, &attempt, expected, why);
	attempt.in = good;
	accept(box, &attempt, why);
}

/* The first sync of two is good: it must not be signalled either. */
static void judge_out(struct box *box, struct drm_vpfn_sync bad, int expected,
		      struct drm_vpfn_sync good, const char *why)
{
	struct attempt attempt;

	attempt_init(&attempt, box, nop);
	attempt.out[1] = bad;
	attempt.submit.num_out_syncs = 2;
	refuse(box, &attempt, expected, why);
	attempt.out[1] = good;
	accept(box, &attempt, why);
}

static uint32_t new_sync(int file, uint32_t flags)
{
	uint32_t handle;

	igt_assert_eq(drmSyncobjCreate(file, flags, &handle), 0);
	return handle;
}

static uint32_t foreign_sync(int other)
{
	uint32_t handle = 0;

	for (int i = 0; i < 8; i++)
		handle = new_sync(other, DRM_SYNCOBJ_CREATE_SIGNALED);
	return handle;
}

static void test_bad_sync_in(struct box *box)
{
	int other = vpfn_open(O_RDWR);
	uint32_t binary = new_sync(box->file, DRM_SYNCOBJ_CREATE_SIGNALED);
	uint32_t timeline = new_sync(box->file, 0), empty = new_sync(box->file, 0);
	struct drm_vpfn_sync good = { .handle = binary };
	struct drm_vpfn_sync point = { .handle = timeline, .point = 7 };

	igt_assert_eq(drmSyncobjTimelineSignal(box->file, &timeline, &(uint64_t) { 7 }, 1), 0);

	judge_in(box, (struct drm_vpfn_sync) { }, -ENOENT, good, "no syncobj to wait for");
	judge_in(box, (struct drm_vpfn_sync) { .handle = BAD_HANDLE }, -ENOENT, good,
		 "an unknown syncobj to wait for");
	judge_in(box, (struct drm_vpfn_sync) { .handle = foreign_sync(other) }, -ENOENT, good,
		 "another file's syncobj to wait for");
	judge_in(box, BUT(good, pad, 1), -EINVAL, good,
		 "padding of a sync to wait for");
	judge_in(box, BUT(point, pad, 1u << 31), -EINVAL, point,
		 "padding of a point to wait for");
	judge_in(box, (struct drm_vpfn_sync) { .handle = empty }, -EINVAL, good,
		 "a syncobj that never had a fence");
	judge_in(box, (struct drm_vpfn_sync) { .handle = empty, .point = 1 }, -EINVAL, point,
		 "a timeline that never had a fence");
	judge_in(box, (struct drm_vpfn_sync) { .handle = timeline, .point = 8 }, -EINVAL, point,
		 "a point that is to come");
	judge_in(box, (struct drm_vpfn_sync) { .handle = binary, .point = 1 }, -EINVAL, good,
		 "a point of a syncobj that is no timeline");
	close(other);
}

static void test_bad_sync_out(struct box *box)
{
	int other = vpfn_open(O_RDWR);
	struct drm_vpfn_sync good = { .handle = new_sync(box->file, 0) };
	struct drm_vpfn_sync point = { .handle = new_sync(box->file, 0), .point = 7 };

	judge_out(box, (struct drm_vpfn_sync) { }, -ENOENT, good, "no syncobj to signal");
	judge_out(box, (struct drm_vpfn_sync) { .handle = BAD_HANDLE }, -ENOENT, good,
		  "an unknown syncobj to signal");
	judge_out(box, (struct drm_vpfn_sync) { .handle = foreign_sync(other) }, -ENOENT, good,
		  "another file's syncobj to signal");
	judge_out(box, (struct drm_vpfn_sync) { .handle = BAD_HANDLE, .point = 1 }, -ENOENT, good,
		  "a point of an unknown syncobj to signal");
	judge_out(box, BUT(good, pad, 1), -EINVAL, good,
		  "padding of a sync to signal");
	judge_out(box, BUT(point, pad, 1u << 31), -EINVAL, point,
		  "padding of a point to signal");
	igt_assert_eq(vpfn_point_status(box->file, point.handle, 7, VPFN_LONG_NS), 0);
	close(other);
}

static int wait_err(int file, uint32_t handle, uint32_t flags, int64_t timeout_ns)
{
	struct drm_vpfn_wait arg = { .handle = handle, .flags = flags, .timeout_ns = timeout_ns };

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_WAIT, &arg);
}

static void test_bad_wait(struct box *box)
{
	uint32_t handle = box->src.bo.handle;
	int other = vpfn_open(O_RDWR);

	igt_assert_eq(wait_err(box->file, 0, 0, 0), -ENOENT);
	igt_assert_eq(wait_err(box->file, BAD_HANDLE, 0, 0), -ENOENT);
	igt_assert_eq(wait_err(box->file, foreign_handle(box, other), 0, 0), -ENOENT);
	for (unsigned int bit = 1; bit < 32; bit++)
		igt_assert_eq(wait_err(box->file, handle, 1u << bit, 0), -EINVAL);
	igt_assert_eq(wait_err(box->file, handle, UINT32_MAX, 0), -EINVAL);

	igt_assert_eq(wait_err(box->file, handle, 0, 0), 0);
	igt_assert_eq(wait_err(box->file, handle, DRM_VPFN_WAIT_WRITERS, 0), 0);
	igt_assert_eq(wait_err(box->file, handle, 0, INT64_MIN), 0);
	igt_assert_eq(wait_err(box->file, handle, 0, -1), 0);
	igt_assert_eq(wait_err(box->file, handle, 0, INT64_MAX), 0);
	close(other);
}

/* ---- Too much ---- */

/* Each of the commands is good, but they are more than any ring holds. */
static void test_too_long(struct box *box)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX, sizeof(*cmds));
	struct attempt attempt;
	struct vpfn_bo large;

	igt_assert(cmds);
	igt_assert_eq(vpfn_bo_create(box->file, LARGE, &large), 0);
	cmds[0] = vpfn_cmd_fill(&box->dst.bo, 0, MARK_LEN, MARK);
	for (unsigned int i = 1; i < CMDS_MAX; i++)
		cmds[i] = vpfn_cmd_fill(&large, 0, LARGE, i);

	attempt_init(&attempt, box, nop);
	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX;
	refuse(box, &attempt, -E2BIG, "a job larger than the ring");

	for (unsigned int i = 1; i < CMDS_MAX; i++)
		cmds[i].length = WORD;
	accept(box, &attempt, "a job larger than the ring");
	vpfn_bo_close(box->file, &large);
	free(cmds);
}

/* A buffer that takes more than half of the device memory, each word of it the same. */
static void create_half(int file, uint64_t vram, uint32_t word, struct vpfn_bo *bo)
{
	uint64_t size = vram / 2 + (vram >> 3);

	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, 0, bo), 0);
	igt_assert_eq(vpfn_fill(file, bo, 0, size, word), 0);
}

/* Checks the beginning and the end: which other tests look in between. */
static void assert_words(int file, const struct vpfn_bo *bo, uint32_t word)
{
	static uint32_t words[VPFN_PAGE / WORD];
	uint32_t expected, crc;

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = word;
	expected = vpfn_crc32c(words, sizeof(words));
	igt_assert_eq(vpfn_crc(file, bo, 0, sizeof(words), &crc), 0);
	igt_assert_eq_u64(crc, expected);
	igt_assert_eq(vpfn_crc(file, bo, bo->size - sizeof(words), sizeof(words), &crc), 0);
	igt_assert_eq_u64(crc, expected);
}

static void test_no_room(void)
{
	int file = vpfn_open_small(O_RDWR), err;
	struct vpfn_bo first, second;
	struct drm_vpfn_cmd cmd;
	uint64_t vram;

	igt_require_f(file >= 0, "no device with little memory\n");
	igt_assert_eq(vpfn_vram_size(file, &vram), 0);
	create_half(file, vram, 0x1111, &first);
	create_half(file, vram, 0x2222, &second);

	cmd = vpfn_cmd_copy(&second, 0, &first, 0, first.size);
	err = vpfn_submit(file, &cmd, 1, 0, 0);
	igt_assert_f(err == -ENOSPC || err == -ENOMEM, "the answer is %d\n", err);
	assert_words(file, &first, 0x1111);
	assert_words(file, &second, 0x2222);

	/* One at a time there is room. */
	igt_assert_eq(vpfn_copy(file, &first, 0, &first, VPFN_2M, VPFN_2M), 0);
	igt_assert_eq(vpfn_fill(file, &second, 0, VPFN_PAGE, 0x3333), 0);
	assert_words(file, &first, 0x1111);
	close(file);
}

/* ---- Leaks ---- */

/* One array of the commands is 48 KiB: to leak it each time is more than twice the limit. */
#define LEAK_ROUNDS	100
#define LEAK_KIB	(2 << 10)

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	igt_assert(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static long available_kib(void)
{
	char text[4096], *field;
	long kib;

	igt_assert_eq(vpfn_text_read("/proc/meminfo", text, sizeof(text)), 0);
	field = strstr(text, "MemAvailable:");
	igt_assert(field);
	kib = strtol(field + strlen("MemAvailable:"), NULL, 10);
	igt_assert_lte(1, kib);
	return kib;
}

/* The driver's map of the device memory, as it is or as it must become. */
struct map {
	char path[64];
	char text[8192];
};

static void map_read(struct map *map)
{
	igt_assert_eq(vpfn_debugfs_path(fd, "vram", map->path, sizeof(map->path)), 0);
	igt_assert_eq(vpfn_text_read(map->path, map->text, sizeof(map->text)), 0);
	igt_assert(strlen(map->text));
}

static bool map_is_as_before(const void *arg)
{
	const struct map *before = arg;
	struct map now;

	map_read(&now);
	return !strcmp(now.text, before->text);
}

/* Refused at different stages, each after as much work as possible. */
static void spoil(struct attempt *attempt, struct drm_vpfn_cmd cmds[], unsigned int stage)
{
	switch (stage) {
	case 0:
		cmds[CMDS_MAX - 1].op = UINT32_MAX;
		break;
	case 1:
		cmds[CMDS_MAX - 1].dst_handle = BAD_HANDLE;
		break;
	case 2:
		cmds[CMDS_MAX - 1].dst_offset = BOX;
		break;
	case 3:
		attempt->in.handle = BAD_HANDLE;
		attempt->submit.num_in_syncs = 1;
		break;
	case 4:
		attempt->out[1].handle = BAD_HANDLE;
		attempt->submit.num_out_syncs = 2;
		break;
	case 5:
		attempt->submit.out_syncs = 8;
		break;
	}
}

static void refuse_often(struct box *box, unsigned int stage)
{
	static struct drm_vpfn_cmd cmds[CMDS_MAX];
	struct attempt attempt;
	long kib;

	for (unsigned int i = 0; i < CMDS_MAX; i++)
		cmds[i] = vpfn_cmd_fill(&box->dst.bo, 0, WORD, MARK);
	attempt_init(&attempt, box, nop);
	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX;
	attempt.submit.in_syncs = (uintptr_t)&attempt.in;
	spoil(&attempt, cmds, stage);

	/* The first ones find no memory that others have just given back. */
	for (unsigned int i = 0; i < LEAK_ROUNDS / 10; i++)
		igt_assert(vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt.submit));
	kib = available_kib();
	for (unsigned int i = 0; i < LEAK_ROUNDS; i++)
		igt_assert(vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt.submit));
	kib -= available_kib();
	igt_info("stage %u: %ld KiB less after %u refusals\n", stage, kib, LEAK_ROUNDS);
	igt_assert_f(kib < LEAK_KIB, "%ld KiB were not given back\n", kib);
}

static void test_leak(void)
{
	static struct map before;
	unsigned int files;
	struct box box;

	map_read(&before);
	files = open_files();
	box_open(&box);
	igt_assert(!map_is_as_before(&before));

	for (unsigned int stage = 0; stage <= 5; stage++)
		refuse_often(&box, stage);
	assert_nothing_ran(&box, "a submission refused often");

	/* A reference that is left shows in the map. */
	box_close(&box);
	igt_assert_eq(vpfn_wait_until(map_is_as_before, &before), 0);
	igt_assert_eq(open_files(), files);
}

/* ---- What the commands do, in each placement ---- */

#define SMALL		(384 * VPFN_PAGE)
#define CHUNKS		(20ull << 20)

static const struct {
	const char *name;
	uint32_t mask;
} placements[] = {
	{ "vram", VRAM },
	{ "system", SYSTEM },
};

/* Number of a pair of placements, from and to */
#define PAIRS		(ARRAY_SIZE(placements) * ARRAY_SIZE(placements))
#define TO(pair)	((pair) / ARRAY_SIZE(placements))
#define FROM(pair)	((pair) % ARRAY_SIZE(placements))

static const char *pair_name(unsigned int pair)
{
	static char name[32];

	snprintf(name, sizeof(name), "%s-to-%s", placements[FROM(pair)].name,
		 placements[TO(pair)].name);
	return name;
}

/* The buffer lies where it must for the test to mean something. */
static void create(uint64_t size, unsigned int placement, uint64_t seed, struct vpfn_mem *mem)
{
	uint32_t mask;

	igt_assert_eq(vpfn_mem_create(fd, size, placements[placement].mask, seed, mem), 0);
	igt_assert_eq(vpfn_bo_placement(fd, &mem->bo, &mask), 0);
	igt_assert_eq(mask, placements[placement].mask);
}

static void run(struct drm_vpfn_cmd cmd)
{
	igt_assert_eq(vpfn_run(fd, &cmd, 1), 0);
}

static void check(const struct vpfn_mem *mem)
{
	igt_assert_eq_u64(vpfn_mem_check(mem), mem->bo.size);
}

static void check_by_both(const struct vpfn_mem *mem)
{
	check(mem);
	igt_assert_eq(vpfn_mem_check_by_engine(mem), 0);
}

/* No byte, page or word begins where another does. */
static const struct {
	uint64_t src, dst, length;
} spans[] = {
	{ 0, 0, 1 },
	{ 1, 3, 1 },
	{ 4095, 1, 2 },
	{ 3, 4094, 5 },
	{ 4093, 7, 4099 },
	{ 1, 4097, 65537 },
	{ 12345, 54321, (1 << 20) + 13 },
	{ SMALL - 1, SMALL - 1, 1 },
	{ 0, SMALL - 8191, 8191 },
	{ SMALL - 8191, 0, 8191 },
	{ 0, 0, SMALL },
};

static void test_fill(unsigned int placement)
{
	struct vpfn_mem dst;

	create(SMALL, placement, 0xf0, &dst);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		uint64_t offset = spans[i].dst & -WORD;
		uint64_t length = (spans[i].length + WORD - 1) & -WORD;

		run(vpfn_mem_fill(&dst, offset, length, 0x04030201 * (i + 1)));
		check(&dst);
	}
	vpfn_mem_refill(&dst, 0xf1);
	run(vpfn_mem_fill(&dst, WORD, WORD, 0xdeadbeef));
	run(vpfn_mem_fill(&dst, SMALL - WORD, WORD, 0xcafe));
	run(vpfn_mem_fill(&dst, VPFN_PAGE, VPFN_PAGE, 0));
	check_by_both(&dst);
	vpfn_mem_destroy(&dst);
}

static void test_copy(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(SMALL, to, 0xc0, &dst);
	create(SMALL, from, 0xc1, &src);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		run(vpfn_mem_copy(&dst, spans[i].dst, &src, spans[i].src, spans[i].length));
		check_by_both(&dst);
		vpfn_mem_refill(&dst, 0xc2 + i);
	}
	check_by_both(&src);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* Within one buffer, up and down, right beside the source. */
static void test_copy_within(unsigned int placement)
{
	struct vpfn_mem mem;

	create(SMALL, placement, 0xc3, &mem);
	run(vpfn_mem_copy(&mem, 4098, &mem, 1, 4097));
	check(&mem);
	run(vpfn_mem_copy(&mem, 77, &mem, 77 + 12345, 12345));
	check(&mem);
	run(vpfn_mem_copy(&mem, SMALL / 2, &mem, 0, SMALL / 2));
	check_by_both(&mem);
	vpfn_mem_destroy(&mem);
}

static void test_crc(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(SMALL, to, 0xcc, &dst);
	create(SMALL, from, 0xcd, &src);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		uint64_t offset = spans[i].dst & -WORD;

		run(vpfn_mem_crc(&dst, offset, &src, spans[i].src, spans[i].length));
		check(&dst);
	}
	run(vpfn_mem_crc(&dst, VPFN_PAGE - WORD, &dst, VPFN_PAGE, VPFN_PAGE + 1));
	run(vpfn_mem_crc(&dst, 3 * VPFN_PAGE, &dst, VPFN_PAGE + 1, VPFN_PAGE));
	check(&dst);
	check(&src);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* So long that the engine gets each command in parts. */
static void test_parts(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(CHUNKS, to, 0xa0, &dst);
	create(CHUNKS, from, 0xa1, &src);
	run(vpfn_mem_copy(&dst, 13, &src, 4097, CHUNKS - 4099));
	check(&dst);
	run(vpfn_mem_fill(&dst, WORD, CHUNKS - 2 * WORD, 0x89abcdef));
	run(vpfn_mem_crc(&dst, VPFN_PAGE, &src, CHUNKS - DRM_VPFN_CRC_LENGTH_MAX,
			 DRM_VPFN_CRC_LENGTH_MAX));
	check_by_both(&dst);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* ---- Several commands ---- */

/* What each command reads, the one before it has written. */
static void test_order(void)
{
	struct vpfn_mem vram, system;
	struct drm_vpfn_cmd cmds[8];

	create(SMALL, 0, 0x0, &vram);
	create(SMALL, 1, 0x1, &system);
	cmds[0] = vpfn_mem_fill(&vram, 0, 2 * VPFN_PAGE, 0x01020304);
	cmds[1] = vpfn_mem_copy(&system, 5, &vram, 3, VPFN_PAGE);
	cmds[2] = vpfn_mem_fill(&vram, 0, VPFN_PAGE, 0x05060708);
	cmds[3] = vpfn_mem_crc(&vram, VPFN_PAGE, &system, 1, VPFN_PAGE);
	cmds[4] = nop;
	cmds[5] = vpfn_mem_copy(&vram, 9, &vram, VPFN_PAGE - 1, 7);
	cmds[6] = vpfn_mem_copy(&system, 7, &vram, 0, 3 * VPFN_PAGE);
	cmds[7] = vpfn_mem_crc(&system, 0, &system, WORD, SMALL - WORD);
	igt_assert_eq(vpfn_run(fd, cmds, ARRAY_SIZE(cmds)), 0);
	check_by_both(&vram);
	check_by_both(&system);
	vpfn_mem_destroy(&vram);
	vpfn_mem_destroy(&system);
}

/* As many commands as there may be: a word goes from place to place, in two buffers. */
static void test_many(void)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX, sizeof(*cmds));
	struct vpfn_mem mem[2];

	igt_assert(cmds);
	create(SMALL, 0, 0x10, &mem[0]);
	create(SMALL, 1, 0x11, &mem[1]);
	cmds[0] = vpfn_mem_fill(&mem[0], 0, WORD, 0xfeedface);
	for (unsigned int i = 1; i < CMDS_MAX; i++) {
		cmds[i] = vpfn_mem_copy(&mem[i % 2], 1021 * i, &mem[(i - 1) % 2],
					1021 * (i - 1), WORD);
	}
	igt_assert_eq(vpfn_run(fd, cmds, CMDS_MAX), 0);
	igt_assert(!memcmp(mem[1].map + 1021 * (CMDS_MAX - 1), &(uint32_t) { 0xfeedface }, WORD));
	check_by_both(&mem[0]);
	check_by_both(&mem[1]);
	vpfn_mem_destroy(&mem[0]);
	vpfn_mem_destroy(&mem[1]);
	free(cmds);
}

/* Many buffers in one job, and each of them several times. */
static void test_many_buffers(void)
{
	struct vpfn_mem mem[64];
	struct drm_vpfn_cmd cmds[3 * ARRAY_SIZE(mem)];

	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++)
		create(VPFN_PAGE, i % 2, i, &mem[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(cmds); i++) {
		cmds[i] = vpfn_mem_copy(&mem[(i + 1) % ARRAY_SIZE(mem)], 11 * i % 1000,
					&mem[i % ARRAY_SIZE(mem)], 1, 3000);
	}
	igt_assert_eq(vpfn_run(fd, cmds, ARRAY_SIZE(cmds)), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		check(&mem[i]);
		vpfn_mem_destroy(&mem[i]);
	}
}

/* Each part of the result is one checksum of the next job. */
static void test_large(void)
{
	unsigned int count = LARGE / DRM_VPFN_CRC_LENGTH_MAX;
	uint64_t part = DRM_VPFN_CRC_LENGTH_MAX;
	struct drm_vpfn_cmd cmds[LARGE / DRM_VPFN_CRC_LENGTH_MAX];
	struct vpfn_bo src, dst, result;
	uint32_t *words, *sums, expected;

	igt_assert_eq(vpfn_bo_create(fd, LARGE, &src), 0);
	igt_assert_eq(vpfn_bo_create(fd, LARGE, &dst), 0);
	igt_assert_eq(vpfn_bo_create_in(fd, VPFN_PAGE, SYSTEM, 0, &result), 0);
	igt_assert_eq(vpfn_bo_map(fd, &result, (void **)&sums), 0);

	cmds[0] = vpfn_cmd_fill(&src, 0, LARGE, 0x76543210);
	cmds[1] = vpfn_cmd_copy(&dst, 1, &src, 0, LARGE - 1);
	igt_assert_eq(vpfn_run(fd, cmds, 2), 0);
	for (unsigned int i = 0; i < count; i++)
		cmds[i] = vpfn_cmd_crc(&result, i * WORD, &dst, i * part, part);
	igt_assert_eq(vpfn_run(fd, cmds, count), 0);

	/* Moved up by a byte, and what comes first is the zero of a new buffer. */
	words = malloc(part);
	igt_assert(words);
	for (unsigned int i = 0; i < part / WORD; i++)
		words[i] = 0x54321076;
	expected = vpfn_crc32c(words, part);
	for (unsigned int i = 1; i < count; i++)
		igt_assert_eq_u64(sums[i], expected);
	words[0] = 0x54321000;
	igt_assert_eq_u64(sums[0], vpfn_crc32c(words, part));

	free(words);
	munmap(sums, result.size);
	vpfn_bo_close(fd, &result);
	vpfn_bo_close(fd, &dst);
	vpfn_bo_close(fd, &src);
}

/* ---- Scattered system memory ---- */

#define FAIL_PAGES	"/sys/kernel/debug/fail_page_alloc/"
#define SCATTERED	(64 * VPFN_PAGE)
#define EXTENTS		32
#define HOLES		256

static void set_fault(const char *name, const char *value)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), FAIL_PAGES "%s", name);
	err = vpfn_text_write(path, value);
	igt_require_f(err != -ENOENT, "no %s: the kernel lacks CONFIG_FAIL_PAGE_ALLOC\n", path);
	igt_assert_eq(err, 0);
}

static void stop_faults(int sig)
{
	(void)sig;
	vpfn_text_write(FAIL_PAGES "probability", "0");
}

/* From here on this task gets its kernel memory page by page. */
static void only_single_pages(bool on)
{
	set_fault("task-filter", "Y");
	set_fault("ignore-gfp-wait", "N");
	set_fault("ignore-gfp-highmem", "N");
	set_fault("min-order", "1");
	set_fault("times", "-1");
	set_fault("verbose", "0");
	set_fault("probability", on ? "100" : "0");
	igt_assert_eq(vpfn_text_write("/proc/self/make-it-fail", on ? "1" : "0"), 0);
}

static unsigned int count_extents(const struct vpfn_mem *mem)
{
	unsigned int count = 0;
	uint64_t next = 0;

	for (uint64_t at = 0; at < mem->bo.size; at += VPFN_PAGE) {
		struct vpfn_leaf leaf;

		vpfn_load(mem->map + at);
		igt_assert_eq(vpfn_leaf_from_driver(fd, mem->map + at, &leaf), 0);
		igt_assert_eq(leaf.level, VPFN_PTE);
		count += leaf.pfn != next;
		next = leaf.pfn + 1;
	}
	return count;
}

/* Many buffers of a page are made; each second one goes, and leaves a hole. */
static void create_scattered(struct vpfn_mem *mem, uint64_t seed)
{
	static struct vpfn_mem pages[HOLES];
	unsigned int extents;

	for (unsigned int i = 0; i < HOLES; i++)
		create(VPFN_PAGE, 1, i, &pages[i]);
	for (unsigned int i = 0; i < HOLES; i += 2)
		vpfn_mem_destroy(&pages[i]);

	only_single_pages(true);
	igt_assert_eq(vpfn_mem_create(fd, SCATTERED, SYSTEM, seed, mem), 0);
	only_single_pages(false);

	for (unsigned int i = 1; i < HOLES; i += 2)
		vpfn_mem_destroy(&pages[i]);
	extents = count_extents(mem);
	igt_info("%llu pages in %u pieces\n", SCATTERED / VPFN_PAGE, extents);
	igt_assert_lte(EXTENTS, extents);
}

static void test_scattered(void)
{
	struct vpfn_mem first, second, vram;
	cpu_set_t all, cpu;

	/* Freed pages are nearest to the processor that freed them. */
	igt_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	igt_assert_eq(sched_setaffinity(0, sizeof(cpu), &cpu), 0);
	igt_assert_eq(vpfn_limit_set(VPFN_PTE), 0);
	igt_install_exit_handler(stop_faults);

	create_scattered(&first, 0x5c);
	create_scattered(&second, 0x5d);
	create(SCATTERED, 0, 0x5e, &vram);

	run(vpfn_mem_copy(&second, 5, &first, 4093, SCATTERED - 4096));
	check_by_both(&second);
	run(vpfn_mem_copy(&vram, 4091, &second, 1, SCATTERED - 4096));
	check_by_both(&vram);
	run(vpfn_mem_copy(&first, 7, &vram, 4095, SCATTERED - 4099));
	check_by_both(&first);
	run(vpfn_mem_fill(&first, WORD, SCATTERED - 2 * WORD, 0x31415926));
	run(vpfn_mem_crc(&first, SCATTERED - WORD, &second, 3, SCATTERED - 5));
	check_by_both(&first);
	check(&second);
	vpfn_mem_destroy(&vram);
	vpfn_mem_destroy(&second);
	vpfn_mem_destroy(&first);
	vpfn_limit_restore();
	igt_assert_eq(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* What was moved out of device memory is back when the engine needs it. */
static void test_evicted(void)
{
	struct vpfn_mem mem;
	uint32_t placement;

	create(SMALL, 0, 0xe0, &mem);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_bo_placement(fd, &mem.bo, &placement), 0);
	igt_assert_eq(placement, SYSTEM);

	run(vpfn_mem_copy(&mem, VPFN_PAGE, &mem, 17, 2049));
	igt_assert_eq(vpfn_bo_placement(fd, &mem.bo, &placement), 0);
	igt_assert_eq(placement, VRAM);
	check_by_both(&mem);
	vpfn_mem_destroy(&mem);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct box *box);
} bad_tests[] = {
	{ "bad-op", "An unknown operation is refused.", test_bad_op },
	{ "bad-unused", "What an operation does not use must be zero.", test_bad_unused },
	{ "bad-buffer", "An unknown, foreign or closed handle is refused.",
	  test_bad_buffer },
	{ "bad-range", "Each operand must lie within its buffer, in 64 bits.", test_bad_range },
	{ "bad-length", "No operation on nothing, no checksum of too much.", test_bad_length },
	{ "bad-alignment", "Patterns and checksums go to multiples of 4.", test_bad_alignment },
	{ "bad-overlap", "Source and destination of one command are apart.", test_bad_overlap },
	{ "bad-flags", "Each unknown flag is refused.", test_bad_flags },
	{ "bad-count", "At least one command, and no more commands and syncs than allowed.",
	  test_bad_count },
	{ "bad-pointer", "Arrays that cannot be read, or not to their end.", test_bad_pointer },
	{ "bad-sync-in", "A sync to wait for must exist and have a fence.", test_bad_sync_in },
	{ "bad-sync-out", "A sync to signal must exist.", test_bad_sync_out },
	{ "bad-wait", "Waiting for a buffer refuses what it does not know.", test_bad_wait },
	{ "too-long", "A job that no ring can hold is refused.", test_too_long },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "no-room", "Two buffers that do not fit into the device memory together.",
	  test_no_room },
	{ "leak", "What is refused keeps no memory, no buffer and no file.", test_leak },
	{ "order", "The commands of a job run one after the other.", test_order },
	{ "many-commands", "As many commands as a job may have.", test_many },
	{ "many-buffers", "A job with many buffers in both placements.", test_many_buffers },
	{ "large", "Commands on large buffers.", test_large },
	{ "scattered", "System memory of which hardly two pages are neighbours.",
	  test_scattered },
	{ "evicted", "Buffers that were evicted come back for a job.", test_evicted },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(unsigned int placement);
} placement_tests[] = {
	{ "fill", "Fill parts of a buffer.", test_fill },
	{ "copy-within", "Copy within one buffer.", test_copy_within },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(unsigned int to, unsigned int from);
} pair_tests[] = {
	{ "copy", "Copy from any byte to any byte.", test_copy },
	{ "crc", "Checksums of any range, put beside each other.", test_crc },
	{ "parts", "Commands that are longer than what the engine takes at once.", test_parts },
};

static void run_in_box(void (*test)(struct box *box))
{
	struct box box;

	box_open(&box);
	test(&box);
	box_close(&box);
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(bad_tests); i++) {
		igt_describe(bad_tests[i].describe);
		igt_subtest(bad_tests[i].name)
			run_in_box(bad_tests[i].run);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(placement_tests); i++) {
		igt_describe(placement_tests[i].describe);
		igt_subtest_with_dynamic(placement_tests[i].name) {
			for (unsigned int p = 0; p < ARRAY_SIZE(placements); p++) {
				igt_dynamic(placements[p].name)
					placement_tests[i].run(p);
			}
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(pair_tests); i++) {
		igt_describe(pair_tests[i].describe);
		igt_subtest_with_dynamic(pair_tests[i].name) {
			for (unsigned int pair = 0; pair < PAIRS; pair++) {
				igt_dynamic(pair_name(pair))
					pair_tests[i].run(TO(pair), FROM(pair));
			}
		}
	}
}
