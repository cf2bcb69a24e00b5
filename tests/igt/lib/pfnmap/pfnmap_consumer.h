/* SPDX-License-Identifier: MIT */
/*
 * What do consumers of user memory return? Each consumer
 * takes some memory and returns 0 or the negative errno of the kernel's answer. A consumer that
 * claims success has moved the right bytes: if not, it returns -EBADMSG.
 *
 * No function here knows IGT.
 */
#ifndef PFNMAP_CONSUMER_H
#define PFNMAP_CONSUMER_H

#include <stddef.h>

/* What some consumers need; -1 is "not there", and such a consumer returns -ENODEV. */
struct pfnmap_consumer_env {
	int direct_fd;		/* a file open for O_DIRECT, its first bytes are scratch */
	int buffered_fd;	/* a file open without O_DIRECT, its first bytes are scratch */
	int vivid_fd;		/* a capture node of vivid */
};

struct pfnmap_consumer {
	const char *name;
	int answer_on_pfnmap;	/* what it must answer on a special mapping, of each size */
	int (*run)(const struct pfnmap_consumer_env *env, void *addr, size_t len);
};

extern const struct pfnmap_consumer pfnmap_consumers[];
extern const size_t pfnmap_consumer_count;

/* The O_DIRECT pair on its own, for a descriptor of the caller's. */
int pfnmap_write_direct(int fd, const void *addr, size_t len);
int pfnmap_read_direct(int fd, void *addr, size_t len);

/* Sets a file's first bytes, and compares them, through ordinary memory. */
int pfnmap_file_set(int fd, const void *bytes, size_t len);
int pfnmap_file_compare(int fd, const void *bytes, size_t len);

int pfnmap_vivid_open(void);
void *pfnmap_anonymous(size_t len);

#endif
