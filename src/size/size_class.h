/* Size classes: which block serves which request, and how a slab of them is cut.
 *
 * Class 0 is no plain block; classes 1 to WR_CLASS_COUNT - 1 ascend in size. Small ones, up to
 * WR_SMALL_MAX_BYTES: the class of a block is a pure function of the (size, alignment) last asked
 * for, whatever its history; sized frees rest on that. Medium ones, up to WR_MEDIUM_MAX_BYTES:
 * what asks for such a size may get another kind of memory as well (heap/alloc.h).
 * Tables come from generate.py. Constant data: any thread, any time. */
#ifndef WR_SIZE_SIZE_CLASS_H
#define WR_SIZE_SIZE_CLASS_H

#include "base/bits.h"
#include "base/config.h"

#define WR_CLASS_COUNT      55u
#define WR_CLASS_NONE       0u
#define WR_SMALL_MAX_BYTES  ((size_t)32768)
#define WR_MEDIUM_MAX_BYTES ((size_t)131072)
#define WR_CLASS_STEP       8u
/* Up to here the table of classes has an entry for each size, above for each of these steps. */
#define WR_FINE_MAX_BYTES ((size_t)1024)
#define WR_COARSE_STEP    128u
/* Most blocks in a slab (8 bytes in one slice), and most slices of a slab. */
#define WR_SLAB_BLOCKS_MAX 8192u
#define WR_SLAB_SLICES_MAX 8u

/* A class as the tables hold it: its mark, the distance in bytes of its word in an array of words
 * by class, so that the fast path finds the words of a bin by one addition. */
typedef uint16_t wr_class_mark;
#define WR_CLASS_MARK_UNIT 8u

WR_INLINE wr_class_mark wr_class_mark_of(unsigned class)
{
    return (wr_class_mark)(class * WR_CLASS_MARK_UNIT);
}

typedef struct wr_size_class {
    uint32_t block_bytes;
    uint32_t reciprocal; /* ceil(2^31 / (block_bytes / 8)): see wr_size_class_divide */
    uint16_t blocks;     /* blocks of a slab */
    uint16_t slices;     /* slices of a slab */
} wr_size_class;

extern const wr_size_class wr_size_classes[WR_CLASS_COUNT];
/* The marks by size, in bytes and in coarse steps. */
extern const wr_class_mark wr_size_fine_marks[WR_FINE_MAX_BYTES + 1];
extern const wr_class_mark wr_size_coarse_marks[WR_SMALL_MAX_BYTES / WR_COARSE_STEP + 1];

/* Finds the mark of the class of a request, if that is small; 0 bytes get the smallest block. */
WR_INLINE bool wr_size_find_mark(size_t size, size_t *mark)
{
    if (WR_LIKELY(size <= WR_FINE_MAX_BYTES)) {
        *mark = wr_size_fine_marks[size];
        return true;
    }
    if (size <= WR_SMALL_MAX_BYTES) {
        *mark = wr_size_coarse_marks[(size + (WR_COARSE_STEP - 1)) / WR_COARSE_STEP];
        return true;
    }
    return false;
}

/* Class of a request of at most WR_SMALL_MAX_BYTES. */
WR_INLINE unsigned wr_size_class_of(size_t size)
{
    size_t mark = 0;
    (void)wr_size_find_mark(size, &mark);
    return (unsigned)(mark / WR_CLASS_MARK_UNIT);
}

/* offset / block_bytes by multiplication, both in steps of 8 bytes; exact for every offset inside a
 * slab: rounding up makes the reciprocal too large by less than 1, hence the quotient by less than
 * offset / 8 / 2^31. That must not reach the next whole number, which is at least 8 / block_bytes
 * away. */
#define WR_RECIPROCAL_BITS 31
_Static_assert(((uint64_t)1 << WR_RECIPROCAL_BITS) /
                       (WR_SLAB_SLICES_MAX * WR_SLICE_BYTES / WR_CLASS_STEP) >=
                   WR_MEDIUM_MAX_BYTES / WR_CLASS_STEP,
               "offset times block_bytes stays within 2^31 steps by steps");
_Static_assert(((uint64_t)1 << WR_RECIPROCAL_BITS) <= UINT32_MAX,
               "the reciprocal of the smallest block fits its field");
WR_INLINE uint32_t wr_size_class_divide(uint32_t offset, uint32_t reciprocal)
{
    return (uint32_t)((uint64_t)(offset / WR_CLASS_STEP) * reciprocal >> WR_RECIPROCAL_BITS);
}

/* Blocks from one that starts at a border of cache lines to the next that does: they share no line
 * with others. 1 for blocks of whole lines; what larger ones share matters less, and counts as 1
 * too. */
WR_INLINE unsigned wr_size_line_blocks(uint32_t block_bytes)
{
    const unsigned line_bytes = WR_CACHE_LINE_BYTES;
    return block_bytes >= line_bytes ? 1 : line_bytes >> wr_lowest_bit(block_bytes);
}

/* Small class for a block of size bytes at a multiple of alignment (a power of two), or
 * WR_CLASS_NONE if none has such blocks. Equal to wr_size_class_of for an alignment of 8 and less.
 */
unsigned wr_size_class_of_aligned(size_t size, size_t alignment);

/* Medium class for a block of size bytes at a multiple of alignment, one of the two above
 * WR_SMALL_MAX_BYTES; WR_CLASS_NONE if none has such blocks. */
unsigned wr_size_class_of_medium(size_t size, size_t alignment);

#endif
