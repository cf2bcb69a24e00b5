/* SPDX-License-Identifier: MIT */
/*
 * How short is memory? TTM's files: its limit, beyond which it swaps buffers out, and what tells
 * how many buffers there are and how much was swapped out. And whether memory comes in pieces.
 *
 * No function here knows IGT; each returns 0 or a negative errno.
 */
#ifndef VPFN_PRESSURE_H
#define VPFN_PRESSURE_H

#include <stdint.h>

int vpfn_pages_limit_get(uint64_t *pages);
int vpfn_pages_limit_set(uint64_t pages);

/* The largest piece of memory that the kernel gives this task, as a power of two of pages. */
#define VPFN_ANY_ORDER	63

int vpfn_piece_limit(unsigned int order);

int vpfn_buffer_count(uint64_t *count);
int vpfn_shmem_size(uint64_t *bytes);
int vpfn_swap_out(uint64_t *bytes);
int vpfn_swap_on(void);
int vpfn_swap_off(void);
int vpfn_system_room(uint64_t *bytes);

#endif
