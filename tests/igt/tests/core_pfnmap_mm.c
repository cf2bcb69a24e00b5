// SPDX-License-Identifier: MIT
/*
 * Calls of mm on memory that is mapped by pfn: those for which the page matters, those that
 * change a mapping, those that look at one.
 */
#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("Calls of mm on mappings of any driver.");

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_mm, pages as such", PFNMAP_FAMILIES(page) },
	{ .matrix = "core_pfnmap_mm, memory failure", PFNMAP_FAMILIES(failure),
	  .of_machine = true },
	{ .matrix = "core_pfnmap_mm", PFNMAP_FAMILIES(mm) },
	{ .matrix = "core_pfnmap_mm, looks", PFNMAP_FAMILIES(look) },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
