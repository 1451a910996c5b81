/* A walk over all that weir manages, which verifies what slice.h, span.h and slab.h promise.
 *
 * Reads tables and descriptors only, never the program's memory. With other threads at work it
 * verifies what holds at any moment, and a fault counts only if it is there at a third look; alone,
 * also what holds at rest: descriptors, counts against bits, the index. Wait-free; linear in the
 * memory managed. */
#ifndef WR_DIAG_WALK_H
#define WR_DIAG_WALK_H

#include "base/compiler.h"

/* One line on standard error for each fault: "weir: heap_check: <what>: <address>". How many.
 * `alone`: no other thread is in a call of weir's. */
size_t wr_walk_check(bool alone);

#endif
