// SPDX-License-Identifier: MIT
/*
 * The device cannot be reset, or does not answer: do all jobs fail, is user space told, and does a
 * device that comes back work?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_heal.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_report.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("vpfn when the device is wedged or out of reach.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define SIZE		(64 * PFNMAP_PAGE)
#define JOBS		6

static char big[VPFN_PCI_NAME], small[VPFN_PCI_NAME];

static struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define TIMEOUT_MS	500

static void create(int file, uint32_t placement, uint64_t seed, struct vpfn_mem *mem)
{
	igt_assert_eq(vpfn_mem_create(file, SIZE, placement, seed, mem), 0);
	igt_assert_eq(vpfn_bo_wait(file, &mem->bo, 0, VPFN_LONG_NS), 0);
}

static int open_small(void)
{
	int file = vpfn_open_small(O_RDWR);

	igt_require_f(file >= 0, "no device with little memory\n");
	igt_assert_eq(vpfn_card_name(file, small), 0);
	return file;
}

static void bring_back(void)
{
	vpfn_host_gone(VPFN_HOST_SMALL, false);
	vpfn_heal(VPFN_HOST_SMALL);
	vpfn_dump_drop(small);
	if (vpfn_card_is_there(small))
		vpfn_card_set(small, "remove", "1");
	vpfn_card_wait_gone(small);
	pfnmap_text_write("/sys/bus/pci/rescan", "1");
	vpfn_card_wait_bound(small);
}

static bool is_down;

static void bring_back_at_exit(int sig)
{
	(void)sig;
	if (is_down)
		bring_back();
}

/* To the driver the small card looks as if it were pulled out. */
static void pull_out(void)
{
	is_down = true;
	igt_install_exit_handler(bring_back_at_exit);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
}

static void assert_works(const char *name)
{
	int file = vpfn_card_open(name, O_RDWR);
	struct vpfn_mem mem, other;

	igt_assert_lte(0, file);
	create(file, VRAM, 0x90, &mem);
	create(file, SYSTEM, 0x91, &other);
	vpfn_assert_runs(file, vpfn_mem_copy(&mem, 1, &other, 0, SIZE - 1));
	vpfn_assert_runs(file, vpfn_mem_fill(&other, 0, SIZE / 2, 0x92));
	vpfn_assert_mem_by_both(&mem);
	vpfn_assert_mem_by_both(&other);
	vpfn_mem_destroy(&mem);
	vpfn_mem_destroy(&other);
	close(file);
}

/*
 * Jobs wait when the device goes; the driver finds that it cannot reset it. All jobs end with an
 * error, and user space gets an event.
 */
static int wedge(void)
{
	int file = open_small(), events = vpfn_uevent_open();
	struct drm_vpfn_cmd cmd;
	uint32_t out[JOBS];
	struct vpfn_gate gate;
	struct vpfn_mem mem;
	char value[256];
	int err;

	igt_assert_lte(0, events);
	vpfn_dump_drop(small);
	create(file, VRAM, 0x80, &mem);
	cmd = vpfn_cmd_fill(&mem.bo, 0, SIZE, 0x81);
	vpfn_require_gate(&gate);
	for (unsigned int i = 0; i < JOBS; i++)
		out[i] = vpfn_start(file, cmd, i ? NULL : &gate);

	pull_out();
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	for (unsigned int i = 0; i < JOBS; i++) {
		err = vpfn_job_status(file, out[i]);
		igt_assert_f(err == -EIO, "job %u ended with %d\n", i, err);
	}
	igt_assert_eq(vpfn_bo_wait(file, &mem.bo, 0, VPFN_LONG_NS), 0);

	igt_assert_eq(vpfn_uevent_wait(events, small, "WEDGED", value, sizeof(value),
				       VPFN_LONG_NS), 0);
	igt_info("WEDGED=%s\n", value);
	igt_assert(!strcmp(value, "rebind,bus-reset"));

	igt_assert_eq(vpfn_submit(file, &cmd, 1, 0, 0), -EIO);
	assert_works(big);
	munmap(mem.map, SIZE);
	free(mem.expected);
	vpfn_gate_remove(&gate);
	close(events);
	return file;
}

static void test_wedged(void)
{
	int file = wedge();

	close(file);
	bring_back();
	is_down = false;
	assert_works(small);
}

/* A file that was open before the device came back gets no access to it. */
static void test_wedged_open(void)
{
	int file = wedge();

	bring_back();
	is_down = false;
	assert_works(small);
	igt_assert_eq(vpfn_submit(file, &nop, 1, 0, 0), -ENODEV);
	close(file);
	assert_works(small);
}

/* Gone while idle: the next job detects it. */
static void test_gone_idle(void)
{
	int file = open_small();

	vpfn_assert_runs(file, nop);
	pull_out();
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	close(file);

	bring_back();
	is_down = false;
	assert_works(small);
}

