// SPDX-License-Identifier: MIT
/*
 * What does a client still have of a device that is gone?
 */
#include <errno.h>
#include <linux/dma-buf.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_holdings.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_plug.h"

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM	DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE	DRM_VPFN_GEM_CREATE_CPU_ACCESS

/**
 * vpfn_check_private_page:
 * @addr: an address in a mapping of a device that is gone
 * @word: what to write there
 *
 * Asserts that an access raises no signal, and that the page is zero and keeps what is written.
 */
void vpfn_check_private_page(void *addr, uint64_t word)
{
	igt_assert_eq(pfnmap_signal_of(addr, PFNMAP_READ), 0);
	igt_assert_eq_u64(pfnmap_load(addr), 0);
	pfnmap_store(addr, word);
	igt_assert_eq_u64(pfnmap_load(addr), word);
}

/**
 * vpfn_check_refusals:
 * @fd: DRM file descriptor of a device that is gone
 * @bo: a buffer of the file
 *
 * Asserts that each ioctl of the driver, and those of DRM, fails with ENODEV.
 */
void vpfn_check_refusals(int fd, const struct vpfn_bo *bo)
{
	struct drm_vpfn_cmd cmd = vpfn_cmd_fill(bo, 0, 4, 1);
	struct drm_vpfn_gem_mmap_offset get = { .handle = bo->handle };
	uint32_t placement, syncobj;
	struct vpfn_bo other;
	uint64_t size;
	void *map;
	int file;

	igt_assert_eq(vpfn_vram_size(fd, &size), -ENODEV);
	igt_assert_eq(vpfn_bo_create_in(fd, PFNMAP_PAGE, VRAM, 0, &other), -ENODEV);
	igt_assert_eq(vpfn_bo_create_in(fd, PFNMAP_PAGE, SYSTEM, 0, &other), -ENODEV);
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &get), -ENODEV);
	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), -ENODEV);
	igt_assert_eq(vpfn_submit(fd, &cmd, 1, 0, 0), -ENODEV);
	igt_assert_eq(vpfn_bo_wait(fd, bo, 0, 0), -ENODEV);
	igt_assert_eq(vpfn_bo_export(fd, bo, &file), -ENODEV);
	igt_assert_eq(vpfn_bo_close(fd, bo), -ENODEV);
	igt_assert_eq(drmSyncobjCreate(fd, 0, &syncobj) ? errno : 0, ENODEV);
	igt_assert_eq(vpfn_bo_map(fd, bo, &map), -ENODEV);
}

/**
 * vpfn_holdings_open:
 * @holdings: buffers, mappings, a dma-buf and a job of the small card
 */
void vpfn_holdings_open(struct vpfn_holdings *holdings)
{
	int fd = vpfn_client_open_card(vpfn_small_name);
	struct drm_vpfn_cmd cmd;
	void *map;

	holdings->fd = fd;
	igt_assert_eq(vpfn_bo_create_in(fd, 2 * PFNMAP_2M, VRAM, VISIBLE, &holdings->vram), 0);
	igt_assert_eq(vpfn_bo_create_in(fd, 2 * PFNMAP_2M, SYSTEM, 0, &holdings->system), 0);
	igt_assert_eq(vpfn_bo_export(fd, &holdings->vram, &holdings->dmabuf), 0);

	igt_assert_eq(vpfn_bo_map(fd, &holdings->vram, &map), 0);
	holdings->vram_map = map;
	igt_assert_eq(vpfn_bo_map(fd, &holdings->vram, &map), 0);
	holdings->untouched_map = map;
	igt_assert_eq(vpfn_bo_map(fd, &holdings->system, &map), 0);
	holdings->system_map = map;
	igt_assert_eq(pfnmap_map(holdings->dmabuf, 0, holdings->vram.size, PROT_READ | PROT_WRITE,
				 &map), 0);
	holdings->dmabuf_map = map;

	pfnmap_store(holdings->vram_map, 0x66);
	pfnmap_store(holdings->system_map, 0x77);
	igt_assert_eq_u64(pfnmap_load(holdings->dmabuf_map), 0x66);

	vpfn_require_gate(&holdings->gate);
	cmd = vpfn_cmd_fill(&holdings->system, 0, PFNMAP_PAGE, 1);
	holdings->held = vpfn_start_sync_file(fd, cmd, &holdings->gate);
	holdings->other_fd = -1;
	holdings->begun = -1;
}

