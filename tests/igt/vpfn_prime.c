// SPDX-License-Identifier: MIT
/*
 * Buffers that devices share: export, import, mappings of dma-bufs, memory of others, devices
 * that know nothing of vpfn, moves under an importer, fences across devices, and what is left
 * when one of the parties goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn_bo.h"
#include "vpfn_card.h"
#include "vpfn_dmabuf.h"
#include "vpfn_gate.h"
#include "vpfn_host.h"
#include "vpfn_job.h"
#include "vpfn_pattern.h"
#include "vpfn_pressure.h"
#include "vpfn_thread.h"
#include "vpfn_video.h"
#include "vpfn_view.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that other files, other devices and other drivers share.");

#define BAD_HANDLE	0xd0d0d0d0
#define SIZE		(17 * VPFN_PAGE)
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE		DRM_VPFN_GEM_CREATE_CPU_ACCESS

static int big = -1, small = -1;
static char small_name[VPFN_PCI_NAME];

/* Bytes that differ at each place and for each seed, a word in each eight of them. */
static const void *bytes_of(uint64_t seed)
{
	static uint64_t bytes[SIZE / sizeof(uint64_t)];
	struct vpfn_pattern pattern = { .seed = seed, .size = SIZE };

	vpfn_pattern_bytes(&pattern, bytes, sizeof(bytes));
	return bytes;
}

static void write_by_cpu(void *map, uint64_t seed)
{
	const uint64_t *bytes = bytes_of(seed);

	for (uint64_t i = 0; i < SIZE / sizeof(*bytes); i++)
		vpfn_store((uint64_t *)map + i, bytes[i]);
}

static void check_by_cpu(const void *map, uint64_t seed)
{
	const uint64_t *bytes = bytes_of(seed);

	for (uint64_t i = 0; i < SIZE / sizeof(*bytes); i++)
		igt_assert_eq_u64(vpfn_load((const uint64_t *)map + i), bytes[i]);
}

static void check_words(const void *map, uint64_t from, uint64_t to, uint32_t word)
{
	for (uint64_t i = from; i < to; i += sizeof(uint64_t))
		igt_assert_eq_u64(vpfn_load((const char *)map + i), (uint64_t)word << 32 | word);
}

static void check_by_engine(int file, const struct vpfn_bo *bo, uint64_t seed)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(file, bo, 0, SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(bytes_of(seed), SIZE));
}

static uint32_t placement_of(int file, const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_bo_placement(file, bo, &placement), 0);
	return placement;
}

/* A buffer, its mapping, and its dma-buf. */
struct shared {
	int file;
	struct vpfn_bo bo;
	void *map;
	int dmabuf;
};

static void share(struct shared *shared, int file, uint32_t placement, uint64_t seed)
{
	shared->file = file;
	igt_assert_eq(vpfn_bo_create_in(file, SIZE, placement, VISIBLE, &shared->bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &shared->bo, &shared->map), 0);
	igt_assert_eq(vpfn_bo_export(file, &shared->bo, &shared->dmabuf), 0);
	write_by_cpu(shared->map, seed);
}

static void drop(struct shared *shared)
{
	igt_assert_eq(munmap(shared->map, SIZE), 0);
	igt_assert_eq(vpfn_bo_close(shared->file, &shared->bo), 0);
	close(shared->dmabuf);
}

static void import(int file, int dmabuf, struct vpfn_bo *bo)
{
	igt_assert_eq(vpfn_dmabuf_import(file, dmabuf, SIZE, bo), 0);
}

static int open_other(void)
{
	int file = vpfn_open(O_RDWR);

	igt_assert_lte(0, file);
	return file;
}

static void require_small(void)
{
	igt_require_f(small >= 0, "no second device of the driver vpfn\n");
}

static void make_gate(struct vpfn_gate *gate)
{
	int err = vpfn_gate_make(gate);

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
}

/* Bad input */

static int export_err(int file, uint32_t handle, uint32_t flags)
{
	struct drm_prime_handle arg = { .handle = handle, .flags = flags };
	int err = vpfn_ioctl(file, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg);

	if (!err)
		close(arg.fd);
	return err;
}

static void test_export_bad(void)
{
	int other = open_other();
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create_in(big, SIZE, VRAM, 0, &bo), 0);
	igt_assert_eq(export_err(big, bo.handle, DRM_CLOEXEC | DRM_RDWR), 0);

	igt_assert_eq(export_err(big, bo.handle, 1), -EINVAL);
	igt_assert_eq(export_err(big, bo.handle, DRM_RDWR | 1u << 31), -EINVAL);
	igt_assert_eq(export_err(big, 0, DRM_CLOEXEC), -ENOENT);
	igt_assert_eq(export_err(big, BAD_HANDLE, DRM_CLOEXEC), -ENOENT);
	igt_assert_eq(export_err(other, bo.handle, DRM_CLOEXEC), -ENOENT);

	igt_assert_eq(vpfn_bo_close(big, &bo), 0);
	igt_assert_eq(export_err(big, bo.handle, DRM_CLOEXEC), -ENOENT);
	close(other);
}

static void test_import_bad(void)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct shared shared;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_dmabuf_import(big, -1, SIZE, &bo), -EBADF);
	igt_assert_eq(vpfn_dmabuf_import(big, file, SIZE, &bo), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_import(big, big, SIZE, &bo), -EINVAL);

	share(&shared, big, VRAM, 1);
	import(big, shared.dmabuf, &bo);
	drop(&shared);
	close(file);
}

static int map_err(int file, uint64_t offset, uint64_t len, int flags)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, file, offset);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, len);
	return 0;
}

static void test_map_bad(void)
{
	struct shared shared;

	share(&shared, big, VRAM, 1);
	igt_assert_eq(map_err(shared.dmabuf, 0, SIZE, MAP_SHARED), 0);
	igt_assert_eq(map_err(shared.dmabuf, SIZE - VPFN_PAGE, VPFN_PAGE, MAP_SHARED), 0);

	igt_assert_eq(map_err(shared.dmabuf, 0, SIZE, MAP_PRIVATE), -EINVAL);
	igt_assert_eq(map_err(shared.dmabuf, 0, SIZE + VPFN_PAGE, MAP_SHARED), -EINVAL);
	igt_assert_eq(map_err(shared.dmabuf, VPFN_PAGE, SIZE, MAP_SHARED), -EINVAL);
	igt_assert_eq(map_err(shared.dmabuf, SIZE, VPFN_PAGE, MAP_SHARED), -EINVAL);
	igt_assert_eq(map_err(shared.dmabuf, 1ull << 40, VPFN_PAGE, MAP_SHARED), -EINVAL);
	/* The offset that the DRM file wants is none of the dma-buf's. */
	igt_assert_eq(map_err(shared.dmabuf, shared.bo.offset, SIZE, MAP_SHARED), -EINVAL);
	drop(&shared);
}

