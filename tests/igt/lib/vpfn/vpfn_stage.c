// SPDX-License-Identifier: MIT
/*
 * On which mappings of vpfn is a user of memory asked?
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pins.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_stage.h"

const struct vpfn_place vpfn_places[VPFN_PLACES] = {
	{ "pte-vram", VPFN_PTE, DRM_VPFN_PLACEMENT_VRAM },
	{ "pmd-vram", VPFN_PMD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pud-vram", VPFN_PUD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pte-system", VPFN_PTE, DRM_VPFN_PLACEMENT_SYSTEM },
	{ "pmd-system", VPFN_PMD, DRM_VPFN_PLACEMENT_SYSTEM },
};

/* By a copy that the engine makes: neither the page table nor the mapping has a part in it. */
static int peek(const struct pfnmap_target *target, void *bytes)
{
	const struct vpfn_scene *scene = target->data;
	const struct vpfn_stage *stage = scene->stage;
	int err = vpfn_copy(stage->fd, &stage->aside, 0, &scene->view.bo,
			    vpfn_view_inside(&scene->view), PFNMAP_TARGET_LEN);

	if (!err)
		memcpy(bytes, stage->aside_map, PFNMAP_TARGET_LEN);
	return err;
}

static int poke(const struct pfnmap_target *target, const void *bytes)
{
	const struct vpfn_scene *scene = target->data;
	const struct vpfn_stage *stage = scene->stage;

	memcpy(stage->aside_map, bytes, PFNMAP_TARGET_LEN);
	return vpfn_copy(stage->fd, &scene->view.bo, vpfn_view_inside(&scene->view),
			 &stage->aside, 0, PFNMAP_TARGET_LEN);
}

/* In any process that has the mapping. */
static int kept(const struct pfnmap_target *target)
{
	const struct vpfn_scene *scene = target->data;
	struct vpfn_leaf leaf;
	int err = vpfn_leaf_from_driver(scene->view.fd, target->addr, &leaf);

	if (err)
		return err;
	return leaf.level == scene->view.level && leaf.special ? 0 : -ESTALE;
}

static struct vpfn_scene *scene_of(struct vpfn_stage *stage, const struct vpfn_place *place)
{
	return &stage->scenes[place - vpfn_places];
}

static void close_stage(struct vpfn_stage *stage)
{
	for_each_vpfn_place(place) {
		struct vpfn_scene *scene = scene_of(stage, place);

		/* A test may have closed one, or failed to open it. */
		if (scene->view.map)
			vpfn_view_close(&scene->view);
	}
	if (stage->aside_map) {
		munmap(stage->aside_map, PFNMAP_TARGET_LEN);
		vpfn_bo_close(stage->fd, &stage->aside);
	}
	stage->aside_map = NULL;
	stage->ready = false;
}

/**
 * vpfn_stage_open:
 * @stage: the stage, all zeroes before the first time; what of it is open is closed
 * @fd: DRM file descriptor
 *
 * The mappings of the stage are made by the next vpfn_stage_scene(): in a dynamic subtest, which
 * may fail.
 */
void vpfn_stage_open(struct vpfn_stage *stage, int fd)
{
	close_stage(stage);
	stage->fd = fd;
}

/*
 * Maps and touches a buffer in each place. Driver, faults and size of the page tables have to agree
 * that it has the leaves of the place, and the first time the page-table dump, too.
 */
static void make_scenes(struct vpfn_stage *stage)
{
	const struct vpfn_view *views[VPFN_PLACES];
	unsigned int n = 0;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(stage->fd, PFNMAP_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
					&stage->aside), 0);
	igt_assert_eq(vpfn_bo_map(stage->fd, &stage->aside, &map), 0);
	stage->aside_map = map;

	for_each_vpfn_place(place) {
		struct vpfn_scene *scene = scene_of(stage, place);

		scene->place = place;
		scene->stage = stage;
		vpfn_view_open_in(&scene->view, stage->fd, place->level, place->placement);
		scene->target = (struct pfnmap_target) {
			.addr = scene->view.map + vpfn_view_inside(&scene->view),
			.peek = peek,
			.poke = poke,
			.kept = kept,
			.map = scene->view.map,
			.map_len = scene->view.bo.size,
			.data = scene,
		};
		views[n++] = &scene->view;
	}
	if (!stage->dumped)
		vpfn_assert_dump_agrees(views, n);
	stage->dumped = true;
	stage->ready = true;
}

/**
 * vpfn_stage_scene:
 * @stage: the stage, open
 * @place: one of vpfn_places
 *
 * Returns: the mapping there, its leaves checked, all of it filled with a pattern that is new.
 */
struct vpfn_scene *vpfn_stage_scene(struct vpfn_stage *stage, const struct vpfn_place *place)
{
	struct vpfn_scene *scene = scene_of(stage, place);

	if (!stage->ready) {
		close_stage(stage);
		make_scenes(stage);
	}
	vpfn_view_renew(&scene->view);
	return scene;
}

