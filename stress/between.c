/* weir_stress_between: what others may do between two steps of an operation.
 *
 * For each pair of operations below and each n: one operation runs, and at its n-th atomic step the
 * other runs in full; then the first goes on. n grows until the operation ends before its n-th
 * step. The same with the two exchanged. All in one thread, so that each run takes the same course.
 * Exits with 0; prints one line and aborts otherwise.
 */
#include "harness.h"
#include "steps.h"

#include <stdio.h>
#include <string.h>

#include "api/fast.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "cache/steal.h"
#include "heap/heap.h"
#include "os/vm.h"
#include "page/extent.h"
#include "page/meta.h"
#include "page/purge.h"
#include "page/slice.h"

#define BLOCK_BYTES ((size_t)8192)
#define BLOCKS      8u         /* in a slab of one slice */
#define STOCK_BYTES (48 * MIB) /* free memory of the page heap, so that it need not grow */

/* ---- what must hold at rest ---- */

static void check_slices(size_t available)
{
    size_t found = 0;
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            uint64_t bits = atomic_load(&region->slices[w].available);
            uint64_t dirty = atomic_load(&region->slices[w].dirty);
            uint64_t zero = atomic_load(&region->slices[w].zero);
            CHECK((dirty & zero) == 0 && (dirty | zero) == bits);
            CHECK(bits == 0 || wr_summary_next(&region->available_words, w) == w);
            CHECK(bits == 0 || wr_summary_next(&region->available_words, 0) <= w);
            found += wr_count_bits(bits);
        }
    }
    CHECK(found == available);
}

static size_t count_available(void)
{
    size_t found = 0;
    for (unsigned r = 0; r < wr_region_count(); r++) {
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            found += wr_count_bits(atomic_load(&wr_region_at(r)->slices[w].available));
        }
    }
    return found;
}

static wr_bin *bin;

/* All blocks are back: one slab at most, the spare, which a refill finds. */
static void check_bin(void)
{
    CHECK(atomic_load(&bin->slabs) == atomic_load(&bin->spares));
    CHECK(atomic_load(&bin->slabs) <= 1);
    if (atomic_load(&bin->slabs) == 1) {
        void *block;
        wr_span *kept = NULL;
        CHECK(wr_bin_refill(bin, &kept, 1, &block) == 1);
        CHECK(atomic_load(&bin->slabs) == 1);
        CHECK(kept->is_spare == 0 && atomic_load(&bin->spares) == 0);
        CHECK(wr_slab_count_racy(kept) == BLOCKS - 1);
        wr_return(1, &block, "stress");
        wr_bin_give_up(kept);
        CHECK(kept->is_spare == 1 && atomic_load(&bin->spares) == 1);
    }
}

/* ---- what the operations work on; side 0 is that of `first`, side 1 of `second` ---- */

static void *blocks[2 * BLOCKS];
static unsigned counts[2];
static wr_span *kept_by[2];
static uintptr_t run;
static uintptr_t runs[2];
static size_t available_before;
static size_t mapped_before;

static void take_slab(unsigned at, wr_span **kept)
{
    *kept = NULL;
    CHECK(wr_bin_refill(bin, kept, BLOCKS, blocks + at) == BLOCKS);
}

/* Two slabs, both nobody's and without a free block. */
static void take_two_slabs(void)
{
    take_slab(0, &kept_by[0]);
    take_slab(BLOCKS, &kept_by[1]);
    for (unsigned i = 0; i < 2; i++) {
        wr_bin_give_up(kept_by[i]);
        kept_by[i] = NULL;
    }
}

/* The same; then the second slab is the spare, so that the first would be retired. */
static void take_one_beside_the_spare(void)
{
    take_two_slabs();
    wr_return(BLOCKS, blocks, "stress");
    CHECK(atomic_load(&bin->spares) == 1);
    memmove(blocks, blocks + BLOCKS, BLOCKS * sizeof blocks[0]);
}

static void take_one(void)
{
    take_slab(0, &kept_by[0]);
    wr_bin_give_up(kept_by[0]);
}

/* Owned by side 0, without a free block. */
static void take_and_keep_one(void)
{
    take_slab(0, &kept_by[0]);
}

