/* SPDX-License-Identifier: MIT */
/*
 * What every test of mappings needs: mappings, files of the kernel's, and waiting for a condition.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef PFNMAP_BASE_H
#define PFNMAP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif

#define PFNMAP_PAGE	4096ull
#define PFNMAP_2M		(2ull << 20)
#define PFNMAP_1G		(1ull << 30)

int pfnmap_map(int fd, uint64_t offset, uint64_t len, int prot, void **map);
int pfnmap_map_at(int fd, uint64_t offset, uint64_t len, void *addr, int flags, void **map);

void *pfnmap_anonymous(size_t len);

/* Address space of the caller's own, in which MAP_FIXED is harmless. */
int pfnmap_reserve(uint64_t len, uint64_t align, void **area);

int pfnmap_moved(ssize_t n, size_t len);

int pfnmap_text_read(const char *path, char *text, size_t size);
int pfnmap_text_write(const char *path, const char *text);
int pfnmap_wait_until(bool (*holds)(const void *arg), const void *arg);

#endif
