// SPDX-License-Identifier: MIT
/*
 * Users of user memory: the calls by which a process changes its mappings.
 *
 * On what would a broken test pass? A call that fails because it is misspelt, or that the kernel
 * lacks, is refused on special entries as it should be: so each has to work on ordinary memory. A
 * call that succeeds may have done nothing: so what it says it did is looked for there, in the
 * bytes, in smaps or by a signal. And a call that is refused may have been half done: whoever asks
 * a user looks at bytes and leaf afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vpfn_bo.h"
#include "vpfn_mm_uapi.h"
#include "vpfn_pattern.h"
#include "vpfn_users.h"
#include "vpfn_vma.h"

#define LEN	VPFN_TARGET_LEN

static int answer_of(long ret)
{
	return ret < 0 ? -errno : 0;
}

/* What a call that succeeds leaves of the bytes. */
enum effect {
	KEEPS,
	ZEROES,
	LOSES,		/* when it suits the kernel, at an unknown time */
	GUARDS,		/* access ends in a signal, and then there are zeroes */
};

static int check_zeroes(const struct vpfn_target *target)
{
	char zeroes[LEN] = {};

	return vpfn_target_matches(target, zeroes);
}

static int check_guards(const struct vpfn_target *target)
{
	if (vpfn_signal_of(target->addr, VPFN_READ) != SIGSEGV ||
	    vpfn_signal_of(target->addr + LEN - VPFN_PAGE, VPFN_WRITE) != SIGSEGV)
		return -EPROTO;

	return answer_of(madvise(target->addr, LEN, MADV_GUARD_REMOVE)) ?: check_zeroes(target);
}

static int check_effect(const struct vpfn_target *target, enum effect effect, const void *before)
{
	switch (effect) {
	case KEEPS:
		return vpfn_target_matches(target, before);
	case ZEROES:
		return check_zeroes(target);
	case GUARDS:
		return check_guards(target);
	case LOSES:
		break;
	}
	return 0;
}

/* madvise() and process_madvise() whose advice is about the memory */

struct advice {
	int advice;
	enum effect effect;
};

/* Of which process? The caller's parent, if the pid is that. */
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

static int advise_parent(const struct vpfn_target *target, const void *arg)
{
	const struct advice *advice = arg;

	return process_advise(getppid(), target->addr, LEN, advice->advice);
}

static int advise_by(const struct vpfn_target *target, const struct advice *advice,
		     int (*call)(const struct vpfn_target *target, const struct advice *advice))
{
	char before[LEN];

	return target->peek(target, before) ?: call(target, advice) ?:
	       check_effect(target, advice->effect, before);
}

static int by_madvise(const struct vpfn_target *target, const struct advice *advice)
{
	return answer_of(madvise(target->addr, LEN, advice->advice));
}

static int by_process(const struct vpfn_target *target, const struct advice *advice)
{
	return process_advise(getpid(), target->addr, LEN, advice->advice);
}

static int by_child(const struct vpfn_target *target, const struct advice *advice)
{
	return vpfn_target_in_child(target, advise_parent, advice);
}

static int advise(const struct vpfn_target *target, const void *arg)
{
	return advise_by(target, arg, by_madvise);
}

static int advise_self(const struct vpfn_target *target, const void *arg)
{
	return advise_by(target, arg, by_process);
}

static int advise_remotely(const struct vpfn_target *target, const void *arg)
{
	return advise_by(target, arg, by_child);
}

