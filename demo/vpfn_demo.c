// SPDX-License-Identifier: MIT
/*
 * What vpfn is for, on one screen: device memory mapped by leaves of each size, what the
 * users of a process's memory answer on such a mapping, a call that breaks the largest
 * leaf, and the same bytes as the host sees them.
 *
 * Exits with 0 if each row is as it must be. Must run as root, debugfs mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_witness.h"

#define VRAM_BAR	2
#define WIDTH		88

/* What the host looks at. */
#define WITNESS_LEN	(1024 * 1024ul)

static int fd;
static struct vpfn_bo bo_4k, bo_2m, bo_1g;
static struct pfnmap_disk disk;
static unsigned int rows, rows_right;

/* One row of a table, with the verdict at its end. */
__attribute__((format(printf, 2, 3)))
static void row(bool right, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);

	rows++;
	rows_right += right;
	printf("   %-*s %s\n", WIDTH, line, right ? "[ok]" : "[WRONG]");
	fflush(stdout);
}

static void check(int err, const char *what)
{
	if (!err)
		return;

	fprintf(stderr, "vpfn_demo: %s: %s\n", what, strerror(-err));
	exit(EXIT_FAILURE);
}

static char *map_at_limit(const struct vpfn_bo *bo, enum vpfn_level limit)
{
	void *map;

	check(vpfn_limit_set(limit), "set the module parameter largest_leaf");
	check(vpfn_bo_map(fd, bo, &map), "map a buffer");
	return map;
}

static enum vpfn_level level_at(const void *addr)
{
	struct vpfn_leaf leaf = {};

	vpfn_leaf_from_driver(fd, addr, &leaf);
	return leaf.level;
}

/* A buffer mapped with one limit, and what it costs to touch each of its pages. */
struct cost {
	const struct vpfn_bo *bo;
	enum vpfn_level limit;
	char *map;
	long faults;
	long page_table_kib;
};

static struct cost measure(const struct vpfn_bo *bo, enum vpfn_level limit)
{
	char *map = map_at_limit(bo, limit);
	long kib = vpfn_page_table_kib();
	long faults = vpfn_faults();

	for (uint64_t at = 0; at < bo->size; at += PFNMAP_PAGE)
		pfnmap_store(map + at, at);

	faults = vpfn_faults() - faults;
	kib = vpfn_page_table_kib() - kib;
	return (struct cost) { bo, limit, map, faults, kib };
}

/* Tables of PTEs for each 2 MiB; one more for a table above them, or for a bad alignment. */
static bool page_table_is_right(long kib, uint64_t size, enum vpfn_level limit)
{
	long tables = limit == VPFN_PTE ? size / PFNMAP_2M * 4 : 0;

	if (size == PFNMAP_1G && limit == VPFN_PUD)
		return kib == 0;
	if (size < PFNMAP_1G)
		return kib <= tables + 8;
	return kib >= tables && kib <= tables + 8;
}

static bool cost_is_right(const struct cost *cost, const struct vpfn_leaf *leaf)
{
	struct vpfn_span span = { .to = cost->bo->size };
	long slack = cost->limit == VPFN_PTE ? 2 : 0;

	return leaf->level == vpfn_expect_level(&span, 0, cost->limit) &&
	       !strcmp(leaf->cache, "WC") &&
	       labs(cost->faults - vpfn_expect_faults(span.to, cost->limit)) <= slack &&
	       page_table_is_right(cost->page_table_kib, span.to, cost->limit);
}

static void show_cost(const struct cost *cost, const struct vpfn_leaf *leaf)
{
	const char *size = cost->bo == &bo_4k ? "4 KiB" : cost->bo == &bo_2m ? "2 MiB" : "1 GiB";

	row(cost_is_right(cost, leaf), "%-8s %-22s %-3s, %-22s %12ld   %11ld KiB", size,
	    vpfn_level_name(cost->limit), vpfn_level_name(leaf->level), leaf->cache,
	    cost->faults, cost->page_table_kib);
}

