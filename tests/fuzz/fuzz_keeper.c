// SPDX-License-Identifier: MIT
/*
 * The client that behaves well. It keeps buffers of each kind on each device, knows each of
 * their bytes, and looks at them by the CPU, by the engine and as a debugger does. Whatever the
 * others do, nothing may change in them, and its jobs must succeed.
 *
 * "No room" is no failure: the others may have filled all of it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "pfnmap/pfnmap_pattern.h"

static const struct kind {
	uint64_t size;
	uint32_t placement, flags;
} kinds[] = {
	{ 65536, DRM_VPFN_PLACEMENT_VRAM, DRM_VPFN_GEM_CREATE_CPU_ACCESS },
	{ 65536, DRM_VPFN_PLACEMENT_VRAM, 0 },
	{ 65536, DRM_VPFN_PLACEMENT_SYSTEM, 0 },
	{ PFNMAP_2M + PFNMAP_PAGE, DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM, 0 },
	{ PFNMAP_2M, DRM_VPFN_PLACEMENT_SYSTEM, DRM_VPFN_GEM_CREATE_CPU_ACCESS },
};

static struct canary {
	const struct kind *kind;
	unsigned int device;
	struct vpfn_bo bo;
	char *map, *copy;
} canaries[FUZZ_DEVICES_MAX * ARRAY_SIZE(kinds)];
static unsigned int canary_count;

static bool is_fault(int err)
{
	return fuzz_shared->faults && (err == -EIO || err == -ETIME);
}

/* Room is the one thing that others may take; a device with faults fails jobs, too. */
static int judge(struct fuzz_thread *t, int err, const char *what)
{
	if (err && err != -ENOSPC && err != -ENOMEM && !is_fault(err))
		fuzz_finding("%s of the well-behaved process failed with %s (operation %llu)", what,
			     strerrorname_np(-err), (unsigned long long)t->number);
	return err;
}

static void add_canary(struct fuzz_thread *t, unsigned int device, const struct kind *kind)
{
	struct canary *c = &canaries[canary_count];
	int fd = t->private_fd[device];

	c->kind = kind;
	c->device = device;
	if (vpfn_bo_create_in(fd, kind->size, kind->placement, kind->flags, &c->bo))
		return;
	c->copy = calloc(1, kind->size);
	if (!c->copy || vpfn_bo_map(fd, &c->bo, (void **)&c->map)) {
		free(c->copy);
		vpfn_bo_close(fd, &c->bo);
		return;
	}
	canary_count++;
}

static struct canary *pick(struct fuzz_thread *t)
{
	for (unsigned int i = 0; i < fuzz_shared->device_count && !canary_count; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			add_canary(t, i, &kinds[k]);
	}
	if (!canary_count) {
		fuzz_finding("the well-behaved process gets no buffers");
		_exit(1);
	}
	return &canaries[fuzz_below(&t->random, canary_count)];
}

static void say_changed(struct fuzz_thread *t, const struct canary *c, uint64_t offset,
			const char *witness)
{
	uint64_t seen = 0;
	uint32_t placement = 0;

	FUZZ_GUARDED(t, memcpy(&seen, c->map + offset, 8));
	vpfn_bo_placement(t->private_fd[c->device], &c->bo, &placement);
	fuzz_finding("a byte changed, says %s: device %u, buffer of %llu bytes (placement %u, flags %u) in %u, offset %#llx: %#018llx, not %#018llx (operation %llu)",
		     witness, c->device, (unsigned long long)c->bo.size, c->kind->placement,
		     c->kind->flags, placement, (unsigned long long)offset,
		     (unsigned long long)seen, *(unsigned long long *)(c->copy + offset),
		     (unsigned long long)t->number);
}

static void compare(struct fuzz_thread *t, const struct canary *c, const char *seen,
		    uint64_t from, uint64_t size, const char *witness)
{
	for (uint64_t i = 0; i < size; i++) {
		if (seen[i] != c->copy[from + i]) {
			say_changed(t, c, (from + i) & ~7ull, witness);
			return;
		}
	}
}

/* A whole page at a time, since each byte by itself would be slow. */
static int check_by_cpu(struct fuzz_thread *t, const struct canary *c)
{
	int err = 0;

	for (uint64_t at = 0; at < c->bo.size && !err; at += PFNMAP_PAGE) {
		err = FUZZ_GUARDED(t, memcpy(t->scratch, c->map + at, PFNMAP_PAGE));
		if (!err && memcmp(t->scratch, c->copy + at, PFNMAP_PAGE))
			compare(t, c, t->scratch, at, PFNMAP_PAGE, "the CPU");
	}
	return err;
}

