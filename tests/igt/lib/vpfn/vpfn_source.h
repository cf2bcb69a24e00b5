/* SPDX-License-Identifier: MIT */
/*
 * Which mappings does vpfn give, and which do those give to whom it lends a card or a buffer?
 *
 * No function here knows IGT.
 */
#ifndef VPFN_SOURCE_H
#define VPFN_SOURCE_H

#include <stddef.h>

#include "pfnmap/pfnmap_source.h"

extern const struct pfnmap_source_kind vpfn_source_kinds[];
extern const size_t vpfn_source_kind_count;

#endif
