#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does each patch in patches/linux/ cure what it says? Runs the reproducers of tests/mm-bugs/
# on the debug kernel: with the patches, where each has to pass, and without,
# where each has to fail in its own way, in a VM of its own, since most of them kill it. Ends
# with a table.
# usage: mm-bugs.sh [BUG...]     (all)

. "$(dirname "$0")/lib.sh"

flavour=debug
dir=$out/mm-bugs
limit=300

# boot FLAVOUR NAME [BUG...]: what boot.sh says goes to a log, since the VM is expected to die
boot() {
	local flavour=$1 name=$2
	shift 2

	mkdir -p "$dir"
	"$top/vm/boot.sh" --flavour "$flavour" --limit "$limit" "mm-bugs/$name" /vpfn/guest/mm-bugs "$@" \
		>"$dir/$name.txt" 2>&1
}

# The words of the kernel, or of the reproducer, by which an unmodified kernel fails
sign_of() {
	awk -F'\t' -v bug="$1" '$1 == bug { print $2 }' "$list"
}

# The patch that names the reproducer
patch_of() {
	grep -lE "mm_bugs $1( |\$)" "$top"/patches/linux/[0-9]*.patch | xargs -r -n1 basename | cut -c1-4
}

# result_of NAME BUG: exit code and words of the reproducer, if it lived to say them
result_of() {
	awk -F'\t' -v bug="$2" '$1 == bug { print $2 "\t" $3 }' "$dir/$1/guest/bugs.tsv" 2>/dev/null
}

# The kernel's last words
crash_of() {
	grep -m1 -aoE 'kernel BUG at [^ ]*|Oops: [^#]*|BUG: unable.*|general protection fault.*' "$dir/$1/console.log" |
		tr -d '\r' || true
}

# How the unmodified kernel failed at a bug; fails if it did not, or in another way
failed() {
	local bug=$1 result crash

	result=$(result_of "$bug" "$bug")
	crash=$(crash_of "$bug")
	if [ -n "$result" ] && [ "${result%%$'\t'*}" -ne 1 ]; then
		echo "${result#*$'\t'}"
		return 1
	elif [ -z "$result" ] && [ -z "$crash" ]; then
		echo "no answer (log: $dir/$bug.txt)"
		return 1
	elif ! grep -qaE "$(sign_of "$bug")" "$dir/$bug/console.log" <(echo "$result"); then
		echo "fails in another way: ${crash:-${result#*$'\t'}}"
		return 1
	fi
	echo "${crash:-${result#*$'\t'}}"
}

# The same of the patched kernel, where it must not have failed
passed() {
	local result

	result=$(result_of patched "$1")
	if [ -z "$result" ]; then
		echo "no answer (log: $dir/patched.txt)"
		return 1
	elif [ "${result%%$'\t'*}" -ne 0 ]; then
		echo "${result#*$'\t'}"
		return 1
	fi
	echo pass
}

row() {
	printf '%-17s %-6s %-62.62s %s\n' "$@"
}

rm -rf "$dir"
for kernel in "$flavour" "$flavour-patched"; do
	"$top/vm/linux.sh" "$kernel" >/dev/null
done
say "the patched kernel"
boot "$flavour-patched" patched "$@" || true
list=$dir/patched/guest/list.tsv
[ -s "$list" ] || die "the reproducers did not start (log: $dir/patched.txt)"
bugs=("$@")
[ $# -gt 0 ] || mapfile -t bugs < <(cut -f1 "$list")
for bug in "${bugs[@]}"; do
	say "the unmodified kernel: $bug"
	boot "$flavour" "$bug" "$bug" || true
done

good=0
row bug patch "unmodified kernel" "patched kernel"
for bug in "${bugs[@]}"; do
	status=0
	without=$(failed "$bug") || status=1
	with=$(passed "$bug") || status=1
	patch=$(patch_of "$bug") && [ -n "$patch" ] || status=1
	row "$bug" "$patch" "$without" "$with"
	[ $status -ne 0 ] || good=$((good + 1))
done
echo "$good of ${#bugs[@]} bugs are there without the patches, and gone with them"
[ "$good" -eq ${#bugs[@]} ]
