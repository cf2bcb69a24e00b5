/* SPDX-License-Identifier: MIT */
/*
 * Who takes hold of the memory of a process, and what does he answer? A target is a piece of a
 * mapping, of whatever device, with a second way to its bytes; a user is one way in which the
 * kernel takes hold of memory. Each user can be asked on each target.
 *
 * No function here knows IGT, or vpfn.
 */
#ifndef VPFN_TARGET_H
#define VPFN_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* More than a page, less than a pipe or a small frame of video takes. */
#define VPFN_TARGET_LEN		(4 * 4096)

/**
 * struct vpfn_target - a piece of a mapping
 * @addr: its address, that of a page; readable and writable
 * @peek: reads all of its VPFN_TARGET_LEN bytes by a way that does not use the mapping; returns 0
 *	or a negative errno
 * @poke: writes them, likewise
 * @data: for these two
 */
struct vpfn_target {
	char *addr;
	int (*peek)(const struct vpfn_target *target, void *bytes);
	int (*poke)(const struct vpfn_target *target, const void *bytes);
	void *data;
};

/**
 * struct vpfn_user - a user of the memory of a process
 * @name: as subtests have them
 * @describe: what he does, a sentence
 * @on_special: his answer on a mapping by special entries: 0 or a negative errno
 * @on_ordinary: his answer on anonymous memory, for which @run has to get the same bytes right:
 *	the positive control
 * @run: does it to the whole target; returns his answer. Where he claims success, the bytes that
 *	should have moved have been compared, those of the target by vpfn_target_check() or
 *	vpfn_target_matches(); -EBADMSG if they are wrong, -ENODEV if the kernel lacks him
 */
struct vpfn_user {
	const char *name;
	const char *describe;
	int on_special;
	int on_ordinary;
	int (*run)(const struct vpfn_target *target);
};

int vpfn_target_anonymous(struct vpfn_target *target);
void vpfn_target_free(struct vpfn_target *target);

/* The bytes of a pattern, one of its own for each seed: VPFN_TARGET_LEN of them. */
void vpfn_target_pattern(uint64_t seed, void *bytes);

int vpfn_target_fill(const struct vpfn_target *target, uint64_t seed);
int vpfn_target_check(const struct vpfn_target *target, uint64_t seed);
int vpfn_target_matches(const struct vpfn_target *target, const void *bytes);

int vpfn_user_ask(const struct vpfn_user *user, const struct vpfn_target *target, int *answer);
const char *vpfn_answer_name(int answer);

#endif
