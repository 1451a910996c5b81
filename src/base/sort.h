/* Sorting of small arrays of addresses.
 *
 * The arrays are the caller's; nothing is allocated. */
#ifndef WR_BASE_SORT_H
#define WR_BASE_SORT_H

#include "base/compiler.h"

/* Most addresses that are sorted at once: twice as many take 1 KiB of stack. */
#define WR_SORT_MOST 64u

/* True if no address is below the one before it. */
bool wr_sort_is_done(unsigned count, void *const *addresses);

/* Sorts up to WR_SORT_MOST addresses, lowest first. */
void wr_sort(unsigned count, void **addresses);

#endif
