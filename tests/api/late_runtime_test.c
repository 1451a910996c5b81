/* A C program: the operators of libweir.so where there is no C++ runtime, and where one comes
 * later, with a library that the program loads. */
#include "support.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <string.h>

void *_Znwm(size_t size);                                /* operator new(size) */
void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag); /* operator new(size, std::nothrow) */
void _ZdlPv(void *block);                                /* operator delete(block) */
typedef int module_function(void);

static int find_cxx_runtime(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes;
    (void)unused;
    return strstr(info->dlpi_name, "libstdc++") != NULL;
}

static bool has_cxx_runtime(void)
{
    return dl_iterate_phdr(find_cxx_runtime, NULL) != 0;
}

static void ask_for_too_much(void *unused)
{
    (void)unused;
    (void)_Znwm(NEVER_THERE);
}

static void test_new_without_runtime_gives_blocks(void **state)
{
    (void)state;
    assert_false(has_cxx_runtime());
    void *block = _Znwm(1000);
    assert_non_null(block);
    pattern_fill(block, 1000, 1);
    assert_true(pattern_holds(block, 1000, 1));
    _ZdlPv(block);
}

static void test_new_without_memory_and_runtime_says_so_and_aborts(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(ask_for_too_much, NULL, &outcome);
    assert_string_equal(outcome.text, "weir: operator new: out of memory, and no C++ runtime to "
                                      "throw std::bad_alloc\n");
    assert_int_equal(outcome.signal, SIGABRT);
}

static void test_new_nothrow_without_memory_and_runtime_returns_null(void **state)
{
    (void)state;
    assert_null(_ZnwmRKSt9nothrow_t(NEVER_THERE, NULL));
    assert_false(has_cxx_runtime());
}

static int call_module(const char *name)
{
    void *module = dlopen(TEST_MODULE, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(module);
    module_function *function = (module_function *)dlsym(module, name);
    assert_non_null(function);
    return function();
}

static void test_new_without_memory_throws_by_the_runtime_that_came_later(void **state)
{
    (void)state;
    assert_int_equal(call_module("module_catches_bad_alloc"), 1);
    assert_true(has_cxx_runtime());
}

static void test_new_handler_of_the_runtime_that_came_later_is_called(void **state)
{
    (void)state;
    assert_int_equal(call_module("module_handler_calls_until_removed"), 3);
}

static void test_new_nothrow_catches_by_the_runtime_that_came_later(void **state)
{
    (void)state;
    assert_int_equal(call_module("module_nothrow_calls_until_handler_throws"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_without_runtime_gives_blocks),
        cmocka_unit_test(test_new_without_memory_and_runtime_says_so_and_aborts),
        cmocka_unit_test(test_new_nothrow_without_memory_and_runtime_returns_null),
        cmocka_unit_test(test_new_without_memory_throws_by_the_runtime_that_came_later),
        cmocka_unit_test(test_new_handler_of_the_runtime_that_came_later_is_called),
        cmocka_unit_test(test_new_nothrow_catches_by_the_runtime_that_came_later),
    };
    return cmocka_run_group_tests_name("late_runtime", tests, NULL, NULL);
}
