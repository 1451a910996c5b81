/* See bin.h. */
#include "bin/bin.h"

#include "base/assert.h"
#include "os/vm.h"
#include "base/options.h"
#include "bin/granule.h"
#include "os/host.h"
#include "page/extent.h"
#include "page/giveback.h"
#include "page/purge.h"
#include "page/slice.h"

/* The index word of 64 slices, and the slab's bit in it. */
static _Atomic uint64_t *index_word(const wr_bin *bin, wr_region *region, unsigned word)
{
    return &region->listed[word][bin->class];
}

/* Puts a slab that the caller set LISTED into its bin's index. */
static void set_index_bit(wr_bin *bin, wr_span *slab)
{
    wr_region *region = wr_region_of(slab->start);
    unsigned slice = wr_slice_number(slab->start);
    unsigned word = slice / WR_WORD_BITS;
    /* Publishes the slab; pairs with wr_bin_unlist_try(). Comes before the mark (page/summary.h);
     * pairs with wr_summary_unmark(). */
    uint64_t old =
        wr_fetch_or_seq_cst(index_word(bin, region, word), (uint64_t)1 << (slice % WR_WORD_BITS));
    WR_ASSERT((old >> (slice % WR_WORD_BITS) & 1) == 0);
    (void)old;
    wr_summary_mark(&region->listed_words[bin->class], word);
}

/* Clears an index bit; true for the thread that did: the slab is its own then. */
static bool wr_bin_unlist_try(wr_bin *bin, wr_region *region, unsigned slice)
{
    unsigned word = slice / WR_WORD_BITS;
    uint64_t bit = (uint64_t)1 << (slice % WR_WORD_BITS);
    _Atomic uint64_t *leaf = index_word(bin, region, word);
    /* Linearisation point of a claim. Observes the slab as it was listed; pairs with
     * set_index_bit(). seq_cst, as page/summary.h asks of who empties a leaf, and against a lister
     * that has yet to set the bit; pairs with wr_bin_list(). */
    uint64_t old = wr_fetch_and_seq_cst(leaf, ~bit);
    if ((old & ~bit) == 0) {
        wr_summary_unmark(&region->listed_words[bin->class], word, leaf);
    }
    return (old & bit) != 0;
}

/* The caller has cleared the index bit. */
static void take_over(wr_bin *bin, wr_span *slab)
{
    wr_slab_claimed(slab);
    if (slab->is_spare) {
        slab->is_spare = 0;
        wr_store_relaxed(&bin->spares, 0); /* a hint: whoever sees it late retires a slab more */
    }
}

static void wr_bin_list(wr_span *slab);

/* Hardened: a write that runs out of a slab faults in the slice behind it. Makes a fence of a
 * claimed slice; false if that cannot be, and it is a slice as before. */
WR_COLD static bool raise_fence(uintptr_t start)
{
    wr_span *fence = wr_span_obtain(start, 0);
    if (fence == NULL || !wr_vm_set_accessible((void *)start, WR_SLICE_BYTES, false)) {
        return false;
    }
    wr_span_open(fence, WR_SPAN_FENCE, 0, WR_SLICE_BYTES);
    return true;
}

WR_COLD static void drop_fence(uintptr_t start)
{
    wr_span_close(wr_span_at(start));
    /* Where the kernel refuses it stays claimed: nobody may touch it. */
    if (wr_vm_set_accessible((void *)start, WR_SLICE_BYTES, true)) {
        wr_slice_release(start, 1);
    }
}

/* The caller owns a slab with all blocks free: its slices go back. */
static void close_slab(wr_bin *bin, wr_span *slab)
{
    size_t slices = wr_span_slices(slab);
    (void)wr_fetch_sub_relaxed(&bin->slabs, 1);
    if (WR_UNLIKELY(slab->is_fenced != 0)) {
        drop_fence(slab->start + slices * WR_SLICE_BYTES);
    }
    wr_span_close(slab);
    wr_granule_release(slab, slices);
}

/* The caller owns a slab with all blocks free: it becomes the bin's spare, or its slices go back.
 */
static void retire(wr_span *slab)
{
    wr_bin *bin = slab->bin;
    uint32_t none = 0;
    if (wr_load_relaxed(&bin->spares) == 0 && wr_cas_strong_relaxed(&bin->spares, &none, 1)) {
        slab->is_spare = 1;
        /* Relaxed: only its claimer looks at it, whom the index bit orders. */
        (void)wr_fetch_add_relaxed(&slab->state, WR_SLAB_LISTED - WR_SLAB_OWNED);
        set_index_bit(bin, slab);
        return;
    }
    close_slab(bin, slab);
    wr_purge_over_cap(wr_size_classes[bin->class].slices);
}

void wr_bin_give_up(wr_span *slab)
{
    switch (wr_slab_disown(slab)) {
    case WR_SLAB_DUTY_NONE:
        break;
    case WR_SLAB_DUTY_LIST:
        wr_bin_list(slab);
        break;
    case WR_SLAB_DUTY_EMPTY:
        retire(slab);
        break;
    }
}

