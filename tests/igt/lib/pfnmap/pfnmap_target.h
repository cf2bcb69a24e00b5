/* SPDX-License-Identifier: MIT */
/*
 * What do consumers of user memory return? A target is a piece of a
 * mapping, of whatever device, with a second way to its bytes; a user is one way in which the
 * kernel takes hold of memory. Each user can be asked on each target.
 *
 * No function here knows IGT, or a driver.
 */
#ifndef PFNMAP_TARGET_H
#define PFNMAP_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than a page, less than a pipe or a small frame of video takes. */
#define PFNMAP_TARGET_LEN		(4 * 4096)

/**
 * struct pfnmap_target - a piece of a mapping
 * @addr: its address, that of a page; readable and writable
 * @peek: reads all of its PFNMAP_TARGET_LEN bytes by a way that does not use the mapping; returns 0
 *	or a negative errno
 * @poke: writes them, likewise
 * @kept: returns 0 if the entry is still there that mapped it first, -ESTALE if not, or another
 *	negative errno; it touches nothing. NULL if that cannot be told
 * @map: address of the whole mapping that it is a piece of, or itself
 * @map_len: length of that
 * @data: for @peek, @poke and @kept
 */
struct pfnmap_target {
	char *addr;
	int (*peek)(const struct pfnmap_target *target, void *bytes);
	int (*poke)(const struct pfnmap_target *target, const void *bytes);
	int (*kept)(const struct pfnmap_target *target);
	char *map;
	size_t map_len;
	void *data;
};

/*
 * Answers that are neither success nor an errno: the kernel reports success, but has done nothing,
 * or has seen no memory there.
 */
enum pfnmap_answer {
	PFNMAP_IGNORED = 1,
	PFNMAP_UNSEEN,
};

/**
 * struct pfnmap_user - a user of the memory of a process
 * @name: as subtests have them
 * @on_special: its result on a mapping by special entries: 0, a negative errno, or one of enum
 *	pfnmap_answer
 * @on_ordinary: its result on ordinary memory, for which it has to get the same bytes right: the
 *	positive control
 * @ordinary: makes that memory; NULL for anonymous memory
 * @run: does it to the whole target; returns its result. Where it claims success, the bytes that
 *	should have moved have been compared, those of the target by pfnmap_target_check() or
 *	pfnmap_target_matches(); -EBADMSG if they are wrong, -ENODEV if the kernel lacks it
 * @call: as @run, for users that differ in @arg alone, which it gets, or that a child does
 * @arg: for @call
 * @in_child: a child calls @call: the caller could not take back what it does to its mapping
 * @needs: kernel options without which there is no such user; NULL if it is always there
 */
struct pfnmap_user {
	const char *name;
	int on_special;
	int on_ordinary;
	int (*ordinary)(struct pfnmap_target *target);
	int (*run)(const struct pfnmap_target *target);
	int (*call)(const struct pfnmap_target *target, const void *arg);
	const void *arg;
	bool in_child;
	const char *needs;
};

/**
 * struct pfnmap_user_family - users that take little time each, asked one after the other
 * @name: as subtests have them
 * @describe: what they do, a sentence
 * @users: who they are
 * @count: how many
 */
struct pfnmap_user_family {
	const char *name;
	const char *describe;
	const struct pfnmap_user *users;
	size_t count;
};

#define PFNMAP_FAMILY(name_, describe_, users_)					\
	{ .name = (name_), .describe = (describe_), .users = (users_),		\
	  .count = sizeof(users_) / sizeof((users_)[0]) }

void pfnmap_target_at(char *addr, struct pfnmap_target *target);
int pfnmap_target_anonymous(struct pfnmap_target *target);
int pfnmap_target_shared(struct pfnmap_target *target);
int pfnmap_target_ordinary(const struct pfnmap_user *user, struct pfnmap_target *target);
void pfnmap_target_free(struct pfnmap_target *target);

/* The bytes of a pattern, one of its own for each seed: PFNMAP_TARGET_LEN of them. */
void pfnmap_target_pattern(uint64_t seed, void *bytes);

int pfnmap_target_fill(const struct pfnmap_target *target, uint64_t seed);
int pfnmap_target_check(const struct pfnmap_target *target, uint64_t seed);
int pfnmap_target_matches(const struct pfnmap_target *target, const void *bytes);
int pfnmap_target_kept(const struct pfnmap_target *target);

/* For what a process cannot take back: a child does it to its own copy of the mapping. */
int pfnmap_target_in_child(const struct pfnmap_target *target,
			   int (*call)(const struct pfnmap_target *target, const void *arg),
			   const void *arg);

int pfnmap_user_call(const struct pfnmap_user *user, const struct pfnmap_target *target);
int pfnmap_user_ask(const struct pfnmap_user *user, const struct pfnmap_target *target,
		    bool *filled, int *answer);
const char *pfnmap_answer_name(int answer);
int pfnmap_answer_of(long ret);

#endif
