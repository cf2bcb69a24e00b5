/* SPDX-License-Identifier: MIT */
/*
 * How does the page table map an address? Several answers, none of which knows of
 * another: the kernel's page-table dump, the driver's debugfs file, the number of
 * faults and the size of the page tables.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef VPFN_LEAF_H
#define VPFN_LEAF_H

#include <stdbool.h>
#include <stdint.h>

enum vpfn_level {
	VPFN_NONE,
	VPFN_PTE,
	VPFN_PMD,
	VPFN_PUD,
};

#define for_each_vpfn_level(level) \
	for (enum vpfn_level level = VPFN_PTE; level <= VPFN_PUD; level++)

/* One entry of the page table, as far as the source of the answer can tell. */
struct vpfn_leaf {
	enum vpfn_level level;
	bool writable;
	bool special;		/* the driver's file alone */
	uint64_t pfn;		/* the driver's file alone */
	const char *cache;	/* the page-table dump alone: "WB", "WC", "UC-", "UC", ... */
};

const char *vpfn_level_name(enum vpfn_level level);
uint64_t vpfn_level_size(enum vpfn_level level);

int vpfn_limit_get(enum vpfn_level *level);
int vpfn_limit_set(enum vpfn_level level);

int vpfn_leaves_from_ptdump(unsigned int count, const void *const addrs[],
			    struct vpfn_leaf leaves[]);
int vpfn_leaf_from_driver(int fd, const void *addr, struct vpfn_leaf *leaf);

long vpfn_faults(void);
long vpfn_page_table_kib(void);

/* A mapping of a part of a buffer, as far as it decides which leaves are possible. */
struct vpfn_span {
	uint64_t base;		/* address of the buffer's first byte, mapped or not */
	uint64_t from;		/* offset in the buffer of the first byte mapped */
	uint64_t to;		/* offset in the buffer of the end */
};

enum vpfn_level vpfn_expect_level(const struct vpfn_span *span, uint64_t offset,
				  enum vpfn_level limit);
long vpfn_expect_faults(uint64_t size, enum vpfn_level limit);

#endif
