// SPDX-License-Identifier: MIT
/*
 * What does a driver get that has asked TTM for leaves, and does nothing else about them? Mappings
 * of buffers of QXL, in device memory and in system memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm.h>
#include <drm_mode.h>
#include <qxl_drm.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_direct.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"

IGT_TEST_DESCRIPTION("Leaves of 2 MiB by TTM's helper, on a driver that knows nothing of them.");

#define SIZE		(8 * PFNMAP_2M)
#define NUM_SLOTS	(SIZE / PFNMAP_2M)
#define LEN		(4 * PFNMAP_PAGE)
/* More than there is room for in device memory */
#define MAX_BUFFERS	64

struct buffer {
	uint32_t handle;
	uint64_t offset;
	char *map;
	struct pfnmap_pattern pattern;
};

static int fd = -1;
static int file = -1;
static struct pfnmap_disk disk;

static void remove_disk(int sig)
{
	(void)sig;
	if (file >= 0)
		close(file);
	file = -1;
	pfnmap_disk_remove(&disk);
}

static int open_qxl(void)
{
	for (int i = 0; i < DRM_MAX_MINOR; i++) {
		char path[32];
		drmVersionPtr version;
		bool found;
		int card;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		card = open(path, O_RDWR | O_CLOEXEC);
		if (card < 0)
			continue;

		version = drmGetVersion(card);
		found = version && !strcmp(version->name, "qxl");
		drmFreeVersion(version);
		if (found)
			return card;
		close(card);
	}
	return -1;
}

/* In device memory, write-combined */
static void create_in_vram(struct buffer *buffer)
{
	struct drm_qxl_alloc alloc = { .size = SIZE };
	struct drm_qxl_map map = {};

	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_QXL_ALLOC, &alloc), 0);
	map.handle = alloc.handle;
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_QXL_MAP, &map), 0);
	buffer->handle = alloc.handle;
	buffer->offset = map.offset;
}

/* In system memory, cached: QXL's dumb buffers are */
static void create_in_system(struct buffer *buffer)
{
	struct drm_mode_create_dumb dumb = { .width = 2048, .height = SIZE / 8192, .bpp = 32 };
	struct drm_mode_map_dumb map = {};

	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb), 0);
	igt_assert_eq_u64(dumb.size, SIZE);
	map.handle = dumb.handle;
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map), 0);
	buffer->handle = dumb.handle;
	buffer->offset = map.offset;
}

static void map_buffer(struct buffer *buffer, uint64_t seed)
{
	void *map;

	igt_assert_eq(pfnmap_map(fd, buffer->offset, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	buffer->map = map;
	buffer->pattern = (struct pfnmap_pattern) { .seed = seed, .size = SIZE };
	pfnmap_pattern_fill(&buffer->pattern, map, 0, SIZE);
}

static void close_buffer(struct buffer *buffer)
{
	struct drm_gem_close gem = { .handle = buffer->handle };

	if (buffer->map)
		munmap(buffer->map, SIZE);
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &gem), 0);
}

static void check(const struct buffer *buffer, uint64_t from, uint64_t to)
{
	igt_assert_eq_u64(pfnmap_pattern_check(&buffer->pattern, buffer->map, from, to), to);
}

/* Of each slot the leaf in its middle, as the page-table dump shows it */
static void dump_leaves(const struct buffer *buffer, struct vpfn_leaf leaves[NUM_SLOTS])
{
	const void *addrs[NUM_SLOTS];

	for (unsigned int i = 0; i < NUM_SLOTS; i++)
		addrs[i] = buffer->map + i * PFNMAP_2M + PFNMAP_2M / 2;
	igt_assert_eq(vpfn_leaves_from_ptdump(NUM_SLOTS, addrs, leaves), 0);
}

static unsigned int count_leaves(const struct buffer *buffer, enum vpfn_level level)
{
	struct vpfn_leaf leaves[NUM_SLOTS];
	unsigned int count = 0;

	dump_leaves(buffer, leaves);
	for (unsigned int i = 0; i < NUM_SLOTS; i++) {
		igt_debug("slot %u: %s, %s\n", i, vpfn_level_name(leaves[i].level),
			  leaves[i].cache);
		count += leaves[i].level == level;
	}
	return count;
}

static void assert_cache(const struct buffer *buffer, const char *cache)
{
	struct vpfn_leaf leaves[NUM_SLOTS];

	dump_leaves(buffer, leaves);
	for (unsigned int i = 0; i < NUM_SLOTS; i++)
		igt_assert_f(!strcmp(leaves[i].cache, cache), "slot %u is %s, not %s\n", i,
			     leaves[i].cache, cache);
}

