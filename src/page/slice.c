/* See slice.h. */
#include "page/slice.h"

#include "base/assert.h"
#include "page/commit.h"

static _Atomic size_t dirty_count; /* relaxed: a steering statistic */
static _Atomic size_t lazy_count;  /* likewise */
static _Atomic size_t total_count; /* likewise */

/* A part of a run that lies in one word. The count is that of the mask's bits: counting them is a
 * call where the processor is not known to have an instruction for it. */
typedef struct part {
    unsigned word;
    unsigned count;
    uint64_t mask;
} part;

static part first_part(unsigned slice, size_t count)
{
    unsigned bit = slice % WR_WORD_BITS;
    unsigned here = (unsigned)wr_min(count, WR_WORD_BITS - bit);
    part p = {slice / WR_WORD_BITS, here, wr_mask(bit, here)};
    return p;
}

/* How many of the part's bits are set. */
static unsigned count_in(part p, uint64_t bits)
{
    bits &= p.mask;
    return bits == 0 ? 0 : bits == p.mask ? p.count : wr_count_bits(bits);
}

/* Where searches start: for a run of 1, 2, 3 slices and of 4 or more the lowest word that one may
 * begin in, in 16 bits each. Hints, and relaxed: a run that is released just when a search raises
 * its start is overlooked, until slices below it are released or there is no other run. */
#define SEARCH_BITS 16u

static unsigned search_start(uint64_t starts, size_t count)
{
    return (uint16_t)(starts >> ((wr_min(count, WR_SEARCH_COUNTS) - 1) * SEARCH_BITS));
}

static uint64_t with_start(uint64_t starts, size_t count, unsigned word)
{
    size_t shift = (count - 1) * SEARCH_BITS;
    return (starts & ~((uint64_t)UINT16_MAX << shift)) | (uint64_t)word << shift;
}

/* Length of the run that a part of a word lies in, as far as the word goes: one that reaches its
 * border may go on beyond, and counts as long. *starts_below: it may begin in the word before. */
static size_t run_length(part p, uint64_t bits, bool *starts_below)
{
    unsigned first = wr_lowest_bit(p.mask);
    unsigned end = first + p.count;
    first -= first == 0 ? 0 : wr_high_ones(bits << (WR_WORD_BITS - first));
    end += end == WR_WORD_BITS ? 0 : wr_low_ones(bits >> end);
    *starts_below = first == 0;
    return first == 0 || end == WR_WORD_BITS ? WR_SEARCH_COUNTS : end - first;
}

/* The part has become available, in a word whose bits were so after that. A few tries: if others
 * are faster each time, the run is one that is overlooked. */
WR_NOINLINE static void lower_search(wr_region *region, part p, uint64_t bits)
{
    enum { TRIES = 8 };
    bool starts_below;
    size_t length = wr_min(run_length(p, bits, &starts_below), WR_SEARCH_COUNTS);
    unsigned word = p.word - (starts_below && p.word != 0);
    uint64_t starts = wr_load_relaxed(&region->search_starts);
    for (unsigned tries = 0; tries < TRIES; tries++) {
        uint64_t lower = starts;
        for (size_t count = 1; count <= length; count++) {
            if (search_start(starts, count) > word) {
                lower = with_start(lower, count, word);
            }
        }
        /* Starts only: of an old value that came back nothing is lost. */
        if (lower == starts || wr_cas_strong_relaxed(&region->search_starts, &starts, lower)) {
            return;
        }
    }
}

/* A search for `count` slices found a run that begins in `word`, or none at all: in the one behind
 * the last; `starts` was read before it. */
static void raise_search(wr_region *region, size_t count, uint64_t starts, unsigned word)
{
    /* Heaps of up to 256 MiB are sooner searched than threads wait for each other's hints. */
    if (count <= WR_SEARCH_COUNTS && word >= search_start(starts, count) + WR_SEARCH_WORDS) {
        (void)wr_cas_strong_relaxed(&region->search_starts, &starts,
                                    with_start(starts, count, word));
    }
}

