/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the vpfn driver and the vpfn device have in common: nothing but
 * #defines, so that both builds can include it. The specification is
 * docs/specs/vpfn.rst in the QEMU tree.
 */
#ifndef VPFN_REGS_H
#define VPFN_REGS_H

#define VPFN_PCI_VENDOR_ID       0x1af4
#define VPFN_PCI_DEVICE_ID       0x10f0

/* BAR numbers; the VRAM BAR is 64-bit wide and prefetchable. */
#define VPFN_BAR_REGS            0
#define VPFN_BAR_VRAM            2
#define VPFN_BAR_MSIX            4

/* Size of the register BAR in bytes. */
#define VPFN_REGS_SIZE           0x1000

/* Registers: offsets into VPFN_BAR_REGS, 32 bits each, little endian. */
#define VPFN_REG_ID              0x00  /* RO: VPFN_ID */
#define VPFN_REG_REVISION        0x04  /* RO: VPFN_REVISION */
#define VPFN_REG_VRAM_SIZE_LO    0x08  /* RO: bytes of VRAM, bits 31:0 */
#define VPFN_REG_VRAM_SIZE_HI    0x0c  /* RO: bytes of VRAM, bits 63:32 */
#define VPFN_REG_VISIBLE_SIZE_LO 0x10  /* RO: bytes of BAR 2, bits 31:0 */
#define VPFN_REG_VISIBLE_SIZE_HI 0x14  /* RO: bytes of BAR 2, bits 63:32 */
#define VPFN_REG_GART_SIZE_LO    0x18  /* RO: bytes of the GART window, 31:0 */
#define VPFN_REG_GART_SIZE_HI    0x1c  /* RO: bytes of the GART window, 63:32 */
#define VPFN_REG_CTRL            0x20  /* RW: VPFN_CTRL_* */
#define VPFN_REG_STATUS          0x24  /* RO: VPFN_STATUS_* */
#define VPFN_REG_ERROR           0x28  /* RO: VPFN_ERROR_*, why it stopped */
#define VPFN_REG_ERROR_INDEX     0x2c  /* RO: RING_HEAD when it stopped */
#define VPFN_REG_ERROR_ADDR_LO   0x30  /* RO: engine address, bits 31:0 */
#define VPFN_REG_ERROR_ADDR_HI   0x34  /* RO: engine address, bits 63:32 */
/* GART_BASE, RING_BASE, RING_SIZE and FENCE are read-only while enabled. */
#define VPFN_REG_GART_BASE_LO    0x38  /* RW: bus address, bits 31:12 */
#define VPFN_REG_GART_BASE_HI    0x3c  /* RW: bus address, bits 63:32 */
#define VPFN_REG_RING_BASE_LO    0x40  /* RW: bus address, bits 31:6 */
#define VPFN_REG_RING_BASE_HI    0x44  /* RW: bus address, bits 63:32 */
#define VPFN_REG_RING_SIZE       0x48  /* RW: descriptors in the ring */
#define VPFN_REG_RING_HEAD       0x4c  /* RO: descriptor that runs or is next */
#define VPFN_REG_RING_TAIL       0x50  /* RW: end of the work; the doorbell */
#define VPFN_REG_FENCE           0x54  /* RW: value of the last fence passed */
#define VPFN_REG_INT_STATUS      0x58  /* RW1C: VPFN_INT_* */
#define VPFN_REG_INT_ENABLE      0x5c  /* RW: VPFN_INT_* */

#define VPFN_ID                  0x4e465056 /* "VPFN" in memory */
#define VPFN_REVISION            3

#define VPFN_CTRL_ENABLE         0x1
#define VPFN_CTRL_RESET          0x2   /* reads as 0 */

#define VPFN_STATUS_BUSY         0x1   /* enabled, and HEAD is not TAIL */
#define VPFN_STATUS_ERROR        0x2   /* ERROR is not VPFN_ERROR_NONE */

#define VPFN_ERROR_NONE          0
#define VPFN_ERROR_RING          1     /* bad RING_SIZE, RING_BASE, GART_BASE */
#define VPFN_ERROR_TAIL          2     /* RING_TAIL is not below RING_SIZE */
#define VPFN_ERROR_FETCH         3     /* a descriptor cannot be read */
#define VPFN_ERROR_OP            4     /* unknown operation */
#define VPFN_ERROR_RESERVED      5     /* what must be 0 is not */
#define VPFN_ERROR_LENGTH        6     /* LENGTH is out of range */
#define VPFN_ERROR_ADDRESS       7     /* operand outside VRAM and the GART */
#define VPFN_ERROR_GART          8     /* GART entry unreadable or invalid */
#define VPFN_ERROR_DMA           9     /* data cannot be read or written */

/* Bits of INT_STATUS and INT_ENABLE, and the MSI-X vectors of those numbers. */
#define VPFN_VECTOR_FENCE        0
#define VPFN_VECTOR_ERROR        1
#define VPFN_NUM_VECTORS         2
#define VPFN_INT_FENCE           0x1
#define VPFN_INT_ERROR           0x2

#define VPFN_RING_SIZE_MIN       2
#define VPFN_RING_SIZE_MAX       65536

/*
 * Engine addresses: VRAM from 0 on; from VPFN_GART_START on the GART window,
 * whose pages the table at GART_BASE maps to PCI bus addresses.
 */
#define VPFN_GART_START          0x10000000000
#define VPFN_GART_PAGE_SIZE      4096

/* An entry of the GART table: 64 bits, little endian; the other bits are 0. */
#define VPFN_GART_ENTRY_SIZE     8
#define VPFN_GART_VALID          0x1
#define VPFN_GART_ADDR_MASK      0xfffffffffffff000

/* A descriptor: offsets of its fields, little endian; the other bytes are 0. */
#define VPFN_DESC_SIZE           64
#define VPFN_DESC_OP             0x00  /* 8 bits: VPFN_OP_* */
#define VPFN_DESC_FLAGS          0x01  /* 8 bits: VPFN_FLAG_* */
#define VPFN_DESC_FENCE          0x04  /* 32 bits */
#define VPFN_DESC_LENGTH         0x08  /* 64 bits: bytes */
#define VPFN_DESC_SRC_ADDR       0x10  /* 64 bits: engine address */
#define VPFN_DESC_DST_ADDR       0x18  /* 64 bits: engine address */
#define VPFN_DESC_PATTERN        0x20  /* 32 bits */

#define VPFN_OP_NOP              0
#define VPFN_OP_FILL             1
#define VPFN_OP_COPY             2
#define VPFN_OP_CRC32C           3

#define VPFN_FLAG_FENCE          0x1   /* FENCE becomes VPFN_DESC_FENCE */
#define VPFN_FLAG_INTERRUPT      0x2   /* sets VPFN_INT_FENCE */

/* Bytes that one descriptor may process, and that CRC32C writes. */
#define VPFN_LENGTH_MAX          0x1000000000
#define VPFN_CRC_SIZE            4

#endif /* VPFN_REGS_H */