static void show_leaves(void)
{
	static const struct vpfn_bo * const buffers[] = { &bo_4k, &bo_2m, &bo_1g };
	struct cost costs[ARRAY_SIZE(buffers) * VPFN_PUD], dry_run;
	struct vpfn_leaf leaves[ARRAY_SIZE(costs)];
	const void *maps[ARRAY_SIZE(costs)];
	size_t count = 0;

	/* Once for nothing, so that no fault of our own code, data and stack counts. */
	dry_run = measure(&bo_4k, VPFN_PTE);
	munmap(dry_run.map, PFNMAP_PAGE);

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		for_each_vpfn_level(limit) {
			costs[count] = measure(buffers[i], limit);
			maps[count] = costs[count].map;
			count++;
		}
	}

	/* The dump takes long and shows all of them. */
	check(vpfn_leaves_from_ptdump(count, maps, leaves), "read the page-table dump");

	printf("\n1. Each page of a buffer touched once: what does the page table hold?\n");
	printf("   buffer   largest leaf allowed   leaf in the page-table dump"
	       "   faults         growth of VmPTE\n");
	for (size_t i = 0; i < count; i++) {
		show_cost(&costs[i], &leaves[i]);
		munmap(costs[i].map, costs[i].bo->size);
	}
}

static const struct vpfn_bo *bo_of(enum vpfn_level level)
{
	return level == VPFN_PUD ? &bo_1g : &bo_2m;
}

/* Some of the users that the tests ask, and what the table calls them. */
static const struct {
	const char *name;
	const char *user;
} consumers[] = {
	{ "O_DIRECT write", "write" },
	{ "O_DIRECT read", "read" },
	{ "process_vm_readv", "process_vm_readv, remote side" },
	{ "vmsplice", "vmsplice to a pipe" },
	{ "vivid USERPTR", "vivid-capture" },
	{ "buffered write", "buffered-write" },
};

struct answers {
	int on[VPFN_PUD + 1][ARRAY_SIZE(consumers)];	/* VPFN_NONE: ordinary memory */
	bool kept[VPFN_PUD + 1];
};

static const struct pfnmap_user *find_in(const struct pfnmap_user users[], size_t count,
					 const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(users[i].name, name))
			return &users[i];
	}
	return NULL;
}

static const struct pfnmap_user *find_user(const char *name)
{
	const struct pfnmap_user *user = find_in(pfnmap_io_users, pfnmap_io_user_count, name);

	for (size_t i = 0; i < pfnmap_gup_family_count && !user; i++)
		user = find_in(pfnmap_gup_families[i].users, pfnmap_gup_families[i].count, name);
	for (size_t i = 0; i < pfnmap_video_family_count && !user; i++)
		user = find_in(pfnmap_video_families[i].users, pfnmap_video_families[i].count,
			       name);
	return user;
}

/* What the consumers refuse they must not have touched. */
static void ask(const struct pfnmap_target *target, int answers[])
{
	bool filled = false;

	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++) {
		const struct pfnmap_user *user = find_user(consumers[i].user);
		int err = user ? pfnmap_user_ask(user, target, &filled, &answers[i]) : -ENOENT;

		if (err)
			answers[i] = err;
	}
}

/* Leaf and contents around are the same afterwards. */
static void ask_at_level(enum vpfn_level level, struct answers *answers)
{
	const struct vpfn_bo *bo = bo_of(level);
	struct pfnmap_pattern pattern = { .seed = level, .size = bo->size };
	uint64_t middle = bo->size / 2, after = middle + PFNMAP_TARGET_LEN;
	char *map = map_at_limit(bo, level);
	struct pfnmap_target target;

	pfnmap_pattern_fill(&pattern, map, 0, bo->size);
	pfnmap_target_at(map + middle, &target);
	ask(&target, answers->on[level]);
	answers->kept[level] = level_at(map + middle) == level &&
			       pfnmap_pattern_check(&pattern, map, 0, middle) == middle &&
			       pfnmap_pattern_check(&pattern, map, after, bo->size) == bo->size;
	munmap(map, bo->size);
}

