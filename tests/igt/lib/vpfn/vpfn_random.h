/* SPDX-License-Identifier: MIT */
/*
 * Which choices does a random test make? A stream of numbers for each task, which a seed repeats,
 * and what the environment says about the seed.
 *
 * No function here knows IGT.
 */
#ifndef VPFN_RANDOM_H
#define VPFN_RANDOM_H

#include <stdint.h>

struct vpfn_random {
	uint64_t state;
};

void vpfn_random_init(struct vpfn_random *random, uint64_t seed, uint64_t stream);
uint64_t vpfn_random_pick(struct vpfn_random *random, uint64_t count);

uint64_t vpfn_number_from_env(const char *name, uint64_t otherwise);

#endif
