#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What does the host see in a card's memory? Answers the guest's questions on the port
# vpfn.witness: a line "OFFSET LENGTH [CARD]" with the sha256 of those bytes of VRAM. The
# card is vpfn0 unless named.
# usage: witness.sh DIR PIPE: DIR holds the VRAM of each card; QEMU reads PIPE.in and writes PIPE.out

set -euo pipefail
vram=$1
pipe=$2

answer() {
	local offset=$1 length=$2 card=$3 sum

	if [[ ! $offset =~ ^[0-9]{1,15}$ || ! $length =~ ^[0-9]{1,15}$ ]]; then
		echo "error two decimal numbers are wanted"
	elif [[ ! $card =~ ^vpfn[0-9]$ || ! -e $vram/$card ]]; then
		echo "error no card is called that"
	elif ((10#$offset + 10#$length > $(stat -c %s "$vram/$card"))); then
		echo "error beyond the end of VRAM"
	else
		sum=$(dd if="$vram/$card" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none | sha256sum)
		echo "${sum%% *}"
	fi
}

exec 3<"$pipe.out" 4>"$pipe.in"
while read -r offset length card <&3; do
	answer "${offset:-}" "${length:-}" "${card:-vpfn0}" >&4
done