/* Memory that the kernel could map by a huge page has room for one. */
static int huge_target(struct vpfn_target *target)
{
	int err = vpfn_target_anonymous(target);
	void *map;

	if (err)
		return err;

	munmap(target->map, target->map_len);
	err = vpfn_reserve(VPFN_2M, VPFN_2M, &map);
	if (err)
		return err;

	if (mmap(map, VPFN_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		return -errno;
	target->map = map;
	target->map_len = VPFN_2M;
	target->addr = target->map + VPFN_2M / 2;
	return 0;
}

/* Of the whole mapping: the kernel says 0 to a range that is smaller than a huge page. */
static int collapse_by(const struct vpfn_target *target,
		       int (*call)(const struct vpfn_target *target, const void *arg))
{
	char before[LEN];
	struct vpfn_vma vma;
	int err;

	err = target->peek(target, before) ?:
	      call(target, NULL) ?:
	      vpfn_target_matches(target, before) ?:
	      vpfn_vma_read(target->addr, &vma);
	if (err)
		return err;
	return vma.anon_huge * 1024 >= (long)VPFN_2M ? 0 : VPFN_IGNORED;
}

static int collapse_own(const struct vpfn_target *target, const void *arg)
{
	(void)arg;
	return answer_of(madvise(target->map, target->map_len, MADV_COLLAPSE));
}

static int collapse_parents(const struct vpfn_target *target, const void *arg)
{
	(void)arg;
	return process_advise(getppid(), target->map, target->map_len, MADV_COLLAPSE);
}

static int have_child_collapse(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, collapse_parents, arg);
}

static int collapse(const struct vpfn_target *target)
{
	return collapse_by(target, collapse_own);
}

static int collapse_remotely(const struct vpfn_target *target)
{
	return collapse_by(target, have_child_collapse);
}

/* madvise() whose advice is about the mapping: a flag of it */

struct advised_flag {
	int advice;
	const char *flag;
	bool set;
	int opposite;	/* which goes before */
};

/* Some mappings cannot have the opposite: what they do not get they need not give back. */
static int advise_range(char *addr, size_t len, const struct advised_flag *advised)
{
	madvise(addr, len, advised->opposite);
	return answer_of(madvise(addr, len, advised->advice));
}

/* Nothing has happened, so the part answers as the whole does. */
static int refuse_part(const struct vpfn_target *target, const struct advised_flag *advised,
		       int answer)
{
	return advise_range(target->addr, LEN, advised) == answer ? answer : -EPROTO;
}

/*
 * The whole mapping is not split: the leaf has to stay. A part may cost it, since the opposite
 * splits the mapping, but not the bytes.
 */
static int advise_both(const struct vpfn_target *target, const void *arg)
{
	const struct advised_flag *advised = arg;
	char before[LEN];
	int flag, err = target->peek(target, before);

	if (err)
		return err;
	err = advise_range(target->map, target->map_len, advised);
	if (err)
		return refuse_part(target, advised, err);

	err = vpfn_target_kept(target) ?: vpfn_target_matches(target, before) ?:
	      advise_range(target->addr, LEN, advised) ?: vpfn_target_matches(target, before);
	if (err)
		return err;
	flag = vpfn_vma_flag(target->addr, advised->flag);
	if (flag < 0)
		return flag;
	return flag == advised->set ? 0 : VPFN_IGNORED;
}

static int advise_mapping(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, advise_both, arg);
}

#define ADVICE(how, effect)						\
	.arg = &(const struct advice) { how, effect }
#define FLAG(how, which, set, opposite)					\
	.call = advise_mapping,						\
	.arg = &(const struct advised_flag) { how, which, set, opposite }
#define SETS(how, which, opposite)	FLAG(how, which, true, opposite)
#define CLEARS(how, which, opposite)	FLAG(how, which, false, opposite)

/*
 * Which of them look at VM_PFNMAP or at VM_SPECIAL, which is VM_IO and VM_DONTEXPAND, too, and
 * which do not care: mm/madvise.c.
 */
