/* See capacity.h. */
#include "cache/capacity.h"

#include "base/assert.h"
#include "base/options.h"
#include "cache/stack.h"

/* Bytes of all hot bins of all threads. Relaxed: a cap that may be overrun for a moment. */
static _Atomic size_t hot_bytes;

/* ---- where arrays lie ---- */

#define ENTRIES(block_bytes)                                                                       \
    (WR_CACHE_BIN_BYTES / (block_bytes) > WR_CACHE_BIN_BLOCKS ? WR_CACHE_BIN_BLOCKS                \
     : WR_CACHE_BIN_BYTES / (block_bytes) < WR_CACHE_BIN_BLOCKS_MIN                                \
         ? WR_CACHE_BIN_BLOCKS_MIN                                                                 \
         : WR_CACHE_BIN_BYTES / (block_bytes))

/* The arrays of hot bins: behind the first page, one after the other, each as large as it may get,
 * so that a bin moves once and costs page frames only when it is hot. */
#define WR_SIZE_CLASS(block_bytes, reciprocal, blocks, slices)                                     \
    wr_cache_entry of_##block_bytes[ENTRIES(block_bytes)];
typedef struct hot_arrays {
    wr_cache_entry head[WR_CACHE_HEAD_BYTES / sizeof(wr_cache_entry)];
#include "size/size_table.inc"
} hot_arrays;
#undef WR_SIZE_CLASS

_Static_assert(sizeof(hot_arrays) <= WR_CACHE_BYTES, "they end where a cache does");

#define COLD_ENTRIES(block_bytes)                                                                  \
    ((block_bytes) >= WR_CACHE_LINE_BYTES && (block_bytes) <= WR_CACHE_COLD_BYTES                  \
         ? WR_CACHE_COLD_BLOCKS                                                                    \
         : 0)

/* How long each is, and where it begins, in entries from the cache on; places of a cold bin. */
#define WR_SIZE_CLASS(block_bytes, reciprocal, blocks, slices)                                     \
    {ENTRIES(block_bytes), offsetof(hot_arrays, of_##block_bytes) / sizeof(wr_cache_entry),        \
     COLD_ENTRIES(block_bytes)},
static const struct {
    uint16_t entries;
    uint16_t array;
    uint16_t cold_entries;
} hot[WR_CLASS_COUNT] = {
    {0, 0, 0}, /* class 0: no plain block */
#include "size/size_table.inc"
};
#undef WR_SIZE_CLASS

unsigned wr_capacity_max(unsigned class)
{
    return hot[class].entries;
}

/* Classes up to this one have a cold array: all of at most WR_CACHE_COLD_BYTES. */
static unsigned cold_classes(void)
{
    return wr_size_class_of(WR_CACHE_COLD_BYTES);
}

unsigned wr_capacity_cold(unsigned class)
{
    return hot[class].cold_entries;
}

/* The array of a cold bin, in the page of the cache's head. */
static size_t cold_array(unsigned class)
{
    return offsetof(wr_cache, cold) / sizeof(wr_cache_entry) + (class - 1) * WR_CACHE_COLD_BLOCKS;
}

/* Slow calls of a class before a cache holds blocks of it back, beyond what the class asks for
 * itself: none while there are few threads. */
static unsigned patience(void)
{
    return wr_cache_count() <= WR_CACHE_FEW ? 0 : WR_CACHE_PATIENCE;
}

void wr_capacity_open(wr_cache *cache, unsigned class)
{
    WR_ASSERT(sizeof(wr_cache) + cold_classes() * WR_CACHE_COLD_BLOCKS * sizeof(wr_cache_entry) <=
              WR_CACHE_HEAD_BYTES);
    cache->capacity[class] = (uint16_t)(patience() == 0 ? wr_capacity_cold(class) : 0);
    cache->array[class] =
        (uint16_t)(class <= cold_classes() ? cold_array(class) : hot[class].array);
    wr_stack_place(cache, class, NULL, 0);
    wr_stack_set_end(cache, class, false);
}

/* ---- the budget ---- */

/* The part of a capacity that counts: places that cold bins do not have. */
static size_t hot_bytes_of(unsigned class, unsigned capacity)
{
    unsigned cold = wr_capacity_cold(class);
    return capacity <= cold ? 0 : (capacity - cold) * (size_t)wr_size_classes[class].block_bytes;
}

static size_t hot_bytes_of_all(const wr_cache *cache)
{
    size_t bytes = 0;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        bytes += hot_bytes_of(class, cache->capacity[class]);
    }
    return bytes;
}

static void count_hot_bytes(wr_cache *cache, size_t more, size_t fewer)
{
    (void)wr_fetch_add_relaxed(&hot_bytes, more - fewer);
    cache->hot_bytes += more - fewer;
}

