// SPDX-License-Identifier: MIT
/*
 * The device is removed, unplugged, or does not answer any more, while processes use it.
 */
#include <errno.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_holdings.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_plug.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Hot-unplug and surprise removal of vpfn.");

/* Where the engine hangs: short, but longer than a busy host keeps the device from its work. */
#define SHORT_TIMEOUT_MS	500

static void test_remove(void)
{
	struct vpfn_holdings holdings;

	vpfn_holdings_open(&holdings);
	vpfn_holdings_start_job(&holdings);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "remove", "1"), 0);
	igt_assert(!vpfn_card_is_there(vpfn_small_name));
	vpfn_holdings_check_job(&holdings);
	vpfn_holdings_check_dead(&holdings);

	igt_assert_eq(pfnmap_text_write("/sys/bus/pci/rescan", "1"), 0);
	igt_assert_eq(vpfn_card_wait_bound(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
	vpfn_holdings_close(&holdings);
	vpfn_check_works(vpfn_small_name);
}

static void test_unplug(void)
{
	struct vpfn_holdings holdings;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_holdings_open(&holdings);
	vpfn_holdings_start_job(&holdings);
	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(vpfn_small_name), 0);
	vpfn_holdings_check_job(&holdings);
	vpfn_holdings_check_dead(&holdings);
	vpfn_check_works(vpfn_big_name);

	vpfn_plug_small();
	vpfn_check_works(vpfn_small_name);
	vpfn_holdings_close(&holdings);
	vpfn_check_works(vpfn_small_name);
}

static void test_surprise(void)
{
	struct vpfn_holdings holdings;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_holdings_open(&holdings);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
	vpfn_timeout_set(SHORT_TIMEOUT_MS);
	vpfn_holdings_start_job(&holdings);
	vpfn_timeout_restore();

	/* The driver has not noticed yet; a touch of the memory gets what the bus gives. */
	igt_assert_eq(pfnmap_signal_of(holdings.vram_map, PFNMAP_READ), 0);
	igt_assert_eq(pfnmap_signal_of(holdings.untouched_map, PFNMAP_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(holdings.system_map, PFNMAP_WRITE), 0);
	igt_assert_eq(vpfn_sync_file_status(holdings.begun, VPFN_LONG_NS), -EIO);

	igt_assert_eq(vpfn_host_unplug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_gone(vpfn_small_name), 0);
	vpfn_holdings_check_dead(&holdings);
	vpfn_check_works(vpfn_big_name);
	vpfn_holdings_close(&holdings);

	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

/* The device stops to answer before the driver is unbound by sysfs. */
static void test_surprise_unbind(void)
{
	struct vpfn_holdings holdings;

	vpfn_require_host(VPFN_HOST_SMALL);
	vpfn_holdings_open(&holdings);
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, true), 0);
	igt_assert_eq(vpfn_card_unbind(vpfn_small_name), 0);
	vpfn_holdings_check_dead(&holdings);
	vpfn_holdings_close(&holdings);

	/* Without an answer, probe fails. */
	igt_assert_neq(vpfn_card_bind(vpfn_small_name), 0);
	igt_assert(!vpfn_card_is_bound(vpfn_small_name));

	/* It is back with its BARs disabled: the bus has to be scanned again. */
	igt_assert_eq(vpfn_host_gone(VPFN_HOST_SMALL, false), 0);
	igt_assert_eq(vpfn_card_set(vpfn_small_name, "remove", "1"), 0);
	igt_assert_eq(pfnmap_text_write("/sys/bus/pci/rescan", "1"), 0);
	igt_assert_eq(vpfn_card_wait_bound(vpfn_small_name), 0);
	vpfn_check_works(vpfn_small_name);
}

static const struct vpfn_plug_test tests[] = {
	{ "remove", "The device is removed by sysfs, with mappings, jobs and dma-bufs alive.",
	  test_remove },
	{ "unplug", "The device is unplugged, with mappings, jobs and dma-bufs alive.",
	  test_unplug },
	{ "surprise", "The device stops to answer, and is unplugged later.", test_surprise },
	{ "surprise-unbind", "The device stops to answer, and its driver is unbound.",
	  test_surprise_unbind },
};

int igt_main()
{
	igt_fixture()
		vpfn_plug_init();

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), true);
}
