#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does the host see in the device's memory? Answers the guest's questions on the
# port vpfn.witness: a line "OFFSET LENGTH" with the sha256 of those bytes of VRAM.
# usage: witness.sh VRAM-FILE PIPE: QEMU reads PIPE.in and writes PIPE.out

set -euo pipefail
vram=$1
pipe=$2
size=$(stat -c %s "$vram")

answer() {
	local offset=$1 length=$2 sum

	if [[ ! $offset =~ ^[0-9]{1,15}$ || ! $length =~ ^[0-9]{1,15}$ ]]; then
		echo "error two decimal numbers are wanted"
	elif ((10#$offset + 10#$length > size)); then
		echo "error beyond the end of VRAM"
	else
		sum=$(dd if="$vram" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none | sha256sum)
		echo "${sum%% *}"
	fi
}

exec 3<"$pipe.out" 4>"$pipe.in"
while read -r offset length <&3; do
	answer "${offset:-}" "${length:-}" >&4
done
