# SPDX-License-Identifier: MIT
#
# The programs that run in the guest, built on the host against the guest's libraries:
#
#   make -f vm/guest-programs.mk SYSROOT=<guest's root file system> OUT=<dir> [SRC=<tree>]
#   make -f vm/guest-programs.mk ... DEST=<dir> install    links what there is now, and no more
#
#   OUT/igt/vpfn_*          the IGT tests
#   OUT/igt/test-list.txt   their names, as igt_runner reads them
#   OUT/bin/vpfn_demo       the demonstration
#   OUT/bin/vpfn_fuzz       the fuzzer for the driver
#   OUT/bin/mm_bugs         the reproducers of the kernel's own bugs
#   OUT/bin/vpfn_bench      the measurements of `make bench`
#   OUT/ttm-helper/         the test of huge faults in TTM, and its list
#
# SYSROOT holds libigt.so, libdrm and libc with their development files. Which programs there
# of vpfn's there are is written in tests/igt/tests/vpfn/meson.build.

SRC ?= .
CC := gcc

ifeq ($(wildcard $(SYSROOT)/usr/lib/x86_64-linux-gnu/libigt.so),)
$(error SYSROOT=$(SYSROOT) holds no libigt.so: it must name the guest's root file system)
endif
ifeq ($(OUT),)
$(error OUT must name a directory)
endif

# Paths that the caller's environment adds are those of the host.
unexport LIBRARY_PATH CPATH C_INCLUDE_PATH LD_LIBRARY_PATH

LIBDIR := $(SYSROOT)/usr/lib/x86_64-linux-gnu
RUN := $(LIBDIR)/ld-linux-x86-64.so.2 --library-path $(LIBDIR)

IGT := $(SRC)/tests/igt
STRESS := $(SRC)/tests/stress
STANDALONE := $(SRC)/tests/standalone
MESON := $(IGT)/tests/vpfn/meson.build

# The quoted names on the indented lines that follow "vpfn_progs = ".
VPFN_TESTS := $(shell sed -n "/^vpfn_progs = /,/^[^\t]/s/^\t'\(.*\)',$$/\1/p" $(MESON))
ifeq ($(VPFN_TESTS),)
$(error cannot read vpfn_progs from $(MESON))
endif
CORE_TESTS := $(notdir $(basename $(wildcard $(IGT)/tests/core_*.c)))
STRESS_TESTS := vpfn_storm vpfn_mm_fuzz
TESTS := $(VPFN_TESTS) $(CORE_TESTS) $(STRESS_TESTS)

# -B puts the guest's start files and libraries before those of the host's compiler.
# The warnings are IGT's. -Wno-clobbered, since the blocks of a test are loops around sigsetjmp().
CPPFLAGS := --sysroot=$(SYSROOT) -D_GNU_SOURCE -I$(IGT)/lib -I$(SRC)/include/uapi/drm \
	    -I$(SYSROOT)/usr/include/libdrm
CFLAGS := -std=gnu11 -O2 -g -pthread -Wall -Wextra -Werror -Wno-clobbered -Wbad-function-cast \
	  -Wdeclaration-after-statement -Wformat=2 -Wlogical-op -Wmissing-prototypes -Wnested-externs \
	  -Wold-style-definition -Wredundant-decls -Wshadow -Wstrict-prototypes \
	  -Wwrite-strings -ffile-prefix-map=$(SRC)/=
LDFLAGS := --sysroot=$(SYSROOT) -B$(LIBDIR) -L$(LIBDIR) -pthread -Wl,--allow-shlib-undefined

TEST_BINS := $(TESTS:%=$(OUT)/igt/%)
SELFTEST := $(OUT)/obj/selftest

LIB_OBJECTS := $(patsubst $(IGT)/%.c,$(OUT)/obj/%.o,$(wildcard $(IGT)/lib/*/*.c))
FUZZ_OBJECTS := $(patsubst $(SRC)/tests/fuzz/%.c,$(OUT)/obj/%.o,$(wildcard $(SRC)/tests/fuzz/*.c))
MM_BUGS_OBJECTS := $(patsubst $(SRC)/tests/mm-bugs/%.c,$(OUT)/obj/mm-bugs/%.o,$(wildcard $(SRC)/tests/mm-bugs/*.c))

BINS := $(OUT)/bin/vpfn_demo $(OUT)/bin/vpfn_fuzz $(OUT)/bin/vpfn_bench $(OUT)/bin/mm_bugs
QXL := $(OUT)/ttm-helper/qxl_mmap $(OUT)/ttm-helper/test-list.txt

all: $(TEST_BINS) $(OUT)/igt/test-list.txt $(BINS) $(QXL)

# A header more or less changes nothing here: the compiler writes down what it read.
-include $(wildcard $(addprefix $(OUT)/obj/,*.d */*.d */*/*.d))

$(OUT)/igt $(OUT)/bin $(OUT)/obj $(OUT)/obj/mm-bugs $(OUT)/ttm-helper:
	mkdir -p $@

$(OUT)/obj/%.o: $(IGT)/%.c
	mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -I$(STANDALONE) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/stress/%.o: $(STRESS)/%.c
	mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -I$(STANDALONE) $(CFLAGS) -MMD -MP -c $< -o $@

# Each program gets the members that it needs: what is no IGT test needs none that knows IGT
$(OUT)/libtests.a: $(LIB_OBJECTS)
	rm -f $@
	ar rcs $@ $^

$(OUT)/obj/%.o: $(STANDALONE)/%.c | $(OUT)/obj
	$(CC) $(CPPFLAGS) -I$(STANDALONE) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/%.o: $(SRC)/demo/%.c | $(OUT)/obj
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/%.o: $(SRC)/bench/%.c | $(OUT)/obj
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/%.o: $(SRC)/tests/fuzz/%.c | $(OUT)/obj
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/mm-bugs/%.o: $(SRC)/tests/mm-bugs/%.c | $(OUT)/obj/mm-bugs
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/obj/%.o: $(SRC)/tests/ttm-helper/%.c | $(OUT)/obj
	$(CC) $(CPPFLAGS) -I$(STANDALONE) $(CFLAGS) -MMD -MP -c $< -o $@

# Written beside and renamed: a file that is linked elsewhere by "install" does not change.
link = $(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(1) -o $@.new && mv $@.new $@
test_list = printf 'TESTLIST\n%s\nEND TESTLIST\n' '$(1)' >$@.new && mv $@.new $@

# Our declarations of the library's interface must fit the library that is there.
$(SELFTEST): $(OUT)/obj/selftest.o
	$(call link,-ligt)

$(OUT)/obj/selftest.ok: $(SELFTEST) $(STANDALONE)/selftest.expected
	$(RUN) $(abspath $<) 2>/dev/null >$(OUT)/obj/selftest.log; test $$? -eq 98
	sed -n 's/^\(Subtest\|Dynamic subtest\) \(.*\) (.*)$$/\1 \2/p' $(OUT)/obj/selftest.log | \
		diff $(STANDALONE)/selftest.expected -
	touch $@

$(VPFN_TESTS:%=$(OUT)/igt/%): $(OUT)/igt/%: $(OUT)/obj/tests/vpfn/%.o
$(CORE_TESTS:%=$(OUT)/igt/%): $(OUT)/igt/%: $(OUT)/obj/tests/%.o
$(OUT)/igt/vpfn_storm: $(OUT)/obj/stress/vpfn_storm.o
$(OUT)/igt/vpfn_mm_fuzz: $(patsubst $(STRESS)/%.c,$(OUT)/obj/stress/%.o,$(wildcard $(STRESS)/vpfn_mm_fuzz*.c))
$(TEST_BINS): $(OUT)/libtests.a $(OUT)/obj/selftest.ok | $(OUT)/igt
	$(call link,-ligt -ldrm)

$(OUT)/bin/vpfn_demo: $(OUT)/obj/vpfn_demo.o $(OUT)/libtests.a | $(OUT)/bin
	$(call link,-ldrm)

$(OUT)/bin/vpfn_bench: $(OUT)/obj/vpfn_bench.o $(OUT)/libtests.a | $(OUT)/bin
	$(call link,-ldrm)

$(OUT)/bin/vpfn_fuzz: $(FUZZ_OBJECTS) $(OUT)/libtests.a | $(OUT)/bin
	$(call link,-ldrm)

$(OUT)/bin/mm_bugs: $(MM_BUGS_OBJECTS) | $(OUT)/bin
	$(call link,)

$(OUT)/ttm-helper/qxl_mmap: $(OUT)/obj/qxl_mmap.o $(OUT)/libtests.a \
			    $(OUT)/obj/selftest.ok | $(OUT)/ttm-helper
	$(call link,-ligt -ldrm)

$(OUT)/ttm-helper/test-list.txt: | $(OUT)/ttm-helper
	$(call test_list,qxl_mmap)

$(OUT)/igt/test-list.txt: $(MESON) | $(OUT)/igt
	$(call test_list,$(TESTS))

install: all
	mkdir -p $(DEST)/igt $(DEST)/bin $(DEST)/ttm-helper
	ln $(TEST_BINS) $(OUT)/igt/test-list.txt $(DEST)/igt
	ln $(BINS) $(DEST)/bin
	ln $(QXL) $(DEST)/ttm-helper

.PHONY: all install
.DELETE_ON_ERROR:
