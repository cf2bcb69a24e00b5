/* SPDX-License-Identifier: MIT */
/*
 * What do the driver's trace events tell? They are collected in a buffer of the test's own.
 * These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_TRACE_H
#define VPFN_TRACE_H

void vpfn_trace_begin(const char *event);
void vpfn_trace_add(const char *event);
void vpfn_trace_clear(void);
int vpfn_trace_lines(const char *event, void (*look)(const char *line, void *arg), void *arg);
long vpfn_trace_number(const char *line, const char *key);

#endif
