#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which QEMU runs the VM? One built from Debian's source with our device in it.
# Prints the directory that holds qemu-system-x86_64, the device's qtests (vpfn-test),
# and, in share/, the firmware.
# usage: qemu.sh         builds
#        qemu.sh --tree  builds, and prints the tree it was built from instead
#        qemu.sh --qxl   builds one that has QEMU's QXL device, too, which takes SPICE
# QEMU_SRC: a tree of one's own to take instead; it is copied.

. "$(dirname "$0")/lib.sh"

release=trixie
version='1:10.0.*'

# Debian's tarball lacks the firmware blobs that QEMU's build would unpack. Only
# the emulator is built, so that names are enough.
blank_edk2() {
	sed -n "s/^ *'\(edk2-.*\.fd\)',/\1/p" "$1/pc-bios/meson.build" | while read -r blob; do
		[ -e "$1/pc-bios/$blob.bz2" ] || : >"$1/pc-bios/$blob.bz2"
	done
}

unpack_debs() {
	local to=$1 deb
	shift

	for deb; do
		dpkg-deb -x "$deb" "$to"
	done
}

# The source, what its build needs beyond Debian 12 (meson, pycotap), and the
# firmware: the packages of that same release.
get_sources() {
	local dir=$1

	"$top/vm/apt.sh" source "$release" "$dir/tree" qemu "$version"
	"$top/vm/apt.sh" deb "$release" "$dir/debs" meson python3-pycotap seabios qemu-system-data
	unpack_debs "$dir/tools" "$dir"/debs/{meson,python3-pycotap}_*.deb
	unpack_debs "$dir/firmware" "$dir"/debs/{seabios,qemu-system-data}_*.deb
	rm -r "$dir/debs"
}

# The one source that the cache holds; a warm run asks no mirror for a newer one
sources() {
	local dir=$cache/src/qemu-$release new

	found "$dir" || lock qemu-source
	if ! found "$dir"; then
		new=$(scratch "$dir")
		step qemu-source "getting the source of QEMU" get_sources "$new"
		mv "$new" "$dir"
	fi
	echo "$dir"
}

configure() {
	local tree=$1

	"$tree/configure" --python=/usr/bin/python3 --disable-download \
		--target-list=x86_64-softmmu --without-default-features \
		--without-default-devices --with-devices-x86_64=vpfn-vm \
		--enable-system --enable-tcg --enable-kvm --enable-attr --enable-virtfs --enable-seccomp --enable-plugins \
		--disable-docs --disable-tools --disable-install-blobs --disable-debug-info
}

# SPICE is the largest part of a QEMU that has it, and one device wants it
add_qxl() {
	local tree=$1

	echo CONFIG_QXL=y >>"$tree/configs/devices/x86_64-softmmu/vpfn-vm.mak"
	pyvenv/bin/meson configure -Dpixman=enabled -Dspice_protocol=enabled -Dspice=enabled
}

# Fills the build tree from the source and overlays it. What an older overlay appended
# goes, because the tree's own files come back first.
prepare_tree() {
	local source=$1 tree=$2 file

	if [ ! -d "$tree" ]; then
		rm -rf "$tree.new"
		mkdir -p "$(dirname "$tree")"
		cp -a "$source" "$tree.new"
		mv "$tree.new" "$tree"
	fi
	cp -a -u "$source/." "$tree"
	for file in hw/misc/{Kconfig,meson.build,trace-events}; do
		cp -a "$source/$file" "$tree/$file"
	done
	"$top/vm/trees.sh" qemu "$tree"
	blank_edk2 "$tree"
	cp -p "$top/vm/qemu/devices.mak" "$tree/configs/devices/x86_64-softmmu/vpfn-vm.mak"
}

# meson writes down absolute paths: in a cache that was moved it starts anew
build() {
	local source=$1 work=$2 new=$3

	prepare_tree "$source" "$work/tree"
	[ "$(cat "$work/path" 2>/dev/null)" = "$work" ] || rm -rf "$work/build"
	mkdir -p "$work/build"
	echo "$work" >"$work/path"
	cd "$work/build"
	[ -e build.ninja ] || configure "$work/tree"
	[ -z "$qxl" ] || add_qxl "$work/tree"
	ninja qemu-system-x86_64 tests/qtest/vpfn-test
	strip -o "$new/qemu-system-x86_64" qemu-system-x86_64
	strip -o "$new/vpfn-test" tests/qtest/vpfn-test
	cp -rL "$packages/firmware/usr/share/qemu" "$new/share"
	cp -L "$packages/firmware/usr/share/seabios/"*.bin "$new/share"
}

qxl=
[ "${1:-}" != --qxl ] || qxl=qxl
[ -z "$qxl" ] || "$top/vm/host-packages.sh" qxl
packages=$(sources)
source=${QEMU_SRC:-$packages/tree}
export PYTHONPATH=$packages/tools/usr/lib/python3/dist-packages
export PATH=$packages/tools/usr/bin:$PATH

if [ -n "${QEMU_SRC:-}" ]; then
	source_name=$QEMU_SRC
	source_id=$(hash_tree "$QEMU_SRC")
else
	source_name=$(head -n 1 "$source/debian/changelog")
	source_id=$source_name
fi
work_id=$(hash_words "$source_name" "$(compiler)" "$(declare -f configure)" ${qxl:+"$(declare -f add_qxl)"})
id=$(hash_words "$source_id" "$work_id" "$(hash_files vm/qemu vm/qemu.sh vm/trees.sh qemu-device drivers/gpu/drm/vpfn/vpfn_regs.h)")
result=$cache/qemu/$id
work=$cache/build/qemu-$work_id

is_built() {
	found "$result" && { [ "$print" = "$result" ] || found "$work"; }
}

print=$result
[ "${1:-}" != --tree ] || print=$work/tree
is_built || lock "qemu$qxl"
if ! is_built; then
	prune qemu build
	new=$(scratch "$result")
	step "qemu-build$qxl" "building QEMU with the vpfn device: no build of this state is cached" \
		build "$source" "$work" "$new"
	rm -rf "$result"
	mv "$new" "$result"
fi
# Another work tree's state of the device may have been built from it since
[ "$print" = "$result" ] || prepare_tree "$source" "$work/tree"
echo "$print"
