/* SPDX-License-Identifier: MIT */
/*
 * How does a program get a mapping that it cannot ask for? One whose
 * children map a file can be given a mapping of a device instead: a debugger changes the arguments
 * of their mmap().
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef VPFN_LEND_H
#define VPFN_LEND_H

#include <stdint.h>

#define VPFN_LEND_MAX	4

/**
 * struct vpfn_loan - what a program maps, and what it gets instead
 * @file: path of the file whose shared mappings are replaced, without symbolic links
 * @fd: what is mapped instead
 * @offset: where
 * @len: how much, at least what the program wants
 * @wanted: how many such mappings the program's children will make, at most VPFN_LEND_MAX
 * @count: how many it made
 * @at: where they are
 */
struct vpfn_loan {
	const char *file;
	int fd;
	uint64_t offset;
	uint64_t len;
	unsigned int wanted;
	unsigned int count;
	uintptr_t at[VPFN_LEND_MAX];
};

int vpfn_lend(const char * const argv[], struct vpfn_loan *loan, int *status);

#endif
