/* libFuzzer target: bytes are an environment, strings ended by zeros; the values that the options
 * parser takes from it lie within their bounds, whatever it says on standard error.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"

#define STRINGS_MAX 64
#define BYTES_MAX   4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void parse_silently(char *const *environment)
{
    int kept = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY);
    (void)dup2(nowhere, STDERR_FILENO);
    wr_options_parse(environment);
    (void)dup2(kept, STDERR_FILENO);
    close(kept);
    close(nowhere);
}

/* A bound of options.def as a number. */
static size_t number_of(const char *text)
{
    if (strcmp(text, "auto") == 0) {
        return WR_OPTION_AUTO;
    }
    char *end;
    size_t number = strtoull(text, &end, 10);
    const char *units = "KMGT";
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    return unit == NULL ? number : number << 10 * (unit - units + 1);
}

/* A percentage is one of 0 to 100, whatever the bounds, which are of sizes. */
static bool is_in_bounds(wr_option option, size_t min, size_t max)
{
    enum { WHOLE = 1000 };
    if (wr_option_is_percentage(option)) {
        return wr_option_share(option, WHOLE) <= WHOLE;
    }
    return wr_option_get(option) >= min && wr_option_get(option) <= max;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static char text[BYTES_MAX + 1];
    char *environment[STRINGS_MAX + 1];
    unsigned count = 0;
    length = length < BYTES_MAX ? length : BYTES_MAX;
    memcpy(text, data, length);
    text[length] = '\0';
    for (size_t at = 0; at < length && count < STRINGS_MAX; at += strlen(text + at) + 1) {
        environment[count++] = text + at;
    }
    environment[count] = NULL;
    parse_silently(environment);
#define WR_OPTION(name, type, default_value, min, max, meaning)                                    \
    if (!is_in_bounds(wr_option_##name, number_of(#min), number_of(#max))) {                       \
        abort();                                                                                   \
    }
#include "base/options.def"
#undef WR_OPTION
    return 0;
}
