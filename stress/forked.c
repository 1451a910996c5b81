/* weir_stress_forked: what the child of a fork finds, wherever its parent's threads were.
 *
 * For each operation of a thread on its cache and each n: at its n-th atomic step the process
 * forks, and the child recovers the cache and goes on with what it finds. n grows until the
 * operation ends before its n-th step. All in one thread, so that each run takes the same course:
 * the cache is not the one that the thread allocates with, so the child takes its owner for dead.
 * Exits with 0; prints one line and aborts otherwise.
 */
#include "harness.h"
#include "steps.h"

#include "weir/weir.h"

#include <stdio.h>

#include "api/init.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "cache/steal.h"
#include "heap/heap.h"

#define BLOCKS 8u  /* of 8 KiB in a slab of one slice */
#define USED   24u /* blocks that the owner takes at most, more than its bin holds */
#define LIVE   40u /* blocks that are the program's, in each class */

static const size_t sizes[] = {64, 512, 8192};
#define SIZES (sizeof sizes / sizeof sizes[0])

static wr_cache *victim;
static unsigned class; /* that the operation works on */
static struct held live[SIZES][LIVE];
static void *blocks[BLOCKS]; /* of the slab below that are out */
static unsigned out;
static wr_span *exhausted; /* a slab that the child looks at too, or NULL */
static bool is_owners;     /* the operation is the owner's: it has a bin in pieces, and blocks */

static void *pop(void)
{
    wr_cache_entry *top = atomic_load(&victim->top[class]);
    if (top == atomic_load(&victim->base[class])) {
        return wr_cache_refill(victim, class);
    }
    atomic_store(&victim->top[class], top - 1);
    return atomic_load(top - 1);
}

static void push(void *block)
{
    wr_cache_entry *top = atomic_load(&victim->top[class]);
    if (top == victim->end[class]) {
        wr_cache_overflow(victim, class, block, "stress");
        return;
    }
    atomic_store(top, block);
    atomic_store(&victim->top[class], top + 1);
}

/* A little life: more blocks than the bin holds come and go. */
static void use_victim(void)
{
    void *held[USED];
    for (unsigned i = 0; i < USED; i++) {
        held[i] = pop();
        CHECK(held[i] != NULL);
    }
    for (unsigned i = 0; i < USED; i++) {
        push(held[i]);
    }
}

static void leave_slabs(void)
{
    wr_cache_leave_slabs(victim);
}

static void drain(void)
{
    wr_cache_drain(victim);
}

static bool victim_only(wr_cache *cache)
{
    return cache == victim;
}

static void steal(void)
{
    CHECK(wr_steal(victim_only) == WR_STEAL_DONE);
}

static bool any(wr_cache *cache)
{
    (void)cache;
    return true;
}

/* No slab is in a state that no step leaves behind. */
static void check_slab(const wr_span *slab)
{
    CHECK(slab != NULL && wr_span_kind_of(slab) == WR_SPAN_SLAB);
    int64_t flags = WR_SLAB_OWNED | WR_SLAB_LISTED;
    CHECK((atomic_load(&slab->state) & flags) != flags);
    int64_t count = wr_slab_count_racy(slab);
    CHECK(count >= 0 && count <= slab->blocks);
}

static void check_slabs(void)
{
    if (exhausted != NULL) {
        check_slab(exhausted);
    }
    for (unsigned s = 0; s < SIZES; s++) {
        for (unsigned i = 0; i < LIVE; i++) {
            check_slab(wr_span_find((uintptr_t)live[s][i].block));
        }
    }
}

/* When no cache holds any, a block is live, free in a slab that a refill finds, or lost: at most
 * those in hand (a batch, a slab, api/fork.c), and of a bin in pieces all (cache/cache.h). */
static void check_losses(void)
{
    for (unsigned s = 0; s < SIZES; s++) {
        wr_bin_census census;
        unsigned c = wr_size_class_of(sizes[s]);
        size_t all = atomic_load(&wr_heap_default.bins[c].slabs) * wr_size_classes[c].blocks;
        wr_bin_trim(&wr_heap_default.bins[c], WR_TRIM_STALE, &census); /* may retire some */
        size_t known = census.free_blocks + LIVE + (c == class ? out : 0);
        size_t most = WR_BATCH_BLOCKS + wr_size_classes[c].blocks;
        most += is_owners ? wr_capacity_max(c) + USED : 0;
        CHECK(known <= all && all - known <= most);
    }
}

/* In the child weir has recovered and parked the victim. */
static int go_on_in_child(void *unused)
{
    (void)unused;
    wr_cache *cache;
    while ((cache = wr_park_adopt()) != NULL) {
        for (unsigned c = 1; c < WR_CLASS_COUNT; c++) {
            CHECK(cache->slab[c] == NULL);
            const wr_cache_entry *array = wr_cache_array(cache, c);
            const wr_cache_entry *room = array + cache->capacity[c];
            CHECK(atomic_load(&cache->base[c]) <= atomic_load(&cache->top[c]) &&
                  atomic_load(&cache->top[c]) <= room);
            CHECK(atomic_load(&cache->end[c]) == room || atomic_load(&cache->end[c]) == array);
        }
        wr_cache_drain(cache);
    }
    check_slabs();
    check_losses();
    CHECK(wr_steal(any) == WR_STEAL_DONE); /* whoever was at it */
    for (unsigned s = 0; s < SIZES; s++) {
        wr_bin *b = &wr_heap_default.bins[wr_size_class_of(sizes[s])];
        for (unsigned round = 0; round < 8; round++) {
            struct held taken[WR_BATCH_BLOCKS];
            void *got[WR_BATCH_BLOCKS];
            wr_span *kept = NULL;
            unsigned count = wr_bin_refill(b, &kept, WR_BATCH_BLOCKS, got);
            for (unsigned i = 0; i < count; i++) {
                taken[i] = (struct held){got[i], sizes[s], 0};
                held_stamp(&taken[i], i);
            }
            for (unsigned i = 0; i < count; i++) {
                held_check(&taken[i]);
            }
            wr_bin_give_up(kept); /* the blocks stay out: the next round gets others */
        }
        for (unsigned i = 0; i < LIVE; i++) {
            held_check(&live[s][i]);
            void *block = live[s][i].block;
            wr_return(1, &block, "stress");
        }
    }
    return 0;
}

