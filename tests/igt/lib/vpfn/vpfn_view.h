/* SPDX-License-Identifier: MIT */
/*
 * What do the tests look at? A buffer, mapped by leaves of a given level and filled with
 * a pattern. These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_VIEW_H
#define VPFN_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"

struct vpfn_view {
	int fd;
	enum vpfn_level level;
	struct vpfn_bo bo;
	struct pfnmap_pattern pattern;
	char *map;
};

int vpfn_require_device(void);
int vpfn_require_small_device(void);
void vpfn_limit_restore(void);

/* How long the engine may make no progress; as it was when the test exits. */
void vpfn_timeout_set(unsigned int ms);
void vpfn_timeout_restore(void);

void vpfn_view_open_untouched(struct vpfn_view *view, int fd, enum vpfn_level level);
void vpfn_view_open(struct vpfn_view *view, int fd, enum vpfn_level level);
void vpfn_view_open_in(struct vpfn_view *view, int fd, enum vpfn_level level, uint32_t placement);
void vpfn_view_close(struct vpfn_view *view);

void vpfn_assert_dump_agrees(const struct vpfn_view *const views[], unsigned int count);

void vpfn_view_refill(struct vpfn_view *view);
void vpfn_view_check(const struct vpfn_view *view);
void vpfn_view_check_at(const struct vpfn_view *view, void *base, uint64_t from, uint64_t to);

/* An offset in the middle of the last leaf; at the PTE level, a page in the middle. */
uint64_t vpfn_view_inside(const struct vpfn_view *view);

/* Address space for a mapping of the view's buffer that is shifted by up to a PMD leaf */
void *vpfn_view_reserve(const struct vpfn_view *view);
void vpfn_view_assert_level_in(const struct vpfn_view *view, char *base, uint64_t offset,
			       uint64_t from, uint64_t to);

struct vpfn_level_test {
	const char *name;
	const char *describe;
	void (*run)(struct vpfn_view *view);
	bool untouched;		/* no page of the mapping has been touched before */
};

/* A subtest for each, and in it a dynamic one for each level. */
void vpfn_level_subtests(const struct vpfn_level_test tests[], size_t count, const int *fd);

void vpfn_assert_page_table_growth(long kib, uint64_t size, enum vpfn_level limit);
void vpfn_assert_level(int fd, const void *addr, enum vpfn_level level);

#endif
