/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own test of get_user_pages(), CONFIG_GUP_TEST, and its count of pinned pages.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno, -ENODEV if the
 * kernel lacks the test.
 */
#ifndef PFNMAP_PINS_H
#define PFNMAP_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* What mm/gup_test.h defines, which is not among the headers for user space. */
struct pfnmap_gup_test {
	uint64_t get_usec;
	uint64_t put_usec;
	uint64_t addr;
	uint64_t size;		/* in: the range; out: so much of it was asked for with success */
	uint32_t pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t dump[8];	/* pages that are dumped to the log, from 1; 0 if it was not got */
};

struct pfnmap_gup_longterm {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
};

#define PFNMAP_GET_FAST		_IOWR('g', 1, struct pfnmap_gup_test)
#define PFNMAP_PIN_FAST		_IOWR('g', 2, struct pfnmap_gup_test)
#define PFNMAP_PIN_LONGTERM	_IOWR('g', 3, struct pfnmap_gup_test)
#define PFNMAP_GET		_IOWR('g', 4, struct pfnmap_gup_test)
#define PFNMAP_PIN		_IOWR('g', 5, struct pfnmap_gup_test)
#define PFNMAP_DUMP_PAGES		_IOWR('g', 6, struct pfnmap_gup_test)
#define PFNMAP_LONGTERM_START	_IOW('g', 7, struct pfnmap_gup_longterm)
#define PFNMAP_LONGTERM_READ	_IOW('g', 9, uint64_t)

#define PFNMAP_LONGTERM_WRITE	1
#define PFNMAP_LONGTERM_FAST	2
#define PFNMAP_DUMP_BY_PIN	1

/* FOLL_WRITE: the test hands the kernel's own flags through. */
#define PFNMAP_FOLL_WRITE		1

int pfnmap_gup_run(unsigned long request, struct pfnmap_gup_test *test);

/* Pins until the descriptor that it returns is closed. */
int pfnmap_gup_hold(const void *addr, size_t len, uint32_t flags);
int pfnmap_gup_read_held(int fd, void *bytes);

#define PFNMAP_PINS_UNKNOWN	(-1)

long pfnmap_pins(void);
long pfnmap_pins_acquired(void);
int pfnmap_pins_returned(long before);

#endif
