#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which one-line bugs would no test notice? Makes mutants of each file of the driver and of the
# device at random (vm/mutator/), asks the tests that reach the line, the quickest first, and
# counts by file who was killed. Goes on where an earlier run with the same sources and SEED
# ended. A survivor that is no bug stands in tests/mutants/argued.txt with the reason.
# In out/automutants/, table.txt is the count, survivors.txt what no test noticed, patches/ has all
# mutants. Fails if a file has more survivors than one in ten, or one in 33 where the leaves are made.
# usage: automutants.sh [option...] [GLOB...]   mutants of the files that fit one
#   --count N          so many of each file (10)
#   --seed SEED        which ones (1)
#   --budget SECONDS   the tests of a mutant that take no longer than this in all (200)

. "$(dirname "$0")/lib.sh"

count=10
seed=1
budget=200
while [[ ${1:-} = --* ]]; do
	case $1 in
	--count) count=$2 && shift ;;
	--seed) seed=$2 && shift ;;
	--budget) budget=$2 && shift ;;
	*) die "unknown option $1" ;;
	esac
	shift
done
globs=("${@:-*}")

dir=$out/automutants
driver=drivers/gpu/drm/vpfn
device="qemu-device/hw/misc/vpfn.c"
patches=$dir/patches
verdicts=$dir/verdicts.tsv
unbroken=unbroken

mutator() {
	python3 -B "$top/vm/mutator/$1.py" "${@:2}"
}

# Those of the driver that have statements, and the device
all_files() {
	(cd "$top" && find "$driver" -maxdepth 1 -name '*.c' ! -name vpfn_trace.c | sort)
	echo "$device"
}

# selected FILE: does its name fit one of the globs?
selected() {
	local glob

	for glob in "${globs[@]}"; do
		# shellcheck disable=SC2053
		[[ $(basename "$1") != $glob ]] || return 0
	done
	return 1
}

# lines_of NAME: the first and the last line of its statement
lines_of() {
	awk -F'\t' -v name="$1" '$1 == name { print $3, $4 }' "$dir/list.tsv"
}

# verdict NAME: what is known of it
verdict() {
	awk -F'\t' -v name="$1" '$1 == name { print $2 }' "$verdicts"
}

# wanted FILE: its mutants without a verdict, until COUNT of them are good ones. A mutant that the
# compiler refuses, or in whose object it sees no difference, is none.
wanted() {
	local left=$count name

	while [ "$left" -gt 0 ] && read -r name _; do
		[ -n "$(verdict "$name")" ] || echo "$name"
		[[ $(verdict "$name") =~ ^(stillborn|equivalent)$ ]] || left=$((left - 1))
	done < <(grep "	$1	" "$dir/list.tsv")
}

# record NAME VERDICT [TEST [FAILURE]]
record() {
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "${3:-}" "${4:-}" >>"$verdicts"
	[[ $2 != killed && $2 != survived && $2 != unreached ]] ||
		printf '%-22s %-10s %-18s %s\n' "$1" "$2" "${3:-}" "${4:-}" | tr -d '\r'
}

# patched NAME FILE: prints the mutant of the file
patched() {
	patch -s --fuzz=0 -o - "$top/$2" "$patches/$1.patch"
}

# Only a file that differs, so that make compiles no other
put() {
	cmp -s - "$2" <"$1" || cp "$1" "$2"
}

# compile [VARIABLE=VALUE...]: a module of its own against the kernel that is built
compile() {
	make -C "$tree" O="$build" ARCH=x86_64 M="$dir/module" CONFIG_DRM_VPFN_KUNIT_TEST= \
		-j"$(nproc)" "$@" modules
}

# The kernel's tree gives its header of the uAPI to one build at a time
locked() (
	lock linux-debug
	"$top/vm/trees.sh" linux "$tree"
	"$@"
)

