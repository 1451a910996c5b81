/* Long options of the benchmark programs: a table says which there are, this reads them.
 *
 * Knows no option itself. Called once, before any thread starts. A bad argument is one line on
 * standard error and the end of the program with status 2; --help prints the table and ends it
 * with status 0.
 */
#ifndef BENCH_COMMON_OPTIONS_H
#define BENCH_COMMON_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum options_kind {
    OPTIONS_COUNT,  /* uint64_t, decimal */
    OPTIONS_BYTES,  /* uint64_t, decimal with an optional K, M or G (powers of 1024) */
    OPTIONS_NUMBER, /* double */
    OPTIONS_CHOICE, /* unsigned, the index of one of `choices` */
    OPTIONS_FLAG,   /* unsigned, 1 if the option is there; takes no value */
    OPTIONS_TEXT,   /* const char *, as given; NULL by default */
};

struct options_row {
    const char *name; /* without its dashes */
    enum options_kind kind;
    void *value;                /* holds the default, takes what is given */
    double min;                 /* least and greatest value; of numbers only */
    double max;                 /* exact up to 2^53 */
    const char *help;           /* what it means, with its unit */
    const char *const *choices; /* of a choice, ended by NULL; else NULL */
};

/* Reads argv into the values. `purpose` is one line for --help. */
void options_read(int argc, char **argv, const char *purpose, const struct options_row *rows,
                  size_t count);

#endif
