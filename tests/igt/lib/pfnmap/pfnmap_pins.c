// SPDX-License-Identifier: MIT
/*
 * The kernel's own test of get_user_pages(), and its count of pinned pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "pfnmap/pfnmap_pins.h"

/* Longer than any worker takes on a slow machine. */
#define PINS_SECONDS	20

/* Two are enough unless other processes pin pages meanwhile. */
#define READINGS	16

static int open_test(void)
{
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	return fd;
}

/**
 * pfnmap_gup_run:
 * @request: one of those that take a struct pfnmap_gup_test
 * @test: what to do, and what came of it
 *
 * The kernel lets go of the pages before it returns. That it got none is no error: it says so in
 * @test. A call that got a part of what it asked for counts for all of it.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_gup_run(unsigned long request, struct pfnmap_gup_test *test)
{
	int fd = open_test(), err;

	if (fd < 0)
		return fd;

	err = ioctl(fd, request, test) ? -errno : 0;
	close(fd);
	return err;
}

/**
 * pfnmap_gup_hold:
 * @addr: where the pages begin
 * @len: length of the range
 * @flags: PFNMAP_LONGTERM_*
 *
 * Pins by FOLL_LONGTERM; nothing stays pinned if one of the pages cannot be.
 *
 * Returns: a file descriptor to close, or a negative errno.
 */
int pfnmap_gup_hold(const void *addr, size_t len, uint32_t flags)
{
	struct pfnmap_gup_longterm range = {
		.addr = (uintptr_t)addr,
		.size = len,
		.flags = flags,
	};
	int fd = open_test(), err;

	if (fd < 0 || !ioctl(fd, PFNMAP_LONGTERM_START, &range))
		return fd;

	err = -errno;
	close(fd);
	return err;
}

/**
 * pfnmap_gup_read_held:
 * @fd: from pfnmap_gup_hold()
 * @bytes: where what the pages hold goes, all of it
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_gup_read_held(int fd, void *bytes)
{
	uint64_t addr = (uintptr_t)bytes;

	return ioctl(fd, PFNMAP_LONGTERM_READ, &addr) ? -errno : 0;
}

/* How many pages FOLL_PIN has taken and given back since boot, in the whole system. */
struct counts {
	long acquired, released;
};

/* Adds up what each CPU has counted for itself. */
static bool refresh_counts(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

static bool read_counts(struct counts *counts)
{
	unsigned int found = 0;
	char line[128];
	FILE *file;

	if (!refresh_counts())
		return false;
	file = fopen("/proc/vmstat", "r");
	if (!file)
		return false;

	while (fgets(line, sizeof(line), file)) {
		found += sscanf(line, "nr_foll_pin_acquired %ld", &counts->acquired) == 1;
		found += sscanf(line, "nr_foll_pin_released %ld", &counts->released) == 1;
	}
	fclose(file);
	return found == 2;
}

/**
 * pfnmap_pins:
 *
 * One reading can be too low, not only too high: a page that is pinned on one CPU and released on
 * another while the CPUs are added up counts as released alone, and the file is not read at once
 * either. Two readings in a row that are the same are exact: the second one includes whatever
 * happened before the first one ended, so between them nothing did. Where other processes pin all
 * the time, this returns the least upper bound of some readings: what one reading has of pages
 * acquired, less what the reading before it has of pages released.
 *
 * Returns: how many pages are pinned in the whole system, by FOLL_PIN; PFNMAP_PINS_UNKNOWN if the
 * kernel does not say so.
 */
long pfnmap_pins(void)
{
	struct counts last, now;
	long least = LONG_MAX;

	if (!read_counts(&last))
		return PFNMAP_PINS_UNKNOWN;

	for (unsigned int i = 0; i < READINGS; i++, last = now) {
		if (!read_counts(&now))
			return PFNMAP_PINS_UNKNOWN;
		if (now.acquired - last.released < least)
			least = now.acquired - last.released;
		if (now.acquired == last.acquired && now.released == last.released)
			break;
	}
	return least;
}

/**
 * pfnmap_pins_acquired:
 *
 * Other processes' pins make it larger, but their end makes it no smaller, unlike pfnmap_pins().
 *
 * Returns: how many pages FOLL_PIN has pinned since boot, in the whole system; PFNMAP_PINS_UNKNOWN
 * if the kernel does not say so.
 */
long pfnmap_pins_acquired(void)
{
	struct counts counts;

	return read_counts(&counts) ? counts.acquired : PFNMAP_PINS_UNKNOWN;
}

/**
 * pfnmap_pins_returned:
 * @before: what pfnmap_pins() said before some pages may have been pinned
 *
 * A consumer may release its pages in a worker, after the call has returned: direct I/O that has
 * read does. So this waits for the count; the limit is for a page that is never released.
 *
 * Returns: 0 if no more pages are pinned than before, -EBUSY if there are.
 */
int pfnmap_pins_returned(long before)
{
	time_t end = time(NULL) + PINS_SECONDS;
	struct counts now;

	if (before == PFNMAP_PINS_UNKNOWN)
		return 0;

	do {
		if (read_counts(&now) && now.acquired - now.released <= before)
			return 0;
		usleep(1000);
	} while (time(NULL) < end);
	return -EBUSY;
}
