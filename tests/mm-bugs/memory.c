// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings at aligned addresses, and what an access to one does.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "mm_bugs.h"

static sigjmp_buf back;

/* How many page faults this process has had that needed no I/O. */
long faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		cannot("getrusage()");
	return usage.ru_minflt;
}

static void jump_back(int signal)
{
	siglongjmp(back, signal);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = jump_back };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* The signal that an access raises, or 0. */
int signal_of_read(const void *address)
{
	int signal;

	catch_signals();
	signal = sigsetjmp(back, 1);
	if (!signal)
		load(address);
	return signal;
}

int signal_of_write(void *address)
{
	int signal;

	catch_signals();
	signal = sigsetjmp(back, 1);
	if (!signal)
		store(address, 1);
	return signal;
}

/* Reserves room around the mapping, which stays reserved. */
void *map_aligned(int fd, uint64_t offset, size_t size, size_t alignment)
{
	char *room, *start;

	room = mmap(NULL, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (room == MAP_FAILED)
		cannot("mmap()");
	start = room + (-(uintptr_t)room & (alignment - 1));
	if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset) != start)
		cannot("mmap()");
	return start;
}
