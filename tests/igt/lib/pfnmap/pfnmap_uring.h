/* SPDX-License-Identifier: MIT */
/*
 * An io_uring of one request at a time, without a library.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef PFNMAP_URING_H
#define PFNMAP_URING_H

#include <linux/io_uring.h>
#include <stddef.h>
#include <sys/uio.h>

struct pfnmap_uring {
	int fd;
	void *rings;			/* both of them: IORING_FEAT_SINGLE_MMAP */
	size_t rings_len;
	struct io_uring_sqe *sqes;
	size_t sqes_len;
	struct io_uring_params params;
};

int pfnmap_uring_open(struct pfnmap_uring *ring);
void pfnmap_uring_close(struct pfnmap_uring *ring);
int pfnmap_uring_register(const struct pfnmap_uring *ring, const struct iovec *buffer);
int pfnmap_uring_run(const struct pfnmap_uring *ring, const struct io_uring_sqe *sqe, int *result);

#endif
