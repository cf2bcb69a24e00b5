#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Is everything as it must be? Runs the device's qtests, and the IGT tests on the debug
# kernel, and judges their results: one that is not "pass" fails the check. The last line
# is the count. With --tests only those IGT tests run.
# usage: check.sh [--tests REGEX] [--name NAME] [option of boot.sh...]

. "$(dirname "$0")/lib.sh"

tests=
name=check
boot=(--flavour debug --limit 1500)
while [ $# -gt 0 ]; do
	case $1 in
	--tests) tests=$2 && shift ;;
	--name) name=$2 && shift ;;
	*) boot+=("$1") ;;
	esac
	shift
done
dir=$out/$name
guest=$dir/guest
results=$guest/results/results.json

# Each test as: name, result, seconds, and why it is no pass. igt_runner's own word for
# a log that it did not like is the first bad line of that log.
table() {
	jq -r '.tests | to_entries[] | [
		.key,
		.value.result,
		((.value.time.end // 0) - (.value.time.start // 0) | . * 10 | round / 10),
		(if .value.result == "pass" then ""
		 elif .value."dmesg-warnings" then .value."dmesg-warnings" | split("\n")[0]
		 else [(.value.err // "" | split("\n")[] | select(test("Failed assertion"))),
		       (.value.out // "" | split("\n")[] | select(test("SKIP|Test requirement")))] | .[0] // "see its log"
		 end)] | @tsv' "$results"
}

report() {
	jq -r --arg qtests "${qtests[*]}" '
		"<!DOCTYPE html><meta charset=utf-8><title>vpfn: make check</title>",
		"<style>body{font-family:sans-serif}td,th{padding:.1em 1em;text-align:left}" +
		".pass{color:green}.other{color:#b00;font-weight:bold}</style>",
		"<h1>make check</h1><p>" + (.uname | @html) + "</p>",
		"<p>qtests of the device, passed, failed, skipped: " + $qtests + " (qtest.tap)</p>",
		"<table><tr><th>Subtest<th>Result<th>Seconds</tr>",
		(.tests | to_entries[] | "<tr><td>" + (.key | @html) +
		 "<td class=" + (if .value.result == "pass" then "pass" else "other" end) + ">" + .value.result +
		 "<td>" + ((.value.time.end // 0) - (.value.time.start // 0) | . * 10 | round / 10 | tostring) + "</tr>"),
		"</table>"' "$results" >"$dir/report.html"
}

# finish PASSED FAILED SKIPPED: of the IGT tests
finish() {
	[ -z "$complaint" ] || say "make check failed: $complaint"
	echo "$(($1 + qtests[0])) passed, $(($2 + qtests[1])) failed, $(($3 + qtests[2])) skipped"
	[ -z "$complaint" ] && [ "$1" -gt 0 ] && [ "$2" -eq 0 ] && [ "$3" -eq 0 ]
	exit
}

run_qtests() {
	local counts

	counts=$("$top/vm/qtest.sh") || complaint="the device failed its qtests (log: $dir/qtest.txt)"
	say "qtests of the device: ${counts##*$'\n'}"
	mapfile -t qtests < <(grep -oE '[0-9]+' <<<"${counts##*$'\n'}")
}

# What each test told igt_runner: how many speak of success alone, how many skipped?
succeeded() {
	find "$guest/results" -name comms -exec grep -LaZE 'FAIL|SKIP|CRASH|TIMEOUT' {} + |
		xargs -0 -r grep -laF SUCCESS | wc -l || true
}

skipped() {
	find "$guest/results" -name comms -exec grep -laF SKIP {} + | wc -l || true
}

planned() {
	grep -c . "$guest/results/joblist.txt" 2>/dev/null || true
}

# The VM died under the tests: igt_runner wrote no results. What it had received tells how
# far it came; every other test counts as failed.
finish_early() {
	local passed skipped total last

	[ -d "$guest/results" ] || finish 0 1 0
	passed=$(succeeded)
	skipped=$(skipped)
	total=$(planned)
	last=$(find "$guest/results" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -n | tail -n 1)
	[ -z "$last" ] || complaint="$complaint, in $(sed -n "$((last + 1))p" "$guest/results/joblist.txt")"
	finish "$passed" "$((total - passed - skipped))" "$skipped"
}

# What the kernel had to say while no test ran
complain_about_log() {
	local when=$1 log=$2

	[ ! -s "$log" ] || complaint="the kernel warned at the module's $when: $(head -n 1 "$log") (all of it: $log)"
}

# igt_runner leaves out, silently, a binary that it cannot list
complain_about_lost_tests() {
	local binary

	[ "$(jq '.tests | length' "$results")" -ge "$(planned)" ] ||
		complaint="igt_runner ended before the last test (log: $dir/output.log)"
	[ -z "$tests" ] || return 0
	# The names are on one line, and hold no spaces
	# shellcheck disable=SC2013
	for binary in $(sed '/TESTLIST/d' "$dir/payload/igt/test-list.txt"); do
		jq -e --arg at "@$(basename "$binary")@" '[.tests | keys[] | select(contains($at))] | length > 0' \
			"$results" >/dev/null || complaint="$binary has no result: does it list its subtests?"
	done
}

rm -f "$dir"/{results.json,report.html}
complaint=
qtests=(0 0 0)
"$top/vm/host-packages.sh" run
[ -n "$tests" ] || run_qtests
"$top/vm/boot.sh" "${boot[@]}" "$name" /vpfn/guest/check ${tests:+"$tests"} ||
	complaint="the VM ended with code $?, see above"
[ -s "$results" ] || finish_early

cp "$results" "$dir/results.json"
report
complain_about_log load "$guest/log-load.txt"
complain_about_log unload "$guest/log-unload.txt"
complain_about_lost_tests
table | awk -F'\t' '$2 != "pass" { printf "%s: %s: %s\n", $2, $1, $4 }'
counts=$(table | awk -F'\t' '
	{ n[$2 == "pass" || $2 == "skip" ? $2 : "other"]++ }
	END { print n["pass"] + 0, n["other"] + 0, n["skip"] + 0 }')
# Three words are meant
# shellcheck disable=SC2086
finish $counts
