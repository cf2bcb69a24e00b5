// SPDX-License-Identifier: MIT
/*
 * Direct I/O pins the pages of a process and hands them to a disk. Device memory has no such
 * pages: the kernel must refuse, whatever the size of the leaf, and must not take the
 * device's page frame number for that of a page. Where it copies instead, the bytes must be right.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_consumer.h"
#include "vpfn_disk.h"
#include "vpfn_stage.h"
#include "vpfn_users.h"

IGT_TEST_DESCRIPTION("I/O between disks, file systems and mappings of device memory.");

#define MATRIX		"vpfn_direct_io"
#define LEN		VPFN_TARGET_LEN
#define MAX_USERS	32

static int fd = -1;
static struct vpfn_stage stage;
static struct vpfn_views views;
static struct vpfn_disk disk;

/* An answer that is not that of a disk or file system which pins the pages. */
struct exception {
	const char *user;
	int on_special;
	int on_ordinary;
};

/* Where bytes come from and go to. */
struct store {
	const char *name;
	const char *describe;
	int (*create)(struct vpfn_disk *disk);	/* NULL if there is no disk */
	const char *type;			/* of the file system, NULL if there is none */
	const char *needs;
	bool reads_copy;			/* O_DIRECT reads go through the page cache */
	bool writes_copy;
	const char *without[4];			/* users who have no definite answer, or no sense */
	struct exception exceptions[8];		/* the first without a name ends them */
};

static int create_stable(struct vpfn_disk *disk)
{
	return vpfn_disk_create(disk) ?: vpfn_disk_want_stable_writes(disk);
}

/*
 * Of a vector that begins in ordinary memory, a block device moves that part and hands what is
 * left to the page cache: blkdev_write_iter() and blkdev_read_iter(), block/fops.c.
 */
#define BLOCK_EXCEPTIONS	{ { "readv-last", 0, 0 }, { "writev-last", 0, 0 } }

/* A disk has neither holes nor an end that moves. */
#define BLOCK_WITHOUT		{ "read-hole", "write-append" }

/*
 * Before anybody looks at the memory, a write of a file answers EAGAIN to RWF_NOWAIT if a clock
 * has ticked, so that the file's times must change: generic_update_time(), fs/inode.c.
 */
#define FILE_WITHOUT		{ "write-nowait" }

static const struct store stores[] = {
	{
		.name = "block",
		.describe = "A raw disk refuses direct I/O of the mapping, and copies otherwise.",
		.create = vpfn_disk_create,
		.needs = "CONFIG_BLK_DEV_NULL_BLK, CONFIG_CONFIGFS_FS",
		.without = BLOCK_WITHOUT,
		.exceptions = BLOCK_EXCEPTIONS,
	}, {
		.name = "loop",
		.describe = "A loop device refuses direct I/O of the mapping, and copies otherwise.",
		.create = vpfn_disk_create_loop,
		.needs = "CONFIG_BLK_DEV_LOOP",
		.without = BLOCK_WITHOUT,
		.exceptions = BLOCK_EXCEPTIONS,
	}, {
		.name = "ext4",
		.describe = "ext4 refuses direct I/O of the mapping, and copies otherwise.",
		.create = vpfn_disk_create,
		.type = "ext4",
		.needs = "CONFIG_EXT4_FS, mkfs.ext4",
		.without = FILE_WITHOUT,
	}, {
		.name = "xfs",
		.describe = "XFS refuses direct I/O of the mapping, and copies otherwise.",
		.create = vpfn_disk_create,
		.type = "xfs",
		.needs = "CONFIG_XFS_FS, mkfs.xfs",
		.without = FILE_WITHOUT,
	}, {
		.name = "xfs-stable",
		.describe = "XFS on a disk that wants stable pages copies what it writes.",
		.create = create_stable,
		.type = "xfs",
		.needs = "CONFIG_XFS_FS, mkfs.xfs",
		.without = FILE_WITHOUT,
		.writes_copy = true,
	}, {
		.name = "btrfs",
		.describe = "btrfs gives up direct I/O of the mapping, and copies.",
		.create = vpfn_disk_create,
		.type = "btrfs",
		.needs = "CONFIG_BTRFS_FS, mkfs.btrfs",
		.without = FILE_WITHOUT,
		.reads_copy = true,
		.writes_copy = true,
		/* It is more than a page: btrfs_dio_iomap_begin(). */
		.exceptions = { { "read-nowait", -EAGAIN, -EAGAIN } },
	}, {
		.name = "tmpfs",
		.describe = "tmpfs copies even when direct I/O is wanted.",
		.type = "tmpfs",
		.needs = "CONFIG_TMPFS",
		.reads_copy = true,
		.writes_copy = true,
		.exceptions = {
			/* shmem_file_open() gives no FMODE_NOWAIT. */
			{ "read-nowait", -EOPNOTSUPP, -EOPNOTSUPP },
			{ "write-nowait", -EOPNOTSUPP, -EOPNOTSUPP },
		},
	},
};

