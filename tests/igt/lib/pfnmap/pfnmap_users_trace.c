// SPDX-License-Identifier: MIT
/*
 * Consumers of user memory: perf, which samples what is behind a data address, and process_vm_*()
 * with the mapping on both sides.
 *
 * What would a broken test pass on? On a sample of another address: the address is in the sample,
 * and of ordinary memory so is the frame that /proc/self/pagemap shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_users.h"
#include "pfnmap/pfnmap_vma.h"

#define LEN	PFNMAP_TARGET_LEN
#define HALF	(LEN / 2)

/* A page of control, and one of samples. */
#define RING	(2 * PFNMAP_PAGE)

/* The fields follow PERF_SAMPLE_ADDR, PERF_SAMPLE_PHYS_ADDR, PERF_SAMPLE_DATA_PAGE_SIZE. */
struct sample {
	struct perf_event_header header;
	uint64_t addr;
	uint64_t phys;
	uint64_t page_size;
};

/* A sample of the first load from an address, by a breakpoint. */
static int sample_load(const void *addr, struct sample *sample)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_RW,
		.bp_addr = (uintptr_t)addr,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_ADDR | PERF_SAMPLE_PHYS_ADDR |
			       PERF_SAMPLE_DATA_PAGE_SIZE,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct perf_event_mmap_page *control;

	if (fd < 0)
		return -errno;
	control = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	pfnmap_load(addr);
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	memcpy(sample, (char *)control + PFNMAP_PAGE, sizeof(*sample));
	munmap(control, RING);
	close(fd);
	return 0;
}

static int data_address(const struct pfnmap_target *target)
{
	struct sample sample = {};
	uint64_t frame;
	int err = sample_load(target->addr, &sample) ?: pfnmap_frame_of(target->addr, &frame);

	if (err)
		return err;
	if (sample.header.type != PERF_RECORD_SAMPLE || sample.addr != (uintptr_t)target->addr ||
	    sample.page_size < PFNMAP_PAGE)
		return -EPROTO;
	if (!sample.phys)
		return PFNMAP_UNSEEN;
	return sample.phys == frame * PFNMAP_PAGE ? 0 : -EBADMSG;
}

/* perf_virt_to_phys(): get_user_page_fast_only() */
static const struct pfnmap_user perf_users[] = {
	{ .name = "perf, PERF_SAMPLE_PHYS_ADDR", .on_special = PFNMAP_UNSEEN, .run = data_address },
};

/* From one half of the target to the other: to the second one if @write. */
static int copy_within(const struct pfnmap_target *target, bool write)
{
	struct iovec first = { target->addr, HALF }, second = { target->addr + HALF, HALF };
	uint64_t bytes[LEN / sizeof(uint64_t)];
	char *halves = (char *)bytes;
	int err = target->peek(target, bytes);
	ssize_t n;

	if (err)
		return err;
	n = write ? process_vm_writev(getpid(), &first, 1, &second, 1, 0) :
		    process_vm_readv(getpid(), &first, 1, &second, 1, 0);
	if (n < 0)
		return -errno;
	if (n != HALF)
		return -ENODATA;
	memcpy(halves + (write ? HALF : 0), halves + (write ? 0 : HALF), HALF);
	return pfnmap_target_matches(target, bytes);
}

static int read_within(const struct pfnmap_target *target)
{
	return copy_within(target, false);
}

static int write_within(const struct pfnmap_target *target)
{
	return copy_within(target, true);
}

static const struct pfnmap_user within_users[] = {
	{ .name = "process_vm_readv, both sides", .on_special = -EFAULT, .run = read_within },
	{ .name = "process_vm_writev, both sides", .on_special = -EFAULT, .run = write_within },
};

const struct pfnmap_user_family pfnmap_trace_families[] = {
	PFNMAP_FAMILY("perf", "perf sees the size of a leaf, and no page.", perf_users),
	PFNMAP_FAMILY("process-vm-both", "A copy inside of the mapping is refused.", within_users),
};

const size_t pfnmap_trace_family_count = ARRAY_SIZE(pfnmap_trace_families);