static void ask_ordinary_memory(struct answers *answers)
{
	struct pfnmap_target target;

	check(pfnmap_target_anonymous(&target), "allocate memory");
	ask(&target, answers->on[VPFN_NONE]);
	pfnmap_target_free(&target);
}

static void show_consumer(const struct answers *answers, size_t i)
{
	bool right = !answers->on[VPFN_NONE][i];

	for_each_vpfn_level(level)
		right &= answers->on[level][i] == find_user(consumers[i].user)->on_special;

	row(right, "%-22s %-10s %-10s %-10s %s", consumers[i].name,
	    pfnmap_answer_name(answers->on[VPFN_PTE][i]),
	    pfnmap_answer_name(answers->on[VPFN_PMD][i]),
	    pfnmap_answer_name(answers->on[VPFN_PUD][i]),
	    pfnmap_answer_name(answers->on[VPFN_NONE][i]));
}

static const char *kept(bool is_kept)
{
	return is_kept ? "unchanged" : "CHANGED";
}

static void show_consumers(void)
{
	static struct answers answers;

	check(pfnmap_io_set_file(disk.device), "open the disk");
	ask_ordinary_memory(&answers);
	for_each_vpfn_level(level)
		ask_at_level(level, &answers);

	printf("\n2. What do consumers of user memory return for the mapping?\n");
	printf("   %-22s %-10s %-10s %-10s %s\n", "", "pte", "pmd", "pud", "ordinary memory");
	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++)
		show_consumer(&answers, i);
	row(answers.kept[VPFN_PTE] && answers.kept[VPFN_PMD] && answers.kept[VPFN_PUD],
	    "%-22s %-10s %-10s %-10s", "leaf and bytes after", kept(answers.kept[VPFN_PTE]),
	    kept(answers.kept[VPFN_PMD]), kept(answers.kept[VPFN_PUD]));
}

/* One side of the hole: the contents are right, and the leaves are those named. */
static void show_side(const char *side, const struct pfnmap_pattern *pattern, char *map,
		      uint64_t from, uint64_t to, enum vpfn_level first, enum vpfn_level last)
{
	uint64_t end = pfnmap_pattern_check(pattern, map, from, to);
	enum vpfn_level at_first = level_at(map + from);
	enum vpfn_level at_last = level_at(map + to - PFNMAP_PAGE);

	row(end == to && at_first == first && at_last == last,
	    "%s: the bytes are %s; a %s maps the first page, a %s the last one", side,
	    end == to ? "as written" : "WRONG", vpfn_level_name(at_first),
	    vpfn_level_name(at_last));
}

static void show_munmap(void)
{
	struct pfnmap_pattern pattern = { .seed = 0x30, .size = PFNMAP_1G };
	char *map = map_at_limit(&bo_1g, VPFN_PUD);
	uint64_t hole = PFNMAP_1G / 2, next = hole + PFNMAP_PAGE;
	enum vpfn_level before;
	int sig;

	pfnmap_pattern_fill(&pattern, map, 0, PFNMAP_1G);
	before = level_at(map + hole);
	munmap(map + hole, PFNMAP_PAGE);
	sig = pfnmap_signal_of(map + hole, PFNMAP_READ);

	printf("\n3. One page unmapped in the middle of a 1 GiB leaf: what is left?\n");
	row(before == VPFN_PUD && sig == SIGSEGV,
	    "the page: a %s mapped it; a read of it now raises %s",
	    vpfn_level_name(before), sig ? strsignal(sig) : "no signal");
	show_side("below", &pattern, map, 0, hole, VPFN_PMD, VPFN_PMD);
	show_side("above", &pattern, map, next, PFNMAP_1G, VPFN_PTE, VPFN_PMD);
	munmap(map, PFNMAP_1G);
}

