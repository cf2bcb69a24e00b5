/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the reproducers share: how to complain, and memory to misbehave with.
 */
#ifndef MM_BUGS_H
#define MM_BUGS_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define PAGE_SIZE	4096ul
#define PMD_SIZE	(2ul << 20)
#define PUD_SIZE	(1ul << 30)

/* Exit codes: the kernel misbehaved; or nothing was learned about it. */
#define EXIT_BUG	EXIT_FAILURE
#define EXIT_CANNOT	2

/* Accesses that the compiler leaves where they are. */
static inline uint64_t load(const void *address)
{
	return __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
}

static inline void store(void *address, uint64_t value)
{
	__atomic_store_n((uint64_t *)address, value, __ATOMIC_RELAXED);
}

/**
 * struct bug - one bug, and how to provoke it
 * @name: its name on the command line
 * @sign: what an unmodified kernel or the reproducer says, as an extended regular expression
 * @setup: gets the memory; what the kernel logs meanwhile does not count
 * @run: provokes the bug; returns if the kernel behaved
 */
struct bug {
	const char *name;
	const char *sign;
	void (*setup)(void);
	void (*run)(void);
};

extern const struct bug pud_bugs[];
extern const struct bug write_bugs[];
extern const struct bug shmem_bugs[];

/* mm_bugs.c */
void bug(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void cannot(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* memory.c */
long faults(void);
int signal_of_read(const void *address);
int signal_of_write(void *address);
void *map_aligned(int fd, uint64_t offset, size_t size, size_t alignment);

/* vfio.c: BAR 2 of a PCI device that is bound to vfio-pci */
#define BAR_SIZE	(2 * PUD_SIZE)	/* at least */

extern const char *vfio_address;
void bar_open(void);
uint64_t bar_mmap_offset(void);
int bar_fd(void);
void bar_write(uint64_t offset, uint64_t value);
uint64_t bar_read(uint64_t offset);

#endif
