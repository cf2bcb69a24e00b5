#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Is the device as its specification says? Runs its qtests, without a guest. Each test is
# a process of its own, so that one which crashes QEMU fails alone.
# Writes the results as TAP, and the output of all tests, to out/NAME/ (check); the last line
# is the count.
# usage: qtest.sh [--name NAME] [REGEX]

. "$(dirname "$0")/lib.sh"

name=check
[ "${1:-}" != --name ] || { name=$2 && shift 2; }
regex=${1:-.}
dir=$out/$name
tap=$dir/qtest.tap
log=$dir/qtest.log
passed=0
failed=0
skipped=0

# A minute is many times what the longest test takes on a busy machine
run() {
	local test=$1 output

	echo "### $test" >>"$log"
	output=$(timeout 60 "$qtest" --tap -p "$test" 2>>"$log") || output+=$'\nnot ok'
	echo "$output" >>"$log"
	if grep -q '^not ok' <<<"$output" || ! grep -q '^ok' <<<"$output"; then
		failed=$((failed + 1))
		echo "not ok $count $test"
		say "FAILED: $test (log: $log)"
	elif grep -q '^ok.*# SKIP' <<<"$output"; then
		skipped=$((skipped + 1))
		echo "ok $count $test # SKIP"
	else
		passed=$((passed + 1))
		echo "ok $count $test"
	fi >>"$tap"
}

"$top/vm/host-packages.sh" run
qemu=$("$top/vm/qemu.sh")
qtest=$qemu/vpfn-test
export QTEST_QEMU_BINARY=$qemu/qemu-system-x86_64
mkdir -p "$dir"
: >"$log"

# QEMU finds its firmware where it is started
cd "$qemu/share"
# Newer GLib lists the tests as comments
mapfile -t tests < <("$qtest" -l | sed -nE 's|^(# )?(/.*)|\2|p' | grep -E -- "$regex")
echo "1..${#tests[@]}" >"$tap"
count=0
for test in "${tests[@]}"; do
	count=$((count + 1))
	run "$test"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ] && [ "$skipped" -eq 0 ]
