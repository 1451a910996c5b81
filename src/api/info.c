/* Questions about addresses and sizes. Documented in include/weir/weir.h. */
#include "heap/alloc.h"

#include "weir/weir.h"

size_t weir_good_size(size_t size)
{
    return size > PTRDIFF_MAX ? size : wr_alloc_good_size(size);
}

int weir_owns(const void *ptr)
{
    return wr_span_find((uintptr_t)ptr) != NULL;
}
