#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Would the tests notice if the driver broke a rule? Each patch of tests/mutants/ breaks one.
# Builds the driver with it and runs the subtests that its line "Caught-by:" names, on the debug
# kernel: one of them has to fail, or the kernel to complain or crash under it. A mutant that
# they let pass meets most tests, to say whether any notices it. First of all the same subtests
# must pass on the driver as it is.
# Everything is in out/mutants/: mutants.json, and the files of each VM. The last line is the
# count.
# usage: mutants.sh [GLOB...]   only the mutants whose name fits one, such as 'R10-*'

. "$(dirname "$0")/lib.sh"

dir=$out/mutants
driver=drivers/gpu/drm/vpfn
# What the guest gets: a directory for each mutant with its module and the list of its tests
drivers=$dir/drivers/mutants
unbroken=unbroken
all_tests=(gem mmap split rules direct_io memory evict move race place prime interop p2p p2p_move p2p_unplug submit
	cmds queue waits bounds alloc gone unbind probe unplug reset suspend wedged
	recovery kunit)

# select_mutants GLOB...: their names
select_mutants() {
	local glob

	for glob; do
		find "$top/tests/mutants" -name "$glob.patch" -printf '%f\n' | sed 's/\.patch$//'
	done | sort -uV
}

# header NAME FIELD: its value
header() {
	sed -n "/^--- /q; s/^$2: //p" "$top/tests/mutants/$1.patch"
}

# expected NAME...: the subtests that are to catch them, a line each
expected() {
	local name

	for name; do
		header "$name" Caught-by | tr -s ' ' '\n'
	done | sort -u
}

check_headers() {
	local name field

	for name; do
		for field in Rule Breaks Caught-by; do
			[ -n "$(header "$name" $field)" ] || die "$name.patch has no line '$field:'"
		done
	done
}

# Only files that differ, so that make compiles no other
put_changed() {
	local from=$1 to=$2 file

	mkdir -p "$to"
	find "$from" -maxdepth 1 -type f -printf '%f\n' | while read -r file; do
		cmp -s "$from/$file" "$to/$file" || cp "$from/$file" "$to/$file"
	done
}

# The driver with the patch in it. A module from outside of the kernel's tree taints the
# kernel, and no test could then see the taint of a warning: this one claims to be from inside.
mutate() {
	local name=$1 copy=$dir/copy

	rm -rf "$copy"
	mkdir -p "$copy/$driver"
	cp "$top/$driver"/*.[ch] "$top/$driver/Makefile" "$copy/$driver"
	patch -d "$copy" -p1 --fuzz=0 --no-backup-if-mismatch <"$top/tests/mutants/$name.patch"
	printf '#include <linux/module.h>\nMODULE_INFO(intree, "Y");\n' >>"$copy/$driver/vpfn_trace.c"
	put_changed "$copy/$driver" "$dir/module"
}

# A module of its own against the kernel that is built: of what the cache holds nothing
# changes, but for the header of the uAPI, which another branch may have put there.
compile() {
	lock linux-debug
	"$top/vm/trees.sh" linux "$tree"
	make -C "$tree" O="$build" ARCH=x86_64 M="$dir/module" CONFIG_DRM_VPFN_KUNIT_TEST= \
		-j"$(nproc)" modules
}

build_mutants() {
	local name

	for name; do
		echo "== $name"
		mutate "$name"
		(compile)
		mkdir -p "$drivers/$name"
		strip --strip-debug -o "$drivers/$name/vpfn.ko" "$dir/module/vpfn.ko"
		expected "$name" | sed 's/^/igt@/' >"$drivers/$name/tests"
	done
}

# run VM NAME...: boots the VM of that name with these drivers. It may end under one of them.
run() {
	local vm=$1 subtests name status=0
	shift

	subtests=$(for name; do cat "$drivers/$name/tests"; done | wc -l)
	# The kernel takes no more than 32 arguments
	printf '%s\n' "$@" >"$drivers/names"
	"$top/vm/boot.sh" --flavour debug --limit $((600 + 120 * subtests)) --add "$dir/drivers" \
		"mutants/$vm" /vpfn/guest/mutants >"$dir/$vm.log" 2>&1 || status=$?
	# A VM that crashes or hangs is a finding, one that does not start is none
	[[ $status = 0 || $status = 201 || $status = 202 ]] || step_failed "$dir/$vm.log" "running the VM"
}

# begun VM: the drivers whose turn came in it, in their order
begun() {
	sed -n 's/^mutant: \([^\r]*\).*/\1/p' "$dir/$1/output.log"
}

# results VM NAME: one line for each subtest of it, its name, its result, and why it is no pass
results() {
	python3 -B "$top/vm/verdict/rows.py" "$dir/$1/guest/$2" "$dir/$1/guest/$2/kernel.log"
}

# What the kernel said when it ended the VM
last_words() {
	grep -m 1 -aE 'BUG: |Oops: |kernel BUG at |Kernel panic' "$dir/$1/console.log" | tr -d '\r' |
		sed 's/^\[[^]]*\] *//'
}

