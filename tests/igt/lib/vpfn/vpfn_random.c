// SPDX-License-Identifier: MIT
/*
 * Which choices does a random test make?
 */
#include <stdlib.h>

#include "vpfn/vpfn_random.h"

/**
 * vpfn_random_init:
 * @random: the stream
 * @seed: what a run prints, and a repetition is given
 * @stream: which of the run's streams, from 0 on
 */
void vpfn_random_init(struct vpfn_random *random, uint64_t seed, uint64_t stream)
{
	random->state = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (stream + 1) << 8;
	if (!random->state)
		random->state = 1;
}

/**
 * vpfn_random_pick:
 * @random: the stream
 * @count: how many choices there are, less than 2^31
 *
 * Returns: a number below @count.
 */
uint64_t vpfn_random_pick(struct vpfn_random *random, uint64_t count)
{
	/* xorshift64*: never zero if it has not been. */
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return (random->state * 0x2545f4914f6cdd1dull >> 33) % count;
}

/**
 * vpfn_number_from_env:
 * @name: of a variable
 * @otherwise: what it is if there is none
 *
 * Returns: its value.
 */
uint64_t vpfn_number_from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}
