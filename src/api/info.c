/* Questions about addresses, sizes and the heap, and statistics. Documented in include/weir/weir.h.
 */
#include "api/slow.h"
#include "base/bits.h"
#include "diag/check.h"
#include "diag/guard.h"
#include "diag/stats.h"
#include "diag/walk.h"
#include "heap/alloc.h"

#include "weir/weir.h"

#include <errno.h>
#include <string.h>

size_t weir_good_size(size_t size)
{
    return size > PTRDIFF_MAX ? size : wr_slow_good_size(size);
}

int weir_owns(const void *ptr)
{
    return wr_span_find((uintptr_t)ptr) != NULL || (wr_guard_is_on() && wr_guard_owns(ptr));
}

size_t weir_heap_check(int alone)
{
    size_t faults = wr_walk_check(alone != 0);
    return wr_check_is_on() ? faults + wr_check_all("heap_check") : faults;
}

/* Hands `known` bytes to a caller who knows `size`. */
static void hand_over(void *to, size_t size, const void *from, size_t known)
{
    memset(to, 0, size);
    memcpy(to, from, wr_min(size, known));
}

int weir_stats_get(weir_stats *stats, size_t size)
{
    if (stats == NULL || size == 0) {
        errno = EINVAL;
        return -1;
    }
    weir_stats now;
    wr_stats_read(&now);
    hand_over(stats, size, &now, sizeof now);
    return 0;
}

int weir_class_stats_get(unsigned n, weir_class_stats *stats, size_t size)
{
    weir_class_stats now;
    if (stats == NULL || size == 0 || !wr_stats_read_class(n, &now)) {
        errno = EINVAL;
        return -1;
    }
    hand_over(stats, size, &now, sizeof now);
    return 0;
}
