// SPDX-License-Identifier: MIT
/*
 * Users of user memory: madvise() and process_madvise(). What pfnmap_users_mm.c says of calls that
 * fail, do nothing or are half done holds for them, too.
 */
#include <errno.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_mm_uapi.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_target.h"
#include "pfnmap/pfnmap_users_madvise.h"
#include "pfnmap/pfnmap_vma.h"

#define LEN	PFNMAP_TARGET_LEN

/* What a call that succeeds leaves of the bytes. */
enum effect {
	KEEPS,
	ZEROES,
	LOSES,		/* when it suits the kernel, at an unknown time */
	GUARDS,		/* access ends in a signal, and then there are zeroes */
	JOINS,		/* and a huge page has them, of the whole mapping */
};

static int check_zeroes(const struct pfnmap_target *target)
{
	char zeroes[LEN] = {};

	return pfnmap_target_matches(target, zeroes);
}

static int check_guards(const struct pfnmap_target *target)
{
	if (pfnmap_signal_of(target->addr, PFNMAP_READ) != SIGSEGV ||
	    pfnmap_signal_of(target->addr + LEN - PFNMAP_PAGE, PFNMAP_WRITE) != SIGSEGV)
		return -EPROTO;

	return pfnmap_answer_of(madvise(target->addr, LEN, MADV_GUARD_REMOVE)) ?:
	       check_zeroes(target);
}

static int check_joined(const struct pfnmap_target *target, const void *before)
{
	struct pfnmap_vma vma;
	int err = pfnmap_target_matches(target, before) ?: pfnmap_vma_read(target->addr, &vma);

	if (err)
		return err;
	return vma.anon_huge * 1024 >= (long)PFNMAP_2M ? 0 : PFNMAP_IGNORED;
}

static int check_effect(const struct pfnmap_target *target, enum effect effect, const void *before)
{
	switch (effect) {
	case KEEPS:
		return pfnmap_target_matches(target, before);
	case ZEROES:
		return check_zeroes(target);
	case GUARDS:
		return check_guards(target);
	case JOINS:
		return check_joined(target, before);
	case LOSES:
		break;
	}
	return 0;
}

/* madvise() and process_madvise() whose advice is about the memory */

enum adviser {
	BY_MADVISE,
	BY_PROCESS,	/* process_madvise() */
	BY_CHILD,	/* by that, a child its parent */
};

struct advice {
	enum adviser by;
	int advice;
	enum effect effect;
};

static int process_advise(pid_t pid, char *addr, size_t len, int advice)
{
	struct iovec iov = { addr, len };
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	long done;
	int err;

	if (pidfd < 0)
		return -errno;

	done = syscall(SYS_process_madvise, pidfd, &iov, 1, advice, 0);
	err = done < 0 ? -errno : 0;
	close(pidfd);
	if (err)
		return err;
	return done == (long)len ? 0 : -ENODATA;
}

/* A range that is smaller than a huge page is none to join: the kernel says 0. */
static int give_advice(const struct pfnmap_target *target, const void *arg)
{
	const struct advice *advice = arg;
	char *addr = advice->effect == JOINS ? target->map : target->addr;
	size_t len = advice->effect == JOINS ? target->map_len : LEN;

	if (advice->by == BY_MADVISE)
		return pfnmap_answer_of(madvise(addr, len, advice->advice));
	return process_advise(advice->by == BY_CHILD ? getppid() : getpid(), addr, len,
			      advice->advice);
}

static int advise(const struct pfnmap_target *target, const void *arg)
{
	const struct advice *advice = arg;
	char before[LEN];
	int err = target->peek(target, before);

	if (!err)
		err = advice->by == BY_CHILD ? pfnmap_target_in_child(target, give_advice, arg) :
					       give_advice(target, arg);
	return err ?: check_effect(target, advice->effect, before);
}

