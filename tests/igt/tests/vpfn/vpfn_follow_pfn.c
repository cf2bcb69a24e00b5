// SPDX-License-Identifier: MIT
/*
 * A special entry has a pfn and no page: a consumer cannot take a reference to it. Some users of
 * memory follow the entry all the same, and give the pfn to a virtual machine or to a device behind
 * an IOMMU. They get the right bytes; the question is what they get once the buffer has moved.
 *
 * KVM (hva_to_pfn_remapped()) has an MMU notifier: its entries go when the driver zaps those of
 * the process. VFIO's type1 (follow_fault_pfn()) has none: what the IOMMU maps stays what it is
 * until user space unmaps it, and the device then reads and writes whatever has the memory by
 * then. iommufd knows get_user_pages() alone, which refuses; what it has instead is dma-bufs that
 * tell it when they go, of which 7.3 takes those of vfio-pci and no others.
 *
 * On what would these tests pass though they should not? A follower that copies nothing, on bytes
 * that are there already: each pattern is new in its place, and what has been written is looked
 * for by the engine. One that refuses everything, or whose machine does not run, on each refusal:
 * ordinary memory is asked first. One that goes by the mapping and not by its own entries, on a
 * buffer that has not moved: so it moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_target.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_follower.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_guest.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_source.h"
#include "vpfn/vpfn_thread.h"
#include "vpfn/vpfn_vfio.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Virtual machines and IOMMUs that follow special page-table entries.");

#define MATRIX		"vpfn_follow_pfn"

static int fd = -1;

static void assert_ordinary(const struct vpfn_follower *follower)
{
	struct pfnmap_target ordinary;
	int answer;

	vpfn_follower_open(follower);
	igt_assert_eq(pfnmap_target_anonymous(&ordinary), 0);
	answer = follower->map(ordinary.addr, PFNMAP_TARGET_LEN, true) ?:
		 vpfn_follower_check(follower, &ordinary, follower->free);
	pfnmap_matrix_cell(MATRIX, follower->name, "ordinary", pfnmap_answer_name(answer));
	follower->close();
	pfnmap_target_free(&ordinary);
	igt_assert_eq(answer, 0);
}

/* Of the sizes above a page it has that of the leaf, and no other. */
static void assert_followed_by(const struct vpfn_follower *follower, enum vpfn_level level)
{
	long count;

	if (!follower->by_leaf)
		return;
	for (enum vpfn_level other = VPFN_PMD; other <= VPFN_PUD; other++) {
		igt_assert_eq(vpfn_guest_leaves(&vpfn_follower_guest, other, &count), 0);
		igt_assert_f((count > 0) == (other == level), "%s has %ld entries of a %s\n",
			     follower->name, count, vpfn_level_name(other));
	}
}

static void assert_around(const struct vpfn_view *view)
{
	uint64_t inside = vpfn_view_inside(view);

	vpfn_view_check_at(view, view->map, 0, inside);
	vpfn_view_check_at(view, view->map, inside + PFNMAP_TARGET_LEN, view->bo.size);
}

/* The rows of what is asked beside the first question. */
static void add_cell(const struct vpfn_follower *follower, const char *what,
		     const struct pfnmap_source *source, const char *answer)
{
	char row[64];

	snprintf(row, sizeof(row), "%s, %s", follower->name, what);
	pfnmap_matrix_cell(MATRIX, row, source->name, answer);
}

/* All of a mapping, at an address that is as aligned as the mapping's. */
static void test_place(const struct vpfn_follower *follower, int on_vram, int on_system,
		       const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	int expected = vpfn_is_system(source) ? on_system : on_vram, answer;

	vpfn_follower_open(follower);
	igt_assert_eq(pfnmap_target_fill(&source->target, VPFN_OTHER), 0);
	answer = follower->map(view->map, view->bo.size, true);
	if (!answer)
		answer = vpfn_follower_check(follower, &source->target,
					     follower->free + vpfn_view_inside(view));
	pfnmap_matrix_cell(MATRIX, follower->name, source->name, pfnmap_answer_name(answer));
	igt_assert_eq(answer, expected);

	if (answer)
		igt_assert_eq(pfnmap_target_check(&source->target, VPFN_OTHER), 0);
	else
		assert_followed_by(follower, view->level);
	vpfn_assert_level(fd, source->target.addr, view->level);
	assert_around(view);
	follower->close();
}

