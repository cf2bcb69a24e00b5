// SPDX-License-Identifier: MIT
/*
 * What follows special entries?
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_target.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_follower.h"
#include "vpfn/vpfn_guest.h"
#include "vpfn/vpfn_vfio.h"

/* What a device is told of its memory: below 4 GiB is the place for interrupts. */
#define DMA_ASIDE	0x100000
#define DMA_FREE	0x100000000

struct vpfn_vfio vpfn_follower_vfio = { .container = -1, .group = -1, .device = -1 };
struct vpfn_guest vpfn_follower_guest = { .kvm = -1, .vm = -1, .vcpu = -1 };
static char card[VPFN_PCI_NAME];
static char *dma_aside;

static void dma_close(void)
{
	vpfn_vfio_close(&vpfn_follower_vfio);
	if (dma_aside)
		munmap(dma_aside, PFNMAP_TARGET_LEN);
	dma_aside = NULL;
}

/**
 * vpfn_followers_close:
 *
 * Closes what a test that failed has left open.
 */
void vpfn_followers_close(void)
{
	if (vpfn_follower_guest.memory)
		vpfn_guest_close(&vpfn_follower_guest);
	dma_close();
}

static void give_card_back(int sig)
{
	(void)sig;
	vpfn_followers_close();
	vpfn_vfio_unbind(card);
}

/* The second card, once and for all: the first caller takes it from its driver. */
static void require_dma(void)
{
	char name[VPFN_PCI_NAME];
	int small;

	if (card[0])
		return;
	small = vpfn_open_small(O_RDWR);
	igt_require_f(small >= 0, "no second card, whose memory is not all visible\n");
	igt_assert_eq(vpfn_card_name(small, name), 0);
	close(small);
	igt_require_f(!vpfn_vfio_bind(name),
		      "no IOMMU, or no vfio (CONFIG_VFIO_PCI, CONFIG_IOMMUFD)\n");
	memcpy(card, name, sizeof(card));
	igt_install_exit_handler(give_card_back);
}

static void require_kvm(void)
{
	igt_require_f(!vpfn_guest_available(), "no KVM\n");
}

static int dma_open(enum vpfn_vfio_by by)
{
	void *aside;
	int err;

	err = vpfn_vfio_open(card, by, &vpfn_follower_vfio);
	if (err)
		return err;
	aside = mmap(NULL, PFNMAP_TARGET_LEN, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	igt_assert(aside != MAP_FAILED);
	dma_aside = aside;
	return vpfn_vfio_map(&vpfn_follower_vfio, DMA_ASIDE, aside, PFNMAP_TARGET_LEN, true);
}

static int type1_open(void)
{
	return dma_open(VPFN_VFIO_TYPE1);
}

static int iommufd_open(void)
{
	return dma_open(VPFN_VFIO_IOMMUFD);
}

static char *dma_memory(void)
{
	return dma_aside;
}

static int dma_map(void *addr, uint64_t len, bool write)
{
	return vpfn_vfio_map(&vpfn_follower_vfio, DMA_FREE, addr, len, write);
}

static int dma_copy(uint64_t dst, uint64_t src)
{
	return vpfn_vfio_copy(&vpfn_follower_vfio, dst, src, PFNMAP_TARGET_LEN);
}

static int kvm_open(void)
{
	return vpfn_guest_open(&vpfn_follower_guest);
}

static void kvm_close(void)
{
	vpfn_guest_close(&vpfn_follower_guest);
}

static char *kvm_memory(void)
{
	return vpfn_follower_guest.aside;
}

static int kvm_map(void *addr, uint64_t len, bool write)
{
	return vpfn_guest_map(&vpfn_follower_guest, VPFN_GUEST_FREE, addr, len, write);
}

static int kvm_copy(uint64_t dst, uint64_t src)
{
	return vpfn_guest_copy(&vpfn_follower_guest, dst, src, PFNMAP_TARGET_LEN);
}

const struct vpfn_follower vpfn_type1 = {
	.name = "type1",
	/* vaddr_get_pfns() takes a pfn that has a page for one that get_user_pages() refused. */
	.on_system = -EFAULT,
	.on_read_only = -EFAULT,
	/* follow_fault_pfn() faults for a leaf that is missing, not for one that is read-only. */
	.on_tracked = -EFAULT,
	.stale = true,
	.aside = DMA_ASIDE,
	.free = DMA_FREE,
	.require = require_dma,
	.open = type1_open,
	.close = dma_close,
	.memory = dma_memory,
	.map = dma_map,
	.copy = dma_copy,
};

const struct vpfn_follower vpfn_kvm = {
	.name = "kvm",
	/* What it cannot map to be written it emulates, as if it were a device's register. */
	.on_read_only = -ENXIO,
	.by_leaf = true,
	.aside = VPFN_GUEST_ASIDE,
	.free = VPFN_GUEST_FREE,
	.require = require_kvm,
	.open = kvm_open,
	.close = kvm_close,
	.memory = kvm_memory,
	.map = kvm_map,
	.copy = kvm_copy,
};

const struct vpfn_follower vpfn_iommufd = {
	.name = "iommufd",
	.aside = DMA_ASIDE,
	.free = DMA_FREE,
	.require = require_dma,
	.open = iommufd_open,
	.close = dma_close,
	.memory = dma_memory,
	.map = dma_map,
	.copy = dma_copy,
};

/**
 * vpfn_follower_open:
 * @follower: the consumer; any other is closed
 */
void vpfn_follower_open(const struct vpfn_follower *follower)
{
	vpfn_followers_close();
	igt_assert_eq(follower->open(), 0);
}

/**
 * vpfn_follower_read:
 * @follower: the consumer
 * @at: its address of the memory to read
 * @seed: of the pattern that must be there
 *
 * The bytes are copied to ordinary memory that does not hold them yet.
 *
 * Returns: the result of the copy, or -EBADMSG if the bytes are wrong.
 */
int vpfn_follower_read(const struct vpfn_follower *follower, uint64_t at, uint64_t seed)
{
	char expected[PFNMAP_TARGET_LEN] __attribute__((aligned(8)));
	int err;

	pfnmap_target_pattern(seed, expected);
	memset(follower->memory(), 0, PFNMAP_TARGET_LEN);
	err = follower->copy(follower->aside, at);
	if (err)
		return err;
	return memcmp(follower->memory(), expected, PFNMAP_TARGET_LEN) ? -EBADMSG : 0;
}

/**
 * vpfn_follower_write:
 * @follower: the consumer
 * @at: its address of the memory to write
 * @seed: of the pattern
 *
 * Returns: the result of the copy; the caller checks the bytes.
 */
int vpfn_follower_write(const struct vpfn_follower *follower, uint64_t at, uint64_t seed)
{
	pfnmap_target_pattern(seed, follower->memory());
	return follower->copy(at, follower->aside);
}

/**
 * vpfn_follower_check:
 * @follower: the consumer
 * @target: what it has at @at
 * @at: its address of the target
 *
 * It reads a new pattern from the target, and writes another one.
 *
 * Returns: 0, or the result that is none.
 */
int vpfn_follower_check(const struct vpfn_follower *follower, const struct pfnmap_target *target,
			uint64_t at)
{
	int err;

	igt_assert_eq(pfnmap_target_fill(target, VPFN_OWN), 0);
	err = vpfn_follower_read(follower, at, VPFN_OWN) ?:
	      vpfn_follower_write(follower, at, VPFN_WRITTEN);
	return err ?: pfnmap_target_check(target, VPFN_WRITTEN);
}
