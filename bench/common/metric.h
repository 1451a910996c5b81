/* The result lines of benchmark programs, whose form bench/README.md fixes. One thread at a time.
 */
#ifndef BENCH_COMMON_METRIC_H
#define BENCH_COMMON_METRIC_H

/* Prints "metric NAME VALUE UNIT". `name_format` makes the name, of [a-z0-9_/.:-]; `unit` is one of
 * ops/s ns s bytes ratio count. */
__attribute__((format(printf, 3, 4))) void metric_print(double value, const char *unit,
                                                        const char *name_format, ...);

#endif
