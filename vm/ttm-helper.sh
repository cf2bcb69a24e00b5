#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does the helper for huge faults of patches/linux/rfc-ttm do for a driver? Runs the tests on
# QXL, which merely asks TTM for leaves, with the modules of the kernel as it is and with the
# patched ones; then vpfn's tests of mappings with a vpfn that uses the helper. The debug kernel is
# the same each time: TTM and its drivers are modules.
# usage: ttm-helper.sh

. "$(dirname "$0")/lib.sh"

patches=$top/patches/linux/rfc-ttm
modules=(ttm/ttm.ko drm_ttm_helper.ko qxl/qxl.ko vpfn/vpfn.ko vpfn/tests/vpfn-kunit-tests.ko)
# What does not work before
about="access-past-end access-read-only leaf-system leaf-vram"
vpfn_tests='vpfn_(mmap|split|mm_fuzz|direct_io|evict|move|race)@|vpfn_unbind@mapped'

# The patched tree shares its other files with the one that it is made from: patch replaces
# files, and does not write into them.
prepare_tree() {
	local from=$1 tree=$2 file

	rm -rf "$tree"
	cp -al "$from" "$tree"
	rm -r "${tree:?}/$(basename "$kernel_build")"
	"$top/vm/trees.sh" linux "$tree"
	for file in "$patches"/000[1-9]-*.patch; do
		patch -d "$tree" -p1 --fuzz=0 --no-backup-if-mismatch <"$file"
	done
}

# With the build directory of the kernel that they are for, which stays as it is
build_modules() {
	local kernel_build=$1 tree=$2 new=$3 module

	prepare_tree "$(dirname "$kernel_build")" "$tree"
	mkdir -p "$tree.out"
	make -C "$tree" O="$kernel_build" ARCH=x86_64 M="$tree/drivers/gpu/drm" MO="$tree.out" \
		-j"$(nproc)" "${modules[@]}"
	for module in "${modules[@]}"; do
		cp "$tree.out/$module" "$new"
	done
	rm -rf "$tree" "$tree.out"
}

# In a subshell, so that the lock is not held while other scripts want it
patch_modules() (
	kernel_build=$("$top/vm/linux.sh" debug --build)
	lock linux-debug
	new=$(scratch "$patched")
	step ttm-helper "building TTM and its drivers with patches/linux/rfc-ttm" \
		build_modules "$kernel_build" "$patched.tree" "$new"
	mv "$new" "$patched"
)

# run_qxl NAME OPTION...
run_qxl() {
	local name=$1
	shift

	"$top/vm/boot.sh" --flavour debug --limit 600 --no-device --qxl "$@" "$name" /vpfn/guest/ttm-helper \
		>/dev/null || die "the tests on QXL did not end, see above"
	[ ! -s "$out/$name/guest/log-load.txt" ] ||
		die "the kernel warned at the load of qxl: $(head -n 1 "$out/$name/guest/log-load.txt")"
	jq -r '.tests | to_entries[] | [(.key | sub(".*@"; "")), .value.result] | @tsv' \
		"$out/$name/guest/results/results.json" | LC_ALL=C sort >"$out/$name/results.tsv"
}

# failures NAME: the tests that did not pass, on one line
failures() {
	awk -F'\t' '$2 != "pass" { print $1 }' "$out/$1/results.tsv" | paste -sd ' '
}

"$top/vm/host-packages.sh" run qxl
kernel=$("$top/vm/linux.sh" debug)
patched=$cache/ttm-helper/$(hash_words "$kernel" "$(hash_files patches/linux/rfc-ttm vm/ttm-helper.sh)")
if ! found "$patched"; then
	prune ttm-helper
	patch_modules
fi
run_qxl ttm-helper-before
run_qxl ttm-helper-after --modules "$patched"
status=0
"$top/vm/check.sh" --flavour debug --name ttm-helper-vpfn --modules "$patched" --tests "$vpfn_tests" || status=1

printf '%-20s %-10s %s\n' 'test on qxl' before after
LC_ALL=C join -t $'\t' "$out"/ttm-helper-{before,after}/results.tsv | awk -F'\t' '{ printf "%-20s %-10s %s\n", $1, $2, $3 }'
if [ "$(failures ttm-helper-before)" != "$about" ]; then
	say "without the patches these should fail, and no others: $about"
	status=1
fi
if [ ! -s "$out/ttm-helper-after/results.tsv" ] || [ -n "$(failures ttm-helper-after)" ]; then
	say "with the patches all tests on QXL should pass"
	status=1
fi
exit $status