/* Makes slices available: the state bits have been set before. */
static void make_available(wr_region *region, unsigned slice, size_t count)
{
    while (count > 0) {
        part p = first_part(slice, count);
        _Atomic uint64_t *word = &region->slices[p.word].available;
        /* Publishes the slice's bits and all that was done in it; pairs with claim_part(). Comes
         * before the mark, as summary.h asks; pairs with wr_summary_unmark(). */
        uint64_t old = wr_fetch_or_seq_cst(word, p.mask);
        WR_ASSERT((old & p.mask) == 0);
        wr_summary_mark(&region->available_words, p.word);
        if (WR_UNLIKELY(wr_load_relaxed(&region->search_starts) != 0)) { /* not in small heaps */
            lower_search(region, p, old | p.mask);
        }
        slice += p.count;
        count -= p.count;
    }
}

/* Takes all bits of the mask, or none. */
static bool claim_part(wr_region *region, part p)
{
    _Atomic uint64_t *word = &region->slices[p.word].available;
    uint64_t seen = wr_load_relaxed(word);
    do {
        if ((seen & p.mask) != p.mask) {
            return false;
        }
        /* Linearisation point of the part. Observes what the last holder did; pairs with
         * make_available(). seq_cst, as summary.h asks of who empties a leaf. */
    } while (!wr_cas_weak_seq_cst(word, &seen, seen & ~p.mask));
    if ((seen & ~p.mask) == 0) {
        wr_summary_unmark(&region->available_words, p.word, word);
    }
    return true;
}

/* Takes the state of slices that were just claimed: clears both bits, counts what they told. True
 * if all were zero. */
static bool take_state(wr_region *region, unsigned slice, size_t count)
{
    size_t all = count;
    size_t zero = 0;
    size_t dirty = 0;
    while (count > 0) {
        part p = first_part(slice, count);
        wr_slice_word *word = &region->slices[p.word];
        /* Relaxed: the bits are ours since claim_part(); only neighbours share the words. */
        if ((wr_load_relaxed(&word->zero) & p.mask) != 0) {
            zero += count_in(p, wr_fetch_and_relaxed(&word->zero, ~p.mask));
        }
        if ((wr_load_relaxed(&word->dirty) & p.mask) != 0) {
            dirty += count_in(p, wr_fetch_and_relaxed(&word->dirty, ~p.mask));
        }
        slice += p.count;
        count -= p.count;
    }
    if (dirty != 0) {
        (void)wr_fetch_sub_relaxed(&dirty_count, dirty);
    }
    if (WR_UNLIKELY(dirty + zero != all)) {
        (void)wr_fetch_sub_relaxed(&lazy_count, all - dirty - zero);
    }
    return zero == all;
}

/* The zero ones of slices that were just claimed: those that are not charged. */
static size_t count_zero(wr_region *region, unsigned slice, size_t count)
{
    size_t zero = 0;
    while (count > 0) {
        part p = first_part(slice, count);
        /* Relaxed: the bits are ours since claim_part(). */
        zero += count_in(p, wr_load_relaxed(&region->slices[p.word].zero));
        slice += p.count;
        count -= p.count;
    }
    return zero;
}

typedef enum claim_result {
    CLAIM_DONE,
    CLAIM_LOST,    /* another thread has a slice of the run, or there is none */
    CLAIM_REFUSED, /* over the limit on committed bytes */
} claim_result;

/* Claims a run within a region, or nothing. Charges what is zero while the state bits are
 * still as they were, so that a run that is refused goes back unchanged. */
static claim_result claim_run(wr_region *region, unsigned slice, size_t count, bool *zero)
{
    unsigned at = slice;
    size_t left = count;
    while (left > 0) {
        part p = first_part(at, left);
        if (!claim_part(region, p)) {
            make_available(region, slice, at - slice);
            return CLAIM_LOST;
        }
        at += p.count;
        left -= p.count;
    }
    if (!wr_commit_charge(count_zero(region, slice, count) * WR_SLICE_BYTES)) {
        make_available(region, slice, count);
        return CLAIM_REFUSED;
    }
    *zero = take_state(region, slice, count);
    return CLAIM_DONE;
}

