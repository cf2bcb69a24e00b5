#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which kernel runs in the VM? Debian's Linux source with our driver in it, in one of
# the flavours of vm/linux/. Prints the directory that holds bzImage, System.map,
# config and lib/modules.
# usage: linux.sh FLAVOUR          builds the kernel
#        linux.sh FLAVOUR --build  builds it and prints the build directory instead, whose
#                                  parent is the source tree
# The flavour kcsan looks for data races of the driver alone.
# The flavour coverage is the debug one with a driver that counts which of its lines run;
# gcov/ in the result says what the counts mean.
# The flavour kmemleak is the debug one with a kernel that looks for leaked memory.
# fast-patched, debug-patched: that flavour with patches/linux/ applied
# LINUX_SRC: a tree of one's own to take instead; it is copied.

. "$(dirname "$0")/lib.sh"

release=trixie-backports
version=7.3

# Debian's package of the source: of this version, or of the newest when the mirror has moved on
source_package() {
	local package

	package=$("$top/vm/apt.sh" newest "$release" "^linux-source-$version\$")
	if [ -z "$package" ]; then
		package=$("$top/vm/apt.sh" newest "$release" '^linux-source-[0-9.]+$')
		[ -n "$package" ] || die "$release has no source of Linux; give a tree as LINUX_SRC="
		say "note: the mirror has no Linux $version any more; taking $package"
	fi
	echo "$package"
}

