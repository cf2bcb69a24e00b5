/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the engine reads: descriptors and lists. The specification is docs/specs/vpfn.rst
 * in QEMU's tree.
 */
#ifndef VPFN_ENGINE_H
#define VPFN_ENGINE_H

#include <linux/build_bug.h>
#include <linux/list.h>
#include <linux/sizes.h>
#include <linux/stddef.h>
#include <linux/types.h>

#include "vpfn_regs.h"

struct scatterlist;

/*
 * Bytes that one descriptor processes. Small enough for a list of a page an
 * entry, and for RING_HEAD to move often: that is what tells a long job from a
 * hung one.
 */
#define VPFN_CHUNK_SIZE		SZ_16M

/** struct vpfn_desc - a descriptor */
struct vpfn_desc {
	u8 op;
	u8 flags;
	u8 src_space;
	u8 dst_space;
	__le32 fence;
	__le64 length;
	__le64 src_addr;
	__le64 dst_addr;
	__le32 src_count;
	__le32 dst_count;
	__le32 pattern;
	u8 reserved[20];
};

static_assert(sizeof(struct vpfn_desc) == VPFN_DESC_SIZE);
static_assert(offsetof(struct vpfn_desc, fence) == VPFN_DESC_FENCE);
static_assert(offsetof(struct vpfn_desc, length) == VPFN_DESC_LENGTH);
static_assert(offsetof(struct vpfn_desc, src_addr) == VPFN_DESC_SRC_ADDR);
static_assert(offsetof(struct vpfn_desc, dst_addr) == VPFN_DESC_DST_ADDR);
static_assert(offsetof(struct vpfn_desc, src_count) == VPFN_DESC_SRC_COUNT);
static_assert(offsetof(struct vpfn_desc, dst_count) == VPFN_DESC_DST_COUNT);
static_assert(offsetof(struct vpfn_desc, pattern) == VPFN_DESC_PATTERN);
static_assert(offsetof(struct vpfn_desc, reserved) == VPFN_DESC_RESERVED);

/** struct vpfn_entry - an entry of a list */
struct vpfn_entry {
	__le64 addr;
	__le32 length;
	__le32 reserved;
};

static_assert(sizeof(struct vpfn_entry) == VPFN_ENTRY_SIZE);
static_assert(offsetof(struct vpfn_entry, length) == VPFN_ENTRY_LENGTH);

/** struct vpfn_list - a list in memory that the device reads */
struct vpfn_list {
	/** @link: on &vpfn_job.lists */
	struct list_head link;

	/** @addr: DMA address of @entries */
	dma_addr_t addr;

	/** @size: of @entries in bytes */
	size_t size;

	/** @entries: the list */
	struct vpfn_entry entries[];
};

/** struct vpfn_cursor - a position in an operand */
struct vpfn_cursor {
	/** @vram: in VRAM: where */
	u64 vram;

	/** @sg: in system memory: the entry of the scatterlist; NULL behind the last */
	struct scatterlist *sg;

	/** @skip: bytes of @sg that lie before */
	u64 skip;
};

#if IS_ENABLED(CONFIG_KUNIT)
void vpfn_cursor_advance(struct vpfn_cursor *cursor, u64 length);
unsigned int vpfn_cursor_entries(struct vpfn_cursor cursor, u64 length,
				 struct vpfn_entry *entries);
#endif

#endif /* VPFN_ENGINE_H */
