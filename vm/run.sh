#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What is vpfn for? The demonstration shows it, on the fast kernel.

. "$(dirname "$0")/lib.sh"

exec "$top/vm/boot.sh" --flavour fast --limit 300 run /vpfn/guest/run
