/* SPDX-License-Identifier: MIT */
/*
 * On which mappings of vpfn is a user of memory asked? On leaves of each level in device memory,
 * and in system memory: the columns of a matrix whose rows are the users. These helpers are
 * IGT's: they assert and skip.
 */
#ifndef VPFN_STAGE_H
#define VPFN_STAGE_H

#include "pfnmap/pfnmap_target.h"
#include "vpfn/vpfn_view.h"

struct vpfn_stage;

/* Where a buffer lies, and by which leaves it is mapped. System memory has none of 1 GiB. */
struct vpfn_place {
	const char *name;	/* as dynamic subtests have them */
	enum vpfn_level level;
	uint32_t placement;	/* DRM_VPFN_PLACEMENT_* */
};

#define VPFN_PLACES	5

extern const struct vpfn_place vpfn_places[VPFN_PLACES];

#define for_each_vpfn_place(place)						\
	for (const struct vpfn_place *place = vpfn_places;			\
	     place < vpfn_places + VPFN_PLACES; place++)

/* A mapping, and the target in the middle of one of its leaves. */
struct vpfn_scene {
	const struct vpfn_place *place;
	struct vpfn_stage *stage;
	struct vpfn_view view;
	struct pfnmap_target target;
};

struct vpfn_stage {
	int fd;
	struct vpfn_bo aside;	/* memory by which the engine sees and sets a target */
	char *aside_map;
	struct vpfn_scene scenes[VPFN_PLACES];
	bool ready;		/* all scenes are mapped */
	bool dumped;		/* the page-table dump has agreed about the places */
};

void vpfn_stage_open(struct vpfn_stage *stage, int fd);

struct vpfn_scene *vpfn_stage_scene(struct vpfn_stage *stage, const struct vpfn_place *place);

void vpfn_family_everywhere(const char *matrix, struct vpfn_stage *stage, int fd,
			    const struct pfnmap_user_family *family);

/* A subtest for each family, and in it a dynamic one for each place, with a cell for each user. */
void vpfn_families_subtests(const char *matrix, struct vpfn_stage *stage, const int *fd,
			    const struct pfnmap_user_family families[], size_t count);

#endif
