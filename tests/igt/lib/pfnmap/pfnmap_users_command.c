// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory: commands that a process sends to a disk itself, atomic writes, and
 * files of the host by 9p.
 *
 * What would a broken test pass on? On a command that the disk refuses, and on one that moves
 * nothing. The disk holds other bytes than the memory before each command and is read by O_DIRECT
 * into ordinary memory afterwards. After a refusal it must hold what it held before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bsg.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_users.h"

#ifndef RWF_ATOMIC
#define RWF_ATOMIC	0x40
#endif

#define LEN	PFNMAP_TARGET_LEN
#define BLOCK	512

/* What a medium holds before a command. */
#define SEED	0xd15c

#define PATH	64

/**
 * struct medium - where the bytes are that a command moves
 * @prepare: a shell command that makes it, and succeeds if it is there
 * @directory: of sysfs, in which an entry that begins with @prefix names it; NULL if @prefix is
 *	its path
 * @prefix: see @directory
 * @last: the node that appears last of those that @prepare causes, maybe later; "" if it waits
 * @path: of its node, once it has been made
 */
struct medium {
	const char *prepare;
	const char *directory;
	const char *prefix;
	const char *last;
	char path[PATH];
};

/* A way to move LEN bytes from or to the start of a medium. */
struct command {
	struct medium *medium;		/* by which ordinary memory sets and sees the bytes */
	struct medium *node;		/* to which the command goes */
	int (*submit)(const struct command *command, int fd, void *addr);
	bool write;
	int oflags;
	unsigned int flags;
};

#define SCSI_DEVICE	"/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:*/"

/* Of one adapter there is one disk: its node has the name of a directory below the device. */
static const char load_scsi[] =
	"modprobe -q sg allow_dio=1 && modprobe -q sd_mod && "
	"{ [ -d /sys/module/scsi_debug ] || "
	"modprobe -q scsi_debug atomic_wr=1 delay=0 dev_size_mb=8; } && mkdir -p /tmp/pfnmap-scsi && "
	"ln -sfn " SCSI_DEVICE "block /tmp/pfnmap-scsi/disk && "
	"ln -sfn " SCSI_DEVICE "scsi_generic /tmp/pfnmap-scsi/generic && "
	"ln -sfn " SCSI_DEVICE "bsg /tmp/pfnmap-scsi/bsg";

static struct medium scsi_disk = { load_scsi, "/tmp/pfnmap-scsi/disk", "sd", "", "" };
static struct medium scsi_generic = { load_scsi, "/tmp/pfnmap-scsi/generic", "sg", "", "" };
static struct medium scsi_bsg = { load_scsi, "/tmp/pfnmap-scsi/bsg", "", "", "" };

#define NVMET	"/sys/kernel/config/nvmet"

/*
 * A controller by the loop transport, whose namespace is a file. The disk appears later, and can be
 * opened when its other node is there. A machine's own disk of that name is left alone.
 */
static const char load_nvme[] =
	"{ [ -b /dev/nvme0n1 ] || { modprobe -q nvme-loop && cd " NVMET " && "
	"truncate -s 1M /tmp/pfnmap-nvme && mkdir subsystems/pfnmap && "
	"echo 1 >subsystems/pfnmap/attr_allow_any_host && mkdir subsystems/pfnmap/namespaces/1 && "
	"echo -n /tmp/pfnmap-nvme >subsystems/pfnmap/namespaces/1/device_path && "
	"echo 1 >subsystems/pfnmap/namespaces/1/enable && mkdir ports/1 && "
	"echo loop >ports/1/addr_trtype && "
	"ln -s " NVMET "/subsystems/pfnmap ports/1/subsystems/ && "
	"echo transport=loop,nqn=pfnmap >/dev/nvme-fabrics; }; } && "
	"grep -qx pfnmap /sys/class/nvme/nvme0/subsysnqn";

static struct medium nvme_disk = { load_nvme, NULL, "/dev/nvme0n1", "/dev/ng0n1", "" };
static struct medium nvme_generic = { load_nvme, NULL, "/dev/ng0n1", "/dev/ng0n1", "" };

