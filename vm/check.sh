#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does everything behave as listed? Runs the device's qtests, and on the debug kernel the IGT tests, our
# own and those for any DRM driver, in several VMs, two at a time. vm/verdict/ judges what they
# leave by the lists of tests/check/: which tests have to run, which of them skip, what the kernel
# says. Prints a line for each binary as it ends, then the failures; the last line is the count.
# report.html begins with the failures and their logs, and has all results; matrix.md has the
# answers of the tests as tables; junit.xml, results.ktap and the lists of drm-ci are for CI systems.
# usage: check.sh [option...] [option of boot.sh...]
#   --tests REGEX    only these: binaries, igt@BINARY@SUBTEST, qtest@PATH, vm@kexec
#   --name NAME      the directory in out/ (check)
#   --lists DIR      the lists (tests/check)
#   --update-lists   run nothing: write what the last run was to the lists
# exit codes: 0 all is as listed; 1 a test failed, or the kernel said what is not listed, or a VM
# did not end well; 2 nothing was judged, because a build failed
# VPFN_STORM_SECONDS, VPFN_MM_FUZZ_SECONDS: how long vpfn_storm and each subtest of
# vpfn_mm_fuzz run, if not the usual time; VPFN_RACE_MOVES: how often vpfn_race@fault-race moves
# its buffer, if not as often as usual; VPFN_STORM_SEED, VPFN_MM_FUZZ_SEED: what they printed,
# to have the same choices again

. "$(dirname "$0")/lib.sh"

tests=
name=check
lists=$top/tests/check
update=
source=$top
flavour=debug
boot=()
limit=$((2700 + ${VPFN_STORM_SECONDS:-0} + 5 * ${VPFN_MM_FUZZ_SECONDS:-0} + ${VPFN_RACE_MOVES:-0}))
for variable in VPFN_{STORM,MM_FUZZ}_{SECONDS,SEED} VPFN_RACE_MOVES; do
	[ -z "${!variable:-}" ] || boot+=(--env "$variable=${!variable}")
done
while [ $# -gt 0 ]; do
	case $1 in
	--tests) tests=$2 && shift ;;
	--name) name=$2 && shift ;;
	--lists) lists=$2 && shift ;;
	--update-lists) update=yes ;;
	--source) source=$2 && shift ;;
	--flavour) flavour=$2 && shift ;;
	--limit) limit=$2 && shift ;;
	*) boot+=("$1") ;;
	esac
	shift
done
boot+=(--flavour "$flavour" --source "$source" --limit "$limit")
dir=$out/$name

verdict() {
	python3 -B "$top/vm/verdict" --lists "$lists" "$@" "$dir"
}

# Build once before several VMs start. The qtests need no kernel: run them beside its build.
build() {
	"$top/vm/host-packages.sh" run
	"$top/vm/qemu.sh" >/dev/null
	! selected_qtests || start run_qtests
	"$top/vm/linux.sh" "$flavour" >/dev/null
	sysroot=$("$top/vm/rootfs.sh")/sysroot
	programs=$("$top/vm/guest-programs.sh" "$sysroot" "$source")
}

# Not grep -q: it would end before the command that writes to it
matches() {
	grep -iP -e "$tests" >/dev/null
}

selected_qtests() {
	[ -z "$tests" ] || grep '^qtest@' "$lists/tests.txt" | cut -f1 | matches
}

# subtests BINARY: as igt_runner would call them
subtests() {
	local binary=$1 path=$programs/igt/$1 libraries=$sysroot/usr/lib/x86_64-linux-gnu

	[ -e "$path" ] || path=$sysroot/usr/libexec/igt-gpu-tools/$binary
	"$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$path" --list-subtests 2>/dev/null |
		sed "s/^/igt@$binary@/"
}

# selected_vm VM: does it run any of the tests?
selected_vm() {
	local binary

	[ -n "$tests" ] || return 0
	if echo "vm@$1" | matches; then
		return 0
	fi
	while read -r binary; do
		if echo "$binary" | matches || subtests "$binary" | matches; then
			return 0
		fi
	done < <(sed -n "s/^$1\t//p" "$lists/vms.txt")
	return 1
}

# A binary without a VM would never run
check_vms() {
	local binary

	for binary in $(sed '/TESTLIST/d' "$programs/igt/test-list.txt") $(grep -v '^#' "$top/tests/generic/programs.txt"); do
		grep -q "^[a-z]*[[:space:]]$binary$" "$lists/vms.txt" || die "$lists/vms.txt has no VM for $binary"
	done
}

