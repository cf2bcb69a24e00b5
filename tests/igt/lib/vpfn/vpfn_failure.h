/* SPDX-License-Identifier: MIT */
/*
 * Which allocation of the driver fails? Failures that the kernel injects, of those allocations and
 * copies alone that have the driver in their stack. These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_FAILURE_H
#define VPFN_FAILURE_H

#include <stdbool.h>

/* What can fail: the kernel's directory of it */
#define VPFN_FAIL_SLAB		"failslab"
#define VPFN_FAIL_PAGES		"fail_page_alloc"
#define VPFN_FAIL_COPIES	"fail_usercopy"

/* Where a task says which of its allocations is to fail */
#define VPFN_FAIL_NTH		"/proc/thread-self/fail-nth"

void vpfn_failures_require(void);
void vpfn_failures_count(const char *kind, const char *not_below);
void vpfn_failures_ignore(const char *kind);
void vpfn_failures_end(void);

bool vpfn_failure_arm(int file, unsigned int n);
bool vpfn_failure_disarm(int file);

#endif
