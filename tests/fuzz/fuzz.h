/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the fuzzer share.
 *
 * A run has processes of three roles. Workers, two threads each, do what no client should;
 * the keeper is a client that behaves well, and to whom nothing may happen; the inspector is
 * the administrator, who looks at all of them and moves their memory. Each thread does one
 * operation after the other, chosen by weight among those of its role.
 *
 * An operation draws its random numbers from the seed of the process, the number of the
 * thread and the number of the operation alone, so that a seed says what a process does,
 * whatever becomes of the others.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_job.h"

#include "fuzz_random.h"

/* What an operation returns that found nothing to do; it is not counted. */
#define FUZZ_SKIP		1

/* In the list of errors of an operation: whatever there is. */
#define FUZZ_ANY		(-1)

#define FUZZ_THREADS		2
#define FUZZ_PROCESSES_MAX	16
#define FUZZ_OPS_MAX		128
#define FUZZ_ERRNO_MAX		134
#define FUZZ_ERRORS_MAX		16
#define FUZZ_DEVICES_MAX	4
#define FUZZ_HISTORY		12

/* Of the objects that a process may own, as many as make collisions likely. */
#define FUZZ_FILES		6
#define FUZZ_BOS		40
#define FUZZ_SYNCS		16
#define FUZZ_SYNC_FDS		4
#define FUZZ_DMABUFS		8
#define FUZZ_MAPS		24
#define FUZZ_OBJECTS		(FUZZ_BOS + FUZZ_DMABUFS + FUZZ_MAPS + 8)

struct fuzz_thread;

enum fuzz_role {
	FUZZ_WORKER,
	FUZZ_KEEPER,
	FUZZ_INSPECTOR,
	FUZZ_ROLES,
};

/* What the result of an operation must be over a whole run, besides to have succeeded once. */
enum fuzz_expect {
	FUZZ_MAY_FAIL,
	FUZZ_FAILS,		/* it is given bad input, so it must have failed once as well */
	FUZZ_BY_HOST,		/* it needs the host, and is done if there is one */
};

struct fuzz_op {
	const char *name;
	unsigned int weight;
	enum fuzz_expect expect;
	int (*run)(struct fuzz_thread *t);
	/* What it may fail with, besides the errors of all calls */
	int errors[FUZZ_ERRORS_MAX];
};

/* One group for each file that has operations. */
struct fuzz_group {
	enum fuzz_role role;
	const struct fuzz_op *ops;
	size_t count;
};

extern const struct fuzz_group fuzz_vpfn_group, fuzz_file_group, fuzz_sync_group,
	fuzz_dmabuf_group, fuzz_map_group, fuzz_process_group, fuzz_keeper_group,
	fuzz_inspector_group;

/* A device, by its two nodes, and what the administrator sees of it. */
struct fuzz_device {
	char render[32], primary[32];
	char debugfs[64], sysfs[64];
	uint64_t vram_size, visible_size;
};

struct fuzz_count {
	uint64_t ok;
	uint64_t ns;			/* that it took, in all */
	uint64_t error[FUZZ_ERRNO_MAX];
};

struct fuzz_trace {
	uint64_t number;
	unsigned int op;
	int result;
};

/* What a thread is doing, for the report of a hang. */
struct fuzz_progress {
	pid_t tid;
	uint64_t number;
	unsigned int op;
	struct fuzz_trace history[FUZZ_HISTORY];
};

/* What all processes of a run see. */
struct fuzz_shared {
	uint64_t seed;
	unsigned int processes;
	unsigned int device_count;
	struct fuzz_device devices[FUZZ_DEVICES_MAX];
	uint64_t process_bytes;		/* a worker's buffers may be this large together */
	bool verbose;
	bool faults;			/* the device fails now and then */
	uint64_t windows[FUZZ_PROCESSES_MAX][FUZZ_THREADS];	/* of the workers */

	bool stop;
	unsigned int findings;
	char finding[16][256];
	uint32_t huge_owner;		/* who may have a buffer of 1 GiB, by fuzz_huge_get() */
	pid_t pids[FUZZ_PROCESSES_MAX];	/* the workers */
	struct fuzz_count counts[FUZZ_OPS_MAX];
	struct fuzz_progress progress[FUZZ_PROCESSES_MAX + 2][FUZZ_THREADS];
};

