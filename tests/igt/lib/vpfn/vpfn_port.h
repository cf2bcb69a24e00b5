/* SPDX-License-Identifier: MIT */
/*
 * How does a test talk to the host? A virtual machine can have ports, each with a name, that
 * carry lines of text.
 *
 * No function here knows IGT.
 */
#ifndef VPFN_PORT_H
#define VPFN_PORT_H

#include <stddef.h>

int vpfn_port_open(const char *name);
int vpfn_port_read_line(int port, char *line, size_t size);

#endif
