// SPDX-License-Identifier: MIT
/*
 * What does the kernel say about the mapping of an address?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_vma.h"

/* "START-END PERMISSIONS OFFSET DEVICE INODE NAME", the line that begins a mapping */
static bool is_header(const char *line, struct pfnmap_vma *vma)
{
	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %" SCNx64, &vma->start, &vma->end,
		      &vma->offset) == 3;
}

/* "NAME: VALUE" */
static void read_field(const char *line, struct pfnmap_vma *vma)
{
	const struct {
		const char *name;
		long *value;
	} fields[] = {
		{ "Rss:", &vma->rss },
		{ "Pss:", &vma->pss },
		{ "Referenced:", &vma->referenced },
		{ "AnonHugePages:", &vma->anon_huge },
		{ "KernelPageSize:", &vma->kernel_page },
		{ "MMUPageSize:", &vma->mmu_page },
		{ "THPeligible:", &vma->thp_eligible },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t len = strlen(fields[i].name);

		if (!strncmp(line, fields[i].name, len)) {
			*fields[i].value = strtol(line + len, NULL, 10);
			return;
		}
	}
	sscanf(line, "VmFlags: %127[^\n]", vma->flags);
}

/**
 * pfnmap_vma_read:
 * @addr: an address
 * @vma: what smaps says about the mapping there
 *
 * Returns: 0, -EFAULT if nothing is mapped there, or another negative errno.
 */
int pfnmap_vma_read(const void *addr, struct pfnmap_vma *vma)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	struct pfnmap_vma next = {};
	bool found = false;
	char line[512];

	if (!file)
		return -errno;

	*vma = (struct pfnmap_vma) {};
	while (fgets(line, sizeof(line), file)) {
		if (is_header(line, &next)) {
			if (found)
				break;
			found = (uintptr_t)addr >= next.start && (uintptr_t)addr < next.end;
			*vma = next;
			continue;
		}
		if (found)
			read_field(line, vma);
	}
	fclose(file);
	return found ? 0 : -EFAULT;
}

/**
 * pfnmap_vma_has:
 * @vma: a mapping
 * @flag: two letters of smaps
 *
 * Returns: whether it has that flag.
 */
bool pfnmap_vma_has(const struct pfnmap_vma *vma, const char *flag)
{
	const char *found = vma->flags;

	while ((found = strstr(found, flag))) {
		if ((found == vma->flags || found[-1] == ' ') && found[2] == ' ')
			return true;
		found++;
	}
	return false;
}

/**
 * pfnmap_vma_flag:
 * @addr: an address
 * @flag: two letters of smaps
 *
 * Returns: 1 if the mapping there has that flag, 0 if not, or a negative errno.
 */
int pfnmap_vma_flag(const void *addr, const char *flag)
{
	struct pfnmap_vma vma;

	return pfnmap_vma_read(addr, &vma) ?: pfnmap_vma_has(&vma, flag);
}

/**
 * pfnmap_locked_kib:
 *
 * Returns: how much memory of the process is locked, in KiB (VmLck); -1 if that is unknown.
 */
long pfnmap_locked_kib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	if (!file)
		return -1;

	while (fgets(line, sizeof(line), file) && sscanf(line, "VmLck: %ld", &kib) != 1)
		;
	fclose(file);
	return kib;
}

/**
 * pfnmap_frame_of:
 * @addr: an address of ordinary memory
 * @frame: where the number of its page frame goes
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_frame_of(const void *addr, uint64_t *frame)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), err;

	if (file < 0)
		return -errno;

	err = pfnmap_moved(pread(file, frame, sizeof(*frame),
				 (uintptr_t)addr / PFNMAP_PAGE * sizeof(*frame)), sizeof(*frame));
	close(file);
	*frame &= (1ull << 55) - 1;
	return err;
}
