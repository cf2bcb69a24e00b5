// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory answer on mappings of any driver? What is expected follows from
 * how the source maps its memory, and where an answer differs from that, the table of exceptions
 * says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "igt_device_scan.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pins.h"
#include "pfnmap/pfnmap_users.h"

#define MAX_SOURCES	32
#define MAX_NODES	64

/* What the answer must be, and why it is not what other special mappings give. */
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

static bool is_about(const struct exception *exception, const struct pfnmap_source *source,
		     const struct pfnmap_user *user)
{
	if (strcmp(exception->user, user->name))
		return false;
	if (!strcmp(exception->source, WITHOUT_IO))
		return !source->is_io && !source->kind->gives_pages;
	return !strcmp(exception->source, source->name);
}

static const struct exception *exception_of(const struct pfnmap_source *source,
					    const struct pfnmap_user *user)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++) {
		if (is_about(&exceptions[i], source, user))
			return &exceptions[i];
	}
	return NULL;
}

static int expected_answer(const struct pfnmap_source *source, const struct pfnmap_user *user)
{
	const struct exception *exception = exception_of(source, user);

	if (!exception)
		return source->kind->gives_pages ? user->on_ordinary : user->on_special;

	igt_info("%s on %s: %s\n", user->name, source->name, exception->why);
	return exception->answer;
}

/*
 * Whether a debugger sees memory that has no pages is up to vm_operations_struct.access, which
 * cannot be seen from outside. Of the sources that are listed the answer is known.
 */
static bool may_lack_access(const struct pfnmap_source *source, const struct pfnmap_user *user)
{
	static const char * const users[] = {
		"PTRACE_PEEKDATA", "PTRACE_POKEDATA", "read of /proc/pid/mem",
		"write to /proc/pid/mem",
	};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		if (!strcmp(user->name, users[i]))
			return source->kind->open == pfnmap_device_kinds[0].open &&
			       !source->kind->driver;
	}
	return false;
}

static bool is_right(const struct pfnmap_source *source, const struct pfnmap_user *user,
		     int answer, int expected)
{
	return answer == expected ||
	       (source && may_lack_access(source, user) && (!answer || answer == -EIO));
}

/**
 * pfnmap_matrix_cell:
 * @matrix: name of a table
 * @row: what is asked
 * @column: where
 * @answer: what comes back
 *
 * What runs many tests can collect these lines from their output, and show each table.
 */
void pfnmap_matrix_cell(const char *matrix, const char *row, const char *column,
			const char *answer)
{
	igt_info("cell\t%s\t%s\t%s\t%s\n", matrix, row, column, answer);
}

/* A wrong answer of one user is no reason to leave the others unasked. */
struct verdict {
	unsigned int wrong;
	unsigned int absent;
};

/* Without @source: ordinary memory. */
static void ask(const char *matrix, const struct pfnmap_user *user,
		const struct pfnmap_source *source, const struct pfnmap_target *target,
		bool *filled, struct verdict *verdict)
{
	int expected = source ? expected_answer(source, user) : user->on_ordinary;
	const char *column = source ? source->name : "ordinary";
	int answer = 0, err;

	err = pfnmap_user_ask(user, target, filled, &answer) ?: pfnmap_target_kept(target);
	pfnmap_matrix_cell(matrix, user->name, column, pfnmap_answer_name(answer));
	if (answer == -ENODEV && expected != -ENODEV) {
		igt_info("the kernel lacks %s (%s)\n", user->name, user->needs ?: "?");
		verdict->absent++;
	} else if (err || !is_right(source, user, answer, expected)) {
		igt_info("%s on %s: %s, not %s; bytes and entry afterwards: %s\n", user->name,
			 column, pfnmap_answer_name(answer), pfnmap_answer_name(expected),
			 pfnmap_answer_name(err));
		verdict->wrong++;
	}
}

static void ask_about_ordinary(const char *matrix, const struct pfnmap_user *user,
			       struct verdict *verdict)
{
	struct pfnmap_target ordinary;
	bool filled = false;

	igt_assert_eq(pfnmap_target_ordinary(user, &ordinary), 0);
	ask(matrix, user, NULL, &ordinary, &filled, verdict);
	pfnmap_target_free(&ordinary);
}

