// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory return for the mappings of any driver? Each consumer is called
 * on each source of mappings that the machine has. The results are the rows and columns of a table;
 * what is expected follows from how the source maps its memory, and where a result differs from
 * that, the table of exceptions says why.
 *
 * Nothing here needs vpfn. On a machine of one's own, --run-subtest dumb-buffer asks about the
 * drivers of its cards.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_disk.h"
#include "vpfn_pins.h"
#include "vpfn_source.h"
#include "vpfn_stage.h"
#include "vpfn_users.h"

IGT_TEST_DESCRIPTION("Users of user memory on mappings of many drivers.");

static struct vpfn_source source;

static void close_source(int sig)
{
	(void)sig;
	vpfn_source_close(&source);
}

/* Reads and writes have a file of their own. */
static struct vpfn_disk disk;
static struct vpfn_user io_users[32];
static struct vpfn_user_family io_family = { .name = "io", .users = io_users };
static const size_t io_family_count = 1;

/*
 * All but the one whom ext4 sends away, before it looks at the memory, if a clock has ticked:
 * generic_update_time(), fs/inode.c, cannot write the file's times without waiting.
 */
static void list_io_users(void)
{
	for (size_t i = 0; i < vpfn_io_user_count; i++) {
		if (!strcmp(vpfn_io_users[i].name, "write-nowait"))
			continue;

		igt_assert(io_family.count < ARRAY_SIZE(io_users));
		io_users[io_family.count++] = vpfn_io_users[i];
	}
}

static void remove_disk(int sig)
{
	(void)sig;
	vpfn_disk_remove(&disk);
}

static void open_disk(void)
{
	char path[96];

	igt_install_exit_handler(remove_disk);
	if (vpfn_disk_create(&disk) || vpfn_disk_mount(&disk, "ext4"))
		return;

	snprintf(path, sizeof(path), "%s/file", disk.mount);
	igt_assert_eq(vpfn_io_set_file(path), 0);
}

/*
 * Who wants pages is asked about all sources. The others are asked about one source for each way
 * to make a mapping: leaves of each size have had them in tests of vpfn's own, and a dma-buf is
 * mapped as the buffers of its driver. Where the kernel may take pages some have as many answers
 * as there are kinds of such memory, which says nothing about drivers.
 */
#define MAX_FAMILIES	32

static const struct group {
	const char *matrix;
	const struct vpfn_user_family *families;
	const size_t *count;
	bool of_all;
	bool of_pages;
} groups[] = {
	{ "vpfn_conformance", vpfn_gup_families, &vpfn_gup_family_count, true, true },
	{ "vpfn_conformance, files and video", &io_family, &io_family_count, false, true },
	{ "vpfn_conformance, files and video", vpfn_video_families, &vpfn_video_family_count,
	  false, true },
	{ "vpfn_conformance, pages as such", vpfn_page_families, &vpfn_page_family_count,
	  false, false },
	{ "vpfn_conformance, other subsystems", vpfn_command_families, &vpfn_command_family_count,
	  false, false },
	{ "vpfn_conformance, other subsystems", vpfn_fuse_families, &vpfn_fuse_family_count,
	  false, false },
	{ "vpfn_conformance, other subsystems", vpfn_net_families, &vpfn_net_family_count,
	  false, false },
	{ "vpfn_conformance, other subsystems", vpfn_trace_families, &vpfn_trace_family_count,
	  false, false },
	{ "vpfn_conformance, calls of mm", vpfn_mm_families, &vpfn_mm_family_count,
	  false, false },
	{ "vpfn_conformance, calls of mm", vpfn_look_families, &vpfn_look_family_count,
	  false, false },
};

static bool asks_about_source(const struct group *group)
{
	const struct vpfn_source_kind *kind = source.kind;

	if (kind->gives_pages)
		return group->of_pages;
	return group->of_all || (strcmp(kind->name, "vpfn") && strcmp(kind->name, "dma-buf"));
}

/* What the answer must be, and why it is not what vpfn's mappings give. */
struct exception {
	const char *source;
	const char *user;
	int answer;
	const char *why;
};

#define OFFSETS		"mm/mmap.c, remap_file_pages(): it maps the file again, at the offset of the "\
			"part; drm_gem_mmap() knows none inside of a buffer, this file does"
#define NO_ACCESS	"mm/memory.c, __access_remote_vm(): what get_user_pages() refuses is left to "\
			"vm_operations_struct.access, which this mapping lacks"
