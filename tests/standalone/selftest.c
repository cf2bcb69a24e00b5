// SPDX-License-Identifier: MIT
/*
 * Does the libigt.so.0 that is there behave as igt.h declares? The program must end with exit
 * code 98 and the verdicts of selftest.expected; vm/guest-programs.mk builds nothing else
 * before that is so.
 */
#include "igt.h"

IGT_TEST_DESCRIPTION("One subtest for each verdict.");

int igt_main()
{
	static int fixtures;

	igt_fixture() {
		fixtures++;
	}

	igt_describe("The fixture ran once.");
	igt_subtest("pass")
		igt_assert_eq(fixtures, 1);

	igt_describe("A failed assertion ends the subtest.");
	igt_subtest("fail") {
		igt_assert_eq(fixtures, 2);
		fixtures = 100;
	}

	igt_subtest_group() {
		igt_fixture() {
			igt_require(fixtures == 2);
		}

		igt_describe("A requirement that fails skips its group.");
		igt_subtest("skip")
			fixtures = 100;
	}

	igt_describe("One failing part fails the whole.");
	igt_subtest_with_dynamic("dynamic") {
		igt_dynamic("one")
			igt_assert(fixtures == 1);
		igt_dynamic("two")
			igt_assert_f(fixtures == 2, "the fixture ran %d times\n", fixtures);
	}

	igt_describe("Nothing of the above has leaked.");
	igt_subtest("after")
		igt_assert_eq(fixtures, 1);
}
