// SPDX-License-Identifier: MIT
/*
 * Memory that is mapped by pfn has no pages to give, whichever the driver: the callers of
 * get_user_pages() refuse, and copies work.
 */
#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("get_user_pages() and its callers on mappings of any driver.");

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_gup", PFNMAP_FAMILIES(gup), .of_exports = true, .of_pages = true },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
