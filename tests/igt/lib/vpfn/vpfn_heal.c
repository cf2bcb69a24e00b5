// SPDX-License-Identifier: MIT
/*
 * Is a fault that a test had the host inject over?
 */
#include "igt.h"
#include "vpfn/vpfn_heal.h"
#include "vpfn/vpfn_host.h"

/**
 * vpfn_heal:
 * @id: a device, as the host has it
 *
 * Ends the faults that have not hit anything yet. A test may have failed: errors are ignored.
 */
void vpfn_heal(const char *id)
{
	vpfn_host_hang(id, false);
	vpfn_host_dma_error(id, 0);
	vpfn_host_lose_interrupts(id, 0);
}

/**
 * vpfn_assert_no_fault_left:
 * @id: a device, as the host has it
 *
 * Asserts that the injected faults have hit something, and do not last.
 */
void vpfn_assert_no_fault_left(const char *id)
{
	uint32_t errors, interrupts;
	bool hangs;

	igt_assert_eq(vpfn_host_hangs(id, &hangs), 0);
	igt_assert(!hangs);
	igt_assert_eq(vpfn_host_dma_error_left(id, &errors), 0);
	igt_assert_eq(errors, 0);
	igt_assert_eq(vpfn_host_interrupts_to_lose(id, &interrupts), 0);
	igt_assert_eq(interrupts, 0);
}
