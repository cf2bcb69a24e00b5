// SPDX-License-Identifier: MIT
/*
 * How does a test become a client that starts jobs?
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <xf86drm.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_card.h"
#include "vpfn/vpfn_client.h"
#include "vpfn/vpfn_gate.h"
#include "vpfn/vpfn_host.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_mem.h"
#include "vpfn/vpfn_thread.h"

static int assert_open(int fd)
{
	igt_assert_lte(0, fd);
	return fd;
}

/**
 * vpfn_client_open:
 *
 * Returns: a new file of the device that vpfn_open() opens.
 */
int vpfn_client_open(void)
{
	return assert_open(vpfn_open(O_RDWR));
}

/**
 * vpfn_client_open_card:
 * @name: PCI address of the card
 *
 * Returns: a new file of the card.
 */
int vpfn_client_open_card(const char *name)
{
	return assert_open(vpfn_card_open(name, O_RDWR));
}

/**
 * vpfn_client_open_primary:
 * @fd: DRM file descriptor
 *
 * Returns: a new file of the primary node of the same card.
 */
int vpfn_client_open_primary(int fd)
{
	char name[VPFN_PCI_NAME];

	igt_assert_eq(vpfn_card_name(fd, name), 0);
	return assert_open(vpfn_card_open_primary(name, O_RDWR));
}

/**
 * vpfn_require_gate:
 * @gate: the gate
 *
 * Makes it, or skips if the kernel has no fences for tests.
 */
void vpfn_require_gate(struct vpfn_gate *gate)
{
	int err = vpfn_gate_make(gate);

	igt_require_f(err != -ENOENT, "the kernel lacks CONFIG_SW_SYNC\n");
	igt_assert_eq(err, 0);
}

/**
 * vpfn_gate_new_syncobj:
 * @gate: the gate
 * @fd: DRM file descriptor
 *
 * Returns: a new syncobj that signals when the gate opens.
 */
uint32_t vpfn_gate_new_syncobj(const struct vpfn_gate *gate, int fd)
{
	uint32_t syncobj;

	igt_assert_eq(vpfn_gate_syncobj(gate, fd, &syncobj), 0);
	return syncobj;
}

/**
 * vpfn_require_host:
 * @id: a device, as the host has it
 *
 * Skips if the host takes no commands.
 */
void vpfn_require_host(const char *id)
{
	bool hangs;
	int err = vpfn_host_hangs(id, &hangs);

	igt_require_f(err != -ENODEV, "no port vpfn.control: the host takes no commands\n");
	igt_assert_eq(err, 0);
}

/**
 * vpfn_new_syncobj:
 * @fd: DRM file descriptor
 *
 * Returns: the handle of a new syncobj without a fence.
 */
uint32_t vpfn_new_syncobj(int fd)
{
	uint32_t syncobj;

	igt_assert_eq(drmSyncobjCreate(fd, 0, &syncobj), 0);
	return syncobj;
}

/**
 * vpfn_start_after:
 * @fd: DRM file descriptor
 * @cmd: the command
 * @in: a syncobj to wait for, or 0
 *
 * Returns: the syncobj of the job.
 */
uint32_t vpfn_start_after(int fd, struct drm_vpfn_cmd cmd, uint32_t in)
{
	uint32_t out = vpfn_new_syncobj(fd);

	igt_assert_eq(vpfn_submit(fd, &cmd, 1, in, out), 0);
	return out;
}

/**
 * vpfn_start:
 * @fd: DRM file descriptor
 * @cmd: the command
 * @gate: what holds it back, or NULL
 *
 * Returns: the syncobj of the job.
 */
uint32_t vpfn_start(int fd, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate)
{
	uint32_t in, out;

	if (!gate)
		return vpfn_start_after(fd, cmd, 0);

	in = vpfn_gate_new_syncobj(gate, fd);
	out = vpfn_start_after(fd, cmd, in);
	drmSyncobjDestroy(fd, in);
	return out;
}

/**
 * vpfn_finish:
 * @fd: DRM file descriptor
 * @syncobj: the syncobj of a job, which is destroyed when the job has succeeded
 */
