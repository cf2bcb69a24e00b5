/* SPDX-License-Identifier: MIT */
/*
 * Declarations of our own for the part of libigt.so.0 that our tests use.
 *
 * Distributions package the library and igt_runner, but no headers. The library's ABI
 * is neither versioned nor promised to be stable; what is declared here has been the same from
 * IGT 1.27.1 to 2.5. The authority is a build in an IGT tree, from the same sources; this
 * header must not get into one. tests/standalone/selftest.c shows whether the library that
 * is there behaves as declared.
 *
 * Deliberately missing: structures of the library, whose layout does change, and helpers
 * that open devices, whose driver bits do.
 */
#ifndef VPFN_STANDALONE_IGT_H
#define VPFN_STANDALONE_IGT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct option;

/* Blocks: each is a loop that runs at most once, if the library wants it to. */

extern jmp_buf igt_subtest_jmpbuf;
extern jmp_buf igt_dynamic_jmpbuf;

int igt_subtest_init_parse_opts(int *argc, char **argv, const char *short_opts,
				const struct option *long_opts, const char *help,
				int (*handler)(int opt, int index, void *data), void *data);
void igt_exit(void) __attribute__((noreturn));

bool __igt_fixture(void);
void __igt_fixture_complete(void);
bool __igt_run_subtest(const char *name, const char *file, int line);
bool __igt_enter_dynamic_container(void);
bool __igt_run_dynamic_subtest(const char *name);
void __igt_subtest_group_save(int *skip, int *describe);
void __igt_subtest_group_restore(int skip, int describe);
void igt_success(void);

#define VPFN_PASTE2(a, b)	a##b
#define VPFN_PASTE(a, b)	VPFN_PASTE2(a, b)
#define VPFN_UNIQUE(name)	VPFN_PASTE(vpfn_igt_##name##_, __LINE__)

#define IGT_TEST_DESCRIPTION(text)	const char *__igt_test_description = (text)

#define IGT_OPT_HANDLER_SUCCESS	0
#define IGT_OPT_HANDLER_ERROR	(-2)

/* "int igt_main()" declares main() and goes on as the definition of what main() calls. */
#define igt_main()	igt_main_args(NULL, NULL, NULL, NULL, NULL)

#define igt_main_args(short_opts, long_opts, help, handler, data)		\
	main(int argc, char **argv);						\
	static void vpfn_igt_tests(void);					\
	int main(int argc, char **argv)						\
	{									\
		igt_subtest_init_parse_opts(&argc, argv, short_opts, long_opts,	\
					    help, handler, data);		\
		vpfn_igt_tests();						\
		igt_exit();							\
	}									\
	static void vpfn_igt_tests(void)

#define igt_fixture()								\
	for (volatile int VPFN_UNIQUE(once) = 0;				\
	     !VPFN_UNIQUE(once) && __igt_fixture() &&				\
	     !sigsetjmp(igt_subtest_jmpbuf, 1);					\
	     VPFN_UNIQUE(once)++, __igt_fixture_complete())

#define igt_subtest(name)							\
	for (; __igt_run_subtest(name, __FILE__, __LINE__) &&			\
	       !sigsetjmp(igt_subtest_jmpbuf, 1); igt_success())

#define igt_subtest_with_dynamic(name)						\
	for (; __igt_run_subtest(name, __FILE__, __LINE__) &&			\
	       __igt_enter_dynamic_container() &&				\
	       !sigsetjmp(igt_subtest_jmpbuf, 1); igt_success())

#define igt_subtest_with_dynamic_f(format...)					\
	for (char VPFN_UNIQUE(name)[256];					\
	     snprintf(VPFN_UNIQUE(name), sizeof(VPFN_UNIQUE(name)), format),	\
	     __igt_run_subtest(VPFN_UNIQUE(name), __FILE__, __LINE__) &&	\
	       __igt_enter_dynamic_container() &&				\
	       !sigsetjmp(igt_subtest_jmpbuf, 1); igt_success())

#define igt_dynamic(name)							\
	for (; __igt_run_dynamic_subtest(name) &&				\
	       !sigsetjmp(igt_dynamic_jmpbuf, 1); igt_success())

