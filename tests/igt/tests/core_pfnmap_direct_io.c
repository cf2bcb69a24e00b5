// SPDX-License-Identifier: MIT
/*
 * Reads and writes of a file on a disk refuse memory that is mapped by pfn if they want its pages,
 * from whichever driver it is, and work if they copy.
 */
#include <stdio.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("Direct and buffered I/O on mappings of any driver.");

static struct pfnmap_disk disk;

static const struct pfnmap_group groups[] = {
	{ .matrix = "core_pfnmap_direct_io", .families = pfnmap_ext4_families,
	  .count = &pfnmap_ext4_family_count, .of_pages = true, .of_machine = true },
};

static void remove_disk(int sig)
{
	(void)sig;
	pfnmap_disk_remove(&disk);
}

static void make_disk(void)
{
	char path[96];

	igt_install_exit_handler(remove_disk);
	igt_require_f(!pfnmap_disk_create(&disk) && !pfnmap_disk_mount(&disk, "ext4"),
		      "no disk (CONFIG_BLK_DEV_NULL_BLK, CONFIG_EXT4_FS, mkfs.ext4)\n");
	snprintf(path, sizeof(path), "%s/file", disk.mount);
	igt_assert_eq(pfnmap_io_set_file(path), 0);
}

int igt_main_args("", pfnmap_matrix_options, pfnmap_matrix_help, pfnmap_matrix_option, NULL)
{
	igt_fixture() {
		if (pfnmap_whole_machine())
			make_disk();
	}

	pfnmap_matrix_subtests(groups, ARRAY_SIZE(groups));
}
