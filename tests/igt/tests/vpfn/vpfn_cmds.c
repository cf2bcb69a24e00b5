// SPDX-License-Identifier: MIT
/*
 * What do the commands of a job do, in each placement of their buffers?
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Commands of the engine of vpfn.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CMDS_MAX	DRM_VPFN_SUBMIT_CMDS_MAX

#define WORD		sizeof(uint32_t)
#define LARGE		(256ull << 20)

static int fd = -1;

static const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

#define SMALL		(384 * PFNMAP_PAGE)
#define CHUNKS		(20ull << 20)

static const struct {
	const char *name;
	uint32_t mask;
} placements[] = {
	{ "vram", VRAM },
	{ "system", SYSTEM },
};

/* Number of a pair of placements, from and to */
#define PAIRS		(ARRAY_SIZE(placements) * ARRAY_SIZE(placements))
#define TO(pair)	((pair) / ARRAY_SIZE(placements))
#define FROM(pair)	((pair) % ARRAY_SIZE(placements))

static const char *pair_name(unsigned int pair)
{
	static char name[32];

	snprintf(name, sizeof(name), "%s-to-%s", placements[FROM(pair)].name,
		 placements[TO(pair)].name);
	return name;
}

/* The buffer lies where it must for the test to mean something. */
static void create(uint64_t size, unsigned int placement, uint64_t seed, struct vpfn_mem *mem)
{
	uint32_t mask;

	igt_assert_eq(vpfn_mem_create(fd, size, placements[placement].mask, seed, mem), 0);
	igt_assert_eq(vpfn_bo_placement(fd, &mem->bo, &mask), 0);
	igt_assert_eq(mask, placements[placement].mask);
}

static void run(struct drm_vpfn_cmd cmd)
{
	igt_assert_eq(vpfn_run(fd, &cmd, 1), 0);
}

/* No byte, page or word begins where another does. */
static const struct {
	uint64_t src, dst, length;
} spans[] = {
	{ 0, 0, 1 },
	{ 1, 3, 1 },
	{ 4095, 1, 2 },
	{ 3, 4094, 5 },
	{ 4093, 7, 4099 },
	{ 1, 4097, 65537 },
	{ 12345, 54321, (1 << 20) + 13 },
	{ SMALL - 1, SMALL - 1, 1 },
	{ 0, SMALL - 8191, 8191 },
	{ SMALL - 8191, 0, 8191 },
	{ 0, 0, SMALL },
};

static void test_fill(unsigned int placement)
{
	struct vpfn_mem dst;

	create(SMALL, placement, 0xf0, &dst);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		uint64_t offset = spans[i].dst & -WORD;
		uint64_t length = (spans[i].length + WORD - 1) & -WORD;

		run(vpfn_mem_fill(&dst, offset, length, 0x04030201 * (i + 1)));
		vpfn_assert_mem(&dst);
	}
	vpfn_mem_refill(&dst, 0xf1);
	run(vpfn_mem_fill(&dst, WORD, WORD, 0xdeadbeef));
	run(vpfn_mem_fill(&dst, SMALL - WORD, WORD, 0xcafe));
	run(vpfn_mem_fill(&dst, PFNMAP_PAGE, PFNMAP_PAGE, 0));
	vpfn_assert_mem_by_both(&dst);
	vpfn_mem_destroy(&dst);
}

static void test_copy(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(SMALL, to, 0xc0, &dst);
	create(SMALL, from, 0xc1, &src);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		run(vpfn_mem_copy(&dst, spans[i].dst, &src, spans[i].src, spans[i].length));
		vpfn_assert_mem_by_both(&dst);
		vpfn_mem_refill(&dst, 0xc2 + i);
	}
	vpfn_assert_mem_by_both(&src);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* Within one buffer, up and down, right beside the source. */
static void test_copy_within(unsigned int placement)
{
	struct vpfn_mem mem;

	create(SMALL, placement, 0xc3, &mem);
	run(vpfn_mem_copy(&mem, 4098, &mem, 1, 4097));
	vpfn_assert_mem(&mem);
	run(vpfn_mem_copy(&mem, 77, &mem, 77 + 12345, 12345));
	vpfn_assert_mem(&mem);
	run(vpfn_mem_copy(&mem, SMALL / 2, &mem, 0, SMALL / 2));
	vpfn_assert_mem_by_both(&mem);
	vpfn_mem_destroy(&mem);
}

