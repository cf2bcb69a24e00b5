/* SPDX-License-Identifier: MIT */
/*
 * What our tests use of IGT's lib/igt_kmod.h; see igt.h beside it.
 */
#ifndef VPFN_STANDALONE_IGT_KMOD_H
#define VPFN_STANDALONE_IGT_KMOD_H

void igt_kunit(const char *module_name, const char *name, const char *opts);

#endif
