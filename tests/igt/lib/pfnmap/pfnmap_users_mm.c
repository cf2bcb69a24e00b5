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
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_mm_uapi.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_target.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_users_madvise.h"
#include "pfnmap/pfnmap_vma.h"

#define LEN	PFNMAP_TARGET_LEN

/* mlock() and its like: 0, but vma_supports_mlock() says no to VM_SPECIAL, without an error */

struct lock {
	bool all;		/* that the process has, and not the target alone */
	unsigned int flags;
	const char *flag;	/* of a mapping that is locked */
	bool unlock;		/* whether it is unlocked again */
};

static int do_lock(const struct pfnmap_target *target, const struct lock *lock)
{
	if (lock->all)
		return pfnmap_answer_of(mlockall(lock->flags));
	return pfnmap_answer_of(lock->flags ? mlock2(target->addr, LEN, lock->flags) :
					      mlock(target->addr, LEN));
}

static int do_unlock(const struct pfnmap_target *target, const struct lock *lock)
{
	return pfnmap_answer_of(lock->all ? munlockall() : munlock(target->addr, LEN));
}

/* Is it locked? By the flag, and of the target alone by VmLck, which has to agree. */
static int is_locked(const struct pfnmap_target *target, const struct lock *lock, long before)
{
	long kib = pfnmap_locked_kib() - before;
	int flag = pfnmap_vma_flag(target->addr, lock->flag);

	if (flag < 0)
		return flag;
	if (!lock->all && kib != (flag ? LEN / 1024 : 0))
		return -EPROTO;
	return flag;
}

static int lock_target(const struct pfnmap_target *target, const void *arg)
{
	const struct lock *lock = arg;
	long kib = pfnmap_locked_kib();
	char before[LEN];
	int err, locked;

	err = target->peek(target, before) ?: do_lock(target, lock) ?: pfnmap_target_kept(target);
	if (err)
		return err;

	locked = is_locked(target, lock, kib);
	if (locked < 0)
		return locked;
	err = pfnmap_target_matches(target, before);
	if (err)
		return err;
	if (!lock->unlock)
		return locked ? 0 : PFNMAP_IGNORED;

	err = do_unlock(target, lock);
	if (err)
		return err;
	if (is_locked(target, lock, kib))
		return -EPROTO;
	return pfnmap_target_matches(target, before) ?: locked ? 0 : PFNMAP_IGNORED;
}

#define LOCK(how...)							\
	.on_special = PFNMAP_IGNORED, .call = lock_target, .in_child = true,	\
	.arg = &(const struct lock) { how }

static const struct pfnmap_user lock_users[] = {
	{ .name = "mlock", LOCK(false, 0, "lo", false) },
	{ .name = "mlock2 MLOCK_ONFAULT", LOCK(false, MLOCK_ONFAULT, "lf", false) },
	{ .name = "munlock", LOCK(false, 0, "lo", true) },
	{ .name = "mlockall MCL_CURRENT", LOCK(true, MCL_CURRENT, "lo", false) },
	{ .name = "mlockall MCL_CURRENT | MCL_ONFAULT",
	  LOCK(true, MCL_CURRENT | MCL_ONFAULT, "lf", false) },
	{ .name = "munlockall", LOCK(true, MCL_CURRENT, "lo", true) },
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

	return pfnmap_answer_of(syscall(SYS_mbind, addr, len, mode,
					takes_nodes(mode) ? &nodes : NULL,
					takes_nodes(mode) ? 8 * sizeof(nodes) : 0, flags));
}

static int check_mode(const struct pfnmap_target *target, int mode)
{
	int found = -1;

	if (syscall(SYS_get_mempolicy, &found, NULL, 0, target->addr, MPOL_F_ADDR))
		return -errno;
	return found == mode ? 0 : -EPROTO;
}

