// SPDX-License-Identifier: MIT
/*
 * get_user_pages() and all who call it: special entries have no page, whatever the size of the
 * leaf, and wherever the memory is. Who can do without pages works.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pins.h"
#include "pfnmap/pfnmap_uring.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_source.h"

IGT_TEST_DESCRIPTION("What consumers of pages get from a mapping.");

#define MATRIX	"vpfn_gup"

static const struct pfnmap_group groups[] = {
	{ .matrix = MATRIX, PFNMAP_FAMILIES(gup) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(page) },
	{ .matrix = MATRIX, PFNMAP_FAMILIES(failure) },
};

static int fd = -1;

/*
 * By this count each family of users and each range is judged, beside the answers: a refusal that
 * has left a page pinned raises it. It counts FOLL_PIN alone: for what get_user_pages() itself
 * takes there is no count that a process could read.
 */
static void test_count(void)
{
	const size_t pages = 16;
	long before = pfnmap_pins(), acquired = pfnmap_pins_acquired();
	void *memory = pfnmap_anonymous(pages * PFNMAP_PAGE);
	int held;

	igt_require_f(before != PFNMAP_PINS_UNKNOWN, "no count of pinned pages in /proc/vmstat\n");
	igt_assert(memory);
	held = pfnmap_gup_hold(memory, pages * PFNMAP_PAGE, 0);
	igt_require_f(held != -ENODEV, "no gup_test in debugfs (CONFIG_GUP_TEST)\n");
	igt_assert_lte(0, held);
	igt_assert_lte(acquired + pages, pfnmap_pins_acquired());
	close(held);
	igt_assert_eq(pfnmap_pins_returned(before), 0);
	munmap(memory, pages * PFNMAP_PAGE);
}

/*
 * Ranges of which one half is ordinary memory. A consumer that reports a length has to stop between
 * the halves; one that needs all of it gets nothing, and releases the half that it could have.
 */
#define HALF	(2 * PFNMAP_PAGE)
#define RANGE	(2 * HALF)

/* What a range holds that is to be written. */
#define WRITTEN	0x5e

/* Page by page. */
static ssize_t take_by_gup(char *range, unsigned long request)
{
	struct pfnmap_gup_test test = {
		.addr = (uintptr_t)range,
		.size = RANGE,
		.pages_per_call = 1,
		.gup_flags = PFNMAP_FOLL_WRITE,
	};
	int err = pfnmap_gup_run(request, &test);

	if (err)
		return err;
	return test.size ? (ssize_t)test.size : -EFAULT;
}

static ssize_t take_get(char *range)
{
	return take_by_gup(range, PFNMAP_GET);
}

static ssize_t take_get_fast(char *range)
{
	return take_by_gup(range, PFNMAP_GET_FAST);
}

static ssize_t take_pin(char *range)
{
	return take_by_gup(range, PFNMAP_PIN);
}

static ssize_t take_pin_fast(char *range)
{
	return take_by_gup(range, PFNMAP_PIN_FAST);
}

/* All pages in one call; the dump tells of each whether it was got. */
static ssize_t take_at_once(char *range)
{
	struct pfnmap_gup_test test = {
		.addr = (uintptr_t)range,
		.size = RANGE,
		.pages_per_call = RANGE / PFNMAP_PAGE,
		.test_flags = PFNMAP_DUMP_BY_PIN,
		.dump = { 1, 2, 3, 4 },
	};
	int err = pfnmap_gup_run(PFNMAP_DUMP_PAGES, &test);
	ssize_t taken = 0;

	if (err)
		return err;
	for (unsigned int i = 0; i < RANGE / PFNMAP_PAGE && test.dump[i]; i++)
		taken += PFNMAP_PAGE;
	return taken ?: -EFAULT;
}

static ssize_t take_for_long(char *range)
{
	int held = pfnmap_gup_hold(range, RANGE, PFNMAP_LONGTERM_WRITE | PFNMAP_LONGTERM_FAST);

	if (held < 0)
		return held;
	close(held);
	return RANGE;
}

