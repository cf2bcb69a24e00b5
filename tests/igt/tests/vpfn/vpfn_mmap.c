// SPDX-License-Identifier: MIT
/*
 * Mappings of buffers: which are refused, and by leaves of which size do the others show the
 * buffer's bytes?
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_view.h"
#include "vpfn/vpfn_witness.h"

IGT_TEST_DESCRIPTION("Mappings of buffers of vpfn by page-table leaves of each size.");

#define SMALL		(3 * PFNMAP_PAGE)
#define VRAM_BAR	2

static int fd = -1;

/* A small buffer that belongs to one subtest. */
static void create(int file, uint64_t size, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_bo_create(file, size, bo), 0);
}

static int map_err(int file, uint64_t offset, uint64_t len, int prot)
{
	void *map;
	int err = pfnmap_map(file, offset, len, prot, &map);

	if (!err)
		munmap(map, len);
	return err;
}

static void test_map_private(void)
{
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert(mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
			bo.offset) == MAP_FAILED);
	igt_assert_eq(errno, EINVAL);
	igt_assert(mmap(NULL, SMALL, PROT_READ, MAP_PRIVATE, fd, bo.offset) == MAP_FAILED);
	igt_assert_eq(errno, EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ | PROT_WRITE), 0);
	vpfn_bo_close(fd, &bo);
}

static void test_map_past_end(void)
{
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert_eq(map_err(fd, bo.offset, SMALL + PFNMAP_PAGE, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL + 1, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset + PFNMAP_PAGE, SMALL, PROT_READ), -EINVAL);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), 0);
	igt_assert_eq(map_err(fd, bo.offset, PFNMAP_PAGE, PROT_READ), 0);
	vpfn_bo_close(fd, &bo);
}

static void test_map_foreign(void)
{
	int other = vpfn_open(O_RDWR);
	struct vpfn_bo bo;

	create(fd, SMALL, &bo);
	igt_assert_eq(map_err(other, bo.offset, SMALL, PROT_READ), -EACCES);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), 0);

	vpfn_bo_close(fd, &bo);
	igt_assert_eq(map_err(fd, bo.offset, SMALL, PROT_READ), -EINVAL);
	close(other);
}

static void test_map_read_only_file(void)
{
	int file = vpfn_open(O_RDONLY);
	struct vpfn_bo bo;
	void *map;

	igt_assert(file >= 0);
	create(file, SMALL, &bo);
	igt_assert_eq(map_err(file, bo.offset, SMALL, PROT_READ | PROT_WRITE), -EACCES);
	igt_assert_eq(pfnmap_map(file, bo.offset, SMALL, PROT_READ, &map), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0);
	igt_assert_eq(pfnmap_signal_of(map, PFNMAP_WRITE), SIGSEGV);
	igt_assert(mprotect(map, SMALL, PROT_READ | PROT_WRITE));
	igt_assert_eq(errno, EACCES);
	munmap(map, SMALL);
	close(file);
}

static void test_contents(void)
{
	struct pfnmap_pattern pattern = { .seed = 0xc0, .size = SMALL };
	int file = vpfn_open(O_RDWR);
	struct vpfn_bo bo;
	char *map, *second;

	create(file, SMALL, &bo);
	igt_assert_eq(vpfn_bo_map(file, &bo, (void **)&map), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, (void **)&second), 0);
	for (uint64_t at = 0; at < SMALL; at += sizeof(uint64_t))
		igt_assert_eq_u64(pfnmap_load(map + at), 0);

	pfnmap_pattern_fill(&pattern, map, 0, SMALL);
	igt_assert_eq_u64(pfnmap_pattern_check(&pattern, second, 0, SMALL), SMALL);

	/* A mapping keeps the buffer when handle and file are closed. */
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);
	igt_assert_eq_u64(pfnmap_pattern_check(&pattern, map, 0, SMALL), SMALL);
	pattern.seed++;
	pfnmap_pattern_fill(&pattern, second, 0, SMALL);
	munmap(second, SMALL);
	igt_assert_eq_u64(pfnmap_pattern_check(&pattern, map, 0, SMALL), SMALL);
	munmap(map, SMALL);
}

/* Leaves */

