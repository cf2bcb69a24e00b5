/* SPDX-License-Identifier: MIT */
/*
 * Is a fault that a test had the host inject over? These helpers are IGT's: they assert and skip.
 */
#ifndef VPFN_HEAL_H
#define VPFN_HEAL_H

void vpfn_heal(const char *id);
void vpfn_assert_no_fault_left(const char *id);

#endif
