/* SPDX-License-Identifier: MIT */
/*
 * What does the kernel say about the mapping of an address? A part of /proc/self/smaps and pagemap.
 *
 * A read of smaps makes the kernel walk the page tables of each mapping, which splits
 * leaves of 1 GiB: the next touch puts them back.
 *
 * No function here knows IGT.
 */
#ifndef PFNMAP_VMA_H
#define PFNMAP_VMA_H

#include <stdbool.h>
#include <stdint.h>

struct pfnmap_vma {
	uint64_t start;
	uint64_t end;
	uint64_t offset;	/* of its first byte, in the file */
	/* In KiB, as smaps has them */
	long rss;
	long pss;
	long referenced;
	long anon_huge;
	long kernel_page;
	long mmu_page;
	long thp_eligible;	/* 0 or 1 */
	char flags[128];	/* "rd wr sh ..." */
};

int pfnmap_vma_read(const void *addr, struct pfnmap_vma *vma);
bool pfnmap_vma_has(const struct pfnmap_vma *vma, const char *flag);
int pfnmap_vma_flag(const void *addr, const char *flag);

long pfnmap_locked_kib(void);
int pfnmap_frame_of(const void *addr, uint64_t *frame);

#endif
