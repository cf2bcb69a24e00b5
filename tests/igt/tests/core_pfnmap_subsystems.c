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
	{ .matrix = "core_pfnmap_subsystems", .families = pfnmap_command_families,
	  .count = &pfnmap_command_family_count, .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", .families = pfnmap_fuse_families,
	  .count = &pfnmap_fuse_family_count, .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", .families = pfnmap_net_families,
	  .count = &pfnmap_net_family_count, .of_machine = true },
	{ .matrix = "core_pfnmap_subsystems", .families = pfnmap_trace_families,
	  .count = &pfnmap_trace_family_count, .of_machine = true },
};

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