static void assert_leaf(const struct vpfn_leaf *dump, const struct vpfn_leaf *driver,
			enum vpfn_level level)
{
	igt_assert_f(dump->level == level, "the page-table dump shows a %s, not a %s\n",
		     vpfn_level_name(dump->level), vpfn_level_name(level));
	igt_assert_f(driver->level == level, "the driver shows a %s, not a %s\n",
		     vpfn_level_name(driver->level), vpfn_level_name(level));
	igt_assert(dump->writable);
	igt_assert(driver->writable);
	igt_assert_f(!strcmp(dump->cache, "WC"), "the cache mode is %s\n", dump->cache);
	igt_assert(driver->special);
}

/* A new buffer, each page of which is touched once. */
static char *map_and_count(uint64_t size, enum vpfn_level limit)
{
	struct vpfn_bo bo;
	long kib, faults;
	char *map;

	create(fd, size, &bo);
	igt_assert_eq(vpfn_bo_map(fd, &bo, (void **)&map), 0);
	vpfn_bo_close(fd, &bo);
	vpfn_assert_level(fd, map, VPFN_NONE);

	kib = vpfn_page_table_kib();
	faults = vpfn_faults();
	for (uint64_t at = 0; at < size; at += PFNMAP_PAGE)
		pfnmap_store(map + at, at);
	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;

	igt_info("%7llu KiB, at most %s: %ld faults, VmPTE +%ld KiB\n",
		 (unsigned long long)size >> 10, vpfn_level_name(limit), faults, kib);
	igt_assert_lte(vpfn_expect_faults(size, limit), faults);
	igt_assert_lte(faults, vpfn_expect_faults(size, limit) + 2);
	vpfn_assert_page_table_growth(kib, size, limit);
	return map;
}

/* First and last page: the driver agrees with the page-table dump and with the buffer. */
static void check_ends(char *map, uint64_t size, enum vpfn_level limit,
		       const struct vpfn_leaf dumps[2])
{
	struct vpfn_span span = { .base = (uintptr_t)map, .to = size };
	uint64_t last = size - PFNMAP_PAGE;
	struct vpfn_leaf head, tail;

	igt_assert_eq(vpfn_leaf_from_driver(fd, map, &head), 0);
	igt_assert_eq(vpfn_leaf_from_driver(fd, map + last, &tail), 0);
	assert_leaf(&dumps[0], &head, vpfn_expect_level(&span, 0, limit));
	assert_leaf(&dumps[1], &tail, vpfn_expect_level(&span, last, limit));
	igt_assert_eq_u64(tail.pfn, head.pfn + last / PFNMAP_PAGE);
	igt_assert_eq_u64(pfnmap_load(map), 0);
	igt_assert_eq_u64(pfnmap_load(map + last), last);
}

static void test_leaf_size(enum vpfn_level limit)
{
	/* A GiB of ptes would tell no more than 32 MiB, for a minute of faults. */
	const uint64_t sizes[] = {
		PFNMAP_PAGE, SMALL, PFNMAP_2M, PFNMAP_2M + PFNMAP_2M / 2,
		limit == VPFN_PTE ? 16 * PFNMAP_2M : PFNMAP_1G,
	};
	const void *ends[2 * ARRAY_SIZE(sizes)];
	struct vpfn_leaf dumps[ARRAY_SIZE(ends)];
	char *maps[ARRAY_SIZE(sizes)];

	igt_assert_eq(vpfn_limit_set(limit), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		maps[i] = map_and_count(sizes[i], limit);
		ends[2 * i] = maps[i];
		ends[2 * i + 1] = maps[i] + sizes[i] - PFNMAP_PAGE;
	}

	igt_assert_eq(vpfn_leaves_from_ptdump(ARRAY_SIZE(ends), ends, dumps), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		check_ends(maps[i], sizes[i], limit, &dumps[2 * i]);
		munmap(maps[i], sizes[i]);
	}
}

/* So much is mapped by a fault that ends at the PTE level: each such fault is counted. */
#define TOUCH_STEP	(16 * PFNMAP_PAGE)

