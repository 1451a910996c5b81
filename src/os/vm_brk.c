/* The data segment behind vm.h.
 *
 * Uses libc's sbrk, never the system call: libc remembers the break, and a program's own sbrk would
 * otherwise move it back over weir's memory. */
#include "os/vm.h"

#include "base/bits.h"
#include "base/config.h"

#include <errno.h>
#include <unistd.h>

static const wr_vm_range empty_range = {0, 0};

static wr_vm_range extend(size_t bytes)
{
    uintptr_t seen = (uintptr_t)sbrk(0);
    if (seen == (uintptr_t)-1) {
        return empty_range;
    }
    size_t gap = wr_align_up(seen, WR_SLICE_BYTES) - seen;
    if (bytes > PTRDIFF_MAX - gap) {
        return empty_range;
    }
    uintptr_t old = (uintptr_t)sbrk((intptr_t)(gap + bytes));
    if (old == (uintptr_t)-1) {
        return empty_range;
    }
    /* old differs from seen if the program moved the break in between: then the range shrinks. */
    wr_vm_range range = {wr_align_up(old, WR_SLICE_BYTES),
                         wr_align_down(old + gap + bytes, WR_SLICE_BYTES)};
    wr_vm_count_mapped(gap + bytes, 0);
    return range.start < range.end ? range : empty_range;
}

wr_vm_range wr_vm_brk_extend(size_t bytes)
{
    int saved = errno;
    wr_vm_range range = extend(bytes);
    errno = saved;
    return range;
}

bool wr_vm_brk_shrink(uintptr_t start, uintptr_t end)
{
    int saved = errno;
    bool done =
        (uintptr_t)sbrk(0) == end && (uintptr_t)sbrk(-(intptr_t)(end - start)) != (uintptr_t)-1;
    errno = saved;
    if (done) {
        wr_vm_count_mapped(0, end - start);
        wr_vm_count_given_back(end - start);
    }
    return done;
}
