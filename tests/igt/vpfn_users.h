/* SPDX-License-Identifier: MIT */
/*
 * All users of the memory of a process that the tests know, by family.
 */
#ifndef VPFN_USERS_H
#define VPFN_USERS_H

#include "vpfn_target.h"

/* Those who want the pages: get_user_pages() and who calls it. */
extern const struct vpfn_user_family vpfn_gup_families[];
extern const size_t vpfn_gup_family_count;

/* Those to whom the page matters, and not its bytes alone. */
extern const struct vpfn_user_family vpfn_page_families[];
extern const size_t vpfn_page_family_count;

/* Calls that change a mapping, or want to; those that only look at one. */
extern const struct vpfn_user_family vpfn_mm_families[];
extern const size_t vpfn_mm_family_count;

extern const struct vpfn_user_family vpfn_look_families[];
extern const size_t vpfn_look_family_count;

#endif