/* Bytes that were taken are those of the range. */
static ssize_t taken_as_in(const char *range, const char *bytes, ssize_t taken)
{
	if (taken < 0)
		return -errno;
	igt_assert(!memcmp(bytes, range, taken));
	return taken;
}

static ssize_t take_by_readv(char *range)
{
	char bytes[RANGE] = {};
	struct iovec local = { bytes, RANGE }, remote = { range, RANGE };

	return taken_as_in(range, bytes, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
}

static ssize_t take_by_writev(char *range)
{
	char bytes[RANGE];
	struct iovec local = { bytes, RANGE }, remote = { range, RANGE };

	memset(bytes, WRITTEN, RANGE);
	return taken_as_in(range, bytes, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
}

static ssize_t take_by_vmsplice(char *range)
{
	struct iovec iov = { range, RANGE };
	char bytes[RANGE] = {};
	ssize_t taken;
	int ends[2];

	igt_assert_eq(pipe(ends), 0);
	taken = vmsplice(ends[1], &iov, 1, SPLICE_F_NONBLOCK);
	if (taken > 0)
		igt_assert_eq(read(ends[0], bytes, RANGE), taken);
	taken = taken_as_in(range, bytes, taken);
	close(ends[0]);
	close(ends[1]);
	return taken;
}

static ssize_t take_by_io_uring(char *range)
{
	struct iovec buffer = { range, RANGE };
	struct pfnmap_uring ring;
	int err = pfnmap_uring_open(&ring);

	if (err)
		return err;
	err = pfnmap_uring_register(&ring, &buffer);
	pfnmap_uring_close(&ring);
	return err ?: (ssize_t)RANGE;
}

/* Each takes as much as it can of a range, and returns the length or an errno. */
static const struct taker {
	const char *name;
	ssize_t (*take)(char *range);
	ssize_t in_part;	/* what it takes of a range of which it can have the first half */
} takers[] = {
	{ "get_user_pages", take_get, HALF },
	{ "get_user_pages_fast", take_get_fast, HALF },
	{ "pin_user_pages", take_pin, HALF },
	{ "pin_user_pages_fast", take_pin_fast, HALF },
	{ "pin_user_pages, all at once", take_at_once, HALF },
	{ "pin_user_pages_fast, FOLL_LONGTERM", take_for_long, -EFAULT },
	{ "process_vm_readv, remote side", take_by_readv, HALF },
	{ "process_vm_writev, remote side", take_by_writev, HALF },
	{ "vmsplice to a pipe", take_by_vmsplice, HALF },
	{ "io_uring, registered", take_by_io_uring, -EFAULT },
};

static void taker_cell(const struct taker *taker, const char *how, const char *where,
		       ssize_t taken)
{
	char row[80], answer[32];

	snprintf(row, sizeof(row), "%s, %s", taker->name, how);
	if (taken > 0)
		snprintf(answer, sizeof(answer), "%zd of %llu pages", taken / (ssize_t)PFNMAP_PAGE,
			 RANGE / PFNMAP_PAGE);
	pfnmap_matrix_cell(MATRIX, row, where,
			   taken > 0 ? answer : pfnmap_answer_name(taken));
}

static void assert_taken(const struct taker *taker, const char *how, const char *where,
			 char *range, ssize_t expected)
{
	ssize_t taken = taker->take(range);

	igt_require_f(taken != -ENODEV, "the kernel lacks %s (CONFIG_GUP_TEST, CONFIG_IO_URING)\n",
		      taker->name);
	taker_cell(taker, how, where, taken);
	igt_assert_f(taken == expected, "%s, %s, on %s: %zd, not %zd\n", taker->name, how, where,
		     taken, expected);
}

/* A mapping of a source's buffer, with ordinary memory below and above. */
struct framed {
	char *area;
	size_t area_len;
	char *map;
	size_t len;
};

static void put_ordinary(char *addr)
{
	igt_assert(mmap(addr, HALF, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == addr);
	memset(addr, 0x0d, HALF);
}

static void framed_open(struct framed *framed, const struct vpfn_view *view)
{
	void *map;

	framed->len = view->bo.size;
	framed->area_len = framed->len + 2 * PFNMAP_1G;
	igt_assert_eq(pfnmap_reserve(framed->area_len, PFNMAP_1G, &map), 0);
	framed->area = map;
	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, framed->len, framed->area + PFNMAP_1G,
				    MAP_FIXED, &map), 0);
	framed->map = map;
	put_ordinary(framed->map - HALF);
	put_ordinary(framed->map + framed->len);
	vpfn_view_check_at(view, framed->map, 0, framed->len);
	vpfn_assert_level(fd, framed->map, view->level);
	vpfn_assert_level(fd, framed->map + framed->len - PFNMAP_PAGE, view->level);
}

static void framed_close(const struct framed *framed)
{
	igt_assert_eq(munmap(framed->area, framed->area_len), 0);
}

static void assert_bytes(const char *addr, char byte)
{
	for (size_t i = 0; i < HALF; i++)
		igt_assert_eq(addr[i], byte);
}

/* The mapping is the second half: who writes, writes the first one alone. */
static void run_into(const struct taker *taker, const struct pfnmap_source *source,
		     const struct framed *framed)
{
	assert_taken(taker, "into", source->name, framed->map - HALF, taker->in_part);
	if (taker->take == take_by_writev)
		assert_bytes(framed->map - HALF, WRITTEN);
	vpfn_assert_level(fd, framed->map, vpfn_view_of(source)->level);
}

/* The mapping is the first half: no consumer gets to the second one. */
static void run_out(const struct taker *taker, const struct pfnmap_source *source,
		    const struct framed *framed)
{
	char *end = framed->map + framed->len;

	assert_taken(taker, "out of", source->name, end - HALF, -EFAULT);
	assert_bytes(end, 0x0d);
	vpfn_assert_level(fd, end - PFNMAP_PAGE, vpfn_view_of(source)->level);
}

static void test_ranges(const struct pfnmap_source *source,
			void (*run)(const struct taker *taker, const struct pfnmap_source *source,
				    const struct framed *framed))
{
	struct framed framed;
	long pins;

	framed_open(&framed, vpfn_view_of(source));
	pins = pfnmap_pins();
	for (unsigned int i = 0; i < ARRAY_SIZE(takers); i++)
		run(&takers[i], source, &framed);
	igt_assert_eq(pfnmap_pins_returned(pins), 0);
	vpfn_view_check_at(vpfn_view_of(source), framed.map, 0, framed.len);
	framed_close(&framed);
}

/* The control: ordinary memory in both halves, of which each takes all. */
static void test_ordinary_ranges(const char *how)
{
	char *range = pfnmap_anonymous(RANGE);
	long pins = pfnmap_pins();

	igt_assert(range);
	for (unsigned int i = 0; i < ARRAY_SIZE(takers); i++)
		assert_taken(&takers[i], how, "ordinary", range, RANGE);
	igt_assert_eq(pfnmap_pins_returned(pins), 0);
	munmap(range, RANGE);
}

static const struct {
	const char *name;
	const char *describe;
	const char *how;
	void (*run)(const struct taker *taker, const struct pfnmap_source *source,
		    const struct framed *framed);
} ranges[] = {
	{ "range-into", "Of ordinary memory and then a mapping only the first is taken, or nothing.",
	  "into", run_into },
	{ "range-out-of", "Of a mapping and then ordinary memory nothing is taken.",
	  "out of", run_out },
};

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
	}

	igt_describe("The kernel's count of pinned pages sees those that are.");
	igt_subtest("count")
		test_count();

	pfnmap_matrix_families(groups, ARRAY_SIZE(groups));

	for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++) {
		igt_describe(ranges[i].describe);
		igt_subtest_with_dynamic(ranges[i].name) {
			igt_dynamic("ordinary")
				test_ordinary_ranges(ranges[i].how);
			for_each_pfnmap_source(source) {
				igt_dynamic(source->name)
					test_ranges(pfnmap_source_renew(source), ranges[i].run);
			}
		}
	}

	igt_fixture() {
		close(fd);
	}
}
