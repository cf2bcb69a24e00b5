// SPDX-License-Identifier: MIT
/*
 * Consumers in other subsystems on memory that is mapped by pfn: commands to disks, file systems
 * of other machines and processes, sockets, perf. What needs pages refuses, whichever the driver.
 */
#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("Consumers in other subsystems on mappings of any driver.");

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_subsystems", PFNMAP_FAMILIES(command), .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", PFNMAP_FAMILIES(fuse), .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", PFNMAP_FAMILIES(net), .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", PFNMAP_FAMILIES(trace), .of_machine = true },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
