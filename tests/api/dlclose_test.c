/* Unloading a library that used the family, with one of its threads still running. */
#include "support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

#include "exercise.h"
#include "family.h"

#define LOADS TEST_SCALE(1000, 100)

typedef int start_thread_function(pthread_t *thread, void *(*body)(void *));

static sem_t unloaded;

static void *outlive_the_module(void *block)
{
    void *own = t_malloc(5000);
    CHECK(own != NULL);
    while (sem_wait(&unloaded) != 0) {
    }
    CHECK(((char *)block)[999] == 7);
    t_free(block);
    t_free(own);
    family_exercise_many(1, 20, 60 * KIB);
    return NULL;
}

static void load_and_unload(void)
{
    pthread_t thread;
    start_thread_function *start_thread;
    void *module = dlopen(TEST_MODULE, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(module);
    /* The assignment through void ** is the one that dlsym(3) shows. */
    *(void **)&start_thread = dlsym(module, "module_start_thread");
    assert_non_null(start_thread);
    assert_int_equal(start_thread(&thread, outlive_the_module), 0);
    assert_int_equal(dlclose(module), 0);
    assert_null(dlopen(TEST_MODULE, RTLD_NOW | RTLD_NOLOAD));
    assert_int_equal(sem_post(&unloaded), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_dlclose_of_a_library_that_allocated_keeps_the_heap(void **state)
{
    (void)state;
    assert_int_equal(sem_init(&unloaded, 0, 0), 0);
    for (size_t i = 0; i < LOADS; i++) {
        load_and_unload();
    }
    family_exercise_many(1, 500, 200 * KIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dlclose_of_a_library_that_allocated_keeps_the_heap),
    };
    return cmocka_run_group_tests_name("dlclose", tests, NULL, NULL);
}
