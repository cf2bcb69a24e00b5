// SPDX-License-Identifier: MIT
/*
 * System and runtime suspend: contents, mappings and queued jobs are there afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_arena.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_dmabuf.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_kept.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_plug.h"
#include "vpfn/vpfn_pressure.h"
#include "vpfn/vpfn_sleep.h"
#include "vpfn/vpfn_trace.h"

IGT_TEST_DESCRIPTION("System and runtime suspend of vpfn.");

#define VRAM	DRM_VPFN_PLACEMENT_VRAM
#define SYSTEM	DRM_VPFN_PLACEMENT_SYSTEM
#define VISIBLE	DRM_VPFN_GEM_CREATE_CPU_ACCESS

#define DEEP_SLEEP	"/sys/power/mem_sleep"
#define SLEEP		"/sys/power/state"
#define SLEEP_TEST	"/sys/power/pm_test"

/* System suspend */

static void require_sleep(void)
{
	char text[64];

	igt_require_f(!pfnmap_text_read(SLEEP, text, sizeof(text)) && strstr(text, "mem"),
		      "the machine does not know how to sleep\n");
}

/* By the host if it takes commands, else by the real-time clock. */
static void order_wakeup(void)
{
	char text[32];
	int err = vpfn_host_command(NULL, 0, "wakeup 2000");

	if (err == -ENODEV) {
		snprintf(text, sizeof(text), "%lld", (long long)time(NULL) + 5);
		pfnmap_text_write("/sys/class/rtc/rtc0/wakealarm", "0");
		err = pfnmap_text_write("/sys/class/rtc/rtc0/wakealarm", text);
	}
	igt_assert_eq(err, 0);
}

/* All of a sleep but its end: devices suspend and resume. */
static int sleep_devices(void)
{
	int err = vpfn_sleep_devices();

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_PM_DEBUG\n");
	return err;
}

/*
 * SeaBIOS does not put the power management registers of QEMU's q35 machine back in place
 * after a sleep: the machine would neither sleep again nor switch off.
 */
#define ICH9_LPC	"/sys/bus/pci/devices/0000:00:1f.0/config"
#define ICH9_LPC_ID	0x29188086
#define ICH9_LPC_PMBASE	0x40

static int sleep_and_mend(void)
{
	int bridge = open(ICH9_LPC, O_RDWR | O_CLOEXEC), err;
	uint64_t before, after;
	uint32_t id = 0;

	if (bridge >= 0 && pread(bridge, &id, sizeof(id), 0) == sizeof(id) && id == ICH9_LPC_ID)
		igt_assert_eq(pread(bridge, &before, sizeof(before), ICH9_LPC_PMBASE),
			      sizeof(before));
	err = pfnmap_text_write(SLEEP, "mem");
	if (id == ICH9_LPC_ID) {
		igt_assert_eq(pread(bridge, &after, sizeof(after), ICH9_LPC_PMBASE),
			      sizeof(after));
		if (after != before)
			igt_assert_eq(pwrite(bridge, &before, sizeof(before), ICH9_LPC_PMBASE),
				      sizeof(before));
	}
	close(bridge);
	return err;
}

static int sleep_deeply(void)
{
	igt_require_f(!pfnmap_text_write(DEEP_SLEEP, "deep"), "the machine has no deep sleep\n");
	order_wakeup();
	return sleep_and_mend();
}

static void test_sleep(int (*fall_asleep)(void))
{
	struct vpfn_kept kept[] = {
		{ vpfn_big_name, VRAM, VISIBLE, 1, .fd = -1 },
		{ vpfn_big_name, SYSTEM, 0, 2, .fd = -1 },
		{ vpfn_small_name, VRAM, VISIBLE, 3, .fd = -1 },
		{ vpfn_small_name, VRAM, 0, 4, .fd = -1 },
		{ vpfn_small_name, VRAM | SYSTEM, VISIBLE, 5, .fd = -1 },
	};
	unsigned int count = *vpfn_small_name ? ARRAY_SIZE(kept) : 2;
	struct vpfn_bo work_bo[2];
	int sync_files[VPFN_CHAIN];
	int fd;

	require_sleep();
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < count; i++)
		vpfn_kept_open(&kept[i]);
	fd = vpfn_client_open_card(vpfn_big_name);
	for (int i = 0; i < 2; i++)
		igt_assert_eq(vpfn_bo_create(fd, 16 * PFNMAP_2M, &work_bo[i]), 0);

	for (int times = 0; times < 2; times++) {
		vpfn_chain_start(fd, work_bo, sync_files);
		igt_assert_eq(fall_asleep(), 0);
		for (unsigned int i = 0; i < count; i++)
			vpfn_kept_check_by_cpu(&kept[i]);
		vpfn_chain_check(fd, &work_bo[1], sync_files);
		for (unsigned int i = 0; i < count; i++) {
			vpfn_kept_check_by_engine(&kept[i]);
			vpfn_kept_check_leaf(&kept[i]);
			vpfn_kept_check_by_cpu(&kept[i]);
		}
	}

	for (unsigned int i = 0; i < count; i++)
		vpfn_kept_close(&kept[i]);
	close(fd);
	vpfn_check_works(vpfn_big_name);
}

