// SPDX-License-Identifier: MIT
/*
 * The engine of one card works on the memory of another: bytes, handles, reservations, and
 * the order of jobs.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_shared.h"

IGT_TEST_DESCRIPTION("Buffers that two cards of vpfn share.");

#define SIZE		VPFN_SHARED_SIZE
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

static struct vpfn_cards cards;

static void test_import_twice(int exporter, int importer)
{
	struct vpfn_bo again, other_bo;
	int dmabuf, other;
	struct vpfn_pair pair;
	char name[VPFN_PCI_NAME];

	igt_assert_eq(vpfn_card_name(importer, name), 0);
	other = vpfn_client_open_card(name);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 21);

	vpfn_shared_import(importer, pair.shared.dmabuf, &again);
	igt_assert_eq_u64(again.handle, pair.bo.handle);
	vpfn_shared_import(other, pair.shared.dmabuf, &other_bo);
	vpfn_shared_check_by_engine(other, &other_bo, 21);

	/* A re-export of an import is the exporter's dma-buf. */
	igt_assert_eq(vpfn_bo_export(importer, &pair.bo, &dmabuf), 0);
	igt_assert(vpfn_dmabuf_same(dmabuf, pair.shared.dmabuf));
	vpfn_shared_import(exporter, dmabuf, &again);
	igt_assert_eq_u64(again.handle, pair.shared.bo.handle);
	close(dmabuf);

	igt_assert_eq(vpfn_fill(other, &other_bo, 0, SIZE, 0x0ddba11), 0);
	vpfn_assert_words(pair.shared.map, 0, SIZE, 0x0ddba11);
	close(other);
	vpfn_pair_close(&pair);
}