/* Listed, with four free blocks in it and four out. */
static void take_half(void)
{
    take_one();
    wr_return(4, blocks + 4, "stress");
    CHECK(wr_slab_count_racy(kept_by[0]) == 4);
}

static void return_low(void)
{
    wr_return(4, blocks, "stress");
}

static void return_high(void)
{
    wr_return(4, blocks + 4, "stress");
}

static void return_slab(void)
{
    wr_return(BLOCKS, blocks, "stress");
}

static void return_other_slab(void)
{
    wr_return(BLOCKS, blocks + BLOCKS, "stress");
}

static void give_up(void)
{
    wr_bin_give_up(kept_by[0]);
}

/* Blocks to other places than those that are returned meanwhile. */
static void *refilled[2][BLOCKS];

static void refill(unsigned side)
{
    kept_by[side] = NULL;
    counts[side] = wr_bin_refill(bin, &kept_by[side], 4, refilled[side]);
    CHECK(counts[side] > 0);
    for (unsigned i = 0; i < counts[side]; i++) {
        memset(refilled[side][i], 'a' + (int)side, BLOCK_BYTES);
    }
}

static void refill_first(void)
{
    refill(0);
}

static void refill_second(void)
{
    refill(1);
}

static void finish_refill(unsigned side)
{
    for (unsigned i = 0; i < counts[side]; i++) {
        const unsigned char *block = refilled[side][i];
        CHECK(block[0] == 'a' + side && memcmp(block, block + 1, BLOCK_BYTES - 1) == 0);
    }
    wr_return(counts[side], refilled[side], "stress");
    wr_bin_give_up(kept_by[side]);
    counts[side] = 0;
}

static void finish_second_refill(void)
{
    finish_refill(1);
    check_bin();
}

static void finish_refills(void)
{
    finish_refill(0);
    finish_refill(1);
    wr_return(4, blocks, "stress");
    check_bin();
}

/* The lowest slices that are free, as a large object of one slice. */
static wr_span *large;

static void open_large(void)
{
    bool zero;
    uintptr_t start = wr_slice_claim(1, &zero);
    CHECK(start != 0);
    large = wr_span_obtain(start, 0);
    CHECK(large != NULL && wr_span_kind_of(large) == WR_SPAN_FREE);
    large->class = 0;
    wr_span_open(large, WR_SPAN_LARGE, WR_SLICE_BYTES, WR_SLICE_BYTES);
}

static void finish_large(void)
{
    uintptr_t start = large->start;
    CHECK(wr_span_find(start) == large && wr_span_kind_of(large) == WR_SPAN_LARGE);
    CHECK(wr_region_class_of(start) == WR_CLASS_NONE);
    CHECK(wr_span_try_close(large, WR_SPAN_LARGE));
    wr_slice_release(start, 1);
    check_bin();
}

/* ---- slices ---- */

#define RUN_SLICES 100u /* over a word's border, wherever it starts */

/* A run that is available, and that the next claim of as many finds. */
static void leave_run(void)
{
    bool zero;
    run = wr_slice_claim(RUN_SLICES, &zero);
    CHECK(run != 0);
    for (size_t i = 0; i < RUN_SLICES; i++) {
        *(char *)(run + i * WR_SLICE_BYTES) = 1;
    }
    wr_slice_release(run, RUN_SLICES);
    available_before = count_available();
    runs[0] = runs[1] = 0;
}

static void take_run(void)
{
    leave_run();
    bool zero;
    CHECK(wr_slice_claim_at(run, RUN_SLICES, &zero));
}

/* Claimed slices are written and must stay so. */
static void fill_run(unsigned side, uintptr_t start, size_t slices, bool zero)
{
    CHECK(!zero || *(unsigned char *)start == 0);
    for (size_t i = 0; i < slices; i++) {
        memset((void *)(start + i * WR_SLICE_BYTES), 'a' + (int)side, 64);
    }
    runs[side] = start;
    counts[side] = (unsigned)slices;
}

static void claim_first(void)
{
    bool zero;
    uintptr_t start = wr_slice_claim(RUN_SLICES, &zero);
    CHECK(start != 0);
    fill_run(0, start, RUN_SLICES, zero);
}

static void claim_second(void)
{
    bool zero;
    uintptr_t start = wr_slice_claim(RUN_SLICES, &zero);
    CHECK(start != 0);
    fill_run(1, start, RUN_SLICES, zero);
}

