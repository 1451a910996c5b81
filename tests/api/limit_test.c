/* Committed bytes and the limits on them. Each case runs in a child, so that it knows all that its
 * heap holds.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "family.h"

#define THREADS 4
#define SLICE   (64 * KIB)

static void run_case(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* What is committed once all that is free has gone back. */
static size_t settled(void)
{
    (void)t_malloc_trim(0);
    return weir_committed();
}

static void *allocate(size_t size)
{
    void *block = t_malloc(size);
    CHECK(block != NULL);
    return block;
}

/* What takes slices of its own, and no block of a slab. */
static void *allocate_slices(size_t size)
{
    void *object = t_calloc(1, size);
    CHECK(object != NULL);
    return object;
}

/* ---- the count ---- */

static void count_mappings(void *unused)
{
    (void)unused;
    size_t before = settled();
    char *huge = allocate(40 * MIB); /* more than is kept */
    CHECK(weir_committed() == before + 40 * MIB);
    memset(huge, 1, 40 * MIB);
    t_free(huge);
    CHECK(weir_committed() == before);
    void *block = allocate(1 * MIB + 1);
    CHECK(weir_committed() == before + 1 * MIB + 4 * KIB); /* whole pages */
    t_free(block);
    CHECK(weir_committed() == before); /* the next of its size is none */
    CHECK(t_mallopt(M_MMAP_THRESHOLD, 128 * KIB) == 1);
    t_free(allocate(1 * MIB + 1));
    CHECK(weir_committed() == before + 1 * MIB + 4 * KIB); /* kept */
    CHECK(settled() == before);
}

static void test_committed_counts_mappings_by_the_page(void **state)
{
    (void)state;
    run_case(count_mappings);
}

static void count_slices(void *unused)
{
    (void)unused;
    t_free(allocate_slices(100 * KIB)); /* brings an extent */
    size_t before = settled();
    void *blocks[20];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = allocate_slices(100 * KIB);
        CHECK(weir_committed() == before + (i + 1) * 2 * SLICE);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
    CHECK(weir_committed() == before + COUNT_OF(blocks) * 2 * SLICE); /* dirty */
    void *again = allocate_slices(100 * KIB);
    CHECK(weir_committed() == before + COUNT_OF(blocks) * 2 * SLICE); /* charged already */
    t_free(again);
    CHECK(settled() == before);
}

static void test_committed_counts_slices_until_they_are_purged(void **state)
{
    (void)state;
    run_case(count_slices);
}

static void count_aligned(void *unused)
{
    (void)unused;
    size_t before = settled();
    for (size_t alignment = 2 * MIB; alignment <= 1024 * MIB; alignment *= 8) {
        void *block = t_aligned_alloc(alignment, 3 * MIB);
        CHECK(block != NULL && weir_committed() == before + 3 * MIB);
        t_free(block);
        CHECK(settled() == before);
    }
}

static void test_committed_of_aligned_blocks_is_their_size(void **state)
{
    (void)state;
    run_case(count_aligned);
}

static void count_realloc_of_mappings(void *unused)
{
    (void)unused;
    size_t before = settled();
    char *block = allocate(2 * MIB);
    for (size_t size = 2 * MIB; size <= 20 * MIB; size += 100 * KIB) {
        block = t_realloc(block, size);
        CHECK(block != NULL);
        size_t pages = (size + 4095) / 4096 * 4096;
        CHECK(weir_committed() == before + pages); /* what it has in reserve is not in it */
    }
    block = t_realloc(block, 3 * MIB);
    CHECK(block != NULL && weir_committed() == before + 3 * MIB);
    block = t_realloc(block, 5 * MIB);
    CHECK(block != NULL && weir_committed() == before + 5 * MIB);
    block = t_realloc(block, 4 * MIB + 1);
    /* Whole slices go back: the rest of the last one may have been touched. */
    CHECK(block != NULL && weir_committed() == before + 4 * MIB + SLICE);
    t_free(block);
    CHECK(settled() == before);
}

static void test_committed_follows_realloc_of_mappings_both_ways(void **state)
{
    (void)state;
    run_case(count_realloc_of_mappings);
}

