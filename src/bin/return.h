/* Return: the way of blocks back into their slabs, of whatever bins, and the one place where a
 * wrong pointer or a block that is free already is found out.
 *
 * Blocks are put into their slabs in the order they come, those of one bitmap word in a row in one
 * step; how many each slab got is added once, at the end (bin/slab.h says what put and add are, and
 * that any time may pass between them). Threads: any; what the array names is the caller's.
 * Progress: lock-free. */
#ifndef WR_BIN_RETURN_H
#define WR_BIN_RETURN_H

#include "base/compiler.h"

/* Who takes blocks that come back and lie in no slab: true if it is its own. Set while the process
 * starts, for those that a sized free brought into a cache (diag/guard.h). */
typedef bool wr_return_outsider(void *block, const char *function);
void wr_return_set_outsider(wr_return_outsider *outsider);

/* Returns blocks of slabs, of any bins, to where they came from; cheapest where blocks of one slab,
 * and of one word of its bitmap, come one after the other. Misuse (no block start, block already
 * free) is reported in the name of `function` and aborts. */
void wr_return(unsigned count, void **blocks, const char *function);

#endif
