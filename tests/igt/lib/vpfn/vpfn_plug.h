/* SPDX-License-Identifier: MIT */
/*
 * How do the cards come back that a test takes away? These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_PLUG_H
#define VPFN_PLUG_H

#include <stdbool.h>
#include <stddef.h>

#include "vpfn/vpfn_card.h"

/* PCI addresses; the second is "" if there is one card. */
extern char vpfn_big_name[VPFN_PCI_NAME], vpfn_small_name[VPFN_PCI_NAME];

void vpfn_plug_init(void);
void vpfn_require_small_card(void);
void vpfn_plug_small(void);
void vpfn_bring_back(void);
void vpfn_check_works(const char *name);

struct vpfn_plug_test {
	const char *name;
	const char *describe;
	void (*run)(void);
};

/* A subtest for each; with @small they need the small card. */
void vpfn_plug_subtests(const struct vpfn_plug_test tests[], size_t count, bool small);

#endif
