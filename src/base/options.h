/* Options from the environment: WEIR_<NAME>=value, rows of options.def and nowhere else.
 *
 * MALLOC_CHECK_ is read as WEIR_CHECK, where that is not set. Parsed once, without allocating; an
 * unknown name or a bad value gives one line on standard error and the default. A process in
 * secure-execution mode (AT_SECURE, getauxval(3)) ignores them all. Threads: wr_options_parse runs
 * once, under the caller's guard; a value read before it is the default, so everything that reads
 * an option must tolerate a change from the default to the user's value while the process starts.
 */
#ifndef WR_BASE_OPTIONS_H
#define WR_BASE_OPTIONS_H

#include "base/atomic.h"
#include "base/compiler.h"

#define WR_OPTION(name, type, default_value, min, max, meaning) wr_option_##name,
typedef enum wr_option {
#include "base/options.def"
    WR_OPTION_COUNT
} wr_option;
#undef WR_OPTION

/* What an AUTO option says when it leaves the choice to weir. */
#define WR_OPTION_AUTO 2

/* What a LIST option says: a bit for each of its words. */
enum {
    WR_HARDEN_ORDER = 1,  /* order: blocks of a slab go out in random order */
    WR_HARDEN_GUARD = 2,  /* guard: a slice that faults lies behind each slab */
    WR_HARDEN_ZERO = 4,   /* zero: freed blocks are overwritten with zeros */
    WR_HARDEN_CANARY = 8, /* canary: zones around each block, looked at by its free */
    WR_HARDEN_DELAY = 16, /* delay: freed blocks wait before they are used again */
};

/* Value of an option: bytes for a SIZE, a NUMBER as it is, 0 or 1 for a FLAG, the same or
 * WR_OPTION_AUTO for an AUTO. Any thread. */
size_t wr_option_get(wr_option option);

/* True if the option harden has the word of this bit. */
WR_INLINE bool wr_option_hardens(size_t bit)
{
    return WR_UNLIKELY((wr_option_get(wr_option_harden) & bit) != 0);
}

/* For a SHARE: true if it is set as a percentage, and the bytes that it is when `whole` is 100%. */
bool wr_option_is_percentage(wr_option option);
size_t wr_option_share(wr_option option, size_t whole);

/* True if the environment set it. */
bool wr_option_is_set(wr_option option);

/* Reads the variables of environment, a list as environ(7). */
void wr_options_parse(char *const *environment);

#endif
