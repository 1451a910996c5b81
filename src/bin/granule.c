/* See granule.h. */
#include "bin/granule.h"

#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/huge.h"
#include "page/slice.h"
#include "size/size_class.h"

#define GRANULES_MAX 32u

static _Atomic size_t absent_bytes; /* relaxed: a statistic */

unsigned wr_granule_shift(size_t slab_bytes)
{
    size_t bytes = wr_max(slab_bytes / GRANULES_MAX, wr_host_page_bytes());
    return wr_highest_bit(bytes - 1) + 1;
}

static unsigned granule_count(const wr_span *slab, unsigned shift)
{
    return (unsigned)(slab->bytes >> shift); /* whole: both are multiples of a slice's parts */
}

/* True if the blocks from first to last (included) are all free. */
static bool are_free(const wr_span *slab, unsigned first, unsigned last)
{
    while (first <= last) {
        unsigned bit = first % WR_WORD_BITS;
        unsigned count = WR_WORD_BITS - bit;
        count = count < last - first + 1 ? count : last - first + 1;
        uint64_t mask = wr_mask(bit, count);
        /* Observes what the last users did in the blocks, before their pages go; pairs with
         * wr_slab_put(). */
        if ((wr_load_acquire(&slab->free_bits[first / WR_WORD_BITS]) & mask) != mask) {
            return false;
        }
        first += count;
    }
    return true;
}

/* The granules in which no block is in use. What lies behind the last block is free. */
static uint32_t free_granules(const wr_span *slab, unsigned shift)
{
    uint32_t mask = 0;
    for (unsigned g = 0; g < granule_count(slab, shift); g++) {
        uint32_t start = (uint32_t)g << shift;
        uint32_t end = start + (1u << shift) - 1;
        unsigned first = wr_size_class_divide(start, slab->reciprocal);
        unsigned last = wr_size_class_divide(end, slab->reciprocal);
        last = last < slab->blocks ? last : slab->blocks - 1u;
        if (first >= slab->blocks || are_free(slab, first, last)) {
            mask |= (uint32_t)1 << g;
        }
    }
    return mask;
}

static size_t bytes_of(unsigned shift, uint32_t mask)
{
    return (size_t)wr_count_bits(mask) << shift;
}

bool wr_granule_bring_back(wr_span *slab)
{
    unsigned shift = wr_granule_shift(slab->bytes);
    if (!wr_extent_charge((size_t)1 << shift)) {
        return false;
    }
    uint32_t absent = wr_granule_absent(slab);
    wr_granule_set_absent(slab, absent & (absent - 1));
    (void)wr_fetch_sub_relaxed(&absent_bytes, (size_t)1 << shift);
    return true;
}

/* Purges one run of granules; returns its mask, or 0 when the kernel refuses. */
static uint32_t purge_run(wr_span *slab, unsigned shift, unsigned first, unsigned count)
{
    uintptr_t start = slab->start + ((size_t)first << shift);
    return wr_vm_purge((void *)start, (size_t)count << shift) ? (uint32_t)wr_mask(first, count) : 0;
}

size_t wr_granule_purge(wr_span *slab, bool at_once)
{
    unsigned shift = wr_granule_shift(slab->bytes);
    uint32_t present = free_granules(slab, shift) & ~wr_granule_absent(slab);
    uint32_t purged = 0;
    /* Where huge pages are asked for, the kernel would bring small holes back. */
    uint32_t wanted = wr_huge_is_asked() ? 0 : at_once ? present : present & slab->stale;
    for (uint32_t left = wanted; left != 0;) {
        unsigned first = wr_lowest_bit(left);
        unsigned count = wr_lowest_bit(~((uint64_t)left >> first));
        purged |= purge_run(slab, shift, first, count);
        left &= ~(uint32_t)wr_mask(first, count);
    }
    wr_granule_set_absent(slab, wr_granule_absent(slab) | purged);
    slab->stale = present & ~purged;
    size_t bytes = bytes_of(shift, purged);
    (void)wr_fetch_add_relaxed(&absent_bytes, bytes);
    wr_commit_refund(bytes);
    return bytes;
}

bool wr_granule_all_stale(const wr_span *slab)
{
    unsigned count = granule_count(slab, wr_granule_shift(slab->bytes));
    return (wr_granule_absent(slab) | slab->stale) == (uint32_t)wr_mask(0, count);
}

void wr_granule_release(wr_span *slab, size_t slices)
{
    uintptr_t start = slab->start;
    size_t bytes = slices * WR_SLICE_BYTES;
    size_t absent = bytes_of(wr_granule_shift(bytes), wr_granule_absent(slab));
    if (absent == 0) {
        wr_slice_release(start, slices);
        return;
    }
    (void)wr_fetch_sub_relaxed(&absent_bytes, absent);
    if (wr_vm_purge((void *)start, bytes)) {
        wr_commit_refund(bytes - absent);
        wr_slice_release_refunded(start, slices);
    } else {
        wr_commit_recharge(absent);
        wr_slice_release(start, slices);
    }
}

static void add_absent(wr_region *region, unsigned slice, void *bytes)
{
    /* Relaxed: the child has one thread. */
    const wr_span *span = wr_load_relaxed(&region->span[slice]);
    if (wr_span_kind_of(span) == WR_SPAN_SLAB) {
        unsigned shift = wr_granule_shift(wr_size_classes[span->class].slices * WR_SLICE_BYTES);
        *(size_t *)bytes += bytes_of(shift, wr_granule_absent(span));
    }
}

size_t wr_granule_recover(void)
{
    size_t bytes = 0;
    wr_span_each(add_absent, &bytes);
    wr_store_relaxed(&absent_bytes, bytes);
    return bytes;
}

size_t wr_granule_absent_bytes(void)
{
    return wr_load_relaxed(&absent_bytes);
}
