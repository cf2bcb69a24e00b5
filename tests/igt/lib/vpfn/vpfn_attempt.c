// SPDX-License-Identifier: MIT
/*
 * Is a submission refused without an effect, and accepted once it is repaired?
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_attempt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"

#define WORD	sizeof(uint32_t)

static const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

/**
 * vpfn_box_open:
 * @box: the client
 */
void vpfn_box_open(struct vpfn_box *box)
{
	box->file = vpfn_open(O_RDWR);
	igt_assert_lte(0, box->file);
	igt_assert_eq(vpfn_mem_create(box->file, VPFN_BOX, DRM_VPFN_PLACEMENT_SYSTEM, 0xb0,
				      &box->src), 0);
	igt_assert_eq(vpfn_mem_create(box->file, VPFN_BOX, DRM_VPFN_PLACEMENT_VRAM, 0xb1,
				      &box->dst), 0);
	igt_assert_eq(drmSyncobjCreate(box->file, 0, &box->out), 0);
}

/**
 * vpfn_box_close:
 * @box: the client
 */
void vpfn_box_close(struct vpfn_box *box)
{
	vpfn_mem_destroy(&box->src);
	vpfn_mem_destroy(&box->dst);
	close(box->file);
}

/**
 * vpfn_attempt_init:
 * @attempt: the submission
 * @box: the client
 * @cmd: its second command
 */
void vpfn_attempt_init(struct vpfn_attempt *attempt, const struct vpfn_box *box,
		       struct drm_vpfn_cmd cmd)
{
	*attempt = (struct vpfn_attempt) {
		.cmds = { vpfn_cmd_fill(&box->dst.bo, 0, VPFN_MARK_LEN, VPFN_MARK), cmd },
		.out = { { .handle = box->out } },
		.submit = {
			.cmds = (uintptr_t)attempt->cmds,
			.num_cmds = 2,
			.out_syncs = (uintptr_t)attempt->out,
			.num_out_syncs = 1,
		},
	};
}

/**
 * vpfn_assert_nothing_ran:
 * @box: the client
 * @why: what was wrong with the last submission
 *
 * A later job of the file has run, and neither buffers nor syncobj have changed.
 */
void vpfn_assert_nothing_ran(const struct vpfn_box *box, const char *why)
{
	uint32_t out = box->out;

	igt_assert_eq(vpfn_run(box->file, &nop, 1), 0);
	igt_assert_f(drmSyncobjWait(box->file, &out, 1, 0, 0, NULL) == -EINVAL,
		     "%s: refused, but its syncobj has got a fence\n", why);
	igt_assert_f(vpfn_mem_check(&box->dst) == VPFN_BOX, "%s: refused, but it has run\n", why);
	igt_assert_f(vpfn_mem_check(&box->src) == VPFN_BOX, "%s: refused, but it has run\n", why);
	igt_assert_eq(vpfn_bo_wait(box->file, &box->dst.bo, 0, 0), 0);
	igt_assert_eq(vpfn_bo_wait(box->file, &box->src.bo, 0, 0), 0);
}

/**
 * vpfn_assert_refused:
 * @box: the client
 * @attempt: the submission
 * @expected: the errno
 * @why: what is wrong with it
 */
void vpfn_assert_refused(const struct vpfn_box *box, struct vpfn_attempt *attempt, int expected,
			 const char *why)
{
	int err = vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt->submit);

	igt_assert_f(err == expected, "%s: the answer is %d, not %d\n", why, err, expected);
	vpfn_assert_nothing_ran(box, why);
}

static bool is_marked(const struct vpfn_box *box)
{
	for (unsigned int at = 0; at < VPFN_MARK_LEN; at += WORD) {
		if (memcmp(box->dst.map + at, &(uint32_t) { VPFN_MARK }, WORD))
			return false;
	}
	return true;
}

/**
 * vpfn_assert_accepted:
 * @box: the client
 * @attempt: the repaired submission
 * @why: what was wrong with it
 *
 * Asserts that it runs; the buffers and the syncobj are as before.
 */
void vpfn_assert_accepted(struct vpfn_box *box, struct vpfn_attempt *attempt, const char *why)
{
	int err = vpfn_ioctl(box->file, DRM_IOCTL_VPFN_SUBMIT, &attempt->submit);

	igt_assert_f(!err, "what is right instead of %s: the answer is %d\n", why, err);
	igt_assert_eq(vpfn_sync_status(box->file, box->out, VPFN_LONG_NS), 0);
	igt_assert_f(is_marked(box), "what is right instead of %s has not run\n", why);
	vpfn_mem_refill(&box->src, 0xb0);
	vpfn_mem_refill(&box->dst, 0xb1);
	igt_assert_eq(drmSyncobjReset(box->file, &box->out, 1), 0);
}
