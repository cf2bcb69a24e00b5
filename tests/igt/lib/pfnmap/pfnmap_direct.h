/* SPDX-License-Identifier: MIT */
/*
 * Does direct I/O move the right bytes? A file's first bytes are written from memory, or read into
 * it, and then compared through ordinary memory.
 *
 * No function here knows IGT; each returns 0 or a negative errno, -EBADMSG if the bytes are wrong.
 */
#ifndef PFNMAP_DIRECT_H
#define PFNMAP_DIRECT_H

#include <stddef.h>

int pfnmap_write_direct(int fd, const void *addr, size_t len);
int pfnmap_read_direct(int fd, void *addr, size_t len);

int pfnmap_file_set(int fd, const void *bytes, size_t len);
int pfnmap_file_compare(int fd, const void *bytes, size_t len);

#endif
