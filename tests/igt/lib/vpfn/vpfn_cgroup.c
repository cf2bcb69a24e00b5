// SPDX-License-Identifier: MIT
/*
 * What is charged to a control group, and what may it have?
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_cgroup.h"

#define ROOT		"/sys/fs/cgroup"
#define TEXT_SIZE	8192

const struct vpfn_cgroup vpfn_cgroup_root = { ROOT };

static void path_of(const struct vpfn_cgroup *group, const char *file, char path[128])
{
	snprintf(path, 128, "%s/%s", group->path, file);
}

/**
 * vpfn_cgroup_make:
 * @name: name of the group
 * @controller: the controller that it needs
 * @group: the group, new and without limits
 *
 * Returns: 0, -ENOENT if the kernel lacks the controller, or another negative errno.
 */
int vpfn_cgroup_make(const char *name, const char *controller, struct vpfn_cgroup *group)
{
	char enable[32], controllers[256];
	int err;

	if (access(ROOT "/cgroup.controllers", F_OK))
		mount("cgroup2", ROOT, "cgroup2", 0, NULL);
	err = pfnmap_text_read(ROOT "/cgroup.controllers", controllers, sizeof(controllers));
	if (err)
		return err;
	if (!strstr(controllers, controller))
		return -ENOENT;

	snprintf(enable, sizeof(enable), "+%s", controller);
	err = vpfn_cgroup_write(&vpfn_cgroup_root, "cgroup.subtree_control", enable);
	if (err)
		return err;

	snprintf(group->path, sizeof(group->path), ROOT "/%s", name);
	rmdir(group->path);
	return mkdir(group->path, 0755) ? -errno : 0;
}

/**
 * vpfn_cgroup_remove:
 * @group: a group without processes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_cgroup_remove(const struct vpfn_cgroup *group)
{
	return rmdir(group->path) ? -errno : 0;
}

/**
 * vpfn_cgroup_join:
 * @group: the group that pays from now on for what this process allocates
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_cgroup_join(const struct vpfn_cgroup *group)
{
	return vpfn_cgroup_write(group, "cgroup.procs", "0");
}

/**
 * vpfn_cgroup_write:
 * @group: the group
 * @file: one of its files
 * @text: what to write
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_cgroup_write(const struct vpfn_cgroup *group, const char *file, const char *text)
{
	char path[128];

	path_of(group, file, path);
	return pfnmap_text_write(path, text);
}

/* The first line at or after @text that begins with @key and a space. */
static const char *find_line(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && (strncmp(text, key, len) || text[len] != ' ')) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text;
}

/**
 * vpfn_cgroup_read:
 * @group: the group
 * @file: one of its files
 * @key: the line that is wanted, or NULL if the file holds a number alone
 * @value: where the number goes, UINT64_MAX for "max"
 *
 * Returns: 0, -ENOENT if there is no such line, or another negative errno.
 */
int vpfn_cgroup_read(const struct vpfn_cgroup *group, const char *file, const char *key,
		     uint64_t *value)
{
	char path[128], text[TEXT_SIZE];
	const char *at = text;
	int err;

	path_of(group, file, path);
	err = pfnmap_text_read(path, text, sizeof(text));
	if (err)
		return err;

	if (key) {
		at = find_line(text, key);
		if (!at)
			return -ENOENT;
		at += strlen(key) + 1;
	}
	if (!strncmp(at, "max", 3)) {
		*value = UINT64_MAX;
		return 0;
	}
	return sscanf(at, "%" SCNu64, value) == 1 ? 0 : -EPROTO;
}

/**
 * vpfn_cgroup_count:
 * @group: the group
 * @file: one of its files
 * @key: what the lines begin with that are counted
 *
 * Returns: the number of lines or a negative errno.
 */
int vpfn_cgroup_count(const struct vpfn_cgroup *group, const char *file, const char *key)
{
	char path[128], text[TEXT_SIZE];
	const char *at = text;
	int err, count = 0;

	path_of(group, file, path);
	err = pfnmap_text_read(path, text, sizeof(text));
	if (err)
		return err;

	while ((at = find_line(at, key))) {
		at += strlen(key);
		count++;
	}
	return count;
}