/* Another mapping of the source's buffer, which is untouched. */
static char *map_again(const struct vpfn_view *view, int prot)
{
	void *map;

	igt_assert_eq(pfnmap_map(fd, view->bo.offset, view->bo.size, prot, &map), 0);
	return map;
}

/* It has to bring the leaf: a fault like any other, by fixup_user_fault(). */
static void test_untouched(const struct vpfn_follower *follower, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t inside = vpfn_view_inside(view);
	char *map = map_again(view, PROT_READ | PROT_WRITE);

	vpfn_follower_open(follower);
	igt_assert_eq(pfnmap_target_fill(&source->target, VPFN_OWN), 0);
	vpfn_assert_level(fd, map + inside, VPFN_NONE);
	igt_assert_eq(follower->map(map, view->bo.size, true), 0);
	igt_assert_eq(vpfn_follower_read(follower, follower->free + inside, VPFN_OWN), 0);
	vpfn_assert_level(fd, map + inside, view->level);
	assert_followed_by(follower, view->level);
	igt_assert_eq(vpfn_follower_check(follower, &source->target, follower->free + inside), 0);
	add_cell(follower, "no leaves yet", source, "works");
	follower->close();
	munmap(map, view->bo.size);
}

/* It may read where the process may, and cannot write where the process cannot. */
static void test_read_only(const struct vpfn_follower *follower, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t inside = vpfn_view_inside(view), at = follower->free + inside;
	char *map = map_again(view, PROT_READ);
	int answer;

	vpfn_follower_open(follower);
	igt_assert_eq(pfnmap_target_fill(&source->target, VPFN_OWN), 0);

	/* Without a leaf the fault fails: at the map (type1) or at the access (KVM). */
	answer = follower->map(map, view->bo.size, true) ?:
		 vpfn_follower_write(follower, at, VPFN_WRITTEN);
	igt_assert_eq(answer, -EFAULT);
	vpfn_assert_level(fd, map + inside, VPFN_NONE);
	follower->close();

	pfnmap_load(map + inside);
	pfnmap_load(map);
	vpfn_follower_open(follower);
	answer = follower->map(map, view->bo.size, true) ?:
		 vpfn_follower_write(follower, at, VPFN_WRITTEN);
	add_cell(follower, "write, read-only", source, pfnmap_answer_name(answer));
	igt_assert_eq(answer, follower->on_read_only);
	follower->close();

	vpfn_follower_open(follower);
	igt_assert_eq(follower->map(map, view->bo.size, false), 0);
	igt_assert_eq(vpfn_follower_read(follower, at, VPFN_OWN), 0);
	igt_assert_eq(vpfn_follower_write(follower, at, VPFN_WRITTEN), follower->on_read_only);
	igt_assert_eq(pfnmap_target_check(&source->target, VPFN_OWN), 0);
	follower->close();
	munmap(map, view->bo.size);
}

/* Touches a page that the process may write, such that its leaf allows no writes for now. */
static void touch_tracked(const char *page)
{
	struct vpfn_leaf leaf;

	pfnmap_load(page);
	igt_assert_eq(vpfn_leaf_from_driver(fd, page, &leaf), 0);
	igt_require_f(!leaf.writable, "the kernel tracks no writes (CONFIG_MEM_SOFT_DIRTY)\n");
}

/* The kernel wants to hear of the first write: the process may write, and a fault is due. */
static void test_tracked(const struct vpfn_follower *follower, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t inside = vpfn_view_inside(view);
	char *map = map_again(view, PROT_READ | PROT_WRITE), *target = map + inside;
	int answer;

	vpfn_follower_open(follower);
	igt_assert_eq(pfnmap_text_write("/proc/self/clear_refs", "4"), 0);
	touch_tracked(map);
	touch_tracked(target);
	answer = follower->map(map, view->bo.size, true) ?:
		 vpfn_follower_check(follower, &source->target, follower->free + inside);
	add_cell(follower, "writes tracked", source, pfnmap_answer_name(answer));
	igt_assert_eq(answer, follower->on_tracked);
	follower->close();

	/* The process may write now. */
	for (uint64_t at = 0; at < PFNMAP_TARGET_LEN; at += PFNMAP_PAGE)
		pfnmap_store(target + at, at);
	vpfn_follower_open(follower);
	igt_assert_eq(follower->map(target, PFNMAP_TARGET_LEN, true), 0);
	igt_assert_eq(vpfn_follower_check(follower, &source->target, follower->free), 0);
	follower->close();
	munmap(map, view->bo.size);
}

