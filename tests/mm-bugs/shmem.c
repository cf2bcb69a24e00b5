// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of a shmem buffer whose first page is unmapped before the second is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm.h>
#include <drm_mode.h>

#include "mm_bugs.h"

static int card = -1;
static uint64_t offset;

static bool is_vgem(int fd)
{
	char name[16] = "";
	struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

	return !ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem");
}

static void open_vgem(void)
{
	glob_t found;
	size_t n;

	errno = ENODEV;
	if (glob("/dev/dri/card*", 0, NULL, &found))
		cannot("no card");
	for (n = 0; n < found.gl_pathc && card < 0; n++) {
		int fd = open(found.gl_pathv[n], O_RDWR);

		if (fd >= 0 && is_vgem(fd))
			card = fd;
		else if (fd >= 0)
			close(fd);
	}
	globfree(&found);
	errno = ENODEV;
	if (card < 0)
		cannot("no card of vgem");
}

static char *map(void)
{
	char *memory = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, card, offset);

	if (memory == MAP_FAILED)
		cannot("mmap()");
	return memory;
}

/* Two pages, one begins with 1, the other with 2. */
static void setup(void)
{
	struct drm_mode_create_dumb create = {
		.width = 2 * PAGE_SIZE, .height = 1, .bpp = 8,
	};
	struct drm_mode_map_dumb dumb = { };
	char *memory;

	open_vgem();
	if (ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create) || create.size < 2 * PAGE_SIZE)
		cannot("DRM_IOCTL_MODE_CREATE_DUMB");
	dumb.handle = create.handle;
	if (ioctl(card, DRM_IOCTL_MODE_MAP_DUMB, &dumb))
		cannot("DRM_IOCTL_MODE_MAP_DUMB");
	offset = dumb.offset;
	memory = map();
	store(memory, 1);
	store(memory + PAGE_SIZE, 2);
	munmap(memory, 2 * PAGE_SIZE);
}

static void touch_tail(void)
{
	char *memory = map();

	if (munmap(memory, PAGE_SIZE))
		cannot("munmap()");
	if (load(memory + PAGE_SIZE) == 1)
		bug("the second page shows what is in the first");
	if (load(memory + PAGE_SIZE) != 2)
		bug("the second page shows %#lx", load(memory + PAGE_SIZE));
}

const struct bug shmem_bugs[] = {
	{ "shmem-munmap-head", "the second page shows what is in the first", setup, touch_tail },
	{ }
};
