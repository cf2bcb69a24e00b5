// SPDX-License-Identifier: MIT
/*
 * Buffers that files share by dma-bufs: export, import, mappings of a dma-buf, and its fences.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_shared.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Buffers of vpfn that files share, and the fences of their dma-bufs.");

#define BAD_HANDLE	0xd0d0d0d0
#define SIZE		VPFN_SHARED_SIZE
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE		DRM_VPFN_GEM_CREATE_CPU_ACCESS

static int fd = -1;

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
	int other = vpfn_client_open();
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create_in(fd, SIZE, VRAM, 0, &bo), 0);
	igt_assert_eq(export_err(fd, bo.handle, DRM_CLOEXEC | DRM_RDWR), 0);

	igt_assert_eq(export_err(fd, bo.handle, 1), -EINVAL);
	igt_assert_eq(export_err(fd, bo.handle, DRM_RDWR | 1u << 31), -EINVAL);
	igt_assert_eq(export_err(fd, 0, DRM_CLOEXEC), -ENOENT);
	igt_assert_eq(export_err(fd, BAD_HANDLE, DRM_CLOEXEC), -ENOENT);
	igt_assert_eq(export_err(other, bo.handle, DRM_CLOEXEC), -ENOENT);

	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
	igt_assert_eq(export_err(fd, bo.handle, DRM_CLOEXEC), -ENOENT);
	close(other);
}

static void test_import_bad(void)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vpfn_shared shared;
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_dmabuf_import(fd, -1, SIZE, &bo), -EBADF);
	igt_assert_eq(vpfn_dmabuf_import(fd, file, SIZE, &bo), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_import(fd, fd, SIZE, &bo), -EINVAL);

	vpfn_share(&shared, fd, VRAM, 1);
	vpfn_shared_import(fd, shared.dmabuf, &bo);
	vpfn_shared_close(&shared);
	close(file);
}

static void test_map_bad(void)
{
	struct vpfn_shared shared;

	vpfn_share(&shared, fd, VRAM, 1);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, 0, SIZE, MAP_SHARED), 0);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, SIZE - PFNMAP_PAGE, PFNMAP_PAGE, MAP_SHARED), 0);

	igt_assert_eq(vpfn_map_err(shared.dmabuf, 0, SIZE, MAP_PRIVATE), -EINVAL);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, 0, SIZE + PFNMAP_PAGE, MAP_SHARED), -EINVAL);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, PFNMAP_PAGE, SIZE, MAP_SHARED), -EINVAL);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, SIZE, PFNMAP_PAGE, MAP_SHARED), -EINVAL);
	igt_assert_eq(vpfn_map_err(shared.dmabuf, 1ull << 40, PFNMAP_PAGE, MAP_SHARED), -EINVAL);
	/* The offset that the DRM file wants is none of the dma-buf's. */
	igt_assert_eq(vpfn_map_err(shared.dmabuf, shared.bo.offset, SIZE, MAP_SHARED), -EINVAL);
	vpfn_shared_close(&shared);
}