/* One slice near the run's end, if it is still there. */
static void claim_one_in_run(void)
{
    bool zero;
    uintptr_t start = run + (RUN_SLICES - 2) * WR_SLICE_BYTES;
    if (wr_slice_claim_at(start, 1, &zero)) {
        fill_run(1, start, 1, zero);
    }
}

static void release_run(void)
{
    wr_slice_release(run, RUN_SLICES);
}

static void purge(void)
{
    (void)wr_purge_slices(0);
}

static void finish_runs(void)
{
    for (unsigned side = 0; side < 2; side++) {
        for (size_t i = 0; runs[side] != 0 && i < counts[side]; i++) {
            const unsigned char *slice = (unsigned char *)(runs[side] + i * WR_SLICE_BYTES);
            CHECK(slice[0] == 'a' + side && memcmp(slice, slice + 1, 63) == 0);
        }
        if (runs[side] != 0) {
            wr_slice_release(runs[side], counts[side]);
        }
        counts[side] = 0;
    }
    check_slices(available_before);
}

/* A word of which one slice is available, and nothing else far and wide. */
static wr_summary summary;
static _Atomic uint64_t leaf;

static void fill_leaf(void)
{
    atomic_store(&leaf, 1);
    wr_summary_mark(&summary, 700);
}

static void empty_leaf(void)
{
    if (atomic_fetch_and(&leaf, ~(uint64_t)1) == 1) {
        wr_summary_unmark(&summary, 700, &leaf);
    }
}

static void set_leaf(void)
{
    atomic_fetch_or(&leaf, 2);
    wr_summary_mark(&summary, 700);
}

static void check_leaf(void)
{
    CHECK(atomic_load(&leaf) == 2);
    CHECK(wr_summary_next(&summary, 0) == 700);
    atomic_store(&leaf, 0);
    wr_summary_unmark(&summary, 700, &leaf);
    CHECK(wr_summary_next(&summary, 0) == WR_SUMMARY_WORDS);
}

/* ---- memory that is made once ---- */

static void *pieces[2];

/* The chunk has no room for a piece of this size. */
#define PIECE_BYTES (4 * KIB)

static void use_up_chunk(void)
{
    size_t mapped = wr_vm_mapped_bytes();
    while (wr_vm_mapped_bytes() == mapped) {
        CHECK(wr_meta_alloc(PIECE_BYTES) != NULL);
    }
    for (size_t left = WR_META_CHUNK_BYTES / PIECE_BYTES - 2; left > 0; left--) {
        CHECK(wr_meta_alloc(PIECE_BYTES) != NULL);
    }
    mapped_before = wr_vm_mapped_bytes();
}

static void take_first_piece(void)
{
    pieces[0] = wr_meta_alloc(PIECE_BYTES);
}

static void take_second_piece(void)
{
    pieces[1] = wr_meta_alloc(PIECE_BYTES);
}

static void check_pieces(void)
{
    CHECK(pieces[0] != NULL && pieces[1] != NULL && pieces[0] != pieces[1]);
    CHECK(wr_vm_mapped_bytes() == mapped_before + WR_META_CHUNK_BYTES);
}

static uintptr_t window = (uintptr_t)1 << 44; /* weir has nothing there, nor will it */
static unsigned regions_before;
static wr_region *obtained[2];

static void choose_window(void)
{
    do {
        window += WR_REGION_BYTES;
    } while (wr_region_of(window) != NULL);
    regions_before = wr_region_count();
    mapped_before = wr_vm_mapped_bytes();
}

static void obtain_first(void)
{
    obtained[0] = wr_region_obtain(window);
    CHECK(obtained[0] != NULL && wr_region_count() == regions_before + 1);
}

static void obtain_second(void)
{
    obtained[1] = wr_region_obtain(window + 1);
    CHECK(obtained[1] != NULL && wr_region_count() == regions_before + 1);
}

static void check_regions(void)
{
    CHECK(obtained[0] == obtained[1] && obtained[0] == wr_region_of(window));
    CHECK(wr_region_count() == regions_before + 1);
    CHECK(wr_region_at(regions_before) == obtained[0]);
    CHECK(wr_region_at(regions_before + 1) == NULL);
    CHECK(wr_vm_mapped_bytes() == mapped_before + wr_align_up(sizeof(wr_region), WR_SLICE_BYTES));
}

