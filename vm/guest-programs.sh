#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which programs run in the VM? The demonstration and the IGT tests, compiled against
# the root file system. Prints the directory that holds bin/ and igt/.
# usage: guest-programs.sh SYSROOT SOURCE

. "$(dirname "$0")/lib.sh"

sysroot=$1
source=$2
result=$cache/guest/$(hash_words "$sysroot" "$source" "$(compiler)")

compile() {
	make -f "$source/vm/guest-programs.mk" SYSROOT="$sysroot" OUT="$result" SRC="$source" -j"$(nproc)"
}

lock "guest-$(basename "$result")"
prune guest
mkdir -p "$result"
log=$(log_directory)/guest-programs.log
compile >"$log" 2>&1 || step_failed "$log" "compiling the guest programs"
touch "$result"
echo "$result"
