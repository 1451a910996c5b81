/* POSIX and GNU: posix_memalign, reallocarray, memalign, valloc, pvalloc, malloc_usable_size,
 * mallopt, malloc_trim. Documented in include/weir/weir.h. */
#include "api/fast.h"
#include "api/init.h"
#include "api/names.h"
#include "diag/check.h"
#include "heap/large.h"
#include "heap/limit.h"
#include "heap/reclaim.h"
#include "os/host.h"

#include "weir/weir.h"

#include <errno.h>

void *weir_reallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;
    if (WR_UNLIKELY(!wr_multiply(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return weir_realloc(ptr, bytes);
}

int weir_posix_memalign(void **memptr, size_t alignment, size_t size)
{
    if (!wr_is_power_of_two(alignment) || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    int saved = errno;
    void *object = weir_aligned_alloc(alignment, size);
    if (object == NULL) {
        errno = saved;
        return ENOMEM;
    }
    *memptr = object;
    return 0;
}

void *weir_memalign(size_t alignment, size_t size)
{
    return weir_aligned_alloc(alignment, size);
}

void *weir_valloc(size_t size)
{
    return weir_aligned_alloc(wr_host_page_bytes(), size);
}

void *weir_pvalloc(size_t size)
{
    size_t page = wr_host_page_bytes();
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return weir_aligned_alloc(page, wr_max(wr_align_up(size, page), page));
}

size_t weir_malloc_usable_size(const void *ptr)
{
    unsigned class = wr_region_class_of((uintptr_t)ptr);
    if (WR_LIKELY(class != WR_CLASS_NONE)) {
        return wr_size_classes[class].block_bytes;
    }
    return ptr == NULL ? 0 : wr_slow_usable_size(ptr);
}

/* The parameters of mallopt(3), as malloc.h numbers them. */
enum {
    PARAMETER_MXFAST = 1,
    PARAMETER_MMAP_THRESHOLD = -3,
    PARAMETER_CHECK_ACTION = -5,
    PARAMETER_ARENA_MAX = -8, /* the last of the negative ones */
};

int weir_mallopt(int parameter, int value)
{
    if (parameter == PARAMETER_MMAP_THRESHOLD) {
        if (value < 0 || (size_t)value > WR_MMAP_THRESHOLD_MAX_BYTES) {
            return 0;
        }
        wr_large_pin_threshold((size_t)value);
        return 1;
    }
    if (parameter == PARAMETER_CHECK_ACTION) {
        wr_check_set_action((unsigned)value & 7);
        return 1;
    }
    return parameter == PARAMETER_MXFAST || (parameter <= -1 && parameter >= PARAMETER_ARENA_MAX);
}

int weir_malloc_trim(size_t pad)
{
    wr_init_follow_forks(); /* as weir_purge() */
    bool given = wr_reclaim(WR_RECLAIM_ALL, pad) != 0;
    wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
    return given;
}

WR_LIBC_NAME(reallocarray, weir_reallocarray, void *, (void *ptr, size_t count, size_t size))
WR_LIBC_NAME(posix_memalign, weir_posix_memalign, int,
             (void **memptr, size_t alignment, size_t size))
WR_LIBC_NAME(memalign, weir_memalign, void *, (size_t alignment, size_t size))
WR_LIBC_NAME(valloc, weir_valloc, void *, (size_t size))
WR_LIBC_NAME(pvalloc, weir_pvalloc, void *, (size_t size))
WR_LIBC_NAME(malloc_usable_size, weir_malloc_usable_size, size_t, (const void *ptr))
WR_LIBC_NAME(mallopt, weir_mallopt, int, (int parameter, int value))
WR_LIBC_NAME(malloc_trim, weir_malloc_trim, int, (size_t pad))
