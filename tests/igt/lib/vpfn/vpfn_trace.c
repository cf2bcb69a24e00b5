// SPDX-License-Identifier: MIT
/*
 * What do the driver's trace events tell?
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_trace.h"

#define INSTANCE	"/sys/kernel/tracing/instances/vpfn-test"

static void trace_end(int sig)
{
	(void)sig;
	rmdir(INSTANCE);
}

/**
 * vpfn_trace_clear:
 *
 * Forgets what happened so far.
 */
void vpfn_trace_clear(void)
{
	/* Opening it for writing is enough. */
	close(open(INSTANCE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/**
 * vpfn_trace_add:
 * @event: name of one of the driver's events, or system and name of another one ("rpm/rpm_idle"),
 *	which is collected, too
 */
void vpfn_trace_add(const char *event)
{
	char path[128];

	snprintf(path, sizeof(path), INSTANCE "/events/%s%s/enable",
		 strchr(event, '/') ? "" : "vpfn/", event);
	igt_assert_eq(pfnmap_text_write(path, "1"), 0);
}

/**
 * vpfn_trace_begin:
 * @event: as for vpfn_trace_add(); it is collected until the test exits
 */
void vpfn_trace_begin(const char *event)
{
	igt_require_f(!access("/sys/kernel/tracing/events/vpfn", F_OK) ||
		      !access("/sys/kernel/debug/tracing/events/vpfn", F_OK),
		      "the kernel lacks CONFIG_FTRACE\n");
	rmdir(INSTANCE);
	igt_assert_eq(mkdir(INSTANCE, 0700), 0);
	igt_install_exit_handler(trace_end);
	vpfn_trace_add(event);
	vpfn_trace_clear();
}

/**
 * vpfn_trace_lines:
 * @event: name of the event
 * @look: called for each line of the event, which it gets from after the colon
 * @arg: for @look
 *
 * Returns: the number of lines.
 */
int vpfn_trace_lines(const char *event, void (*look)(const char *line, void *arg), void *arg)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	char line[512], word[64];
	int count = 0;

	igt_assert(file);
	snprintf(word, sizeof(word), " %s: ", event);
	while (fgets(line, sizeof(line), file)) {
		char *found = *line == '#' ? NULL : strstr(line, word);

		if (!found)
			continue;
		look(found + strlen(word), arg);
		count++;
	}
	fclose(file);
	return count;
}

/**
 * vpfn_trace_number:
 * @line: of an event
 * @key: what stands before the number, with the equals sign
 *
 * Returns: the number.
 */
long vpfn_trace_number(const char *line, const char *key)
{
	const char *found = strstr(line, key);

	igt_assert_f(found, "no %s in %s", key, line);
	return strtol(found + strlen(key), NULL, 0);
}
