/* The shadow: a record beside each block of check mode, found by the block's address, out of the
 * program's reach.
 *
 * One mapping for each region that has checked blocks, as large as the region; page frames are used
 * only where there are blocks. Blocks of check mode have at least WR_SHADOW_UNIT_BYTES, so each has
 * a record of its own. Records are never unmapped: they can be read however late. Threads: any.
 *
 * | operation | progress                                                      |
 * | obtain    | lock-free: the mapping is made by whoever comes first          |
 * | find      | wait-free                                                      | */
#ifndef WR_DIAG_SHADOW_H
#define WR_DIAG_SHADOW_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/compiler.h"
#include "diag/stack.h"

/* The states of a block:
 *     NEVER -> LIVE            who allocated it
 *     LIVE -> QUARANTINED      the one thread that frees it, CAS; a second free finds another state
 *     LIVE -> EXAMINED -> LIVE a check of the whole heap, CAS; who frees waits for it
 *     QUARANTINED -> FREE      who takes it out of the quarantine and gives it back to the heap
 *     FREE -> LIVE             who allocated it again
 * Fields other than the state belong to who made the last transition; others read them for reports,
 * relaxed: what they tell is a hint where the program races. */
typedef enum wr_block_state {
    WR_BLOCK_NEVER,
    WR_BLOCK_LIVE,
    WR_BLOCK_EXAMINED,
    WR_BLOCK_QUARANTINED,
    WR_BLOCK_FREE,
} wr_block_state;

typedef struct wr_record {
    _Atomic uint32_t state;     /* a wr_block_state */
    _Atomic uint32_t tag;       /* family and alignment, see wr_record_tag() */
    _Atomic uintptr_t address;  /* of the program's bytes */
    _Atomic size_t size;        /* how many it asked for */
    _Atomic uint32_t allocated; /* stack of the allocation */
    _Atomic uint32_t freed;     /* stack of the free, once there was one */
} wr_record;

/* Who may free a block (a wr_check_family), and the alignment that was asked for: a power of two,
 * or 0 for the functions' own. */
WR_INLINE uint32_t wr_record_tag(uint32_t family, size_t alignment)
{
    return family | (alignment == 0 ? 0 : wr_lowest_bit(alignment) + 1) << 8;
}

WR_INLINE uint32_t wr_record_family(uint32_t tag)
{
    return tag & 0xff;
}

WR_INLINE size_t wr_record_alignment(uint32_t tag)
{
    return tag >> 8 == 0 ? 0 : (size_t)1 << ((tag >> 8) - 1);
}

#define WR_SHADOW_UNIT_BYTES sizeof(wr_record)
_Static_assert(sizeof(wr_record) == 32, "a record for each 32 bytes");

/* The record of the block that begins at `block`; NULL when the kernel refuses memory. */
wr_record *wr_shadow_obtain(uintptr_t block);

/* The same; NULL if no block of the region ever had one. */
wr_record *wr_shadow_find(uintptr_t block);

#endif