/* Memory that the kernel could map by a huge page has room for one. */
static int huge_target(struct pfnmap_target *target)
{
	int err = pfnmap_target_anonymous(target);
	void *map;

	if (err)
		return err;

	munmap(target->map, target->map_len);
	err = pfnmap_reserve(PFNMAP_2M, PFNMAP_2M, &map);
	if (err)
		return err;

	if (mmap(map, PFNMAP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		return -errno;
	target->map = map;
	target->map_len = PFNMAP_2M;
	target->addr = target->map + PFNMAP_2M / 2;
	return 0;
}

/* madvise() whose advice is about the mapping: a flag of it */

struct advised_flag {
	int advice;
	const char *flag;
	bool set;
	int opposite;	/* which goes before */
};

/* The opposite goes before, and may fail on mappings that cannot have it. */
static int advise_range(char *addr, size_t len, const struct advised_flag *advised)
{
	madvise(addr, len, advised->opposite);
	return pfnmap_answer_of(madvise(addr, len, advised->advice));
}

/* Nothing has happened, so the part answers as the whole does. */
static int refuse_part(const struct pfnmap_target *target, const struct advised_flag *advised,
		       int answer)
{
	return advise_range(target->addr, LEN, advised) == answer ? answer : -EPROTO;
}

/*
 * The whole mapping is not split: the leaf has to stay. A part may cost it, since the opposite
 * splits the mapping, but not the bytes.
 */
static int advise_both(const struct pfnmap_target *target, const void *arg)
{
	const struct advised_flag *advised = arg;
	char before[LEN];
	int flag, err = target->peek(target, before);

	if (err)
		return err;
	err = advise_range(target->map, target->map_len, advised);
	if (err)
		return refuse_part(target, advised, err);

	err = pfnmap_target_kept(target) ?: pfnmap_target_matches(target, before) ?:
	      advise_range(target->addr, LEN, advised) ?: pfnmap_target_matches(target, before);
	if (err)
		return err;
	flag = pfnmap_vma_flag(target->addr, advised->flag);
	if (flag < 0)
		return flag;
	return flag == advised->set ? 0 : PFNMAP_IGNORED;
}

#define ADVICE(how...)	.call = advise, .arg = &(const struct advice) { how }
#define FLAG(how, which, set, opposite)					\
	.call = advise_both, .in_child = true,				\
	.arg = &(const struct advised_flag) { how, which, set, opposite }
#define SETS(how, which, opposite)	FLAG(how, which, true, opposite)
#define CLEARS(how, which, opposite)	FLAG(how, which, false, opposite)

/*
 * Which of them look at VM_PFNMAP or at VM_SPECIAL, which is VM_IO and VM_DONTEXPAND, too, and
 * which do not care: mm/madvise.c.
 */
const struct pfnmap_user pfnmap_madvise_users[] = {
	/* madvise_vma_behavior(): readahead is the file's affair, not the mapping's */
	{ .name = "MADV_NORMAL", CLEARS(MADV_NORMAL, "rr", MADV_RANDOM) },
	{ .name = "MADV_RANDOM", SETS(MADV_RANDOM, "rr", MADV_NORMAL) },
	{ .name = "MADV_SEQUENTIAL", SETS(MADV_SEQUENTIAL, "sr", MADV_NORMAL) },
	/* vfs_fadvise() of a file whose pages are not written back has nothing to do. */
	{ .name = "MADV_WILLNEED", ADVICE(BY_MADVISE, MADV_WILLNEED, KEEPS) },
	/* madvise_dontneed_free_valid_vma(): VM_PFNMAP */
	{ .name = "MADV_DONTNEED", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_DONTNEED, ZEROES) },
	{ .name = "MADV_DONTNEED_LOCKED", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_DONTNEED_LOCKED, ZEROES) },
	{ .name = "MADV_FREE", .on_special = -EINVAL, ADVICE(BY_MADVISE, MADV_FREE, LOSES) },
	/* vfs_fallocate(): neither a regular file nor a block device */
	{ .name = "MADV_REMOVE", .on_special = -ENODEV, .ordinary = pfnmap_target_shared,
	  ADVICE(BY_MADVISE, MADV_REMOVE, ZEROES) },
	/* can_madv_lru_vma(): VM_PFNMAP */
	{ .name = "MADV_COLD", .on_special = -EINVAL, ADVICE(BY_MADVISE, MADV_COLD, KEEPS) },
	{ .name = "MADV_PAGEOUT", .on_special = -EINVAL, ADVICE(BY_MADVISE, MADV_PAGEOUT, KEEPS) },
	/* faultin_page_range(): what check_vma_flags() refuses is EINVAL here, not EFAULT */
	{ .name = "MADV_POPULATE_READ", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_POPULATE_READ, KEEPS) },
	{ .name = "MADV_POPULATE_WRITE", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_POPULATE_WRITE, KEEPS) },
	/* is_valid_guard_vma(): VM_SPECIAL */
	{ .name = "MADV_GUARD_INSTALL", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_GUARD_INSTALL, GUARDS) },
	{ .name = "MADV_GUARD_REMOVE", .on_special = -EINVAL,
	  ADVICE(BY_MADVISE, MADV_GUARD_REMOVE, KEEPS) },
	/* collapse_possible(): VM_NO_KHUGEPAGED */
	{ .name = "MADV_COLLAPSE", .on_special = -EINVAL, .ordinary = huge_target,
	  ADVICE(BY_MADVISE, MADV_COLLAPSE, JOINS) },
	/* madvise_vma_behavior(): what VM_SPECIAL has from its driver stays */
	{ .name = "MADV_DONTFORK", SETS(MADV_DONTFORK, "dc", MADV_DOFORK) },
	{ .name = "MADV_DOFORK", .on_special = -EINVAL, CLEARS(MADV_DOFORK, "dc", MADV_DONTFORK) },
	{ .name = "MADV_DONTDUMP", SETS(MADV_DONTDUMP, "dd", MADV_DODUMP) },
	{ .name = "MADV_DODUMP", .on_special = -EINVAL, CLEARS(MADV_DODUMP, "dd", MADV_DONTDUMP) },
	/* Only anonymous memory can be wiped. */
	{ .name = "MADV_WIPEONFORK", .on_special = -EINVAL,
	  SETS(MADV_WIPEONFORK, "wf", MADV_KEEPONFORK) },
	{ .name = "MADV_KEEPONFORK", CLEARS(MADV_KEEPONFORK, "wf", MADV_WIPEONFORK) },
	/* vma_ksm_compatible(): VM_SHARED and VM_SPECIAL; says 0 all the same */
	{ .name = "MADV_MERGEABLE", .on_special = PFNMAP_IGNORED,
	  SETS(MADV_MERGEABLE, "mg", MADV_UNMERGEABLE) },
	{ .name = "MADV_UNMERGEABLE", CLEARS(MADV_UNMERGEABLE, "mg", MADV_MERGEABLE) },
	/* hugepage_madvise(): for the faults to come */
	{ .name = "MADV_HUGEPAGE", SETS(MADV_HUGEPAGE, "hg", MADV_NOHUGEPAGE) },
	{ .name = "MADV_NOHUGEPAGE", SETS(MADV_NOHUGEPAGE, "nh", MADV_HUGEPAGE) },
};

