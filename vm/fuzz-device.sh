#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does the device survive what a guest should never do? Runs QEMU's generic fuzzer on it,
# with the address and undefined-behaviour sanitizers, for that many seconds.
# What it learns stays in the cache and is where the next run starts. An input that breaks
# QEMU lands in out/fuzz/; the last line is the count.
# usage: fuzz-device.sh [SECONDS]

. "$(dirname "$0")/lib.sh"

seconds=${1:-600}
dir=$out/fuzz
log=$dir/device.log

# The fuzzer reads an input as commands, each a number and its operands, with this
# between them. The numbers are those of tests/qtest/fuzz/generic_fuzz.c.
readonly separator=FUZZ op_write=3 op_dma_pattern=7 op_clock_step=9

# bytes N VALUE: little endian
bytes() {
	local i

	for ((i = 0; i < $1; i++)); do
		# The format is the byte
		# shellcheck disable=SC2059
		printf "\\x$(printf %02x $((($2 >> (8 * i)) & 255)))"
	done
}

# A write of 32 bits to a register; REGION is the fuzzer's number for the registers
write_register() {
	local region=$1 offset=$2 value=$3

	bytes 1 $op_write
	bytes 1 2
	bytes 1 "$region"
	bytes 2 0
	bytes 4 "$offset"
	bytes 8 "$value"
	printf %s $separator
}

# What the device reads next by DMA, again and again
dma_pattern() {
	bytes 1 $op_dma_pattern
	bytes 2 0
	"$@"
	printf %s $separator
}

# descriptor OP SRC DST PATTERN
descriptor() {
	local length=4096

	[ "$1" != 0 ] || length=0
	bytes 1 "$1"
	bytes 1 3
	bytes 2 0
	bytes 4 7
	bytes 8 $length
	bytes 8 "$2"
	bytes 8 "$3"
	bytes 4 "$4"
	bytes 28 0
}

# An entry of the GART that is valid
gart_entry() {
	bytes 8 0x3000001
}

# A driver's first steps: a table, a ring, interrupts, three descriptors, time
seed() {
	local region=$1 i
	shift

	dma_pattern descriptor "$@"
	dma_pattern gart_entry
	write_register "$region" 0x38 0x200000
	write_register "$region" 0x40 0x100000
	write_register "$region" 0x48 8
	write_register "$region" 0x5c 3
	write_register "$region" 0x20 1
	write_register "$region" 0x50 3
	for i in 1 2 3; do
		bytes 1 $op_clock_step
		printf %s $separator
	done
}

# Every operation between VRAM and the GART window, for each number that the registers
# may have: chance would hardly ever find a descriptor that is valid.
seeds() {
	local to=$1 region operation gart=$((1 << 40))

	for region in 0 1 2 3 4 5; do
		while read -r operation; do
			# Four words
			# shellcheck disable=SC2086
			seed $region $operation >"$to/seed-3-$region-${operation// /-}"
		done <<-END
			0 0 0 0
			1 0 65536 1
			1 0 $((gart + 12345)) 1
			2 0 65536 0
			2 65536 66000 0
			2 $gart 0 0
			2 0 $gart 0
			2 $gart $((gart + 100)) 0
			3 0 65536 0
			3 0 $((gart + 4094)) 0
			3 $gart 0 0
			3 $gart $((gart + 8192)) 0
		END
	done
}

configure() {
	CC=clang CXX=clang++ "$tree/configure" --python=/usr/bin/python3 --disable-download \
		--target-list=x86_64-softmmu --without-default-features \
		--without-default-devices --with-devices-x86_64=vpfn-vm \
		--enable-system --enable-tcg --enable-attr --enable-virtfs \
		--enable-fuzzing --enable-asan --enable-ubsan \
		--disable-docs --disable-tools --disable-install-blobs
}

# The lock goes with the subshell that a step is: hours of fuzzing block no other command
build() {
	lock qemu
	mkdir -p "$work"
	cd "$work"
	[ -e build.ninja ] || configure
	ninja qemu-fuzz-x86_64
}

"$top/vm/host-packages.sh" run fuzz
tree=$("$top/vm/qemu.sh" --tree)
share=$("$top/vm/qemu.sh")/share
packages=$cache/src/qemu-trixie/tools
export PYTHONPATH=$packages/usr/lib/python3/dist-packages
export PATH=$packages/usr/bin:$PATH

work=$cache/build/qemu-fuzz-$(hash_words "$tree" "$(clang --version | head -n 1)" "$(declare -f configure)")
step qemu-fuzz "building QEMU's fuzzer with the vpfn device" build

corpus=$cache/fuzz/device
mkdir -p "$corpus" "$dir"
rm -f "$dir"/{crash,leak,oom,timeout}-*
[ -e "$corpus/seed-3-0-0-0-0-0" ] || seeds "$corpus"

say "fuzzing the device for $seconds s (log: $log)"
# QEMU finds its firmware where it is started; and frees little of what it has at exit
cd "$share"
QEMU_FUZZ_ARGS='-machine q35 -nodefaults -device vpfn,vram-size=1M' \
	QEMU_FUZZ_OBJECTS='vpfn*' ASAN_OPTIONS=detect_leaks=0 \
	"$work/qemu-fuzz-x86_64" --fuzz-target=generic-fuzz -max_total_time="$seconds" \
	-artifact_prefix="$dir/" -print_final_stats=1 "$corpus" >"$log" 2>&1 || true

inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
findings=$(find "$dir" -name '*-*' -type f | wc -l)
[ "$findings" -eq 0 ] || grep -m 3 -E 'ERROR:|runtime error|SUMMARY' "$log" >&2 || true
[ -n "$inputs" ] || die "the fuzzer did not run: $(tail -n 1 "$log") (log: $log)"
echo "$inputs inputs, $findings findings"
[ "$findings" -eq 0 ]
