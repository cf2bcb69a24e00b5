// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory: sockets of the crypto API, the zero-copy receive of TCP, and vhost,
 * which reads and writes the memory of a guest.
 *
 * What would a broken test pass on? On a digest or a packet that nobody has compared: each is
 * compared with what the same call makes of the same bytes in ordinary memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_users.h"

#define LEN	PFNMAP_TARGET_LEN
#define WORDS	(LEN / sizeof(uint64_t))
#define SEED	0x50c4e7
#define DIGEST	32

/*
 * By default the kernel offers few ciphers, and not the one that changes nothing: the list is
 * switched off for the time of the call.
 */
static int bind_algorithm(int algorithm, const struct sockaddr_alg *address)
{
	int list = open("/proc/sys/crypto/af_alg_restrict", O_RDWR | O_CLOEXEC), err;
	char before[2] = "0";

	if (list >= 0 && (pread(list, before, 1, 0) != 1 || pwrite(list, "0", 1, 0) != 1)) {
		close(list);
		return -EACCES;
	}
	err = bind(algorithm, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	if (list >= 0 && (pwrite(list, before, 1, 0) != 1 || close(list)))
		return -EIO;
	return err;
}

/* A socket that takes the data of one operation of an algorithm. */
static int open_algorithm(const char *type, const char *name)
{
	struct sockaddr_alg address = { .salg_family = AF_ALG };
	int algorithm = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), op;

	if (algorithm < 0)
		return -ENODEV;
	memcpy(address.salg_type, type, strlen(type));
	memcpy(address.salg_name, name, strlen(name));
	op = bind_algorithm(algorithm, &address) ?: accept4(algorithm, NULL, NULL, SOCK_CLOEXEC);
	close(algorithm);
	return op < 0 ? -ENODEV : op;
}

static int give_by_send(int op, const void *bytes)
{
	return pfnmap_moved(send(op, bytes, LEN, 0), LEN);
}

/* The pipe holds a copy, of which the socket takes the pages. */
static int give_by_pipe(int op, const void *bytes)
{
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	err = pfnmap_moved(write(ends[1], bytes, LEN), LEN) ?:
	      pfnmap_moved(splice(ends[0], NULL, op, NULL, LEN, 0), LEN);
	close(ends[0]);
	close(ends[1]);
	return err;
}

static int digest_of(const void *bytes, int (*give)(int op, const void *bytes),
		     uint8_t digest[DIGEST])
{
	int op = open_algorithm("hash", "sha256"), err;

	if (op < 0)
		return op;
	err = give(op, bytes) ?: pfnmap_moved(recv(op, digest, DIGEST, 0), DIGEST);
	close(op);
	return err;
}

static int hash_given(const struct pfnmap_target *target, int (*give)(int op, const void *bytes))
{
	uint8_t digest[DIGEST], expected[DIGEST];
	uint64_t bytes[WORDS];
	int err = target->peek(target, bytes) ?: digest_of(bytes, give_by_send, expected) ?:
		  digest_of(target->addr, give, digest);

	if (err)
		return err;
	return memcmp(digest, expected, DIGEST) ? -EBADMSG : pfnmap_target_matches(target, bytes);
}

static int hash(const struct pfnmap_target *target)
{
	return hash_given(target, give_by_send);
}

static int hash_by_pipe(const struct pfnmap_target *target)
{
	return hash_given(target, give_by_pipe);
}

/* The cipher that changes nothing: what is received is what was sent. */
static int encrypt(const void *from, void *to)
{
	union {
		char bytes[CMSG_SPACE(sizeof(uint32_t))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)from, LEN };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	const uint32_t direction = ALG_OP_ENCRYPT;
	int op = open_algorithm("skcipher", "ecb(cipher_null)"), err;

	if (op < 0)
		return op;
	header->cmsg_level = SOL_ALG;
	header->cmsg_type = ALG_SET_OP;
	header->cmsg_len = CMSG_LEN(sizeof(direction));
	memcpy(CMSG_DATA(header), &direction, sizeof(direction));
	err = pfnmap_moved(sendmsg(op, &message, 0), LEN) ?:
	      pfnmap_moved(recv(op, to, LEN, 0), LEN);
	close(op);
	return err;
}

static int cipher_send(const struct pfnmap_target *target)
{
	char *bytes = pfnmap_anonymous(LEN);
	int err;

	if (!bytes)
		return -ENOMEM;
	err = encrypt(target->addr, bytes) ?: pfnmap_target_matches(target, bytes);
	munmap(bytes, LEN);
	return err;
}

static int cipher_receive(const struct pfnmap_target *target)
{
	uint64_t bytes[WORDS];

	pfnmap_target_pattern(SEED, bytes);
	return encrypt(bytes, target->addr) ?: pfnmap_target_check(target, SEED);
}

#define HASH	.needs = "CONFIG_CRYPTO_USER_API_HASH, CONFIG_CRYPTO_SHA256"
#define CIPHER	.needs = "CONFIG_CRYPTO_USER_API_SKCIPHER, CONFIG_CRYPTO_NULL"

