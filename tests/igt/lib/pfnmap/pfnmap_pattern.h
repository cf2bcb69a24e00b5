/* SPDX-License-Identifier: MIT */
/*
 * Which bytes must be where? A pattern that is different at each place and for each
 * seed, so that a page in the wrong place is as visible as a stale one.
 *
 * Memory on a slow machine: only the first word of a page is written and compared, and
 * of a large buffer not each page (see pfnmap_pattern_step()).
 *
 * No function here knows IGT.
 */
#ifndef PFNMAP_PATTERN_H
#define PFNMAP_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A word of memory that others may write, or that is worth a fault. */
static inline uint64_t pfnmap_load(const void *addr)
{
	return __atomic_load_n((const uint64_t *)addr, __ATOMIC_RELAXED);
}

static inline void pfnmap_store(void *addr, uint64_t word)
{
	__atomic_store_n((uint64_t *)addr, word, __ATOMIC_RELAXED);
}

struct pfnmap_pattern {
	uint64_t seed;
	uint64_t size;		/* of the buffer */
};

uint64_t pfnmap_pattern_word(const struct pfnmap_pattern *pattern, uint64_t offset);
uint64_t pfnmap_pattern_step(const struct pfnmap_pattern *pattern, uint64_t offset);
void pfnmap_pattern_fill(const struct pfnmap_pattern *pattern, void *base,
			 uint64_t from, uint64_t to);
uint64_t pfnmap_pattern_check(const struct pfnmap_pattern *pattern, const void *base,
			      uint64_t from, uint64_t to);
uint64_t pfnmap_pattern_check_by_ptrace(const struct pfnmap_pattern *pattern, const void *base,
					uint64_t from, uint64_t to);
void pfnmap_pattern_bytes(const struct pfnmap_pattern *pattern, void *bytes, size_t len);

int pfnmap_proc_mem(void *addr, void *bytes, size_t len, bool write);

enum pfnmap_access {
	PFNMAP_READ,
	PFNMAP_WRITE,
};

int pfnmap_signal_of(void *addr, enum pfnmap_access access);

#endif
