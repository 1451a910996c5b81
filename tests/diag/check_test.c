/* Check mode from inside: contents, sizes and zeros as ever, by many threads, across fork and
 * without memory; blocks of before the mode. What it finds is in tests/death. Each case is this
 * program again, with an environment. */
#include "diag/check.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"
#include "bin/bin.h"
#include "cache/cache.h"
#include "crew.h"
#include "diag/quarantine.h"
#include "diag/shadow.h"
#include "fault.h"
#include "support.h"

#include "weir/weir.h"

static const size_t sizes[] = {0, 1, 7, 8, 16, 100, 4096, 32700, 32768, 100000, 1 << 20, 5 << 20};

static void serves_every_size(void)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *p = weir_malloc(sizes[i]);
        void *z = weir_calloc(1, sizes[i]);
        CHECK(p != NULL && z != NULL && is_aligned(p, 16) && is_aligned(z, 16));
        CHECK(all_zero(z, sizes[i]));
        CHECK(weir_malloc_usable_size(p) == sizes[i] && weir_good_size(sizes[i]) == sizes[i]);
        pattern_fill(p, sizes[i], i);
        pattern_fill(z, sizes[i], i + 1);
        CHECK(pattern_holds(p, sizes[i], i));
        CHECK(weir_owns(p));
        p = weir_realloc(p, sizes[i] + 1000);
        CHECK(pattern_holds(p, sizes[i], i));
        p = weir_realloc(p, sizes[i] / 2 + 1);
        CHECK(pattern_holds(p, sizes[i] / 2, i));
        weir_free_sized(p, sizes[i] / 2 + 1);
        weir_free(z);
    }
    CHECK(weir_malloc_usable_size(NULL) == 0);
}

static void serves_every_alignment(void)
{
    for (size_t alignment = 1; alignment <= ((size_t)1 << 30); alignment *= 2) {
        char *p = weir_aligned_alloc(alignment, 100);
        CHECK(p != NULL && is_aligned(p, alignment));
        pattern_fill(p, 100, alignment);
        CHECK(pattern_holds(p, 100, alignment));
        weir_free_aligned_sized(p, alignment, 100);
    }
}

static void refuses_what_cannot_be(void)
{
    /* Not for the compiler to see. */
    volatile size_t one = 1;
    volatile size_t most = PTRDIFF_MAX;
    volatile size_t too_large = TOO_LARGE;
    volatile size_t never_there = NEVER_THERE;
    errno = 0;
    CHECK(weir_malloc(most) == NULL && errno == ENOMEM);
    CHECK(weir_malloc(too_large) == NULL && weir_calloc(too_large, 1) == NULL);
    CHECK(weir_aligned_alloc(one << 40, 16) == NULL);
    CHECK(weir_aligned_alloc(one << 62, most) == NULL);
    CHECK(weir_aligned_alloc(64, too_large) == NULL);
    CHECK(weir_realloc(NULL, too_large) == NULL);
    void *p = weir_malloc(10);
    CHECK(weir_realloc(p, too_large) == NULL && weir_realloc(p, never_there) == NULL);
    CHECK(!weir_resize_in_place(p, 1000000));
    CHECK(weir_realloc(p, 0) == NULL);
}

static void serves_batches_and_places(void)
{
    void *out[50];
    volatile size_t too_large = TOO_LARGE;
    CHECK(weir_malloc_batch(40, 50, out) == 50);
    out[7] = NULL;
    weir_free_batch(50, out);
    CHECK(weir_malloc_batch(too_large, 50, out) == 0);
    size_t actual;
    void *p = weir_alloc_at_least(100, &actual);
    CHECK(p != NULL && actual == 100);
    CHECK(weir_resize_in_place(p, 40) && weir_malloc_usable_size(p) == 40);
    weir_free_sized(p, 40);
}

static void live_and_look(unsigned number, uint64_t *random)
{
    void *held[16] = {0};
    size_t bytes[16] = {0};
    for (unsigned i = 0; i < TEST_SCALE(20000, 3000); i++) {
        unsigned h = (unsigned)(random_next(random) % 16);
        if (held[h] == NULL) {
            bytes[h] = random_size(random, 200000);
            held[h] = weir_malloc(bytes[h]);
            CHECK(held[h] != NULL);
            pattern_fill(held[h], bytes[h], number);
        } else {
            CHECK(pattern_holds(held[h], bytes[h], number));
            weir_free(held[h]);
            held[h] = NULL;
        }
        if (number == 0 && i % 300 == 0) {
            CHECK(weir_heap_check(0) == 0);
        }
    }
    for (unsigned h = 0; h < 16; h++) {
        weir_free(held[h]);
    }
}

static void serves_threads_while_one_looks(void)
{
    crew_run(4, 0, live_and_look);
    CHECK(weir_heap_check(1) == 0);
    CHECK(wr_quarantine_bytes() == 0);
}

