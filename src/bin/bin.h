/* Bins: the central store of one size class of one heap. A bin hands blocks to threads' caches in
 * batches and takes them back; its slabs with free blocks that nobody owns are listed in the index,
 * a bitmap by address, so that the lowest is found in a few loads.
 *
 * Index bit of a slab: set by its lister after LISTED, cleared by the one thread that claims it.
 * Pairs and races are argued in slab.h. A bin knows its heap; all functions take the bin.
 *
 * | operation | progress                                                                      |
 * | refill    | lock-free; blocking only where the page heap has to grow (page/extent)        |
 * | return    | lock-free                                                                     |
 * | give up   | lock-free                                                                     |
 * A thread that stops in the middle holds back at most the slab it works on and its batch. */
#ifndef WR_BIN_BIN_H
#define WR_BIN_BIN_H

#include "bin/slab.h"

struct wr_heap;

typedef struct wr_bin {
    struct wr_heap *heap;    /* whose bin it is; constant */
    uint32_t class;          /* constant */
    _Atomic uint32_t spares; /* 1 while the bin keeps an empty slab listed; who sets it has it */
    _Atomic size_t slabs;    /* slabs in use; statistic, relaxed */
} wr_bin;

/* Takes up to `most` (1 to WR_BATCH_BLOCKS) blocks in ascending order of address into out. *kept is
 * the slab that the caller owns and tried first, or NULL; on return it is the slab that the blocks
 * came from, owned by the caller. Returns how many: 0 when the kernel refuses memory. */
unsigned wr_bin_refill(wr_bin *bin, wr_span **kept, unsigned most, void **out);

/* Gives up a slab that the caller owns. */
void wr_bin_give_up(wr_span *slab);

/* After fork, in the child, for the bins (by class) of a heap: marks index words that a dead thread
 * had yet to mark, and forgets spares that it had yet to list. */
void wr_bin_recover(wr_bin *bins);

/* Returns blocks of slabs, of any bins, to where they came from. Sorts the array by address. Misuse
 * (no block start, block already free) is reported in the name of `function` and aborts. */
void wr_bin_return(unsigned count, void **blocks, const char *function);

#endif
