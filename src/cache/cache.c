/* See cache.h. */
#include "cache/cache.h"

#include "base/assert.h"
#include "base/options.h"
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
static size_t cold_array(unsigned class)
{
    return offsetof(wr_cache, cold) / sizeof(wr_cache_entry) + (class - 1) * WR_CACHE_COLD_BLOCKS;
}

/* The array of a hot bin: behind the first page, one after the other, each as large as it may get,
 * so that a bin moves once and costs page frames only when it is hot. */
static size_t hot_array(unsigned class)
{
    size_t entries = WR_CACHE_HEAD_BYTES / sizeof(wr_cache_entry);
    for (unsigned c = 1; c < class; c++) {
        entries += wr_cache_capacity_max(c);
    }
    WR_ASSERT((entries + wr_cache_capacity_max(class)) * sizeof(wr_cache_entry) <= WR_CACHE_BYTES);
    return entries;
}

/* Slow calls of a class before a cache holds blocks of it back, beyond what the class asks for
 * itself: none while there are few threads. */
static unsigned patience(void)
{
    return wr_cache_count() <= WR_CACHE_FEW ? 0 : WR_CACHE_PATIENCE;
}

/* What a bin may hold before it is hot. */
static unsigned cold_capacity(unsigned class)
{
    return class <= cold_classes() && patience() == 0 ? WR_CACHE_COLD_BLOCKS : 0;
}

