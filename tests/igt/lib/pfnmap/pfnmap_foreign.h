/* SPDX-License-Identifier: MIT */
/*
 * Which dma-bufs belong to no device? Memory of the kernel's that any driver can import.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef PFNMAP_FOREIGN_H
#define PFNMAP_FOREIGN_H

#include <stdint.h>

/* Another driver's dma-buf, and a mapping that was not made through it. */
struct pfnmap_foreign {
	int dmabuf;
	uint64_t size;
	void *map;
};

int pfnmap_foreign_from_memfd(uint64_t size, struct pfnmap_foreign *foreign);
int pfnmap_foreign_from_heap(uint64_t size, struct pfnmap_foreign *foreign);
void pfnmap_foreign_remove(struct pfnmap_foreign *foreign);

#endif
