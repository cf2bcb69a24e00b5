// SPDX-License-Identifier: MIT
/*
 * Who else can reach memory?
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_disk.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_guest.h"

#define MEMORY_LEN	(VPFN_GUEST_ASIDE + VPFN_GUEST_ASIDE_LEN)
#define CODE		0x1000

enum {
	SLOT_MEMORY,
	SLOT_FREE,
};

static int call(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

#ifdef __x86_64__
/* 32-bit code: the registers say from where to where, and how many words. */
static const uint8_t code[] = {
	0xfc,		/* cld */
	0xf3, 0xa5,	/* rep movsl */
	0xf4,		/* hlt */
};

/* Flat segments without paging: all of the first 4 GiB is in reach, by its physical address. */
static int enter_protected_mode(struct vpfn_guest *guest)
{
	const struct kvm_segment data = {
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_sregs sregs;
	int err = call(guest->vcpu, KVM_GET_SREGS, &sregs);

	if (err)
		return err;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	sregs.cs = data;
	sregs.cs.selector = 8;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	return call(guest->vcpu, KVM_SET_SREGS, &sregs);
}

static int set_registers(struct vpfn_guest *guest, uint64_t dst, uint64_t src, uint64_t len)
{
	struct kvm_regs regs = {
		.rsi = src, .rdi = dst, .rcx = len / 4, .rip = CODE, .rflags = 2,
	};

	return call(guest->vcpu, KVM_SET_REGS, &regs);
}
#else
static const uint8_t code[] = {};

static int enter_protected_mode(struct vpfn_guest *guest)
{
	return -ENODEV;
}

static int set_registers(struct vpfn_guest *guest, uint64_t dst, uint64_t src, uint64_t len)
{
	return -ENODEV;
}
#endif

/**
 * vpfn_guest_available:
 *
 * Returns: 0, or -ENODEV if there is no KVM, or no processor that these machines could have.
 */
int vpfn_guest_available(void)
{
	/* The code that it runs is x86's. A processor has one of the two modules at most. */
	if (!sizeof(code))
		return -ENODEV;
	if (access("/dev/kvm", R_OK | W_OK))
		pfnmap_shell("modprobe -q kvm-amd || modprobe -q kvm-intel");
	return access("/dev/kvm", R_OK | W_OK) ? -ENODEV : 0;
}

static int set_slot(struct vpfn_guest *guest, uint32_t slot, uint64_t gpa, void *addr,
		    uint64_t len, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)addr,
	};

	return call(guest->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int create(struct vpfn_guest *guest)
{
	int size;

	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		return -errno;
	guest->vm = call(guest->kvm, KVM_CREATE_VM, NULL);
	if (guest->vm < 0)
		return guest->vm;
	guest->vcpu = call(guest->vm, KVM_CREATE_VCPU, NULL);
	if (guest->vcpu < 0)
		return guest->vcpu;

	size = call(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < 0)
		return size;
	guest->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	if (guest->run == MAP_FAILED) {
		guest->run = NULL;
		return -errno;
	}
	guest->run_size = size;
	return 0;
}

/**
 * vpfn_guest_open:
 * @guest: the machine
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_guest_open(struct vpfn_guest *guest)
{
	int err;

	*guest = (struct vpfn_guest) { .kvm = -1, .vm = -1, .vcpu = -1 };
	guest->memory = pfnmap_anonymous(MEMORY_LEN);
	if (!guest->memory)
		return -ENOMEM;
	guest->aside = guest->memory + VPFN_GUEST_ASIDE;
	memcpy(guest->memory + CODE, code, sizeof(code));

	err = create(guest);
	if (!err)
		err = set_slot(guest, SLOT_MEMORY, 0, guest->memory, MEMORY_LEN, 0);
	if (!err)
		err = enter_protected_mode(guest);
	if (err)
		vpfn_guest_close(guest);
	return err;
}

/**
 * vpfn_guest_close:
 * @guest: the machine
 */
void vpfn_guest_close(struct vpfn_guest *guest)
{
	const int files[] = { guest->vcpu, guest->vm, guest->kvm };

	if (guest->run)
		munmap(guest->run, guest->run_size);
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i] >= 0)
			close(files[i]);
	}
	munmap(guest->memory, MEMORY_LEN);
	*guest = (struct vpfn_guest) { .kvm = -1, .vm = -1, .vcpu = -1 };
}

/**
 * vpfn_guest_map:
 * @guest: the machine
 * @gpa: where it is to find the memory; what it was given there before goes
 * @addr: memory of this process
 * @len: how much of it; with 0, nothing comes in its place
 * @write: whether it may write there
 *
 * Returns: 0 or the negative errno of the kernel's answer.
 */
int vpfn_guest_map(struct vpfn_guest *guest, uint64_t gpa, void *addr, uint64_t len, bool write)
{
	return set_slot(guest, SLOT_FREE, gpa, addr, len, write ? 0 : KVM_MEM_READONLY);
}

/**
 * vpfn_guest_copy:
 * @guest: the machine
 * @dst: where it writes
 * @src: where it reads
 * @len: number of bytes, a multiple of 4
 *
 * Returns: 0; -ENXIO if KVM takes one of the two for the registers of a device, upon which the
 * machine is of no use any more; or the negative errno of the kernel's answer.
 */
int vpfn_guest_copy(struct vpfn_guest *guest, uint64_t dst, uint64_t src, uint64_t len)
{
	int err = set_registers(guest, dst, src, len);

	if (!err)
		err = call(guest->vcpu, KVM_RUN, NULL);
	if (err)
		return err;

	switch (guest->run->exit_reason) {
	case KVM_EXIT_HLT:
		return 0;
	case KVM_EXIT_MMIO:
		return -ENXIO;
	default:
		return -EPROTO;
	}
}

/**
 * vpfn_guest_leaves:
 * @guest: the machine
 * @level: of which size
 * @count: where the number goes
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_guest_leaves(const struct vpfn_guest *guest, enum vpfn_level level, long *count)
{
	static const char * const sizes[] = {
		[VPFN_PTE] = "4k", [VPFN_PMD] = "2m", [VPFN_PUD] = "1g",
	};
	char path[64], text[32];
	int err;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/pages_%s", getpid(), guest->vm,
		 sizes[level]);
	err = pfnmap_text_read(path, text, sizeof(text));
	*count = err ? 0 : strtol(text, NULL, 10);
	return err;
}
