// SPDX-License-Identifier: MIT
/*
 * Which allocation of the driver fails?
 */
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_failure.h"

#define FAULTS	"/sys/kernel/debug/"
#define CACHES	"/sys/kernel/slab/"

static const char * const kinds[] = { VPFN_FAIL_SLAB, VPFN_FAIL_PAGES, VPFN_FAIL_COPIES };

static int set(const char *kind, const char *attribute, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "%s/%s", kind, attribute);
	return pfnmap_text_write(path, value);
}

/* Addresses in the kernel's code */
struct range {
	uint64_t start, end;
};

static const struct range nothing;

static bool next_symbol(FILE *symbols, uint64_t *addr, char name[128], bool *in_module)
{
	char line[512];

	if (!fgets(line, sizeof(line), symbols))
		return false;
	*in_module = strstr(line, "[vpfn]");
	return sscanf(line, "%" SCNx64 " %*c %127s", addr, name) == 2;
}

/* The code of the module, and that of one function of the kernel, if it is named. */
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
		if (function_name && !strcmp(name, function_name))
			function->start = addr;
		else if (addr > function->start && !function->end)
			function->end = addr;
	}
	fclose(symbols);
	module->end += PFNMAP_PAGE;
	igt_require_f(module->end > module->start, "vpfn is no module\n");
	if (!function_name)
		*function = nothing;
	else
		igt_assert(function->end > function->start);
}

static void set_range(const char *kind, const char *which, const struct range *range)
{
	char attribute[32], text[32];

	snprintf(attribute, sizeof(attribute), "%s-start", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->start);
	igt_assert_eq(set(kind, attribute, text), 0);
	snprintf(attribute, sizeof(attribute), "%s-end", which);
	snprintf(text, sizeof(text), "%#" PRIx64, range->end);
	igt_assert_eq(set(kind, attribute, text), 0);
}

/* Failures of slab caches count for those caches alone that the test names. */
static void set_caches(const char *value)
{
	glob_t caches;

	if (glob(CACHES "*/failslab", 0, NULL, &caches))
		return;
	for (size_t i = 0; i < caches.gl_pathc; i++)
		pfnmap_text_write(caches.gl_pathv[i], value);
	globfree(&caches);
}

static void end_at_exit(int sig)
{
	(void)sig;
	vpfn_failures_end();
}

/**
 * vpfn_failures_require:
 *
 * Skips if the kernel injects no failures. From then on it can, but nothing counts yet.
 */
void vpfn_failures_require(void)
{
	igt_require_f(!access(VPFN_FAIL_NTH, W_OK) &&
		      !set(VPFN_FAIL_SLAB, "ignore-gfp-wait", "N") &&
		      !set(VPFN_FAIL_PAGES, "ignore-gfp-wait", "N") &&
		      !set(VPFN_FAIL_COPIES, "verbose", "0"),
		      "the kernel lacks CONFIG_FAILSLAB, _FAIL_PAGE_ALLOC or _FAULT_INJECTION_USERCOPY\n");
	igt_install_exit_handler(end_at_exit);
	igt_assert_eq(set(VPFN_FAIL_PAGES, "min-order", "0"), 0);
	igt_assert_eq(set(VPFN_FAIL_PAGES, "ignore-gfp-highmem", "N"), 0);
	set_caches("1");
	/* unregister_irq_proc() complains about files in /proc for which there was no memory. */
	igt_assert_eq(pfnmap_text_write(CACHES "proc_dir_entry/failslab", "0"), 0);
	igt_assert_eq(set(VPFN_FAIL_SLAB, "cache-filter", "Y"), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		igt_assert_eq(set(kinds[i], "verbose", "0"), 0);
		igt_assert_eq(set(kinds[i], "stacktrace-depth", "32"), 0);
		vpfn_failures_ignore(kinds[i]);
	}
}

/**
 * vpfn_failures_count:
 * @kind: VPFN_FAIL_SLAB, ...
 * @not_below: a function of the kernel, or NULL
 *
 * What something in the module asks for counts from now on, but not what @not_below asks for.
 */
void vpfn_failures_count(const char *kind, const char *not_below)
{
	struct range module, function;

	find_code(&module, &function, not_below);
	set_range(kind, "require", &module);
	set_range(kind, "reject", &function);
}

/**
 * vpfn_failures_ignore:
 * @kind: counts no longer
 */
void vpfn_failures_ignore(const char *kind)
{
	set_range(kind, "require", &nothing);
	set_range(kind, "reject", &nothing);
}

/**
 * vpfn_failures_end:
 *
 * All is as the kernel has it at its start.
 */
void vpfn_failures_end(void)
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

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(attributes); j++)
			set(kinds[i], attributes[j].name, attributes[j].value);
	}
	set_caches("0");
}

/**
 * vpfn_failure_arm:
 * @file: VPFN_FAIL_NTH of a task
 * @n: the n-th of what counts fails in that task, from now on; 0 for none
 *
 * Returns: whether the task is there.
 */
bool vpfn_failure_arm(int file, unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	return pwrite(file, text, strlen(text), 0) > 0;
}

/**
 * vpfn_failure_disarm:
 * @file: VPFN_FAIL_NTH of a task
 *
 * Nothing fails any more. Returns: whether it came to the failure.
 */
bool vpfn_failure_disarm(int file)
{
	char text[16] = "";
	bool failed = pread(file, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	return vpfn_failure_arm(file, 0) && failed;
}