/* A dma-buf that is open for reading alone gives no way to write. */
static void test_map_read_only(void)
{
	struct vpfn_bo bo;
	void *map, *view;
	int dmabuf;

	/* The first export decides, for the life of the dma-buf. */
	igt_assert_eq(vpfn_bo_create(fd, SIZE, &bo), 0);
	igt_assert_eq(drmPrimeHandleToFD(fd, bo.handle, DRM_CLOEXEC, &dmabuf), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	vpfn_shared_write(map, 2);

	igt_assert_eq(vpfn_map_err(dmabuf, 0, SIZE, MAP_SHARED), -EACCES);
	igt_assert_eq(pfnmap_map(dmabuf, 0, SIZE, PROT_READ, &view), 0);
	vpfn_shared_check(view, 2);
	igt_assert_eq(mprotect(view, SIZE, PROT_READ | PROT_WRITE) ? errno : 0, EACCES);
	igt_assert_eq(pfnmap_signal_of(view, PFNMAP_WRITE), SIGSEGV);

	munmap(view, SIZE);
	munmap(map, SIZE);
	close(dmabuf);
	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
}

static void test_same_file(void)
{
	struct vpfn_shared shared;
	struct vpfn_bo bo;
	int again;

	vpfn_share(&shared, fd, VRAM, 3);
	vpfn_shared_import(fd, shared.dmabuf, &bo);
	igt_assert_eq_u64(bo.handle, shared.bo.handle);
	igt_assert_eq(vpfn_bo_export(fd, &bo, &again), 0);
	igt_assert(vpfn_dmabuf_same(again, shared.dmabuf));
	close(again);

	/* It is one handle, so closing it once is enough. */
	igt_assert_eq(vpfn_bo_close(fd, &shared.bo), 0);
	igt_assert_eq(vpfn_bo_close(fd, &bo), -EINVAL);
	vpfn_shared_import(fd, shared.dmabuf, &shared.bo);
	vpfn_shared_check_by_engine(fd, &shared.bo, 3);
	vpfn_shared_close(&shared);
}

static void test_other_file(uint32_t placement)
{
	int other = vpfn_client_open(), again;
	struct vpfn_shared shared;
	struct vpfn_bo bo;
	void *map;

	vpfn_share(&shared, fd, placement, 4);
	vpfn_shared_import(other, shared.dmabuf, &bo);
	igt_assert_eq(vpfn_where(other, &bo), placement);
	vpfn_shared_check_by_engine(other, &bo, 4);
	igt_assert_eq(vpfn_bo_export(other, &bo, &again), 0);
	igt_assert(vpfn_dmabuf_same(again, shared.dmabuf));
	close(again);

	/* It is the buffer itself: the file maps it by its own handle, wherever it goes. */
	igt_assert_eq(pfnmap_map(other, shared.bo.offset, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	vpfn_shared_check(map, 4);
	vpfn_shared_write(map, 5);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_where(other, &bo), SYSTEM);
	igt_assert_eq(vpfn_where(fd, &shared.bo), SYSTEM);
	vpfn_shared_check_by_engine(fd, &shared.bo, 5);
	igt_assert_eq(vpfn_where(other, &bo), placement);

	igt_assert_eq(vpfn_fill(other, &bo, 0, SIZE, 0x600df00d), 0);
	vpfn_assert_words(shared.map, 0, SIZE, 0x600df00d);

	/* A handle of a file dies with the file, the buffer does not. */
	munmap(map, SIZE);
	close(other);
	vpfn_assert_words(shared.map, 0, SIZE, 0x600df00d);
	vpfn_shared_close(&shared);
}

static void test_map(uint32_t placement)
{
	struct vpfn_shared shared;
	void *map, *tail;

	vpfn_share(&shared, fd, placement, 6);
	igt_assert_eq(pfnmap_map(shared.dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	igt_assert_eq(pfnmap_map(shared.dmabuf, SIZE - PFNMAP_PAGE, PFNMAP_PAGE, PROT_READ, &tail),
		      0);

	vpfn_shared_check(map, 6);
	vpfn_shared_write(map, 7);
	vpfn_shared_check(shared.map, 7);
	vpfn_shared_check_by_engine(fd, &shared.bo, 7);
	igt_assert_eq_u64(pfnmap_load(tail), pfnmap_load((char *)map + SIZE - PFNMAP_PAGE));
	igt_assert_eq(vpfn_where(fd, &shared.bo), placement);

	/* The mapping sees the engine's work, and follows the buffer. */
	igt_assert_eq(vpfn_fill(fd, &shared.bo, 0, SIZE, 0xfeedbeef), 0);
	vpfn_assert_words(map, 0, SIZE, 0xfeedbeef);
	vpfn_shared_write(map, 8);
	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_where(fd, &shared.bo), SYSTEM);
	vpfn_shared_check(map, 8);
	vpfn_shared_write(map, 9);
	vpfn_shared_check_by_engine(fd, &shared.bo, 9);
	igt_assert_eq(vpfn_where(fd, &shared.bo), placement);
	vpfn_shared_check(map, 9);
	igt_assert_eq_u64(pfnmap_load(tail), pfnmap_load((char *)map + SIZE - PFNMAP_PAGE));

	munmap(tail, PFNMAP_PAGE);
	munmap(map, SIZE);
	vpfn_shared_close(&shared);
}

static void test_lifetime(uint32_t placement)
{
	int file = vpfn_client_open(), dmabuf;
	struct vpfn_bo bo;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(file, SIZE, placement, VISIBLE, &bo), 0);
	igt_assert_eq(vpfn_bo_map(file, &bo, &map), 0);
	vpfn_shared_write(map, 15);
	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_export(file, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);

	igt_assert_eq(pfnmap_map(dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	vpfn_shared_check(map, 15);
	igt_assert_eq(vpfn_evict(fd), 0);
	vpfn_shared_check(map, 15);
	vpfn_shared_write(map, 16);

	file = vpfn_client_open();
	vpfn_shared_import(file, dmabuf, &bo);
	close(dmabuf);
	vpfn_shared_check_by_engine(file, &bo, 16);
	igt_assert_eq(vpfn_bo_close(file, &bo), 0);
	close(file);

	/* The mapping alone holds the buffer. */
	vpfn_shared_check(map, 16);
	munmap(map, SIZE);
}

/* Fences */

struct reader {
	int dmabuf;
	const void *word;
	uint64_t seen;
};

static int read_after_sync(void *arg)
{
	struct reader *reader = arg;
	int err = vpfn_dmabuf_sync(reader->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);

	reader->seen = pfnmap_load(reader->word);
	return err;
}

static void test_sync_ioctl(void)
{
	struct vpfn_gate gate;
	struct vpfn_shared shared;
	struct vpfn_thread thread;
	struct reader reader;
	uint32_t job;

	vpfn_share(&shared, fd, VRAM, 10);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, 0), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | 8), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | 1ull << 40), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW), 0);
	igt_assert_eq(vpfn_dmabuf_sync(shared.dmabuf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END), 0);

	/* A sync before reading waits for a job that has not even begun. */
	vpfn_require_gate(&gate);
	job = vpfn_start(fd, vpfn_cmd_fill(&shared.bo, 0, SIZE, 0x5eed5eed), &gate);
	reader = (struct reader) { .dmabuf = shared.dmabuf, .word = shared.map };
	igt_assert_eq(vpfn_thread_start(&thread, read_after_sync, &reader), 0);
	igt_assert_eq(vpfn_thread_settle(&thread, VPFN_IN_FENCE_WAIT), 0);
	igt_assert(!vpfn_thread_is_done(&thread));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_worker_finish(&thread), 0);
	igt_assert_eq_u64(reader.seen, 0x5eed5eed5eed5eedull);

	vpfn_finish(fd, job);
	vpfn_gate_remove(&gate);
	vpfn_shared_close(&shared);
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
	struct vpfn_shared source, target;
	int sync_file, of_target;
	struct vpfn_gate gate;
	uint32_t job;

	vpfn_share(&source, fd, VRAM, 11);
	vpfn_share(&target, fd, VRAM, 12);
	igt_assert_eq(vpfn_dmabuf_get_fence(source.dmabuf, 0, &sync_file), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_get_fence(source.dmabuf, 4, &sync_file), -EINVAL);
	igt_assert_eq(vpfn_bo_wait(fd, &source.bo, 0, VPFN_LONG_NS), 0);
	igt_assert_eq(vpfn_bo_wait(fd, &target.bo, 0, VPFN_LONG_NS), 0);
	check_fence(target.dmabuf, DMA_BUF_SYNC_WRITE, false);

	/* Readers wait for writers, writers for all. */
	vpfn_require_gate(&gate);
	job = vpfn_start(fd, vpfn_cmd_copy(&target.bo, 0, &source.bo, 0, SIZE), &gate);
	check_fence(source.dmabuf, DMA_BUF_SYNC_READ, false);
	check_fence(source.dmabuf, DMA_BUF_SYNC_WRITE, true);
	check_fence(target.dmabuf, DMA_BUF_SYNC_READ, true);
	check_fence(target.dmabuf, DMA_BUF_SYNC_WRITE, true);

	igt_assert_eq(vpfn_dmabuf_get_fence(target.dmabuf, DMA_BUF_SYNC_READ, &of_target), 0);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(of_target, VPFN_LONG_NS), 0);
	vpfn_shared_check(target.map, 11);
	vpfn_finish(fd, job);
	check_fence(source.dmabuf, DMA_BUF_SYNC_WRITE, false);

	close(of_target);
	vpfn_gate_remove(&gate);
	vpfn_shared_close(&target);
	vpfn_shared_close(&source);
}

