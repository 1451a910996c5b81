/* What every test needs: patterns in memory, seeds, children whose stderr is read.
 *
 * CHECK is for threads, constructors and children, where a cmocka assertion cannot be used: it
 * prints one line and aborts. Nothing here allocates.
 */
#ifndef WEIR_TESTS_SUPPORT_H
#define WEIR_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Loop counts: the first for optimised builds, the second where every step is checked. */
#ifdef TEST_LIGHT
#define TEST_SCALE(full, light) (light)
#else
#define TEST_SCALE(full, light) (full)
#endif

#define KIB          ((size_t)1024)
#define MIB          (1024 * KIB)
#define ERRNO_UNUSED 4242 /* no call sets errno to this value */

/* More than any request may ask for: above PTRDIFF_MAX. */
#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)
/* Legal, but more than the user half of a 48-bit address space holds. */
#define NEVER_THERE ((size_t)1 << 47)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : support_check_failed(__FILE__, __LINE__, #condition))
_Noreturn void support_check_failed(const char *file, int line, const char *condition);

/* Fills `bytes` bytes with a word made from `tag`; the pattern does not depend on the address, so
 * that it may be looked for in a block that moved. */
void pattern_fill(void *block, size_t bytes, uint64_t tag);
bool pattern_holds(const void *block, size_t bytes, uint64_t tag);
bool all_zero(const void *block, size_t bytes);

/* The largest alignment that an object of `size` bytes can need, at most 16. */
size_t natural_alignment(size_t size);
bool is_aligned(const void *ptr, size_t alignment);

/* TEST_SEED of the environment or else a fresh one; printed either way. */
uint64_t test_seed(void);
uint64_t random_next(uint64_t *state);
/* Sizes as programs ask for them: mostly small, now and then up to `limit` bytes. */
size_t random_size(uint64_t *state, size_t limit);

struct outcome {
    int exit_code;   /* -1 when a signal ended the process */
    int signal;      /* 0 when it exited */
    size_t bytes;    /* of text */
    char text[8192]; /* what it wrote to stderr, terminated by 0 */
};

/* A file under /proc/self, as far as it fits, without a call of the family; false if there is none.
 */
bool read_proc(const char *name, char *text, size_t room);

/* The numbers of this process's threads, likewise; how many. They need not lie near each other. */
enum { THREADS_MOST = 64 };
unsigned list_threads(int ids[THREADS_MOST]);

/* In a forked child: cmocka's signal handlers would go on with the tests there. */
void drop_signal_handlers(void);

/* Runs body(argument) in a forked child that then leaves by _exit(0); no core file. */
void run_child(void (*body)(void *), void *argument, struct outcome *outcome);
/* Runs a program with exactly this environment; stdout is discarded. */
void run_program(const char *path, char *const argv[], char *const env[], struct outcome *outcome);
void assert_clean_exit(const struct outcome *outcome);
size_t count_lines(const char *text);

#endif