/**
 * vpfn_holdings_start_job:
 * @holdings: what a client has
 *
 * Starts a job of another file, which does not wait for the one that is held.
 */
void vpfn_holdings_start_job(struct vpfn_holdings *holdings)
{
	int fd = vpfn_client_open_card(vpfn_small_name);
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create_in(fd, PFNMAP_2M, SYSTEM, 0, &bo), 0);
	holdings->begun = vpfn_start_sync_file(fd, vpfn_cmd_fill(&bo, 0, PFNMAP_2M, 2), NULL);
	holdings->other_fd = fd;
}

/**
 * vpfn_holdings_check_job:
 * @holdings: what a client has
 *
 * Asserts that the other job has ended before or because the device went.
 */
void vpfn_holdings_check_job(const struct vpfn_holdings *holdings)
{
	int status = vpfn_sync_file_status(holdings->begun, VPFN_LONG_NS);

	igt_assert_f(!status || status == -ENODEV, "status %d\n", status);
}

/**
 * vpfn_holdings_check_dead:
 * @holdings: what a client has of a device that is gone
 *
 * Asserts that no access raises a signal or reaches the memory of others, and that all calls fail.
 */
void vpfn_holdings_check_dead(struct vpfn_holdings *holdings)
{
	void *map;

	/* The held job fails once its fence has signalled. */
	igt_assert_eq(vpfn_gate_open(&holdings->gate), 0);
	igt_assert_eq(vpfn_sync_file_status(holdings->held, VPFN_LONG_NS), -ENODEV);
	vpfn_check_private_page(holdings->vram_map, 0x88);
	vpfn_check_private_page(holdings->system_map, 0x99);
	igt_assert_eq_u64(pfnmap_load(holdings->vram_map), 0x88);
	igt_assert_eq(pfnmap_signal_of(holdings->system_map + PFNMAP_2M, PFNMAP_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(holdings->untouched_map + PFNMAP_2M, PFNMAP_WRITE), 0);
	igt_assert_eq(pfnmap_signal_of(holdings->dmabuf_map + PFNMAP_2M, PFNMAP_WRITE), 0);
	igt_assert_eq(vpfn_dmabuf_sync(holdings->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);

	/* The dma-buf belongs to no file of the device: mapping it may work or not. */
	if (!pfnmap_map(holdings->dmabuf, 0, holdings->vram.size, PROT_READ | PROT_WRITE, &map)) {
		igt_assert_eq(pfnmap_signal_of(map, PFNMAP_READ), 0);
		munmap(map, holdings->vram.size);
	}
	vpfn_check_refusals(holdings->fd, &holdings->vram);
}

/**
 * vpfn_holdings_close:
 * @holdings: what a client has
 */
void vpfn_holdings_close(struct vpfn_holdings *holdings)
{
	vpfn_gate_remove(&holdings->gate);
	munmap(holdings->vram_map, holdings->vram.size);
	munmap(holdings->untouched_map, holdings->vram.size);
	close(holdings->fd);
	/* The mappings outlive the file, and the last one the dma-buf. */
	igt_assert_eq(pfnmap_signal_of(holdings->system_map + PFNMAP_PAGE, PFNMAP_WRITE), 0);
	munmap(holdings->system_map, holdings->system.size);
	close(holdings->dmabuf);
	igt_assert_eq(pfnmap_signal_of(holdings->dmabuf_map + PFNMAP_PAGE, PFNMAP_WRITE), 0);
	munmap(holdings->dmabuf_map, holdings->vram.size);
	close(holdings->held);
	if (holdings->begun >= 0) {
		close(holdings->other_fd);
		close(holdings->begun);
	}
}
