/* Blocks on their way to another thread: an array of places, each empty or with one block.
 *
 * Must not wait: giving a block into a place that is taken fails, and the giver keeps the block.
 *
 *   operations together   may run together, on one place too
 *   give and give         yes: one of them fails
 *   give and take         yes
 *   take and take         yes, but only the owner takes here
 *
 * Progress: both are wait-free, one exchange each. ABA is harmless: give compares with 0 only,
 * and a place that is 0 is empty, whatever it held before.
 */
#ifndef BENCH_LATENCY_MAILBOX_H
#define BENCH_LATENCY_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/stamp.h"

#define MAILBOX_PLACES 64u

/* All zero when empty. */
struct mailbox {
    _Alignas(128) _Atomic stamp_t places[MAILBOX_PLACES];
};

/* Puts `block` into a place that `choice` picks. False if that one is taken. */
static inline bool mailbox_give(struct mailbox *mailbox, uint32_t choice, stamp_t block)
{
    stamp_t empty = 0;
    /* release: what was written into the block; pairs with mailbox_take. Linearises at its success.
     * relaxed on failure: nothing is read. */
    return atomic_compare_exchange_strong_explicit(&mailbox->places[choice % MAILBOX_PLACES],
                                                   &empty, block, memory_order_release,
                                                   memory_order_relaxed);
}

/* Takes the block out of a place, 0 if there is none. */
static inline stamp_t mailbox_take(struct mailbox *mailbox, uint32_t choice)
{
    _Atomic stamp_t *place = &mailbox->places[choice % MAILBOX_PLACES];
    /* relaxed: a hint that saves the exchange. */
    if (atomic_load_explicit(place, memory_order_relaxed) == 0)
        return 0;
    /* acquire: pairs with mailbox_give. */
    return atomic_exchange_explicit(place, 0, memory_order_acquire);
}

#endif
