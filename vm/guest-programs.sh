#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which programs run in the VM? The demonstration and the IGT tests, compiled against
# the root file system. Prints the directory that holds bin/ and igt/.
# usage: guest-programs.sh SYSROOT SOURCE

. "$(dirname "$0")/lib.sh"

sysroot=$1
source=$2
# A name that does not depend on where the cache is
sysroot_id=$(basename "$(dirname "$sysroot")")

current_id() {
	hash_words "$sysroot_id" "$(compiler)" "$(hash_files_of "$source" tests demo bench include vm/guest-programs.mk)"
}

compile() {
	make -f "$source/vm/guest-programs.mk" SYSROOT="$sysroot" OUT="$work" SRC="$source" -j"$(nproc)" \
		DEST="$1" install
}

# The objects stay for the next state of this tree; a result never changes
build() {
	local new log

	lock "$(basename "$work")"
	found "$cache/guest/$id" && return
	prune build
	prune_older 3 guest
	mkdir -p "$work"
	touch "$work"
	new=$(scratch "$cache/guest/$id")
	log=$(log_directory)/guest-programs.log
	compile "$new" >"$log" 2>&1 || step_failed "$log" "compiling the guest programs"
	# Unless a source was edited meanwhile
	[ "$(current_id)" != "$id" ] || mv "$new" "$cache/guest/$id"
}

work=$cache/build/guest-$(hash_words "$sysroot_id" "$source" "$(compiler)")
id=$(current_id)
until found "$cache/guest/$id"; do
	(build)
	id=$(current_id)
done
echo "$cache/guest/$id"
