/* Bins: the central store of one size class of one heap. A bin hands blocks to threads' caches in
 * batches and takes them back; its slabs with free blocks that nobody owns are listed in the index,
 * a bitmap by address, so that the lowest is found in a few loads.
 *
 * Index bit of a slab: set by its lister after LISTED, cleared by the one thread that claims it.
 * Pairs and races are argued in slab.h. A bin knows its heap; all functions take the bin.
 *
 * | operation | progress                                                                      |
 * | refill    | lock-free; blocking only where the page heap has to grow (page/extent)        |
 * | add       | lock-free                                                                     |
 * | give up   | lock-free                                                                     |
 * A thread that stops in the middle holds back at most the slab it works on and its batch; slabs
 * that the batch goes to are not listed for it until it goes on. */
#ifndef WR_BIN_BIN_H
#define WR_BIN_BIN_H

#include "bin/slab.h"

struct wr_heap;

typedef struct wr_bin {
    struct wr_heap *heap;    /* whose bin it is; constant */
    uint32_t class;          /* constant */
    _Atomic uint32_t spares; /* 1 while the bin keeps an empty slab listed; who sets it has it */
    _Atomic uint32_t sparse; /* 1 while caches should not take back blocks of it; a hint */
    _Atomic size_t slabs;    /* slabs in use; statistic, relaxed */
} wr_bin;

/* Takes up to `most` (1 to WR_BATCH_BLOCKS) blocks into out, in ascending order of address (those
 * on purged pages after the others). *kept is the slab that the caller owns and tried first, or
 * NULL; on return it is the slab that the blocks came from, owned by the caller. Returns how many:
 * 0 when the kernel refuses memory. */
unsigned wr_bin_refill(wr_bin *bin, wr_span **kept, unsigned most, void **out);

/* A block for a caller that keeps no slab; NULL when the kernel refuses memory. */
void *wr_bin_take(wr_bin *bin);

/* True while most of the bin's slabs are far from full: blocks that come back belong into their
 * slabs then, so that some of them empty. */
WR_INLINE bool wr_bin_is_sparse(const wr_bin *bin)
{
    return wr_load_relaxed(&bin->sparse) != 0; /* a hint */
}

/* `count` blocks have been put into a slab (wr_slab_put): adds them, and lists the slab or looks
 * after it where that has become the caller's to do. */
void wr_bin_add(wr_span *slab, unsigned count);

/* Gives up a slab that the caller owns. */
void wr_bin_give_up(wr_span *slab);

/* After fork, in the child, for the bins (by class) of a heap: marks index words that a dead thread
 * had yet to mark, and forgets spares that it had yet to list. */
void wr_bin_recover(wr_bin *bins);

/* What a look at a bin's slabs found. */
typedef struct wr_bin_census {
    size_t slabs;        /* slabs in use */
    size_t blocks;       /* blocks of those */
    size_t free_blocks;  /* blocks that are free in them; without slabs that threads own */
    size_t absent_bytes; /* bytes of the slabs looked at whose page frames are given back */
    size_t purged_bytes; /* given back by this look, not counting slabs that were retired */
    size_t stale_bytes;  /* free whole pages that are present: what the next look may give back */
} wr_bin_census;

/* How much of what is free goes back. */
typedef enum wr_trim {
    WR_TRIM_STALE, /* what was free at the last look with this too: whole slabs, and granules */
    WR_TRIM_SLABS, /* whole slabs */
    WR_TRIM_ALL,   /* whole slabs, and granules of the others */
} wr_trim;

/* Looks at each listed slab of the bin: one all of whose blocks are free, the spare too, is
 * retired, and granules (bin/granule.h) of others give up their page frames. Slabs that threads own
 * are left alone. Lock-free; holds one slab at a time. */
void wr_bin_trim(wr_bin *bin, wr_trim how, wr_bin_census *census);

#endif
