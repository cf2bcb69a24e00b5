// SPDX-License-Identifier: MIT
/*
 * What a test must never get away with. vm/selftest.sh puts this beside the real tests,
 * and make check has to fail on each subtest.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"

IGT_TEST_DESCRIPTION("Failures that make check must notice.");

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	igt_assert(fd >= 0);
	igt_assert_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

int igt_main()
{
	igt_describe("The test passes, but the kernel warned.");
	igt_subtest("warning")
		write_to("/dev/kmsg", "<4>vpfn_selftest: a warning\n");

	igt_describe("The kernel follows a null pointer.");
	igt_subtest("oops")
		write_to("/sys/kernel/debug/provoke-crash/DIRECT", "EXCEPTION");

	igt_describe("The runner dies, and the VM with it.");
	igt_subtest("runner") {
		kill(getppid(), SIGKILL);
		pause();
	}

	igt_describe("No process runs any more, igt_runner and its time limit included.");
	igt_subtest("hang") {
		kill(-1, SIGSTOP);
		raise(SIGSTOP);
	}
}
