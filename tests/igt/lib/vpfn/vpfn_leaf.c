// SPDX-License-Identifier: MIT
/*
 * How does the page table map an address?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_leaf.h"

#define LARGEST_LEAF	"/sys/module/vpfn/parameters/largest_leaf"

/* A fault that ends at the PTE level fills this many entries, its own and those above. */
#define PREFAULT_PAGES	16

static const struct {
	const char *name;
	uint64_t size;
} levels[] = {
	[VPFN_NONE] = { "none", 0 },
	[VPFN_PTE] = { "pte", PFNMAP_PAGE },
	[VPFN_PMD] = { "pmd", PFNMAP_2M },
	[VPFN_PUD] = { "pud", PFNMAP_1G },
};

static int level_from_name(const char *name, enum vpfn_level *level)
{
	for (enum vpfn_level i = VPFN_NONE; i <= VPFN_PUD; i++) {
		if (!strcmp(name, levels[i].name)) {
			*level = i;
			return 0;
		}
	}
	return -EPROTO;
}

/**
 * vpfn_level_name:
 * @level: a level of the page table
 *
 * Returns: its name, as all files print it.
 */
const char *vpfn_level_name(enum vpfn_level level)
{
	return levels[level].name;
}

/**
 * vpfn_level_size:
 * @level: a level of the page table
 *
 * Returns: how many bytes one leaf of this level maps.
 */
uint64_t vpfn_level_size(enum vpfn_level level)
{
	return levels[level].size;
}

/**
 * vpfn_limit_get:
 * @level: where the largest leaf that the driver uses goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_limit_get(enum vpfn_level *level)
{
	FILE *file = fopen(LARGEST_LEAF, "r");
	char name[8];
	int n;

	if (!file)
		return -errno;

	n = fscanf(file, "%7s", name);
	fclose(file);
	return n == 1 ? level_from_name(name, level) : -EPROTO;
}

/**
 * vpfn_limit_set:
 * @level: the largest leaf that the driver may use from the next fault on
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_limit_set(enum vpfn_level level)
{
	int fd = open(LARGEST_LEAF, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;

	n = write(fd, levels[level].name, strlen(levels[level].name));
	err = n < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* x86 with the kernel's layout of the PAT register: three bits choose the memory type. */
static const char *cache_from_flags(const char *flags)
{
	static const char * const modes[] = { "WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT" };

	int pwt = strstr(flags, "PWT ") ? 1 : 0;
	int pcd = strstr(flags, "PCD ") ? 2 : 0;
	int pat = strstr(flags, "PAT ") ? 4 : 0;

	return modes[pat | pcd | pwt];
}

/* What is behind the addresses in a line of the dump; no flags stand there for a hole. */
static int leaf_from_line(const char *line, struct vpfn_leaf *leaf)
{
	char level[8];

	*leaf = (struct vpfn_leaf) { .cache = "" };
	if (!strstr(line, "USR "))
		return 0;

	leaf->writable = strstr(line, " RW ");
	leaf->cache = cache_from_flags(line);
	return sscanf(strrchr(line, ' '), "%7s", level) == 1 ?
	       level_from_name(level, &leaf->level) : -EPROTO;
}

/* "0xSTART-0xEND   SIZE FLAGS LEVEL": fills in the leaves of the addresses between. */
static int leaves_from_line(const char *line, unsigned int count, const void *const addrs[],
			    struct vpfn_leaf leaves[], unsigned int *found)
{
	uint64_t start, end;
	int err = 0;

	if (sscanf(line, "0x%" SCNx64 "-0x%" SCNx64, &start, &end) != 2)
		return 0;

	for (unsigned int i = 0; i < count && !err; i++) {
		if ((uintptr_t)addrs[i] < start || (uintptr_t)addrs[i] >= end)
			continue;
		err = leaf_from_line(line, &leaves[i]);
		(*found)++;
	}
	return err;
}

