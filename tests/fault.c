/* See fault.h. */
#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

void *__real_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset);
void *__real_mremap(void *start, size_t old_bytes, size_t new_bytes, int flags, ...);
int __real_munmap(void *start, size_t bytes);
int __real_madvise(void *start, size_t bytes, int advice);
void *__real_sbrk(intptr_t increment);

void *__wrap_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mremap(void *start, size_t old_bytes, size_t new_bytes, int flags, ...);
int __wrap_munmap(void *start, size_t bytes);
int __wrap_madvise(void *start, size_t bytes, int advice);
void *__wrap_sbrk(intptr_t increment);

static atomic_uint refused_calls;
static atomic_uint starved_calls;
static atomic_uint armed_calls;
static atomic_size_t first_number;
static atomic_size_t end_number; /* the first that does not fail any more */
static atomic_size_t counted;
static atomic_size_t failed;
static atomic_uint calls_seen;

void fault_arm(unsigned calls, size_t first, size_t length)
{
    fault_disarm();
    atomic_store(&counted, 0);
    atomic_store(&first_number, first);
    atomic_store(&end_number, length < SIZE_MAX - first ? first + length : SIZE_MAX);
    atomic_store(&armed_calls, calls);
}

void fault_disarm(void)
{
    atomic_store(&armed_calls, 0);
}

void fault_refuse(unsigned calls)
{
    atomic_store(&refused_calls, calls);
}

void fault_starve(unsigned calls)
{
    atomic_store(&starved_calls, calls);
}

size_t fault_counted(void)
{
    return atomic_load(&counted);
}

size_t fault_failed(void)
{
    return atomic_load(&failed);
}

unsigned fault_calls_seen(void)
{
    return atomic_load(&calls_seen);
}

/* Counts a call of those that are armed; true if its turn to fail has come. */
static bool is_its_turn(unsigned call)
{
    if ((atomic_load(&armed_calls) & call) == 0) {
        return false;
    }
    size_t number = atomic_fetch_add(&counted, 1) + 1;
    return number >= atomic_load(&first_number) && number < atomic_load(&end_number);
}

/* True, with errno set, if a call is to fail. */
static bool fails(unsigned call)
{
    atomic_fetch_or(&calls_seen, call);
    unsigned refused = atomic_load(&refused_calls) | atomic_load(&starved_calls);
    if ((refused & call) == 0 && !is_its_turn(call)) {
        return false;
    }
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return true;
}

void *__wrap_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset)
{
    return fails(FAULT_MMAP) ? MAP_FAILED
                             : __real_mmap(start, bytes, protection, flags, file, offset);
}

void *__wrap_mremap(void *start, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    void *place = NULL;
    if ((flags & MREMAP_FIXED) != 0) {
        va_list more;
        va_start(more, flags);
        place = va_arg(more, void *);
        va_end(more);
    }
    if (!fails(FAULT_MREMAP)) {
        return (flags & MREMAP_FIXED) != 0
                   ? __real_mremap(start, old_bytes, new_bytes, flags, place)
                   : __real_mremap(start, old_bytes, new_bytes, flags);
    }
    /* The kernel clears the place before it finds out that it cannot move. */
    if (place != NULL) {
        (void)__real_munmap(place, new_bytes);
        errno = ENOMEM;
    }
    return MAP_FAILED;
}

int __wrap_munmap(void *start, size_t bytes)
{
    int result = fails(FAULT_MUNMAP) ? -1 : __real_munmap(start, bytes);
    if (result == 0) {
        atomic_store(&starved_calls, 0);
    }
    return result;
}

int __wrap_madvise(void *start, size_t bytes, int advice)
{
    return fails(FAULT_MADVISE) ? -1 : __real_madvise(start, bytes, advice);
}

void *__wrap_sbrk(intptr_t increment)
{
    return fails(FAULT_SBRK) ? (void *)-1 : __real_sbrk(increment);
}
