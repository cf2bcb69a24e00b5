// SPDX-License-Identifier: MIT
/*
 * How short is memory?
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_pressure.h"

#define PAGES_LIMIT	"/sys/module/ttm/parameters/pages_limit"
#define BUFFER_OBJECTS	"/sys/kernel/debug/ttm/buffer_objects"
#define SHRINK		"/sys/kernel/debug/ttm/tt_shrink"
#define SWAP_SPACE	"/dev/zram0"
#define MEMINFO		"/proc/meminfo"
#define FAULTS		"/sys/kernel/debug/fail_page_alloc/"

/* The first number in a file, or the one after @key. */
static int read_number(const char *path, const char *key, uint64_t *number)
{
	char text[4096];
	const char *at;
	int err = pfnmap_text_read(path, text, sizeof(text));

	if (err)
		return err;

	at = strstr(text, key);
	return at && sscanf(at + strlen(key), "%" SCNu64, number) == 1 ? 0 : -EPROTO;
}

static int read_meminfo(const char *key, uint64_t *bytes)
{
	uint64_t kib = 0;
	int err = read_number(MEMINFO, key, &kib);

	*bytes = kib << 10;
	return err;
}

/**
 * vpfn_pages_limit_get:
 * @pages: where it goes how many pages TTM may have at a time
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_pages_limit_get(uint64_t *pages)
{
	return read_number(PAGES_LIMIT, "", pages);
}

/**
 * vpfn_pages_limit_set:
 * @pages: how many pages TTM may have at a time
 *
 * The limit counts the next time that a buffer needs pages: TTM swaps others out until it is
 * kept or no other can be swapped out.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_pages_limit_set(uint64_t pages)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, pages);
	return pfnmap_text_write(PAGES_LIMIT, text);
}

/**
 * vpfn_piece_limit:
 * @order: the largest piece that this task may get, or VPFN_ANY_ORDER
 *
 * By the kernel's fault injection: an allocation that can use smaller pieces asks for those next.
 *
 * Returns: 0 or a negative errno, -ENOENT if the kernel lacks CONFIG_FAIL_PAGE_ALLOC.
 */
int vpfn_piece_limit(unsigned int order)
{
	const bool on = order < VPFN_ANY_ORDER;
	char min_order[8];
	const struct {
		const char *file, *text;
	} settings[] = {
		{ FAULTS "task-filter", "Y" },
		{ FAULTS "ignore-gfp-wait", on ? "N" : "Y" },
		{ FAULTS "ignore-gfp-highmem", on ? "N" : "Y" },
		{ FAULTS "min-order", min_order },
		{ FAULTS "times", "-1" },
		{ FAULTS "verbose", "0" },
		{ FAULTS "probability", on ? "100" : "0" },
		{ "/proc/self/make-it-fail", on ? "1" : "0" },
	};
	int err = 0;

	snprintf(min_order, sizeof(min_order), "%u", on ? order + 1 : 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(settings) && !err; i++)
		err = pfnmap_text_write(settings[i].file, settings[i].text);
	return err;
}

/**
 * vpfn_buffer_count:
 * @count: where it goes how many buffers TTM has, of all devices and clients
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_buffer_count(uint64_t *count)
{
	return read_number(BUFFER_OBJECTS, "", count);
}

/**
 * vpfn_shmem_size:
 * @bytes: where the size of shared memory goes, which is where TTM swaps to
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_shmem_size(uint64_t *bytes)
{
	return read_meminfo("\nShmem:", bytes);
}

/**
 * vpfn_swap_out:
 * @bytes: where it goes how much that was
 *
 * TTM swaps out all buffers in system memory that are idle.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_swap_out(uint64_t *bytes)
{
	uint64_t pages;
	int err;

	*bytes = 0;
	/* One buffer each time that the file is read, which then tells its size */
	do {
		err = read_number(SHRINK, "", &pages);
		*bytes += err ? 0 : pages * PFNMAP_PAGE;
	} while (!err && pages);
	return err;
}

/**
 * vpfn_swap_on:
 *
 * Gives the machine its swap space, which vm/guest/swap-space has prepared. Without any the driver
 * keeps buffers in memory.
 *
 * Returns: 0, also if the space is in use already, or a negative errno.
 */
int vpfn_swap_on(void)
{
	return swapon(SWAP_SPACE, 0) && errno != EBUSY ? -errno : 0;
}

/**
 * vpfn_swap_off:
 *
 * Returns: 0, also if the machine has no swap space, or a negative errno.
 */
int vpfn_swap_off(void)
{
	return swapoff(SWAP_SPACE) && errno != EINVAL ? -errno : 0;
}

/**
 * vpfn_system_room:
 * @bytes: where the size of TTM_PL_TT goes, the limit for buffers in system memory
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_system_room(uint64_t *bytes)
{
	int err = read_meminfo("MemTotal:", bytes);

	*bytes /= 2;
	return err;
}
