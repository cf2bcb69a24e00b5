// SPDX-License-Identifier: MIT
/*
 * Which place does a buffer get? It returns to device memory when there is room, gets the place of
 * one that is on its way out, and never one that shows the bytes of another client.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_report.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("The place that a buffer of vpfn gets when others come and go.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SIZE		(4 * MIB)
#define SECRET		0x5ec2e75e

static int big = -1, small = -1;
static char small_name[VPFN_PCI_NAME];

static uint32_t place_of(int fd, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	return placement;
}

/* A job on the buffer that waits for the gate */
static void submit_gated(int fd, const struct vpfn_bo *bo, const struct vpfn_gate *gate)
{
	struct drm_vpfn_cmd fill = vpfn_cmd_fill(bo, 0, 4, 1);
	uint32_t in;

	igt_assert_eq(vpfn_gate_syncobj(gate, fd, &in), 0);
	igt_assert_eq(vpfn_submit(fd, &fill, 1, in, 0), 0);
	drmSyncobjDestroy(fd, in);
}

static void require_small(void)
{
	igt_require_f(small >= 0, "no device with memory that the CPU cannot see\n");
}

/* ---- Back to device memory ---- */

static const struct {
	const char *name;
	bool small;
	uint32_t placement, flags;
} returns[] = {
	{ "vram", false, VRAM, 0 },
	{ "vram-cpu-access", false, VRAM, CPU_ACCESS },
	{ "both", false, VRAM | SYSTEM, 0 },
	{ "both-cpu-access", false, VRAM | SYSTEM, CPU_ACCESS },
	{ "small-vram", true, VRAM, 0 },
	{ "small-both", true, VRAM | SYSTEM, 0 },
	{ "small-both-cpu-access", true, VRAM | SYSTEM, CPU_ACCESS },
};

static void test_return(int fd, uint32_t placement, uint32_t flags)
{
	uint32_t crc, before;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create_in(fd, SIZE, placement, flags, &bo), 0);
	igt_assert_eq(vpfn_fill(fd, &bo, 0, SIZE, 0x19191919), 0);
	igt_assert_eq(place_of(fd, &bo), VRAM);
	igt_assert_eq(vpfn_crc(fd, &bo, 0, SIZE, &before), 0);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(place_of(fd, &bo), SYSTEM);

	igt_assert_eq(vpfn_crc(fd, &bo, 0, SIZE, &crc), 0);
	igt_assert_eq_u64(crc, before);
	igt_assert_eq(place_of(fd, &bo), VRAM);
	vpfn_bo_close(fd, &bo);
}

/* Without room nothing is evicted for it: the job reads it in system memory. */
static void test_stays(void)
{
	struct vpfn_bo bo, all;
	uint64_t vram;
	uint32_t crc;

	require_small();
	igt_assert_eq(vpfn_bo_create_in(small, SIZE, VRAM | SYSTEM, 0, &bo), 0);
	igt_assert_eq(vpfn_fill(small, &bo, 0, SIZE, 0x19191919), 0);
	igt_assert_eq(vpfn_evict(small), 0);
	igt_assert_eq(vpfn_vram_size(small, &vram), 0);
	igt_assert_eq(vpfn_bo_create_in(small, vram, VRAM, 0, &all), 0);

	igt_assert_eq(vpfn_crc(small, &bo, 0, SIZE, &crc), 0);
	igt_assert_eq(place_of(small, &bo), SYSTEM);
	igt_assert_eq(place_of(small, &all), VRAM);
	vpfn_bo_close(small, &all);
	vpfn_bo_close(small, &bo);
}

/* ---- The place of a buffer that leaves ---- */

struct creation {
	int fd;
	uint64_t size;
	struct vpfn_bo bo;
};

static int run_create(void *arg)
{
	struct creation *creation = arg;

	return vpfn_bo_create_in(creation->fd, creation->size, VRAM, 0, &creation->bo);
}

/* A buffer that is too large for system memory is deleted while a job uses it. */
static void test_deleted(void)
{
	struct creation creation = {};
	struct vpfn_thread thread;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	uint64_t vram, room;
	int ret;

	igt_assert_eq(vpfn_vram_size(big, &vram), 0);
	igt_assert_eq(vpfn_system_room(&room), 0);
	creation.fd = vpfn_open(O_RDWR);
	creation.size = vram / 4 * 3;
	igt_assert_lte(0, creation.fd);
	igt_require_f(creation.size > room, "the machine has much more memory than the device\n");

	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_bo_create_in(big, creation.size, VRAM, 0, &bo), 0);
	submit_gated(big, &bo, &gate);
	igt_assert_eq(vpfn_bo_close(big, &bo), 0);

	igt_assert_eq(vpfn_thread_start(&thread, run_create, &creation), 0);
	igt_assert_eq(vpfn_thread_waits_in(&thread, SYS_ioctl), 0);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_thread_join(&thread, &ret), 0);
	igt_assert_f(!ret, "%d while a buffer that was deleted is busy\n", ret);
	igt_assert_eq(place_of(creation.fd, &creation.bo), VRAM);
	close(creation.fd);
	vpfn_gate_remove(&gate);
}