# A module from outside of the kernel's tree taints the kernel: this one claims to be from inside
put_driver() {
	local file

	mkdir -p "$dir/module"
	for file in "$top/$driver"/*.[ch] "$top/$driver/Makefile"; do
		put "$file" "$dir/module/$(basename "$file")"
	done
	cp "$top/$driver/vpfn_trace.c" "$dir/trace.c"
	printf '#include <linux/module.h>\nMODULE_INFO(intree, "Y");\n' >>"$dir/trace.c"
	put "$dir/trace.c" "$dir/module/vpfn_trace.c"
}

# code_of OBJECT: what the compiler made of a file, without what tells its lines
code_of() {
	strip --strip-debug -o "$dir/stripped.o" "$1"
	sha256sum <"$dir/stripped.o"
}

# Which lines does each test reach, and how long does it take? The driver counts them itself.
measure_reach() {
	local counting=() file

	mkdir -p "$dir/drivers/drivers/$unbroken"
	for file in "$dir/module"/*.c; do
		counting+=("GCOV_PROFILE_$(basename "$file" .c).o=y")
	done
	locked compile "${counting[@]}"
	strip --strip-debug -o "$dir/drivers/drivers/$unbroken/vpfn.ko" "$dir/module/vpfn.ko"
	: >"$dir/drivers/drivers/$unbroken/counts"
	sed -n 's/^\(first\|second\|hotplug\)\t\(vpfn_.*\)/\2 600/p' "$top/tests/check/vms.txt" |
		grep -vE 'storm|mm_fuzz' >"$dir/drivers/drivers/$unbroken/tests"
	echo "$unbroken" >"$dir/drivers/drivers/names"
	boot reach $((300 + 120 * $(wc -l <"$dir/drivers/drivers/$unbroken/tests")))
	[ -e "$dir/reach/guest/$unbroken/verdict" ] || die "the tests did not end (log: $dir/reach.log)"
	[ ! -s "$dir/reach/guest/$unbroken/verdict" ] ||
		die "the driver as it is fails: $(<"$dir/reach/guest/$unbroken/verdict")"
	mutator reach "$dir/module" "$dir/reach/guest/$unbroken" >"$dir/reach.new"
	rm -rf "$dir/module"
	mv "$dir/reach.new" "$dir/reach.tsv"
}

# boot VM SECONDS: with the drivers. It may end under one of them.
boot() {
	"$top/vm/boot.sh" --flavour debug --hotplug --limit "$2" --add "$dir/drivers" "automutants/$1" \
		/vpfn/guest/automutants >"$dir/$1.log" 2>&1 || true
}

# good NAME FILE OBJECT RIGHT COMPILE...: does the mutant compile, and to another object?
good() {
	local name=$1 file=$2 object=$3 right=$4
	shift 4

	if ! "$@" >"$dir/compile.log" 2>&1; then
		record "$name" stillborn
	elif [ "$(code_of "$object")" = "$right" ]; then
		record "$name" equivalent
	else
		return 0
	fi
	return 1
}

# Each round builds as many as the last one found not to be good
build_driver() {
	local file=$1 copy object right name names from to

	copy=$dir/module/$(basename "$file")
	object=${copy%.c}.o
	cp "$top/$file" "$copy"
	locked compile >"$dir/compile.log" 2>&1
	right=$(code_of "$object")
	while :; do
		mapfile -t names < <(wanted "$file" | while read -r name; do
			[ -e "$dir/drivers/drivers/$name" ] || echo "$name"
		done)
		[ ${#names[@]} -gt 0 ] || break
		for name in "${names[@]}"; do
			patched "$name" "$file" >"$copy"
			good "$name" "$file" "$object" "$right" locked compile || continue
			mkdir -p "$dir/drivers/drivers/$name"
			strip --strip-debug -o "$dir/drivers/drivers/$name/vpfn.ko" "$dir/module/vpfn.ko"
			read -r from to <<<"$(lines_of "$name")"
			mutator tests "$dir/reach.tsv" "$(basename "$file")" "$from" "$to" "$budget" \
				>"$dir/drivers/drivers/$name/tests"
		done
	done
	cp "$top/$file" "$copy"
}

# One VM asks about one after the other, until one leaves the kernel unfit for the next
judge_drivers() {
	local name vm=0 left seconds last

	while :; do
		left=()
		for name in $(find "$dir/drivers/drivers" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -V); do
			if [ ! -s "$dir/drivers/drivers/$name/tests" ]; then
				record "$name" unreached
				rm -r "$dir/drivers/drivers/$name"
			else
				left+=("$name")
			fi
		done
		[ ${#left[@]} -gt 0 ] || return 0
		printf '%s\n' "${left[@]}" >"$dir/drivers/drivers/names"
		seconds=$(cat "$dir/drivers/drivers"/*/tests | awk '{ sum += $2 } END { print 600 + sum }')
		vm=$((vm + 1))
		boot "vm-$vm" "$seconds"
		last=
		for name in "${left[@]}"; do
			[ -d "$dir/vm-$vm/guest/$name" ] || break
			last=$name
			judge "vm-$vm" "$name"
			rm -r "$dir/drivers/drivers/$name"
		done
		[ -n "$last" ] || step_failed "$dir/vm-$vm.log" "starting a VM with ${left[0]}"
	done
}

