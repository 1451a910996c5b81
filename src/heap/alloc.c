/* See alloc.h. */
#include "heap/alloc.h"

#include "base/report.h"
#include "bin/return.h"
#include "cache/stack.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/large.h"
#include "heap/purger.h"
#include "os/host.h"

#include <string.h>

/* At the end of a slow call: time may have made something due. Not within a free, a thread may be
 * started. */
static void end_slow_call(wr_cache *cache, bool is_free)
{
    wr_purger_poke(wr_cache_is_tick(cache), !is_free);
}

/* The same of one that passes no bin of the cache's; a thread may have none. */
static void count_slow_call(wr_cache *cache, bool is_free)
{
    if (wr_cache_is_real(cache)) {
        wr_cache_count_up(&cache->slow_calls, 1);
        end_slow_call(cache, is_free);
    } else {
        wr_purger_poke(false, false);
    }
}

/* For a block that is the newest of its bin already. */
WR_COLD WR_NORETURN static void report_twice(const void *block, const char *function)
{
    wr_misuse misuse = {.function = function, .what = "double free", .address = (uintptr_t)block};
    const wr_span *slab = wr_span_find(misuse.address);
    if (slab != NULL && wr_span_kind_of(slab) == WR_SPAN_SLAB) { /* else a sized free's fault too */
        misuse.block = misuse.address;
        misuse.block_bytes = slab->block_bytes;
    }
    wr_report_misuse(&misuse);
}

/* False when the bin is full. */
static bool push(wr_cache *cache, unsigned class, void *block, const char *function)
{
    if (wr_stack_length(cache, class) != 0 &&
        wr_load_relaxed(wr_stack_top(cache, class) - 1) == block) {
        report_twice(block, function);
    }
    return wr_stack_push(cache, class, block);
}

static void *try_small(wr_cache *cache, unsigned class)
{
    if (!wr_cache_is_real(cache)) {
        return wr_bin_take(&wr_heap_default.bins[class]);
    }
    void *block = wr_stack_pop(cache, class);
    if (block == NULL) {
        block = wr_cache_refill(cache, class);
        end_slow_call(cache, false);
    }
    return block;
}

static void *alloc_small(wr_cache *cache, unsigned class)
{
    void *block = try_small(cache, class);
    if (WR_UNLIKELY(block == NULL) && wr_keep_release_all() != 0) {
        block = try_small(cache, class);
    }
    return block;
}

/* Large objects pass no cache: they are counted where the call came from. */
static void *count_large(wr_cache *cache, void *object, size_t size)
{
    if (object != NULL && wr_cache_is_real(cache)) {
        wr_cache_count_up(&cache->served_bytes, wr_large_good_size(size));
        count_slow_call(cache, false);
    }
    return object;
}

/* The medium class for a size above the small ones, as far as no mapping is wanted for it. */
static unsigned medium_class(size_t size, size_t alignment)
{
    return wr_large_is_below_threshold(size) ? wr_size_class_of_medium(size, alignment)
                                             : WR_CLASS_NONE;
}

/* A medium block, or a large object: it may be had where no slab may. */
static void *alloc_above_small(wr_cache *cache, size_t size, size_t alignment)
{
    unsigned class = medium_class(size, alignment);
    void *block = class == WR_CLASS_NONE ? NULL : try_small(cache, class);
    return block != NULL ? block : count_large(cache, wr_large_alloc(size, alignment, false), size);
}

void *wr_alloc(wr_cache *cache, size_t size, size_t alignment)
{
    unsigned class = wr_size_class_of_aligned(size, alignment);
    return class != WR_CLASS_NONE ? alloc_small(cache, class)
                                  : alloc_above_small(cache, wr_max(size, 1), alignment);
}

void *wr_alloc_zero(wr_cache *cache, size_t size)
{
    if (size <= WR_SMALL_MAX_BYTES) {
        void *block = alloc_small(cache, wr_size_class_of(size));
        return block == NULL ? NULL : memset(block, 0, size);
    }
    return count_large(cache, wr_large_alloc(size, WR_ALIGNMENT_BYTES, true), size);
}

