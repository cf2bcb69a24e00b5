// SPDX-License-Identifier: MIT
/*
 * Mappings: made, cut, moved, protected, touched, and looked at by those who take user memory.
 *
 * Nothing here reaches out of what was once a mapping of a buffer or the process's arena.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"
#include "pfnmap/pfnmap_pattern.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* An address in the arena: as the largest leaf, a smaller one or none would like it. */
static char *arena_address(struct fuzz_thread *t, uint64_t size)
{
	static const uint64_t aligns[] = { PFNMAP_1G, PFNMAP_2M, PFNMAP_2M, PFNMAP_PAGE };
	uint64_t align = FUZZ_PICK(&t->random, aligns);
	uint64_t room = FUZZ_ARENA - size;

	return t->process->arena + fuzz_below(&t->random, room / align + 1) * align;
}

static const int protections[] = {
	PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
	PROT_WRITE, PROT_NONE, PROT_READ | PROT_WRITE | PROT_EXEC,
};

static int op_mmap(struct fuzz_thread *t)
{
	struct fuzz_bo bo = fuzz_bo_pick(t);
	struct fuzz_file file = fuzz_file_of(t, bo.file);
	const uint64_t sizes[] = {
		bo.size, bo.size, bo.size, bo.size, bo.size / 2, PFNMAP_PAGE, bo.size - 100,
		bo.size + PFNMAP_PAGE, 0,
	};
	uint64_t size = FUZZ_PICK(&t->random, sizes), offset = bo.offset;
	static const int more[] = {
		0, 0, 0, 0, MAP_POPULATE, MAP_LOCKED, MAP_32BIT, MAP_NORESERVE, MAP_NONBLOCK,
	};
	int flags = FUZZ_PICK(&t->random, more), type = MAP_SHARED;
	char *hint = NULL, *map;

	if (!bo.size)
		return FUZZ_SKIP;
	if (fuzz_chance(&t->random, 30)) {
		hint = arena_address(t, size);
		flags |= fuzz_chance(&t->random, 80) ? MAP_FIXED : 0;
	}
	if (fuzz_chance(&t->random, 5))
		offset += PFNMAP_PAGE;
	else if (fuzz_chance(&t->random, 3))
		offset = fuzz_next(&t->random) & ~0xfffull;
	if (fuzz_chance(&t->random, 5))
		type = MAP_PRIVATE;
	else if (fuzz_chance(&t->random, 5))
		type = MAP_SHARED_VALIDATE;
	if (fuzz_chance(&t->random, 5))
		file = fuzz_file_pick(t, NULL);

	map = mmap(hint, size, FUZZ_PICK(&t->random, protections), flags | type, file.fd, offset);
	if (map == MAP_FAILED)
		return -errno;
	if (type == MAP_PRIVATE)
		fuzz_finding("a private mapping of a buffer");

	size = (size + PFNMAP_PAGE - 1) & ~(PFNMAP_PAGE - 1);
	fuzz_map_put(t, (struct fuzz_map) {
		.addr = map,
		.size = size,
		.object = fuzz_object_get(t, bo.object),
	});
	return 0;
}

/* A part of a mapping: all of it, a page, a half, or whatever pages. */
static struct fuzz_map part_of(struct fuzz_thread *t, struct fuzz_map map)
{
	uint64_t pages = map.size / PFNMAP_PAGE, first = fuzz_below(&t->random, pages);
	uint64_t count = 1 + fuzz_below(&t->random, pages - first);

	switch (fuzz_below(&t->random, 6)) {
	case 0 ... 1:
		return map;
	case 2:
		count = 1;
		break;
	case 3:
		first = pages / 2;
		count = pages - first;
		break;
	case 4:
		first = 0;
		break;
	}
	map.addr += first * PFNMAP_PAGE;
	map.size = count * PFNMAP_PAGE;
	return map;
}

static int op_munmap(struct fuzz_thread *t)
{
	unsigned int slot;
	struct fuzz_map map = fuzz_map_pick(t, &slot), part;

	if (!map.addr)
		return FUZZ_SKIP;
	part = part_of(t, map);
	if (fuzz_chance(&t->random, 10))
		part.addr += 1;
	if (munmap(part.addr, part.size))
		return -errno;
	/* What is left of a mapping with a hole stays in its slot, hole and all. */
	if (part.size == map.size)
		fuzz_map_replace(t, slot, map, (struct fuzz_map) {});
	return 0;
}

static int op_mprotect(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);

	if (!map.addr)
		return FUZZ_SKIP;
	map = part_of(t, map);
	return mprotect(map.addr, map.size, FUZZ_PICK(&t->random, protections)) ? -errno : 0;
}

