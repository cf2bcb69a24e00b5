#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does this host have the programs that a command needs? Root installs what is missing, by
# apt; any other user is asked first, on a terminal, or told what to install.
# usage: host-packages.sh run|lint|fuzz|igt|qxl|bench...

. "$(dirname "$0")/lib.sh"

# For the build of Linux, of QEMU, of the root file system, for the guest programs
run_packages=(
	gcc make libc6-dev dpkg-dev xz-utils perl python3
	flex bison bc libelf-dev kmod
	ninja-build pkgconf python3-venv python3-distlib libglib2.0-dev zlib1g-dev libseccomp-dev
	mmdebstrap e2fsprogs jq
)
lint_packages=(shellcheck)
fuzz_packages=(clang libclang-rt-dev)
igt_packages=(
	meson libdrm-dev libpciaccess-dev libkmod-dev libproc2-dev libudev-dev libpixman-1-dev
	libcairo2-dev libdw-dev libunwind-dev libelf-dev
)
qxl_packages=(libspice-server-dev libpixman-1-dev)
bench_packages=(gnuplot-nox)

# An ordinary user makes the root file system in a user namespace, and its image
# with the owners that it had there.
user_packages=(uidmap fakeroot)

wanted_packages() {
	local group

	for group; do
		case $group in
		run) printf '%s\n' "${run_packages[@]}" ;;
		lint) printf '%s\n' "${lint_packages[@]}" ;;
		fuzz) printf '%s\n' "${fuzz_packages[@]}" ;;
		igt) printf '%s\n' "${igt_packages[@]}" ;;
		qxl) printf '%s\n' "${qxl_packages[@]}" ;;
		bench) printf '%s\n' "${bench_packages[@]}" ;;
		*) die "no group of packages is called $group" ;;
		esac
	done
	[ "$(id -u)" -eq 0 ] || printf '%s\n' "${user_packages[@]}"
}

# Prints those of the packages which are not installed. pkg-config of older
# releases provides pkgconf, and so on: ask for what is provided, too.
missing_packages() {
	local installed

	# shellcheck disable=SC2016
	installed=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package},${Provides}\n' |
		sed -n 's/^ii *|//p' | tr ',' '\n' | sed 's/^ *//; s/ .*//')
	grep -vxF "$installed" || true
}

apt_get() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
		-o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 "$@"
}

install_packages() {
	apt_get install -y --no-install-recommends "${packages[@]}" && return
	# The lists may be old, or never have been fetched
	apt_get update
	apt_get install -y --no-install-recommends "${packages[@]}"
}

# sudo asks for its password now: a step has no terminal
may_use_sudo() {
	local answer=

	[ -t 0 ] && command -v sudo >/dev/null || return 1
	read -rp "vpfn: packages are missing: ${packages[*]}. Install them with sudo? [y/N] " answer
	[[ $answer = [yY]* ]] && sudo -v
}

mapfile -t packages < <(wanted_packages "$@" | missing_packages)
[ ${#packages[@]} -gt 0 ] || exit 0
[ -x /usr/bin/apt-get ] || die "needs Debian's apt-get, or these packages installed by hand: ${packages[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	may_use_sudo ||
		die "packages are missing; as root: apt-get install --no-install-recommends ${packages[*]}"
	as_root=(sudo)
fi
lock host-packages
step host-packages "installing missing packages: ${packages[*]}" install_packages
