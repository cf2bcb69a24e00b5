// SPDX-License-Identifier: MIT
/*
 * Which words must be in a buffer that several tasks write at a time?
 */
#include <string.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_words.h"

/* A large buffer has a site in every so many bytes, a small one in each page. */
#define LARGE		(64ull << 20)
#define LARGE_STRIDE	(64ull << 10)

#define TAIL_MAX	(256ull << 10)

static uint64_t mix(uint64_t word)
{
	for (int i = 0; i < 2; i++) {
		word ^= word >> 31;
		word *= 0x9e3779b97f4a7c15ull;
	}
	return word ^ word >> 29;
}

/**
 * vpfn_words_init:
 * @words: the words, in memory that all tasks share and that is zero
 * @buffer: number of the buffer, below 256
 * @size: of the buffer, whose bytes are all zero
 */
void vpfn_words_init(struct vpfn_words *words, unsigned int buffer, uint64_t size)
{
	uint64_t tail = size / 8 / PFNMAP_PAGE * PFNMAP_PAGE;

	if (tail > TAIL_MAX)
		tail = TAIL_MAX;
	words->buffer = buffer;
	words->size = size;
	words->stride = size > LARGE ? LARGE_STRIDE : PFNMAP_PAGE;
	words->tail = size - tail;
	words->count = words->tail / words->stride;
}

/**
 * vpfn_words_offset:
 * @words: the words
 * @site: one of the buffer's sites
 *
 * The sites stand in pairs, at the last page of a stride and at the first of the next: where
 * a large leaf ends there is one on both sides.
 *
 * Returns: its offset in the buffer; all of it lies in one page.
 */
uint64_t vpfn_words_offset(const struct vpfn_words *words, unsigned int site)
{
	uint64_t page = site * words->stride + (site % 2 ? words->stride - PFNMAP_PAGE : 0);
	uint64_t places = PFNMAP_PAGE / VPFN_SITE_SIZE;

	return page + mix((uint64_t)words->buffer << 32 | site) % places * VPFN_SITE_SIZE;
}

unsigned int vpfn_words_sites(const struct vpfn_words *words, uint64_t from, uint64_t to,
			      unsigned int *first)
{
	unsigned int begin = from / words->stride, end = to / words->stride;

	if (begin < words->count && vpfn_words_offset(words, begin) < from)
		begin++;
	if (end < words->count && vpfn_words_offset(words, end) < to)
		end++;
	if (end > words->count)
		end = words->count;
	*first = begin;
	return begin < end ? end - begin : 0;
}

/**
 * vpfn_words_value:
 * @words: the words
 * @site: one of the buffer's sites
 * @writer: whose word it is
 * @generation: how often it has been written
 *
 * Returns: the word; that of generation 0 is zero, as in a new buffer.
 */
uint64_t vpfn_words_value(const struct vpfn_words *words, unsigned int site,
			  unsigned int writer, uint32_t generation)
{
	uint64_t place = vpfn_words_offset(words, site) + writer * sizeof(uint64_t);

	if (!generation)
		return 0;
	return mix((uint64_t)words->buffer << 56 ^ place << 20 ^ generation) << 32 | generation;
}

/**
 * vpfn_words_between:
 * @words: the words
 * @site: one of the buffer's sites
 * @writer: whose word it is
 * @word: what was seen
 * @oldest: its generation before the read
 * @newest: its generation after that
 *
 * Returns: whether the word is of one of these generations.
 */
bool vpfn_words_between(const struct vpfn_words *words, unsigned int site, unsigned int writer,
			uint64_t word, uint32_t oldest, uint32_t newest)
{
	uint32_t generation = word;

	return generation >= oldest && generation <= newest &&
	       word == vpfn_words_value(words, site, writer, generation);
}

uint32_t vpfn_words_generation(const struct vpfn_words *words, unsigned int site,
			       unsigned int writer)
{
	return __atomic_load_n(&words->generations[writer][site], __ATOMIC_SEQ_CST);
}

/**
 * vpfn_words_written:
 * @words: the words
 * @site: one of the buffer's sites
 * @writer: who has stored the next generation of its word there
 */
void vpfn_words_written(struct vpfn_words *words, unsigned int site, unsigned int writer)
{
	/* A write-combined store is not ordered before a later one to other memory. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_fetch_add(&words->generations[writer][site], 1, __ATOMIC_SEQ_CST);
}

/**
 * vpfn_words_tail:
 * @words: the words
 * @generation: how often the engine has filled the tail
 *
 * Returns: the pattern that it has filled in.
 */
uint32_t vpfn_words_tail(const struct vpfn_words *words, uint32_t generation)
{
	return generation ? (words->buffer + 1) << 24 ^ generation : 0;
}

/**
 * vpfn_words_image:
 * @words: the words, which no thread writes at the time
 * @from: offset in the buffer
 * @to: offset of the end
 * @image: where each byte goes that must be there
 */
void vpfn_words_image(const struct vpfn_words *words, uint64_t from, uint64_t to, char *image)
{
	uint32_t pattern = vpfn_words_tail(words, words->tail_done);
	unsigned int first, count;
	uint64_t value, at;

	memset(image, 0, to - from);
	count = vpfn_words_sites(words, from, to, &first);
	for (unsigned int site = first; site < first + count; site++) {
		for (unsigned int writer = 0; writer < VPFN_WRITERS; writer++) {
			value = vpfn_words_value(words, site, writer,
						 words->generations[writer][site]);
			at = vpfn_words_offset(words, site) + writer * sizeof(value) - from;
			memcpy(image + at, &value, sizeof(value));
		}
	}
	for (at = from > words->tail ? from : words->tail; at < to; at += sizeof(pattern))
		memcpy(image + at - from, &pattern, sizeof(pattern));
}
