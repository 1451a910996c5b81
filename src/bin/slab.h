/* Slabs: spans cut into equal blocks, with one bit per block (set = free in the slab) and one state
 * word, outside the blocks. No free lists, so a write through a stale pointer reaches no structure
 * of weir's, and a block that is freed twice is seen as a bit that was set already.
 *
 * | operation       | with any other                        | progress                          |
 * | take            | owner only; with puts                 | wait-free: one step a bitmap word |
 * | put             | any thread; with everything           | wait-free                         |
 * | add             | any thread that has put; likewise     | lock-free                         |
 * | disown, claimed | owner only; with puts and adds        | lock-free, wait-free              |
 */
#ifndef WR_BIN_SLAB_H
#define WR_BIN_SLAB_H

#include <limits.h>

#include "page/span.h"

/* The state word:
 *     63                                    2        1        0
 *     +--------------------------------------+--------+--------+
 *     | free blocks, signed                  | LISTED | OWNED  |
 *     +--------------------------------------+--------+--------+
 * The count is signed: who takes clears bits before it subtracts, who puts sets bits before it
 * adds, so a taker may subtract what a putter has not added yet.
 *
 * Flags (never both):
 *     none    nobody's; has no free block, or a putter is about to list it
 *     LISTED  in its bin's index, or its lister is about to set the index bit
 *     OWNED   one thread's, who alone takes blocks from it; or retired (out of use)
 *
 *     from          to       by
 *     OWNED new     OWNED    wr_slab_open
 *     OWNED         LISTED   wr_slab_disown, count > 0             then sets the index bit
 *     OWNED         none     wr_slab_disown, count <= 0
 *     none          LISTED   wr_slab_add, count > 0, CAS           then sets the index bit
 *     LISTED        OWNED    who cleared the index bit (wr_slab_claimed)
 *     OWNED         retired  wr_bin's choice when count == blocks; the state stays OWNED
 *
 * Invariants: (1) index bit set => LISTED. (2) OWNED and at rest: count == bits set. (3) count ==
 * blocks under OWNED => no block is out and no add is under way, so the slab may be retired.
 * (4) At rest a slab with count > 0 is OWNED or LISTED.
 *
 * Why a late CAS is harmless: a putter that stalls between its add and its CAS (none -> LISTED)
 * holds nothing. Descriptors are type-stable, a retired slab is OWNED, so the CAS fails there; if
 * it succeeds on a later life of the slab, that life had no flag and count > 0 and needed listing,
 * and the winner reads the bin only then. So the ABA that can happen does no harm. */
#define WR_SLAB_OWNED       1
#define WR_SLAB_LISTED      2
#define WR_SLAB_COUNT_SHIFT 2

WR_INLINE int64_t wr_slab_state_count(int64_t state)
{
    return state >> WR_SLAB_COUNT_SHIFT;
}

/* What the caller has to do with a slab after a step on it. */
typedef enum wr_slab_duty {
    WR_SLAB_DUTY_NONE,  /* nothing */
    WR_SLAB_DUTY_LIST,  /* the caller set LISTED: it sets the index bit, then looks at the count */
    WR_SLAB_DUTY_EMPTY, /* every block is free: claim it if it is still listed, and decide */
} wr_slab_duty;

/* Makes a slab of `class` out of claimed slices at `start`, OWNED by the caller, all blocks free.
 * NULL when the kernel refuses memory for the descriptor; the slices stay the caller's. */
wr_span *wr_slab_open(uintptr_t start, unsigned class, struct wr_bin *bin);

/* Takes up to `most` blocks into out, lowest first (option harden, order: from anywhere), but those
 * on purged pages (bin/granule.h) after the others. Returns how many: 0 only when none is free,
 * WR_SLAB_REFUSED when those that are may not be used for the limit on committed bytes. */
#define WR_SLAB_REFUSED UINT_MAX
unsigned wr_slab_take(wr_span *slab, unsigned most, void **out);

/* The same in whole cache lines of free blocks alone, so that they share none with blocks of other
 * threads, and on present pages alone; 0 when the slab has none, or they are no use: blocks of a
 * line and more, `most` below a line, hardened order. */
unsigned wr_slab_take_lines(wr_span *slab, unsigned most, void **out);

/* Where a block's bit is. */
typedef struct wr_slab_place {
    uint32_t word;
    uint64_t bit;
} wr_slab_place;

/* The bit of the block that starts at address, which lies in the slab; false if no block does. */
WR_INLINE bool wr_slab_locate(const wr_span *slab, uintptr_t address, wr_slab_place *place)
{
    uint32_t offset = (uint32_t)(address - slab->start);
    uint32_t index = wr_size_class_divide(offset, slab->reciprocal);
    place->word = index / WR_WORD_BITS;
    place->bit = (uint64_t)1 << (index % WR_WORD_BITS);
    return index * slab->block_bytes == offset && index < slab->blocks;
}

/* First half of giving blocks of one bitmap word back: sets their bits. Returns the bits that were
 * set already, blocks freed twice; the count is not theirs. */
uint64_t wr_slab_put(wr_span *slab, uint32_t word, uint64_t bits);

/* Second half: adds the blocks put. With LIST the caller goes on as the enum says. */
wr_slab_duty wr_slab_add(wr_span *slab, unsigned count);

/* The owner gives the slab up. EMPTY: it is still the caller's, all its blocks are free. */
wr_slab_duty wr_slab_disown(wr_span *slab);

/* The caller has cleared the index bit and with it owns the slab: LISTED becomes OWNED. */
void wr_slab_claimed(wr_span *slab);

/* Free blocks as the state word says; exact for the owner of a slab at rest. */
int64_t wr_slab_count_racy(const wr_span *slab);

/* All of the slab's blocks are free, for its owner: it may be retired, invariant (3). */
bool wr_slab_is_whole(const wr_span *slab);

/* All of the slab's blocks are free, as a thread without a claim sees it. */
bool wr_slab_is_empty_racy(const wr_span *slab, uint32_t blocks);

/* After fork, in the child: sets the count of a slab whose owner did not survive from its bits. */
void wr_slab_recount(wr_span *slab);

/* Debug builds: invariant (2) and the shape, for the owner while no other thread uses the slab. */
void wr_slab_assert_valid(const wr_span *slab);

#endif
