/* See cache.h. */
#include "cache/cache.h"

#include "base/assert.h"
#include "base/options.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "cache/stack.h"
#include "os/host.h"
#include "os/vm.h"

#include <string.h>

_Thread_local wr_cache *wr_cache_self = &wr_cache_boot;
wr_cache wr_cache_boot;
wr_cache wr_cache_direct;

static _Atomic(wr_cache *) caches[WR_CACHES_MAX];
static _Atomic unsigned cache_count;

wr_cache *wr_cache_create(wr_bin *source)
{
    if (wr_cache_count() == WR_CACHES_MAX) {
        return NULL;
    }
    wr_cache *cache = wr_vm_map(WR_CACHE_BYTES, wr_host_page_bytes());
    if (cache == NULL) {
        return NULL;
    }
    wr_vm_name(cache, WR_CACHE_BYTES, "weir: caches");
    /* Relaxed: a number is handed out once. */
    unsigned id = wr_fetch_add_relaxed(&cache_count, 1);
    if (id >= WR_CACHES_MAX) {
        (void)wr_fetch_sub_relaxed(&cache_count, 1);
        (void)wr_vm_unmap(cache, WR_CACHE_BYTES);
        return NULL;
    }
    cache->id = id;
    cache->source = source;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_capacity_open(cache, class);
    }
    /* Publishes the cache; pairs with wr_cache_at(). */
    wr_store_release(&caches[id], cache);
    return cache;
}

unsigned wr_cache_count(void)
{
    /* Relaxed: a cache that is missed is one made a moment later. */
    return (unsigned)wr_min(wr_load_relaxed(&cache_count), WR_CACHES_MAX);
}

wr_cache *wr_cache_at(unsigned number)
{
    /* Observes the cache; pairs with wr_cache_create(). */
    return wr_load_acquire(&caches[number]);
}

/* ---- the owner's slow calls ---- */

/* Begins a slow call of the owner; false while a thief has the cache. */
static bool enter(wr_cache *cache)
{
    wr_store_relaxed(&cache->busy, 1);
    /* First the word that says we are in, then the look at the thief: for the processor by the
     * barrier of wr_steal(), with which this pairs. */
    wr_fence_compiler();
    /* Observes what the last thief left; pairs with let_go() in cache/steal.c. */
    if (WR_LIKELY(wr_load_acquire(&cache->thief) == 0)) {
        return true;
    }
    /* Publishes nothing new; pairs with hold() in cache/steal.c. */
    wr_store_release(&cache->busy, 0);
    return false;
}

static void leave(wr_cache *cache)
{
    /* Publishes what the call did; pairs with hold() in cache/steal.c. */
    wr_store_release(&cache->busy, 0);
}

/* Moves the blocks down to the start of the array, where a thief left room below them. */
static void close_up(wr_cache *cache, unsigned class)
{
    if (WR_UNLIKELY(wr_stack_base(cache, class) != wr_cache_array(cache, class))) {
        wr_stack_begin_change(cache, class);
        wr_stack_place(cache, class, wr_stack_base(cache, class), wr_stack_length(cache, class));
        wr_stack_end_change(cache);
    }
}

/* A bin whose class is sparse is closed, until it is dense again. */
static void follow_source(wr_cache *cache, unsigned class)
{
    bool sparse = wr_bin_is_sparse(&cache->source[class]);
    if (WR_UNLIKELY(sparse != wr_stack_is_closed(cache, class))) {
        wr_stack_set_end(cache, class, sparse);
    }
}

/* ---- what a cache gives back ---- */

/* Takes the `count` oldest blocks out of a bin. */
static void take_oldest(wr_cache *cache, unsigned class, unsigned count, void **out)
{
    wr_cache_entry *base = wr_stack_base(cache, class);
    wr_stack_begin_change(cache, class);
    memcpy(out, (void *)base, count * sizeof *base);
    wr_stack_place(cache, class, base + count, wr_stack_length(cache, class) - count);
    wr_stack_end_change(cache);
}