static uint64_t pfn_of(int file, const void *addr)
{
	struct vpfn_leaf leaf;

	pfnmap_load(addr);
	igt_assert_eq(vpfn_leaf_from_driver(file, addr, &leaf), 0);
	igt_assert_neq(leaf.level, VPFN_NONE);
	return leaf.pfn;
}

/* A place in a buffer, which its owner's engine sees: no mapping is looked at. */
struct site {
	int fd;
	struct vpfn_bo bo, aside;
	uint64_t offset;
	void *aside_map;
};

static void site_init(struct site *site, int file, const struct vpfn_bo *bo, uint64_t offset)
{
	*site = (struct site) { .fd = file, .bo = *bo, .offset = offset };
	igt_assert_eq(vpfn_bo_create_in(file, PFNMAP_TARGET_LEN, DRM_VPFN_PLACEMENT_SYSTEM, 0,
					&site->aside), 0);
	igt_assert_eq(vpfn_bo_map(file, &site->aside, &site->aside_map), 0);
}

static void site_fini(struct site *site)
{
	munmap(site->aside_map, PFNMAP_TARGET_LEN);
	vpfn_bo_close(site->fd, &site->aside);
}

static void site_fill(struct site *site, uint64_t seed)
{
	pfnmap_target_pattern(seed, site->aside_map);
	igt_assert_eq(vpfn_copy(site->fd, &site->bo, site->offset, &site->aside, 0,
				PFNMAP_TARGET_LEN), 0);
}

static void site_assert(struct site *site, uint64_t seed)
{
	char expected[PFNMAP_TARGET_LEN] __attribute__((aligned(8)));

	igt_assert_eq(vpfn_copy(site->fd, &site->aside, 0, &site->bo, site->offset,
				PFNMAP_TARGET_LEN), 0);
	pfnmap_target_pattern(seed, expected);
	igt_assert(!memcmp(site->aside_map, expected, PFNMAP_TARGET_LEN));
}

static bool has_pfn(int file, const struct vpfn_bo *bo, uint64_t pfn, uint64_t *offset)
{
	uint64_t first;
	void *map;

	igt_assert_eq(vpfn_bo_map(file, bo, &map), 0);
	first = pfn_of(file, map);
	munmap(map, bo->size);
	*offset = (pfn - first) * PFNMAP_PAGE;
	return pfn >= first && *offset < bo->size;
}

/* The place may lie behind a GiB of free memory. */
#define MAX_TRIES	2048

/* Another client, which gets the memory that is free now: its buffer is at @pfn. */
static void site_open_at(struct site *site, uint64_t size, uint64_t pfn)
{
	struct vpfn_bo tries[MAX_TRIES];
	int file = vpfn_open(O_RDWR);
	unsigned int n = 0;
	uint64_t offset;

	igt_assert(file >= 0);
	do {
		igt_assert_lte(n + 1, MAX_TRIES);
		igt_assert_eq(vpfn_bo_create(file, size, &tries[n]), 0);
	} while (!has_pfn(file, &tries[n++], pfn, &offset));

	site_init(site, file, &tries[--n], offset);
	while (n)
		vpfn_bo_close(file, &tries[--n]);
}

static void evict(const struct vpfn_bo *bo)
{
	uint32_t placement;

	igt_assert_eq(vpfn_evict(fd), 0);
	igt_assert_eq(vpfn_bo_placement(fd, bo, &placement), 0);
	igt_assert_eq(placement, DRM_VPFN_PLACEMENT_SYSTEM);
}

/*
 * The buffer leaves its place while the consumer has it, and a buffer of another client gets the
 * place. What do the consumer's accesses reach? This is what 7.3 does, correctly (KVM) or not
 * (type1): a kernel in which type1 no longer reaches the other client fails here, and this test is
 * then to be changed.
 */
