// SPDX-License-Identifier: MIT
/*
 * What does the kernel say? Its log from the start of the run on.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define LEVEL_WARNING	4

/**
 * fuzz_read_text:
 * @path: a file
 * @text: where its beginning goes, as a string
 * @size: room there
 *
 * Returns: whether it could be read.
 */
bool fuzz_read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/**
 * fuzz_log_open:
 *
 * Returns: the kernel log, of which only later lines will be read, or a negative errno.
 */
int fuzz_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

static bool is_bad(int level, const char *text)
{
	static const char * const words[] = {
		"WARNING", "BUG", "KASAN", "UBSAN", "possible recursive locking",
		"possible circular locking", "inconsistent lock state", "blocked for more than",
		"Out of memory", "oom-kill", "Oops", "general protection fault",
	};

	if (level <= LEVEL_WARNING)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strstr(text, words[i]))
			return true;
	}
	return false;
}

/**
 * fuzz_log_check:
 * @fd: from fuzz_log_open()
 *
 * Each line at warning level or above is a finding, and so is one with a word of alarm.
 */
void fuzz_log_check(int fd)
{
	char record[8192], *text;
	ssize_t n;

	while ((n = read(fd, record, sizeof(record) - 1)) >= 0 || errno == EPIPE) {
		if (n < 0) {
			fuzz_finding("the kernel log ran over: lines of it are lost");
			continue;
		}
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text[1 + strcspn(text + 1, "\n")] = '\0';
		if (is_bad(strtol(record, NULL, 10) & 7, text))
			fuzz_finding("kernel: %s", text + 1);
	}
}
