/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that a seed repeats: splitmix64.
 */
#ifndef FUZZ_RANDOM_H
#define FUZZ_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct fuzz_random {
	uint64_t state;
};

static inline uint64_t fuzz_next(struct fuzz_random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* A number below @bound, which is not zero. */
static inline uint64_t fuzz_below(struct fuzz_random *random, uint64_t bound)
{
	return fuzz_next(random) % bound;
}

static inline bool fuzz_chance(struct fuzz_random *random, unsigned int percent)
{
	return fuzz_below(random, 100) < percent;
}

#define FUZZ_PICK(random, array)	((array)[fuzz_below(random, ARRAY_SIZE(array))])

#endif
