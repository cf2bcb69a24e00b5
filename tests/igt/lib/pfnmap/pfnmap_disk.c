// SPDX-License-Identifier: MIT
/*
 * Where do disk and file system for direct I/O come from?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"

#define NULLB_DIR	"/sys/kernel/config/nullb"

/* mkfs.xfs wants 300 at least; memory is taken for what is written alone. */
#define SIZE_MIB	"512"
#define LOOP_SIZE	(64l << 20)

#define LOOP_PREFIX	"/dev/loop"

/**
 * pfnmap_shell:
 * @command: a shell command
 *
 * Returns: 0, or -EIO if the command fails.
 */
int pfnmap_shell(const char *command)
{
	return system(command) ? -EIO : 0;
}

static const char *disk_name(const struct pfnmap_disk *disk)
{
	return disk->device + strlen("/dev/");
}

/* The configfs directory of a disk has the name of its device. */
static void config_path(const struct pfnmap_disk *disk, const char *file, char *path, size_t size)
{
	snprintf(path, size, NULLB_DIR "/%s/%s", disk_name(disk), file);
}

static int write_string(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;

	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int set_attribute(const struct pfnmap_disk *disk, const char *name, const char *value)
{
	char path[160];

	config_path(disk, name, path, sizeof(path));
	return write_string(path, value);
}

static int power_on(const struct pfnmap_disk *disk)
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
 * pfnmap_disk_create:
 * @disk: the disk, empty
 *
 * Returns: 0 or a negative errno, -ENOENT if the kernel lacks null_blk.
 */
int pfnmap_disk_create(struct pfnmap_disk *disk)
{
	static unsigned int count;
	char path[160];
	int err;

	if (access(NULLB_DIR, F_OK))
		pfnmap_shell("modprobe -q null_blk nr_devices=0");

	*disk = (struct pfnmap_disk) {};
	snprintf(disk->device, sizeof(disk->device), "/dev/pfn-scratch-%d-%u",
		 getpid(), count++);
	config_path(disk, "", path, sizeof(path));
	err = mkdir(path, 0700) ? -errno : power_on(disk);
	if (err)
		pfnmap_disk_remove(disk);
	return err;
}

/* A file without a name, whose pages are those of tmpfs, behind a loop device. */
static int configure_loop(const char *device)
{
	struct loop_config config = {};
	int backing = memfd_create("pfnmap-loop", MFD_CLOEXEC), loop, err = 0;

	if (backing < 0)
		return -errno;

	config.fd = backing;
	loop = open(device, O_RDWR | O_CLOEXEC);
	if (loop < 0 || ftruncate(backing, LOOP_SIZE) || ioctl(loop, LOOP_CONFIGURE, &config))
		err = -errno;
	if (loop >= 0)
		close(loop);
	close(backing);
	return err;
}

/**
 * pfnmap_disk_create_loop:
 * @disk: the disk, empty
 *
 * Returns: 0 or a negative errno, -ENOENT if the kernel lacks loop devices.
 */
int pfnmap_disk_create_loop(struct pfnmap_disk *disk)
{
	char device[sizeof(disk->device)];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n, err;

	*disk = (struct pfnmap_disk) {};
	if (control < 0)
		return -errno;

	/* It may have been taken meanwhile: then it is busy. */
	do {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(device, sizeof(device), LOOP_PREFIX "%d", n);
		err = n < 0 ? -errno : configure_loop(device);
	} while (err == -EBUSY);
	close(control);
	if (!err)
		memcpy(disk->device, device, sizeof(device));
	return err;
}

/**
 * pfnmap_disk_want_stable_writes:
 * @disk: the disk, not mounted
 *
 * Makes the disk demand that memory does not change while it is written, as disks with checksums
 * do.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_disk_want_stable_writes(const struct pfnmap_disk *disk)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/stable_writes", disk_name(disk));
	return write_string(path, "1");
}

/* Blocks that were never written need not be discarded. */
static int make_file_system(const struct pfnmap_disk *disk, const char *type)
{
	static const char * const options[][2] = {
		{ "btrfs", "-q -f -K" },
		{ "ext4", "-q -F -E nodiscard" },
		{ "xfs", "-q -f -K" },
	};
	char command[128];

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(type, options[i][0]))
			continue;
		snprintf(command, sizeof(command), "mkfs.%s %s %s", type, options[i][1],
			 disk->device);
		return pfnmap_shell(command);
	}
	return -EINVAL;
}

/**
 * pfnmap_disk_mount:
 * @disk: the disk, which gets an empty file system and a mount point; one without a device is
 *	for tmpfs
 * @type: the file system's
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_disk_mount(struct pfnmap_disk *disk, const char *type)
{
	char dir[] = "/tmp/pfnmap-mount-XXXXXX";
	int err = disk->device[0] ? make_file_system(disk, type) : 0;

	if (err)
		return err;

	if (!mkdtemp(dir))
		return -errno;

	if (mount(disk->device[0] ? disk->device : type, dir, type, 0, NULL)) {
		err = -errno;
		rmdir(dir);
		return err;
	}
	memcpy(disk->mount, dir, sizeof(dir));
	return 0;
}

static void detach_loop(const struct pfnmap_disk *disk)
{
	int loop = open(disk->device, O_RDWR | O_CLOEXEC);

	if (loop < 0)
		return;

	ioctl(loop, LOOP_CLR_FD);
	close(loop);
}

static void remove_null_blk(const struct pfnmap_disk *disk)
{
	char path[160];

	set_attribute(disk, "power", "0");
	config_path(disk, "", path, sizeof(path));
	rmdir(path);
}

/**
 * pfnmap_disk_remove:
 * @disk: the disk; whatever there is of it goes, unless a file is open on it
 */
void pfnmap_disk_remove(struct pfnmap_disk *disk)
{
	if (disk->mount[0]) {
		if (umount(disk->mount))
			return;
		rmdir(disk->mount);
	}
	if (!strncmp(disk->device, LOOP_PREFIX, strlen(LOOP_PREFIX)))
		detach_loop(disk);
	else if (disk->device[0])
		remove_null_blk(disk);
	*disk = (struct pfnmap_disk) {};
}
