/* See keep.h. */
#include "heap/keep.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "base/options.h"
#include "heap/mapping.h"
#include "os/host.h"
#include "page/giveback.h"

static _Atomic uint64_t slots[WR_KEEP_SLOTS];
static _Atomic size_t kept_bytes; /* relaxed: a cap that may be overrun for a moment */
/* Where the search for a victim starts; relaxed: any slot will do. */
static _Atomic unsigned oldest;

#define PAGES_BITS 32

static uint64_t pack(uintptr_t start, size_t bytes)
{
    return (uint64_t)(start >> WR_SLICE_SHIFT) << PAGES_BITS | bytes / wr_host_page_bytes();
}

static size_t bytes_of(uint64_t word)
{
    return (size_t)(uint32_t)word * wr_host_page_bytes();
}

static wr_kept unpack(uint64_t word)
{
    wr_kept kept = {(uintptr_t)(word >> PAGES_BITS) << WR_SLICE_SHIFT, bytes_of(word)};
    return kept;
}

/* Removes whatever is in a slot and returns it to the kernel. */
static size_t release_slot(unsigned slot)
{
    /* Relaxed: a look. */
    if (wr_load_relaxed(&slots[slot]) == 0) {
        return 0;
    }
    wr_giveback_begin();
    /* Linearisation point. Observes the last use of the memory; pairs with insert(). Release: who
     * finds the slot empty sees that its bytes are on their way back; pairs with
     * wr_giveback_await(). */
    wr_kept kept = unpack(wr_exchange_acq_rel(&slots[slot], 0));
    if (kept.bytes != 0) {
        (void)wr_fetch_sub_relaxed(&kept_bytes, kept.bytes);
        wr_mapping_destroy(kept.start, kept.bytes);
    }
    wr_giveback_end();
    return kept.bytes;
}

/* Puts a word into an empty slot, if there is one. */
static bool insert(uint64_t word)
{
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        uint64_t empty = wr_load_relaxed(&slots[i]);
        /* Linearisation point. Publishes the last use of the memory; pairs with wr_keep_take() and
         * release_slot(). */
        if (empty == 0 && wr_cas_strong_acq_rel(&slots[i], &empty, word)) {
            return true;
        }
    }
    return false;
}

void wr_keep_put(uintptr_t start, size_t bytes)
{
    size_t cap = wr_option_get(wr_option_large_keep);
    if (bytes > cap || bytes / wr_host_page_bytes() > UINT32_MAX) {
        wr_mapping_destroy(start, bytes);
        return;
    }
    (void)wr_fetch_add_relaxed(&kept_bytes, bytes);
    uint64_t word = pack(start, bytes);
    bool inserted = insert(word);
    for (unsigned i = 0; i < WR_KEEP_SLOTS && (!inserted || wr_keep_bytes() > cap); i++) {
        (void)release_slot(wr_fetch_add_relaxed(&oldest, 1) % WR_KEEP_SLOTS);
        inserted = inserted || insert(word);
    }
    if (!inserted) {
        (void)wr_fetch_sub_relaxed(&kept_bytes, bytes);
        wr_mapping_destroy(start, bytes);
    }
}

/* True if a mapping serves, and better than the best so far, 0 for none. */
static bool is_better(uint64_t word, uint64_t best, size_t bytes, size_t most, size_t alignment)
{
    return bytes_of(word) >= bytes && bytes_of(word) <= most &&
           (best == 0 || bytes_of(word) < bytes_of(best)) &&
           wr_align_down(unpack(word).start, alignment) == unpack(word).start;
}

wr_kept wr_keep_take(size_t bytes, size_t most, size_t alignment)
{
    const wr_kept none = {0, 0};
    if (wr_keep_bytes() < bytes) {
        return none;
    }
    unsigned best = WR_KEEP_SLOTS;
    uint64_t best_word = 0;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        uint64_t word = wr_load_relaxed(&slots[i]);
        if (word != 0 && is_better(word, best_word, bytes, most, alignment)) {
            best = i;
            best_word = word;
        }
    }
    /* Linearisation point. Observes the last use of the memory; pairs with insert(). Losing the
     * mapping to another thread counts as having none: a fresh one is as good. */
    if (best == WR_KEEP_SLOTS || !wr_cas_strong_acq_rel(&slots[best], &best_word, 0)) {
        return none;
    }
    (void)wr_fetch_sub_relaxed(&kept_bytes, bytes_of(best_word));
    return unpack(best_word);
}

size_t wr_keep_release_to(size_t keep_bytes)
{
    size_t released = 0;
    for (unsigned i = 0; i < WR_KEEP_SLOTS && wr_keep_bytes() > keep_bytes; i++) {
        unsigned slot = wr_fetch_add_relaxed(&oldest, 1) % WR_KEEP_SLOTS;
        /* Relaxed: a look. What is more than the excess goes at a later step. */
        if (bytes_of(wr_load_relaxed(&slots[slot])) <= wr_keep_bytes() - keep_bytes) {
            released += release_slot(slot);
        }
    }
    return released;
}

size_t wr_keep_release_all(void)
{
    size_t released = 0;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        released += release_slot(i);
    }
    return released;
}

void wr_keep_recover(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        /* Relaxed: the child has one thread. */
        bytes += bytes_of(wr_load_relaxed(&slots[i]));
    }
    wr_store_relaxed(&kept_bytes, bytes);
}

size_t wr_keep_bytes(void)
{
    return wr_load_relaxed(&kept_bytes);
}

size_t wr_keep_committed_bytes(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        uint64_t word = wr_load_relaxed(&slots[i]); /* at rest */
        bytes += word == 0 ? 0 : wr_mapping_committed_bytes(unpack(word).start);
    }
    return bytes;
}
