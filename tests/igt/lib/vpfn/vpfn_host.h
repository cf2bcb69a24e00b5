/* SPDX-License-Identifier: MIT */
/*
 * What does the host do to the device? A virtual machine can offer a port on which the host
 * takes commands: faults to inject, the device's coming and going, waking the machine.
 *
 * No function here knows IGT; each returns 0 or a negative errno.
 */
#ifndef VPFN_HOST_H
#define VPFN_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The devices of the machine: all of the memory of the first is visible, not of the second. */
#define VPFN_HOST_BIG	"vpfn0"
#define VPFN_HOST_SMALL	"vpfn1"

int vpfn_host_command(char *answer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Faults, as the device's specification names them. */
int vpfn_host_hang(const char *id, bool on);
int vpfn_host_hangs(const char *id, bool *on);
int vpfn_host_dma_error(const char *id, uint32_t nth);
int vpfn_host_dma_error_left(const char *id, uint32_t *nth);
int vpfn_host_lose_interrupts(const char *id, uint32_t count);
int vpfn_host_interrupts_to_lose(const char *id, uint32_t *count);
int vpfn_host_gone(const char *id, bool on);

int vpfn_host_unplug(const char *id);
int vpfn_host_plug(const char *id);

#endif
