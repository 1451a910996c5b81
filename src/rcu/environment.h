/* The environment of libweir-rcu: WEIR_RCU_LIMIT and WEIR_RCU_STALL, read when the library is
 * loaded. In secure-execution mode there is none. A value that cannot be used gives one line on
 * stderr. */
#ifndef WR_RCU_ENVIRONMENT_H
#define WR_RCU_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/* Reads both, when the library is loaded. Keeps errno. */
void wr_rcu_environment_read(void);

/* Reads a number, with K, M or G for powers of 1024 behind it or not; false, with a line in the
 * name of the variable, if text is none from least to most. */
bool wr_rcu_environment_parse(const char *name, const char *text, size_t least, size_t most,
                              size_t *value);

#endif
