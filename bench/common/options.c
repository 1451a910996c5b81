/* Parsing by a table; see options.h. */
#include "common/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_BAD_ARGUMENT 2

static bool read_number(const struct options_row *row, const char *text)
{
    char *end = NULL;
    errno = 0;
    double number = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(number >= row->min && number <= row->max))
        return false;
    *(double *)row->value = number;
    return true;
}

/* The power of two that a suffix of bytes stands for, or -1. */
static int shift_of(const char *suffix)
{
    if (*suffix == '\0')
        return 0;
    const char *letters = "KMG";
    const char *at = strchr(letters, *suffix);
    return at == NULL || suffix[1] != '\0' ? -1 : 10 * (int)(at - letters + 1);
}

static bool read_count(const struct options_row *row, const char *text)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    int shift = row->kind == OPTIONS_BYTES ? shift_of(end) : *end == '\0' ? 0 : -1;
    if (errno != 0 || shift < 0 || number > UINT64_MAX >> shift)
        return false;
    uint64_t value = (uint64_t)number << shift;
    if ((double)value < row->min || (double)value > row->max)
        return false;
    *(uint64_t *)row->value = value;
    return true;
}

static bool read_choice(const struct options_row *row, const char *text)
{
    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *(unsigned *)row->value = i;
            return true;
        }
    }
    return false;
}

static bool read_value(const struct options_row *row, const char *text)
{
    switch (row->kind) {
    case OPTIONS_COUNT:
    case OPTIONS_BYTES:
        return read_count(row, text);
    case OPTIONS_NUMBER:
        return read_number(row, text);
    case OPTIONS_CHOICE:
        return read_choice(row, text);
    case OPTIONS_TEXT:
        *(const char **)row->value = text;
        return true;
    case OPTIONS_FLAG:
        break;
    }
    return false;
}

/* Prints "LEAST to GREATEST, default X", or the choices. */
static void print_values(const struct options_row *row)
{
    switch (row->kind) {
    case OPTIONS_COUNT:
    case OPTIONS_BYTES:
        printf(", %.0f to %.0f, default %llu", row->min, row->max,
               (unsigned long long)*(const uint64_t *)row->value);
        break;
    case OPTIONS_NUMBER:
        printf(", %g to %g, default %g", row->min, row->max, *(const double *)row->value);
        break;
    case OPTIONS_CHOICE:
        for (unsigned i = 0; row->choices[i] != NULL; i++)
            printf("%s%s", i == 0 ? ": " : ", ", row->choices[i]);
        printf("; default %s", row->choices[*(const unsigned *)row->value]);
        break;
    case OPTIONS_TEXT:
    case OPTIONS_FLAG:
        break;
    }
}

static void print_help(const char *program, const char *purpose, const struct options_row *rows,
                       size_t count)
{
    printf("%s: %s\n", program, purpose);
    for (size_t i = 0; i < count; i++) {
        printf("  --%-12s %s", rows[i].name, rows[i].help);
        print_values(&rows[i]);
        printf("\n");
    }
    printf("  --%-12s this text\n", "help");
}

_Noreturn static void refuse(const char *program, const char *argument, const char *why)
{
    fprintf(stderr, "%s: %s: %s (--help lists the options)\n", program, argument, why);
    exit(STATUS_BAD_ARGUMENT);
}

static const struct options_row *find(const char *argument, const struct options_row *rows,
                                      size_t count)
{
    if (strncmp(argument, "--", 2) != 0)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argument + 2, rows[i].name) == 0)
            return &rows[i];
    }
    return NULL;
}

void options_read(int argc, char **argv, const char *purpose, const struct options_row *rows,
                  size_t count)
{
    const char *slash = strrchr(argv[0], '/');
    const char *program = slash == NULL ? argv[0] : slash + 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(program, purpose, rows, count);
            exit(0);
        }
        const struct options_row *row = find(argv[i], rows, count);
        if (row == NULL)
            refuse(program, argv[i], "no such option");
        if (row->kind == OPTIONS_FLAG) {
            *(unsigned *)row->value = 1;
            continue;
        }
        if (i + 1 == argc)
            refuse(program, argv[i], "its value is missing");
        if (!read_value(row, argv[i + 1]))
            refuse(program, argv[i + 1], "not a value of this option");
        i++;
    }
}
