// SPDX-License-Identifier: MIT
/*
 * What does the kernel tell of a device that failed?
 */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_report.h"

#define KERNEL_EVENTS	1
#define NS_PER_MS	(1000 * 1000)

/**
 * vpfn_uevent_open:
 *
 * Returns: a socket on which the kernel's events arrive from now on, or a negative errno.
 */
int vpfn_uevent_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_EVENTS };
	int sock = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	int err;

	if (sock < 0)
		return -errno;
	if (!bind(sock, (struct sockaddr *)&addr, sizeof(addr)))
		return sock;

	err = -errno;
	close(sock);
	return err;
}

/* "ACTION@DEVPATH", and then KEY=VALUE, each with a zero at its end. */
static bool find_value(const char *event, size_t len, const char *device, const char *key,
		       char *value, size_t size)
{
	size_t key_len = strlen(key);

	if (!strstr(event, device))
		return false;

	for (size_t at = 0; at < len; at += strlen(event + at) + 1) {
		if (strncmp(event + at, key, key_len) || event[at + key_len] != '=')
			continue;
		snprintf(value, size, "%s", event + at + key_len + 1);
		return true;
	}
	return false;
}

/**
 * vpfn_uevent_wait:
 * @socket: from vpfn_uevent_open()
 * @device: name of the PCI device; events of all that belongs to it count
 * @key: a variable of an event
 * @value: where its value goes
 * @size: room for it
 * @timeout_ns: how long to wait
 *
 * Returns: 0 once an event with this variable has come, -ETIME, or another negative errno.
 */
int vpfn_uevent_wait(int socket, const char *device, const char *key, char *value, size_t size,
		     int64_t timeout_ns)
{
	struct pollfd wait = { .fd = socket, .events = POLLIN };
	int64_t deadline = vpfn_deadline(timeout_ns), left;
	char event[8192];

	for (;;) {
		ssize_t n;

		left = deadline - vpfn_deadline(0);
		if (left < 0)
			left = 0;
		n = poll(&wait, 1, left / NS_PER_MS);
		if (!n)
			return -ETIME;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;

		n = recv(socket, event, sizeof(event) - 1, MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		event[n] = '\0';
		if (find_value(event, n, device, key, value, size))
			return 0;
	}
}

static bool is_of(const char *dump, const char *device)
{
	char link[PATH_MAX], path[PATH_MAX];

	snprintf(link, sizeof(link), "%s/failing_device", dump);
	return realpath(link, path) && !strcmp(strrchr(path, '/') + 1, device);
}

/**
 * vpfn_dump_find:
 * @device: name of the PCI device
 * @path: where the path of its dump goes
 * @size: room for it
 *
 * Returns: 0, or -ENOENT if the kernel has none.
 */
int vpfn_dump_find(const char *device, char *path, size_t size)
{
	int err = -ENOENT;
	glob_t dumps;

	if (glob("/sys/class/devcoredump/devcd*", 0, NULL, &dumps))
		return -ENOENT;

	for (size_t i = 0; i < dumps.gl_pathc && err; i++) {
		if (!is_of(dumps.gl_pathv[i], device))
			continue;
		snprintf(path, size, "%s/data", dumps.gl_pathv[i]);
		err = 0;
	}
	globfree(&dumps);
	return err;
}

static bool has_no_dump(const void *device)
{
	char path[PATH_MAX];

	return vpfn_dump_find(device, path, sizeof(path)) == -ENOENT;
}

static bool has_dump(const void *device)
{
	return !has_no_dump(device);
}

/**
 * vpfn_dump_wait:
 * @device: name of the PCI device
 *
 * Returns: 0 once the kernel has a dump of it, or -ETIME.
 */
int vpfn_dump_wait(const char *device)
{
	return pfnmap_wait_until(has_dump, device);
}

/**
 * vpfn_dump_drop:
 * @device: name of the PCI device
 *
 * Has the kernel forget the device's dump, if there is one. Until then there is no other.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_dump_drop(const char *device)
{
	char path[PATH_MAX];
	int err;

	if (vpfn_dump_find(device, path, sizeof(path)))
		return 0;

	err = pfnmap_text_write(path, "1");
	return err ?: pfnmap_wait_until(has_no_dump, device);
}

/* "  IRQ:  COUNT...  CHIP ...": a count for each processor. */
static uint64_t sum_of_line(const char *line)
{
	uint64_t sum = 0;
	char *end;

	for (;;) {
		uint64_t count = strtoull(line, &end, 10);

		if (end == line || (*end != ' ' && *end != '\n'))
			return sum;
		sum += count;
		line = end;
	}
}

static bool has_irq(const char *device, unsigned long irq)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/msi_irqs/%lu", device, irq);
	return !access(path, F_OK);
}

/**
 * vpfn_interrupts:
 * @device: name of the PCI device
 * @count: where it goes how often the device has interrupted
 *
 * Returns: 0, -ENOENT if it has no interrupts, or another negative errno.
 */
int vpfn_interrupts(const char *device, uint64_t *count)
{
	FILE *file = fopen("/proc/interrupts", "r");
	char line[1024], *end;
	int err = -ENOENT;

	if (!file)
		return -errno;

	*count = 0;
	while (fgets(line, sizeof(line), file)) {
		unsigned long irq = strtoul(line, &end, 10);

		if (end == line || *end != ':' || !has_irq(device, irq))
			continue;
		*count += sum_of_line(end + 1);
		err = 0;
	}
	fclose(file);
	return err;
}
