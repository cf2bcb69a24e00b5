#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Is everything as it must be? Runs the device's qtests, and the IGT tests, our own and
# those for any DRM driver, on the debug kernel, and judges their results: one that is not
# "pass" fails the check, unless it is a skip which tests/generic/skips.txt gives a reason
# for. The last line is the count. With --tests only those IGT tests run.
# report.html shows all results, and the tests' answers as tables; matrix.md has the tables alone.
# VPFN_STORM_SECONDS, VPFN_MM_FUZZ_SECONDS: how long vpfn_storm and each subtest of
# vpfn_mm_fuzz run, if not the usual time; VPFN_RACE_MOVES: how often vpfn_move@fault-race moves
# its buffer, if not as often as usual; VPFN_STORM_SEED, VPFN_MM_FUZZ_SEED: what they printed,
# to have the same choices again
# usage: check.sh [--tests REGEX] [--name NAME] [option of boot.sh...]

. "$(dirname "$0")/lib.sh"

tests=
name=check
boot=(--flavour debug --limit $((2700 + ${VPFN_STORM_SECONDS:-0} + 5 * ${VPFN_MM_FUZZ_SECONDS:-0} +
	${VPFN_RACE_MOVES:-0})))
for variable in VPFN_{STORM,MM_FUZZ}_{SECONDS,SEED} VPFN_RACE_MOVES; do
	[ -z "${!variable:-}" ] || boot+=(--env "$variable=${!variable}")
done
while [ $# -gt 0 ]; do
	case $1 in
	--tests) tests=$2 && shift ;;
	--name) name=$2 && shift ;;
	*) boot+=("$1") ;;
	esac
	shift
done
dir=$out/$name
guests=("$dir/guest")
results=$dir/results.json
skips=$top/tests/generic/skips.txt
messages=$top/tests/generic/messages.txt

# The directories of igt_runner's results, in the order in which they were begun
runs() {
	local one

	for one in "${guests[@]}"; do
		find "$one" -maxdepth 1 -name 'results*' | sort
	done
}

