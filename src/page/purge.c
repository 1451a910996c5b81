/* See purge.h. */
#include "page/purge.h"

#include "base/options.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/giveback.h"
#include "page/huge.h"
#include "page/slice.h"

/* What is purged, and how. */
typedef enum manner {
    FOR_GOOD, /* all that has page frames */
    DECAYED,  /* what is dirty, for good */
    LAZILY,   /* what is dirty, at the kernel's leisure */
} manner;

/* Runs that the kernel refused to take back (memory is locked). Relaxed: a statistic. */
static _Atomic size_t refused_runs;

/* Purges claimed slices and releases them; returns the slices purged. */
static size_t purge_claimed(uintptr_t address, unsigned count, manner how)
{
    size_t bytes = count * WR_SLICE_BYTES;
    if (how == LAZILY && wr_vm_purge_lazily((void *)address, bytes)) {
        wr_slice_release_lazy(address, count);
    } else if (wr_vm_purge((void *)address, bytes)) {
        wr_slice_release_purged(address, count);
    } else {
        wr_slice_release(address, count);
        (void)wr_fetch_add_relaxed(&refused_runs, 1);
        return 0;
    }
    return count;
}

/* Purges the run of slices that starts at a bit; returns the slices purged. */
static size_t purge_run(wr_region *region, unsigned slice, unsigned count, manner how)
{
    uintptr_t address = wr_slice_address(region, slice);
    bool zero;
    wr_giveback_begin();
    /* Else they are in use again: all the better. */
    size_t purged =
        wr_slice_claim_at(address, count, &zero) ? purge_claimed(address, count, how) : 0;
    wr_giveback_end();
    return purged;
}

/* Purges the available runs of one word; with whole set, in huge pages that are free as a whole, so
 * that no huge page in use is broken. */
static size_t purge_word(wr_region *region, unsigned word, manner how, bool whole, size_t limit)
{
    wr_slice_word *slices = &region->slices[word];
    /* Relaxed: a look; the claim decides. */
    uint64_t available = wr_load_relaxed(&slices->available);
    uint64_t bits = available & (how == FOR_GOOD ? ~wr_load_relaxed(&slices->zero)
                                                 : wr_load_relaxed(&slices->dirty));
    bits &= whole ? wr_huge_whole(available) : ~(uint64_t)0;
    size_t purged = 0;
    while (bits != 0 && purged < limit) {
        unsigned first = wr_lowest_bit(bits);
        unsigned count = wr_low_ones(bits >> first);
        unsigned most = (unsigned)wr_min(count, limit - purged);
        purged += purge_run(region, word * WR_WORD_BITS + first + count - most, most, how);
        bits &= ~wr_mask(first, count);
    }
    return purged;
}

static bool is_done(size_t keep_slices, manner how)
{
    bool lazy_left = how == FOR_GOOD && keep_slices == 0 && wr_slice_lazy_count() != 0;
    return wr_slice_dirty_count() <= keep_slices && !lazy_left;
}

/* Slices to be purged at most; all where lazy ones, which are not counted in it, are to go too. */
static size_t excess(size_t keep_slices)
{
    size_t dirty = wr_slice_dirty_count();
    return keep_slices == 0 || dirty <= keep_slices ? WR_REGION_SLICES : dirty - keep_slices;
}

static size_t purge_pass(size_t keep_slices, manner how, bool whole)
{
    size_t purged = 0;
    for (unsigned r = wr_region_count(); r-- > 0;) {
        wr_region *region = wr_region_at(r);
        for (unsigned word = WR_SUMMARY_WORDS; word-- > 0;) {
            if (is_done(keep_slices, how)) {
                return purged;
            }
            purged += purge_word(region, word, how, whole, excess(keep_slices));
        }
    }
    return purged;
}

/* Purges in a row of which the kernel refused all, and until when none is tried again. Relaxed:
 * hints. */
static _Atomic unsigned refusals;
static _Atomic uint64_t rest_until;

static size_t purge(size_t keep_slices, manner how)
{
    enum { REST_MS = 1000 };
    size_t refused_before = wr_load_relaxed(&refused_runs);
    size_t purged = wr_huge_is_asked() ? purge_pass(keep_slices, how, true) : 0;
    purged += purge_pass(keep_slices, how, false);
    if (purged != 0) {
        wr_store_relaxed(&refusals, 0);
    } else if (wr_load_relaxed(&refused_runs) != refused_before) {
        /* What others were faster to claim is no refusal. */
        (void)wr_fetch_add_relaxed(&refusals, 1);
        wr_store_relaxed(&rest_until, wr_host_milliseconds() + REST_MS);
    }
    return purged;
}

bool wr_purge_is_refused(void)
{
    return wr_load_relaxed(&refusals) != 0 && wr_host_milliseconds() < wr_load_relaxed(&rest_until);
}

bool wr_purge_has_work(void)
{
    enum { REFUSALS_MOST = 4 }; /* then only a call of the program's is worth another */
    return wr_slice_dirty_count() != 0 && wr_load_relaxed(&refusals) < REFUSALS_MOST;
}

size_t wr_purge_slices(size_t keep_slices)
{
    return purge(keep_slices, keep_slices == 0 ? FOR_GOOD : DECAYED);
}

size_t wr_purge_decayed(size_t keep_slices)
{
    return purge(keep_slices, wr_option_get(wr_option_lazy) != 0 ? LAZILY : DECAYED);
}

/* Most bytes in use in this period, and in the one before. Relaxed: what is overlooked when threads
 * meet shows at the next release. */
static _Atomic size_t most_in_use;
static _Atomic size_t most_before;

/* Committed, and neither dirty nor lazy. */
static size_t bytes_in_use(void)
{
    size_t free_bytes = (wr_slice_dirty_count() + wr_slice_lazy_count()) * WR_SLICE_BYTES;
    size_t committed = wr_commit_bytes();
    return committed > free_bytes ? committed - free_bytes : 0;
}

void wr_purge_begin_period(void)
{
    wr_store_relaxed(&most_before, wr_load_relaxed(&most_in_use));
    wr_store_relaxed(&most_in_use, bytes_in_use());
}

/* What was in use of late, and the share of it, may have page frames: a program whose memory goes
 * up and down finds what it gave up a moment ago, and never has more than it had at its height. */
static size_t dirty_cap(size_t dirty_bytes, size_t released_bytes)
{
    if (!wr_option_is_percentage(wr_option_dirty_max)) {
        return wr_option_get(wr_option_dirty_max);
    }
    size_t in_use = bytes_in_use();
    if (in_use + released_bytes > wr_load_relaxed(&most_in_use)) {
        wr_store_relaxed(&most_in_use, in_use + released_bytes);
    }
    if (dirty_bytes <= WR_DIRTY_MIN_BYTES) {
        return WR_DIRTY_MIN_BYTES; /* at least: more need not be known */
    }
    size_t most = wr_max(wr_load_relaxed(&most_in_use), wr_load_relaxed(&most_before));
    most += wr_option_share(wr_option_dirty_max, most);
    return wr_max(most > in_use ? most - in_use : 0, WR_DIRTY_MIN_BYTES);
}

void wr_purge_over_cap(size_t released_slices)
{
    size_t dirty = wr_slice_dirty_count();
    size_t cap =
        dirty_cap(dirty * WR_SLICE_BYTES, released_slices * WR_SLICE_BYTES) / WR_SLICE_BYTES;
    if (WR_UNLIKELY(dirty > cap) && !wr_purge_is_refused()) {
        (void)wr_purge_decayed(cap - cap / 8);
    }
}