size_t wr_alloc_batch(wr_cache *cache, size_t size, size_t n, void **out)
{
    size_t done = 0;
    if (size <= WR_SMALL_MAX_BYTES && wr_cache_is_real(cache)) {
        /* What the cache holds goes first, then whole batches from the bin past the cache. */
        unsigned class = wr_size_class_of(size);
        for (void *block; done < n && (block = wr_stack_pop(cache, class)) != NULL; done++) {
            out[done] = block;
        }
        while (done < n) {
            unsigned want = (unsigned)wr_min(n - done, WR_BATCH_BLOCKS);
            unsigned got = wr_cache_take_batch(cache, class, want, out + done);
            if (got == 0) {
                break;
            }
            done += got;
            end_slow_call(cache, false);
        }
    }
    for (; done < n; done++) {
        void *block = wr_alloc(cache, size, 1);
        if (block == NULL) {
            break;
        }
        out[done] = block;
    }
    return done;
}

WR_COLD WR_NORETURN static void report(const wr_span *span, const void *ptr, const char *function)
{
    wr_misuse misuse = {.function = function, .address = (uintptr_t)ptr};
    const wr_span *former = wr_span_at((uintptr_t)ptr);
    if (former != NULL && wr_span_kind_of(former) == WR_SPAN_FREE) {
        misuse.what = "double free";
        misuse.detail = "is the start of memory that was freed";
    } else if (span == NULL) {
        misuse.what = "foreign pointer";
        misuse.detail = "is in no block of this heap";
    } else {
        misuse.what = "not a block start";
        misuse.detail = "lies within";
        misuse.block = span->start;
        misuse.block_bytes = span->bytes;
    }
    wr_report_misuse(&misuse);
}

/* The span that ptr was found in must be that of a large object that starts there; anything else is
 * misuse. */
static void require_large(const wr_span *span, const void *ptr, const char *function)
{
    if (WR_UNLIKELY(span == NULL || wr_span_kind_of(span) == WR_SPAN_FREE ||
                    wr_span_kind_of(span) == WR_SPAN_SLAB ||
                    wr_span_kind_of(span) == WR_SPAN_FENCE || span->start != (uintptr_t)ptr)) {
        report(span, ptr, function);
    }
}

static wr_span *large_span(const void *ptr, const char *function)
{
    wr_span *span = wr_span_find((uintptr_t)ptr);
    require_large(span, ptr, function);
    return span;
}

static void free_small(wr_cache *cache, unsigned class, void *ptr, const char *function)
{
    if (!wr_cache_is_real(cache)) {
        wr_return(1, &ptr, function);
        wr_purger_poke(false, false);
        return;
    }
    if (!push(cache, class, ptr, function)) {
        wr_cache_overflow(cache, class, ptr, function);
        end_slow_call(cache, true);
    }
}

void wr_alloc_free(wr_cache *cache, void *ptr, const char *function)
{
    unsigned class = wr_region_class_of((uintptr_t)ptr);
    if (class != WR_CLASS_NONE) {
        free_small(cache, class, ptr, function);
        return;
    }
    wr_span *span = wr_span_find((uintptr_t)ptr);
    if (WR_UNLIKELY(span == NULL) && wr_host_is_linker_memory((uintptr_t)ptr)) {
        return; /* allocated before weir was there; never to be used again */
    }
    require_large(span, ptr, function);
    if (WR_UNLIKELY(!wr_large_free(span))) {
        report(span, ptr, function);
    }
    count_slow_call(cache, true);
}

/* Blocks that found no room in the cache go to their slabs, a word of a slab's bitmap at a time. */
static void return_past_cache(wr_cache *cache, unsigned count, void **blocks, const char *function)
{
    wr_return(count, blocks, function);
    count_slow_call(cache, true);
}

