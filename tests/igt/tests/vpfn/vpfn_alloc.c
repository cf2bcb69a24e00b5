// SPDX-License-Identifier: MIT
/*
 * What does the driver allocate for a client? What the client can have again and again is charged
 * to it, and what cannot be had does not end the client.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_foreign.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_events.h"
#include "vpfn/vpfn_failure.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Kernel memory that vpfn allocates for its clients.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define SIZE		(16 * PFNMAP_PAGE)

static int big = -1, small = -1;

/* ---- What is charged ---- */

/* What a call needs, and what it leaves behind until its file is closed. */
struct client {
	int fd;
	uint32_t in;		/* a syncobj that waits for the gate */
	struct vpfn_bo vram, system;
	int dmabuf;		/* of the other device */
	struct vpfn_gate gate;
};

static int do_open(struct client *client)
{
	int fd = vpfn_open(O_RDWR);

	(void)client;
	return fd < 0 ? fd : 0;
}

static int do_create(struct client *client)
{
	struct vpfn_bo bo;

	return vpfn_bo_create_in(client->fd, SIZE, SYSTEM, 0, &bo);
}

static int do_map(struct client *client)
{
	void *map;

	return vpfn_bo_map(client->fd, &client->vram, &map);
}

static int do_export(struct client *client)
{
	struct vpfn_bo bo;
	int dmabuf;

	return vpfn_bo_create_in(client->fd, SIZE, SYSTEM, 0, &bo) ?:
	       vpfn_bo_export(client->fd, &bo, &dmabuf);
}

static int do_import(struct client *client)
{
	struct vpfn_bo bo;

	return vpfn_dmabuf_import(client->fd, client->dmabuf, SIZE, &bo);
}

static int submit(struct client *client, struct drm_vpfn_cmd cmd)
{
	uint32_t out;

	if (drmSyncobjCreate(client->fd, 0, &out))
		return -errno;
	return vpfn_submit(client->fd, &cmd, 1, client->in, out);
}

static int do_nop(struct client *client)
{
	return submit(client, (struct drm_vpfn_cmd) { .op = DRM_VPFN_CMD_NOP });
}

static int do_fill(struct client *client)
{
	return submit(client, vpfn_cmd_fill(&client->vram, 0, SIZE, 1));
}

static int do_copy(struct client *client)
{
	return submit(client, vpfn_cmd_copy(&client->vram, 0, &client->system, 0, SIZE));
}

static const struct {
	const char *name;
	int (*run)(struct client *client);
} calls[] = {
	{ "open", do_open },
	{ "create", do_create },
	{ "map", do_map },
	{ "export", do_export },
	{ "import", do_import },
	{ "nop", do_nop },
	{ "fill", do_fill },
	{ "copy", do_copy },
};

