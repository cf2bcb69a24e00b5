/* SPDX-License-Identifier: MIT */
/*
 * What the bench and the plugin have in common: the marks between which the plugin counts, each
 * "nopl displacement(%rax)" with a displacement that no compiler writes.
 */
#ifndef MARKS_H
#define MARKS_H

#define MARK_BEGIN	"\x0f\x1f\x80\x76\x70\x66\x01"
#define MARK_END	"\x0f\x1f\x80\x76\x70\x66\x02"

#endif
