// SPDX-License-Identifier: MIT
/*
 * What does a mapping of device memory cost, by the size of its page-table entries?
 *
 * Each side maps memory in its own way, and the same work is done on each mapping. A figure is the
 * difference of two readings of the time-stamp counter, which counts instructions in a VM with
 * -icount shift=0 (QEMU's docs/devel/tcg-icount.rst), and cycles with KVM. A figure is the least of
 * REPEATS, because an interrupt only adds to one; the largest is printed, too. A loop that touches
 * memory is long enough for timer interrupts, so that the least of each single touch is taken.
 *
 * Prints a line for each figure, tab-separated: "figure", work, side, size in bytes, unit, least,
 * largest. A side that the machine lacks has a line "absent", side, reason.
 *
 * With the argument "clock" it measures what only a clock can tell, in ns, in a VM without -icount.
 *
 * With the argument "functions" it does the work that is to be looked at once on each side, between
 * the marks of marks.h, and prints "window", work, side for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>
#include <xf86drm.h>

#include "marks.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"

#define REPEATS		3
#define MIB		(1ull << 20)
#define SIZES		{ PFNMAP_2M, 64 * MIB, PFNMAP_1G }
#define VRAM_SIZE	(4 * PFNMAP_1G)
#define BUFFERS		1000
#define BUFFER_SIZE	(4 * MIB)
#define SMALL_BUFFERS	100000
#define JOBS		2000
#define MOVED_SIZE	(256 * MIB)
#define THREADS_MAX	4
#define THREADS_SIZE	(256 * MIB)
#define VRAM_BAR	2

struct mapping {
	void *map;
	uint64_t size;
};

struct side {
	const char *name;
	enum vpfn_level level;
	int (*open)(const struct side *side);
	int (*map)(const struct side *side, uint64_t size, void **map);
	void (*close)(const struct side *side);
};

/* The least and the largest of some readings */
struct figure {
	unsigned int readings;
	uint64_t least, largest;
};

static int card = -1;
static char *area;	/* free addresses, aligned to 1 GiB */
static char card_name[VPFN_PCI_NAME];
static uint64_t bar;

static void add(struct figure *figure, uint64_t value)
{
	if (!figure->readings++ || value < figure->least)
		figure->least = value;
	if (value > figure->largest)
		figure->largest = value;
}

static void tell(const char *work, const struct side *side, uint64_t size, const char *unit,
		 const struct figure *figure)
{
	printf("figure\t%s\t%s\t%llu\t%s\t%llu\t%llu\n", work, side->name,
	       (unsigned long long)size, unit, (unsigned long long)figure->least,
	       (unsigned long long)figure->largest);
	fflush(stdout);
}

static uint64_t now(void)
{
	unsigned int processor;

	return __rdtscp(&processor);
}

/* Time on the processor of this task alone, in ns; the same unit as now() with -icount shift=0 */
static uint64_t task_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void fail(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* ---- The sides ---- */

static struct vpfn_bo bo;

static int open_vpfn(const struct side *side)
{
	int err = vpfn_limit_set(side->level);

	err = err ?: vpfn_bo_create_in(card, VRAM_SIZE, DRM_VPFN_PLACEMENT_VRAM,
				       DRM_VPFN_GEM_CREATE_CPU_ACCESS, &bo);
	/* The engine clears it. */
	return err ?: vpfn_bo_wait(card, &bo, 0, VPFN_LONG_NS);
}

static int map_vpfn(const struct side *side, uint64_t size, void **map)
{
	struct vpfn_bo part = bo;

	(void)side;
	part.size = size;
	return vpfn_bo_map(card, &part, map);
}

static void close_vpfn(const struct side *side)
{
	(void)side;
	vpfn_bo_close(card, &bo);
}

/* Stock vfio-pci, on the same BAR */
static struct {
	int container, group, device;
	uint64_t offset;
} vfio = { -1, -1, -1, 0 };

static int bind_vfio(char *path, size_t size)
{
	char link[128], number[128];
	ssize_t len;
	int err;

	if (system("modprobe -q vfio-pci"))
		return -ENODEV;
	err = pfnmap_text_write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "1");
	err = err ?: vpfn_card_set(card_name, "driver_override", "vfio-pci");
	err = err ?: vpfn_card_unbind(card_name);
	err = err ?: pfnmap_text_write("/sys/bus/pci/drivers_probe", card_name);
	if (err)
		return err;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", card_name);
	len = readlink(link, number, sizeof(number) - 1);
	if (len < 0)
		return -errno;
	number[len] = '\0';
	snprintf(path, size, "/dev/vfio/noiommu-%s", strrchr(number, '/') + 1);
	return 0;
}