static void client_open(struct client *client)
{
	struct vpfn_bo other;
	int err = vpfn_gate_make(&client->gate);

	igt_require_f(err != -ENOENT, "no fences for tests: the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
	client->fd = vpfn_open(O_RDWR);
	igt_assert_lte(0, client->fd);
	igt_assert_eq(vpfn_bo_create(client->fd, SIZE, &client->vram), 0);
	igt_assert_eq(vpfn_bo_create_in(client->fd, SIZE, SYSTEM, 0, &client->system), 0);
	/* With pages */
	igt_assert_eq(vpfn_fill(client->fd, &client->system, 0, SIZE, 1), 0);
	igt_assert_eq(vpfn_bo_create_in(small, SIZE, SYSTEM, 0, &other), 0);
	igt_assert_eq(vpfn_bo_export(small, &other, &client->dmabuf), 0);
	igt_assert_eq(vpfn_gate_syncobj(&client->gate, client->fd, &client->in), 0);
}

static void client_close(struct client *client)
{
	igt_assert_eq(vpfn_gate_open(&client->gate), 0);
	close(client->dmabuf);
	close(client->fd);
	vpfn_gate_remove(&client->gate);
}

/* Allocations by code of the module that have not been freed. */
struct allocation {
	char ptr[24], site[64];
	unsigned long bytes;
	bool charged;
};

struct allocations {
	unsigned int count, charged;	/* made */
	unsigned int num;
	struct allocation of[64];
};

static void copy_word(const char *line, const char *key, char *word, size_t size)
{
	const char *at = strstr(line, key);

	*word = '\0';
	if (at)
		snprintf(word, size, "%.*s", (int)strcspn(at + strlen(key), " +\n"),
			 at + strlen(key));
}

static void note_free(struct allocations *allocations, const char *ptr)
{
	for (unsigned int i = 0; i < allocations->num; i++) {
		if (!strcmp(allocations->of[i].ptr, ptr)) {
			allocations->of[i] = allocations->of[--allocations->num];
			return;
		}
	}
}

static void note_event(const char *event, const char *line, void *arg)
{
	struct allocations *allocations = arg;
	struct allocation new = {};
	char bytes[24];

	copy_word(line, " ptr=", new.ptr, sizeof(new.ptr));
	if (!strcmp(event, "kfree") || !strcmp(event, "kmem_cache_free")) {
		note_free(allocations, new.ptr);
		return;
	}
	if (!strstr(line, "[vpfn]") || allocations->num == ARRAY_SIZE(allocations->of))
		return;

	copy_word(line, "call_site=", new.site, sizeof(new.site));
	copy_word(line, " bytes_alloc=", bytes, sizeof(bytes));
	new.bytes = strtoul(bytes, NULL, 10);
	new.charged = strstr(line, " accounted=true");
	allocations->count++;
	allocations->charged += new.charged;
	allocations->of[allocations->num++] = new;
}

static void open_events(void)
{
	static const char * const allocs[] = { "kmem/kmalloc", "kmem/kmem_cache_alloc" };
	static const char * const frees[] = { "kmem/kfree", "kmem/kmem_cache_free" };
	int err = vpfn_events_open(4096);
	char filter[32];

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_FTRACE\n");
	igt_assert_eq(err, 0);
	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	for (unsigned int i = 0; i < ARRAY_SIZE(allocs); i++) {
		igt_assert_eq(vpfn_events_add(allocs[i], filter), 0);
		igt_assert_eq(vpfn_events_add(frees[i], NULL), 0);
	}
}

static void close_events(int sig)
{
	(void)sig;
	vpfn_events_close();
}

static void test_charged(int (*run)(struct client *client))
{
	struct allocations allocations = {};
	unsigned int uncharged = 0;
	struct client client;
	int err;

	igt_require_f(small >= 0, "no second device of the driver vpfn\n");
	igt_install_exit_handler(close_events);
	open_events();
	client_open(&client);
	/* What the first call alone allocates cannot be had again and again. */
	igt_assert_eq(run(&client), 0);
	igt_assert_eq(vpfn_events_start(), 0);
	err = run(&client);
	igt_assert_eq(vpfn_events_stop(), 0);
	igt_assert_eq(err, 0);
	igt_assert_eq(vpfn_events_read(note_event, &allocations), 0);

	igt_info("%u allocations, %u charged, %u kept\n", allocations.count, allocations.charged,
		 allocations.num);
	for (unsigned int i = 0; i < allocations.num; i++) {
		const struct allocation *allocation = &allocations.of[i];

		if (allocation->charged)
			continue;
		uncharged++;
		igt_info("%lu bytes of %s are not charged\n", allocation->bytes, allocation->site);
	}
	client_close(&client);
	igt_assert_f(!uncharged, "%u allocations that a client can repeat are not charged\n",
		     uncharged);
}

/* That charged allocations are told from others: a new buffer has both, or the first kind alone. */
static void test_seen(void)
{
	struct allocations allocations = {};
	struct client client;

	igt_require_f(small >= 0, "no second device of the driver vpfn\n");
	igt_install_exit_handler(close_events);
	open_events();
	client_open(&client);
	igt_assert_eq(vpfn_events_start(), 0);
	igt_assert_eq(do_create(&client), 0);
	igt_assert_eq(do_nop(&client), 0);
	igt_assert_eq(vpfn_events_stop(), 0);
	igt_assert_eq(vpfn_events_read(note_event, &allocations), 0);
	igt_assert_lte(2, allocations.num);
	igt_assert_lte(1, allocations.charged);
	client_close(&client);
}

/* ---- What cannot be had ---- */

/* A fault takes some allocations, and a page for each page of the buffer. */
#define MAX_NTH		400

/* Has the n-th allocation of the touch fail, and tells whether it came to that. */
static int touch_without(char *map, unsigned int nth, bool *failed)
{
	int file = open(VPFN_FAIL_NTH, O_RDWR | O_CLOEXEC), sig;

	igt_assert(vpfn_failure_arm(file, nth));
	sig = pfnmap_signal_of(map, PFNMAP_WRITE);
	*failed = vpfn_failure_disarm(file);
	close(file);
	return sig;
}

/* In a place from which the first touch has to bring it. */
static void make_untouched(int fd, uint32_t placement, struct vpfn_bo *bo)
{
	/* On the small device, a buffer that is not for the CPU begins out of its reach. */
	igt_assert_eq(vpfn_bo_create_in(fd, SIZE, placement, 0, bo), 0);
	igt_assert_eq(vpfn_bo_wait(fd, bo, 0, VPFN_LONG_NS), 0);
}

/*
 * Addresses that have a page table, because of a page beside them: if mm fails to allocate one, the
 * touch is tried again as well, but the kernel says so in its log.
 */
static void *reserve_with_table(void)
{
	void *area;

	igt_assert_eq(pfnmap_reserve(PFNMAP_2M, PFNMAP_2M, &area), 0);
	igt_assert_eq(mprotect((char *)area + SIZE, PFNMAP_PAGE, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of((char *)area + SIZE, PFNMAP_WRITE), 0);
	return area;
}

static void test_touch(uint32_t placement)
{
	unsigned int nth, failures = 0;
	bool failed = true;
	void *area;

	igt_require_f(small >= 0, "no device with memory that the CPU cannot see\n");
	vpfn_failures_require();
	vpfn_failures_count(VPFN_FAIL_SLAB, NULL);
	vpfn_failures_count(VPFN_FAIL_PAGES, NULL);
	area = reserve_with_table();
	for (nth = 1; failed; nth++) {
		struct vpfn_bo bo;
		void *map;
		int sig;

		igt_assert_lte(nth, MAX_NTH);
		make_untouched(small, placement, &bo);
		igt_assert_eq(vpfn_bo_map(small, &bo, &map), 0);
		map = mremap(map, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, area);
		igt_assert(map == area);
		sig = touch_without(map, nth, &failed);
		igt_assert_f(!sig, "signal %d when allocation %u of a touch fails\n", sig, nth);
		igt_assert_eq_u64(pfnmap_load(map), 0);
		failures += failed;
		map = mmap(area, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		igt_assert(map == area);
		igt_assert_eq(vpfn_bo_close(small, &bo), 0);
	}
	munmap(area, PFNMAP_2M);
	vpfn_failures_end();
	igt_info("%u allocations failed\n", failures);
	igt_assert_lte(1, failures);
}

/* As many pages as udmabuf takes, no two of which are contiguous. */
#define SCATTERED	(1024 * PFNMAP_PAGE)

static void any_piece(int sig)
{
	(void)sig;
	vpfn_piece_limit(VPFN_ANY_ORDER);
}

/* Commands on memory in many pieces need no large piece themselves. */
static void test_pieces(void)
{
	const struct pfnmap_pattern pattern = { .seed = 0x91ece5, .size = SCATTERED };
	struct pfnmap_foreign foreign;
	struct vpfn_bo imported, own;
	uint32_t crc;
	int err;

	err = pfnmap_foreign_from_memfd(SCATTERED, &foreign);
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_UDMABUF\n");
	igt_assert_eq(err, 0);
	pfnmap_pattern_bytes(&pattern, foreign.map, SCATTERED);
	igt_assert_eq(vpfn_dmabuf_import(big, foreign.dmabuf, SCATTERED, &imported), 0);
	igt_assert_eq(vpfn_bo_create(big, SCATTERED, &own), 0);
	igt_assert_eq(vpfn_copy(big, &own, 0, &imported, 0, SCATTERED), 0);

	/* drm_exec's list is a page, which is two with the debugging of SLUB. */
	err = vpfn_piece_limit(1);
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_FAIL_PAGE_ALLOC\n");
	igt_assert_eq(err, 0);
	igt_install_exit_handler(any_piece);
	err = vpfn_copy(big, &own, 0, &imported, 0, SCATTERED);
	igt_assert_eq(vpfn_piece_limit(VPFN_ANY_ORDER), 0);
	igt_assert_f(!err, "a copy without pieces larger than two pages: %d\n", err);

	igt_assert_eq(vpfn_crc(big, &own, 0, SCATTERED, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(foreign.map, SCATTERED));
	vpfn_bo_close(big, &own);
	vpfn_bo_close(big, &imported);
	pfnmap_foreign_remove(&foreign);
}

int igt_main()
{
	igt_fixture() {
		big = vpfn_require_device();
		small = vpfn_open_small(O_RDWR);
	}

	igt_describe("The trace shows what the driver allocates, and what of it is charged.");
	igt_subtest("seen")
		test_seen();

	igt_describe("What the driver keeps for each call of a client is charged to it.");
	igt_subtest_with_dynamic("charged") {
		for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
			igt_dynamic(calls[i].name)
				test_charged(calls[i].run);
		}
	}

	igt_describe("A job on scattered memory needs no memory in one piece.");
	igt_subtest("pieces")
		test_pieces();

	igt_describe("A touch for which an allocation fails is tried again, and raises no signal.");
	igt_subtest_with_dynamic("touch") {
		igt_dynamic("vram")
			test_touch(VRAM);
		igt_dynamic("system")
			test_touch(SYSTEM);
	}

	igt_fixture() {
		if (small >= 0)
			close(small);
		close(big);
	}
}
