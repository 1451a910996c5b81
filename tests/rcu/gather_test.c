/* Gathering where memory is short: calls of weir_malloc within the library can be refused. */
#include "rcu/gather.h"

#include "flavored.h"

void *__real_weir_malloc(size_t size);
void *__wrap_weir_malloc(size_t size);
void *__real_weir_aligned_alloc(size_t alignment, size_t size);
void *__wrap_weir_aligned_alloc(size_t alignment, size_t size);

static atomic_int refused; /* allocations of the library fail, in every thread */

/* What an allocation calls back, as for the limit on committed bytes: once. */
static _Atomic(void *) deferred_within;

static void call_back(void)
{
    void *block = atomic_exchange(&deferred_within, NULL);
    if (block != NULL) {
        weir_free_rcu(block);
    }
}

void *__wrap_weir_malloc(size_t size)
{
    call_back();
    return atomic_load(&refused) ? NULL : __real_weir_malloc(size);
}

void *__wrap_weir_aligned_alloc(size_t alignment, size_t size)
{
    call_back();
    return atomic_load(&refused) ? NULL : __real_weir_aligned_alloc(alignment, size);
}

static void test_full_batch_is_handed_over(void **state)
{
    (void)state;
    struct reader reader;
    reader_start(&reader);
    size_t batches = stats_now().batches;
    for (unsigned i = 0; i + 1 < WR_RCU_BATCH_OBJECTS; i++) {
        weir_free_rcu(filled(16, i));
    }
    for (unsigned i = 0; i < 2; i++) { /* whenever the reclaimer took an older one */
        weir_free_rcu(filled(16, i));
    }
    weir_rcu_thread_flush();
    assert_true(stats_now().batches > batches);
    weir_free_rcu(filled(WR_RCU_BATCH_BYTES, 1));
    assert_int_equal(stats_now().deferred_objects, WR_RCU_BATCH_OBJECTS + 2);
    reader_end(&reader);
    assert_true(wait_for_deferred(0));
}

static void *defer_one(void *block)
{
    weir_free_rcu(block);
    return NULL;
}

static void test_no_memory_outside_a_section_frees_after_a_grace_period(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = filled(64, i);
    }
    size_t unrecorded = stats_now().unrecorded;
    assert_int_equal(weir_rcu_barrier(), 0);
    atomic_store(&refused, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        weir_free_rcu(blocks[i]);
    }
    atomic_store(&refused, 0);
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().deferred_objects, 0);
    assert_int_equal(stats_now().unrecorded, unrecorded);
}

static void test_no_memory_in_a_section_uses_the_spare_places_and_then_counts(void **state)
{
    (void)state;
    enum { MORE = 5, COUNT = 2 * WR_RCU_SPARE_PLACES + MORE };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = filled(64, i);
    }
    become_reader();
    assert_int_equal(weir_rcu_barrier(), 0);
    enter_section();
    size_t unrecorded = stats_now().unrecorded;
    atomic_store(&refused, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        weir_free_rcu(blocks[i]);
    }
    atomic_store(&refused, 0);
    /* A round may have taken the first, and waits with them for this section. */
    size_t lost = stats_now().unrecorded - unrecorded;
    assert_true(lost >= MORE && lost <= MORE + WR_RCU_SPARE_PLACES);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(pattern_holds(blocks[i], 64, i));
    }
    leave_section();
    cease_reader();
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().deferred_objects, 0);
}

static void test_thread_without_memory_for_a_gather_loses_nothing(void **state)
{
    (void)state;
    void *first = filled(64, 1);
    void *second = filled(64, 2);
    struct reader reader;
    reader_start(&reader);
    assert_int_equal(stats_now().deferred_objects, 0);
    weir_free_rcu(first); /* this thread has the only gather */
    weir_rcu_thread_flush();
    atomic_store(&refused, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, defer_one, second), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    atomic_store(&refused, 0);
    assert_int_equal(stats_now().deferred_objects, 2);
    assert_true(pattern_holds(second, 64, 2));
    reader_end(&reader);
    assert_true(wait_for_deferred(0));
}

static void *defer_with_call_back(void *blocks)
{
    void **two = blocks;
    atomic_store(&deferred_within, two[1]);
    weir_free_rcu(two[0]); /* its gather is made, or its batch begun, meanwhile */
    CHECK(atomic_load(&deferred_within) == NULL);
    return NULL;
}

static void test_push_from_within_an_allocation_of_a_push_loses_nothing(void **state)
{
    (void)state;
    struct reader reader;
    reader_start(&reader);
    assert_int_equal(stats_now().deferred_objects, 0);
    size_t freed = stats_now().freed_objects;
    for (unsigned i = 0; i < 4; i++) { /* in threads with a new gather, and with a used one */
        void *blocks[4] = {filled(64, 1), filled(64, 2), filled(64, 3), filled(64, 4)};
        pthread_t threads[2];
        assert_int_equal(pthread_create(&threads[0], NULL, defer_with_call_back, blocks), 0);
        assert_int_equal(pthread_join(threads[0], NULL), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, defer_with_call_back, blocks + 2), 0);
        assert_int_equal(pthread_join(threads[1], NULL), 0);
        assert_int_equal(stats_now().deferred_objects, 4 * (i + 1));
    }
    reader_end(&reader);
    assert_true(wait_for_deferred(0));
    assert_int_equal(stats_now().freed_objects, freed + 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while there is one gather alone, and no array to sort in. */
        cmocka_unit_test(test_no_memory_outside_a_section_frees_after_a_grace_period),
        cmocka_unit_test(test_thread_without_memory_for_a_gather_loses_nothing),
        cmocka_unit_test(test_full_batch_is_handed_over),
        cmocka_unit_test(test_push_from_within_an_allocation_of_a_push_loses_nothing),
        cmocka_unit_test(test_no_memory_in_a_section_uses_the_spare_places_and_then_counts),
    };
    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
