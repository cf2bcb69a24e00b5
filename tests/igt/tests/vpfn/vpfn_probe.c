// SPDX-License-Identifier: MIT
/*
 * Probe fails at each of its allocations: is anything left behind?
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_failure.h"
#include "vpfn/vpfn_plug.h"

IGT_TEST_DESCRIPTION("Each allocation of probe of vpfn fails.");

#define MAX_PROBERS	256

/*
 * The allocations of one kind count that something in the module asks for: a failure is asked for
 * by its number, which must mean the same allocation at each probe. So objects come first, and then
 * pages, but for those that the slab allocator needs for itself.
 *
 * An object does not count, because the kernel itself does not survive its failure:
 * drm_minor_alloc_release() takes the error of drm_sysfs_minor_alloc() for a device.
 */
static const struct allocations {
	const char *kind, *not_below;
	unsigned int needed;
} allocations[] = {
	{ VPFN_FAIL_SLAB, "drm_sysfs_minor_alloc", 50 },
	{ VPFN_FAIL_PAGES, "allocate_slab", 1 },
};

/* What a card that is bound adds to the machine, counted in the kernel's own lists. */
struct footprint {
	int regions, mappings, interrupts, nodes, users;
};

static int count_lines(const char *path, const char *word)
{
	FILE *file = fopen(path, "r");
	char line[1024];
	int count = 0;

	igt_assert(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, word) ? 1 : 0;
	fclose(file);
	return count;
}

static struct footprint take_footprint(void)
{
	struct footprint footprint = {
		.regions = count_lines("/proc/iomem", "vpfn"),
		.mappings = count_lines("/proc/vmallocinfo", "ioremap"),
		.interrupts = count_lines("/proc/interrupts", "vpfn"),
	};
	char text[32];

	for (int minor = 0; minor < 256; minor++) {
		snprintf(text, sizeof(text), "/sys/dev/char/226:%d", minor);
		footprint.nodes += !access(text, F_OK);
	}
	igt_assert_eq(pfnmap_text_read("/sys/module/vpfn/refcnt", text, sizeof(text)), 0);
	footprint.users = atoi(text);
	return footprint;
}

static void check_footprint(const struct footprint *expected, unsigned int n)
{
	struct footprint now = take_footprint();

	igt_assert_f(now.regions == expected->regions && now.mappings == expected->mappings &&
		     now.interrupts == expected->interrupts && now.nodes == expected->nodes &&
		     now.users == expected->users,
		     "failure %u leaves %d regions, %d mappings, %d interrupts, %d nodes, %d users\n",
		     n, now.regions - expected->regions, now.mappings - expected->mappings,
		     now.interrupts - expected->interrupts, now.nodes - expected->nodes,
		     now.users - expected->users);
}

/*
 * Tasks that may probe: this thread, or a worker of the kernel's where the device belongs to a NUMA
 * node. The n-th fault of each is asked for; one of them comes to that.
 */
static unsigned int find_probers(int probers[MAX_PROBERS])
{
	unsigned int count = 0;
	char path[280], comm[32];
	glob_t tasks;

	probers[count++] = open(VPFN_FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (probers[0] < 0)
		return 0;
	if (!vpfn_card_get(vpfn_small_name, "numa_node", comm, sizeof(comm)) && !strcmp(comm, "-1"))
		return count;
	if (glob("/proc/[0-9]*", 0, NULL, &tasks))
		return 0;
	for (size_t i = 0; i < tasks.gl_pathc && count < MAX_PROBERS; i++) {
		snprintf(path, sizeof(path), "%s/comm", tasks.gl_pathv[i]);
		if (pfnmap_text_read(path, comm, sizeof(comm)) || strncmp(comm, "kworker/", 8))
			continue;
		snprintf(path, sizeof(path), "%s/fail-nth", tasks.gl_pathv[i]);
		probers[count] = open(path, O_RDWR | O_CLOEXEC);
		if (probers[count] >= 0)
			count++;
	}
	globfree(&tasks);
	return count;
}

/* Has the n-th allocation from now on fail; whether it came to that. */
static int bind_with_failure(unsigned int n, bool *failed)
{
	int probers[MAX_PROBERS], err;
	unsigned int count = find_probers(probers);

	igt_assert_lte(1, count);
	/* A worker that has gone meanwhile takes nothing, and probes nothing. */
	for (unsigned int i = 0; i < count; i++)
		igt_assert(vpfn_failure_arm(probers[i], n) || i);
	err = vpfn_card_bind(vpfn_small_name);

	*failed = false;
	for (unsigned int i = 0; i < count; i++) {
		*failed |= vpfn_failure_disarm(probers[i]);
		close(probers[i]);
	}
	return err;
}

/* The card is not bound. Binds it, and has each of these allocations fail once before. */
static void fail_each(const struct allocations *of, const struct footprint *unbound)
{
	unsigned int n, refused = 0;
	bool failed = true;

	vpfn_failures_count(of->kind, of->not_below);
	for (n = 1; failed; n++) {
		int err = bind_with_failure(n, &failed);

		if (err) {
			igt_assert_f(failed, "bind fails with %d without a failure\n", err);
			refused++;
		} else if (failed) {
			/* An allocation that the card can do without. */
			igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
		}
		if (failed) {
			igt_assert(!vpfn_card_is_bound(vpfn_small_name));
			check_footprint(unbound, n);
		}
	}
	vpfn_failures_ignore(of->kind);
	igt_info("%s: %u allocations, of which %u are needed\n", of->kind, n - 2, refused);
	igt_assert_lte(of->needed, refused);
}

static void test_probe_fails(void)
{
	struct footprint unbound, bound;

	vpfn_failures_require();
	bound = take_footprint();
	for (unsigned int i = 0; i < ARRAY_SIZE(allocations); i++) {
		igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
		unbound = take_footprint();
		igt_assert(bound.regions > unbound.regions && bound.mappings > unbound.mappings &&
			   bound.nodes > unbound.nodes);
		fail_each(&allocations[i], &unbound);
		check_footprint(&bound, 0);
	}
	vpfn_failures_end();
	vpfn_check_works(vpfn_small_name);
}

static const struct vpfn_plug_test tests[] = {
	{ "probe-fails", "Each allocation of probe fails once: nothing is left behind.",
	  test_probe_fails },
};

int igt_main()
{
	igt_fixture()
		vpfn_plug_init();

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), true);
}
