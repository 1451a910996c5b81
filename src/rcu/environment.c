/* See environment.h. */
#include "rcu/environment.h"

#include "rcu/reclaimer.h"
#include "rcu/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_number(const char *text, size_t most, size_t *value)
{
    static const char units[] = "KMG";
    char *end;
    if (text[0] < '0' || text[0] > '9') {
        return false; /* neither a sign nor a space */
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    if (errno != 0 || end[unit == NULL ? 0 : 1] != '\0' || number > most >> shift) {
        return false;
    }
    *value = (size_t)number << shift;
    return true;
}

bool wr_rcu_environment_parse(const char *name, const char *text, size_t least, size_t most,
                              size_t *value)
{
    size_t number;
    if (!read_number(text, most, &number) || number < least) {
        fprintf(stderr, "weir-rcu: %s: not a number from %zu to %zu, the default holds\n", name,
                least, most);
        return false;
    }
    *value = number;
    return true;
}

void wr_rcu_environment_read(void)
{
    int saved = errno;
    size_t value;
    const char *text = secure_getenv("WEIR_RCU_LIMIT");
    if (text != NULL && wr_rcu_environment_parse("WEIR_RCU_LIMIT", text, WR_RCU_LIMIT_BYTES_MIN,
                                                 (size_t)1 << 47, &value)) {
        wr_store_relaxed(&wr_rcu_limit_bytes, value); /* a setting; before any thread */
    }
    text = secure_getenv("WEIR_RCU_STALL");
    if (text != NULL && wr_rcu_environment_parse("WEIR_RCU_STALL", text, 0, UINT32_MAX, &value)) {
        wr_store_relaxed(&wr_rcu_stall_ms, (uint32_t)value); /* likewise */
    }
    errno = saved;
}