/* Where the byte at @addr lies in the device memory. */
static uint64_t vram_offset(const void *addr)
{
	struct vpfn_leaf leaf = {};
	uint64_t bar;

	check(vpfn_bar_start(fd, VRAM_BAR, &bar), "find the device memory");
	check(vpfn_leaf_from_driver(fd, addr, &leaf), "find a page of the device memory");
	return leaf.pfn * PFNMAP_PAGE - bar;
}

/* The digest of what is about to be written; the mapping is never read. */
static void expect(const struct pfnmap_pattern *pattern, char hex[VPFN_SHA256_HEX])
{
	void *bytes = pfnmap_anonymous(WITNESS_LEN);

	check(bytes ? 0 : -ENOMEM, "allocate memory");
	pfnmap_pattern_bytes(pattern, bytes, WITNESS_LEN);
	check(vpfn_sha256(bytes, WITNESS_LEN, hex), "run sha256sum");
	munmap(bytes, WITNESS_LEN);
}

static void show_witness(int port, enum vpfn_level level)
{
	const struct vpfn_bo *bo = bo_of(level);
	struct pfnmap_pattern pattern = { .seed = 0x40 + level, .size = WITNESS_LEN };
	char written[VPFN_SHA256_HEX], seen[VPFN_SHA256_HEX] = "the host does not answer";
	char *map = map_at_limit(bo, level), *middle = map + bo->size / 2;
	uint64_t offset;

	pfnmap_pattern_bytes(&pattern, middle, WITNESS_LEN);
	expect(&pattern, written);
	offset = vram_offset(middle);
	if (port >= 0)
		vpfn_witness_sha256(port, offset, WITNESS_LEN, seen);
	row(level_at(middle) == level && !strcmp(written, seen),
	    "%-7s 0x%08" PRIx64 "   %-30.24s %.24s", vpfn_level_name(level), offset, written,
	    seen);
	munmap(map, bo->size);
}

static void show_host_view(void)
{
	int port = vpfn_witness_open();

	printf("\n4. 1 MiB of device memory, written through a leaf: what does the host see?\n");
	printf("   %-7s %-12s %-30s %s\n", "leaf", "offset", "SHA-256 of what was written",
	       "SHA-256 of what the host sees");
	for_each_vpfn_level(level)
		show_witness(port, level);
	close(port);
}

/* Addresses that repeat, so that the page tables that exist already do as well. */
static void fix_addresses(char **argv)
{
	if (personality(0xffffffff) & ADDR_NO_RANDOMIZE)
		return;

	personality(personality(0xffffffff) | ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
}

static void remove_disk(void)
{
	pfnmap_disk_remove(&disk);
}

static enum vpfn_level limit_at_start;

static void restore_limit(void)
{
	vpfn_limit_set(limit_at_start);
}

static void set_up(void)
{
	uint64_t vram;

	fd = vpfn_open(O_RDWR);
	check(fd < 0 ? fd : 0, "open the device");
	check(vpfn_limit_get(&limit_at_start), "read the module parameter largest_leaf");
	atexit(restore_limit);
	check(vpfn_vram_size(fd, &vram), "ask for the size of the device memory");
	check(vpfn_bo_create(fd, PFNMAP_PAGE, &bo_4k), "create a buffer of 4 KiB");
	check(vpfn_bo_create(fd, PFNMAP_2M, &bo_2m), "create a buffer of 2 MiB");
	check(vpfn_bo_create(fd, PFNMAP_1G, &bo_1g), "create a buffer of 1 GiB");
	check(pfnmap_disk_create(&disk), "make a disk in memory with null_blk");
	atexit(remove_disk);
	printf("vpfn: %" PRIu64 " MiB of device memory, mapped into user space\n", vram >> 20);
}

int main(int argc, char **argv)
{
	(void)argc;
	fix_addresses(argv);
	set_up();
	show_leaves();
	show_consumers();
	show_munmap();
	show_host_view();

	printf("\n%u of %u rows are as they must be\n", rows_right, rows);
	return rows_right == rows ? EXIT_SUCCESS : EXIT_FAILURE;
}