/* The share of the host to which the VM writes its results, mounted with cache=none. */
static const char load_9p[] =
	"grep -q ' /out 9p ' /proc/mounts && : >>/out/pfnmap-9p";

static struct medium share = { load_9p, NULL, "/out/pfnmap-9p", "", "" };

/* Waits for the creation of a device node whose path is known. */
static int wait_for_node(const char *path)
{
	char events[4096];
	int watch = inotify_init1(IN_CLOEXEC), err = 0;

	if (watch < 0 || inotify_add_watch(watch, "/dev", IN_CREATE) < 0)
		err = -errno;
	while (!err && access(path, F_OK)) {
		if (read(watch, events, sizeof(events)) < 0)
			err = -errno;
	}
	close(watch);
	return err;
}

static int node_below(struct medium *medium)
{
	DIR *dir = opendir(medium->directory);
	struct dirent *entry;
	int err = -ENODEV;

	if (!dir)
		return -ENODEV;
	while (err && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    strncmp(entry->d_name, medium->prefix, strlen(medium->prefix)))
			continue;
		snprintf(medium->path, PATH, "/dev/%s%.40s", medium->prefix[0] ? "" : "bsg/",
			 entry->d_name);
		err = 0;
	}
	closedir(dir);
	return err;
}

static int make_medium(struct medium *medium)
{
	if (pfnmap_shell(medium->prepare))
		return -ENODEV;
	if (medium->directory)
		return node_below(medium);
	snprintf(medium->path, PATH, "%s", medium->prefix);
	return medium->last[0] ? wait_for_node(medium->last) : 0;
}

static int open_medium(struct medium *medium, int oflags)
{
	int fd, err = medium->path[0] ? 0 : make_medium(medium);

	if (err) {
		medium->path[0] = '\0';
		return err;
	}
	fd = open(medium->path, O_RDWR | O_CLOEXEC | oflags);
	return fd < 0 ? -errno : fd;
}

static void fill_cdb(const struct command *command, uint8_t cdb[10])
{
	memset(cdb, 0, 10);
	cdb[0] = command->write ? 0x2a : 0x28;
	cdb[8] = LEN / BLOCK;
}

static int submit_sg(const struct command *command, int fd, void *addr)
{
	uint8_t cdb[10], sense[32];
	struct sg_io_hdr header = {
		.interface_id = 'S',
		.dxfer_direction = command->write ? SG_DXFER_TO_DEV : SG_DXFER_FROM_DEV,
		.cmd_len = sizeof(cdb),
		.mx_sb_len = sizeof(sense),
		.dxfer_len = LEN,
		.dxferp = addr,
		.cmdp = cdb,
		.sbp = sense,
		.flags = command->flags,
	};

	fill_cdb(command, cdb);
	if (ioctl(fd, SG_IO, &header))
		return -errno;
	return header.status || header.host_status || header.driver_status ? -EIO : 0;
}

static int submit_bsg(const struct command *command, int fd, void *addr)
{
	uint8_t cdb[10], sense[32];
	struct sg_io_v4 header = {
		.guard = 'Q',
		.protocol = BSG_PROTOCOL_SCSI,
		.subprotocol = BSG_SUB_PROTOCOL_SCSI_CMD,
		.request_len = sizeof(cdb),
		.request = (uintptr_t)cdb,
		.max_response_len = sizeof(sense),
		.response = (uintptr_t)sense,
	};

	fill_cdb(command, cdb);
	if (command->write) {
		header.dout_xfer_len = LEN;
		header.dout_xferp = (uintptr_t)addr;
	} else {
		header.din_xfer_len = LEN;
		header.din_xferp = (uintptr_t)addr;
	}
	if (ioctl(fd, SG_IO, &header))
		return -errno;
	return header.device_status || header.transport_status || header.driver_status ? -EIO : 0;
}

static int submit_vector(const struct command *command, int fd, void *addr)
{
	struct iovec iov = { addr, LEN };
	ssize_t n = command->write ? pwritev2(fd, &iov, 1, 0, command->flags) :
				     preadv2(fd, &iov, 1, 0, command->flags);

	if (n < 0)
		return -errno;
	return n == LEN ? 0 : -ENODATA;
}

