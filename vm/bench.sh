#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does a mapping cost, by the size of its leaves and beside other mappings? Boots the fast
# kernel with a clock that counts instructions, runs vpfn_bench, prints its figures as tables, and
# writes out/bench/: bench.json, bench.html and the plots. What only a clock can tell is measured in
# a VM without that, and on the host.
# usage: bench.sh                  measure
#        bench.sh --diff OLD NEW   what costs more in NEW than in OLD, both bench.json; fails if
#                                  anything does

. "$(dirname "$0")/lib.sh"

dir=$out/bench
report=$top/vm/bench_report.py

if [ "${1:-}" = --diff ]; then
	if [ ! -r "${2:-}" ] || [ ! -r "${3:-}" ]; then
		die "bench-diff needs OLD= and NEW=, two files bench.json"
	fi
	exec python3 "$report" diff "$2" "$3"
fi

# The part that looks into the kernel needs a plugin, which slows QEMU down: a VM of its own
measure_functions() {
	local include

	include=$("$top/vm/qemu.sh" --tree)/include/qemu
	mkdir -p "$dir"
	# shellcheck disable=SC2046
	gcc -O2 -Wall -Wextra -shared -fPIC $(pkg-config --cflags glib-2.0) \
		-I"$include" -o "$dir/plugin.so" "$top/bench/plugin.c"
	chmod a+r "$dir/plugin.so"
	"$top/vm/boot.sh" --flavour fast --icount --plugin "$dir/plugin.so" bench/functions \
		/vpfn/guest/bench functions >/dev/null
	python3 "$report" functions "$dir/functions" "$dir"
}

# figure PART STATE VALUE UNIT: a line as vpfn_bench prints them
figure() {
	printf 'figure\tstart-up %s\t%s\t0\t%s\t%s\t%s\n' "$1" "$2" "$4" "$3" "$3"
}

# warm PART COMMAND...: how long a part takes that is built; prints what the command prints
warm() {
	local part=$1 begin=${EPOCHREALTIME/./}
	shift

	"$@"
	figure "$part" warm "$(((${EPOCHREALTIME/./} - begin) / 1000))" ms >&3
}

# The parts of make run: from nothing, as the logs of the builds in this cache have it, and
# with all built
measure_start_up() {
	local name seconds kernel rootfs

	for name in host-packages linux-source linux-fast qemu-source qemu-build rootfs; do
		seconds=$(sed -n 's/^vpfn: done in \([0-9]*\) s$/\1/p' "$cache/log/$name.log" 2>/dev/null || true)
		[ -z "$seconds" ] || figure "$name" cold $((seconds * 1000)) ms
	done
	exec 3>&1
	kernel=$(warm kernel "$top/vm/linux.sh" fast)
	warm QEMU "$top/vm/qemu.sh" >/dev/null
	rootfs=$(warm rootfs "$top/vm/rootfs.sh")
	warm programs "$top/vm/guest-programs.sh" "$rootfs/sysroot" "$top" >/dev/null
	warm run env OUT="$dir" "$top/vm/run.sh" >/dev/null
	figure boot "to user space" "$(($(stat -c %.3Y "$dir/run/guest/booted" | tr -d .) -
		$(stat -c %.3Y "$dir/run/started" | tr -d .)))" ms
	figure image kernel "$(stat -c %s "$kernel/bzImage")" bytes
	figure image rootfs "$(stat -c %s "$rootfs/rootfs.ext4")" bytes
}

"$top/vm/host-packages.sh" run bench
"$top/vm/boot.sh" --flavour fast --icount --limit 2400 bench /vpfn/guest/bench >/dev/null
"$top/vm/boot.sh" --flavour fast bench/clock /vpfn/guest/bench clock >/dev/null
measure_start_up >"$dir/start-up.txt"
python3 "$report" write "$dir" "$dir/output.log" "$dir/clock/output.log" "$dir/start-up.txt"
measure_functions
(cd "$dir" && gnuplot plots.gnuplot)
python3 "$report" page "$dir"
python3 "$report" print "$dir/bench.json"
say "the figures are in $dir/bench.json, the plots in $dir/bench.html"
