// SPDX-License-Identifier: MIT
/*
 * What holds a job back until the test lets it go?
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xf86drm.h>

#include <linux/sync_file.h>

#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_job.h"

/* The kernel's timeline for tests (CONFIG_SW_SYNC). No header of user space has its calls. */
#define SW_SYNC		"/sys/kernel/debug/sync/sw_sync"

struct sw_sync_create_fence_data {
	uint32_t value;
	char name[32];
	int32_t fence;
};

#define SW_SYNC_IOC_CREATE_FENCE	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC			_IOW('W', 1, uint32_t)

/* A new timeline stands at 0. */
#define OPEN		1u

#define NS_PER_MS	(1000 * 1000)

/*
 * A timeline that is closed with a fence that only a scheduler holds makes the kernel take a
 * lock twice (sw_sync_debugfs_release()): a test that fails must not leave that to exit(2).
 */
#define MAX_GATES	64

static int gates[MAX_GATES];	/* file descriptors + 1 */

static void open_all(void)
{
	for (int i = 0; i < MAX_GATES; i++) {
		uint32_t count = OPEN;

		if (gates[i])
			ioctl(gates[i] - 1, SW_SYNC_IOC_INC, &count);
	}
}

static void remember(int from, int to)
{
	static bool registered;

	if (!registered)
		atexit(open_all);
	registered = true;

	for (int i = 0; i < MAX_GATES; i++) {
		if (gates[i] == from) {
			gates[i] = to;
			return;
		}
	}
}

/**
 * vpfn_gate_make:
 * @gate: the gate, closed
 *
 * Returns: 0, -ENOENT if the kernel lacks CONFIG_SW_SYNC, or another negative errno.
 */
int vpfn_gate_make(struct vpfn_gate *gate)
{
	gate->timeline = open(SW_SYNC, O_RDWR | O_CLOEXEC);
	if (gate->timeline < 0)
		return -errno;

	remember(0, gate->timeline + 1);
	return 0;
}

/**
 * vpfn_gate_sync_file:
 * @gate: the gate
 * @sync_file: where the file of a fence goes that signals when the gate opens
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_gate_sync_file(const struct vpfn_gate *gate, int *sync_file)
{
	struct sw_sync_create_fence_data fence = { .value = OPEN, .name = "vpfn-gate" };

	if (ioctl(gate->timeline, SW_SYNC_IOC_CREATE_FENCE, &fence))
		return -errno;

	*sync_file = fence.fence;
	return 0;
}

/**
 * vpfn_gate_syncobj:
 * @gate: the gate
 * @fd: DRM file descriptor
 * @syncobj: where a new binary syncobj goes that signals when the gate opens
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_gate_syncobj(const struct vpfn_gate *gate, int fd, uint32_t *syncobj)
{
	int sync_file = -1, err = vpfn_gate_sync_file(gate, &sync_file);

	if (err)
		return err;

	if (drmSyncobjCreate(fd, 0, syncobj)) {
		err = -errno;
	} else if (drmSyncobjImportSyncFile(fd, *syncobj, sync_file)) {
		err = -errno;
		drmSyncobjDestroy(fd, *syncobj);
	}
	close(sync_file);
	return err;
}

/**
 * vpfn_gate_open:
 * @gate: the gate, to which all fences signal
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_gate_open(const struct vpfn_gate *gate)
{
	uint32_t count = OPEN;

	return ioctl(gate->timeline, SW_SYNC_IOC_INC, &count) ? -errno : 0;
}

/**
 * vpfn_gate_remove:
 * @gate: the gate; if it never opened, its fences signal an error
 */
void vpfn_gate_remove(struct vpfn_gate *gate)
{
	remember(gate->timeline + 1, 0);
	close(gate->timeline);
	gate->timeline = -1;
}

static int run_nop_of_another_file(int fd)
{
	static const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	char name[VPFN_PCI_NAME];
	int other, err = vpfn_card_name(fd, name);

	if (err)
		return err;
	other = vpfn_card_open(name, O_RDWR);
	if (other < 0)
		return other;

	err = vpfn_run(other, &nop, 1);
	close(other);
	return err;
}

/**
 * vpfn_still_waits:
 * @fd: DRM file descriptor
 * @syncobj: a binary syncobj of a job that was submitted
 *
 * A job of another file is submitted later and runs to its end: the engine was free for a job that
 * waited for nothing.
 *
 * Returns: 0 if the job of @syncobj is not done after that, -EALREADY if it is, or another negative
 * errno.
 */
int vpfn_still_waits(int fd, uint32_t syncobj)
{
	int err = run_nop_of_another_file(fd);

	if (err)
		return err;
	err = drmSyncobjWait(fd, &syncobj, 1, 0, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL);
	if (!err)
		return -EALREADY;
	return err == -ETIME ? 0 : err;
}

/**
 * vpfn_sync_file_status:
 * @sync_file: the file of a fence
 * @timeout_ns: how long to wait
 *
 * Returns: 0 if what the fence stands for succeeded, its negative errno if it failed, -EBUSY if the
 * time has passed, or another negative errno.
 */
int vpfn_sync_file_status(int sync_file, int64_t timeout_ns)
{
	struct pollfd wait = { .fd = sync_file, .events = POLLIN };
	struct sync_file_info info = {};
	int n;

	do {
		n = poll(&wait, 1, timeout_ns / NS_PER_MS);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;

	if (ioctl(sync_file, SYNC_IOC_FILE_INFO, &info))
		return -errno;
	if (!info.status)
		return -EBUSY;
	return info.status < 0 ? info.status : 0;
}

/**
 * vpfn_sync_file_of:
 * @fd: DRM file descriptor
 * @syncobj: a binary syncobj
 * @sync_file: where the file of its fence goes, which outlives the device
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_sync_file_of(int fd, uint32_t syncobj, int *sync_file)
{
	return drmSyncobjExportSyncFile(fd, syncobj, sync_file) ? -errno : 0;
}
