// SPDX-License-Identifier: MIT
/*
 * Buffers: which arguments do the ioctls refuse?
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("Arguments of the ioctls on buffers of vpfn.");

#define BAD_HANDLE	0xd0d0d0d0
#define SMALL		(3 * PFNMAP_PAGE)

static int fd = -1;

static int create_err(uint64_t size, uint32_t flags)
{
	struct drm_vpfn_gem_create arg = {
		.size = size,
		.placement = DRM_VPFN_PLACEMENT_VRAM,
		.flags = flags,
	};
	int err = vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_CREATE, &arg);

	if (!err)
		vpfn_bo_close(fd, &(struct vpfn_bo) { .handle = arg.handle });
	return err;
}

static int offset_err(int file, uint32_t handle, uint32_t flags)
{
	struct drm_vpfn_gem_mmap_offset arg = { .handle = handle, .flags = flags };

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_MMAP_OFFSET, &arg);
}

static int info_err(int file, uint32_t handle, uint32_t placement)
{
	struct drm_vpfn_gem_info arg = { .handle = handle, .placement = placement };

	return vpfn_ioctl(file, DRM_IOCTL_VPFN_GEM_INFO, &arg);
}

static void test_param(void)
{
	struct drm_vpfn_get_param get = { .param = 0xdead };
	uint64_t size;

	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GET_PARAM, &get), -EINVAL);

	get = (struct drm_vpfn_get_param) { .param = DRM_VPFN_PARAM_VRAM_SIZE, .pad = 1 };
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GET_PARAM, &get), -EINVAL);

	igt_assert_eq(vpfn_vram_size(fd, &size), 0);
	igt_assert(size >= PFNMAP_2M / 2);
	igt_assert_eq_u64(size & (size - 1), 0);
}

static void test_create_bad_flags(void)
{
	uint32_t known = DRM_VPFN_GEM_CREATE_CPU_ACCESS;

	igt_assert_eq(create_err(PFNMAP_PAGE, known << 1), -EINVAL);
	igt_assert_eq(create_err(PFNMAP_PAGE, 1u << 31 | known), -EINVAL);
	igt_assert_eq(create_err(PFNMAP_PAGE, known), 0);
	igt_assert_eq(create_err(PFNMAP_PAGE, 0), 0);
}

static void test_create_bad_size(void)
{
	uint64_t vram;

	igt_assert_eq(vpfn_vram_size(fd, &vram), 0);
	igt_assert_eq(create_err(0, 0), -EINVAL);
	igt_assert_eq(create_err(1, 0), -EINVAL);
	igt_assert_eq(create_err(PFNMAP_PAGE + 1, 0), -EINVAL);
	igt_assert_eq(create_err(PFNMAP_PAGE - 1, 0), -EINVAL);
	igt_assert_eq(create_err(UINT64_MAX, 0), -EINVAL);
	igt_assert_eq(create_err(vram + PFNMAP_PAGE, 0), -E2BIG);
	igt_assert_eq(create_err(1ull << 63, 0), -E2BIG);
	igt_assert_eq(create_err(-PFNMAP_PAGE, 0), -E2BIG);
}

static void test_bad_handle(void)
{
	int other = vpfn_open(O_RDWR);
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create(fd, SMALL, &bo), 0);
	igt_assert_eq(info_err(fd, bo.handle, 0), 0);
	igt_assert_eq(offset_err(fd, bo.handle, 0), 0);

	igt_assert_eq(info_err(fd, 0, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, 0, 0), -ENOENT);
	igt_assert_eq(info_err(fd, BAD_HANDLE, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, BAD_HANDLE, 0), -ENOENT);
	igt_assert_eq(info_err(other, bo.handle, 0), -ENOENT);
	igt_assert_eq(offset_err(other, bo.handle, 0), -ENOENT);

	igt_assert_eq(vpfn_bo_close(fd, &bo), 0);
	igt_assert_eq(info_err(fd, bo.handle, 0), -ENOENT);
	igt_assert_eq(offset_err(fd, bo.handle, 0), -ENOENT);
	close(other);
}

static void test_info(void)
{
	struct drm_vpfn_gem_info info = {};
	struct vpfn_bo bo;

	igt_assert_eq(vpfn_bo_create(fd, SMALL, &bo), 0);
	info.handle = bo.handle;
	igt_assert_eq(vpfn_ioctl(fd, DRM_IOCTL_VPFN_GEM_INFO, &info), 0);
	igt_assert_eq_u64(info.size, SMALL);
	igt_assert_eq(info.placement, DRM_VPFN_PLACEMENT_VRAM);

	igt_assert_eq(info_err(fd, bo.handle, DRM_VPFN_PLACEMENT_VRAM), -EINVAL);
	igt_assert_eq(offset_err(fd, bo.handle, 1), -EINVAL);
	vpfn_bo_close(fd, &bo);
}

static const struct {
	const char *name;
	const char *describe;
	void (*run)(void);
} tests[] = {
	{ "param-bad", "The parameter ioctl refuses what it does not know.", test_param },
	{ "create-bad-flags", "No buffer for an unknown flag.", test_create_bad_flags },
	{ "create-bad-size", "No buffer of no, an odd or an impossible size.",
	  test_create_bad_size },
	{ "bad-handle", "An unknown, foreign or closed handle is refused.",
	  test_bad_handle },
	{ "info", "Size and placement of a buffer, and arguments that must be zero.", test_info },
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
