/* See decay.h. */
#include "page/decay.h"

#define ONE 4096u /* the curve is in 4096ths */

/* What may stay of ONE, `age` steps after. */
static size_t share(uint64_t age)
{
    uint64_t n = WR_DECAY_STEPS;
    uint64_t x = n - age; /* of n */
    return (size_t)(ONE * x * x * (3 * n - 2 * x) / (n * n * n));
}

size_t wr_decay_allow(wr_decay *decay, uint64_t step, size_t dirty)
{
    uint64_t passed = step - decay->step;
    for (uint64_t i = 1; i <= passed && i <= WR_DECAY_STEPS; i++) {
        decay->added[(decay->step + i) % WR_DECAY_STEPS] = 0;
    }
    if (passed > WR_DECAY_STEPS) {
        for (unsigned i = 0; i < WR_DECAY_STEPS; i++) {
            decay->added[i] = 0;
        }
    }
    decay->step = step;
    if (dirty > decay->dirty) {
        decay->added[step % WR_DECAY_STEPS] += dirty - decay->dirty;
    }
    decay->dirty = dirty;
    size_t allowed = 0;
    for (uint64_t age = 0; age < WR_DECAY_STEPS && age <= step; age++) {
        size_t added = decay->added[(step - age) % WR_DECAY_STEPS];
        allowed += added / ONE * share(age) + added % ONE * share(age) / ONE;
    }
    return allowed;
}
