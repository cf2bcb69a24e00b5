// SPDX-License-Identifier: MIT
/*
 * Devices of V4L2 and the memory of a process: pages, which special entries do not have, or
 * dma-bufs, as it should be.
 */
#include <unistd.h>

#include "igt.h"
#include "vpfn_stage.h"
#include "vpfn_users.h"

IGT_TEST_DESCRIPTION("Frames of video in the mappings of a device: not by pages, but by dma-bufs.");

#define MATRIX	"vpfn_frame_vector"

static int fd = -1;
static struct vpfn_stage stage;

int igt_main()
{
	igt_fixture() {
		fd = vpfn_require_device();
	}

	vpfn_families_subtests(MATRIX, &stage, &fd, vpfn_video_families,
			       vpfn_video_family_count);

	igt_fixture() {
		close(fd);
	}
}