static void goes_on_after_fork(void)
{
    char *p = weir_malloc(100);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_free(p);
        serves_every_size();
        CHECK(weir_heap_check(1) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    weir_free(p);
}

static void examine(uintptr_t address, wr_record *record, void *context)
{
    (void)address;
    (void)context;
    wr_store_relaxed(&record->state, WR_BLOCK_EXAMINED);
}

/* A thread that looks at blocks does not survive the fork; who frees them would wait for it. */
static void frees_after_fork_what_another_was_looking_at(void)
{
    void *p = weir_malloc(100);
    void *large = weir_malloc(1 << 20);
    wr_check_each(examine, NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_free(p);
        weir_free(large);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    _exit(0); /* here they stay so */
}

/* What waits in the quarantine serves when the kernel has no more. */
static void takes_from_the_quarantine_without_memory(void)
{
    static void *held[100000];
    void *p = weir_malloc(1 << 20);
    weir_free(p);
    size_t n = 0;
    fault_arm(FAULT_MMAP | FAULT_SBRK | FAULT_MREMAP, 1, FAULT_FOREVER);
    while (n < COUNT_OF(held) && (held[n] = weir_malloc(1000)) != NULL) {
        n++;
    }
    CHECK(errno == ENOMEM);
    fault_disarm();
    CHECK(wr_quarantine_bytes() == 0);
    while (n-- > 0) {
        weir_free(held[n]);
    }
}

/* Without the mode, no call sees it. */
static void is_off_unasked(void)
{
    CHECK(!wr_check_is_on());
    char *volatile p = weir_malloc(24);
    p[24] = 1;
    CHECK(weir_malloc_usable_size(p) >= 24);
    weir_free(p);
}

/* The mode begins late: blocks of before are freed as such. */
static void frees_blocks_of_before(void)
{
    void *small = weir_malloc(24);
    void *moved = weir_malloc(24);
    void *sized = weir_malloc(48);
    void *large = weir_malloc(1 << 20);
    CHECK(!wr_check_is_on());
    char *const environment[] = {(char *)(uintptr_t) "WEIR_CHECK=3", NULL};
    wr_options_parse(environment);
    wr_check_start();
    wr_cache_self = &wr_cache_boot;
    CHECK(wr_check_is_on());
    CHECK(weir_malloc_usable_size(small) >= 24 && weir_malloc_usable_size(large) >= 1 << 20);
    CHECK(weir_resize_in_place(small, 24));
    moved = weir_realloc(moved, 5000);
    weir_free(small);
    weir_free_sized(sized, 48);
    weir_free(large);
    weir_free(weir_realloc(moved, 100));
    CHECK(weir_heap_check(1) == 0);
}

static void count_live(uintptr_t address, wr_record *record, void *context)
{
    CHECK(address != 0 && wr_load_relaxed(&record->size) == 33);
    *(size_t *)context += 1;
}

static void visits_each_live_block(void)
{
    void *held[10];
    for (unsigned i = 0; i < 10; i++) {
        held[i] = weir_malloc(33);
    }
    weir_free(held[3]);
    size_t live = 0;
    wr_check_each(count_live, &live);
    CHECK(live == 9);
}

static void two_of_one(unsigned number, uint64_t *random);
static _Atomic(void *) shared[2000];

/* The same blocks freed by two threads: one of them is told, never neither or both. */
static void tells_one_of_two_that_free(void)
{
    wr_check_set_action(0);
    for (unsigned i = 0; i < COUNT_OF(shared); i++) {
        wr_store_relaxed(&shared[i], weir_malloc(100));
    }
    crew_run(2, 0, two_of_one);
    CHECK(weir_heap_check(1) == 0);
}

static void two_of_one(unsigned number, uint64_t *random)
{
    (void)number;
    (void)random;
    for (unsigned i = 0; i < COUNT_OF(shared); i++) {
        weir_free(wr_load_relaxed(&shared[i]));
    }
}

static const struct check_case {
    const char *name;
    void (*run)(void);
    const char *setting;
} cases[] = {
    {"serves_every_size", serves_every_size, "WEIR_CHECK=3"},
    {"serves_every_alignment", serves_every_alignment, "WEIR_CHECK=3"},
    {"refuses_what_cannot_be", refuses_what_cannot_be, "WEIR_CHECK=3"},
    {"serves_batches_and_places", serves_batches_and_places, "WEIR_CHECK=3"},
    {"serves_threads_while_one_looks", serves_threads_while_one_looks, "WEIR_CHECK=3"},
    {"goes_on_after_fork", goes_on_after_fork, "WEIR_CHECK=3"},
    {"frees_after_fork_what_another_was_looking_at", frees_after_fork_what_another_was_looking_at,
     "WEIR_CHECK=3"},
    {"takes_from_the_quarantine_without_memory", takes_from_the_quarantine_without_memory,
     "WEIR_CHECK=3"},
    {"is_off_unasked", is_off_unasked, NULL},
    {"frees_blocks_of_before", frees_blocks_of_before, NULL},
    {"visits_each_live_block", visits_each_live_block, "WEIR_CHECK=3"},
    {"tells_one_of_two_that_free", tells_one_of_two_that_free, "WEIR_CHECK=3"},
};

static void test_check_in_a_process_of_its_own(void **state)
{
    const struct check_case *check_case = *state;
    char program[] = "check_test";
    char *const arguments[] = {program, (char *)(uintptr_t)check_case->name, NULL};
    /* ThreadSanitizer's runtime minds threads in children of a fork. */
    char *const environment[] = {(char *)(uintptr_t) "TSAN_OPTIONS=die_after_fork=0",
                                 (char *)(uintptr_t)check_case->setting, NULL};
    struct outcome outcome;
    run_program("/proc/self/exe", arguments, environment, &outcome);
    assert_clean_exit(&outcome);
}

int main(int count, char **arguments)
{
    struct CMUnitTest tests[COUNT_OF(cases)];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (count == 2 && strcmp(cases[i].name, arguments[1]) == 0) {
            cases[i].run();
            return 0;
        }
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = test_check_in_a_process_of_its_own,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    return count == 2 ? 2 : cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