/* Touches all of a mapping in which nothing is mapped; what it costs is known exactly. */
static void touch_and_count(char *map, uint64_t size, enum vpfn_level level, long tables_kib)
{
	long faults, kib;

	kib = vpfn_page_table_kib();
	faults = vpfn_faults();
	for (uint64_t at = 0; at < size; at += TOUCH_STEP)
		pfnmap_store(map + at, at);
	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;

	igt_assert_eq(faults, size / vpfn_level_size(level));
	igt_assert_eq(kib, tables_kib);
	vpfn_assert_level(fd, map, level);
	vpfn_assert_level(fd, map + size - PFNMAP_PAGE, level);
}

/*
 * The first touch of a GiB, and the first one after it was away. Beside it something is mapped, so
 * that the page tables above those of the GiB are there: a PUD leaf takes none, PMD leaves one.
 */
static void test_first_touch(enum vpfn_level level)
{
	struct vpfn_bo bo;
	char *map, *area;
	uint32_t crc;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(pfnmap_reserve(2 * PFNMAP_1G, 4 * PFNMAP_1G, (void **)&area), 0);
	igt_assert_eq(mprotect(area, PFNMAP_PAGE, PROT_READ | PROT_WRITE), 0);
	pfnmap_store(area, 1);
	create(fd, PFNMAP_1G, &bo);
	igt_assert_eq(pfnmap_map_at(fd, bo.offset, PFNMAP_1G, area + PFNMAP_1G, MAP_FIXED,
				    (void **)&map), 0);

	vpfn_page_table_kib();
	touch_and_count(map, PFNMAP_1G, level, level == VPFN_PMD ? 4 : 0);

	/* Tables stay when what they hold goes. */
	igt_assert_eq(vpfn_evict(fd), 0);
	vpfn_assert_level(fd, map, VPFN_NONE);
	igt_assert_eq(vpfn_crc(fd, &bo, 0, PFNMAP_PAGE, &crc), 0);
	touch_and_count(map, PFNMAP_1G, level, 0);
	for (uint64_t at = 0; at < PFNMAP_1G; at += TOUCH_STEP)
		igt_assert_eq_u64(pfnmap_load(map + at), at);

	vpfn_bo_close(fd, &bo);
	igt_assert_eq(munmap(area, 2 * PFNMAP_1G), 0);
}

/* An address that is not the memory's: smaller leaves, and the same bytes. */
static void check_map_at(struct vpfn_view *view, char *area, uint64_t shift, int flags)
{
	struct vpfn_span span = { .base = (uintptr_t)area + shift, .to = view->bo.size };
	void *map;

	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, span.to, area + shift, flags, &map), 0);
	igt_assert(map == area + shift);

	vpfn_view_check_at(view, map, 0, PFNMAP_2M);
	vpfn_view_check_at(view, map, span.to / 2, span.to / 2 + PFNMAP_2M);
	vpfn_view_check_at(view, map, span.to - PFNMAP_2M, span.to);
	vpfn_assert_level(fd, map, vpfn_expect_level(&span, 0, view->level));
	vpfn_assert_level(fd, (char *)map + span.to - PFNMAP_PAGE,
			  vpfn_expect_level(&span, span.to - PFNMAP_PAGE, view->level));
	munmap(map, span.to);
}

static void test_map_fixed(struct vpfn_view *view)
{
	char *area = vpfn_view_reserve(view);

	check_map_at(view, area, 0, MAP_FIXED);
	check_map_at(view, area, PFNMAP_PAGE, MAP_FIXED);
	check_map_at(view, area, PFNMAP_2M - PFNMAP_PAGE, MAP_FIXED);
	check_map_at(view, area, PFNMAP_2M, MAP_FIXED);
	munmap(area, view->bo.size + PFNMAP_2M);
}

