// SPDX-License-Identifier: MIT
/*
 * The administrator, which reads all files of root, moves memory away and changes settings
 * about the size of leaves.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "vpfn/vpfn_host.h"

/* A pause between two operations, so that the other processes make progress. */
#define PAUSE_US	10000

static char text[1 << 18];

static const struct fuzz_device *some_device(struct fuzz_thread *t)
{
	return &fuzz_shared->devices[fuzz_below(&t->random, fuzz_shared->device_count)];
}

static pid_t some_worker(struct fuzz_thread *t)
{
	return fuzz_shared->pids[fuzz_below(&t->random, fuzz_shared->processes)];
}

/* Where a worker looks whether new buffers are zero: no other process writes there. */
static bool is_window(uint64_t addr)
{
	for (unsigned int i = 0; i < fuzz_shared->processes; i++) {
		for (unsigned int k = 0; k < FUZZ_THREADS; k++) {
			if (addr - fuzz_shared->windows[i][k] < FUZZ_WINDOW)
				return true;
		}
	}
	return false;
}

static int read_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	/* Some have no end. */
	for (int i = 0; i < 16 && (n = read(fd, text, sizeof(text))) > 0; i++)
		;
	err = n < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, word, strlen(word)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int of_device(struct fuzz_thread *t, const char *name)
{
	char path[128];

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "%s/%s", some_device(t)->debugfs, name);
	return read_all(path);
}

/* A buffer of 1 GiB has no place but device memory: no process may have one meanwhile. */
static int op_evict(struct fuzz_thread *t)
{
	unsigned int me = t->process->place + 1;
	char path[128];
	int err;

	usleep(PAUSE_US);
	if (!fuzz_huge_get(me))
		return FUZZ_SKIP;
	snprintf(path, sizeof(path), "%s/evict", some_device(t)->debugfs);
	err = write_word(path, fuzz_chance(&t->random, 20) ? "nonsense" : "1");
	fuzz_huge_put(me);
	return err;
}

/* The device sleeps when it is not in use, and what is in its memory goes elsewhere. */
static int op_power(struct fuzz_thread *t)
{
	const struct fuzz_device *device = some_device(t);
	unsigned int me = t->process->place + 1;
	char path[128];
	int err;

	usleep(PAUSE_US);
	if (!fuzz_huge_get(me))
		return FUZZ_SKIP;
	snprintf(path, sizeof(path), "%s/power/autosuspend_delay_ms", device->sysfs);
	write_word(path, "0");
	snprintf(path, sizeof(path), "%s/power/control", device->sysfs);
	err = write_word(path, "auto");
	usleep(20 * PAUSE_US);
	if (!err)
		err = write_word(path, "on");
	fuzz_huge_put(me);
	/* A kernel without power management; that this never succeeds will be said. */
	return err == -ENOENT ? FUZZ_SKIP : err;
}

/*
 * The device fails: on a descriptor, by saying nothing, by doing nothing. A client's job then
 * fails; a move of another client's buffer must not.
 */
static int op_fault(struct fuzz_thread *t)
{
	static const char * const ids[] = { VPFN_HOST_BIG, VPFN_HOST_SMALL };
	const char *id = FUZZ_PICK(&t->random, ids);

	if (!fuzz_shared->faults)
		return FUZZ_SKIP;
	usleep(10 * PAUSE_US);
	switch (fuzz_below(&t->random, 5)) {
	case 0:
		return vpfn_host_hang(id, true);
	case 1:
		return vpfn_host_lose_interrupts(id, 1 + fuzz_below(&t->random, 3));
	default:
		return vpfn_host_dma_error(id, 1 + fuzz_below(&t->random, 20));
	}
}

static int op_vram(struct fuzz_thread *t)
{
	return of_device(t, "vram");
}

static int op_clients(struct fuzz_thread *t)
{
	return of_device(t, "clients");
}

/* A mapping of its own, for operations that need the address of one. */
static void *own_mapping(struct fuzz_thread *t)
{
	static void *map;
	struct vpfn_bo bo;

	if (!map && !vpfn_bo_create(t->private_fd[0], PFNMAP_PAGE, &bo))
		vpfn_bo_map(t->private_fd[0], &bo, &map);
	return map;
}

/* Of a mapping, of other memory, and of addresses where nothing is. */
static int op_leaf(struct fuzz_thread *t)
{
	const void *mapping = own_mapping(t);
	const uint64_t offsets[] = {
		(uintptr_t)mapping, (uintptr_t)text, 0, INT64_MAX & ~0xfffull, 1ull << 46,
	};
	char path[128];
	int fd, err;

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "%s/leaf", some_device(t)->debugfs);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = pread(fd, text, sizeof(text), FUZZ_PICK(&t->random, offsets)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int op_largest_leaf(struct fuzz_thread *t)
{
	static const char * const names[] = { "pte", "pmd", "pud", "pud", "pgd", "" };

	usleep(PAUSE_US);
	return write_word("/sys/module/vpfn/parameters/largest_leaf",
			  FUZZ_PICK(&t->random, names));
}

/* TTM swaps a buffer out, or gives back pages that it keeps. */
static int op_swap(struct fuzz_thread *t)
{
	static const char * const files[] = {
		"tt_shrink", "tt_shrink", "page_pool_shrink", "page_pool",
	};
	char path[64];

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "/sys/kernel/debug/ttm/%s", FUZZ_PICK(&t->random, files));
	return read_all(path);
}

