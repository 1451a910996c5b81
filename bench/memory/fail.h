/* The end of a run that went wrong. Any thread.
 */
#ifndef BENCH_MEMORY_FAIL_H
#define BENCH_MEMORY_FAIL_H

/* Prints one line on standard error and ends the program with status 1. Of several threads that
 * come here, one prints. */
__attribute__((format(printf, 1, 2))) _Noreturn void fail(const char *format, ...);

#endif
