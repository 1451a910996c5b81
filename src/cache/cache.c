/* See cache.h. */
#include "cache/cache.h"

#include "base/assert.h"
#include "os/host.h"
#include "os/vm.h"

#include <string.h>

_Thread_local wr_cache *wr_cache_self = &wr_cache_boot;
wr_cache wr_cache_boot;
wr_cache wr_cache_direct;

static _Atomic(wr_cache *) caches[WR_CACHES_MAX];
static _Atomic unsigned cache_count;

/* Classes up to this one have a cold array: all of at most WR_CACHE_COLD_BYTES. */
static unsigned cold_classes(void)
{
    return wr_size_class_of(WR_CACHE_COLD_BYTES);
}

unsigned wr_cache_capacity_max(unsigned class)
{
    size_t blocks = WR_CACHE_BIN_BYTES / wr_size_classes[class].block_bytes;
    return (unsigned)wr_max(wr_min(blocks, WR_CACHE_BIN_BLOCKS), WR_CACHE_BIN_BLOCKS_MIN);
}

/* The array of a cold bin, in the page of the cache's head. */
static wr_cache_entry *cold_array(wr_cache *cache, unsigned class)
{
    return cache->cold + (class - 1) * WR_CACHE_COLD_BLOCKS;
}

/* The array of a hot bin: behind the first page, one after the other, each as large as it may get,
 * so that a bin moves once and costs page frames only when it is hot. */
static wr_cache_entry *hot_array(wr_cache *cache, unsigned class)
{
    size_t entries = WR_CACHE_HEAD_BYTES / sizeof(wr_cache_entry);
    for (unsigned c = 1; c < class; c++) {
        entries += wr_cache_capacity_max(c);
    }
    WR_ASSERT((entries + wr_cache_capacity_max(class)) * sizeof(wr_cache_entry) <= WR_CACHE_BYTES);
    return (wr_cache_entry *)cache + entries;
}