/* A buffer that could not be cleared may hold other clients' bytes: no access may show them. */
static void test_uncleared(void)
{
	struct vpfn_bo fresh, there;
	int file = open_small();
	char *fresh_map, *there_map;
	uint64_t word;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM | SYSTEM, 0, &there), 0);
	igt_assert_eq(vpfn_bo_map(file, &there, &map), 0);
	there_map = map;
	pfnmap_store(there_map, 0x2ec);
	igt_assert_eq(vpfn_evict(file), 0);
	igt_assert_eq_u64(pfnmap_load(there_map), 0x2ec);

	pull_out();
	igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &fresh), 0);
	igt_assert_eq(vpfn_bo_map(file, &fresh, &map), 0);
	fresh_map = map;
	igt_assert_eq(pfnmap_signal_of(fresh_map, PFNMAP_READ), SIGBUS);
	igt_assert_eq(pfnmap_signal_of(fresh_map + PFNMAP_PAGE, PFNMAP_WRITE), SIGBUS);
	igt_assert_eq(pfnmap_proc_mem(fresh_map, &word, sizeof(word), false), -EIO);
	igt_assert_eq(vpfn_fill(file, &fresh, 0, SIZE, 1), -EIO);

	/* A buffer in system memory is still there. */
	igt_assert_eq_u64(pfnmap_load(there_map), 0x2ec);
	munmap(fresh_map, SIZE);
	munmap(there_map, SIZE);
	close(file);

	bring_back();
	is_down = false;
	assert_works(small);
}

/* Until the driver has given the engine up; then the device is back, its BARs where they were. */
static void pull_out_for_a_while(int file)
{
	char path[64], config[PCI_STD_HEADER_SIZEOF];
	uint16_t command = PCI_COMMAND_MEMORY;
	int space;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", small);
	space = open(path, O_RDWR | O_CLOEXEC);
	igt_assert_lte(0, space);
	igt_assert(pread(space, config, sizeof(config), 0) == sizeof(config));

	pull_out();
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, false), 0);
	for (int bar = PCI_BASE_ADDRESS_0; bar <= PCI_BASE_ADDRESS_5; bar += 4)
		igt_assert(pwrite(space, config + bar, 4, bar) == 4);
	igt_assert(pwrite(space, &command, sizeof(command), PCI_COMMAND) == sizeof(command));
	close(space);
}

/* Device memory is still there, and the engine is not used any more. */
static void test_by_cpu(void)
{
	const struct pfnmap_pattern pattern = { .seed = 0x93, .size = SIZE };
	uint32_t placement;
	struct vpfn_bo bo;
	int file = open_small();
	void *map;

	igt_assert_eq(vpfn_bo_create_in(file, SIZE, VRAM, DRM_VPFN_GEM_CREATE_CPU_ACCESS, &bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, &map), 0);
	pfnmap_pattern_bytes(&pattern, map, SIZE);
	pull_out_for_a_while(file);
	igt_assert_eq(vpfn_run(file, &nop, 1), -EIO);
	igt_assert_eq_u64(pfnmap_pattern_check(&pattern, map, 0, SIZE), SIZE);
	igt_assert_eq(vpfn_evict(file), 0);
	igt_assert_eq(vpfn_bo_placement(file, &bo, &placement), 0);
	igt_assert_eq_u64(placement, SYSTEM);
	igt_assert_eq_u64(pfnmap_pattern_check(&pattern, map, 0, SIZE), SIZE);
	munmap(map, SIZE);
	close(file);

	bring_back();
	is_down = false;
	assert_works(small);
}

static void test_wedged_replug(void)
{
	close(wedge());
	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(small), 0);
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small), 0);
	is_down = false;
	assert_works(small);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "wedged", "The device cannot be reset: all jobs fail, and an event tells.",
	  test_wedged },
	{ "wedged-open", "A file that is open before a device comes back stays without it.",
	  test_wedged_open },
	{ "uncleared", "No access shows a buffer that could not be cleared.", test_uncleared },
	{ "by-cpu", "Without the engine the CPU moves a buffer that it reaches.", test_by_cpu },
	{ "gone-idle", "The device goes while it has nothing to do.", test_gone_idle },
	{ "wedged-replug", "A wedged device is unplugged and plugged in again.",
	  test_wedged_replug },
};

/* A test before this one may have failed. */
static void begin(void)
{
	vpfn_heal(VPFN_HOST_BIG);
	if (is_down)
		bring_back();
	is_down = false;
	igt_assert_eq(vpfn_dump_drop(big), 0);
	vpfn_timeout_set(TIMEOUT_MS);
}

int igt_main()
{
	igt_fixture() {
		int fd = vpfn_require_device();

		igt_assert_eq(vpfn_card_name(fd, big), 0);
		vpfn_require_host(VPFN_HOST_BIG);
		close(fd);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			begin();
			tests[i].run();
		}
	}
}