size_t wr_capacity_hot_bytes(void)
{
    return wr_load_relaxed(&hot_bytes);
}

/* ---- change ---- */

void wr_capacity_set(wr_cache *cache, unsigned class, unsigned capacity)
{
    unsigned length = wr_stack_length(cache, class);
    WR_ASSERT(length <= capacity && capacity <= wr_capacity_max(class));
    bool closed = wr_stack_is_closed(cache, class) && cache->capacity[class] != 0;
    bool cold = class <= cold_classes() && capacity <= WR_CACHE_COLD_BLOCKS;
    const wr_cache_entry *from = wr_stack_base(cache, class);
    count_hot_bytes(cache, hot_bytes_of(class, capacity),
                    hot_bytes_of(class, cache->capacity[class]));
    wr_stack_begin_change(cache, class);
    cache->capacity[class] = (uint16_t)capacity;
    cache->array[class] = (uint16_t)(cold ? cold_array(class) : hot[class].array);
    wr_stack_place(cache, class, from, length);
    wr_stack_set_end(cache, class, closed);
    wr_stack_end_change(cache);
}

/* Slow calls of a bin before it grows from a capacity. */
static unsigned heat_to_grow(unsigned class, unsigned capacity, bool is_free)
{
    if (capacity != 0) {
        return 2;
    }
    unsigned heat = class <= cold_classes() && !is_free ? 1 : WR_CACHE_HOT_REFILLS;
    return heat > patience() ? heat : patience();
}

/* Frees alone make a bin so large that blocks go back many at a time; more is for a thread that
 * runs out of them now and then. Else who frees what others allocate would hold back for nothing as
 * much as they do. */
static unsigned most_by_frees(unsigned class)
{
    size_t blocks = WR_CACHE_FREES_BYTES / wr_size_classes[class].block_bytes;
    return (unsigned)wr_min(blocks, WR_CACHE_FREES_BLOCKS);
}

/* Capacity doubles with each slow call once a class is used more than in passing; a class without a
 * cold array waits till it is hot, and so does a bin that has held nothing when its thread frees:
 * the block is one that another thread allocated, and may share a line with others of it. */
void wr_capacity_grow(wr_cache *cache, unsigned class, bool is_free)
{
    unsigned capacity = cache->capacity[class];
    unsigned most = is_free ? most_by_frees(class) : wr_capacity_max(class);
    if (capacity >= most || cache->heat[class] < heat_to_grow(class, capacity, is_free)) {
        return;
    }
    unsigned next = capacity == 0 ? WR_CACHE_COLD_BLOCKS : 2 * capacity;
    next = next < most ? next : most;
    size_t more = hot_bytes_of(class, next) - hot_bytes_of(class, capacity);
    if (wr_load_relaxed(&hot_bytes) + more <= wr_option_get(wr_option_cache_max)) {
        wr_capacity_set(cache, class, next);
    }
}

bool wr_capacity_takes_frees(const wr_cache *cache, unsigned class)
{
    return cache->heat[class] >= heat_to_grow(class, 0, true);
}

unsigned wr_capacity_half(const wr_cache *cache, unsigned class)
{
    unsigned capacity = cache->capacity[class];
    return capacity / 2 >= wr_capacity_cold(class) ? capacity / 2 : capacity;
}

void wr_capacity_cool_down(wr_cache *cache)
{
    if (cache->swept) {
        cache->swept = false;
        count_hot_bytes(cache, hot_bytes_of_all(cache), cache->hot_bytes);
    }
    for (uint64_t warm = cache->warm; warm != 0; warm &= warm - 1) {
        unsigned class = wr_lowest_bit(warm);
        unsigned capacity = wr_capacity_cold(class);
        cache->heat[class] = 0;
        if (wr_stack_length(cache, class) > capacity) {
            continue; /* stays as it is, and warm */
        }
        if (capacity < cache->capacity[class]) {
            wr_capacity_set(cache, class, capacity);
        }
        cache->warm &= ~((uint64_t)1 << class);
    }
}

void wr_capacity_swept(wr_cache *cache)
{
    cache->swept = true;
    cache->idle = true;
    count_hot_bytes(cache, 0, cache->hot_bytes);
}

/* ---- after fork ---- */

void wr_capacity_recover(wr_cache *cache, unsigned class)
{
    cache->warm |= (uint64_t)1 << class;
    cache->capacity[class] = (uint16_t)wr_capacity_max(class);
    cache->array[class] = hot[class].array;
    wr_stack_place(cache, class, NULL, 0);
    wr_stack_set_end(cache, class, false);
}

void wr_capacity_recount(void)
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
