// SPDX-License-Identifier: MIT
/*
 * In which order do the jobs of a file get into its queue? In the order of their fences, whichever
 * thread submits them: a later fence stands for all earlier ones.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "igt.h"
#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_events.h"
#include "vpfn/vpfn_job.h"
#include "vpfn/vpfn_task.h"
#include "vpfn/vpfn_view.h"

IGT_TEST_DESCRIPTION("The order of the jobs in the queue of a file.");

#define QUEUE_EVENT	"gpu_scheduler/drm_sched_job_queue"
#define THREADS		4
#define JOBS		2000

static int run_submit(void *arg)
{
	const struct drm_vpfn_cmd nop = { .op = DRM_VPFN_CMD_NOP };
	const int *fd = arg;
	int err = 0;

	for (unsigned int i = 0; i < JOBS && !err; i++)
		err = vpfn_submit(*fd, &nop, 1, 0, 0);
	return err;
}

/* The jobs of the file that submits first, and how many of them come too late. */
struct order {
	unsigned long long context, last;
	unsigned int jobs, wrong;
};

static void note_job(const char *event, const char *line, void *arg)
{
	struct order *order = arg;
	unsigned long long context, seqno;

	(void)event;
	if (sscanf(line, "dev=%*s fence=%llu:%llu", &context, &seqno) != 2)
		return;
	/* Nothing else submits jobs: the first one is of the test's file. */
	if (!order->jobs)
		order->context = context;
	if (context != order->context)
		return;
	order->jobs++;
	order->wrong += seqno <= order->last;
	order->last = seqno;
}

static void close_events(int sig)
{
	(void)sig;
	vpfn_events_close();
}

static void test_order(void)
{
	int fd = vpfn_open(O_RDWR), err = vpfn_events_open(8192);
	struct vpfn_thread threads[THREADS];
	struct order order = {};

	igt_assert_lte(0, fd);
	igt_require_f(!err, "the kernel lacks CONFIG_FTRACE\n");
	igt_install_exit_handler(close_events);
	igt_assert_eq(vpfn_events_add(QUEUE_EVENT, NULL), 0);
	igt_assert_eq(vpfn_events_start(), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		igt_assert_eq(vpfn_thread_start(&threads[i], run_submit, &fd), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		igt_assert_eq(vpfn_thread_join(&threads[i], &err), 0);
		igt_assert_eq(err, 0);
	}
	igt_assert_eq(vpfn_events_stop(), 0);

	igt_assert_eq(vpfn_events_read(note_job, &order), 0);
	igt_assert_eq(order.jobs, THREADS * JOBS);
	igt_assert_f(!order.wrong, "%u of %u jobs are queued after a job with a later fence\n",
		     order.wrong, order.jobs);
	close(fd);
}

int igt_main()
{
	igt_fixture()
		close(vpfn_require_device());

	igt_describe("Threads that share a file queue their jobs in the order of the fences.");
	igt_subtest("order")
		test_order();
}
