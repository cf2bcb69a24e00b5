/* SPDX-License-Identifier: MIT */
/*
 * What is charged to a control group, and what may it have? Groups of a test's own, below the
 * root of cgroup v2.
 *
 * No function here knows IGT; each returns 0 or a negative errno.
 */
#ifndef VPFN_CGROUP_H
#define VPFN_CGROUP_H

#include <stdint.h>

struct vpfn_cgroup {
	char path[64];
};

extern const struct vpfn_cgroup vpfn_cgroup_root;

int vpfn_cgroup_make(const char *name, const char *controller, struct vpfn_cgroup *group);
int vpfn_cgroup_remove(const struct vpfn_cgroup *group);
int vpfn_cgroup_join(const struct vpfn_cgroup *group);

/* The files of a group: some hold a number, some a line "KEY NUMBER" for each key. */
int vpfn_cgroup_write(const struct vpfn_cgroup *group, const char *file, const char *text);
int vpfn_cgroup_read(const struct vpfn_cgroup *group, const char *file, const char *key,
		     uint64_t *value);
int vpfn_cgroup_count(const struct vpfn_cgroup *group, const char *file, const char *key);

#endif
