/* See slab.h. */
#include "bin/slab.h"

#include "base/assert.h"
#include "base/options.h"
#include "bin/granule.h"
#include "os/host.h"

static int64_t blocks_of(int64_t count)
{
    return count * (1 << WR_SLAB_COUNT_SHIFT);
}

static unsigned word_count(const wr_span *slab)
{
    return (slab->blocks + WR_WORD_BITS - 1) / WR_WORD_BITS;
}

wr_span *wr_slab_open(uintptr_t start, unsigned class, struct wr_bin *bin)
{
    const wr_size_class *shape = &wr_size_classes[class];
    unsigned words = (shape->blocks + WR_WORD_BITS - 1) / WR_WORD_BITS;
    wr_span *slab = wr_span_obtain(start, words);
    if (slab == NULL) {
        return NULL;
    }
    slab->bin = bin;
    slab->block_bytes = shape->block_bytes;
    slab->reciprocal = shape->reciprocal;
    slab->blocks = shape->blocks;
    slab->class = (uint8_t) class;
    slab->is_spare = 0;
    slab->is_fenced = 0;
    wr_granule_set_absent(slab, 0);
    slab->stale = 0;
    /* Relaxed: only late CASes of an earlier life touch the words now, and those fail; the blocks'
     * way to other threads publishes them. */
    for (unsigned w = 0; w < words; w++) {
        unsigned left = slab->blocks - w * WR_WORD_BITS;
        wr_store_relaxed(&slab->free_bits[w],
                         wr_mask(0, left < WR_WORD_BITS ? left : WR_WORD_BITS));
    }
    wr_store_relaxed(&slab->state, blocks_of(slab->blocks) | WR_SLAB_OWNED);
    size_t bytes = shape->slices * WR_SLICE_BYTES;
    wr_span_open(slab, WR_SPAN_SLAB, bytes, bytes);
    return slab;
}

/* Those of the free blocks of a word that lie on no absent granule. */
static uint64_t present_bits(const wr_span *slab, unsigned word, uint64_t bits)
{
    unsigned shift = wr_granule_shift(slab->bytes);
    uint64_t present = bits;
    for (uint64_t left = bits; left != 0; left &= left - 1) {
        uint32_t index = word * WR_WORD_BITS + wr_lowest_bit(left);
        if ((wr_granule_mask(slab, shift, index * slab->block_bytes) & wr_granule_absent(slab)) !=
            0) {
            present &= ~(left & -left);
        }
    }
    return present;
}

/* n of the bits set, or all when there are fewer. */
static uint64_t some_bits(uint64_t bits, unsigned n)
{
    unsigned turn = (unsigned)(wr_host_random() % WR_WORD_BITS);
    uint64_t turned = bits >> turn | bits << (WR_WORD_BITS - 1 - turn) << 1;
    uint64_t some = wr_lowest_bits(turned, n);
    return some << turn | some >> (WR_WORD_BITS - 1 - turn) >> 1;
}

/* Those of the free blocks of a word whose whole line is free, with so many blocks to a line. */
static uint64_t whole_lines(uint64_t bits, unsigned line)
{
    uint64_t lines = bits;
    for (unsigned distance = 1; distance < line; distance *= 2) {
        lines &= lines >> distance;
    }
    uint64_t each = wr_mask(0, line); /* the lowest bit of every line, times all of a line */
    return (lines & ~(uint64_t)0 / each) * each;
}

/* The granules of blocks just taken are in use again. */
static void touch(wr_span *slab, unsigned taken, void **out)
{
    unsigned shift = wr_granule_shift(slab->bytes);
    uint32_t used = 0;
    for (unsigned i = 0; i < taken; i++) {
        used |= wr_granule_mask(slab, shift, (uint32_t)((uintptr_t)out[i] - slab->start));
    }
    wr_granule_touch(slab, used);
}