# igt_runner has run once for each directory of tests, in each VM: its files in one. Fails if
# one of them is missing, for a runner that was cut off.
merge_results() {
	local run files=()

	while read -r run; do
		[ -s "$run/results.json" ] || return 1
		files+=("$run/results.json")
	done < <(runs)
	[ ${#files[@]} -gt 0 ] || return 1
	jq -s '.[0] + {tests: (map(.tests) | add)}' "${files[@]}" >"$results"
}

# Each test as: name, result, seconds, and why it is no pass. igt_runner's own word for
# a log that it did not like is the first bad line of that log; it is wrong about the
# messages in the list.
table() {
	jq -r --rawfile messages "$messages" '
		($messages | split("\n") | map(select(test("^igt@")) | split("\t"))) as $listed |
		.tests | to_entries[] | .key as $name |
		(.value."dmesg-warnings" // "" | split("\n") | map(select(. != ""))) as $lines |
		if .value.result == "dmesg-warn" and
		   all($lines[]; . as $line | any($listed[]; .[0] == $name and .[1] as $regex | $line | test($regex)))
		then .value.result = "pass" else . end | [
		.key,
		.value.result,
		((.value.time.end // 0) - (.value.time.start // 0) | . * 10 | round / 10),
		(if .value.result == "pass" then ""
		 elif $lines != [] then $lines[0]
		 else [(.value.err // "" | split("\n")[] | select(test("Failed assertion"))),
		       (.value.out // "" | split("\n")[] | select(test("SKIP|Test requirement")))] | .[0] // "see its log"
		 end)] | @tsv' "$results"
}

# The table with our own verdicts. A skip that the list gives a reason for stays one, with
# that reason; any other is a failure, and so is a pass that the list does not expect.
judged() {
	table | awk -F'\t' -v OFS='\t' '
		NR == FNR { if ($0 !~ /^#/) reason[$1] = $2; next }
		$2 == "skip" && $1 in reason { $4 = reason[$1] }
		$2 == "skip" && !($1 in reason) { $2 = "unexpected-skip" }
		$2 == "pass" && $1 in reason { $2 = "unexpected-pass"; $4 = "it is listed as a skip: " reason[$1] }
		{ print }' "$skips" -
}

report() {
	jq -Rnr --arg qtests "${qtests[*]}" --arg uname "$(jq -r .uname "$results")" \
		--rawfile matrices <(matrix html) '
		"<!DOCTYPE html><meta charset=utf-8><title>vpfn: make check</title>",
		"<style>body{font-family:sans-serif}td,th{padding:.1em 1em;text-align:left}" +
		".pass{color:green}.skip{color:gray}.other{color:#b00;font-weight:bold}</style>",
		"<h1>make check</h1><p>" + ($uname | @html) + "</p>",
		"<p>qtests of the device, passed, failed, skipped: " + $qtests + " (qtest.tap)</p>",
		$matrices, "<h2>Subtests</h2><table><tr><th>Subtest<th>Result<th>Seconds<th>Why</tr>",
		(inputs | split("\t") | "<tr><td>" + (.[0] | @html) +
		 "<td class=" + (.[1] | if . == "pass" or . == "skip" then . else "other" end) + ">" + .[1] +
		 "<td>" + .[2] + "<td>" + (.[3] | @html) + "</tr>"),
		"</table>"' "$dir/results.tsv" >"$dir/report.html"
}

# matrix FILTER: what the tests found, by a function of matrix.jq
matrix() {
	jq -r -L "$top/vm" --rawfile verdicts "$dir/results.tsv" \
		"include \"matrix\"; tables(\$verdicts) | $1" "$results"
}

# finish PASSED FAILED SKIPPED: of the IGT tests
finish() {
	[ -z "$complaint" ] || say "make check failed: $complaint"
	echo "$(($1 + qtests[0])) passed, $(($2 + qtests[1])) failed, $(($3 + qtests[2])) skipped"
	[ -z "$complaint" ] && [ "$1" -gt 0 ] && [ "$2" -eq 0 ]
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
	find "${guests[@]}" -name comms -exec grep -LaZE 'FAIL|SKIP|CRASH|TIMEOUT' {} + |
		xargs -0 -r grep -laF SUCCESS | wc -l || true
}

skipped() {
	find "${guests[@]}" -name comms -exec grep -laF SKIP {} + | wc -l || true
}

planned() {
	runs | sed 's,$,/joblist.txt,' | xargs -r cat 2>/dev/null | grep -c . || true
}

# The VM died under the tests: igt_runner wrote no results. What it had received tells how
# far it came; every other test counts as failed.
finish_early() {
	local passed skipped total last run

	run=$(runs | tail -n 1)
	[ -n "$run" ] || finish 0 1 0
	passed=$(succeeded)
	skipped=$(skipped)
	total=$(planned)
	last=$(find "$run" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -n | tail -n 1)
	[ -z "$last" ] || complaint="$complaint, in $(sed -n "$((last + 1))p" "$run/joblist.txt")"
	finish "$passed" "$((total - passed - skipped))" "$skipped"
}

complain_about_contradictions() {
	local contradictions

	contradictions=$(matrix contradictions)
	[ -z "$contradictions" ] || complaint="two tests disagree: ${contradictions//$'\n'/; }"
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
	for binary in $(sed '/TESTLIST/d' "$dir"/payload/{igt,generic}/test-list.txt); do
		cut -f1 "$dir/results.tsv" | grep -qE "@$(basename "$binary")(@|\$)" ||
			complaint="$binary has no result: does it list its subtests?"
	done
}

complain_about_lost_skips() {
	local lost

	[ -z "$tests" ] || return 0
	lost=$(grep -v '^#' "$skips" | cut -f1 | grep -vxF -f <(cut -f1 "$dir/results.tsv") | head -n 1 || true)
	[ -z "$lost" ] || complaint="$skips lists $lost, which is no test"
}

# Takes some two minutes
boot_iommu() {
	"$top/vm/boot.sh" "${boot[@]}" --limit 600 --iommu "$name/iommu" /vpfn/guest/check ${tests:+"$tests"}
}

# A VM of its own, since devices behind an IOMMU behave otherwise, and those who are to be in a
# group of their own cannot reach each other. The main VM has told whether it is wanted.
# This one, of QEMU 10.0 under TCG, has been seen to sleep for ever with all requests of its 9p
# devices done, and no interrupt pending. So if it hangs it gets one more chance; a test or a
# driver that hangs does it again. The logs of the first time stay.
run_iommu() {
	local status=0 hung=$dir/iommu-hung

	rm -rf "$hung"
	[ -e "${guests[0]}/wants-iommu" ] || return 0
	guests+=("$dir/iommu/guest")
	boot_iommu || status=$?
	if [ $status -eq 202 ]; then
		mv "$dir/iommu" "$hung"
		say "the VM with an IOMMU hung; once more (logs: $hung)"
		status=0
		boot_iommu || status=$?
	fi
	[ $status -eq 0 ] || complaint="the VM with an IOMMU ended with code $status, see above"
}

# A VM of its own, since it ends by that. As a line of results.tsv.
run_kexec() {
	local verdict=pass why='' console=$dir/kexec/console.log start=$SECONDS

	"$top/vm/boot.sh" "${boot[@]}" "$name/kexec" /vpfn/guest/kexec-busy >&2 ||
		why="it ended with code $?, see above"
	[ "$(grep -c 'Linux version' "$console")" -eq 2 ] || why="no other kernel began (log: $console)"
	! grep -qE 'WARNING:|BUG:|blocked for more than' "$console" ||
		why="the kernel warned: $(grep -m 1 -E 'WARNING:|BUG:|blocked for more than' "$console")"
	[ -z "$why" ] || verdict=fail
	printf 'vm@kexec\t%s\t%s\t%s\n' "$verdict" "$((SECONDS - start))" "$why"
}

rm -f "$dir"/{results.json,results.tsv,report.html,matrix.md}
complaint=
qtests=(0 0 0)
"$top/vm/host-packages.sh" run
[ -n "$tests" ] || run_qtests
if "$top/vm/boot.sh" "${boot[@]}" "$name" /vpfn/guest/check ${tests:+"$tests"}; then
	run_iommu
else
	complaint="the VM ended with code $?, see above"
fi
merge_results || finish_early
judged >"$dir/results.tsv"
[ -n "$tests" ] || run_kexec >>"$dir/results.tsv"
report
matrix markdown >"$dir/matrix.md"
complain_about_contradictions
for guest in "${guests[@]}"; do
	complain_about_log load "$guest/log-load.txt"
	complain_about_log unload "$guest/log-unload.txt"
done
complain_about_lost_tests
complain_about_lost_skips
awk -F'\t' '$2 != "pass" && $2 != "skip" { printf "%s: %s: %s\n", $2, $1, $4 }' "$dir/results.tsv"
awk -F'\t' '$2 == "skip" { printf "skipped as expected: %s: %s\n", $1, $4 }' "$dir/results.tsv"
counts=$(awk -F'\t' '
	{ n[$2 == "pass" || $2 == "skip" ? $2 : "other"]++ }
	END { print n["pass"] + 0, n["other"] + 0, n["skip"] + 0 }' "$dir/results.tsv")
# Three words are meant
# shellcheck disable=SC2086
finish $counts
