/* SPDX-License-Identifier: MIT */
/*
 * What do consumers of user memory answer on mappings of any driver? A test names families of
 * users; each is a subtest, and in it each source is a dynamic one. These helpers are IGT's: they
 * assert and skip.
 */
#ifndef PFNMAP_MATRIX_H
#define PFNMAP_MATRIX_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "pfnmap/pfnmap_source.h"
#include "pfnmap/pfnmap_target.h"

/**
 * struct pfnmap_group - families of users
 * @matrix: the table that their answers are cells of
 * @families: the families
 * @count: how many there are
 * @of_exports: whether they are asked about dma-bufs, too, which are mapped as the buffers are
 * @of_pages: whether they are asked about memory that the kernel may pin; others have as many
 *	answers then as there are kinds of such memory, which says nothing about drivers
 * @of_machine: whether they change the machine, and need --whole-machine
 */
struct pfnmap_group {
	const char *matrix;
	const struct pfnmap_user_family *families;
	const size_t *count;
	bool of_exports;
	bool of_pages;
	bool of_machine;
};

void pfnmap_matrix_cell(const char *matrix, const char *row, const char *column,
			const char *answer);
bool pfnmap_is_asked(const struct pfnmap_group *group, const struct pfnmap_source *source);
void pfnmap_ask_family(const char *matrix, const struct pfnmap_user_family *family,
		       const struct pfnmap_source *source, bool with_control);
void pfnmap_choose_card(void);
void pfnmap_matrix_subtests(const struct pfnmap_group groups[], size_t count);

/* The end of main() of such a test. */
extern const char pfnmap_matrix_help[];
extern const struct option pfnmap_matrix_options[];
int pfnmap_matrix_option(int opt, int index, void *data);
bool pfnmap_whole_machine(void);

#endif
