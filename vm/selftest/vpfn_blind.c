// SPDX-License-Identifier: MIT
/*
 * Is the positive control needed? A test with a bug asks each user about an address where there is
 * no memory. Many of them say of it what they say of a special mapping: without the control such a
 * test would pass. With it none does, which is what these subtests assert, but for the few whom no
 * memory pleases. The table of the answers is in matrix.md.
 */
#include <errno.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"

IGT_TEST_DESCRIPTION("Users of user memory, asked about an address without memory.");

/* Far below what mmap() chooses. */
#define NOWHERE		((char *)0x10000000000)

#define MATRIX		"users on an address without memory"

static struct pfnmap_user_family io_family = { .name = "io", .users = pfnmap_io_users };
static const size_t one = 1;

/* The test with the bug looks at the bytes of the memory that it meant. */
static int peek_meant(const struct pfnmap_target *target, void *bytes)
{
	const struct pfnmap_target *meant = target->data;

	return meant->peek(meant, bytes);
}

static int poke_meant(const struct pfnmap_target *target, const void *bytes)
{
	const struct pfnmap_target *meant = target->data;

	return meant->poke(meant, bytes);
}

static int ask(const struct pfnmap_target *target, const void *arg)
{
	return pfnmap_user_call(arg, target);
}

/* A consumer that goes on as if it had worked may crash, so a child calls it. */
static int ask_about_nothing(const struct pfnmap_user *user)
{
	struct pfnmap_target meant, nowhere = {
		.addr = NOWHERE,
		.map = NOWHERE,
		.map_len = PFNMAP_TARGET_LEN,
		.peek = peek_meant,
		.poke = poke_meant,
		.data = &meant,
	};
	int answer;

	igt_assert_eq(pfnmap_target_ordinary(user, &meant), 0);
	answer = pfnmap_target_in_child(&nowhere, ask, user);
	pfnmap_target_free(&meant);
	return answer;
}

static unsigned int ask_user(const struct pfnmap_user *user)
{
	int answer = ask_about_nothing(user);
	const char *name = answer == -ECHILD ? "dies" : pfnmap_answer_name(answer);
	bool passes = answer == user->on_special, pleased = user->on_ordinary >= 0;

	pfnmap_matrix_cell(MATRIX, user->name, "special mapping",
			   pfnmap_answer_name(user->on_special));
	pfnmap_matrix_cell(MATRIX, user->name, "no memory", name);
	pfnmap_matrix_cell(MATRIX, user->name, "ordinary memory",
			   pfnmap_answer_name(user->on_ordinary));
	pfnmap_matrix_cell(MATRIX, user->name, "seen by the control alone",
			   !passes ? "no" : pleased ? "yes" : "nobody sees it");
	igt_assert_f(!pleased || answer != user->on_ordinary,
		     "%s: of no memory, too: %s\n", user->name, name);
	return passes && pleased;
}

static void ask_all(const struct pfnmap_user_family *families, size_t count, bool fooled)
{
	unsigned int asked = 0, passed = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < families[i].count; j++, asked++)
			passed += ask_user(&families[i].users[j]);
	}
	igt_info("%u of %u would have passed without the control\n", passed, asked);
	igt_assert(fooled == !!passed);
}

int igt_main()
{
	static const struct {
		const char *name;
		const struct pfnmap_user_family *families;
		const size_t *count;
		bool fooled;	/* some would pass without the control */
	} tables[] = {
		{ "gup", pfnmap_gup_families, &pfnmap_gup_family_count, true },
		{ "pages", pfnmap_page_families, &pfnmap_page_family_count, true },
		{ "failures", pfnmap_failure_families, &pfnmap_failure_family_count, false },
		{ "io", &io_family, &one, true },
		{ "mm", pfnmap_mm_families, &pfnmap_mm_family_count, true },
		{ "look", pfnmap_look_families, &pfnmap_look_family_count, true },
		{ "video", pfnmap_video_families, &pfnmap_video_family_count, true },
	};

	igt_fixture() {
		pfnmap_matrix_use_ext4();
		io_family.count = pfnmap_io_user_count;
	}

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		igt_describe("Each user of a table, asked about an address without memory.");
		igt_subtest(tables[i].name)
			ask_all(tables[i].families, *tables[i].count, tables[i].fooled);
	}
}