/* Gives an empty bin its first array, in a cache that no other thread knows. */
static void open_bin(wr_cache *cache, unsigned class)
{
    wr_cache_bin *bin = &cache->bins[class];
    cache->capacity[class] = (uint16_t)cold_capacity(class);
    cache->array[class] =
        (uint16_t)(class <= cold_classes() ? cold_array(class) : hot_array(class));
    wr_store_relaxed(&bin->base, wr_cache_array(cache, class));
    wr_store_relaxed(&bin->top, wr_cache_array(cache, class));
    bin->end = wr_cache_array(cache, class) + cache->capacity[class];
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
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_bin(cache, class);
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

/* The owner's view of a bin: plain loads of its own stores. */
static wr_cache_entry *top_of(const wr_cache_bin *bin)
{
    return wr_load_relaxed(&bin->top);
}

static wr_cache_entry *base_of(const wr_cache_bin *bin)
{
    return wr_load_relaxed(&bin->base);
}

static void set_top(wr_cache_bin *bin, wr_cache_entry *top)
{
    /* Publishes the entries below and what was done in their blocks; pairs with take_from_bin() in
     * cache/steal.c. */
    wr_store_release(&bin->top, top);
}

static unsigned length_of(const wr_cache_bin *bin)
{
    return (unsigned)(top_of(bin) - base_of(bin));
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

/* Places `length` blocks from `from` on at the start of the bin's array. */
static void place(wr_cache *cache, unsigned class, const wr_cache_entry *from, size_t length)
{
    wr_cache_bin *bin = &cache->bins[class];
    wr_cache_entry *array = wr_cache_array(cache, class);
    if (length != 0 && from != array) {
        memmove((void *)array, (const void *)from, length * sizeof *array);
    }
    wr_store_relaxed(&bin->base, array);
    set_top(bin, array + length);
}

/* Moves the blocks down to the start of the array, where a thief left room below them. */
static void close_up(wr_cache *cache, unsigned class)
{
    wr_cache_bin *bin = &cache->bins[class];
    if (WR_UNLIKELY(base_of(bin) != wr_cache_array(cache, class))) {
        begin_change(cache, class);
        place(cache, class, base_of(bin), length_of(bin));
        end_change(cache);
    }
}

static bool is_closed(wr_cache *cache, unsigned class)
{
    return cache->bins[class].end == wr_cache_array(cache, class);
}

static void set_end(wr_cache *cache, unsigned class, bool closed)
{
    cache->bins[class].end = wr_cache_array(cache, class) + (closed ? 0 : cache->capacity[class]);
}

/* A bin whose class is sparse is closed, until it is dense again. */
static void follow_source(wr_cache *cache, unsigned class)
{
    bool sparse = wr_bin_is_sparse(&cache->source[class]);
    if (WR_UNLIKELY(sparse != is_closed(cache, class))) {
        set_end(cache, class, sparse);
    }
}

/* ---- capacity ---- */

/* Bytes of all hot bins of all threads. Relaxed: a cap that may be overrun for a moment. */
static _Atomic size_t hot_bytes;

/* The part of a capacity that counts: places that cold bins do not have. */
static size_t hot_bytes_of(unsigned class, unsigned capacity)
{
    unsigned cold = class <= cold_classes() ? WR_CACHE_COLD_BLOCKS : 0;
    return capacity <= cold ? 0 : (capacity - cold) * (size_t)wr_size_classes[class].block_bytes;
}

static void count_hot_bytes(wr_cache *cache, size_t more, size_t fewer)
{
    (void)wr_fetch_add_relaxed(&hot_bytes, more - fewer);
    cache->hot_bytes += more - fewer;
}

/* Gives a bin another capacity, at least its blocks; moves it when it turns hot or cold. */
static void set_capacity(wr_cache *cache, unsigned class, unsigned capacity)
{
    wr_cache_bin *bin = &cache->bins[class];
    unsigned length = length_of(bin);
    WR_ASSERT(length <= capacity && capacity <= wr_cache_capacity_max(class));
    bool closed = is_closed(cache, class) && cache->capacity[class] != 0;
    bool cold = class <= cold_classes() && capacity <= WR_CACHE_COLD_BLOCKS;
    const wr_cache_entry *from = base_of(bin);
    count_hot_bytes(cache, hot_bytes_of(class, capacity),
                    hot_bytes_of(class, cache->capacity[class]));
    begin_change(cache, class);
    cache->capacity[class] = (uint16_t)capacity;
    cache->array[class] = (uint16_t)(cold ? cold_array(class) : hot_array(class));
    place(cache, class, from, length);
    set_end(cache, class, closed);
    end_change(cache);
}

/* Slow calls of a bin before it grows from a capacity. */
static unsigned heat_to_grow(unsigned class, unsigned capacity)
{
    if (capacity != 0) {
        return 2;
    }
    unsigned heat = class <= cold_classes() ? 1 : WR_CACHE_HOT_REFILLS;
    return heat > patience() ? heat : patience();
}

/* Capacity doubles with each slow call once a class is used more than in passing; a class without a
 * cold array waits till it is hot. */
static void grow(wr_cache *cache, unsigned class)
{
    unsigned capacity = cache->capacity[class];
    unsigned most = wr_cache_capacity_max(class);
    if (capacity == most || cache->heat[class] < heat_to_grow(class, capacity)) {
        return;
    }
    unsigned next = capacity == 0 ? WR_CACHE_COLD_BLOCKS : 2 * capacity;
    next = next < most ? next : most;
    size_t more = hot_bytes_of(class, next) - hot_bytes_of(class, capacity);
    if (wr_load_relaxed(&hot_bytes) + more <= wr_option_get(wr_option_cache_max)) {
        set_capacity(cache, class, next);
    }
}

/* Takes the `count` oldest blocks out of a bin. */
static void take_oldest(wr_cache *cache, unsigned class, unsigned count, void **out)
{
    wr_cache_bin *bin = &cache->bins[class];
    wr_cache_entry *base = base_of(bin);
    begin_change(cache, class);
    memcpy(out, (void *)base, count * sizeof *base);
    place(cache, class, base + count, length_of(bin) - count);
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
    if (!wr_cache_is_tick(cache)) {
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

static size_t hot_bytes_of_all(const wr_cache *cache)
{
    size_t bytes = 0;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        bytes += hot_bytes_of(class, cache->capacity[class]);
    }
    return bytes;
}

/* After a thief was there: the thread was idle, so all bins begin anew. What it has freed since
 * stays where it has filled a bin. */
static void cool_down(wr_cache *cache)
{
    cache->swept = false;
    count_hot_bytes(cache, hot_bytes_of_all(cache), cache->hot_bytes);
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        cache->heat[class] = 0;
        unsigned capacity = class <= cold_classes() ? WR_CACHE_COLD_BLOCKS : 0;
        capacity = capacity < cache->capacity[class] ? capacity : cache->capacity[class];
        if (length_of(&cache->bins[class]) <= capacity) {
            set_capacity(cache, class, capacity);
        }
    }
}

void wr_cache_swept(wr_cache *cache)
{
    cache->swept = true;
    count_hot_bytes(cache, 0, cache->hot_bytes);
}

static void count_slow_call(wr_cache *cache, unsigned class)
{
    wr_cache_count_up(&cache->slow_calls, 1);
    if (WR_UNLIKELY(cache->swept)) {
        cool_down(cache);
    }
    cache->recent[class] = 1;
    if (cache->heat[class] < UINT8_MAX) {
        cache->heat[class]++;
    }
    visit_next(cache);
}

/* ---- refill and overflow ---- */

/* Blocks from the bin, and from the slab that the thread keeps once the class is hot. */
static unsigned take_batch(wr_cache *cache, unsigned class, unsigned most, void **out)
{
    wr_cache_bin *bin = &cache->bins[class];
    unsigned got = wr_bin_refill(&cache->source[class], &bin->slab, most, out);
    if (cache->heat[class] < WR_CACHE_HOT_REFILLS + patience()) {
        leave_slab(bin); /* threads that use a class in passing share slabs */
    }
    wr_cache_count_up(&cache->served_bytes, got * (size_t)wr_size_classes[class].block_bytes);
    return got;
}

unsigned wr_cache_take_batch(wr_cache *cache, unsigned class, unsigned most, void **out)
{
    if (WR_UNLIKELY(!enter(cache))) {
        out[0] = wr_bin_take(&cache->source[class]);
        return out[0] != NULL;
    }
    count_slow_call(cache, class);
    unsigned got = take_batch(cache, class, most, out);
    leave(cache);
    return got;
}

void *wr_cache_refill(wr_cache *cache, unsigned class)
{
    if (WR_UNLIKELY(!enter(cache))) {
        return wr_bin_take(&cache->source[class]);
    }
    wr_cache_bin *bin = &cache->bins[class];
    if (WR_UNLIKELY(length_of(bin) != 0)) {
        /* A thief that had raised base found nothing to take, and has put it back since the call
         * saw the bin empty. */
        wr_cache_entry *top = top_of(bin) - 1;
        set_top(bin, top);
        leave(cache);
        return wr_load_relaxed(top);
    }
    count_slow_call(cache, class);
    close_up(cache, class);
    follow_source(cache, class);
    grow(cache, class);
    void *blocks[WR_BATCH_BLOCKS];
    unsigned want = cache->capacity[class] / 2u + 1;
    unsigned got =
        take_batch(cache, class, want < WR_BATCH_BLOCKS ? want : WR_BATCH_BLOCKS, blocks);
    /* The lowest address goes out first. */
    wr_cache_entry *top = base_of(bin);
    for (unsigned i = got; i-- > 1;) {
        wr_store_relaxed(top, blocks[i]);
        top++;
    }
    set_top(bin, top);
    leave(cache);
    return got == 0 ? NULL : blocks[0];
}

void wr_cache_overflow(wr_cache *cache, unsigned class, void *block, const char *function)
{
    if (WR_UNLIKELY(!enter(cache))) {
        wr_bin_return(1, &block, function);
        return;
    }
    wr_cache_bin *bin = &cache->bins[class];
    count_slow_call(cache, class);
    close_up(cache, class);
    follow_source(cache, class);
    grow(cache, class);
    unsigned capacity = cache->capacity[class];
    if (is_closed(cache, class)) {
        leave(cache);
        wr_bin_return(1, &block, function);
        return;
    }
    if (length_of(bin) == capacity) {
        unsigned half = (capacity + 1) / 2;
        flush(cache, class, half < WR_BATCH_BLOCKS ? half : WR_BATCH_BLOCKS, function);
    }
    wr_cache_entry *top = top_of(bin);
    wr_store_relaxed(top, block);
    set_top(bin, top + 1);
    leave(cache);
}

void wr_cache_leave_slabs(wr_cache *cache)
{
    if (!enter(cache)) {
        return;
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        leave_slab(&cache->bins[class]);
    }
    leave(cache);
}

void wr_cache_drain(wr_cache *cache)
{
    if (!enter(cache)) {
        return;
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        leave_slab(&cache->bins[class]);
        flush(cache, class, length_of(&cache->bins[class]), "free");
    }
    leave(cache);
}

/* ---- after fork ---- */

void wr_cache_settle(wr_cache *cache)
{
    /* Relaxed: the child has one thread. */
    if (wr_load_relaxed(&cache->thief) != 0) {
        for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
            wr_cache_entry *to = wr_cache_array(cache, class);
            wr_cache_entry *top = wr_load_relaxed(&cache->bins[class].top);
            wr_store_relaxed(&cache->bins[class].base, to);
            for (wr_cache_entry *from = to; from < top; from++) {
                void *block = wr_load_relaxed(from);
                if (block != NULL) {
                    wr_store_relaxed(to, block);
                    to++;
                }
            }
            set_top(&cache->bins[class], to);
        }
        wr_store_relaxed(&cache->thief, 0);
    }
    wr_store_relaxed(&cache->busy, 0);
}

void wr_cache_recover(wr_cache *cache)
{
    /* What the thread did before it set or cleared the mark; pairs with begin_change() and
     * end_change(). */
    unsigned class = wr_load_acquire(&cache->changing);
    if (class != 0) {
        wr_cache_bin *bin = &cache->bins[class];
        cache->capacity[class] = (uint16_t)wr_cache_capacity_max(class);
        cache->array[class] = (uint16_t)hot_array(class);
        wr_store_relaxed(&bin->base, wr_cache_array(cache, class));
        wr_store_relaxed(&bin->top, wr_cache_array(cache, class));
        set_end(cache, class, false);
        end_change(cache);
    }
    wr_cache_settle(cache);
    for (unsigned c = 1; c < WR_CLASS_COUNT; c++) {
        if (cache->bins[c].slab != NULL) {
            wr_slab_recount(cache->bins[c].slab);
        }
    }
    wr_cache_leave_slabs(cache);
}

void wr_cache_recount(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache *cache = wr_cache_at(i);
        if (cache != NULL) {
            cache->hot_bytes = hot_bytes_of_all(cache);
            bytes += cache->hot_bytes;
        }
    }
    wr_store_relaxed(&hot_bytes, bytes); /* the child has one thread */
}

void wr_cache_assert_valid(const wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_cache_bin *bin = &cache->bins[class];
        const wr_cache_entry *array = (const wr_cache_entry *)cache + cache->array[class];
        WR_ASSERT(array <= base_of(bin) && base_of(bin) <= top_of(bin));
        WR_ASSERT(top_of(bin) <= array + cache->capacity[class]);
        WR_ASSERT(bin->end == array || bin->end == array + cache->capacity[class]);
        (void)bin, (void)array;
    }
    WR_ASSERT(length_of(&cache->bins[WR_CLASS_NONE]) == 0);
}
