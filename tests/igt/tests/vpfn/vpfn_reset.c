// SPDX-License-Identifier: MIT
/*
 * A function reset, as an administrator does it by sysfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_holdings.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_kept.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_plug.h"
#include "vpfn/vpfn_trace.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Function level reset of vpfn.");

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define VISIBLE	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define INT_ENABLE	0x5c	/* a register of the device */

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define SHORT_TIMEOUT_MS	500

static uint32_t *map_registers(const char *name)
{
	char path[PATH_MAX];
	void *map;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq(pfnmap_map(fd, 0, PFNMAP_PAGE, PROT_READ | PROT_WRITE, &map), 0);
	close(fd);
	return map;
}

static void test_reset_unbound(void)
{
	uint32_t *registers, *enable;
	char methods[64];

	igt_assert_eq(vpfn_card_get(vpfn_small_name, "reset_method", methods, sizeof(methods)), 0);
	igt_assert(strstr(methods, "flr"));

	igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "enable", "1"), 0);
	registers = map_registers(vpfn_small_name);
	enable = registers + INT_ENABLE / sizeof(*registers);
	__atomic_store_n(enable, 3, __ATOMIC_RELAXED);
	igt_assert_eq_u64(__atomic_load_n(enable, __ATOMIC_RELAXED), 3);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "reset", "1"), 0);
	igt_assert_eq_u64(__atomic_load_n(enable, __ATOMIC_RELAXED), 0);
	__atomic_store_n(enable, 3, __ATOMIC_RELAXED);
	munmap(registers, PFNMAP_PAGE);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "enable", "0"), 0);

	/* What is left in the registers does not matter to the driver. */
	igt_assert_eq(vpfn_card_bind(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

/* A function reset of a device that is at work: what it has begun it ends, and nothing is lost. */
static void test_reset_bound(void)
{
	struct vpfn_kept kept[] = {
		{ vpfn_small_name, VRAM, VISIBLE, 21, .fd = -1 },
		{ vpfn_small_name, VRAM, 0, 22, .fd = -1 },
	};
	struct vpfn_bo work_bo[2];
	int sync_files[VPFN_CHAIN];
	int fd;

	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++)
		vpfn_kept_open(&kept[i]);
	fd = vpfn_client_open_card(vpfn_small_name);
	for (int i = 0; i < 2; i++)
		igt_assert_eq(vpfn_bo_create(fd, 8 * PFNMAP_2M, &work_bo[i]), 0);

	for (int times = 0; times < 3; times++) {
		vpfn_chain_start(fd, work_bo, sync_files);
		igt_assert_eq(vpfn_card_set(vpfn_small_name, "reset", "1"), 0);
		vpfn_kept_check_by_cpu(&kept[0]);
		vpfn_chain_check(fd, &work_bo[1], sync_files);
		for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++) {
			vpfn_kept_check_by_engine(&kept[i]);
			vpfn_kept_check_leaf(&kept[i]);
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++)
		vpfn_kept_close(&kept[i]);
	close(fd);
	vpfn_check_works(vpfn_small_name);
}

static void count_job(const char *line, void *arg)
{
	int *jobs = arg;

	/* The driver's own have none. */
	if (vpfn_trace_number(line, "client_id:"))
		++*jobs;
}

static bool has_begun(const void *arg)
{
	int jobs = 0;

	(void)arg;
	vpfn_trace_lines("drm_sched_job_run", count_job, &jobs);
	return jobs > 0;
}

/* A job that hangs ends by the time-out. */
static void test_reset_hung(void)
{
	struct vpfn_holdings holdings;
	bool hangs;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_holdings_open(&holdings);
	vpfn_timeout_set(SHORT_TIMEOUT_MS);
	igt_assert_eq(vpfn_host_hang(VPFN_HOST_SMALL, true), 0);
	vpfn_trace_begin("gpu_scheduler/drm_sched_job_run");
	vpfn_holdings_start_job(&holdings);
	igt_assert_eq(pfnmap_wait_until(has_begun, NULL), 0);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "reset", "1"), 0);
	vpfn_timeout_restore();
	igt_assert_eq(vpfn_host_hangs(VPFN_HOST_SMALL, &hangs), 0);
	igt_assert(!hangs);
	igt_assert_eq(vpfn_sync_file_status(holdings.begun, VPFN_LONG_NS), -ETIME);
	vpfn_check_works(vpfn_small_name);

	igt_assert_eq_u64(pfnmap_load(holdings.vram_map), 0x66);
	igt_assert_eq_u64(pfnmap_load(holdings.system_map), 0x77);
	igt_assert_eq(vpfn_gate_open(&holdings.gate), 0);
	igt_assert_eq(vpfn_sync_file_status(holdings.held, VPFN_LONG_NS), 0);
	igt_assert_eq_u64(pfnmap_load(holdings.system_map), 0x100000001ull);
	vpfn_holdings_close(&holdings);
}

static const struct vpfn_plug_test tests[] = {
	{ "reset-unbound", "A function reset while no driver is bound.",
	  test_reset_unbound },
	{ "reset", "A function reset while the engine has work.", test_reset_bound },
	{ "reset-hung", "A function reset while the engine hangs.", test_reset_hung },
};

int igt_main()
{
	igt_fixture()
		vpfn_plug_init();

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), true);
}
