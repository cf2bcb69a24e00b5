/* SPDX-License-Identifier: MIT */
/*
 * Declarations of our own for the part of libigt.so.0 that finds the device of --device or
 * IGT_DEVICE, see igt.h. Of the library's structure the first two fields are used, which have
 * been the same since 1.27.1; there is room for more.
 */
#ifndef VPFN_STANDALONE_IGT_DEVICE_SCAN_H
#define VPFN_STANDALONE_IGT_DEVICE_SCAN_H

#include <limits.h>
#include <stdbool.h>

struct igt_device_card {
	char subsystem[NAME_MAX];
	char card[NAME_MAX];
	char rest[8 * NAME_MAX];
};

int igt_device_filter_count(void);
const char *igt_device_filter_get(int num);
bool igt_device_card_match(const char *filter, struct igt_device_card *card);

#endif
