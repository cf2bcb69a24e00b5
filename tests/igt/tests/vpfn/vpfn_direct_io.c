// SPDX-License-Identifier: MIT
/*
 * Direct I/O pins the pages of a process and hands them to a disk. Device memory has no such
 * pages: the kernel must refuse, whatever the size of the leaf, and must not take the
 * device's page frame number for that of a page. Where it copies instead, the bytes must be right.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_direct.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_lend.h"
#include "vpfn/vpfn_source.h"
#include "vpfn/vpfn_trace.h"

IGT_TEST_DESCRIPTION("I/O between disks, file systems and mappings of device memory.");

#define MATRIX		"vpfn_direct_io"
#define LEN		PFNMAP_TARGET_LEN
#define MAX_USERS	32

static int fd = -1;
static struct pfnmap_disk disk;

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
	int (*create)(struct pfnmap_disk *disk);	/* NULL if there is no disk */
	const char *type;			/* of the file system, NULL if there is none */
	const char *needs;
	bool reads_copy;			/* O_DIRECT reads go through the page cache */
	bool writes_copy;
	const char *without[4];			/* users who have no definite answer, or no sense */
	struct exception exceptions[8];		/* the first without a name ends them */
};

static int create_stable(struct pfnmap_disk *stable)
{
	return pfnmap_disk_create(stable) ?: pfnmap_disk_want_stable_writes(stable);
}

/*
 * Of a vector that begins in ordinary memory, a block device moves that part and hands what is
 * left to the page cache: blkdev_write_iter() and blkdev_read_iter(), block/fops.c.
 */
#define BLOCK_EXCEPTIONS	{ { "readv-last", 0, 0 }, { "writev-last", 0, 0 } }

/* A disk has neither holes nor an end that moves. */
#define BLOCK_WITHOUT		{ "read-hole", "write-append" }

/*
 * Before the memory is looked up, a write of a file answers EAGAIN to RWF_NOWAIT if a clock
 * has ticked, so that the file's times must change: generic_update_time(), fs/inode.c, or the
 * file system's own, xfs_vn_update_time() and btrfs_update_time().
 */
#define FILE_WITHOUT		{ "write-nowait" }

static const struct store stores[] = {
	{
		.name = "block",
		.describe = "A raw disk refuses direct I/O of the mapping, and copies otherwise.",
		.create = pfnmap_disk_create,
		.needs = "CONFIG_BLK_DEV_NULL_BLK, CONFIG_CONFIGFS_FS",
		.without = BLOCK_WITHOUT,
		.exceptions = BLOCK_EXCEPTIONS,
	}, {
		.name = "loop",
		.describe = "A loop device refuses direct I/O of the mapping, and copies otherwise.",
		.create = pfnmap_disk_create_loop,
		.needs = "CONFIG_BLK_DEV_LOOP",
		.without = BLOCK_WITHOUT,
		.exceptions = BLOCK_EXCEPTIONS,
	}, {
		.name = "ext4",
		.describe = "ext4 refuses direct I/O of the mapping, and copies otherwise.",
		.create = pfnmap_disk_create,
		.type = "ext4",
		.needs = "CONFIG_EXT4_FS, mkfs.ext4",
		.without = FILE_WITHOUT,
	}, {
		.name = "xfs",
		.describe = "XFS refuses direct I/O of the mapping, and copies otherwise.",
		.create = pfnmap_disk_create,
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
		.create = pfnmap_disk_create,
		.type = "btrfs",
		.needs = "CONFIG_BTRFS_FS, mkfs.btrfs",
		.without = FILE_WITHOUT,
		.reads_copy = true,
		.writes_copy = true,
		.exceptions = {
			/* It is more than a page: btrfs_dio_iomap_begin(). */
			{ "read-nowait", -EAGAIN, -EAGAIN },
			/* No FOP_DONTCACHE: kiocb_set_rw_flags(), include/linux/fs.h. */
			{ "uncached-read", -EOPNOTSUPP, -EOPNOTSUPP },
			{ "uncached-write", -EOPNOTSUPP, -EOPNOTSUPP },
		},
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
			/* Nor has it FOP_DONTCACHE. */
			{ "uncached-read", -EOPNOTSUPP, -EOPNOTSUPP },
			{ "uncached-write", -EOPNOTSUPP, -EOPNOTSUPP },
		},
	},
};

