/* SPDX-License-Identifier: MIT */
/*
 * How does a card come and go, and what does the kernel tell of it? Its PCI device in sysfs,
 * the driver's binding to it, and its directory in debugfs.
 *
 * No function here knows IGT. Unless it says otherwise, each returns 0 or a negative errno.
 */
#ifndef VPFN_CARD_H
#define VPFN_CARD_H

#include <stdbool.h>
#include <stddef.h>

#include "pfnmap/pfnmap_base.h"

#define VPFN_PCI_NAME	16

int vpfn_card_name(int fd, char name[VPFN_PCI_NAME]);
bool vpfn_card_is_there(const char *name);
bool vpfn_card_is_bound(const char *name);
int vpfn_card_wait_gone(const char *name);
int vpfn_card_wait_bound(const char *name);

int vpfn_card_bind(const char *name);
int vpfn_card_unbind(const char *name);
int vpfn_card_get(const char *name, const char *attribute, char *text, size_t size);
int vpfn_card_set(const char *name, const char *attribute, const char *text);
int vpfn_card_open(const char *name, int oflags);
int vpfn_card_open_primary(const char *name, int oflags);

int vpfn_debugfs_path(int fd, const char *file, char *path, size_t size);
int vpfn_evict(int fd);

#endif
