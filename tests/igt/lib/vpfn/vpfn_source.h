/* SPDX-License-Identifier: MIT */
/*
 * Which mappings does vpfn give, and which do drivers give to which it lends a card or a buffer?
 * They are sources of the matrix of lib/pfnmap/. These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_SOURCE_H
#define VPFN_SOURCE_H

#include <stdbool.h>

#include "pfnmap/pfnmap_source.h"
#include "vpfn/vpfn_view.h"

void vpfn_places_add(int fd);
void vpfn_lent_add(int fd);

/* Of a place */
const struct vpfn_view *vpfn_view_of(const struct pfnmap_source *source);
bool vpfn_is_system(const struct pfnmap_source *source);

#endif