static void remove_disk(int sig)
{
	(void)sig;
	pfnmap_disk_remove(&disk);
}

static int make_file(const struct store *store)
{
	char path[96];
	int err = store->create ? store->create(&disk) : 0;

	if (!err && store->type)
		err = pfnmap_disk_mount(&disk, store->type);
	if (err)
		return err;

	if (store->type)
		snprintf(path, sizeof(path), "%s/file", disk.mount);
	else
		snprintf(path, sizeof(path), "%s", disk.device);
	return pfnmap_io_set_file(path);
}

static bool copies(const struct store *store, const struct pfnmap_user *user)
{
	switch (pfnmap_io_kind_of(user)) {
	case PFNMAP_IO_READ:
		return store->reads_copy;
	case PFNMAP_IO_WRITE:
		return store->writes_copy;
	default:
		return false;
	}
}

static void expect(const struct store *store, struct pfnmap_user *user)
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

static bool has(const struct store *store, const struct pfnmap_user *user)
{
	for (const char *const *name = store->without; *name; name++) {
		if (!strcmp(*name, user->name))
			return false;
	}
	return true;
}

/* The users of a store, each with a row and the answers of its own. */
static size_t users_of(const struct store *store, struct pfnmap_user users[])
{
	static char rows[MAX_USERS][48];
	size_t n = 0;

	igt_assert_lte(pfnmap_io_user_count, MAX_USERS);
	for (size_t i = 0; i < pfnmap_io_user_count; i++) {
		struct pfnmap_user *user = &users[n];

		if (!has(store, &pfnmap_io_users[i]))
			continue;

		*user = pfnmap_io_users[i];
		expect(store, user);
		snprintf(rows[n], sizeof(rows[n]), "%s %s", store->name, user->name);
		user->name = rows[n++];
	}
	return n;
}

static void test_store(const struct store *store)
{
	struct pfnmap_user users[MAX_USERS];
	const struct pfnmap_user_family family = {
		.users = users,
		.count = users_of(store, users),
	};

	/* A test that failed has left its own. */
	pfnmap_disk_remove(&disk);
	igt_require_f(!make_file(store), "no %s (%s)\n", store->name, store->needs);
	pfnmap_matrix_ask(&(struct pfnmap_group) { .matrix = MATRIX }, &family);
	pfnmap_disk_remove(&disk);
}

/* An untouched mapping: the refusal does not depend on what is mapped. */
static void test_untouched(int file, enum vpfn_level level)
{
	void *ordinary = pfnmap_anonymous(LEN);
	struct vpfn_view view;
	char *memory;

	igt_assert(ordinary);
	vpfn_view_open_untouched(&view, fd, level);
	memory = view.map + vpfn_view_inside(&view);
	memset(ordinary, 0x77, LEN);
	igt_assert_eq(pfnmap_file_set(file, ordinary, LEN), 0);

	igt_assert_eq(pfnmap_write_direct(file, memory, LEN), -EFAULT);
	igt_assert_eq(pfnmap_read_direct(file, memory, LEN), -EFAULT);
	vpfn_assert_level(fd, memory, VPFN_NONE);
	vpfn_view_check(&view);
	vpfn_assert_level(fd, memory, level);

	igt_assert_eq(pfnmap_file_compare(file, ordinary, LEN), 0);
	igt_assert_eq(pfnmap_read_direct(file, ordinary, LEN), 0);
	vpfn_view_close(&view);
	munmap(ordinary, LEN);
}

static void test_untouched_all(void)
{
	int file;

	pfnmap_disk_remove(&disk);
	igt_require_f(!pfnmap_disk_create(&disk), "no null_blk in configfs\n");
	file = open(disk.device, O_RDWR | O_DIRECT | O_CLOEXEC);
	igt_assert_lte(0, file);
	for_each_vpfn_level(level) {
		igt_dynamic(vpfn_level_name(level))
			test_untouched(file, level);
	}
	close(file);
	pfnmap_disk_remove(&disk);
}

/*
 * A program that knows nothing of the device: fio takes its I/O memory from a file that it maps,
 * from offset 0 on. No path leads to a mapping of a buffer: a DRM file needs the buffer's offset,
 * a dma-buf cannot be opened through /proc/PID/fd (its inode has no_open_fops), and sysfs maps
 * the BAR by remap_pfn_range() and without the driver. So fio is given its mapping by a debugger.
 */
