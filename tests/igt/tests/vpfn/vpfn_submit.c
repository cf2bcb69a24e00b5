// SPDX-License-Identifier: MIT
/*
 * Which submissions are refused? A refused one has no effect, and works once it is repaired.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_attempt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Submissions that vpfn refuses.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
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

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

/* Commands */

static void judge(struct vpfn_box *box, struct drm_vpfn_cmd bad, int expected,
		  struct drm_vpfn_cmd good, const char *why)
{
	struct vpfn_attempt attempt;

	vpfn_attempt_init(&attempt, box, bad);
	vpfn_assert_refused(box, &attempt, expected, why);
	vpfn_attempt_init(&attempt, box, good);
	vpfn_assert_accepted(box, &attempt, why);
}

/* Good commands, each of which a test spoils. They leave the mark alone. */
static struct drm_vpfn_cmd good_fill(const struct vpfn_box *box)
{
	return vpfn_cmd_fill(&box->dst.bo, 128, 64, 0x11);
}

static struct drm_vpfn_cmd good_copy(const struct vpfn_box *box)
{
	return vpfn_cmd_copy(&box->dst.bo, 129, &box->src.bo, 3, 65);
}

static struct drm_vpfn_cmd good_crc(const struct vpfn_box *box)
{
	return vpfn_cmd_crc(&box->dst.bo, 128, &box->src.bo, 3, 65);
}

static void test_bad_op(struct vpfn_box *box)
{
	judge(box, BUT(nop, op, DRM_VPFN_CMD_CRC32C + 1), -EINVAL, nop, "the next operation");
	judge(box, BUT(nop, op, UINT32_MAX), -EINVAL, nop, "the last operation");
	judge(box, BUT(nop, op, 1u << 8), -EINVAL, nop, "an operation of more than 8 bits");
	judge(box, BUT(good_copy(box), op, 1 << 16 | DRM_VPFN_CMD_COPY), -EINVAL, good_copy(box),
	      "an operation with a flag");
}

static void test_bad_unused(struct vpfn_box *box)
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

/* A handle of another file, which is none of this one. */
static uint32_t foreign_handle(const struct vpfn_box *box, int other)
{
	struct drm_vpfn_gem_info info = {};
	struct vpfn_bo bo;

	for (int i = 0; i < 8; i++)
		igt_assert_eq(vpfn_bo_create(other, PFNMAP_PAGE, &bo), 0);
	info.handle = bo.handle;
	igt_assert_eq(vpfn_ioctl(box->file, DRM_IOCTL_VPFN_GEM_INFO, &info), -ENOENT);
	return bo.handle;
}

