#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does the VM run on? A root file system of Debian forky, the first release with
# igt_runner. Prints the directory that holds rootfs.ext4, the disk, and sysroot/, the
# same files: what guest programs are compiled against on the host.

. "$(dirname "$0")/lib.sh"

release=forky
packages=(
	igt-gpu-tools igt-gpu-tools-tests libdrm2 kmod fio strace e2fsprogs xfsprogs btrfs-progs mount util-linux procps
	libc6-dev libdrm-dev linux-libc-dev
)

# Documents and translations are of no use in there
exclude() {
	local path

	for path in /usr/share/{doc,man,info,locale,i18n,lintian,bash-completion}; do
		printf '%s\n' "--dpkgopt=path-exclude=$path/*"
	done
}

# The host's apt may need a proxy for the mirror; mmdebstrap's does not know it
proxies() {
	local method value

	for method in http https; do
		value=$(apt-config shell value "Acquire::$method::Proxy" | sed "s/^value='\\(.*\\)'$/\\1/")
		[ -z "$value" ] || printf '%s\n' "--aptopt=Acquire::$method::Proxy \"$value\""
	done
}

# As root directly; otherwise in a user namespace
bootstrap() {
	local dir=$1 options

	grep '^deb ' <<<"$lists" >"$dir/sources.list"
	mapfile -t options < <(exclude && proxies)
	# mmdebstrap gives the hooks the directory as $1
	# shellcheck disable=SC2016
	mmdebstrap --variant=essential --format=tar \
		--include="$(IFS=,; echo "${packages[*]}")" \
		--aptopt='Acquire::Retries "3"' --aptopt='Acquire::http::Timeout "15"' \
		--aptopt='APT::Install-Recommends "false"' "${options[@]}" \
		--customize-hook='mkdir -p "$1/vpfn" "$1/out" "$1/usr/lib/modules"' \
		--customize-hook="copy-in '$top/vm/guest/vpfn-init' /usr/sbin" \
		"$release" "$dir/rootfs.tar" "$dir/sources.list"
	rm "$dir/sources.list"
}

# The image keeps the owners of the archive, for an ordinary user through fakeroot
as_owner() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		fakeroot "$@"
	fi
}

image_of() {
	local tar=$1 dir=$2

	mkdir "$dir/sysroot"
	tar -C "$dir/sysroot" --exclude='./dev/*' -xpf "$tar"
	# mke2fs has to read files that not even their owner may; root in the VM does not mind
	chmod -R u+rwX "$dir/sysroot"
	# Half as much again, for what a test writes outside of /tmp
	truncate -s "$(($(du -sm "$dir/sysroot" | cut -f1) * 3 / 2))M" "$dir/rootfs.ext4"
	/sbin/mke2fs -q -t ext4 -d "$dir/sysroot" "$dir/rootfs.ext4"
}

build() {
	local new=$1

	bootstrap "$new"
	# fakeroot is a script of another shell, which drops functions from the environment
	as_owner bash -euc "$(declare -f image_of); image_of \"\$@\"" image_of "$new/rootfs.tar" "$new"
	rm "$new/rootfs.tar"
}

id=$(hash_words "${packages[@]}" "$(declare -f exclude bootstrap image_of)" "$(hash_files vm/guest/vpfn-init)")
result=$cache/rootfs/$release-$id

found "$result" || lock rootfs
if ! found "$result"; then
	prune rootfs
	lists=$("$top/vm/apt.sh" sources "$release")
	new=$(scratch "$result")
	step rootfs "making the root file system: no $release with these packages is cached" build "$new"
	mv "$new" "$result"
fi
echo "$result"