# judge VM NAME: by what the guest left, or by how it ended
judge() {
	local verdict=$dir/$1/guest/$2/verdict test failure

	if [ -s "$verdict" ]; then
		IFS=$'\t' read -r test failure <"$verdict"
		record "$2" killed "$test" "$failure"
	elif [ -e "$verdict" ]; then
		record "$2" survived
	else
		record "$2" killed "$(basename "$(find "$dir/$1/guest/$2" -name '*.log' -printf '%T@ %p\n' | sort -n | tail -n 1)" .log)" \
			"$(grep -m 1 -aE 'BUG: |Oops: |kernel BUG at |Kernel panic' "$dir/$1/console.log" || echo 'the VM hangs')"
	fi
}

# The device: QEMU is linked anew for each mutant, in a copy of what was built
judge_device() {
	local names name qemu work object right failure

	qemu=$("$top/vm/qemu.sh")
	work=$(dirname "$("$top/vm/qemu.sh" --tree)")
	[ -d "$dir/qemu" ] || {
		cp -a "$work" "$dir/qemu.new"
		mv "$dir/qemu.new" "$dir/qemu"
	}
	cp "$top/$device" "$dir/qemu/tree/hw/misc/vpfn.c"
	link >"$dir/compile.log" 2>&1
	object=$(find "$dir/qemu/build" -name 'hw_misc_vpfn.c.o')
	right=$(code_of "$object")
	failure=$(qtest_failure "$qemu")
	[ -z "$failure" ] || die "the device as it is fails $failure"
	while :; do
		mapfile -t names < <(wanted "$device")
		[ ${#names[@]} -gt 0 ] || break
		for name in "${names[@]}"; do
			patched "$name" "$device" >"$dir/qemu/tree/hw/misc/vpfn.c"
			good "$name" "$device" "$object" "$right" link || continue
			failure=$(qtest_failure "$qemu")
			record "$name" "$([ -n "$failure" ] && echo killed || echo survived)" "$failure"
		done
	done
}

# In an environment in which ninja finds the meson of the build
link() {
	(cd "$dir/qemu/build" && ninja qemu-system-x86_64)
}

# qtest_failure QEMU: the first of its tests that fails, if one does
qtest_failure() {
	local qemu=$1 test

	cd "$qemu/share"
	for test in $("$qemu/vpfn-test" -l | sed -nE 's|^(# )?(/.*)|\2|p'); do
		if ! QTEST_QEMU_BINARY=$dir/qemu/build/qemu-system-x86_64 timeout 60 "$qemu/vpfn-test" --tap \
			-p "$test" >"$dir/qtest.log" 2>&1 || grep -q '^not ok' "$dir/qtest.log"; then
			echo "$test"
			break
		fi
	done
}

"$top/vm/host-packages.sh" run
build=$("$top/vm/linux.sh" debug --build)
tree=$(dirname "$build")
mkdir -p "$dir"
id=$seed-$(cd "$top" && hash_files "$driver" "$device" vm/mutator/{source,operators,mutants}.py)
if [ "$(cat "$dir/id" 2>/dev/null)" != "$id" ]; then
	rm -rf "${dir:?}"/*
	mkdir -p "$patches"
	mapfile -t names < <(all_files)
	mutator mutants "$seed" "$patches" "$top" "${names[@]}" >"$dir/list.tsv"
	: >"$verdicts"
	echo "$id" >"$dir/id"
fi
rm -rf "$dir/drivers"
mkdir -p "$dir/drivers/drivers"
put_driver
if [ ! -e "$dir/reach.tsv" ]; then
	step automutants-reach "which tests reach which lines" measure_reach
	rm -rf "$dir/drivers"
	mkdir -p "$dir/drivers/drivers"
	put_driver
fi
for file in $(all_files); do
	if ! selected "$file"; then
		continue
	elif [ "$file" = "$device" ]; then
		judge_device
	else
		say "building $count mutants of $(basename "$file")"
		build_driver "$file"
		judge_drivers
	fi
done
mutator table "$dir" "$top/tests/mutants/argued.txt"
