#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Do the tests build in a real IGT tree, and behave as IGT wants without a device? Works
# on a copy of the tree that IGT_SRC names: the tests must list their subtests, describe
# each, and skip.

. "$(dirname "$0")/lib.sh"

[ -n "${IGT_SRC:-}" ] || die "which IGT tree? Give it as IGT_SRC=..."
[ -e "$IGT_SRC/lib/igt_core.h" ] || die "$IGT_SRC is no IGT tree"

# The tree's own tests take long to build and need more; ours need its library alone
build() {
	mkdir -p "$work/tree"
	tar -C "$IGT_SRC" --exclude=./.git -cf - . | tar -C "$work/tree" -xf -
	"$top/vm/igt-tree.sh" "$work/tree"
	[ -e "$work/build/build.ninja" ] ||
		meson setup "$work/build" "$work/tree" -Dman=disabled -Ddocs=disabled \
			-Doverlay=disabled -Dchamelium=disabled -Drunner=disabled
	ninja -C "$work/build" "${programs[@]/#/tests/}"
}

# subtests PROGRAM: the names, in the order of the source
subtests() {
	"$work/build/tests/$1" --list-subtests
}

check() {
	local program=$1 status=0 undocumented

	[ "$(subtests "$program" | wc -l)" -gt 0 ] || die "$program lists no subtests"
	undocumented=$("$work/build/tests/$program" --describe | grep -c 'NO DOCUMENTATION' || true)
	[ "$undocumented" -eq 0 ] || die "$program has $undocumented subtests without a description"

	# Any other device of this host must not be opened either
	IGT_FORCE_DRIVER=vpfn "$work/build/tests/$program" >"$work/$(basename "$program").log" 2>&1 || status=$?
	[ "$status" -eq 77 ] ||
		die "$program does not skip without a device: exit code $status (log: $work/$(basename "$program").log)"
	echo "$program: $(subtests "$program" | wc -l) subtests listed and described, skipped without a device"
}

"$top/vm/host-packages.sh" run igt
work=$cache/build/igt-$(hash_words "$IGT_SRC" "$(compiler)")
mapfile -t programs < <(
	sed -n "/^vpfn_progs = \[/,/^\]/s/^\t'\(.*\)',/vpfn\/\1/p" "$top/tests/igt/tests/vpfn/meson.build"
	cd "$top/tests/igt/tests" && printf '%s\n' core_pfnmap*.c | sed 's/\.c$//'
)
lock igt
step igt "building the tests in a copy of $IGT_SRC" build
for program in "${programs[@]}"; do
	check "$program"
done