/* hash_sendmsg() and af_alg_get_rsgl() pin; af_alg_sendmsg() copies */
static const struct pfnmap_user crypto_users[] = {
	{ .name = "AF_ALG hash, send", .on_special = -EFAULT, .run = hash, HASH },
	{ .name = "AF_ALG hash, write to a pipe and splice", .run = hash_by_pipe, HASH },
	{ .name = "AF_ALG cipher, send", .run = cipher_send, CIPHER },
	{ .name = "AF_ALG cipher, receive", .on_special = -EFAULT, .run = cipher_receive, CIPHER },
};

/* A connection over the loopback device. */
struct wire {
	int sender;
	int receiver;
};

/* Nothing but this makes the loopback device of a new machine work. */
static int raise_loopback(int fd)
{
	struct ifreq request = { .ifr_name = "lo" };

	if (ioctl(fd, SIOCGIFFLAGS, &request))
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) ? -errno : 0;
}

static int connect_to(int listener, struct wire *wire)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);

	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &len) ||
	    connect(wire->sender, (struct sockaddr *)&address, len))
		return -errno;
	wire->receiver = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return wire->receiver < 0 ? -errno : 0;
}

static int wire_open(struct wire *wire)
{
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (listener < 0)
		return -ENODEV;
	wire->sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = wire->sender < 0 ? -errno : raise_loopback(listener) ?: connect_to(listener, wire);
	close(listener);
	if (err && wire->sender >= 0)
		close(wire->sender);
	return err;
}

/* All bytes have arrived: the receiver has seen them. */
static int fill_wire(const struct wire *wire)
{
	uint64_t bytes[WORDS];

	pfnmap_target_pattern(SEED, bytes);
	return pfnmap_moved(send(wire->sender, bytes, LEN, 0), LEN) ?:
	       pfnmap_moved(recv(wire->receiver, bytes, LEN, MSG_PEEK | MSG_WAITALL), LEN);
}

/* @copy: memory for bytes that cannot be mapped; NULL for none */
static int receive(const struct wire *wire, void *address, void *copy,
		   struct tcp_zerocopy_receive *result)
{
	socklen_t len = sizeof(*result);

	*result = (struct tcp_zerocopy_receive) {
		.address = (uintptr_t)address,
		.length = LEN,
		.copybuf_address = (uintptr_t)copy,
		.copybuf_len = copy ? LEN : 0,
	};
	return getsockopt(wire->receiver, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, result, &len) ?
	       -errno : 0;
}

/*
 * Pages of the socket are mapped where its own mapping is, and nowhere else. The control: the same
 * call with that mapping maps the pages, or says how many bytes are to be read.
 */
static int map_received(const struct wire *wire, void *own, const struct pfnmap_target *target)
{
	struct tcp_zerocopy_receive result;
	int answer = receive(wire, target->addr, NULL, &result);
	int err = receive(wire, own, NULL, &result);

	if (err)
		return err;
	return result.length + result.recv_skip_hint ? answer : -ENODATA;
}

static int copy_received(const struct wire *wire, void *own, const struct pfnmap_target *target)
{
	struct tcp_zerocopy_receive result;
	int err = receive(wire, own, target->addr, &result);

	if (err)
		return err;
	return result.copybuf_len == LEN ? pfnmap_target_check(target, SEED) : -ENODATA;
}

static int receive_zerocopy(const struct pfnmap_target *target,
			    int (*run)(const struct wire *wire, void *own,
				       const struct pfnmap_target *target))
{
	struct wire wire;
	void *own;
	int err = wire_open(&wire);

	if (err)
		return err;
	own = mmap(NULL, LEN, PROT_READ, MAP_SHARED, wire.receiver, 0);
	err = own == MAP_FAILED ? -errno : fill_wire(&wire) ?: run(&wire, own, target);
	if (own != MAP_FAILED)
		munmap(own, LEN);
	close(wire.receiver);
	close(wire.sender);
	return err;
}

static int zerocopy_map(const struct pfnmap_target *target)
{
	return receive_zerocopy(target, map_received);
}

static int zerocopy_copy(const struct pfnmap_target *target)
{
	return receive_zerocopy(target, copy_received);
}

/* find_tcp_vma() takes no memory but the socket's; receive_fallback_to_copy() */
static const struct pfnmap_user tcp_users[] = {
	{ .name = "TCP_ZEROCOPY_RECEIVE, address", .on_special = -EINVAL, .on_ordinary = -EINVAL,
	  .run = zerocopy_map, .needs = "CONFIG_INET" },
	{ .name = "TCP_ZEROCOPY_RECEIVE, copy", .run = zerocopy_copy, .needs = "CONFIG_INET" },
};

const struct pfnmap_user_family pfnmap_net_families[] = {
	PFNMAP_FAMILY("crypto", "AF_ALG refuses where it takes pages, and works where it copies.",
		      crypto_users),
	PFNMAP_FAMILY("tcp-receive",
		      "TCP maps pages over no mapping but its own, and copies to any.",
		      tcp_users),
	{ .name = "vhost", .describe = "vhost reads and writes a guest's memory in each mapping.",
	  .users = &pfnmap_vhost_user, .count = 1 },
};

const size_t pfnmap_net_family_count = ARRAY_SIZE(pfnmap_net_families);