static int open_vfio_device(const char *path)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX + VRAM_BAR,
	};

	vfio.container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	vfio.group = open(path, O_RDWR | O_CLOEXEC);
	if (vfio.container < 0 || vfio.group < 0)
		return -errno;
	if (ioctl(vfio.group, VFIO_GROUP_SET_CONTAINER, &vfio.container) ||
	    ioctl(vfio.container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU))
		return -errno;
	vfio.device = ioctl(vfio.group, VFIO_GROUP_GET_DEVICE_FD, card_name);
	if (vfio.device < 0 || ioctl(vfio.device, VFIO_DEVICE_GET_REGION_INFO, &region))
		return -errno;
	vfio.offset = region.offset;
	return 0;
}

static int open_vfio(const struct side *side)
{
	char path[160];
	int err;

	(void)side;
	if (vfio.device >= 0)
		return 0;
	err = bind_vfio(path, sizeof(path));
	return err ?: open_vfio_device(path);
}

static int map_fixed(char *addr, uint64_t size, int flags, int fd, uint64_t offset, void **map)
{
	*map = mmap(addr, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd, offset);
	return *map == MAP_FAILED ? -errno : 0;
}

/*
 * vfio-pci has no get_unmapped_area() in Linux 7.3, so the address decides about the leaf: it is
 * aligned to the leaf of the side and to no larger one.
 */
static int map_vfio(const struct side *side, uint64_t size, void **map)
{
	char *addr = side->level == VPFN_PUD ? area : area + vpfn_level_size(side->level);

	return map_fixed(addr, size, MAP_SHARED, vfio.device, vfio.offset, map);
}

/* The same physical addresses, all PTEs of which mmap() makes */
static int mem = -1;

static int open_mem(const struct side *side)
{
	(void)side;
	mem = open("/dev/mem", O_RDWR | O_CLOEXEC | O_SYNC);
	return mem < 0 ? -errno : 0;
}

static int map_mem(const struct side *side, uint64_t size, void **map)
{
	(void)side;
	*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mem, bar);
	return *map == MAP_FAILED ? -errno : 0;
}

static void close_mem(const struct side *side)
{
	(void)side;
	close(mem);
}

static int map_anonymous(const struct side *side, uint64_t size, void **map)
{
	int advice = side->level == VPFN_PMD ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
	int err = map_fixed(area, size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, map);

	return err ?: madvise(*map, size, advice) ? -errno : 0;
}

#define HUGE_PAGES	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

static int open_hugetlb(const struct side *side)
{
	char text[16];
	int err = pfnmap_text_write(HUGE_PAGES, "512");

	(void)side;
	err = err ?: pfnmap_text_read(HUGE_PAGES, text, sizeof(text));
	return err ?: strtol(text, NULL, 10) == 512 ? 0 : -ENOMEM;
}

static int map_hugetlb(const struct side *side, uint64_t size, void **map)
{
	(void)side;
	*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		    -1, 0);
	return *map == MAP_FAILED ? -errno : 0;
}

static void close_hugetlb(const struct side *side)
{
	(void)side;
	pfnmap_text_write(HUGE_PAGES, "0");
}

/*
 * A dumb buffer of vgem, by drm_gem_shmem_helper. vgem has no mount with huge pages of its own; the
 * kernel's mount, which it uses, has them while shmem_enabled says so.
 */
