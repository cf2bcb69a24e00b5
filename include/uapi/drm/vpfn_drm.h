/* SPDX-License-Identifier: MIT */
/*
 * User-space interface of the vpfn driver.
 *
 * Every ioctl below is DRM_RENDER_ALLOW. All of them return -EINVAL for an
 * unknown flag or a pad that is not zero, and -ENODEV once the device is gone.
 */
#ifndef _UAPI_VPFN_DRM_H_
#define _UAPI_VPFN_DRM_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_VPFN_GET_PARAM		0x00
#define DRM_VPFN_GEM_CREATE		0x01
#define DRM_VPFN_GEM_MMAP_OFFSET	0x02
#define DRM_VPFN_GEM_INFO		0x03

#define DRM_IOCTL_VPFN_GET_PARAM \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GET_PARAM, struct drm_vpfn_get_param)
#define DRM_IOCTL_VPFN_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_CREATE, struct drm_vpfn_gem_create)
#define DRM_IOCTL_VPFN_GEM_MMAP_OFFSET \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_MMAP_OFFSET, struct drm_vpfn_gem_mmap_offset)
#define DRM_IOCTL_VPFN_GEM_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VPFN_GEM_INFO, struct drm_vpfn_gem_info)

/** DRM_VPFN_PARAM_VRAM_SIZE - size of the device memory in bytes */
#define DRM_VPFN_PARAM_VRAM_SIZE	0

/**
 * struct drm_vpfn_get_param - ask for a property of the device
 *
 * Errors: -EINVAL if @param is unknown.
 */
struct drm_vpfn_get_param {
	/** @param: in, one of DRM_VPFN_PARAM_* */
	__u32 param;
	/** @pad: must be zero */
	__u32 pad;
	/** @value: out, the value, in the unit that the parameter names */
	__u64 value;
};

/**
 * struct drm_vpfn_gem_create - create a buffer object in device memory
 *
 * The buffer reads as zeroes. It is contiguous in device memory and naturally
 * aligned as far as page tables can use it: to 1 GiB if it is at least 1 GiB,
 * to 2 MiB if it is at least 2 MiB, else to a page.
 *
 * Errors: -EINVAL if @size is zero or no multiple of the page size, -E2BIG if
 * @size exceeds the device memory, -ENOSPC if there is no free range of that
 * size.
 */
struct drm_vpfn_gem_create {
	/** @size: in, size in bytes, a multiple of the page size */
	__u64 size;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @handle: out, the new handle, never zero */
	__u32 handle;
};

/**
 * struct drm_vpfn_gem_mmap_offset - get the offset for mmap(2) of a buffer
 *
 * mmap(2) of the DRM file at @offset maps the buffer from its beginning. The
 * mapping must be MAP_SHARED (-EINVAL), must not reach past the end of the
 * buffer (-EINVAL), and the file must hold a handle of the buffer (-EACCES).
 * Without an address of the caller's own the mapping is aligned such that huge
 * page-table entries are possible.
 *
 * Errors: -ENOENT if @handle names no buffer of this file.
 */
struct drm_vpfn_gem_mmap_offset {
	/** @handle: in, the buffer */
	__u32 handle;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @offset: out, the offset to pass to mmap(2), in bytes */
	__u64 offset;
};

/** DRM_VPFN_PLACEMENT_VRAM - the buffer lies in device memory */
#define DRM_VPFN_PLACEMENT_VRAM		(1 << 0)

/**
 * struct drm_vpfn_gem_info - ask for the properties of a buffer
 *
 * Errors: -ENOENT if @handle names no buffer of this file.
 */
struct drm_vpfn_gem_info {
	/** @handle: in, the buffer */
	__u32 handle;
	/** @placement: in, must be zero; out, one of DRM_VPFN_PLACEMENT_*, where the buffer lies */
	__u32 placement;
	/** @size: out, size in bytes as asked for at creation */
	__u64 size;
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_VPFN_DRM_H_ */
