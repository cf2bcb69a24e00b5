/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the vpfn driver and the vpfn device have in common: nothing but
 * #defines, so that both builds can include it. The specification is
 * docs/specs/vpfn.rst in the QEMU tree.
 */
#ifndef VPFN_REGS_H
#define VPFN_REGS_H

#define VPFN_PCI_VENDOR_ID	0x1af4
#define VPFN_PCI_DEVICE_ID	0x10f0

/* BAR numbers; the VRAM BAR is 64-bit wide and prefetchable. */
#define VPFN_BAR_REGS		0
#define VPFN_BAR_VRAM		2

/* Size of the register BAR in bytes. */
#define VPFN_REGS_SIZE		0x1000

/* Registers: offsets into VPFN_BAR_REGS, 32 bits each, little endian. */
#define VPFN_REG_ID		0x00	/* RO: VPFN_ID */
#define VPFN_REG_REVISION	0x04	/* RO: VPFN_REVISION */
#define VPFN_REG_VRAM_SIZE_LO	0x08	/* RO: bytes of VRAM, bits 31:0 */
#define VPFN_REG_VRAM_SIZE_HI	0x0c	/* RO: bytes of VRAM, bits 63:32 */

#define VPFN_ID			0x4e465056	/* "VPFN" in memory */
#define VPFN_REVISION		1

#endif /* VPFN_REGS_H */