static void test_map_hint(struct vpfn_view *view)
{
	char *area = vpfn_view_reserve(view);
	uint64_t inside = vpfn_view_inside(view);
	void *map;

	munmap(area, view->bo.size + PFNMAP_2M);
	check_map_at(view, area, 0, 0);
	check_map_at(view, area, PFNMAP_PAGE, 0);
	check_map_at(view, area, 0, MAP_FIXED_NOREPLACE);

	/* Where something is already, a hint moves and MAP_FIXED_NOREPLACE fails. */
	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, view->bo.size, view->map + inside,
				    MAP_FIXED_NOREPLACE, &map), -EEXIST);
	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, view->bo.size, view->map + inside, 0,
				    &map), 0);
	igt_assert((char *)map + view->bo.size <= view->map ||
		   (char *)map >= view->map + view->bo.size);
	vpfn_view_check(view);
	vpfn_assert_level(fd, view->map, view->level);
	munmap(map, view->bo.size);
}

/* The first fault on a leaf reads; what it installs must not stop a write, nor repeat. */
static void test_read_then_write(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	void *word = view->map + inside;
	uint64_t value = pfnmap_load(word);
	long faults = vpfn_faults();

	igt_assert_eq_u64(value, pfnmap_pattern_word(&view->pattern, inside));
	pfnmap_store(word, ~value);
	igt_assert_lte(vpfn_faults() - faults, 2);
	igt_assert_eq_u64(pfnmap_load(word), ~value);
	vpfn_assert_level(fd, word, view->level);

	pfnmap_store(word, value);
	vpfn_view_check(view);
}

/* Does the kernel tell of a page of ordinary memory that was just written? */
static bool tells_of_writes(void)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *page = mmap(NULL, PFNMAP_PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	off_t at = (uintptr_t)page / PFNMAP_PAGE * sizeof(uint64_t);
	uint64_t entry;

	igt_assert(file >= 0 && page != MAP_FAILED);
	pfnmap_store(page, 1);
	igt_assert_eq(pread(file, &entry, sizeof(entry), at), sizeof(entry));
	munmap(page, PFNMAP_PAGE);
	close(file);
	return entry & 1ull << 55;
}

/* Has the kernel track writes: it installs leaves read-only although one may write. */
static void track_writes(void)
{
	int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	igt_require_f(tells_of_writes(), "the kernel tracks no writes (CONFIG_MEM_SOFT_DIRTY)\n");
	igt_assert(file >= 0);
	igt_assert_eq(write(file, "4", 1), 1);
	close(file);
}

static void test_write_notify(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	char *word = view->map + inside;
	uint64_t value;
	struct vpfn_leaf leaf;

	track_writes();
	value = pfnmap_load(word);
	igt_assert_eq_u64(value, pfnmap_pattern_word(&view->pattern, inside));
	igt_assert_eq(vpfn_leaf_from_driver(fd, word, &leaf), 0);
	igt_assert_f(!leaf.writable, "the first write would go unnoticed\n");

	/* With a leaf that stays read-only, the write would fault again and again. */
	alarm(60);
	pfnmap_store(word, ~value);
	alarm(0);
	igt_assert_eq_u64(pfnmap_load(word), ~value);
	vpfn_assert_level(fd, word, view->level);

	pfnmap_store(word, value);
	vpfn_view_check(view);
}

/* A read-only mapping has a read-only leaf, which mprotect() has to make writable. */
static void test_read_only_then_write(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	uint64_t value;
	char *map, *word;

	igt_assert_eq(pfnmap_map(fd, view->bo.offset, view->bo.size, PROT_READ, (void **)&map), 0);
	word = map + inside;
	value = pfnmap_load(word);
	igt_assert_eq_u64(value, pfnmap_pattern_word(&view->pattern, inside));
	vpfn_assert_level(fd, word, view->level);
	igt_assert_eq(pfnmap_signal_of(word, PFNMAP_WRITE), SIGSEGV);

	igt_assert_eq(mprotect(map, view->bo.size, PROT_READ | PROT_WRITE), 0);
	pfnmap_store(word, ~value);
	igt_assert_eq_u64(pfnmap_load(view->map + inside), ~value);
	vpfn_assert_level(fd, word, view->level);
	pfnmap_store(word, value);
	vpfn_view_check_at(view, map, 0, view->bo.size);
	munmap(map, view->bo.size);
}