static void remove_disk(int sig)
{
	(void)sig;
	vpfn_disk_remove(&disk);
}

static int make_file(const struct store *store)
{
	char path[96];
	int err = store->create ? store->create(&disk) : 0;

	if (!err && store->type)
		err = vpfn_disk_mount(&disk, store->type);
	if (err)
		return err;

	if (store->type)
		snprintf(path, sizeof(path), "%s/file", disk.mount);
	else
		snprintf(path, sizeof(path), "%s", disk.device);
	return vpfn_io_set_file(path);
}

static bool copies(const struct store *store, const struct vpfn_user *user)
{
	switch (vpfn_io_kind_of(user)) {
	case VPFN_IO_READ:
		return store->reads_copy;
	case VPFN_IO_WRITE:
		return store->writes_copy;
	default:
		return false;
	}
}

static void expect(const struct store *store, struct vpfn_user *user)
{
	if (copies(store, user))
		user->on_special = 0;

	for (const struct exception *other = store->exceptions; other->user; other++) {
		if (strcmp(other->user, user->name))
			continue;
		user->on_special = other->on_special;
		user->on_ordinary = other->on_ordinary;
	}
}

static bool has(const struct store *store, const struct vpfn_user *user)
{
	for (const char *const *name = store->without; *name; name++) {
		if (!strcmp(*name, user->name))
			return false;
	}
	return true;
}

/* The users of a store, each with a row and the answers of its own. */
static size_t users_of(const struct store *store, struct vpfn_user users[])
{
	static char rows[MAX_USERS][48];
	size_t n = 0;

	igt_assert_lte(vpfn_io_user_count, MAX_USERS);
	for (size_t i = 0; i < vpfn_io_user_count; i++) {
		struct vpfn_user *user = &users[n];

		if (!has(store, &vpfn_io_users[i]))
			continue;

		*user = vpfn_io_users[i];
		expect(store, user);
		snprintf(rows[n], sizeof(rows[n]), "%s %s", store->name, user->name);
		user->name = rows[n++];
	}
	return n;
}

static void test_store(const struct store *store)
{
	struct vpfn_user users[MAX_USERS];
	const struct vpfn_user_family family = {
		.users = users,
		.count = users_of(store, users),
	};

	/* A test that failed has left its own. */
	vpfn_disk_remove(&disk);
	igt_require_f(!make_file(store), "no %s (%s)\n", store->name, store->needs);
	vpfn_family_everywhere(MATRIX, &stage, fd, &family);
	vpfn_disk_remove(&disk);
}

/* A mapping that nobody has touched: the refusal does not depend on what is mapped. */
static void test_untouched(int file, enum vpfn_level level)
{
	struct vpfn_view *view = &views.of[level];
	void *ordinary = vpfn_anonymous(LEN);
	char *memory;

	igt_assert(ordinary);
	vpfn_view_open_untouched(view, fd, level);
	memory = view->map + vpfn_view_inside(view);
	memset(ordinary, 0x77, LEN);
	igt_assert_eq(vpfn_file_set(file, ordinary, LEN), 0);

	igt_assert_eq(vpfn_write_direct(file, memory, LEN), -EFAULT);
	igt_assert_eq(vpfn_read_direct(file, memory, LEN), -EFAULT);
	vpfn_assert_level(fd, memory, VPFN_NONE);
	vpfn_view_check(view);
	vpfn_assert_level(fd, memory, level);

	igt_assert_eq(vpfn_file_compare(file, ordinary, LEN), 0);
	igt_assert_eq(vpfn_read_direct(file, ordinary, LEN), 0);
	vpfn_view_close(view);
	munmap(ordinary, LEN);
}

static void test_untouched_all(void)
{
	int file;

	vpfn_disk_remove(&disk);
	igt_require_f(!vpfn_disk_create(&disk), "no null_blk in configfs\n");
	file = open(disk.device, O_RDWR | O_DIRECT | O_CLOEXEC);
	igt_assert_lte(0, file);
	for_each_vpfn_level(level) {
		igt_dynamic(vpfn_level_name(level))
			test_untouched(file, level);
	}
	close(file);
	vpfn_disk_remove(&disk);
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		igt_install_exit_handler(remove_disk);
	}

	for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
		igt_describe(stores[i].describe);
		igt_subtest_with_dynamic(stores[i].name)
			test_store(&stores[i]);
	}

	igt_describe("Direct I/O refuses a mapping without any leaf, and installs none.");
	igt_subtest_with_dynamic("untouched")
		test_untouched_all();

	igt_fixture() {
		close(fd);
	}
}
