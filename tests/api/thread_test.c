/* Threads: blocks that change hands, threads that only free, calls in thread-specific-data
 * destructors before and after weir's own. */
#include "support.h"

#include <pthread.h>

#include "exercise.h"
#include "family.h"

#define THREADS 4
#define ROUNDS  TEST_SCALE(25, 5)
#define HANDED  TEST_SCALE(500, 150)

struct handed {
    void *block;
    size_t bytes;
    uint64_t tag;
};

/* box[i] is filled by thread i and emptied by its neighbour; the barrier separates the two. */
static struct handed box[THREADS][HANDED];
static pthread_barrier_t barrier;
static uint64_t seed;

static void *hand_on(void *argument)
{
    size_t me = (size_t)(uintptr_t)argument;
    uint64_t random = seed + me;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < HANDED; i++) {
            struct handed *handed = &box[me][i];
            handed->block = t_malloc(random_size(&random, i % 50 == 0 ? 1 * MIB : 20 * KIB));
            CHECK(handed->block != NULL);
            handed->bytes = t_usable_size(handed->block);
            handed->tag = random;
            pattern_fill(handed->block, handed->bytes, handed->tag);
        }
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < HANDED; i++) {
            struct handed *handed = &box[(me + 1) % THREADS][i];
            CHECK(pattern_holds(handed->block, handed->bytes, handed->tag));
            t_free(handed->block);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void test_threads_blocks_freed_by_neighbours_stay_exclusive(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    seed = test_seed();
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *number = (void *)(uintptr_t)i;
        assert_int_equal(pthread_create(&threads[i], NULL, hand_on, number), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    pthread_barrier_destroy(&barrier);
}

static void *free_all(void *argument)
{
    void **blocks = argument;
    for (size_t i = 0; blocks[i] != NULL; i++) {
        t_free(blocks[i]);
    }
    return NULL;
}

static void test_thread_that_only_frees_keeps_the_heap(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (int round = 0; round < ROUNDS; round++) {
        static void *blocks[HANDED + 1];
        pthread_t thread;
        for (size_t i = 0; i < HANDED; i++) {
            blocks[i] = t_malloc(random_size(&random, 200 * KIB));
            assert_non_null(blocks[i]);
        }
        assert_int_equal(pthread_create(&thread, NULL, free_all, blocks), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        family_exercise_many((uint64_t)round, HANDED, 40 * KIB);
    }
}

#define KEYS 40 /* more than the one block of keys that glibc stores in the thread itself */
static pthread_key_t keys[KEYS];
static int destroyed; /* how often a destructor ran; one thread at a time touches it */

/* Frees what the thread left, uses every range, and stays for all further rounds but the last. */
static void destroy(void *value)
{
    uint64_t *rounds_left = value;
    destroyed++;
    family_exercise((uint64_t)destroyed);
    if (*rounds_left > 0) {
        uint64_t *next = t_malloc(sizeof *next);
        CHECK(next != NULL);
        *next = *rounds_left - 1;
        CHECK(pthread_setspecific(keys[(size_t)destroyed % KEYS], next) == 0);
    }
    t_free(value);
}

/* Before the first allocation of the process where that is possible, hence before weir could
 * create a key of its own: these destructors run on both sides of its. */
__attribute__((constructor(101))) static void create_early_keys(void)
{
    for (size_t i = 0; i < KEYS / 2; i++) {
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    }
}

static void create_late_keys(void)
{
    for (size_t i = KEYS / 2; i < KEYS; i++) {
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    }
}

static void *leave_values(void *argument)
{
    const size_t *exercise_first = argument;
    if (*exercise_first) {
        family_exercise(1);
    }
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t *value = t_malloc(sizeof *value);
        CHECK(value != NULL);
        *value = i % 3;
        CHECK(pthread_setspecific(keys[i], value) == 0);
    }
    return NULL;
}

/* The values are static and the destructor's first call is the thread's first use of weir. */
static uint64_t *static_values[KEYS];

static void *leave_given_values(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < KEYS; i++) {
        CHECK(pthread_setspecific(keys[i], static_values[i]) == 0);
    }
    return NULL;
}

static void test_tsd_destructors_may_allocate_and_free(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        size_t exercise_first = i % 2;
        pthread_t thread;
        destroyed = 0;
        assert_int_equal(pthread_create(&thread, NULL, leave_values, &exercise_first), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(destroyed >= KEYS);
    }
    family_exercise_many(1, HANDED, 200 * KIB);
}

static void test_tsd_destructor_may_be_the_first_caller_of_its_thread(void **state)
{
    (void)state;
    for (size_t round = 0; round < 10; round++) {
        pthread_t thread;
        for (size_t i = 0; i < KEYS; i++) {
            static_values[i] = t_malloc(sizeof *static_values[i]);
            assert_non_null(static_values[i]);
            *static_values[i] = 0;
        }
        destroyed = 0;
        assert_int_equal(pthread_create(&thread, NULL, leave_given_values, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(destroyed, KEYS);
    }
    family_exercise_many(2, HANDED, 200 * KIB);
}

int main(void)
{
    create_late_keys();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_blocks_freed_by_neighbours_stay_exclusive),
        cmocka_unit_test(test_thread_that_only_frees_keeps_the_heap),
        cmocka_unit_test(test_tsd_destructors_may_allocate_and_free),
        cmocka_unit_test(test_tsd_destructor_may_be_the_first_caller_of_its_thread),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