extern struct fuzz_shared *fuzz_shared;

/* What a process owns. A slot that is not in use has a size, or an fd, of no such object. */
struct fuzz_file {
	int fd;
	unsigned int device;
	bool primary;
};

struct fuzz_bo {
	unsigned int file;
	uint32_t handle;
	uint64_t size, offset;
	unsigned int object;
};

struct fuzz_sync {
	unsigned int file;
	uint32_t handle;
	bool timeline, used;
	uint64_t point;
};

struct fuzz_dmabuf {
	int fd;
	uint64_t size;
	unsigned int object;
};

struct fuzz_map {
	char *addr;
	uint64_t size;
	unsigned int object;
};

/* Memory that handles, mappings and dma-bufs keep alive, so that there is a limit to it. */
struct fuzz_object {
	unsigned int refs;
	uint64_t size;
};

struct fuzz_process {
	enum fuzz_role role;
	unsigned int place;		/* in fuzz_shared->progress */
	unsigned int ordinal;		/* of all workers since the start */
	uint64_t seed;

	pthread_mutex_t lock;
	struct fuzz_file files[FUZZ_FILES];
	struct fuzz_bo bos[FUZZ_BOS];
	struct fuzz_sync syncs[FUZZ_SYNCS];
	int sync_fds[FUZZ_SYNC_FDS];
	struct fuzz_dmabuf dmabufs[FUZZ_DMABUFS];
	struct fuzz_map maps[FUZZ_MAPS];
	struct fuzz_object objects[FUZZ_OBJECTS];
	uint64_t bytes;

	/* Work that the engine may not have done yet. */
	uint64_t pending_bytes;
	unsigned int pending_jobs;

	char *arena;			/* for MAP_FIXED; aligned to 1 GiB */
	char *none_page;		/* no access to it, but to the page before it */
	int proc_mem, event_fd;
};

#define FUZZ_ARENA	(8 * PFNMAP_1G)
#define FUZZ_WINDOW	(16 * PFNMAP_2M)
#define FUZZ_SCRATCH	16384

struct fuzz_thread {
	struct fuzz_process *process;
	unsigned int index;
	uint64_t number;
	struct fuzz_random random;
	bool child;			/* of fork(): what it does is not the sequence's */

	sigjmp_buf jump;
	bool guarded;
	uint64_t sink;			/* what a touch reads, so that the compiler keeps it */

	/* Files of the thread's own, one a device, and a place for mappings of them. */
	int private_fd[FUZZ_DEVICES_MAX];
	char *window;
	char scratch[FUZZ_SCRATCH] __attribute__((aligned(64)));
};

/*
 * Runs a piece of code that may touch what cannot be touched; 0, or the negative errno that
 * stands for the signal: -EFAULT for SIGSEGV, -EIO for SIGBUS.
 */
#define FUZZ_GUARDED(t, code)						\
	({								\
		int fuzz_signal_;					\
									\
		__atomic_store_n(&(t)->guarded, true, __ATOMIC_SEQ_CST);	\
		fuzz_signal_ = sigsetjmp((t)->jump, 0);			\
		if (!fuzz_signal_) {					\
			code;						\
		}							\
		__atomic_store_n(&(t)->guarded, false, __ATOMIC_SEQ_CST);	\
		-fuzz_signal_;						\
	})

