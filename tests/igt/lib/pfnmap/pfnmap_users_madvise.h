/* SPDX-License-Identifier: MIT */
/*
 * Users of user memory: madvise() and process_madvise(). They are two families of
 * pfnmap_mm_families.
 */
#ifndef PFNMAP_USERS_MADVISE_H
#define PFNMAP_USERS_MADVISE_H

#include "pfnmap/pfnmap_target.h"

extern const struct pfnmap_user pfnmap_madvise_users[25];
extern const struct pfnmap_user pfnmap_process_madvise_users[10];

#endif