/* Returns the `count` oldest blocks of a bin to their slabs. */
static void flush(wr_cache *cache, unsigned class, unsigned count, const char *function)
{
    void *blocks[WR_BATCH_BLOCKS];
    while (count > 0) {
        unsigned n = count < WR_BATCH_BLOCKS ? count : WR_BATCH_BLOCKS;
        take_oldest(cache, class, n, blocks);
        wr_return(n, blocks, function);
        count -= n;
    }
}

void wr_cache_leave_slab(wr_cache *cache, unsigned class)
{
    wr_span *slab = cache->slab[class];
    if (slab != NULL) {
        cache->slab[class] = NULL; /* first, for a fork in between */
        wr_bin_give_up(slab);
    }
}

/* Every so many slow calls one bin is looked at: unused since the last look, it shrinks by half. */
static void visit_next(wr_cache *cache)
{
    if (!wr_cache_is_tick(cache)) {
        return;
    }
    unsigned class = cache->visit % (WR_CLASS_COUNT - 1) + 1;
    cache->visit = class;
    if ((cache->recent >> class & 1) != 0) {
        cache->recent &= ~((uint64_t)1 << class);
        return;
    }
    cache->heat[class] = 0;
    wr_cache_leave_slab(cache, class);
    unsigned capacity = wr_capacity_half(cache, class);
    if (capacity < cache->capacity[class]) {
        unsigned length = wr_stack_length(cache, class);
        flush(cache, class, length > capacity ? length - capacity : 0, "free");
        wr_capacity_set(cache, class, capacity);
    }
}

static bool is_inherited(const wr_cache *cache, unsigned class)
{
    return (cache->inherited >> class & 1) != 0;
}

/* A thread that frees before it has allocated frees what another allocated, which may share a line
 * with others of it: the first such blocks go back, past what the last owner left. */
static bool refuses(const wr_cache *cache, unsigned class)
{
    return WR_UNLIKELY(is_inherited(cache, class)) && !wr_capacity_takes_frees(cache, class);
}

/* The bin has all its places from here on. */
static void come_into(wr_cache *cache, unsigned class)
{
    if (WR_UNLIKELY(is_inherited(cache, class))) {
        cache->inherited &= ~((uint64_t)1 << class);
        wr_stack_set_end(cache, class, false);
    }
}

static void count_slow_call(wr_cache *cache, unsigned class)
{
    wr_cache_count_up(&cache->slow_calls, 1);
    if (WR_UNLIKELY(cache->swept)) {
        wr_capacity_cool_down(cache);
    }
    cache->recent |= (uint64_t)1 << class;
    cache->warm |= (uint64_t)1 << class;
    if (cache->heat[class] < UINT8_MAX) {
        cache->heat[class]++;
    }
    visit_next(cache);
}

/* ---- refill and overflow ---- */

/* The more threads, the more a class has to be used by one of them that a slab is its own; of large
 * blocks none is where there are many. */
static bool keeps_slab(const wr_cache *cache, unsigned class)
{
    unsigned sharers = wr_park_living() / WR_CACHE_SHARERS;
    return (sharers == 0 || wr_size_classes[class].block_bytes <= WR_CACHE_COLD_BYTES) &&
           cache->heat[class] >= wr_min(WR_CACHE_HOT_REFILLS + sharers, UINT8_MAX);
}

/* Blocks from the bin, and from the slab that the thread keeps once the class is hot. */
static unsigned take_batch(wr_cache *cache, unsigned class, unsigned most, void **out)
{
    unsigned got = wr_bin_refill(&cache->source[class], &cache->slab[class], most, out);
    if (!keeps_slab(cache, class)) {
        wr_cache_leave_slab(cache, class); /* threads share it */
    }
    wr_cache_count_up(&cache->served_bytes, got * (size_t)wr_size_classes[class].block_bytes);
    return got;
}