#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static struct {
	int card;
	struct drm_mode_create_dumb buffer;
	struct drm_mode_map_dumb place;
} vgem;

static int open_vgem_card(void)
{
	int found = -ENODEV;
	glob_t cards;

	if (pfnmap_shell("modprobe -q vgem") || glob("/dev/dri/card*", 0, NULL, &cards))
		return -ENODEV;
	for (size_t i = 0; i < cards.gl_pathc && found < 0; i++) {
		int fd = open(cards.gl_pathv[i], O_RDWR | O_CLOEXEC);
		drmVersionPtr version = fd < 0 ? NULL : drmGetVersion(fd);

		if (version && !strcmp(version->name, "vgem"))
			found = fd;
		else if (fd >= 0)
			close(fd);
		drmFreeVersion(version);
	}
	globfree(&cards);
	return found;
}

static int open_vgem(const struct side *side)
{
	bool huge = side->level == VPFN_PMD;
	int err = pfnmap_text_write(SHMEM_ENABLED, huge ? "within_size" : "never");

	if (err)
		return err;
	vgem.card = open_vgem_card();
	if (vgem.card < 0)
		return vgem.card;
	vgem.buffer = (struct drm_mode_create_dumb) {
		.width = PFNMAP_1G / PFNMAP_PAGE, .height = PFNMAP_PAGE, .bpp = 8,
	};
	if (ioctl(vgem.card, DRM_IOCTL_MODE_CREATE_DUMB, &vgem.buffer))
		return -errno;
	vgem.place = (struct drm_mode_map_dumb) { .handle = vgem.buffer.handle };
	return ioctl(vgem.card, DRM_IOCTL_MODE_MAP_DUMB, &vgem.place) ? -errno : 0;
}

static int map_vgem(const struct side *side, uint64_t size, void **map)
{
	(void)side;
	return map_fixed(area, size, MAP_SHARED, vgem.card, vgem.place.offset, map);
}

static void close_vgem(const struct side *side)
{
	(void)side;
	close(vgem.card);
	pfnmap_text_write(SHMEM_ENABLED, "never");
}

/* vpfn at PTE maps by TTM's own fault handler, ttm_bo_vm_fault_reserved(). vfio-pci comes last. */
static const struct side sides[] = {
	{ "vpfn-pte", VPFN_PTE, open_vpfn, map_vpfn, close_vpfn },
	{ "vpfn-pmd", VPFN_PMD, open_vpfn, map_vpfn, close_vpfn },
	{ "vpfn-pud", VPFN_PUD, open_vpfn, map_vpfn, close_vpfn },
	{ "anonymous", VPFN_PTE, NULL, map_anonymous, NULL },
	{ "anonymous-thp", VPFN_PMD, NULL, map_anonymous, NULL },
	{ "shmem", VPFN_PTE, open_vgem, map_vgem, close_vgem },
	{ "shmem-huge", VPFN_PMD, open_vgem, map_vgem, close_vgem },
	{ "hugetlb", VPFN_PMD, open_hugetlb, map_hugetlb, close_hugetlb },
	{ "dev-mem", VPFN_PTE, open_mem, map_mem, close_mem },
	{ "vfio-pci-pte", VPFN_PTE, open_vfio, map_vfio, NULL },
	{ "vfio-pci-pmd", VPFN_PMD, open_vfio, map_vfio, NULL },
	{ "vfio-pci-pud", VPFN_PUD, open_vfio, map_vfio, NULL },
};

/* ---- The work on a mapping ---- */

static void map_side(const struct side *side, uint64_t size, struct mapping *mapping)
{
	int err = side->map(side, size, &mapping->map);

	if (err)
		fail(side->name, err);
	mapping->size = size;
}

static void unmap(const struct mapping *mapping)
{
	if (munmap(mapping->map, mapping->size))
		fail("munmap", -errno);
}

#define TOUCHES_MAX	(VRAM_SIZE / PFNMAP_PAGE)

/* What each touch has cost: the least of all repeats */
static uint32_t least_cost[TOUCHES_MAX];

