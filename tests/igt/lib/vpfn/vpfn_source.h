/* SPDX-License-Identifier: MIT */
/*
 * Which drivers give a process a mapping? A source is one mapping of memory that somebody else
 * has, with a target in it that can be seen and set without the mapping.
 *
 * No function here knows IGT.
 */
#ifndef VPFN_SOURCE_H
#define VPFN_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfnmap/pfnmap_target.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_leaf.h"

struct vpfn_source_kind;

/* What a kind has open; it uses what it needs of this. */
struct vpfn_source {
	const struct vpfn_source_kind *kind;
	char name[32];			/* as the report has it */
	struct pfnmap_target target;
	char *map;			/* what the target is a part of */
	size_t size;
	char *twin;			/* another mapping of the whole memory, or NULL */
	int file;			/* by which it is mapped, if not by the owner's */
	int owner;			/* the device whose memory it is, if not the file's */
	int witness;			/* of vpfn, which tells how anything is mapped */
	bool is_io;			/* whether the mapping is VM_IO */
	struct vpfn_leaf leaf;		/* what it said of the target at first */
	uint64_t offset;		/* of the target in the file, if that can be read */
	struct vpfn_bo bo;		/* the owner's buffer, if that is vpfn */
	struct vpfn_bo aside;		/* where its engine copies to and from, ... */
	char *aside_map;		/* ... and a mapping of that */
	char card[VPFN_PCI_NAME];	/* taken from its driver, "" if none is */
	char setting[8];		/* a parameter's old value, "" if it stays */
};

/* Of which drivers' dumb buffers is a kind made, if it is? */
enum vpfn_drivers {
	VPFN_DRIVER_OF_THAT_NAME,
	VPFN_OTHER_DRIVERS,	/* those after which no kind has its name */
	VPFN_ALL_DRIVERS,
};

/**
 * struct vpfn_source_kind - a way to come by a mapping
 * @name: as subtests have it
 * @describe: what is mapped, a sentence
 * @gives_pages: whether the kernel may take hold of the memory, as of ordinary memory
 * @drivers: for kinds of dumb buffers
 * @open: opens the @n-th source of this kind, of which all is zero, and the files -1; returns 0,
 *	-ENOENT if there are fewer on this machine, or another negative errno. Whatever it
 *	returns, @close is called
 * @close: gives back what is there
 */
struct vpfn_source_kind {
	const char *name;
	const char *describe;
	bool gives_pages;
	enum vpfn_drivers drivers;
	int (*open)(struct vpfn_source *source, unsigned int n);
	void (*close)(struct vpfn_source *source);
};

extern const struct vpfn_source_kind vpfn_source_kinds[];
extern const size_t vpfn_source_kind_count;

/* The kinds for which a card of vpfn lends its memory. */
int vpfn_source_open_vpfn(struct vpfn_source *source, unsigned int n);
void vpfn_source_close_vpfn(struct vpfn_source *source);
int vpfn_source_open_vfio(struct vpfn_source *source, unsigned int n);
void vpfn_source_close_vfio(struct vpfn_source *source);
int vpfn_source_open_devmem(struct vpfn_source *source, unsigned int n);
int vpfn_source_open_sysfs(struct vpfn_source *source, unsigned int n);

bool vpfn_source_has_card(const char *driver);

int vpfn_source_open(struct vpfn_source *source, const struct vpfn_source_kind *kind,
		     unsigned int n);
void vpfn_source_close(struct vpfn_source *source);

/* For kinds: the last part of open(), and ways to a target that do not use the mapping. */
int vpfn_source_map(struct vpfn_source *source, int file, uint64_t offset, size_t size);
int vpfn_source_use_twin(struct vpfn_source *source, int file, uint64_t offset);
int vpfn_source_use_file(struct vpfn_source *source, uint64_t offset);
int vpfn_source_use_engine(struct vpfn_source *source);
void vpfn_source_drop(struct vpfn_source *source);

#endif