static void count_realloc_of_slices(void *unused)
{
    (void)unused;
    size_t before = settled();
    char *block = allocate_slices(100 * KIB);
    CHECK(weir_committed() == before + 2 * SLICE);
    CHECK(weir_resize_in_place(block, 40 * KIB) == 1);
    CHECK(weir_committed() == before + 2 * SLICE); /* its tail is dirty */
    CHECK(weir_resize_in_place(block, 120 * KIB) == 1);
    CHECK(weir_committed() == before + 2 * SLICE);
    CHECK(weir_resize_in_place(block, 50 * KIB) == 1);
    CHECK(settled() == before + SLICE);
    t_free(block);
    CHECK(settled() == before);
}

static void test_committed_follows_resizing_on_slices(void **state)
{
    (void)state;
    run_case(count_realloc_of_slices);
}

static void count_calloc(void *unused)
{
    (void)unused;
    CHECK(t_mallopt(-3, 128 * 1024) == 1); /* M_MMAP_THRESHOLD */
    size_t before = settled();
    char *block = allocate(5 * MIB);
    memset(block, 1, 5 * MIB);
    t_free(block);                            /* kept */
    block = t_calloc(1, 4 * MIB + 200 * KIB); /* takes it, and drops its frames */
    CHECK(block != NULL && all_zero(block, 4 * MIB + 200 * KIB));
    CHECK(weir_committed() == before + 4 * MIB + 200 * KIB);
    CHECK(weir_resize_in_place(block, 5 * MIB) == 1);
    CHECK(weir_committed() == before + 5 * MIB);
    t_free(block);
    CHECK(settled() == before);
}

static void test_committed_of_a_kept_mapping_is_what_may_have_frames(void **state)
{
    (void)state;
    run_case(count_calloc);
}

#define MIXED_BLOCKS TEST_SCALE(20000, 4000)