/* Not inlined: whether the page is mapped or not, the same instructions touch it. */
static __attribute__((noinline)) uint64_t touch_word(char *word)
{
	uint64_t begin = now();

	pfnmap_store(word, 1);
	return now() - begin;
}

/*
 * Touches a word every @step bytes, in steps of @stride words that comes by all of them. Returns
 * what that has cost.
 */
static uint64_t touch(const struct mapping *mapping, uint64_t step, uint64_t stride)
{
	uint64_t count = mapping->size / step, i, at = 0, cost, sum = 0;

	for (i = 0; i < count; i++) {
		cost = touch_word((char *)mapping->map + at * step);
		if (cost < least_cost[i])
			least_cost[i] = cost;
		sum += cost;
		at += stride;
		if (at >= count)
			at -= count;
	}
	return sum;
}

struct first_touch {
	const char *work;
	uint64_t step;		/* 0: one word in all */
	uint64_t stride;
};

/* 1 and 40503 have no factor in common with a power of two. */
static const struct first_touch touches[] = {
	{ "touch-pages", PFNMAP_PAGE, 1 },
	{ "touch-random", PFNMAP_PAGE, 40503 },
	{ "touch-once", 0, 1 },
};

static void measure_touch(const struct side *side, uint64_t size, const struct first_touch *how)
{
	uint64_t step = how->step ?: size, count = size / step, stride = how->stride % count ?: 1;
	struct figure sum = {}, mapped = {}, faults = {}, tables = {}, outside = {};
	uint64_t i;

	memset(least_cost, 0xff, sizeof(least_cost));
	for (int repeat = 0; repeat < REPEATS; repeat++) {
		struct mapping mapping;
		long kib, before;

		kib = vpfn_page_table_kib();
		map_side(side, size, &mapping);
		before = vpfn_faults();
		add(&sum, touch(&mapping, step, stride));
		add(&faults, vpfn_faults() - before);
		add(&tables, vpfn_page_table_kib() - kib);
		add(&mapped, touch_word(mapping.map));
		unmap(&mapping);
	}
	for (i = 0; i < count; i++)
		outside.least += least_cost[i] - mapped.least;
	outside.largest = sum.largest - count * mapped.least;
	tell(how->work, side, size, "instructions", &outside);
	tell(how->work, side, size, "faults", &faults);
	tell(how->work, side, size, "KiB of page tables", &tables);
}

static void measure_mmap(const struct side *side, uint64_t size)
{
	struct figure maps = {}, unmaps = {}, holes = {};

	for (int i = 0; i < REPEATS; i++) {
		struct mapping mapping;
		uint64_t begin = now(), middle;

		map_side(side, size, &mapping);
		add(&maps, now() - begin);
		touch(&mapping, PFNMAP_PAGE, 1);
		begin = now();
		unmap(&mapping);
		add(&unmaps, now() - begin);

		/*
		 * hugetlb unmaps whole pages only. A PUD leaf of vfio-pci, split by munmap(),
		 * crashes Linux 7.3 (make mm-bugs).
		 */
		if (side->map == map_hugetlb ||
		    (side->map == map_vfio && side->level == VPFN_PUD))
			continue;
		map_side(side, size, &mapping);
		touch(&mapping, PFNMAP_PAGE, 1);
		begin = now();
		if (munmap((char *)mapping.map + size / 2, PFNMAP_PAGE))
			fail("munmap of a page", -errno);
		middle = now();
		add(&holes, middle - begin);
		unmap(&mapping);
	}
	tell("mmap", side, size, "instructions", &maps);
	tell("munmap", side, size, "instructions", &unmaps);
	if (holes.readings)
		tell("munmap-page", side, size, "instructions", &holes);
}

static uint64_t fork_and_exit(void)
{
	uint64_t begin = now();
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("fork", -errno);
	return now() - begin;
}