# catcher VM NAME: who failed, how, and why: the first bad result, or under which subtest the
# VM ended. Nothing, if all passed or skipped.
catcher() {
	local vm=$1 name=$2 runner=$dir/$1/guest/$2 last words

	if [ -s "$runner/results.json" ]; then
		results "$vm" "$name" |
			awk -F'\t' '$2 !~ /^(pass|skip|notrun|abort)$/ { print; exit }'
		return
	fi
	last=$(find "$runner" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | sort -n | tail -n 1)
	words=$(last_words "$vm" || true)
	if [ -z "$last" ]; then
		printf 'none: it does not load\tfail\t%s\n' "$words"
		return
	fi
	printf '%s\t%s\t%s\n' "$(sed -n "$((last + 1))p" "$runner/joblist.txt" | tr ' ' '@')" \
		"$([ -n "$words" ] && echo oops || echo hang)" "$words"
}

# Is it one of the subtests, or of their dynamic subtests, that the patch names?
is_expected() {
	local by=$1 name=$2 test

	while read -r test; do
		[[ $by@ != "$test@"* && $test@ != "$by@"* ]] || return 0
	done < <(expected "$name")
	return 1
}

# record VM NAME VERDICT: a line of JSON, and a row of the table
record() {
	local vm=$1 name=$2 verdict=$3 by='' how='' words=''

	IFS=$'\t' read -r by how words < <(catcher "$vm" "$name") || true
	[ "$verdict" != caught ] || is_expected "$by" "$name" || verdict=misnamed
	jq -nc --arg name "$name" --arg rule "$(header "$name" Rule)" --arg breaks "$(header "$name" Breaks)" \
		--arg expected "$(header "$name" Caught-by)" --arg verdict "$verdict" \
		--arg by "$by" --arg how "$how" --arg words "$words" --arg vm "$vm" '$ARGS.named' \
		>>"$dir/mutants.ndjson"
	printf '%-26s %-9s %-34s %-11s %s\n' "$name" "$verdict" "$by" "$how" "${words:0:100}"
}

# The subtests that should catch it have let it pass: does any other?
ask_all() {
	local name=$1

	printf 'igt@vpfn_%s\n' "${all_tests[@]}" >"$drivers/$name/tests"
	run "all-$name" "$name"
	if [ -n "$(catcher "all-$name" "$name")" ]; then
		record "all-$name" "$name" misnamed
	else
		record "all-$name" "$name" survived
	fi
}

# One VM runs one mutant after the other, until one leaves the kernel unfit for the next
judge_all() {
	local left=("$@") seen=() escaped=() vm=0 name

	while [ ${#left[@]} -gt 0 ]; do
		vm=$((vm + 1))
		run "vm-$vm" "${left[@]}"
		mapfile -t seen < <(begun "vm-$vm")
		[ ${#seen[@]} -gt 0 ] || step_failed "$dir/vm-$vm.log" "starting a VM with ${left[0]}"
		for name in "${seen[@]}"; do
			if [ -n "$(catcher "vm-$vm" "$name")" ]; then
				record "vm-$vm" "$name" caught
			else
				escaped+=("$name")
			fi
		done
		left=("${left[@]:${#seen[@]}}")
	done
	for name in "${escaped[@]}"; do
		ask_all "$name"
	done
}

# The driver as it is passes the same tests: else a failure would say nothing
check_unbroken() {
	mkdir -p "$drivers/$unbroken"
	expected "$@" | sed 's/^/igt@/' >"$drivers/$unbroken/tests"
	say "the driver as it is: $(wc -l <"$drivers/$unbroken/tests") subtests"
	run "$unbroken" "$unbroken"
	[ -z "$(catcher "$unbroken" "$unbroken")" ] ||
		die "the driver as it is fails: $(catcher "$unbroken" "$unbroken") (log: $dir/$unbroken.log)"
}

# A mutant that names a subtest to be put beside the driver as it is: what both have to say
show_beside() {
	local name=$1 test vm

	test=$(header "$name" Beside)
	[ -n "$test" ] || return 0
	vm=$(jq -r --arg name "$name" '.[] | select(.name == $name).vm' "$dir/mutants.json")
	printf '\n%s: %s\n  the driver as it is:\n' "$name" "$(header "$name" Breaks)"
	jq -r --arg test "igt@$test" '.tests | to_entries[] | select(.key | startswith($test)).value.out |
		split("\n")[] | select(test("O_DIRECT"))' "$dir/$unbroken/guest/$unbroken/results.json" | sed 's/^ */    /'
	echo "  the mutant:"
	tr -d '\r' <"$dir/$vm/console.log" | sed 's/^\[[^]]*\] *//' |
		awk '/BUG: unable|Oops:|RIP: 0010/ && !seen[$0]++ && n++ < 4 { print "    " $0 }'
}

"$top/vm/host-packages.sh" run
build=$("$top/vm/linux.sh" debug --build)
tree=$(dirname "$build")
mapfile -t names < <(select_mutants "${@:-*}")
[ ${#names[@]} -gt 0 ] || die "no mutant is called '$*'"
check_headers "${names[@]}"
rm -rf "$dir"
mkdir -p "$dir"
check_unbroken "${names[@]}"
step mutants "building ${#names[@]} mutants of the driver" build_mutants "${names[@]}"
judge_all "${names[@]}"

jq -s . "$dir/mutants.ndjson" >"$dir/mutants.json"
rm "$dir/mutants.ndjson"
for name in "${names[@]}"; do
	show_beside "$name"
done
jq -r '.[] | select(.verdict == "misnamed") | "\(.name): not caught by \(.expected), but by \(.by)"' "$dir/mutants.json"
jq -r '"\(map(select(.verdict != "survived")) | length) caught, \(map(select(.verdict == "survived")) | length) survived"' "$dir/mutants.json"
jq -e 'all(.verdict == "caught")' "$dir/mutants.json" >/dev/null
