// SPDX-License-Identifier: MIT
/*
 * Which drivers give a process a mapping of a card's memory? vpfn itself, and those to which it
 * lends a card, or a buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_source.h"
#include "vpfn/vpfn_vfio.h"

#define DEVICES		"/sys/bus/pci/devices/"
#define NO_IOMMU	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

#define VRAM_BAR	2

/* Two large pages, so that the target can lie in the middle of the second. */
#define SIZE		(2 * PFNMAP_2M)

/* By which leaves vpfn maps a buffer, and where it lies. System memory has no leaf of 1 GiB. */
static const struct place {
	const char *name;
	enum vpfn_level level;
	uint32_t placement;
} places[] = {
	{ "pte-vram", VPFN_PTE, DRM_VPFN_PLACEMENT_VRAM },
	{ "pmd-vram", VPFN_PMD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pud-vram", VPFN_PUD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pte-system", VPFN_PTE, DRM_VPFN_PLACEMENT_SYSTEM },
	{ "pmd-system", VPFN_PMD, DRM_VPFN_PLACEMENT_SYSTEM },
};

/* What a source has of vpfn */
struct lender {
	const struct place *place;	/* of a buffer that vpfn itself maps, NULL of others */
	struct vpfn_view view;		/* the owner's buffer, and its mapping at a place */
	struct vpfn_bo aside;		/* where its engine copies to and from, ... */
	char *aside_map;		/* ... and a mapping of that */
	char card[VPFN_PCI_NAME];	/* taken from its driver, "" if none is */
	char setting[8];		/* a parameter's old value, "" if it stays */
	struct vpfn_leaf first;		/* by which memory that is lent is mapped at first */
};

/* Of the tests: it has the buffers of the places, and debugfs tells of its leaves. */
static int vpfn = -1;

static struct lender *lender_of(const struct pfnmap_source *source)
{
	return source->data;
}

/**
 * vpfn_view_of:
 * @source: a place
 *
 * Returns: its buffer, mapped and filled with a pattern once pfnmap_source_renew() was called.
 */
const struct vpfn_view *vpfn_view_of(const struct pfnmap_source *source)
{
	return &lender_of(source)->view;
}

/**
 * vpfn_is_system:
 * @source: a place
 *
 * Returns: whether its buffer is in system memory.
 */
bool vpfn_is_system(const struct pfnmap_source *source)
{
	return lender_of(source)->place->placement == DRM_VPFN_PLACEMENT_SYSTEM;
}

static int lend(struct pfnmap_source *source)
{
	source->data = calloc(1, sizeof(struct lender));
	return source->data ? 0 : -ENOMEM;
}

static void take_back(struct pfnmap_source *source)
{
	struct lender *lender = lender_of(source);

	if (lender && lender->aside_map)
		munmap(lender->aside_map, PFNMAP_TARGET_LEN);
	pfnmap_source_drop(source);
	free(lender);
}

static int peek_engine(const struct pfnmap_target *target, void *bytes)
{
	const struct pfnmap_source *source = target->data;
	const struct lender *lender = lender_of(source);
	int err = vpfn_copy(source->owner, &lender->aside, 0, &lender->view.bo,
			    target->addr - target->map, PFNMAP_TARGET_LEN);

	if (!err)
		memcpy(bytes, lender->aside_map, PFNMAP_TARGET_LEN);
	return err;
}

static int poke_engine(const struct pfnmap_target *target, const void *bytes)
{
	const struct pfnmap_source *source = target->data;
	const struct lender *lender = lender_of(source);

	memcpy(lender->aside_map, bytes, PFNMAP_TARGET_LEN);
	return vpfn_copy(source->owner, &lender->view.bo, target->addr - target->map,
			 &lender->aside, 0, PFNMAP_TARGET_LEN);
}

/* For a source whose memory is a buffer of vpfn. */
static int use_engine(struct pfnmap_source *source)
{
	struct lender *lender = lender_of(source);
	void *map;
	int err = vpfn_bo_create_in(source->owner, PFNMAP_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
				    &lender->aside) ?:
		  vpfn_bo_map(source->owner, &lender->aside, &map);

	if (err)
		return err;

	lender->aside_map = map;
	source->target.peek = peek_engine;
	source->target.poke = poke_engine;
	source->target.data = source;
	return 0;
}

