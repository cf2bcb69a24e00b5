// SPDX-License-Identifier: MIT
/*
 * Probe fails at each of its allocations: is anything left behind?
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_plug.h"

IGT_TEST_DESCRIPTION("Each allocation of probe of vpfn fails.");

#define FAULTS		"/sys/kernel/debug/"
#define EACH_FAULT	"/proc/thread-self/fail-nth"
#define MAX_PROBERS	256

static const char * const fault_kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

static int set_fault(const char *kind, const char *attribute, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "%s/%s", kind, attribute);
	return vpfn_text_write(path, value);
}

/* Addresses in the kernel's code */
struct range {
	uint64_t start, end;
};

static bool next_symbol(FILE *symbols, uint64_t *addr, char name[128], bool *in_module)
{
	char line[512];

	if (!fgets(line, sizeof(line), symbols))
		return false;
	*in_module = strstr(line, "[vpfn]");
	return sscanf(line, "%" SCNx64 " %*c %127s", addr, name) == 2;
}

/* The code of the module, and that of one function of the kernel. */
static void find_code(struct range *module, struct range *function, const char *function_name)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char name[128];
	uint64_t addr;
	bool inside;

	*module = *function = (struct range) { .start = UINT64_MAX };
	igt_assert(symbols);
	while (next_symbol(symbols, &addr, name, &inside)) {
		if (inside && addr < module->start)
			module->start = addr;
		if (inside && addr > module->end)
			module->end = addr;
		/* The kernel's own are sorted. */
		if (!strcmp(name, function_name))
			function->start = addr;
		else if (addr > function->start && !function->end)
			function->end = addr;
	}
	fclose(symbols);
	module->end += VPFN_PAGE;
	igt_require_f(module->end > module->start, "vpfn is no module\n");
	igt_assert(function->end > function->start);
}

static void set_fault_range(const char *kind, const char *which, const struct range *range)
{
	char attribute[32], text[32];

	snprintf(attribute, sizeof(attribute), "%s-start", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->start);
	igt_assert_eq(set_fault(kind, attribute, text), 0);
	snprintf(attribute, sizeof(attribute), "%s-end", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->end);
	igt_assert_eq(set_fault(kind, attribute, text), 0);
}

/* Failures of slab caches count for those caches alone that the test names. */
#define CACHES	"/sys/kernel/slab/"

static void set_caches(const char *value)
{
	glob_t caches;

	if (glob(CACHES "*/failslab", 0, NULL, &caches))
		return;
	for (size_t i = 0; i < caches.gl_pathc; i++)
		vpfn_text_write(caches.gl_pathv[i], value);
	globfree(&caches);
}

/* Failures can be asked for; none counts so far. */
static void make_faults(void)
{
	const struct range nothing = { 0, 0 };

	igt_require_f(!set_fault("failslab", "ignore-gfp-wait", "N") &&
		      !set_fault("fail_page_alloc", "ignore-gfp-wait", "N"),
		      "the kernel lacks CONFIG_FAILSLAB or CONFIG_FAIL_PAGE_ALLOC\n");
	igt_assert_eq(set_fault("fail_page_alloc", "min-order", "0"), 0);
	igt_assert_eq(set_fault("fail_page_alloc", "ignore-gfp-highmem", "N"), 0);
	set_caches("1");
	igt_assert_eq(vpfn_text_write(CACHES "proc_dir_entry/failslab", "0"), 0);
	igt_assert_eq(set_fault("failslab", "cache-filter", "Y"), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		/* The third need not be there. */
		if (set_fault(fault_kinds[i], "verbose", "0") == -ENOENT)
			continue;
		igt_assert_eq(set_fault(fault_kinds[i], "stacktrace-depth", "32"), 0);
		set_fault_range(fault_kinds[i], "require", &nothing);
	}
}

/*
 * The allocations of one kind count that something in the module asks for: a failure is asked for
 * by its number, which must mean the same allocation at each probe. So objects come first, and then
 * pages, but for those that the slab allocator needs for itself.
 *
 * Two objects do not count, because the kernel itself does not survive their failure:
 * drm_minor_alloc_release() takes the error of drm_sysfs_minor_alloc() for a device, and
 * unregister_irq_proc() complains about files in /proc for which there was no memory.
 */