static const struct vpfn_user madvise_users[] = {
	/* madvise_vma_behavior(): readahead is the file's affair, not the mapping's */
	{ .name = "MADV_NORMAL", CLEARS(MADV_NORMAL, "rr", MADV_RANDOM) },
	{ .name = "MADV_RANDOM", SETS(MADV_RANDOM, "rr", MADV_NORMAL) },
	{ .name = "MADV_SEQUENTIAL", SETS(MADV_SEQUENTIAL, "sr", MADV_NORMAL) },
	/* vfs_fadvise() of a file whose pages are not written back has nothing to do. */
	{ .name = "MADV_WILLNEED", .call = advise, ADVICE(MADV_WILLNEED, KEEPS) },
	/* madvise_dontneed_free_valid_vma(): VM_PFNMAP */
	{ .name = "MADV_DONTNEED", .on_special = -EINVAL,
	  .call = advise, ADVICE(MADV_DONTNEED, ZEROES) },
	{ .name = "MADV_DONTNEED_LOCKED", .on_special = -EINVAL, .call = advise,
	  ADVICE(MADV_DONTNEED_LOCKED, ZEROES) },
	{ .name = "MADV_FREE", .on_special = -EINVAL, .call = advise, ADVICE(MADV_FREE, LOSES) },
	/* vfs_fallocate(): neither a regular file nor a block device */
	{ .name = "MADV_REMOVE", .on_special = -ENODEV,
	  .ordinary = vpfn_target_shared, .call = advise,
	  ADVICE(MADV_REMOVE, ZEROES) },
	/* can_madv_lru_vma(): VM_PFNMAP */
	{ .name = "MADV_COLD", .on_special = -EINVAL, .call = advise, ADVICE(MADV_COLD, KEEPS) },
	{ .name = "MADV_PAGEOUT", .on_special = -EINVAL,
	  .call = advise, ADVICE(MADV_PAGEOUT, KEEPS) },
	/* faultin_page_range(): what check_vma_flags() refuses is EINVAL here, not EFAULT */
	{ .name = "MADV_POPULATE_READ", .on_special = -EINVAL, .call = advise,
	  ADVICE(MADV_POPULATE_READ, KEEPS) },
	{ .name = "MADV_POPULATE_WRITE", .on_special = -EINVAL, .call = advise,
	  ADVICE(MADV_POPULATE_WRITE, KEEPS) },
	/* is_valid_guard_vma(): VM_SPECIAL */
	{ .name = "MADV_GUARD_INSTALL", .on_special = -EINVAL, .call = advise,
	  ADVICE(MADV_GUARD_INSTALL, GUARDS) },
	{ .name = "MADV_GUARD_REMOVE", .on_special = -EINVAL, .call = advise,
	  ADVICE(MADV_GUARD_REMOVE, KEEPS) },
	/* collapse_possible(): VM_NO_KHUGEPAGED */
	{ .name = "MADV_COLLAPSE", .on_special = -EINVAL,
	  .ordinary = huge_target, .run = collapse },
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
	{ .name = "MADV_MERGEABLE", .on_special = VPFN_IGNORED,
	  SETS(MADV_MERGEABLE, "mg", MADV_UNMERGEABLE) },
	{ .name = "MADV_UNMERGEABLE", CLEARS(MADV_UNMERGEABLE, "mg", MADV_MERGEABLE) },
	/* hugepage_madvise(): for the faults to come */
	{ .name = "MADV_HUGEPAGE", SETS(MADV_HUGEPAGE, "hg", MADV_NOHUGEPAGE) },
	{ .name = "MADV_NOHUGEPAGE", SETS(MADV_NOHUGEPAGE, "nh", MADV_HUGEPAGE) },
};