#define FIO_MEMORY	"/tmp/vpfn-fio-memory"
#define FIO_REPORT	"/tmp/vpfn-fio-report"
#define FIO_BLOCKS	8
#define FIO_JOBS	3

/* They are read and written by O_DIRECT; and through the page cache. */
static char fio_direct_file[96], fio_buffered_file[96];

/*
 * What fio verifies it has written through the memory, and reads back into it. It does so last:
 * the memory then holds what it has read last.
 */
static const char * const fio[] = {
	"fio", "--ioengine=psync", "--mem=mmapshared:" FIO_MEMORY, "--bs=16k", "--size=128k",
	"--fallocate=none", "--verify_state_save=0", "--disk_util=0", "--output-format=json",
	"--output=" FIO_REPORT, "--stonewall",
	"--name=write", "--filename", fio_direct_file, "--direct=1", "--rw=write",
	"--name=read", "--filename", fio_direct_file, "--direct=1", "--rw=read",
	"--name=verify", "--filename", fio_buffered_file, "--rw=write", "--verify=crc32c",
	"--verify_fatal=1", NULL,
};

static void remove_fio_files(int sig)
{
	(void)sig;
	unlink(FIO_MEMORY);
	unlink(FIO_REPORT);
}

/* How did each of the jobs end? */
static void read_fio_report(int errors[FIO_JOBS])
{
	static const char key[] = "\"error\" : ";
	FILE *report = fopen(FIO_REPORT, "r");
	unsigned int n = 0;
	char line[256];

	igt_assert(report);
	while (fgets(line, sizeof(line), report)) {
		const char *found = strstr(line, key);

		if (found && n++ < FIO_JOBS)
			errors[n - 1] = atoi(found + strlen(key));
	}
	fclose(report);
	igt_assert_eq(n, FIO_JOBS);
}

/* The page faults of fio on its memory. */
struct fio_faults {
	const struct vpfn_loan *loan;
	long order;
	unsigned int right, wrong;
};

static void look_at_fault(const char *line, void *arg)
{
	struct fio_faults *faults = arg;
	uintptr_t address = vpfn_trace_number(line, "address=");
	long order = vpfn_trace_number(line, "order=");

	if (!strstr(line, "result=NOPAGE"))
		return;

	for (unsigned int i = 0; i < FIO_JOBS; i++) {
		if (address - faults->loan->at[i] >= faults->loan->len)
			continue;
		if (order == faults->order)
			faults->right++;
		else
			faults->wrong++;
	}
}

/* The job that reads never touches its memory. */
static void assert_fio_leaves(const struct vpfn_loan *loan, enum vpfn_level level)
{
	static const long orders[] = { [VPFN_PTE] = 0, [VPFN_PMD] = 9, [VPFN_PUD] = 18 };
	struct fio_faults faults = { .loan = loan, .order = orders[level] };

	vpfn_trace_lines("vpfn_fault", look_at_fault, &faults);
	igt_assert_eq(faults.wrong, 0);
	igt_assert_lte(2, faults.right);
}

/* Block @n of a file, not seen by way of the page cache. */
static void read_block(const char *path, int n, void *bytes)
{
	int file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	igt_assert_lte(0, file);
	igt_assert_eq(pread(file, bytes, LEN, n * LEN), LEN);
	close(file);
}

/* The same bytes in each block of a file. */
static void set_blocks(const char *path, const void *bytes)
{
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);

	igt_assert_lte(0, file);
	for (int n = 0; n < FIO_BLOCKS; n++)
		igt_assert_eq(pwrite(file, bytes, LEN, n * LEN), LEN);
	close(file);
}

static unsigned int blocks_that_are(const char *path, const void *bytes)
{
	void *block = pfnmap_anonymous(LEN);
	unsigned int same = 0;

	igt_assert(block);
	for (int n = 0; n < FIO_BLOCKS; n++) {
		read_block(path, n, block);
		same += !memcmp(block, bytes, LEN);
	}
	munmap(block, LEN);
	return same;
}

