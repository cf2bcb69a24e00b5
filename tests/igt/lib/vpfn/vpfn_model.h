/* SPDX-License-Identifier: MIT */
/*
 * Which bytes must be in a buffer, each of them? What the CPU writes and what the engine fills
 * in, seen by the CPU and by the engine's checksum: each is judged by the other.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_MODEL_H
#define VPFN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "vpfn/vpfn_bo.h"

/* What a range holds, counted from the range's own beginning. */
struct vpfn_content {
	bool words;		/* a word of its own for each offset; else a pattern of 32 bits */
	uint64_t seed;		/* of the words, or the pattern */
};

/* A new buffer. */
#define VPFN_ZEROES	((struct vpfn_content) {})

struct vpfn_content vpfn_content_words(uint64_t seed);
struct vpfn_content vpfn_content_pattern(uint32_t pattern);

uint64_t vpfn_content_word(const struct vpfn_content *content, uint64_t offset);
void vpfn_content_write(const struct vpfn_content *content, void *base,
			uint64_t from, uint64_t to);
uint64_t vpfn_content_check(const struct vpfn_content *content, const void *base,
			    uint64_t from, uint64_t to);
uint32_t vpfn_content_crc(const struct vpfn_content *content, uint64_t from, uint64_t to);

/* The checksum of two ranges, one after the other. */
uint32_t vpfn_crc_join(uint32_t first, uint32_t second, uint64_t second_len);

/* Where the engine puts its checksums, for so many blocks at a time. */
#define VPFN_METER_MAX	64

struct vpfn_meter {
	int fd;
	struct vpfn_bo bo;
	uint32_t *map;
};

int vpfn_meter_open(int fd, struct vpfn_meter *meter);
void vpfn_meter_close(struct vpfn_meter *meter);
int vpfn_meter_blocks(struct vpfn_meter *meter, const struct vpfn_bo *bo, uint64_t offset,
		      uint64_t block, unsigned int count, uint32_t crcs[]);
int vpfn_meter_crc(struct vpfn_meter *meter, const struct vpfn_bo *bo,
		   uint64_t from, uint64_t to, uint32_t *crc);
int vpfn_meter_check(struct vpfn_meter *meter, const struct vpfn_bo *bo,
		     const struct vpfn_content *content, uint64_t from, uint64_t to);

#endif