/* What a fork and the exit of the child cost more with the mapping than without it */
static void measure_fork(const struct side *side, uint64_t size)
{
	struct figure with = {}, without = {}, more = {};
	struct mapping mapping;

	map_side(side, size, &mapping);
	touch(&mapping, PFNMAP_PAGE, 1);
	for (int i = 0; i < REPEATS; i++)
		add(&with, fork_and_exit());
	unmap(&mapping);
	for (int i = 0; i < REPEATS; i++)
		add(&without, fork_and_exit());
	/* Less than an interrupt costs is nothing. */
	more.least = with.least > without.least ? with.least - without.least : 0;
	more.largest = with.largest - without.least;
	tell("fork", side, size, "instructions", &more);
}

static void measure_side(const struct side *side)
{
	static const uint64_t sizes[] = SIZES;
	int err = side->open ? side->open(side) : 0;

	if (err) {
		printf("absent\t%s\t%s\n", side->name, strerror(-err));
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(touches); j++)
			measure_touch(side, sizes[i], &touches[j]);
		measure_mmap(side, sizes[i]);
		measure_fork(side, sizes[i]);
	}
	if (side->open == open_vpfn)
		measure_touch(side, VRAM_SIZE, &touches[0]);
	if (side->close)
		side->close(side);
}

/* ---- Where the instructions of a leaf go ---- */

/* The first fault on a GiB. The rounds before it fill what is cached from then on. */
static void mark_side(const struct side *side)
{
	struct mapping mapping;

	if (side->level == VPFN_PTE || (side->open && side->open(side)))
		return;
	for (int round = 0; round < REPEATS; round++) {
		map_side(side, PFNMAP_1G, &mapping);
		if (round == REPEATS - 1)
			asm volatile(".ascii \"" MARK_BEGIN "\"" ::: "memory");
		touch_word(mapping.map);
		asm volatile(".ascii \"" MARK_END "\"" ::: "memory");
		unmap(&mapping);
	}
	printf("window\ttouch-once\t%s\n", side->name);
	if (side->close)
		side->close(side);
}

/* ---- The work of the driver ---- */

/* As TTM's series of 2020 had it: buffers of 4 MiB, each mapped, touched and freed. */
static void measure_buffers(const struct side *side)
{
	struct figure each = {}, faults = {};
	long count = vpfn_faults();

	if (vpfn_limit_set(side->level))
		return;
	for (int i = 0; i < BUFFERS; i++) {
		struct mapping mapping = { .size = BUFFER_SIZE };
		uint64_t begin = task_time();
		struct vpfn_bo buffer;
		int err;

		err = vpfn_bo_create_in(card, BUFFER_SIZE, DRM_VPFN_PLACEMENT_VRAM,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &buffer);
		err = err ?: vpfn_bo_map(card, &buffer, &mapping.map);
		if (err)
			fail("a buffer", err);
		for (uint64_t at = 0; at < BUFFER_SIZE; at += PFNMAP_PAGE)
			pfnmap_store((char *)mapping.map + at, 1);
		unmap(&mapping);
		vpfn_bo_close(card, &buffer);
		add(&each, task_time() - begin);
	}
	add(&faults, vpfn_faults() - count);
	tell("buffers", side, BUFFER_SIZE, "instructions", &each);
	tell("buffers", side, BUFFER_SIZE, "faults of all", &faults);
}

static void measure_create(const struct side *side)
{
	static struct vpfn_bo buffers[SMALL_BUFFERS];
	struct figure creates = {}, closes = {};
	uint64_t begin;
	int err;

	for (int i = 0; i < SMALL_BUFFERS; i++) {
		begin = task_time();
		err = vpfn_bo_create(card, PFNMAP_PAGE, &buffers[i]);
		if (err)
			fail("a small buffer", err);
		add(&creates, task_time() - begin);
	}
	for (int i = 0; i < SMALL_BUFFERS; i++) {
		begin = task_time();
		vpfn_bo_close(card, &buffers[i]);
		add(&closes, task_time() - begin);
	}
	tell("create", side, PFNMAP_PAGE, "instructions", &creates);
	tell("close", side, PFNMAP_PAGE, "instructions", &closes);
}