/* A dma-buf that is open for reading alone gives no way to write. */
static void test_map_read_only(void)
{
	struct vpfn_bo bo;
	void *map, *view;
	int dmabuf;

	/* The first export decides, for the life of the dma-buf. */
	igt_assert_eq(vpfn_bo_create(big, SIZE, &bo), 0);
	igt_assert_eq(drmPrimeHandleToFD(big, bo.handle, DRM_CLOEXEC, &dmabuf), 0);
	igt_assert_eq(vpfn_bo_map(big, &bo, &map), 0);
	write_by_cpu(map, 2);

	igt_assert_eq(map_err(dmabuf, 0, SIZE, MAP_SHARED), -EACCES);
	igt_assert_eq(vpfn_map(dmabuf, 0, SIZE, PROT_READ, &view), 0);
	check_by_cpu(view, 2);
	igt_assert_eq(mprotect(view, SIZE, PROT_READ | PROT_WRITE) ? errno : 0, EACCES);
	igt_assert_eq(vpfn_signal_of(view, VPFN_WRITE), SIGSEGV);

	munmap(view, SIZE);
	munmap(map, SIZE);
	close(dmabuf);
	igt_assert_eq(vpfn_bo_close(big, &bo), 0);
}

/* One device */

static void test_same_file(void)
{
	struct shared shared;
	struct vpfn_bo bo;
	int again;

	share(&shared, big, VRAM, 3);
	import(big, shared.dmabuf, &bo);
	igt_assert_eq_u64(bo.handle, shared.bo.handle);
	igt_assert_eq(vpfn_bo_export(big, &bo, &again), 0);
	igt_assert(vpfn_dmabuf_same(again, shared.dmabuf));
	close(again);

	/* It is one handle, so closing it once is enough. */
	igt_assert_eq(vpfn_bo_close(big, &shared.bo), 0);
	igt_assert_eq(vpfn_bo_close(big, &bo), -EINVAL);
	import(big, shared.dmabuf, &shared.bo);
	check_by_engine(big, &shared.bo, 3);
	drop(&shared);
}

static void test_other_file(uint32_t placement)
{
	int other = open_other(), again;
	struct shared shared;
	struct vpfn_bo bo;
	void *map;

	share(&shared, big, placement, 4);
	import(other, shared.dmabuf, &bo);
	igt_assert_eq(placement_of(other, &bo), placement);
	check_by_engine(other, &bo, 4);
	igt_assert_eq(vpfn_bo_export(other, &bo, &again), 0);
	igt_assert(vpfn_dmabuf_same(again, shared.dmabuf));
	close(again);

	/* It is the buffer itself: the file maps it by its own handle, wherever it goes. */
	igt_assert_eq(vpfn_map(other, shared.bo.offset, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	check_by_cpu(map, 4);
	write_by_cpu(map, 5);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(placement_of(other, &bo), SYSTEM);
	igt_assert_eq(placement_of(big, &shared.bo), SYSTEM);
	check_by_engine(big, &shared.bo, 5);
	igt_assert_eq(placement_of(other, &bo), placement);

	igt_assert_eq(vpfn_fill(other, &bo, 0, SIZE, 0x600df00d), 0);
	check_words(shared.map, 0, SIZE, 0x600df00d);

	/* A handle of a file dies with the file, the buffer does not. */
	munmap(map, SIZE);
	close(other);
	check_words(shared.map, 0, SIZE, 0x600df00d);
	drop(&shared);
}

static void test_map(uint32_t placement)
{
	struct shared shared;
	void *map, *tail;

	share(&shared, big, placement, 6);
	igt_assert_eq(vpfn_map(shared.dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	igt_assert_eq(vpfn_map(shared.dmabuf, SIZE - VPFN_PAGE, VPFN_PAGE, PROT_READ, &tail), 0);

	check_by_cpu(map, 6);
	write_by_cpu(map, 7);
	check_by_cpu(shared.map, 7);
	check_by_engine(big, &shared.bo, 7);
	igt_assert_eq_u64(vpfn_load(tail), vpfn_load((char *)map + SIZE - VPFN_PAGE));
	igt_assert_eq(placement_of(big, &shared.bo), placement);

	/* The mapping sees the engine's work, and follows the buffer. */
	igt_assert_eq(vpfn_fill(big, &shared.bo, 0, SIZE, 0xfeedbeef), 0);
	check_words(map, 0, SIZE, 0xfeedbeef);
	write_by_cpu(map, 8);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(placement_of(big, &shared.bo), SYSTEM);
	check_by_cpu(map, 8);
	write_by_cpu(map, 9);
	check_by_engine(big, &shared.bo, 9);
	igt_assert_eq(placement_of(big, &shared.bo), placement);
	check_by_cpu(map, 9);
	igt_assert_eq_u64(vpfn_load(tail), vpfn_load((char *)map + SIZE - VPFN_PAGE));

	munmap(tail, VPFN_PAGE);
	munmap(map, SIZE);
	drop(&shared);
}

/* Jobs that a gate holds back */

static uint32_t new_syncobj(int file)
{
	uint32_t syncobj;

	igt_assert_eq(drmSyncobjCreate(file, 0, &syncobj), 0);
	return syncobj;
}

/* Starts one command, behind the gate if there is one; the syncobj tells when it is done. */
static uint32_t start(int file, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate)
{
	uint32_t out = new_syncobj(file), in = 0;

	if (gate)
		igt_assert_eq(vpfn_gate_syncobj(gate, file, &in), 0);
	igt_assert_eq(vpfn_submit(file, &cmd, 1, in, out), 0);
	if (in)
		drmSyncobjDestroy(file, in);
	return out;
}

static void finish(int file, uint32_t syncobj)
{
	igt_assert_eq(vpfn_sync_status(file, syncobj, VPFN_LONG_NS), 0);
	drmSyncobjDestroy(file, syncobj);
}

static void check_waits(int file, uint32_t syncobj)
{
	igt_assert_eq(vpfn_still_waits(file, syncobj), 0);
}

struct reader {
	int dmabuf;
	const void *word;
	uint64_t seen;
};

static int read_after_sync(void *arg)
{
	struct reader *reader = arg;
	int err = vpfn_dmabuf_sync(reader->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);

	reader->seen = vpfn_load(reader->word);
	return err;
}

/* A call that may return at once, and may have to wait. */
static void start_thread(struct vpfn_thread *thread, int (*run)(void *arg), void *arg)
{
	igt_assert_eq(vpfn_thread_start(thread, run, arg), 0);
	igt_assert_eq(vpfn_thread_settle(thread, NULL), 0);
}

static int end_thread(struct vpfn_thread *thread)
{
	int ret;

	igt_assert_eq(vpfn_thread_join(thread, &ret), 0);
	return ret;
}

static int run_evict(void *file)
{
	return vpfn_evict(*(int *)file);
}

static void test_sync_ioctl(void)
{
	struct vpfn_gate gate;
	struct shared shared;
	struct vpfn_thread thread;
	struct reader reader;
	uint32_t job;

	share(&shared, big, VRAM, 10);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, 0), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | 8), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | 1ull << 40), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW), 0);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END), 0);

	/* A sync before reading waits for a job that has not even begun. */
	make_gate(&gate);
	job = start(big, vpfn_cmd_fill(&shared.bo, 0, SIZE, 0x5eed5eed), &gate);
	reader = (struct reader) { .dmabuf = shared.dmabuf, .word = shared.map };
	igt_assert_eq(vpfn_thread_start(&thread, read_after_sync, &reader), 0);
	igt_assert_eq(vpfn_thread_settle(&thread, VPFN_IN_FENCE_WAIT), 0);
	igt_assert(!vpfn_thread_is_done(&thread));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(end_thread(&thread), 0);
	igt_assert_eq_u64(reader.seen, 0x5eed5eed5eed5eedull);

	finish(big, job);
	vpfn_gate_remove(&gate);
	drop(&shared);
}

