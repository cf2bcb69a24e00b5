// SPDX-License-Identifier: MIT
/*
 * Devices of V4L2 and the memory of a process: pages, which special entries do not have, or
 * dma-bufs, as it should be. Who is given memory is in vpfn_users_video.c; here are the streams.
 *
 * A stream has several dma-bufs in flight. While a device holds one, that is pinned in system
 * memory, wherever it was before (vpfn_gem_vmap(), vpfn_dma_buf_pin()): there its leaves are of
 * 2 MiB at most. A vault in device memory has the one of 1 GiB. The engine copies each frame
 * between the two, so that it is seen, or written, through both while the next ones are on their
 * way.
 *
 * Broken tests that would pass: one that looks at a frame of the round before, and one in which
 * the device has a buffer of its own. Hence each buffer has other bytes before the device gets
 * it, and those behind the frame, which the device must leave alone, are looked at, too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "pfnmap/pfnmap_matrix.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_video.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_source.h"

IGT_TEST_DESCRIPTION("Frames of video in the mappings of a device: not by pages, but by dma-bufs.");

#define MATRIX		"vpfn_frame_vector"
#define FRAME		PFNMAP_FRAME_SIZE
#define IN_FLIGHT	3
#define ROUNDS		(3 * IN_FLIGHT)
#define MAX_FRAMES	20
#define STALE		0xc0

static const struct pfnmap_group group = { .matrix = MATRIX, PFNMAP_FAMILIES(video) };

static int fd = -1;
static struct vpfn_view vault;

/* A buffer, its mapping by leaves of a size, and its dma-buf. */
struct shared {
	struct vpfn_bo bo;
	enum vpfn_level level;
	char *map;
	int dmabuf;
};

static struct shared shared[2 * IN_FLIGHT];

/* Of a failed test, too, which must not keep the device busy for the next one. */
static struct pfnmap_video camera = { .fd = -1 }, display = { .fd = -1 };
static struct pfnmap_video in = { .fd = -1 }, out = { .fd = -1 };

/*
 * vivid's DMA reaches 4 GiB (vivid_create_instance()). Memory beyond that goes through a bounce
 * buffer, of which there are none of 2 MiB.
 */
struct access {
	const char *name;
	enum pfnmap_vivid vivid;
	enum vpfn_level level;
	uint64_t size;
};

static const struct access accesses[] = {
	{ "cpu", PFNMAP_VIVID_BY_CPU, VPFN_PMD, PFNMAP_2M },
	{ "dma", PFNMAP_VIVID_BY_DMA, VPFN_PTE, 2 * FRAME },
};

static const struct {
	const char *name;
	uint32_t placement;
} placements[] = {
	{ "vram", DRM_VPFN_PLACEMENT_VRAM | DRM_VPFN_PLACEMENT_SYSTEM },
	{ "system", DRM_VPFN_PLACEMENT_SYSTEM },
};

static void share(const struct access *access, uint32_t placement, struct shared *one)
{
	uint32_t seen;
	void *map;

	igt_assert_eq(vpfn_bo_create_in(fd, access->size, placement,
					DRM_VPFN_GEM_CREATE_CPU_ACCESS, &one->bo), 0);
	igt_assert_eq(vpfn_bo_map(fd, &one->bo, &map), 0);
	one->map = map;
	one->level = access->level;
	memset(map, STALE, access->size);
	igt_assert_eq(vpfn_bo_placement(fd, &one->bo, &seen), 0);
	igt_assert_eq(seen, placement & DRM_VPFN_PLACEMENT_VRAM ?: placement);
	vpfn_assert_level(fd, map, one->level);
	igt_assert_eq(vpfn_bo_export(fd, &one->bo, &one->dmabuf), 0);
}