/* The same functions behind another call, for the caller itself and for another process. */
static const struct vpfn_user process_madvise_users[] = {
	{ .name = "process_madvise MADV_WILLNEED",
	  .call = advise_self, ADVICE(MADV_WILLNEED, KEEPS) },
	{ .name = "process_madvise MADV_COLD", .on_special = -EINVAL, .call = advise_self,
	  ADVICE(MADV_COLD, KEEPS) },
	{ .name = "process_madvise MADV_PAGEOUT", .on_special = -EINVAL, .call = advise_self,
	  ADVICE(MADV_PAGEOUT, KEEPS) },
	{ .name = "process_madvise MADV_DONTNEED", .on_special = -EINVAL, .call = advise_self,
	  ADVICE(MADV_DONTNEED, ZEROES) },
	{ .name = "process_madvise MADV_GUARD_INSTALL", .on_special = -EINVAL, .call = advise_self,
	  ADVICE(MADV_GUARD_INSTALL, GUARDS) },
	{ .name = "process_madvise MADV_WILLNEED, other process",
	  .call = advise_remotely, ADVICE(MADV_WILLNEED, KEEPS) },
	{ .name = "process_madvise MADV_COLD, other process", .on_special = -EINVAL,
	  .call = advise_remotely, ADVICE(MADV_COLD, KEEPS) },
	{ .name = "process_madvise MADV_PAGEOUT, other process", .on_special = -EINVAL,
	  .call = advise_remotely, ADVICE(MADV_PAGEOUT, KEEPS) },
	{ .name = "process_madvise MADV_COLLAPSE, other process", .on_special = -EINVAL,
	  .ordinary = huge_target, .run = collapse_remotely },
	/* process_madvise_remote_valid(): not on other people's memory, whatever it is */
	{ .name = "process_madvise MADV_DONTNEED, other process", .on_special = -EINVAL,
	  .on_ordinary = -EINVAL, .call = advise_remotely, ADVICE(MADV_DONTNEED, KEEPS) },
};

/* mlock() and its like: 0, but vma_supports_mlock() says no to VM_SPECIAL, without an error */

struct lock {
	int (*lock)(const struct vpfn_target *target);
	int (*unlock)(const struct vpfn_target *target);
	const char *flag;
	bool counts;	/* locks the target alone, so that VmLck tells */
};

static int lock_now(const struct vpfn_target *target)
{
	return answer_of(mlock(target->addr, LEN));
}

static int lock_on_fault(const struct vpfn_target *target)
{
	return answer_of(mlock2(target->addr, LEN, MLOCK_ONFAULT));
}

static int lock_all(const struct vpfn_target *target)
{
	(void)target;
	return answer_of(mlockall(MCL_CURRENT));
}

static int lock_all_on_fault(const struct vpfn_target *target)
{
	(void)target;
	return answer_of(mlockall(MCL_CURRENT | MCL_ONFAULT));
}

static int unlock(const struct vpfn_target *target)
{
	return answer_of(munlock(target->addr, LEN));
}

static int unlock_all(const struct vpfn_target *target)
{
	(void)target;
	return answer_of(munlockall());
}

/* Is it locked? By the flag and by the count, which have to agree. */
static int is_locked(const struct vpfn_target *target, const struct lock *lock, long before)
{
	long kib = vpfn_locked_kib() - before;
	int flag = vpfn_vma_flag(target->addr, lock->flag);

	if (flag < 0)
		return flag;
	if (lock->counts && kib != (flag ? LEN / 1024 : 0))
		return -EPROTO;
	return flag;
}

static int lock_target(const struct vpfn_target *target, const void *arg)
{
	const struct lock *lock = arg;
	long kib = vpfn_locked_kib();
	char before[LEN];
	int err, locked;

	err = target->peek(target, before) ?: lock->lock(target) ?: vpfn_target_kept(target);
	if (err)
		return err;

	locked = is_locked(target, lock, kib);
	if (locked < 0)
		return locked;
	err = vpfn_target_matches(target, before);
	if (err)
		return err;
	if (!lock->unlock)
		return locked ? 0 : VPFN_IGNORED;

	err = lock->unlock(target);
	if (err)
		return err;
	if (is_locked(target, lock, kib))
		return -EPROTO;
	return vpfn_target_matches(target, before) ?: locked ? 0 : VPFN_IGNORED;
}

static int lock_in_child(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, lock_target, arg);
}

#define LOCK(how...)							\
	.on_special = VPFN_IGNORED, .call = lock_in_child, .arg = &(const struct lock) { how }

static const struct vpfn_user lock_users[] = {
	{ .name = "mlock", LOCK(lock_now, NULL, "lo", true) },
	{ .name = "mlock2 MLOCK_ONFAULT", LOCK(lock_on_fault, NULL, "lf", true) },
	{ .name = "munlock", LOCK(lock_now, unlock, "lo", true) },
	{ .name = "mlockall MCL_CURRENT", LOCK(lock_all, NULL, "lo", false) },
	{ .name = "mlockall MCL_CURRENT | MCL_ONFAULT",
	  LOCK(lock_all_on_fault, NULL, "lf", false) },
	{ .name = "munlockall", LOCK(lock_all, unlock_all, "lo", false) },
};

