/* SPDX-License-Identifier: MIT */
/*
 * All users of the memory of a process that the tests know, by family.
 */
#ifndef PFNMAP_USERS_H
#define PFNMAP_USERS_H

#include "pfnmap/pfnmap_target.h"

/* Those who want the pages: get_user_pages() and who calls it. */
extern const struct pfnmap_user_family pfnmap_gup_families[];
extern const size_t pfnmap_gup_family_count;

/* Those to whom the page matters, and not its bytes alone. */
extern const struct pfnmap_user_family pfnmap_page_families[];
extern const size_t pfnmap_page_family_count;

/* Those who report that memory has gone bad: two pages of ordinary memory are offlined. */
extern const struct pfnmap_user_family pfnmap_failure_families[];
extern const size_t pfnmap_failure_family_count;

/* Calls that change a mapping, or want to; those that only look at one. */
extern const struct pfnmap_user_family pfnmap_mm_families[];
extern const size_t pfnmap_mm_family_count;

extern const struct pfnmap_user_family pfnmap_look_families[];
extern const size_t pfnmap_look_family_count;

/* Reads and writes of a file or a disk, which has to be named first. */
enum pfnmap_io_kind {
	PFNMAP_IO_READ,		/* pins pages, for O_DIRECT */
	PFNMAP_IO_WRITE,		/* likewise */
	PFNMAP_IO_REGISTERED,	/* has its pages pinned by io_uring before it begins */
	PFNMAP_IO_COPY,		/* pins nothing, wherever the file is */
};

extern const struct pfnmap_user pfnmap_io_users[];
extern const size_t pfnmap_io_user_count;

/* Those who always answer in the same way on ext4. */
extern const struct pfnmap_user_family pfnmap_ext4_families[];
extern const size_t pfnmap_ext4_family_count;

int pfnmap_io_set_file(const char *path);
enum pfnmap_io_kind pfnmap_io_kind_of(const struct pfnmap_user *user);

/* Devices of V4L2 that are given memory of a process. */
extern const struct pfnmap_user_family pfnmap_video_families[];
extern const size_t pfnmap_video_family_count;

/* Commands to disks, atomic writes, 9p. */
extern const struct pfnmap_user_family pfnmap_command_families[];
extern const size_t pfnmap_command_family_count;

extern const struct pfnmap_user_family pfnmap_fuse_families[];
extern const size_t pfnmap_fuse_family_count;

/* Sockets, and vhost, which is one to a guest. */
extern const struct pfnmap_user_family pfnmap_net_families[];
extern const size_t pfnmap_net_family_count;
extern const struct pfnmap_user pfnmap_vhost_user;

/* perf's samples of data addresses. */
extern const struct pfnmap_user_family pfnmap_trace_families[];
extern const size_t pfnmap_trace_family_count;

#endif