/* Takes up to `most` blocks whose pages are there; only whole lines of so many blocks. */
static unsigned take(wr_span *slab, unsigned most, unsigned line, void **out)
{
    bool absent = wr_granule_absent(slab) != 0;
    unsigned taken = 0;
    unsigned words = word_count(slab);
    bool shuffled = wr_option_hardens(WR_HARDEN_ORDER);
    unsigned first = shuffled ? (unsigned)(wr_host_random() % words) : 0;
    for (unsigned i = 0; i < words && taken < most; i++) {
        unsigned w = i + first < words ? i + first : i + first - words;
        /* Relaxed: a look; bits can only be added by others. */
        uint64_t bits = wr_load_relaxed(&slab->free_bits[w]);
        if (bits != 0 && absent) {
            bits = present_bits(slab, w, bits);
        }
        if (line != 1) {
            bits = whole_lines(bits, line);
        }
        if (bits == 0) {
            continue;
        }
        bits = shuffled ? some_bits(bits, most - taken) : bits;
        uintptr_t start = slab->start + (size_t)w * WR_WORD_BITS * slab->block_bytes;
        uint64_t left = bits;
        for (; left != 0 && taken < most; left &= left - 1) {
            out[taken++] = (void *)(start + (size_t)wr_lowest_bit(left) * slab->block_bytes);
        }
        /* Linearisation point. Observes what the last users of the blocks did; pairs with
         * wr_slab_put(). */
        (void)wr_fetch_and_acq_rel(&slab->free_bits[w], left | ~bits);
    }
    if (taken != 0) {
        /* Relaxed: the owner reads the count next, and who claims the slab later is ordered by the
         * flags. */
        (void)wr_fetch_sub_relaxed(&slab->state, blocks_of(taken));
    }
    if (WR_UNLIKELY(slab->stale != 0)) {
        touch(slab, taken, out);
    }
    return taken;
}

/* The same from a slab with granules that are absent: their blocks last. */
static unsigned take_by_granule(wr_span *slab, unsigned most, void **out)
{
    unsigned taken = take(slab, most, 1, out);
    while (taken < most && wr_granule_absent(slab) != 0) {
        if (!wr_granule_bring_back(slab)) {
            return taken == 0 ? WR_SLAB_REFUSED : taken;
        }
        taken += take(slab, most - taken, 1, out + taken);
    }
    return taken;
}

unsigned wr_slab_take(wr_span *slab, unsigned most, void **out)
{
    WR_ASSERT((wr_load_relaxed(&slab->state) & WR_SLAB_OWNED) != 0);
    return WR_LIKELY(wr_granule_absent(slab) == 0) ? take(slab, most, 1, out)
                                                   : take_by_granule(slab, most, out);
}

unsigned wr_slab_take_lines(wr_span *slab, unsigned most, void **out)
{
    WR_ASSERT((wr_load_relaxed(&slab->state) & WR_SLAB_OWNED) != 0);
    unsigned line = wr_size_line_blocks(slab->block_bytes);
    if (line == 1 || most < line || wr_option_hardens(WR_HARDEN_ORDER)) {
        return 0;
    }
    return take(slab, most / line * line, line, out);
}

uint64_t wr_slab_put(wr_span *slab, uint32_t word, uint64_t bits)
{
    /* Publishes what was done in the blocks; pairs with wr_slab_take(). */
    return wr_fetch_or_acq_rel(&slab->free_bits[word], bits) & bits;
}

wr_slab_duty wr_slab_add(wr_span *slab, unsigned count)
{
    /* Read while our blocks still keep the slab in use. */
    int64_t all = slab->blocks;
    /* seq_cst: against a lister that sets the index bit and then reads the count, so that the last
     * add or the lister sees a slab whose blocks are all free; pairs with wr_bin_list(). */
    int64_t state = wr_fetch_add_seq_cst(&slab->state, blocks_of(count)) + blocks_of(count);
    while ((state & WR_SLAB_OWNED) == 0) {
        if ((state & WR_SLAB_LISTED) != 0) {
            return wr_slab_state_count(state) == all ? WR_SLAB_DUTY_EMPTY : WR_SLAB_DUTY_NONE;
        }
        if (wr_slab_state_count(state) <= 0) {
            break; /* a taker subtracted more; whoever adds the rest lists the slab */
        }
        /* Linearisation point of listing. Observes the descriptor as its last owner left it; pairs
         * with wr_slab_disown(). */
        if (wr_cas_weak_acq_rel(&slab->state, &state, state | WR_SLAB_LISTED)) {
            return WR_SLAB_DUTY_LIST;
        }
    }
    return WR_SLAB_DUTY_NONE;
}

