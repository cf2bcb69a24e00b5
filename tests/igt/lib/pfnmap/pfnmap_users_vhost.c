// SPDX-License-Identifier: MIT
/*
 * vhost-vsock: the kernel acts as the device of a guest whose memory belongs to this process. The
 * guest asks for a connection that no socket on the host awaits, and is refused. Both packets are
 * in the target; the rings are in ordinary memory.
 *
 * What would a broken test pass on? On a packet that nothing has read: the answer repeats the ports
 * of the question.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "pfnmap/pfnmap_users.h"

#define LEN		PFNMAP_TARGET_LEN
#define GUEST_CID	4242
#define HOST_CID	2
#define GUEST_PORT	7001
#define HOST_PORT	7002

/* No machine takes so long. */
#define HANG_MS		60000

#define ENTRIES		4
#define AVAIL_OFFSET	256
#define USED_OFFSET	512

/* Where the answer goes in the target, whose first page has the question. */
#define ANSWER		PFNMAP_PAGE

enum { RX, TX, QUEUES };

struct guest {
	int fd;			/* of vhost */
	char *rings;		/* a page for each queue */
	int kick[QUEUES];
	int call[QUEUES];
	int error;		/* becomes readable when memory cannot be accessed */
};

static struct vring_desc *descriptor_of(const struct guest *guest, unsigned int queue)
{
	return (void *)(guest->rings + queue * PFNMAP_PAGE);
}

static struct vring_avail *avail_of(const struct guest *guest, unsigned int queue)
{
	return (void *)(guest->rings + queue * PFNMAP_PAGE + AVAIL_OFFSET);
}

static int set_memory(const struct guest *guest, const struct pfnmap_target *target)
{
	struct {
		struct vhost_memory memory;
		struct vhost_memory_region region;
	} table = {
		.memory.nregions = 1,
		.region = { .memory_size = LEN, .userspace_addr = (uintptr_t)target->addr },
	};

	return ioctl(guest->fd, VHOST_SET_MEM_TABLE, &table) ? -errno : 0;
}

static int set_queue(const struct guest *guest, unsigned int queue)
{
	char *ring = guest->rings + queue * PFNMAP_PAGE;
	struct vhost_vring_state size = { queue, ENTRIES }, base = { queue, 0 };
	struct vhost_vring_addr addr = {
		.index = queue,
		.desc_user_addr = (uintptr_t)ring,
		.avail_user_addr = (uintptr_t)ring + AVAIL_OFFSET,
		.used_user_addr = (uintptr_t)ring + USED_OFFSET,
	};
	struct vhost_vring_file kick = { queue, guest->kick[queue] };
	struct vhost_vring_file call = { queue, guest->call[queue] };
	struct vhost_vring_file error = { queue, guest->error };

	return ioctl(guest->fd, VHOST_SET_VRING_NUM, &size) ||
	       ioctl(guest->fd, VHOST_SET_VRING_BASE, &base) ||
	       ioctl(guest->fd, VHOST_SET_VRING_ADDR, &addr) ||
	       ioctl(guest->fd, VHOST_SET_VRING_KICK, &kick) ||
	       ioctl(guest->fd, VHOST_SET_VRING_CALL, &call) ||
	       ioctl(guest->fd, VHOST_SET_VRING_ERR, &error) ? -errno : 0;
}

/* One descriptor for each queue. Guest addresses begin with the target. */
static void offer_buffer(const struct guest *guest, unsigned int queue, uint64_t addr, size_t len,
			 uint16_t flags)
{
	*descriptor_of(guest, queue) = (struct vring_desc) {
		.addr = addr, .len = len, .flags = flags,
	};
	avail_of(guest, queue)->ring[0] = 0;
	__atomic_store_n(&avail_of(guest, queue)->idx, 1, __ATOMIC_RELEASE);
}

static int start(const struct guest *guest, const struct pfnmap_target *target)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1, cid = GUEST_CID;
	int running = 1, err;

	if (ioctl(guest->fd, VHOST_SET_OWNER) || ioctl(guest->fd, VHOST_SET_FEATURES, &features))
		return -errno;
	err = set_memory(guest, target) ?: set_queue(guest, RX) ?: set_queue(guest, TX);
	if (err)
		return err;
	return ioctl(guest->fd, VHOST_VSOCK_SET_GUEST_CID, &cid) ||
	       ioctl(guest->fd, VHOST_VSOCK_SET_RUNNING, &running) ? -errno : 0;
}

/* Until the answer is there, or vhost has complained. */
static int await_answer(const struct guest *guest)
{
	struct pollfd events[] = {
		{ .fd = guest->call[RX], .events = POLLIN },
		{ .fd = guest->error, .events = POLLIN },
	};
	uint64_t one = 1;

	if (write(guest->kick[TX], &one, sizeof(one)) != sizeof(one))
		return -errno;
	if (poll(events, ARRAY_SIZE(events), HANG_MS) <= 0)
		return -ETIMEDOUT;
	return events[1].revents ? -EFAULT : 0;
}

static int exchange(const struct guest *guest, const struct pfnmap_target *target)
{
	const struct virtio_vsock_hdr question = {
		.src_cid = GUEST_CID,
		.dst_cid = HOST_CID,
		.src_port = GUEST_PORT,
		.dst_port = HOST_PORT,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = VIRTIO_VSOCK_OP_REQUEST,
	};
	const struct virtio_vsock_hdr answer = {
		.src_cid = HOST_CID,
		.dst_cid = GUEST_CID,
		.src_port = HOST_PORT,
		.dst_port = GUEST_PORT,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = VIRTIO_VSOCK_OP_RST,
	};
	uint64_t words[LEN / sizeof(uint64_t)];
	char *bytes = (char *)words;
	int err;

	pfnmap_target_pattern(HOST_PORT, words);
	memcpy(bytes, &question, sizeof(question));
	err = target->poke(target, bytes);
	if (err)
		return err;

	offer_buffer(guest, RX, ANSWER, PFNMAP_PAGE, VRING_DESC_F_WRITE);
	offer_buffer(guest, TX, 0, sizeof(question), 0);
	err = start(guest, target) ?: await_answer(guest);
	if (err)
		return err;
	memcpy(bytes + ANSWER, &answer, sizeof(answer));
	return pfnmap_target_matches(target, bytes);
}

static int run(const struct pfnmap_target *target)
{
	struct guest guest = { .error = eventfd(0, EFD_CLOEXEC) };
	int answer;

	if (access("/dev/vhost-vsock", F_OK))
		pfnmap_shell("modprobe -q vhost_vsock");
	guest.fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	guest.rings = pfnmap_anonymous(QUEUES * PFNMAP_PAGE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		guest.kick[i] = eventfd(0, EFD_CLOEXEC);
		guest.call[i] = eventfd(0, EFD_CLOEXEC);
	}

	answer = guest.fd < 0 ? -ENODEV : guest.rings ? exchange(&guest, target) : -ENOMEM;

	if (guest.fd >= 0)
		close(guest.fd);
	if (guest.rings)
		munmap(guest.rings, QUEUES * PFNMAP_PAGE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		close(guest.kick[i]);
		close(guest.call[i]);
	}
	close(guest.error);
	return answer;
}

/* vhost_copy_from_user(), vhost_copy_to_user(): in the address space of the process */
const struct pfnmap_user pfnmap_vhost_user = {
	.name = "vhost-vsock, packets", .run = run, .needs = "CONFIG_VHOST_VSOCK",
};