/* Claims the listed slab of a slice: NULL if it is not listed, or another thread was first. */
static wr_span *claim(wr_bin *bin, wr_region *region, unsigned slice)
{
    if (!wr_bin_unlist_try(bin, region, slice)) {
        return NULL;
    }
    /* The slice tells the present descriptor, whatever the caller has seen. Relaxed: the claim has
     * ordered it. */
    wr_span *slab = wr_load_relaxed(&region->span[slice]);
    take_over(bin, slab);
    return slab;
}

/* All blocks of a listed slab may be free: whoever clears its bit decides. The bin is the one that
 * the caller knew while the slab was in use; if the slab has another life by now, the bit is not
 * set, or the claim is as good as any. */
static void claim_empty(wr_bin *bin, wr_span *slab)
{
    wr_span *present = claim(bin, wr_region_of(slab->start), wr_slice_number(slab->start));
    if (present != NULL) {
        wr_bin_give_up(present);
    }
}

/* Second half of listing: LISTED is the caller's doing, so the slab stays in use until the bit is
 * set, and its fields may be read until then. */
static void wr_bin_list(wr_span *slab)
{
    wr_bin *bin = slab->bin;
    uint32_t blocks = slab->blocks;
    set_index_bit(bin, slab);
    /* Adds that came before the bit found nothing to clear: they are seen here, since bit, add and
     * this look are seq_cst; pairs with wr_slab_add(). */
    if (wr_slab_is_empty_racy(slab, blocks)) {
        claim_empty(bin, slab);
    }
}

/* Claims the lowest listed slab of one region. */
static wr_span *claim_in_region(wr_bin *bin, wr_region *region)
{
    wr_summary *words = &region->listed_words[bin->class];
    unsigned word = 0;
    while ((word = wr_summary_next(words, word)) < WR_SUMMARY_WORDS) {
        _Atomic uint64_t *leaf = index_word(bin, region, word);
        /* seq_cst: a leaf seen empty is unmarked; pairs with set_index_bit(). */
        uint64_t bits = wr_load_seq_cst(leaf);
        if (bits == 0) {
            wr_summary_unmark(words, word, leaf);
            word++;
            continue;
        }
        wr_span *slab = claim(bin, region, word * WR_WORD_BITS + wr_lowest_bit(bits));
        if (slab != NULL) {
            return slab;
        }
        /* Another thread claimed it: progress is theirs, look again. */
    }
    return NULL;
}

static wr_span *claim_lowest(wr_bin *bin)
{
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_span *slab = claim_in_region(bin, wr_region_at(r));
        if (slab != NULL) {
            return slab;
        }
    }
    return NULL;
}

static wr_span *open_slab(wr_bin *bin)
{
    size_t slices = wr_size_classes[bin->class].slices;
    size_t fence = wr_option_hardens(WR_HARDEN_GUARD);
    bool zero;
    uintptr_t start = wr_extent_claim(slices + fence, &zero);
    if (start == 0) {
        return NULL;
    }
    wr_span *slab = wr_slab_open(start, bin->class, bin);
    if (slab == NULL) {
        wr_slice_unclaim(start, slices + fence, zero);
        return NULL;
    }
    if (WR_UNLIKELY(fence != 0)) {
        uintptr_t end = start + slices * WR_SLICE_BYTES;
        slab->is_fenced = raise_fence(end);
        if (slab->is_fenced == 0) {
            wr_slice_unclaim(end, 1, zero);
        }
    }
    (void)wr_fetch_add_relaxed(&bin->slabs, 1);
    return slab;
}

/* Slabs whose free blocks are all on purged pages that may not come back, for the limit on
 * committed bytes; held aside while others are tried. */
typedef struct refused {
    wr_span *slabs[WR_REFUSED_MOST];
    unsigned count;
} refused;

static unsigned give_up_refused(refused *r, unsigned taken)
{
    for (unsigned i = 0; i < r->count; i++) {
        wr_bin_give_up(r->slabs[i]);
    }
    return taken;
}

/* From a slab that the caller has just got: other threads have blocks in it. */
static unsigned take_first(wr_span *slab, unsigned most, void **out)
{
    unsigned taken = wr_slab_take_lines(slab, most, out);
    return taken != 0 ? taken : wr_slab_take(slab, most, out);
}

