// SPDX-License-Identifier: MIT
/*
 * Which bytes must be in a buffer, each of them?
 */
#include <errno.h>
#include <sys/mman.h>

#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_model.h"

/* CRC32C, least significant bit first: bit 31 stands for x^0. */
#define CRC_POLY	0x82f63b78u
#define CRC_ONE		(1u << 31)

/* The CPU's checksum of words takes as many at a time. */
#define CHUNK		(16 * PFNMAP_PAGE)

/**
 * vpfn_content_words:
 * @seed: what tells one content from another
 *
 * Returns: the content in which the word at each offset is another.
 */
struct vpfn_content vpfn_content_words(uint64_t seed)
{
	return (struct vpfn_content) { .words = true, .seed = seed };
}

/**
 * vpfn_content_pattern:
 * @pattern: 32 bits
 *
 * Returns: the content that the engine leaves when it fills with @pattern.
 */
struct vpfn_content vpfn_content_pattern(uint32_t pattern)
{
	return (struct vpfn_content) { .seed = pattern };
}

/**
 * vpfn_content_word:
 * @content: the content
 * @offset: a multiple of 8
 *
 * Returns: the eight bytes at @offset.
 */
uint64_t vpfn_content_word(const struct vpfn_content *content, uint64_t offset)
{
	struct pfnmap_pattern pattern = { .seed = content->seed };

	if (content->words)
		return pfnmap_pattern_word(&pattern, offset);
	return content->seed << 32 | (uint32_t)content->seed;
}

static void *word_at(const void *base, uint64_t offset)
{
	return (void *)((uintptr_t)base + offset);
}

/**
 * vpfn_content_write:
 * @content: the content
 * @base: address of its first byte, mapped or not
 * @from: offset of the first byte to write, a multiple of 8
 * @to: offset of the end
 */
void vpfn_content_write(const struct vpfn_content *content, void *base,
			uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i += sizeof(uint64_t))
		pfnmap_store(word_at(base, i), vpfn_content_word(content, i));
}

/* Most bytes that are compared are the engine's, and most time goes into comparing. */
static uint64_t check_constant(uint64_t word, const void *base, uint64_t from, uint64_t to)
{
	uint64_t i = from;

	while (i < to && pfnmap_load(word_at(base, i)) == word)
		i += sizeof(word);
	return i;
}

/**
 * vpfn_content_check:
 * @content: the content
 * @base: address of its first byte, mapped or not
 * @from: offset of the first byte to compare, a multiple of 8
 * @to: offset of the end
 *
 * Returns: the offset of the first word that is wrong, @to if there is none.
 */
uint64_t vpfn_content_check(const struct vpfn_content *content, const void *base,
			    uint64_t from, uint64_t to)
{
	uint64_t i = from;

	if (!content->words)
		return check_constant(vpfn_content_word(content, from), base, from, to);

	while (i < to && pfnmap_load(word_at(base, i)) == vpfn_content_word(content, i))
		i += sizeof(uint64_t);
	return i;
}

/* The product of two polynomials modulo that of CRC32C. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = CRC_ONE; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? CRC_POLY : 0);
	}
	return product;
}

/* x to the power of 8 times @len: what as many zero bytes do to a checksum. */
static uint32_t power_of_bytes(uint64_t len)
{
	uint32_t power = CRC_ONE, square = CRC_ONE >> 8;

	for (; len; len >>= 1) {
		if (len & 1)
			power = multiply(power, square);
		square = multiply(square, square);
	}
	return power;
}

/**
 * vpfn_crc_join:
 * @first: CRC32C of a range
 * @second: CRC32C of the range after it
 * @second_len: bytes in that one
 *
 * Returns: the CRC32C of both as one.
 */
uint32_t vpfn_crc_join(uint32_t first, uint32_t second, uint64_t second_len)
{
	return multiply(power_of_bytes(second_len), first) ^ second;
}

/* Twice as long, twice as long, ...: a pattern costs no time, however long it is. */
static uint32_t crc_of_pattern(uint32_t pattern, uint64_t len)
{
	uint64_t unit = sizeof(pattern), done = 0;
	uint32_t of_unit = vpfn_crc32c(&pattern, unit), crc = 0;

	for (; done < len; unit *= 2) {
		if (len & unit) {
			crc = vpfn_crc_join(crc, of_unit, unit);
			done += unit;
		}
		of_unit = vpfn_crc_join(of_unit, of_unit, unit);
	}
	return crc;
}