/* The engine of one device on the memory of the other, in each direction. */
static void test_other_device(int exporter, int importer, uint32_t placement)
{
	struct vpfn_bo own;
	struct vpfn_pair pair;
	void *map;

	vpfn_pair_open(&pair, exporter, importer, placement, 22);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	vpfn_shared_check(map, 22);
	vpfn_shared_write(map, 23);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	vpfn_shared_check(pair.shared.map, 23);
	vpfn_shared_check_by_engine(exporter, &pair.shared.bo, 23);
	igt_assert_eq(vpfn_fill(exporter, &pair.shared.bo, PFNMAP_PAGE + 4, 8, 0xffffffff), 0);
	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	igt_assert_eq_u64(*(uint32_t *)((char *)map + PFNMAP_PAGE + 8), 0xffffffff);

	vpfn_shared_write(pair.shared.map, 48);
	vpfn_shared_check_import_map(importer, &pair.bo, 48);
	igt_assert_eq(vpfn_evict(exporter), 0);
	vpfn_shared_check_import_map(importer, &pair.bo, 48);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

/* Behind one root port, peer-to-peer DMA does not cross the root complex. */
static bool behind_one_port(void)
{
	char names[2][VPFN_PCI_NAME], paths[2][PATH_MAX], link[PATH_MAX];
	int files[2] = { cards.big, cards.small };
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
	struct vpfn_pair pair;
	void *map;

	igt_require_f(behind_one_port(), "the devices are behind different root ports\n");
	vpfn_pair_open(&pair, exporter, importer, VRAM, 24);
	igt_assert_eq(vpfn_where(exporter, &pair.shared.bo), VRAM);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	igt_assert_eq(vpfn_bo_map(importer, &own, &map), 0);

	vpfn_shared_write(map, 25);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	igt_assert_eq(vpfn_where(exporter, &pair.shared.bo), VRAM);
	vpfn_shared_check(pair.shared.map, 25);
	vpfn_shared_write(pair.shared.map, 26);
	igt_assert_eq(vpfn_copy(importer, &own, 0, &pair.bo, 0, SIZE), 0);
	igt_assert_eq(vpfn_where(exporter, &pair.shared.bo), VRAM);
	vpfn_shared_check(map, 26);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

/* Device memory beyond the BAR: the importer's engine gets the same bytes. */
static void test_invisible(void)
{
	struct vpfn_bo bo, imported, source;
	uint64_t visible;
	int dmabuf;
	void *map;

	igt_assert_eq(vpfn_visible_vram_size(cards.small, &visible), 0);
	igt_assert_eq(vpfn_bo_create_in(cards.small, SIZE, SYSTEM, 0, &source), 0);
	igt_assert_eq(vpfn_bo_map(cards.small, &source, &map), 0);
	vpfn_shared_write(map, 27);

	/* Larger than what is visible: at least its end is not. */
	igt_assert_eq(vpfn_bo_create_in(cards.small, visible + PFNMAP_2M, VRAM, 0, &bo), 0);
	igt_assert_eq(vpfn_copy(cards.small, &bo, visible + PFNMAP_2M - SIZE, &source, 0, SIZE), 0);
	igt_assert_eq(vpfn_where(cards.small, &bo), VRAM);
	igt_assert_eq(vpfn_bo_export(cards.small, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(cards.big, dmabuf, bo.size, &imported), 0);
	close(dmabuf);

	munmap(map, SIZE);
	igt_assert_eq(vpfn_bo_close(cards.small, &source), 0);
	igt_assert_eq(vpfn_bo_create(cards.big, SIZE, &source), 0);
	igt_assert_eq(vpfn_copy(cards.big, &source, 0, &imported, visible + PFNMAP_2M - SIZE, SIZE),
		      0);
	vpfn_shared_check_by_engine(cards.big, &source, 27);
	igt_assert_eq(vpfn_fill(cards.big, &imported, visible, PFNMAP_2M, 0xcafecafe), 0);
	igt_assert_eq(vpfn_bo_close(cards.big, &imported), 0);
	igt_assert_eq(vpfn_bo_close(cards.big, &source), 0);

	igt_assert_eq(vpfn_bo_map(cards.small, &bo, &map), 0);
	vpfn_assert_words(map, visible, visible + PFNMAP_2M, 0xcafecafe);
	munmap(map, bo.size);
	igt_assert_eq(vpfn_bo_close(cards.small, &bo), 0);
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
 * Imports of a dma-buf by several files are several objects with one reservation, the exporter's. A
 * job with two of them locks it once, and has to validate both.
 */
static void test_one_reservation(int exporter, int importer)
{
	int mine = vpfn_client_open_primary(importer), other = vpfn_client_open_primary(importer);
	struct vpfn_bo first, second, theirs;
	struct vpfn_shared shared;

	vpfn_share(&shared, exporter, VRAM, 0x1e5);
	vpfn_shared_import(mine, shared.dmabuf, &first);
	vpfn_shared_import(other, shared.dmabuf, &theirs);
	open_by_name(other, theirs.handle, mine, &second);
	igt_assert_neq(second.handle, first.handle);

	igt_assert_eq(vpfn_copy(mine, &second, SIZE / 2, &first, 0, SIZE / 2), 0);
	igt_assert_eq(memcmp(shared.map, vpfn_shared_bytes(0x1e5), SIZE / 2), 0);
	igt_assert_eq(memcmp((char *)shared.map + SIZE / 2, shared.map, SIZE / 2), 0);

	/* The move invalidates the importers' addresses. */
	igt_assert_eq(vpfn_evict(exporter), 0);
	vpfn_shared_write(shared.map, 0x1e6);
	igt_assert_eq(vpfn_copy(mine, &second, SIZE / 2, &first, 0, SIZE / 2), 0);
	igt_assert_eq(memcmp(shared.map, vpfn_shared_bytes(0x1e6), SIZE / 2), 0);
	igt_assert_eq(memcmp((char *)shared.map + SIZE / 2, shared.map, SIZE / 2), 0);

	close(mine);
	close(other);
	vpfn_shared_close(&shared);
}

/* The order of jobs across two cards */

static void test_read_after_write(int exporter, int importer)
{
	struct vpfn_gate gate;
	struct vpfn_bo own;
	uint32_t first, second;
	struct vpfn_pair pair;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 38);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = vpfn_start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x11111111), &gate);
	second = vpfn_start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), NULL);
	vpfn_assert_waits(importer, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(importer, second);
	vpfn_finish(exporter, first);

	vpfn_shared_write(pair.shared.map, 39);
	igt_assert_eq(vpfn_copy(importer, &pair.bo, 0, &own, 0, SIZE), 0);
	vpfn_assert_words(pair.shared.map, 0, SIZE, 0x11111111);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

static void test_write_after_read(int exporter, int importer)
{
	struct vpfn_gate gate;
	struct vpfn_bo own;
	uint32_t first, second;
	struct vpfn_pair pair;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 40);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = vpfn_start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);
	second = vpfn_start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x22222222), NULL);
	vpfn_assert_waits(exporter, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(exporter, second);
	vpfn_finish(importer, first);

	vpfn_shared_check_by_engine(importer, &own, 40);
	vpfn_assert_words(pair.shared.map, 0, SIZE, 0x22222222);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

static void test_write_after_write(int exporter, int importer)
{
	struct vpfn_gate gate;
	uint32_t first, second;
	struct vpfn_pair pair;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 41);
	first = vpfn_start(importer, vpfn_cmd_fill(&pair.bo, 0, SIZE, 0x33333333), &gate);
	second = vpfn_start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, SIZE, 0x44444444), NULL);
	vpfn_assert_waits(exporter, second);
	igt_assert_eq(vpfn_bo_wait(exporter, &pair.shared.bo, 0, 0), -ETIME);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(exporter, second);
	vpfn_finish(importer, first);
	vpfn_assert_words(pair.shared.map, 0, SIZE, 0x44444444);
	vpfn_gate_remove(&gate);
	vpfn_pair_close(&pair);
}

