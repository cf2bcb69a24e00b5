// SPDX-License-Identifier: MIT
/*
 * The device goes while a process has its memory mapped: what does a touch give?
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_leaf.h"
#include "vpfn_pattern.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("Mappings of device memory outlive the device.");

#define DRIVER	"/sys/bus/pci/drivers/vpfn/"

static char pci_name[32];

static void find_pci_name(int fd)
{
	char path[64], device[PATH_MAX];
	struct stat st;

	igt_assert_eq(fstat(fd, &st), 0);
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device",
		 major(st.st_rdev), minor(st.st_rdev));
	igt_assert(realpath(path, device));
	snprintf(pci_name, sizeof(pci_name), "%s", strrchr(device, '/') + 1);
}

static int tell_driver(const char *file)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;

	n = write(fd, pci_name, strlen(pci_name));
	close(fd);
	return n == (ssize_t)strlen(pci_name) ? 0 : -EIO;
}

/* For the tests that follow, also if this one fails: the answer does not matter. */
static void bind_at_exit(int sig)
{
	(void)sig;
	tell_driver(DRIVER "bind");
}

/* A mapping of a client of its own, with something in it. */
struct client {
	int fd;
	struct vpfn_bo bo;
	void *map;
};

static void client_open(struct client *client, uint64_t size, uint64_t word)
{
	client->fd = vpfn_open(O_RDWR);
	igt_assert_lte(0, client->fd);
	igt_assert_eq(vpfn_bo_create(client->fd, size, &client->bo), 0);
	igt_assert_eq(vpfn_bo_map(client->fd, &client->bo, &client->map), 0);
	igt_assert_eq_u64(vpfn_load(client->map), 0);
	vpfn_store(client->map, word);
}

static void client_close(struct client *client)
{
	igt_assert_eq(munmap(client->map, client->bo.size), 0);
	close(client->fd);
}

/* Neither a signal nor the device: memory that reads as zero, and that keeps what is written. */
static void check_memory_of_its_own(void *addr, uint64_t word)
{
	igt_assert_eq(vpfn_signal_of(addr, VPFN_READ), 0);
	igt_assert_eq_u64(vpfn_load(addr), 0);
	vpfn_store(addr, word);
	igt_assert_eq_u64(vpfn_load(addr), word);
}

static void check_refusals(const struct client *client)
{
	struct vpfn_bo bo;
	uint64_t word;
	void *map;

	igt_assert_eq(vpfn_bo_create(client->fd, VPFN_PAGE, &bo), -ENODEV);
	igt_assert_eq(vpfn_bo_map(client->fd, &client->bo, &map), -ENODEV);
	igt_assert_eq(vpfn_proc_mem(client->map, &word, sizeof(word), false), -EIO);
}

static void test_mapped(enum vpfn_level level)
{
	uint64_t size = level == VPFN_PUD ? VPFN_1G : 2 * VPFN_2M;
	struct client mine, other, next;

	igt_assert_eq(vpfn_limit_set(level), 0);
	client_open(&mine, size, 0x11);
	client_open(&other, VPFN_2M, 0x22);
	vpfn_assert_level(mine.fd, mine.map, level);

	igt_assert_eq(tell_driver(DRIVER "unbind"), 0);
	check_memory_of_its_own(mine.map, 0x33);
	check_memory_of_its_own((char *)other.map + VPFN_PAGE, 0x44);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);
	igt_assert_eq(vpfn_signal_of((char *)mine.map + size - VPFN_PAGE, VPFN_WRITE), 0);
	check_refusals(&mine);

	/* A call that splits the mapping works on it as it is now. */
	igt_assert_eq(munmap((char *)mine.map + size / 2, VPFN_PAGE), 0);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);

	/* The device is back while the clients of its former life still live. */
	igt_assert_eq(tell_driver(DRIVER "bind"), 0);
	client_open(&next, size, 0x55);
	vpfn_assert_level(next.fd, next.map, level);
	igt_assert_eq_u64(vpfn_load(mine.map), 0x33);
	igt_assert_eq_u64(vpfn_load(next.map), 0x55);

	client_close(&next);
	client_close(&other);
	client_close(&mine);
}

int igt_main()
{
	igt_fixture() {
		int fd = vpfn_require_device();

		find_pci_name(fd);
		close(fd);
		igt_install_exit_handler(bind_at_exit);
	}

	igt_describe("The driver is unbound under a mapping, and bound again.");
	igt_subtest_with_dynamic("mapped") {
		for_each_vpfn_level(level) {
			igt_dynamic(vpfn_level_name(level))
				test_mapped(level);
		}
	}
}