static void test_move(const struct vpfn_follower *follower, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t inside = vpfn_view_inside(view), at = follower->free + inside, pfn;
	bool stale = follower->stale;
	struct site own, other;

	site_init(&own, fd, &view->bo, inside);
	site_fill(&own, VPFN_OWN);
	vpfn_follower_open(follower);
	igt_assert_eq(follower->map(view->map, view->bo.size, true), 0);
	igt_assert_eq(vpfn_follower_read(follower, at, VPFN_OWN), 0);
	igt_assert_eq(vpfn_follower_write(follower, at, VPFN_WRITTEN), 0);
	site_assert(&own, VPFN_WRITTEN);
	site_fill(&own, VPFN_OWN);
	pfn = pfn_of(fd, view->map + inside);

	evict(&view->bo);
	vpfn_assert_level(fd, view->map + inside, VPFN_NONE);
	site_open_at(&other, view->bo.size, pfn);
	site_fill(&other, VPFN_OTHER);

	igt_assert_eq(vpfn_follower_read(follower, at, stale ? VPFN_OTHER : VPFN_OWN), 0);
	igt_assert_eq(vpfn_follower_write(follower, at, VPFN_WRITTEN), 0);
	site_assert(&other, stale ? VPFN_WRITTEN : VPFN_OTHER);
	add_cell(follower, "moved", source, stale ? "reaches another client" : "works");

	/* The engine brings the buffer back, to yet another place. */
	site_assert(&own, stale ? VPFN_OWN : VPFN_WRITTEN);
	site_fill(&own, VPFN_OWN);
	igt_assert_eq(vpfn_follower_read(follower, at, stale ? VPFN_WRITTEN : VPFN_OWN), 0);
	site_assert(&other, stale ? VPFN_WRITTEN : VPFN_OTHER);
	follower->close();

	site_fini(&other);
	close(other.fd);
	site_fini(&own);
	assert_around(view);
}

/* A processor of a guest reads memory that is not there yet. */
static int run_reader(void *arg)
{
	(void)arg;
	return vpfn_kvm.copy(vpfn_kvm.aside, vpfn_kvm.free);
}

static bool waits_for_no_signal(const void *arg)
{
	const struct vpfn_thread *reader = arg;

	return vpfn_thread_is_done(reader) || vpfn_task_state(getpid(), reader->tid) == 'D';
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/* A buffer of the small card that has to move to be reached, and cannot before its job has run. */
static void hold_out_of_reach(int small, struct vpfn_bo *bo, struct vpfn_gate *gate)
{
	uint64_t visible;

	igt_assert_eq(vpfn_visible_vram_size(small, &visible), 0);
	for (uint64_t bytes = 0; bytes < visible; bytes += visible / 4)
		igt_assert_eq(vpfn_bo_create(small, visible / 4, bo), 0);
	igt_assert_eq(vpfn_bo_create_in(small, PFNMAP_2M, DRM_VPFN_PLACEMENT_VRAM, 0, bo), 0);

	vpfn_require_gate(gate);
	vpfn_start(small, vpfn_cmd_fill(bo, 0, bo->size, VPFN_WRITTEN), gate);
}

/*
 * A processor waits in a fault for the buffer, and gets a signal, by which a VMM makes its
 * processors look up. It may come back for that, and it may wait on; but KVM_RUN must not fail,
 * nor try again and again what the signal ends each time, as it does when it has had
 * VM_FAULT_RETRY before (-EAGAIN of hva_to_pfn_remapped()).
 */
static void test_signal(void)
{
	struct sigaction action = { .sa_handler = ignore_signal }, old;
	int small = vpfn_open_small(O_RDWR), answer;
	struct vpfn_thread reader;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	uint32_t word;
	void *map;

	igt_require_f(small >= 0, "no card with memory that the CPU cannot see\n");
	vpfn_follower_open(&vpfn_kvm);
	hold_out_of_reach(small, &bo, &gate);
	igt_assert_eq(vpfn_bo_map(small, &bo, &map), 0);
	igt_assert_eq(vpfn_kvm.map(map, bo.size, true), 0);
	igt_assert_eq(sigaction(SIGUSR1, &action, &old), 0);

	igt_assert_eq(vpfn_thread_start(&reader, run_reader, NULL), 0);
	igt_assert_eq(vpfn_thread_settle(&reader, NULL), 0);
	igt_assert(!vpfn_thread_is_done(&reader));
	igt_assert_eq(pthread_kill(reader.thread, SIGUSR1), 0);
	igt_assert_f(!pfnmap_wait_until(waits_for_no_signal, &reader),
		     "it neither waits nor comes back\n");

	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_thread_join(&reader, &answer), 0);
	vpfn_gate_remove(&gate);
	sigaction(SIGUSR1, &old, NULL);
	igt_assert_f(!answer || answer == -EINTR, "KVM_RUN: %s\n", pfnmap_answer_name(answer));

	if (answer)
		igt_assert_eq(vpfn_kvm.copy(vpfn_kvm.aside, vpfn_kvm.free), 0);
	memcpy(&word, vpfn_kvm.memory(), sizeof(word));
	igt_assert_eq_u64(word, VPFN_WRITTEN);
	vpfn_kvm.close();
	munmap(map, bo.size);
	close(small);
}

