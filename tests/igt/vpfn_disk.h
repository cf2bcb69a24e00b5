/* SPDX-License-Identifier: MIT */
/*
 * Where do disks and file systems for direct I/O come from? From null_blk, whose blocks lie
 * in memory, and from loop devices: made for one test and removed after it, nothing of the
 * machine is touched.
 *
 * No function here knows IGT; each that can fail returns 0 or a negative errno.
 */
#ifndef VPFN_DISK_H
#define VPFN_DISK_H

struct vpfn_disk {
	char device[64];	/* the block device, "" if there is none */
	char mount[64];		/* where its file system is mounted, "" if nowhere */
};

int vpfn_disk_create(struct vpfn_disk *disk);
int vpfn_disk_create_loop(struct vpfn_disk *disk);
int vpfn_disk_want_stable_writes(const struct vpfn_disk *disk);
int vpfn_disk_mount(struct vpfn_disk *disk, const char *type);
void vpfn_disk_remove(struct vpfn_disk *disk);
int vpfn_shell(const char *command);

#endif
