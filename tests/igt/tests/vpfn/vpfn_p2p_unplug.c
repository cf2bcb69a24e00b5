// SPDX-License-Identifier: MIT
/*
 * One of two cards that share a buffer is unplugged, or its file is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_shared.h"

IGT_TEST_DESCRIPTION("Buffers that cards share, one of which goes.");

#define SIZE		VPFN_SHARED_SIZE
#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM

static struct vpfn_cards cards;
static char small_name[VPFN_PCI_NAME];

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
	return vpfn_vram_size(cards.small, &size) == -ENODEV;
}

static void plug_small(void)
{
	igt_assert_eq(vpfn_host_plug(VPFN_HOST_SMALL), 0);
	igt_assert_eq(vpfn_card_wait_bound(small_name), 0);
	cards.small = vpfn_open_small(O_RDWR);
	igt_assert_lte(0, cards.small);
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
	struct vpfn_shared shared;

	vpfn_share(&shared, file, VRAM, 45);
	vpfn_shared_check_by_engine(file, &shared.bo, 45);
	vpfn_shared_close(&shared);
}

/* The job has to end; whether it succeeds is not defined. */
static void check_ends(int file, uint32_t syncobj)
{
	igt_assert_eq(drmSyncobjWait(file, &syncobj, 1, vpfn_deadline(VPFN_LONG_NS),
				     DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL), 0);
	drmSyncobjDestroy(file, syncobj);
}

/* The importer closes its file while its job waits: the exporter can use and free the buffer. */
static void test_importer_closes(int exporter, int importer)
{
	char name[VPFN_PCI_NAME];
	struct vpfn_gate gate;
	struct vpfn_shared shared;
	struct vpfn_bo bo;
	int file, sync_file;
	uint32_t waiting;

	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_card_name(importer, name), 0);
	file = vpfn_client_open_card(name);
	vpfn_share(&shared, exporter, VRAM, 43);
	vpfn_shared_import(file, shared.dmabuf, &bo);
	vpfn_shared_check_by_engine(file, &bo, 43);

	waiting = vpfn_start(file, vpfn_cmd_fill(&bo, 0, SIZE, 0xdeaddead), &gate);
	igt_assert_eq(vpfn_sync_file_of(file, waiting, &sync_file), 0);
	close(file);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(sync_file, VPFN_LONG_NS), -ESRCH);
	close(sync_file);
	vpfn_gate_remove(&gate);

	igt_assert_eq(vpfn_bo_wait(exporter, &shared.bo, 0, VPFN_LONG_NS), 0);
	vpfn_shared_write(shared.map, 44);
	igt_assert_eq(vpfn_evict(exporter), 0);
	vpfn_shared_check_by_engine(exporter, &shared.bo, 44);
	vpfn_shared_close(&shared);
}

static void test_exporter_gone(void)
{
	struct vpfn_gate gate;
	uint32_t waiting;
	struct drm_vpfn_cmd cmd;
	struct vpfn_bo own;
	struct vpfn_pair pair;
	void *map;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, cards.small, cards.big, VRAM, 46);
	igt_assert_eq(pfnmap_map(pair.shared.dmabuf, 0, SIZE, PROT_READ | PROT_WRITE, &map), 0);
	vpfn_shared_check(map, 46);
	igt_assert_eq(vpfn_bo_create(cards.big, SIZE, &own), 0);
	waiting = vpfn_start(cards.big, vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE), &gate);

	/* The card stays until the importer's DMA has ended: the job is to read its memory. */
	begin_unplug_small();
	igt_assert_eq(pfnmap_wait_until(small_is_unplugged, NULL), 0);
	igt_assert(vpfn_card_is_there(small_name));
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_card_wait_gone(small_name), 0);
	check_ends(cards.big, waiting);
	cmd = vpfn_cmd_copy(&own, 0, &pair.bo, 0, SIZE);
	for (int i = 0; i < 2; i++) {
		uint32_t job = vpfn_new_syncobj(cards.big);

		if (!vpfn_submit(cards.big, &cmd, 1, 0, job))
			check_ends(cards.big, job);
		else
			drmSyncobjDestroy(cards.big, job);
	}
	igt_assert_eq(pfnmap_signal_of(map, PFNMAP_READ), 0);
	igt_assert_eq(pfnmap_signal_of(map, PFNMAP_WRITE), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0);
	check_works(cards.big);

	munmap(map, SIZE);
	igt_assert_eq(munmap(pair.shared.map, SIZE), 0);
	close(pair.shared.dmabuf);
	close(cards.small);
	cards.small = -1;
	/* The import alone keeps the buffer of the removed device. */
	igt_assert_eq(vpfn_bo_close(cards.big, &pair.bo), 0);
	igt_assert_eq(vpfn_bo_close(cards.big, &own), 0);
	vpfn_gate_remove(&gate);

	plug_small();
	check_works(cards.small);
	check_works(cards.big);
}

static void test_importer_gone(void)
{
	struct vpfn_gate gate;
	struct vpfn_pair pair;
	uint32_t waiting;
	int sync_file;

	vpfn_require_gate(&gate);
	vpfn_pair_open(&pair, cards.big, cards.small, VRAM, 47);
	waiting = vpfn_start(cards.small, vpfn_cmd_fill(&pair.bo, 0, SIZE, 0x60606060), &gate);
	igt_assert_eq(vpfn_sync_file_of(cards.small, waiting, &sync_file), 0);
	unplug_small();
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(sync_file, VPFN_LONG_NS), -ENODEV);

	/* The exporter still has the buffer. */
	igt_assert_eq(vpfn_bo_wait(cards.big, &pair.shared.bo, 0, VPFN_LONG_NS), 0);
	vpfn_shared_check(pair.shared.map, 47);
	igt_assert_eq(vpfn_evict(cards.big), 0);
	igt_assert_eq(vpfn_where(cards.big, &pair.shared.bo), SYSTEM);
	vpfn_shared_check_by_engine(cards.big, &pair.shared.bo, 47);
	igt_assert_eq(vpfn_where(cards.big, &pair.shared.bo), VRAM);

	close(sync_file);
	close(cards.small);
	cards.small = -1;
	vpfn_shared_close(&pair.shared);
	vpfn_gate_remove(&gate);

	plug_small();
	check_works(cards.small);
}

static const struct vpfn_pair_test pair_tests[] = {
	{ "importer-closes", "An importer closes while its job waits.", test_importer_closes },
};

int igt_main()
{
	igt_fixture() {
		vpfn_cards_open(&cards);
		if (cards.small >= 0) {
			igt_assert_eq(vpfn_card_name(cards.small, small_name), 0);
			igt_install_exit_handler(plug_at_exit);
		}
	}

	vpfn_pair_subtests(&cards, pair_tests, ARRAY_SIZE(pair_tests));

	igt_describe("The exporter is unplugged: the importer's jobs end, mappings do not fault.");
	igt_subtest("exporter-gone") {
		vpfn_require_small(&cards);
		test_exporter_gone();
	}

	igt_describe("The importer is unplugged: its jobs fail, the buffer is its owner's.");
	igt_subtest("importer-gone") {
		vpfn_require_small(&cards);
		test_importer_gone();
	}

	igt_fixture()
		vpfn_cards_close(&cards);
}