/* The dump and the number of faults know nothing of each other. */
static void test_leaf_in_vram(void)
{
	struct buffer buffer = {};
	long faults;

	create_in_vram(&buffer);
	faults = vpfn_faults();
	map_buffer(&buffer, 1);
	faults = vpfn_faults() - faults;
	igt_info("%u of %u slots have a pmd, %ld faults\n", count_leaves(&buffer, VPFN_PMD),
		 (unsigned int)NUM_SLOTS, faults);
	igt_assert_eq(count_leaves(&buffer, VPFN_PMD), NUM_SLOTS);
	igt_assert_lte(faults, NUM_SLOTS);
	assert_cache(&buffer, "WC");
	check(&buffer, 0, SIZE);
	close_buffer(&buffer);
}

/* How contiguous the pool's pages are is not TTM's promise: 2 MiB somewhere will do. */
static void test_leaf_in_system(void)
{
	struct buffer buffer = {};

	create_in_system(&buffer);
	map_buffer(&buffer, 2);
	igt_info("%u of %u slots have a pmd\n", count_leaves(&buffer, VPFN_PMD),
		 (unsigned int)NUM_SLOTS);
	igt_assert_neq(count_leaves(&buffer, VPFN_PMD), 0);
	assert_cache(&buffer, "WB");
	check(&buffer, 0, SIZE);
	close_buffer(&buffer);
}

/* Another process looks through page tables of its own. */
static void test_shared(void)
{
	struct buffer buffer = {};

	create_in_vram(&buffer);
	map_buffer(&buffer, 3);
	igt_fork(child, 1)
		check(&buffer, 0, SIZE);
	igt_waitchildren();
	check(&buffer, 0, SIZE);
	close_buffer(&buffer);
}

/* Address and offset do not agree: what matters is that the right bytes are there. */
static void test_unaligned(void)
{
	struct buffer buffer = {}, other;
	void *area, *map;

	create_in_vram(&buffer);
	map_buffer(&buffer, 4);
	igt_assert_eq(pfnmap_reserve(SIZE + PFNMAP_2M, PFNMAP_2M, &area), 0);
	igt_assert_eq(pfnmap_map_at(fd, buffer.offset, SIZE, (char *)area + PFNMAP_PAGE,
				    MAP_SHARED | MAP_FIXED, &map), 0);
	igt_assert(map == (char *)area + PFNMAP_PAGE);
	other = buffer;
	other.map = map;
	check(&other, 0, SIZE);
	igt_assert_eq(count_leaves(&other, VPFN_PMD), 0);
	munmap(area, SIZE + PFNMAP_2M);
	close_buffer(&buffer);
}

static void test_munmap_page(void)
{
	struct buffer buffer = {};
	uint64_t hole = 2 * PFNMAP_2M + PFNMAP_2M / 2;

	create_in_vram(&buffer);
	map_buffer(&buffer, 5);
	igt_assert_eq(munmap(buffer.map + hole, PFNMAP_PAGE), 0);
	check(&buffer, 0, hole);
	check(&buffer, hole + PFNMAP_PAGE, SIZE);
	igt_assert_eq(pfnmap_signal_of(buffer.map + hole, PFNMAP_READ), SIGSEGV);
	close_buffer(&buffer);
}

static void test_mprotect_page(void)
{
	struct buffer buffer = {};
	char *page;

	create_in_vram(&buffer);
	map_buffer(&buffer, 6);
	page = buffer.map + 3 * PFNMAP_2M + PFNMAP_2M / 2;
	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ), 0);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), SIGSEGV);
	igt_assert_eq(pfnmap_signal_of(page + PFNMAP_PAGE, PFNMAP_WRITE), 0);
	igt_assert_eq(mprotect(page, PFNMAP_PAGE, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(page, PFNMAP_WRITE), 0);
	check(&buffer, 0, SIZE);
	close_buffer(&buffer);
}

