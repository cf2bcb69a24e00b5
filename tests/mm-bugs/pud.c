// SPDX-License-Identifier: GPL-2.0
/*
 * What mm does to a part of a PUD leaf, or to all of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm_bugs.h"

#define MIDDLE	(PUD_SIZE / 2)

/* Offsets that are looked at: the ends, and around what is done in the middle. */
static const uint64_t places[] = {
	0, MIDDLE - PAGE_SIZE, MIDDLE, MIDDLE + PAGE_SIZE, MIDDLE + PMD_SIZE, PUD_SIZE - PAGE_SIZE,
};

static char *leaf;

static uint64_t mark(uint64_t offset)
{
	return 0x6d61726b00000000 + offset;
}

/* Without a PUD leaf there is nothing to show: one fault has to map all of it. */
static void setup_leaf(void)
{
	long before;
	size_t n;

	bar_open();
	for (n = 0; n < ARRAY_SIZE(places); n++)
		bar_write(places[n], mark(places[n]));
	leaf = map_aligned(bar_fd(), bar_mmap_offset(), PUD_SIZE, PUD_SIZE);
	before = faults();
	for (n = 0; n < ARRAY_SIZE(places); n++)
		load(leaf + places[n]);
	errno = ENOTSUP;
	if (faults() - before != 1)
		cannot("%zu pages of one GiB took %ld faults, no PUD leaf",
		       ARRAY_SIZE(places), faults() - before);
}

static void check_byte(const char *base, uint64_t offset)
{
	int signal = signal_of_read(base + offset);
	uint64_t value;

	if (signal)
		bug("a read at offset %#lx raises signal %d", offset, signal);
	value = load(base + offset);
	if (value != mark(offset))
		bug("at offset %#lx is %#lx instead of %#lx", offset, value, mark(offset));
}

/* All places but those in [@hole, @hole + @size) are as they were. */
static void check_around(const char *base, uint64_t hole, size_t size)
{
	size_t n;

	for (n = 0; n < ARRAY_SIZE(places); n++)
		if (places[n] - hole >= size)
			check_byte(base, places[n]);
}

static void munmap_page(void)
{
	if (munmap(leaf + MIDDLE, PAGE_SIZE))
		bug("munmap() of a page fails with %d", errno);
	if (signal_of_read(leaf + MIDDLE) != SIGSEGV)
		bug("the page that was unmapped can be read");
	check_around(leaf, MIDDLE, PAGE_SIZE);
}

static void mprotect_2m(void)
{
	if (mprotect(leaf + MIDDLE, PMD_SIZE, PROT_READ))
		bug("mprotect() of 2 MiB fails with %d", errno);
	check_around(leaf, 0, 0);
	if (signal_of_write(leaf + MIDDLE) != SIGSEGV)
		bug("what is protected can be written");
	if (signal_of_write(leaf + MIDDLE + PMD_SIZE))
		bug("what is not protected cannot be written");
}

static void fork_without_2m(void)
{
	int status;
	pid_t child;

	if (madvise(leaf + MIDDLE, PMD_SIZE, MADV_DONTFORK))
		bug("madvise() of 2 MiB fails with %d", errno);
	child = fork();
	if (child < 0)
		cannot("fork()");
	if (!child) {
		check_around(leaf, MIDDLE, PMD_SIZE);
		if (signal_of_read(leaf + MIDDLE) != SIGSEGV)
			bug("the child can read what MADV_DONTFORK keeps from it");
		exit(0);
	}
	if (waitpid(child, &status, 0) != child)
		cannot("waitpid()");
	if (status)
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BUG);
	check_around(leaf, 0, 0);
}

/* Where the leaf was, other memory must show, and no translation that the CPU still has. */
static void check_old_place(char *old, size_t size)
{
	if (mmap(old, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		 0) != old)
		cannot("mmap()");
	if (load(old))
		bug("where the leaf was, new memory shows %#lx", load(old));
}

static void mremap_all(void)
{
	char *new = map_aligned(bar_fd(), bar_mmap_offset(), PUD_SIZE, PUD_SIZE);

	load(leaf);
	if (mremap(leaf, PUD_SIZE, PUD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, new) != new)
		bug("mremap() fails with %d", errno);
	check_old_place(leaf, PUD_SIZE);
	check_around(new, 0, 0);
	if (signal_of_write(new))
		bug("after mremap() the memory cannot be written");
}

static void mremap_2m(void)
{
	char *new = map_aligned(bar_fd(), bar_mmap_offset(), PMD_SIZE, PMD_SIZE);

	load(leaf + MIDDLE);
	if (mremap(leaf + MIDDLE, PMD_SIZE, PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, new) != new)
		bug("mremap() fails with %d", errno);
	check_old_place(leaf + MIDDLE, PMD_SIZE);
	check_around(leaf, MIDDLE, PMD_SIZE);
	check_byte(new - MIDDLE, MIDDLE);
}

static void protect_all(void)
{
	if (mprotect(leaf, PUD_SIZE, PROT_NONE))
		bug("mprotect(PROT_NONE) fails with %d", errno);
	if (signal_of_read(leaf) != SIGSEGV)
		bug("what is protected can be read");
	if (mprotect(leaf, PUD_SIZE, PROT_READ | PROT_WRITE))
		bug("mprotect() fails with %d", errno);
	check_around(leaf, 0, 0);
	if (signal_of_write(leaf))
		bug("the memory cannot be written");
}

const struct bug pud_bugs[] = {
	{ "pud-prot-none", "pudp_invalidate", setup_leaf, protect_all },
	{ "pud-munmap-page", "split_huge_pmd", setup_leaf, munmap_page },
	{ "pud-mprotect-2m", "__split_huge_pud", setup_leaf, mprotect_2m },
	{ "pud-dontfork-2m", "copy_page_range|copy_p[4u]d_range", setup_leaf, fork_without_2m },
	{ "pud-mremap", "bad pud", setup_leaf, mremap_all },
	{ "pud-mremap-2m", "bad pud", setup_leaf, mremap_2m },
	{ }
};
