/* C17 and C23: malloc, calloc, realloc, free and their sized and aligned kin, under their weir_
 * names and, but in the plain library, as the libc names. Documented in include/weir/weir.h. */
#include "api/fast.h"
#include "api/names.h"

#include "weir/weir.h"

#include <errno.h>
#include <string.h>

void *weir_malloc(size_t size)
{
    return wr_fast_malloc(size);
}

void weir_free(void *ptr)
{
    if (!wr_fast_return(ptr)) {
        wr_slow_free(ptr);
    }
}

void *weir_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (WR_UNLIKELY(!wr_multiply(count, size, &bytes))) {
        bytes = SIZE_MAX; /* too large for any heap: fails as such */
    }
    size_t mark;
    void *block;
    if (WR_UNLIKELY(!wr_size_find_mark(bytes, &mark)) || WR_UNLIKELY(!wr_fast_pop(mark, &block))) {
        return wr_slow_calloc(bytes);
    }
    return memset(block, 0, bytes);
}

/* Moves what the block at ptr, of a class, holds of `size` bytes to another block. */
WR_NOINLINE static void *move(void *block, void *ptr, size_t mark, size_t size)
{
    memcpy(block, ptr, wr_min(wr_size_classes[mark / WR_CLASS_MARK_UNIT].block_bytes, size));
    if (WR_UNLIKELY(!wr_fast_push(mark, ptr))) {
        wr_slow_free_moved(ptr);
    }
    return block;
}

void *weir_realloc(void *ptr, size_t size)
{
    size_t mark;
    if (WR_LIKELY(size != 0) && WR_LIKELY(wr_size_find_mark(size, &mark))) {
        size_t old_mark = wr_region_mark_of((uintptr_t)ptr);
        /* Same class, same block: the common case of buffers that hardly grow. */
        if (WR_LIKELY(old_mark == mark)) {
            return ptr;
        }
        void *block;
        if (old_mark != wr_class_mark_of(WR_CLASS_NONE) && WR_LIKELY(wr_fast_pop(mark, &block))) {
            return move(block, ptr, old_mark, size);
        }
    }
    return wr_slow_realloc(ptr, size);
}

void weir_free_sized(void *ptr, size_t size)
{
    if (!wr_fast_return_sized(ptr, size)) {
        wr_slow_free_sized(ptr, size);
    }
}

void *weir_aligned_alloc(size_t alignment, size_t size)
{
    if (WR_UNLIKELY(!wr_is_power_of_two(alignment))) {
        errno = EINVAL;
        return NULL;
    }
    return wr_fast_aligned(alignment, size);
}

void weir_free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
    if (!wr_fast_return_aligned(ptr, alignment, size)) {
        wr_slow_free_aligned_sized(ptr, alignment, size);
    }
}

WR_LIBC_NAME(malloc, weir_malloc, void *, (size_t size))
WR_LIBC_NAME(free, weir_free, void, (void *ptr))
WR_LIBC_NAME(cfree, weir_free, void, (void *ptr))
WR_LIBC_NAME(calloc, weir_calloc, void *, (size_t count, size_t size))
WR_LIBC_NAME(realloc, weir_realloc, void *, (void *ptr, size_t size))
WR_LIBC_NAME(free_sized, weir_free_sized, void, (void *ptr, size_t size))
WR_LIBC_NAME(aligned_alloc, weir_aligned_alloc, void *, (size_t alignment, size_t size))
WR_LIBC_NAME(free_aligned_sized, weir_free_aligned_sized, void,
             (void *ptr, size_t alignment, size_t size))