/* mbind() and its like: a policy is kept with any mapping, even if its memory cannot be moved */

struct policy {
	int mode;
	unsigned int flags;
};

static bool takes_nodes(int mode)
{
	return mode != MPOL_DEFAULT && mode != MPOL_LOCAL;
}

static int bind_range(char *addr, size_t len, int mode, unsigned int flags)
{
	unsigned long nodes = 1;

	return answer_of(syscall(SYS_mbind, addr, len, mode, takes_nodes(mode) ? &nodes : NULL,
				 takes_nodes(mode) ? 8 * sizeof(nodes) : 0, flags));
}

static int check_mode(const struct vpfn_target *target, int mode)
{
	int found = -1;

	if (syscall(SYS_get_mempolicy, &found, NULL, 0, target->addr, MPOL_F_ADDR))
		return -errno;
	return found == mode ? 0 : -EPROTO;
}

/* Another policy goes before: one that is there already would not be set. */
static int bind_and_check(const struct vpfn_target *target, char *addr, size_t len,
			  const struct policy *policy)
{
	int other = policy->mode == MPOL_BIND ? MPOL_LOCAL : MPOL_BIND;

	return bind_range(addr, len, other, 0) ?: check_mode(target, other) ?:
	       bind_range(addr, len, policy->mode, policy->flags) ?:
	       check_mode(target, policy->mode);
}

/*
 * The whole mapping is not split: the leaf stays. But MPOL_MF_STRICT walks the page tables even of
 * what cannot be moved, queue_pages_test_walk() in mm/mempolicy.c, finds no folio there, and has
 * split leaves of 1 GiB on its way: until the next touch. A part is split off, and joined again.
 */
static int bind_both(const struct vpfn_target *target, const void *arg)
{
	const struct policy *policy = arg;
	char before[LEN];
	int err = target->peek(target, before);

	if (!err)
		err = bind_and_check(target, target->map, target->map_len, policy);
	if (!err && !(policy->flags & MPOL_MF_STRICT))
		err = vpfn_target_kept(target);
	if (!err)
		err = vpfn_target_matches(target, before) ?: vpfn_target_kept(target);
	return err ?: bind_and_check(target, target->addr, LEN, policy) ?:
	       vpfn_target_matches(target, before);
}

static int bind_target(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, bind_both, arg);
}

/* Without a policy there is nothing that a home could be set in. */
static int set_home(const struct vpfn_target *target, const void *arg)
{
	char before[LEN];
	int err = target->peek(target, before);

	(void)arg;
	if (err)
		return err;
	if (!syscall(SYS_set_mempolicy_home_node, target->addr, LEN, 0, 0) || errno != ENOENT)
		return -EPROTO;

	return bind_range(target->addr, LEN, MPOL_BIND, 0) ?:
	       answer_of(syscall(SYS_set_mempolicy_home_node, target->addr, LEN, 0, 0)) ?:
	       check_mode(target, MPOL_BIND) ?: vpfn_target_matches(target, before);
}

static int set_home_in_child(const struct vpfn_target *target)
{
	return vpfn_target_in_child(target, set_home, NULL);
}

/* Where is the page? lookup_node() asks get_user_pages_fast(). */
static int get_node(const struct vpfn_target *target)
{
	int node = -1;

	if (syscall(SYS_get_mempolicy, &node, NULL, 0, target->addr, MPOL_F_NODE | MPOL_F_ADDR))
		return -errno;
	return node >= 0 ? 0 : -EPROTO;
}

#define BIND(mode, flags)						\
	.call = bind_target, .arg = &(const struct policy) { mode, flags }