static int op_dma_bufs(struct fuzz_thread *t)
{
	(void)t;
	usleep(PAUSE_US);
	return read_all("/sys/kernel/debug/dma_buf/bufinfo");
}

static int op_compact(struct fuzz_thread *t)
{
	usleep(PAUSE_US);
	if (fuzz_chance(&t->random, 50))
		return write_word("/proc/sys/vm/compact_memory", "1");
	return write_word("/proc/sys/vm/drop_caches", "3");
}

static int op_proc(struct fuzz_thread *t)
{
	static const char * const files[] = {
		"maps", "smaps", "smaps_rollup", "numa_maps", "status", "statm",
	};
	char path[64];

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "/proc/%d/%s", some_worker(t), FUZZ_PICK(&t->random, files));
	return read_all(path);
}

/* Makes all entries read-only, so that the next write is noticed. */
static int op_clear_refs(struct fuzz_thread *t)
{
	char path[64];

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", some_worker(t));
	return write_word(path, fuzz_chance(&t->random, 50) ? "4" : "1");
}

static int op_fdinfo(struct fuzz_thread *t)
{
	char path[320];
	struct dirent *entry;
	pid_t pid = some_worker(t);
	int err = -ENOENT;
	DIR *dir;

	usleep(PAUSE_US);
	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, entry->d_name);
		if (!read_all(path))
			err = 0;
	}
	closedir(dir);
	return err;
}

/* The address of one of a worker's mappings of a buffer, out of its list of mappings. */
static uint64_t mapping_of(struct fuzz_thread *t, pid_t pid)
{
	uint64_t start, found = 0, seen = 0;
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "/dev/dri/") && !strstr(line, "/dmabuf:"))
			continue;
		start = strtoull(line, NULL, 16);
		if (!is_window(start) && !fuzz_below(&t->random, ++seen))
			found = start;
	}
	fclose(file);
	return found;
}

/* Another process's mapping, which may be gone by now, as may its owner. */
static int of_mapping(struct fuzz_thread *t, const char *name, unsigned int shift, bool write)
{
	pid_t pid = some_worker(t);
	uint64_t addr = mapping_of(t, pid) >> shift;
	char path[64];
	int fd, err;

	if (!addr)
		return FUZZ_SKIP;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, write ? O_RDWR | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write)
		err = pwrite(fd, text, 64, addr) < 0 ? -errno : 0;
	else
		err = pread(fd, text, 3 * PFNMAP_PAGE, addr) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int op_proc_mem(struct fuzz_thread *t)
{
	return of_mapping(t, "mem", 0, fuzz_chance(&t->random, 30));
}

/* 8 bytes a page */
static int op_pagemap(struct fuzz_thread *t)
{
	return of_mapping(t, "pagemap", 9, false);
}

/* Workers come and go meanwhile: ENOENT, ESRCH and similar. */
static const struct fuzz_op ops[] = {
	{ "debugfs evict", 15, FUZZ_FAILS, op_evict, { FUZZ_ANY } },
	{ "fault of the device", 5, FUZZ_BY_HOST, op_fault, {} },
	{ "debugfs vram", 5, FUZZ_MAY_FAIL, op_vram, { EIO } },
	{ "debugfs clients", 3, FUZZ_MAY_FAIL, op_clients, { EIO } },
	{ "debugfs leaf", 5, FUZZ_FAILS, op_leaf, { EINVAL, EFAULT } },
	{ "power/control", 3, FUZZ_MAY_FAIL, op_power, { EIO } },
	{ "largest_leaf", 8, FUZZ_FAILS, op_largest_leaf, { EINVAL } },
	{ "TTM swaps", 10, FUZZ_MAY_FAIL, op_swap, { EIO } },
	{ "dma_buf/bufinfo", 3, FUZZ_MAY_FAIL, op_dma_bufs, { EIO } },
	{ "compact, drop caches", 2, FUZZ_MAY_FAIL, op_compact, { FUZZ_ANY } },
	{ "/proc/PID/...", 10, FUZZ_MAY_FAIL, op_proc, { ENOENT, ESRCH, EACCES, EPERM } },
	{ "/proc/PID/clear_refs", 8, FUZZ_MAY_FAIL, op_clear_refs,
	  { ENOENT, ESRCH, EACCES, EPERM } },
	{ "/proc/PID/fdinfo", 10, FUZZ_MAY_FAIL, op_fdinfo, { ENOENT, ESRCH, EACCES, EPERM } },
	{ "/proc/PID/mem", 10, FUZZ_MAY_FAIL, op_proc_mem, { ENOENT, ESRCH, EACCES, EPERM, EIO } },
	{ "/proc/PID/pagemap", 5, FUZZ_MAY_FAIL, op_pagemap, { ENOENT, ESRCH, EACCES, EPERM } },
};

const struct fuzz_group fuzz_inspector_group = { FUZZ_INSPECTOR, ops, ARRAY_SIZE(ops) };
