/* SPDX-License-Identifier: MIT */
/*
 * Is a submission refused without an effect, and accepted once it is repaired? These helpers are
 * IGT's: they assert and skip.
 */
#ifndef VPFN_ATTEMPT_H
#define VPFN_ATTEMPT_H

#include <stdint.h>

#include "vpfn/vpfn_mem.h"

#define VPFN_BOX	(4 * PFNMAP_PAGE)
#define VPFN_MARK	0x4b52414d
#define VPFN_MARK_LEN	64

/* A client with all that a bad submission could reach */
struct vpfn_box {
	int file;
	struct vpfn_mem src, dst;	/* of VPFN_BOX bytes */
	uint32_t out;			/* a syncobj without a fence */
};

/* A submission: a command that leaves a mark at the beginning of @dst, and another one */
struct vpfn_attempt {
	struct drm_vpfn_cmd cmds[2];
	struct drm_vpfn_sync in, out[2];
	struct drm_vpfn_submit submit;
};

void vpfn_box_open(struct vpfn_box *box);
void vpfn_box_close(struct vpfn_box *box);

void vpfn_attempt_init(struct vpfn_attempt *attempt, const struct vpfn_box *box,
		       struct drm_vpfn_cmd cmd);
void vpfn_assert_nothing_ran(const struct vpfn_box *box, const char *why);
void vpfn_assert_refused(const struct vpfn_box *box, struct vpfn_attempt *attempt, int expected,
			 const char *why);
void vpfn_assert_accepted(struct vpfn_box *box, struct vpfn_attempt *attempt, const char *why);

#endif
