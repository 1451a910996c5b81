/* See quarantine.h. */
#include "diag/quarantine.h"

#include "base/atomic.h"
#include "base/config.h"
#include "base/options.h"
#include "diag/table.h"

static _Atomic(void *) slot_table; /* WR_QUARANTINE_BLOCKS slots; in each a block, or 0 */
static _Atomic uint64_t head;      /* of the next push */
static _Atomic uint64_t tail;      /* of the next pull; at most head */
static _Atomic size_t held_bytes;

typedef _Atomic uintptr_t slot;

#define SLOTS_BYTES (WR_QUARANTINE_BLOCKS * sizeof(slot))

/* What was in a slot and comes out. */
static bool let_go(uintptr_t block, wr_quarantine_release *release)
{
    if (block == 0) {
        return false;
    }
    size_t bytes = release(block);
    (void)wr_fetch_sub_relaxed(&held_bytes, bytes); /* a sum; orders nothing */
    return true;
}

/* Takes the oldest out; false when the quarantine is empty. */
static bool pull(slot *slots, wr_quarantine_release *release)
{
    uint64_t oldest = wr_load_relaxed(&tail);
    do {
        /* Relaxed: the slot's exchange hands the block on; a head seen late ends a round early. */
        if (oldest >= wr_load_relaxed(&head)) {
            return false;
        }
    } while (!wr_cas_weak_relaxed(&tail, &oldest, oldest + 1));
    /* Observes the block as its pusher left it; pairs with wr_quarantine_push(). */
    uintptr_t block = wr_exchange_acq_rel(&slots[oldest % WR_QUARANTINE_BLOCKS], (uintptr_t)0);
    (void)let_go(block, release);
    return true;
}

void wr_quarantine_push(uintptr_t block, size_t bytes, wr_quarantine_release *release)
{
    slot *slots = wr_table_obtain(&slot_table, SLOTS_BYTES, "quarantine");
    (void)wr_fetch_add_relaxed(&held_bytes, bytes);
    if (slots == NULL) {
        (void)let_go(block, release); /* no memory to wait in */
        return;
    }
    uint64_t place = wr_fetch_add_relaxed(&head, 1);
    /* Publishes the block, and observes the one that it pushes out; pairs with itself and with
     * pull(). */
    uintptr_t former = wr_exchange_acq_rel(&slots[place % WR_QUARANTINE_BLOCKS], block);
    (void)let_go(former, release);
    while (wr_load_relaxed(&held_bytes) > wr_option_get(wr_option_check_quarantine) &&
           pull(slots, release)) {
    }
}

size_t wr_quarantine_drain(wr_quarantine_release *release)
{
    size_t count = 0;
    slot *slots = wr_table_find(&slot_table);
    /* Also those of which the tail has passed the slot before they came in. */
    for (size_t i = 0; slots != NULL && i < WR_QUARANTINE_BLOCKS; i++) {
        /* As in pull(); pairs with wr_quarantine_push(). */
        count += let_go(wr_exchange_acq_rel(&slots[i], (uintptr_t)0), release);
    }
    return count;
}

size_t wr_quarantine_bytes(void)
{
    return wr_load_relaxed(&held_bytes);
}
