/* SPDX-License-Identifier: MIT */
/*
 * What do consumers of user memory return? A target is a piece of a
 * mapping, of whatever device, with a second way to its bytes; a user is one way in which the
 * kernel takes hold of memory. Each user can be asked on each target.
 *
 * No function here knows IGT, or vpfn.
 */
#ifndef VPFN_TARGET_H
#define VPFN_TARGET_H

#include <stdbool.h>
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
 * @kept: returns 0 if the entry is still there that mapped it first, -ESTALE if not, or another
 *	negative errno; it touches nothing. NULL if that cannot be told
 * @map: address of the whole mapping that it is a piece of, or itself
 * @map_len: length of that
 * @data: for @peek, @poke and @kept
 */
struct vpfn_target {
	char *addr;
	int (*peek)(const struct vpfn_target *target, void *bytes);
	int (*poke)(const struct vpfn_target *target, const void *bytes);
	int (*kept)(const struct vpfn_target *target);
	char *map;
	size_t map_len;
	void *data;
};

/*
 * Answers that are neither success nor an errno: the kernel reports success, but has done nothing,
 * or has seen no memory there.
 */
enum vpfn_answer {
	VPFN_IGNORED = 1,
	VPFN_UNSEEN,
};

/**
 * struct vpfn_user - a user of the memory of a process
 * @name: as subtests have them
 * @on_special: its result on a mapping by special entries: 0, a negative errno, or one of enum
 *	vpfn_answer
 * @on_ordinary: its result on ordinary memory, for which it has to get the same bytes right: the
 *	positive control
 * @ordinary: makes that memory; NULL for anonymous memory
 * @run: does it to the whole target; returns its result. Where it claims success, the bytes that
 *	should have moved have been compared, those of the target by vpfn_target_check() or
 *	vpfn_target_matches(); -EBADMSG if they are wrong, -ENODEV if the kernel lacks it
 * @call: as @run, for users that differ in @arg alone, which it gets
 * @arg: for @call
 * @needs: kernel options without which there is no such user; NULL if it is always there
 */
struct vpfn_user {
	const char *name;
	int on_special;
	int on_ordinary;
	int (*ordinary)(struct vpfn_target *target);
	int (*run)(const struct vpfn_target *target);
	int (*call)(const struct vpfn_target *target, const void *arg);
	const void *arg;
	const char *needs;
};

/**
 * struct vpfn_user_family - users that take little time each, asked one after the other
 * @name: as subtests have them
 * @describe: what they do, a sentence
 * @users: who they are
 * @count: how many
 */
struct vpfn_user_family {
	const char *name;
	const char *describe;
	const struct vpfn_user *users;
	size_t count;
};

int vpfn_target_anonymous(struct vpfn_target *target);
int vpfn_target_shared(struct vpfn_target *target);
int vpfn_target_ordinary(const struct vpfn_user *user, struct vpfn_target *target);
void vpfn_target_free(struct vpfn_target *target);

/* The bytes of a pattern, one of its own for each seed: VPFN_TARGET_LEN of them. */
void vpfn_target_pattern(uint64_t seed, void *bytes);

int vpfn_target_fill(const struct vpfn_target *target, uint64_t seed);
int vpfn_target_check(const struct vpfn_target *target, uint64_t seed);
int vpfn_target_matches(const struct vpfn_target *target, const void *bytes);
int vpfn_target_kept(const struct vpfn_target *target);

/* For what a process cannot take back: a child does it to its own copy of the mapping. */
int vpfn_target_in_child(const struct vpfn_target *target,
			 int (*call)(const struct vpfn_target *target, const void *arg),
			 const void *arg);

int vpfn_user_ask(const struct vpfn_user *user, const struct vpfn_target *target, bool *filled,
		  int *answer);
const char *vpfn_answer_name(int answer);
int vpfn_answer_of(long ret);

#endif