/* Does not map: a failure in that is one of the dynamic subtest, which calls renew_place(). */
static int open_place(struct pfnmap_source *source, unsigned int n)
{
	if (n >= ARRAY_SIZE(places))
		return -ENOENT;
	if (lend(source))
		return -ENOMEM;

	lender_of(source)->place = &places[n];
	snprintf(source->name, sizeof(source->name), "%s", places[n].name);
	source->is_io = true;
	source->owner = dup(vpfn);
	return source->owner < 0 ? -errno : use_engine(source);
}

/* In any process that has the mapping. */
static int place_kept(const struct pfnmap_target *target)
{
	const struct vpfn_view *view = vpfn_view_of(target->data);
	struct vpfn_leaf leaf;
	int err = vpfn_leaf_from_driver(view->fd, target->addr, &leaf);

	if (err)
		return err;
	return leaf.level == view->level && leaf.special ? 0 : -ESTALE;
}

/* A new mapping, as an earlier test may have failed with the last one in any state. */
static void renew_place(struct pfnmap_source *source)
{
	const struct place *place = lender_of(source)->place;
	struct vpfn_view *view = &lender_of(source)->view;

	if (view->map)
		vpfn_view_close(view);
	vpfn_view_open_in(view, vpfn, place->level, place->placement);
	source->target.addr = view->map + vpfn_view_inside(view);
	source->target.kept = place_kept;
	source->target.map = view->map;
	source->target.map_len = view->bo.size;
}

/* Leaf and bytes around the target are the same. */
static void check_place(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t inside = vpfn_view_inside(view);

	vpfn_assert_level(view->fd, source->target.addr, view->level);
	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + PFNMAP_TARGET_LEN, view->bo.size);
}

static void close_place(struct pfnmap_source *source)
{
	struct lender *lender = lender_of(source);

	if (lender && lender->view.map)
		munmap(lender->view.map, lender->view.bo.size);
	take_back(source);
}

/* Where the buffer that the source has is for the CPU: a physical address. */
static int find_buffer(const struct pfnmap_source *source, uint64_t *address)
{
	struct vpfn_leaf leaf;
	void *map;
	int err = vpfn_bo_map(source->owner, &lender_of(source)->view.bo, &map);

	if (err)
		return err;

	pfnmap_store(map, 0);
	err = vpfn_leaf_from_driver(source->owner, map, &leaf);
	munmap(map, lender_of(source)->view.bo.size);
	*address = leaf.pfn * PFNMAP_PAGE;
	return err;
}

/*
 * A buffer in the memory of a card that stays with its driver, which moves no buffer as long as
 * there is room for all.
 */
static int open_buffer(struct pfnmap_source *source, uint64_t *address)
{
	int err = lend(source);

	if (err)
		return err;

	source->owner = vpfn_open(O_RDWR);
	if (source->owner < 0)
		return -ENOENT;

	err = vpfn_bo_create(source->owner, SIZE, &lender_of(source)->view.bo) ?:
	      find_buffer(source, address);

	/* The file of debugfs is for root alone. */
	return err == -EACCES ? -ENOENT : err;
}

/* The entry is not of vpfn, but its debugfs file tells of any special one. */
static int lent_kept(const struct pfnmap_target *target)
{
	const struct pfnmap_source *source = target->data;
	const struct vpfn_leaf *first = &lender_of(source)->first;
	struct vpfn_leaf leaf;
	int err = vpfn_leaf_from_driver(vpfn, target->addr, &leaf);

	if (err)
		return err;
	return leaf.level == first->level && leaf.pfn == first->pfn && leaf.special ? 0 : -ESTALE;
}

static int watch_entry(struct pfnmap_source *source)
{
	pfnmap_load(source->target.addr);
	source->target.kept = lent_kept;
	return vpfn_leaf_from_driver(vpfn, source->target.addr, &lender_of(source)->first);
}

static int map_buffer(struct pfnmap_source *source, const char *path, uint64_t offset)
{
	source->file = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (source->file < 0)
		return errno == EACCES ? -ENOENT : -errno;

	return pfnmap_source_map(source, source->file, offset, SIZE) ?:
	       use_engine(source) ?: watch_entry(source);
}

/*
 * With CONFIG_STRICT_DEVMEM, too, /dev/mem gives away what is no RAM, unless its driver claims it
 * exclusively or CONFIG_IO_STRICT_DEVMEM makes each claim such.
 */