/* A fence of the dma-buf: is it pending, and does it signal without an error? */
static void check_fence(int dmabuf, uint32_t flags, bool pending)
{
	int sync_file;

	igt_assert_eq(vpfn_dmabuf_get_fence(dmabuf, flags, &sync_file), 0);
	igt_assert_eq(vpfn_sync_file_status(sync_file, 0), pending ? -EBUSY : 0);
	close(sync_file);
}

static void test_get_fence(void)
{
	struct shared source, target;
	int sync_file, of_target;
	struct vpfn_gate gate;
	uint32_t job;

	share(&source, big, VRAM, 11);
	share(&target, big, VRAM, 12);
	igt_assert_eq(vpfn_dmabuf_get_fence(source.dmabuf, 0, &sync_file), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_get_fence(source.dmabuf, 4, &sync_file), -EINVAL);
	igt_assert_eq(vpfn_bo_wait(big, &source.bo, 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_wait(big, &target.bo, 0, VPFN_LONG_NS), 0);
	check_fence(target.dmabuf, DMA_BUF_SYNC_WRITE, false);

	/* Readers must wait for who writes, writers for everyone. */
	make_gate(&gate);
	job = start(big, vpfn_cmd_copy(&target.bo, 0, &source.bo, 0, SIZE), &gate);
	check_fence(source.dmabuf, DMA_BUF_SYNC_READ, false);
	check_fence(source.dmabuf, DMA_BUF_SYNC_WRITE, true);
	check_fence(target.dmabuf, DMA_BUF_SYNC_READ, true);
	check_fence(target.dmabuf, DMA_BUF_SYNC_WRITE, true);

	igt_assert_eq(vpfn_dmabuf_get_fence(target.dmabuf, DMA_BUF_SYNC_READ, &of_target), 0);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(of_target, VPFN_LONG_NS), 0);
	check_by_cpu(target.map, 11);
	finish(big, job);
	check_fence(source.dmabuf, DMA_BUF_SYNC_WRITE, false);

	close(of_target);
	vpfn_gate_remove(&gate);
	drop(&target);
	drop(&source);
}

/* A fence from outside says how the buffer is used until then. */
static void test_add_fence(uint32_t use)
{
	struct vpfn_gate gate;
	struct shared shared;
	uint32_t reads, writes;
	struct vpfn_bo copy;
	int sync_file;

	share(&shared, big, VRAM, 13);
	igt_assert_eq(vpfn_bo_create(big, SIZE, &copy), 0);
	make_gate(&gate);
	igt_assert_eq(vpfn_gate_sync_file(&gate, &sync_file), 0);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, 0, sync_file), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, use, -1), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, use, sync_file), 0);
	close(sync_file);

	igt_assert_eq(vpfn_bo_wait(big, &shared.bo, 0, 0), -ETIME);
	igt_assert_eq(vpfn_bo_wait(big, &shared.bo, DRM_VPFN_WAIT_WRITERS, 0),
		      use == DMA_BUF_SYNC_WRITE ? -ETIME : 0);

	reads = start(big, vpfn_cmd_copy(&copy, 0, &shared.bo, 0, SIZE), NULL);
	if (use == DMA_BUF_SYNC_WRITE) {
		/* Stands for what the other one writes, late. */
		check_waits(big, reads);
		write_by_cpu(shared.map, 14);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		finish(big, reads);
		check_by_engine(big, &copy, 14);
	} else {
		finish(big, reads);
		check_by_engine(big, &copy, 13);
		writes = start(big, vpfn_cmd_fill(&shared.bo, 0, SIZE, 0xabababab), NULL);
		check_waits(big, writes);
		check_by_cpu(shared.map, 13);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		finish(big, writes);
		check_words(shared.map, 0, SIZE, 0xabababab);
	}
	igt_assert_eq(vpfn_bo_wait(big, &shared.bo, 0, VPFN_LONG_NS), 0);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(big, &copy), 0);
	drop(&shared);
}

static void test_lifetime(uint32_t placement)
{
	int file = open_other(), dmabuf;
	struct vpfn_bo bo;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(file, SIZE, placement, VISIBLE, &bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, &map), 0);
	write_by_cpu(map, 15);
	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_export(file, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);

	igt_assert_eq(vpfn_map(dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	check_by_cpu(map, 15);
	igt_assert_eq(vpfn_evict(big), 0);
	check_by_cpu(map, 15);
	write_by_cpu(map, 16);

	file = open_other();
	import(file, dmabuf, &bo);
	close(dmabuf);
	check_by_engine(file, &bo, 16);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);

	/* Now the mapping alone holds it. */
	check_by_cpu(map, 16);
	munmap(map, SIZE);
}

/* Memory of others */

static void check_foreign(int file, struct vpfn_foreign *foreign)
{
	struct drm_vpfn_cmd beyond;
	struct vpfn_bo bo, own;
	void *map;

	write_by_cpu(foreign->map, 17);
	import(file, foreign->dmabuf, &bo);
	igt_assert_eq(placement_of(file, &bo), SYSTEM);
	igt_assert_eq(vpfn_bo_create(file, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(file, &own, &map), 0);

	/* From it ... */
	check_by_engine(file, &bo, 17);
	igt_assert_eq(vpfn_copy(file, &own, 0, &bo, 0, SIZE), 0);
	check_by_cpu(map, 17);

	/* ... and to it; nothing beside what was asked for. */
	write_by_cpu(map, 18);
	igt_assert_eq(vpfn_copy(file, &bo, 0, &own, 0, SIZE), 0);
	check_by_cpu(foreign->map, 18);
	write_by_cpu(foreign->map, 19);
	igt_assert_eq(vpfn_fill(file, &bo, VPFN_PAGE - 8, 2 * VPFN_PAGE + 16, 0x1dea1dea), 0);
	check_words(foreign->map, VPFN_PAGE - 8, 3 * VPFN_PAGE + 8, 0x1dea1dea);
	memcpy((char *)foreign->map + VPFN_PAGE - 8,
	       (const char *)bytes_of(19) + VPFN_PAGE - 8, 2 * VPFN_PAGE + 16);
	check_by_cpu(foreign->map, 19);

	beyond = vpfn_cmd_fill(&bo, SIZE - 4, 8, 1);
	igt_assert_eq(vpfn_submit(file, &beyond, 1, 0, 0), -EINVAL);
	check_by_cpu(foreign->map, 19);

	/* It stays where it is, however short room is. */
	igt_assert_eq(vpfn_evict(file), 0);
	check_by_engine(file, &bo, 19);
	igt_assert_eq(placement_of(file, &bo), SYSTEM);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(file, &own), 0);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
}

