/* fork at any moment while threads allocate: the child and its own child may use every range at
 * once, and the parent goes on. The alarm turns a deadlock into a failure. */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exercise.h"
#include "family.h"

#define THREADS       4
#define FORKS         TEST_SCALE(200, 30)
#define LIVE          200
#define DEADLOCK_SECS 60
#define BURST         500 /* calls of a thread between two naps, which leave the children a core */
#define NAP_US        200

static atomic_bool stop;

static void *allocate_until_told(void *argument)
{
    uint64_t random = *(const uint64_t *)argument;
    void *blocks[LIVE] = {NULL};
    for (size_t call = 0; !atomic_load_explicit(&stop, memory_order_relaxed); call++) {
        if (call % BURST == 0) {
            usleep(NAP_US);
        }
        size_t i = random_next(&random) % LIVE;
        t_free(blocks[i]);
        size_t size = random_size(&random, i == 0 ? 2 * MIB : 100 * KIB);
        blocks[i] = t_malloc(size);
        CHECK(blocks[i] != NULL);
        CHECK(t_usable_size(blocks[i]) >= size);
        pattern_fill(blocks[i], size < 64 ? size : 64, random);
    }
    for (size_t i = 0; i < LIVE; i++) {
        t_free(blocks[i]);
    }
    return NULL;
}

static void wait_for_clean_exit(pid_t child)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* `inherited` was allocated by the parent before the fork. */
static void live_as_child(void *inherited, size_t bytes, uint64_t tag)
{
    drop_signal_handlers();
    alarm(DEADLOCK_SECS);
    family_exercise(tag);
    CHECK(pattern_holds(inherited, bytes, tag));
    t_free(inherited);
    pid_t grandchild = fork();
    CHECK(grandchild >= 0);
    if (grandchild == 0) {
        alarm(DEADLOCK_SECS);
        family_exercise(tag + 1);
        t_malloc_trim(0);
        _exit(0);
    }
    family_exercise_many(tag, 20, 60 * KIB);
    wait_for_clean_exit(grandchild);
    _exit(0);
}

static void fork_and_wait(uint64_t tag)
{
    size_t bytes = tag % 3 == 0 ? 100 : tag % 3 == 1 ? 50000 : 300000;
    void *inherited = t_malloc(bytes);
    assert_non_null(inherited);
    pattern_fill(inherited, bytes, tag);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        live_as_child(inherited, bytes, tag);
    }
    wait_for_clean_exit(child);
    assert_true(pattern_holds(inherited, bytes, tag));
    t_free(inherited);
}

static void test_fork_while_threads_allocate_child_and_parent_go_on(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    uint64_t seed = test_seed();
    atomic_store(&stop, false);
    for (size_t i = 0; i < THREADS; i++) {
        seeds[i] = seed + i;
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_until_told, &seeds[i]), 0);
    }
    for (uint64_t i = 0; i < FORKS; i++) {
        fork_and_wait(i);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    family_exercise_many(seed, 500, 2 * MIB);
}

static void test_fork_in_chain_each_generation_frees_what_it_inherits(void **state)
{
    (void)state;
    void *block = t_malloc(1000);
    assert_non_null(block);
    pattern_fill(block, 1000, 1);
    pid_t first = fork();
    assert_true(first >= 0);
    if (first == 0) {
        drop_signal_handlers();
        alarm(DEADLOCK_SECS);
        for (int generation = 0; generation < 20; generation++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child != 0) {
                CHECK(pattern_holds(block, 1000, 1));
                t_free(block);
                family_exercise((uint64_t)generation);
                wait_for_clean_exit(child);
                _exit(0);
            }
        }
        t_free(block);
        _exit(0);
    }
    wait_for_clean_exit(first);
    t_free(block);
}

enum { FREED = 64, REQUESTS = 20 * FREED, BLOCK_BYTES = 1000 };

struct idler {
    void *freed[FREED];
    pthread_barrier_t barrier; /* freed; may end */
};

static void *free_and_wait(void *argument)
{
    struct idler *idler = argument;
    for (unsigned round = 0; round < 20; round++) { /* until its cache has room for them all */
        for (unsigned i = 0; i < FREED; i++) {
            idler->freed[i] = t_malloc(BLOCK_BYTES);
            CHECK(idler->freed[i] != NULL);
        }
        for (unsigned i = 0; i < FREED; i++) {
            t_free(idler->freed[i]);
        }
    }
    pthread_barrier_wait(&idler->barrier);
    pthread_barrier_wait(&idler->barrier);
    return NULL;
}

/* What a thread has freed and does not take with it is the child's. */
static void get_all_back(const struct idler *idler)
{
    drop_signal_handlers();
    alarm(DEADLOCK_SECS);
    unsigned got = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        const void *block = t_malloc(BLOCK_BYTES);
        for (unsigned j = 0; j < FREED; j++) {
            got += block == idler->freed[j];
        }
    }
    CHECK(got == FREED);
    _exit(0);
}

static void test_fork_leaves_the_child_what_other_threads_had_freed(void **state)
{
    (void)state;
    struct idler idler;
    pthread_t thread;
    assert_int_equal(pthread_barrier_init(&idler.barrier, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, free_and_wait, &idler), 0);
    pthread_barrier_wait(&idler.barrier);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        get_all_back(&idler);
    }
    wait_for_clean_exit(child);
    pthread_barrier_wait(&idler.barrier);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&idler.barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_leaves_the_child_what_other_threads_had_freed),
        cmocka_unit_test(test_fork_while_threads_allocate_child_and_parent_go_on),
        cmocka_unit_test(test_fork_in_chain_each_generation_frees_what_it_inherits),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
