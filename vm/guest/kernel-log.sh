# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The kernel's log for the host, with the level of each line, while the VM runs. Lines of our own
# in it say what goes on.

# begin_log NAME: to NAME.log
begin_log() {
	kernel_log=/out/$1.log
	cat /dev/kmsg >"$kernel_log" &
	log_reader=$!
	mark begin
}

# mark WORD: see MARK in vm/verdict/kernel_log.py. Fails if the reader was too slow for the kernel,
# and has ended. A read of a 9p file that grows at that moment may fail with ENODATA.
mark() {
	echo "<4>vpfn-check: $1" >/dev/kmsg
	until tail -c 4096 "$kernel_log" 2>/dev/null | grep -q "vpfn-check: $1\$"; do
		kill -0 "$log_reader" || return
		sleep 0.1
	done
}