static void fork_between(void)
{
    stress_child(go_on_in_child, NULL, 60);
}

/* The victim's bin of a size as it was at first, so that each life takes the same course. */
static void cool(size_t bytes)
{
    class = wr_size_class_of(bytes);
    wr_cache_drain(victim);
    wr_capacity_set(victim, class, wr_capacity_cold(class));
    victim->heat[class] = 0;
}

static void cool_small(void)
{
    cool(64);
}

static void cool_medium(void)
{
    cool(512);
    use_victim();
}

static void cool_small_and_use(void)
{
    cool(64);
    use_victim();
}

static void cool_large(void)
{
    cool(8192);
}

static void warm_large(void)
{
    cool(8192);
    use_victim();
}

static void warm_medium_and_large(void)
{
    cool(512);
    use_victim();
    void *few[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK((few[i] = pop()) != NULL);
    }
    warm_large();
    class = wr_size_class_of(512);
    for (unsigned i = 0; i < BLOCKS; i++) {
        push(few[i]);
    }
}

/* The bin is empty, and all blocks of the slab that it keeps are out. */
static void exhaust_slab(void)
{
    warm_large();
    wr_cache_drain(victim);
    wr_span **kept = &victim->slab[class];
    out = wr_bin_refill(&wr_heap_default.bins[class], kept, BLOCKS, blocks);
    CHECK(out > 0 && wr_slab_count_racy(*kept) == 0);
    exhausted = *kept;
}

static void put_back_slab(void *popped)
{
    push(popped);
    wr_return(out, blocks, "stress");
    out = 0;
    exhausted = NULL;
}

static const struct operation {
    const char *name;
    void (*prepare)(void);
    void (*run)(void);
} operations[] = {
    {"a bin of small blocks turns hot", cool_small, use_victim},
    {"a bin of large blocks turns hot", cool_large, use_victim},
    {"a hot bin of large blocks is used", warm_large, use_victim},
    {"slabs are left", warm_large, leave_slabs},
    {"a cache is drained", cool_medium, drain},
    {"a thief takes small blocks", cool_small_and_use, steal},
    {"a thief takes blocks of two classes", warm_medium_and_large, steal},
};

static void make_live(void)
{
    for (unsigned s = 0; s < SIZES; s++) {
        class = wr_size_class_of(sizes[s]);
        for (unsigned i = 0; i < LIVE; i++) {
            live[s][i] = (struct held){pop(), sizes[s], 0};
            CHECK(live[s][i].block != NULL);
            held_stamp(&live[s][i], s * LIVE + i);
        }
    }
}

static unsigned run_forks(const struct operation *operation)
{
    for (unsigned step = 1;; step++) {
        operation->prepare();
        is_owners = operation->run != steal;
        steps_call_at(step, fork_between);
        operation->run();
        if (!steps_call_end()) {
            return step - 1;
        }
    }
}

/* A kept slab has no free block, so the thread gives it up; at a step on the way a block comes back
 * from elsewhere, and some steps later the process forks. */

static unsigned steps_to_fork;
static bool was_kept; /* the slab, when the block came back */

static void return_one(void)
{
    was_kept = (atomic_load(&exhausted->state) & WR_SLAB_OWNED) != 0;
    wr_return(1, &blocks[--out], "stress");
    steps_call_at(steps_to_fork, fork_between);
}

static unsigned run_forks_of_give_up(void)
{
    unsigned forks = 0;
    for (unsigned step = 1;; step++) {
        was_kept = false;
        bool forked = true;
        for (steps_to_fork = 1; forked; steps_to_fork++) {
            exhaust_slab();
            steps_call_at(step, return_one);
            void *popped = pop();
            forked = steps_call_end() && was_kept;
            put_back_slab(popped);
            forks += forked;
        }
        if (!was_kept) {
            return forks;
        }
    }
}

int main(void)
{
    stress.scenario = "forked";
    CHECK(steps_are_built());
    stress_alone();
    weir_free(weir_malloc(1));
    wr_init_follow_forks(); /* the thread that is stopped is played by the one that forks */
    victim = wr_cache_create(wr_heap_default.bins);
    CHECK(victim != NULL);
    make_live();
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        stress.scenario = operations[i].name;
        unsigned steps = run_forks(&operations[i]);
        CHECK(steps > 0);
        printf("%s: a fork at each of %u steps\n", operations[i].name, steps);
        fflush(stdout);
    }
    stress.scenario = "a slab is given up and used";
    unsigned forks = run_forks_of_give_up();
    CHECK(forks > 0);
    printf("%s: %u forks\n", stress.scenario, forks);
    return 0;
}
