// SPDX-License-Identifier: MIT
/*
 * Does direct I/O move the right bytes?
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_direct.h"
#include "pfnmap/pfnmap_pattern.h"

/* Memory may be slow and uncached: word by word, once. */
static int compare(const void *a, const void *b, size_t len)
{
	const char *x = a, *y = b;

	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		if (pfnmap_load(x + i) != pfnmap_load(y + i))
			return -EBADMSG;
	}
	return 0;
}

/**
 * pfnmap_file_set:
 * @fd: a file, O_DIRECT or not
 * @bytes: what its first bytes must be
 * @len: how many, a multiple of the page size
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_file_set(int fd, const void *bytes, size_t len)
{
	void *copy = pfnmap_anonymous(len);
	int err;

	if (!copy)
		return -ENOMEM;

	memcpy(copy, bytes, len);
	err = pfnmap_moved(pwrite(fd, copy, len, 0), len);
	munmap(copy, len);
	return err;
}

/**
 * pfnmap_file_compare:
 * @fd: a file, O_DIRECT or not
 * @bytes: what its first bytes should be
 * @len: how many, a multiple of the page size
 *
 * Returns: 0 if they are, -EBADMSG if not, or a negative errno.
 */
int pfnmap_file_compare(int fd, const void *bytes, size_t len)
{
	void *copy = pfnmap_anonymous(len);
	int err;

	if (!copy)
		return -ENOMEM;

	err = pfnmap_moved(pread(fd, copy, len, 0), len) ?: compare(copy, bytes, len);
	munmap(copy, len);
	return err;
}

/**
 * pfnmap_write_direct:
 * @fd: a file open for O_DIRECT
 * @addr: the memory that the disk reads
 * @len: how many bytes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_write_direct(int fd, const void *addr, size_t len)
{
	return pfnmap_moved(pwrite(fd, addr, len, 0), len) ?: pfnmap_file_compare(fd, addr, len);
}

/**
 * pfnmap_read_direct:
 * @fd: a file open for O_DIRECT, at least @len bytes long
 * @addr: the memory that the disk writes
 * @len: how many bytes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_read_direct(int fd, void *addr, size_t len)
{
	return pfnmap_moved(pread(fd, addr, len, 0), len) ?: pfnmap_file_compare(fd, addr, len);
}
