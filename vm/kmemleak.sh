#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which memory does the driver leak? Runs its tests on the debug kernel with kmemleak, which is
# scanned after each binary, and prints each report with its backtrace, and fails if there is one.
# Whether the tests themselves pass is for make check to say. The reports are in
# out/kmemleak/*/guest/kmemleak/, a file for each binary and one for rmmod, which has no symbols of
# the driver.
# usage: kmemleak.sh [REGEX of the tests]

. "$(dirname "$0")/lib.sh"

dir=$out/kmemleak
tests=${1:-'^igt@vpfn_(?!storm|mm_fuzz|conformance|follow_pfn)'}

status=0
mkdir -p "$dir"
"$top/vm/check.sh" --flavour kmemleak --name kmemleak --limit 5400 --tests "$tests" \
	>"$dir/check.txt" || status=$?
[ $status -lt 2 ] || die "nothing ran (output: $dir/check.txt)"

shopt -s nullglob
scanned=0
leaks=0
for report in "$dir"/*/guest/kmemleak/*; do
	scanned=$((scanned + 1))
	! grep -qx 'kmemleak is off' "$report" || die "kmemleak was off after $(basename "$report")"
	count=$(grep -c '^unreferenced object' "$report" || true)
	[ "$count" -gt 0 ] || continue
	leaks=$((leaks + count))
	echo "$(basename "$report"): $count objects"
	sed 's/^/    /' "$report"
done
[ $scanned -gt 0 ] || die "no binary was scanned (output: $dir/check.txt)"
for vm in "$dir"/*.status; do
	[[ $(<"$vm") = "0 "* ]] || die "a VM did not end well (output: ${vm%.status}.txt)"
done
echo "$scanned binaries, $leaks leaks"
[ $leaks -eq 0 ]