/* Leaves room in system memory for one buffer of this size, not for two. */
static void create_large(struct vpfn_bo *bo)
{
	uint64_t room;

	igt_assert_eq(vpfn_system_room(&room), 0);
	room = room / 3 * 2 / PFNMAP_2M * PFNMAP_2M;
	igt_assert_eq(vpfn_bo_create_in(big, room, VRAM, CPU_ACCESS, bo), 0);
	igt_assert_eq(vpfn_fill(big, bo, 0, bo->size, 0x18181818), 0);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(place_of(big, bo), SYSTEM);
}

/* The buffer is back as soon as this returns; the copy may go on. */
static void submit_return(const struct vpfn_bo *bo, uint32_t word)
{
	struct drm_vpfn_cmd fill = vpfn_cmd_fill(bo, PFNMAP_PAGE, 4, word);

	igt_assert_eq(vpfn_submit(big, &fill, 1, 0, 0), 0);
	igt_assert_eq(place_of(big, bo), VRAM);
}

static void check_large(const struct vpfn_bo *bo, uint32_t word)
{
	void *map;

	igt_assert_eq(vpfn_bo_map(big, bo, &map), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0x1818181818181818ull);
	igt_assert_eq_u64(pfnmap_load((char *)map + PFNMAP_PAGE), 0x1818181800000000ull | word);
	igt_assert_eq_u64(pfnmap_load((char *)map + bo->size - 8), 0x1818181818181818ull);
	munmap(map, bo->size);
}

static void test_evict_again(void)
{
	struct vpfn_bo bo;
	int err;

	create_large(&bo);
	for (uint32_t round = 1; round <= 3; round++) {
		submit_return(&bo, round);
		err = vpfn_evict(big);
		igt_assert_f(!err, "round %u: a buffer that has just come back: %d\n", round, err);
		igt_assert_eq(place_of(big, &bo), SYSTEM);
		check_large(&bo, round);
	}
	vpfn_bo_close(big, &bo);
}

static void test_create_again(void)
{
	int err, fd = vpfn_open(O_RDWR);
	struct vpfn_bo bo, all;
	uint64_t vram;

	igt_assert_lte(0, fd);
	igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
	create_large(&bo);
	submit_return(&bo, 7);
	err = vpfn_bo_create_in(fd, vram, VRAM, 0, &all);
	igt_assert_f(!err, "another client while a buffer has just come back: %d\n", err);
	igt_assert_eq(place_of(big, &bo), SYSTEM);
	igt_assert_eq(place_of(fd, &all), VRAM);
	close(fd);
	check_large(&bo, 7);
	vpfn_bo_close(big, &bo);
}

/* ---- When the engine fails ---- */

static void bring_back(int sig)
{
	(void)sig;
	vpfn_host_gone(VPFN_HOST_SMALL, false);
	vpfn_host_hang(VPFN_HOST_SMALL, false);
	if (vpfn_card_is_there(small_name))
		vpfn_card_set(small_name, "remove", "1");
	vpfn_card_wait_gone(small_name);
	pfnmap_text_write("/sys/bus/pci/rescan", "1");
	vpfn_card_wait_bound(small_name);
	vpfn_dump_drop(small_name);
}

static void require_host(void)
{
	bool hangs;

	require_small();
	igt_require_f(vpfn_host_hangs(VPFN_HOST_SMALL, &hangs) != -ENODEV,
		      "no port vpfn.control: nothing makes the engine fail\n");
	igt_install_exit_handler(bring_back);
}

/* A file of the small device, the only one, since the device will go. */
static int open_doomed(void)
{
	int file = vpfn_card_open(small_name, O_RDWR);

	igt_assert_lte(0, file);
	close(small);
	small = -1;
	return file;
}

static void reopen_small(void)
{
	bring_back(0);
	small = vpfn_card_open(small_name, O_RDWR);
	igt_assert_lte(0, small);
}

struct import {
	struct vpfn_bo bo, copy;
};

static int run_copy(void *arg)
{
	struct import *import = arg;

	return vpfn_copy(big, &import->copy, 0, &import->bo, 0, import->copy.size);
}

static unsigned int count_secrets(const void *map, uint64_t size)
{
	const uint64_t secret = (uint64_t)SECRET << 32 | SECRET;
	unsigned int count = 0;

	for (uint64_t i = 0; i < size; i += PFNMAP_PAGE)
		count += pfnmap_load((const char *)map + i) == secret;
	return count;
}

/*
 * Two buffers, one after the other, take three quarters of the visible memory: the second gets
 * bytes of the first, and the device goes before it has cleared them. Another device reads it.
 */