static int op_check_by_cpu(struct fuzz_thread *t)
{
	return check_by_cpu(t, pick(t));
}

static int check_by_engine(struct fuzz_thread *t, const struct canary *c)
{
	int fd = t->private_fd[c->device], err;
	uint32_t crc = 0;

	err = judge(t, vpfn_crc(fd, &c->bo, 0, c->bo.size, &crc), "a checksum");
	if (!err && crc != vpfn_crc32c(c->copy, c->bo.size))
		say_changed(t, c, 0, "the engine");
	return err;
}

static int op_check_by_engine(struct fuzz_thread *t)
{
	return check_by_engine(t, pick(t));
}

static int op_check_by_debugger(struct fuzz_thread *t)
{
	struct canary *c = pick(t);
	uint64_t at = fuzz_below(&t->random, c->bo.size - 2 * PFNMAP_PAGE);
	ssize_t n = pread(t->process->proc_mem, t->scratch, 2 * PFNMAP_PAGE, (uintptr_t)c->map + at);

	if (n < 0)
		return -errno;
	compare(t, c, t->scratch, at, n, "/proc/self/mem");
	return 0;
}

/* From here on: those that change the bytes, and know what they are afterwards. */

/* How much of a failed job has run is not defined: write all again. */
static void mend(struct fuzz_thread *t, const struct canary *c, int err)
{
	if (!is_fault(err))
		return;
	for (uint64_t at = 0; at < c->bo.size; at += PFNMAP_PAGE) {
		while (FUZZ_GUARDED(t, memcpy(c->map + at, c->copy + at, PFNMAP_PAGE)))
			usleep(1000);
	}
}

static int op_store(struct fuzz_thread *t)
{
	struct canary *c = pick(t);
	uint64_t at = fuzz_below(&t->random, c->bo.size / 8) * 8, word = fuzz_next(&t->random);
	int err = FUZZ_GUARDED(t, pfnmap_store(c->map + at, word));

	if (!err)
		memcpy(c->copy + at, &word, 8);
	return err;
}

static int op_fill(struct fuzz_thread *t)
{
	struct canary *c = pick(t);
	uint64_t at = fuzz_below(&t->random, c->bo.size / 4) * 4;
	uint64_t size = 4 + fuzz_below(&t->random, (c->bo.size - at) / 4) * 4;
	uint32_t pattern = fuzz_next(&t->random);
	int err;

	err = judge(t, vpfn_fill(t->private_fd[c->device], &c->bo, at, size, pattern), "a fill");
	for (uint64_t i = 0; !err && i < size; i += 4)
		memcpy(c->copy + at + i, &pattern, 4);
	mend(t, c, err);
	return err;
}

static int op_copy(struct fuzz_thread *t)
{
	struct canary *to = pick(t), *from = pick(t);
	uint64_t size = 1 + fuzz_below(&t->random, 65536);
	uint64_t at = fuzz_below(&t->random, to->bo.size - size + 1);
	uint64_t source = fuzz_below(&t->random, from->bo.size - size + 1);
	int err;

	if (to == from || to->device != from->device)
		return FUZZ_SKIP;
	err = judge(t, vpfn_copy(t->private_fd[to->device], &to->bo, at, &from->bo, source, size),
		    "a copy");
	if (!err)
		memcpy(to->copy + at, from->copy + source, size);
	mend(t, to, err);
	return err;
}

static int op_map_again(struct fuzz_thread *t)
{
	struct canary *c = pick(t);
	void *map;
	int err;

	err = judge(t, vpfn_bo_map(t->private_fd[c->device], &c->bo, &map), "mmap()");
	if (err)
		return err;
	munmap(c->map, c->bo.size);
	c->map = map;
	return 0;
}

static int new_is_zero_by_engine(struct fuzz_thread *t, int fd, const struct vpfn_bo *bo)
{
	static const char zeroes[PFNMAP_2M];
	uint64_t size = bo->size - 4;
	struct drm_vpfn_cmd cmd = vpfn_cmd_crc(bo, size, bo, 0, size);
	uint32_t crc;
	int err;

	err = judge(t, vpfn_run(fd, &cmd, 1), "a checksum");
	if (err)
		return err;
	err = FUZZ_GUARDED(t, memcpy(&crc, t->window + size, 4));
	if (!err && crc != vpfn_crc32c(zeroes, size))
		fuzz_finding("a new buffer is not zero, says the engine: %llu bytes (process %u, operation %llu)",
			     (unsigned long long)bo->size, t->process->ordinal,
			     (unsigned long long)t->number);
	return err;
}

