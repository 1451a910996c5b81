/* operator new and delete of libweir.so: [new.delete] of C++17, and which library they come from.
 * The operators are called as functions, since a compiler may leave out a new-expression. */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <new>

/* cmocka 1.1 does not declare its functions extern "C" itself. */
extern "C" {
#include <cmocka.h>
}

#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>

#include "weir/weir.h"

namespace
{
constexpr std::size_t MIB = 1024 * 1024;

/* Sizes that no machine has, read at run time so that no compiler warns of them. */
const volatile std::size_t too_large = static_cast<std::size_t>(PTRDIFF_MAX) + 1;
const volatile std::size_t never_there = static_cast<std::size_t>(1) << 47;

const std::size_t sizes[] = {0, 1, 16, 100, 1000, 5000, 33000, 100000, 300000, 5 * MIB};

void check_block(void *block, std::size_t size, std::size_t alignment)
{
    assert_non_null(block);
    assert_int_equal(weir_owns(block), 1);
    assert_int_equal(reinterpret_cast<std::uintptr_t>(block) % alignment, 0);
    std::memset(block, 0xa5, size);
}

void test_operators_all_twenty_come_from_libweir(void **)
{
    static const char *const names[] = {
        "_Znwm",
        "_Znam",
        "_ZnwmRKSt9nothrow_t",
        "_ZnamRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnamSt11align_val_t",
        "_ZnwmSt11align_val_tRKSt9nothrow_t",
        "_ZnamSt11align_val_tRKSt9nothrow_t",
        "_ZdlPv",
        "_ZdaPv",
        "_ZdlPvm",
        "_ZdaPvm",
        "_ZdlPvRKSt9nothrow_t",
        "_ZdaPvRKSt9nothrow_t",
        "_ZdlPvSt11align_val_t",
        "_ZdaPvSt11align_val_t",
        "_ZdlPvmSt11align_val_t",
        "_ZdaPvmSt11align_val_t",
        "_ZdlPvSt11align_val_tRKSt9nothrow_t",
        "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    };
    for (const char *name : names) {
        Dl_info info;
        void *address = dlsym(RTLD_DEFAULT, name);
        assert_non_null(address);
        assert_int_not_equal(dladdr(address, &info), 0);
        if (std::strstr(info.dli_fname, "libweir.so") == nullptr) {
            fail_msg("%s comes from %s", name, info.dli_fname);
        }
    }
}

void test_new_plain_and_array_give_blocks(void **)
{
    for (std::size_t size : sizes) {
        void *block = ::operator new(size);
        check_block(block, size, size < 16 ? 1 : 16);
        ::operator delete(block);
        block = ::operator new[](size);
        check_block(block, size, size < 16 ? 1 : 16);
        ::operator delete[](block);
    }
}

void test_new_sized_delete_takes_the_block(void **)
{
    for (std::size_t size : sizes) {
        void *block = ::operator new(size);
        check_block(block, size, 1);
        ::operator delete(block, size);
        block = ::operator new[](size);
        check_block(block, size, 1);
        ::operator delete[](block, size);
    }
}

void test_new_nothrow_gives_blocks(void **)
{
    for (std::size_t size : sizes) {
        void *block = ::operator new(size, std::nothrow);
        check_block(block, size, 1);
        ::operator delete(block, std::nothrow);
        block = ::operator new[](size, std::nothrow);
        check_block(block, size, 1);
        ::operator delete[](block, std::nothrow);
    }
}

void test_new_nothrow_gives_each_of_many_blocks_once(void **)
{
    static char *blocks[300];
    for (char *&block : blocks) {
        block = static_cast<char *>(::operator new(720, std::nothrow));
        check_block(block, 720, 16);
        *block = 0;
    }
    for (char *block : blocks) {
        assert_int_equal(*block, 0);
        *block = 1;
        ::operator delete(block, std::nothrow);
    }
}

void test_new_aligned_is_aligned(void **)
{
    for (std::size_t alignment = 64; alignment <= 4096; alignment *= 2) {
        const auto align = static_cast<std::align_val_t>(alignment);
        for (std::size_t size : sizes) {
            void *block = ::operator new(size, align);
            check_block(block, size, alignment);
            ::operator delete(block, align);
            block = ::operator new[](size, align);
            check_block(block, size, alignment);
            ::operator delete[](block, align);
            block = ::operator new(size, align);
            check_block(block, size, alignment);
            ::operator delete(block, size, align);
            block = ::operator new[](size, align);
            check_block(block, size, alignment);
            ::operator delete[](block, size, align);
            block = ::operator new(size, align, std::nothrow);
            check_block(block, size, alignment);
            ::operator delete(block, align, std::nothrow);
            block = ::operator new[](size, align, std::nothrow);
            check_block(block, size, alignment);
            ::operator delete[](block, align, std::nothrow);
        }
    }
}

void test_new_zero_bytes_gives_unique_blocks(void **)
{
    void *first = ::operator new(0);
    void *second = ::operator new(0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    ::operator delete(first);
    ::operator delete (second, std::size_t{0});
}

void test_delete_null_does_nothing(void **)
{
    const auto align = static_cast<std::align_val_t>(64);
    void *volatile none = nullptr;
    ::operator delete(none);
    ::operator delete[](none);
    ::operator delete (none, std::size_t{8});
    ::operator delete[](none, std::size_t{8});
    ::operator delete(none, std::nothrow);
    ::operator delete[](none, std::nothrow);
    ::operator delete(none, align);
    ::operator delete[](none, align);
    ::operator delete (none, std::size_t{8}, align);
    ::operator delete[](none, std::size_t{8}, align);
    ::operator delete(none, align, std::nothrow);
    ::operator delete[](none, align, std::nothrow);
}

struct Widget {
    explicit Widget(int *count) : count_(count)
    {
        ++*count_;
    }
    ~Widget()
    {
        --*count_;
    }
    Widget(const Widget &) = delete;
    Widget &operator=(const Widget &) = delete;
    int *count_;
    char body_[200] = {};
};

void test_new_expression_builds_and_destroys_objects(void **)
{
    static Widget *widgets[1000];
    int count = 0;
    for (Widget *&widget : widgets) {
        widget = new Widget(&count);
        assert_int_equal(weir_owns(widget), 1);
    }
    assert_int_equal(count, 1000);
    for (Widget *widget : widgets) {
        delete widget;
    }
    assert_int_equal(count, 0);
}

/* Whether this form of new with this size throws bad_alloc, and nothing else. */
template <typename Allocate> bool throws_bad_alloc(Allocate allocate)
{
    try {
        allocate();
    } catch (std::bad_alloc &) {
        return true;
    }
    return false;
}

void test_new_impossible_size_throws_bad_alloc(void **)
{
    const auto align = static_cast<std::align_val_t>(64);
    std::set_new_handler(nullptr);
    for (std::size_t size : {std::size_t{too_large}, std::size_t{never_there}, SIZE_MAX}) {
        assert_true(throws_bad_alloc([=] { return ::operator new(size); }));
        assert_true(throws_bad_alloc([=] { return ::operator new[](size); }));
        assert_true(throws_bad_alloc([=] { return ::operator new(size, align); }));
        assert_true(throws_bad_alloc([=] { return ::operator new[](size, align); }));
    }
}

void test_new_nothrow_impossible_size_returns_null(void **)
{
    const auto align = static_cast<std::align_val_t>(64);
    std::set_new_handler(nullptr);
    for (std::size_t size : {std::size_t{too_large}, std::size_t{never_there}, SIZE_MAX}) {
        assert_null(::operator new(size, std::nothrow));
        assert_null(::operator new[](size, std::nothrow));
        assert_null(::operator new(size, align, std::nothrow));
        assert_null(::operator new[](size, align, std::nothrow));
    }
}

int handler_calls;

struct HandlerGaveUp : std::bad_alloc {
};

void throw_at_third_call()
{
    if (++handler_calls == 3) {
        throw HandlerGaveUp();
    }
}

void remove_self_at_third_call()
{
    if (++handler_calls == 3) {
        std::set_new_handler(nullptr);
    }
}

template <typename Allocate> void check_handler_throws(Allocate allocate)
{
    bool caught = false;
    handler_calls = 0;
    std::set_new_handler(throw_at_third_call);
    try {
        allocate();
    } catch (HandlerGaveUp &) {
        caught = true;
    }
    std::set_new_handler(nullptr);
    assert_true(caught);
    assert_int_equal(handler_calls, 3);
}

void test_new_handler_is_called_until_it_throws(void **)
{
    const auto align = static_cast<std::align_val_t>(4096);
    const std::size_t size = never_there;
    check_handler_throws([=] { return ::operator new(size); });
    check_handler_throws([=] { return ::operator new[](size); });
    check_handler_throws([=] { return ::operator new(size, align); });
    check_handler_throws([=] { return ::operator new[](size, align); });
}

void test_new_handler_removed_ends_with_bad_alloc(void **)
{
    const std::size_t size = never_there;
    handler_calls = 0;
    std::set_new_handler(remove_self_at_third_call);
    assert_true(throws_bad_alloc([=] { return ::operator new(size); }));
    assert_int_equal(handler_calls, 3);
}

void test_new_nothrow_with_throwing_handler_returns_null(void **)
{
    const auto align = static_cast<std::align_val_t>(64);
    const std::size_t size = never_there;
    std::set_new_handler(throw_at_third_call);
    handler_calls = 0;
    assert_null(::operator new(size, std::nothrow));
    assert_int_equal(handler_calls, 3);
    handler_calls = 0;
    assert_null(::operator new[](size, std::nothrow));
    assert_int_equal(handler_calls, 3);
    handler_calls = 0;
    assert_null(::operator new(size, align, std::nothrow));
    assert_int_equal(handler_calls, 3);
    std::set_new_handler(nullptr);
}

void exit_thread()
{
    pthread_exit(&handler_calls);
}

void *allocate_with_exiting_handler(void *)
{
    return ::operator new(never_there, std::nothrow);
}

void test_new_nothrow_lets_a_handler_end_the_thread(void **)
{
    pthread_t thread;
    void *result = nullptr;
    std::set_new_handler(exit_thread);
    assert_int_equal(pthread_create(&thread, nullptr, allocate_with_exiting_handler, nullptr), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    std::set_new_handler(nullptr);
    assert_ptr_equal(result, &handler_calls);
}

void *reserve; /* what free_reserve gives back */
rlimit unlimited;

void free_reserve()
{
    ++handler_calls;
    if (handler_calls == 2) {
        ::operator delete(reserve);
        reserve = nullptr;
    }
}

void lift_limit()
{
    if (++handler_calls == 2) {
        setrlimit(RLIMIT_AS, &unlimited);
    }
}

/* From here on about `bytes` of address space are left. */
void limit_address_space(std::size_t bytes)
{
    getrlimit(RLIMIT_AS, &unlimited);
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    std::size_t pages = 0;
    assert_int_equal(fscanf(file, "%zu", &pages), 1);
    fclose(file);
    rlimit limit = unlimited;
    limit.rlim_cur = pages * 4096 + bytes;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

void test_new_handler_that_frees_memory_lets_new_succeed(void **)
{
    reserve = ::operator new(512 * MIB);
    limit_address_space(64 * MIB);
    handler_calls = 0;
    std::set_new_handler(free_reserve);
    void *block = ::operator new(300 * MIB);
    std::set_new_handler(nullptr);
    setrlimit(RLIMIT_AS, &unlimited);
    assert_non_null(block);
    assert_int_equal(handler_calls, 2);
    ::operator delete(block);
}

void test_new_handler_that_lifts_the_limit_lets_nothrow_succeed(void **)
{
    limit_address_space(16 * MIB);
    handler_calls = 0;
    std::set_new_handler(lift_limit);
    void *block = ::operator new(2048 * MIB, std::nothrow);
    std::set_new_handler(nullptr);
    setrlimit(RLIMIT_AS, &unlimited);
    assert_non_null(block);
    assert_int_equal(handler_calls, 2);
    ::operator delete(block);
}

void test_new_above_the_hard_limit_throws_bad_alloc(void **)
{
    assert_int_equal(weir_limit_set(0, weir_committed() + 8 * MIB), 0);
    bool thrown = false;
    try {
        ::operator delete(::operator new(16 * MIB));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    void *block = ::operator new(16 * MIB, std::nothrow);
    assert_int_equal(weir_limit_set(0, 0), 0);
    assert_true(thrown);
    assert_null(block);
    block = ::operator new(16 * MIB);
    assert_non_null(block);
    ::operator delete(block);
}
} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_operators_all_twenty_come_from_libweir),
        cmocka_unit_test(test_new_plain_and_array_give_blocks),
        cmocka_unit_test(test_new_sized_delete_takes_the_block),
        cmocka_unit_test(test_new_nothrow_gives_blocks),
        cmocka_unit_test(test_new_nothrow_gives_each_of_many_blocks_once),
        cmocka_unit_test(test_new_aligned_is_aligned),
        cmocka_unit_test(test_new_zero_bytes_gives_unique_blocks),
        cmocka_unit_test(test_delete_null_does_nothing),
        cmocka_unit_test(test_new_expression_builds_and_destroys_objects),
        cmocka_unit_test(test_new_impossible_size_throws_bad_alloc),
        cmocka_unit_test(test_new_nothrow_impossible_size_returns_null),
        cmocka_unit_test(test_new_handler_is_called_until_it_throws),
        cmocka_unit_test(test_new_handler_removed_ends_with_bad_alloc),
        cmocka_unit_test(test_new_nothrow_with_throwing_handler_returns_null),
        cmocka_unit_test(test_new_nothrow_lets_a_handler_end_the_thread),
        cmocka_unit_test(test_new_handler_that_frees_memory_lets_new_succeed),
        cmocka_unit_test(test_new_handler_that_lifts_the_limit_lets_nothrow_succeed),
        cmocka_unit_test(test_new_above_the_hard_limit_throws_bad_alloc),
    };
    return cmocka_run_group_tests_name("operators", tests, nullptr, nullptr);
}
