// SPDX-License-Identifier: MIT
/*
 * What must a buffer hold after the engine worked on it?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"

#define MIN(a, b)	((a) < (b) ? (a) : (b))

static int map_beside(struct vpfn_mem *mem)
{
	int err = vpfn_bo_map(mem->fd, &mem->bo, (void **)&mem->map);

	if (err)
		return err;

	mem->expected = malloc(mem->bo.size);
	if (mem->expected)
		return 0;

	munmap(mem->map, mem->bo.size);
	return -ENOMEM;
}

/**
 * vpfn_mem_create:
 * @fd: DRM file descriptor
 * @size: size of the buffer in bytes
 * @placement: where it may lie, a mask of DRM_VPFN_PLACEMENT_*
 * @seed: what its contents depend on, written by the CPU
 * @mem: the buffer, its mapping and its contents
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_mem_create(int fd, uint64_t size, uint32_t placement, uint64_t seed,
		    struct vpfn_mem *mem)
{
	int err;

	mem->fd = fd;
	err = vpfn_bo_create_in(fd, size, placement, DRM_VPFN_GEM_CREATE_CPU_ACCESS, &mem->bo);
	if (err)
		return err;

	err = map_beside(mem);
	if (err)
		vpfn_bo_close(fd, &mem->bo);
	else
		vpfn_mem_refill(mem, seed);
	return err;
}

/**
 * vpfn_mem_import:
 * @fd: DRM file descriptor of another file
 * @other: a buffer
 * @mem: the same buffer for that file, with the contents that are expected now
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_mem_import(int fd, const struct vpfn_mem *other, struct vpfn_mem *mem)
{
	struct drm_vpfn_gem_mmap_offset get = {};
	int dmabuf, err = vpfn_bo_export(other->fd, &other->bo, &dmabuf);

	if (err)
		return err;

	mem->fd = fd;
	mem->bo.size = other->bo.size;
	err = drmPrimeFDToHandle(fd, dmabuf, &mem->bo.handle) ? -errno : 0;
	close(dmabuf);
	if (err)
		return err;

	get.handle = mem->bo.handle;
	err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get);
	mem->bo.offset = get.offset;
	if (!err)
		err = map_beside(mem);
	if (err)
		vpfn_bo_close(fd, &mem->bo);
	else
		memcpy(mem->expected, other->expected, mem->bo.size);
	return err;
}

/**
 * vpfn_mem_destroy:
 * @mem: the buffer, whose handle and mapping go
 */
void vpfn_mem_destroy(struct vpfn_mem *mem)
{
	munmap(mem->map, mem->bo.size);
	free(mem->expected);
	vpfn_bo_close(mem->fd, &mem->bo);
}

/**
 * vpfn_mem_refill:
 * @mem: the buffer, for which no job is under way
 * @seed: what its contents depend on from now on, written by the CPU
 */
void vpfn_mem_refill(struct vpfn_mem *mem, uint64_t seed)
{
	struct pfnmap_pattern pattern = { .seed = seed, .size = mem->bo.size };

	pfnmap_pattern_bytes(&pattern, mem->expected, mem->bo.size);
	memcpy(mem->map, mem->expected, mem->bo.size);
}

/**
 * vpfn_mem_fill:
 * @dst: the buffer to write
 * @offset: where in it, in bytes
 * @len: number of bytes
 * @pattern: what to write, again and again
 *
 * Returns: the command, which will have run when the buffer is checked.
 */
struct drm_vpfn_cmd vpfn_mem_fill(struct vpfn_mem *dst, uint64_t offset, uint64_t len,
				  uint32_t pattern)
{
	for (uint64_t i = 0; i < len; i++)
		dst->expected[offset + i] = pattern >> 8 * (i % sizeof(pattern));
	return vpfn_cmd_fill(&dst->bo, offset, len, pattern);
}

/**
 * vpfn_mem_copy:
 * @dst: the buffer to write
 * @dst_offset: where in it, in bytes
 * @src: the buffer to read
 * @src_offset: where in it, in bytes
 * @len: number of bytes
 *
 * Returns: the command, which will have run when the buffer is checked.
 */
struct drm_vpfn_cmd vpfn_mem_copy(struct vpfn_mem *dst, uint64_t dst_offset,
				  const struct vpfn_mem *src, uint64_t src_offset, uint64_t len)
{
	memcpy(dst->expected + dst_offset, src->expected + src_offset, len);
	return vpfn_cmd_copy(&dst->bo, dst_offset, &src->bo, src_offset, len);
}

/**
 * vpfn_mem_crc:
 * @dst: the buffer that takes the checksum
 * @dst_offset: where in it, in bytes
 * @src: the buffer to read
 * @src_offset: where in it, in bytes
 * @len: number of bytes
 *
 * Returns: the command, which will have run when the buffer is checked.
 */
struct drm_vpfn_cmd vpfn_mem_crc(struct vpfn_mem *dst, uint64_t dst_offset,
				 const struct vpfn_mem *src, uint64_t src_offset, uint64_t len)
{
	uint32_t crc = vpfn_crc32c(src->expected + src_offset, len);

	memcpy(dst->expected + dst_offset, &crc, sizeof(crc));
	return vpfn_cmd_crc(&dst->bo, dst_offset, &src->bo, src_offset, len);
}

/**
 * vpfn_mem_check:
 * @mem: the buffer
 *
 * Compares each byte that the CPU sees.
 *
 * Returns: the offset of the first byte that is wrong, the buffer's size if there is none.
 */
uint64_t vpfn_mem_check(const struct vpfn_mem *mem)
{
	uint64_t at = 0;

	if (!memcmp(mem->map, mem->expected, mem->bo.size))
		return mem->bo.size;

	/* It was wrong a moment ago, and that counts. */
	while (at < mem->bo.size - 1 && mem->map[at] == mem->expected[at])
		at++;
	return at;
}

/**
 * vpfn_mem_check_by_engine:
 * @mem: the buffer
 *
 * Compares the checksums of all bytes that the engine sees.
 *
 * Returns: 0, -EBADMSG if a byte is wrong, or another negative errno.
 */
int vpfn_mem_check_by_engine(const struct vpfn_mem *mem)
{
	uint64_t len;

	for (uint64_t at = 0; at < mem->bo.size; at += len) {
		uint32_t crc;
		int err;

		len = MIN(mem->bo.size - at, DRM_VPFN_CRC_LENGTH_MAX);
		err = vpfn_crc(mem->fd, &mem->bo, at, len, &crc);
		if (err)
			return err;
		if (crc != vpfn_crc32c(mem->expected + at, len))
			return -EBADMSG;
	}
	return 0;
}