static int op_mremap(struct fuzz_thread *t)
{
	unsigned int slot;
	struct fuzz_map map = fuzz_map_pick(t, &slot), part, moved;
	const int flags[] = {
		0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED,
		MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
	};
	int flag = FUZZ_PICK(&t->random, flags);

	if (!map.addr)
		return FUZZ_SKIP;
	part = part_of(t, map);
	moved = part;
	if (fuzz_chance(&t->random, 20))
		moved.size += PFNMAP_PAGE;
	else if (fuzz_chance(&t->random, 20) && moved.size > PFNMAP_PAGE)
		moved.size -= PFNMAP_PAGE;

	/* An old size of 0 would duplicate: of what is private by now mm refuses that with a message. */
	moved.addr = mremap(part.addr, part.size, moved.size, flag, arena_address(t, moved.size));
	if (moved.addr == MAP_FAILED)
		return -errno;
	if (part.size == map.size) {
		fuzz_map_replace(t, slot, map, moved);
		return 0;
	}
	moved.object = fuzz_object_get(t, map.object);
	fuzz_map_put(t, moved);
	return 0;
}

static int op_madvise(struct fuzz_thread *t)
{
	static const int advices[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
		MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_COLD,
		MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE, 4711,
	};
	struct fuzz_map map = fuzz_map_pick(t, NULL);

	if (!map.addr)
		return FUZZ_SKIP;
	map = part_of(t, map);
	return madvise(map.addr, map.size, FUZZ_PICK(&t->random, advices)) ? -errno : 0;
}

static int op_lock(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	unsigned char *pages = (unsigned char *)t->scratch;
	int ret;

	if (!map.addr)
		return FUZZ_SKIP;
	map = part_of(t, map);
	switch (fuzz_below(&t->random, 5)) {
	case 0:
		ret = mlock(map.addr, map.size);
		break;
	case 1:
		ret = munlock(map.addr, map.size);
		break;
	case 2:
		ret = msync(map.addr, map.size, MS_SYNC);
		break;
	case 3:
		ret = mlock2(map.addr, map.size, MLOCK_ONFAULT);
		break;
	default:
		if (map.size > PFNMAP_PAGE * FUZZ_SCRATCH)
			return FUZZ_SKIP;
		ret = mincore(map.addr, map.size, pages);
		break;
	}
	return ret ? -errno : 0;
}

/* A word of it, as a rule near a border of a leaf. */
static char *some_word(struct fuzz_thread *t, struct fuzz_map map)
{
	uint64_t offset = fuzz_below(&t->random, map.size / 8) * 8;

	switch (fuzz_below(&t->random, 4)) {
	case 0:
		offset = 0;
		break;
	case 1:
		offset = map.size - 8;
		break;
	case 2:
		offset &= ~(PFNMAP_2M - 1);
		break;
	}
	return map.addr + offset;
}

static int op_load(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	int err = 0;

	if (!map.addr)
		return FUZZ_SKIP;
	for (int i = 0; i < 8 && !err; i++)
		err = FUZZ_GUARDED(t, t->sink ^= pfnmap_load(some_word(t, map)));
	return err;
}

static int op_store(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	int err = 0;

	if (!map.addr)
		return FUZZ_SKIP;
	for (int i = 0; i < 8 && !err; i++)
		err = FUZZ_GUARDED(t, pfnmap_store(some_word(t, map), fuzz_next(&t->random)));
	return err;
}

/* A page after the other: what prefaults, and what meets a leaf of another thread. */
static int op_sweep(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	uint64_t step = PFNMAP_PAGE * (1 + fuzz_below(&t->random, 20));
	int err = 0;

	if (!map.addr || map.size / step > 4096)
		return FUZZ_SKIP;
	for (uint64_t offset = 0; offset < map.size && !err; offset += step)
		err = FUZZ_GUARDED(t, t->sink ^= pfnmap_load(map.addr + offset));
	return err;
}

/* As a debugger does. A read may go on behind the mapping, a write may not. */
static int op_proc_mem(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	size_t size = 1 + fuzz_below(&t->random, 2 * PFNMAP_PAGE);
	bool write = fuzz_chance(&t->random, 50);
	char *addr;
	ssize_t n;

	if (!map.addr)
		return FUZZ_SKIP;
	addr = some_word(t, map);
	if (write && size > (size_t)(map.addr + map.size - addr))
		size = map.addr + map.size - addr;
	n = write ? pwrite(t->process->proc_mem, t->scratch, size, (uintptr_t)addr) :
		    pread(t->process->proc_mem, t->scratch, size, (uintptr_t)addr);
	return n < 0 ? -errno : 0;
}