/* Mapped by the importer's handle, it is the exporter's mapping. */
static void check_map_of_import(int file, const struct vpfn_bo *bo, uint64_t seed)
{
	struct drm_vpfn_gem_mmap_offset get = { .handle = bo->handle };
	void *map;

	igt_assert_eq(vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get), 0);
	igt_assert_eq(map_err(file, get.offset, SIZE + VPFN_PAGE, MAP_SHARED), -EINVAL);
	igt_assert_eq(vpfn_map(file, get.offset, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	check_by_cpu(map, seed);
	vpfn_store(map, ~vpfn_load(map));
	vpfn_store(map, ~vpfn_load(map));
	munmap(map, SIZE);
}

/* The device keeps what it has imported, though everyone else has let go. */
static void check_foreign_alone(int file, struct vpfn_foreign *foreign)
{
	struct vpfn_bo bo;

	write_by_cpu(foreign->map, 20);
	import(file, foreign->dmabuf, &bo);
	vpfn_foreign_remove(foreign);
	check_by_engine(file, &bo, 20);
	check_map_of_import(file, &bo, 20);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
}

static void test_foreign(int (*make)(uint64_t size, struct vpfn_foreign *foreign), int file)
{
	struct vpfn_foreign foreign;
	int err = make(SIZE, &foreign);

	igt_require_f(err != -ENOENT, "the kernel has no exporter of that kind\n");
	igt_assert_eq(err, 0);
	check_foreign(file, &foreign);
	check_foreign_alone(file, &foreign);
}

/* One buffer of one device and its twin on the other. */
struct pair {
	struct shared shared;
	int importer;
	struct vpfn_bo bo;
};

static void pair_up(struct pair *pair, int exporter, int importer, uint32_t placement,
		    uint64_t seed)
{
	share(&pair->shared, exporter, placement, seed);
	pair->importer = importer;
	import(importer, pair->shared.dmabuf, &pair->bo);
	/* Whatever the first use has to arrange is arranged. */
	check_by_engine(importer, &pair->bo, seed);
}

static void part(struct pair *pair)
{
	igt_assert_eq(vpfn_bo_close(pair->importer, &pair->bo), 0);
	drop(&pair->shared);
}

static void test_import_twice(int exporter, int importer)
{
	struct vpfn_bo again, other_bo;
	int dmabuf, other;
	struct pair pair;
	char name[VPFN_PCI_NAME];

	igt_assert_eq(vpfn_card_name(importer, name), 0);
	other = vpfn_card_open(name, O_RDWR);
	igt_assert_lte(0, other);
	pair_up(&pair, exporter, importer, VRAM, 21);

	import(importer, pair.shared.dmabuf, &again);
	igt_assert_eq_u64(again.handle, pair.bo.handle);
	import(other, pair.shared.dmabuf, &other_bo);
	check_by_engine(other, &other_bo, 21);

	/* What a device exports that it has imported is the first one's dma-buf. */
	igt_assert_eq(vpfn_bo_export(importer, &pair.bo, &dmabuf), 0);
	igt_assert(vpfn_dmabuf_same(dmabuf, pair.shared.dmabuf));
	import(exporter, dmabuf, &again);
	igt_assert_eq_u64(again.handle, pair.shared.bo.handle);
	close(dmabuf);

	igt_assert_eq(vpfn_fill(other, &other_bo, 0, SIZE, 0x0ddba11), 0);
	check_words(pair.shared.map, 0, SIZE, 0x0ddba11);
	close(other);
	part(&pair);
}

/* The engine of one device on the memory of the other, in each direction. */
static void test_other_device(int exporter, int importer, uint32_t placement)
{
	struct vpfn_bo own;
	struct pair pair;
	void *map;

	pair_up(&pair, exporter, importer, placement, 22);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	check_by_cpu(map, 22);
	write_by_cpu(map, 23);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	check_by_cpu(pair.shared.map, 23);
	check_by_engine(exporter, &pair.shared.bo, 23);
	igt_assert_eq(vpfn_fill(exporter, &pair.shared.bo, VPFN_PAGE + 4, 8, 0xffffffff), 0);
	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	igt_assert_eq_u64(*(uint32_t *)((char *)map + VPFN_PAGE + 8), 0xffffffff);

	write_by_cpu(pair.shared.map, 48);
	check_map_of_import(importer, &pair.bo, 48);
	igt_assert_eq(vpfn_evict(exporter), 0);
	check_map_of_import(importer, &pair.bo, 48);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

/* Both behind one port of the root complex: then what one sends the other need not pass it. */
static bool behind_one_port(void)
{
	char names[2][VPFN_PCI_NAME], paths[2][PATH_MAX], link[PATH_MAX];
	int files[2] = { big, small };
	char *port[2];

	for (int i = 0; i < 2; i++) {
		igt_assert_eq(vpfn_card_name(files[i], names[i]), 0);
		snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", names[i]);
		igt_assert(realpath(link, paths[i]));
		port[i] = strstr(paths[i], "/pci");
		igt_assert(port[i]);
		port[i] = strchr(port[i] + 1, '/') + 1;
		*strchrnul(port[i], '/') = '\0';
	}
	return !strcmp(port[0], port[1]);
}

/* The importer reads and writes the exporter's device memory where it lies. */
static void test_peer_to_peer(int exporter, int importer)
{
	struct vpfn_bo own;
	struct pair pair;
	void *map;

	igt_require_f(behind_one_port(), "the devices are behind different root ports\n");
	pair_up(&pair, exporter, importer, VRAM, 24);
	igt_assert_eq(placement_of(exporter, &pair.shared.bo), VRAM);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	write_by_cpu(map, 25);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	igt_assert_eq(placement_of(exporter, &pair.shared.bo), VRAM);
	check_by_cpu(pair.shared.map, 25);
	write_by_cpu(pair.shared.map, 26);
	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	igt_assert_eq(placement_of(exporter, &pair.shared.bo), VRAM);
	check_by_cpu(map, 26);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

/* Device memory that no one but its engine sees: the importer's engine gets the same bytes. */
static void test_invisible(void)
{
	struct vpfn_bo bo, imported, source;
	uint64_t visible;
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_visible_vram_size(small, &visible), 0);
	igt_assert_eq(vpfn_bo_create_in(small, SIZE, SYSTEM, 0, &source), 0);
	igt_assert_eq(vpfn_bo_map(small, &source, &map), 0);
	write_by_cpu(map, 27);

	/* Larger than what is visible: at least its end is not. */
	igt_assert_eq(vpfn_bo_create_in(small, visible + VPFN_2M, VRAM, 0, &bo), 0);
	igt_assert_eq(vpfn_copy(small, &bo, visible + VPFN_2M - SIZE, &source, 0, SIZE), 0);
	igt_assert_eq(placement_of(small, &bo), VRAM);
	igt_assert_eq(vpfn_bo_export(small, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(big, dmabuf, bo.size, &imported), 0);
	close(dmabuf);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(small, &source), 0);
	igt_assert_eq(vpfn_bo_create(big, SIZE, &source), 0);
	igt_assert_eq(vpfn_copy(big, &source, 0, &imported, visible + VPFN_2M - SIZE, SIZE), 0);
	check_by_engine(big, &source, 27);
	igt_assert_eq(vpfn_fill(big, &imported, visible, VPFN_2M, 0xcafecafe), 0);
	igt_assert_eq(vpfn_bo_close(big, &imported), 0);
	igt_assert_eq(vpfn_bo_close(big, &source), 0);

	igt_assert_eq(vpfn_bo_map(small, &bo, &map), 0);
	check_words(map, visible, visible + VPFN_2M, 0xcafecafe);
	munmap(map, bo.size);
	igt_assert_eq(vpfn_bo_close(small, &bo), 0);
}

/* Moves under an importer */

struct worker {
	int file;
	const struct vpfn_bo *bo;
	uint32_t crc;		/* what it must be all the time */
	bool stop;
	unsigned int rounds;
	int err;
};

static void *read_on_and_on(void *arg)
{
	struct worker *worker = arg;
	uint32_t crc;

	while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED) && !worker->err) {
		worker->err = vpfn_crc(worker->file, worker->bo, 0, SIZE, &crc);
		if (!worker->err && crc != worker->crc)
			worker->err = -EBADMSG;
		__atomic_fetch_add(&worker->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct goal {
	const struct worker *worker;
	unsigned int rounds;
};

static bool reached(const void *arg)
{
	const struct goal *goal = arg;

	return __atomic_load_n(&goal->worker->rounds, __ATOMIC_RELAXED) >= goal->rounds;
}

/* Until it has read once from beginning to end, and is at it again. */
static void wait_for_worker(const struct worker *worker)
{
	struct goal goal = {
		.worker = worker,
		.rounds = __atomic_load_n(&worker->rounds, __ATOMIC_RELAXED) + 2,
	};

	igt_assert_eq(vpfn_wait_until(reached, &goal), 0);
}

/* Puts other bytes to where the buffer was: a reader who goes on there gets them. */
static void spoil_free_memory(int file)
{
	struct vpfn_bo bo[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(bo); i++) {
		igt_assert_eq(vpfn_bo_create(file, SIZE, &bo[i]), 0);
		igt_assert_eq(vpfn_fill(file, &bo[i], 0, SIZE, 0xbad0bad0 + i), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(bo); i++)
		igt_assert_eq(vpfn_bo_close(file, &bo[i]), 0);
}

static void test_moves_while_read(int exporter, int importer)
{
	struct worker worker = { .file = importer };
	struct pair pair;
	pthread_t thread;

	pair_up(&pair, exporter, importer, VRAM, 29);
	worker.bo = &pair.bo;
	worker.crc = vpfn_crc32c(bytes_of(29), SIZE);
	igt_assert_eq(pthread_create(&thread, NULL, read_on_and_on, &worker), 0);

	for (int i = 0; i < 5 && !worker.err; i++) {
		igt_assert_eq(vpfn_evict(exporter), 0);
		spoil_free_memory(exporter);
		wait_for_worker(&worker);
		/* The exporter's own job brings it back. */
		check_by_engine(exporter, &pair.shared.bo, 29);
		wait_for_worker(&worker);
	}

	__atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	igt_assert_eq(worker.err, 0);
	check_by_cpu(pair.shared.map, 29);
	part(&pair);
}

static void test_moves_while_written(int exporter, int importer)
{
	struct vpfn_bo own;
	struct pair pair;
	void *map;

	pair_up(&pair, exporter, importer, VRAM, 30);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	for (uint64_t seed = 31; seed < 36; seed++) {
		igt_assert_eq(vpfn_evict(exporter), 0);
		igt_assert_eq(placement_of(exporter, &pair.shared.bo), SYSTEM);
		write_by_cpu(map, seed);
		igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
		check_by_cpu(pair.shared.map, seed);

		check_by_engine(exporter, &pair.shared.bo, seed);
		write_by_cpu(map, seed + 100);
		igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
		check_by_cpu(pair.shared.map, seed + 100);
		check_by_engine(exporter, &pair.shared.bo, seed + 100);
	}

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

/* An eviction waits for the importer's job, which then still finds the buffer. */
static void test_move_waits(int exporter, int importer)
{
	struct vpfn_thread evict;
	struct vpfn_gate gate;
	struct vpfn_bo own;
	struct pair pair;
	uint32_t job;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 37);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	job = start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);

	/* The engine moves it in its turn; the call that asks for that need not wait. */
	start_thread(&evict, run_evict, &exporter);
	check_waits(importer, job);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(end_thread(&evict), 0);
	spoil_free_memory(exporter);
	finish(importer, job);
	check_by_engine(importer, &own, 37);
	check_by_cpu(pair.shared.map, 37);

	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

/* Who comes first across two devices */

static void test_read_after_write(int exporter, int importer)
{
	struct vpfn_gate gate;
	struct vpfn_bo own;
	uint32_t first, second;
	struct pair pair;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 38);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x11111111), &gate);
	second = start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), NULL);
	check_waits(importer, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	finish(importer, second);
	finish(exporter, first);

	write_by_cpu(pair.shared.map, 39);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	check_words(pair.shared.map, 0, SIZE, 0x11111111);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

static void test_write_after_read(int exporter, int importer)
{
	struct vpfn_gate gate;
	struct vpfn_bo own;
	uint32_t first, second;
	struct pair pair;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 40);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);
	second = start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x22222222), NULL);
	check_waits(exporter, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	finish(exporter, second);
	finish(importer, first);

	check_by_engine(importer, &own, 40);
	check_words(pair.shared.map, 0, SIZE, 0x22222222);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

static void test_write_after_write(int exporter, int importer)
{
	struct vpfn_gate gate;
	uint32_t first, second;
	struct pair pair;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 41);
	first = start(importer, vpfn_cmd_fill(&pair.bo, 0, SIZE, 0x33333333), &gate);
	second = start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x44444444), NULL);
	check_waits(exporter, second);
	igt_assert_eq(vpfn_bo_wait(exporter, &pair.shared.bo, 0, 0), -ETIME);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	finish(exporter, second);
	finish(importer, first);
	check_words(pair.shared.map, 0, SIZE, 0x44444444);
	vpfn_gate_remove(&gate);
	part(&pair);
}