wr_slab_duty wr_slab_disown(wr_span *slab)
{
    /* Observes all adds that count: with all blocks back, what their users did comes before what
     * the slices are used for next; pairs with wr_slab_add(). */
    int64_t state = wr_load_acquire(&slab->state);
    for (;;) {
        WR_ASSERT((state & (WR_SLAB_OWNED | WR_SLAB_LISTED)) == WR_SLAB_OWNED);
        int64_t count = wr_slab_state_count(state);
        if (count == slab->blocks) {
            return WR_SLAB_DUTY_EMPTY;
        }
        int64_t next = state - WR_SLAB_OWNED + (count > 0 ? WR_SLAB_LISTED : 0);
        /* Linearisation point. Publishes the descriptor; pairs with wr_slab_add() and
         * wr_slab_claimed(). Only adds can come between, so the loop ends when they pause. */
        if (wr_cas_weak_acq_rel(&slab->state, &state, next)) {
            return count > 0 ? WR_SLAB_DUTY_LIST : WR_SLAB_DUTY_NONE;
        }
    }
}

void wr_slab_claimed(wr_span *slab)
{
    /* Relaxed: clearing the index bit has ordered it; see wr_bin_unlist_try(). */
    int64_t state = wr_fetch_sub_relaxed(&slab->state, WR_SLAB_LISTED - WR_SLAB_OWNED);
    WR_ASSERT((state & (WR_SLAB_OWNED | WR_SLAB_LISTED)) == WR_SLAB_LISTED);
    (void)state;
}

int64_t wr_slab_count_racy(const wr_span *slab)
{
    return wr_slab_state_count(wr_load_relaxed(&slab->state));
}

bool wr_slab_is_whole(const wr_span *slab)
{
    /* Observes all adds that count, as wr_slab_disown(); pairs with wr_slab_add(). */
    return wr_slab_state_count(wr_load_acquire(&slab->state)) == slab->blocks;
}

bool wr_slab_is_empty_racy(const wr_span *slab, uint32_t blocks)
{
    /* seq_cst: the lister's second step; pairs with wr_slab_add(). */
    int64_t state = wr_load_seq_cst(&slab->state);
    return (state & WR_SLAB_OWNED) == 0 && wr_slab_state_count(state) == blocks;
}

/* Free blocks by the bits. */
static unsigned count_free_bits(const wr_span *slab)
{
    unsigned count = 0;
    for (unsigned w = 0; w < word_count(slab); w++) {
        count += wr_count_bits(wr_load_relaxed(&slab->free_bits[w]));
    }
    return count;
}

void wr_slab_recount(wr_span *slab)
{
    /* Relaxed: the child has one thread. */
    int64_t flags = wr_load_relaxed(&slab->state) & (WR_SLAB_OWNED | WR_SLAB_LISTED);
    wr_store_relaxed(&slab->state, blocks_of(count_free_bits(slab)) | flags);
}

void wr_slab_assert_valid(const wr_span *slab)
{
    WR_ASSERT(wr_span_kind_of(slab) == WR_SPAN_SLAB);
    WR_ASSERT(slab->class > WR_CLASS_NONE && slab->class < WR_CLASS_COUNT);
    WR_ASSERT(slab->block_bytes == wr_size_classes[slab->class].block_bytes);
    WR_ASSERT((size_t)slab->blocks * slab->block_bytes <= slab->bytes);
    WR_ASSERT(wr_slab_count_racy(slab) == count_free_bits(slab));
}