static const struct vpfn_user policy_users[] = {
	{ .name = "mbind MPOL_DEFAULT", BIND(MPOL_DEFAULT, 0) },
	{ .name = "mbind MPOL_PREFERRED", BIND(MPOL_PREFERRED, 0) },
	{ .name = "mbind MPOL_BIND", BIND(MPOL_BIND, 0) },
	{ .name = "mbind MPOL_INTERLEAVE", BIND(MPOL_INTERLEAVE, 0) },
	{ .name = "mbind MPOL_LOCAL", BIND(MPOL_LOCAL, 0) },
	{ .name = "mbind MPOL_PREFERRED_MANY", BIND(MPOL_PREFERRED_MANY, 0) },
	{ .name = "mbind MPOL_WEIGHTED_INTERLEAVE", BIND(VPFN_MPOL_WEIGHTED_INTERLEAVE, 0) },
	{ .name = "mbind MPOL_MF_STRICT", BIND(MPOL_BIND, MPOL_MF_STRICT) },
	{ .name = "mbind MPOL_MF_MOVE", BIND(MPOL_BIND, MPOL_MF_MOVE) },
	{ .name = "mbind MPOL_MF_MOVE_ALL", BIND(MPOL_BIND, MPOL_MF_MOVE_ALL) },
	{ .name = "mbind MPOL_MF_MOVE | MPOL_MF_STRICT",
	  BIND(MPOL_BIND, MPOL_MF_MOVE | MPOL_MF_STRICT) },
	{ .name = "set_mempolicy_home_node", .run = set_home_in_child },
	{ .name = "get_mempolicy MPOL_F_NODE | MPOL_F_ADDR", .on_special = -EFAULT,
	  .run = get_node },
};

/* mseal(): what is sealed cannot be changed, whatever it maps; nor unsealed, hence the children */

static int seal_range(char *addr, size_t len)
{
	return answer_of(syscall(SYS_mseal, addr, len, 0));
}

static int unmap(const struct vpfn_target *target)
{
	return answer_of(munmap(target->addr, LEN));
}

static int protect(const struct vpfn_target *target)
{
	return answer_of(mprotect(target->addr, LEN, PROT_READ));
}

static int protect_by_key(const struct vpfn_target *target)
{
	return answer_of(pkey_mprotect(target->addr, LEN, PROT_READ, -1));
}

