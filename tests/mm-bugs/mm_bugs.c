// SPDX-License-Identifier: GPL-2.0
/*
 * Reproducers of bugs in mm and in drivers that map memory by huge, special page-table entries.
 * Each provokes one bug with in-tree drivers alone, and ends with 0 if the kernel behaved, with 1
 * and a sentence if it did not, with 2 if it could not be tried. Many an unpatched kernel does
 * not live to tell. A message of the kernel at warning level or above is misbehaviour, too.
 *
 *	mm_bugs --list
 *	mm_bugs BUG [PCI ADDRESS]
 *
 * The PCI address is that of a device which is bound to vfio-pci, in no-IOMMU mode, and whose
 * BAR 2 is memory, to read and to write, of 2 GiB or more; the bugs named shmem-* need a card of
 * the driver vgem instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm_bugs.h"

#define LEVEL_WARNING	4

static const struct bug *const groups[] = { pud_bugs, write_bugs, shmem_bugs };

static int kernel_log;

void bug(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	exit(EXIT_BUG);
}

void cannot(const char *format, ...)
{
	int error = errno;
	va_list arguments;

	printf("no way to try it: ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf(": %s\n", strerror(error));
	exit(EXIT_CANNOT);
}

static void start_watching_log(void)
{
	kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kernel_log < 0 || lseek(kernel_log, 0, SEEK_END) < 0)
		cannot("/dev/kmsg");
}

/* A record is "priority,number,time,flags;text"; the priority's low three bits are the level. */
static void check_log(void)
{
	char record[8192];
	ssize_t length;

	while ((length = read(kernel_log, record, sizeof(record) - 1)) >= 0) {
		char *text;

		record[length] = '\0';
		text = strchr(record, ';');
		if (!text || (atoi(record) & 7) > LEVEL_WARNING || strstr(text, "cut here"))
			continue;
		bug("the kernel warned: %.*s", (int)strcspn(text + 1, "\n"), text + 1);
	}
	if (errno != EAGAIN)
		cannot("/dev/kmsg");
}

static const struct bug *find(const char *name)
{
	const struct bug *bug;
	size_t n;

	for (n = 0; n < ARRAY_SIZE(groups); n++)
		for (bug = groups[n]; bug->name; bug++)
			if (!strcmp(bug->name, name))
				return bug;
	return NULL;
}

static void list(void)
{
	const struct bug *bug;
	size_t n;

	for (n = 0; n < ARRAY_SIZE(groups); n++)
		for (bug = groups[n]; bug->name; bug++)
			printf("%s\t%s\n", bug->name, bug->sign);
}

int main(int argc, char **argv)
{
	const struct bug *bug;

	setlinebuf(stdout);
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	bug = argc >= 2 && argc <= 3 ? find(argv[1]) : NULL;
	if (!bug) {
		fprintf(stderr, "usage: %s --list | BUG [PCI ADDRESS]\n", argv[0]);
		return EXIT_CANNOT;
	}
	vfio_address = argv[2];

	bug->setup();
	start_watching_log();
	bug->run();
	check_log();
	return 0;
}
