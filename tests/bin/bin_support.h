/* What the tests of the bin layer share: bins by block size, whole slabs, and a bin at rest. */
#ifndef WEIR_TESTS_BIN_BIN_SUPPORT_H
#define WEIR_TESTS_BIN_BIN_SUPPORT_H

#include "support.h"

#include "bin/bin.h"
#include "bin/return.h"
#include "heap/heap.h"

static inline wr_bin *bin_of(size_t block_bytes)
{
    return &wr_heap_default.bins[wr_size_class_of(block_bytes)];
}

static inline size_t slabs_of(const wr_bin *bin)
{
    return wr_load_relaxed(&bin->slabs);
}

static inline wr_span *slab_of(const void *block)
{
    wr_span *slab = wr_span_find((uintptr_t)block);
    CHECK(slab != NULL && wr_span_kind_of(slab) == WR_SPAN_SLAB);
    return slab;
}

static inline int64_t flags_of(const wr_span *slab)
{
    return wr_load_relaxed(&slab->state) & (WR_SLAB_OWNED | WR_SLAB_LISTED);
}

static inline void return_blocks(unsigned count, void **list)
{
    for (unsigned done = 0; done < count;) {
        unsigned n = (unsigned)wr_min(count - done, WR_BATCH_BLOCKS);
        wr_return(n, list + done, "free");
        done += n;
    }
}

/* Takes every block of one slab that had no block out; the slab is the caller's. */
static inline wr_span *take_slab(wr_bin *bin, void **out)
{
    wr_span *kept = NULL;
    unsigned taken = wr_bin_refill(bin, &kept, 1, out);
    assert_int_equal(taken, 1);
    while (taken < kept->blocks) {
        unsigned n = (unsigned)wr_min(kept->blocks - taken, WR_BATCH_BLOCKS);
        assert_int_equal(wr_bin_refill(bin, &kept, n, out + taken), n);
        taken += n;
    }
    assert_ptr_equal(slab_of(out[0]), kept);
    assert_ptr_equal(slab_of(out[taken - 1]), kept);
    return kept;
}

/* The bin at rest with no block out: one slab at most, its spare, listed and indexed. */
static inline void assert_at_rest(wr_bin *bin)
{
    assert_true(slabs_of(bin) <= 1);
    assert_int_equal(wr_load_relaxed(&bin->spares), slabs_of(bin));
    if (slabs_of(bin) == 1) {
        wr_span *kept = NULL;
        void *block;
        assert_int_equal(wr_bin_refill(bin, &kept, 1, &block), 1);
        assert_int_equal(slabs_of(bin), 1); /* it was found by the index */
        assert_int_equal(wr_slab_count_racy(kept), kept->blocks - 1);
        wr_slab_assert_valid(kept);
        wr_return(1, &block, "free");
        wr_bin_give_up(kept);
        assert_int_equal(flags_of(kept), WR_SLAB_LISTED);
    }
}

#endif