static int new_is_zero_by_cpu(struct fuzz_thread *t, const struct vpfn_bo *bo)
{
	uint64_t step = bo->size <= 65536 ? 8 : 256, word = 0;
	int err = 0;

	for (uint64_t at = 0; at < bo->size && !err && !word; at += step) {
		err = FUZZ_GUARDED(t, word = pfnmap_load(t->window + at));
		if (word)
			fuzz_finding("a new buffer is not zero: %llu bytes, %#llx at %#llx (process %u, operation %llu)",
				     (unsigned long long)bo->size, (unsigned long long)word,
				     (unsigned long long)at, t->process->ordinal,
				     (unsigned long long)t->number);
	}
	return err;
}

static int fresh(struct fuzz_thread *t, int fd, const struct vpfn_bo *bo)
{
	int err = fuzz_chance(&t->random, 50) ? new_is_zero_by_engine(t, fd, bo) :
		  new_is_zero_by_cpu(t, bo);

	if (err)
		return err;

	/* What the next owner of this memory must not see. */
	if (fuzz_chance(&t->random, 50))
		return judge(t, vpfn_fill(fd, bo, 0, bo->size, 0xdeadbeef), "a fill");
	for (uint64_t at = 0; at < bo->size && !err; at += 64)
		err = FUZZ_GUARDED(t, pfnmap_store(t->window + at, 0xdeadbeefdeadbeef));
	return err;
}

/**
 * fuzz_fresh:
 * @t: the calling thread
 * @device: number of a device
 *
 * Looks whether a new buffer, of a file that no other thread knows, is zero.
 *
 * Returns: 0 or a negative errno.
 */
int fuzz_fresh(struct fuzz_thread *t, unsigned int device)
{
	const uint64_t sizes[] = { PFNMAP_PAGE, 65536, 4 * 65536, PFNMAP_2M };
	int fd = t->private_fd[device], err;
	struct vpfn_bo bo;
	void *map;

	err = vpfn_bo_create_in(fd, FUZZ_PICK(&t->random, sizes),
				1 + fuzz_below(&t->random, 3), fuzz_below(&t->random, 2), &bo);
	if (judge(t, err, "GEM_CREATE"))
		return err;

	err = judge(t, pfnmap_map_at(fd, bo.offset, bo.size, t->window, MAP_FIXED, &map), "mmap()");
	if (!err)
		err = fresh(t, fd, &bo);

	/* The place stays the thread's own. */
	mmap(t->window, bo.size, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	vpfn_bo_close(fd, &bo);
	return err;
}

static int op_fresh(struct fuzz_thread *t)
{
	return fuzz_fresh(t, fuzz_below(&t->random, fuzz_shared->device_count));
}

/**
 * fuzz_keeper_last_look:
 * @t: the calling thread
 *
 * The end of the run: all buffers are looked at by all means, and now there is room.
 */
void fuzz_keeper_last_look(struct fuzz_thread *t)
{
	for (unsigned int i = 0; i < canary_count; i++) {
		int err = check_by_engine(t, &canaries[i]), tries = 10;

		/* Faults that are still to come */
		while (is_fault(err) && tries--)
			err = check_by_engine(t, &canaries[i]);
		if (err || check_by_cpu(t, &canaries[i]))
			fuzz_finding("the last look at a buffer of the well-behaved process failed");
	}
}

static const struct fuzz_op ops[] = {
	{ "kept: checked by the CPU", 5, FUZZ_MAY_FAIL, op_check_by_cpu, { EIO } },
	{ "kept: checked by the engine", 5, FUZZ_MAY_FAIL, op_check_by_engine,
	  { ENOSPC, EIO, ETIME } },
	{ "kept: checked by /proc/self/mem", 3, FUZZ_MAY_FAIL, op_check_by_debugger, { EIO } },
	{ "kept: written by the CPU", 5, FUZZ_MAY_FAIL, op_store, { EIO } },
	{ "kept: filled by the engine", 3, FUZZ_MAY_FAIL, op_fill, { ENOSPC, EIO, ETIME } },
	{ "kept: copied by the engine", 3, FUZZ_MAY_FAIL, op_copy, { ENOSPC, EIO, ETIME } },
	{ "kept: mapped again", 2, FUZZ_MAY_FAIL, op_map_again, {} },
	{ "kept: a new one is zero", 3, FUZZ_MAY_FAIL, op_fresh, { ENOSPC, EIO, ETIME } },
};

const struct fuzz_group fuzz_keeper_group = { FUZZ_KEEPER, ops, ARRAY_SIZE(ops) };
