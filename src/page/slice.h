/* Slices: claiming and releasing runs of them, lowest address first.
 *
 * | operation | with any other   | progress                                                    |
 * | claim     | may run together | lock-free: fails or starts over only when another claimed,  |
 * |           |                  | if only for a moment                                        |
 * | release   | may run together | wait-free                                                   |
 * A run is claimed word by word in ascending order and given back if a later word has lost a bit.
 * A bit that is set means available, whoever set it last: no ABA. Regions are never unmapped. */
#ifndef WR_PAGE_SLICE_H
#define WR_PAGE_SLICE_H

#include "page/region.h"

/* States of a slice: absent (not weir's), available (bit set: in the page heap), claimed (bit
 * clear: one thread's). Transitions: wr_slice_add absent -> available; wr_slice_claim* available ->
 * claimed; wr_slice_release* claimed -> available; wr_slice_drop claimed -> absent. dirty and zero
 * bits tell of an available slice: dirty, zero, or neither: lazy, purged at the kernel's leisure.
 * They belong to whoever has the slice claimed; claiming takes them over with the slice: after a
 * claim both are clear.
 *
 * Claimed, dirty and lazy slices are charged (page/commit). Invariants, at rest, in each word:
 * dirty and zero within available; dirty & zero == 0; and that of summary.h for the words of
 * `available`. */

/* Claims the lowest run of `count` slices that one region has; or a higher one, where a thread that
 * claimed meanwhile has overlooked it. Returns its address, or 0 when there is none, or
 * WR_SLICE_REFUSED when the limit on committed bytes (page/commit) forbids it; *zero tells whether
 * all of it reads as zero. */
uintptr_t wr_slice_claim(size_t count, bool *zero);
#define WR_SLICE_REFUSED ((uintptr_t)1) /* no slice has this address */

/* Claims exactly the `count` slices from address on, within one region; false if any is not
 * available, or the limit forbids it. */
bool wr_slice_claim_at(uintptr_t address, size_t count, bool *zero);

/* Gives slices back that nobody has touched since their claim, which told `zero` of them. */
void wr_slice_unclaim(uintptr_t address, size_t count, bool zero);

/* Gives claimed slices back; they may hold anything. */
void wr_slice_release(uintptr_t address, size_t count);

/* Gives claimed slices back that read as zero and have no page frames. */
void wr_slice_release_purged(uintptr_t address, size_t count);

/* The same of slices whose charge has been refunded. */
void wr_slice_release_refunded(uintptr_t address, size_t count);

/* Gives claimed slices back that the kernel may take the frames of when it likes. */
void wr_slice_release_lazy(uintptr_t address, size_t count);

/* Claimed slices have gone back to the kernel for good. */
void wr_slice_drop(size_t count);

/* Brings new zero memory from the kernel into the page heap; the region exists. */
void wr_slice_add(uintptr_t address, size_t count);

/* Slices that are available and dirty; a statistic that steers purging. */
size_t wr_slice_dirty_count(void);

/* Length of the run of available slices that ends at `end`, within one region, as it is now. */
size_t wr_slice_count_below(uintptr_t end);

/* Slices that are available and lazy; a statistic. */
size_t wr_slice_lazy_count(void);

/* Slices that are in the page heap or claimed from it. */
size_t wr_slice_total_count(void);

/* After fork, in the child: marks words that a dead thread had yet to mark, makes searches start at
 * the lowest word, and counts anew what is dirty. */
void wr_slice_recover(void);

/* Debug builds: the invariants above, while no other thread uses the region's slices. */
void wr_slice_assert_valid(wr_region *region);

#endif
