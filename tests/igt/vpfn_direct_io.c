// SPDX-License-Identifier: MIT
/*
 * Direct I/O pins the pages of a process and hands them to a disk. Device memory has no such
 * pages: the kernel must refuse, whatever the size of the leaf, and must not take the
 * device's page frame number for that of a page.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_consumer.h"
#include "vpfn_disk.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("O_DIRECT between a disk and mappings of device memory.");

/* More than a page, and in the middle of each leaf. */
#define LEN		(4 * VPFN_PAGE)
#define FILE_SEED	0xf11e

static int fd = -1;
static struct vpfn_views views;
static int file = -1;
static struct vpfn_disk disk;

static void remove_disk(int sig)
{
	(void)sig;
	if (file >= 0)
		close(file);
	file = -1;
	vpfn_disk_remove(&disk);
}

static void require_disk(void)
{
	igt_install_exit_handler(remove_disk);
	igt_require_f(!vpfn_disk_create(&disk),
		      "no null_blk in configfs (CONFIG_BLK_DEV_NULL_BLK, CONFIG_CONFIGFS_FS)\n");
}

static void open_block_device(int flags)
{
	file = open(disk.device, O_RDWR | O_CLOEXEC | flags);
	igt_assert(file >= 0);
}

static void open_ext4_file(int flags)
{
	char path[96];

	igt_require_f(disk.mount[0] || !vpfn_disk_mount(&disk, "ext4"),
		      "no ext4 (CONFIG_EXT4_FS, mkfs.ext4)\n");
	snprintf(path, sizeof(path), "%s/file", disk.mount);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	igt_assert(file >= 0);
}

static void close_file(void)
{
	close(file);
	file = -1;
}

/* The bytes of the file before the call under test: a pattern of its own. */
static uint64_t *set_file(void)
{
	struct vpfn_pattern pattern = { .seed = FILE_SEED, .size = LEN };
	uint64_t *bytes = vpfn_anonymous(LEN);

	igt_assert(bytes);
	vpfn_pattern_bytes(&pattern, bytes, LEN);
	igt_assert_eq(vpfn_file_set(file, bytes, LEN), 0);
	return bytes;
}

/* Memory of device and file as they were, and the leaf is still there. */
static void assert_untouched(struct vpfn_view *view, const void *file_bytes)
{
	vpfn_view_check(view);
	igt_assert_eq(vpfn_file_compare(file, file_bytes, LEN), 0);
	vpfn_assert_level(fd, view->map + vpfn_view_inside(view), view->level);
}

/* The same call on ordinary memory, with the same bytes, works. */
static void test_write(struct vpfn_view *view)
{
	char *memory = view->map + vpfn_view_inside(view);
	void *bytes = set_file(), *plain = vpfn_anonymous(LEN);

	igt_assert_eq(vpfn_write_direct(file, memory, LEN), -EFAULT);
	assert_untouched(view, bytes);

	igt_assert(plain);
	memcpy(plain, memory, LEN);
	igt_assert_eq(vpfn_write_direct(file, plain, LEN), 0);
	igt_assert_eq(vpfn_file_compare(file, memory, LEN), 0);
	munmap(plain, LEN);
	munmap(bytes, LEN);
}

static void test_read(struct vpfn_view *view)
{
	char *memory = view->map + vpfn_view_inside(view);
	void *bytes = set_file(), *plain = vpfn_anonymous(LEN);

	igt_assert_eq(vpfn_read_direct(file, memory, LEN), -EFAULT);
	assert_untouched(view, bytes);

	igt_assert(plain);
	igt_assert_eq(vpfn_read_direct(file, plain, LEN), 0);
	igt_assert(!memcmp(plain, bytes, LEN));
	munmap(plain, LEN);
	munmap(bytes, LEN);
}

/* A mapping that nobody has touched: the refusal does not depend on what is mapped. */
static void test_write_untouched(struct vpfn_view *view)
{
	char *memory = view->map + vpfn_view_inside(view);
	void *bytes = set_file();

	igt_assert_eq(vpfn_write_direct(file, memory, LEN), -EFAULT);
	igt_assert_eq(vpfn_read_direct(file, memory, LEN), -EFAULT);
	vpfn_assert_level(fd, memory, VPFN_NONE);
	vpfn_view_check(view);
	assert_untouched(view, bytes);

	igt_assert_eq(vpfn_write_direct(file, bytes, LEN), 0);
	munmap(bytes, LEN);
}

/*
 * A vector of ordinary memory and then the mapping stops between the two, or goes on
 * without direct I/O as block devices do: what the count says is what must have moved.
 */
struct vector {
	struct iovec iov[2];
	char *plain;		/* room for all of it */
	char *mapped;
	char *file;		/* the file's bytes before the call */
};

static void vector_init(struct vector *vector, struct vpfn_view *view)
{
	struct vpfn_pattern pattern = { .seed = FILE_SEED, .size = 2 * LEN };

	vector->plain = vpfn_anonymous(2 * LEN);
	vector->file = vpfn_anonymous(2 * LEN);
	igt_assert(vector->plain && vector->file);
	vector->mapped = view->map + vpfn_view_inside(view);
	vector->iov[0] = (struct iovec) { vector->plain, LEN };
	vector->iov[1] = (struct iovec) { vector->mapped, LEN };

	memset(vector->plain, 0x77, 2 * LEN);
	vpfn_pattern_bytes(&pattern, vector->file, 2 * LEN);
	igt_assert_eq(vpfn_file_set(file, vector->file, 2 * LEN), 0);
}