/* A fence from outside says how the buffer is used until then. */
static void test_add_fence(uint32_t use)
{
	struct vpfn_gate gate;
	struct vpfn_shared shared;
	uint32_t reads, writes;
	struct vpfn_bo copy;
	int sync_file;

	vpfn_share(&shared, fd, VRAM, 13);
	igt_assert_eq(vpfn_bo_create(fd, SIZE, &copy), 0);
	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_gate_sync_file(&gate, &sync_file), 0);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, 0, sync_file), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, use, -1), -EINVAL);
	igt_assert_eq(vpfn_dmabuf_add_fence(shared.dmabuf, use, sync_file), 0);
	close(sync_file);

	igt_assert_eq(vpfn_bo_wait(fd, &shared.bo, 0, 0), -ETIME);
	igt_assert_eq(vpfn_bo_wait(fd, &shared.bo, DRM_VPFN_WAIT_WRITERS, 0),
		      use == DMA_BUF_SYNC_WRITE ? -ETIME : 0);

	reads = vpfn_start(fd, vpfn_cmd_copy(&copy, 0, &shared.bo, 0, SIZE), NULL);
	if (use == DMA_BUF_SYNC_WRITE) {
		/* Stands for a late write of another device. */
		vpfn_assert_waits(fd, reads);
		vpfn_shared_write(shared.map, 14);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		vpfn_finish(fd, reads);
		vpfn_shared_check_by_engine(fd, &copy, 14);
	} else {
		vpfn_finish(fd, reads);
		vpfn_shared_check_by_engine(fd, &copy, 13);
		writes = vpfn_start(fd, vpfn_cmd_fill(&shared.bo, 0, SIZE, 0xabababab), NULL);
		vpfn_assert_waits(fd, writes);
		vpfn_shared_check(shared.map, 13);
		igt_assert_eq(vpfn_gate_open(&gate), 0);
		vpfn_finish(fd, writes);
		vpfn_assert_words(shared.map, 0, SIZE, 0xabababab);
	}
	igt_assert_eq(vpfn_bo_wait(fd, &shared.bo, 0, VPFN_LONG_NS), 0);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(fd, &copy), 0);
	vpfn_shared_close(&shared);
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

int igt_main()
{
	igt_fixture()
		fd = vpfn_require_device();

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

	igt_fixture()
		close(fd);
}