static void test_uncleared_import(void)
{
	struct vpfn_bo secret, fresh;
	struct vpfn_thread thread;
	struct import import;
	uint64_t visible, size;
	int file, dmabuf, ret;
	void *map;

	require_host();
	file = open_doomed();
	igt_assert_eq(vpfn_visible_vram_size(file, &visible), 0);
	size = visible / 4 * 3;
	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, CPU_ACCESS, &secret), 0);
	igt_assert_eq(vpfn_fill(file, &secret, 0, size, SECRET), 0);
	igt_assert_eq(vpfn_bo_map(file, &secret, &map), 0);
	igt_assert_eq(count_secrets(map, size), size / PFNMAP_PAGE);
	munmap(map, size);
	igt_assert_eq(vpfn_bo_close(file, &secret), 0);

	igt_assert_eq(vpfn_bo_create_in(big, size, SYSTEM, 0, &import.copy), 0);
	igt_assert_eq(vpfn_bo_map(big, &import.copy, &map), 0);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	igt_assert_eq(vpfn_bo_create_in(file, size, VRAM, CPU_ACCESS, &fresh), 0);
	igt_assert_eq(vpfn_bo_export(file, &fresh, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(big, dmabuf, size, &import.bo), 0);
	igt_assert_eq(vpfn_thread_start(&thread, run_copy, &import), 0);
	igt_assert_eq(vpfn_thread_waits_in(&thread, SYS_ioctl), 0);
	igt_assert(!vpfn_thread_is_done(&thread));

	igt_assert_eq(vpfn_card_unbind(small_name), 0);
	igt_assert_eq(vpfn_thread_join(&thread, &ret), 0);
	igt_info("the importer's job: %d\n", ret);
	igt_assert_eq(count_secrets(map, size), 0);

	munmap(map, size);
	close(dmabuf);
	close(file);
	vpfn_bo_close(big, &import.bo);
	vpfn_bo_close(big, &import.copy);
	reopen_small();
}

struct location {
	int fd;
	const struct vpfn_bo *bo;
	uint32_t expected;
};

static bool is_there(const void *arg)
{
	const struct location *location = arg;
	uint32_t placement;

	return !vpfn_bo_placement(location->fd, location->bo, &placement) &&
	       placement == location->expected;
}

/*
 * A buffer leaves visible device memory as soon as its job has run. Until then an object of TTM's
 * has its place there; a search for room finds that object. The engine is given up.
 */
static void test_evict_moving(void)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	struct location location = { .expected = SYSTEM };
	struct vpfn_thread evictor, creator;
	struct creation creation;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	int other, err;

	require_host();
	creation.fd = open_doomed();
	other = vpfn_card_open(small_name, O_RDWR);
	igt_assert_lte(0, other);
	igt_assert_eq(vpfn_vram_size(other, &creation.size), 0);
	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_bo_create_in(creation.fd, SIZE, VRAM, CPU_ACCESS, &bo), 0);
	submit_gated(creation.fd, &bo, &gate);
	igt_assert_eq(vpfn_thread_start(&evictor, vpfn_worker_evict, &creation.fd), 0);
	location.fd = creation.fd;
	location.bo = &bo;
	igt_assert_eq(pfnmap_wait_until(is_there, &location), 0);
	igt_assert_eq(vpfn_bo_wait(creation.fd, &bo, 0, 0), -ETIME);

	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
	err = vpfn_run(other, &nop, 1);
	igt_assert_f(err == -EIO || err == -ENODEV, "a job for a device that is gone: %d\n", err);
	igt_assert_eq(vpfn_thread_start(&creator, run_create, &creation), 0);
	igt_assert_eq(vpfn_thread_waits_in(&creator, SYS_ioctl), 0);

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_thread_join(&creator, &err), 0);
	igt_info("all of the memory: %d\n", err);
	igt_assert_eq(vpfn_thread_join(&evictor, NULL), 0);
	igt_assert_eq(vpfn_bo_wait(creation.fd, &bo, 0, VPFN_LONG_NS), 0);
	close(other);
	close(creation.fd);
	vpfn_gate_remove(&gate);
	reopen_small();
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "stays", "A buffer that may be in system memory evicts nothing to return.", test_stays },
	{ "deleted", "A new buffer waits for the place of one that was deleted while busy.",
	  test_deleted },
	{ "evict-again", "A buffer that has just come back is evicted at once.", test_evict_again },
	{ "create-again", "A buffer that has just come back makes room for another client at once.",
	  test_create_again },
	{ "uncleared-import", "Memory that could not be cleared is not shown to another device.",
	  test_uncleared_import },
	{ "evict-moving", "The search for room meets a buffer that has not left its place.",
	  test_evict_moving },
};

int igt_main()
{
	igt_fixture() {
		big = vpfn_require_device();
		small = vpfn_open_small(O_RDWR);
		if (small >= 0)
			igt_assert_eq(vpfn_card_name(small, small_name), 0);
	}

	igt_describe("A buffer that was evicted returns for a job when there is room.");
	igt_subtest_with_dynamic("return") {
		for (unsigned int i = 0; i < ARRAY_SIZE(returns); i++) {
			igt_dynamic(returns[i].name) {
				if (returns[i].small)
					require_small();
				test_return(returns[i].small ? small : big, returns[i].placement,
					    returns[i].flags);
			}
		}
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_fixture() {
		if (small >= 0)
			close(small);
		close(big);
	}
}
