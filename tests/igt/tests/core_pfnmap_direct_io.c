// SPDX-License-Identifier: MIT
/*
 * Reads and writes of a file on a disk refuse memory that is mapped by pfn if they want its pages,
 * from whichever driver it is, and work if they copy.
 */
#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("Direct and buffered I/O on mappings of any driver.");

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_direct_io", PFNMAP_FAMILIES(ext4),
	  .of_pages = true, .of_machine = true },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	igt_fixture() {
		if (pfnmap_whole_machine())
			pfnmap_matrix_use_ext4();
	}

	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
