/* weir_stress_progress: no thread that stops holds up the others.
 *
 * For each operation below and each n: one thread stops at the n-th atomic step of the operation,
 * (or of the end of the thread, when its cache is parked), and meanwhile other threads must finish
 * a fixed piece of work, allocations and frees of small blocks and of large objects. Then the
 * thread goes on. n grows until the thread ends before its n-th step, by 1 and, in operations of
 * very many steps that are much alike, in the end by more. Only growth from the kernel
 * may hold others up, so the page heap has free memory from the start. Exits with 0; prints one
 * line and aborts otherwise.
 */
#include "harness.h"
#include "steps.h"

#include "weir/weir.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "cache/steal.h"
#include "heap/heap.h"
#include "heap/reclaim.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page/slice.h"

#define OTHERS      2
#define EACH_STEP   2000 /* so many first steps are stopped at one by one */
#define STRIDE      97   /* prime, so that loops are met at different places */
#define PATIENCE_S  60
#define STOCK_BYTES (48 * MIB) /* free memory of the page heap before each stop */

/* ---- the operations, each from a state that `prepare` makes ---- */

#define BLOCK_BYTES 8192 /* eight to a slab of one slice */
#define ASIDE       64   /* slabs with one free block that may be found in a row */

static wr_bin *bin;
static void *blocks[WR_BATCH_BLOCKS];
static unsigned count;
static wr_span *kept;
static uintptr_t run;
static void *object;

static void nothing(void)
{
}

static void fill(void)
{
    kept = NULL;
    count = wr_bin_refill(bin, &kept, 8, blocks);
    CHECK(count > 0);
}

static void give_up(void)
{
    if (kept != NULL) {
        wr_bin_give_up(kept);
        kept = NULL;
    }
}

static void fill_and_give_up(void)
{
    fill();
    give_up();
}

/* The slab found may have few free blocks: earlier threads left some of its blocks in caches. Those
 * are held meanwhile, so that the next fill finds another slab. */
static void fill_several_and_give_up(void)
{
    void *aside[ASIDE];
    unsigned held = 0;
    for (fill_and_give_up(); count < 2; fill_and_give_up()) {
        CHECK(held < ASIDE);
        aside[held++] = blocks[0];
    }
    wr_return(held, aside, "stress");
}

static void flush(void)
{
    wr_return(count, blocks, "stress");
    count = 0;
}

/* The slab is nobody's and keeps a block out, so it gets listed. */
static void flush_but_one(void)
{
    wr_return(count - 1, blocks + 1, "stress");
    count = 1;
}

/* The blocks come back while the slab is owned, so giving it up retires it or makes it the spare.
 */
static void fill_and_flush(void)
{
    fill();
    flush();
}

static void claim(void)
{
    bool zero;
    run = wr_slice_claim(100, &zero);
    CHECK(run != 0);
}

static void release(void)
{
    wr_slice_release(run, 100);
}

static void purge(void)
{
    (void)wr_purge_slices(0);
}

static void large_alloc(void)
{
    object = weir_calloc(1, 100 * KIB);
}

static void large_free(void)
{
    weir_free(object);
    object = NULL;
}

static void mapping_alloc(void)
{
    object = weir_malloc(40 * MIB);
}

static void be_born(void)
{
    weir_free(weir_malloc(10));
}

static void small_life(void)
{
    void *held[100];
    for (unsigned i = 0; i < 100; i++) {
        held[i] = weir_malloc(300);
    }
    for (unsigned i = 0; i < 100; i++) {
        weir_free(held[i]);
    }
}

/* A cache that no thread has, with blocks in three classes and the slabs that they come from. */
static wr_cache *full;

static void fill_cache(void)
{
    static const size_t sizes[] = {64, 512, BLOCK_BYTES};
    void *held[12];
    for (unsigned s = 0; s < 3; s++) {
        unsigned class = wr_size_class_of(sizes[s]);
        full->heat[class] = UINT8_MAX; /* hot: the next slow call keeps the slab */
        for (unsigned i = 0; i < 12; i++) {
            CHECK((held[i] = wr_cache_refill(full, class)) != NULL);
        }
        for (unsigned i = 0; i < 12; i++) {
            wr_cache_entry *top = atomic_load(&full->top[class]);
            if (top >= full->end[class]) {
                wr_cache_overflow(full, class, held[i], "stress");
            } else {
                atomic_store(top, held[i]);
                atomic_store(&full->top[class], top + 1);
            }
        }
    }
}

static bool any(wr_cache *cache)
{
    (void)cache;
    return true;
}

static void steal(void)
{
    CHECK(wr_steal(any) == WR_STEAL_DONE);
}

static void reclaim(void)
{
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
}

