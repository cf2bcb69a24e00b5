/* SPDX-License-Identifier: MIT */
/*
 * Which words must be in a buffer that several tasks write at a time? Each site of the buffer has
 * a word for each writer. A word tells its place, its writer and its generation, and the
 * generations are in memory that all tasks share: who looks at any word through any mapping
 * knows whether it is too old. The tail of the buffer is the engine's.
 *
 * No function here knows IGT.
 */
#ifndef VPFN_WORDS_H
#define VPFN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VPFN_WRITERS	8
#define VPFN_SITES	32768
#define VPFN_SITE_SIZE	(VPFN_WRITERS * sizeof(uint64_t))

struct vpfn_words {
	unsigned int buffer;		/* its number */
	uint64_t size;
	uint64_t stride;		/* bytes with one site */
	unsigned int count;		/* of sites */
	uint64_t tail;			/* where the engine's part begins */
	uint32_t tail_begun;		/* generation that the engine writes */
	uint32_t tail_done;		/* and that it has written */
	uint32_t generations[VPFN_WRITERS][VPFN_SITES];
};

void vpfn_words_init(struct vpfn_words *words, unsigned int buffer, uint64_t size);

/* The sites that lie in [from, to): the first and how many. */
unsigned int vpfn_words_sites(const struct vpfn_words *words, uint64_t from, uint64_t to,
			      unsigned int *first);
uint64_t vpfn_words_offset(const struct vpfn_words *words, unsigned int site);

uint64_t vpfn_words_value(const struct vpfn_words *words, unsigned int site,
			  unsigned int writer, uint32_t generation);
bool vpfn_words_between(const struct vpfn_words *words, unsigned int site, unsigned int writer,
			uint64_t word, uint32_t oldest, uint32_t newest);

uint32_t vpfn_words_generation(const struct vpfn_words *words, unsigned int site,
			       unsigned int writer);
void vpfn_words_written(struct vpfn_words *words, unsigned int site, unsigned int writer);

uint32_t vpfn_words_tail(const struct vpfn_words *words, uint32_t generation);
void vpfn_words_image(const struct vpfn_words *words, uint64_t from, uint64_t to, char *image);

#endif