/* vpfn_fuzz.c */
void fuzz_finding(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fuzz_thread.c */
void fuzz_register(const struct fuzz_group *group);
const struct fuzz_op *fuzz_op(unsigned int index);
void fuzz_process_main(struct fuzz_process *process) __attribute__((noreturn));
void fuzz_one(struct fuzz_thread *t, const char *prefix);

/* fuzz_call.c: how an ioctl is called */
struct fuzz_call {
	unsigned long request;
	int pointer;		/* enum in fuzz_call.c */
	size_t size;		/* of the structure that the kernel knows */
	size_t in, out;		/* bytes of it that go in and come out */
	bool known;		/* did the kernel see what @seen holds? */
};

void fuzz_call_init(struct fuzz_thread *t, struct fuzz_call *call, unsigned long request);
bool fuzz_call_returns(const struct fuzz_call *call, size_t end);
int fuzz_call_do(struct fuzz_thread *t, struct fuzz_call *call, int fd, void *args, void *seen);
uint64_t fuzz_bad_pointer(struct fuzz_thread *t);
uint64_t fuzz_map_pointer(struct fuzz_thread *t);

/* Which interesting values has a field? */
enum fuzz_domain {
	FUZZ_NUMBER,		/* a bit mask, a pad, a small number */
	FUZZ_COUNT,		/* of an array for which the DRM core knows no limit */
	FUZZ_BYTES,		/* an offset, a length or a size within a buffer */
	FUZZ_SIZE,		/* the size of a new buffer: wrong or impossible ones alone */
	FUZZ_HANDLE,
	FUZZ_POINTER,
	FUZZ_TIME,		/* never far in the future */
	FUZZ_FD,
};

struct fuzz_field {
	uint8_t offset, size;
	enum fuzz_domain domain;
};

#define FUZZ_FIELD(type, field, domain)					\
	{ offsetof(struct type, field), sizeof(((struct type *)0)->field), domain }

void fuzz_mutate(struct fuzz_thread *t, void *args, const struct fuzz_field *fields,
		 size_t count);
#define FUZZ_MUTATE(t, args, fields)	fuzz_mutate(t, args, fields, ARRAY_SIZE(fields))

/* fuzz_state.c: what a process owns */
void fuzz_state_init(struct fuzz_process *p);
struct fuzz_file fuzz_file_pick(struct fuzz_thread *t, unsigned int *slot);
struct fuzz_file fuzz_file_of(struct fuzz_thread *t, unsigned int slot);
void fuzz_file_put(struct fuzz_thread *t, unsigned int slot, struct fuzz_file file);
struct fuzz_bo fuzz_bo_pick(struct fuzz_thread *t);
struct fuzz_bo fuzz_bo_pick_of(struct fuzz_thread *t, unsigned int file);
struct fuzz_bo fuzz_bo_pick_primary(struct fuzz_thread *t);
void fuzz_bo_put(struct fuzz_thread *t, struct fuzz_bo bo);
void fuzz_bo_drop(struct fuzz_thread *t, unsigned int file, uint32_t handle);
struct fuzz_sync fuzz_sync_pick(struct fuzz_thread *t, unsigned int file, bool used);
void fuzz_sync_put(struct fuzz_thread *t, struct fuzz_sync sync);
void fuzz_sync_update(struct fuzz_thread *t, const struct fuzz_sync *sync);
void fuzz_sync_drop(struct fuzz_thread *t, unsigned int file, uint32_t handle);
int fuzz_sync_fd_pick(struct fuzz_thread *t);
void fuzz_sync_fd_put(struct fuzz_thread *t, int fd);
struct fuzz_dmabuf fuzz_dmabuf_pick(struct fuzz_thread *t);
void fuzz_dmabuf_put(struct fuzz_thread *t, struct fuzz_dmabuf dmabuf);
struct fuzz_map fuzz_map_pick(struct fuzz_thread *t, unsigned int *slot);
void fuzz_map_put(struct fuzz_thread *t, struct fuzz_map map);
void fuzz_map_replace(struct fuzz_thread *t, unsigned int slot, struct fuzz_map was,
		      struct fuzz_map now);
unsigned int fuzz_object_new(struct fuzz_thread *t, uint64_t size);
unsigned int fuzz_object_get(struct fuzz_thread *t, unsigned int object);
void fuzz_object_put(struct fuzz_thread *t, unsigned int object);
bool fuzz_huge_get(unsigned int owner);
void fuzz_huge_put(unsigned int owner);
void fuzz_lock(struct fuzz_thread *t);
void fuzz_unlock(struct fuzz_thread *t);

/* fuzz_keeper.c */
int fuzz_fresh(struct fuzz_thread *t, unsigned int device);
void fuzz_keeper_last_look(struct fuzz_thread *t);

/* fuzz_log.c: the kernel's own word */
int fuzz_log_open(void);
void fuzz_log_check(int fd);
bool fuzz_read_text(const char *path, char *text, size_t size);

#endif
