/* SPDX-License-Identifier: MIT */
/*
 * Which drivers give a process a mapping? A source is one mapping of memory that somebody else
 * has, with a target in it that can be seen and set without the mapping. A driver that has more
 * to offer than dumb buffers adds a kind of its own: open() maps, close() unmaps.
 *
 * No function here knows IGT.
 */
#ifndef PFNMAP_SOURCE_H
#define PFNMAP_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfnmap/pfnmap_target.h"

struct pfnmap_source_kind;

/* What a kind has open; it uses what it needs of this. */
struct pfnmap_source {
	const struct pfnmap_source_kind *kind;
	char name[32];			/* as the report has it */
	struct pfnmap_target target;
	char *map;			/* what the target is a part of */
	size_t size;
	char *twin;			/* another mapping of the whole memory, or NULL */
	int file;			/* by which it is mapped, if not by the owner's */
	int owner;			/* the device whose memory it is, if not the file's */
	bool is_io;			/* whether the mapping is VM_IO */
	uint64_t offset;		/* of the target in the file, if that can be read */
	void *data;			/* the kind's own */
};

/**
 * struct pfnmap_source_kind - a way to come by a mapping
 * @name: as the report has it; open() may give the source another
 * @describe: what is mapped, a sentence
 * @gives_pages: whether the kernel may take hold of the memory, as of ordinary memory
 * @is_export: whether it maps what another kind maps as well, by a dma-buf
 * @driver: of whose dumb buffers it is made, NULL for those of the device that was chosen
 * @open: opens the @n-th source of this kind, of which all is zero, and the files -1; returns 0,
 *	-ENOENT if there are fewer on this machine, or another negative errno. Whatever it
 *	returns, @close is called
 * @renew: makes the target as new in a dynamic subtest, and may assert. If it is the first to map,
 *	@open sets @is_io, and @renew the target's address and @kept. NULL if there is nothing to do
 * @check: asserts that what is around the target is unharmed; NULL if that cannot be told
 * @close: gives back what is there
 */
struct pfnmap_source_kind {
	const char *name;
	const char *describe;
	bool gives_pages;
	bool is_export;
	const char *driver;
	int (*open)(struct pfnmap_source *source, unsigned int n);
	void (*renew)(struct pfnmap_source *source);
	void (*check)(const struct pfnmap_source *source);
	void (*close)(struct pfnmap_source *source);
};

/* Those of one DRM device, and then all that a machine may have, for which modules are loaded. */
extern const struct pfnmap_source_kind pfnmap_device_kinds[], pfnmap_machine_kinds[];
extern const size_t pfnmap_device_kind_count, pfnmap_machine_kind_count;

void pfnmap_source_set_card(const char *path);

int pfnmap_source_open(struct pfnmap_source *source, const struct pfnmap_source_kind *kind,
		       unsigned int n);
void pfnmap_source_close(struct pfnmap_source *source);

/* For kinds: the last part of open(), and ways to a target that do not use the mapping. */
int pfnmap_source_map(struct pfnmap_source *source, int file, uint64_t offset, size_t size);
uint64_t pfnmap_source_inside(const struct pfnmap_source *source);
int pfnmap_source_use_twin(struct pfnmap_source *source, int file, uint64_t offset);
int pfnmap_source_use_file(struct pfnmap_source *source, uint64_t offset);
void pfnmap_source_drop(struct pfnmap_source *source);

#endif
