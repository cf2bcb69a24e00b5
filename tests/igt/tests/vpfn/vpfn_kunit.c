// SPDX-License-Identifier: MIT
/*
 * What does the driver decide without a device? Its KUnit tests: each suite is a subtest here,
 * each of its cases a dynamic one.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "igt_kmod.h"
#include "vpfn/vpfn_bo.h"

IGT_TEST_DESCRIPTION("The driver's own unit tests.");

#define MODULE	"vpfn-kunit-tests"

/* Bit 18, what the kernel sets when it loads a test module; the first time it warns. */
static void say_that_we_test(void)
{
	static const char taint[] = "262144";
	int fd = open("/proc/sys/kernel/tainted", O_WRONLY | O_CLOEXEC);

	igt_assert(fd >= 0);
	igt_assert_eq(write(fd, taint, strlen(taint)), strlen(taint));
	close(fd);
}

int igt_main()
{
	static const struct {
		const char *suite;
		const char *describe;
	} suites[] = {
		{ "vpfn_bo", "Where a buffer may be." },
		{ "vpfn_gart", "Which pages the engine reaches." },
		{ "vpfn_job", "How commands are described to the engine." },
		{ "vpfn_mmap", "Which page-table entries are possible, and at which addresses." },
		{ "vpfn_submit", "Which commands are accepted." },
	};

	igt_fixture() {
		say_that_we_test();
	}

	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		igt_subtest_group() {
			igt_describe(suites[i].describe);
			igt_kunit(MODULE, suites[i].suite, NULL);
		}
	}
}