/*
 * A consumer's result on a target, in its row and the column @where. False if the kernel lacks the
 * consumer.
 */
static bool ask(const char *matrix, const struct pfnmap_user *user,
		const struct pfnmap_target *target, bool *filled, const char *where, int expected)
{
	int answer, err = pfnmap_user_ask(user, target, filled, &answer);

	igt_assert_f(!err, "%s on %s: the bytes afterwards: %s\n", user->name, where,
		     pfnmap_answer_name(err));
	if (answer == -ENODEV && expected != -ENODEV) {
		igt_info("the kernel lacks %s (%s)\n", user->name,
			 user->needs ?: "no option is known");
		return false;
	}

	pfnmap_matrix_cell(matrix, user->name, where, pfnmap_answer_name(answer));
	igt_assert_f(answer == expected, "%s on %s: %s, not %s\n", user->name, where,
		     pfnmap_answer_name(answer), pfnmap_answer_name(expected));
	return true;
}

/* The positive control: a consumer that fails for another reason, or works wrongly, is detected. */
static bool ask_on_ordinary(const char *matrix, const struct pfnmap_user *user)
{
	bool present, filled = false;
	struct pfnmap_target ordinary;

	igt_assert_eq(pfnmap_target_ordinary(user, &ordinary), 0);
	present = ask(matrix, user, &ordinary, &filled, "ordinary", user->on_ordinary);
	pfnmap_target_free(&ordinary);
	return present;
}

/* The leaf is the same afterwards. */
static bool ask_in_place(const char *matrix, const struct pfnmap_user *user,
			 const struct vpfn_scene *scene, bool *filled)
{
	bool present = ask(matrix, user, &scene->target, filled, scene->place->name,
			   user->on_special);
	int err;

	err = pfnmap_target_kept(&scene->target);
	igt_assert_f(!err, "%s on %s: the leaf afterwards: %s\n", user->name,
		     scene->place->name, pfnmap_answer_name(err));
	return present;
}

/* So are the bytes around the target. */
static void check_around(const struct vpfn_scene *scene)
{
	const struct vpfn_view *view = &scene->view;
	uint64_t inside = vpfn_view_inside(view);

	vpfn_assert_level(view->fd, scene->target.addr, view->level);
	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + PFNMAP_TARGET_LEN, view->bo.size);
}

/* No user of the family has left a page pinned. */
static void assert_unpinned(long before)
{
	int err = pfnmap_pins_returned(before);

	igt_assert_f(!err, "of %ld pages that were pinned before: %s\n", before,
		     pfnmap_answer_name(err));
}

/* One whom the kernel lacks is no reason to leave the others unasked. */
static void require_all(unsigned int absent)
{
	igt_require_f(!absent, "the kernel lacks %u of them\n", absent);
}

static void ask_all_on_ordinary(const char *matrix, const struct pfnmap_user_family *family)
{
	unsigned int absent = 0;
	long pins = pfnmap_pins();

	for (size_t i = 0; i < family->count; i++)
		absent += !ask_on_ordinary(matrix, &family->users[i]);
	assert_unpinned(pins);
	require_all(absent);
}

static void ask_all_in_place(const char *matrix, const struct pfnmap_user_family *family,
			     const struct vpfn_scene *scene)
{
	unsigned int absent = 0;
	long pins = pfnmap_pins();
	bool filled = false;

	for (size_t i = 0; i < family->count; i++)
		absent += !ask_in_place(matrix, &family->users[i], scene, &filled);
	assert_unpinned(pins);
	check_around(scene);
	require_all(absent);
}

/**
 * vpfn_family_everywhere:
 * @matrix: name of the table of the answers
 * @stage: the stage
 * @fd: DRM file descriptor
 * @family: whom to ask
 *
 * What is in a subtest: a dynamic one for ordinary memory, the positive control, and one for each
 * place.
 */
void vpfn_family_everywhere(const char *matrix, struct vpfn_stage *stage, int fd,
			    const struct pfnmap_user_family *family)
{
	/* IGT aborts upon a failure that is in no dynamic subtest. */
	igt_dynamic("ordinary")
		ask_all_on_ordinary(matrix, family);

	vpfn_stage_open(stage, fd);
	for_each_vpfn_place(place) {
		igt_dynamic(place->name)
			ask_all_in_place(matrix, family, vpfn_stage_scene(stage, place));
	}
}

/**
 * vpfn_families_subtests:
 * @matrix: name of the table of the answers
 * @stage: the stage
 * @fd: DRM file descriptor, which need not be open yet
 * @families: whom to ask
 * @count: how many families
 *
 * A subtest for each family, and not for each user: to open the stage takes longer than most of
 * them do.
 */
void vpfn_families_subtests(const char *matrix, struct vpfn_stage *stage, const int *fd,
			    const struct pfnmap_user_family families[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		igt_describe(families[i].describe);
		igt_subtest_with_dynamic(families[i].name)
			vpfn_family_everywhere(matrix, stage, *fd, &families[i]);
	}
}