/* One user after the other. Without @source: ordinary memory. */
static void ask_family(const char *matrix, const struct pfnmap_user_family *family,
		       const struct pfnmap_source *source)
{
	struct verdict verdict = {};
	long pins = pfnmap_pins();
	bool filled = false;

	for (size_t i = 0; i < family->count; i++) {
		const struct pfnmap_user *user = &family->users[i];

		if (source)
			ask(matrix, user, source, &source->target, &filled, &verdict);
		else
			ask_about_ordinary(matrix, user, &verdict);
	}
	igt_assert_eq(pfnmap_pins_returned(pins), 0);
	igt_assert_eq(verdict.wrong, 0);
	if (source && source->kind->check)
		source->kind->check(source);
	igt_require_f(!verdict.absent, "the kernel lacks %u of them\n", verdict.absent);
}

static bool is_asked(const struct pfnmap_group *group, const struct pfnmap_source *source)
{
	return (group->of_pages || !source->kind->gives_pages) &&
	       (group->of_exports || !source->kind->is_export);
}

/**
 * pfnmap_matrix_ask:
 * @group: the group of the family
 * @family: users, one asked after the other
 *
 * What is in the subtest of a family: a dynamic one for ordinary memory, since a refusal for
 * another reason proves nothing about a source, and one for each source.
 */
void pfnmap_matrix_ask(const struct pfnmap_group *group, const struct pfnmap_user_family *family)
{
	igt_dynamic("ordinary")
		ask_family(group->matrix, family, NULL);

	for_each_pfnmap_source(source) {
		if (!is_asked(group, source))
			continue;
		igt_dynamic(source->name)
			ask_family(group->matrix, family, pfnmap_source_renew(source));
	}
}

/* ---- The sources ---- */

static bool whole_machine;

const char pfnmap_matrix_help[] =
	"  --whole-machine	ask about all that a machine can map, not only about the dumb buffers\n"
	"			of the device, and by users who change the machine: loads vgem, vkms,\n"
	"			display drivers, null_blk, scsi_debug, nvme-loop, vhost, vivid and\n"
	"			vim2m, sets vivid's parameters, mounts FUSE and 9p, offlines two pages\n"
	"			of RAM for each source. PFNMAP_WHOLE_MACHINE=1 in the environment does\n"
	"			the same\n";

const struct option pfnmap_matrix_options[] = {
	{ "whole-machine", no_argument, NULL, 'w' },
	{}
};

/**
 * pfnmap_matrix_option:
 * @opt: 'w'
 * @index: of pfnmap_matrix_options
 * @data: nothing
 *
 * Returns: how IGT goes on.
 */
int pfnmap_matrix_option(int opt, int index, void *data)
{
	(void)index;
	(void)data;
	if (opt != 'w')
		return IGT_OPT_HANDLER_ERROR;

	whole_machine = true;
	return IGT_OPT_HANDLER_SUCCESS;
}

/**
 * pfnmap_whole_machine:
 *
 * Returns: whether more than the device may be touched.
 */
bool pfnmap_whole_machine(void)
{
	const char *variable = getenv("PFNMAP_WHOLE_MACHINE");

	return whole_machine || (variable && !strcmp(variable, "1"));
}

static struct pfnmap_source sources[MAX_SOURCES];
static unsigned int source_count;

static void close_sources(int sig)
{
	(void)sig;
	for (unsigned int i = 0; i < source_count; i++)
		pfnmap_source_close(&sources[i]);
	source_count = 0;
}

/*
 * Chooses the device of --device or IGT_DEVICE, of several filters that of the first; else the
 * first device, or the first of IGT_FORCE_DRIVER. Skips if there is none.
 */
static void choose_card(void)
{
	const char *driver = getenv("IGT_FORCE_DRIVER");
	struct igt_device_card card;
	char path[32];

	if (igt_device_filter_count()) {
		igt_require_f(igt_device_card_match(igt_device_filter_get(0), &card) &&
			      card.card[0], "no device matches the filter\n");
		pfnmap_source_set_card(card.card);
		return;
	}
	for (unsigned int minor = 0; minor < MAX_NODES; minor++) {
		drmVersionPtr version;
		bool found;
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%u", minor);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		version = drmGetVersion(fd);
		found = version && (!driver || !strcmp(version->name, driver));
		drmFreeVersion(version);
		close(fd);
		if (found) {
			pfnmap_source_set_card(path);
			return;
		}
	}
	igt_require_f(false, "no card\n");
}

