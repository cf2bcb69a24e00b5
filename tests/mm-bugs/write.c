// SPDX-License-Identifier: GPL-2.0
/*
 * A write to a huge leaf that is read-only since mm wants to know of the first write.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "mm_bugs.h"

/* One fault brings the leaf, perhaps another makes it writable. */
#define TOO_MANY	1000

static char *memory;
static long faults_before;

static void setup(size_t size)
{
	bar_open();
	bar_write(0, 0);
	memory = map_aligned(bar_fd(), bar_mmap_offset(), size, size);
}

static void setup_pmd(void)
{
	setup(PMD_SIZE);
}

static void setup_pud(void)
{
	setup(PUD_SIZE);
}

/* Each fault goes back to user space, to try again: there the signal comes in between. */
static void look_at_faults(int signal)
{
	static const char text[] = "one write faults for ever\n";

	(void)signal;
	if (faults() - faults_before < TOO_MANY)
		return;
	if (write(STDOUT_FILENO, text, strlen(text)) > 0)
		_exit(EXIT_BUG);
	_exit(EXIT_CANNOT);
}

static void look_often(void)
{
	const struct itimerval often = { { 0, 100000 }, { 0, 100000 } };
	struct sigaction action = { .sa_handler = look_at_faults, .sa_flags = SA_RESTART };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

/* Since then mm wants to know which pages are written. */
static void clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	if (fd < 0 || write(fd, "4", 1) != 1)
		cannot("/proc/self/clear_refs");
	close(fd);
}

static void write_after_clear_refs(void)
{
	clear_soft_dirty();
	faults_before = faults();
	look_often();
	store(memory, 1);
	if (bar_read(0) != 1)
		bug("a byte that was written did not arrive");
}

const struct bug write_bugs[] = {
	{ "vfio-write-pmd", "one write faults for ever", setup_pmd, write_after_clear_refs },
	{ "vfio-write-pud", "one write faults for ever", setup_pud, write_after_clear_refs },
	{ }
};
