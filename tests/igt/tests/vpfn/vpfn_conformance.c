// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory answer on mappings of vpfn, and on those of drivers to which it
 * lends a card or a buffer? And by which entries do the sources of core_pfnmap_* map, which cannot
 * be seen without vpfn's debugfs?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_source.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Users of user memory on mappings of vpfn, and of drivers that vpfn lends to.");

static int witness = -1;
static struct pfnmap_source source;
/* How the source's target was mapped at first. */
static struct vpfn_leaf first;

static void close_source(int sig)
{
	(void)sig;
	pfnmap_source_close(&source);
}

static struct pfnmap_disk disk;

static void remove_disk(int sig)
{
	(void)sig;
	pfnmap_disk_remove(&disk);
}

static void open_disk(void)
{
	char path[96];

	igt_install_exit_handler(remove_disk);
	igt_require_f(!pfnmap_disk_create(&disk) && !pfnmap_disk_mount(&disk, "ext4"),
		      "no disk (CONFIG_BLK_DEV_NULL_BLK, CONFIG_EXT4_FS, mkfs.ext4)\n");
	snprintf(path, sizeof(path), "%s/file", disk.mount);
	igt_assert_eq(pfnmap_io_set_file(path), 0);
}

/* Of vpfn's own places tests of their own ask the others. */
#define FAMILIES(name)	.families = pfnmap_##name##_families, .count = &pfnmap_##name##_family_count

static const struct pfnmap_group groups[] = {
	{ .matrix = "vpfn_conformance", FAMILIES(gup), .of_exports = true },
	{ .matrix = "vpfn_conformance, files and video", FAMILIES(ext4) },
	{ .matrix = "vpfn_conformance, files and video", FAMILIES(video) },
	{ .matrix = "vpfn_conformance, pages as such", FAMILIES(page) },
	{ .matrix = "vpfn_conformance, pages as such", FAMILIES(failure) },
	{ .matrix = "vpfn_conformance, calls of mm", FAMILIES(mm) },
	{ .matrix = "vpfn_conformance, calls of mm", FAMILIES(look) },
};

static int kept(const struct pfnmap_target *target)
{
	struct vpfn_leaf leaf;
	int err = vpfn_leaf_from_driver(witness, target->addr, &leaf);

	if (err)
		return err;
	return leaf.level == first.level && leaf.pfn == first.pfn && leaf.special ? 0 : -ESTALE;
}

/* The witness says EINVAL of memory that may have pages. */
static void check_entry(void)
{
	int err;

	first = (struct vpfn_leaf) {};
	err = vpfn_leaf_from_driver(witness, source.target.addr, &first);
	igt_assert_eq(err, source.kind->gives_pages ? -EINVAL : 0);
	pfnmap_matrix_cell("vpfn_conformance, entries", "special entry", source.name,
			   vpfn_level_name(first.level));
	igt_assert(first.special == !source.kind->gives_pages);
}

static void ask_about_source(bool is_lent)
{
	/* Ordinary memory is the same for each source: it is asked about once in a process. */
	static bool controlled[ARRAY_SIZE(groups)][32];

	igt_dynamic_f("%s-entry", source.name)
		check_entry();
	source.target.kept = kept;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		for (size_t j = 0; j < *groups[i].count && (is_lent || groups[i].of_exports); j++) {
			const struct pfnmap_user_family *family = &groups[i].families[j];

			igt_assert(j < ARRAY_SIZE(controlled[i]));
			igt_dynamic_f("%s-%s", source.name, family->name) {
				pfnmap_ask_family(groups[i].matrix, family, &source,
						  !controlled[i][j]);
				controlled[i][j] = true;
			}
		}
	}
}

static void visit_sources(const struct pfnmap_source_kind *kind, void (*visit)(void))
{
	unsigned int n;
	int err;

	for (n = 0; (err = pfnmap_source_open(&source, kind, n)) != -ENOENT; n++) {
		/* IGT aborts upon a failure that is in no dynamic subtest. */
		if (err) {
			igt_dynamic_f("%s-%u", kind->name, n)
				igt_assert_f(!err, "opened: %s\n", pfnmap_answer_name(err));
			break;
		}
		visit();
		pfnmap_source_close(&source);
	}
	igt_require_f(n, "this machine has no source of the kind %s\n", kind->name);
}

static void visit_own(void)
{
	ask_about_source(false);
}

static void visit_lent(void)
{
	ask_about_source(true);
}

static void visit_other(void)
{
	igt_dynamic_f("%s", source.name)
		check_entry();
}

int igt_main()
{
	igt_fixture() {
		witness = vpfn_require_device();
		pfnmap_choose_card();
		igt_install_exit_handler(close_source);
		open_disk();
	}

	for (size_t i = 0; i < vpfn_source_kind_count; i++) {
		igt_describe(vpfn_source_kinds[i].describe);
		igt_subtest_with_dynamic(vpfn_source_kinds[i].name)
			visit_sources(&vpfn_source_kinds[i], i ? visit_lent : visit_own);
	}

	igt_describe("Sources without pages are mapped by special entries, those with pages are not.");
	igt_subtest_with_dynamic("entries") {
		for (size_t i = 0; i < pfnmap_device_kind_count; i++)
			visit_sources(&pfnmap_device_kinds[i], visit_other);
		for (size_t i = 0; i < pfnmap_machine_kind_count; i++)
			visit_sources(&pfnmap_machine_kinds[i], visit_other);
	}

	igt_fixture()
		close(witness);
}
