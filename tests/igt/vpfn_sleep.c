// SPDX-License-Identifier: MIT
/*
 * How does the machine sleep?
 */
#include "vpfn_card.h"
#include "vpfn_sleep.h"

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
	int err = vpfn_text_write(TEST, "devices");

	if (err)
		return err;

	err = vpfn_text_read(TEST_SECONDS, seconds, sizeof(seconds));
	if (!err) {
		vpfn_text_write(TEST_SECONDS, "0");
		err = vpfn_text_write(STATE, "mem");
		vpfn_text_write(TEST_SECONDS, seconds);
	}
	return vpfn_text_write(TEST, "none") ?: err;
}
