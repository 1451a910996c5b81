/* The time curve of purging: how much of what has become dirty may stay, so that it goes smoothly.
 *
 * What became dirty in one step of time may stay whole at first and not at all WR_DECAY_STEPS steps
 * later, along a smooth step (3 x^2 - 2 x^3: flat at both ends, so what is reused soon is left
 * alone). What may stay is the sum over the last steps. A step is a WR_DECAY_STEPSth of the decay
 * time. Pure arithmetic: knows no clock and no memory; units are the caller's. Threads: one at a
 * time has a decay. */
#ifndef WR_PAGE_DECAY_H
#define WR_PAGE_DECAY_H

#include "base/compiler.h"
#include "base/config.h"

typedef struct wr_decay {
    size_t added[WR_DECAY_STEPS]; /* units that became dirty, by step modulo WR_DECAY_STEPS */
    uint64_t step;                /* the step of the last look */
    size_t dirty;                 /* units that were dirty after it */
} wr_decay;

/* At `step` (which does not fall), `dirty` units are dirty; what is more than at the last look has
 * become so now. Returns how many may stay. */
size_t wr_decay_allow(wr_decay *decay, uint64_t step, size_t dirty);

/* After purging, `dirty` units are left. */
WR_INLINE void wr_decay_settle(wr_decay *decay, size_t dirty)
{
    decay->dirty = dirty;
}

#endif