#define KERNFS_SYNC	"fs/kernfs/file.c, kernfs_file_fops: files of sysfs have an fsync, noop_fsync()"
#define KERNFS_REMOVE	"fs/open.c, vfs_fallocate(): a regular file, which device files are not; "\
			"it lacks the operation"

/* A source of this name is any whose mapping is not VM_IO: that of a driver without a BAR. */
#define WITHOUT_IO	"without VM_IO"

static const struct exception exceptions[] = {
	{ WITHOUT_IO, "PTRACE_PEEKDATA", -EIO, NO_ACCESS },
	{ WITHOUT_IO, "PTRACE_POKEDATA", -EIO, NO_ACCESS },
	{ WITHOUT_IO, "read of /proc/pid/mem", -EIO, NO_ACCESS },
	{ WITHOUT_IO, "write to /proc/pid/mem", -EIO, NO_ACCESS },
	{ "system-heap", "PTRACE_PEEKDATA", -EIO, NO_ACCESS },
	{ "system-heap", "PTRACE_POKEDATA", -EIO, NO_ACCESS },
	{ "system-heap", "read of /proc/pid/mem", -EIO, NO_ACCESS },
	{ "system-heap", "write to /proc/pid/mem", -EIO, NO_ACCESS },
	{ "vfio-pci", "PTRACE_PEEKDATA", -EIO, NO_ACCESS },
	{ "vfio-pci", "PTRACE_POKEDATA", -EIO, NO_ACCESS },
	{ "vfio-pci", "read of /proc/pid/mem", -EIO, NO_ACCESS },
	{ "vfio-pci", "write to /proc/pid/mem", -EIO, NO_ACCESS },
	{ "udmabuf", "remap_file_pages", 0, OFFSETS },
	{ "system-heap", "remap_file_pages", 0, OFFSETS },
	{ "vfio-pci", "remap_file_pages", 0, OFFSETS },
	{ "dev-mem", "remap_file_pages", 0, OFFSETS },
	{ "pci-sysfs", "msync MS_SYNC", 0, KERNFS_SYNC },
	{ "pci-sysfs", "msync MS_SYNC | MS_INVALIDATE", 0, KERNFS_SYNC },
	{ "pci-sysfs", "MADV_REMOVE", -EOPNOTSUPP, KERNFS_REMOVE },
};

static bool is_about(const struct exception *exception, const struct vpfn_user *user)
{
	if (strcmp(exception->user, user->name))
		return false;
	if (!strcmp(exception->source, WITHOUT_IO))
		return !source.is_io && !source.kind->gives_pages;
	return !strcmp(exception->source, source.name);
}

static const struct exception *exception_of(const struct vpfn_user *user)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++) {
		if (is_about(&exceptions[i], user))
			return &exceptions[i];
	}
	return NULL;
}

static int expected_answer(const struct vpfn_user *user)
{
	const struct exception *exception = exception_of(user);

	if (!exception)
		return source.kind->gives_pages ? user->on_ordinary : user->on_special;

	igt_info("%s on %s: %s\n", user->name, source.name, exception->why);
	return exception->answer;
}

/*
 * Whether a debugger sees memory that has no pages is up to vm_operations_struct.access, which
 * cannot be seen from outside. Of a driver that has a kind of its own the answer is known.
 */
static bool may_lack_access(const struct vpfn_user *user)
{
	static const char * const users[] = {
		"PTRACE_PEEKDATA", "PTRACE_POKEDATA", "read of /proc/pid/mem",
		"write to /proc/pid/mem",
	};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		if (!strcmp(user->name, users[i]))
			return source.kind->drivers == VPFN_OTHER_DRIVERS;
	}
	return false;
}

static bool is_right(const struct vpfn_user *user, int answer, int expected)
{
	return answer == expected || (may_lack_access(user) && (!answer || answer == -EIO));
}

/* A wrong answer of one user is no reason to leave the others unasked. */
struct verdict {
	unsigned int wrong;
	unsigned int absent;
};

static void ask(const char *matrix, const struct vpfn_user *user,
		const struct vpfn_target *target, bool *filled, const char *column, int expected,
		struct verdict *verdict)
{
	int answer = 0, err;

