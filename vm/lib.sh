# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What every script of the harness shares: how it speaks, where things are kept,
# and what makes a step safe to interrupt and to run twice at once.

set -euo pipefail
# QEMU, as another user, and mmdebstrap, in a user namespace, read what root has built
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vpfn
out=${OUT:-$top/out}
# Read by the scripts that source this file
# shellcheck disable=SC2034
readonly top cache out

# Messages go to stderr: stdout belongs to a script's result.
say() {
	printf 'vpfn: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# log_directory: where the logs of the long steps are
log_directory() {
	mkdir -p "$cache/log"
	echo "$cache/log"
}

# Says every 15 seconds that a step is alive. Its sleep is killed with it, so that
# it does not hold a pipe open that another process reads to the end.
heartbeat() {
	local log=$1 start=$SECONDS nap='' objects progress=

	trap 'kill $nap 2>/dev/null; exit' TERM
	while :; do
		sleep 15 &
		nap=$!
		wait "$nap"
		objects=$(grep -cE '^(\[[0-9]+/|  (CC|AS|LD|AR|HOSTCC) )' "$log" || true)
		[ "$objects" -eq 0 ] || progress=", $objects objects built"
		say "  $((SECONDS - start)) s$progress"
	done
}

# step NAME WHY COMMAND...: runs a long command with its output in a log of that
# name; says that it starts and why, that it is alive, how it ended, how long it took.
step() {
	local name=$1 why=$2 start=$SECONDS log pulse status
	shift 2

	log=$(log_directory)/$name.log
	say "$why (log: $log)"
	: >"$log"
	heartbeat "$log" >/dev/null &
	pulse=$!
	# Not `"$@" || status=$?`: that would switch off errexit inside a function
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	kill "$pulse" 2>/dev/null || true
	wait "$pulse" 2>/dev/null || true
	[ "$status" -eq 0 ] || step_failed "$log" "$why"
	say "  done in $((SECONDS - start)) s"
	# make bench reads it
	echo "vpfn: done in $((SECONDS - start)) s" >>"$log"
}

step_failed() {
	local log=$1 why=$2

	tail -n 20 "$log" >&2
	die "failed: $why. The whole log is $log; run the same command again to go on from here."
}

# lock NAME: holds a lock until this process ends, so that two runs side by side
# neither build the same thing twice nor disturb each other.
lock() {
	local fd

	mkdir -p "$cache/locks"
	exec {fd}>"$cache/locks/$1"
	flock -n "$fd" && return
	say "waiting for another run that builds $1"
	flock "$fd"
}

# hash_files PATH...: one hash over the names and contents of all files below the paths
hash_files() {
	hash_files_of "$top" "$@"
}

# hash_files_of TREE PATH...: the same in a tree other than this one. No key depends on where
# the tree or the cache is: a cache may be moved.
hash_files_of() {
	(
		cd "$1"
		shift
		find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
	) | sha256sum | cut -c1-16
}

# hash_words WORD...: one hash over what else makes a result differ
hash_words() {
	printf '%s\n' "$@" | sha256sum | cut -c1-16
}

# hash_tree DIR: tells whether a user's tree has changed,
# by names, sizes and times: reading 100,000 files would take too long.
hash_tree() {
	find "$1" -name .git -prune -o -type f -printf '%P %s %T@\n' | LC_ALL=C sort |
		sha256sum | cut -c1-16
}

compiler() {
	cc --version | head -n 1
}

# found DIR: is this result there? Marks it as used, for prune.
found() {
	[ -d "$1" ] && touch -c "$1"
}

# prune KIND...: drops what was not used for a month
prune() {
	prune_older 30 "$@"
}

# prune_older DAYS KIND...
prune_older() {
	local days=$1 kind
	shift

	for kind; do
		[ ! -d "$cache/$kind" ] ||
			find "$cache/$kind" -mindepth 1 -maxdepth 1 -mtime +"$days" -exec rm -rf {} +
	done
}

# scratch: a directory for a result in the making, next to its final place, so
# that a rename finishes it. What an interrupted step left behind goes first.
scratch() {
	rm -rf "$1.new"
	mkdir -p "$1.new"
	echo "$1.new"
}
