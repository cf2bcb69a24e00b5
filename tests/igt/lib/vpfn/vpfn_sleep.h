/* SPDX-License-Identifier: MIT */
/*
 * How does the machine sleep?
 *
 * No function here knows IGT; each returns 0 or a negative errno.
 */
#ifndef VPFN_SLEEP_H
#define VPFN_SLEEP_H

int vpfn_sleep_devices(void);

#endif
