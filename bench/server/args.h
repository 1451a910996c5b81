/* Command lines of the form --name number, for the example programs. Knows none of the options
 * itself. Called once, before any thread starts.
 */
#ifndef BENCH_SERVER_ARGS_H
#define BENCH_SERVER_ARGS_H

#include <stdbool.h>
#include <stddef.h>

struct args_option {
    const char *name;     /* with its dashes */
    unsigned long *value; /* holds the default, takes what is given */
    unsigned long min;    /* least and greatest value allowed */
    unsigned long max;
    const char *help; /* what the number means, with its unit */
};

/* Reads argv into the values. False, with a usage text on stderr, for anything unknown, incomplete
 * or out of range. */
bool args_parse(int argc, char **argv, const struct args_option *options, size_t count);

#endif