void wr_alloc_free_batch(wr_cache *cache, size_t n, void **ptrs, const char *function)
{
    void *past[WR_FREE_BATCH_BLOCKS];
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        if (ptrs[i] == NULL) {
            continue;
        }
        unsigned class = wr_region_class_of((uintptr_t)ptrs[i]);
        if (class == WR_CLASS_NONE) {
            wr_alloc_free(cache, ptrs[i], function);
        } else if (!wr_cache_is_real(cache) || !push(cache, class, ptrs[i], function)) {
            past[count++] = ptrs[i];
        }
        if (count == WR_FREE_BATCH_BLOCKS) {
            return_past_cache(cache, count, past, function);
            count = 0;
        }
    }
    if (count != 0) {
        return_past_cache(cache, count, past, function);
    }
}

/* True if a block of the class will do for `size`: a small size must have it for its own class. */
static bool fits_block(unsigned class, size_t size)
{
    return size <= WR_SMALL_MAX_BYTES ? wr_size_class_of(size) == class
                                      : size <= wr_size_classes[class].block_bytes;
}

/* What needs not even half of a medium block is better copied. */
static bool is_wasteful(unsigned class, size_t size)
{
    return size > WR_SMALL_MAX_BYTES && size < wr_size_classes[class].block_bytes / 2;
}

/* Moves an object to a block or object of another kind; `old_bytes` of it are in use. */
static void *resize_by_copy(wr_cache *cache, void *ptr, size_t old_bytes, size_t size,
                            const char *function)
{
    void *moved = size > WR_SMALL_MAX_BYTES && old_bytes < size
                      ? count_large(cache, wr_large_alloc_growing(size), size)
                      : wr_alloc(cache, size, 1);
    if (moved != NULL) {
        memcpy(moved, ptr, wr_min(old_bytes, size));
        wr_alloc_free(cache, ptr, function);
    }
    return moved;
}

void *wr_alloc_resize(wr_cache *cache, void *ptr, size_t size, const char *function)
{
    unsigned class = wr_region_class_of((uintptr_t)ptr);
    if (class != WR_CLASS_NONE) {
        if (fits_block(class, size) && !is_wasteful(class, size)) {
            return ptr;
        }
        return resize_by_copy(cache, ptr, wr_size_classes[class].block_bytes, size, function);
    }
    wr_span *span = large_span(ptr, function);
    size_t old_bytes = span->bytes;
    if (size > WR_SMALL_MAX_BYTES) {
        if (wr_large_resize_in_place(span, size)) {
            count_slow_call(cache, false);
            return ptr;
        }
        void *moved = wr_span_kind_of(span) == WR_SPAN_MAPPED ? wr_large_move(span, size) : NULL;
        if (moved != NULL) {
            count_slow_call(cache, false);
            return moved;
        }
    }
    return resize_by_copy(cache, ptr, old_bytes, size, function);
}

bool wr_alloc_resize_in_place(void *ptr, size_t size, const char *function)
{
    unsigned class = wr_region_class_of((uintptr_t)ptr);
    if (class != WR_CLASS_NONE) {
        return fits_block(class, size);
    }
    wr_span *span = large_span(ptr, function);
    return size > WR_SMALL_MAX_BYTES && wr_large_resize_in_place(span, size);
}

size_t wr_alloc_usable_size(const void *ptr, const char *function)
{
    unsigned class = wr_region_class_of((uintptr_t)ptr);
    return class != WR_CLASS_NONE ? wr_size_classes[class].block_bytes
                                  : large_span(ptr, function)->bytes;
}

size_t wr_alloc_good_size(size_t size)
{
    unsigned class = size <= WR_SMALL_MAX_BYTES ? wr_size_class_of(size) : medium_class(size, 1);
    return class != WR_CLASS_NONE ? wr_size_classes[class].block_bytes : wr_large_good_size(size);
}
