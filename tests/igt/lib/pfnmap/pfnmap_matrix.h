/* SPDX-License-Identifier: MIT */
/*
 * What do consumers of user memory answer on mappings of any driver? A test adds kinds of sources
 * and names families of users. A family is a subtest; each source is a dynamic one in it, and so
 * is ordinary memory, the positive control. These helpers are IGT's: they assert and skip.
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

/* Those of pfnmap_users.h */
#define PFNMAP_FAMILIES(name)							\
	.families = pfnmap_##name##_families, .count = &pfnmap_##name##_family_count

void pfnmap_matrix_cell(const char *matrix, const char *row, const char *column,
			const char *answer);

/* In a fixture */
void pfnmap_matrix_add(const struct pfnmap_source_kind kinds[], size_t count);
void pfnmap_matrix_add_machine(void);
void pfnmap_matrix_use_ext4(void);

/* Subtests */
void pfnmap_matrix_subtests(const struct pfnmap_group groups[], size_t count);
void pfnmap_matrix_families(const struct pfnmap_group groups[], size_t count);

/* In a subtest with dynamic ones */
void pfnmap_matrix_ask(const struct pfnmap_group *group, const struct pfnmap_user_family *family);
struct pfnmap_source *pfnmap_matrix_next(struct pfnmap_source *source);

#define for_each_pfnmap_source(source)						\
	for (struct pfnmap_source *source = pfnmap_matrix_next(NULL); source;	\
	     source = pfnmap_matrix_next(source))

/* In a dynamic one */
struct pfnmap_source *pfnmap_source_renew(struct pfnmap_source *source);

/* The end of main() of such a test. */
extern const char pfnmap_matrix_help[];
extern const struct option pfnmap_matrix_options[];
int pfnmap_matrix_option(int opt, int index, void *data);
bool pfnmap_whole_machine(void);

#endif
