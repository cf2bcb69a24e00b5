#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which data races does the driver have? Runs its tests on a kernel with KCSAN, prints each pair of
# functions that race, with the driver in it, and how often, and fails if tests/kcsan/races.txt has
# no reason for it. Whether the tests themselves pass is for make check to say. The reports are in
# out/kcsan/*/guest/kernel.log.

. "$(dirname "$0")/lib.sh"

dir=$out/kcsan
list=$top/tests/kcsan/races.txt
tests='^igt@vpfn_(submit|cmds|order|submitter|queue|recovery|bounds|waits|mmap|mm_fuzz|split|rules|move|race|evict|memory|place|storm|prime)'

# races: each of the reports that name the driver, as "FUNCTION / FUNCTION"
races() {
	sed -n 's/.*BUG: KCSAN: [a-z -]* in \(.*\)/\1/p' "$dir"/*/guest/kernel.log | grep -w 'vpfn_[a-z0-9_]*' || true
}

# reason RACE: why it is none, from the list
reason() {
	awk -F'\t' -v race="$1" '$1 == race { print $2 }' "$list"
}

status=0
mkdir -p "$dir"
"$top/vm/check.sh" --flavour kcsan --name kcsan --tests "$tests" >"$dir/check.txt" || status=$?
[ $status -lt 2 ] || die "nothing ran (output: $dir/check.txt)"
grep -qs 'vpfn-check: end' "$dir"/*/guest/kernel.log || die "no VM reached its end (output: $dir/check.txt)"
grep -qs 'kcsan: enabled early' "$dir"/*/console.log || die "KCSAN is off (log: $dir/*/console.log)"

unknown=0
while read -r count race; do
	why=$(reason "$race")
	[ -n "$why" ] || unknown=$((unknown + 1))
	printf '%5d  %s: %s\n' "$count" "$race" "${why:-NOT LISTED}"
done < <(races | sort | uniq -c | sort -rn)
echo "$(races | sort -u | wc -l) races of the driver, $unknown of them not listed"
[ "$unknown" -eq 0 ]