static int nvme_blocks(unsigned int *blocks)
{
	int disk = open_medium(&nvme_disk, 0), size = 0;

	if (disk < 0)
		return disk;
	if (ioctl(disk, BLKSSZGET, &size))
		size = 0;
	close(disk);
	*blocks = size ? LEN / size : 0;
	return size ? 0 : -EIO;
}

#define NVME_WRITE	1
#define NVME_READ	2

static int submit_nvme(const struct command *command, int fd, void *addr)
{
	struct nvme_passthru_cmd cmd = {
		.opcode = command->write ? NVME_WRITE : NVME_READ,
		.nsid = 1,
		.addr = (uintptr_t)addr,
		.data_len = LEN,
	};
	unsigned int blocks;
	int ret = nvme_blocks(&blocks);

	if (ret)
		return ret;
	cmd.cdw12 = blocks - 1;
	ret = ioctl(fd, NVME_IOCTL_IO_CMD, &cmd);
	if (ret < 0)
		return -errno;
	return ret ? -EIO : 0;
}

/*
 * A ring of requests of 128 bytes, for one request: the first of its slots is all that is used, so
 * their size does not matter.
 */
struct command_ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	char *sqes;
};

static int ring_open(struct command_ring *ring)
{
	*ring = (struct command_ring) {
		.params.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
	};
	ring->fd = syscall(SYS_io_uring_setup, 1, &ring->params);
	if (ring->fd < 0)
		return -ENODEV;

	ring->rings = mmap(NULL, PFNMAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			   ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, PFNMAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring->fd, IORING_OFF_SQES);
	if (ring->rings != MAP_FAILED && ring->sqes != MAP_FAILED)
		return 0;
	close(ring->fd);
	return -ENOMEM;
}

static void ring_close(const struct command_ring *ring)
{
	munmap(ring->sqes, PFNMAP_PAGE);
	munmap(ring->rings, PFNMAP_PAGE);
	close(ring->fd);
}

