/* libweir-rcu.so loaded at run time and closed again: its threads and the ends of threads go on. */
#include "support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <urcu/urcu-memb.h>

#include "weir/rcu.h"

static void (*free_rcu)(void *, const struct rcu_flavor_struct *);
static int (*stats_get)(weir_rcu_stats *, size_t);
static void *(*allocate)(size_t);

/* The address of a function, by way of which C converts no pointer to an object. */
static void find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

static void *defer_and_end(void *library)
{
    free_rcu(allocate(100), &urcu_memb_flavor);
    CHECK(dlclose(library) == 0);
    return NULL; /* what it deferred is handed over by a destructor in the library */
}

static void test_library_that_is_closed_frees_what_was_deferred(void **state)
{
    (void)state;
    void *library = dlopen(TEST_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    find(library, "weir_free_rcu_flavor", &free_rcu);
    find(library, "weir_rcu_stats_get", &stats_get);
    find(library, "weir_malloc", &allocate);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, defer_and_end, library), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    weir_rcu_stats stats = {0};
    for (unsigned i = 0; i < 20000 && stats.freed_objects == 0; i++) {
        struct timespec millisecond = {0, 1000000};
        (void)nanosleep(&millisecond, NULL);
        assert_int_equal(stats_get(&stats, sizeof stats), 0);
    }
    assert_int_equal(stats.freed_objects, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library_that_is_closed_frees_what_was_deferred),
    };
    return cmocka_run_group_tests_name("dlclose", tests, NULL, NULL);
}