wr_cache *wr_cache_create(wr_bin *source)
{
    WR_ASSERT(sizeof(wr_cache) + cold_classes() * WR_CACHE_COLD_BLOCKS * sizeof(wr_cache_entry) <=
              WR_CACHE_HEAD_BYTES);
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
    for (unsigned class = 1; class <= cold_classes(); class ++) {
        wr_cache_bin *bin = &cache->bins[class];
        cache->capacity[class] = WR_CACHE_COLD_BLOCKS;
        wr_store_relaxed(&bin->base, cold_array(cache, class));
        wr_store_relaxed(&bin->top, cold_array(cache, class));
        bin->end = cold_array(cache, class) + WR_CACHE_COLD_BLOCKS;
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

/* The owner's view of a bin: plain loads of its own stores. */
static wr_cache_entry *top_of(const wr_cache_bin *bin)
{
    return wr_load_relaxed(&bin->top);
}

static wr_cache_entry *base_of(const wr_cache_bin *bin)
{
    return wr_load_relaxed(&bin->base);
}

/* Between these two a fork's child would find the stack of the class in pieces. */
static void begin_change(wr_cache *cache, unsigned class)
{
    wr_store_relaxed(&cache->changing, class);
    /* Before all later stores, as the child of a fork sees them; pairs with wr_cache_recover(). */
    wr_fence_release();
}

static void end_change(wr_cache *cache)
{
    /* After all earlier stores; pairs with wr_cache_recover(). */
    wr_store_release(&cache->changing, 0);
}

/* Gives a bin another capacity, at least its blocks; moves it when it turns hot or cold. */
static void set_capacity(wr_cache *cache, unsigned class, unsigned capacity)
{
    wr_cache_bin *bin = &cache->bins[class];
    size_t length = (size_t)(top_of(bin) - base_of(bin));
    WR_ASSERT(length <= capacity && capacity <= wr_cache_capacity_max(class));
    bool cold = class <= cold_classes() && capacity <= WR_CACHE_COLD_BLOCKS;
    wr_cache_entry *array = cold ? cold_array(cache, class) : hot_array(cache, class);
    begin_change(cache, class);
    if (length != 0) {
        memmove((void *)array, (void *)base_of(bin), length * sizeof *array);
    }
    wr_store_relaxed(&bin->base, array);
    wr_store_relaxed(&bin->top, array + length);
    bin->end = array + capacity;
    cache->capacity[class] = (uint16_t)capacity;
    end_change(cache);
}

/* Capacity doubles with each slow call once a class is used more than in passing; a class without a
 * cold array waits till it is hot. */
static void grow(wr_cache *cache, unsigned class)
{
    unsigned capacity = cache->capacity[class];
    unsigned most = wr_cache_capacity_max(class);
    if (capacity == most || cache->heat[class] < (capacity == 0 ? WR_CACHE_HOT_REFILLS : 2)) {
        return;
    }
    unsigned next = capacity == 0 ? WR_CACHE_COLD_BLOCKS : 2 * capacity;
    set_capacity(cache, class, next < most ? next : most);
}

/* Takes the `count` oldest blocks out of a bin. */
static void take_oldest(wr_cache *cache, unsigned class, unsigned count, void **out)
{
    wr_cache_bin *bin = &cache->bins[class];
    wr_cache_entry *base = base_of(bin);
    size_t rest = (size_t)(top_of(bin) - base) - count;
    begin_change(cache, class);
    memcpy(out, (void *)base, count * sizeof *base);
    memmove((void *)base, (void *)(base + count), rest * sizeof *base);
    wr_store_relaxed(&bin->top, base + rest);
    end_change(cache);
}

/* Returns the `count` oldest blocks of a bin to their slabs. */
static void flush(wr_cache *cache, unsigned class, unsigned count, const char *function)
{
    void *blocks[WR_BATCH_BLOCKS];
    while (count > 0) {
        unsigned n = count < WR_BATCH_BLOCKS ? count : WR_BATCH_BLOCKS;
        take_oldest(cache, class, n, blocks);
        wr_bin_return(n, blocks, function);
        count -= n;
    }
}

static unsigned length_of(const wr_cache_bin *bin)
{
    return (unsigned)(top_of(bin) - base_of(bin));
}

static void leave_slab(wr_cache_bin *bin)
{
    wr_span *slab = bin->slab;
    if (slab != NULL) {
        bin->slab = NULL;
        wr_bin_give_up(slab);
    }
}

/* Every so many slow calls one bin is looked at: unused since the last look, it shrinks by half. */
static void visit_next(wr_cache *cache)
{
    enum { CALLS_PER_VISIT = 64 };
    if (wr_load_relaxed(&cache->slow_calls) % CALLS_PER_VISIT != 0) {
        return;
    }
    unsigned class = cache->visit % (WR_CLASS_COUNT - 1) + 1;
    cache->visit = class;
    if (cache->recent[class]) {
        cache->recent[class] = 0;
        return;
    }
    cache->heat[class] = 0;
    leave_slab(&cache->bins[class]);
    unsigned capacity = cache->capacity[class] / 2;
    if (capacity >= WR_CACHE_COLD_BLOCKS || class > cold_classes()) {
        unsigned length = length_of(&cache->bins[class]);
        flush(cache, class, length > capacity ? length - capacity : 0, "free");
        set_capacity(cache, class, capacity);
    }
}

static void count_slow_call(wr_cache *cache, unsigned class)
{
    wr_cache_count_up(&cache->slow_calls, 1);
    cache->recent[class] = 1;
    if (cache->heat[class] < UINT8_MAX) {
        cache->heat[class]++;
    }
    visit_next(cache);
}

void *wr_cache_refill(wr_cache *cache, unsigned class)
{
    wr_cache_bin *bin = &cache->bins[class];
    count_slow_call(cache, class);
    WR_ASSERT(length_of(bin) == 0);
    grow(cache, class);
    void *blocks[WR_BATCH_BLOCKS];
    unsigned want = cache->capacity[class] / 2u + 1;
    unsigned got = wr_bin_refill(&cache->source[class], &bin->slab,
                                 want < WR_BATCH_BLOCKS ? want : WR_BATCH_BLOCKS, blocks);
    if (got == 0) {
        return NULL;
    }
    if (cache->heat[class] < WR_CACHE_HOT_REFILLS) {
        leave_slab(bin); /* threads that use a class in passing share slabs */
    }
    wr_cache_count_up(&cache->served_bytes, got * (size_t)wr_size_classes[class].block_bytes);
    /* The lowest address goes out first. */
    wr_cache_entry *top = base_of(bin);
    for (unsigned i = got; i-- > 1;) {
        wr_store_relaxed(top, blocks[i]);
        top++;
    }
    wr_store_relaxed(&bin->top, top);
    return blocks[0];
}

void wr_cache_overflow(wr_cache *cache, unsigned class, void *block, const char *function)
{
    wr_cache_bin *bin = &cache->bins[class];
    count_slow_call(cache, class);
    grow(cache, class);
    unsigned capacity = cache->capacity[class];
    if (capacity == 0) {
        wr_bin_return(1, &block, function);
        return;
    }
    if (length_of(bin) == capacity) {
        unsigned half = (capacity + 1) / 2;
        flush(cache, class, half < WR_BATCH_BLOCKS ? half : WR_BATCH_BLOCKS, function);
    }
    wr_cache_entry *top = top_of(bin);
    wr_store_relaxed(top, block);
    wr_store_relaxed(&bin->top, top + 1);
}

void wr_cache_leave_slabs(wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        leave_slab(&cache->bins[class]);
    }
}

void wr_cache_drain(wr_cache *cache)
{
    wr_cache_leave_slabs(cache);
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        flush(cache, class, length_of(&cache->bins[class]), "free");
    }
}

void wr_cache_recover(wr_cache *cache)
{
    /* What the thread did before it set or cleared the mark; pairs with begin_change() and
     * end_change(). */
    unsigned class = wr_load_acquire(&cache->changing);
    if (class != 0) {
        wr_cache_bin *bin = &cache->bins[class];
        cache->capacity[class] = (uint16_t)wr_cache_capacity_max(class);
        wr_store_relaxed(&bin->base, hot_array(cache, class));
        wr_store_relaxed(&bin->top, hot_array(cache, class));
        bin->end = hot_array(cache, class) + cache->capacity[class];
        end_change(cache);
    }
    for (unsigned c = 1; c < WR_CLASS_COUNT; c++) {
        if (cache->bins[c].slab != NULL) {
            wr_slab_recount(cache->bins[c].slab);
        }
    }
    wr_cache_leave_slabs(cache);
}

void wr_cache_assert_valid(const wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_cache_bin *bin = &cache->bins[class];
        WR_ASSERT(base_of(bin) <= top_of(bin) && top_of(bin) <= bin->end);
        WR_ASSERT(bin->end - base_of(bin) == cache->capacity[class]);
    }
    WR_ASSERT(length_of(&cache->bins[WR_CLASS_NONE]) == 0);
}
