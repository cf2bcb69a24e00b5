#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How do our files get into a Linux or a QEMU tree? As a patch series would put them
# there. The same code serves a tree of the user's and the trees that we build.
# usage: trees.sh linux|qemu DIR

. "$(dirname "$0")/lib.sh"

# put FROM TO [SCRIPT]: through a script of sed. A file that is the same already keeps its
# time stamp, so that make leaves it alone. It is replaced, not written: our own trees share
# files with the unpacked source.
put() {
	local from=$1 to=$2 script=${3:-}

	mkdir -p "$(dirname "$to")"
	sed "$script" "$from" >"$to.vpfn-new"
	if cmp -s "$to.vpfn-new" "$to"; then
		rm "$to.vpfn-new"
	else
		mv "$to.vpfn-new" "$to"
	fi
}

# put_directory FROM TO: all files below it
put_directory() {
	local from=$1 to=$2 file

	[ -d "$from" ] || return 0
	find "$from" -type f -printf '%P\n' | while read -r file; do
		put "$from/$file" "$to/$file"
	done
}

# put_line FILE before|after ANCHOR LINE: unless the line is there
put_line() {
	local file=$1 where=$2 anchor=$3 line=$4

	! grep -qxF -- "$line" "$file" || return 0
	awk -v where="$where" -v anchor="$anchor" -v line="$line" '
		$0 == anchor && where == "before" { print line; done = 1 }
		{ print }
		$0 == anchor && where == "after" { print line; done = 1 }
		END { exit !done }' "$file" >"$file.vpfn-new" ||
		{
			rm -f "$file.vpfn-new"
			die "$file has no line '$anchor': is this the right version?"
		}
	mv "$file.vpfn-new" "$file"
}

# put_fragment FRAGMENT FILE: appends it, unless it is there. An older state of the
# fragment is not recognised: a change starts from the tree's own file.
put_fragment() {
	local fragment=$1 file=$2

	[[ $(<"$file") != *"$(<"$fragment")"* ]] || return 0
	cat "$file" "$fragment" >"$file.vpfn-new"
	mv "$file.vpfn-new" "$file"
}

overlay_linux() {
	local tree=$1 drm=drivers/gpu/drm gpu=$1/Documentation/gpu

	put_directory "$top/$drm/vpfn" "$tree/$drm/vpfn"
	put "$top/include/uapi/drm/vpfn_drm.h" "$tree/include/uapi/drm/vpfn_drm.h"
	put_line "$tree/$drm/Kconfig" before "source \"$drm/xe/Kconfig\"" "source \"$drm/vpfn/Kconfig\""
	# The Makefile's variable, not the shell's
	# shellcheck disable=SC2016
	put_line "$tree/$drm/Makefile" after 'obj-$(CONFIG_DRM_VMWGFX)+= vmwgfx/' 'obj-$(CONFIG_DRM_VPFN) += vpfn/'

	put_directory "$top/Documentation/gpu" "$gpu"
	[ ! -e "$gpu/vpfn.rst" ] || put_line "$gpu/drivers.rst" after '   vkms' '   vpfn'
	[ ! -e "$gpu/huge-pfnmap.rst" ] || put_line "$gpu/index.rst" after '   drm-mm' '   huge-pfnmap'
	[ ! -e "$gpu/pfnmap-conformance.rst" ] ||
		put_line "$gpu/index.rst" after '   huge-pfnmap' '   pfnmap-conformance'
}

# The directories of the device mirror QEMU's; these three files hold what is added
# to the file of the same name.
qemu_fragments="hw/misc/Kconfig hw/misc/meson.build hw/misc/trace-events"

# The device is in the form of QEMU 10.0. What a newer tree wants: since 10.1 class_init()
# takes a const pointer, since 11.0 the header of properties lies elsewhere.
for_newer_qemu() {
	local tree=$1

	! grep -q 'class_init)(ObjectClass \*klass, const void' "$tree/include/qom/object.h" ||
		echo 's/^static void vpfn_class_init.*, /&const /'
	[ ! -e "$tree/include/hw/core/qdev-properties.h" ] ||
		echo 's|"hw/qdev-properties.h"|"hw/core/qdev-properties.h"|'
}

overlay_qemu() {
	local tree=$1 device=$top/qemu-device file

	put "$device/hw/misc/vpfn.c" "$tree/hw/misc/vpfn.c" "$(for_newer_qemu "$tree")"
	find "$device" -type f ! -name vpfn.c -printf '%P\n' | while read -r file; do
		if [[ " $qemu_fragments " = *" $file "* ]]; then
			put_fragment "$device/$file" "$tree/$file"
		else
			put "$device/$file" "$tree/$file"
		fi
	done
	put "$top/drivers/gpu/drm/vpfn/vpfn_regs.h" "$tree/include/hw/misc/vpfn_regs.h"
	[ ! -e "$tree/docs/specs/vpfn.rst" ] ||
		put_line "$tree/docs/specs/index.rst" after '   edu' '   vpfn'
	[ ! -e "$tree/tests/qtest/vpfn-test.c" ] ||
		put_line "$tree/tests/qtest/meson.build" before 'qtests_x86_64 = qtests_i386' \
			"qtests_i386 += config_all_devices.has_key('CONFIG_VPFN') ? ['vpfn-test'] : []"
}

kind=${1:-}
tree=${2:-}
[ -n "$tree" ] || die "which tree? Give it as DIR=..."
case $kind in
linux)
	[ -e "$tree/drivers/gpu/drm/Kconfig" ] || die "$tree is no Linux tree"
	overlay_linux "$tree"
	;;
qemu)
	[ -e "$tree/hw/misc/trace-events" ] || die "$tree is no QEMU tree"
	overlay_qemu "$tree"
	;;
*) die "usage: trees.sh linux|qemu DIR" ;;
esac
