#!/bin/bash
# SPDX-License-Identifier: MIT
# How does our part get into an IGT tree? As a patch series would put it there: tests/igt/ has
# the tree's own directories, to which come the uAPI header and lines in the tree's own files.
# Running it again updates the tests and adds no line twice.
#
# Usage: igt-tree.sh DIR

set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
tree=${1:-}

die() {
	printf 'igt-tree.sh: %s\n' "$*" >&2
	exit 1
}

# Adds the lines of text behind the first line of a file that the pattern matches, unless
# the file contains the marker already
insert_after() {
	local file=$tree/$1 pattern=$2 marker=$3 text=$4

	grep -qF -- "$marker" "$file" && return
	grep -q -- "$pattern" "$file" ||
		die "$file has no line like '$pattern': the tree is too old or too new"
	sed -i "0,\\|$pattern|s||&\\n$text|" "$file"
}

copy_tests() {
	rm -rf "$tree"/lib/{pfnmap,vpfn} "$tree/tests/vpfn" "$tree"/tests/core_pfnmap*.c
	cp -r "$top"/tests/igt/{lib,tests} "$tree"
	cp "$top/include/uapi/drm/vpfn_drm.h" "$tree/include/drm-uapi/"
}

# Before IGT 2.5 the macros of a test's blocks took no parentheses
adapt_to_old_macros() {
	local header=igt-before-2.5.h

	grep -q '^#define igt_fixture()' "$tree/lib/igt_core.h" && return
	cp "$top/tests/standalone/$header" "$tree/lib/"
	find "$tree"/lib/{pfnmap,vpfn} "$tree/tests/vpfn" "$tree"/tests/core_pfnmap*.c -name '*.c' -print0 |
		xargs -0 sed -i "s|^#include \"igt.h\"|&\n#include \"$header\"|"
	echo "the tree is from before IGT 2.5: the tests get $header"
}

# Each helper into the library, each test for any driver into the list of tests
add_files() {
	local file name

	for file in "$top"/tests/igt/lib/*/*.c; do
		name=${file#"$top/tests/igt/lib/"}
		insert_after lib/meson.build "^lib_sources = \[" "'$name'" "\t'$name',"
	done
	for file in "$top"/tests/igt/tests/core_pfnmap*.c; do
		[ -e "$file" ] || continue
		name=$(basename "$file" .c)
		insert_after tests/meson.build "^.'core_hotunplug',\$" "'$name'" "\t'$name',"
	done
}

add_directory() {
	insert_after tests/meson.build "^subdir('vmwgfx')\$" "subdir('vpfn')" "\\nsubdir('vpfn')"
	insert_after meson.build "^vmwgfxdir = .*" "vpfndir =" \
		"vpfndir = join_paths(libexecdir, 'vpfn')"
	insert_after meson.build "^.vmwgfx_rpathdir = join_paths(vmwgfx_rpathdir, libdir)\$" \
		"foreach p : vpfndir" \
		"\\n\\tvpfn_rpathdir = '\$ORIGIN'\\n\\tforeach p : vpfndir.split('/')\\n\\t\\tvpfn_rpathdir = join_paths(vpfn_rpathdir, '..')\\n\\tendforeach\\n\\tvpfn_rpathdir = join_paths(vpfn_rpathdir, libdir)"
	insert_after meson.build "^.vmwgfx_rpathdir = ''\$" "vpfn_rpathdir = ''" \
		"\\tvpfn_rpathdir = ''"
}

# The CI of the drivers that the tree grew up with runs no tests of others. One of its lists
# has a heading for each
add_to_blocklists() {
	local line='igt@vpfn.*' rule='###############################################'

	insert_after tests/intel-ci/i915.blocklist.txt '^igt@vmwgfx\..*' "$line" \
		"$rule\\n# vpfn\\n$rule\\n$line"
	insert_after tests/intel-ci/xe.blocklist.txt '^igt@vmwgfx\..*' "$line" "$line"
}

[ -n "$tree" ] || die 'Usage: igt-tree.sh DIR'
[ -f "$tree/lib/igt_core.h" ] || die "$tree is no IGT source tree: it has no lib/igt_core.h"

copy_tests
adapt_to_old_macros
add_files
add_directory
add_to_blocklists
echo "$tree: the tests are in place"
