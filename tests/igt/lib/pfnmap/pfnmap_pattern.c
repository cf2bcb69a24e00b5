// SPDX-License-Identifier: MIT
/*
 * Which bytes must be where?
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pattern.h"

/* In a large buffer each page counts near its ends and its middle, elsewhere each 16th. */
#define LARGE		(64ull << 20)
#define SPARSE_STEP	(16 * PFNMAP_PAGE)

/* A call for each word is slow: ptrace looks at each 16th of the words. */
#define PTRACE_STRIDE	16

/**
 * pfnmap_pattern_word:
 * @pattern: the pattern
 * @offset: offset in the buffer
 *
 * Returns: the word at @offset, a mix of offset and seed in which each bit counts.
 */
uint64_t pfnmap_pattern_word(const struct pfnmap_pattern *pattern, uint64_t offset)
{
	uint64_t word = (pattern->seed << 40) ^ offset;

	for (int i = 0; i < 2; i++) {
		word ^= word >> 31;
		word *= 0x9e3779b97f4a7c15ull;
	}
	return word ^ (word >> 29);
}

static bool near(uint64_t offset, uint64_t middle)
{
	return offset + PFNMAP_2M >= middle && offset < middle + PFNMAP_2M;
}

/**
 * pfnmap_pattern_step:
 * @pattern: the pattern
 * @offset: offset of a word in the buffer
 *
 * Returns: how far it is from @offset to the next word.
 */
uint64_t pfnmap_pattern_step(const struct pfnmap_pattern *pattern, uint64_t offset)
{
	uint64_t size = pattern->size;

	if (size <= LARGE || near(offset, 0) || near(offset, size / 2) || near(offset, size))
		return PFNMAP_PAGE;
	return SPARSE_STEP - offset % SPARSE_STEP;
}

static void *word_at(const void *base, uint64_t offset)
{
	return (void *)((uintptr_t)base + offset);
}

/**
 * pfnmap_pattern_fill:
 * @pattern: the pattern
 * @base: address of the buffer's first byte, mapped or not
 * @from: offset of the first word to write, a multiple of the page size
 * @to: offset of the end
 */
void pfnmap_pattern_fill(const struct pfnmap_pattern *pattern, void *base,
			 uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i += pfnmap_pattern_step(pattern, i))
		pfnmap_store(word_at(base, i), pfnmap_pattern_word(pattern, i));
}

/**
 * pfnmap_pattern_check:
 * @pattern: the pattern
 * @base: address of the buffer's first byte, mapped or not
 * @from: offset of the first word to compare, a multiple of the page size
 * @to: offset of the end
 *
 * Returns: the offset of the first word that is wrong, @to if there is none.
 */
uint64_t pfnmap_pattern_check(const struct pfnmap_pattern *pattern, const void *base,
			      uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i += pfnmap_pattern_step(pattern, i)) {
		if (pfnmap_load(word_at(base, i)) != pfnmap_pattern_word(pattern, i))
			return i;
	}
	return to;
}

/**
 * pfnmap_pattern_check_by_ptrace:
 * @pattern: the pattern
 * @base: address of the buffer's first byte, mapped or not
 * @from: offset of the first word to compare, a multiple of the page size
 * @to: offset of the end
 *
 * Like pfnmap_pattern_check(), but as a debugger reads: not through the page table.
 *
 * Returns: the offset of the first word that is wrong, @to if there is none.
 */
uint64_t pfnmap_pattern_check_by_ptrace(const struct pfnmap_pattern *pattern, const void *base,
					uint64_t from, uint64_t to)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned int count = 0;
	uint64_t word, i;

	for (i = from; i < to; i += pfnmap_pattern_step(pattern, i)) {
		if (count++ % PTRACE_STRIDE)
			continue;
		if (pread(fd, &word, sizeof(word), (uintptr_t)base + i) != sizeof(word))
			break;
		if (word != pfnmap_pattern_word(pattern, i))
			break;
	}
	close(fd);
	return i < to ? i : to;
}

/**
 * pfnmap_pattern_bytes:
 * @pattern: the pattern
 * @bytes: where the bytes go
 * @len: how many, a multiple of 8
 *
 * Generates the pattern without a hole, a word in each eight bytes.
 */
void pfnmap_pattern_bytes(const struct pfnmap_pattern *pattern, void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(uint64_t))
		pfnmap_store(word_at(bytes, i), pfnmap_pattern_word(pattern, i));
}

/**
 * pfnmap_proc_mem:
 * @addr: address in the own process
 * @bytes: the bytes to write, or where the bytes read go
 * @len: how many
 * @write: the direction
 *
 * Accesses memory as a debugger does, through /proc/self/mem.
 *
 * Returns: 0, a negative errno, or -ENODATA if the kernel gave or took less.
 */
int pfnmap_proc_mem(void *addr, void *bytes, size_t len, bool write)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;

	if (write)
		n = pwrite(fd, bytes, len, (uintptr_t)addr);
	else
		n = pread(fd, bytes, len, (uintptr_t)addr);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err)
		return err;
	return (size_t)n == len ? 0 : -ENODATA;
}

static sigjmp_buf escape;

static void on_signal(int signal)
{
	siglongjmp(escape, signal);
}

/**
 * pfnmap_signal_of:
 * @addr: address of a word
 * @access: what to do with it; a write leaves the word as it is
 *
 * Not for several threads at a time.
 *
 * Returns: the signal that the access raises, 0 if there is none.
 */
int pfnmap_signal_of(void *addr, enum pfnmap_access access)
{
	struct sigaction action = { .sa_handler = on_signal }, old_segv, old_bus;
	uint64_t *word = addr;
	int signal;

	sigaction(SIGSEGV, &action, &old_segv);
	sigaction(SIGBUS, &action, &old_bus);

	signal = sigsetjmp(escape, 1);
	if (!signal) {
		if (access == PFNMAP_WRITE)
			__atomic_fetch_or(word, 0, __ATOMIC_RELAXED);
		else
			pfnmap_load(word);
	}

	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	return signal;
}
