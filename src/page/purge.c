/* See purge.h. */
#include "page/purge.h"

#include "base/options.h"
#include "os/vm.h"
#include "page/huge.h"
#include "page/slice.h"

/* Purges the run of slices that starts at a bit; returns the slices purged. */
static size_t purge_run(wr_region *region, unsigned slice, unsigned count)
{
    uintptr_t address = wr_slice_address(region, slice);
    bool zero;
    if (!wr_slice_claim_at(address, count, &zero)) {
        return 0; /* in use again: all the better */
    }
    if (!wr_vm_purge((void *)address, count * WR_SLICE_BYTES)) {
        wr_slice_release(address, count);
        return 0;
    }
    wr_slice_release_purged(address, count);
    return count;
}

/* Purges the dirty available runs of one word; with whole set, in huge pages that are free as a
 * whole, so that no huge page in use is broken. */
static size_t purge_word(wr_region *region, unsigned word, bool whole)
{
    wr_slice_word *slices = &region->slices[word];
    /* Relaxed: a look; the claim decides. */
    uint64_t available = wr_load_relaxed(&slices->available);
    uint64_t bits = available & wr_load_relaxed(&slices->dirty);
    bits &= whole ? wr_huge_whole(available) : ~(uint64_t)0;
    size_t purged = 0;
    while (bits != 0) {
        unsigned first = wr_lowest_bit(bits);
        uint64_t rest = ~(bits >> first);
        unsigned count = rest == 0 ? WR_WORD_BITS - first : wr_lowest_bit(rest);
        purged += purge_run(region, word * WR_WORD_BITS + first, count);
        bits &= ~wr_mask(first, count);
    }
    return purged;
}

static size_t purge_pass(size_t keep_slices, bool whole)
{
    size_t purged = 0;
    for (unsigned r = wr_region_count(); r-- > 0;) {
        wr_region *region = wr_region_at(r);
        for (unsigned word = WR_SUMMARY_WORDS; word-- > 0;) {
            if (wr_slice_dirty_count() <= keep_slices) {
                return purged;
            }
            purged += purge_word(region, word, whole);
        }
    }
    return purged;
}

size_t wr_purge_slices(size_t keep_slices)
{
    size_t purged = wr_huge_is_asked() ? purge_pass(keep_slices, true) : 0;
    return purged + purge_pass(keep_slices, false);
}

void wr_purge_over_cap(void)
{
    size_t cap = wr_option_get(wr_option_dirty_max) / WR_SLICE_BYTES;
    if (WR_UNLIKELY(wr_slice_dirty_count() > cap)) {
        (void)wr_purge_slices(cap / 2);
    }
}
