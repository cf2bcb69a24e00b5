// SPDX-License-Identifier: MIT
/*
 * What becomes of an arena in a child, and of the child?
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vpfn/vpfn_bo.h"
#include "vpfn/vpfn_random.h"
#include "vpfn/vpfn_words.h"
#include "vpfn_mm_fuzz.h"

enum end {
	END_EXIT,
	END_KILL,
	END_CORE_DUMP,
	END_PTRACE,
};

/* What the parent has forbidden to inherit is not there. */
static void check_inheritance(struct task *task)
{
	for (unsigned int i = 0; i < task->num_segments; i++) {
		const struct segment *segment = &task->segments[i];

		task->num_warm = 0;
		if (segment->dontfork)
			fuzz_fill_hole(task, segment_range(segment));
		else
			fuzz_check_at(task, segment->start);
	}
}

static void core_directory(pid_t pid, char *path, size_t size)
{
	snprintf(path, size, "/tmp/vpfn_mm_fuzz.%d", pid);
}

static void dump_core(struct task *task)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	char path[64];

	core_directory(getpid(), path, sizeof(path));
	if (mkdir(path, 0700) || chdir(path) || setrlimit(RLIMIT_CORE, &all))
		fuzz_fail(task, "no place for a core dump: %s", strerror(errno));
	raise(SIGABRT);
}

static void remove_core(pid_t pid)
{
	char directory[64], path[96];

	core_directory(pid, directory, sizeof(directory));
	snprintf(path, sizeof(path), "%s/core", directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/core.%d", directory, pid);
	unlink(path);
	rmdir(directory);
}

static void run_child(struct task *task, enum end end, uint64_t stream)
{
	const int parent = task->pipe[1];
	char ready = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* In the parent's is what that waits for, and stays what a killed child had there. */
	if (pipe(task->pipe))
		fuzz_fail(task, "pipe(): %s", strerror(errno));
	task->is_child = true;
	task->may_store = end != END_KILL;
	vpfn_random_init(&task->random, fuzz_seed, stream);
	check_inheritance(task);
	switch (end) {
	case END_KILL:
		if (write(parent, &ready, 1) != 1)
			fuzz_fail(task, "write(): %s", strerror(errno));
		for (;;)
			fuzz_run_steps(task, 1);
	case END_CORE_DUMP:
		fuzz_run_steps(task, 1 + pick(task, 4));
		dump_core(task);
		break;
	case END_PTRACE:
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		check_inheritance(task);
		break;
	default:
		fuzz_run_steps(task, 1 + pick(task, 24));
	}
	_exit(0);
}

/* A debugger in the mapping of the child, which is like the parent's own. */
static void debug_child(struct task *task, pid_t pid)
{
	struct segment *segment = fuzz_pick_buffer_segment(task);
	struct range range = { .len = sizeof(long) };
	int status = fuzz_wait_for(task, pid), expected;
	struct vpfn_words *words;
	unsigned int site;
	uint64_t next;
	long word;

	if (!WIFSTOPPED(status))
		fuzz_fail(task, "the child should stop, but %#x", status);
	if (segment && !segment->dontfork && fuzz_pick_site(task, segment, &site)) {
		words = &fuzz_shared->words[segment->buffer];
		range.start = fuzz_own_word(task, segment, site, &next);
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, range.start, NULL);
		if (errno || (uint64_t)word !=
		    vpfn_words_value(words, site, task->writer,
				     vpfn_words_generation(words, site, task->writer)))
			fuzz_fail(task, "ptrace() reads %#lx (%s) at %#" PRIxPTR, word,
				  strerror(errno), range.start);
		expected = segment->prot & PROT_WRITE ? 0 : -EIO;
		if (task->may_store) {
			fuzz_judge(task, CALL_PTRACE, range, next,
				   ptrace(PTRACE_POKEDATA, pid, range.start, next), expected);
			if (!expected)
				vpfn_words_written(words, site, task->writer);
		}
	}
	fuzz_judge(task, CALL_PTRACE, range, 0, ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
}

static void end_child(struct task *task, pid_t pid, enum end end)
{
	struct range arena = { task->arena, ARENA };
	int status;
	char ready;

	if (end == END_PTRACE)
		debug_child(task, pid);
	if (end == END_KILL) {
		if (read(task->pipe[0], &ready, 1) != 1)
			fuzz_fail(task, "read(): %s", strerror(errno));
		fuzz_judge(task, CALL_KILL, arena, 0, kill(pid, SIGKILL), 0);
	}
	status = fuzz_wait_for(task, pid);
	if (end == END_KILL ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL :
	    end == END_CORE_DUMP ? !WIFSIGNALED(status) || !WCOREDUMP(status) :
	    !WIFEXITED(status))
		fuzz_fail(task, "the child ended with %#x", status);
	if (end == END_CORE_DUMP) {
		remove_core(pid);
		fuzz_count(CALL_CORE_DUMP, true);
	}
	if (end == END_EXIT)
		fuzz_count(CALL_EXIT, true);
}

static void step_fork(struct task *task)
{
	static const enum end ends[] = {
		END_EXIT, END_EXIT, END_EXIT, END_EXIT, END_KILL, END_KILL, END_PTRACE,
		END_CORE_DUMP,
	};
	enum end end = ends[pick(task, ARRAY_SIZE(ends))];
	uint64_t stream = 1000 + pick(task, 1 << 30);
	pid_t pid;

	/* A process that is to be killed is the only one to choose. */
	if (task->is_child || !task->may_store)
		return;
	pid = fork();
	if (!pid)
		run_child(task, end, stream);
	fuzz_judge(task, CALL_FORK, (struct range) { task->arena, ARENA }, end, pid, 0);
	end_child(task, pid, end);
	fuzz_step_load(task);
}

const struct step fuzz_child_steps[] = {
	{ step_fork, 1 },
	{ }
};

void fuzz_one_step(struct task *task)
{
	static const struct step * const tables[] = {
		fuzz_map_steps, fuzz_use_steps, fuzz_child_steps,
	};
	unsigned int total = 0, choice;

	/* So that one step, which splits at most four times, has room in the model. */
	if (task->num_segments + 8 > MAX_SEGMENTS && !task->is_child)
		fuzz_reserve_all(task);

	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct step *step = tables[i]; step->run; step++)
			total += step->weight;
	}
	choice = pick(task, total);
	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct step *step = tables[i]; step->run; step++) {
			if (choice < step->weight) {
				step->run(task);
				task->steps++;
				atomic_fetch_add(&fuzz_shared->steps, 1);
				return;
			}
			choice -= step->weight;
		}
	}
}

/* A child's model may become full: it has sealed what would have to go. */
void fuzz_run_steps(struct task *task, unsigned int steps)
{
	while (steps-- && !(task->is_child && task->num_segments + 8 > MAX_SEGMENTS))
		fuzz_one_step(task);
}
