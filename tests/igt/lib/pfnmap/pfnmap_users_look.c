// SPDX-License-Identifier: MIT
/*
 * Users of user memory: those who look at the mappings of a process, and those who want to be told
 * what happens there.
 *
 * On what would a broken test pass? Most of them see nothing where there are special entries, and
 * so does whoever looks at the wrong place: so each has to see ordinary memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_mm_uapi.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_vma.h"

#define LEN	PFNMAP_TARGET_LEN
#define PAGES	(LEN / PFNMAP_PAGE)

#define PAGEMAP_PRESENT		(1ull << 63)
#define PAGEMAP_SOFT_DIRTY	(1ull << 55)
#define PAGEMAP_PFN		((1ull << 55) - 1)

/* All of it, nothing of it, or something unexpected. */
static int seen(unsigned int pages)
{
	if (!pages)
		return PFNMAP_UNSEEN;
	return pages == PAGES ? 0 : -EPROTO;
}

/* mincore_pud_entry() and mincore_pte_range() look at the entries themselves, so they see them. */
static int ask_mincore(const struct pfnmap_target *target)
{
	unsigned char pages[PAGES];
	unsigned int n = 0;

	memset(pages, 0xff, sizeof(pages));
	if (mincore(target->addr, LEN, pages))
		return -errno;

	for (unsigned int i = 0; i < PAGES; i++) {
		if (pages[i] > 1)
			return -EPROTO;
		n += pages[i];
	}
	return seen(n);
}

static int read_pagemap(const struct pfnmap_target *target, uint64_t entries[PAGES])
{
	const size_t size = PAGES * sizeof(entries[0]);
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (file < 0)
		return -errno;

	n = pread(file, entries, size, (uintptr_t)target->addr / PFNMAP_PAGE * sizeof(entries[0]));
	close(file);
	return n == (ssize_t)size ? 0 : -ENODATA;
}

/* walk_page_test(): a hole, for walkers without a test_walk(). No frame number is told. */
static int ask_pagemap(const struct pfnmap_target *target)
{
	uint64_t entries[PAGES];
	unsigned int n = 0;
	int err = read_pagemap(target, entries);

	if (err)
		return err;

	for (unsigned int i = 0; i < PAGES; i++) {
		if (entries[i] & PAGEMAP_PRESENT && entries[i] & PAGEMAP_PFN)
			n++;
		else if (entries[i] & ~PAGEMAP_SOFT_DIRTY)
			return -EPROTO;
	}
	return seen(n);
}

/* smaps and numa_maps: no page behind a special entry. They split a leaf of 1 GiB. */
static int read_smaps(const struct pfnmap_target *target, const void *arg)
{
	struct pfnmap_vma vma;
	int err = pfnmap_vma_read(target->addr, &vma);

	(void)arg;
	if (err)
		return err;
	if (!vma.rss)
		return vma.pss || vma.referenced ? -EPROTO : PFNMAP_UNSEEN;
	return vma.rss >= (long)LEN / 1024 ? 0 : -EPROTO;
}

/* "START POLICY file=... mapped=N N0=N kernelpagesize_kB=4", the end if there are pages */
static int read_numa_maps(const struct pfnmap_target *target, const void *arg)
{
	struct pfnmap_vma vma;
	int err = pfnmap_vma_read(target->addr, &vma);
	unsigned long long start;
	char line[512];
	FILE *file;

	(void)arg;
	if (err)
		return err;

	file = fopen("/proc/self/numa_maps", "r");
	if (!file)
		return -ENODEV;

	err = -EPROTO;
	while (err == -EPROTO && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx ", &start) == 1 && start == vma.start)
			err = strstr(line, "kernelpagesize_kB=") ? 0 : PFNMAP_UNSEEN;
	}
	fclose(file);
	return err;
}

/* Writes to clear_refs: what has been touched, or written, from now on? */
static int clear(const char *what)
{
	int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC), err;

	if (file < 0)
		return -errno;

	err = pfnmap_answer_of(write(file, what, 1));
	close(file);
	return err;
}

static void touch(const struct pfnmap_target *target)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		char *page = target->addr + i * PFNMAP_PAGE;

		pfnmap_store(page, pfnmap_load(page));
	}
}

static int count_soft_dirty(const struct pfnmap_target *target)
{
	uint64_t entries[PAGES];
	int n = 0, err = read_pagemap(target, entries);

	if (err)
		return err;

	for (unsigned int i = 0; i < PAGES; i++)
		n += !!(entries[i] & PAGEMAP_SOFT_DIRTY);
	return n;
}

/*
 * clear_refs_test_walk() skips VM_PFNMAP, so that nothing tells of a write after that; but leaves
 * that are installed from then on are read-only until the first write.
 */