void vpfn_finish(int fd, uint32_t syncobj)
{
	igt_assert_eq(vpfn_sync_status(fd, syncobj, VPFN_LONG_NS), 0);
	drmSyncobjDestroy(fd, syncobj);
}

/**
 * vpfn_assert_waits:
 * @fd: DRM file descriptor
 * @syncobj: the syncobj of a job that may not run yet
 */
void vpfn_assert_waits(int fd, uint32_t syncobj)
{
	igt_assert_eq(vpfn_still_waits(fd, syncobj), 0);
}

/**
 * vpfn_let_engine_pass:
 *
 * Runs a job of another file: what could run before it is done.
 */
void vpfn_let_engine_pass(void)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	int fd = vpfn_client_open();

	igt_assert_eq(vpfn_run(fd, &nop, 1), 0);
	close(fd);
}

/**
 * vpfn_job_status:
 * @fd: DRM file descriptor
 * @syncobj: the syncobj of a job, which has to end
 *
 * Returns: 0 or the job's negative errno; a job that the driver ends with -ETIME has ended.
 */
int vpfn_job_status(int fd, uint32_t syncobj)
{
	igt_assert_f(!drmSyncobjWait(fd, &syncobj, 1, vpfn_deadline(VPFN_LONG_NS), 0, NULL),
		     "the job is not done\n");
	return vpfn_sync_status(fd, syncobj, VPFN_LONG_NS);
}

/**
 * vpfn_assert_runs:
 * @fd: DRM file descriptor
 * @cmd: the command, whose job has to succeed
 */
void vpfn_assert_runs(int fd, struct drm_vpfn_cmd cmd)
{
	igt_assert_eq(vpfn_job_status(fd, vpfn_start(fd, cmd, NULL)), 0);
}

/**
 * vpfn_assert_mem:
 * @mem: a buffer, which must hold what is expected, seen by the CPU
 */
void vpfn_assert_mem(const struct vpfn_mem *mem)
{
	igt_assert_eq_u64(vpfn_mem_check(mem), mem->bo.size);
}

/**
 * vpfn_assert_mem_by_both:
 * @mem: a buffer, which must hold what is expected, seen by the CPU and by the engine
 */
void vpfn_assert_mem_by_both(const struct vpfn_mem *mem)
{
	vpfn_assert_mem(mem);
	igt_assert_eq(vpfn_mem_check_by_engine(mem), 0);
}

/**
 * vpfn_start_sync_file:
 * @fd: DRM file descriptor
 * @cmd: the command
 * @gate: what holds it back, or NULL
 *
 * Returns: the file of the job's fence.
 */
int vpfn_start_sync_file(int fd, struct drm_vpfn_cmd cmd, const struct vpfn_gate *gate)
{
	uint32_t out = vpfn_start(fd, cmd, gate);
	int sync_file;

	igt_assert_eq(vpfn_sync_file_of(fd, out, &sync_file), 0);
	drmSyncobjDestroy(fd, out);
	return sync_file;
}

/**
 * vpfn_worker_start:
 * @worker: the thread
 * @run: what it calls
 * @arg: for @run
 */
void vpfn_worker_start(struct vpfn_thread *worker, int (*run)(void *arg), void *arg)
{
	igt_assert_eq(vpfn_thread_start(worker, run, arg), 0);
}

/**
 * vpfn_worker_settle:
 * @worker: the thread
 *
 * Waits until the call has returned, or sleeps.
 */
void vpfn_worker_settle(const struct vpfn_thread *worker)
{
	igt_assert_eq(vpfn_thread_settle(worker, NULL), 0);
}

/**
 * vpfn_worker_finish:
 * @worker: the thread
 *
 * Returns: what its call has returned.
 */
int vpfn_worker_finish(struct vpfn_thread *worker)
{
	int ret;

	igt_assert_eq(vpfn_thread_join(worker, &ret), 0);
	return ret;
}

/**
 * vpfn_worker_evict:
 * @fd: points to a DRM file descriptor
 *
 * Returns: what vpfn_evict() returns.
 */
int vpfn_worker_evict(void *fd)
{
	return vpfn_evict(*(int *)fd);
}
