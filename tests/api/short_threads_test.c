/* Threads that come and go: no growth of the process, and the smallest stack is enough. */
#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "family.h"

#define THREADS_BEFORE 1000
#define THREADS        TEST_SCALE(100000, 2000)
#define GROWTH_MAX     (1 * MIB)

struct memory {
    size_t total_bytes;
    size_t resident_bytes;
};

/* Read without stdio, whose buffers would come from the family under test. */
static struct memory process_memory(void)
{
    char text[200];
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    ssize_t bytes = read(file, text, sizeof text - 1);
    assert_true(bytes > 0);
    close(file);
    text[bytes] = '\0';
    char *rest;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t total_pages = strtoul(text, &rest, 10);
    size_t resident_pages = strtoul(rest, NULL, 10);
    return (struct memory){total_pages * page, resident_pages * page};
}

static void *live_shortly(void *unused)
{
    static const size_t sizes[] = {10, 50, 300, 2000, 10000, 30000, 100000};
    void *blocks[COUNT_OF(sizes)];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        blocks[i] = t_malloc(sizes[i]);
        CHECK(blocks[i] != NULL);
        *(char *)blocks[i] = 1;
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        t_free(blocks[i]);
    }
    return unused;
}

static void run_threads(const pthread_attr_t *attributes, void *(*body)(void *), size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, attributes, body, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void test_short_threads_in_sequence_do_not_grow_the_process(void **state)
{
    (void)state;
    run_threads(NULL, live_shortly, THREADS_BEFORE);
    struct memory before = process_memory();
    run_threads(NULL, live_shortly, THREADS - THREADS_BEFORE);
    struct memory after = process_memory();
    assert_true(after.total_bytes <= before.total_bytes + GROWTH_MAX);
    assert_true(after.resident_bytes <= before.resident_bytes + GROWTH_MAX);
}

static void *use_every_range(void *unused)
{
    static const size_t sizes[] = {0,     1,     100,       1000,      10000,   33000,
                                   40000, 65536, 100 * KIB, 200 * KIB, 5 * MIB, 33 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *block = t_calloc(1, sizes[i]);
        CHECK(block != NULL);
        block = t_realloc(block, sizes[i] + 1);
        CHECK(block != NULL);
        block[sizes[i]] = 1;
        char *aligned = t_aligned_alloc(64 * KIB, sizes[i] + 1);
        CHECK(aligned != NULL);
        aligned[0] = 1;
        t_free(aligned);
        t_free(block);
    }
    void *blocks[100];
    CHECK(weir_malloc_batch(500, COUNT_OF(blocks), blocks) == COUNT_OF(blocks));
    weir_free_batch(COUNT_OF(blocks), blocks);
    t_malloc_trim(0);
    return unused;
}

static void test_smallest_stack_is_enough_for_every_range(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN), 0);
    run_threads(&attributes, use_every_range, 20);
    pthread_attr_destroy(&attributes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_threads_in_sequence_do_not_grow_the_process),
        cmocka_unit_test(test_smallest_stack_is_enough_for_every_range),
    };
    return cmocka_run_group_tests_name("short_threads", tests, NULL, NULL);
}
