/* See memcheck.h. */
#include "diag/memcheck.h"

#include "base/config.h"

#ifdef WR_MEMCHECK
#include <valgrind/memcheck.h>

WR_STARTUP bool wr_memcheck_is_there(void)
{
    char here = 0;
    return VALGRIND_MAKE_MEM_DEFINED(&here, sizeof here) != 0; /* 0 but under memcheck */
}

void wr_memcheck_allocated(uintptr_t address, size_t size, bool zero)
{
    VALGRIND_MALLOCLIKE_BLOCK(address, size, WR_CHECK_ZONE_BYTES, zero);
}

void wr_memcheck_freed(uintptr_t address)
{
    VALGRIND_FREELIKE_BLOCK(address, WR_CHECK_ZONE_BYTES);
}

void wr_memcheck_returned(uintptr_t address, size_t bytes)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(address, bytes);
}

#else

WR_STARTUP bool wr_memcheck_is_there(void)
{
    return false;
}

void wr_memcheck_allocated(uintptr_t address, size_t size, bool zero)
{
    (void)address;
    (void)size;
    (void)zero;
}

void wr_memcheck_freed(uintptr_t address)
{
    (void)address;
}

void wr_memcheck_returned(uintptr_t address, size_t bytes)
{
    (void)address;
    (void)bytes;
}

#endif
