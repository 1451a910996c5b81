/* Loaded by late_runtime_test, and the C++ runtime with it. Each function returns what it counted,
 * or -1 when something else came. */
#include <cstddef>
#include <new>

extern "C" {
int module_catches_bad_alloc();
int module_handler_calls_until_removed();
int module_nothrow_calls_until_handler_throws();
}

namespace
{
const volatile std::size_t never_there = static_cast<std::size_t>(1) << 47;
int calls;

void remove_self_at_third_call()
{
    if (++calls == 3) {
        std::set_new_handler(nullptr);
    }
}

void throw_at_third_call()
{
    if (++calls == 3) {
        throw std::bad_alloc();
    }
}

int count_bad_allocs()
{
    try {
        void *block = ::operator new(never_there);
        ::operator delete(block);
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}
} // namespace

int module_catches_bad_alloc()
{
    return count_bad_allocs();
}

int module_handler_calls_until_removed()
{
    calls = 0;
    std::set_new_handler(remove_self_at_third_call);
    return count_bad_allocs() == 1 ? calls : -1;
}

int module_nothrow_calls_until_handler_throws()
{
    calls = 0;
    std::set_new_handler(throw_at_third_call);
    void *block = ::operator new(never_there, std::nothrow);
    std::set_new_handler(nullptr);
    return block == nullptr ? calls : -1;
}
