/* See metric.h. */
#include "common/metric.h"

#include <stdarg.h>
#include <stdio.h>

void metric_print(double value, const char *unit, const char *name_format, ...)
{
    printf("metric ");
    va_list arguments;
    va_start(arguments, name_format);
    vprintf(name_format, arguments);
    va_end(arguments);
    printf(" %.6g %s\n", value, unit);
    fflush(stdout);
}
