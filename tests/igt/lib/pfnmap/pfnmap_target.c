// SPDX-License-Identifier: MIT
/*
 * What do consumers of user memory return?
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pfnmap/pfnmap_base.h"
#include "pfnmap/pfnmap_pattern.h"
#include "pfnmap/pfnmap_target.h"

/* What no consumer writes: whatever it does to a target, it does not leave this. */
#define UNTOUCHED	0x7a26e7

/* A debugger's way, which does not use the process's entries. */
static int peek_memory(const struct pfnmap_target *target, void *bytes)
{
	return pfnmap_proc_mem(target->addr, bytes, PFNMAP_TARGET_LEN, false);
}

static int poke_memory(const struct pfnmap_target *target, const void *bytes)
{
	return pfnmap_proc_mem(target->addr, (void *)bytes, PFNMAP_TARGET_LEN, true);
}

/* Shared memory has a file. */
static int peek_shared(const struct pfnmap_target *target, void *bytes)
{
	return pfnmap_moved(pread(*(int *)target->data, bytes, PFNMAP_TARGET_LEN, 0),
			    PFNMAP_TARGET_LEN);
}

static int poke_shared(const struct pfnmap_target *target, const void *bytes)
{
	return pfnmap_moved(pwrite(*(int *)target->data, bytes, PFNMAP_TARGET_LEN, 0),
			    PFNMAP_TARGET_LEN);
}

/**
 * pfnmap_target_at:
 * @addr: address of PFNMAP_TARGET_LEN bytes that a debugger can access
 * @target: the target there
 */
void pfnmap_target_at(char *addr, struct pfnmap_target *target)
{
	*target = (struct pfnmap_target) {
		.addr = addr,
		.peek = peek_memory,
		.poke = poke_memory,
		.map = addr,
		.map_len = PFNMAP_TARGET_LEN,
	};
}

/**
 * pfnmap_target_anonymous:
 * @target: ordinary memory, to which pfnmap_target_free() puts an end
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_target_anonymous(struct pfnmap_target *target)
{
	pfnmap_target_at(pfnmap_anonymous(PFNMAP_TARGET_LEN), target);
	return target->addr ? 0 : -ENOMEM;
}

static int map_shared(int file, struct pfnmap_target *target)
{
	if (ftruncate(file, PFNMAP_TARGET_LEN))
		return -errno;

	target->addr = mmap(NULL, PFNMAP_TARGET_LEN, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, file, 0);
	if (target->addr == MAP_FAILED)
		return -errno;

	target->map = target->addr;
	target->map_len = PFNMAP_TARGET_LEN;
	return 0;
}

/**
 * pfnmap_target_shared:
 * @target: ordinary memory with a file, shared, to which pfnmap_target_free() puts an end
 *
 * The control for calls that ask the file, or that anonymous memory refuses.
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_target_shared(struct pfnmap_target *target)
{
	int *file = malloc(sizeof(*file)), err;

	if (!file)
		return -ENOMEM;

	*file = memfd_create("target", MFD_CLOEXEC);
	*target = (struct pfnmap_target) { .peek = peek_shared, .poke = poke_shared, .data = file };
	err = *file < 0 ? -errno : map_shared(*file, target);
	if (!err)
		return 0;

	if (*file >= 0)
		close(*file);
	free(file);
	return err;
}

/**
 * pfnmap_target_ordinary:
 * @user: who will be asked
 * @target: the memory for the positive control, to which pfnmap_target_free() puts an end
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_target_ordinary(const struct pfnmap_user *user, struct pfnmap_target *target)
{
	return user->ordinary ? user->ordinary(target) : pfnmap_target_anonymous(target);
}

/**
 * pfnmap_target_free:
 * @target: from pfnmap_target_ordinary()
 */
void pfnmap_target_free(struct pfnmap_target *target)
{
	munmap(target->map, target->map_len);
	if (!target->data)
		return;

	close(*(int *)target->data);
	free(target->data);
}

/**
 * pfnmap_target_pattern:
 * @seed: of the pattern
 * @bytes: memory of PFNMAP_TARGET_LEN bytes, filled with it
 */
void pfnmap_target_pattern(uint64_t seed, void *bytes)
{
	struct pfnmap_pattern pattern = { .seed = seed, .size = PFNMAP_TARGET_LEN };

	pfnmap_pattern_bytes(&pattern, bytes, PFNMAP_TARGET_LEN);
}

/**
 * pfnmap_target_fill:
 * @target: the target
 * @seed: of the pattern that it is to hold, not written by the mapping
 *
 * Returns: 0 or a negative errno.
 */
