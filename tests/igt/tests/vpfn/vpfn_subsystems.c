// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory in other subsystems: commands to disks, file systems of other machines
 * and processes, sockets, vhost and perf. Each that needs pages refuses a mapping.
 */
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_stage.h"

IGT_TEST_DESCRIPTION("What consumers in other subsystems return for a mapping.");

#define MATRIX	"vpfn_subsystems"

static int fd = -1;
static struct vpfn_stage stage;

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	vpfn_families_subtests(MATRIX, &stage, &fd, pfnmap_command_families,
			       pfnmap_command_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, pfnmap_fuse_families, pfnmap_fuse_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, pfnmap_net_families, pfnmap_net_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, pfnmap_trace_families,
			       pfnmap_trace_family_count);

	igt_fixture() {
		close(fd);
	}
}