/* The same functions behind another call, for the caller itself and for another process. */
const struct pfnmap_user pfnmap_process_madvise_users[] = {
	{ .name = "process_madvise MADV_WILLNEED", ADVICE(BY_PROCESS, MADV_WILLNEED, KEEPS) },
	{ .name = "process_madvise MADV_COLD", .on_special = -EINVAL,
	  ADVICE(BY_PROCESS, MADV_COLD, KEEPS) },
	{ .name = "process_madvise MADV_PAGEOUT", .on_special = -EINVAL,
	  ADVICE(BY_PROCESS, MADV_PAGEOUT, KEEPS) },
	{ .name = "process_madvise MADV_DONTNEED", .on_special = -EINVAL,
	  ADVICE(BY_PROCESS, MADV_DONTNEED, ZEROES) },
	{ .name = "process_madvise MADV_GUARD_INSTALL", .on_special = -EINVAL,
	  ADVICE(BY_PROCESS, MADV_GUARD_INSTALL, GUARDS) },
	{ .name = "process_madvise MADV_WILLNEED, other process",
	  ADVICE(BY_CHILD, MADV_WILLNEED, KEEPS) },
	{ .name = "process_madvise MADV_COLD, other process", .on_special = -EINVAL,
	  ADVICE(BY_CHILD, MADV_COLD, KEEPS) },
	{ .name = "process_madvise MADV_PAGEOUT, other process", .on_special = -EINVAL,
	  ADVICE(BY_CHILD, MADV_PAGEOUT, KEEPS) },
	{ .name = "process_madvise MADV_COLLAPSE, other process", .on_special = -EINVAL,
	  .ordinary = huge_target, ADVICE(BY_CHILD, MADV_COLLAPSE, JOINS) },
	/* process_madvise_remote_valid(): not on the memory of another process */
	{ .name = "process_madvise MADV_DONTNEED, other process", .on_special = -EINVAL,
	  .on_ordinary = -EINVAL, ADVICE(BY_CHILD, MADV_DONTNEED, KEEPS) },
};
