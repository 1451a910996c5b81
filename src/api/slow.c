/* See slow.h. */
#include "api/slow.h"

#include "api/init.h"
#include "heap/alloc.h"
#include "heap/limit.h"

#include <errno.h>

wr_cache *wr_slow_cache(void)
{
    if (WR_UNLIKELY(wr_cache_self == &wr_cache_boot)) {
        wr_init_thread();
    }
    return wr_cache_self;
}

/* Where every call that asked for memory ends: first what its thread owes the soft limit. */
static void *or_enomem(void *object)
{
    wr_limit_answer();
    if (WR_UNLIKELY(object == NULL)) {
        errno = ENOMEM;
    }
    return object;
}

void *wr_slow_malloc(size_t size)
{
    return wr_slow_aligned(1, size);
}

void *wr_slow_aligned(size_t alignment, size_t size)
{
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX) {
        return or_enomem(NULL);
    }
    return or_enomem(wr_alloc(wr_slow_cache(), size, alignment));
}

void *wr_slow_calloc(size_t size)
{
    return or_enomem(size > PTRDIFF_MAX ? NULL : wr_alloc_zero(wr_slow_cache(), size));
}

void *wr_slow_realloc(void *ptr, size_t size)
{
    if (ptr == NULL) {
        return wr_slow_malloc(size);
    }
    if (size == 0) {
        wr_slow_free(ptr);
        return NULL;
    }
    if (size > PTRDIFF_MAX) {
        return or_enomem(NULL);
    }
    return or_enomem(wr_alloc_resize(wr_slow_cache(), ptr, size, "realloc"));
}

void wr_slow_free(void *ptr)
{
    if (ptr != NULL) {
        wr_alloc_free(wr_slow_cache(), ptr, "free");
        wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
    }
}
