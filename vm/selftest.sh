#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Is make check honest? Breaks one thing at a time, and wants make check to fail with
# the sentence that names it.

. "$(dirname "$0")/lib.sh"

dir=$out/selftest
source=$dir/source
lists=$dir/lists
failures=0
vms=(first second iommu icount)

# A copy of what the guest programs are made of, with more test programs: one for each VM
copy_source() {
	local vm

	rm -rf "$source"
	mkdir -p "$source/vm" "$source/drivers/gpu/drm"
	cp -a "$top"/{tests,demo,bench,include} "$source"
	cp -a "$top/drivers/gpu/drm/vpfn" "$source/drivers/gpu/drm"
	cp -a "$top/vm/guest-programs.mk" "$source/vm"
	cp -a "$top/vm/selftest/vpfn_blind.c" "$source/tests/igt/tests/vpfn"
	for vm in "${vms[@]}"; do
		cp -a "$top/vm/selftest/vpfn_selftest.c" "$source/tests/igt/tests/vpfn/vpfn_selftest_$vm.c"
	done
	edit "$source/tests/igt/tests/vpfn/meson.build" \
		"s/^vpfn_progs = \[/&\n\t'vpfn_blind',$(printf "\\\\n\\\\t'vpfn_selftest_%s'," "${vms[@]}")/"
}

# The lists of make check, and what the additional programs add to them
copy_lists() {
	local list vm subtest

	rm -rf "$lists"
	cp -a "$top/tests/check" "$lists"
	for list in tests messages; do
		cat "$top/vm/selftest/$list.txt" >>"$lists/$list.txt"
	done
	echo "first	vpfn_blind" >>"$lists/vms.txt"
	for vm in "${vms[@]}"; do
		echo "$vm	vpfn_selftest_$vm" >>"$lists/vms.txt"
		for subtest in warning oops hang runner; do
			echo "igt@vpfn_selftest_$vm@$subtest	pass" >>"$lists/tests.txt"
		done
	done
}

# edit FILE SED-SCRIPT: which has to change something
edit() {
	local file=$1 script=$2

	sed -i.before -e "$script" "$file"
	! cmp -s "$file" "$file.before" || die "selftest: '$script' does not fit $file any more"
	rm "$file.before"
}

# expect pass|fail CASE SENTENCE... -- OPTION...: runs make check's script with these options
expect() {
	local verdict=$1 case=$2 sentence sentences=() got=pass log
	shift 2

	while [ "$1" != -- ]; do
		sentences+=("$1")
		shift
	done
	shift
	log=$dir/$case.log
	"$top/vm/check.sh" --source "$source" --lists "$lists" --name "selftest/$case" "$@" >"$log" 2>&1 || got=fail
	for sentence in "${sentences[@]}" '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'; do
		if [ "$got" = "$verdict" ] && grep -qE "$sentence" "$log"; then
			echo "ok: $case: $(grep -m 1 -E "$sentence" "$log")"
		else
			echo "NOT OK: $case: wanted a $verdict with \"$sentence\", got a $got (log: $log)"
			failures=$((failures + 1))
		fi
	done
}

# A kernel whose packed part is damaged: it starts, and that is all
damaged_kernel() {
	local image=$1 size

	size=$(stat -c %s "$image")
	head -c $((size / 2)) "$image"
	head -c $((size / 2)) /dev/zero
}

"$top/vm/host-packages.sh" run
mkdir -p "$dir"
python3 -B "$top/vm/selftest/verdict.py" "$dir/verdict" || failures=1
kernel=$("$top/vm/linux.sh" debug)
copy_source
copy_lists
damaged_kernel "$kernel/bzImage" >"$dir/damaged-kernel"
create='vpfn_gem@create-bad'
storm=$source/tests/stress/vpfn_storm.c

expect pass nothing-broken '^[1-9][0-9]* passed, 0 failed, 0 skipped$' -- --tests "$create"
expect fail kernel-warning '^dmesg-warn: igt@vpfn_selftest_second@warning: .*: a warning' -- \
	--tests vpfn_selftest_second@warning
expect fail kernel-oops '^fail: vm@second: the kernel crashed: Oops: .*, in igt@vpfn_selftest_second@oops' -- \
	--tests vpfn_selftest_second@oops
expect fail dead-runner '^fail: vm@second: .*exit code 137.*, in igt@vpfn_selftest_second@runner' -- \
	--tests vpfn_selftest_second@runner
expect fail missing-device '^fail: vm@first: .*exit code 3' -- --tests "$create" --no-device
expect fail never-boots '^fail: vm@first: the VM never booted: no user space' -- \
	--tests "$create" --image "$dir/damaged-kernel"
expect pass wrong-address '^[1-9][0-9]* passed, 0 failed, 0 skipped$' -- --tests vpfn_blind
edit "$source/tests/igt/tests/vpfn/vpfn_gem.c" 's/^\tigt_assert_eq(create_err(0, 0), -EINVAL);/\tigt_assert_eq(create_err(0, 0), 0);/'
expect fail assertion-turned-round '^fail: igt@vpfn_gem@create-bad.*: tests/igt/tests/vpfn/vpfn_gem.c:[0-9]+: Failed assertion: ' -- \
	--tests "$create"
# The storm's root directory has no shell.
edit "$storm" 's/^\t\ttest_storm(TIMES/\t\ttest_storm((write(open("\/dev\/kmsg", O_WRONLY), "<4>a warning", 12) != 12) + TIMES/'
expect fail kexec-that-warns '^dmesg-warn: vm@kexec: the kernel said: a warning' -- --tests vm@kexec
edit "$storm" 's/(write(.*) != 12)/pause()/'
expect fail hang-in-each-vm '^fail: vm@first: the VM hung: .* did not end within 60 s.*, in igt@vpfn_selftest_first@hang' \
	'^fail: vm@second: the VM hung: .*, in igt@vpfn_selftest_second@hang' \
	'^fail: vm@iommu: the VM hung: .*, in igt@vpfn_selftest_iommu@hang' \
	'^fail: vm@icount: the VM hung: .*, in igt@vpfn_selftest_icount@hang' \
	'^fail: vm@kexec: the VM hung: ' -- --tests 'vpfn_selftest_.*@hang|vm@kexec' --limit 60

[ "$failures" -eq 0 ] || die "selftest: $failures cases did not end as they must"
say "selftest: every case ended as it must"
