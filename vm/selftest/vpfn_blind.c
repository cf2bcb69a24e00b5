// SPDX-License-Identifier: MIT
/*
 * Is the positive control needed? A test with a bug asks each user about an address where there is
 * no memory. Many of them say of it what they say of a special mapping: without the control such a
 * test would pass. With it none does, which is what these subtests assert, but for the few whom no
 * memory pleases. The table of the answers is in matrix.md.
 */
#include <errno.h>
#include <stdio.h>

#include "igt.h"
#include "vpfn_disk.h"
#include "vpfn_stage.h"
#include "vpfn_users.h"

IGT_TEST_DESCRIPTION("Users of user memory, asked about an address without memory.");

/* Far below what mmap() chooses. */
#define NOWHERE		((char *)0x10000000000)

#define MATRIX		"users on an address without memory"

static struct vpfn_disk disk;
static struct vpfn_user_family io_family = { .name = "io", .users = vpfn_io_users };
static const size_t one = 1;

static void remove_disk(int sig)
{
	(void)sig;
	vpfn_disk_remove(&disk);
}

static void open_disk(void)
{
	char path[96];

	igt_install_exit_handler(remove_disk);
	igt_assert_eq(vpfn_disk_create(&disk) ?: vpfn_disk_mount(&disk, "ext4"), 0);
	snprintf(path, sizeof(path), "%s/file", disk.mount);
	igt_assert_eq(vpfn_io_set_file(path), 0);
	io_family.count = vpfn_io_user_count;
}

/* The test with the bug looks at the bytes of the memory that it meant. */
static int peek_meant(const struct vpfn_target *target, void *bytes)
{
	const struct vpfn_target *meant = target->data;

	return meant->peek(meant, bytes);
}

static int poke_meant(const struct vpfn_target *target, const void *bytes)
{
	const struct vpfn_target *meant = target->data;

	return meant->poke(meant, bytes);
}

static int ask(const struct vpfn_target *target, const void *arg)
{
	const struct vpfn_user *user = arg;

	return user->run ? user->run(target) : user->call(target, user->arg);
}

/* A consumer that goes on as if it had worked may crash, so a child calls it. */
static int ask_about_nothing(const struct vpfn_user *user)
{
	struct vpfn_target meant, nowhere = {
		.addr = NOWHERE,
		.map = NOWHERE,
		.map_len = VPFN_TARGET_LEN,
		.peek = peek_meant,
		.poke = poke_meant,
		.data = &meant,
	};
	int answer;

	igt_assert_eq(vpfn_target_ordinary(user, &meant), 0);
	answer = vpfn_target_in_child(&nowhere, ask, user);
	vpfn_target_free(&meant);
	return answer;
}

static unsigned int ask_user(const struct vpfn_user *user)
{
	int answer = ask_about_nothing(user);
	const char *name = answer == -ECHILD ? "dies" : vpfn_answer_name(answer);
	bool passes = answer == user->on_special, pleased = user->on_ordinary >= 0;

	vpfn_matrix_cell(MATRIX, user->name, "special mapping",
			 vpfn_answer_name(user->on_special));
	vpfn_matrix_cell(MATRIX, user->name, "no memory", name);
	vpfn_matrix_cell(MATRIX, user->name, "ordinary memory",
			 vpfn_answer_name(user->on_ordinary));
	vpfn_matrix_cell(MATRIX, user->name, "seen by the control alone",
			 !passes ? "no" : pleased ? "yes" : "nobody sees it");
	igt_assert_f(!pleased || answer != user->on_ordinary,
		     "%s: of no memory, too: %s\n", user->name, name);
	return passes && pleased;
}

static void ask_all(const struct vpfn_user_family *families, size_t count)
{
	unsigned int asked = 0, passed = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < families[i].count; j++, asked++)
			passed += ask_user(&families[i].users[j]);
	}
	igt_info("%u of %u would have passed without the control\n", passed, asked);
	igt_assert(passed);
}

int igt_main()
{
	static const struct {
		const char *name;
		const struct vpfn_user_family *families;
		const size_t *count;
	} tables[] = {
		{ "gup", vpfn_gup_families, &vpfn_gup_family_count },
		{ "pages", vpfn_page_families, &vpfn_page_family_count },
		{ "io", &io_family, &one },
		{ "mm", vpfn_mm_families, &vpfn_mm_family_count },
		{ "look", vpfn_look_families, &vpfn_look_family_count },
		{ "video", vpfn_video_families, &vpfn_video_family_count },
	};

	igt_fixture()
		open_disk();

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		igt_describe("Each user of a table, asked about an address without memory.");
		igt_subtest(tables[i].name)
			ask_all(tables[i].families, *tables[i].count);
	}
}
