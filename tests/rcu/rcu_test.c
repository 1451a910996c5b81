/* The contract of weir/rcu.h, in each flavour of liburcu. */
#include "flavored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"

#ifdef TEST_FLAVOR_QSBR
#define IS_QSBR 1
#else
#define IS_QSBR 0
#endif

static int at_rest(void **state)
{
    (void)state;
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().deferred_objects, 0);
    assert_int_equal(stats_now().deferred_bytes, 0);
    assert_int_equal(weir_rcu_limit_set(64 * MIB), 0);
    return 0;
}

static void test_free_rcu_of_null_does_nothing_and_keeps_errno(void **state)
{
    (void)state;
    size_t before = stats_now().freed_objects;
    errno = ERRNO_UNUSED;
    weir_free_rcu(NULL);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(stats_now().freed_objects, before);
}

static void test_free_rcu_waits_for_a_reader_and_then_frees_without_a_call(void **state)
{
    (void)state;
    struct reader reader;
    reader_start(&reader);
    void *block = filled(300, 7);
    size_t freed = stats_now().freed_objects;
    weir_free_rcu(block);
    weir_rcu_thread_flush();
    sleep_ms(100);
    assert_true(pattern_holds(block, 300, 7));
    assert_int_equal(stats_now().deferred_objects, 1);
    assert_true(stats_now().deferred_bytes >= 300);
    assert_int_equal(stats_now().freed_objects, freed);
    reader_end(&reader);
    assert_true(wait_for_deferred(0));
    assert_int_equal(stats_now().freed_objects, freed + 1);
}

static void test_free_rcu_of_any_size_frees_by_age_alone(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16, 100, 5000, 40000, 300 * KIB, 3 * MIB};
    size_t freed = stats_now().freed_objects;
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        weir_free_rcu(filled(sizes[i], i));
        assert_true(wait_for_deferred(0));
    }
    assert_int_equal(stats_now().freed_objects, freed + COUNT_OF(sizes));
}

static void test_barrier_frees_what_gathered(void **state)
{
    (void)state;
    size_t freed = stats_now().freed_objects;
    for (unsigned i = 0; i < 1000; i++) {
        weir_free_rcu(filled(16 + i, i));
    }
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().freed_objects, freed + 1000);
    assert_int_equal(stats_now().deferred_objects, 0);
}

static void test_batch_defers_every_pointer_and_skips_null(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    size_t freed = stats_now().freed_objects;
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = i % 10 == 0 ? NULL : filled(32 + i % 100, i);
    }
    void *first = blocks[1];
    errno = ERRNO_UNUSED;
    weir_free_rcu_batch(COUNT, blocks);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_ptr_equal(blocks[1], first);
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().freed_objects, freed + COUNT - COUNT / 10);
}

static void test_barrier_in_a_section_fails_with_edeadlk(void **state)
{
    (void)state;
    become_reader();
    enter_section();
    errno = ERRNO_UNUSED;
    if (IS_QSBR) { /* it is a quiescent state there */
        assert_int_equal(weir_rcu_barrier(), 0);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_true(rcu_read_ongoing());
    } else {
        assert_int_equal(weir_rcu_barrier(), -1);
        assert_int_equal(errno, EDEADLK);
    }
    leave_section();
    cease_reader();
}

static void *defer_some(void *count)
{
    for (size_t i = 0; i < *(size_t *)count; i++) {
        weir_free_rcu(filled(64, i));
    }
    return NULL;
}

static void test_thread_end_hands_its_pointers_on(void **state)
{
    (void)state;
    size_t freed = stats_now().freed_objects;
    for (size_t count = 1; count < 2000; count += 499) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, defer_some, &count), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(wait_for_deferred(0));
        freed += count;
        assert_int_equal(stats_now().freed_objects, freed);
    }
}

static pthread_key_t late_key;

