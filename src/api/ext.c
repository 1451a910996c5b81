/* weir's own calls: batches, allocation at least, resizing in place, limits. Documented in weir.h.
 */
#include "api/fast.h"
#include "api/init.h"
#include "heap/limit.h"
#include "heap/reclaim.h"
#include "page/commit.h"

#include "weir/weir.h"

#include <errno.h>

size_t weir_malloc_batch(size_t size, size_t n, void **out)
{
    return wr_slow_malloc_batch(size, n, out);
}

void weir_free_batch(size_t n, void **ptrs)
{
    wr_slow_free_batch(n, ptrs);
}

void *weir_alloc_at_least(size_t size, size_t *actual)
{
    void *object = wr_fast_malloc(size);
    if (object != NULL) {
        *actual = weir_malloc_usable_size(object);
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
    wr_init_follow_forks(); /* a thread that never allocated may purge, too */
    size_t given = wr_reclaim(levels[level], 0);
    wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
    return given;
}

int weir_resize_in_place(void *ptr, size_t size)
{
    if (ptr == NULL || size > PTRDIFF_MAX) {
        return 0;
    }
    return wr_slow_resize_in_place(ptr, wr_max(size, 1));
}

size_t weir_committed(void)
{
    return wr_commit_bytes();
}

int weir_limit_set(size_t soft, size_t hard)
{
    wr_init_follow_forks(); /* it may purge */
    if (!wr_limit_set(soft, hard)) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

void weir_limit_get(size_t *soft, size_t *hard)
{
    wr_limit_get(soft, hard);
}

int weir_limit_callback_set(weir_limit_callback *function, void *argument)
{
    if (!wr_limit_callback_set(function, argument)) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}
