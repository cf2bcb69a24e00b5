// SPDX-License-Identifier: MIT
/*
 * Dumb buffers, which a client gets from the primary node without knowing vpfn.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "pfnmap/pfnmap_pattern.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_leaf.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Dumb buffers of vpfn.");

#define BAD_HANDLE	0xd0d0d0d0

static int fd = -1;

static int create_dumb(int file, uint32_t width, uint32_t height, uint32_t bpp,
		       struct drm_mode_create_dumb *dumb)
{
	*dumb = (struct drm_mode_create_dumb) { .width = width, .height = height, .bpp = bpp };
	return vpfn_ioctl(file, DRM_IOCTL_MODE_CREATE_DUMB, dumb);
}

static int destroy_dumb(int file, uint32_t handle)
{
	struct drm_mode_destroy_dumb destroy = { .handle = handle };

	return vpfn_ioctl(file, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
}

static int map_dumb(int file, uint32_t handle, uint64_t *offset)
{
	struct drm_mode_map_dumb map = { .handle = handle };
	int err = vpfn_ioctl(file, DRM_IOCTL_MODE_MAP_DUMB, &map);

	*offset = map.offset;
	return err;
}

static void test_dumb_bad(void)
{
	static const struct {
		uint32_t width, height, bpp;
	} bad[] = {
		{ 0, 1, 32 }, { 1, 0, 32 }, { 1, 1, 0 },
		{ UINT32_MAX, 1, 32 }, { UINT32_MAX, UINT32_MAX, 32 }, { 65536, 65536, 32 },
		{ 1, UINT32_MAX, 8 },
	};
	int file = vpfn_client_open_primary(fd), other = vpfn_client_open_primary(fd);
	struct drm_mode_create_dumb dumb;
	uint64_t offset;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		igt_assert_eq(create_dumb(file, bad[i].width, bad[i].height, bad[i].bpp, &dumb),
			      -EINVAL);
		igt_assert_eq_u64(dumb.handle, 0);
	}
	igt_assert_eq(create_dumb(fd, 1, 1, 32, &dumb), -EACCES);
	igt_assert_eq(create_dumb(file, 1, 1, 32, &dumb), 0);
	igt_assert_eq_u64(dumb.size, PFNMAP_PAGE);

	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(map_dumb(other, dumb.handle, &offset), -ENOENT);
	igt_assert_eq(map_dumb(file, 0, &offset), -ENOENT);
	igt_assert_eq(map_dumb(file, BAD_HANDLE, &offset), -ENOENT);
	igt_assert_eq(destroy_dumb(other, dumb.handle), -EINVAL);
	igt_assert_eq(destroy_dumb(file, BAD_HANDLE), -EINVAL);
	igt_assert_eq(destroy_dumb(file, dumb.handle), 0);
	igt_assert_eq(destroy_dumb(file, dumb.handle), -EINVAL);
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), -ENOENT);
	close(other);
	close(file);
}

/* More than the device and the machine have: an error, and no OOM kill. */
static void test_dumb_too_big(void)
{
	int small = vpfn_open_small(O_RDWR), file, err;
	struct drm_mode_create_dumb dumb;

	igt_require_f(small >= 0, "no second device of the driver vpfn\n");
	file = vpfn_client_open_primary(small);
	err = create_dumb(file, 16384, 65535, 32, &dumb);
	igt_assert_f(err == -E2BIG || err == -ENOSPC || err == -ENOMEM, "%d\n", err);
	igt_assert_eq(create_dumb(file, 640, 480, 32, &dumb), 0);
	close(file);
	close(small);
}

static void test_dumb(void)
{
	int file = vpfn_client_open_primary(fd);
	struct drm_mode_create_dumb dumb;
	struct vpfn_bo bo;
	uint64_t offset;
	uint32_t crc;
	void *map;

	igt_assert_eq(create_dumb(file, 641, 479, 16, &dumb), 0);
	igt_assert_lte(641 * 2, dumb.pitch);
	igt_assert(dumb.size >= 479ull * dumb.pitch && !(dumb.size % PFNMAP_PAGE));
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(pfnmap_map(file, offset, dumb.size, PROT_READ | PROT_WRITE, &map), 0);

	for (uint64_t i = 0; i < dumb.size; i += sizeof(uint64_t))
		igt_assert_eq_u64(pfnmap_load((char *)map + i), 0);
	pfnmap_pattern_bytes(&(struct pfnmap_pattern) { .seed = 5, .size = dumb.size }, map,
			     dumb.size);

	/* It is a buffer like others. */
	bo = (struct vpfn_bo) { .handle = dumb.handle, .size = dumb.size, .offset = offset };
	igt_assert_eq(vpfn_crc(file, &bo, 0, dumb.size, &crc), 0);
	igt_assert_eq_u64(crc, vpfn_crc32c(map, dumb.size));
	igt_assert_eq(vpfn_fill(file, &bo, dumb.size - 8, 8, 0x12345678), 0);
	igt_assert_eq_u64(pfnmap_load((char *)map + dumb.size - 8), 0x1234567812345678ull);

	/* The mapping holds it when the handle is gone. */
	igt_assert_eq(destroy_dumb(file, dumb.handle), 0);
	igt_assert_eq_u64(pfnmap_load((char *)map + dumb.size - 8), 0x1234567812345678ull);
	munmap(map, dumb.size);
	close(file);
}

static void test_dumb_huge(void)
{
	int file = vpfn_client_open_primary(fd);
	struct drm_mode_create_dumb dumb;
	uint64_t offset;
	void *map;

	igt_assert_eq(vpfn_limit_set(VPFN_PUD), 0);
	igt_assert_eq(create_dumb(file, 1024, 1024, 32, &dumb), 0);
	igt_assert_eq_u64(dumb.size, 2 * PFNMAP_2M);
	igt_assert_eq(map_dumb(file, dumb.handle, &offset), 0);
	igt_assert_eq(pfnmap_map(file, offset, dumb.size, PROT_READ | PROT_WRITE, &map), 0);
	pfnmap_store((char *)map + PFNMAP_2M + PFNMAP_PAGE, 1);
	vpfn_assert_level(file, (char *)map + PFNMAP_2M, VPFN_PMD);
	vpfn_assert_level(file, map, VPFN_NONE);
	munmap(map, dumb.size);
	close(file);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "dumb-bad", "No dumb buffer of a bad size, and none for others.", test_dumb_bad },
	{ "dumb-too-big", "A dumb buffer that fits nowhere is an error.", test_dumb_too_big },
	{ "dumb", "A dumb buffer has room for its picture, by CPU and by engine.", test_dumb },
	{ "dumb-huge", "A large dumb buffer is mapped by large leaves.", test_dumb_huge },
};

int igt_main()
{
	igt_fixture()
		fd = vpfn_require_device();

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		igt_describe(tests[i].describe);
		igt_subtest(tests[i].name)
			tests[i].run();
	}

	igt_fixture()
		close(fd);
}