/**
 * vpfn_leaves_from_ptdump:
 * @count: number of addresses
 * @addrs: addresses of the calling process
 * @leaves: what the kernel's page-table dump says about each
 *
 * The dump walks the page tables of the process that reads it and knows nothing of
 * drivers. It stands in debugfs if the kernel has CONFIG_PTDUMP_DEBUGFS. On a kernel with
 * debugging it takes seconds, however many addresses are asked for.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_leaves_from_ptdump(unsigned int count, const void *const addrs[],
			    struct vpfn_leaf leaves[])
{
	FILE *file = fopen("/sys/kernel/debug/page_tables/current_user", "r");
	unsigned int found = 0;
	char line[160];
	int err = 0;

	if (!file)
		file = fopen("/sys/kernel/debug/page_tables/current_kernel", "r");
	if (!file)
		return -errno;

	while (!err && found < count && fgets(line, sizeof(line), file))
		err = leaves_from_line(line, count, addrs, leaves, &found);
	fclose(file);
	return err || found == count ? err : -EPROTO;
}

static int leaf_from_text(const char *text, struct vpfn_leaf *leaf)
{
	int special, writable;
	char level[8];
	int n;

	*leaf = (struct vpfn_leaf) { .cache = "" };
	n = sscanf(text, "level=%7s special=%d writable=%d pfn=0x%" SCNx64,
		   level, &special, &writable, &leaf->pfn);
	if (n < 1 || level_from_name(level, &leaf->level))
		return -EPROTO;
	if (leaf->level == VPFN_NONE)
		return 0;
	if (n != 4)
		return -EPROTO;

	leaf->special = special;
	leaf->writable = writable;
	return 0;
}

/**
 * vpfn_leaf_from_driver:
 * @fd: DRM file descriptor
 * @addr: an address of the calling process
 * @leaf: what the driver's debugfs file says about it
 *
 * Returns: 0 or a negative errno, -EFAULT or -EINVAL if @addr belongs to no such mapping.
 */
int vpfn_leaf_from_driver(int fd, const void *addr, struct vpfn_leaf *leaf)
{
	char path[64], text[128];
	struct stat st;
	int file, err;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/leaf", minor(st.st_rdev));
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return -errno;

	n = pread(file, text, sizeof(text) - 1, (uintptr_t)addr);
	err = n < 0 ? -errno : 0;
	close(file);
	if (err)
		return err;

	text[n] = '\0';
	return leaf_from_text(text, leaf);
}

/**
 * vpfn_faults:
 *
 * Returns: the page faults of the process so far. One that waited for a move is a major
 * fault, although it read nothing from a disk.
 */
long vpfn_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/**
 * vpfn_page_table_kib:
 *
 * Returns: the size of the process's page tables in KiB (VmPTE), -1 if it is unknown.
 */
long vpfn_page_table_kib(void)
{
	char text[4096], *field;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	long kib = -1;
	ssize_t n;

	if (fd < 0)
		return -1;

	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;

	text[n] = '\0';
	field = strstr(text, "VmPTE:");
	if (field)
		sscanf(field, "VmPTE: %ld", &kib);
	return kib;
}

/**
 * vpfn_expect_level:
 * @span: what is mapped
 * @offset: offset in the buffer
 * @limit: the largest leaf that the driver may use
 *
 * A buffer is as aligned in device memory as its size allows, so address and memory
 * agree if the address at which the buffer begins is a multiple of the leaf's size.
 *
 * Returns: the level that must map @offset: the largest one at which address and memory
 * agree and the whole leaf lies in the mapping.
 */
enum vpfn_level vpfn_expect_level(const struct vpfn_span *span, uint64_t offset,
				  enum vpfn_level limit)
{
	enum vpfn_level level;

	for (level = limit; level > VPFN_PTE; level--) {
		uint64_t leaf = levels[level].size;
		uint64_t start = offset & ~(leaf - 1);

		if (!(span->base & (leaf - 1)) && start >= span->from && start + leaf <= span->to)
			break;
	}
	return level;
}

/**
 * vpfn_expect_faults:
 * @size: size of a mapping whose address is aligned
 * @limit: the largest leaf that the driver may use
 *
 * Returns: the number of faults that touching each page once, upwards, must take.
 */
long vpfn_expect_faults(uint64_t size, enum vpfn_level limit)
{
	uint64_t prefault = PREFAULT_PAGES * PFNMAP_PAGE;
	long faults = 0;

	for (enum vpfn_level level = limit; level > VPFN_PTE; level--) {
		faults += size / levels[level].size;
		size %= levels[level].size;
	}
	return faults + (size + prefault - 1) / prefault;
}
