// SPDX-License-Identifier: MIT
/*
 * How do the cards come back that a test takes away?
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_plug.h"
#include "vpfn/vpfn_view.h"

char vpfn_big_name[VPFN_PCI_NAME], vpfn_small_name[VPFN_PCI_NAME];

/**
 * vpfn_require_small_card:
 *
 * Skips if there is one card.
 */
void vpfn_require_small_card(void)
{
	igt_require_f(*vpfn_small_name, "no second device of the driver vpfn\n");
}

static void bring_back(const char *name)
{
	char control[16];

	if (!*name)
		return;

	if (!vpfn_card_is_there(name)) {
		pfnmap_text_write("/sys/bus/pci/rescan", "1");
		if (!vpfn_card_is_there(name))
			vpfn_host_plug(VPFN_HOST_SMALL);
	} else if (!vpfn_card_is_bound(name)) {
		vpfn_card_bind(name);
	}
	vpfn_card_wait_bound(name);
	if (!vpfn_card_get(name, "power/control", control, sizeof(control)) &&
	    strcmp(control, "on"))
		vpfn_card_set(name, "power/control", "on");
}

/**
 * vpfn_bring_back:
 *
 * Plugs in, binds and wakes the cards. A test may have failed: errors are ignored.
 */
void vpfn_bring_back(void)
{
	if (access("/sys/module/vpfn", F_OK))
		pfnmap_shell("modprobe vpfn");
	bring_back(vpfn_big_name);
	bring_back(vpfn_small_name);
	vpfn_timeout_restore();
	vpfn_limit_restore();
}

static void bring_back_at_exit(int sig)
{
	(void)sig;
	vpfn_bring_back();
}

/**
 * vpfn_plug_init:
 *
 * Finds the cards, or skips. What tests take away comes back when the test exits.
 */
void vpfn_plug_init(void)
{
	int fd = vpfn_require_device();

	igt_assert_eq(vpfn_card_name(fd, vpfn_big_name), 0);
	close(fd);
	fd = vpfn_open_small(O_RDWR);
	if (fd >= 0) {
		igt_assert_eq(vpfn_card_name(fd, vpfn_small_name), 0);
		close(fd);
	}
	igt_install_exit_handler(bring_back_at_exit);
}

/**
 * vpfn_check_works:
 * @name: PCI address of a card
 *
 * Asserts that its CPU mappings and its engine work.
 */
void vpfn_check_works(const char *name)
{
	int fd = vpfn_client_open_card(name);
	struct vpfn_bo bo;
	uint32_t crc;
	void *map;

	igt_assert_eq(vpfn_bo_create(fd, 2 * PFNMAP_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0);
	memset(map, 0x5a, PFNMAP_PAGE);
	igt_assert_eq(vpfn_crc(fd, &bo, 0, PFNMAP_PAGE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(map, PFNMAP_PAGE));
	igt_assert_eq(vpfn_fill(fd, &bo, PFNMAP_2M, PFNMAP_2M, 0xa5a5a5a5), 0);
	igt_assert_eq_u64(pfnmap_load((char *)map + PFNMAP_2M), 0xa5a5a5a5a5a5a5a5ull);
	igt_assert_eq_u64(pfnmap_load((char *)map + PFNMAP_2M - 8), 0);
	munmap(map, bo.size);
	close(fd);
}

/**
 * vpfn_plug_small:
 *
 * Plugs in the small card, and waits until it is bound.
 */
void vpfn_plug_small(void)
{
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(vpfn_small_name), 0);
}

/**
 * vpfn_plug_subtests:
 * @tests: the subtests, each of which begins with all cards there
 * @count: how many
 * @small: whether they need the small card
 */
void vpfn_plug_subtests(const struct vpfn_plug_test tests[], size_t count, bool small)
{
	for (size_t i = 0; i < count; i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name) {
			if (small)
				vpfn_require_small_card();
			vpfn_bring_back();
			tests[i].run();
		}
	}
}
