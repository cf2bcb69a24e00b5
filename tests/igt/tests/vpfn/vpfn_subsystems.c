// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory in other subsystems: commands to disks, file systems of other machines
 * and processes, sockets, vhost and perf. Each that needs pages refuses a mapping.
 */
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_source.h"

IGT_TEST_DESCRIPTION("What consumers in other subsystems return for a mapping.");

#define MATRIX	"vpfn_subsystems"

static const struct pfnmap_group groups[] = {
	{ .matrix = MATRIX, PFNMAP_FAMILIES(command) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(fuse) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(net) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(trace) },
};

int igt_main()
{
	static int fd = -1;

	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
	}

	pfnmap_matrix_families(groups, ARRAY_SIZE(groups));

	igt_fixture()
		close(fd);
}