/* One buffer by large leaves and by small ones at the same time. */
static void test_two_mappings(struct vpfn_view *view)
{
	uint64_t size = view->bo.size;
	char *area = vpfn_view_reserve(view);
	struct pfnmap_pattern other = view->pattern;
	void *map;

	igt_assert_eq(pfnmap_map_at(fd, view->bo.offset, size, area + PFNMAP_PAGE, MAP_FIXED, &map),
		      0);
	vpfn_view_check_at(view, map, 0, PFNMAP_2M);
	vpfn_assert_level(fd, map, VPFN_PTE);

	other.seed ^= 0x2;
	pfnmap_pattern_fill(&other, map, 0, PFNMAP_2M);
	igt_assert_eq_u64(pfnmap_pattern_check(&other, view->map, 0, PFNMAP_2M), PFNMAP_2M);
	vpfn_view_check_at(view, view->map, PFNMAP_2M, size);
	vpfn_assert_level(fd, view->map, view->level);
	munmap(area, size + PFNMAP_2M);
}

#define THREADS	8

static void *touch_all(void *data)
{
	const struct vpfn_view *view = data;
	uint64_t size = view->bo.size;

	return (void *)(uintptr_t)pfnmap_pattern_check(&view->pattern, view->map, 0, size);
}

static void test_threads(struct vpfn_view *view)
{
	pthread_t threads[THREADS];
	void *end;

	for (int i = 0; i < THREADS; i++)
		igt_assert_eq(pthread_create(&threads[i], NULL, touch_all, view), 0);
	for (int i = 0; i < THREADS; i++) {
		igt_assert_eq(pthread_join(threads[i], &end), 0);
		igt_assert_eq_u64((uintptr_t)end, view->bo.size);
	}
	vpfn_assert_level(fd, view->map, view->level);
	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), view->level);
	vpfn_view_refill(view);
	vpfn_view_check(view);
}

/* Two pages around @border, by ptrace and by the mapping, each writes and each reads. */
static void check_ptrace_at(struct vpfn_view *view, uint64_t border)
{
	static uint64_t bytes[2 * PFNMAP_PAGE / sizeof(uint64_t)], seen[sizeof(bytes) / 8];
	struct pfnmap_pattern pattern = { .seed = border, .size = sizeof(bytes) };
	char *addr = view->map + border - PFNMAP_PAGE;

	pfnmap_pattern_bytes(&pattern, bytes, sizeof(bytes));
	igt_assert_eq(pfnmap_proc_mem(addr + 4, bytes, sizeof(bytes) - 8, true), 0);
	igt_assert(!memcmp(addr + 4, bytes, sizeof(bytes) - 8));

	pattern.seed++;
	pfnmap_pattern_bytes(&pattern, addr, sizeof(bytes));
	pfnmap_pattern_bytes(&pattern, bytes, sizeof(bytes));
	igt_assert_eq(pfnmap_proc_mem(addr, seen, sizeof(seen), false), 0);
	igt_assert(!memcmp(seen, bytes, sizeof(seen)));
}

static void test_ptrace(struct vpfn_view *view)
{
	/* This mapping is untouched, and ptrace does not map anything either. */
	igt_assert_eq_u64(pfnmap_pattern_check_by_ptrace(&view->pattern, view->map, 0,
							 view->bo.size), view->bo.size);
	vpfn_assert_level(fd, view->map, VPFN_NONE);

	check_ptrace_at(view, PFNMAP_PAGE);
	check_ptrace_at(view, view->bo.size / 2);
	check_ptrace_at(view, vpfn_view_inside(view));
	check_ptrace_at(view, view->bo.size - PFNMAP_PAGE);
	vpfn_assert_level(fd, view->map, view->level);
}

static void test_dma_buf(struct vpfn_view *view)
{
	struct vpfn_span span = { .to = view->bo.size };
	char *area = vpfn_view_reserve(view);
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_bo_export(fd, &view->bo, &dmabuf), 0);
	igt_assert_eq(pfnmap_map_at(dmabuf, 0, span.to, area, MAP_FIXED, &map), 0);
	close(dmabuf);

	span.base = (uintptr_t)area;
	vpfn_view_check_at(view, map, 0, span.to);
	vpfn_assert_level(fd, map, vpfn_expect_level(&span, 0, view->level));

	vpfn_assert_level(fd, view->map, view->level);
	view->pattern.seed ^= 0xdb;
	pfnmap_pattern_fill(&view->pattern, map, 0, span.to);
	vpfn_view_check(view);
	munmap(area, span.to + PFNMAP_2M);
}