static void measure_submit(const struct side *side)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	struct figure figure = {};
	uint32_t out;
	int err = drmSyncobjCreate(card, 0, &out);

	for (int i = 0; !err && i < JOBS; i++) {
		uint64_t begin = task_time();

		err = vpfn_submit(card, &nop, 1, 0, out);
		add(&figure, task_time() - begin);
		err = err ?: vpfn_sync_status(card, out, VPFN_LONG_NS);
	}
	if (err)
		fail("a submission", err);
	drmSyncobjDestroy(card, out);
	tell("submit-nop", side, 0, "instructions", &figure);
}

/* ---- The work that a clock measures ---- */

static uint64_t clock_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_RAW, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* What one call costs, by @clock */
static void add_call(struct figure *figure, uint64_t (*clock)(void), int (*call)(void *arg),
		     void *arg, const char *what)
{
	uint64_t begin = clock();
	int err = call(arg);

	add(figure, clock() - begin);
	if (err)
		fail(what, err);
}

struct moved {
	struct vpfn_bo vram, system;
	void *map;
};

static int copy_out(void *arg)
{
	struct moved *moved = arg;

	return vpfn_copy(card, &moved->system, 0, &moved->vram, 0, MOVED_SIZE);
}

static int copy_in(void *arg)
{
	struct moved *moved = arg;

	return vpfn_copy(card, &moved->vram, 0, &moved->system, 0, MOVED_SIZE);
}

static int evict(void *arg)
{
	(void)arg;
	return vpfn_evict(card);
}

/* The engine gets the buffer back, and a word of it to fill. */
static int bring_back(void *arg)
{
	struct moved *moved = arg;

	return vpfn_fill(card, &moved->vram, 0, 4, 0);
}

/* The job that brings the buffer back has been submitted. */
static int touch_moving(void *arg)
{
	struct moved *moved = arg;

	pfnmap_store(moved->map, 1);
	return 0;
}

static void submit_return(struct moved *moved)
{
	struct drm_vpfn_cmd word = vpfn_cmd_fill(&moved->vram, 0, 4, 0);
	int err = vpfn_submit(card, &word, 1, 0, 0);

	if (err)
		fail("a return", err);
}

/* A buffer of which each page is mapped is moved out and back; the same bytes copied by a job. */
static void measure_moves(const struct side *side, uint64_t (*clock)(void), const char *unit)
{
	struct figure out = {}, back = {}, copied_out = {}, copied_in = {}, fault = {};
	struct moved moved;
	int err = vpfn_limit_set(side->level);

	err = err ?: vpfn_bo_create_in(card, MOVED_SIZE, DRM_VPFN_PLACEMENT_VRAM,
				       DRM_VPFN_GEM_CREATE_CPU_ACCESS, &moved.vram);
	err = err ?: vpfn_bo_create_in(card, MOVED_SIZE, DRM_VPFN_PLACEMENT_SYSTEM, 0,
				       &moved.system);
	err = err ?: vpfn_bo_map(card, &moved.vram, &moved.map);
	if (err)
		fail("buffers to move", err);
	for (int i = 0; i < REPEATS; i++) {
		for (uint64_t at = 0; at < MOVED_SIZE; at += PFNMAP_PAGE)
			pfnmap_store((char *)moved.map + at, 1);
		add_call(&copied_out, clock, copy_out, &moved, "a copy");
		add_call(&out, clock, evict, &moved, "an eviction");
		add_call(&back, clock, bring_back, &moved, "a return");
		add_call(&copied_in, clock, copy_in, &moved, "a copy");
		err = vpfn_evict(card);
		if (err)
			fail("an eviction", err);
		submit_return(&moved);
		add_call(&fault, clock, touch_moving, &moved, "a touch");
	}
	munmap(moved.map, MOVED_SIZE);
	vpfn_bo_close(card, &moved.vram);
	vpfn_bo_close(card, &moved.system);
	tell("evict", side, MOVED_SIZE, unit, &out);
	tell("evict-copy", side, MOVED_SIZE, unit, &copied_out);
	tell("return", side, MOVED_SIZE, unit, &back);
	tell("return-copy", side, MOVED_SIZE, unit, &copied_in);
	tell("touch-moving", side, MOVED_SIZE, unit, &fault);
}