static void test_bad_buffer(struct vpfn_box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	int other = vpfn_open(O_RDWR);
	uint32_t bad[] = { 0, BAD_HANDLE, foreign_handle(box, other), 0 };
	struct vpfn_bo past;

	igt_assert_eq(vpfn_bo_create(box->file, VPFN_BOX, &past), 0);
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

/* Each ends beyond the buffer; some wrap in 32 or 64 bits. */
static const struct {
	uint64_t offset, length;
} bad_ranges[] = {
	{ VPFN_BOX, WORD },
	{ VPFN_BOX - WORD, 2 * WORD },
	{ VPFN_BOX + WORD, WORD },
	{ 0, VPFN_BOX + WORD },
	{ 1ull << 32, WORD },
	{ 0, 1ull << 32 },
	{ VPFN_MARK_LEN, (1ull << 32) + WORD },
	{ (1ull << 32) + VPFN_MARK_LEN, WORD },
	{ 1ull << 63, 1ull << 63 },
	{ -WORD, WORD },
	{ -WORD, 2 * WORD },
	{ VPFN_MARK_LEN, -(uint64_t)VPFN_MARK_LEN },
	{ VPFN_MARK_LEN, -(uint64_t)VPFN_MARK_LEN + WORD },
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

static void test_bad_range(struct vpfn_box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	uint64_t last = VPFN_BOX - WORD;

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

	judge(box, BUT(crc, dst_offset, VPFN_BOX), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put behind the buffer");
	judge(box, BUT(crc, dst_offset, -WORD), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put at the end of all");
	judge(box, BUT(crc, dst_offset, 1ull << 32), -EINVAL, BUT(crc, dst_offset, last),
	      "a checksum put 4 GiB further");
	judge(box, with_src(copy, VPFN_BOX - 1, 2), -EINVAL, with_src(copy, VPFN_BOX - 1, 1),
	      "a copy of a byte too much");
	judge(box, with_dst(copy, VPFN_BOX - 1, 2), -EINVAL, with_dst(copy, VPFN_BOX - 1, 1),
	      "a copy to a byte too much");
	judge(box, with_src(crc, VPFN_BOX - 1, 2), -EINVAL, with_src(crc, VPFN_BOX - 1, 1),
	      "a checksum of a byte too much");
}

static void test_bad_length(struct vpfn_box *box)
{
	struct drm_vpfn_cmd fill = good_fill(box), copy = good_copy(box), crc = good_crc(box);
	uint64_t max = DRM_VPFN_CRC_LENGTH_MAX;
	struct vpfn_bo large;

	judge(box, BUT(fill, length, 0), -EINVAL, fill, "a fill of nothing");
	judge(box, BUT(copy, length, 0), -EINVAL, copy, "a copy of nothing");
	judge(box, BUT(crc, length, 0), -EINVAL, crc, "a checksum of nothing");

	igt_assert_eq(vpfn_bo_create(box->file, max + PFNMAP_PAGE, &large), 0);
	crc.src_handle = large.handle;
	judge(box, with_src(crc, 0, max + 1), -EINVAL, with_src(crc, PFNMAP_PAGE, max),
	      "a checksum of a byte more than the limit");
	judge(box, with_src(crc, 0, max + PFNMAP_PAGE), -EINVAL, with_src(crc, 0, max),
	      "a checksum of a page more than the limit");
	vpfn_bo_close(box->file, &large);
}

static void test_bad_alignment(struct vpfn_box *box)
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

static void test_bad_overlap(struct vpfn_box *box)
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

/* Arguments of the ioctls */

static void test_bad_flags(struct vpfn_box *box)
{
	struct vpfn_attempt attempt;

	for (unsigned int bit = 0; bit < 32; bit++) {
		vpfn_attempt_init(&attempt, box, nop);
		attempt.submit.flags = 1u << bit;
		vpfn_assert_refused(box, &attempt, -EINVAL, "an unknown flag");
	}
	attempt.submit.flags = 0;
	vpfn_assert_accepted(box, &attempt, "an unknown flag");
}

/* Commands and syncs of which there are more than enough. */
static void test_bad_count(struct vpfn_box *box)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX + 1, sizeof(*cmds));
	struct drm_vpfn_sync *syncs = calloc(SYNCS_MAX + 1, sizeof(*syncs));
	struct vpfn_attempt attempt;

	igt_assert(cmds && syncs);
	cmds[0] = vpfn_cmd_fill(&box->dst.bo, 0, VPFN_MARK_LEN, VPFN_MARK);
	for (unsigned int i = 0; i <= SYNCS_MAX; i++) {
		igt_assert_eq(drmSyncobjCreate(box->file, DRM_SYNCOBJ_CREATE_SIGNALED,
					       &syncs[i].handle), 0);
	}

	vpfn_attempt_init(&attempt, box, nop);
	attempt.submit.num_cmds = 0;
	vpfn_assert_refused(box, &attempt, -EINVAL, "no command");
	attempt.submit.cmds = 0;
	vpfn_assert_refused(box, &attempt, -EINVAL, "no command and no pointer");

	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX + 1;
	vpfn_assert_refused(box, &attempt, -E2BIG, "a command too many");
	attempt.submit.num_cmds = UINT32_MAX;
	vpfn_assert_refused(box, &attempt, -E2BIG, "the most commands");
	attempt.submit.num_cmds = CMDS_MAX;
	vpfn_assert_accepted(box, &attempt, "a command too many");

	attempt.submit.in_syncs = (uintptr_t)syncs;
	attempt.submit.num_in_syncs = SYNCS_MAX + 1;
	vpfn_assert_refused(box, &attempt, -E2BIG, "a sync too many to wait for");
	attempt.submit.num_in_syncs = UINT32_MAX;
	vpfn_assert_refused(box, &attempt, -E2BIG, "the most syncs to wait for");
	attempt.submit.num_in_syncs = SYNCS_MAX;
	vpfn_assert_accepted(box, &attempt, "a sync too many to wait for");

	attempt.submit.num_in_syncs = 0;
	syncs[0].handle = box->out;
	attempt.submit.out_syncs = (uintptr_t)syncs;
	attempt.submit.num_out_syncs = SYNCS_MAX + 1;
	vpfn_assert_refused(box, &attempt, -E2BIG, "a sync too many to signal");
	attempt.submit.num_out_syncs = UINT32_MAX;
	vpfn_assert_refused(box, &attempt, -E2BIG, "the most syncs to signal");
	attempt.submit.num_out_syncs = SYNCS_MAX;
	vpfn_assert_accepted(box, &attempt, "a sync too many to signal");
	free(cmds);
	free(syncs);
}

/* The last page before an unreadable one. */
static char *border(void)
{
	char *area = mmap(NULL, 2 * PFNMAP_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert(area != MAP_FAILED);
	igt_assert_eq(mprotect(area + PFNMAP_PAGE, PFNMAP_PAGE, PROT_NONE), 0);
	return area + PFNMAP_PAGE;
}

static void test_bad_pointer(struct vpfn_box *box)
{
	char *end = border();
	uint64_t bad[] = { 0, 8, (uintptr_t)end, 0xffffffff81000000, -8ull };
	struct vpfn_attempt attempt;
	uint64_t straddling;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		vpfn_attempt_init(&attempt, box, nop);
		attempt.submit.cmds = bad[i];
		vpfn_assert_refused(box, &attempt, -EFAULT, "a bad pointer to commands");

		vpfn_attempt_init(&attempt, box, nop);
		attempt.submit.in_syncs = bad[i];
		attempt.submit.num_in_syncs = 1;
		vpfn_assert_refused(box, &attempt, -EFAULT, "a bad pointer to syncs to wait for");

		vpfn_attempt_init(&attempt, box, nop);
		attempt.submit.out_syncs = bad[i];
		vpfn_assert_refused(box, &attempt, -EFAULT, "a bad pointer to syncs to signal");
	}

	/* The first element is there, the second is not. */
	vpfn_attempt_init(&attempt, box, nop);
	straddling = (uintptr_t)end - sizeof(attempt.cmds[0]);
	memcpy((void *)straddling, attempt.cmds, sizeof(attempt.cmds[0]));
	attempt.submit.cmds = straddling;
	vpfn_assert_refused(box, &attempt, -EFAULT, "commands up to a hole");
	attempt.submit.num_cmds = 1;
	vpfn_assert_accepted(box, &attempt, "commands up to a hole");

	vpfn_attempt_init(&attempt, box, nop);
	straddling = (uintptr_t)end - sizeof(attempt.out[0]);
	memcpy((void *)straddling, attempt.out, sizeof(attempt.out[0]));
	attempt.submit.out_syncs = straddling;
	attempt.submit.num_out_syncs = 2;
	vpfn_assert_refused(box, &attempt, -EFAULT, "syncs up to a hole");
	attempt.submit.num_out_syncs = 1;
	vpfn_assert_accepted(box, &attempt, "syncs up to a hole");
	munmap(end - PFNMAP_PAGE, 2 * PFNMAP_PAGE);
}

static void judge_in(struct vpfn_box *box, struct drm_vpfn_sync bad, int expected,
		     struct drm_vpfn_sync good, const char *why)
{
	struct vpfn_attempt attempt;

	vpfn_attempt_init(&attempt, box, nop);
	attempt.in = bad;
	attempt.submit.in_syncs = (uintptr_t)&attempt.in;
	attempt.submit.num_in_syncs = 1;
	vpfn_assert_refused(box, &attempt, expected, why);
	attempt.in = good;
	vpfn_assert_accepted(box, &attempt, why);
}

/* The first sync of two is good: it must not be signalled either. */
static void judge_out(struct vpfn_box *box, struct drm_vpfn_sync bad, int expected,
		      struct drm_vpfn_sync good, const char *why)
{
	struct vpfn_attempt attempt;

	vpfn_attempt_init(&attempt, box, nop);
	attempt.out[1] = bad;
	attempt.submit.num_out_syncs = 2;
	vpfn_assert_refused(box, &attempt, expected, why);
	attempt.out[1] = good;
	vpfn_assert_accepted(box, &attempt, why);
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

static void test_bad_sync_in(struct vpfn_box *box)
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

static void test_bad_sync_out(struct vpfn_box *box)
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

static void test_bad_wait(struct vpfn_box *box)
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

/* Too much */

/* Each of the commands is good, but they are more than any ring holds. */
static void test_too_long(struct vpfn_box *box)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX, sizeof(*cmds));
	struct vpfn_attempt attempt;
	struct vpfn_bo large;

	igt_assert(cmds);
	igt_assert_eq(vpfn_bo_create(box->file, LARGE, &large), 0);
	cmds[0] = vpfn_cmd_fill(&box->dst.bo, 0, VPFN_MARK_LEN, VPFN_MARK);
	for (unsigned int i = 1; i < CMDS_MAX; i++)
		cmds[i] = vpfn_cmd_fill(&large, 0, LARGE, i);

	vpfn_attempt_init(&attempt, box, nop);
	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX;
	vpfn_assert_refused(box, &attempt, -E2BIG, "a job larger than the ring");

	for (unsigned int i = 1; i < CMDS_MAX; i++)
		cmds[i].length = WORD;
	vpfn_assert_accepted(box, &attempt, "a job larger than the ring");
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
	static uint32_t words[PFNMAP_PAGE / WORD];
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
	igt_assert_eq(vpfn_copy(file, &first, 0, &first, PFNMAP_2M, PFNMAP_2M), 0);
	igt_assert_eq(vpfn_fill(file, &second, 0, PFNMAP_PAGE, 0x3333), 0);
	assert_words(file, &first, 0x1111);
	close(file);
}

/* Leaks */

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

	igt_assert_eq(pfnmap_text_read("/proc/meminfo", text, sizeof(text)), 0);
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
	igt_assert_eq(pfnmap_text_read(map->path, map->text, sizeof(map->text)), 0);
	igt_assert(strlen(map->text));
}

