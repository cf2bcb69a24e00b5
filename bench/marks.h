/* SPDX-License-Identifier: MIT */
/*
 * What the bench and the plugin have in common: the marks between which the plugin counts, each
 * "nopl displacement(%rax)" with a displacement that no compiler writes.
 */
#ifndef MARKS_H
#define MARKS_H

#define MARK_BEGIN_BYTES	0x0f, 0x1f, 0x80, 0x76, 0x70, 0x66, 0x01
#define MARK_END_BYTES		0x0f, 0x1f, 0x80, 0x76, 0x70, 0x66, 0x02

#endif