	err = vpfn_user_ask(user, target, filled, &answer) ?: vpfn_target_kept(target);
	vpfn_matrix_cell(matrix, user->name, column, vpfn_answer_name(answer));
	if (answer == -ENODEV && expected != -ENODEV) {
		igt_info("the kernel lacks %s (%s)\n", user->name, user->needs ?: "?");
		verdict->absent++;
	} else if (err || !is_right(user, answer, expected)) {
		igt_info("%s on %s: %s, not %s; bytes and leaf afterwards: %s\n", user->name,
			 column, vpfn_answer_name(answer), vpfn_answer_name(expected),
			 vpfn_answer_name(err));
		verdict->wrong++;
	}
}

/* The positive control: a refusal for another reason proves nothing about a source. */
static void ask_about_ordinary(const char *matrix, const struct vpfn_user *user,
			       struct verdict *verdict)
{
	struct vpfn_target ordinary;
	bool filled = false;

	igt_assert_eq(vpfn_target_ordinary(user, &ordinary), 0);
	ask(matrix, user, &ordinary, &filled, "ordinary", user->on_ordinary, verdict);
	vpfn_target_free(&ordinary);
}

static void ask_family(const char *matrix, const struct vpfn_user_family *family,
		       bool *controlled)
{
	bool control = !*controlled, filled = false;
	struct verdict verdict = {};
	long pins = vpfn_pins();

	igt_require_f(family != &io_family || disk.mount[0],
		      "no disk (CONFIG_BLK_DEV_NULL_BLK, CONFIG_EXT4_FS, mkfs.ext4)\n");
	*controlled = true;
	for (size_t i = 0; i < family->count; i++) {
		const struct vpfn_user *user = &family->users[i];

		if (control)
			ask_about_ordinary(matrix, user, &verdict);
		ask(matrix, user, &source.target, &filled, source.name,
		    expected_answer(user), &verdict);
	}
	igt_assert_eq(vpfn_pins_returned(pins), 0);
	igt_assert_eq(verdict.wrong, 0);
	igt_require_f(!verdict.absent, "the kernel lacks %u of them\n", verdict.absent);
}

static void ask_group(const struct group *group)
{
	/* Ordinary memory is the same for each source: it is asked about once in a process. */
	static bool controlled[ARRAY_SIZE(groups)][MAX_FAMILIES];

	igt_assert_lte(*group->count, MAX_FAMILIES);
	for (size_t i = 0; i < *group->count; i++) {
		const struct vpfn_user_family *family = &group->families[i];

		igt_dynamic_f("%s-%s", source.name, family->name)
			ask_family(group->matrix, family, &controlled[group - groups][i]);
	}
}

/* What gives no pages has to be mapped by special entries. */
static void check_leaf(void)
{
	igt_require_f(source.witness >= 0, "no vpfn, whose debugfs would tell\n");
	vpfn_matrix_cell("vpfn_conformance, entries", "special entry", source.name,
			 vpfn_level_name(source.leaf.level));
	igt_assert(source.leaf.special == !source.kind->gives_pages);
}

static void ask_about_source(void)
{
	igt_dynamic_f("%s-leaf", source.name)
		check_leaf();
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (asks_about_source(&groups[i]))
			ask_group(&groups[i]);
	}
}

static int open_source(const struct vpfn_source_kind *kind, unsigned int n)
{
	int err = vpfn_source_open(&source, kind, n);

	/* IGT aborts upon a failure that is in no dynamic subtest. */
	if (err && err != -ENOENT) {
		igt_dynamic_f("%s-%u", kind->name, n)
			igt_assert_f(!err, "opened: %s\n", vpfn_answer_name(err));
	}
	return err;
}

static void ask_about_kind(const struct vpfn_source_kind *kind)
{
	unsigned int n;
	int err;

	for (n = 0; (err = open_source(kind, n)) != -ENOENT; n++) {
		if (err)
			continue;
		ask_about_source();
		vpfn_source_close(&source);
	}
	igt_require_f(n, "this machine has no source of the kind %s\n", kind->name);
}

int igt_main()
{
	igt_fixture() {
		/* As in all of IGT: a machine without a card is asked nothing. */
		igt_require_f(vpfn_source_has_card(getenv("IGT_FORCE_DRIVER")), "no card\n");
		igt_install_exit_handler(close_source);
		list_io_users();
		open_disk();
	}

	for (size_t i = 0; i < vpfn_source_kind_count; i++) {
		igt_describe(vpfn_source_kinds[i].describe);
		igt_subtest_with_dynamic(vpfn_source_kinds[i].name)
			ask_about_kind(&vpfn_source_kinds[i]);
	}
}