static void test_read_then_write(void)
{
	struct buffer buffer = {};
	void *map;

	create_in_vram(&buffer);
	map_buffer(&buffer, 7);
	igt_assert_eq(pfnmap_map(fd, buffer.offset, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	igt_assert_eq_u64(pfnmap_pattern_check(&buffer.pattern, map, 0, SIZE), SIZE);
	buffer.pattern.seed = 8;
	pfnmap_pattern_fill(&buffer.pattern, map, 0, SIZE);
	check(&buffer, 0, SIZE);
	munmap(map, SIZE);
	close_buffer(&buffer);
}

/* Direct I/O must refuse the memory, and works on ordinary memory. */
static void test_direct_io(void)
{
	struct buffer buffer = {};
	char *memory;
	void *plain;

	create_in_vram(&buffer);
	map_buffer(&buffer, 9);
	memory = buffer.map + PFNMAP_2M + PFNMAP_2M / 2;
	igt_assert_eq(pfnmap_write_direct(file, memory, LEN), -EFAULT);
	igt_assert_eq(pfnmap_read_direct(file, memory, LEN), -EFAULT);
	check(&buffer, 0, SIZE);

	plain = pfnmap_anonymous(LEN);
	igt_assert(plain);
	memcpy(plain, memory, LEN);
	igt_assert_eq(pfnmap_write_direct(file, plain, LEN), 0);
	igt_assert_eq(pfnmap_read_direct(file, plain, LEN), 0);
	igt_assert_eq(pfnmap_file_compare(file, memory, LEN), 0);
	munmap(plain, LEN);
	close_buffer(&buffer);
}

/* Buffers until one has had to leave device memory; all the mappings show what they must. */
static void test_evict(void)
{
	struct buffer buffers[MAX_BUFFERS] = {};
	struct vpfn_leaf leaves[NUM_SLOTS];
	unsigned int count;

	create_in_vram(&buffers[0]);
	map_buffer(&buffers[0], 100);
	for (count = 1; count < MAX_BUFFERS; count++) {
		create_in_vram(&buffers[count]);
		map_buffer(&buffers[count], 100 + count);
		dump_leaves(&buffers[0], leaves);
		if (leaves[0].level == VPFN_NONE)
			break;
	}
	igt_assert_f(count < MAX_BUFFERS, "%u buffers have room\n", count);
	igt_info("buffer %u takes the place of the first one\n", count);

	for (unsigned int i = 0; i <= count; i++)
		check(&buffers[i], 0, SIZE);
	assert_cache(&buffers[0], "WB");
	for (unsigned int i = 0; i <= count; i++)
		close_buffer(&buffers[i]);
}

/* A debugger's access ends where the mapping does; the one in the mapping is the control. */
static void test_access_past_end(void)
{
	struct buffer buffer = {};
	uint64_t bytes[2] = {}, end = PFNMAP_2M;
	char *last;

	create_in_system(&buffer);
	map_buffer(&buffer, 10);
	last = buffer.map + end - sizeof(bytes[0]);
	pfnmap_store(last, 0x1234);
	igt_assert_eq(munmap(buffer.map + end, SIZE - end), 0);

	igt_assert_eq(pfnmap_proc_mem(last, bytes, sizeof(bytes[0]), false), 0);
	igt_assert_eq_u64(bytes[0], 0x1234);
	igt_assert_eq(pfnmap_proc_mem(last, bytes, sizeof(bytes), false), -ENODATA);
	igt_assert_eq_u64(bytes[1], 0);
	close_buffer(&buffer);
}

/* Nor does it write to a mapping that may not be written, as it does to one that may. */
static void test_access_read_only(void)
{
	struct buffer buffer = {};
	uint64_t word = 0x5678;

	create_in_system(&buffer);
	map_buffer(&buffer, 11);
	igt_assert_eq(pfnmap_proc_mem(buffer.map, &word, sizeof(word), true), 0);
	igt_assert_eq_u64(pfnmap_load(buffer.map), 0x5678);

	igt_assert_eq(mprotect(buffer.map, SIZE, PROT_READ), 0);
	word = 0x9abc;
	igt_assert_neq(pfnmap_proc_mem(buffer.map, &word, sizeof(word), true), 0);
	igt_assert_eq_u64(pfnmap_load(buffer.map), 0x5678);
	close_buffer(&buffer);
}

int igt_main()
{
	igt_fixture() {
		fd = open_qxl();
		igt_require_f(fd >= 0, "no qxl device\n");
		igt_install_exit_handler(remove_disk);
		igt_require_f(!pfnmap_disk_create(&disk), "no null_blk in configfs\n");
		file = open(disk.device, O_RDWR | O_CLOEXEC | O_DIRECT);
		igt_assert(file >= 0);
	}

	igt_describe("Device memory is mapped by 2 MiB leaves, write-combined, one fault each");
	igt_subtest("leaf-vram")
		test_leaf_in_vram();

	igt_describe("Contiguous system memory is mapped by 2 MiB leaves, write-back");
	igt_subtest("leaf-system")
		test_leaf_in_system();

	igt_describe("A child sees the same bytes");
	igt_subtest("shared")
		test_shared();

	igt_describe("A mapping at an address that allows no leaf holds the right bytes");
	igt_subtest("unaligned")
		test_unaligned();

	igt_describe("A page goes out of the middle of a leaf");
	igt_subtest("munmap-page")
		test_munmap_page();

	igt_describe("A page in the middle of a leaf becomes read-only, and writable again");
	igt_subtest("mprotect-page")
		test_mprotect_page();

	igt_describe("A write after a read fault gets through");
	igt_subtest("read-then-write")
		test_read_then_write();

	igt_describe("O_DIRECT is refused, on ordinary memory it works");
	igt_subtest("direct-io")
		test_direct_io();

	igt_describe("A buffer that leaves device memory keeps its bytes, its leaves go");
	igt_subtest("evict")
		test_evict();

	igt_describe("/proc/pid/mem stops at the end of the mapping");
	igt_subtest("access-past-end")
		test_access_past_end();

	igt_describe("/proc/pid/mem does not write to a read-only mapping");
	igt_subtest("access-read-only")
		test_access_read_only();

	igt_fixture() {
		remove_disk(0);
		close(fd);
	}
}