static void test_read_after_read(int exporter, int importer)
{
	uint32_t first, second;
	struct vpfn_gate gate;
	struct vpfn_bo own;
	struct pair pair;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 42);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);
	/* Two who read do not wait for each other. */
	check_by_engine(exporter, &pair.shared.bo, 42);
	second = start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, 4, 1), NULL);
	check_waits(exporter, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	finish(exporter, second);
	finish(importer, first);
	check_by_engine(importer, &own, 42);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	part(&pair);
}

static const struct {
	const char *name;
	void (*run)(int exporter, int importer);
} orders[] = {
	{ "read-after-write", test_read_after_write },
	{ "write-after-read", test_write_after_read },
	{ "write-after-write", test_write_after_write },
	{ "read-after-read", test_read_after_read },
};

/* The importer closes its file while its job waits: the buffer can still be used and freed. */
static void test_importer_closes(int exporter, int importer)
{
	char name[VPFN_PCI_NAME];
	struct vpfn_gate gate;
	struct shared shared;
	struct vpfn_bo bo;
	int file, sync_file;
	uint32_t waiting;

	make_gate(&gate);
	igt_assert_eq(vpfn_card_name(importer, name), 0);
	file = vpfn_card_open(name, O_RDWR);
	igt_assert_lte(0, file);
	share(&shared, exporter, VRAM, 43);
	import(file, shared.dmabuf, &bo);
	check_by_engine(file, &bo, 43);

	waiting = start(file, vpfn_cmd_fill(&bo, 0, SIZE, 0xdeaddead), &gate);
	igt_assert_eq(vpfn_sync_file_of(file, waiting, &sync_file), 0);
	close(file);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(sync_file, VPFN_LONG_NS), -ESRCH);
	close(sync_file);
	vpfn_gate_remove(&gate);

	igt_assert_eq(vpfn_bo_wait(exporter, &shared.bo, 0, VPFN_LONG_NS), 0);
	write_by_cpu(shared.map, 44);
	igt_assert_eq(vpfn_evict(exporter), 0);
	check_by_engine(exporter, &shared.bo, 44);
	drop(&shared);
}