/* The device has let go: each byte that is not of a frame is as it was, by CPU and by engine. */
static void withdraw(struct shared *one)
{
	static uint8_t stale[PFNMAP_2M - FRAME];
	uint64_t rest = one->bo.size - FRAME;
	uint32_t crc;

	memset(stale, STALE, rest);
	igt_assert(!memcmp(one->map + FRAME, stale, rest));
	vpfn_assert_level(fd, one->map, one->level);
	igt_assert_eq(vpfn_crc(fd, &one->bo, FRAME, rest, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(stale, rest));

	close(one->dmabuf);
	igt_assert_eq(munmap(one->map, one->bo.size), 0);
	igt_assert_eq(vpfn_bo_close(fd, &one->bo), 0);
}

static void share_all(const struct access *access, uint32_t placement, unsigned int count)
{
	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	for (unsigned int i = 0; i < count; i++)
		share(access, placement, &shared[i]);
	vpfn_view_open(&vault, fd, VPFN_PUD);
}

static void withdraw_all(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		withdraw(&shared[i]);
	vpfn_assert_level(fd, vault.map, VPFN_PUD);
	vpfn_view_close(&vault);
}

/* A frame in a buffer that a device holds, seen by CPU, by engine, and from device memory. */
static void check_frame(const struct shared *one, const uint8_t *frame)
{
	uint64_t inside = vpfn_view_inside(&vault);
	uint32_t crc;

	igt_assert(!memcmp(one->map, frame, FRAME));
	vpfn_assert_level(fd, one->map, one->level);
	igt_assert_eq(vpfn_crc(fd, &one->bo, 0, FRAME, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(frame, FRAME));

	memset(vault.map + inside, STALE, FRAME);
	igt_assert_eq(vpfn_copy(fd, &vault.bo, inside, &one->bo, 0, FRAME), 0);
	igt_assert(!memcmp(vault.map + inside, frame, FRAME));
	vpfn_assert_level(fd, vault.map + inside, VPFN_PUD);
}

/* From device memory, too: the engine brings the frame to the buffer. */
static void set_frame(const struct shared *one, uint64_t seed)
{
	uint64_t inside = vpfn_view_inside(&vault);

	pfnmap_target_pattern(seed, vault.map + inside);
	vpfn_assert_level(fd, vault.map + inside, VPFN_PUD);
	igt_assert_eq(vpfn_copy(fd, &one->bo, 0, &vault.bo, inside, FRAME), 0);
}

static void close_queues(void)
{
	pfnmap_video_close(&camera);
	pfnmap_video_close(&display);
	pfnmap_video_close(&out);
	pfnmap_video_close(&in);
}

static void open_queue(int err, const char *option)
{
	igt_require_f(err != -ENODEV, "the kernel lacks %s\n", option);
	igt_assert_eq(err, 0);
}

static void queue(const struct pfnmap_video *video, unsigned int index, const struct shared *one)
{
	igt_assert_eq(pfnmap_video_queue(video, index, one->dmabuf), 0);
}

static unsigned int dequeue(const struct pfnmap_video *video)
{
	unsigned int index;

	igt_assert_eq(pfnmap_video_dequeue(video, &index), 0);
	igt_assert(index < video->count);
	return index;
}

static void request(struct pfnmap_video *video, enum v4l2_memory memory, unsigned int count)
{
	igt_assert_eq(pfnmap_video_request(video, memory, count), 0);
}

static void start(const struct pfnmap_video *video)
{
	igt_assert_eq(pfnmap_video_start(video), 0);
}

/* The picture is always the same, so the buffer must not hold it when it is queued. */
static void test_capture(const struct access *access, uint32_t placement)
{
	static uint8_t picture[FRAME];

	close_queues();
	open_queue(pfnmap_video_picture(access->vivid, picture), "CONFIG_VIDEO_VIVID");
	open_queue(pfnmap_video_open_camera(access->vivid, PFNMAP_SEES_PATTERN, &camera),
		   "CONFIG_VIDEO_VIVID");
	share_all(access, placement, IN_FLIGHT);
	request(&camera, V4L2_MEMORY_DMABUF, IN_FLIGHT);
	for (unsigned int i = 0; i < IN_FLIGHT; i++)
		queue(&camera, i, &shared[i]);
	start(&camera);

	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int i = dequeue(&camera);

		check_frame(&shared[i], picture);
		memset(shared[i].map, STALE, FRAME);
		queue(&camera, i, &shared[i]);
	}

	close_queues();
	withdraw_all(IN_FLIGHT);
}

/* Is it one of the frames that the display has? */
static bool is_shown(const uint8_t *frame, uint64_t oldest)
{
	uint8_t pattern[FRAME];

	for (uint64_t seed = oldest; seed < oldest + IN_FLIGHT; seed++) {
		pfnmap_target_pattern(seed, pattern);
		if (!memcmp(frame, pattern, FRAME))
			return true;
	}
	return false;
}

/* The camera may look before the display has its first frame. */
static bool sees_display(uint64_t oldest)
{
	for (unsigned int frame = 0; frame < MAX_FRAMES; frame++) {
		igt_assert_eq(pfnmap_video_queue(&camera, 0, 0), 0);
		dequeue(&camera);
		if (is_shown(camera.frames[0], oldest))
			return true;
	}
	return false;
}

/*
 * The camera before the display takes a frame that is on it, while none of them changes.
 * The display gives back its frames in order, but for the last one.
 */
static void test_output(const struct access *access, uint32_t placement)
{
	close_queues();
	open_queue(pfnmap_video_open_display(access->vivid, &display), "CONFIG_VIDEO_VIVID");
	open_queue(pfnmap_video_open_camera(access->vivid, PFNMAP_SEES_OUTPUT, &camera),
		   "CONFIG_VIDEO_VIVID");
	share_all(access, placement, IN_FLIGHT);
	request(&display, V4L2_MEMORY_DMABUF, IN_FLIGHT);
	request(&camera, V4L2_MEMORY_MMAP, 1);
	for (unsigned int i = 0; i < IN_FLIGHT; i++) {
		set_frame(&shared[i], i);
		queue(&display, i, &shared[i]);
	}
	start(&display);
	start(&camera);

	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint8_t pattern[FRAME];
		unsigned int i;

		igt_assert(sees_display(round));

		i = dequeue(&display);
		pfnmap_target_pattern(round, pattern);
		check_frame(&shared[i], pattern);
		set_frame(&shared[i], round + IN_FLIGHT);
		queue(&display, i, &shared[i]);
	}

	close_queues();
	withdraw_all(IN_FLIGHT);
}

