/* SPDX-License-Identifier: MIT */
/*
 * For IGT trees from before 2.5, whose igt_main, igt_main_args, igt_fixture and igt_subtest_group take no
 * parentheses: defines them in the form that the tests use. vm/igt-tree.sh puts this header
 * into such a tree, and into no other.
 */
#ifndef VPFN_IGT_BEFORE_2_5_H
#define VPFN_IGT_BEFORE_2_5_H

#include "igt.h"

#undef igt_main_args
#define igt_main_args(short_opts, long_opts, help, handler, data)	\
	main(int argc, char **argv);					\
	static void igt_unique(__real_main)(void);			\
	int main(int argc, char **argv)					\
	{								\
		igt_subtest_init_parse_opts(&argc, argv, short_opts,	\
					    long_opts, help, handler,	\
					    data);			\
		igt_unique(__real_main)();				\
		igt_exit();						\
	}								\
	static void igt_unique(__real_main)(void)

#undef igt_main
#define igt_main()	igt_main_args(NULL, NULL, NULL, NULL, NULL)

#undef igt_fixture
#define igt_fixture()							\
	for (volatile int igt_unique(once) = 0;				\
	     !igt_unique(once) && __igt_fixture() &&			\
	     !sigsetjmp(igt_subtest_jmpbuf, 1);				\
	     igt_unique(once)++, __igt_fixture_complete())

#undef igt_subtest_group
#define igt_subtest_group()						\
	for (int igt_unique(once) = 0, igt_unique(skip) = 0,		\
	     igt_unique(describe) = 0;					\
	     !igt_unique(once) &&					\
	     (__igt_subtest_group_save(&igt_unique(skip),		\
				       &igt_unique(describe)), true);	\
	     igt_unique(once)++,					\
	     __igt_subtest_group_restore(igt_unique(skip), igt_unique(describe)))

#endif
