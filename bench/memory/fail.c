/* See fail.h. */
#include "memory/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_flag failing = ATOMIC_FLAG_INIT;

_Noreturn void fail(const char *format, ...)
{
    /* relaxed: the flag publishes nothing. */
    while (atomic_flag_test_and_set_explicit(&failing, memory_order_relaxed))
        pause();
    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    exit(1);
}
