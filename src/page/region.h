/* Regions: 4 GiB windows of address space, and the tables that answer every question about an
 * address: which class of block, which span, which slices are available, which slabs are listed.
 *
 * A region's metadata is made when weir first gets memory in its window, is zero memory outside the
 * heap, and is never unmapped: a pointer to a region stays good for ever. It costs about 1 MiB of
 * addresses, and page frames only where slices are in use.
 * This file knows the tables, not the protocols: slice.h owns the slice words, span.h the class
 * bytes, span pointers and head bits, bin/ the index. Threads: any. */
#ifndef WR_PAGE_REGION_H
#define WR_PAGE_REGION_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "page/summary.h"
#include "size/size_class.h"

struct wr_span;

/* The bits of 64 slices. */
typedef struct wr_slice_word {
    _Atomic uint64_t available; /* in the page heap, claimable; set and cleared by slice.c */
    _Atomic uint64_t dirty;     /* has page frames of earlier use; written by who has the slice */
    _Atomic uint64_t zero;      /* reads as zero; written by who has the slice */
    _Atomic uint64_t head;      /* first slice of a span in use; written by span.c */
} wr_slice_word;

typedef struct wr_region {
    _Atomic wr_class_mark mark[WR_REGION_SLICES];     /* class mark of the slab there, else 0 */
    _Atomic(struct wr_span *) span[WR_REGION_SLICES]; /* descriptor of the span that starts there */
    wr_slice_word slices[WR_SUMMARY_WORDS];
    /* Per 64 slices and class: the slabs that are listed. The words of 4 MiB of heap lie together,
     * so a small program touches one page of them. */
    _Atomic uint64_t listed[WR_SUMMARY_WORDS][WR_CLASS_COUNT];
    /* From here on in one page, as far as a small program needs it. */
    uintptr_t base;             /* first address; constant */
    _Atomic unsigned place;     /* its number + 1; set by any who obtains it */
    wr_summary available_words; /* words of `slices[].available` that are non-zero */
    /* Hints: where slice.c begins to look for runs. On a line of its own, as class 0 lists nothing.
     */
    WR_CACHE_ALIGNED _Atomic uint64_t search_starts;
    wr_summary listed_words[WR_CLASS_COUNT]; /* words of `listed` that are non-zero, by class */
} wr_region;

_Static_assert(WR_REGION_SLICES == WR_SUMMARY_WORDS * WR_WORD_BITS, "a summary covers a region");
_Static_assert(sizeof(_Atomic uint64_t) == 8, "atomic words are plain words");

/* The regions by address >> 32, each as its distance from `none`; 0 where weir has nothing: then
 * `none`, which stays zero, stands in for the region's class marks, and the fast path has no test
 * for it. An entry is set once and stays. */
typedef struct wr_region_map {
    _Atomic wr_class_mark none[WR_REGION_SLICES];
    _Atomic uintptr_t distance[WR_REGIONS_MAX];
} wr_region_map;

extern wr_region_map wr_regions;

_Static_assert(WR_REGION_SHIFT == 32, "a slice is numbered by 32 bits of its address");
_Static_assert(offsetof(wr_region, mark) == 0, "none stands in for a region's first field");

/* The table's index wraps at 48 bits: tags in the upper bits are ignored here, and wrong pointers
 * are found out where their block is looked up by its full address. */
WR_INLINE size_t wr_region_number(uintptr_t address)
{
    return (uint16_t)(address >> WR_REGION_SHIFT);
}

WR_INLINE wr_region *wr_region_at_distance(uintptr_t distance)
{
    return distance == 0 ? NULL : (wr_region *)((uintptr_t)&wr_regions.none + distance);
}

/* The region of a window, or null; for who has no address of weir's in it. */
WR_INLINE wr_region *wr_region_in_window(size_t number)
{
    /* Observes the region's fields; pairs with wr_region_obtain(). */
    return wr_region_at_distance(wr_load_acquire(&wr_regions.distance[number]));
}

/* The region of an address, or null. Relaxed: who has an address of weir's got it from a thread
 * that made the region, in an order of the program's own; for others null is as good. */
WR_INLINE wr_region *wr_region_of(uintptr_t address)
{
    return wr_region_at_distance(wr_load_relaxed(&wr_regions.distance[wr_region_number(address)]));
}

/* Number of a slice within its region. */
WR_INLINE unsigned wr_slice_number(uintptr_t address)
{
    return (uint32_t)address >> WR_SLICE_SHIFT;
}

/* Class mark of the slab that an address lies in; that of WR_CLASS_NONE for all else. Relaxed: who
 * frees a block got it after the mark was set, in an order of the program's own. */
WR_INLINE size_t wr_region_mark_of(uintptr_t address)
{
    size_t slice = wr_slice_number(address);
    uintptr_t marks = (uintptr_t)&wr_regions.none;
    marks += wr_load_folded(uintptr_t, &wr_regions.distance[wr_region_number(address)]);
    WR_FORGET(marks);
    return wr_load_folded(wr_class_mark, (_Atomic wr_class_mark *)marks + slice);
}

/* The class itself. */
WR_INLINE unsigned wr_region_class_of(uintptr_t address)
{
    return (unsigned)(wr_region_mark_of(address) / WR_CLASS_MARK_UNIT);
}

/* The same of a slice. */
WR_INLINE unsigned wr_region_class_in(const wr_region *region, unsigned slice)
{
    return wr_load_relaxed(&region->mark[slice]) / WR_CLASS_MARK_UNIT;
}

WR_INLINE uintptr_t wr_slice_address(const wr_region *region, unsigned slice)
{
    return region->base + ((uintptr_t)slice << WR_SLICE_SHIFT);
}

/* The region of an address, made if need be; null when the kernel refuses memory. Lock-free. On
 * return the region has a number, whoever made it. */
wr_region *wr_region_obtain(uintptr_t address);

/* Regions in the order they were made, for those who look for memory: number 0 upwards, null from
 * the count on. */
unsigned wr_region_count(void);
wr_region *wr_region_at(unsigned number);

#endif
