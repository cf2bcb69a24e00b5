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
	{ .matrix = "core_pfnmap_mm, pages as such", .families = pfnmap_page_families,
	  .count = &pfnmap_page_family_count },
	{ .matrix = "core_pfnmap_mm, memory failure", .families = pfnmap_failure_families,
	  .count = &pfnmap_failure_family_count, .of_machine = true },
	{ .matrix = "core_pfnmap_mm", .families = pfnmap_mm_families,
	  .count = &pfnmap_mm_family_count },
	{ .matrix = "core_pfnmap_mm, looks", .families = pfnmap_look_families,
	  .count = &pfnmap_look_family_count },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