static void test_read_after_read(int exporter, int importer)
{
	uint32_t first, second;
	struct vpfn_gate gate;
	struct vpfn_bo own;
	struct vpfn_pair pair;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, exporter, importer, VRAM, 42);
	igt_assert_eq(vpfn_bo_create(importer, SIZE, &own), 0);
	first = vpfn_start(importer, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);
	/* Readers do not wait for each other. */
	vpfn_shared_check_by_engine(exporter, &pair.shared.bo, 42);
	second = vpfn_start(exporter, vpfn_cmd_fill(&pair.shared.bo, 0, 4, 1), NULL);
	vpfn_assert_waits(exporter, second);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	vpfn_finish(exporter, second);
	vpfn_finish(importer, first);
	vpfn_shared_check_by_engine(importer, &own, 42);
	vpfn_gate_remove(&gate);
	igt_assert_eq(vpfn_bo_close(importer, &own), 0);
	vpfn_pair_close(&pair);
}

static const struct {
	const char *name;
	uint32_t placement;
} placements[] = {
	{ "vram", VRAM },
	{ "system", SYSTEM },
};

#define ORDERED	"Jobs of two devices on one buffer wait for each other as they must."

static const struct vpfn_pair_test pair_tests[] = {
	{ "import-twice", "What is imported again, or exported again, is the same.",
	  test_import_twice },
	{ "peer-to-peer", "An engine works on the other device's memory without moving it.",
	  test_peer_to_peer },
	{ "one-reservation", "A job uses two imports of one buffer, before and after it moves.",
	  test_one_reservation },
	{ "read-after-write", ORDERED, test_read_after_write },
	{ "write-after-read", ORDERED, test_write_after_read },
	{ "write-after-write", ORDERED, test_write_after_write },
	{ "read-after-read", ORDERED, test_read_after_read },
};

int igt_main()
{
	igt_fixture()
		vpfn_cards_open(&cards);

	igt_describe("The engine of a device works on the memory of the other.");
	igt_subtest_with_dynamic("other-device") {
		for (unsigned int j = 0; j < ARRAY_SIZE(placements); j++) {
			igt_dynamic_f("big-to-small-%s", placements[j].name) {
				vpfn_require_small(&cards);
				test_other_device(cards.big, cards.small, placements[j].placement);
			}
			igt_dynamic_f("small-to-big-%s", placements[j].name) {
				vpfn_require_small(&cards);
				test_other_device(cards.small, cards.big, placements[j].placement);
			}
		}
	}

	igt_describe("A device works on memory that its owner cannot show.");
	igt_subtest("invisible") {
		vpfn_require_small(&cards);
		test_invisible();
	}

	vpfn_pair_subtests(&cards, pair_tests, ARRAY_SIZE(pair_tests));

	igt_fixture()
		vpfn_cards_close(&cards);
}
