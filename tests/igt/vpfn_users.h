/* SPDX-License-Identifier: MIT */
/*
 * All users of the memory of a process that the tests know, by family.
 */
#ifndef VPFN_USERS_H
#define VPFN_USERS_H

#include "vpfn_target.h"

/* Those who want the pages: get_user_pages() and who calls it. */
extern const struct vpfn_user_family vpfn_gup_families[];
extern const size_t vpfn_gup_family_count;

/* Those to whom the page matters, and not its bytes alone. */
extern const struct vpfn_user_family vpfn_page_families[];
extern const size_t vpfn_page_family_count;

/* Calls that change a mapping, or want to; those that only look at one. */
extern const struct vpfn_user_family vpfn_mm_families[];
extern const size_t vpfn_mm_family_count;

extern const struct vpfn_user_family vpfn_look_families[];
extern const size_t vpfn_look_family_count;

/* Reads and writes of a file or a disk, which has to be named first. */
enum vpfn_io_kind {
	VPFN_IO_READ,		/* pins pages, for O_DIRECT */
	VPFN_IO_WRITE,		/* likewise */
	VPFN_IO_REGISTERED,	/* has its pages pinned by io_uring before it begins */
	VPFN_IO_COPY,		/* pins nothing, wherever the file is */
};

extern const struct vpfn_user vpfn_io_users[];
extern const size_t vpfn_io_user_count;

int vpfn_io_set_file(const char *path);
enum vpfn_io_kind vpfn_io_kind_of(const struct vpfn_user *user);

/* Devices of V4L2 that are given memory of a process. */
extern const struct vpfn_user_family vpfn_video_families[];
extern const size_t vpfn_video_family_count;

/* Commands to disks, atomic writes, 9p. */
extern const struct vpfn_user_family vpfn_command_families[];
extern const size_t vpfn_command_family_count;

extern const struct vpfn_user_family vpfn_fuse_families[];
extern const size_t vpfn_fuse_family_count;

/* Sockets, and vhost, which is one to a guest. */
extern const struct vpfn_user_family vpfn_net_families[];
extern const size_t vpfn_net_family_count;
extern const struct vpfn_user vpfn_vhost_user;

/* perf's samples of data addresses. */
extern const struct vpfn_user_family vpfn_trace_families[];
extern const size_t vpfn_trace_family_count;

#endif