unsigned wr_cache_take_batch(wr_cache *cache, unsigned class, unsigned most, void **out)
{
    if (WR_UNLIKELY(!enter(cache))) {
        wr_cache_count_up(&cache->slow_calls, 1);
        out[0] = wr_bin_take(&cache->source[class]);
        return out[0] != NULL;
    }
    count_slow_call(cache, class);
    unsigned got = take_batch(cache, class, most, out);
    leave(cache);
    return got;
}

WR_COLD static void shuffle(unsigned count, void **blocks)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned other = (unsigned)(wr_host_random() % i);
        void *block = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = block;
    }
}

/* Half of what a bin may hold and the block for the call, in whole cache lines: what is left of a
 * line would be another thread's. */
static unsigned blocks_wanted(const wr_cache *cache, unsigned class)
{
    unsigned capacity = cache->capacity[class];
    unsigned line = wr_size_line_blocks(wr_size_classes[class].block_bytes);
    size_t want = wr_min(wr_align_up(capacity / 2u + 1, line), capacity + 1u);
    return (unsigned)wr_min(want, WR_BATCH_BLOCKS);
}

void *wr_cache_refill(wr_cache *cache, unsigned class)
{
    if (WR_UNLIKELY(!enter(cache))) {
        wr_cache_count_up(&cache->slow_calls, 1);
        return wr_bin_take(&cache->source[class]);
    }
    void *block = wr_stack_pop(cache, class);
    if (WR_UNLIKELY(block != NULL)) {
        /* A thief that had raised base found nothing to take, and has put it back since the call
         * saw the bin empty. */
        leave(cache);
        return block;
    }
    count_slow_call(cache, class);
    come_into(cache, class);
    close_up(cache, class);
    follow_source(cache, class);
    wr_capacity_grow(cache, class, false);
    void *blocks[WR_BATCH_BLOCKS];
    unsigned got = take_batch(cache, class, blocks_wanted(cache, class), blocks);
    if (wr_option_hardens(WR_HARDEN_ORDER)) {
        shuffle(got, blocks);
    }
    /* The lowest address goes out first. */
    wr_cache_entry *top = wr_stack_base(cache, class);
    for (unsigned i = got; i-- > 1;) {
        wr_store_relaxed(top, blocks[i]);
        top++;
    }
    wr_stack_set_top(cache, class, top);
    leave(cache);
    return got == 0 ? NULL : blocks[0];
}

void wr_cache_overflow(wr_cache *cache, unsigned class, void *block, const char *function)
{
    if (WR_UNLIKELY(!enter(cache))) {
        wr_cache_count_up(&cache->slow_calls, 1);
        wr_return(1, &block, function);
        return;
    }
    count_slow_call(cache, class);
    if (refuses(cache, class)) {
        leave(cache);
        wr_return(1, &block, function);
        return;
    }
    come_into(cache, class);
    close_up(cache, class);
    follow_source(cache, class);
    wr_capacity_grow(cache, class, true);
    unsigned capacity = cache->capacity[class];
    if (wr_stack_is_closed(cache, class)) {
        leave(cache);
        wr_return(1, &block, function);
        return;
    }
    if (wr_stack_length(cache, class) == capacity) {
        unsigned half = (capacity + 1) / 2;
        flush(cache, class, half < WR_BATCH_BLOCKS ? half : WR_BATCH_BLOCKS, function);
    }
    bool pushed = wr_stack_push(cache, class, block);
    WR_ASSERT(pushed); /* it is open, and has room now */
    (void)pushed;
    leave(cache);
}

void wr_cache_leave_slabs(wr_cache *cache)
{
    if (!enter(cache)) {
        return;
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_cache_leave_slab(cache, class);
    }
    leave(cache);
}

/* Returns all blocks and gives up all slabs. */
static void empty(wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_cache_leave_slab(cache, class);
        flush(cache, class, wr_stack_length(cache, class), "free");
    }
}