/* ---- parked caches ---- */

static wr_cache *caches[2];
static wr_cache *adopted[2];

static void park_two(void)
{
    wr_park_push(caches[0]);
    wr_park_push(caches[1]);
}

static void park_one(void)
{
    wr_park_push(caches[0]);
}

static void adopt_first(void)
{
    adopted[0] = wr_park_adopt();
}

static void adopt_second(void)
{
    adopted[1] = wr_park_adopt();
}

static void push_other(void)
{
    adopted[1] = NULL;
    wr_park_push(caches[1]);
}

/* Each of the two that were parked has come out once, or comes out now. */
static void check_caches(void)
{
    unsigned seen[2] = {0, 0};
    for (unsigned i = 0; i < 4; i++) {
        wr_cache *cache = i < 2 ? adopted[i] : wr_park_adopt();
        if (cache != NULL) {
            CHECK(cache == caches[0] || cache == caches[1]);
            CHECK(seen[cache == caches[1]]++ == 0);
        }
    }
    CHECK(seen[0] == 1 && seen[1] == 1);
    CHECK(wr_park_adopt() == NULL);
}

/* ---- stealing ---- */

#define WARM 6u /* blocks in the bin of the victim, which has room for two more */

static wr_cache *victim;

static void warm_victim(void)
{
    unsigned class = bin->class;
    wr_cache_drain(victim);
    wr_capacity_set(victim, class, WARM + 2);
    victim->heat[class] = UINT8_MAX; /* keeps its slab */
    void *warm[WARM];
    take_slab(0, &kept_by[0]);
    memcpy(warm, blocks, sizeof warm);
    wr_return(BLOCKS - WARM, blocks + WARM, "stress");
    wr_bin_give_up(kept_by[0]);
    for (unsigned i = 0; i < WARM; i++) {
        wr_cache_entry *top = atomic_load(&victim->top[class]);
        atomic_store(top, warm[i]);
        atomic_store(&victim->top[class], top + 1);
    }
}

static void warm_closed_victim(void)
{
    warm_victim();
    atomic_store(&bin->sparse, 1);
}

/* malloc and free as the victim's owner makes them: past both ends of the bin. */
static void use_victim(void)
{
    wr_cache *mine = wr_cache_self;
    wr_cache_self = victim;
    void *held[2 * WARM];
    for (unsigned i = 0; i < 2 * WARM; i++) {
        if (!wr_fast_pop(wr_class_mark_of(bin->class), &held[i])) {
            held[i] = wr_cache_refill(victim, bin->class);
        }
        CHECK(held[i] != NULL);
        memset(held[i], 'a' + (int)i, BLOCK_BYTES);
    }
    for (unsigned i = 0; i < 2 * WARM; i++) {
        const unsigned char *block = held[i];
        CHECK(block[0] == 'a' + i && memcmp(block, block + 1, BLOCK_BYTES - 1) == 0);
        if (!wr_fast_push(wr_class_mark_of(bin->class), held[i])) {
            wr_cache_overflow(victim, bin->class, held[i], "stress");
        }
    }
    wr_cache_self = mine;
}

static void drain_victim(void)
{
    wr_cache_drain(victim);
}

static void park_victim(void)
{
    wr_park_push(victim);
}

static bool victim_only(wr_cache *cache)
{
    return cache == victim;
}

static void steal(void)
{
    CHECK(wr_steal(victim_only) != WR_STEAL_NEVER);
}

/* Pages of slabs that are in use go; slabs that nobody has are claimed for a moment. */
static void trim(void)
{
    wr_bin_census census;
    wr_bin_trim(bin, WR_TRIM_ALL, &census);
}

/* Nothing is lost: every block is in the cache or in its slab. */
static void check_victim(void)
{
    atomic_store(&bin->sparse, 0);
    CHECK(atomic_load(&victim->thief) == 0 && atomic_load(&victim->busy) == 0);
    CHECK(atomic_load(&victim->base[bin->class]) <= atomic_load(&victim->top[bin->class]));
    for (wr_cache_entry *e = atomic_load(&victim->base[bin->class]);
         e < atomic_load(&victim->top[bin->class]); e++) {
        CHECK(atomic_load(e) != NULL);
    }
    wr_cache_drain(victim);
    check_bin();
}