/* The result of the one request; it is waited for. */
static int ring_run(const struct command_ring *ring, int fd, const struct nvme_uring_cmd *cmd)
{
	struct io_uring_sqe *sqe = (void *)ring->sqes;
	const struct io_uring_cqe *cqe = (void *)(ring->rings + ring->params.cq_off.cqes);
	uint32_t *tail = (void *)(ring->rings + ring->params.sq_off.tail);

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
	*(uint32_t *)(ring->rings + ring->params.sq_off.array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	return cqe->res;
}

static int submit_uring(const struct command *command, int fd, void *addr)
{
	struct nvme_uring_cmd cmd = {
		.opcode = command->write ? NVME_WRITE : NVME_READ,
		.nsid = 1,
		.addr = (uintptr_t)addr,
		.data_len = LEN,
	};
	struct command_ring ring;
	unsigned int blocks;
	int ret = nvme_blocks(&blocks) ?: ring_open(&ring);

	if (ret)
		return ret;
	cmd.cdw12 = blocks - 1;
	ret = ring_run(&ring, fd, &cmd);
	ring_close(&ring);
	return ret > 0 ? -EIO : ret;
}

/* What a medium must hold after a command: the target's bytes, or what it held before. */
static int check_medium(int fd, const char *expected, char *seen)
{
	if (pread(fd, seen, LEN, 0) != LEN)
		return -EIO;
	return memcmp(seen, expected, LEN) ? -EBADMSG : 0;
}

static int run_command(const struct command *command, int medium, int node,
		       const struct pfnmap_target *target, char *bytes)
{
	char *seen = bytes + LEN, *before = seen + LEN;
	int answer, err = target->peek(target, bytes);

	if (err)
		return err;
	pfnmap_target_pattern(SEED, before);
	if (pwrite(medium, before, LEN, 0) != LEN)
		return -EIO;

	answer = command->submit(command, node, target->addr);
	if (answer)
		return check_medium(medium, before, seen) ?: answer;
	if (command->write)
		return check_medium(medium, bytes, seen) ?: pfnmap_target_matches(target, bytes);
	return pfnmap_target_check(target, SEED);
}

static int ask(const struct pfnmap_target *target, const void *arg)
{
	const struct command *command = arg;
	int medium = open_medium(command->medium, O_DIRECT), node, answer = -ENOMEM;
	char *bytes;

	if (medium < 0)
		return medium;
	node = open_medium(command->node, command->oflags);
	bytes = pfnmap_anonymous(3 * LEN);
	if (node < 0)
		answer = node;
	else if (bytes)
		answer = run_command(command, medium, node, target, bytes);
	if (bytes)
		munmap(bytes, 3 * LEN);
	if (node >= 0)
		close(node);
	close(medium);
	return answer;
}

#define COMMAND(name_, special_, needs_, ...)						\
	{ .name = (name_), .on_special = (special_), .call = ask, .needs = (needs_),	\
	  .arg = &(const struct command) { __VA_ARGS__ } }

#define SG(name_, special_, node_, flags_, write_)					\
	COMMAND(name_, special_, "CONFIG_SCSI_DEBUG, CONFIG_CHR_DEV_SG", &scsi_disk,	\
		&(node_), submit_sg, (write_), 0, (flags_))

#define BSG(name_, write_)								\
	COMMAND(name_, -EFAULT, "CONFIG_SCSI_DEBUG, CONFIG_BLK_DEV_BSG", &scsi_disk,	\
		&scsi_bsg, submit_bsg, (write_), 0, 0)

#define NVME(name_, node_, submit_, write_)						\
	COMMAND(name_, -EFAULT, "CONFIG_NVME_TARGET_LOOP", &nvme_disk, &(node_), (submit_), \
		(write_), 0, 0)

#define FILE_9P(name_, write_, oflags_)							\
	COMMAND(name_, -EFAULT, "CONFIG_9P_FS", &share, &share, submit_vector, (write_),	\
		(oflags_), 0)

/* blk_rq_map_user_iov() pins what is aligned; sg copies, unless asked for direct I/O */
static const struct pfnmap_user scsi_users[] = {
	SG("SG_IO of a disk, read", -EFAULT, scsi_disk, 0, false),
	SG("SG_IO of a disk, write", -EFAULT, scsi_disk, 0, true),
	SG("SG_IO of sg, read", 0, scsi_generic, 0, false),
	SG("SG_IO of sg, write", 0, scsi_generic, 0, true),
	SG("SG_IO of sg, direct read", -EFAULT, scsi_generic, SG_FLAG_DIRECT_IO, false),
	SG("SG_IO of sg, direct write", -EFAULT, scsi_generic, SG_FLAG_DIRECT_IO, true),
	BSG("SG_IO of bsg, read", false),
	BSG("SG_IO of bsg, write", true),
	COMMAND("pwritev2, RWF_ATOMIC", -EFAULT, "CONFIG_SCSI_DEBUG, CONFIG_BLK_DEV_SD",
		&scsi_disk, &scsi_disk, submit_vector, true, O_DIRECT, RWF_ATOMIC),
};

/* nvme_map_user_request(), by the same function */
static const struct pfnmap_user nvme_users[] = {
	NVME("NVME_IOCTL_IO_CMD, read", nvme_disk, submit_nvme, false),
	NVME("NVME_IOCTL_IO_CMD, write", nvme_disk, submit_nvme, true),
	NVME("NVME_URING_CMD_IO, read", nvme_generic, submit_uring, false),
	NVME("NVME_URING_CMD_IO, write", nvme_generic, submit_uring, true),
};

/* netfs_extract_user_iter(); without a cache each read() and write() is a direct one */
static const struct pfnmap_user share_users[] = {
	FILE_9P("9p, O_DIRECT, read", false, O_DIRECT),
	FILE_9P("9p, O_DIRECT, write", true, O_DIRECT),
	FILE_9P("9p without a cache, read", false, 0),
	FILE_9P("9p without a cache, write", true, 0),
};

const struct pfnmap_user_family pfnmap_command_families[] = {
	PFNMAP_FAMILY("scsi", "SCSI commands and atomic writes refuse, unless sg copies.",
		      scsi_users),
	PFNMAP_FAMILY("nvme", "NVMe commands by ioctl and io_uring refuse.", nvme_users),
	PFNMAP_FAMILY("9p", "9p refuses to read and write without a copy.", share_users),
};

const size_t pfnmap_command_family_count = ARRAY_SIZE(pfnmap_command_families);