/* The bits of a word from which on `count` bits are set in a row; none when there is no such run in
 * the word. */
static uint64_t run_starts(uint64_t bits, size_t count)
{
    if (count > WR_WORD_BITS) {
        return 0;
    }
    for (unsigned have = 1; have < count && bits != 0;) {
        unsigned more = (unsigned)wr_min(have, count - have);
        bits &= bits >> more;
        have += more;
    }
    return bits;
}

/* First slice of the lowest run of `count` available slices from `from` on, or WR_REGION_SLICES. */
static unsigned find_run(wr_region *region, size_t count, unsigned from)
{
    unsigned word = from / WR_WORD_BITS;
    uint64_t wanted = ~(uint64_t)0 << (from % WR_WORD_BITS);
    unsigned below = 0; /* available slices in a row just below the word */
    while (word < WR_SUMMARY_WORDS) {
        /* Relaxed: a look; claim_part() decides. */
        uint64_t bits = wr_load_relaxed(&region->slices[word].available) & wanted;
        if (bits == 0) {
            word = wr_summary_next(&region->available_words, word + 1);
            below = 0;
        } else {
            if (below + wr_low_ones(bits) >= count) {
                return word * WR_WORD_BITS - below;
            }
            uint64_t starts = run_starts(bits, count);
            if (starts != 0) {
                return word * WR_WORD_BITS + wr_lowest_bit(starts);
            }
            below = bits == ~(uint64_t)0 ? below + WR_WORD_BITS : wr_high_ones(bits);
            word++;
        }
        wanted = ~(uint64_t)0;
    }
    return WR_REGION_SLICES;
}

/* Searches a region from where it may be worth it on, or all of it. *slice is the first of the run,
 * unless there was none: CLAIM_LOST. */
static claim_result claim_in_region(wr_region *region, size_t count, bool all, unsigned *slice,
                                    bool *zero)
{
    uint64_t starts = wr_load_relaxed(&region->search_starts);
    unsigned from = all ? 0 : search_start(starts, count) * WR_WORD_BITS;
    while ((from = find_run(region, count, from)) < WR_REGION_SLICES) {
        claim_result result = claim_run(region, from, count, zero);
        if (result != CLAIM_LOST) {
            raise_search(region, count, starts, from / WR_WORD_BITS);
            *slice = from;
            return result;
        }
        /* Somebody else claimed in the run: what is left is found from its start on. */
    }
    if (wr_load_relaxed(&region->place) < wr_region_count()) {
        raise_search(region, count, starts, WR_SUMMARY_WORDS); /* the heap grows in another now */
    }
    return CLAIM_LOST;
}

static uintptr_t claim_in_any(size_t count, bool all, bool *zero)
{
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        unsigned slice;
        claim_result result = claim_in_region(region, count, all, &slice, zero);
        if (result != CLAIM_LOST) {
            return result == CLAIM_DONE ? wr_slice_address(region, slice) : WR_SLICE_REFUSED;
        }
    }
    return 0;
}

uintptr_t wr_slice_claim(size_t count, bool *zero)
{
    uintptr_t address = claim_in_any(count, false, zero);
    return address != 0 ? address : claim_in_any(count, true, zero);
}

bool wr_slice_claim_at(uintptr_t address, size_t count, bool *zero)
{
    wr_region *region = wr_region_of(address);
    unsigned slice = wr_slice_number(address);
    if (region == NULL || count > WR_REGION_SLICES - slice) {
        return false;
    }
    return claim_run(region, slice, count, zero) == CLAIM_DONE;
}

typedef enum content { DIRTY, ZERO, LAZY } content;