/* More data in device memory than the machine has RAM */
struct surplus {
	int fd;
	struct vpfn_bo bo[8];
	void *map[8];
	unsigned int count;
};

static uint64_t machine_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * PFNMAP_PAGE;
}

static struct pfnmap_pattern surplus_pattern(unsigned int i)
{
	return (struct pfnmap_pattern) { .seed = 1000 + i, .size = PFNMAP_1G };
}

static void surplus_open(struct surplus *surplus)
{
	uint64_t vram;

	surplus->fd = vpfn_client_open_card(vpfn_big_name);
	surplus->count = machine_memory() / PFNMAP_1G + 1;
	igt_assert_eq(vpfn_vram_size(surplus->fd, &vram), 0);
	igt_require_f(surplus->count < vram / PFNMAP_1G &&
		      surplus->count <= ARRAY_SIZE(surplus->bo),
		      "the machine has as much memory as the device\n");

	for (unsigned int i = 0; i < surplus->count; i++) {
		struct pfnmap_pattern pattern = surplus_pattern(i);

		igt_assert_eq(vpfn_bo_create(surplus->fd, PFNMAP_1G, &surplus->bo[i]), 0);
		igt_assert_eq(vpfn_bo_map(surplus->fd, &surplus->bo[i], &surplus->map[i]), 0);
		pfnmap_pattern_fill(&pattern, surplus->map[i], 0, PFNMAP_1G);
	}
}

static void surplus_check(const struct surplus *surplus)
{
	for (unsigned int i = 0; i < surplus->count; i++) {
		struct pfnmap_pattern pattern = surplus_pattern(i);

		igt_assert_eq_u64(pfnmap_pattern_check(&pattern, surplus->map[i], 0, PFNMAP_1G),
				  PFNMAP_1G);
	}
}

static void surplus_close(struct surplus *surplus)
{
	for (unsigned int i = 0; i < surplus->count; i++)
		munmap(surplus->map[i], PFNMAP_1G);
	close(surplus->fd);
}

/* A device that cannot save everything does not go to sleep. */
static void test_sleep_refused(void)
{
	struct surplus surplus;
	int err;

	require_sleep();
	igt_assert_eq(vpfn_swap_off(), 0);
	surplus_open(&surplus);
	err = sleep_devices();
	igt_assert_f(err == -ENOMEM || err == -ENOSPC || err == -EBUSY, "sleep says %d\n", err);
	surplus_check(&surplus);
	surplus_close(&surplus);
	igt_assert_eq(vpfn_swap_on(), 0);

	vpfn_check_works(vpfn_big_name);
	igt_assert_eq(sleep_devices(), 0);
	vpfn_check_works(vpfn_big_name);
}

/* Runtime suspend */

static void require_runtime_pm(const char *name)
{
	char status[32];

	igt_require_f(!vpfn_card_get(name, "power/runtime_status", status, sizeof(status)) &&
		      strcmp(status, "unsupported"), "the kernel lacks CONFIG_PM\n");
}

static void check_status(const char *name, const char *expected)
{
	char status[32];

	igt_assert_eq(vpfn_card_get(name, "power/runtime_status", status, sizeof(status)), 0);
	igt_assert_f(!strcmp(status, expected), "%s is %s, not %s\n", name, status, expected);
}

static bool is_suspended(const void *name)
{
	char status[32];

	return !vpfn_card_get(name, "power/runtime_status", status, sizeof(status)) &&
	       !strcmp(status, "suspended");
}

/* Without a delay the write of it suspends the device, if that is possible now. */
static void ask_to_suspend(const char *name)
{
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "0"), 0);
}

/* Suspends the card as soon as it is idle; the delay keeps it from suspending again on its own. */
static void suspend_card(const char *name)
{
	/* With a delay the PM core tries again after -EBUSY. */
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "50"), 0);
	igt_assert_eq(vpfn_card_set(name, "power/control", "auto"), 0);
	igt_assert_eq(pfnmap_wait_until(is_suspended, name), 0);
	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "100000"), 0);
	check_status(name, "suspended");
}

static void wake_card(const char *name)
{
	igt_assert_eq(vpfn_card_set(name, "power/control", "on"), 0);
	check_status(name, "active");
}

