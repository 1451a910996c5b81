/* Sampled guard pages: one allocation in so many gets a page of its own between two that nobody may
 * touch, so that a write or read past its end, before its begin or after its free faults at once.
 *
 *     | guard |  zone | block | guard | block | zone | guard |       by turns at either edge
 *
 * Sampled where a call leaves the fast path anyway, which stands for as many calls as it brings
 * blocks. The pages belong to no region, class mark 0: each call about such a block takes the slow
 * path, but for sized frees, which do not ask. Those push it to a cache as the block of its class
 * that it also is (it has all the bytes of its class), it goes round as such, and comes back when
 * it would return to its slab.
 * A fault is told from others by its address; the former handler, or the kernel's default, follows.
 * A slot changes by compare-and-swap; the one freed the longest ago comes next. Lock-free. Threads,
 * forks: any. Source: GWP-ASan (Serebryany et al., ICSE-SEIP 2024), sigaction(2). */
#ifndef WR_DIAG_GUARD_H
#define WR_DIAG_GUARD_H

#include "diag/check.h"

extern _Atomic size_t wr_guard_rate;

/* True if one allocation in so many is sampled. */
WR_INLINE bool wr_guard_is_on(void)
{
    return WR_UNLIKELY(wr_load_relaxed(&wr_guard_rate) != 0); /* a mode; publishes nothing */
}

/* Turns sampling on if the option guard_sample asks for it, and there is memory for the pool. */
void wr_guard_start(void);

/* A block for a request of size bytes that class `class` would serve, if one is due now and there
 * is a slot; else NULL. The call stands for `weight` calls. */
void *wr_guard_sample(unsigned class, size_t size, unsigned weight, const wr_check_call *call);

/* True if ptr points into the pool. */
bool wr_guard_owns(const void *ptr);

/* Frees a block of the pool; a ptr that is none is reported and aborts. */
void wr_guard_free(void *ptr, const wr_check_call *call);

/* Bytes that may be used at ptr, in the pool; likewise. */
size_t wr_guard_usable_size(const void *ptr, const wr_check_call *call);

#endif