static uint32_t crc_of_words(const struct vpfn_content *content, uint64_t from, uint64_t to)
{
	uint64_t words[CHUNK / sizeof(uint64_t)];
	uint32_t crc = 0;

	while (from < to) {
		uint64_t len = to - from < CHUNK ? to - from : CHUNK;

		vpfn_content_write(content, word_at(words, -from), from, from + len);
		crc = vpfn_crc_join(crc, vpfn_crc32c(words, len), len);
		from += len;
	}
	return crc;
}

/**
 * vpfn_content_crc:
 * @content: the content
 * @from: offset of the first byte, a multiple of 8
 * @to: offset of the end
 *
 * Returns: the CRC32C of the content, computed by the CPU and without the buffer.
 */
uint32_t vpfn_content_crc(const struct vpfn_content *content, uint64_t from, uint64_t to)
{
	if (content->words)
		return crc_of_words(content, from, to);
	return crc_of_pattern(content->seed, to - from);
}

/**
 * vpfn_meter_open:
 * @fd: DRM file descriptor
 * @meter: the meter
 *
 * The checksums go to system memory, which does not move and the CPU reads fast.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_meter_open(int fd, struct vpfn_meter *meter)
{
	void *map = NULL;
	int err;

	err = vpfn_bo_create_in(fd, PFNMAP_PAGE, DRM_VPFN_PLACEMENT_SYSTEM, 0, &meter->bo);
	if (err)
		return err;

	err = vpfn_bo_map(fd, &meter->bo, &map);
	if (err)
		vpfn_bo_close(fd, &meter->bo);
	meter->fd = fd;
	meter->map = map;
	return err;
}

/**
 * vpfn_meter_close:
 * @meter: the meter
 */
void vpfn_meter_close(struct vpfn_meter *meter)
{
	munmap(meter->map, meter->bo.size);
	vpfn_bo_close(meter->fd, &meter->bo);
}

/**
 * vpfn_meter_blocks:
 * @meter: the meter
 * @bo: the buffer
 * @offset: where in it the first block begins
 * @block: bytes in a block, at most DRM_VPFN_CRC_LENGTH_MAX
 * @count: number of blocks, at most VPFN_METER_MAX
 * @crcs: where their checksums go, computed by the engine
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_meter_blocks(struct vpfn_meter *meter, const struct vpfn_bo *bo, uint64_t offset,
		      uint64_t block, unsigned int count, uint32_t crcs[])
{
	struct drm_vpfn_cmd cmds[VPFN_METER_MAX] = {};
	int err;

	if (count > VPFN_METER_MAX)
		return -EINVAL;

	for (unsigned int i = 0; i < count; i++)
		cmds[i] = vpfn_cmd_crc(&meter->bo, i * sizeof(crcs[0]), bo, offset + i * block,
				       block);
	err = vpfn_run(meter->fd, cmds, count);
	for (unsigned int i = 0; i < count && !err; i++)
		crcs[i] = __atomic_load_n(&meter->map[i], __ATOMIC_RELAXED);
	return err;
}

/**
 * vpfn_meter_crc:
 * @meter: the meter
 * @bo: the buffer
 * @from: offset of the first byte
 * @to: offset of the end
 * @crc: where the checksum goes, computed by the engine; the range may have any length
 *
 * Returns: 0 or the negative errno of the submission or of the job.
 */
int vpfn_meter_crc(struct vpfn_meter *meter, const struct vpfn_bo *bo,
		   uint64_t from, uint64_t to, uint32_t *crc)
{
	int err = 0;

	*crc = 0;
	while (from < to && !err) {
		uint64_t len = to - from;
		uint32_t part;

		if (len > DRM_VPFN_CRC_LENGTH_MAX)
			len = DRM_VPFN_CRC_LENGTH_MAX;
		err = vpfn_meter_blocks(meter, bo, from, len, 1, &part);
		if (!err)
			*crc = vpfn_crc_join(*crc, part, len);
		from += len;
	}
	return err;
}

/**
 * vpfn_meter_check:
 * @meter: the meter
 * @bo: the buffer
 * @content: what it must hold
 * @from: offset of the first byte
 * @to: offset of the end
 *
 * Returns: 0, -EBADMSG if the engine sees something else, or the negative errno of the
 * submission or of the job.
 */
int vpfn_meter_check(struct vpfn_meter *meter, const struct vpfn_bo *bo,
		     const struct vpfn_content *content, uint64_t from, uint64_t to)
{
	uint32_t crc;
	int err = vpfn_meter_crc(meter, bo, from, to, &crc);

	if (err)
		return err;
	return crc == vpfn_content_crc(content, from, to) ? 0 : -EBADMSG;
}
