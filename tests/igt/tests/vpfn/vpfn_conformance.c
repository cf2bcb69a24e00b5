// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory answer on mappings of drivers to which vpfn lends a card or a
 * buffer? And by which entries do all sources map, of core_pfnmap_*, too, which cannot be seen
 * without vpfn's debugfs?
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_source.h"

IGT_TEST_DESCRIPTION("Users of user memory on mappings of drivers that vpfn lends to.");

#define MATRIX	"vpfn_conformance"

static const struct pfnmap_group groups[] = {
	{ .matrix = MATRIX, PFNMAP_FAMILIES(gup) },
	{ .matrix = MATRIX ", files and video", PFNMAP_FAMILIES(ext4) },
	{ .matrix = MATRIX ", files and video", PFNMAP_FAMILIES(video) },
	{ .matrix = MATRIX ", pages as such", PFNMAP_FAMILIES(page) },
	{ .matrix = MATRIX ", pages as such", PFNMAP_FAMILIES(failure) },
	{ .matrix = MATRIX ", calls of mm", PFNMAP_FAMILIES(mm) },
	{ .matrix = MATRIX ", calls of mm", PFNMAP_FAMILIES(look) },
};

static int witness = -1;

/* The witness says EINVAL of memory that may have pages. */
static void check_entry(const struct pfnmap_source *source)
{
	struct vpfn_leaf leaf = {};
	int err = vpfn_leaf_from_driver(witness, source->target.addr, &leaf);

	igt_assert_eq(err, source->kind->gives_pages ? -EINVAL : 0);
	pfnmap_matrix_cell(MATRIX ", entries", "special entry", source->name,
			   vpfn_level_name(leaf.level));
	igt_assert(leaf.special == !source->kind->gives_pages);
}

/* The places */
static void check_dump(void)
{
	const struct vpfn_view *views[8];
	unsigned int n = 0;

	for_each_pfnmap_source(source) {
		if (source->kind->renew)
			views[n++] = vpfn_view_of(pfnmap_source_renew(source));
	}
	vpfn_assert_dump_agrees(views, n);
}

int igt_main()
{
	igt_fixture() {
		witness = vpfn_require_device();
		vpfn_lent_add(witness);
		pfnmap_matrix_use_ext4();
	}

	pfnmap_matrix_families(groups, ARRAY_SIZE(groups));

	igt_fixture() {
		vpfn_places_add(witness);
		pfnmap_matrix_add_machine();
	}

	igt_describe("Sources without pages are mapped by special entries, those with pages are not.");
	igt_subtest_with_dynamic("entries") {
		for_each_pfnmap_source(source) {
			igt_dynamic(source->name)
				check_entry(pfnmap_source_renew(source));
		}
		igt_dynamic("page-table-dump")
			check_dump();
	}

	igt_fixture()
		close(witness);
}