/*
 * The importer has given the buffer up, but its end waits for the exporter's job, behind which the
 * buffer moves. Then TTM looks at all that there is.
 */
static void test_import_dies(int exporter, int importer)
{
	struct vpfn_thread evict;
	struct vpfn_gate gate;
	uint64_t swapped;
	struct pair pair;
	uint32_t job;

	make_gate(&gate);
	pair_up(&pair, exporter, importer, VRAM, 51);
	job = start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x55555555), &gate);
	igt_assert_eq(vpfn_bo_close(importer, &pair.bo), 0);

	/* It returns when the buffer has moved. */
	start_thread(&evict, run_evict, &exporter);
	check_waits(exporter, job);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(end_thread(&evict), 0);
	finish(exporter, job);
	igt_assert_eq(placement_of(exporter, &pair.shared.bo), SYSTEM);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	check_words(pair.shared.map, 0, SIZE, 0x55555555);

	vpfn_gate_remove(&gate);
	drop(&pair.shared);
}

/* A buffer without pages, since TTM has swapped it out, is imported by one who need not move it. */
static void test_swapped(int exporter, int importer)
{
	struct shared shared;
	uint64_t swapped;
	struct vpfn_bo bo;

	share(&shared, exporter, SYSTEM, 52);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	igt_assert_lte(SIZE, swapped);

	import(importer, shared.dmabuf, &bo);
	check_by_engine(importer, &bo, 52);
	write_by_cpu(shared.map, 53);
	check_by_engine(importer, &bo, 53);
	igt_assert_eq(vpfn_swap_out(&swapped), 0);
	igt_assert_lte(SIZE, swapped);
	check_by_engine(importer, &bo, 53);
	igt_assert_eq(vpfn_bo_close(importer, &bo), 0);
	drop(&shared);
}

/* A device that knows nothing of vpfn */

static void check_frame(const void *map, const void *frame, uint64_t size)
{
	igt_assert(!memcmp(map, frame, VPFN_FRAME_SIZE));
	check_words(map, VPFN_FRAME_SIZE, size, 0xc0c0c0c0);
}

static void check_frame_by_engine(const struct vpfn_bo *bo, const void *frame)
{
	uint32_t crc;

	igt_assert_eq(vpfn_crc(big, bo, 0, VPFN_FRAME_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(frame, VPFN_FRAME_SIZE));
}

static void check_pinned(const struct vpfn_bo *bo)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(bo, bo->size - 8, 8, 0xc0c0c0c0);

	igt_assert_eq(placement_of(big, bo), SYSTEM);
	igt_assert_eq(vpfn_evict(big), 0);
	/* A job may be refused because of the pin, but may not move the buffer. */
	vpfn_run(big, &cmd, 1);
	igt_assert_eq(placement_of(big, bo), SYSTEM);
}

/* One frame, after which the camera still holds the buffer. */
static void expose(const struct vpfn_video *camera)
{
	unsigned int index;

	igt_assert_eq(vpfn_video_start(camera), 0);
	igt_assert_eq(vpfn_video_dequeue(camera, &index), 0);
	igt_assert_eq(vpfn_video_stop(camera), 0);
}

static void test_camera(enum vpfn_vivid vivid, uint32_t placement)
{
	static uint8_t frame[VPFN_FRAME_SIZE], nothing[VPFN_FRAME_SIZE];
	const uint64_t size = 2 * VPFN_FRAME_SIZE;
	struct vpfn_video camera;
	struct vpfn_bo bo;
	int dmabuf;
	void *map;

	igt_require_f(!vpfn_video_picture(vivid, frame), "no camera of vivid\n");
	igt_assert(memcmp(frame, nothing, sizeof(frame)));
	igt_assert_eq(vpfn_video_open_camera(vivid, VPFN_SEES_PATTERN, &camera), 0);

	igt_assert_eq(vpfn_bo_create_in(big, size, placement, VISIBLE, &bo), 0);
	igt_assert_eq(vpfn_bo_map(big, &bo, &map), 0);
	igt_assert_eq(vpfn_fill(big, &bo, 0, size, 0xc0c0c0c0), 0);
	igt_assert_eq(placement_of(big, &bo), placement & VRAM ? VRAM : SYSTEM);
	igt_assert_eq(vpfn_bo_export(big, &bo, &dmabuf), 0);

	igt_assert_eq(vpfn_video_request(&camera, V4L2_MEMORY_DMABUF, 1), 0);
	igt_assert_eq(vpfn_video_queue(&camera, 0, dmabuf), 0);
	check_words(map, 0, size, 0xc0c0c0c0);
	check_pinned(&bo);
	expose(&camera);
	check_frame(map, frame, size);

	/* The camera still holds it: no one may take it away. */
	igt_assert_eq(vpfn_evict(big), 0);
	memset(map, 0xc0, size);
	igt_assert_eq(vpfn_video_queue(&camera, 0, dmabuf), 0);
	expose(&camera);
	check_frame(map, frame, size);

	igt_assert_eq(vpfn_video_release(&camera), 0);
	check_frame_by_engine(&bo, frame);
	if (placement == VRAM)
		igt_assert_eq(placement_of(big, &bo), VRAM);
	check_frame(map, frame, size);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(placement_of(big, &bo), SYSTEM);
	check_frame(map, frame, size);

	vpfn_video_close(&camera);
	close(dmabuf);
	munmap(map, size);
	igt_assert_eq(vpfn_bo_close(big, &bo), 0);
}