static void check_parked_victim(void)
{
    CHECK(wr_park_adopt() == victim);
    CHECK(wr_park_adopt() == NULL);
    check_victim();
}

/* ---- pairs ---- */

static const struct pair {
    const char *name;
    void (*prepare)(void);
    void (*first)(void);
    void (*second)(void);
    void (*check)(void); /* also undoes what is left */
} pairs[] = {
    {"halves of a slab are returned", take_one, return_low, return_high, check_bin},
    {"halves are returned beside a spare", take_one_beside_the_spare, return_low, return_high,
     check_bin},
    {"two slabs are returned", take_two_slabs, return_slab, return_other_slab, check_bin},
    {"a slab is returned, blocks are taken", take_one, return_slab, refill_second,
     finish_second_refill},
    {"a slab is given up and returned", take_and_keep_one, give_up, return_slab, check_bin},
    {"blocks are taken twice", take_half, refill_first, refill_second, finish_refills},
    {"a slab is retired, slices are claimed", take_one_beside_the_spare, return_slab, open_large,
     finish_large},
    {"runs are claimed", leave_run, claim_first, claim_second, finish_runs},
    {"a run and a slice of it are claimed", leave_run, claim_first, claim_one_in_run, finish_runs},
    {"a run is released, one is claimed", take_run, release_run, claim_second, finish_runs},
    {"slices are purged and claimed", leave_run, purge, claim_second, finish_runs},
    {"slices are purged twice", leave_run, purge, purge, finish_runs},
    {"a leaf is emptied and filled", fill_leaf, empty_leaf, set_leaf, check_leaf},
    {"a chunk is replaced twice", use_up_chunk, take_first_piece, take_second_piece, check_pieces},
    {"a region is made twice", choose_window, obtain_first, obtain_second, check_regions},
    {"caches are adopted", park_two, adopt_first, adopt_second, check_caches},
    {"a cache is adopted, one is parked", park_one, adopt_first, push_other, check_caches},
    {"a cache is used, a thief takes", warm_victim, use_victim, steal, check_victim},
    {"a closed cache is used, a thief takes", warm_closed_victim, use_victim, steal, check_victim},
    {"a cache is drained, a thief takes", warm_victim, drain_victim, steal, check_victim},
    {"a cache is parked, a thief takes", warm_victim, park_victim, steal, check_parked_victim},
    {"two thieves take", warm_victim, steal, steal, check_victim},
    {"a cache is used, its slabs are trimmed", warm_victim, use_victim, trim, check_victim},
    {"a thief takes, slabs are trimmed", warm_victim, steal, trim, check_victim},
};

static unsigned run_pair(const struct pair *pair, void (*outer)(void), void (*inner)(void))
{
    for (unsigned step = 1;; step++) {
        pair->prepare();
        steps_call_at(step, inner);
        outer();
        bool reached = steps_call_end();
        if (!reached) {
            inner();
        }
        pair->check();
        if (!reached) {
            return step - 1;
        }
    }
}

/* ---- */

/* One run, so that a claim of many slices finds them too. */
static void stock(void)
{
    bool zero;
    uintptr_t start = wr_extent_claim(STOCK_BYTES / WR_SLICE_BYTES, &zero);
    CHECK(start != 0);
    wr_slice_release(start, STOCK_BYTES / WR_SLICE_BYTES);
}

int main(void)
{
    stress.scenario = "between";
    CHECK(steps_are_built());
    stress_alone();
    bin = &wr_heap_default.bins[wr_size_class_of(BLOCK_BYTES)];
    for (unsigned i = 0; i < 2; i++) {
        CHECK((caches[i] = wr_cache_create(wr_heap_default.bins)) != NULL);
    }
    CHECK((victim = wr_cache_create(wr_heap_default.bins)) != NULL);
    stock();
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct pair *pair = &pairs[i];
        stress.scenario = pair->name;
        unsigned steps = run_pair(pair, pair->first, pair->second);
        unsigned more = run_pair(pair, pair->second, pair->first);
        CHECK(steps > 0 && more > 0);
        printf("%s: the other at each of %u and %u steps\n", pair->name, steps, more);
        fflush(stdout);
    }
    return 0;
}
