// SPDX-License-Identifier: MIT
/*
 * Where do disk and file system for direct I/O come from?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vpfn_bo.h"
#include "vpfn_disk.h"

#define NULLB_DIR	"/sys/kernel/config/nullb"
#define SIZE_MIB	"64"

/**
 * vpfn_shell:
 * @command: a shell command
 *
 * Returns: 0, or -EIO if the command fails.
 */
int vpfn_shell(const char *command)
{
	return system(command) ? -EIO : 0;
}

/* The configfs directory of a disk has the name of its device. */
static void config_path(const struct vpfn_disk *disk, const char *file, char *path, size_t size)
{
	snprintf(path, size, NULLB_DIR "/%s/%s", disk->device + strlen("/dev/"), file);
}

static int set_attribute(const struct vpfn_disk *disk, const char *name, const char *value)
{
	char path[160];
	int fd, err = 0;

	config_path(disk, name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int power_on(const struct vpfn_disk *disk)
{
	static const char * const settings[][2] = {
		{ "size", SIZE_MIB },
		{ "memory_backed", "1" },
		{ "power", "1" },
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(settings) && !err; i++)
		err = set_attribute(disk, settings[i][0], settings[i][1]);
	return err;
}

/**
 * vpfn_disk_create:
 * @disk: the disk, empty
 *
 * Returns: 0 or a negative errno, -ENOENT if the kernel lacks null_blk.
 */
int vpfn_disk_create(struct vpfn_disk *disk)
{
	char path[160];
	int err;

	if (access(NULLB_DIR, F_OK))
		vpfn_shell("modprobe -q null_blk nr_devices=0");

	*disk = (struct vpfn_disk) {};
	snprintf(disk->device, sizeof(disk->device), "/dev/vpfn-scratch-%d", getpid());
	config_path(disk, "", path, sizeof(path));
	err = mkdir(path, 0700) ? -errno : power_on(disk);
	if (err)
		vpfn_disk_remove(disk);
	return err;
}

/**
 * vpfn_disk_mount_ext4:
 * @disk: the disk, which gets an empty ext4 and a mount point
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_disk_mount_ext4(struct vpfn_disk *disk)
{
	char dir[] = "/tmp/vpfn-ext4-XXXXXX", command[128];
	int err;

	snprintf(command, sizeof(command), "mkfs.ext4 -q -F -E nodiscard %s", disk->device);
	err = vpfn_shell(command);
	if (err)
		return err;

	if (!mkdtemp(dir))
		return -errno;

	if (mount(disk->device, dir, "ext4", 0, NULL)) {
		err = -errno;
		rmdir(dir);
		return err;
	}
	memcpy(disk->mount, dir, sizeof(dir));
	return 0;
}

/**
 * vpfn_disk_remove:
 * @disk: the disk; whatever there is of it goes, unless somebody has a file open on it
 */
void vpfn_disk_remove(struct vpfn_disk *disk)
{
	char path[160];

	if (disk->mount[0]) {
		if (umount(disk->mount))
			return;
		rmdir(disk->mount);
	}
	if (disk->device[0]) {
		set_attribute(disk, "power", "0");
		config_path(disk, "", path, sizeof(path));
		rmdir(path);
	}
	*disk = (struct vpfn_disk) {};
}
