/* What the tests of the page layer share: threads that start together, rounds of storm and rest,
 * windows of address space, a process that the kernel gives nothing more. */
#ifndef WEIR_TESTS_PAGE_PAGE_SUPPORT_H
#define WEIR_TESTS_PAGE_PAGE_SUPPORT_H

#include "support.h"

#include <pthread.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "base/config.h"
#include "os/vm.h"
#include "page/slice.h"

#define THREADS 4

static pthread_barrier_t threads_barrier;

struct thread_start {
    void (*body)(size_t number);
    size_t number;
};

static inline void *thread_enter(void *argument)
{
    const struct thread_start *start = argument;
    pthread_barrier_wait(&threads_barrier);
    start->body(start->number);
    return NULL;
}

/* Runs body(0) to body(THREADS - 1), each in a thread of its own, all from the same moment. */
static inline void run_threads(void (*body)(size_t number))
{
    pthread_t threads[THREADS];
    struct thread_start starts[THREADS];
    assert_int_equal(pthread_barrier_init(&threads_barrier, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++) {
        starts[i].body = body;
        starts[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, thread_enter, &starts[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    pthread_barrier_destroy(&threads_barrier);
}

/* Within a body: true for one of the threads; all others are at the same call. */
static inline bool threads_meet(void)
{
    return pthread_barrier_wait(&threads_barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
}

/* Memory over whole windows of the region table; page frames come with use. */
static inline uintptr_t map_windows(size_t windows)
{
    uintptr_t start = (uintptr_t)wr_vm_map(windows * WR_REGION_BYTES, WR_REGION_BYTES);
    assert_int_not_equal(start, 0);
    return start;
}

/* From here on the kernel refuses every mapping and every move of the break. Only for children:
 * what needs memory of the C library or a sanitizer fails as well. */
static inline void starve(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static inline void feed(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* What the words of the regions say; exact while no other thread uses them. */
struct page_heap {
    size_t available; /* slices */
    size_t dirty;     /* of them */
    size_t zero;      /* of them */
    size_t lazy;      /* the rest of them */
};

/* Counts, and checks what must hold at rest: state bits only where a slice is available, never
 * both, as many without either as are counted as lazy, and a summary that leads to every word that
 * is non-zero. */
static inline struct page_heap page_heap_at_rest(void)
{
    struct page_heap heap = {0, 0, 0, 0};
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        CHECK(region != NULL);
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            uint64_t available = wr_load_relaxed(&region->slices[w].available);
            uint64_t dirty = wr_load_relaxed(&region->slices[w].dirty);
            uint64_t zero = wr_load_relaxed(&region->slices[w].zero);
            CHECK((dirty & zero) == 0);
            CHECK(((dirty | zero) & ~available) == 0);
            CHECK(available == 0 || wr_summary_next(&region->available_words, w) == w);
            CHECK(available == 0 || wr_summary_next(&region->available_words, 0) <= w);
            heap.available += wr_count_bits(available);
            heap.dirty += wr_count_bits(dirty);
            heap.zero += wr_count_bits(zero);
            heap.lazy += wr_count_bits(available & ~dirty & ~zero);
        }
        wr_slice_assert_valid(region);
    }
    CHECK(wr_slice_dirty_count() == heap.dirty);
    CHECK(wr_slice_lazy_count() == heap.lazy);
    return heap;
}

#endif