/* Another policy goes before: one that is there already would not be set. */
static int bind_and_check(const struct pfnmap_target *target, char *addr, size_t len,
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
static int bind_both(const struct pfnmap_target *target, const void *arg)
{
	const struct policy *policy = arg;
	char before[LEN];
	int err = target->peek(target, before);

	if (!err)
		err = bind_and_check(target, target->map, target->map_len, policy);
	if (!err && !(policy->flags & MPOL_MF_STRICT))
		err = pfnmap_target_kept(target);
	if (!err)
		err = pfnmap_target_matches(target, before) ?: pfnmap_target_kept(target);
	return err ?: bind_and_check(target, target->addr, LEN, policy) ?:
	       pfnmap_target_matches(target, before);
}

/* Without a policy there is nothing that a home could be set in. */
static int set_home(const struct pfnmap_target *target, const void *arg)
{
	char before[LEN];
	int err = target->peek(target, before);

	(void)arg;
	if (err)
		return err;
	if (!syscall(SYS_set_mempolicy_home_node, target->addr, LEN, 0, 0) || errno != ENOENT)
		return -EPROTO;

	return bind_range(target->addr, LEN, MPOL_BIND, 0) ?:
	       pfnmap_answer_of(syscall(SYS_set_mempolicy_home_node, target->addr, LEN, 0, 0)) ?:
	       check_mode(target, MPOL_BIND) ?: pfnmap_target_matches(target, before);
}

/* Where is the page? lookup_node() asks get_user_pages_fast(). */
static int get_node(const struct pfnmap_target *target)
{
	int node = -1;

	if (syscall(SYS_get_mempolicy, &node, NULL, 0, target->addr, MPOL_F_NODE | MPOL_F_ADDR))
		return -errno;
	return node >= 0 ? 0 : -EPROTO;
}

#define BIND(mode, flags)						\
	.call = bind_both, .in_child = true,				\
	.arg = &(const struct policy) { mode, flags }

static const struct pfnmap_user policy_users[] = {
	{ .name = "mbind MPOL_DEFAULT", BIND(MPOL_DEFAULT, 0) },
	{ .name = "mbind MPOL_PREFERRED", BIND(MPOL_PREFERRED, 0) },
	{ .name = "mbind MPOL_BIND", BIND(MPOL_BIND, 0) },
	{ .name = "mbind MPOL_INTERLEAVE", BIND(MPOL_INTERLEAVE, 0) },
	{ .name = "mbind MPOL_LOCAL", BIND(MPOL_LOCAL, 0) },
	{ .name = "mbind MPOL_PREFERRED_MANY", BIND(MPOL_PREFERRED_MANY, 0) },
	{ .name = "mbind MPOL_WEIGHTED_INTERLEAVE", BIND(PFNMAP_MPOL_WEIGHTED_INTERLEAVE, 0) },
	{ .name = "mbind MPOL_MF_STRICT", BIND(MPOL_BIND, MPOL_MF_STRICT) },
	{ .name = "mbind MPOL_MF_MOVE", BIND(MPOL_BIND, MPOL_MF_MOVE) },
	{ .name = "mbind MPOL_MF_MOVE_ALL", BIND(MPOL_BIND, MPOL_MF_MOVE_ALL) },
	{ .name = "mbind MPOL_MF_MOVE | MPOL_MF_STRICT",
	  BIND(MPOL_BIND, MPOL_MF_MOVE | MPOL_MF_STRICT) },
	{ .name = "set_mempolicy_home_node", .call = set_home, .in_child = true },
	{ .name = "get_mempolicy MPOL_F_NODE | MPOL_F_ADDR", .on_special = -EFAULT,
	  .run = get_node },
};

/* mseal(): what is sealed cannot be changed, whatever it maps; nor unsealed, hence the children */

static int seal_range(char *addr, size_t len)
{
	return pfnmap_answer_of(syscall(SYS_mseal, addr, len, 0));
}

static int unmap(const struct pfnmap_target *target)
{
	return pfnmap_answer_of(munmap(target->addr, LEN));
}

static int protect(const struct pfnmap_target *target)
{
	return pfnmap_answer_of(mprotect(target->addr, LEN, PROT_READ));
}

static int protect_by_key(const struct pfnmap_target *target)
{
	return pfnmap_answer_of(pkey_mprotect(target->addr, LEN, PROT_READ, -1));
}

static int move(const struct pfnmap_target *target)
{
	void *to;
	int err = pfnmap_reserve(LEN, PFNMAP_PAGE, &to);

	if (err)
		return err;
	return mremap(target->addr, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ?
	       0 : -errno;
}

static int map_over(const struct pfnmap_target *target)
{
	return mmap(target->addr, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	       target->addr ? 0 : -errno;
}

struct sealed {
	int (*call)(const struct pfnmap_target *target);
};

static int call_unsealed(const struct pfnmap_target *target, const void *arg)
{
	const struct sealed *sealed = arg;

	return sealed->call(target);
}

static int call_sealed(const struct pfnmap_target *target, const void *arg)
{
	const struct sealed *sealed = arg;
	char before[LEN];
	int answer, err = target->peek(target, before) ?: seal_range(target->addr, LEN);

	if (err)
		return err;
	answer = sealed->call(target);
	return pfnmap_target_matches(target, before) ?: answer;
}

/* What works before the seal is refused because of it. */
static int seal_then_call(const struct pfnmap_target *target, const void *arg)
{
	return pfnmap_target_in_child(target, call_unsealed, arg) ?:
	       pfnmap_target_in_child(target, call_sealed, arg);
}

static int seal_and_check(const struct pfnmap_target *target, char *addr, size_t len)
{
	char before[LEN];
	int flag, err = target->peek(target, before) ?: seal_range(addr, len);

	/* The whole mapping is not split for it. */
	if (!err && len == target->map_len)
		err = pfnmap_target_kept(target);
	if (err)
		return err;
	flag = pfnmap_vma_flag(target->addr, "sl");
	if (flag < 0)
		return flag;
	return flag ? pfnmap_target_matches(target, before) : PFNMAP_IGNORED;
}

static int seal_part(const struct pfnmap_target *target, const void *arg)
{
	(void)arg;
	return seal_and_check(target, target->addr, LEN);
}

static int seal_whole(const struct pfnmap_target *target, const void *arg)
{
	(void)arg;
	return seal_and_check(target, target->map, target->map_len);
}

static int seal_in_child(const struct pfnmap_target *target)
{
	return pfnmap_target_in_child(target, seal_part, NULL) ?:
	       pfnmap_target_in_child(target, seal_whole, NULL);
}

#define SEALED(call_sealed)						\
	.on_special = -EPERM, .on_ordinary = -EPERM,			\
	.call = seal_then_call, .arg = &(const struct sealed) { call_sealed }

static const struct pfnmap_user seal_users[] = {
	/* __mseal_range(): of any mapping */
	{ .name = "mseal", .run = seal_in_child },
	{ .name = "munmap, sealed", SEALED(unmap) },
	{ .name = "mprotect, sealed", SEALED(protect) },
	{ .name = "pkey_mprotect, sealed", SEALED(protect_by_key) },
	{ .name = "mremap, sealed", SEALED(move) },
	{ .name = "mmap MAP_FIXED, sealed", SEALED(map_over) },
};

/* msync(): a device's file cannot be synchronised, and only MS_SYNC asks it */

static int sync_target(const struct pfnmap_target *target, const void *arg)
{
	char before[LEN];

	return target->peek(target, before) ?:
	       pfnmap_answer_of(msync(target->addr, LEN, *(const int *)arg)) ?:
	       pfnmap_target_matches(target, before);
}

#define SYNC(flags)							\
	.ordinary = pfnmap_target_shared, .call = sync_target, .arg = &(const int) { flags }

/*
 * remap_file_pages() is an mmap() of the same file at another offset: here at the same one. A
 * driver whose offsets are names of buffers says EINVAL to one that is in the middle of a buffer,
 * and then the old mapping is gone: __mmap_setup() has closed it before the driver is asked, and
 * vms_abort_munmap_vmas() leaves a gap (mm/vma.c).
 */
static int remap_pages(const struct pfnmap_target *target, const void *arg)
{
	struct pfnmap_vma vma;
	char before[LEN];
	uint64_t offset;
	int err;

	(void)arg;
	err = target->peek(target, before) ?: pfnmap_vma_read(target->addr, &vma);
	if (err)
		return err;

	offset = vma.offset + ((uintptr_t)target->addr - vma.start);
	err = pfnmap_answer_of(syscall(SYS_remap_file_pages, target->addr, LEN, 0,
				       offset / PFNMAP_PAGE, 0));
	if (err)
		return pfnmap_signal_of(target->addr, PFNMAP_READ) == SIGSEGV ? err : -EPROTO;
	return pfnmap_target_matches(target, before);
}

static const struct pfnmap_user file_users[] = {
	{ .name = "msync MS_ASYNC", SYNC(MS_ASYNC) },
	{ .name = "msync MS_INVALIDATE", SYNC(MS_INVALIDATE) },
	{ .name = "msync MS_ASYNC | MS_INVALIDATE", SYNC(MS_ASYNC | MS_INVALIDATE) },
	/* vfs_fsync_range(): no such operation */
	{ .name = "msync MS_SYNC", .on_special = -EINVAL, SYNC(MS_SYNC) },
	{ .name = "msync MS_SYNC | MS_INVALIDATE", .on_special = -EINVAL,
	  SYNC(MS_SYNC | MS_INVALIDATE) },
	{ .name = "remap_file_pages", .on_special = -EINVAL, .ordinary = pfnmap_target_shared,
	  .call = remap_pages, .in_child = true },
};

/* pkey_mprotect(): the key is in the entry, and the CPU looks at it whatever the entry maps */

struct key {
	unsigned int rights;
	enum pfnmap_access access;	/* what they forbid */
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
static int segv_code_of(char *addr, enum pfnmap_access access)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO }, old;

	segv_code = 0;
	sigaction(SIGSEGV, &action, &old);
	if (!sigsetjmp(escape, 1)) {
		if (access == PFNMAP_WRITE)
			__atomic_fetch_or((uint64_t *)addr, 0, __ATOMIC_RELAXED);
		else
			pfnmap_load(addr);
	}
	sigaction(SIGSEGV, &old, NULL);
	return segv_code;
}

/* Does the kernel, which reads on behalf of the process, get at it? */
static int read_by_kernel(const struct pfnmap_target *target)
{
	int pipe_fd[2], err;

	if (pipe(pipe_fd))
		return -errno;

	err = pfnmap_answer_of(write(pipe_fd[1], target->addr, PFNMAP_PAGE));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return err;
}

/* A signal sets the rights back, so they are set anew for each access. */
static int check_forbidden(const struct pfnmap_target *target, const struct key *key, int pkey)
{
	bool reads = key->access == PFNMAP_WRITE;

	pkey_set(pkey, key->rights);
	if (segv_code_of(target->addr, key->access) != SEGV_PKUERR)
		return -EPROTO;
	pkey_set(pkey, key->rights);
	if (reads && segv_code_of(target->addr, PFNMAP_READ))
		return -EPROTO;
	return read_by_kernel(target) == (reads ? 0 : -EFAULT) ? 0 : -EPROTO;
}

static int lock_by_key(const struct pfnmap_target *target, char *addr, size_t len,
		       const struct key *key)
{
	int pkey = pkey_alloc(0, 0), err;
	char before[LEN];

	if (pkey < 0)
		return -ENODEV;

	err = target->peek(target, before) ?:
	      pfnmap_answer_of(pkey_mprotect(addr, len, PROT_READ | PROT_WRITE, pkey)) ?:
	      pfnmap_target_matches(target, before) ?: check_forbidden(target, key, pkey);
	if (err)
		return err;

	pkey_set(pkey, 0);
	if (segv_code_of(target->addr, PFNMAP_WRITE))
		return -EPROTO;
	return pfnmap_target_matches(target, before);
}

static int lock_part_by_key(const struct pfnmap_target *target, const void *arg)
{
	return lock_by_key(target, target->addr, LEN, arg);
}

static int lock_whole_by_key(const struct pfnmap_target *target, const void *arg)
{
	return lock_by_key(target, target->map, target->map_len, arg) ?: pfnmap_target_kept(target);
}

static int use_key(const struct pfnmap_target *target, const void *arg)
{
	return pfnmap_target_in_child(target, lock_whole_by_key, arg) ?:
	       pfnmap_target_in_child(target, lock_part_by_key, arg);
}

#define KEY(rights, access)						\
	.needs = "CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS",		\
	.call = use_key, .arg = &(const struct key) { rights, access }

static const struct pfnmap_user key_users[] = {
	{ .name = "pkey_mprotect PKEY_DISABLE_ACCESS", KEY(PKEY_DISABLE_ACCESS, PFNMAP_READ) },
	{ .name = "pkey_mprotect PKEY_DISABLE_WRITE", KEY(PKEY_DISABLE_WRITE, PFNMAP_WRITE) },
};

const struct pfnmap_user_family pfnmap_mm_families[] = {
	PFNMAP_FAMILY("madvise", "Each advice has its answer, and leaves bytes and leaves alone.",
		      pfnmap_madvise_users),
	PFNMAP_FAMILY("process-madvise",
		      "So has advice by process_madvise(), for oneself and for others.",
		      pfnmap_process_madvise_users),
	PFNMAP_FAMILY("mlock", "mlock() and its like succeed and lock nothing.", lock_users),
	PFNMAP_FAMILY("mempolicy",
		      "Policies for memory are kept with the mapping, and move nothing.",
		      policy_users),
	PFNMAP_FAMILY("mseal", "What is sealed can be used, but neither unmapped nor changed.",
		      seal_users),
	{ .name = "file", .describe = "Calls that ask the file of the mapping: it is a device's.",
	  .users = file_users,
	  .count = ARRAY_SIZE(file_users) },
	PFNMAP_FAMILY("pkey", "A key that forbids access does so on leaves of any size.",
		      key_users),
};

const size_t pfnmap_mm_family_count = ARRAY_SIZE(pfnmap_mm_families);