static void test_crc(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(SMALL, to, 0xcc, &dst);
	create(SMALL, from, 0xcd, &src);
	for (unsigned int i = 0; i < ARRAY_SIZE(spans); i++) {
		uint64_t offset = spans[i].dst & -WORD;

		run(vpfn_mem_crc(&dst, offset, &src, spans[i].src, spans[i].length));
		vpfn_assert_mem(&dst);
	}
	run(vpfn_mem_crc(&dst, PFNMAP_PAGE - WORD, &dst, PFNMAP_PAGE, PFNMAP_PAGE + 1));
	run(vpfn_mem_crc(&dst, 3 * PFNMAP_PAGE, &dst, PFNMAP_PAGE + 1, PFNMAP_PAGE));
	vpfn_assert_mem(&dst);
	vpfn_assert_mem(&src);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* So long that the engine gets each command in parts. */
static void test_parts(unsigned int to, unsigned int from)
{
	struct vpfn_mem dst, src;

	create(CHUNKS, to, 0xa0, &dst);
	create(CHUNKS, from, 0xa1, &src);
	run(vpfn_mem_copy(&dst, 13, &src, 4097, CHUNKS - 4099));
	vpfn_assert_mem(&dst);
	run(vpfn_mem_fill(&dst, WORD, CHUNKS - 2 * WORD, 0x89abcdef));
	run(vpfn_mem_crc(&dst, PFNMAP_PAGE, &src, CHUNKS - DRM_VPFN_CRC_LENGTH_MAX,
			 DRM_VPFN_CRC_LENGTH_MAX));
	vpfn_assert_mem_by_both(&dst);
	vpfn_mem_destroy(&dst);
	vpfn_mem_destroy(&src);
}

/* Several commands */

/* What each command reads, the one before it has written. */
static void test_order(void)
{
	struct vpfn_mem vram, system;
	struct drm_vpfn_cmd cmds[8];

	create(SMALL, 0, 0x0, &vram);
	create(SMALL, 1, 0x1, &system);
	cmds[0] = vpfn_mem_fill(&vram, 0, 2 * PFNMAP_PAGE, 0x01020304);
	cmds[1] = vpfn_mem_copy(&system, 5, &vram, 3, PFNMAP_PAGE);
	cmds[2] = vpfn_mem_fill(&vram, 0, PFNMAP_PAGE, 0x05060708);
	cmds[3] = vpfn_mem_crc(&vram, PFNMAP_PAGE, &system, 1, PFNMAP_PAGE);
	cmds[4] = nop;
	cmds[5] = vpfn_mem_copy(&vram, 9, &vram, PFNMAP_PAGE - 1, 7);
	cmds[6] = vpfn_mem_copy(&system, 7, &vram, 0, 3 * PFNMAP_PAGE);
	cmds[7] = vpfn_mem_crc(&system, 0, &system, WORD, SMALL - WORD);
	igt_assert_eq(vpfn_run(fd, cmds, ARRAY_SIZE(cmds)), 0);
	vpfn_assert_mem_by_both(&vram);
	vpfn_assert_mem_by_both(&system);
	vpfn_mem_destroy(&vram);
	vpfn_mem_destroy(&system);
}

/* As many commands as there may be: a word goes from place to place, in two buffers. */
static void test_many(void)
{
	struct drm_vpfn_cmd *cmds = calloc(CMDS_MAX, sizeof(*cmds));
	struct vpfn_mem mem[2];

	igt_assert(cmds);
	create(SMALL, 0, 0x10, &mem[0]);
	create(SMALL, 1, 0x11, &mem[1]);
	cmds[0] = vpfn_mem_fill(&mem[0], 0, WORD, 0xfeedface);
	for (unsigned int i = 1; i < CMDS_MAX; i++) {
		cmds[i] = vpfn_mem_copy(&mem[i % 2], 1021 * i, &mem[(i - 1) % 2],
					1021 * (i - 1), WORD);
	}
	igt_assert_eq(vpfn_run(fd, cmds, CMDS_MAX), 0);
	igt_assert(!memcmp(mem[1].map + 1021 * (CMDS_MAX - 1), &(uint32_t) { 0xfeedface }, WORD));
	vpfn_assert_mem_by_both(&mem[0]);
	vpfn_assert_mem_by_both(&mem[1]);
	vpfn_mem_destroy(&mem[0]);
	vpfn_mem_destroy(&mem[1]);
	free(cmds);
}

/* Many buffers in one job, and each of them several times. */
static void test_many_buffers(void)
{
	struct vpfn_mem mem[64];
	struct drm_vpfn_cmd cmds[3 * ARRAY_SIZE(mem)];

	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++)
		create(PFNMAP_PAGE, i % 2, i, &mem[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(cmds); i++) {
		cmds[i] = vpfn_mem_copy(&mem[(i + 1) % ARRAY_SIZE(mem)], 11 * i % 1000,
					&mem[i % ARRAY_SIZE(mem)], 1, 3000);
	}
	igt_assert_eq(vpfn_run(fd, cmds, ARRAY_SIZE(cmds)), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(mem); i++) {
		vpfn_assert_mem(&mem[i]);
		vpfn_mem_destroy(&mem[i]);
	}
}

/* Each part of the result is one checksum of the next job. */
static void test_large(void)
{
	unsigned int count = LARGE / DRM_VPFN_CRC_LENGTH_MAX;
	uint64_t part = DRM_VPFN_CRC_LENGTH_MAX;
	struct drm_vpfn_cmd cmds[LARGE / DRM_VPFN_CRC_LENGTH_MAX];
	struct vpfn_bo src, dst, result;
	uint32_t *words, *sums, expected;

	igt_assert_eq(vpfn_bo_create(fd, LARGE, &src), 0);
	igt_assert_eq(vpfn_bo_create(fd, LARGE, &dst), 0);
	igt_assert_eq(vpfn_bo_create_in(fd, PFNMAP_PAGE, SYSTEM, 0, &result), 0);
	igt_assert_eq(vpfn_bo_map(fd, &result, (void **)&sums), 0);

	cmds[0] = vpfn_cmd_fill(&src, 0, LARGE, 0x76543210);
	cmds[1] = vpfn_cmd_copy(&dst, 1, &src, 0, LARGE - 1);
	igt_assert_eq(vpfn_run(fd, cmds, 2), 0);
	for (unsigned int i = 0; i < count; i++)
		cmds[i] = vpfn_cmd_crc(&result, i * WORD, &dst, i * part, part);
	igt_assert_eq(vpfn_run(fd, cmds, count), 0);

	/* Moved up by a byte, and what comes first is the zero of a new buffer. */
	words = malloc(part);
	igt_assert(words);
	for (unsigned int i = 0; i < part / WORD; i++)
		words[i] = 0x54321076;
	expected = vpfn_crc32c(words, part);
	for (unsigned int i = 1; i < count; i++)
		igt_assert_eq_u64(sums[i], expected);
	words[0] = 0x54321000;
	igt_assert_eq_u64(sums[0], vpfn_crc32c(words, part));

	free(words);
	munmap(sums, result.size);
	vpfn_bo_close(fd, &result);
	vpfn_bo_close(fd, &dst);
	vpfn_bo_close(fd, &src);
}

/* Scattered system memory */

#define SCATTERED	(64 * PFNMAP_PAGE)
#define EXTENTS		32
#define HOLES		256

static void any_pieces(int sig)
{
	(void)sig;
	vpfn_piece_limit(VPFN_ANY_ORDER);
}

static unsigned int count_extents(const struct vpfn_mem *mem)
{
	unsigned int count = 0;
	uint64_t next = 0;

	for (uint64_t at = 0; at < mem->bo.size; at += PFNMAP_PAGE) {
		struct vpfn_leaf leaf;

		pfnmap_load(mem->map + at);
		igt_assert_eq(vpfn_leaf_from_driver(fd, mem->map + at, &leaf), 0);
		igt_assert_eq(leaf.level, VPFN_PTE);
		count += leaf.pfn != next;
		next = leaf.pfn + 1;
	}
	return count;
}

/* Many buffers of a page are made; each second one goes, and leaves a hole. */
static void create_scattered(struct vpfn_mem *mem, uint64_t seed)
{
	static struct vpfn_mem pages[HOLES];
	unsigned int extents;

	for (unsigned int i = 0; i < HOLES; i++)
		create(PFNMAP_PAGE, 1, i, &pages[i]);
	for (unsigned int i = 0; i < HOLES; i += 2)
		vpfn_mem_destroy(&pages[i]);

	igt_require_f(!vpfn_piece_limit(0), "the kernel lacks CONFIG_FAIL_PAGE_ALLOC\n");
	igt_assert_eq(vpfn_mem_create(fd, SCATTERED, SYSTEM, seed, mem), 0);
	igt_assert_eq(vpfn_piece_limit(VPFN_ANY_ORDER), 0);

	for (unsigned int i = 1; i < HOLES; i += 2)
		vpfn_mem_destroy(&pages[i]);
	extents = count_extents(mem);
	igt_info("%llu pages in %u pieces\n", SCATTERED / PFNMAP_PAGE, extents);
	igt_assert_lte(EXTENTS, extents);
}

static void test_scattered(void)
{
	struct vpfn_mem first, second, vram;
	cpu_set_t all, cpu;

	/* Freed pages are nearest to the processor that freed them. */
	igt_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	igt_assert_eq(sched_setaffinity(0, sizeof(cpu), &cpu), 0);
	igt_assert_eq(vpfn_limit_set(VPFN_PTE), 0);
	igt_install_exit_handler(any_pieces);

	create_scattered(&first, 0x5c);
	create_scattered(&second, 0x5d);
	create(SCATTERED, 0, 0x5e, &vram);

	run(vpfn_mem_copy(&second, 5, &first, 4093, SCATTERED - 4096));
	vpfn_assert_mem_by_both(&second);
	run(vpfn_mem_copy(&vram, 4091, &second, 1, SCATTERED - 4096));
	vpfn_assert_mem_by_both(&vram);
	run(vpfn_mem_copy(&first, 7, &vram, 4095, SCATTERED - 4099));
	vpfn_assert_mem_by_both(&first);
	run(vpfn_mem_fill(&first, WORD, SCATTERED - 2 * WORD, 0x31415926));
	run(vpfn_mem_crc(&first, SCATTERED - WORD, &second, 3, SCATTERED - 5));
	vpfn_assert_mem_by_both(&first);
	vpfn_assert_mem(&second);
	vpfn_mem_destroy(&vram);
	vpfn_mem_destroy(&second);
	vpfn_mem_destroy(&first);
	vpfn_limit_restore();
	igt_assert_eq(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* What was moved out of device memory is back when the engine needs it. */
static void test_evicted(void)
{
	struct vpfn_mem mem;
	uint32_t placement;

	create(SMALL, 0, 0xe0, &mem);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_bo_placement(fd, &mem.bo, &placement), 0);
	igt_assert_eq(placement, SYSTEM);

	run(vpfn_mem_copy(&mem, PFNMAP_PAGE, &mem, 17, 2049));
	igt_assert_eq(vpfn_bo_placement(fd, &mem.bo, &placement), 0);
	igt_assert_eq(placement, VRAM);
	vpfn_assert_mem_by_both(&mem);
	vpfn_mem_destroy(&mem);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "order", "The commands of a job run one after the other.", test_order },
	{ "many-commands", "As many commands as a job may have.", test_many },
	{ "many-buffers", "A job with many buffers in both placements.", test_many_buffers },
	{ "large", "Commands on large buffers.", test_large },
	{ "scattered", "System memory of which hardly two pages are neighbours.",
	  test_scattered },
	{ "evicted", "Buffers that were evicted come back for a job.", test_evicted },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(unsigned int placement);
} placement_tests[] = {
	{ "fill", "Fill parts of a buffer.", test_fill },
	{ "copy-within", "Copy within one buffer.", test_copy_within },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(unsigned int to, unsigned int from);
} pair_tests[] = {
	{ "copy", "Copy from any byte to any byte.", test_copy },
	{ "crc", "Checksums of any range, put beside each other.", test_crc },
	{ "parts", "Commands that are longer than what the engine takes at once.", test_parts },
};

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(placement_tests); i++) {
		igt_describe(placement_tests[i].describe);
		igt_subtest_with_dynamic(placement_tests[i].name) {
			for (unsigned int p = 0; p < ARRAY_SIZE(placements); p++) {
				igt_dynamic(placements[p].name)
					placement_tests[i].run(p);
			}
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(pair_tests); i++) {
		igt_describe(pair_tests[i].describe);
		igt_subtest_with_dynamic(pair_tests[i].name) {
			for (unsigned int pair = 0; pair < PAIRS; pair++) {
				igt_dynamic(pair_name(pair))
					pair_tests[i].run(TO(pair), FROM(pair));
			}
		}
	}
}