/* A party goes */

static void begin_unplug_small(void)
{
	int err = vpfn_host_unplug(VPFN_HOST_SMALL);

	igt_require_f(err != -ENODEV, "no port vpfn.control: the machine's host does nothing\n");
	igt_assert_eq(err, 0);
}

static void unplug_small(void)
{
	begin_unplug_small();
	igt_assert_eq(vpfn_card_wait_gone(small_name), 0);
}

static bool small_is_unplugged(const void *arg)
{
	uint64_t size;

	(void)arg;
	return vpfn_vram_size(small, &size) == -ENODEV;
}

static void plug_small(void)
{
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
	small = vpfn_open_small(O_RDWR);
	igt_assert_lte(0, small);
}

/* For the tests that follow, also if this one fails. */
static void plug_at_exit(int sig)
{
	(void)sig;
	if (!vpfn_card_is_there(small_name) && !vpfn_host_plug(VPFN_HOST_SMALL))
		vpfn_card_wait_bound(small_name);
}

static void check_works(int file)
{
	struct shared shared;

	share(&shared, file, VRAM, 45);
	check_by_engine(file, &shared.bo, 45);
	drop(&shared);
}

/* Done, or failed: which is not said, but it must not take for ever. */
static void check_ends(int file, uint32_t syncobj)
{
	igt_assert_eq(drmSyncobjWait(file, &syncobj, 1, vpfn_deadline(VPFN_LONG_NS),
				     DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL), 0);
	drmSyncobjDestroy(file, syncobj);
}

static void test_exporter_gone(void)
{
	struct vpfn_gate gate;
	uint32_t waiting;
	struct drm_vpfn_cmd cmd;
	struct vpfn_bo own;
	struct pair pair;
	void *map;

	make_gate(&gate);
	pair_up(&pair, small, big, VRAM, 46);
	igt_assert_eq(vpfn_map(pair.shared.dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	check_by_cpu(map, 46);
	igt_assert_eq(vpfn_bo_create(big, SIZE, &own), 0);
	waiting = start(big, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);

	/* The card stays until the importer's DMA has ended: the job is to read its memory. */
	begin_unplug_small();
	igt_assert_eq(vpfn_wait_until(small_is_unplugged, NULL), 0);
	igt_assert(vpfn_card_is_there(small_name));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_card_wait_gone(small_name), 0);
	check_ends(big, waiting);
	cmd = vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE);
	for (int i = 0; i < 2; i++) {
		uint32_t job = new_syncobj(big);

		if (!vpfn_submit(big, &cmd, 1, 0, job))
			check_ends(big, job);
		else
			drmSyncobjDestroy(big, job);
	}
	igt_assert_eq(vpfn_signal_of(map, VPFN_READ), 0);
	igt_assert_eq(vpfn_signal_of(map, VPFN_WRITE), 0);
	igt_assert_eq_u64(vpfn_load(map), 0);
	check_works(big);

	munmap(map, SIZE);
	igt_assert_eq(munmap(pair.shared.map, SIZE), 0);
	close(pair.shared.dmabuf);
	close(small);
	small = -1;
	/* Now the import alone keeps the buffer of a device that is no more. */
	igt_assert_eq(vpfn_bo_close(big, &pair.bo), 0);
	igt_assert_eq(vpfn_bo_close(big, &own), 0);
	vpfn_gate_remove(&gate);

	plug_small();
	check_works(small);
	check_works(big);
}

static void test_importer_gone(void)
{
	struct vpfn_gate gate;
	struct pair pair;
	uint32_t waiting;
	int sync_file;

	make_gate(&gate);
	pair_up(&pair, big, small, VRAM, 47);
	waiting = start(small, vpfn_cmd_fill(&pair.bo, 0, SIZE, 0x60606060), &gate);
	igt_assert_eq(vpfn_sync_file_of(small, waiting, &sync_file), 0);
	unplug_small();
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(sync_file, VPFN_LONG_NS), -ENODEV);

	/* Its owner has the buffer as before. */
	igt_assert_eq(vpfn_bo_wait(big, &pair.shared.bo, 0, VPFN_LONG_NS), 0);
	check_by_cpu(pair.shared.map, 47);
	igt_assert_eq(vpfn_evict(big), 0);
	igt_assert_eq(placement_of(big, &pair.shared.bo), SYSTEM);
	check_by_engine(big, &pair.shared.bo, 47);
	igt_assert_eq(placement_of(big, &pair.shared.bo), VRAM);

	close(sync_file);
	close(small);
	small = -1;
	drop(&pair.shared);
	vpfn_gate_remove(&gate);

	plug_small();
	check_works(small);
}

static const struct {
	const char *name;
	uint32_t placement;
} placements[] = {
	{ "vram", VRAM },
	{ "system", SYSTEM },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(uint32_t placement);
} placement_tests[] = {
	{ "other-file", "Two files of a device share a buffer, by CPU, by engine and when it moves.",
	  test_other_file },
	{ "map", "A mapping of a dma-buf has the buffer's bytes, wherever the buffer goes.",
	  test_map },
	{ "lifetime", "A dma-buf outlives handles and files, its mapping outlives the dma-buf.",
	  test_lifetime },
};

static int open_primary(int file)
{
	char name[VPFN_PCI_NAME];
	int primary;

	igt_assert_eq(vpfn_card_name(file, name), 0);
	primary = vpfn_card_open_primary(name, O_RDWR);
	igt_assert_lte(0, primary);
	return primary;
}

/* A handle for an object of another file, by its global name, which render nodes have not. */
static void open_by_name(int from, uint32_t handle, int to, struct vpfn_bo *bo)
{
	struct drm_gem_flink flink = { .handle = handle };
	struct drm_gem_open arg = {};

	igt_assert_eq(vpfn_ioctl(from, DRM_IOCTL_GEM_FLINK, &flink), 0);
	arg.name = flink.name;
	igt_assert_eq(vpfn_ioctl(to, DRM_IOCTL_GEM_OPEN, &arg), 0);
	bo->handle = arg.handle;
	bo->size = arg.size;
}

/*
 * Each file imports a dma-buf as an object of its own, and all of them have the reservation of the
 * exporter's. A job with two of them locks once, but has to bring both to where the buffer is.
 */
