#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How does a program run in the VM, and how did that end? Builds what is missing,
# boots, shows the program's output, and exits with its code; every other end exits
# with a code of its own below and one line that says which it was.
# usage: boot.sh [option...] NAME [PROGRAM ARGUMENT...]
#   NAME               the directory in out/ that takes the logs
#   --flavour FLAVOUR  the kernel (fast)
#   --limit SECONDS    the program's time (600)
#   --source DIR       where the guest programs' sources are (this repository)
#   --env NAME=VALUE   a variable for the program; neither it nor an argument loses its spaces
#   --image FILE       a kernel image other than the flavour's
#   --add DIR          files of one's own: the guest sees DIR/x as /vpfn/x
#   --modules DIR      modules that take the place of the kernel's own of the same names
#   --no-device        leave the vpfn devices out
#   --qxl              add QEMU's QXL device
#   --iommu            an IOMMU, and each vpfn device in a group of its own
#   --hotplug          for programs in which devices come and go; slower if both processors are busy
#   --icount           the guest's time is the number of instructions it has run, 1 ns each, so that
#                      a busy host makes nothing late; one processor, without KVM
#   --plugin FILE      a plugin for QEMU, whose output goes to qemu.log
#   --terminal         connect the program to the terminal; no time limit
# Time that QEMU spends waiting for a CPU of the host does not count for a limit.

. "$(dirname "$0")/lib.sh"
# QEMU's user may not reach a TMPDIR of root's
unset TMPDIR

readonly exit_panic=201 exit_hang=202 exit_no_boot=203 exit_qemu=204
readonly vram_mib=4096 small_vram_mib=256 small_visible_mib=64 guest_memory=3G
readonly generic_tests=/usr/libexec/igt-gpu-tools
# User space has to be reached within this time
readonly boot_limit=120

flavour=fast
limit=600
source=$top
image=
add=
modules=
device=yes
qxl=
iommu=
hotplug=
icount=
plugin=
terminal=
environment=()
while [[ ${1:-} = --* ]]; do
	case $1 in
	--flavour) flavour=$2 && shift ;;
	--limit) limit=$2 && shift ;;
	--source) source=$2 && shift ;;
	--env) environment+=("$2") && shift ;;
	--image) image=$2 && shift ;;
	--add) add=$2 && shift ;;
	--modules) modules=$2 && shift ;;
	--no-device) device= ;;
	--qxl) qxl=yes ;;
	--iommu) iommu=yes ;;
	--hotplug) hotplug=yes ;;
	--icount) icount=yes ;;
	--plugin) plugin=$2 && shift ;;
	--terminal) terminal=yes ;;
	*) die "boot.sh has no option $1" ;;
	esac
	shift
done
name=${1:?which directory in out/?}
shift

build_what_is_missing() {
	"$top/vm/host-packages.sh" run
	qemu=$("$top/vm/qemu.sh" ${qxl:+--qxl})
	kernel=$("$top/vm/linux.sh" "$flavour")
	rootfs=$("$top/vm/rootfs.sh")
	programs=$("$top/vm/guest-programs.sh" "$rootfs/sysroot" "$source")
}

# The share that the guest sees as /vpfn. A copy, so that a build at the same time
# changes nothing under a running VM.
fill_payload() {
	payload=$dir/payload
	rm -rf "$payload"
	mkdir -p "$payload"
	cp -a "$kernel/lib" "$kernel/bzImage" "$programs/." "$payload"
	[ -z "$add" ] || cp -a "$add/." "$payload"
	cp -a "$top/vm/guest" "$payload"
	[ -z "$modules" ] || replace_modules
	add_generic_tests
	write_program "$@"
	chmod -R a+rX "$payload"
}