/* The positive control: the same vector with ordinary memory in both places. */
static void vector_fini(struct vector *vector,
			ssize_t (*call)(int fd, const struct iovec *iov, int count, off_t offset))
{
	vector->iov[1].iov_base = vector->plain + LEN;
	igt_assert_eq(call(file, vector->iov, 2, 0), 2 * LEN);
	igt_assert_eq(vpfn_file_compare(file, vector->plain, 2 * LEN), 0);
	munmap(vector->plain, 2 * LEN);
	munmap(vector->file, 2 * LEN);
}

/* How many bytes moved, and how many of those came from or went to the mapping. */
static size_t moved(ssize_t n, size_t *mapped)
{
	if (n < 0)
		igt_assert_eq(errno, EFAULT);
	igt_assert(n <= (ssize_t)(2 * LEN));
	n = n < 0 ? 0 : n;
	*mapped = n > (ssize_t)LEN ? n - LEN : 0;
	return n;
}

static void test_writev(struct vpfn_view *view)
{
	struct vector vector;
	char *after = vpfn_anonymous(2 * LEN);
	size_t n, mapped;

	igt_assert(after);
	vector_init(&vector, view);
	n = moved(pwritev(file, vector.iov, 2, 0), &mapped);
	igt_assert_eq(pread(file, after, 2 * LEN, 0), 2 * LEN);

	/* Of the ordinary part a failed call may have written some, of the mapping nothing. */
	igt_assert(!memcmp(after, vector.plain, n - mapped));
	igt_assert(!memcmp(after + LEN, vector.mapped, mapped));
	igt_assert(!memcmp(after + LEN + mapped, vector.file + LEN + mapped, LEN - mapped));
	vpfn_view_check(view);
	vpfn_assert_level(fd, vector.mapped, view->level);

	vector_fini(&vector, pwritev);
	munmap(after, 2 * LEN);
}

static void test_readv(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view), end;
	struct vector vector;
	size_t n, mapped;

	vector_init(&vector, view);
	n = moved(preadv(file, vector.iov, 2, 0), &mapped);
	igt_assert(!memcmp(vector.plain, vector.file, n - mapped));
	igt_assert(!memcmp(vector.mapped, vector.file + LEN, mapped));
	igt_assert_eq(vpfn_file_compare(file, vector.file, 2 * LEN), 0);

	/* Around what was read nothing has changed. */
	vpfn_view_check_at(view, view->map, 0, inside);
	end = inside + (mapped + VPFN_PAGE - 1) / VPFN_PAGE * VPFN_PAGE;
	vpfn_view_check_at(view, view->map, end, view->bo.size);
	vpfn_assert_level(fd, vector.mapped, view->level);
	vector_fini(&vector, preadv);
}

/* What to do instead: without O_DIRECT the kernel copies, and both directions work. */
static void test_buffered(struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);
	char *memory = view->map + inside;
	void *bytes = set_file();

	igt_assert_eq(pread(file, memory, LEN, 0), LEN);
	igt_assert_eq(vpfn_file_compare(file, memory, LEN), 0);
	igt_assert(!memcmp(memory, bytes, LEN));

	vpfn_view_refill(view);
	igt_assert_eq(pwrite(file, memory, LEN, 0), LEN);
	igt_assert_eq(vpfn_file_compare(file, memory, LEN), 0);
	igt_assert(memcmp(memory, bytes, LEN));
	assert_untouched(view, memory);
	munmap(bytes, LEN);
}

static const struct {
	const char *name;
	void (*open)(int flags);
} targets[] = {
	{ "block", open_block_device },
	{ "ext4", open_ext4_file },
};

static const struct {
	const char *name;
	const char *describe;
	int flags;
	void (*run)(struct vpfn_view *view);
	bool untouched;
} tests[] = {
	{ "write", "A direct write from the mapping is refused and changes nothing.",
	  O_DIRECT, test_write, false },
	{ "read", "A direct read into the mapping is refused and changes nothing.",
	  O_DIRECT, test_read, false },
	{ "untouched", "Direct I/O refuses a mapping without any leaf, and installs none.",
	  O_DIRECT, test_write_untouched, true },
	{ "writev", "A direct write of ordinary memory, then the mapping, stops between them.",
	  O_DIRECT, test_writev, false },
	{ "readv", "A direct read into ordinary memory, then the mapping, stops between them.",
	  O_DIRECT, test_readv, false },
	{ "buffered", "Buffered reads and writes of the mapping work.",
	  0, test_buffered, false },
};

static void run_test(unsigned int target, unsigned int test, enum vpfn_level level)
{
	struct vpfn_view *view = &views.of[level];

	/* A test that failed has left its file open. */
	if (file >= 0)
		close_file();
	targets[target].open(tests[test].flags);
	if (tests[test].untouched)
		vpfn_view_open_untouched(view, fd, level);
	else
		vpfn_view_renew(view);
	tests[test].run(view);
	vpfn_view_close(view);
	close_file();
}

static void subtests_on(unsigned int target)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest_with_dynamic_f("%s-%s", targets[target].name, tests[i].name) {
			if (!tests[i].untouched)
				vpfn_views_open(&views, fd);
			for_each_vpfn_level(level) {
				igt_dynamic(vpfn_level_name(level))
					run_test(target, i, level);
			}
		}
	}
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		require_disk();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(targets); i++)
		subtests_on(i);

	igt_fixture() {
		close(fd);
	}
}