static void reclaim_due(void)
{
    (void)wr_reclaim_due(true);
}

static const struct operation {
    const char *name;
    void (*prepare)(void);
    void (*run)(void); /* with stops */
    void (*finish)(void);
} operations[] = {
    {"refill", nothing, fill, fill_and_flush},
    {"refill and give up", nothing, fill_and_give_up, flush},
    {"flush", fill_and_give_up, flush, nothing},
    {"flush but for a block", fill_several_and_give_up, flush_but_one, flush},
    {"give up with all blocks free", fill_and_flush, give_up, nothing},
    {"claim of slices", nothing, claim, release},
    {"release of slices", claim, release, nothing},
    {"purge", nothing, purge, nothing},
    {"large malloc", nothing, large_alloc, large_free},
    {"large free", large_alloc, large_free, nothing},
    {"mapping malloc", nothing, mapping_alloc, large_free},
    {"mapping free", mapping_alloc, large_free, nothing},
    {"birth and death of a thread", nothing, be_born, nothing},
    {"small blocks", nothing, small_life, nothing},
    {"steal", fill_cache, steal, nothing},
    {"reclaim", fill_cache, reclaim, nothing},
    {"what is due", fill_cache, reclaim_due, nothing},
};

/* ---- one stop ---- */

static const struct operation *operation;
static unsigned step;
static _Atomic unsigned others_ended;

/* Its steps include its death, when its cache is parked. */
static void *victim(void *unused)
{
    steps_stop_at(step);
    operation->run();
    return unused;
}

static void *other(void *argument)
{
    uint64_t random = stress.seed + *(unsigned *)argument;
    struct held held[32] = {{0}};
    for (unsigned i = 0; i < 600; i++) {
        struct held *h = &held[random_below(&random, 32)];
        if (h->block == NULL) {
            held_new(h,
                     random_below(&random, 4) == 0 ? BLOCK_BYTES : random_size(&random, 120 * KIB),
                     &random, false);
        } else {
            held_free(h, &random);
        }
    }
    for (unsigned i = 0; i < 32; i++) {
        if (held[i].block != NULL) {
            held_free(&held[i], &random);
        }
    }
    atomic_fetch_add(&others_ended, 1);
    return NULL;
}

static void pause_briefly(void)
{
    struct timespec pause = {0, 50000};
    nanosleep(&pause, NULL);
}

/* One run, so that a claim of many slices finds them too. */
static void stock(void)
{
    bool zero;
    uintptr_t start = wr_extent_claim(STOCK_BYTES / WR_SLICE_BYTES, &zero);
    CHECK(start != 0);
    wr_slice_release(start, STOCK_BYTES / WR_SLICE_BYTES);
}

/* False once the operation has fewer steps than `step`. */
static bool stop_once(void)
{
    pthread_t stopped;
    pthread_t working[OTHERS];
    unsigned numbers[OTHERS];
    stock();
    operation->prepare();
    atomic_store(&others_ended, 0);
    CHECK(pthread_create(&stopped, NULL, victim, NULL) == 0);
    bool reached;
    while (!(reached = steps_stopped()) && pthread_tryjoin_np(stopped, NULL) != 0) {
        pause_briefly();
    }
    for (unsigned i = 0; reached && i < OTHERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&working[i], NULL, other, &numbers[i]) == 0);
    }
    struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (reached && atomic_load(&others_ended) < OTHERS) {
        pause_briefly();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec > PATIENCE_S) {
            fprintf(stderr,
                    "weir_stress_progress: %s: a thread that stops at step %u holds up others\n",
                    operation->name, step);
            abort();
        }
    }
    steps_release();
    CHECK(!reached || pthread_join(stopped, NULL) == 0);
    for (unsigned i = 0; reached && i < OTHERS; i++) {
        CHECK(pthread_join(working[i], NULL) == 0);
    }
    operation->finish();
    return reached;
}

int main(void)
{
    stress.scenario = "progress";
    stress_alone();
    /* Giving back the end of the data segment is like growth: others that need the kernel wait. */
    char brk[] = "WEIR_BRK=0";
    char *const settings[] = {brk, NULL};
    wr_options_parse(settings);
    bin = &wr_heap_default.bins[wr_size_class_of(BLOCK_BYTES)];
    CHECK((full = wr_cache_create(wr_heap_default.bins)) != NULL);
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        operation = &operations[i];
        for (step = 1; stop_once(); step += step < EACH_STEP ? 1 : STRIDE) {
        }
        CHECK(step > 2);
        printf("%s: %s%u steps, none holds up others\n", operation->name,
               step > EACH_STEP ? "about " : "", step - 1);
        fflush(stdout);
    }
    return 0;
}