/* What has been taken back from the card it cannot reach any more. */
static void test_unmap(const struct vpfn_follower *follower, const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint64_t at = follower->free + vpfn_view_inside(view);
	uint32_t crc;

	/* An earlier test may have evicted the buffer: a job brings it back. */
	igt_assert_eq(vpfn_crc(fd, &view->bo, 0, 4, &crc), 0);
	vpfn_follower_open(follower);
	igt_assert_eq(follower->map(view->map, view->bo.size, true), 0);
	igt_assert_eq(vpfn_follower_check(follower, &source->target, at), 0);
	igt_assert_eq(vpfn_vfio_unmap(&vpfn_follower_vfio, follower->free, view->bo.size), 0);
	igt_assert_eq(vpfn_follower_write(follower, at, VPFN_OWN), -EFAULT);
	igt_assert_eq(vpfn_follower_read(follower, at, VPFN_WRITTEN), -EFAULT);
	igt_assert_eq(pfnmap_target_check(&source->target, VPFN_WRITTEN), 0);
	follower->close();
}

/* A memfd, which has pages: the control of the calls that take a file. */
static void assert_memfd_works(void)
{
	int memfd = memfd_create("vpfn_follow_pfn", MFD_CLOEXEC);
	char seen[PFNMAP_TARGET_LEN] __attribute__((aligned(8)));

	igt_assert(memfd >= 0);
	igt_assert_eq(ftruncate(memfd, PFNMAP_TARGET_LEN), 0);
	igt_assert_eq(vpfn_vfio_map_file(&vpfn_follower_vfio, vpfn_iommufd.free, memfd,
					 PFNMAP_TARGET_LEN), 0);
	igt_assert_eq(vpfn_follower_write(&vpfn_iommufd, vpfn_iommufd.free, VPFN_WRITTEN), 0);
	igt_assert_eq(pread(memfd, seen, sizeof(seen), 0), sizeof(seen));
	igt_assert(!memcmp(seen, vpfn_iommufd.memory(), sizeof(seen)));
	igt_assert_eq(vpfn_vfio_unmap(&vpfn_follower_vfio, vpfn_iommufd.free, PFNMAP_TARGET_LEN),
		      0);
	close(memfd);
}

/*
 * The buffer's dma-buf, which could tell iommufd that the buffer moves: iopt_map_dmabuf() asks
 * vfio-pci for the place, which knows its own dma-bufs alone. Before that it has pinned the
 * buffer, which has left device memory for it: iommufd is no PCI device, so no peer.
 */
static void test_dma_buf_refused(const struct pfnmap_source *source)
{
	const struct vpfn_view *view = vpfn_view_of(source);
	uint32_t placement;
	int dmabuf, answer;

	vpfn_follower_open(&vpfn_iommufd);
	assert_memfd_works();
	igt_assert_eq(pfnmap_target_fill(&source->target, VPFN_OWN), 0);
	igt_assert_eq(vpfn_bo_export(fd, &view->bo, &dmabuf), 0);
	answer = vpfn_vfio_map_file(&vpfn_follower_vfio, vpfn_iommufd.free, dmabuf, view->bo.size);
	add_cell(&vpfn_iommufd, "dma-buf", source, pfnmap_answer_name(answer));
	igt_assert_eq(answer, -EOPNOTSUPP);
	igt_assert_eq(vpfn_bo_placement(fd, &view->bo, &placement), 0);
	igt_assert_eq(placement, DRM_VPFN_PLACEMENT_SYSTEM);
	igt_assert_eq(pfnmap_target_check(&source->target, VPFN_OWN), 0);
	assert_around(view);
	close(dmabuf);
	vpfn_iommufd.close();
}

/*
 * A dma-buf that iommufd takes: a card's memory as vfio-pci exports it. It goes from the IOMMU
 * when it goes, which is what a driver that moves its buffers needs.
 */
