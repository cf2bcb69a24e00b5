// SPDX-License-Identifier: MIT
/*
 * What remains of a device that was reset, or unbound and bound again? Mappings and importers do
 * not notice a reset, no DMA outlives the driver, and a limit applies to the device that is bound.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_cgroup.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_model.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Users of a vpfn device that is reset, or unbound and bound again.");

#define VRAM		DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM		DRM_VPFN_PLACEMENT_SYSTEM
#define CPU_ACCESS	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define MIB		(1ull << 20)
#define SIZE		(2 * PFNMAP_2M)

static int big = -1;
static char name[VPFN_PCI_NAME];

static void bind_at_exit(int sig)
{
	(void)sig;
	if (!vpfn_card_is_bound(name))
		vpfn_card_bind(name);
	vpfn_card_wait_bound(name);
}

static void rebind(void)
{
	igt_assert_eq(vpfn_card_bind(name), 0);
	igt_assert_eq(vpfn_card_wait_bound(name), 0);
}

/* ---- A function reset ---- */

/* Uses a buffer again and again, each time with another word. */
struct user {
	struct vpfn_thread thread;
	int file;
	struct vpfn_bo bo;
	struct vpfn_bo imported;
	char *map;
	int (*use)(struct user *user, uint32_t word);
	atomic_bool stop;
	atomic_uint rounds;
	uint64_t seen;		/* what was read back last */
};

static char *place_of_word(const struct user *user, uint32_t word)
{
	return user->map + word % (SIZE / PFNMAP_PAGE) * PFNMAP_PAGE;
}

static int use_by_cpu(struct user *user, uint32_t word)
{
	char *place = place_of_word(user, word);

	pfnmap_store(place, word);
	user->seen = pfnmap_load(place);
	return user->seen == word ? 0 : -EBADMSG;
}

/* Each round has a mapping of its own, and so a fault. */
static int use_by_fault(struct user *user, uint32_t word)
{
	void *map;
	int err = vpfn_bo_map(user->file, &user->bo, &map);

	if (err)
		return err;
	pfnmap_store(map, word);
	user->seen = pfnmap_load(map);
	munmap(map, SIZE);
	return user->seen == word ? 0 : -EBADMSG;
}

static int use_by_debugger(struct user *user, uint32_t word)
{
	uint64_t bytes = word;
	char *place = place_of_word(user, word);
	int err = pfnmap_proc_mem(place, &bytes, sizeof(bytes), true);

	err = err ?: pfnmap_proc_mem(place, &bytes, sizeof(bytes), false);
	user->seen = bytes;
	return err ?: bytes == word ? 0 : -EBADMSG;
}

/* By the engine of the other device */
static int use_by_importer(struct user *user, uint32_t word)
{
	uint32_t crc;
	int err = vpfn_fill(big, &user->imported, PFNMAP_PAGE, sizeof(word), word);

	err = err ?: vpfn_crc(big, &user->imported, PFNMAP_PAGE, sizeof(word), &crc);
	user->seen = crc;
	return err ?: crc == vpfn_crc32c(&word, sizeof(word)) ? 0 : -EBADMSG;
}

static int run_user(void *arg)
{
	struct user *user = arg;
	int err = 0;

	while (!err && !user->stop)
		err = user->use(user, ++user->rounds);
	return err;
}

struct goal {
	const struct user *user;
	unsigned int rounds;
};

static bool is_reached(const void *arg)
{
	const struct goal *goal = arg;

	return vpfn_thread_is_done(&goal->user->thread) || goal->user->rounds >= goal->rounds;
}

/* Some rounds later, or after the one that failed */
static void wait_rounds(const struct user *user)
{
	struct goal goal = { user, user->rounds + 8 };

	igt_assert_eq(pfnmap_wait_until(is_reached, &goal), 0);
}

