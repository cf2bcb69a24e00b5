#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does the driver survive what user space should never do? Runs vpfn_fuzz and vpfn_mm_fuzz on the
# debug kernel, each for that many seconds; any word of the kernel at warning level or above is a
# finding. The seed is the time unless given; the output says it.
# usage: fuzz-driver.sh [SECONDS [SEED]]

. "$(dirname "$0")/lib.sh"

seconds=${1:-1200}
seed=${2:-$(date +%s)}
dir=$out/fuzz-driver
status=0

say "fuzzing the driver for twice $seconds s with seed $seed"
"$top/vm/boot.sh" --flavour debug --limit $((2 * seconds + 900)) \
	fuzz-driver /vpfn/guest/fuzz "$seconds" "$seed" || status=$?
if [ -s "$dir/guest/log.txt" ]; then
	say "the kernel warned: $(head -n 1 "$dir/guest/log.txt") (all of it: $dir/guest/log.txt)"
	status=1
fi
[ $status -ne 0 ] || say "no findings"
exit $status