static void defer_late(void *round)
{
    weir_free_rcu(filled(48, 1));
    if ((uintptr_t)round < 3) { /* ThreadSanitizer's own thread state ends in the fourth round */
        (void)pthread_setspecific(late_key, (void *)((uintptr_t)round + 1));
    }
}

static void *end_late(void *unused)
{
    (void)unused;
    weir_free_rcu(filled(48, 1));
    CHECK(pthread_setspecific(late_key, (void *)(uintptr_t)1) == 0);
    return NULL;
}

static void test_destructors_that_defer_after_the_librarys_own_lose_nothing(void **state)
{
    (void)state;
    size_t freed = stats_now().freed_objects;
    assert_int_equal(pthread_key_create(&late_key, defer_late), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_late, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(wait_for_deferred(0));
    assert_int_equal(stats_now().freed_objects, freed + 4);
    assert_int_equal(pthread_key_delete(late_key), 0);
}

static void test_limit_makes_a_caller_wait_until_readers_leave(void **state)
{
    (void)state;
    struct reader reader;
    assert_int_equal(weir_rcu_limit_set(64 * KIB), 0);
    reader_start(&reader);
    weir_rcu_stats before = stats_now();
    uint64_t start_ns = 0;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    start_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    weir_free_rcu(filled(300 * KIB, 1)); /* a batch of its own: above the limit */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t end_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    weir_rcu_stats after = stats_now();
    /* The reader stays: the call gave up after its time. */
    assert_true(end_ns - start_ns >= 900000000);
    assert_int_equal(after.limit_waits, before.limit_waits + 1);
    assert_int_equal(after.limit_exceeded, before.limit_exceeded + 1);
    assert_int_equal(after.limit, 64 * KIB);
    assert_true(after.peak_bytes >= 300 * KIB);
    reader_end(&reader);
    assert_true(wait_for_deferred(0));
    /* Without a reader it waits, and is not too much. */
    before = stats_now();
    weir_free_rcu(filled(300 * KIB, 2));
    after = stats_now();
    assert_int_equal(after.limit_exceeded, before.limit_exceeded);
    assert_true(after.hurried > before.hurried || after.deferred_objects == 0);
}

static void test_limit_in_a_section_is_exceeded_at_once(void **state)
{
    (void)state;
    assert_int_equal(weir_rcu_limit_set(64 * KIB), 0);
    become_reader();
    enter_section();
    weir_rcu_stats before = stats_now();
    weir_free_rcu(filled(300 * KIB, 1));
    weir_rcu_stats after = stats_now();
    assert_int_equal(after.limit_waits, before.limit_waits);
    assert_int_equal(after.limit_exceeded, before.limit_exceeded + 1);
    assert_true(after.deferred_objects >= 1);
    leave_section();
    cease_reader();
}

static void test_limit_below_the_least_is_refused(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_rcu_limit_set(64 * KIB - 1), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(stats_now().limit, 64 * MIB);
}

static void test_soft_limit_of_memory_hurries_the_reclaimer(void **state)
{
    (void)state;
    assert_int_equal(weir_limit_set(1, 0), 0);
    size_t hurried = stats_now().hurried;
    weir_free_rcu(filled(300 * KIB, 1));
    assert_int_equal(weir_limit_set(0, 0), 0);
    assert_int_equal(weir_rcu_barrier(), 0); /* by the end of a round that has seen the hurry */
    assert_true(stats_now().hurried > hurried);
}

static void test_stats_of_a_smaller_structure_fill_it_alone(void **state)
{
    (void)state;
    weir_rcu_stats stats;
    memset(&stats, 0x5a, sizeof stats);
    assert_int_equal(weir_rcu_stats_get(&stats, sizeof stats.deferred_objects), 0);
    assert_int_equal(stats.deferred_objects, 0);
    assert_int_equal(stats.deferred_bytes, 0x5a5a5a5a5a5a5a5a);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_rcu_stats_get(NULL, sizeof stats), -1);
    assert_int_equal(errno, EINVAL);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_rcu_stats_get(&stats, 0), -1);
    assert_int_equal(errno, EINVAL);
}