/* Blocks of all sizes that are resized and freed; the same sequence each time. */
static void use_mixed(void)
{
    static void *blocks[MIXED_BLOCKS];
    uint64_t random = 17;
    for (size_t i = 0; i < MIXED_BLOCKS; i++) {
        blocks[i] = allocate(random_size(&random, 2 * MIB));
        if (i % 7 == 0) {
            blocks[i] = t_realloc(blocks[i], 1 + random_size(&random, 2 * MIB));
            CHECK(blocks[i] != NULL);
        }
        if (i % 3 == 0) {
            size_t at = random_next(&random) % (i + 1);
            t_free(blocks[at]);
            blocks[at] = NULL;
        }
    }
    for (size_t i = 0; i < MIXED_BLOCKS; i++) {
        t_free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void return_to_the_same(void *unused)
{
    (void)unused;
    /* What caches and bins hold back settles in the first rounds. */
    size_t values[6];
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        use_mixed();
        values[i] = settled();
    }
    CHECK(values[4] == values[5]);
    CHECK(values[5] < 20 * MIB);
}

static void test_committed_returns_to_the_same_when_all_is_freed(void **state)
{
    (void)state;
    run_case(return_to_the_same);
}

static void *use_mixed_in_thread(void *unused)
{
    uint64_t random = (uint64_t)(uintptr_t)&unused;
    for (size_t i = 0; i < MIXED_BLOCKS; i++) {
        void *block = allocate(random_size(&random, 1 * MIB));
        block = t_realloc(block, 1 + random_size(&random, 1 * MIB));
        CHECK(block != NULL);
        t_free(block);
    }
    return NULL;
}

static void run_threads(void *(*body)(void *))
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, body, NULL) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* The child counts anew from the tables what the parent has summed up. */
static void compare_with_child(void)
{
    size_t committed = weir_committed();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(weir_committed() == committed);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void count_anew_in_child(void *unused)
{
    (void)unused;
    compare_with_child();
    void *live[] = {allocate(100),      allocate_slices(100 * KIB),
                    allocate(3 * MIB),  allocate(9 * MIB),
                    allocate(50 * MIB), t_aligned_alloc(4 * MIB, 5 * MIB),
                    allocate(100 * KIB)};
    live[2] = t_realloc(live[2], 7 * MIB);
    live[2] = t_realloc(live[2], 8 * MIB);
    t_free(live[3]);
    compare_with_child();
    run_threads(use_mixed_in_thread);
    compare_with_child();
    t_free(live[0]);
    t_free(live[1]);
    t_free(live[2]);
    t_free(live[4]);
    t_free(live[5]);
    t_free(live[6]);
    compare_with_child();
    (void)settled();
    compare_with_child();
}

static void test_committed_in_the_child_of_a_fork_is_that_of_the_parent(void **state)
{
    (void)state;
    run_case(count_anew_in_child);
}

/* ---- setting ---- */

static void set_and_get(void *unused)
{
    (void)unused;
    size_t soft = 1;
    size_t hard = 1;
    weir_limit_get(&soft, &hard);
    CHECK(soft == 0 && hard == 0);
    errno = ERRNO_UNUSED;
    CHECK(weir_limit_set(100 * MIB, 200 * MIB) == 0);
    CHECK(errno == ERRNO_UNUSED);
    CHECK(weir_limit_set(200 * MIB + 1, 200 * MIB) == -1);
    CHECK(errno == EINVAL);
    weir_limit_get(&soft, &hard);
    CHECK(soft == 100 * MIB && hard == 200 * MIB);
    CHECK(weir_limit_set(300 * MIB, 0) == 0);
    weir_limit_get(&soft, &hard);
    CHECK(soft == 300 * MIB && hard == 0);
    CHECK(weir_limit_set(0, 300 * MIB) == 0);
    weir_limit_get(&soft, &hard);
    CHECK(soft == 0 && hard == 300 * MIB);
    CHECK(weir_limit_set(0, 0) == 0);
}

static void test_limits_are_what_was_set(void **state)
{
    (void)state;
    run_case(set_and_get);
}

static void set_below_what_is_free(void *unused)
{
    (void)unused;
    CHECK(t_mallopt(M_MMAP_THRESHOLD, 128 * KIB) == 1); /* what is freed is kept */
    size_t before = settled();
    t_free(allocate(3 * MIB));
    CHECK(weir_committed() == before + 3 * MIB);
    CHECK(weir_limit_set(0, before + 1 * MIB) == 0);
    CHECK(weir_committed() <= before);
}

static void test_limit_set_below_what_is_free_gives_it_back(void **state)
{
    (void)state;
    run_case(set_below_what_is_free);
}

/* ---- the hard limit ---- */

/* Nothing that needs more is granted, and what is there stays as it is. */
static void refuse_everything(void *unused)
{
    (void)unused;
    char *span = allocate_slices(60 * KIB);
    char *mapping = allocate(2 * MIB);
    pattern_fill(span, 60 * KIB, 1);
    pattern_fill(mapping, 2 * MIB, 2);
    size_t limit = settled();
    CHECK(weir_limit_set(0, limit) == 0);
    errno = 0;
    CHECK(t_malloc(1 * MIB) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(t_malloc(100 * KIB) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(t_calloc(3, 1 * MIB) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(t_aligned_alloc(4 * MIB, 1 * MIB) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(t_realloc(mapping, 3 * MIB) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(t_realloc(span, 200 * KIB) == NULL && errno == ENOMEM);
    errno = ERRNO_UNUSED;
    CHECK(weir_resize_in_place(mapping, 3 * MIB) == 0);
    CHECK(weir_resize_in_place(span, 200 * KIB) == 0);
    CHECK(errno == ERRNO_UNUSED);
    void *block;
    CHECK(t_posix_memalign(&block, 4 * MIB, 1 * MIB) == ENOMEM);
    static void *blocks[1000];
    errno = 0;
    CHECK(weir_malloc_batch(30000, COUNT_OF(blocks), blocks) < 10 && errno == ENOMEM);
    CHECK(weir_committed() <= limit);
    CHECK(pattern_holds(span, 60 * KIB, 1) && pattern_holds(mapping, 2 * MIB, 2));
    /* Smaller is always granted. */
    mapping = t_realloc(mapping, 1 * MIB);
    CHECK(mapping != NULL && pattern_holds(mapping, 1 * MIB, 2));
    CHECK((block = t_malloc(900 * KIB)) != NULL);
    CHECK(weir_limit_set(0, 0) == 0); /* what reports coverage at the end allocates */
}

static void test_hard_limit_refuses_with_enomem_and_changes_nothing(void **state)
{
    (void)state;
    run_case(refuse_everything);
}

static void use_free_memory(void *unused)
{
    (void)unused;
    void *blocks[100];
    /* Freed mappings raise no threshold: where slices are, and what is behind them, is chance. */
    CHECK(t_mallopt(M_MMAP_THRESHOLD, 1 * MIB) == 1);
    size_t before = settled();
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = allocate_slices(60 * KIB);
    }
    CHECK(weir_limit_set(0, weir_committed() + SLICE) == 0);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
    /* Dirty slices make room for a mapping, a kept mapping for slices and for another mapping. */
    char *mapping = allocate(6 * MIB);
    CHECK(weir_committed() <= before + (COUNT_OF(blocks) + 1) * SLICE);
    t_free(mapping);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = allocate_slices(60 * KIB);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
    mapping = allocate(3 * MIB);
    char *kept = allocate(3 * MIB);
    t_free(kept);
    mapping = t_realloc(mapping, 6 * MIB); /* grows by what was kept */
    CHECK(mapping != NULL);
    t_free(mapping);
}

static void ask_for_at_least(void *unused)
{
    (void)unused;
    t_free(allocate_slices(100 * KIB));
    CHECK(weir_limit_set(0, settled() + 2 * SLICE) == 0); /* no room for a slab */
    size_t actual = 0;
    char *object = weir_alloc_at_least(100 * KIB, &actual);
    CHECK(object != NULL && actual == 100 * KIB && t_usable_size(object) == actual);
    memset(object, 1, actual);
    t_free(object);
    CHECK(weir_limit_set(0, 0) == 0); /* the end of the process may allocate */
}

static void test_alloc_at_least_tells_what_the_limit_has_left(void **state)
{
    (void)state;
    run_case(ask_for_at_least);
}

static void test_hard_limit_has_free_memory_given_back_first(void **state)
{
    (void)state;
    run_case(use_free_memory);
}

#define CROWD_LIMIT  (24 * MIB)
#define CROWD_BLOCKS 600
#define CROWD_ROUNDS TEST_SCALE(20000, 2000)

static _Atomic size_t refused;

static void *crowd(void *unused)
{
    void *blocks[CROWD_BLOCKS] = {NULL};
    uint64_t random = (uint64_t)(uintptr_t)&blocks;
    for (size_t round = 0; round < CROWD_ROUNDS; round++) {
        void **slot = &blocks[random_next(&random) % CROWD_BLOCKS];
        size_t size = round % 16 == 0 ? 1 + random_next(&random) % (8 * MIB)
                                      : 1 + random_size(&random, 200 * KIB);
        if (*slot != NULL && random_next(&random) % 4 != 0) {
            t_free(*slot);
            *slot = NULL;
        } else {
            void *block = t_realloc(*slot, size);
            *slot = block != NULL ? block : *slot;
            (void)atomic_fetch_add(&refused, block == NULL);
            if (block != NULL) {
                memset(block, 1, size < 4096 ? size : 4096);
            }
        }
        CHECK(weir_committed() <= CROWD_LIMIT);
    }
    for (size_t i = 0; i < CROWD_BLOCKS; i++) {
        t_free(blocks[i]);
    }
    return unused;
}

static void crowd_the_limit(void *unused)
{
    (void)unused;
    CHECK(weir_limit_set(0, CROWD_LIMIT) == 0);
    run_threads(crowd);
    CHECK(atomic_load(&refused) > 0);
    CHECK(settled() < CROWD_LIMIT / 4 * 3); /* what the threads' caches left hold back */
    compare_with_child();
    t_free(allocate(CROWD_LIMIT / 4)); /* all works again */
    run_threads(crowd);
}

static void test_hard_limit_under_threads_is_never_exceeded(void **state)
{
    (void)state;
    run_case(crowd_the_limit);
}

/* ---- the soft limit ---- */

static struct {
    _Atomic unsigned calls;
    _Atomic int inside;
    _Atomic size_t committed;
    pthread_t thread;
    void *argument;
} seen;

static void note(size_t committed, void *argument)
{
    CHECK(atomic_fetch_add(&seen.inside, 1) == 0); /* neither nested nor together with itself */
    atomic_store(&seen.committed, committed);
    seen.thread = pthread_self();
    seen.argument = argument;
    /* Allocates and frees, above the limit. */
    void *blocks[] = {t_malloc(100), t_malloc(300 * KIB), t_malloc(2 * MIB)};
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        CHECK(blocks[i] != NULL);
        t_free(blocks[i]);
    }
    (void)atomic_fetch_add(&seen.calls, 1);
    errno = EBADF; /* not to be seen by the call */
    CHECK(atomic_fetch_sub(&seen.inside, 1) == 1);
}

static void cross(void *unused)
{
    (void)unused;
    size_t soft = settled() + 10 * MIB;
    CHECK(weir_limit_callback_set(note, &soft) == 0);
    CHECK(weir_limit_set(soft, 0) == 0);
    void *first = allocate(9 * MIB);
    CHECK(atomic_load(&seen.calls) == 0);
    errno = ERRNO_UNUSED;
    void *second = allocate(4 * MIB); /* crosses */
    CHECK(errno == ERRNO_UNUSED);
    CHECK(atomic_load(&seen.calls) == 1);
    CHECK(atomic_load(&seen.committed) > soft);
    CHECK(seen.argument == &soft && pthread_equal(seen.thread, pthread_self()));
    void *third = allocate(4 * MIB); /* is above already */
    CHECK(atomic_load(&seen.calls) == 1);
    t_free(third);
    t_free(second);
    CHECK(settled() <= soft);
    second = allocate(4 * MIB);
    CHECK(atomic_load(&seen.calls) == 2);
    /* No callback any more. */
    CHECK(weir_limit_callback_set(NULL, NULL) == 0);
    t_free(second);
    (void)settled();
    second = allocate(4 * MIB);
    CHECK(atomic_load(&seen.calls) == 2);
    t_free(first);
    t_free(second);
}

static void test_soft_limit_calls_back_once_per_crossing(void **state)
{
    (void)state;
    run_case(cross);
}

/* Each way of asking for memory that can cross. */
static void cross_in_every_way(void *unused)
{
    (void)unused;
    static void *blocks[400];
    CHECK(weir_limit_callback_set(note, NULL) == 0);
    for (unsigned way = 0; way < 8; way++) {
        char *block = allocate(1 * MIB);
        unsigned calls = atomic_load(&seen.calls);
        CHECK(weir_limit_set(settled() + 1 * MIB, 0) == 0);
        size_t batch = 0;
        switch (way) {
        case 0:
            blocks[0] = t_malloc(4 * MIB);
            break;
        case 1:
            blocks[0] = t_calloc(1, 4 * MIB);
            break;
        case 2:
            blocks[0] = t_aligned_alloc(4 * MIB, 4 * MIB);
            break;
        case 3:
            CHECK(t_posix_memalign(&blocks[0], 4 * MIB, 4 * MIB) == 0);
            break;
        case 4:
            block = t_realloc(block, 6 * MIB);
            break;
        case 5:
            batch = weir_malloc_batch(20000, COUNT_OF(blocks), blocks);
            break;
        case 6:
            blocks[0] = weir_alloc_at_least(4 * MIB, &batch);
            batch = 0;
            break;
        default:
            for (; batch < COUNT_OF(blocks); batch++) {
                blocks[batch] = allocate(20000);
            }
        }
        CHECK(atomic_load(&seen.calls) == calls + 1);
        t_free(block);
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            t_free(blocks[i]);
            blocks[i] = NULL;
        }
        CHECK(weir_limit_set(0, 0) == 0);
    }
}

static void test_soft_limit_is_seen_by_every_call_that_allocates(void **state)
{
    (void)state;
    run_case(cross_in_every_way);
}

static void cross_with_free_memory(void *unused)
{
    (void)unused;
    size_t before = settled();
    CHECK(weir_limit_callback_set(note, NULL) == 0);
    t_free(allocate(3 * MIB));
    CHECK(weir_limit_set(before + 4 * MIB, 0) == 0);
    void *block = allocate(200 * KIB);
    void *large = t_aligned_alloc(2 * MIB, 2 * MIB); /* from no kept mapping */
    CHECK(large != NULL && weir_committed() <= before + 4 * MIB);
    CHECK(atomic_load(&seen.calls) == 0);
    t_free(block);
    t_free(large);
}

static void test_soft_limit_purges_before_it_calls_back(void **state)
{
    (void)state;
    run_case(cross_with_free_memory);
}

static void *cross_again_and_again(void *unused)
{
    for (unsigned i = 0; i < TEST_SCALE(300, 50); i++) {
        t_free(allocate(40 * MIB)); /* is not kept */
    }
    return unused;
}

static void cross_in_threads(void *unused)
{
    (void)unused;
    CHECK(weir_limit_callback_set(note, NULL) == 0);
    CHECK(weir_limit_set(settled() + 30 * MIB, 0) == 0);
    run_threads(cross_again_and_again);
    CHECK(atomic_load(&seen.calls) > 0);
    unsigned calls = atomic_load(&seen.calls);
    (void)settled();
    t_free(allocate(40 * MIB));
    CHECK(atomic_load(&seen.calls) == calls + 1); /* armed as before */
}

static void test_soft_limit_under_threads_calls_back_one_at_a_time(void **state)
{
    (void)state;
    run_case(cross_in_threads);
}

static void *live[2];

static void fork_and_free(size_t committed, void *argument)
{
    (void)committed;
    note(committed, argument);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child > 0) {
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
    t_free(live[0]);
    live[0] = NULL;
}

static void fork_in_the_callback(void *unused)
{
    (void)unused;
    pid_t parent = getpid();
    CHECK(weir_limit_callback_set(fork_and_free, NULL) == 0);
    CHECK(weir_limit_set(settled() + 60 * MIB, 0) == 0);
    live[0] = allocate(40 * MIB);
    live[1] = allocate(40 * MIB);
    CHECK(atomic_load(&seen.calls) == 1 && live[0] == NULL);
    live[0] = allocate(40 * MIB); /* crosses once more, in both processes */
    CHECK(atomic_load(&seen.calls) == 2);
    if (getpid() != parent) {
        _exit(0);
    }
}

static void test_soft_limit_callback_may_fork_and_free(void **state)
{
    (void)state;
    run_case(fork_in_the_callback);
}

/* ---- options ---- */

static void run_probe(char *variable1, char *variable2, struct outcome *outcome)
{
    char path[] = TEST_PROBE;
    char *const argv[] = {path, NULL};
    char *const env[] = {variable1, variable2, NULL};
    run_program(path, argv, env, outcome);
    assert_int_equal(outcome->signal, 0);
    assert_int_equal(outcome->exit_code, 0);
}

static void test_options_set_the_limits(void **state)
{
    (void)state;
    struct outcome outcome;
    run_probe("WEIR_LIMIT_SOFT=10M", "WEIR_LIMIT_HARD=1G", &outcome);
    assert_string_equal(outcome.text, "10485760 1073741824\n");
    run_probe("WEIR_LIMIT_SOFT=10M", NULL, &outcome);
    assert_string_equal(outcome.text, "10485760 0\n");
    run_probe(NULL, NULL, &outcome);
    assert_string_equal(outcome.text, "0 0\n");
}

static void test_option_soft_above_hard_is_ignored_with_a_line(void **state)
{
    (void)state;
    struct outcome outcome;
    run_probe("WEIR_LIMIT_SOFT=2G", "WEIR_LIMIT_HARD=1G", &outcome);
    assert_string_equal(outcome.text, "weir: WEIR_LIMIT_SOFT: is above WEIR_LIMIT_HARD, ignored\n"
                                      "0 1073741824\n");
}

static void test_option_percentage_is_of_the_memory_there_is(void **state)
{
    (void)state;
    struct outcome outcome;
    size_t soft;
    size_t hard;
    struct sysinfo info;
    run_probe("WEIR_LIMIT_SOFT=50%", "WEIR_LIMIT_HARD=100%", &outcome);
    assert_int_equal(sscanf(outcome.text, "%zu %zu", &soft, &hard), 2);
    assert_int_equal(sysinfo(&info), 0);
    assert_true(hard > 0 && hard <= info.totalram * info.mem_unit);
    assert_true(soft >= hard / 2 - 100 && soft <= hard / 2);
}

#ifdef FAMILY_LIBC
/* A control group of version 1 for memory below our own, if this machine and user allow it. */
static bool make_group(char *group, size_t room)
{
    char line[512];
    char path[512] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *start = strstr(line, ":memory:");
        if (start != NULL) {
            (void)sscanf(start, ":memory:%511s", path);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    (void)snprintf(group, room, "/sys/fs/cgroup/memory%s/weir_limit_test.%ld", path,
                   (long)getpid());
    return path[0] != '\0' && mkdir(group, 0700) == 0;
}

static bool write_to(const char *group, const char *name, const char *text)
{
    char path[1100];
    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) {
        (void)close(file);
    }
    return done;
}

static void test_option_percentage_of_a_control_group_ends_in_enomem_not_in_a_kill(void **state)
{
    (void)state;
    char group[1024];
    if (!make_group(group, sizeof group)) {
        print_message("no control group can be made here: only the parser is tested\n");
        return;
    }
    struct outcome outcome;
    bool limited = write_to(group, "memory.limit_in_bytes", "67108864");
    if (limited) {
        char path[] = TEST_PROBE;
        char fill[] = "fill";
        char hard[] = "WEIR_LIMIT_HARD=80%";
        char procs[1100];
        (void)snprintf(procs, sizeof procs, "%s/cgroup.procs", group);
        char *const argv[] = {path, fill, procs, NULL};
        char *const env[] = {hard, NULL};
        run_program(path, argv, env, &outcome);
    }
    assert_int_equal(rmdir(group), 0);
    assert_true(limited);
    assert_int_equal(outcome.signal, 0);
    assert_int_equal(outcome.exit_code, 0);
    size_t refused_at;
    size_t limit;
    assert_int_equal(sscanf(outcome.text, "refused at %zu of %zu", &refused_at, &limit), 2);
    assert_int_equal(limit, (64 * MIB) / 100 * 80 + (64 * MIB) % 100 * 80 / 100);
    assert_true(refused_at > 40 * MIB && refused_at <= limit);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_committed_counts_mappings_by_the_page),
        cmocka_unit_test(test_committed_counts_slices_until_they_are_purged),
        cmocka_unit_test(test_committed_of_aligned_blocks_is_their_size),
        cmocka_unit_test(test_committed_follows_realloc_of_mappings_both_ways),
        cmocka_unit_test(test_committed_follows_resizing_on_slices),
        cmocka_unit_test(test_committed_of_a_kept_mapping_is_what_may_have_frames),
        cmocka_unit_test(test_committed_returns_to_the_same_when_all_is_freed),
        cmocka_unit_test(test_committed_in_the_child_of_a_fork_is_that_of_the_parent),
        cmocka_unit_test(test_limits_are_what_was_set),
        cmocka_unit_test(test_limit_set_below_what_is_free_gives_it_back),
        cmocka_unit_test(test_hard_limit_refuses_with_enomem_and_changes_nothing),
        cmocka_unit_test(test_hard_limit_has_free_memory_given_back_first),
        cmocka_unit_test(test_alloc_at_least_tells_what_the_limit_has_left),
        cmocka_unit_test(test_hard_limit_under_threads_is_never_exceeded),
        cmocka_unit_test(test_soft_limit_calls_back_once_per_crossing),
        cmocka_unit_test(test_soft_limit_is_seen_by_every_call_that_allocates),
        cmocka_unit_test(test_soft_limit_purges_before_it_calls_back),
        cmocka_unit_test(test_soft_limit_under_threads_calls_back_one_at_a_time),
        cmocka_unit_test(test_soft_limit_callback_may_fork_and_free),
        cmocka_unit_test(test_options_set_the_limits),
        cmocka_unit_test(test_option_soft_above_hard_is_ignored_with_a_line),
        cmocka_unit_test(test_option_percentage_is_of_the_memory_there_is),
#ifdef FAMILY_LIBC
        cmocka_unit_test(test_option_percentage_of_a_control_group_ends_in_enomem_not_in_a_kill),
#endif
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
