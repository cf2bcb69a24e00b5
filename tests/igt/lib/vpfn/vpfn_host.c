// SPDX-License-Identifier: MIT
/*
 * What does the host do to the device?
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_port.h"

#define PORT_NAME	"vpfn.control"

static int talk(int port, char *line, size_t size)
{
	size_t len = strlen(line);

	if (write(port, line, len) != (ssize_t)len)
		return -EIO;
	return vpfn_port_read_line(port, line, size);
}

/* "ok", "ok VALUE", or "error TEXT" */
static int judge(const char *line, char *answer, size_t size)
{
	bool ok = !strncmp(line, "ok", 2) && (line[2] == ' ' || !line[2]);
	const char *value = strchr(line, ' ');

	if (answer && size)
		snprintf(answer, size, "%s", value ? value + 1 : "");
	if (ok)
		return 0;

	fprintf(stderr, "the host says: %s\n", line);
	return -EPROTO;
}

/**
 * vpfn_host_command:
 * @answer: where the host's value or error message goes; may be NULL
 * @size: room for it
 * @format: the command, as for printf(3), without a newline
 *
 * Has the host do something, and waits until it has.
 *
 * Returns: 0, -ENODEV if the machine has no such port, -EPROTO if the host refuses, or
 * another negative errno.
 */
int vpfn_host_command(char *answer, size_t size, const char *format, ...)
{
	char line[256];
	va_list args;
	int port, n, err;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n < 0 || n >= (int)sizeof(line) - 1)
		return -EINVAL;
	line[n++] = '\n';
	line[n] = '\0';

	port = vpfn_port_open(PORT_NAME);
	if (port < 0)
		return port;

	err = talk(port, line, sizeof(line));
	close(port);
	return err ?: judge(line, answer, size);
}

static int get_number(const char *id, const char *property, uint32_t *number)
{
	char answer[32], *end;
	int err = vpfn_host_command(answer, sizeof(answer), "get %s %s", id, property);

	if (err)
		return err;

	*number = strtoul(answer, &end, 10);
	return *end || end == answer ? -EPROTO : 0;
}

static int set_flag(const char *id, const char *property, bool on)
{
	return vpfn_host_command(NULL, 0, "set %s %s %s", id, property, on ? "true" : "false");
}

/**
 * vpfn_host_hang:
 * @id: the device
 * @on: whether its engine hangs; a reset ends that too
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_hang(const char *id, bool on)
{
	return set_flag(id, "x-inject-hang", on);
}

/**
 * vpfn_host_hangs:
 * @id: the device
 * @on: where it goes whether the injected hang still lasts
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_hangs(const char *id, bool *on)
{
	char answer[32];
	int err = vpfn_host_command(answer, sizeof(answer), "get %s x-inject-hang", id);

	if (err)
		return err;

	*on = !strcmp(answer, "true");
	return *on || !strcmp(answer, "false") ? 0 : -EPROTO;
}

/**
 * vpfn_host_dma_error:
 * @id: the device
 * @nth: which of the descriptors that start from now on will fail; 0 for none
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_dma_error(const char *id, uint32_t nth)
{
	return vpfn_host_command(NULL, 0, "set %s x-inject-dma-error %u", id, nth);
}

/**
 * vpfn_host_dma_error_left:
 * @id: the device
 * @nth: where it goes which descriptor from now on will fail; 0 for none
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_dma_error_left(const char *id, uint32_t *nth)
{
	return get_number(id, "x-inject-dma-error", nth);
}

/**
 * vpfn_host_lose_interrupts:
 * @id: the device
 * @count: how many of its next interrupts will be lost
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_lose_interrupts(const char *id, uint32_t count)
{
	return vpfn_host_command(NULL, 0, "set %s x-inject-lost-interrupts %u", id, count);
}

/**
 * vpfn_host_interrupts_to_lose:
 * @id: the device
 * @count: where it goes how many of its next interrupts will be lost
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_interrupts_to_lose(const char *id, uint32_t *count)
{
	return get_number(id, "x-inject-lost-interrupts", count);
}

/**
 * vpfn_host_gone:
 * @id: the device
 * @on: whether it is out of reach, as if it was pulled out
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_gone(const char *id, bool on)
{
	return set_flag(id, "x-inject-gone", on);
}

/**
 * vpfn_host_unplug:
 * @id: the device
 *
 * Asks for the device to be unplugged. The guest has a say in it: the answer does not mean that
 * the device is gone.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_unplug(const char *id)
{
	return vpfn_host_command(NULL, 0, "unplug %s", id);
}

/**
 * vpfn_host_plug:
 * @id: the device, as it was when the machine started
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_host_plug(const char *id)
{
	return vpfn_host_command(NULL, 0, "plug %s", id);
}
