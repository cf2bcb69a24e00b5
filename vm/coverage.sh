#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which lines of the driver does no test run? Runs make check's tests on the coverage kernel.
# In out/coverage/, summary.txt has the lines per file, and uncovered.txt each line that
# never ran; the last line is the sum.
# usage: coverage.sh [--tests REGEX]

. "$(dirname "$0")/lib.sh"

dir=$out/coverage
driver=drivers/gpu/drm/vpfn

# Each line that has code, as FILE LINE COUNT. A line of a header is in several objects, and each
# VM has counts of its own.
lines() {
	local object

	for object in "$dir"/*/guest/gcov/*.gcda; do
		(cd "$(dirname "$object")" && gcov --json-format --stdout "$(basename "$object")")
	done | jq -r --arg driver "$driver/" '.files[] | select(.file | contains($driver)) | (.file | sub(".*/"; "")) as $file |
		.lines[] | "\($file) \(.line_number) \(.count)"' |
		awk '{ count[$1 " " $2] += $3 } END { for (line in count) print line, count[line] }' |
		sort -k1,1 -k2,2n
}

# percentages FIELD: the lines with a count, by what that field says
percentages() {
	awk -v field="$1" '
		{ name = field ? $field : "all"; all[name]++; ran[name] += $3 > 0 }
		END {
			for (name in all)
				printf "%-24s %5d of %5d lines  %5.1f %%\n", name, ran[name], all[name], 100 * ran[name] / all[name]
		}' "$dir/lines.txt" | sort
}

# With the text of the lines, where the counted source is still the one that is here
uncovered() {
	local file line

	awk '$3 == 0 { print $1, $2 }' "$dir/lines.txt" | while read -r file line; do
		echo "$file:$line:$(sed -n "${line}p" "$top/$driver/$file")"
	done
}

verdict=0
"$top/vm/check.sh" --flavour coverage --name coverage "$@" || verdict=$?
kernel=$("$top/vm/linux.sh" coverage)
for counts in "$dir"/*/guest/gcov; do
	[ -d "$counts" ] || die "no guest left counts in $dir"
	cp "$kernel"/gcov/*.gcno "$counts"
done
lines >"$dir/lines.txt"
[ -s "$dir/lines.txt" ] || die "no line of the driver has a count: does gcov fit the compiler? (counts: $dir/*/guest/gcov)"
{
	percentages 1
	percentages 0
} >"$dir/summary.txt"
uncovered >"$dir/uncovered.txt"
cat "$dir/uncovered.txt" "$dir/summary.txt"
exit $verdict
