// SPDX-License-Identifier: MIT
/*
 * How does a test talk to the host?
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vpfn/vpfn_port.h"

/* Each port of a virtio console has a file with its name: .../vportXpY/name */
static bool has_name(const char *path, const char *expected)
{
	FILE *file = fopen(path, "r");
	char name[32] = "";

	if (!file)
		return false;

	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	name[strcspn(name, "\n")] = '\0';
	return !strcmp(name, expected);
}

static int open_port(const char *name_path)
{
	char port[32] = "", path[64];
	int fd;

	if (sscanf(name_path, "/sys/class/virtio-ports/%31[^/]", port) != 1)
		return -EPROTO;

	snprintf(path, sizeof(path), "/dev/%s", port);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Returns: a file descriptor, or -ENODEV if there is no such port (yet). */
static int find_and_open(const char *name)
{
	glob_t names;
	int fd = -ENODEV;

	if (glob("/sys/class/virtio-ports/*/name", 0, NULL, &names))
		return -ENODEV;

	for (size_t i = 0; i < names.gl_pathc && fd == -ENODEV; i++) {
		if (has_name(names.gl_pathv[i], name))
			fd = open_port(names.gl_pathv[i]);
	}
	globfree(&names);
	return fd;
}

static bool is_connected(int port)
{
	struct pollfd poll_port = { .fd = port, .events = POLLOUT };

	return poll(&poll_port, 1, 0) >= 0 && !(poll_port.revents & POLLHUP);
}

static int write_device(const char *file, const char *device)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, device, strlen(device)) < 0)
		err = -errno;
	close(fd);
	return err;
}

#define CONSOLES	"/sys/bus/virtio/drivers/virtio_console/"

/* All ports belong to one device, whose directory names it. */
static int rebind_console(void)
{
	glob_t consoles;
	const char *device;
	int err;

	if (glob(CONSOLES "virtio*", 0, NULL, &consoles))
		return -ENODEV;

	device = strrchr(consoles.gl_pathv[0], '/') + 1;
	err = write_device(CONSOLES "unbind", device);
	if (!err)
		err = write_device(CONSOLES "bind", device);
	globfree(&consoles);
	return err;
}

#define TRIES		1000
#define TRY_US		10000

/* The ports come some time after their device. */
static int open_connected(const char *name)
{
	for (int i = 0; i < TRIES; i++) {
		int port = find_and_open(name);

		if (port >= 0 && is_connected(port))
			return port;
		if (port >= 0)
			close(port);
		usleep(TRY_US);
	}
	return -ETIMEDOUT;
}

/**
 * vpfn_port_open:
 * @name: what the host calls the port
 *
 * After a sleep of the machine Linux 7.3 takes each port's host for gone: it asks whether it
 * is there before it has room for the answer. So the device then gets its driver once more.
 *
 * Returns: a file descriptor, -ENODEV if the machine has no such port, or another negative
 * errno.
 */
int vpfn_port_open(const char *name)
{
	int port = find_and_open(name), err;

	if (port < 0 || is_connected(port))
		return port;

	close(port);
	err = rebind_console();
	return err ?: open_connected(name);
}

/**
 * vpfn_port_read_line:
 * @port: file descriptor from vpfn_port_open()
 * @line: where the line goes, without its end
 * @size: room for it
 *
 * Returns: 0, -EPIPE if the other end is closed, or another negative errno.
 */
int vpfn_port_read_line(int port, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t n = read(port, line + len, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	return 0;
}
