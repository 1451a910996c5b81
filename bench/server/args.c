/* Parsing by a table; see args.h. */
#include "args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, const struct args_option *option)
{
    if (text == NULL || *text < '0' || *text > '9')
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < option->min || number > option->max)
        return false;
    *option->value = number;
    return true;
}

static void print_usage(const char *program, const struct args_option *options, size_t count)
{
    fprintf(stderr, "usage: %s [--option number ...]\n", program);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "  %-12s %s, %lu to %lu, default %lu\n", options[i].name, options[i].help,
                options[i].min, options[i].max, *options[i].value);
}

bool args_parse(int argc, char **argv, const struct args_option *options, size_t count)
{
    for (int arg = 1; arg < argc; arg += 2) {
        size_t i = 0;
        while (i < count && strcmp(argv[arg], options[i].name) != 0)
            i++;
        /* argv[argc] is NULL, so an option without its number fails too. */
        if (i == count || !parse_number(argv[arg + 1], &options[i])) {
            print_usage(argv[0], options, count);
            return false;
        }
    }
    return true;
}