/*
 * Is it a device's memory? A hole that another thread made may have been filled with ordinary
 * memory, by the C library for one. If it is so before and after a call, it was so meanwhile.
 */
static bool is_of_device(const void *addr)
{
	FILE *file = fopen("/proc/self/maps", "re");
	bool found = false;
	char line[512];

	while (file && !found && fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		found = sscanf(line, "%lx-%lx", &start, &end) == 2 && (uintptr_t)addr >= start &&
			(uintptr_t)addr < end && (strstr(line, "/dev/dri/") || strstr(line, "/dmabuf:"));
	}
	if (file)
		fclose(file);
	return found;
}

/* Who pins user memory must be refused, and goes on working for memory that can be pinned. */
static int op_vm_copy(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	bool ordinary = fuzz_chance(&t->random, 30), write = fuzz_chance(&t->random, 50);
	char *half = t->scratch + FUZZ_SCRATCH / 2;
	struct iovec local = { t->scratch, 64 }, remote = { half, 64 };
	bool device;
	ssize_t n;

	if (!map.addr && !ordinary)
		return FUZZ_SKIP;
	if (!ordinary)
		remote.iov_base = some_word(t, map);
	device = is_of_device(remote.iov_base);
	n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0) :
		    process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	if (n >= 0 && device && is_of_device(remote.iov_base))
		fuzz_finding("process_vm_%s() of a mapping took %zd bytes",
			     write ? "writev" : "readv", n);
	return n < 0 ? -errno : 0;
}

/* The same by a pipe, which keeps what it took. */
static int op_vmsplice(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	bool ordinary = fuzz_chance(&t->random, 30);
	struct iovec from = { t->scratch, 64 };
	int pipes[2];
	bool device;
	ssize_t n;
	int err;

	if (!map.addr && !ordinary)
		return FUZZ_SKIP;
	if (!ordinary)
		from.iov_base = some_word(t, map);
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	device = is_of_device(from.iov_base);
	n = vmsplice(pipes[1], &from, 1, SPLICE_F_NONBLOCK);
	err = n < 0 ? -errno : 0;
	if (n >= 0 && device && is_of_device(from.iov_base))
		fuzz_finding("vmsplice() of a mapping took %zd bytes", n);
	close(pipes[0]);
	close(pipes[1]);
	return err;
}

/* System calls that read and write the mapping itself, with its faults in the kernel. */
static int op_buffered(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	int pipes[2], err;
	ssize_t n;

	if (!map.addr)
		return FUZZ_SKIP;
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	n = write(pipes[1], some_word(t, map), 8);
	err = n < 0 ? -errno : 0;
	if (!err && fuzz_chance(&t->random, 50)) {
		n = read(pipes[0], some_word(t, map), 8);
		err = n < 0 ? -errno : 0;
	}
	close(pipes[0]);
	close(pipes[1]);
	return err;
}

static const struct fuzz_op ops[] = {
	{ "mmap", 60, FUZZ_FAILS, op_mmap,
	  { EINVAL, EACCES, EAGAIN, EOPNOTSUPP, EPERM, EOVERFLOW } },
	{ "munmap", 25, FUZZ_FAILS, op_munmap, { EINVAL } },
	{ "mprotect", 25, FUZZ_FAILS, op_mprotect, { EACCES } },
	{ "mremap", 25, FUZZ_FAILS, op_mremap, { EINVAL, EAGAIN } },
	{ "madvise", 20, FUZZ_FAILS, op_madvise, { FUZZ_ANY } },
	{ "mlock, msync, mincore", 10, FUZZ_MAY_FAIL, op_lock, { FUZZ_ANY } },
	{ "load", 50, FUZZ_FAILS, op_load, { EIO } },
	{ "store", 50, FUZZ_FAILS, op_store, { EIO } },
	{ "sweep", 15, FUZZ_FAILS, op_sweep, { EIO } },
	{ "/proc/self/mem", 20, FUZZ_MAY_FAIL, op_proc_mem, { EIO } },
	{ "process_vm_readv/writev", 6, FUZZ_FAILS, op_vm_copy, { FUZZ_ANY } },
	{ "vmsplice", 6, FUZZ_FAILS, op_vmsplice, { FUZZ_ANY } },
	{ "write/read by a pipe", 10, FUZZ_FAILS, op_buffered, { FUZZ_ANY } },
};

const struct fuzz_group fuzz_map_group = { FUZZ_WORKER, ops, ARRAY_SIZE(ops) };
