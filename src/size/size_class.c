/* See size_class.h. */
#include "size/size_class.h"

#define WR_SIZE_CLASS(block_bytes, reciprocal, blocks, slices)                                     \
    {block_bytes, reciprocal, blocks, slices},

const wr_size_class wr_size_classes[WR_CLASS_COUNT] = {
    {0, 0, 0, 0}, /* class 0: no plain block */
#include "size/size_table.inc"
};

const wr_class_mark wr_size_fine_marks[WR_FINE_MAX_BYTES + 1] = {
#include "size/size_fine.inc"
};

const wr_class_mark wr_size_coarse_marks[WR_SMALL_MAX_BYTES / WR_COARSE_STEP + 1] = {
#include "size/size_coarse.inc"
};

/* Slabs start at a slice boundary, so a block is aligned to whatever divides its size. The largest
 * small class and the largest medium one are powers of two, so the search ends. */
static unsigned first_aligned(unsigned class, size_t alignment)
{
    while (alignment > WR_CLASS_STEP &&
           wr_align_down(wr_size_classes[class].block_bytes, alignment) !=
               wr_size_classes[class].block_bytes) {
        class ++;
    }
    return class;
}

unsigned wr_size_class_of_aligned(size_t size, size_t alignment)
{
    if (size > WR_SMALL_MAX_BYTES || alignment > WR_SMALL_MAX_BYTES) {
        return WR_CLASS_NONE;
    }
    /* An alignment beyond the size needs a block at least that large. */
    unsigned class =
        wr_size_class_of(alignment > WR_ALIGNMENT_BYTES ? wr_max(size, alignment) : size);
    return first_aligned(class, alignment);
}

unsigned wr_size_class_of_medium(size_t size, size_t alignment)
{
    if (size > WR_MEDIUM_MAX_BYTES || alignment > WR_SLICE_BYTES) {
        return WR_CLASS_NONE;
    }
    /* Four classes a doubling: which doubling, and which quarter of it. */
    size_t last = wr_max(size, WR_SMALL_MAX_BYTES + 1) - 1;
    unsigned doubling = wr_highest_bit(last);
    unsigned class = wr_size_class_of(WR_SMALL_MAX_BYTES) + 1;
    class += 4 * (doubling - wr_highest_bit(WR_SMALL_MAX_BYTES));
    class += (unsigned)(last >> (doubling - 2)) % 4;
    return first_aligned(class, alignment);
}