/* Sets the state bits of claimed slices and makes them available. */
static void release(uintptr_t address, size_t count, content holds)
{
    wr_region *region = wr_region_of(address);
    unsigned first = wr_slice_number(address);
    size_t left = count;
    for (unsigned slice = first; left > 0;) {
        part p = first_part(slice, left);
        wr_slice_word *word = &region->slices[p.word];
        if (holds != LAZY) {
            /* Relaxed: published by make_available(). */
            (void)wr_fetch_or_relaxed(holds == ZERO ? &word->zero : &word->dirty, p.mask);
        }
        slice += p.count;
        left -= p.count;
    }
    if (holds != ZERO) {
        (void)wr_fetch_add_relaxed(holds == DIRTY ? &dirty_count : &lazy_count, count);
    }
    make_available(region, first, count);
}

void wr_slice_release(uintptr_t address, size_t count)
{
    release(address, count, DIRTY);
}

void wr_slice_release_purged(uintptr_t address, size_t count)
{
    wr_commit_refund(count * WR_SLICE_BYTES);
    release(address, count, ZERO);
}

void wr_slice_unclaim(uintptr_t address, size_t count, bool zero)
{
    if (zero) {
        wr_slice_release_purged(address, count);
    } else {
        wr_slice_release(address, count);
    }
}

void wr_slice_release_refunded(uintptr_t address, size_t count)
{
    release(address, count, ZERO);
}

void wr_slice_release_lazy(uintptr_t address, size_t count)
{
    release(address, count, LAZY);
}

void wr_slice_drop(size_t count)
{
    wr_commit_refund(count * WR_SLICE_BYTES);
    (void)wr_fetch_sub_relaxed(&total_count, count);
}

void wr_slice_add(uintptr_t address, size_t count)
{
    (void)wr_fetch_add_relaxed(&total_count, count);
    release(address, count, ZERO);
}

size_t wr_slice_count_below(uintptr_t end)
{
    size_t count = 0;
    wr_region *region;
    do {
        end -= WR_SLICE_BYTES;
        region = wr_region_of(end);
        unsigned slice = wr_slice_number(end);
        /* Relaxed: a look. */
        if (region == NULL || (wr_load_relaxed(&region->slices[slice / WR_WORD_BITS].available) >>
                                   (slice % WR_WORD_BITS) &
                               1) == 0) {
            return count;
        }
        count++;
    } while (end > region->base);
    return count;
}

size_t wr_slice_dirty_count(void)
{
    return wr_load_relaxed(&dirty_count);
}

size_t wr_slice_lazy_count(void)
{
    return wr_load_relaxed(&lazy_count);
}

size_t wr_slice_total_count(void)
{
    return wr_load_relaxed(&total_count);
}

static void recover_region(wr_region *region, size_t *dirty, size_t *lazy)
{
    wr_store_relaxed(&region->search_starts, 0);
    for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
        /* Relaxed: the child has one thread. */
        uint64_t available = wr_load_relaxed(&region->slices[w].available);
        if (available != 0) {
            wr_summary_mark(&region->available_words, w);
            uint64_t is_dirty = wr_load_relaxed(&region->slices[w].dirty);
            uint64_t is_zero = wr_load_relaxed(&region->slices[w].zero);
            *dirty += wr_count_bits(available & is_dirty);
            *lazy += wr_count_bits(available & ~is_dirty & ~is_zero);
        }
    }
}

void wr_slice_recover(void)
{
    size_t dirty = 0;
    size_t lazy = 0;
    for (unsigned r = 0; r < wr_region_count(); r++) {
        recover_region(wr_region_at(r), &dirty, &lazy);
    }
    wr_store_relaxed(&dirty_count, dirty);
    wr_store_relaxed(&lazy_count, lazy);
}

void wr_slice_assert_valid(wr_region *region)
{
    for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
        /* Relaxed: at rest. */
        uint64_t available = wr_load_relaxed(&region->slices[w].available);
        uint64_t dirty = wr_load_relaxed(&region->slices[w].dirty);
        uint64_t zero = wr_load_relaxed(&region->slices[w].zero);
        WR_ASSERT(((dirty | zero) & ~available) == 0);
        WR_ASSERT((dirty & zero) == 0);
        (void)available, (void)dirty, (void)zero;
    }
    wr_summary_assert_valid(&region->available_words, &region->slices[0].available,
                            sizeof region->slices[0] / sizeof region->slices[0].available);
}
