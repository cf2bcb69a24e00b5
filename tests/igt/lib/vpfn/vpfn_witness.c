// SPDX-License-Identifier: MIT
/*
 * What does the host see?
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vpfn/vpfn_port.h"
#include "vpfn/vpfn_witness.h"

#define PORT_NAME	"vpfn.witness"

/**
 * vpfn_witness_open:
 *
 * Returns: a file descriptor of the port to the host, -ENODEV if the machine has none,
 * or another negative errno.
 */
int vpfn_witness_open(void)
{
	return vpfn_port_open(PORT_NAME);
}

static int hex_from_line(const char *line, char hex[VPFN_SHA256_HEX])
{
	if (strspn(line, "0123456789abcdef") < VPFN_SHA256_HEX - 1)
		return -EPROTO;

	memcpy(hex, line, VPFN_SHA256_HEX - 1);
	hex[VPFN_SHA256_HEX - 1] = '\0';
	return 0;
}

/**
 * vpfn_witness_sha256:
 * @port: file descriptor from vpfn_witness_open()
 * @offset: offset in the device memory
 * @len: number of bytes
 * @hex: where the digest of these bytes goes, as the host sees them
 *
 * Returns: 0 or a negative errno, -EPROTO if the host answers with an error.
 */
int vpfn_witness_sha256(int port, uint64_t offset, uint64_t len, char hex[VPFN_SHA256_HEX])
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%" PRIu64 " %" PRIu64 "\n", offset, len);
	int err;

	if (write(port, line, n) != n)
		return -EIO;

	err = vpfn_port_read_line(port, line, sizeof(line));
	return err ?: hex_from_line(line, hex);
}

static int sha256_of_file(int fd, char hex[VPFN_SHA256_HEX])
{
	char command[64], line[160];
	FILE *pipe;
	int err;

	snprintf(command, sizeof(command), "sha256sum /proc/self/fd/%d", fd);
	pipe = popen(command, "r");
	if (!pipe)
		return -errno;

	err = fgets(line, sizeof(line), pipe) ? hex_from_line(line, hex) : -EIO;
	if (pclose(pipe) && !err)
		err = -EIO;
	return err;
}

/**
 * vpfn_sha256:
 * @bytes: the bytes
 * @len: how many
 * @hex: where their digest goes, computed by sha256sum(1)
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_sha256(const void *bytes, size_t len, char hex[VPFN_SHA256_HEX])
{
	int fd = memfd_create("vpfn-sha256", 0);
	int err;

	if (fd < 0)
		return -errno;

	err = write(fd, bytes, len) == (ssize_t)len ? sha256_of_file(fd, hex) : -EIO;
	close(fd);
	return err;
}
