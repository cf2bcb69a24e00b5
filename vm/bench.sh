#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does a mapping cost, by the size of its leaves and beside other mappings? Boots the fast
# kernel with a clock that counts instructions, runs vpfn_bench, prints its figures as tables, and
# writes out/bench/: bench.json, bench.html and the plots. What only a clock can tell is measured in
# a VM without that.
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

"$top/vm/host-packages.sh" run bench
"$top/vm/boot.sh" --flavour fast --icount --limit 2400 bench /vpfn/guest/bench >/dev/null
"$top/vm/boot.sh" --flavour fast bench/clock /vpfn/guest/bench clock >/dev/null
python3 "$report" write "$dir" "$dir/output.log" "$dir/clock/output.log"
measure_functions
(cd "$dir" && gnuplot plots.gnuplot)
python3 "$report" page "$dir"
python3 "$report" print "$dir/bench.json"
say "the figures are in $dir/bench.json, the plots in $dir/bench.html"
