# SPDX-License-Identifier: GPL-2.0
# Every command of the project. What they write lands in out/, or where OUT= says;
# what they build is kept in ${XDG_CACHE_HOME:-~/.cache}/vpfn.

.PHONY: help run bench bench-diff check check-quick coverage qtest fuzz-device fuzz-driver kcsan kmemleak mutants automutants mm-bugs ttm-helper igt lint selftest shell kernel-tree qemu-tree igt-tree clean
.SILENT:

## help: this list
help:
	sed -n 's/^## \([^:]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 22

## run: boot the VM and run the demonstration; its table says what vpfn is for
run:
	vm/run.sh

## bench: what a mapping costs by the size of its leaves, beside other mappings; results in out/bench/
bench:
	vm/bench.sh

## bench-diff OLD=... NEW=...: which figures of a bench.json got worse
bench-diff:
	vm/bench.sh --diff "$(OLD)" "$(NEW)"

## check: run all tests on the debug kernel; results in out/check/
check:
	vm/check.sh

## check-quick: the device, KUnit, the mapping, O_DIRECT, get_user_pages; results in out/check/
check-quick:
	vm/check.sh --tests '^qtest@|^igt@vpfn_(kunit|gem|mmap|split|direct_io|gup)@'

## coverage: run all tests with a driver that counts its lines; results in out/coverage/
coverage:
	vm/coverage.sh

## qtest: the device's own tests, without a guest; results in out/check/
qtest:
	vm/qtest.sh

## fuzz-device: QEMU's fuzzer on the device, for SECONDS=600; findings in out/fuzz/
fuzz-device:
	vm/fuzz-device.sh $(SECONDS)

## fuzz-driver: random calls of user space to the driver, and on its mappings, on the debug kernel, for SECONDS=1200 each, SEED=
fuzz-driver:
	vm/fuzz-driver.sh $(or $(SECONDS),1200) $(SEED)

## kcsan: look for data races of the driver, by KCSAN; results in out/kcsan/
kcsan:
	vm/kcsan.sh

## kmemleak: look for memory that the driver leaks, by kmemleak after each test binary; results in out/kmemleak/
kmemleak:
	vm/kmemleak.sh

## mm-bugs: reproduce the kernel's own bugs, without and with patches/linux/; results in out/mm-bugs/
mm-bugs:
	vm/mm-bugs.sh

## igt IGT_SRC=...: build the tests in a copy of that IGT tree, list, describe, skip
igt:
	vm/igt.sh

## lint: the checkers of the Linux and QEMU trees, sparse, W=1, shellcheck
lint:
	vm/lint.sh

## selftest: prove that make check fails when it must
selftest:
	vm/selftest.sh

## ttm-helper: what patches/linux/rfc-ttm does for the driver of QEMU's QXL device, and for vpfn
ttm-helper:
	vm/ttm-helper.sh

## mutants: break each rule of the driver in turn, see a test fail (MUTANTS='R10-* R13-*': only some)
mutants:
	set -f; vm/mutants.sh $(MUTANTS)

## automutants: break lines of the driver and the device at random, see a test fail (COUNT=10 of each file, SEED=1, FILES='vpfn_bo.c')
automutants:
	set -f; vm/automutants.sh --count $(or $(COUNT),10) --seed $(or $(SEED),1) $(FILES)

## shell: the VM with a prompt (FLAVOUR=debug for the kernel of make check, ADD=DIR for files of one's own in /vpfn)
shell:
	vm/shell.sh

## kernel-tree DIR=...: put the driver into a Linux tree
kernel-tree:
	vm/trees.sh linux "$(DIR)"

## qemu-tree DIR=...: put the device into a QEMU tree
qemu-tree:
	vm/trees.sh qemu "$(DIR)"

## igt-tree DIR=...: put the tests into an IGT tree
igt-tree:
	vm/igt-tree.sh "$(DIR)"

## clean: remove out/; the cache stays
clean:
	rm -rf out