static int open_devmem(struct pfnmap_source *source, unsigned int n)
{
	uint64_t address;
	int err = n ? -ENOENT : open_buffer(source, &address);

	return err ?: map_buffer(source, "/dev/mem", address);
}

static int open_sysfs(struct pfnmap_source *source, unsigned int n)
{
	char name[VPFN_PCI_NAME], path[PATH_MAX];
	uint64_t address, bar;
	int err = n ? -ENOENT : open_buffer(source, &address);

	err = err ?: vpfn_bar_start(source->owner, VRAM_BAR, &bar) ?:
	      vpfn_card_name(source->owner, name);
	if (err)
		return err;

	snprintf(path, sizeof(path), DEVICES "%s/resource%d_wc", name, VRAM_BAR);
	return map_buffer(source, path, address - bar);
}

/* A card whose driver is not asked whether it can do without. */
static int take_card(struct pfnmap_source *source)
{
	int fd = vpfn_open_small(O_RDWR), err;

	if (fd < 0)
		return -ENOENT;

	err = vpfn_card_name(fd, lender_of(source)->card);
	close(fd);
	return err ?: vpfn_vfio_take(lender_of(source)->card);
}

/* Container and group live as long as the device that came out of them. */
static int map_bar(struct pfnmap_source *source)
{
	struct vpfn_vfio vfio;
	int err = vpfn_vfio_open_device(lender_of(source)->card, VPFN_VFIO_TYPE1, &vfio);
	uint64_t bar = vfio.memory;

	source->file = vfio.device;
	vfio.device = -1;
	vpfn_vfio_close(&vfio);
	return err ?: pfnmap_source_map(source, source->file, bar, SIZE) ?:
	       pfnmap_source_use_file(source, bar) ?: watch_entry(source);
}

/*
 * The card is vfio-pci's until the source is closed. Without an IOMMU vfio is told to do without:
 * nothing makes the card access memory meanwhile.
 */
static int open_vfio(struct pfnmap_source *source, unsigned int n)
{
	struct lender *lender;

	if (n || pfnmap_shell("modprobe -q vfio-pci"))
		return -ENOENT;
	if (lend(source))
		return -ENOMEM;

	lender = lender_of(source);
	if (!pfnmap_text_read(NO_IOMMU, lender->setting, sizeof(lender->setting)))
		pfnmap_text_write(NO_IOMMU, "1");
	return take_card(source) ?: map_bar(source);
}

static void close_vfio(struct pfnmap_source *source)
{
	struct lender lender = {};

	if (lender_of(source))
		lender = *lender_of(source);
	take_back(source);
	if (lender.card[0]) {
		vpfn_vfio_unbind(lender.card);
		vpfn_card_wait_bound(lender.card);
	}
	if (lender.setting[0])
		pfnmap_text_write(NO_IOMMU, lender.setting);
}

static const struct pfnmap_source_kind place_kind = {
	.name = "vpfn",
	.describe = "Buffers of vpfn, by leaves of each size, in device and system memory.",
	.open = open_place,
	.renew = renew_place,
	.check = check_place,
	.close = close_place,
};

static const struct pfnmap_source_kind lent_kinds[] = {
	{
		.name = "vfio-pci",
		.describe = "A BAR, by vfio-pci, which has the card meanwhile.",
		.open = open_vfio,
		.close = close_vfio,
	}, {
		.name = "dev-mem",
		.describe = "A buffer in device memory, by /dev/mem.",
		.open = open_devmem,
		.close = take_back,
	}, {
		.name = "pci-sysfs",
		.describe = "A buffer in device memory, by the file of its BAR in sysfs.",
		.open = open_sysfs,
		.close = take_back,
	},
};

/**
 * vpfn_places_add:
 * @fd: DRM file descriptor, from vpfn_require_device()
 *
 * Adds buffers of the device to the sources of the matrix: in each place that they can have, by
 * leaves of each size that they can have there.
 */
void vpfn_places_add(int fd)
{
	vpfn = fd;
	pfnmap_matrix_add(&place_kind, 1);
}

/**
 * vpfn_lent_add:
 * @fd: DRM file descriptor, from vpfn_require_device()
 *
 * Adds the mappings of drivers to which vpfn lends a card or a buffer to the sources of the matrix.
 */
void vpfn_lent_add(int fd)
{
	vpfn = fd;
	pfnmap_matrix_add(lent_kinds, ARRAY_SIZE(lent_kinds));
}
