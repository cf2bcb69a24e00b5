/* SPDX-License-Identifier: MIT */
/*
 * What does the host see? A virtual machine can offer a port on which the host tells the
 * SHA-256 of a range of device memory: a view that no code in the guest can fool.
 *
 * No function here knows IGT.
 */
#ifndef VPFN_WITNESS_H
#define VPFN_WITNESS_H

#include <stddef.h>
#include <stdint.h>

#define VPFN_SHA256_HEX		65

int vpfn_witness_open(void);
int vpfn_witness_sha256(int port, uint64_t offset, uint64_t len, char hex[VPFN_SHA256_HEX]);
int vpfn_sha256(const void *bytes, size_t len, char hex[VPFN_SHA256_HEX]);

#endif
