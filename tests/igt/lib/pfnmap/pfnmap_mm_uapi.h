/* SPDX-License-Identifier: MIT */
/*
 * What of the calls of mm a distribution's headers may be too old to know. The numbers are ABI.
 */
#ifndef PFNMAP_MM_UAPI_H
#define PFNMAP_MM_UAPI_H

#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE			25
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL		102
#define MADV_GUARD_REMOVE		103
#endif

#ifndef SYS_mseal
#define SYS_mseal			462
#endif

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node	450
#endif

/* An enumerator of the header, if it has it, so that no macro may have its name. */
#define PFNMAP_MPOL_WEIGHTED_INTERLEAVE	6

#ifndef SEGV_PKUERR
#define SEGV_PKUERR			4
#endif

#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED	(1 << 1)
#endif

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif

#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE		(1 << 16)
#define UFFDIO_MOVE			_IOWR(UFFDIO, 0x05, struct uffdio_move)

struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#endif

#ifndef UFFDIO_REGISTER_MODE_RWP
#define UFFD_FEATURE_RWP		(1 << 17)
#define UFFDIO_REGISTER_MODE_RWP	((__u64)1 << 3)
#endif

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN			_IOWR('f', 16, struct pm_scan_arg)
#define PM_SCAN_WP_MATCHING		(1 << 0)
#define PM_SCAN_CHECK_WPASYNC		(1 << 1)
#define PAGE_IS_WRITTEN			(1 << 1)
#define PAGE_IS_PRESENT			(1 << 3)

struct page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};

struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
#endif

#endif