# The package holds a tarball with Debian's patches applied
get_sources() {
	local package=$1 dir=$2

	"$top/vm/apt.sh" deb "$release" "$dir" "$package"
	dpkg-deb -x "$dir/$package"_*.deb "$dir"
	mkdir "$dir/tree"
	tar -C "$dir/tree" --strip-components=1 -xf "$dir/usr/src/$package.tar.xz"
	basename "$dir/$package"_*.deb >"$dir/version"
	rm -r "${dir:?}/usr" "$dir"/*.deb
}

# The one source that the cache holds; a warm run asks no mirror for a newer one
sources() {
	local dir=$cache/src/linux-source-$version new package

	found "$dir" || lock linux-source
	if ! found "$dir"; then
		package=$(source_package)
		new=$(scratch "$dir")
		step linux-source "getting the source of Linux" get_sources "$package" "$new"
		mv "$new" "$dir"
	fi
	echo "$dir"
}

# Fills the build tree from the source and overlays it. The tree shares its files
# with the unpacked source, which is not written to; a tree of one's own is copied.
prepare_tree() {
	local source=$1 tree=$2

	if [ ! -d "$tree" ]; then
		rm -rf "$tree.new"
		if [ -n "${LINUX_SRC:-}" ]; then
			mkdir -p "$tree.new"
			tar -C "$source" --exclude=./.git -cf - . | tar -C "$tree.new" -xf -
		else
			mkdir -p "$(dirname "$tree")"
			cp -al "$source" "$tree.new"
		fi
		mv "$tree.new" "$tree"
	fi
	[ -z "${LINUX_SRC:-}" ] || refresh "$source" "$tree"
	[ ${#patches[@]} -eq 0 ] || patch_tree "$source" "$tree"
	"$top/vm/trees.sh" linux "$tree"
}

# refresh SOURCE TREE: brings over what changed in a user's tree
refresh() {
	(cd "$1" && find . -name .git -prune -o -type f -newer "$2/.vpfn-copied" -print0 2>/dev/null) |
		tar -C "$1" --null -T - -cf - | tar -C "$2" -xf -
	touch "$2/.vpfn-copied"
}

# The files that the patches change, or that an older state of them changed, as they are
# now. What is the same already keeps its time stamp; nothing is written in place, since the
# tree shares its files.
patch_tree() {
	local source=$1 tree=$2 list=$2/.vpfn-patched new file

	new=$(scratch "$tree.patched")
	touch "$list"
	sed -n 's|^+++ b/||p' "${patches[@]}" | sort -u - "$list" >"$new/list"
	mkdir "$new/tree"
	tar -C "$source" -T "$new/list" -cf - | tar -C "$new/tree" -xmf -
	cat "${patches[@]}" | patch -d "$new/tree" -p1 --fuzz=0
	while read -r file; do
		cmp -s "$new/tree/$file" "$tree/$file" || mv "$new/tree/$file" "$tree/$file"
	done <"$new/list"
	mv "$new/list" "$list"
	rm -r "$new"
}

# In a cache that was moved, the commands that built objtool hold its old path; were it built
# again, so would be every object. The rest of kbuild writes down relative paths.
relocate() {
	local old

	old=$(sed -n 's|^include \(.*\)/Makefile$|\1|p' "$build/Makefile" 2>/dev/null || true)
	[ -z "$old" ] || [ "$old" = "$tree" ] ||
		find "$build/tools" -name '.*.cmd' -exec sed -i "s|$old/|$tree/|g" {} +
}

# An option that is dropped for want of a dependency would make a test skip, or a check not
# look: -s makes it an error.
configure() {
	(cd "$tree" && ARCH=x86_64 scripts/kconfig/merge_config.sh -n -s -O "$build" "${fragments[@]/#/"$top/"}")
}

# for_driver VARIABLE: what a driver's Makefile would set to y for each of its objects
for_driver() {
	(cd "$top/drivers/gpu/drm/vpfn" && printf "$1_%s.o=y\n" *.c | sed 's/\.c\.o=/.o=/')
}

kernel_make() {
	local variables=()

	case $flavour in
	coverage) mapfile -t variables < <(for_driver GCOV_PROFILE) ;;
	# Of all accesses KCSAN watches few: those of the driver alone
	kcsan) mapfile -t variables < <(for_driver KCSAN_SANITIZE && echo KCSAN_SANITIZE=n) ;;
	esac
	[ ${#patches[@]} -eq 0 ] || variables+=(LOCALVERSION=-patched)
	make -C "$tree" O="$build" ARCH=x86_64 KBUILD_BUILD_USER=vpfn KBUILD_BUILD_HOST=vpfn \
		-j"$(nproc)" "${variables[@]}" "$@"
}

build() {
	local source=$1 new=$2

	prepare_tree "$source" "$tree"
	mkdir -p "$build"
	relocate
	configure
	kernel_make bzImage modules
	kernel_make -s INSTALL_MOD_PATH="$new" INSTALL_MOD_STRIP=1 modules_install
	rm -f "$new"/lib/modules/*/{build,source}
	cp "$build/arch/x86/boot/bzImage" "$build/System.map" "$new"
	cp "$build/.config" "$new/config"
	if [ "$flavour" = coverage ]; then
		mkdir "$new/gcov"
		cp "$build"/drivers/gpu/drm/vpfn/*.gcno "$new/gcov"
	fi
}

flavour=${1:-}
configuration=${flavour%-patched}
[ "$flavour" != coverage ] || configuration=debug
patched=
patches=()
if [ "$flavour" != "$configuration" ] && [ "$flavour" != coverage ]; then
	patched=-patched
	patches=("$top"/patches/linux/[0-9]*.patch)
fi
fragments=(vm/linux/base.config "vm/linux/$configuration.config")
[ "$configuration" != kmemleak ] || fragments=("${fragments[0]}" vm/linux/{debug,kmemleak}.config)
[ -e "$top/${fragments[1]}" ] || die "no kernel flavour is called '$flavour'"
if [ -n "${LINUX_SRC:-}" ]; then
	source=$LINUX_SRC
	source_name=$LINUX_SRC
	source_id=$(hash_tree "$LINUX_SRC")
else
	packages=$(sources)
	source=$packages/tree
	source_name=$(<"$packages/version")
	source_id=$source_name
fi

id=$(hash_words "$source_id" "$(compiler)" "$(hash_files drivers/gpu/drm/vpfn include/uapi \
	"${fragments[@]}" "${patches[@]#"$top/"}" vm/linux.sh vm/trees.sh)")
result=$cache/linux/$flavour-$id
# A lock for each flavour, which waits for no other one; a tree for each set of options, so that
# branches do not take turns in compiling everything. What the driver's own change is little.
kind=linux-$configuration$patched
tree=$cache/build/$kind-$(hash_words "$source_name" "$(compiler)" \
	"$(cd "$top" && grep -hE '^CONFIG_' "${fragments[@]}" | grep -v '^CONFIG_DRM_VPFN' | sort)")
# Right below the tree, so that kbuild writes down relative paths
build=$tree/vpfn-build

is_built() {
	found "$result" && { [ "$print" = "$result" ] || found "$tree"; }
}

print=$result
[ "${2:-}" != --build ] || print=$build
is_built || lock "$kind"
if ! is_built; then
	prune linux build
	new=$(scratch "$result")
	step "linux-$flavour" "building the $flavour kernel with the vpfn driver: no build of this state is cached" \
		build "$source" "$new"
	rm -rf "$result"
	mv "$new" "$result"
fi
echo "$print"
