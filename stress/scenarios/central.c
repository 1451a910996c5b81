/* Scenarios below the public functions: bins without caches in front, and the page heap's slices.
 */
#include "../harness.h"

#include <string.h>

#include "bin/bin.h"
#include "bin/return.h"
#include "heap/heap.h"
#include "page/extent.h"
#include "page/slice.h"

/* ---- bins ---- */

/* Classes with 8 to 16 blocks a slab, over 2 to 5 slices: slabs of one become those of another. */
static const size_t block_sizes[] = {7168, 8192, 14336, 16384, 28672, 32768};
#define CLASSES  (sizeof block_sizes / sizeof block_sizes[0])
#define HELD_MAX 24
#define BOXES    32

static struct mailbox bin_boxes[BOXES];

struct batch {
    struct held held[HELD_MAX];
    unsigned count;
};

static void bins_take(struct batch *batch, wr_span **kept, wr_bin *bin, uint64_t *random)
{
    void *blocks[WR_BATCH_BLOCKS];
    unsigned most = 1 + (unsigned)random_below(random, HELD_MAX - batch->count);
    unsigned got = wr_bin_refill(bin, kept, most, blocks);
    CHECK(got >= 1 && got <= most);
    for (unsigned i = 0; i < got; i++) {
        CHECK(i == 0 || blocks[i - 1] < blocks[i]);
        struct held *held = &batch->held[batch->count++];
        held->block = blocks[i];
        held->bytes = wr_size_classes[bin->class].block_bytes;
        held_stamp(held, random_next(random));
    }
}

static void bins_return(struct batch *batch, uint64_t *random)
{
    void *blocks[HELD_MAX];
    unsigned count = 1 + (unsigned)random_below(random, batch->count);
    for (unsigned i = 0; i < count; i++) {
        struct held *held = &batch->held[--batch->count];
        held_check(held);
        memset(held->block, 0x5a, 64);
        blocks[i] = held->block;
    }
    wr_return(count, blocks, "stress");
}

static void bins_body(unsigned number, uint64_t *random)
{
    (void)number;
    struct batch batch = {.count = 0};
    wr_span *kept = NULL;
    unsigned class = 0; /* of the kept slab */
    while (!stress_over()) {
        if (kept == NULL) {
            class = wr_size_class_of(block_sizes[random_below(random, CLASSES)]);
        }
        if (batch.count < HELD_MAX && random_below(random, 2) == 0) {
            bins_take(&batch, &kept, &wr_heap_default.bins[class], random);
        } else if (batch.count > 0) {
            bins_return(&batch, random);
        }
        if (batch.count > 0) {
            struct held *last = &batch.held[batch.count - 1];
            *last = mailbox_exchange(&bin_boxes[random_below(random, BOXES)], *last);
            batch.count -= last->block == NULL;
        }
        if (kept != NULL && random_below(random, 3) == 0) {
            wr_bin_give_up(kept);
            kept = NULL;
        }
    }
    while (batch.count > 0) {
        bins_return(&batch, random);
    }
    if (kept != NULL) {
        wr_bin_give_up(kept);
    }
}

void scenario_bins(void)
{
    stress_run(bins_body);
    for (unsigned i = 0; i < BOXES; i++) {
        struct held held = mailbox_exchange(&bin_boxes[i], (struct held){0});
        if (held.block != NULL) {
            void *block = held.block;
            wr_return(1, &block, "stress");
        }
    }
    /* Every block is back: all slabs are retired but a spare each. */
    for (unsigned i = 0; i < CLASSES; i++) {
        wr_bin *bin = &wr_heap_default.bins[wr_size_class_of(block_sizes[i])];
        CHECK(atomic_load(&bin->slabs) <= 1);
        CHECK(atomic_load(&bin->slabs) == atomic_load(&bin->spares));
    }
}

/* ---- slices ---- */

#define RUNS      8
#define RUN_LIMIT 150u /* slices: crosses up to three words */

struct run {
    uintptr_t start;
    size_t slices;
};

static void run_stamp(const struct run *run, uint64_t tag)
{
    for (size_t i = 0; i < run->slices; i++) {
        *(uint64_t *)(run->start + i * WR_SLICE_BYTES) = tag + i;
    }
}

static void run_release(struct run *run, uint64_t tag)
{
    for (size_t i = 0; i < run->slices; i++) {
        CHECK(*(uint64_t *)(run->start + i * WR_SLICE_BYTES) == tag + i);
    }
    wr_slice_release(run->start, run->slices);
    run->start = 0;
}

static void slices_body(unsigned number, uint64_t *random)
{
    struct run runs[RUNS] = {{0, 0}};
    uint64_t tag = ((uint64_t)number + 1) << 32;
    while (!stress_over()) {
        struct run *run = &runs[random_below(random, RUNS)];
        if (run->start != 0) {
            run_release(run, tag);
            continue;
        }
        bool zero;
        run->slices = 1 + random_below(random, random_below(random, 4) == 0 ? RUN_LIMIT : 8);
        run->start = wr_extent_claim(run->slices, &zero);
        CHECK(run->start != 0);
        for (size_t i = 0; zero && i < run->slices; i++) {
            CHECK(*(uint64_t *)(run->start + i * WR_SLICE_BYTES) == 0);
        }
        run_stamp(run, tag);
    }
    for (unsigned i = 0; i < RUNS; i++) {
        if (runs[i].start != 0) {
            run_release(&runs[i], tag);
        }
    }
}

void scenario_slices(void)
{
    stress_run(slices_body);
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_slice_assert_valid(wr_region_at(r));
    }
}