/* ---- readers and writers together: each object is whole while a reader holds it ---- */

enum { SLOTS = 64, WRITERS = 3, READERS = 3, BYTES = 120, WRITES = TEST_SCALE(300000, 20000) };

struct object {
    _Atomic(uint64_t) check; /* the complement of the number while it is live */
    uint64_t number;
    char rest[BYTES];
};

static _Atomic(struct object *) slots[SLOTS];
static atomic_uint writers_left;

static struct object *make_object(uint64_t number)
{
    struct object *object = weir_malloc(sizeof *object);
    CHECK(object != NULL);
    object->number = number;
    memset(object->rest, (int)number, BYTES);
    atomic_store_explicit(&object->check, ~number, memory_order_relaxed);
    return object;
}

static void write_objects(uint64_t *random)
{
    for (unsigned i = 0; i < WRITES; i++) {
        struct object *fresh = make_object(random_next(random));
        struct object *old = atomic_exchange(&slots[random_next(random) % SLOTS], fresh);
        if (random_next(random) % 8 == 0) {
            void *one[] = {old};
            weir_free_rcu_batch(1, one);
        } else {
            weir_free_rcu(old);
        }
        if (random_next(random) % 4096 == 0) {
            CHECK(weir_rcu_barrier() == 0);
        }
    }
    atomic_fetch_sub(&writers_left, 1);
}

static void read_objects(uint64_t *random)
{
    become_reader();
    while (atomic_load(&writers_left) != 0) {
        enter_section();
        struct object *object = atomic_load(&slots[random_next(random) % SLOTS]);
        for (unsigned look = 0; look < 20; look++) {
            uint64_t check = atomic_load_explicit(&object->check, memory_order_relaxed);
            CHECK(check == ~object->number);
            CHECK(object->rest[look] == (char)object->number);
        }
        leave_section();
    }
    cease_reader();
}

static void read_or_write(unsigned number, uint64_t *random)
{
    if (number < WRITERS) {
        write_objects(random);
    } else {
        read_objects(random);
    }
}

static void test_objects_are_whole_while_readers_hold_them(void **state)
{
    (void)state;
    size_t freed = stats_now().freed_objects;
    for (unsigned i = 0; i < SLOTS; i++) {
        atomic_store(&slots[i], make_object(i));
    }
    atomic_store(&writers_left, WRITERS);
    crew_run(WRITERS + READERS, test_seed(), read_or_write);
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().freed_objects, freed + (size_t)WRITERS * WRITES);
    assert_int_equal(stats_now().unrecorded, 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        weir_free(atomic_exchange(&slots[i], NULL));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, at_rest, at_rest)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_free_rcu_of_null_does_nothing_and_keeps_errno),
        CASE(test_free_rcu_waits_for_a_reader_and_then_frees_without_a_call),
        CASE(test_free_rcu_of_any_size_frees_by_age_alone),
        CASE(test_barrier_frees_what_gathered),
        CASE(test_batch_defers_every_pointer_and_skips_null),
        CASE(test_barrier_in_a_section_fails_with_edeadlk),
        CASE(test_thread_end_hands_its_pointers_on),
        CASE(test_destructors_that_defer_after_the_librarys_own_lose_nothing),
        CASE(test_limit_makes_a_caller_wait_until_readers_leave),
        CASE(test_limit_in_a_section_is_exceeded_at_once),
        CASE(test_limit_below_the_least_is_refused),
        CASE(test_soft_limit_of_memory_hurries_the_reclaimer),
        CASE(test_stats_of_a_smaller_structure_fill_it_alone),
        CASE(test_objects_are_whole_while_readers_hold_them),
    };
    return cmocka_run_group_tests_name("rcu", tests, NULL, NULL);
}
