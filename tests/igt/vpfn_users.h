/* SPDX-License-Identifier: MIT */
/*
 * All users of the memory of a process that the tests know, by family.
 */
#ifndef VPFN_USERS_H
#define VPFN_USERS_H

#include "vpfn_target.h"

/* Calls that change a mapping, or want to; those that only look at one. */
extern const struct vpfn_user_family vpfn_mm_families[];
extern const size_t vpfn_mm_family_count;

extern const struct vpfn_user_family vpfn_look_families[];
extern const size_t vpfn_look_family_count;

#endif
