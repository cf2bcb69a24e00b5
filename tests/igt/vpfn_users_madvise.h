/* SPDX-License-Identifier: MIT */
/*
 * Users of user memory: madvise() and process_madvise(). They are two families of vpfn_mm_families.
 */
#ifndef VPFN_USERS_MADVISE_H
#define VPFN_USERS_MADVISE_H

#include "vpfn_target.h"

extern const struct vpfn_user vpfn_madvise_users[25];
extern const struct vpfn_user vpfn_process_madvise_users[10];

#endif
