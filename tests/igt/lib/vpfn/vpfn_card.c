// SPDX-License-Identifier: MIT
/*
 * How does a card come and go, and what does the kernel tell of it?
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vpfn/vpfn_card.h"

#define DEVICES	"/sys/bus/pci/devices/"
#define DRIVER	"/sys/bus/pci/drivers/vpfn/"

/**
 * vpfn_card_name:
 * @fd: DRM file descriptor
 * @name: where the name of its PCI device goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_card_name(int fd, char name[VPFN_PCI_NAME])
{
	char path[64], device[PATH_MAX];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device",
		 major(st.st_rdev), minor(st.st_rdev));
	if (!realpath(path, device))
		return -errno;

	snprintf(name, VPFN_PCI_NAME, "%s", strrchr(device, '/') + 1);
	return 0;
}

/**
 * vpfn_card_is_there:
 * @name: name of the PCI device
 *
 * Returns: whether the kernel knows such a device.
 */
bool vpfn_card_is_there(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "%s", name);
	return !access(path, F_OK);
}

/**
 * vpfn_card_is_bound:
 * @name: name of the PCI device
 *
 * Returns: whether the driver has it.
 */
bool vpfn_card_is_bound(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DRIVER "%s", name);
	return !access(path, F_OK);
}

static bool is_gone(const void *name)
{
	return !vpfn_card_is_there(name);
}

/* The link to the driver is there before probe is done; the node is the last thing it makes. */
static bool has_node(const void *name)
{
	int fd = vpfn_card_is_bound(name) ? vpfn_card_open(name, O_RDWR) : -ENODEV;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/**
 * vpfn_card_wait_gone:
 * @name: name of the PCI device
 *
 * Returns: 0 once the kernel knows it no more, or -ETIME.
 */
int vpfn_card_wait_gone(const char *name)
{
	return pfnmap_wait_until(is_gone, name);
}

/**
 * vpfn_card_wait_bound:
 * @name: name of the PCI device
 *
 * Returns: 0 once it can be opened, or -ETIME.
 */
int vpfn_card_wait_bound(const char *name)
{
	return pfnmap_wait_until(has_node, name);
}

/**
 * vpfn_card_bind:
 * @name: name of the PCI device
 *
 * Returns: 0 or the negative errno of the driver's probe.
 */
int vpfn_card_bind(const char *name)
{
	return pfnmap_text_write(DRIVER "bind", name);
}

/**
 * vpfn_card_unbind:
 * @name: name of the PCI device
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_card_unbind(const char *name)
{
	return pfnmap_text_write(DRIVER "unbind", name);
}

/**
 * vpfn_card_get:
 * @name: name of the PCI device
 * @attribute: a file in its directory
 * @text: where what it says goes
 * @size: room for it
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_card_get(const char *name, const char *attribute, char *text, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "%s/%s", name, attribute);
	return pfnmap_text_read(path, text, size);
}

/**
 * vpfn_card_set:
 * @name: name of the PCI device
 * @attribute: a file in its directory
 * @text: what to tell it
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_card_set(const char *name, const char *attribute, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "%s/%s", name, attribute);
	return pfnmap_text_write(path, text);
}

static int open_node(const char *name, const char *pattern, int oflags)
{
	char path[PATH_MAX];
	glob_t nodes;
	int fd = -ENODEV;

	snprintf(path, sizeof(path), DEVICES "%s/drm/%s", name, pattern);
	if (glob(path, 0, NULL, &nodes))
		return -ENODEV;

	snprintf(path, sizeof(path), "/dev/dri/%s", strrchr(nodes.gl_pathv[0], '/') + 1);
	globfree(&nodes);
	fd = open(path, oflags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/**
 * vpfn_card_open:
 * @name: name of the PCI device
 * @oflags: flags for open(2)
 *
 * Returns: a file descriptor of its render node, or a negative errno.
 */
int vpfn_card_open(const char *name, int oflags)
{
	return open_node(name, "renderD*", oflags);
}

/**
 * vpfn_card_open_primary:
 * @name: name of the PCI device
 * @oflags: flags for open(2)
 *
 * Returns: a file descriptor of its primary node, or a negative errno.
 */
int vpfn_card_open_primary(const char *name, int oflags)
{
	return open_node(name, "card*", oflags);
}

/**
 * vpfn_debugfs_path:
 * @fd: DRM file descriptor
 * @file: a file in the device's directory of debugfs
 * @path: where its path goes
 * @size: room for it
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_debugfs_path(int fd, const char *file, char *path, size_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;

	snprintf(path, size, "/sys/kernel/debug/dri/%u/%s", minor(st.st_rdev), file);
	return 0;
}

/**
 * vpfn_evict:
 * @fd: DRM file descriptor
 *
 * Has every buffer leave the device memory that can.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_evict(int fd)
{
	char path[64];

	return vpfn_debugfs_path(fd, "evict", path, sizeof(path)) ?: pfnmap_text_write(path, "1");
}