static bool map_is_as_before(const void *arg)
{
	const struct map *before = arg;
	struct map now;

	map_read(&now);
	return !strcmp(now.text, before->text);
}

/* Refused at different stages, each as late as possible */
static void spoil(struct vpfn_attempt *attempt, struct drm_vpfn_cmd cmds[], unsigned int stage)
{
	switch (stage) {
	case 0:
		cmds[CMDS_MAX - 1].op = UINT32_MAX;
		break;
	case 1:
		cmds[CMDS_MAX - 1].dst_handle = BAD_HANDLE;
		break;
	case 2:
		cmds[CMDS_MAX - 1].dst_offset = VPFN_BOX;
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

static void refuse_often(struct vpfn_box *box, unsigned int stage)
{
	static struct drm_vpfn_cmd cmds[CMDS_MAX];
	struct vpfn_attempt attempt;
	long kib;

	for (unsigned int i = 0; i < CMDS_MAX; i++)
		cmds[i] = vpfn_cmd_fill(&box->dst.bo, 0, WORD, VPFN_MARK);
	vpfn_attempt_init(&attempt, box, nop);
	attempt.submit.cmds = (uintptr_t)cmds;
	attempt.submit.num_cmds = CMDS_MAX;
	attempt.submit.in_syncs = (uintptr_t)&attempt.in;
	spoil(&attempt, cmds, stage);

	/* The first rounds fill the caches of the allocators. */
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
	struct vpfn_box box;

	map_read(&before);
	files = open_files();
	vpfn_box_open(&box);
	igt_assert(!map_is_as_before(&before));

	for (unsigned int stage = 0; stage <= 5; stage++)
		refuse_often(&box, stage);
	vpfn_assert_nothing_ran(&box, "a submission refused often");

	/* A leaked reference would keep a buffer in the map. */
	vpfn_box_close(&box);
	igt_assert_eq(pfnmap_wait_until(map_is_as_before, &before), 0);
	igt_assert_eq(open_files(), files);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(struct vpfn_box *box);
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
};

static void run_in_box(void (*test)(struct vpfn_box *box))
{
	struct vpfn_box box;

	vpfn_box_open(&box);
	test(&box);
	vpfn_box_close(&box);
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
}
