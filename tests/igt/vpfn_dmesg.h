/* SPDX-License-Identifier: MIT */
/*
 * What the kernel may say under a test, as regular expressions for igt_emit_ignore_dmesg_regex().
 */
#ifndef VPFN_DMESG_H
#define VPFN_DMESG_H

/* Where a task is, after a complaint or a notice: what heads it is none of this. */
#define VPFN_DMESG_BACKTRACE							\
	"CPU: [0-9]+ UID: |Tainted: |Hardware name: |Call Trace:|</?TASK>|"	\
	"[+]0x[0-9a-f]+/0x|R[A-Z0-9]{2}: |Code: "

/*
 * On a busy machine, vivid_thread_vid_cap() and vivid_thread_vid_out() subtract the present from
 * the moment of the next frame when it has passed.
 */
#define VPFN_DMESG_VIVID	"schedule_timeout: wrong timeout value|" VPFN_DMESG_BACKTRACE

#endif