# The kernel splits its command line at spaces, and takes no more than 32 words
write_program() {
	{
		echo "#!/bin/bash"
		printf 'exec'
		printf ' %q' "$@"
		echo
	} >"$payload/guest/program"
	chmod +x "$payload/guest/program"
	[ ${#environment[@]} -eq 0 ] || printf 'export %q\n' "${environment[@]}" >"$payload/guest/environment"
}

replace_modules() {
	local tree module old

	tree=$(echo "$payload"/lib/modules/*)
	for module in "$modules"/*.ko; do
		old=$(find "$tree/kernel" -name "$(basename "$module")")
		[ -n "$old" ] || die "the $flavour kernel has no module $(basename "$module")"
		strip --strip-debug -o "$old" "$module"
	done
	depmod -b "$payload" "$(basename "$tree")"
}

# IGT's tests that run on any DRM driver: the files of the distribution's package, on the
# guest's own disk
add_generic_tests() {
	local test programs=()

	mkdir "$payload/generic"
	mapfile -t programs < <(grep -v '^#' "$top/tests/generic/programs.txt")
	for test in "${programs[@]}"; do
		[ -x "$rootfs/sysroot$generic_tests/$test" ] || die "the distribution's IGT has no test $test"
		ln -s "$generic_tests/$test" "$payload/generic/$test"
	done
	printf 'TESTLIST\n%s\nEND TESTLIST\n' "${programs[*]}" >"$payload/generic/test-list.txt"
}

# In memory if there is room, because all of it may be touched; otherwise beside the logs
vram_directory() {
	local room

	room=$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1)
	if [ -w /dev/shm ] && [ "${room:-0}" -gt $((vram_mib + small_vram_mib)) ] &&
		[ "$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -gt $((vram_mib + 3072)) ]; then
		echo /dev/shm
	else
		echo "$dir"
	fi
}

# A killed script leaves its directory, with a free lock; a running one holds the lock of its own.
remove_orphans() {
	find "$1" -maxdepth 1 -name 'vpfn-vram.*' -writable -mmin +1 -exec flock -n {} rm -rf {} \; 2>/dev/null || true
}

accelerator() {
	# /dev/kvm alone proves nothing: where the CPU shows neither flag, a guest hangs
	if [ -n "$icount" ]; then
		echo tcg,thread=single
	elif grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
		echo kvm
	else
		# A VM with an IOMMU runs nested guests. QEMU's helpers for SVM change a processor's
		# pending interrupts without a lock: one that another thread raises meanwhile is
		# lost, and the processor that waits for the answer to an IPI waits for ever.
		# A processor's TLB has, for each page of a device, an index into the table of
		# memory regions, and QEMU 10.0 flushes it only after the table has changed
		# (system/physmem.c: iotlb_to_section(), tcg_commit()). While one thread maps or
		# unmaps a BAR, an access in another thread may reach the wrong device: in
		# vpfn_suspend@sleep QEMU ended once by the assertion of msix_table_mmio_write().
		echo "tcg,thread=$([ -n "$iommu$hotplug" ] && echo single || echo multi)"
	fi
}

# If root starts QEMU, run it as a user that owns nothing but this VM's files
confine() {
	local groups=--clear-groups

	confined=()
	[ "$(id -u)" -eq 0 ] || return 0
	if ! setpriv --reuid=nobody --regid=nogroup --clear-groups true 2>/dev/null; then
		say "note: QEMU runs as root, because root cannot become nobody here"
		return
	fi
	[ "$(accelerator)" != kvm ] || groups=--groups=$(stat -c %g /dev/kvm)
	confined=(setpriv --reuid=nobody --regid=nogroup "$groups" --no-new-privs)
	chown -R nobody:nogroup "$dir/guest" "$dir/console.log" "$dir/output.log" "$scratch" "$vram"
}

# reach NAME DIR: sets NAME to a path by which QEMU reaches DIR even if its user may not walk
# there, as below root's home
reach() {
	local fd

	exec {fd}<"$2"
	printf -v "$1" /proc/self/fd/%d "$fd"
}

# A guest's symbolic links and devices must not become the host's. tmpfs has no extended
# attributes of users before Linux 6.6.
security_model() {
	if python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.vpfn", b"")' "$dir/guest" 2>/dev/null; then
		echo mapped-xattr
	else
		echo mapped-file
	fi
}

# tsc=reliable: under TCG the clock's watchdog is late now and then, and says so at a
# level that fails a test
kernel_command_line() {
	# rcu_expedited: each bind and unbind waits for many grace periods
	echo "console=ttyS0 earlycon=uart8250,io,0x3f8,115200 root=/dev/vda rw rcupdate.rcu_expedited=1" \
		"panic=-1 oops=panic tsc=reliable no_timer_check init=/usr/sbin/vpfn-init -- /vpfn/guest/program"
}

# The cards, in the form that -device and the control port's "plug" take
describe_cards() {
	cards=(
		"{\"driver\": \"vpfn\", \"id\": \"vpfn0\", \"bus\": \"slot0\", \"memdev\": \"vram0\"}"
		"{\"driver\": \"vpfn\", \"id\": \"vpfn1\", \"bus\": \"slot1\", \"memdev\": \"vram1\",
		  \"visible-vram-size\": $((small_visible_mib << 20))}"
	)
}

# Both cards below one switch, which passes DMA from one to the other as it is: Linux
# trusts no host bridge of QEMU with that. Hotplug is that of ACPI: Linux's code for PCI
# Express's own takes two locks in either order, and lockdep, having said so, sees nothing
# from then on.
# The firmware places memory for PCI at the end of the address space, whose last 12 GiB are
# reserved with AMD's processors: the reserve moves the cards down to where Linux, too, may
# place one that is plugged in.
# shellcheck disable=SC2054
switch_arguments() {
	local n

	arguments+=(
		-device pcie-root-port,id=switch-port,chassis=1,pref64-reserve=32G
		-device x3130-upstream,id=switch,bus=switch-port
	)
	for n in 0 1; do
		arguments+=(-device "xio3130-downstream,id=slot$n,bus=switch,addr=$n,chassis=2,slot=$n")
	done
}

# Each card below a root port of its own, which sends all DMA up to the IOMMU. QEMU's switch has
# no such access control (ACS): to Linux the cards below it are one group, for one user.
root_port_arguments() {
	local n

	for n in 0 1; do
		arguments+=(-device "pcie-root-port,id=slot$n,chassis=1,slot=$n,pref64-reserve=16G")
	done
}

# shellcheck disable=SC2054
card_arguments() {
	local n

	arguments+=(
		-object "memory-backend-file,id=vram0,size=${vram_mib}M,mem-path=$vram_path/vpfn0,share=on"
		-object "memory-backend-file,id=vram1,size=${small_vram_mib}M,mem-path=$vram_path/vpfn1,share=on"
	)
	if [ -n "$iommu" ]; then
		root_port_arguments
	else
		switch_arguments
	fi
	for n in 0 1; do
		arguments+=(-device "${cards[n]}")
	done
}

# As a second display device, which needs no VGA. Both of its memories have room for
# buffers of some large pages.
# shellcheck disable=SC2054
qxl_arguments() {
	arguments+=(-device qxl,ram_size_mb=128,vram_size_mb=64,vgamem_mb=16)
}

# A share that survives the guest's sleep: Linux's 9p does not set its device up again, so
# the device must not be reset, for which it has to be a PCI Express one.
share_arguments() {
	local tag=$1 chassis=$2

	arguments+=(
		-device "pcie-root-port,id=$tag-port,chassis=$chassis"
		-device "virtio-9p-pci,bus=$tag-port,fsdev=$tag,mount_tag=$tag,x-pcie-pm-no-soft-reset=on"
	)
}

add_plugin() {
	local plugin_path

	reach plugin_path "$(dirname "$plugin")"
	arguments+=(-plugin "$plugin_path/$(basename "$plugin")" -d plugin)
}

# bochs-display is for the one test that looks at mappings of other drivers; it loads the driver.
# bzImage takes two seconds to unpack, but started as vmlinux (PVH) the kernel does not wake up
# from suspend to RAM.
# Without la57: an interrupt while the kernel finds out what the CPU has makes KASAN believe
# that there are four levels of page tables, and complain, at about every fifth start.
# QEMU's options hold commas
# shellcheck disable=SC2054
qemu_arguments() {
	local qemu_path image_path rootfs_path dir_path vram_path

	image=${image:-$kernel/bzImage}
	reach qemu_path "$qemu"
	reach image_path "$(dirname "$image")"
	reach rootfs_path "$rootfs"
	reach dir_path "$dir"
	reach vram_path "$vram"
	arguments=(
		"$qemu_path/qemu-system-x86_64" -L "$qemu_path/share"
		-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
		-machine q35 -accel "$(accelerator)" -cpu max,la57=off -m "$guest_memory"
		-smp "$([ -n "$icount" ] && echo 1 || echo 2)"
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$image_path/$(basename "$image")" -append "$(kernel_command_line)"
		-drive "file=$rootfs_path/rootfs.ext4,format=raw,if=virtio,snapshot=on"
		-fsdev "local,id=vpfn,path=$dir_path/payload,security_model=none,readonly=on"
		-fsdev "local,id=out,path=$dir_path/guest,security_model=$(security_model)"
		-chardev "file,id=console,path=$dir_path/console.log" -serial chardev:console
		-serial chardev:program
		-chardev "pipe,id=witness,path=$scratch/witness"
		-qmp "unix:$scratch/qmp,server=on,wait=off" -chardev "pipe,id=control,path=$scratch/control"
		-qmp "unix:$scratch/examine,server=on,wait=off"
		-device virtio-serial-pci -device virtserialport,chardev=witness,name=vpfn.witness
		-device virtserialport,chardev=control,name=vpfn.control
		-device bochs-display
	)
	[ -z "$icount" ] || arguments+=(-icount shift=0,sleep=on)
	[ -z "$plugin" ] || add_plugin
	# Before the devices whose DMA it translates
	[ -z "$iommu" ] || arguments+=(-device intel-iommu)
	share_arguments vpfn 10
	share_arguments out 11
	[ -z "$device" ] || card_arguments
	[ -z "$qxl" ] || qxl_arguments
	if [ -n "$terminal" ]; then
		# Ctrl-C belongs to the guest; Ctrl-A X ends QEMU
		arguments+=(-chardev "stdio,id=program,mux=on,signal=off" -mon chardev=program)
	else
		arguments+=(-chardev "stdio,id=program,logfile=$dir_path/output.log")
	fi
}

# starved PID: how many seconds QEMU has waited for a CPU of the host, its worst thread
starved() {
	awk '$2 > most { most = $2 } END { print int(most / 1e9) }' /proc/"$1"/task/*/schedstat 2>/dev/null || echo 0
}

# has_had PID SECONDS START: has QEMU had so much time since START, without its waits for a CPU?
has_had() {
	((SECONDS - $3 >= $2 && SECONDS - $3 - $(starved "$1") >= $2))
}

# Ends QEMU at its limits, leaving the reason and what the VM looked like
watch_limits() {
	local pid=$1 start=$SECONDS

	while sleep 0.5; do
		if [ ! -e "$dir/guest/booted" ]; then
			! has_had "$pid" "$boot_limit" "$start" || break
		elif has_had "$pid" "$limit" "$start"; then
			break
		fi
	done
	touch "$scratch/limit"
	"$top/vm/examine.py" "$scratch/examine" >"$dir/hang.log" 2>&1 || true
	end_qemu "$pid"
}

end_qemu() {
	kill "$1" 2>/dev/null || return 0
	timeout 10 tail --pid="$1" -s 0.1 -f /dev/null || kill -KILL "$1" 2>/dev/null || true
}

start_vm() {
	if [ -n "$terminal" ]; then
		"${confined[@]}" "${arguments[@]}" 2>"$dir/qemu.log" || qemu_status=$?
		return
	fi
	# With guest/booted: how long the way to user space is
	touch "$dir/started"
	"${confined[@]}" "${arguments[@]}" 2>"$dir/qemu.log" </dev/null &
	qemu_pid=$!
	watch_limits "$qemu_pid" >/dev/null 2>&1 {busy}>&- &
	watch_pid=$!
	wait "$qemu_pid" || qemu_status=$?
	qemu_pid=
	kill "$watch_pid" 2>/dev/null || true
}

# Make what the guest left readable, with the owner of out/. Remove its symbolic links and
# devices, which QEMU stores as files with an attribute: their content is no result.
collect() {
	[ ${#confined[@]} -eq 0 ] || chown -R --reference="$dir" "$dir/guest" "$dir"/*.log
	chmod -R a+rX,u+w "$dir/guest"
	python3 - "$dir/guest" <<-'EOF'
		import os, stat, sys
		for folder, _, names in os.walk(sys.argv[1]):
		    for path in (os.path.join(folder, name) for name in names):
		        try:
		            mode = os.getxattr(path, "user.virtfs.mode", follow_symlinks=False)
		        except OSError:
		            continue
		        if not stat.S_ISREG(int.from_bytes(mode, "little")):
		            os.unlink(path)
	EOF
}

# end CODE SENTENCE
end() {
	say "$2"
	exit "$1"
}

# The first line of the kernel's log that fits, without its time
first_line() {
	grep -m 1 -aE "$1" "$dir/console.log" | tr -d '\r' | sed 's/^\[[^]]*\] *//' || true
}

# The order matters: a panic also leaves no exit code, and a hang may follow an oops. What the
# kernel complained of first tells more than what it came to in the end.
judge() {
	local code console=$dir/console.log oops first logs

	# A terminal has shown the output, and has been left by Ctrl-A X if there is no exit code
	logs="(kernel log: $console)"
	[ -n "$terminal" ] || logs="(output: $dir/output.log, kernel log: $console)"
	oops=$(first_line 'Kernel panic|Oops|BUG: unable|general protection fault')
	first=$(first_line '(WARNING|BUG|INFO): |UBSAN|Kernel panic|Oops|general protection fault')
	if [ -n "$oops" ]; then
		[ "$first" != "$oops" ] || first=
		end $exit_panic "the kernel crashed: $oops${first:+, after $first} (log: $console)"
	elif [ -s "$dir/guest/exit-code" ]; then
		code=$(<"$dir/guest/exit-code")
		[ "$code" -ne 0 ] || exit 0
		end "$code" "the program failed with exit code $code: $* $logs"
	elif [ -n "$terminal" ] && [ "$qemu_status" -eq 0 ]; then
		exit 0
	elif [ ! -e "$dir/guest/booted" ] && [ ! -e "$scratch/limit" ] && [ -s "$dir/qemu.log" ]; then
		end $exit_qemu "QEMU did not start the VM: $(head -n 1 "$dir/qemu.log") (log: $dir/qemu.log)"
	elif [ ! -e "$dir/guest/booted" ]; then
		end $exit_no_boot "the VM never booted: no user space within $boot_limit s${first:+, after $first} (log: $console)"
	elif [ -e "$scratch/limit" ]; then
		end $exit_hang "the VM hung: $* did not end within $limit s${first:+, after $first} (processors and queues: $dir/hang.log, ${logs#(}"
	else
		end $exit_qemu "the VM ended by itself, with QEMU's status $qemu_status and without an exit code${first:+, after $first} (logs: $console, $dir/qemu.log)"
	fi
}

clean_up() {
	[ -z "$qemu_pid" ] || end_qemu "$qemu_pid"
	[ -z "$watch_pid" ] || kill "$watch_pid" 2>/dev/null || true
	[ -z "$witness_pid" ] || kill "$witness_pid" 2>/dev/null || true
	[ -z "$control_pid" ] || kill "$control_pid" 2>/dev/null || true
	rm -rf "$scratch" "$vram"
}

qemu_pid=
watch_pid=
witness_pid=
control_pid=
qemu_status=0
build_what_is_missing

dir=$out/$name
mkdir -p "$dir"
exec {busy}>"$dir/.lock"
if ! flock -n "$busy"; then
	say "waiting for another run that writes to $dir; OUT= would choose another directory"
	flock "$busy"
fi
rm -rf "$dir/guest" "$dir"/*.log
mkdir -p "$dir/guest"
: >"$dir/console.log"
: >"$dir/output.log"

scratch=$(mktemp -d)
remove_orphans /dev/shm
remove_orphans "$dir"
vram=$(mktemp -d "$(vram_directory)/vpfn-vram.XXXXXX")
exec {held}<"$vram"
flock "$held"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
truncate -s "${vram_mib}M" "$vram/vpfn0"
truncate -s "${small_vram_mib}M" "$vram/vpfn1"

fill_payload "$@"
describe_cards
mkfifo "$scratch"/{witness,control}.{in,out}
"$top/vm/witness.sh" "$vram" "$scratch/witness" >/dev/null 2>&1 {busy}>&- &
witness_pid=$!
"$top/vm/control.py" "$scratch/qmp" "$scratch/control" "${cards[@]}" 2>"$dir/control.log" >/dev/null {busy}>&- &
control_pid=$!
qemu_arguments
confine
start_vm
collect
judge "$@"
