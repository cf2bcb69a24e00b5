// SPDX-License-Identifier: MIT
/*
 * How does the machine sleep?
 */
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_sleep.h"

#define STATE		"/sys/power/state"
#define TEST		"/sys/power/pm_test"
#define TEST_SECONDS	"/sys/module/suspend/parameters/pm_test_delay"

/**
 * vpfn_sleep_devices:
 *
 * Has all devices sleep and resume, but not the machine.
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_PM_DEBUG, or the negative errno of the driver that
 * refuses.
 */
int vpfn_sleep_devices(void)
{
	char seconds[16];
	int err = pfnmap_text_write(TEST, "devices");

	if (err)
		return err;

	err = pfnmap_text_read(TEST_SECONDS, seconds, sizeof(seconds));
	if (!err) {
		pfnmap_text_write(TEST_SECONDS, "0");
		err = pfnmap_text_write(STATE, "mem");
		pfnmap_text_write(TEST_SECONDS, seconds);
	}
	return pfnmap_text_write(TEST, "none") ?: err;
}
