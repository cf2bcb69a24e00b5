// SPDX-License-Identifier: MIT
/*
 * What do the kernel's trace events tell?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_events.h"

#define INSTANCE	"/sys/kernel/tracing/instances/vpfn-events"

/**
 * vpfn_events_open:
 * @kib: size of the buffer of each CPU in KiB
 *
 * Makes an empty buffer into which nothing is written before vpfn_events_start().
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_FTRACE, or another negative errno.
 */
int vpfn_events_open(unsigned int kib)
{
	char size[16];

	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700))
		return -errno;

	snprintf(size, sizeof(size), "%u", kib);
	return pfnmap_text_write(INSTANCE "/tracing_on", "0") ?:
	       pfnmap_text_write(INSTANCE "/buffer_size_kb", size);
}

/**
 * vpfn_events_close:
 *
 * Removes the buffer.
 */
void vpfn_events_close(void)
{
	rmdir(INSTANCE);
}

/**
 * vpfn_events_add:
 * @event: an event, as SYSTEM/NAME
 * @filter: which of them, or NULL for all
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_events_add(const char *event, const char *filter)
{
	char path[128];
	int err = 0;

	if (filter) {
		snprintf(path, sizeof(path), INSTANCE "/events/%s/filter", event);
		err = pfnmap_text_write(path, filter);
	}
	snprintf(path, sizeof(path), INSTANCE "/events/%s/enable", event);
	return err ?: pfnmap_text_write(path, "1");
}

/**
 * vpfn_events_start:
 *
 * Empties the buffer, and collects events from now on.
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_events_start(void)
{
	/* Opening it for writing is enough. */
	int fd = open(INSTANCE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	close(fd);
	return pfnmap_text_write(INSTANCE "/tracing_on", "1");
}

/**
 * vpfn_events_stop:
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_events_stop(void)
{
	return pfnmap_text_write(INSTANCE "/tracing_on", "0");
}

/**
 * vpfn_events_read:
 * @look: called for each event in order, with its name, and its line from after the name
 * @arg: for @look
 *
 * Returns: the number of events that were lost because the buffer was full, or a negative errno.
 */
int vpfn_events_read(void (*look)(const char *event, const char *line, void *arg), void *arg)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	unsigned long in_buffer, written;
	char line[1024], *event, *end;
	int lost = -EPROTO;

	if (!file)
		return -errno;

	while (fgets(line, sizeof(line), file)) {
		if (*line == '#') {
			if (sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu",
				   &in_buffer, &written) == 2)
				lost = written - in_buffer;
			continue;
		}
		/* TASK-PID [CPU] FLAGS TIME: EVENT: ..., and the task's name may hold anything */
		event = strstr(line, "] ");
		event = event ? strstr(event, ": ") : NULL;
		end = event ? strstr(event + 2, ": ") : NULL;
		if (!end)
			continue;
		*end = '\0';
		look(event + 2, end + 2, arg);
	}
	fclose(file);
	return lost;
}