/* It copies MOVED_SIZE bytes. */
static uint64_t memcpy_on_host(void)
{
	char answer[32];
	int err = vpfn_host_command(answer, sizeof(answer), "memcpy");

	if (err)
		fail("memcpy on the host", err);
	return strtoull(answer, NULL, 10);
}

/* One submission takes 256 MiB in parts that a checksum may have. */
static uint64_t engine_time(const struct vpfn_bo *from, const struct vpfn_bo *to, uint32_t op)
{
	struct drm_vpfn_cmd cmds[MOVED_SIZE / DRM_VPFN_CRC_LENGTH_MAX];
	uint64_t begin = clock_time();
	int err;

	for (unsigned int i = 0; i < ARRAY_SIZE(cmds); i++) {
		uint64_t at = i * (uint64_t)DRM_VPFN_CRC_LENGTH_MAX, len = DRM_VPFN_CRC_LENGTH_MAX;

		if (op == DRM_VPFN_CMD_FILL)
			cmds[i] = vpfn_cmd_fill(to, at, len, 0x12345678);
		else if (op == DRM_VPFN_CMD_COPY)
			cmds[i] = vpfn_cmd_copy(to, at, from, at, len);
		else
			cmds[i] = vpfn_cmd_crc(to, 0, from, at, len);
	}
	err = vpfn_run(card, cmds, ARRAY_SIZE(cmds));
	if (err)
		fail("a job", err);
	return clock_time() - begin;
}

#define ENGINE_ROUNDS	10

static void measure_engine(void)
{
	static const struct side engine = { .name = "engine" }, host = { .name = "host" };
	struct figure copy = {}, fill = {}, crc = {}, on_host = {};
	struct vpfn_bo from, to;
	int err = vpfn_bo_create(card, MOVED_SIZE, &from);

	err = err ?: vpfn_bo_create(card, MOVED_SIZE, &to);
	if (err)
		fail("buffers of the engine", err);
	for (int i = 0; i < ENGINE_ROUNDS; i++) {
		add(&on_host, memcpy_on_host());
		add(&copy, engine_time(&from, &to, DRM_VPFN_CMD_COPY));
		add(&fill, engine_time(&from, &to, DRM_VPFN_CMD_FILL));
		add(&crc, engine_time(&from, &to, DRM_VPFN_CMD_CRC32C));
	}
	vpfn_bo_close(card, &from);
	vpfn_bo_close(card, &to);
	tell("memcpy", &host, MOVED_SIZE, "ns", &on_host);
	tell("copy", &engine, MOVED_SIZE, "ns", &copy);
	tell("fill", &engine, MOVED_SIZE, "ns", &fill);
	tell("crc", &engine, MOVED_SIZE, "ns", &crc);
}

struct toucher {
	pthread_t thread;
	pthread_barrier_t *begin;
	char *from;
	uint64_t size;
	uint64_t begun, ended;
};

static void *touch_pages(void *arg)
{
	struct toucher *toucher = arg;

	pthread_barrier_wait(toucher->begin);
	toucher->begun = clock_time();
	for (uint64_t at = 0; at < toucher->size; at += PFNMAP_PAGE)
		pfnmap_store(toucher->from + at, 1);
	toucher->ended = clock_time();
	return NULL;
}

/* From when the first thread begins until the last one has ended */
static uint64_t touch_by_threads(struct toucher *touchers, unsigned int count)
{
	uint64_t first = UINT64_MAX, last = 0;
	pthread_barrier_t begin;

	pthread_barrier_init(&begin, NULL, count);
	for (unsigned int i = 0; i < count; i++) {
		touchers[i].begin = &begin;
		if (pthread_create(&touchers[i].thread, NULL, touch_pages, &touchers[i]))
			fail("a thread", -EAGAIN);
	}
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(touchers[i].thread, NULL);
		if (touchers[i].begun < first)
			first = touchers[i].begun;
		if (touchers[i].ended > last)
			last = touchers[i].ended;
	}
	pthread_barrier_destroy(&begin);
	return last - first;
}