static void test_one_reservation(int exporter, int importer)
{
	int mine = open_primary(importer), other = open_primary(importer);
	struct vpfn_bo first, second, theirs;
	struct shared shared;

	share(&shared, exporter, VRAM, 0x1e5);
	import(mine, shared.dmabuf, &first);
	import(other, shared.dmabuf, &theirs);
	open_by_name(other, theirs.handle, mine, &second);
	igt_assert_neq(second.handle, first.handle);

	igt_assert_eq(vpfn_copy(mine, &second, SIZE / 2, &first, 0, SIZE / 2), 0);
	igt_assert_eq(memcmp(shared.map, bytes_of(0x1e5), SIZE / 2), 0);
	igt_assert_eq(memcmp((char *)shared.map + SIZE / 2, shared.map, SIZE / 2), 0);

	/* The importers forget where it was. */
	igt_assert_eq(vpfn_evict(exporter), 0);
	write_by_cpu(shared.map, 0x1e6);
	igt_assert_eq(vpfn_copy(mine, &second, SIZE / 2, &first, 0, SIZE / 2), 0);
	igt_assert_eq(memcmp(shared.map, bytes_of(0x1e6), SIZE / 2), 0);
	igt_assert_eq(memcmp((char *)shared.map + SIZE / 2, shared.map, SIZE / 2), 0);

	close(mine);
	close(other);
	drop(&shared);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(int exporter, int importer);
} pair_tests[] = {
	{ "import-twice", "What is imported again, or exported again, is the same.",
	  test_import_twice },
	{ "peer-to-peer", "An engine works on the other device's memory without moving it.",
	  test_peer_to_peer },
	{ "moves-while-read", "A buffer is evicted and brought back while the importer reads it.",
	  test_moves_while_read },
	{ "moves-while-written", "What the importer writes is there after each move.",
	  test_moves_while_written },
	{ "move-waits", "A buffer does not go away under an importer's job.", test_move_waits },
	{ "importer-closes", "An importer closes while its job waits.", test_importer_closes },
	{ "one-reservation", "A job uses two imports of one buffer, before and after it moves.",
	  test_one_reservation },
	{ "import-dies", "A buffer moves whose importer has just given it up.", test_import_dies },
	{ "swapped", "A buffer that is swapped out is imported.", test_swapped },
};

static void run_both_ways(void (*run)(int exporter, int importer))
{
	igt_dynamic("big-to-small") {
		require_small();
		run(big, small);
	}
	igt_dynamic("small-to-big") {
		require_small();
		run(small, big);
	}
}

static void run_on_both(int (*make)(uint64_t size, struct vpfn_foreign *foreign))
{
	igt_dynamic("big")
		test_foreign(make, big);
	igt_dynamic("small") {
		require_small();
		test_foreign(make, small);
	}
}

static void run_camera(enum vpfn_vivid vivid)
{
	igt_dynamic("vram")
		test_camera(vivid, VRAM);
	igt_dynamic("system")
		test_camera(vivid, SYSTEM);
	igt_dynamic("both")
		test_camera(vivid, VRAM | SYSTEM);
}

int igt_main()
{
	igt_fixture() {
		big = vpfn_require_device();
		small = vpfn_open_small(O_RDWR);
		if (small >= 0) {
			igt_assert_eq(vpfn_card_name(small, small_name), 0);
			igt_install_exit_handler(plug_at_exit);
		}
	}

	igt_describe("No dma-buf for a bad handle or an unknown flag.");
	igt_subtest("export-bad")
		test_export_bad();

	igt_describe("No handle for what is no dma-buf.");
	igt_subtest("import-bad")
		test_import_bad();

	igt_describe("A mapping of a dma-buf is shared and lies within it.");
	igt_subtest("map-bad")
		test_map_bad();

	igt_describe("A dma-buf exported for reading gives no way to write.");
	igt_subtest("map-read-only")
		test_map_read_only();

	igt_describe("A file that imports its own buffer has it once.");
	igt_subtest("same-file")
		test_same_file();

	for (unsigned int i = 0; i < ARRAY_SIZE(placement_tests); i++) {
		igt_describe(placement_tests[i].describe);
		igt_subtest_with_dynamic(placement_tests[i].name) {
			for (unsigned int j = 0; j < ARRAY_SIZE(placements); j++) {
				igt_dynamic(placements[j].name)
					placement_tests[i].run(placements[j].placement);
			}
		}
	}

	igt_describe("DMA_BUF_IOCTL_SYNC waits for jobs, and refuses unknown flags.");
	igt_subtest("sync-ioctl")
		test_sync_ioctl();

	igt_describe("The fences of a dma-buf are those of the jobs that use it.");
	igt_subtest("get-fence")
		test_get_fence();

	igt_describe("Jobs wait for a fence that user space puts into a dma-buf.");
	igt_subtest_with_dynamic("add-fence") {
		igt_dynamic("write")
			test_add_fence(DMA_BUF_SYNC_WRITE);
		igt_dynamic("read")
			test_add_fence(DMA_BUF_SYNC_READ);
	}

	igt_describe("The engine works on the pages of a memfd, in any order.");
	igt_subtest_with_dynamic("udmabuf")
		run_on_both(vpfn_foreign_from_memfd);

	igt_describe("The engine works on a buffer of a dma-buf heap.");
	igt_subtest_with_dynamic("dma-heap")
		run_on_both(vpfn_foreign_from_heap);

	igt_describe("A camera captures into a buffer by the kernel's mapping of it.");
	igt_subtest_with_dynamic("camera-by-cpu")
		run_camera(VPFN_VIVID_BY_CPU);

	igt_describe("A camera captures into a buffer by DMA: that pins it in system memory.");
	igt_subtest_with_dynamic("camera-by-dma")
		run_camera(VPFN_VIVID_BY_DMA);

	igt_describe("The engine of a device works on the memory of the other.");
	igt_subtest_with_dynamic("other-device") {
		for (unsigned int j = 0; j < ARRAY_SIZE(placements); j++) {
			igt_dynamic_f("big-to-small-%s", placements[j].name) {
				require_small();
				test_other_device(big, small, placements[j].placement);
			}
			igt_dynamic_f("small-to-big-%s", placements[j].name) {
				require_small();
				test_other_device(small, big, placements[j].placement);
			}
		}
	}

	igt_describe("A device works on memory that its owner cannot show.");
	igt_subtest("invisible") {
		require_small();
		test_invisible();
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(pair_tests); i++) {
		igt_describe(pair_tests[i].describe);
		igt_subtest_with_dynamic(pair_tests[i].name)
			run_both_ways(pair_tests[i].run);
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		igt_describe("Jobs of two devices on one buffer wait for each other as they must.");
		igt_subtest_with_dynamic(orders[i].name)
			run_both_ways(orders[i].run);
	}

	igt_describe("The exporter is unplugged: the importer's jobs end, mappings do not fault.");
	igt_subtest("exporter-gone") {
		require_small();
		test_exporter_gone();
	}

	igt_describe("The importer is unplugged: its jobs fail, the buffer is its owner's.");
	igt_subtest("importer-gone") {
		require_small();
		test_importer_gone();
	}

	igt_fixture() {
		close(big);
		if (small >= 0)
			close(small);
	}
}