static int track_writes(const struct pfnmap_target *target, const void *arg)
{
	char before[LEN];
	int n, err;

	(void)arg;
	touch(target);
	err = target->peek(target, before);
	if (err)
		return err;
	n = count_soft_dirty(target);
	if (n != PAGES)
		return n < 0 ? n : -ENODEV;

	err = clear("4") ?: pfnmap_target_kept(target);
	if (err)
		return err;
	n = count_soft_dirty(target);
	if (n)
		return n < 0 ? n : -EPROTO;

	touch(target);
	err = pfnmap_target_matches(target, before) ?: pfnmap_target_kept(target);
	n = count_soft_dirty(target);
	return err ?: n < 0 ? n : seen(n);
}

/*
 * By the young bits of entries and pages: nobody looks for those of special entries. That memory is
 * touched again shows once its entry has left the TLB, so it is not waited for.
 */
static int forget_accesses(const struct pfnmap_target *target, const void *arg)
{
	char before[LEN];
	struct pfnmap_vma vma;
	long referenced;
	int err;

	(void)arg;
	touch(target);
	err = target->peek(target, before) ?: pfnmap_vma_read(target->addr, &vma);
	if (err)
		return err;

	referenced = vma.referenced;
	err = clear("1") ?: pfnmap_vma_read(target->addr, &vma) ?:
	      pfnmap_target_matches(target, before) ?: pfnmap_target_kept(target);
	if (err || !referenced)
		return err ?: PFNMAP_UNSEEN;
	return vma.referenced + (long)LEN / 1024 <= referenced ? 0 : -EPROTO;
}

/* userfaultfd: vma_can_userfault() refuses VM_SPECIAL, whatever the mode */

struct mode {
	uint64_t mode;
	uint64_t features;
	const char *flag;	/* of a mapping that has it */
};

static int open_userfaultfd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -ENODEV;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;

	close(fd);
	return -ENODEV;
}

static int register_range(int fd, const void *addr, uint64_t mode)
{
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)addr, .len = LEN },
		.mode = mode,
	};

	return pfnmap_answer_of(ioctl(fd, UFFDIO_REGISTER, &range));
}

/* To close the file takes the registration back. */
static int register_target(const struct pfnmap_target *target, const void *arg)
{
	const struct mode *mode = arg;
	int fd = open_userfaultfd(mode->features), err;

	if (fd < 0)
		return fd;

	err = register_range(fd, target->addr, mode->mode);
	if (!err && pfnmap_vma_flag(target->addr, mode->flag) != 1)
		err = -EPROTO;
	close(fd);
	return err;
}

static int move_to(const struct pfnmap_target *target, int fd, char *to)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)target->addr,
		.len = LEN,
	};
	char before[LEN], zeroes[LEN] = {};
	int err = target->peek(target, before) ?:
		  register_range(fd, to, UFFDIO_REGISTER_MODE_MISSING);

	if (err)
		return err;
	if (ioctl(fd, UFFDIO_MOVE, &move))
		return -errno;
	return memcmp(to, before, LEN) ? -EBADMSG : pfnmap_target_matches(target, zeroes);
}

/* The pages of the target become those of ordinary memory elsewhere. */
static int move_target(const struct pfnmap_target *target)
{
	void *to = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open_userfaultfd(UFFD_FEATURE_MOVE), err;

	if (fd >= 0 && to != MAP_FAILED)
		err = move_to(target, fd, to);
	else
		err = fd < 0 ? fd : -ENOMEM;
	if (fd >= 0)
		close(fd);
	if (to != MAP_FAILED)
		munmap(to, LEN);
	return err;
}

/* PAGEMAP_SCAN: pagemap_scan_test_walk() skips VM_PFNMAP, if it gets as far as that */

struct scan {
	uint64_t flags;
	uint64_t category;
};

static long scan_target(const struct pfnmap_target *target, const struct scan *scan,
			struct page_region *region)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = scan->flags,
		.start = (uintptr_t)target->addr,
		.end = (uintptr_t)target->addr + LEN,
		.vec = (uintptr_t)region,
		.vec_len = 1,
		.category_mask = scan->category,
		.return_mask = scan->category,
	};
	long regions;

	if (file < 0)
		return -errno;

	regions = ioctl(file, PAGEMAP_SCAN, &arg);
	if (regions < 0)
		regions = -errno;
	close(file);
	return regions;
}

static int scan_pages(const struct pfnmap_target *target, const void *arg)
{
	const struct scan *scan = arg;
	struct page_region region = {};
	long regions = scan_target(target, scan, &region);

	if (regions <= 0)
		return regions ?: PFNMAP_UNSEEN;
	return region.start == (uintptr_t)target->addr && region.end == region.start + LEN ?
	       0 : -EPROTO;
}

