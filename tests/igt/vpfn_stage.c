// SPDX-License-Identifier: MIT
/*
 * On which mappings of vpfn is a user of memory asked?
 */
#include <string.h>
#include <sys/mman.h>

#include "igt.h"
#include "vpfn_job.h"
#include "vpfn_stage.h"

const struct vpfn_place vpfn_places[VPFN_PLACES] = {
	{ "pte-vram", VPFN_PTE, DRM_VPFN_PLACEMENT_VRAM },
	{ "pmd-vram", VPFN_PMD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pud-vram", VPFN_PUD, DRM_VPFN_PLACEMENT_VRAM },
	{ "pte-system", VPFN_PTE, DRM_VPFN_PLACEMENT_SYSTEM },
	{ "pmd-system", VPFN_PMD, DRM_VPFN_PLACEMENT_SYSTEM },
};

/* By a copy that the engine makes: neither the page table nor the mapping has a part in it. */
static int peek(const struct vpfn_target *target, void *bytes)
{
	const struct vpfn_scene *scene = target->data;
	const struct vpfn_stage *stage = scene->stage;
	int err = vpfn_copy(stage->fd, &stage->aside, 0, &scene->view.bo,
			    vpfn_view_inside(&scene->view), VPFN_TARGET_LEN);

	if (!err)
		memcpy(bytes, stage->aside_map, VPFN_TARGET_LEN);
	return err;
}

static int poke(const struct vpfn_target *target, const void *bytes)
{
	const struct vpfn_scene *scene = target->data;
	const struct vpfn_stage *stage = scene->stage;

	memcpy(stage->aside_map, bytes, VPFN_TARGET_LEN);
	return vpfn_copy(stage->fd, &scene->view.bo, vpfn_view_inside(&scene->view),
			 &stage->aside, 0, VPFN_TARGET_LEN);
}

static struct vpfn_scene *scene_of(struct vpfn_stage *stage, const struct vpfn_place *place)
{
	return &stage->scenes[place - vpfn_places];
}

/**
 * vpfn_stage_open:
 * @stage: the stage, all zeroes before the first time; what of it is open is closed
 * @fd: DRM file descriptor
 *
 * Maps and touches a buffer in each place. Page-table dump, driver, faults and size of the page
 * tables have to agree that it has the leaves of the place.
 */
void vpfn_stage_open(struct vpfn_stage *stage, int fd)
{
	const struct vpfn_view *views[VPFN_PLACES];
	unsigned int n = 0;
	void *map;

	if (stage->aside_map)
		vpfn_stage_close(stage);

	stage->fd = fd;
	igt_assert_eq(vpfn_bo_create_in(fd, VPFN_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
					&stage->aside), 0);
	igt_assert_eq(vpfn_bo_map(fd, &stage->aside, &map), 0);
	stage->aside_map = map;

	for_each_vpfn_place(place) {
		struct vpfn_scene *scene = scene_of(stage, place);

		scene->place = place;
		scene->stage = stage;
		vpfn_view_open_in(&scene->view, fd, place->level, place->placement);
		scene->target = (struct vpfn_target) {
			.addr = scene->view.map + vpfn_view_inside(&scene->view),
			.peek = peek,
			.poke = poke,
			.data = scene,
		};
		views[n++] = &scene->view;
	}
	vpfn_assert_dump_agrees(views, n);
}

/**
 * vpfn_stage_close:
 * @stage: the stage, whose mappings go
 */
void vpfn_stage_close(struct vpfn_stage *stage)
{
	for_each_vpfn_place(place) {
		struct vpfn_scene *scene = scene_of(stage, place);

		/* A test may have closed one, or failed to open it. */
		if (scene->view.map)
			vpfn_view_close(&scene->view);
	}
	munmap(stage->aside_map, VPFN_TARGET_LEN);
	stage->aside_map = NULL;
	vpfn_bo_close(stage->fd, &stage->aside);
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

	vpfn_view_renew(&scene->view);
	return scene;
}

/**
 * vpfn_matrix_cell:
 * @matrix: name of a table
 * @row: what is asked
 * @column: where
 * @answer: what comes back
 *
 * "make check" collects these lines from the output of the tests, and shows each table.
 */
void vpfn_matrix_cell(const char *matrix, const char *row, const char *column,
		      const char *answer)
{
	igt_info("cell\t%s\t%s\t%s\t%s\n", matrix, row, column, answer);
}

static int ask(const struct vpfn_user *user, const struct vpfn_target *target)
{
	int answer;

	igt_assert_eq(vpfn_user_ask(user, target, &answer), 0);
	return answer;
}

/* The positive control: a user who fails for a reason of his own, or not as he should, is seen. */
static void ask_on_ordinary(const char *matrix, const struct vpfn_user *user)
{
	struct vpfn_target ordinary;
	int answer;

	igt_assert_eq(vpfn_target_anonymous(&ordinary), 0);
	answer = ask(user, &ordinary);
	vpfn_target_free(&ordinary);
	vpfn_matrix_cell(matrix, user->name, "ordinary", vpfn_answer_name(answer));
	igt_assert_eq(answer, user->on_ordinary);
}

/* The leaf is the same afterwards, and so are the bytes around the target. */
static void ask_in_place(const char *matrix, const struct vpfn_user *user,
			 struct vpfn_scene *scene)
{
	const struct vpfn_view *view = &scene->view;
	uint64_t inside = vpfn_view_inside(view);
	int answer = ask(user, &scene->target);

	vpfn_matrix_cell(matrix, user->name, scene->place->name, vpfn_answer_name(answer));
	igt_assert_eq(answer, user->on_special);
	vpfn_assert_level(view->fd, scene->target.addr, view->level);
	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + VPFN_TARGET_LEN, view->bo.size);
}

/**
 * vpfn_users_subtests:
 * @matrix: name of the table of the answers
 * @stage: the stage
 * @fd: DRM file descriptor, which need not be open yet
 * @users: whom to ask
 * @count: how many
 *
 * A subtest for each of them, and in it a dynamic one for each place, with ordinary memory as the
 * positive control of them all.
 */
void vpfn_users_subtests(const char *matrix, struct vpfn_stage *stage, const int *fd,
			 const struct vpfn_user users[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		igt_describe(users[i].describe);
		igt_subtest_with_dynamic(users[i].name) {
			ask_on_ordinary(matrix, &users[i]);
			vpfn_stage_open(stage, *fd);
			for_each_vpfn_place(place) {
				igt_dynamic(place->name)
					ask_in_place(matrix, &users[i],
						     vpfn_stage_scene(stage, place));
			}
		}
	}
}
