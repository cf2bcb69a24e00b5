// SPDX-License-Identifier: MIT
/*
 * Who takes hold of the memory of a process, and what does he answer?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vpfn_consumer.h"
#include "vpfn_pattern.h"
#include "vpfn_target.h"

/* What no user writes: whatever he does to a target, this is not what he leaves. */
#define UNTOUCHED	0x7a26e7

/* Ordinary memory is seen by a debugger's way, which does not use the process's entries. */
static int peek_anonymous(const struct vpfn_target *target, void *bytes)
{
	return vpfn_proc_mem(target->addr, bytes, VPFN_TARGET_LEN, false);
}

static int poke_anonymous(const struct vpfn_target *target, const void *bytes)
{
	return vpfn_proc_mem(target->addr, (void *)bytes, VPFN_TARGET_LEN, true);
}

/**
 * vpfn_target_anonymous:
 * @target: ordinary memory, to which vpfn_target_free() puts an end
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_target_anonymous(struct vpfn_target *target)
{
	*target = (struct vpfn_target) {
		.addr = vpfn_anonymous(VPFN_TARGET_LEN),
		.peek = peek_anonymous,
		.poke = poke_anonymous,
	};
	return target->addr ? 0 : -ENOMEM;
}

/**
 * vpfn_target_free:
 * @target: from vpfn_target_anonymous()
 */
void vpfn_target_free(struct vpfn_target *target)
{
	munmap(target->addr, VPFN_TARGET_LEN);
}

/**
 * vpfn_target_pattern:
 * @seed: of the pattern
 * @bytes: memory of VPFN_TARGET_LEN bytes, filled with it
 */
void vpfn_target_pattern(uint64_t seed, void *bytes)
{
	struct vpfn_pattern pattern = { .seed = seed, .size = VPFN_TARGET_LEN };

	vpfn_pattern_bytes(&pattern, bytes, VPFN_TARGET_LEN);
}

/**
 * vpfn_target_fill:
 * @target: the target
 * @seed: of the pattern that it is to hold, not written by the mapping
 *
 * Returns: 0 or a negative errno.
 */
int vpfn_target_fill(const struct vpfn_target *target, uint64_t seed)
{
	uint64_t bytes[VPFN_TARGET_LEN / sizeof(uint64_t)];

	vpfn_target_pattern(seed, bytes);
	return target->poke(target, bytes);
}

/**
 * vpfn_target_matches:
 * @target: the target
 * @bytes: what it must hold, seen by the mapping and not by the mapping
 *
 * Returns: 0 if it does, -EBADMSG if not, or another negative errno.
 */
int vpfn_target_matches(const struct vpfn_target *target, const void *bytes)
{
	uint64_t seen[VPFN_TARGET_LEN / sizeof(uint64_t)];
	int err = target->peek(target, seen);

	if (err)
		return err;
	if (memcmp(seen, bytes, VPFN_TARGET_LEN))
		return -EBADMSG;

	memcpy(seen, target->addr, VPFN_TARGET_LEN);
	return memcmp(seen, bytes, VPFN_TARGET_LEN) ? -EBADMSG : 0;
}

/**
 * vpfn_target_check:
 * @target: the target
 * @seed: of the pattern that it must hold, seen by the mapping and not by the mapping
 *
 * Returns: 0 if it does, -EBADMSG if not, or another negative errno.
 */
int vpfn_target_check(const struct vpfn_target *target, uint64_t seed)
{
	uint64_t bytes[VPFN_TARGET_LEN / sizeof(uint64_t)];

	vpfn_target_pattern(seed, bytes);
	return vpfn_target_matches(target, bytes);
}

/**
 * vpfn_user_ask:
 * @user: who is asked
 * @target: the target
 * @answer: his answer
 *
 * Whoever refuses must have left the target alone.
 *
 * Returns: 0, -EBADMSG if he has not, or another negative errno if the target could not be seen.
 */
int vpfn_user_ask(const struct vpfn_user *user, const struct vpfn_target *target, int *answer)
{
	int err = vpfn_target_fill(target, UNTOUCHED);

	if (err)
		return err;

	*answer = user->run(target);
	return *answer ? vpfn_target_check(target, UNTOUCHED) : 0;
}

/**
 * vpfn_answer_name:
 * @answer: 0 or a negative errno
 *
 * Returns: a word for it.
 */
const char *vpfn_answer_name(int answer)
{
	const char *name;

	if (!answer)
		return "works";
	name = strerrorname_np(-answer);
	return name ?: "?";
}