unsigned wr_bin_refill(wr_bin *bin, wr_span **kept, unsigned most, void **out)
{
    WR_ASSERT(most >= 1 && most <= WR_BATCH_BLOCKS);
    refused aside = {.count = 0};
    wr_span *slab = *kept;
    unsigned taken = slab == NULL ? 0 : wr_slab_take(slab, most, out);
    for (;;) {
        if (taken != 0 && taken != WR_SLAB_REFUSED) {
            *kept = slab;
            return give_up_refused(&aside, taken);
        }
        if (slab != NULL) {
            *kept = NULL; /* first, for a fork in between: the child must not think it is ours */
            if (taken == WR_SLAB_REFUSED) {
                aside.slabs[aside.count++] = slab;
            } else {
                wr_bin_give_up(slab);
            }
        }
        if (aside.count == WR_REFUSED_MOST) {
            return give_up_refused(&aside, 0);
        }
        slab = claim_lowest(bin);
        if (slab == NULL) {
            slab = open_slab(bin);
        }
        if (slab == NULL) {
            return give_up_refused(&aside, 0);
        }
        taken = take_first(slab, most, out);
    }
}

void *wr_bin_take(wr_bin *bin)
{
    void *block;
    wr_span *slab = NULL;
    if (wr_bin_refill(bin, &slab, 1, &block) == 0) {
        return NULL;
    }
    wr_bin_give_up(slab);
    return block;
}

/* Looks at a slab that the caller has just claimed, and gives it up or retires it; false if it is
 * out of use then. */
static bool trim_slab(wr_bin *bin, wr_span *slab, wr_trim how, wr_bin_census *census)
{
    if (wr_slab_is_whole(slab) && (how != WR_TRIM_STALE || wr_granule_all_stale(slab))) {
        close_slab(bin, slab);
        return false;
    }
    if (how != WR_TRIM_SLABS) {
        census->purged_bytes += wr_granule_purge(slab, how == WR_TRIM_ALL);
    }
    unsigned shift = wr_granule_shift(slab->bytes);
    census->absent_bytes += (size_t)wr_count_bits(wr_granule_absent(slab)) << shift;
    census->stale_bytes += (size_t)wr_count_bits(slab->stale) << shift;
    wr_bin_give_up(slab);
    return true;
}

/* Claims a listed slab and looks at it; false if it is out of use then. */
static bool trim_listed(wr_bin *bin, wr_region *region, unsigned slice, wr_trim how,
                        wr_bin_census *census)
{
    wr_giveback_begin();
    wr_span *slab = claim(bin, region, slice);
    bool stays = slab == NULL || trim_slab(bin, slab, how, census);
    wr_giveback_end();
    return stays;
}

/* The listed slabs of 64 slices. */
static void trim_word(wr_bin *bin, wr_region *region, unsigned word, wr_trim how,
                      wr_bin_census *census)
{
    size_t block_bytes = wr_size_classes[bin->class].block_bytes;
    /* Relaxed: a look; the claim decides. */
    uint64_t bits = wr_load_relaxed(index_word(bin, region, word));
    for (; bits != 0; bits &= bits - 1) {
        unsigned slice = word * WR_WORD_BITS + wr_lowest_bit(bits);
        /* Observes the descriptor's state word; pairs with wr_span_obtain(). */
        wr_span *seen = wr_load_acquire(&region->span[slice]);
        int64_t count = wr_slab_count_racy(seen);
        if (count <= 0) {
            continue;
        }
        if ((size_t)count * block_bytes < wr_host_page_bytes() ||
            trim_listed(bin, region, slice, how, census)) {
            census->free_blocks += (size_t)count;
        }
    }
}

void wr_bin_trim(wr_bin *bin, wr_trim how, wr_bin_census *census)
{
    *census = (wr_bin_census){0};
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        wr_summary *words = &region->listed_words[bin->class];
        for (unsigned word = 0; (word = wr_summary_next(words, word)) < WR_SUMMARY_WORDS; word++) {
            trim_word(bin, region, word, how, census);
        }
    }
    census->slabs = wr_load_relaxed(&bin->slabs);
    census->blocks = census->slabs * wr_size_classes[bin->class].blocks;
}

/* Only words with a span in use can have listed slabs. */
static void recover_region(wr_region *region)
{
    for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
        /* Relaxed: the child has one thread. */
        if (wr_load_relaxed(&region->slices[w].head) == 0) {
            continue;
        }
        for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
            if (wr_load_relaxed(&region->listed[w][class]) != 0) {
                wr_summary_mark(&region->listed_words[class], w);
            }
        }
    }
}

void wr_bin_recover(wr_bin *bins)
{
    for (unsigned r = 0; r < wr_region_count(); r++) {
        recover_region(wr_region_at(r));
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_store_relaxed(&bins[class].spares, 0); /* at worst a bin keeps one slab more */
    }
}

void wr_bin_add(wr_span *slab, unsigned count)
{
    wr_bin *bin = slab->bin; /* read while our blocks still keep the slab in use */
    switch (wr_slab_add(slab, count)) {
    case WR_SLAB_DUTY_NONE:
        break;
    case WR_SLAB_DUTY_LIST:
        wr_bin_list(slab);
        break;
    case WR_SLAB_DUTY_EMPTY:
        claim_empty(bin, slab);
        break;
    }
}
