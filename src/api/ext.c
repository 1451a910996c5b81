/* weir's own calls: batches, allocation at least, resizing in place. Documented in weir.h. */
#include "api/fast.h"
#include "heap/reclaim.h"

#include "weir/weir.h"

#include <errno.h>

size_t weir_malloc_batch(size_t size, size_t n, void **out)
{
    size_t done = size > PTRDIFF_MAX ? 0 : wr_alloc_batch(wr_slow_cache(), size, n, out);
    if (done < n) {
        errno = ENOMEM;
    }
    return done;
}

void weir_free_batch(size_t n, void **ptrs)
{
    for (size_t i = 0; i < n; i++) {
        wr_fast_free(ptrs[i]);
    }
}

void *weir_alloc_at_least(size_t size, size_t *actual)
{
    void *object = wr_fast_malloc(size);
    if (object != NULL) {
        *actual = wr_alloc_good_size(size);
    }
    return object;
}

size_t weir_purge(int level)
{
    static const wr_reclaim_level levels[] = {
        [WEIR_PURGE_DUE] = WR_RECLAIM_DUE,
        [WEIR_PURGE_FREE] = WR_RECLAIM_FREE,
        [WEIR_PURGE_ALL] = WR_RECLAIM_ALL,
    };
    if (level < 0 || (size_t)level >= WR_ARRAY_LENGTH(levels)) {
        errno = EINVAL;
        return 0;
    }
    return wr_reclaim(levels[level], 0);
}

int weir_resize_in_place(void *ptr, size_t size)
{
    if (ptr == NULL || size > PTRDIFF_MAX) {
        return 0;
    }
    return wr_alloc_resize_in_place(ptr, wr_max(size, 1), "resize_in_place");
}