static void test_runtime(const char *name)
{
	struct vpfn_kept kept[] = {
		{ name, VRAM, VISIBLE, 11, .fd = -1 },
		{ name, VRAM, 0, 12, .fd = -1 },
		{ name, SYSTEM, 0, 13, .fd = -1 },
	};
	uint64_t *word;
	uint32_t crc;

	require_runtime_pm(name);
	igt_assert_eq(vpfn_limit_set(VPFN_PMD), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++)
		vpfn_kept_open(&kept[i]);
	check_status(name, "active");

	suspend_card(name);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++)
		igt_assert_eq(vpfn_where(kept[i].fd, &kept[i].bo), SYSTEM);
	check_status(name, "suspended");

	/* A touch works, whether or not it wakes the device; what is written is not lost. */
	vpfn_kept_check_by_cpu(&kept[0]);
	word = kept[0].map;
	pfnmap_store(word, ~pfnmap_load(word));

	/* Work wakes it. */
	igt_assert_eq(vpfn_crc(kept[0].fd, &kept[0].bo, 0, PFNMAP_PAGE, &crc), 0);
	check_status(name, "active");
	igt_assert_eq_u64(crc, vpfn_crc32c(word, PFNMAP_PAGE));
	pfnmap_store(word, ~pfnmap_load(word));
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++) {
		vpfn_kept_check_by_engine(&kept[i]);
		vpfn_kept_check_leaf(&kept[i]);
		vpfn_kept_check_by_cpu(&kept[i]);
	}

	/* And again, with buffers that have been away before. */
	suspend_card(name);
	wake_card(name);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++) {
		vpfn_kept_check_by_cpu(&kept[i]);
		vpfn_kept_check_by_engine(&kept[i]);
		vpfn_kept_check_leaf(&kept[i]);
		vpfn_kept_close(&kept[i]);
	}
	vpfn_check_works(name);
}

/* Calls on a suspended device wake it or not, but none fails. */
static void test_runtime_visitors(const char *name)
{
	struct vpfn_kept kept = { name, VRAM, VISIBLE, 14, .fd = -1 };
	struct vpfn_bo imported;
	int fd, dmabuf;
	void *map;

	require_runtime_pm(name);
	vpfn_kept_open(&kept);

	suspend_card(name);
	fd = vpfn_client_open_card(name);
	close(fd);
	suspend_card(name);
	vpfn_check_works(name);
	suspend_card(name);
	igt_assert_eq(vpfn_evict(kept.fd), 0);
	vpfn_kept_check_by_cpu(&kept);

	suspend_card(name);
	igt_assert_eq(vpfn_bo_export(kept.fd, &kept.bo, &dmabuf), 0);
	igt_assert_eq(pfnmap_map(dmabuf, 0, VPFN_KEPT_SIZE, PROT_READ, &map), 0);
	igt_assert_eq(memcmp(map, vpfn_kept_bytes(14), VPFN_KEPT_SIZE), 0);
	munmap(map, VPFN_KEPT_SIZE);
	if (*vpfn_small_name && strcmp(name, vpfn_small_name)) {
		/* The other device reads what this one has evicted. */
		fd = vpfn_client_open_card(vpfn_small_name);
		igt_assert_eq(vpfn_dmabuf_import(fd, dmabuf, VPFN_KEPT_SIZE, &imported), 0);
		suspend_card(name);
		vpfn_kept_check_by_engine(&(struct vpfn_kept) {
			.fd = fd, .bo = imported, .seed = 14
		});
		close(fd);
	}
	close(dmabuf);

	suspend_card(name);
	vpfn_kept_close(&kept);
	vpfn_check_works(name);

	/* Bound again, it is awake. */
	suspend_card(name);
	igt_assert_eq(vpfn_card_unbind(name), 0);
	igt_assert_eq(vpfn_card_bind(name), 0);
	vpfn_check_works(name);
	wake_card(name);
}