static int move(const struct vpfn_target *target)
{
	void *to;
	int err = vpfn_reserve(LEN, VPFN_PAGE, &to);

	if (err)
		return err;
	return mremap(target->addr, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ?
	       0 : -errno;
}

static int map_over(const struct vpfn_target *target)
{
	return mmap(target->addr, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	       target->addr ? 0 : -errno;
}

struct sealed {
	int (*call)(const struct vpfn_target *target);
};

static int call_unsealed(const struct vpfn_target *target, const void *arg)
{
	const struct sealed *sealed = arg;

	return sealed->call(target);
}

static int call_sealed(const struct vpfn_target *target, const void *arg)
{
	const struct sealed *sealed = arg;
	char before[LEN];
	int answer, err = target->peek(target, before) ?: seal_range(target->addr, LEN);

	if (err)
		return err;
	answer = sealed->call(target);
	return vpfn_target_matches(target, before) ?: answer;
}

/* What works before the seal is refused because of it. */
static int seal_then_call(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, call_unsealed, arg) ?:
	       vpfn_target_in_child(target, call_sealed, arg);
}

static int seal_and_check(const struct vpfn_target *target, char *addr, size_t len)
{
	char before[LEN];
	int flag, err = target->peek(target, before) ?: seal_range(addr, len);

	/* The whole mapping is not split for it. */
	if (!err && len == target->map_len)
		err = vpfn_target_kept(target);
	if (err)
		return err;
	flag = vpfn_vma_flag(target->addr, "sl");
	if (flag < 0)
		return flag;
	return flag ? vpfn_target_matches(target, before) : VPFN_IGNORED;
}

static int seal_part(const struct vpfn_target *target, const void *arg)
{
	(void)arg;
	return seal_and_check(target, target->addr, LEN);
}

static int seal_whole(const struct vpfn_target *target, const void *arg)
{
	(void)arg;
	return seal_and_check(target, target->map, target->map_len);
}

static int seal_in_child(const struct vpfn_target *target)
{
	return vpfn_target_in_child(target, seal_part, NULL) ?:
	       vpfn_target_in_child(target, seal_whole, NULL);
}

#define SEALED(call_sealed)						\
	.on_special = -EPERM, .on_ordinary = -EPERM,			\
	.call = seal_then_call, .arg = &(const struct sealed) { call_sealed }

static const struct vpfn_user seal_users[] = {
	/* __mseal_range(): of any mapping */
	{ .name = "mseal", .run = seal_in_child },
	{ .name = "munmap, sealed", SEALED(unmap) },
	{ .name = "mprotect, sealed", SEALED(protect) },
	{ .name = "pkey_mprotect, sealed", SEALED(protect_by_key) },
	{ .name = "mremap, sealed", SEALED(move) },
	{ .name = "mmap MAP_FIXED, sealed", SEALED(map_over) },
};

/* msync(): a device's file cannot be synchronised, and only MS_SYNC asks it */

static int sync_target(const struct vpfn_target *target, const void *arg)
{
	char before[LEN];

	return target->peek(target, before) ?:
	       answer_of(msync(target->addr, LEN, *(const int *)arg)) ?:
	       vpfn_target_matches(target, before);
}

#define SYNC(flags)							\
	.ordinary = vpfn_target_shared, .call = sync_target, .arg = &(const int) { flags }

/*
 * remap_file_pages() is an mmap() of the same file at another offset: here at the same one. A
 * driver whose offsets are names of buffers says EINVAL to one that is in the middle of a buffer,
 * and then the old mapping is gone: __mmap_setup() has closed it before the driver is asked, and
 * vms_abort_munmap_vmas() leaves a gap (mm/vma.c).
 */
static int remap_pages(const struct vpfn_target *target, const void *arg)
{
	struct vpfn_vma vma;
	char before[LEN];
	uint64_t offset;
	int err;

	(void)arg;
	err = target->peek(target, before) ?: vpfn_vma_read(target->addr, &vma);
	if (err)
		return err;

	offset = vma.offset + ((uintptr_t)target->addr - vma.start);
	err = answer_of(syscall(SYS_remap_file_pages, target->addr, LEN, 0, offset / VPFN_PAGE, 0));
	if (err)
		return vpfn_signal_of(target->addr, VPFN_READ) == SIGSEGV ? err : -EPROTO;
	return vpfn_target_matches(target, before);
}

static int remap_in_child(const struct vpfn_target *target)
{
	return vpfn_target_in_child(target, remap_pages, NULL);
}

static const struct vpfn_user file_users[] = {
	{ .name = "msync MS_ASYNC", SYNC(MS_ASYNC) },
	{ .name = "msync MS_INVALIDATE", SYNC(MS_INVALIDATE) },
	{ .name = "msync MS_ASYNC | MS_INVALIDATE", SYNC(MS_ASYNC | MS_INVALIDATE) },
	/* vfs_fsync_range(): no such operation */
	{ .name = "msync MS_SYNC", .on_special = -EINVAL, SYNC(MS_SYNC) },
	{ .name = "msync MS_SYNC | MS_INVALIDATE", .on_special = -EINVAL,
	  SYNC(MS_SYNC | MS_INVALIDATE) },
	{ .name = "remap_file_pages", .on_special = -EINVAL, .ordinary = vpfn_target_shared,
	  .run = remap_in_child },
};

/* pkey_mprotect(): the key is in the entry, and the CPU looks at it whatever the entry maps */

struct key {
	unsigned int rights;
	enum vpfn_access access;	/* what they forbid */
};

static sigjmp_buf escape;
static sig_atomic_t segv_code;

static void on_segv(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	segv_code = info->si_code;
	siglongjmp(escape, 1);
}

/* The si_code of the SIGSEGV that an access raises, 0 if it raises none. */
static int segv_code_of(char *addr, enum vpfn_access access)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO }, old;

	segv_code = 0;
	sigaction(SIGSEGV, &action, &old);
	if (!sigsetjmp(escape, 1)) {
		if (access == VPFN_WRITE)
			__atomic_fetch_or((uint64_t *)addr, 0, __ATOMIC_RELAXED);
		else
			vpfn_load(addr);
	}
	sigaction(SIGSEGV, &old, NULL);
	return segv_code;
}

