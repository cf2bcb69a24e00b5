// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory in other subsystems: commands to disks, file systems of other machines
 * and processes, sockets, vhost and perf. Each that needs pages refuses a mapping.
 */
#include <unistd.h>

#include "igt.h"
#include "vpfn_stage.h"
#include "vpfn_users.h"

IGT_TEST_DESCRIPTION("What consumers in other subsystems return for a mapping.");

#define MATRIX	"vpfn_subsystems"

static int fd = -1;
static struct vpfn_stage stage;

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	vpfn_families_subtests(MATRIX, &stage, &fd, vpfn_command_families,
			       vpfn_command_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, vpfn_fuse_families, vpfn_fuse_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, vpfn_net_families, vpfn_net_family_count);
	vpfn_families_subtests(MATRIX, &stage, &fd, vpfn_trace_families, vpfn_trace_family_count);

	igt_fixture() {
		close(fd);
	}
}