/* A queued job keeps the device awake, or wakes it. */
static void test_runtime_job(const char *name)
{
	int fd = vpfn_client_open_card(name), job;
	struct vpfn_gate gate;
	struct vpfn_bo bo;
	void *map;

	require_runtime_pm(name);
	vpfn_require_gate(&gate);
	igt_assert_eq(vpfn_bo_create(fd, PFNMAP_2M, &bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &bo, &map), 0);
	job = vpfn_start_sync_file(fd, vpfn_cmd_fill(&bo, 0, PFNMAP_2M, 0x70707070), &gate);
	igt_assert_eq(vpfn_card_set(name, "power/control", "auto"), 0);
	ask_to_suspend(name);
	igt_assert_eq(vpfn_sync_file_status(job, 0), -EBUSY);

	igt_assert_eq(vpfn_card_set(name, "power/autosuspend_delay_ms", "50"), 0);
	igt_assert_eq(vpfn_gate_open(&gate), 0);
	igt_assert_eq(vpfn_sync_file_status(job, VPFN_LONG_NS), 0);
	for (uint64_t i = 0; i < PFNMAP_2M; i += PFNMAP_PAGE)
		igt_assert_eq_u64(pfnmap_load((char *)map + i), 0x7070707070707070ull);
	igt_assert_eq(pfnmap_wait_until(is_suspended, name), 0);
	igt_assert_eq_u64(pfnmap_load(map), 0x7070707070707070ull);

	wake_card(name);
	vpfn_gate_remove(&gate);
	close(job);
	munmap(map, PFNMAP_2M);
	close(fd);
}

struct refusals {
	const char *name;
	unsigned int count;
};

/* "rpm_suspend+0x...:NAME ret=ERRNO" */
static void count_refusal(const char *line, void *arg)
{
	struct refusals *refusals = arg;

	if (!strncmp(line, "rpm_suspend", strlen("rpm_suspend")) &&
	    strstr(line, refusals->name) && vpfn_trace_number(line, "ret=") == -EBUSY)
		refusals->count++;
}

/* Whether the driver's suspend has returned -EBUSY */
static bool was_refused(const void *name)
{
	struct refusals refusals = { .name = name };

	vpfn_trace_lines("rpm_return_int", count_refusal, &refusals);
	return refusals.count;
}

/* Without room for device memory the device stays awake. */
static void test_runtime_refused(void)
{
	struct surplus surplus;

	require_runtime_pm(vpfn_big_name);
	surplus_open(&surplus);
	vpfn_trace_begin("rpm/rpm_return_int");
	igt_assert_eq(vpfn_card_set(vpfn_big_name, "power/control", "auto"), 0);
	for (int i = 0; i < 2; i++) {
		vpfn_trace_clear();
		ask_to_suspend(vpfn_big_name);
		igt_assert_eq(pfnmap_wait_until(was_refused, vpfn_big_name), 0);
		igt_assert(!is_suspended(vpfn_big_name));
	}
	surplus_check(&surplus);
	surplus_close(&surplus);
	suspend_card(vpfn_big_name);
	wake_card(vpfn_big_name);
	vpfn_check_works(vpfn_big_name);
}

static void test_sleep_devices(void)
{
	test_sleep(sleep_devices);
}

static void test_sleep_deeply(void)
{
	test_sleep(sleep_deeply);
}

static const struct vpfn_plug_test tests[] = {
	{ "sleep-devices", "Mappings, contents and queued jobs survive the sleep of the devices.",
	  test_sleep_devices },
	{ "sleep", "Mappings, contents and queued jobs survive suspend to RAM.",
	  test_sleep_deeply },
	{ "sleep-refused",
	  "Without room for what is in device memory there is no sleep, and no loss.",
	  test_sleep_refused },
};

static const struct {
	const char *name;
	const char *describe;
	void (*run)(const char *name);
} runtime_tests[] = {
	{ "runtime", "A device that sleeps has put its memory away; a touch and work find it.",
	  test_runtime },
	{ "runtime-visitors", "Files, evictions, dma-bufs and unbind come to a device that sleeps.",
	  test_runtime_visitors },
	{ "runtime-job", "A job that waits runs, whether the device slept or not.",
	  test_runtime_job },
};

static const struct vpfn_plug_test refused_tests[] = {
	{ "runtime-refused", "Without room for what is in device memory the device stays awake.",
	  test_runtime_refused },
};

static void no_sleep_test_at_exit(int sig)
{
	(void)sig;
	pfnmap_text_write(SLEEP_TEST, "none");
}

int igt_main()
{
	igt_fixture() {
		vpfn_plug_init();
		igt_install_exit_handler(no_sleep_test_at_exit);
	}

	vpfn_plug_subtests(tests, ARRAY_SIZE(tests), false);

	for (unsigned int i = 0; i < ARRAY_SIZE(runtime_tests); i++) {
		igt_describe(runtime_tests[i].describe);
		igt_subtest_with_dynamic(runtime_tests[i].name) {
			igt_dynamic("big") {
				vpfn_bring_back();
				runtime_tests[i].run(vpfn_big_name);
			}
			igt_dynamic("small") {
				vpfn_require_small_card();
				vpfn_bring_back();
				runtime_tests[i].run(vpfn_small_name);
			}
		}
	}

	vpfn_plug_subtests(refused_tests, ARRAY_SIZE(refused_tests), false);
}
