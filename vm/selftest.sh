#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Is make check honest? Breaks one thing at a time, and wants make check to fail with
# the sentence that names it.

. "$(dirname "$0")/lib.sh"

dir=$out/selftest
source=$dir/source
failures=0

# A copy of what the guest programs are made of, with two test programs more
copy_source() {
	rm -rf "$source"
	mkdir -p "$source/vm" "$source/drivers/gpu/drm"
	cp -a "$top"/{tests,demo,include} "$source"
	cp -a "$top/drivers/gpu/drm/vpfn" "$source/drivers/gpu/drm"
	cp -a "$top/vm/guest-programs.mk" "$source/vm"
	cp -a "$top"/vm/selftest/*.c "$source/tests/igt"
	edit "$source/tests/igt/meson.build" "s/^vpfn_progs = \[/&\n\t'vpfn_blind',\n\t'vpfn_selftest',/"
}

# edit FILE SED-SCRIPT: which has to change something
edit() {
	local file=$1 script=$2

	sed -i.before -e "$script" "$file"
	! cmp -s "$file" "$file.before" || die "selftest: '$script' does not fit $file any more"
	rm "$file.before"
}

# expect pass|fail SENTENCE CASE OPTION...: runs make check's script with these options
expect() {
	local verdict=$1 sentence=$2 case=$3 got=pass log
	shift 3

	log=$dir/$case.log
	"$top/vm/check.sh" --source "$source" --name "selftest/$case" "$@" >"$log" 2>&1 || got=fail
	if [ "$got" = "$verdict" ] && grep -qE "$sentence" "$log" &&
		tail -n 1 "$log" | grep -qE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'; then
		echo "ok: $case: $(grep -m 1 -E "$sentence" "$log")"
	else
		echo "NOT OK: $case: wanted a $verdict with \"$sentence\", got a $got (log: $log)"
		failures=$((failures + 1))
	fi
}

# A kernel whose packed part is damaged: it starts, and that is all
damaged_kernel() {
	local image=$1 size

	size=$(stat -c %s "$image")
	head -c $((size / 2)) "$image"
	head -c $((size / 2)) /dev/zero
}

"$top/vm/host-packages.sh" run
kernel=$("$top/vm/linux.sh" debug)
mkdir -p "$dir"
copy_source
damaged_kernel "$kernel/bzImage" >"$dir/damaged-kernel"

expect pass '^[1-9][0-9]* passed, 0 failed, 0 skipped$' nothing-broken --tests 'vpfn_mmap@create-bad'
expect fail '^dmesg-warn: igt@vpfn_selftest@warning: .*a warning' kernel-warning --tests vpfn_selftest@warning
expect fail 'the kernel crashed: Oops: ' kernel-oops --tests vpfn_selftest@oops
expect fail 'the VM hung: .* did not end within 40 s' guest-hang --tests vpfn_selftest@hang --limit 40
expect fail 'the vpfn device is missing' missing-device --no-device
expect fail 'the VM never booted: no user space' never-boots --image "$dir/damaged-kernel"
expect pass '^[1-9][0-9]* passed, 0 failed, 0 skipped$' wrong-address --tests vpfn_blind
edit "$source/tests/igt/vpfn_mmap.c" 's/^\tigt_assert_eq(create_err(0, 0), -EINVAL);/\tigt_assert_eq(create_err(0, 0), 0);/'
expect fail '^fail: igt@vpfn_mmap@create-bad' assertion-turned-round --tests 'vpfn_mmap@create-bad'

[ "$failures" -eq 0 ] || die "selftest: $failures cases did not end as they must"
say "selftest: every case ended as it must"