static const struct allocations {
	const char *kind, *not_below;
	unsigned int needed;
} allocations[] = {
	{ "failslab", "drm_sysfs_minor_alloc", 50 },
	{ "fail_page_alloc", "allocate_slab", 1 },
};

static void count_faults(const struct allocations *of, bool on)
{
	struct range module, function, nothing = { 0, 0 };

	find_code(&module, &function, of->not_below);
	set_fault_range(of->kind, "require", on ? &module : &nothing);
	set_fault_range(of->kind, "reject", &function);
}

/* As the kernel has it at its start. */
static void no_faults(void)
{
	static const struct {
		const char *name, *value;
	} attributes[] = {
		{ "verbose", "2" },
		{ "require-start", "0" },
		{ "require-end", "0xffffffffffffffff" },
		{ "reject-start", "0" },
		{ "reject-end", "0" },
		{ "cache-filter", "N" },
		{ "ignore-gfp-wait", "Y" },
		{ "ignore-gfp-highmem", "Y" },
		{ "min-order", "1" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(attributes); j++)
			set_fault(fault_kinds[i], attributes[j].name, attributes[j].value);
	}
	set_caches("0");
}

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
	igt_assert_eq(vpfn_text_read("/sys/module/vpfn/refcnt", text, sizeof(text)), 0);
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

	probers[count++] = open(EACH_FAULT, O_RDWR | O_CLOEXEC);
	if (probers[0] < 0)
		return 0;
	if (!vpfn_card_get(vpfn_small_name, "numa_node", comm, sizeof(comm)) && !strcmp(comm, "-1"))
		return count;
	if (glob("/proc/[0-9]*", 0, NULL, &tasks))
		return 0;
	for (size_t i = 0; i < tasks.gl_pathc && count < MAX_PROBERS; i++) {
		snprintf(path, sizeof(path), "%s/comm", tasks.gl_pathv[i]);
		if (vpfn_text_read(path, comm, sizeof(comm)) || strncmp(comm, "kworker/", 8))
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
	char text[16];

	igt_assert_lte(1, count);
	snprintf(text, sizeof(text), "%u", n);
	/* A worker that has gone meanwhile takes nothing, and probes nothing. */
	for (unsigned int i = 0; i < count; i++)
		igt_assert(pwrite(probers[i], text, strlen(text), 0) > 0 || i);
	err = vpfn_card_bind(vpfn_small_name);

	*failed = false;
	for (unsigned int i = 0; i < count; i++) {
		memset(text, 0, sizeof(text));
		if (pread(probers[i], text, sizeof(text) - 1, 0) > 0)
			*failed |= !atoi(text);
		igt_assert(pwrite(probers[i], "0", 1, 0) > 0 || i);
		close(probers[i]);
	}
	return err;
}

/* The card is not bound. Binds it, and has each of these allocations fail once before. */
static void fail_each(const struct allocations *of, const struct footprint *unbound)
{
	unsigned int n, refused = 0;
	bool failed = true;

	count_faults(of, true);
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
	count_faults(of, false);
	igt_info("%s: %u allocations, of which %u are needed\n", of->kind, n - 2, refused);
	igt_assert_lte(of->needed, refused);
}

static void test_probe_fails(void)
{
	struct footprint unbound, bound;

	igt_require_f(!access(EACH_FAULT, W_OK), "the kernel lacks CONFIG_FAULT_INJECTION\n");
	make_faults();
	bound = take_footprint();
	for (unsigned int i = 0; i < ARRAY_SIZE(allocations); i++) {
		igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
		unbound = take_footprint();
		igt_assert(bound.regions > unbound.regions && bound.mappings > unbound.mappings &&
			   bound.nodes > unbound.nodes);
		fail_each(&allocations[i], &unbound);
		check_footprint(&bound, 0);
	}
	no_faults();
	vpfn_check_works(vpfn_small_name);
}

static void no_faults_at_exit(int sig)
{
	(void)sig;
	no_faults();
}

static const struct vpfn_plug_test tests[] = {
	{ "probe-fails", "Each allocation of probe fails once: nothing is left behind.",
	  test_probe_fails },
};

int igt_main()
{
	igt_fixture() {
		vpfn_plug_init();
		/* Handlers run in reverse order: this one before the card is bound again. */
		igt_install_exit_handler(no_faults_at_exit);
	}

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), true);
}
