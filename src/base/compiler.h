/* Compiler attributes under one name each, and the few idioms built on them.
 *
 * Knows nothing of weir; every other header may include it. */
#ifndef WR_BASE_COMPILER_H
#define WR_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WR_LIKELY(x)    __builtin_expect(!!(x), 1)
#define WR_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define WR_NOINLINE     __attribute__((noinline))
#define WR_INLINE       static inline __attribute__((always_inline))
#define WR_COLD         __attribute__((cold, noinline))
#define WR_NORETURN     __attribute__((noreturn))
#define WR_WEAK         __attribute__((weak))
#define WR_UNUSED       __attribute__((unused))
#define WR_PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Runs in each process as it starts or ends: lies with what else it touches then (src/weir.ld). */
#define WR_STARTUP __attribute__((section(".text.startup")))

/* Compilers know nothing of x, an integer variable, from here on: they compute it as it is written,
 * and do not mix it with what comes after. No instruction of its own. */
#define WR_FORGET(x) __asm__("" : "+r"(x))

/* A structure or field at a line of its own, so that writers on other cores leave it alone. */
#define WR_CACHE_LINE_BYTES 64
#define WR_CACHE_ALIGNED    __attribute__((aligned(WR_CACHE_LINE_BYTES)))

#define WR_ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#endif
