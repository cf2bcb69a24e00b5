// SPDX-License-Identifier: MIT
/*
 * Devices of V4L2 refuse memory that is mapped by pfn, from whichever driver it is.
 */
#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("USERPTR of V4L2 on mappings of any driver.");

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_video", PFNMAP_FAMILIES(video),
	  .of_pages = true, .of_machine = true },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
