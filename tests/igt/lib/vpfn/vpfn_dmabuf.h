/* SPDX-License-Identifier: MIT */
/*
 * Which memory do devices share? dma-bufs, their fences, and memory that belongs to no device of
 * vpfn but can be given to one.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_DMABUF_H
#define VPFN_DMABUF_H

#include <stdbool.h>
#include <stdint.h>

#include "vpfn/vpfn_bo.h"

int vpfn_dmabuf_import(int fd, int dmabuf, uint64_t size, struct vpfn_bo *bo);
bool vpfn_dmabuf_same(int a, int b);
int vpfn_dmabuf_sync(int dmabuf, uint64_t flags);
int vpfn_dmabuf_get_fence(int dmabuf, uint32_t flags, int *sync_file);
int vpfn_dmabuf_add_fence(int dmabuf, uint32_t flags, int sync_file);

#endif
