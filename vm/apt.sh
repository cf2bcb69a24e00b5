#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Where do sources and packages of other Debian releases come from? From the mirror
# that the host's apt uses, verified with the host's keys, by an apt root of our own:
# the host's configuration and lists stay as they are.
# usage: apt.sh deb SUITE DIR PACKAGE...       puts the packages' files into DIR
#        apt.sh source SUITE DIR PACKAGE GLOB  unpacks the source, a version like GLOB, as DIR
#        apt.sh newest SUITE REGEX             prints the newest package of such a name
#        apt.sh sources SUITE                  prints sources.list lines

. "$(dirname "$0")/lib.sh"

suites=(trixie trixie-backports forky)
root=$cache/apt

# The host's archive of Debian proper: not its security updates, not a third party's.
# Without package lists apt does not know the labels; then the address has to do.
mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
		awk -F'|' '
			$2 != "main" { next }
			$1 == "Debian" { print $3; labelled = 1; exit }
			$3 ~ /\/debian\/?$/ && !guess { guess = $3 }
			END { if (!labelled && guess) print guess }'
}

# Has the host's administrator switched this check of apt's off?
host_skips() {
	[[ $(apt-config dump --format '%v' "Acquire::$1") =~ ^(false|no|0|off)$ ]]
}

# sources_of SUITE: an expired Release file is taken where a lagging mirror has no newer
# one. The options are in the line because mmdebstrap's apt reads nothing else of ours.
sources_of() {
	local options="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg" uri

	uri=$(mirror)
	[ -n "$uri" ] || die "the host's apt has no Debian archive to take a mirror from: add one to /etc/apt"
	if [ -e "$root/late/$1" ] || host_skips Check-Valid-Until; then
		options="$options check-valid-until=no"
	fi
	! host_skips Check-Date || options="$options check-date=no"
	echo "deb [$options] $uri $1 main"
	echo "deb-src [$options] $uri $1 main"
}

# Later settings win: -c comes after the host's configuration, so that its proxy
# holds, but its hooks, which look after the host's own cache, do not run.
apt() {
	local tool=$1
	shift

	"apt-$tool" -q -c "$root/apt.conf" "$@"
}

write_configuration() {
	mkdir -p "$root"/{etc,late} "$root"/state/lists/partial "$root"/cache/archives/partial
	touch "$root/status"
	cat >"$root/apt.conf" <<-EOF
		Dir::State "$root/state";
		Dir::State::status "$root/status";
		Dir::Cache "$root/cache";
		Dir::Etc::SourceList "$root/etc/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "1";
		Acquire::http::Timeout "15";
		Acquire::https::Timeout "15";
	EOF
	write_sources
}

write_sources() {
	local suite

	for suite in "${suites[@]}"; do
		sources_of "$suite"
	done >"$root/etc/sources.list"
}

fetch_lists() {
	apt get update --error-on=any
}

# Sets aside the date of those suites whose Release file has expired, and of no other
accept_expired() {
	local log=$1 suite late=1

	for suite in "${suites[@]}"; do
		grep -qE "Release file for .*/dists/$suite/.* (is expired|is not valid)" "$log" || continue
		say "the mirror's $suite is past its date: taken all the same, its signature is verified"
		touch "$root/late/$suite"
		late=0
	done
	write_sources
	return $late
}

# The lists are good for an hour, since a set-up asks several times, where they were fetched: the
# configuration holds paths
update() {
	local log

	if [ -n "$(find "$root/updated" -mmin -60 2>/dev/null)" ] && grep -qF "\"$root/state\"" "$root/apt.conf"; then
		return
	fi
	log=$(log_directory)/apt-update.log
	write_configuration
	say "reading the package lists of ${suites[*]} (log: $log)"
	fetch_lists >"$log" 2>&1 ||
		{ accept_expired "$log" && fetch_lists >"$log" 2>&1; } ||
		{
			grep '^[EW]:' "$log" | head -n 5 >&2
			die "the Debian mirror of this host's apt does not answer and the cache is not complete: connect the network and run again (log: $log)"
		}
	touch "$root/updated"
}

get_deb() {
	local suite=$1 dir=$2 package
	shift 2

	mkdir -p "$dir"
	for package; do
		(cd "$dir" && apt get download "$package/$suite")
	done
}

# The newest version of that suite which matches the pattern
source_version() {
	local suite=$1 package=$2 pattern=$3 version

	apt cache madison "$package" |
		awk -F' *[|] *' -v suite="$suite/" 'index($3, suite) && $3 ~ /Sources$/ { print $2 }' |
		while read -r version; do
			# A pattern is meant
			# shellcheck disable=SC2053
			[[ $version != $pattern ]] || echo "$version"
		done | sort -V | tail -n 1
}

get_source() {
	local suite=$1 dir=$2 package=$3 pattern=$4 version

	version=$(source_version "$suite" "$package" "$pattern")
	[ -n "$version" ] || die "$suite has no source of $package like $pattern"
	mkdir -p "$dir.parts"
	(
		cd "$dir.parts"
		apt get source --download-only "$package=$version"
		# apt has verified the files against the signed index
		dpkg-source --no-check -x ./*.dsc "$dir"
	)
	rm -rf "$dir.parts"
}

newest() {
	local suite=$1 regex=$2

	apt cache search --names-only "$regex" | awk '{ print $1 }' | while read -r package; do
		! apt cache madison "$package" | grep -F " $suite/" >/dev/null || echo "$package"
	done | sort -V | tail -n 1
}

command=$1
shift
lock apt
update
case $command in
deb) get_deb "$@" ;;
source) get_source "$@" ;;
newest) newest "$@" ;;
sources) sources_of "$@" ;;
*) die "usage: apt.sh deb|source|newest|sources ..." ;;
esac
