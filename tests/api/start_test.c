/* Start-up when libc refuses what it asks for, when libc calls back into it, and when a fork comes
 * in the middle of it.
 *
 * The program is linked with --wrap for pthread_key_create, pthread_setspecific, pthread_atfork and
 * getauxval, which weir calls at start. The environment is hidden from the constructors, so that
 * options are read after the fork handler and the key are there. */
#include "support.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define REFUSE "START_TEST_REFUSE" /* in the environment: no key, no fork handler */

int __real_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __real_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_pthread_setspecific(pthread_key_t key, const void *value);
int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
unsigned long __real_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type);

static char **hidden_environment;
static bool refused;
static bool setspecific_is_refused;
static unsigned key_calls;
static unsigned secure_calls;
static struct outcome child_within_key;
static struct outcome child_within_options;

/* Blocks of all kinds at once, each with its own contents. */
static void serve(void *unused)
{
    (void)unused;
    enum { BLOCKS = 64 };
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i * i * i + 1;
        blocks[i] = weir_malloc(size);
        CHECK(blocks[i] != NULL);
        pattern_fill(blocks[i], size, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(pattern_holds(blocks[i], i * i * i + 1, i));
        weir_free(blocks[i]);
    }
}

static void *serve_thread(void *unused)
{
    serve(NULL);
    return unused;
}

static void serve_in_threads(void *unused)
{
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, serve_thread, NULL) == 0);
    }
    serve(unused);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* Before weir's own constructor, which has the same priority and is linked later. */
__attribute__((constructor(101))) static void hide_environment(void)
{
    hidden_environment = environ;
    refused = getenv(REFUSE) != NULL;
    environ = NULL;
}

/* The first call is the constructor's: here the key is neither there nor refused. */
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    if (key_calls++ == 0 && !refused) {
        serve(NULL);
        run_child(serve_in_threads, NULL, &child_within_key);
    }
    return refused ? EAGAIN : __real_pthread_key_create(key, destructor);
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    return setspecific_is_refused ? ENOMEM : __real_pthread_setspecific(key, value);
}

int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return refused ? ENOMEM : __real_pthread_atfork(before, parent, child);
}

unsigned long __wrap_getauxval(unsigned long type)
{
    if (type == AT_SECURE && secure_calls++ == 0 && !refused) {
        run_child(serve_in_threads, NULL, &child_within_options);
    }
    return __real_getauxval(type);
}

static void test_fork_while_the_key_is_made_child_begins_anew(void **state)
{
    (void)state;
    assert_clean_exit(&child_within_key);
    assert_int_equal(key_calls, 1); /* in this process */
}

static void read_options(void *unused)
{
    (void)unused;
    CHECK(secure_calls == 0);
    static char option[] = "WEIR_BRK=banana";
    static char *environment[] = {option, NULL};
    environ = environment;
    serve(NULL); /* the first call of this process's only thread but for the constructor's */
    CHECK(secure_calls == 1);
    CHECK(child_within_options.exit_code == 0);
    CHECK(strcmp(child_within_options.text, "weir: WEIR_BRK: is no 0 or 1, the default holds\n") ==
          0);
}

static void test_fork_while_options_are_read_both_read_them_once(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(read_options, NULL, &outcome);
    assert_string_equal(outcome.text, "weir: WEIR_BRK: is no 0 or 1, the default holds\n");
    assert_int_equal(outcome.exit_code, 0);
}

static void test_thread_whose_value_is_refused_is_served_and_the_next_one_too(void **state)
{
    (void)state;
    struct outcome outcome;
    setspecific_is_refused = true;
    run_child(serve_in_threads, NULL, &outcome);
    assert_clean_exit(&outcome);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    setspecific_is_refused = false;
    serve_in_threads(NULL);
}

static void test_process_without_key_and_fork_handler_is_served(void **state)
{
    (void)state;
    char path[] = "/proc/self/exe";
    char refuse[] = REFUSE "=1";
    char *const argv[] = {path, NULL};
    char *const env[] = {refuse, NULL};
    struct outcome outcome;
    run_program(path, argv, env, &outcome);
    assert_clean_exit(&outcome);
}

/* The program that the last case runs. */
static int serve_refused(void)
{
    serve_in_threads(NULL);
    struct outcome outcome;
    run_child(serve_in_threads, NULL, &outcome);
    return outcome.exit_code;
}

int main(void)
{
    if (refused) {
        environ = hidden_environment;
        return serve_refused();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_while_the_key_is_made_child_begins_anew),
        cmocka_unit_test(test_fork_while_options_are_read_both_read_them_once),
        cmocka_unit_test(test_thread_whose_value_is_refused_is_served_and_the_next_one_too),
        cmocka_unit_test(test_process_without_key_and_fork_handler_is_served),
    };
    int wrong = cmocka_run_group_tests_name("start", tests, NULL, NULL);
    environ = hidden_environment;
    return wrong;
}