run_qtests() {
	local start=$SECONDS

	"$top/vm/qtest.sh" --name "$name" >"$dir/qtest.txt" || true
	say "qtests: $(tail -n 1 "$dir/qtest.txt"), $((SECONDS - start)) s"
}

# progress VM: a line for each binary that ends in it, from igt_runner's output
progress() {
	local vm=$1 line binary='' start=$SECONDS count

	declare -A count
	while read -r line; do
		# Each line begins with the time
		line=${line#\[*.*\] }
		case $line in
		\[*/*\]*)
			end_binary
			read -r _ binary _ <<<"$line"
			start=$SECONDS
			count=()
			;;
		'Subtest '* | 'Dynamic subtest '*)
			line=${line##*: }
			line=${line%% *}
			count[$line]=$((${count[$line]:-0} + 1))
			;;
		esac
	done
	end_binary
}

end_binary() {
	local failed=0 result

	[ -n "$binary" ] || return 0
	for result in "${!count[@]}"; do
		[[ $result = SUCCESS || $result = SKIP ]] || failed=$((failed + count[$result]))
	done
	printf '%-10s %-20s %4d passed %3d failed %3d skipped %5d s\n' "$vm" "$binary" \
		"${count[SUCCESS]:-0}" "$failed" "${count[SKIP]:-0}" "$((SECONDS - start))"
}

# run_vm VM PROGRAM ARGUMENT...
run_vm() {
	local vm=$1 status=0 start=$SECONDS options=()
	shift

	case $vm in
	hotplug | iommu | icount) options=("--$vm") ;;
	esac
	"$top/vm/boot.sh" "${boot[@]}" "${options[@]}" --add "$dir/add" "$name/$vm" "$@" \
		2>"$dir/$vm.txt" | progress "$vm" || status=$?
	echo "$status $((SECONDS - start))" >"$dir/$vm.status"
	[ $status -eq 0 ] || tail -n 1 "$dir/$vm.txt" >&2
	say "the VM $vm took $((SECONDS - start)) s"
}

# start COMMAND...: in the background, when there is room for it: a VM keeps one CPU busy, and may
# use 8 GiB
start() {
	local places

	places=$(awk '/^MemTotal/ { print int($2 / 1024 / 8192) }' /proc/meminfo)
	[ "$places" -le "$(nproc)" ] || places=$(nproc)
	while [ "$(jobs -pr | wc -l)" -ge "$((places > 1 ? places : 1))" ]; do
		wait -n || true
	done
	"$@" {busy}>&- &
}

# vms: their names, in the order in which they start
vms() {
	sed -n 's/^\([a-z]*\)\t.*/\1/p' "$lists/vms.txt" | uniq
	echo kexec
}

start_vms() {
	local vm

	for vm in $(vms); do
		if ! selected_vm "$vm"; then
			continue
		elif [ "$vm" = kexec ]; then
			start run_vm "$vm" /vpfn/guest/kexec-busy
		else
			start run_vm "$vm" /vpfn/guest/check "$vm" ${tests:+"$tests"}
		fi
	done
	wait
}

# Remove what an earlier run left, so that it is not judged
clear_directory() {
	local vm

	for vm in $(vms); do
		rm -rf "${dir:?}/$vm" "$dir/$vm".{status,txt}
	done
	rm -rf "$dir"/{qtest.tap,qtest.txt,results.json,results.ktap,junit.xml,report.html,matrix.md,add}
	rm -f "$dir"/{vpfn,core_pfnmap}{.testlist,-fails.txt,-flakes.txt,-skips.txt}
	mkdir -p "$dir/add/check"
	cp "$lists/vms.txt" "$dir/add/check"
	echo "$tests" >"$dir/selection"
}

# Ends what runs in the background; 2 is the exit code of an end before the verdict
clean_up() {
	local status=$? pid

	for pid in $(jobs -pr); do
		kill -- "-$pid" 2>/dev/null || true
	done
	[ -n "$judged" ] || [ $status -gt 128 ] || exit 2
}

judged=
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Process groups of their own for the background, so that they can be ended
set -m
mkdir -p "$dir"
exec {busy}>"$dir/.lock"
if ! flock -n "$busy"; then
	say "waiting for another run that writes to $dir; OUT= would choose another directory"
	flock "$busy"
fi
if [ -n "$update" ]; then
	verdict --update
	judged=yes
	exit
fi
clear_directory
build
check_vms
start_vms
judged=yes
say "the results are in $dir/report.html; it took $SECONDS s"
verdict