#define igt_dynamic_f(format...)							\
	for (char VPFN_UNIQUE(name)[256];					\
	     snprintf(VPFN_UNIQUE(name), sizeof(VPFN_UNIQUE(name)), format),	\
	     __igt_run_dynamic_subtest(VPFN_UNIQUE(name)) &&			\
	       !sigsetjmp(igt_dynamic_jmpbuf, 1); igt_success())

#define igt_subtest_group()							\
	for (int VPFN_UNIQUE(once) = 0, VPFN_UNIQUE(skip) = 0,			\
	     VPFN_UNIQUE(describe) = 0;						\
	     !VPFN_UNIQUE(once) &&						\
	     (__igt_subtest_group_save(&VPFN_UNIQUE(skip),			\
				       &VPFN_UNIQUE(describe)), true);		\
	     VPFN_UNIQUE(once)++,						\
	     __igt_subtest_group_restore(VPFN_UNIQUE(skip), VPFN_UNIQUE(describe)))

/* Descriptions, messages, exit handlers, children. */

enum igt_log_level {
	IGT_LOG_DEBUG,
	IGT_LOG_INFO,
	IGT_LOG_WARN,
	IGT_LOG_CRITICAL,
};

void igt_log(const char *domain, enum igt_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void igt_describe_f(const char *format, ...) __attribute__((format(printf, 1, 2)));
void igt_emit_ignore_dmesg_regex(const char *regex);
void igt_install_exit_handler(void (*handler)(int sig));
bool __igt_fork(void);
void igt_waitchildren(void);

#define igt_describe(text)		igt_describe_f("%s", text)
#define igt_debug(format...)		igt_log(NULL, IGT_LOG_DEBUG, format)
#define igt_info(format...)		igt_log(NULL, IGT_LOG_INFO, format)

#define igt_fork(child, count)							\
	for (int child = 0; child < (count); child++)				\
		for (; __igt_fork(); exit(0))

/* Judgements. */

void __igt_fail_assert(const char *domain, const char *file, int line, const char *func,
		       const char *assertion, const char *format, ...)
	__attribute__((noreturn, format(printf, 6, 7)));
void __igt_skip_check(const char *file, int line, const char *func, const char *check,
		      const char *format, ...)
	__attribute__((noreturn, format(printf, 5, 6)));

#define VPFN_FAIL(text, format...)						\
	__igt_fail_assert(NULL, __FILE__, __LINE__, __func__, text, format)

#define igt_assert(expr)							\
	do {									\
		if (!(expr))							\
			VPFN_FAIL(#expr, NULL);					\
	} while (0)

#define igt_assert_f(expr, format...)						\
	do {									\
		if (!(expr))							\
			VPFN_FAIL(#expr, format);				\
	} while (0)

#define VPFN_COMPARE(type, spec, a, op, b)					\
	do {									\
		type VPFN_UNIQUE(x) = (a), VPFN_UNIQUE(y) = (b);		\
										\
		if (!(VPFN_UNIQUE(x) op VPFN_UNIQUE(y)))			\
			VPFN_FAIL(#a " " #op " " #b, "left is " spec		\
				  ", right is " spec "\n",			\
				  VPFN_UNIQUE(x), VPFN_UNIQUE(y));		\
	} while (0)

#define igt_assert_eq(a, b)		VPFN_COMPARE(int, "%d", a, ==, b)
#define igt_assert_neq(a, b)		VPFN_COMPARE(int, "%d", a, !=, b)
#define igt_assert_lte(a, b)		VPFN_COMPARE(int, "%d", a, <=, b)
#define igt_assert_eq_u64(a, b)		VPFN_COMPARE(unsigned long long, "%#llx", a, ==, b)
#define igt_assert_neq_u64(a, b)	VPFN_COMPARE(unsigned long long, "%#llx", a, !=, b)

#define igt_require(expr)							\
	do {									\
		if (!(expr))							\
			__igt_skip_check(__FILE__, __LINE__, __func__, #expr, NULL);	\
	} while (0)

#define igt_require_f(expr, format...)						\
	do {									\
		if (!(expr))							\
			__igt_skip_check(__FILE__, __LINE__, __func__, #expr, format);	\
	} while (0)

#endif
