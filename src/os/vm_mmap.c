/* mmap, mremap and madvise behind vm.h.
 *
 * Alignment beyond a page costs one system call in the common case: each mapping asks for the place
 * below the last one, and only where that is taken a larger mapping is made and trimmed. */
#include "os/vm.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/host.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* Not in older headers; from the kernel's linux/prctl.h. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME 0
#endif

static _Atomic size_t mapped_bytes;
static _Atomic size_t mapped_peak_bytes;
static _Atomic size_t given_back_bytes; /* relaxed: a statistic */

/* Where the last mapping began: a guess for the next, so any value is right and no order needed. */
static _Atomic uintptr_t last_start;

void wr_vm_count_mapped(size_t more_bytes, size_t fewer_bytes)
{
    /* Statistics only: relaxed, and the peak may miss a sum that no thread saw. */
    size_t now = wr_fetch_add_relaxed(&mapped_bytes, more_bytes - fewer_bytes);
    now += more_bytes - fewer_bytes;
    size_t peak = wr_load_relaxed(&mapped_peak_bytes);
    while (now > peak && !wr_cas_weak_relaxed(&mapped_peak_bytes, &peak, now)) {
    }
}

void wr_vm_count_given_back(size_t bytes)
{
    (void)wr_fetch_add_relaxed(&given_back_bytes, bytes);
}

size_t wr_vm_given_back_bytes(void)
{
    return wr_load_relaxed(&given_back_bytes);
}

size_t wr_vm_mapped_bytes(void)
{
    return wr_load_relaxed(&mapped_bytes);
}

size_t wr_vm_mapped_peak_bytes(void)
{
    return wr_load_relaxed(&mapped_peak_bytes);
}

/* MAP_FAILED becomes NULL. */
static void *map_at(uintptr_t hint, size_t bytes, int protection)
{
    void *p =
        mmap((void *)hint, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* An address range at a multiple of alignment, with the given protection. */
static void *map_aligned(size_t bytes, size_t alignment, int protection)
{
    uintptr_t last = wr_load_relaxed(&last_start);
    uintptr_t hint = last > bytes ? wr_align_down(last - bytes, alignment) : 0;
    void *p = map_at(hint, bytes, protection);
    if (p == NULL) {
        return NULL;
    }
    if (((uintptr_t)p & (alignment - 1)) != 0) {
        (void)munmap(p, bytes);
        size_t room = bytes + alignment - wr_host_page_bytes();
        uintptr_t start = room < bytes ? 0 : (uintptr_t)map_at(0, room, protection);
        if (start == 0) {
            return NULL;
        }
        uintptr_t aligned = wr_align_up(start, alignment);
        if (aligned != start) {
            (void)munmap((void *)start, aligned - start);
        }
        if (aligned + bytes != start + room) {
            (void)munmap((void *)(aligned + bytes), start + room - (aligned + bytes));
        }
        p = (void *)aligned;
    }
    wr_store_relaxed(&last_start, (uintptr_t)p);
    return p;
}

void *wr_vm_map(size_t bytes, size_t alignment)
{
    int saved = errno;
    void *p = map_aligned(bytes, alignment, PROT_READ | PROT_WRITE);
    errno = saved;
    if (p != NULL) {
        wr_vm_count_mapped(bytes, 0);
    }
    return p;
}

bool wr_vm_unmap(void *start, size_t bytes)
{
    int saved = errno;
    bool done = munmap(start, bytes) == 0;
    errno = saved;
    if (done) {
        wr_vm_count_mapped(0, bytes);
        wr_vm_count_given_back(bytes);
    }
    return done;
}

bool wr_vm_purge(void *start, size_t bytes)
{
    int saved = errno;
    bool done = madvise(start, bytes, MADV_DONTNEED) == 0;
    errno = saved;
    if (done) {
        wr_vm_count_given_back(bytes);
    }
    return done;
}

bool wr_vm_purge_lazily(void *start, size_t bytes)
{
    int saved = errno;
    bool done = madvise(start, bytes, MADV_FREE) == 0;
    errno = saved;
    return done;
}

/* Set when the kernel does not know names; relaxed: one call more does no harm. */
static _Atomic bool names_refused;

void wr_vm_name(void *start, size_t bytes, const char *name)
{
    if (wr_load_relaxed(&names_refused)) {
        return;
    }
    int saved = errno;
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, bytes, name) != 0 && errno == EINVAL) {
        wr_store_relaxed(&names_refused, true);
    }
    errno = saved;
}

bool wr_vm_set_dumped(void *start, size_t bytes, bool dumped)
{
    int saved = errno;
    bool done = madvise(start, bytes, dumped ? MADV_DODUMP : MADV_DONTDUMP) == 0;
    errno = saved;
    return done;
}

bool wr_vm_set_accessible(void *start, size_t bytes, bool accessible)
{
    int saved = errno;
    bool done = mprotect(start, bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
    errno = saved;
    return done;
}

void wr_vm_set_huge(void *start, size_t bytes, bool huge)
{
    int saved = errno;
    (void)madvise(start, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    errno = saved;
}

/* Counts mappings that left their addresses. Another thread may get these next, by a mapping of its
 * own that grows into them: the kernel orders the two, and this says so in the memory model. */
static _Atomic uint32_t moves;

bool wr_vm_grow(void *start, size_t old_bytes, size_t new_bytes)
{
    int saved = errno;
    bool done = mremap(start, old_bytes, new_bytes, 0) != MAP_FAILED;
    errno = saved;
    if (done) {
        /* Observes what was done there by who had the addresses; pairs with wr_vm_move(). */
        (void)wr_load_acquire(&moves);
        wr_vm_count_mapped(new_bytes - old_bytes, 0);
    }
    return done;
}

void *wr_vm_reserve(size_t bytes, size_t alignment)
{
    int saved = errno;
    void *place = map_aligned(bytes, alignment, PROT_NONE);
    errno = saved;
    return place;
}

void wr_vm_unreserve(void *start, size_t bytes)
{
    int saved = errno;
    (void)munmap(start, bytes);
    errno = saved;
}

bool wr_vm_move(void *start, size_t old_bytes, void *reserved, size_t new_bytes)
{
    int saved = errno;
    /* Publishes what was done at the addresses that are left; pairs with wr_vm_grow(). */
    (void)wr_fetch_add_seq_cst(&moves, 1);
    /* A kernel that fails here may have unmapped the reserved addresses before, and another thread
     * may have them by now: so they are left alone. At worst addresses without memory stay taken.
     */
    bool done =
        mremap(start, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reserved) != MAP_FAILED;
    errno = saved;
    if (done) {
        wr_vm_count_mapped(new_bytes - old_bytes, 0);
    }
    return done;
}