/* Leaves a bin to the next owner, with its blocks, and with room for others as in a cold one. One
 * that has grown and that this owner had little use for begins anew, or many short lives would
 * leave ever more. */
static void bequeath(wr_cache *cache, unsigned class)
{
    wr_cache_leave_slab(cache, class);
    if (cache->heat[class] < WR_CACHE_HOT_REFILLS &&
        cache->capacity[class] > WR_CACHE_COLD_BLOCKS) {
        flush(cache, class, wr_stack_length(cache, class), "free");
        wr_capacity_set(cache, class, wr_capacity_cold(class));
    }
    cache->heat[class] = 0;
    cache->inherited |= (uint64_t)1 << class;
    if (!wr_stack_is_closed(cache, class)) {
        size_t used = (size_t)(wr_stack_top(cache, class) - wr_cache_array(cache, class));
        size_t places = wr_max(used, wr_capacity_cold(class));
        wr_stack_set_places(cache, class, wr_min(places, cache->capacity[class]));
    }
}

void wr_cache_rest(wr_cache *cache)
{
    if (!enter(cache)) {
        return;
    }
    bool is_looked_after = wr_option_get(wr_option_background) != 0;
    if (!is_looked_after) {
        empty(cache); /* else its blocks might wait for ever */
    }
    if (!is_looked_after || cache->swept) {
        wr_capacity_cool_down(cache); /* before bins change that do not count in the budget */
    }
    for (uint64_t warm = cache->warm; warm != 0; warm &= warm - 1) {
        bequeath(cache, wr_lowest_bit(warm));
    }
    leave(cache);
}

void wr_cache_drain(wr_cache *cache)
{
    if (enter(cache)) {
        empty(cache);
        leave(cache);
    }
}

/* ---- after fork ---- */

void wr_cache_settle(wr_cache *cache)
{
    /* Relaxed: the child has one thread. */
    if (wr_load_relaxed(&cache->thief) != 0) {
        for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
            wr_cache_entry *to = wr_cache_array(cache, class);
            wr_cache_entry *top = wr_load_relaxed(&cache->top[class]);
            wr_store_relaxed(&cache->base[class], to);
            for (wr_cache_entry *from = to; from < top; from++) {
                void *block = wr_load_relaxed(from);
                if (block != NULL) {
                    wr_store_relaxed(to, block);
                    to++;
                }
            }
            wr_stack_set_top(cache, class, to);
        }
        wr_store_relaxed(&cache->thief, 0);
    }
    wr_store_relaxed(&cache->busy, 0);
}

void wr_cache_recover(wr_cache *cache)
{
    /* What the thread did before it set or cleared the mark; pairs with wr_stack_begin_change() and
     * wr_stack_end_change(). */
    unsigned class = wr_load_acquire(&cache->changing);
    if (class != 0) {
        wr_capacity_recover(cache, class);
        wr_stack_end_change(cache);
    }
    wr_cache_settle(cache);
    for (unsigned c = 1; c < WR_CLASS_COUNT; c++) {
        if (cache->slab[c] != NULL) {
            wr_slab_recount(cache->slab[c]);
        }
    }
    wr_cache_leave_slabs(cache);
}

void wr_cache_assert_valid(const wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_cache_entry *array = (const wr_cache_entry *)cache + cache->array[class];
        WR_ASSERT(array <= wr_stack_base(cache, class) &&
                  wr_stack_base(cache, class) <= wr_stack_top(cache, class));
        WR_ASSERT(wr_stack_top(cache, class) <= array + cache->capacity[class]);
        WR_ASSERT(cache->end[class] == array ||
                  cache->end[class] == array + cache->capacity[class] ||
                  (is_inherited(cache, class) && cache->end[class] >= wr_stack_top(cache, class) &&
                   cache->end[class] < array + cache->capacity[class]));
        (void)array;
    }
    WR_ASSERT(wr_stack_length(cache, WR_CLASS_NONE) == 0);
}