static void test_dma_buf_revoked(void)
{
	const uint64_t len = PFNMAP_2M;
	int dmabuf;

	vpfn_follower_open(&vpfn_iommufd);
	igt_assert_eq(vpfn_vfio_export(&vpfn_follower_vfio, len, &dmabuf), 0);
	igt_assert_eq(vpfn_vfio_map_file(&vpfn_follower_vfio, vpfn_iommufd.free, dmabuf, len), 0);
	igt_assert_eq(vpfn_follower_write(&vpfn_iommufd, vpfn_iommufd.free, VPFN_WRITTEN), 0);
	igt_assert_eq(vpfn_follower_read(&vpfn_iommufd, vpfn_iommufd.free, VPFN_WRITTEN), 0);

	/* Its memory is away for a moment, and the mapping for good. */
	igt_assert_eq(vpfn_vfio_enable(&vpfn_follower_vfio, false), 0);
	igt_assert_eq(vpfn_vfio_enable(&vpfn_follower_vfio, true), 0);
	igt_assert_eq(vpfn_follower_read(&vpfn_iommufd, vpfn_iommufd.free, VPFN_WRITTEN), -EFAULT);
	close(dmabuf);
	vpfn_iommufd.close();
}

static void places_subtest(const struct vpfn_follower *follower, int on_vram, int on_system,
			   const char *describe)
{
	igt_describe(describe);
	igt_subtest_with_dynamic(follower->name) {
		follower->require();
		assert_ordinary(follower);
		for_each_pfnmap_source(source) {
			igt_dynamic(source->name)
				test_place(follower, on_vram, on_system,
					   pfnmap_source_renew(source));
		}
	}
}

/* A test in each place that can be followed. */
static void followed_subtest(const struct vpfn_follower *follower, const char *name,
			     void (*run)(const struct vpfn_follower *follower,
					 const struct pfnmap_source *source),
			     const char *describe)
{
	igt_describe(describe);
	igt_subtest_with_dynamic_f("%s-%s", follower->name, name) {
		follower->require();
		for_each_pfnmap_source(source) {
			if (vpfn_is_system(source) && follower->on_system)
				continue;
			igt_dynamic(source->name)
				run(follower, pfnmap_source_renew(source));
		}
	}
}

static void common_subtests(const struct vpfn_follower *follower)
{
	followed_subtest(follower, "untouched", test_untouched,
			 "Who follows a mapping without leaves brings the right ones.");
	followed_subtest(follower, "read-only", test_read_only,
			 "A mapping that the process may not write cannot be written by following it.");
	followed_subtest(follower, "tracked", test_tracked,
			 "The process may write, and its leaf does not allow it yet.");

	igt_describe("The buffer moves, and another one gets its place: whom do accesses reach?");
	igt_subtest_with_dynamic_f("%s-move", follower->name) {
		follower->require();
		for_each_pfnmap_source(source) {
			if (vpfn_is_system(source))
				continue;
			igt_dynamic(source->name)
				test_move(follower, pfnmap_source_renew(source));
		}
	}
}

static void vfio_subtests(void)
{
	places_subtest(&vpfn_type1, 0, vpfn_type1.on_system,
		       "VFIO's type1 maps device memory for a device, and no RAM behind special entries.");
	common_subtests(&vpfn_type1);

	followed_subtest(&vpfn_type1, "unmap", test_unmap,
			 "What type1 has unmapped the device cannot reach.");

	places_subtest(&vpfn_iommufd, -EFAULT, -EFAULT,
		       "iommufd maps ordinary memory for a device, and no special mapping.");

	igt_describe("iommufd maps a memfd, and no dma-buf of a driver that may move it.");
	igt_subtest_with_dynamic("iommufd-dma-buf") {
		vpfn_iommufd.require();
		for_each_pfnmap_source(source) {
			igt_dynamic(source->name)
				test_dma_buf_refused(pfnmap_source_renew(source));
		}
	}

	igt_describe("iommufd maps a dma-buf of vfio-pci, until it is revoked.");
	igt_subtest("iommufd-dma-buf-revoked") {
		vpfn_iommufd.require();
		test_dma_buf_revoked();
	}
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
	}

	places_subtest(&vpfn_kvm, 0, 0,
		       "A virtual machine reads and writes memory behind special entries.");
	common_subtests(&vpfn_kvm);

	igt_describe("A signal to a processor that waits for a move does not end its machine.");
	igt_subtest("kvm-signal") {
		vpfn_kvm.require();
		test_signal();
	}

	vfio_subtests();

	igt_fixture() {
		vpfn_followers_close();
		close(fd);
	}
}
