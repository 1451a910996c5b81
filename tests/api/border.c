/* A data segment that a region's border cuts, linked into contract tests: chance puts the real one
 * there once in a thousand starts. sbrk(2).
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "support.h"

#define BORDER       ((uintptr_t)1 << 32) /* a region's bytes (design: one entry per 4 GiB) */
#define BELOW_BORDER (4 * MIB)            /* where the segment starts */
#define SEGMENT      ((size_t)1 << 30)    /* as far as it can grow */

void *__wrap_sbrk(intptr_t increment);

static uintptr_t start; /* of the segment; used under weir's lock on growth */
static uintptr_t end;   /* the break */

static bool find_place(void)
{
    char *window = mmap(NULL, BORDER + SEGMENT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (window == MAP_FAILED) {
        return false;
    }
    uintptr_t first = (uintptr_t)window;
    uintptr_t border = (first + BELOW_BORDER + BORDER - 1) / BORDER * BORDER;
    start = end = border - BELOW_BORDER;
    if (start > first) {
        (void)munmap(window, start - first);
    }
    if (first + BORDER > start) {
        (void)munmap((void *)(start + SEGMENT), first + BORDER - start);
    }
    return true;
}

void *__wrap_sbrk(intptr_t increment)
{
    if (start == 0 && !find_place()) {
        errno = ENOMEM;
        return (void *)-1;
    }
    uintptr_t old = end;
    uintptr_t next = old + (uintptr_t)increment;
    if (next < start || next > start + SEGMENT) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (next < old) {
        (void)madvise((void *)next, old - next, MADV_DONTNEED); /* as the kernel forgets it */
    }
    end = next;
    return (void *)old;
}
