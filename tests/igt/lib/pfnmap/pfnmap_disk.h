/* SPDX-License-Identifier: MIT */
/*
 * Where do disks and file systems for direct I/O come from? From null_blk, whose blocks lie
 * in memory, and from loop devices: made for one test and removed after it, nothing of the
 * machine is touched.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef PFNMAP_DISK_H
#define PFNMAP_DISK_H

struct pfnmap_disk {
	char device[64];	/* the block device, "" if there is none */
	char mount[64];		/* where its file system is mounted, "" if nowhere */
};

int pfnmap_disk_create(struct pfnmap_disk *disk);
int pfnmap_disk_create_loop(struct pfnmap_disk *disk);
int pfnmap_disk_want_stable_writes(const struct pfnmap_disk *disk);
int pfnmap_disk_mount(struct pfnmap_disk *disk, const char *type);
void pfnmap_disk_remove(struct pfnmap_disk *disk);
int pfnmap_shell(const char *command);

#endif
