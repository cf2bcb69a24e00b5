/* SPDX-License-Identifier: MIT */
/*
 * Who else can reach memory? A virtual machine of KVM's whose processor knows one thing: to copy
 * from one place of its memory to another.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_GUEST_H
#define VPFN_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vpfn/vpfn_leaf.h"

/* Ordinary memory that each machine has, and an address where it has none. */
#define VPFN_GUEST_ASIDE	0x10000
#define VPFN_GUEST_ASIDE_LEN	0x10000
#define VPFN_GUEST_FREE		0x40000000

struct kvm_run;

struct vpfn_guest {
	int kvm;
	int vm;
	int vcpu;
	struct kvm_run *run;
	size_t run_size;
	char *memory;
	char *aside;		/* what it has at VPFN_GUEST_ASIDE */
};

int vpfn_guest_available(void);
int vpfn_guest_open(struct vpfn_guest *guest);
void vpfn_guest_close(struct vpfn_guest *guest);

int vpfn_guest_map(struct vpfn_guest *guest, uint64_t gpa, void *addr, uint64_t len, bool write);
int vpfn_guest_copy(struct vpfn_guest *guest, uint64_t dst, uint64_t src, uint64_t len);

/* By how many entries of that size the machine has its memory. */
int vpfn_guest_leaves(const struct vpfn_guest *guest, enum vpfn_level level, long *count);

#endif
