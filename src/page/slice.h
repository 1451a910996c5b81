/* Slices: claiming and releasing runs of them, lowest address first.
 *
 * States of a slice: absent (not weir's), available (bit set: in the page heap), claimed (bit
 * clear: one thread's). Transitions: wr_slice_add absent -> available; wr_slice_claim* available ->
 * claimed; wr_slice_release claimed -> available. dirty and zero bits belong to whoever has the
 * slice claimed; claiming takes them over with the slice: after a claim both are clear.
 *
 * | operation | with any other   | progress                                                    |
 * | claim     | may run together | lock-free: fails or starts over only when another claimed,  |
 * |           |                  | if only for a moment                                        |
 * | release   | may run together | wait-free                                                   |
 * A run is claimed word by word in ascending order and given back if a later word has lost a bit.
 * A bit that is set means available, whoever set it last: no ABA. Regions are never unmapped.
 * Claimed and dirty slices are charged (page/commit). Invariants, at rest, in each word: dirty |
 * zero == available; dirty & zero == 0; and that of summary.h for the words of `available`. */
#ifndef WR_PAGE_SLICE_H
#define WR_PAGE_SLICE_H

#include "page/region.h"

/* Claims the lowest run of `count` slices that one region has. Returns its address, or 0 when there
 * is none, or WR_SLICE_REFUSED when the limit on committed bytes (page/commit) forbids it; *zero
 * tells whether all of it reads as zero. */
uintptr_t wr_slice_claim(size_t count, bool *zero);
#define WR_SLICE_REFUSED ((uintptr_t)1) /* no slice has this address */

/* Claims exactly the `count` slices from address on, within one region; false if any is not
 * available, or the limit forbids it. */
bool wr_slice_claim_at(uintptr_t address, size_t count, bool *zero);

/* Gives claimed slices back; they may hold anything. */
void wr_slice_release(uintptr_t address, size_t count);

/* Gives claimed slices back that read as zero and have no page frames. */
void wr_slice_release_purged(uintptr_t address, size_t count);

/* Brings new zero memory from the kernel into the page heap; the region exists. */
void wr_slice_add(uintptr_t address, size_t count);

/* Slices that are available and dirty; a statistic that steers purging. */
size_t wr_slice_dirty_count(void);

/* Slices that are in the page heap or claimed from it. */
size_t wr_slice_total_count(void);

/* After fork, in the child: marks words that a dead thread had yet to mark, and counts anew what is
 * dirty. */
void wr_slice_recover(void);

/* Debug builds: the invariants above, while no other thread uses the region's slices. */
void wr_slice_assert_valid(wr_region *region);

#endif
