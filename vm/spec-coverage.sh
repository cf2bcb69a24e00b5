#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Do specification, header and qtests of the device speak of the same things? Fails with
# the name of each register and each error that one of the three lacks, that has another
# number in the specification than in the header, or for which the specification names no
# qtest that exists.

. "$(dirname "$0")/lib.sh"

header=$top/drivers/gpu/drm/vpfn/vpfn_regs.h
spec=$top/qemu-device/docs/specs/vpfn.rst
qtest=$top/qemu-device/tests/qtest/vpfn-test.c
status=0
# The quotes are those of the specification
# shellcheck disable=SC2016
readonly register_row='s/^(0x[0-9a-f]{2})    ``([A-Z_]+)`` +(RO|RW|RW1C),? .*/\2 \1/p' \
	error_row='s/^([0-9]+) +``([A-Z_]+)``  .*/\2 \1/p' \
	test_row='^``[A-Z_]+``.*  ``[a-z]' test_name='``[a-z][-a-z]*/[-a-z0-9]+``'

complain() {
	say "$*"
	status=1
}

# in_header KIND: its names without prefix, and their numbers
in_header() {
	awk -v prefix="VPFN_$1_" '
		$1 == "#define" && index($2, prefix) == 1 {
			print substr($2, length(prefix) + 1), $3
		}' "$header" | sort
}

# The rows of the table of registers: an offset, a name, and then the access
registers_in_spec() {
	sed -nE "$register_row" "$spec" | sort
}

# The rows of the table of errors, in the section of that name
errors_in_spec() {
	sed -n '/^Errors$/,/^Stopping$/p' "$spec" | sed -nE "$error_row" | sort
}

# same KIND FILE-OF-THE-SPEC'S-LIST
same() {
	local kind=$1 listed=$2 word

	[ -n "$listed" ] || die "no VPFN_${kind}_* found in $spec: has its form changed?"
	while read -r word; do
		complain "VPFN_${kind}_$word is not the same in $spec and $header"
	done < <(comm -3 <(in_header "$kind") <(echo "$listed") | awk '{ print $1 }' | sort -u)
}

named_by_qtest() {
	local kind=$1 name

	while read -r name _; do
		grep -qw "VPFN_${kind}_$name" "$qtest" ||
			complain "VPFN_${kind}_$name is named by no test in $qtest"
	done < <(in_header "$kind")
}

# The rows of the specification's table of tests
tests_in_spec() {
	sed -n '/^Tests$/,$p' "$spec" | grep -E "$test_row"
}

# proved KIND: does the table give each of them a test, in a row of its name?
proved() {
	local kind=$1 name

	while read -r name _; do
		tests_in_spec | grep -qF "\`\`$name\`\`" ||
			complain "VPFN_${kind}_$name has no test in the table of $spec"
	done < <(in_header "$kind")
}

tests_exist() {
	local test

	while read -r test; do
		grep -qF "\"vpfn/$test\"" "$qtest" ||
			complain "$spec names a test that $qtest lacks: $test"
	done < <(sed -n '/^Tests$/,$p' "$spec" | grep -oE "$test_name" | tr -d '`')
}

same REG "$(registers_in_spec)"
same ERROR "$(errors_in_spec)"
named_by_qtest REG
named_by_qtest ERROR
proved REG
proved ERROR
tests_exist
exit $status