/* Of memory that is registered for it, if it can be. */
static int scan_writes(const struct pfnmap_target *target, const void *arg)
{
	int fd = open_userfaultfd(UFFD_FEATURE_WP_ASYNC), answer;

	if (fd < 0)
		return fd;

	register_range(fd, target->addr, UFFDIO_REGISTER_MODE_WP);
	answer = scan_pages(target, arg);
	close(fd);
	return answer;
}

#define REGISTER(how, features, shows)					\
	.on_special = -EINVAL, .call = register_target,			\
	.arg = &(const struct mode) { how, features, shows }
#define SCAN_WRITES(how)						\
	.needs = "CONFIG_PTE_MARKER_UFFD_WP", .call = scan_writes,	\
	.arg = &(const struct scan) { how, PAGE_IS_WRITTEN }

#define CHILD(call_)	.call = call_, .in_child = true

static const struct pfnmap_user proc_users[] = {
	{ .name = "mincore", .run = ask_mincore },
	{ .name = "/proc/pid/pagemap", .on_special = PFNMAP_UNSEEN, .run = ask_pagemap },
	{ .name = "PAGEMAP_SCAN", .on_special = PFNMAP_UNSEEN, .call = scan_pages,
	  .arg = &(const struct scan) { 0, PAGE_IS_PRESENT } },
	{ .name = "/proc/pid/smaps", .on_special = PFNMAP_UNSEEN, CHILD(read_smaps) },
	{ .name = "/proc/pid/numa_maps", .on_special = PFNMAP_UNSEEN, CHILD(read_numa_maps) },
	{ .name = "/proc/pid/clear_refs 1", .on_special = PFNMAP_UNSEEN, CHILD(forget_accesses) },
	{ .name = "/proc/pid/clear_refs 4", .on_special = PFNMAP_UNSEEN,
	  .needs = "CONFIG_MEM_SOFT_DIRTY", CHILD(track_writes) },
};

static const struct pfnmap_user userfaultfd_users[] = {
	{ .name = "UFFDIO_REGISTER MISSING",
	  REGISTER(UFFDIO_REGISTER_MODE_MISSING, 0, "um") },
	{ .name = "UFFDIO_REGISTER WP", REGISTER(UFFDIO_REGISTER_MODE_WP, 0, "uw") },
	/* Anonymous memory has no page cache in which a page could be already. */
	{ .name = "UFFDIO_REGISTER MINOR", .ordinary = pfnmap_target_shared,
	  REGISTER(UFFDIO_REGISTER_MODE_MINOR, UFFD_FEATURE_MINOR_SHMEM, "ui") },
	{ .name = "UFFDIO_REGISTER RWP", .needs = "CONFIG_USERFAULTFD_RWP",
	  REGISTER(UFFDIO_REGISTER_MODE_RWP, UFFD_FEATURE_RWP, "ur") },
	{ .name = "UFFDIO_MOVE", .on_special = -EINVAL, .run = move_target },
};

/* Who tracks writes has them protected, and unprotected by the first one, by the kernel itself. */
static const struct pfnmap_user write_tracking_users[] = {
	{ .name = "UFFDIO_REGISTER WP, UFFD_FEATURE_WP_ASYNC", .needs = "CONFIG_PTE_MARKER_UFFD_WP",
	  REGISTER(UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_WP_ASYNC, "uw") },
	{ .name = "PAGEMAP_SCAN PM_SCAN_WP_MATCHING", .on_special = PFNMAP_UNSEEN,
	  SCAN_WRITES(PM_SCAN_WP_MATCHING) },
	{ .name = "PAGEMAP_SCAN PM_SCAN_CHECK_WPASYNC", .on_special = -EPERM,
	  SCAN_WRITES(PM_SCAN_CHECK_WPASYNC) },
	{ .name = "PAGEMAP_SCAN PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC",
	  .on_special = -EPERM,
	  SCAN_WRITES(PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC) },
};

const struct pfnmap_user_family pfnmap_look_families[] = {
	PFNMAP_FAMILY("proc", "Who looks at a mapping sees no pages there, but for mincore().",
		      proc_users),
	PFNMAP_FAMILY("userfaultfd", "No faults are given to user space, and no pages moved.",
		      userfaultfd_users),
	PFNMAP_FAMILY("write-tracking", "No writes are tracked for PAGEMAP_SCAN.",
		      write_tracking_users),
};

const size_t pfnmap_look_family_count = ARRAY_SIZE(pfnmap_look_families);