/**
 * pfnmap_matrix_add:
 * @kinds: kinds of sources
 * @count: how many kinds
 *
 * Opens all sources of these kinds that there are, until the test exits.
 */
void pfnmap_matrix_add(const struct pfnmap_source_kind kinds[], size_t count)
{
	igt_install_exit_handler(close_sources);
	for (size_t i = 0; i < count; i++) {
		int err = 0;

		for (unsigned int n = 0; !err; n++) {
			igt_assert(source_count < MAX_SOURCES);
			err = pfnmap_source_open(&sources[source_count], &kinds[i], n);
			source_count += !err;
		}
		igt_assert_f(err == -ENOENT, "%s: %s\n", kinds[i].name, pfnmap_answer_name(err));
	}
}

/**
 * pfnmap_matrix_add_machine:
 *
 * Adds the sources of the device that was chosen, and if the machine may be touched, all others.
 */
void pfnmap_matrix_add_machine(void)
{
	choose_card();
	pfnmap_matrix_add(pfnmap_device_kinds, pfnmap_device_kind_count);
	igt_require_f(source_count || pfnmap_whole_machine(), "the device has no dumb buffers\n");
	if (pfnmap_whole_machine())
		pfnmap_matrix_add(pfnmap_machine_kinds, pfnmap_machine_kind_count);
}

/**
 * pfnmap_matrix_next:
 * @source: a source of the matrix, or NULL
 *
 * Returns: the next one, or the first; NULL after the last.
 */
struct pfnmap_source *pfnmap_matrix_next(struct pfnmap_source *source)
{
	source = source ? source + 1 : sources;
	return source < sources + source_count ? source : NULL;
}

/**
 * pfnmap_source_renew:
 * @source: a source of the matrix
 *
 * Returns: the source, its target as new.
 */
struct pfnmap_source *pfnmap_source_renew(struct pfnmap_source *source)
{
	if (source->kind->renew)
		source->kind->renew(source);
	return source;
}

static struct pfnmap_disk disk;

static void remove_disk(int sig)
{
	(void)sig;
	pfnmap_disk_remove(&disk);
}

/**
 * pfnmap_matrix_use_ext4:
 *
 * Gives the users that read and write a file one on ext4, until the test exits.
 */
void pfnmap_matrix_use_ext4(void)
{
	char path[96];

	igt_install_exit_handler(remove_disk);
	igt_require_f(!pfnmap_disk_create(&disk) && !pfnmap_disk_mount(&disk, "ext4"),
		      "no disk (CONFIG_BLK_DEV_NULL_BLK, CONFIG_EXT4_FS, mkfs.ext4)\n");
	snprintf(path, sizeof(path), "%s/file", disk.mount);
	igt_assert_eq(pfnmap_io_set_file(path), 0);
}

/**
 * pfnmap_matrix_families:
 * @groups: families of users
 * @count: how many groups
 *
 * A subtest for each family, and not for each user: to renew a source takes longer than most of
 * them do.
 */
void pfnmap_matrix_families(const struct pfnmap_group groups[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < *groups[i].count; j++) {
			const struct pfnmap_user_family *family = &groups[i].families[j];

			igt_describe(family->describe);
			igt_subtest_with_dynamic(family->name) {
				igt_require_f(!groups[i].of_machine || pfnmap_whole_machine(),
					      "changes the machine: see --whole-machine\n");
				pfnmap_matrix_ask(&groups[i], family);
			}
		}
	}
}

/**
 * pfnmap_matrix_subtests:
 * @groups: families of users
 * @count: how many groups
 *
 * The subtests of a test that asks about any driver.
 */
void pfnmap_matrix_subtests(const struct pfnmap_group groups[], size_t count)
{
	igt_fixture() {
		igt_require_f(!geteuid(), "needs root, for debugfs, and for pages of other processes\n");
		pfnmap_matrix_add_machine();
	}

	pfnmap_matrix_families(groups, count);

	igt_fixture()
		close_sources(0);
}