/* @count threads touch 256 MiB: a part of one buffer each, or a buffer each. */
static void measure_threads(const struct side *side, unsigned int count, bool one_buffer)
{
	uint64_t part = THREADS_SIZE / count;
	struct toucher touchers[THREADS_MAX];
	struct vpfn_bo bos[THREADS_MAX];
	unsigned int buffers = one_buffer ? 1 : count;
	struct figure figure = {};
	void *maps[THREADS_MAX];
	char work[32];
	int err = vpfn_limit_set(side->level);

	for (unsigned int i = 0; !err && i < buffers; i++) {
		err = vpfn_bo_create_in(card, THREADS_SIZE / buffers, DRM_VPFN_PLACEMENT_VRAM,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &bos[i]);
		err = err ?: vpfn_bo_wait(card, &bos[i], 0, VPFN_LONG_NS);
	}
	for (int repeat = 0; !err && repeat < REPEATS; repeat++) {
		for (unsigned int i = 0; !err && i < buffers; i++)
			err = vpfn_bo_map(card, &bos[i], &maps[i]);
		if (err)
			break;
		for (unsigned int i = 0; i < count; i++) {
			touchers[i].from = one_buffer ? (char *)maps[0] + i * part : maps[i];
			touchers[i].size = part;
		}
		add(&figure, touch_by_threads(touchers, count));
		for (unsigned int i = 0; i < buffers; i++)
			munmap(maps[i], THREADS_SIZE / buffers);
	}
	if (err)
		fail("buffers of threads", err);
	for (unsigned int i = 0; i < buffers; i++)
		vpfn_bo_close(card, &bos[i]);
	snprintf(work, sizeof(work), "threads-%u-%s", count, one_buffer ? "one" : "own");
	tell(work, side, THREADS_SIZE, "ns", &figure);
}

static void measure_clock(void)
{
	measure_engine();
	for (unsigned int i = 0; sides[i].open == open_vpfn; i++) {
		measure_moves(&sides[i], clock_time, "ns");
		measure_threads(&sides[i], 1, true);
		for (unsigned int count = 2; count <= THREADS_MAX; count *= 2) {
			measure_threads(&sides[i], count, true);
			measure_threads(&sides[i], count, false);
		}
	}
}

static void measure_driver(void)
{
	static const struct side driver = { .name = "vpfn" };

	measure_submit(&driver);
	measure_create(&driver);
	for (unsigned int i = 0; sides[i].open == open_vpfn; i++)
		measure_buffers(&sides[i]);
	for (unsigned int i = 0; sides[i].open == open_vpfn; i++)
		measure_moves(&sides[i], task_time, "instructions");
}

int main(int argc, char **argv)
{
	bool functions = argc > 1 && !strcmp(argv[1], "functions");
	void *reserved;
	int err;

	card = vpfn_open(O_RDWR);
	if (card < 0)
		fail("no vpfn device", card);
	err = vpfn_card_name(card, card_name) ?: vpfn_bar_start(card, VRAM_BAR, &bar);
	err = err ?: pfnmap_reserve(2 * PFNMAP_1G, PFNMAP_1G, &reserved);
	if (err)
		fail("the device", err);
	munmap(reserved, 2 * PFNMAP_1G);
	area = reserved;

	if (argc > 1 && !strcmp(argv[1], "clock")) {
		measure_clock();
		return 0;
	}
	if (!functions)
		measure_driver();
	for (unsigned int i = 0; i < ARRAY_SIZE(sides); i++) {
		/* Its driver has to let the card go. */
		if (sides[i].open == open_vfio && card >= 0) {
			close(card);
			card = -1;
		}
		if (functions)
			mark_side(&sides[i]);
		else
			measure_side(&sides[i]);
	}
	return 0;
}