/* Does the kernel, which reads on behalf of the process, get at it? */
static int read_by_kernel(const struct vpfn_target *target)
{
	int pipe_fd[2], err;

	if (pipe(pipe_fd))
		return -errno;

	err = answer_of(write(pipe_fd[1], target->addr, VPFN_PAGE));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return err;
}

/* A signal sets the rights back, so they are set anew for each access. */
static int check_forbidden(const struct vpfn_target *target, const struct key *key, int pkey)
{
	bool reads = key->access == VPFN_WRITE;

	pkey_set(pkey, key->rights);
	if (segv_code_of(target->addr, key->access) != SEGV_PKUERR)
		return -EPROTO;
	pkey_set(pkey, key->rights);
	if (reads && segv_code_of(target->addr, VPFN_READ))
		return -EPROTO;
	return read_by_kernel(target) == (reads ? 0 : -EFAULT) ? 0 : -EPROTO;
}

static int lock_by_key(const struct vpfn_target *target, char *addr, size_t len,
		       const struct key *key)
{
	int pkey = pkey_alloc(0, 0), err;
	char before[LEN];

	if (pkey < 0)
		return -ENODEV;

	err = target->peek(target, before) ?:
	      answer_of(pkey_mprotect(addr, len, PROT_READ | PROT_WRITE, pkey)) ?:
	      vpfn_target_matches(target, before) ?: check_forbidden(target, key, pkey);
	if (err)
		return err;

	pkey_set(pkey, 0);
	if (segv_code_of(target->addr, VPFN_WRITE))
		return -EPROTO;
	return vpfn_target_matches(target, before);
}

static int lock_part_by_key(const struct vpfn_target *target, const void *arg)
{
	return lock_by_key(target, target->addr, LEN, arg);
}

static int lock_whole_by_key(const struct vpfn_target *target, const void *arg)
{
	return lock_by_key(target, target->map, target->map_len, arg) ?: vpfn_target_kept(target);
}

static int use_key(const struct vpfn_target *target, const void *arg)
{
	return vpfn_target_in_child(target, lock_whole_by_key, arg) ?:
	       vpfn_target_in_child(target, lock_part_by_key, arg);
}

#define KEY(rights, access)						\
	.needs = "CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS",		\
	.call = use_key, .arg = &(const struct key) { rights, access }

static const struct vpfn_user key_users[] = {
	{ .name = "pkey_mprotect PKEY_DISABLE_ACCESS", KEY(PKEY_DISABLE_ACCESS, VPFN_READ) },
	{ .name = "pkey_mprotect PKEY_DISABLE_WRITE", KEY(PKEY_DISABLE_WRITE, VPFN_WRITE) },
};

#define FAMILY(family, what, members)					\
	{ .name = family, .describe = what, .users = members, .count = ARRAY_SIZE(members) }

const struct vpfn_user_family vpfn_mm_families[] = {
	FAMILY("madvise", "Each advice has its answer, and leaves bytes and leaves alone.",
	       madvise_users),
	FAMILY("process-madvise", "So has advice by process_madvise(), for oneself and for others.",
	       process_madvise_users),
	FAMILY("mlock", "mlock() and its like succeed and lock nothing.", lock_users),
	FAMILY("mempolicy", "Policies for memory are kept with the mapping, and move nothing.",
	       policy_users),
	FAMILY("mseal", "What is sealed can be used, but neither unmapped nor changed.",
	       seal_users),
	{ .name = "file", .describe = "Calls that ask the file of the mapping: it is a device's.",
	  .users = file_users,
	  .count = ARRAY_SIZE(file_users) },
	FAMILY("pkey", "A key that forbids access does so on leaves of any size.", key_users),
};

const size_t vpfn_mm_family_count = ARRAY_SIZE(vpfn_mm_families);