static void test_reset(enum vpfn_level level, int (*use)(struct user *user, uint32_t word))
{
	struct user user = { .use = use };
	int fd = vpfn_client_open_card(name), dmabuf, err;
	struct vpfn_bo bo;
	void *map;

	igt_assert_eq(vpfn_limit_set(level), 0);
	igt_assert_eq(vpfn_bo_create(fd, SIZE, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	user.map = map;
	user.file = fd;
	user.bo = bo;
	igt_assert_eq_u64(pfnmap_load(map), 0);
	vpfn_assert_level(fd, map, level);
	igt_assert_eq(vpfn_bo_export(fd, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(big, dmabuf, SIZE, &user.imported), 0);

	igt_assert_eq(vpfn_thread_start(&user.thread, run_user, &user), 0);
	wait_rounds(&user);
	igt_assert(!vpfn_thread_is_done(&user.thread));
	for (int i = 0; i < 3; i++) {
		igt_assert_eq(vpfn_card_set(name, "reset", "1"), 0);
		wait_rounds(&user);
	}
	user.stop = true;
	igt_assert_eq(vpfn_thread_join(&user.thread, &err), 0);
	igt_assert_f(!err, "round %u: %d, %#llx\n", user.rounds, err,
		     (unsigned long long)user.seen);

	munmap(map, SIZE);
	close(dmabuf);
	vpfn_bo_close(big, &user.imported);
	close(fd);
}

/* ---- Jobs that must not run twice ---- */

#define SWAP_SIZE	(16 * MIB)
#define RESETS		4

/* Two buffers that jobs swap by way of the third one */
static struct {
	int fd;
	struct vpfn_bo first, second, spare;
} swap;

/* Does not wait for the job: the ring is never empty. */
static int use_by_swaps(struct user *user, uint32_t word)
{
	const struct drm_vpfn_cmd cmds[] = {
		vpfn_cmd_copy(&swap.spare, 0, &swap.first, 0, SWAP_SIZE),
		vpfn_cmd_copy(&swap.first, 0, &swap.second, 0, SWAP_SIZE),
		vpfn_cmd_copy(&swap.second, 0, &swap.spare, 0, SWAP_SIZE),
	};

	(void)user;
	(void)word;
	return vpfn_submit(swap.fd, cmds, ARRAY_SIZE(cmds), 0, 0);
}

static void assert_pattern(const struct vpfn_bo *bo, uint32_t pattern)
{
	const struct vpfn_content content = vpfn_content_pattern(pattern);
	uint32_t crc;

	igt_assert_eq(vpfn_crc(swap.fd, bo, 0, SWAP_SIZE, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_content_crc(&content, 0, SWAP_SIZE));
}

/* A swap that begins again in the middle loses what one of the buffers held, for good. */
static void test_reset_jobs(void)
{
	struct user user = { .use = use_by_swaps };
	int err;

	swap.fd = vpfn_client_open_card(name);
	igt_assert_eq(vpfn_bo_create(swap.fd, SWAP_SIZE, &swap.first), 0);
	igt_assert_eq(vpfn_bo_create(swap.fd, SWAP_SIZE, &swap.second), 0);
	igt_assert_eq(vpfn_bo_create(swap.fd, SWAP_SIZE, &swap.spare), 0);
	igt_assert_eq(vpfn_fill(swap.fd, &swap.first, 0, SWAP_SIZE, 0), 0);
	igt_assert_eq(vpfn_fill(swap.fd, &swap.second, 0, SWAP_SIZE, 1), 0);

	igt_assert_eq(vpfn_thread_start(&user.thread, run_user, &user), 0);
	for (unsigned int i = 0; i < RESETS; i++) {
		wait_rounds(&user);
		igt_assert_eq(vpfn_card_set(name, "reset", "1"), 0);
	}
	user.stop = true;
	igt_assert_eq(vpfn_thread_join(&user.thread, &err), 0);
	igt_assert_eq(err, 0);
	igt_info("%u swaps\n", user.rounds);
	assert_pattern(&swap.first, user.rounds % 2);
	assert_pattern(&swap.second, 1 - user.rounds % 2);
	close(swap.fd);
}

/* ---- DMA of an importer ---- */

/* Work for the importer that takes some seconds. */
#define WORK_SIZE	(64 * MIB)
#define WORK_CMDS	512

#define STALE		0x57a1e57a
#define FRESH		0xf7e5f7e5

/* A job that comes after all that work; the file of its fence */
static int start_late(const struct vpfn_bo *work, const struct vpfn_bo *target)
{
	static struct drm_vpfn_cmd cmds[WORK_CMDS + 1];
	uint32_t out;
	int sync_file;

	for (unsigned int i = 0; i < WORK_CMDS; i++)
		cmds[i] = vpfn_cmd_fill(work, 0, WORK_SIZE, i);
	cmds[WORK_CMDS] = vpfn_cmd_fill(target, 0, SIZE, STALE);
	igt_assert_eq(drmSyncobjCreate(big, 0, &out), 0);
	igt_assert_eq(vpfn_submit(big, cmds, ARRAY_SIZE(cmds), 0, out), 0);
	igt_assert_eq(vpfn_sync_file_of(big, out, &sync_file), 0);
	drmSyncobjDestroy(big, out);
	return sync_file;
}

/* The next client gets memory that an importer was to write on behalf of the last one. */
static void test_peer_dma(void)
{
	struct vpfn_bo bo, imported, work, fresh;
	int fd = vpfn_client_open_card(name), dmabuf, late, at_return, next;
	uint64_t word = (uint64_t)FRESH << 32 | FRESH;
	void *map;

	igt_install_exit_handler(bind_at_exit);
	igt_assert_eq(vpfn_bo_create(big, WORK_SIZE, &work), 0);
	igt_assert_eq(vpfn_bo_create(fd, SIZE, &bo), 0);
	igt_assert_eq(vpfn_bo_export(fd, &bo, &dmabuf), 0);
	igt_assert_eq(vpfn_dmabuf_import(big, dmabuf, SIZE, &imported), 0);
	igt_assert_eq(vpfn_fill(big, &imported, 0, SIZE, STALE), 0);
	late = start_late(&work, &imported);
	igt_assert_eq(vpfn_sync_file_status(late, 0), -EBUSY);

	igt_assert_eq(vpfn_card_unbind(name), 0);
	at_return = vpfn_sync_file_status(late, 0);
	rebind();
	next = vpfn_client_open_card(name);
	igt_assert_eq(vpfn_bo_create(next, SIZE, &fresh), 0);
	igt_assert_eq(vpfn_fill(next, &fresh, 0, SIZE, FRESH), 0);
	igt_assert_neq(vpfn_sync_file_status(late, VPFN_LONG_NS), -EBUSY);

	igt_assert_eq(vpfn_bo_map(next, &fresh, &map), 0);
	for (uint64_t i = 0; i < SIZE; i += PFNMAP_PAGE)
		igt_assert_eq_u64(pfnmap_load((char *)map + i), word);
	igt_assert_f(at_return != -EBUSY, "the importer's job outlives the exporter's driver\n");

	munmap(map, SIZE);
	close(next);
	close(late);
	close(dmabuf);
	close(fd);
	vpfn_bo_close(big, &imported);
	vpfn_bo_close(big, &work);
}

/* ---- Limits of device memory ---- */

static struct vpfn_cgroup group;
static char region[64];

static void remove_group(int sig)
{
	(void)sig;
	vpfn_cgroup_remove(&group);
}

static void set_limit(uint64_t bytes)
{
	char text[96];

	snprintf(text, sizeof(text), "%s %llu", region, (unsigned long long)bytes);
	igt_assert_eq(vpfn_cgroup_write(&group, "dmem.max", text), 0);
}

static int create_16m(void)
{
	int fd = vpfn_card_open(name, O_RDWR);
	struct vpfn_bo bo;

	return fd < 0 ? -fd : -vpfn_bo_create_in(fd, 16 * MIB, VRAM, 0, &bo);
}

static int run_create(void *arg)
{
	(void)arg;
	return -vpfn_cgroup_join(&group) ?: create_16m();
}

/* Keeps the device, and the buffer, until it is killed. */
static int run_hold(void *arg)
{
	atomic_int *ret = arg;
	int err = -vpfn_cgroup_join(&group) ?: create_16m();

	*ret = err;
	while (!err)
		pause();
	return err;
}

static int try_create(void)
{
	struct vpfn_child child;

	igt_assert_eq(vpfn_child_start(&child, run_create, NULL), 0);
	igt_assert_eq(vpfn_child_wait(&child), 0);
	igt_assert(WIFEXITED(child.status));
	return WEXITSTATUS(child.status);
}

static bool is_set(const void *arg)
{
	return *(const atomic_int *)arg >= 0;
}

static bool is_uncharged(const void *arg)
{
	uint64_t bytes;

	(void)arg;
	return vpfn_cgroup_read(&group, "dmem.current", region, &bytes) == -ENOENT || !bytes;
}

/* Larger than what the group may have: refused. */
static void assert_limited(void)
{
	int err = try_create();

	igt_assert_f(err == ENOSPC || err == ENOMEM, "16 MiB for a group with 8 MiB: %d\n", err);
}

static void test_dmem_rebind(bool held)
{
	atomic_int *ret = vpfn_shared_alloc(sizeof(*ret));
	struct vpfn_child holder;
	int err;

	err = vpfn_cgroup_make("vpfn-gone", "dmem", &group);
	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_CGROUP_DMEM\n");
	igt_assert_eq(err, 0);
	igt_install_exit_handler(remove_group);
	igt_install_exit_handler(bind_at_exit);
	igt_assert(ret);
	snprintf(region, sizeof(region), "drm/%s/vram", name);
	igt_assert_eq(vpfn_cgroup_count(&vpfn_cgroup_root, "dmem.capacity", region), 1);

	set_limit(8 * MIB);
	assert_limited();
	set_limit(48 * MIB);
	igt_assert_eq(try_create(), 0);
	if (held) {
		*ret = -1;
		igt_assert_eq(vpfn_child_start(&holder, run_hold, ret), 0);
		igt_assert_eq(pfnmap_wait_until(is_set, ret), 0);
		igt_assert_eq(*ret, 0);
	}

	igt_assert_eq(vpfn_card_unbind(name), 0);
	rebind();
	set_limit(8 * MIB);
	assert_limited();
	igt_assert_eq(vpfn_cgroup_count(&vpfn_cgroup_root, "dmem.capacity", region), 1);

	if (held) {
		igt_assert_eq(vpfn_child_kill(&holder), 0);
		assert_limited();
	}
	igt_assert_eq(pfnmap_wait_until(is_uncharged, NULL), 0);
	munmap(ret, sizeof(*ret));
}

static const struct {
	const char *name;
	enum vpfn_level level;
	int (*use)(struct user *user, uint32_t word);
} users[] = {
	{ "cpu-pte", VPFN_PTE, use_by_cpu },
	{ "cpu-pmd", VPFN_PMD, use_by_cpu },
	{ "fault-pte", VPFN_PTE, use_by_fault },
	{ "fault-pmd", VPFN_PMD, use_by_fault },
	{ "debugger", VPFN_PMD, use_by_debugger },
	{ "importer", VPFN_PMD, use_by_importer },
};

int igt_main()
{
	igt_fixture() {
		int fd;

		big = vpfn_require_device();
		fd = vpfn_require_small_device();
		igt_assert_eq(vpfn_card_name(fd, name), 0);
		close(fd);
	}

	igt_describe("CPU and importers that use a buffer do not notice a function reset.");
	igt_subtest_with_dynamic("reset") {
		for (unsigned int i = 0; i < ARRAY_SIZE(users); i++) {
			igt_dynamic(users[i].name)
				test_reset(users[i].level, users[i].use);
		}
	}

	igt_describe("A function reset waits for the job in the ring: none runs twice or is interrupted.");
	igt_subtest("reset-jobs")
		test_reset_jobs();

	igt_describe("Unbinding the driver waits for the DMA of importers.");
	igt_subtest("peer-dma")
		test_peer_dma();

	igt_describe("A limit applies to a device that was bound again, while a client holds the old one.");
	igt_subtest_with_dynamic("dmem-rebind") {
		igt_dynamic("free")
			test_dmem_rebind(false);
		igt_dynamic("held")
			test_dmem_rebind(true);
	}

	igt_fixture() {
		vpfn_children_end();
		close(big);
	}
}
