// SPDX-License-Identifier: MIT
/*
 * An io_uring of one request at a time, without a library.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pfnmap/pfnmap_uring.h"

static uint32_t *ring_word(const struct pfnmap_uring *ring, uint32_t offset)
{
	return (uint32_t *)((char *)ring->rings + offset);
}

static void *map_ring(const struct pfnmap_uring *ring, size_t len, off_t offset)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
			 offset);

	return map == MAP_FAILED ? NULL : map;
}

static int map_rings(struct pfnmap_uring *ring)
{
	const struct io_uring_params *params = &ring->params;
	size_t requests = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	size_t answers = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

	if (!(params->features & IORING_FEAT_SINGLE_MMAP))
		return -ENODEV;

	ring->rings_len = requests > answers ? requests : answers;
	ring->rings = map_ring(ring, ring->rings_len, IORING_OFF_SQ_RING);
	ring->sqes_len = params->sq_entries * sizeof(*ring->sqes);
	ring->sqes = map_ring(ring, ring->sqes_len, IORING_OFF_SQES);
	return ring->rings && ring->sqes ? 0 : -ENOMEM;
}

/**
 * pfnmap_uring_open:
 * @ring: the ring
 *
 * Returns: 0 or a negative errno, -ENODEV if there is no io_uring for us.
 */
int pfnmap_uring_open(struct pfnmap_uring *ring)
{
	int err;

	*ring = (struct pfnmap_uring) {};
	ring->fd = syscall(SYS_io_uring_setup, 1, &ring->params);
	/* So small a ring is refused by a kernel that has none, or forbids them. */
	if (ring->fd < 0)
		return -ENODEV;

	err = map_rings(ring);
	if (err)
		pfnmap_uring_close(ring);
	return err;
}

/**
 * pfnmap_uring_close:
 * @ring: the ring, and whatever was registered with it
 *
 * The kernel takes a ring apart in a worker, but unregisters buffers at once.
 */
void pfnmap_uring_close(struct pfnmap_uring *ring)
{
	syscall(SYS_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	if (ring->sqes)
		munmap(ring->sqes, ring->sqes_len);
	if (ring->rings)
		munmap(ring->rings, ring->rings_len);
	close(ring->fd);
}

/**
 * pfnmap_uring_register:
 * @ring: the ring
 * @buffer: the memory that becomes its buffer 0: its pages stay pinned
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_uring_register(const struct pfnmap_uring *ring, const struct iovec *buffer)
{
	return syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, buffer, 1) < 0 ?
	       -errno : 0;
}

/**
 * pfnmap_uring_run:
 * @ring: the ring
 * @sqe: a request
 * @result: what came of it
 *
 * Submits the request and waits for its end.
 *
 * Returns: 0, or a negative errno if there is no result.
 */
int pfnmap_uring_run(const struct pfnmap_uring *ring, const struct io_uring_sqe *sqe, int *result)
{
	const struct io_sqring_offsets *sq = &ring->params.sq_off;
	const struct io_cqring_offsets *cq = &ring->params.cq_off;
	uint32_t *tail = ring_word(ring, sq->tail), *head = ring_word(ring, cq->head);
	const struct io_uring_cqe *cqes = (void *)ring_word(ring, cq->cqes);
	uint32_t mask = *ring_word(ring, cq->ring_mask);

	ring->sqes[0] = *sqe;
	*ring_word(ring, sq->array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);

	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;

	/* Waiting may have ended by a signal. */
	while (__atomic_load_n(ring_word(ring, cq->tail), __ATOMIC_ACQUIRE) == *head) {
		if (syscall(SYS_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL,
			    0) < 0 && errno != EINTR)
			return -errno;
	}
	*result = cqes[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return 0;
}
