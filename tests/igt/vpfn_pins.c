// SPDX-License-Identifier: MIT
/*
 * The kernel's own test of get_user_pages(), and its count of pinned pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "vpfn_pins.h"

/* Longer than any worker takes on a slow machine. */
#define PINS_SECONDS	20

#define PINS_COUNTS	8

static int open_test(void)
{
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	return fd;
}

/**
 * vpfn_gup_run:
 * @request: one of those that take a struct vpfn_gup_test
 * @test: what to do, and what came of it
 *
 * The kernel lets go of the pages before it returns. That it got none is no error: it says so in
 * @test. A call that got a part of what it asked for counts for all of it.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_gup_run(unsigned long request, struct vpfn_gup_test *test)
{
	int fd = open_test(), err;

	if (fd < 0)
		return fd;

	err = ioctl(fd, request, test) ? -errno : 0;
	close(fd);
	return err;
}

/**
 * vpfn_gup_hold:
 * @addr: where the pages begin
 * @len: length of the range
 * @flags: VPFN_LONGTERM_*
 *
 * Pins by FOLL_LONGTERM; nothing stays pinned if one of the pages cannot be.
 *
 * Returns: a file descriptor to close, or a negative errno.
 */
int vpfn_gup_hold(const void *addr, size_t len, uint32_t flags)
{
	struct vpfn_gup_longterm range = {
		.addr = (uintptr_t)addr,
		.size = len,
		.flags = flags,
	};
	int fd = open_test(), err;

	if (fd < 0 || !ioctl(fd, VPFN_LONGTERM_START, &range))
		return fd;

	err = -errno;
	close(fd);
	return err;
}

/**
 * vpfn_gup_read_held:
 * @fd: from vpfn_gup_hold()
 * @bytes: where what the pages hold goes, all of it
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_gup_read_held(int fd, void *bytes)
{
	uint64_t addr = (uintptr_t)bytes;

	return ioctl(fd, VPFN_LONGTERM_READ, &addr) ? -errno : 0;
}

/* What CPUs have counted for themselves is added up. */
static bool refresh_counts(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

/**
 * vpfn_pins:
 *
 * Returns: how many pages are pinned in the whole system, by FOLL_PIN; VPFN_PINS_UNKNOWN if the
 * kernel does not say so.
 */
long vpfn_pins(void)
{
	long acquired = 0, released = 0;
	unsigned int found = 0;
	char line[128];
	FILE *file;

	if (!refresh_counts())
		return VPFN_PINS_UNKNOWN;
	file = fopen("/proc/vmstat", "r");
	if (!file)
		return VPFN_PINS_UNKNOWN;

	while (fgets(line, sizeof(line), file)) {
		found += sscanf(line, "nr_foll_pin_acquired %ld", &acquired) == 1;
		found += sscanf(line, "nr_foll_pin_released %ld", &released) == 1;
	}
	fclose(file);
	return found == 2 ? acquired - released : VPFN_PINS_UNKNOWN;
}

/**
 * vpfn_pins_lasting:
 *
 * Others pin, too, if only for a moment: igt_runner's writes to a file system that uses
 * netfs_extract_user_iter(), say. Whoever holds on is in each of some counts.
 *
 * Returns: the least of them, as vpfn_pins().
 */
long vpfn_pins_lasting(void)
{
	long least = vpfn_pins();

	for (unsigned int i = 1; i < PINS_COUNTS; i++) {
		long pins = vpfn_pins();

		if (pins < least)
			least = pins;
	}
	return least;
}

/**
 * vpfn_pins_returned:
 * @before: what vpfn_pins() or vpfn_pins_lasting() said before some pages may have been pinned
 *
 * Whoever pins pages may let go of them in a worker, after he has answered: io_uring does when its
 * last descriptor is closed, and so does direct I/O that has read. So this waits; a page that
 * stays pinned is waited for in vain.
 *
 * Returns: 0 if no more pages are pinned than before, -EBUSY if there are.
 */
int vpfn_pins_returned(long before)
{
	time_t end = time(NULL) + PINS_SECONDS;

	do {
		if (vpfn_pins() <= before)
			return 0;
		usleep(1000);
	} while (time(NULL) < end);
	return -EBUSY;
}