/* Both ends are shared buffers; each frame is another one. */
static void test_turn(uint32_t placement)
{
	struct shared *sources = shared, *results = shared + IN_FLIGHT;
	uint8_t pattern[FRAME], turned[FRAME];

	close_queues();
	open_queue(pfnmap_video_open_turner(&in, &out), "CONFIG_VIDEO_VIM2M");
	share_all(&accesses[0], placement, 2 * IN_FLIGHT);
	request(&in, V4L2_MEMORY_DMABUF, IN_FLIGHT);
	request(&out, V4L2_MEMORY_DMABUF, IN_FLIGHT);
	for (unsigned int i = 0; i < IN_FLIGHT; i++) {
		set_frame(&sources[i], i);
		queue(&in, i, &sources[i]);
		queue(&out, i, &results[i]);
	}
	start(&in);
	start(&out);

	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int from = dequeue(&in), to = dequeue(&out);

		pfnmap_target_pattern(round, pattern);
		pfnmap_video_turn(pattern, turned);
		check_frame(&sources[from], pattern);
		check_frame(&results[to], turned);

		set_frame(&sources[from], round + IN_FLIGHT);
		memset(results[to].map, STALE, FRAME);
		queue(&out, to, &results[to]);
		queue(&in, from, &sources[from]);
	}

	close_queues();
	withdraw_all(2 * IN_FLIGHT);
}

static void tell(const char *row, enum vpfn_level level, const char *placement)
{
	char column[32];

	snprintf(column, sizeof(column), "%s-%s", vpfn_level_name(level), placement);
	pfnmap_matrix_cell(MATRIX, row, column, pfnmap_answer_name(0));
}

static void run_everywhere(const char *what,
			   void (*run)(const struct access *access, uint32_t placement))
{
	for (unsigned int i = 0; i < ARRAY_SIZE(accesses); i++) {
		char row[64];

		snprintf(row, sizeof(row), "%s-%s", what, accesses[i].name);
		for (unsigned int j = 0; j < ARRAY_SIZE(placements); j++) {
			igt_dynamic_f("%s-%s", accesses[i].name, placements[j].name) {
				run(&accesses[i], placements[j].placement);
				tell(row, accesses[i].level, placements[j].name);
			}
		}
	}
}

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
		vpfn_places_add(fd);
	}

	pfnmap_matrix_families(&group, 1);

	igt_describe("A camera writes frames into shared buffers, by the CPU and by DMA.");
	igt_subtest_with_dynamic("dmabuf-capture")
		run_everywhere("dmabuf-capture", test_capture);

	igt_describe("A display shows frames of shared buffers, by the CPU and by DMA.");
	igt_subtest_with_dynamic("dmabuf-output")
		run_everywhere("dmabuf-output", test_output);

	igt_describe("A device turns pictures, from shared buffers and into others.");
	igt_subtest_with_dynamic("dmabuf-turn") {
		for (unsigned int j = 0; j < ARRAY_SIZE(placements); j++) {
			igt_dynamic(placements[j].name) {
				test_turn(placements[j].placement);
				tell("dmabuf-turn", VPFN_PMD, placements[j].name);
			}
		}
	}

	igt_fixture() {
		close(fd);
	}
}
