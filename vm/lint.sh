#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Would the trees take our files? Runs the checkers of the Linux and QEMU trees on
# them, and shellcheck on the harness. Any finding fails.

. "$(dirname "$0")/lib.sh"

driver=drivers/gpu/drm/vpfn
uapi=include/uapi/drm/vpfn_drm.h
status=0

# check WHAT COMMAND...
check() {
	local what=$1 found
	shift

	# Not `if "$@"`: that would switch off errexit, and the last command alone would count
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1
	found=$?
	set -e
	if [ $found -eq 0 ]; then
		say "lint: $what: clean"
	else
		cat "$log" >&2
		say "lint: $what: FAILED"
		status=1
	fi
}

# Files are checked where they would sit, so that the checker says their own names
linux_checkpatch() {
	cd "$tree"
	find "$driver" "$uapi" -name '*.[ch]' -print0 |
		xargs -0 perl scripts/checkpatch.pl --strict --terse --show-types -f
}

# The tree has no history to look a commit up in
patches_checkpatch() {
	cd "$tree"
	find "$top/patches/linux" -maxdepth 1 -name '*.patch' ! -name '0000-*' -print0 |
		xargs -0 perl scripts/checkpatch.pl --strict --terse --show-types \
			--ignore=UNKNOWN_COMMIT_ID
}

# The options are those of IGT's .checkpatch.conf, without what checkpatch cannot know:
# the names of libdrm, the forms of igt_main() and of a for_each macro, and that this
# is no kernel code.
igt_checkpatch() {
	cd "$tree"
	find "$top"/tests/{igt,stress,mm-bugs,ttm-helper} "$top"/{bench,demo} "$top/vm/selftest" -name '*.[ch]' -print0 |
		xargs -0 perl scripts/checkpatch.pl --strict --terse --show-types --max-line-length=100 \
			--ignore=BIT_MACRO,SPLIT_STRING,LONG_LINE_STRING,BOOL_MEMBER,PREFER_KERNEL_TYPES,CAMELCASE,FUNCTION_WITHOUT_ARGS,PREFER_DEFINED_ATTRIBUTE_MACRO,MACRO_ARG_REUSE,MACRO_ARG_PRECEDENCE -f
}

# Only make mutants and make ttm-helper would find it otherwise, and they take long
patches_apply() {
	local patch unfit=0

	cd "$top"
	for patch in tests/mutants/*.patch patches/linux/rfc-ttm/*-drm-vpfn-*.patch; do
		patch -p1 --fuzz=0 --dry-run --force --silent <"$patch" || {
			echo "$patch does not apply"
			unfit=1
		}
	done
	return "$unfit"
}

qemu_checkpatch() {
	cd "$qemu_tree"
	{
		(cd "$top/qemu-device" && find . -name '*.[ch]' -printf '%P\0')
		printf '%s\0' include/hw/misc/vpfn_regs.h
	} | xargs -0 perl scripts/checkpatch.pl --strict --terse -f
}

# Both speak for files that are compiled, so all of them are compiled again. The
# kernel's own headers are not ours to lint. kbuild goes on without a sparse that it
# cannot use, so look whether it ran.
warnings_and_sparse() {
	rm -f "$build/$driver"/*.o
	make -C "$tree" O="$build" ARCH=x86_64 W=1 C=1 CHECK="$sparse" -j"$(nproc)" "$driver/"
	grep -q "CHECK .*/vpfn_mmap.c" "$log"
	if grep -qE "(vpfn[a-z_]*\.[ch]|$driver).*(warning|error):" "$log"; then
		return 1
	fi
}

kernel_doc() {
	cd "$tree"
	find "$driver" "$uapi" -name '*.[ch]' -print0 | xargs -0 scripts/kernel-doc -none -Werror
}

# Prints which file uses which
driver_layers() {
	"$top/vm/layers.py" "$top/$driver"
}

# Does the kernel have the functions that the documents name?
document_claims() {
	"$top/vm/doc-claims.py" "$tree" "$top/$driver" "$top"/Documentation/gpu/{huge-pfnmap,vpfn}.rst
}

shell_scripts() {
	cd "$top"
	grep -lE '^#!/bin/(ba)?sh' -r vm .ci | xargs shellcheck vm/lib.sh vm/guest/kernel-log.sh
}

"$top/vm/host-packages.sh" run lint
build=$("$top/vm/linux.sh" debug --build)
tree=$(dirname "$build")
qemu_tree=$("$top/vm/qemu.sh" --tree)
sparse=$("$top/vm/sparse.sh")
lock linux-debug
log=$(log_directory)/lint.log

check "driver, checkpatch --strict" linux_checkpatch
check "driver, W=1 and sparse" warnings_and_sparse
check "driver, kernel-doc" kernel_doc
check "driver, layers" driver_layers
check "documents, functions of the kernel" document_claims
check "tests, checkpatch --strict with IGT's options" igt_checkpatch
check "patches, checkpatch --strict" patches_checkpatch
check "mutants and rfc-ttm, apply" patches_apply
check "device, QEMU's checkpatch" qemu_checkpatch
check "device, specification and qtests" "$top/vm/spec-coverage.sh"
check "scripts, shellcheck" shell_scripts
exit $status