/* Each job with its answer, all of them different from what the files hold before. */
static void run_fio(struct vpfn_loan *loan, const char *where, const void *bytes,
		    int errors[FIO_JOBS])
{
	static const char *const rows[FIO_JOBS] = { "fio write", "fio read", "fio verify" };
	int status;

	set_blocks(fio_direct_file, bytes);
	set_blocks(fio_buffered_file, bytes);
	vpfn_trace_clear();
	igt_assert_eq(vpfn_lend(fio, loan, &status), 0);
	igt_assert(WIFEXITED(status));
	igt_assert_eq(loan->count, loan->wanted);

	read_fio_report(errors);
	for (unsigned int i = 0; i < FIO_JOBS; i++)
		pfnmap_matrix_cell(MATRIX, rows[i], where, pfnmap_answer_name(-errors[i]));
	igt_assert_eq(blocks_that_are(fio_buffered_file, bytes), 0);
}

/* With ordinary memory, that of the file itself, all jobs work. */
static void test_fio_on_ordinary(const void *bytes)
{
	struct vpfn_loan nothing = { .file = FIO_MEMORY, .fd = fd };
	int errors[FIO_JOBS];

	run_fio(&nothing, "ordinary", bytes, errors);
	for (unsigned int i = 0; i < FIO_JOBS; i++)
		igt_assert_eq(errors[i], 0);
	igt_assert_eq(blocks_that_are(fio_direct_file, bytes), 0);
}

/* The last block that fio has read is where the engine finds it, and nowhere else. */
static void check_fio_memory(const struct vpfn_view *view)
{
	void *block = pfnmap_anonymous(LEN);
	uint32_t crc;

	igt_assert(block);
	read_block(fio_buffered_file, FIO_BLOCKS - 1, block);
	igt_assert_eq(vpfn_crc(fd, &view->bo, 0, LEN, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(block, LEN));
	munmap(block, LEN);

	/* For O_DIRECT fio wants a page more. */
	vpfn_view_check_at(view, view->map, LEN + PFNMAP_PAGE, view->bo.size);
}

static void test_fio_in_place(const struct pfnmap_source *source, const void *bytes)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	struct vpfn_loan loan = {
		.file = FIO_MEMORY,
		.fd = fd,
		.offset = view->bo.offset,
		.len = view->bo.size,
		.wanted = FIO_JOBS,
	};
	int errors[FIO_JOBS];

	run_fio(&loan, source->name, bytes, errors);
	igt_assert_eq(errors[0], EFAULT);
	igt_assert_eq(errors[1], EFAULT);
	igt_assert_eq(errors[2], 0);
	igt_assert_eq(blocks_that_are(fio_direct_file, bytes), FIO_BLOCKS);
	check_fio_memory(view);
	assert_fio_leaves(&loan, view->level);
}

static void make_fio_files(void)
{
	int memory;

	pfnmap_disk_remove(&disk);
	igt_require_f(!pfnmap_shell("fio --version >/dev/null"), "no fio\n");
	igt_require_f(!pfnmap_disk_create(&disk) && !pfnmap_disk_mount(&disk, "ext4"),
		      "no ext4 on null_blk\n");
	snprintf(fio_direct_file, sizeof(fio_direct_file), "%s/direct", disk.mount);
	snprintf(fio_buffered_file, sizeof(fio_buffered_file), "%s/buffered", disk.mount);

	igt_install_exit_handler(remove_fio_files);
	memory = open(FIO_MEMORY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	igt_assert_lte(0, memory);
	igt_assert_eq(ftruncate(memory, 2 * LEN), 0);
	close(memory);
}

static void test_fio(void)
{
	void *bytes = pfnmap_anonymous(LEN);

	igt_assert(bytes);
	memset(bytes, 0x77, LEN);
	make_fio_files();
	vpfn_trace_begin("vpfn_fault");
	igt_dynamic("ordinary")
		test_fio_on_ordinary(bytes);

	for_each_pfnmap_source(source) {
		igt_dynamic(source->name)
			test_fio_in_place(pfnmap_source_renew(source), bytes);
	}
	pfnmap_disk_remove(&disk);
	munmap(bytes, LEN);
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
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

	igt_describe("fio verifies what it writes and reads by way of the mapping, not by O_DIRECT.");
	igt_subtest_with_dynamic("fio")
		test_fio();

	igt_fixture() {
		close(fd);
	}
}