/* The host reads the memory behind the device. */
static void test_host_view(struct vpfn_view *view)
{
	static uint64_t bytes[16 * PFNMAP_PAGE / sizeof(uint64_t)];
	uint64_t inside = vpfn_view_inside(view), bar, offset;
	char expected[VPFN_SHA256_HEX], seen[VPFN_SHA256_HEX];
	int port = vpfn_witness_open();
	struct vpfn_leaf leaf;

	igt_require_f(port >= 0, "no port vpfn.witness: the machine's host does not tell\n");
	igt_assert_eq(vpfn_bar_start(fd, VRAM_BAR, &bar), 0);
	igt_assert_eq(vpfn_leaf_from_driver(fd, view->map, &leaf), 0);
	offset = leaf.pfn * PFNMAP_PAGE - bar + inside;

	pfnmap_pattern_bytes(&view->pattern, bytes, sizeof(bytes));
	igt_assert_eq(vpfn_sha256(bytes, sizeof(bytes), expected), 0);
	pfnmap_pattern_bytes(&view->pattern, view->map + inside, sizeof(bytes));
	igt_assert_eq(vpfn_witness_sha256(port, offset, sizeof(bytes), seen), 0);
	igt_assert_f(!strcmp(seen, expected), "the host sees %s, not %s\n", seen, expected);

	pfnmap_store(view->map + inside, ~pfnmap_load(view->map + inside));
	igt_assert_eq(vpfn_witness_sha256(port, offset, sizeof(bytes), seen), 0);
	igt_assert(strcmp(seen, expected));
	close(port);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "map-private", "Copy-on-write mappings are refused.", test_map_private },
	{ "map-past-end", "A mapping must lie within its buffer.", test_map_past_end },
	{ "map-foreign", "Without a handle of its own, a file maps nothing.", test_map_foreign },
	{ "map-read-only-file", "A file open for reading gives no way to write.",
	  test_map_read_only_file },
	{ "contents", "A new buffer is zero, its mappings agree and outlive handle and file.",
	  test_contents },
};

static const struct vpfn_level_test level_tests[] = {
	{ "map-fixed", "An address that is less aligned gets smaller leaves and the same bytes.",
	  .run = test_map_fixed },
	{ "map-hint", "A hint is honoured if it can be; nothing that is mapped is replaced.",
	  .run = test_map_hint },
	{ "read-then-write", "Write through a leaf that a read fault has installed.",
	  .run = test_read_then_write, .untouched = true },
	{ "write-notify", "Write through a leaf that is read-only so that the write is noticed.",
	  .run = test_write_notify, .untouched = true },
	{ "read-only-then-write", "Make a mapping writable that was read-only from the start.",
	  .run = test_read_only_then_write },
	{ "two-mappings", "Large and small leaves of one buffer at a time.",
	  .run = test_two_mappings },
	{ "threads", "The first touch by many threads at once.",
	  .run = test_threads, .untouched = true },
	{ "ptrace", "A debugger's access agrees with the mapping, across all borders.",
	  .run = test_ptrace, .untouched = true },
	{ "dma-buf", "A mapping through a dma-buf has the same bytes and the same leaves.",
	  .run = test_dma_buf },
	{ "host-view", "What is written through a leaf is where the host finds it.",
	  .run = test_host_view },
};

int igt_main()
{
	igt_fixture()
		fd = vpfn_require_device();

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_describe("Page-table dump, driver, fault count and VmPTE agree about the leaves.");
	igt_subtest_with_dynamic("leaf-size") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_leaf_size(level);
		}
	}

	igt_describe("The first touch of a GiB takes one fault a leaf, also when it was evicted.");
	igt_subtest_with_dynamic("first-touch") {
		for (enum vpfn_level level = VPFN_PMD; level <= VPFN_PUD; level++) {
			igt_dynamic(vpfn_level_name(level))
				test_first_touch(level);
		}
	}

	vpfn_level_subtests(level_tests, ARRAY_SIZE(level_tests), &fd);

	igt_fixture()
		close(fd);
}
