#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which sparse reads Linux 7.3? The releases of Debian 12 and 13 do not know
# __typeof_unqual__, and the kernel's build leaves such a sparse out, silently. So it
# is built from forky's source. Prints the path of the program.

. "$(dirname "$0")/lib.sh"

release=forky

build() {
	local new=$1

	"$top/vm/apt.sh" source "$release" "$new/tree" sparse '*'
	# Debian's patch names a compiler that only forky has
	make -C "$new/tree" -j"$(nproc)" CC=gcc HAVE_SQLITE= HAVE_LIBXML= HAVE_GTK= HAVE_LLVM= sparse
	cp "$new/tree/sparse" "$new/sparse"
	rm -r "${new:?}/tree"
}

lock sparse
result=$cache/sparse/$release-$(hash_words "$(compiler)" "$(hash_files vm/sparse.sh)")
if ! found "$result"; then
	new=$(scratch "$result")
	step sparse "building sparse: Debian's is too old for this kernel" build "$new"
	mv "$new" "$result"
fi
echo "$result/sparse"