int pfnmap_target_fill(const struct pfnmap_target *target, uint64_t seed)
{
	uint64_t bytes[PFNMAP_TARGET_LEN / sizeof(uint64_t)];

	pfnmap_target_pattern(seed, bytes);
	return target->poke(target, bytes);
}

/**
 * pfnmap_target_matches:
 * @target: the target
 * @bytes: what it must hold, seen by the mapping and not by the mapping
 *
 * Returns: 0 if it does, -EBADMSG if not, or another negative errno.
 */
int pfnmap_target_matches(const struct pfnmap_target *target, const void *bytes)
{
	uint64_t seen[PFNMAP_TARGET_LEN / sizeof(uint64_t)];
	int err = target->peek(target, seen);

	if (err)
		return err;
	if (memcmp(seen, bytes, PFNMAP_TARGET_LEN))
		return -EBADMSG;

	memcpy(seen, target->addr, PFNMAP_TARGET_LEN);
	return memcmp(seen, bytes, PFNMAP_TARGET_LEN) ? -EBADMSG : 0;
}

/**
 * pfnmap_target_check:
 * @target: the target
 * @seed: of the pattern that it must hold, seen by the mapping and not by the mapping
 *
 * Returns: 0 if it does, -EBADMSG if not, or another negative errno.
 */
int pfnmap_target_check(const struct pfnmap_target *target, uint64_t seed)
{
	uint64_t bytes[PFNMAP_TARGET_LEN / sizeof(uint64_t)];

	pfnmap_target_pattern(seed, bytes);
	return pfnmap_target_matches(target, bytes);
}

/**
 * pfnmap_target_kept:
 * @target: the target
 *
 * Returns: 0 if it is mapped by the entry that mapped it first, or if that cannot be told;
 * -ESTALE if not, or another negative errno.
 */
int pfnmap_target_kept(const struct pfnmap_target *target)
{
	return target->kept ? target->kept(target) : 0;
}

/**
 * pfnmap_target_in_child:
 * @target: the target, which the child has too
 * @call: what the child does to it
 * @arg: for @call
 *
 * Returns: what @call returns, -ECHILD if the child died of it, or another negative errno.
 */
int pfnmap_target_in_child(const struct pfnmap_target *target,
			   int (*call)(const struct pfnmap_target *target, const void *arg),
			   const void *arg)
{
	int pipe_fd[2], answer;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return -errno;

	pid = fork();
	if (!pid) {
		/* Without IGT's last words, which are the parent's to say. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		answer = call(target, arg);
		_exit(write(pipe_fd[1], &answer, sizeof(answer)) != sizeof(answer));
	}

	close(pipe_fd[1]);
	n = pid < 0 ? -1 : read(pipe_fd[0], &answer, sizeof(answer));
	close(pipe_fd[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return n == sizeof(answer) ? answer : -ECHILD;
}

/**
 * pfnmap_user_call:
 * @user: who is called
 * @target: the target
 *
 * Returns: the answer, without a look at what a refusal has left.
 */
int pfnmap_user_call(const struct pfnmap_user *user, const struct pfnmap_target *target)
{
	if (user->run)
		return user->run(target);
	return user->in_child ? pfnmap_target_in_child(target, user->call, user->arg) :
				user->call(target, user->arg);
}

/**
 * pfnmap_user_ask:
 * @user: who is asked
 * @target: the target
 * @filled: whether the target holds what this wrote for the last user, false for the first one
 * @answer: the answer
 *
 * A refusal must leave the target alone. Whatever the answer, no page stays pinned: the caller asks
 * pfnmap_pins_returned() after all users, since each reading of the count wakes each CPU.
 *
 * Returns: 0, -EBADMSG if the target has changed, or another negative errno if it could not be
 * seen.
 */
int pfnmap_user_ask(const struct pfnmap_user *user, const struct pfnmap_target *target,
		    bool *filled, int *answer)
{
	int err = *filled ? 0 : pfnmap_target_fill(target, UNTOUCHED);

	if (err)
		return err;

	*answer = pfnmap_user_call(user, target);
	err = *answer ? pfnmap_target_check(target, UNTOUCHED) : 0;
	*filled = *answer && !err;
	return err;
}

/**
 * pfnmap_answer_name:
 * @answer: 0, a negative errno, or one of enum pfnmap_answer
 *
 * Returns: a word for it.
 */
const char *pfnmap_answer_name(int answer)
{
	const char *name;

	if (!answer)
		return "works";
	if (answer > 0)
		return answer == PFNMAP_IGNORED ? "ignored" : "unseen";
	name = strerrorname_np(-answer);
	return name ?: "?";
}

/**
 * pfnmap_answer_of:
 * @ret: what a system call has returned
 *
 * Returns: 0 or its negative errno.
 */
int pfnmap_answer_of(long ret)
{
	return ret < 0 ? -errno : 0;
}
