// Misuses of the C++ operators, by name, so that no compiler removes a pair of them.
#include "death.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace
{

template <typename T> T *hide(T *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

void *plain(std::size_t bytes)
{
    return hide(::operator new(bytes));
}

void *array(std::size_t bytes)
{
    return hide(::operator new[](bytes));
}

void *c_block(std::size_t bytes)
{
    return hide(std::malloc(bytes));
}

constexpr auto line = static_cast<std::align_val_t>(64);

void wrong(const char *function, void *p, const char *family)
{
    expect("%s(): wrong function: %p, block of 24 bytes, allocated by %s", function, p, family);
}

void malloc_delete()
{
    void *p = c_block(24);
    wrong("operator delete", p, "malloc and its kin");
    ::operator delete(p);
}

void malloc_delete_array()
{
    void *p = c_block(24);
    wrong("operator delete[]", p, "malloc and its kin");
    ::operator delete[](p);
}

void new_free()
{
    void *p = plain(24);
    wrong("free", p, "operator new");
    std::free(p);
}

void new_array_free()
{
    void *p = array(24);
    wrong("free", p, "operator new[]");
    std::free(p);
}

void new_delete_array()
{
    void *p = plain(24);
    wrong("operator delete[]", p, "operator new");
    ::operator delete[](p);
}

void new_array_delete()
{
    void *p = array(24);
    wrong("operator delete", p, "operator new[]");
    ::operator delete(p);
}

void new_realloc()
{
    void *p = plain(24);
    wrong("realloc", p, "operator new");
    (void)hide(std::realloc(p, 100));
}

void double_delete()
{
    void *p = plain(24);
    void *again = hide(p);
    ::operator delete(p);
    expect("operator delete(): double free: %p, block of 24 bytes, freed before", again);
    ::operator delete(again);
}

void sized_delete_of_another_size()
{
    void *p = plain(24);
    expect("operator delete(): size mismatch: %p, block of 24 bytes, freed as 16", p);
    ::operator delete(p, static_cast<std::size_t>(16));
}

void sized_array_delete_of_another_size()
{
    void *p = array(24);
    expect("operator delete[](): size mismatch: %p, block of 24 bytes, freed as 16", p);
    ::operator delete[](p, static_cast<std::size_t>(16));
}

void aligned_new_plain_delete()
{
    void *p = hide(::operator new(128, line));
    expect("operator delete(): alignment mismatch: %p, block of 128 bytes, allocated aligned to "
           "64, freed plain",
           p);
    ::operator delete(p);
}

void plain_new_aligned_delete()
{
    void *p = plain(128);
    expect("operator delete(): alignment mismatch: %p, block of 128 bytes, allocated plain, freed "
           "aligned to 64",
           p);
    ::operator delete(p, line);
}

void sized_aligned_delete_of_another_size()
{
    void *p = hide(::operator new(128, line));
    expect("operator delete(): size mismatch: %p, block of 128 bytes, freed as 64", p);
    ::operator delete(p, static_cast<std::size_t>(64), line);
}

void delete_within()
{
    char *p = static_cast<char *>(array(24));
    expect("operator delete[](): not a block start: %p, offset 8 of the block of 24 bytes at %p",
           static_cast<void *>(p + 8), static_cast<void *>(p));
    ::operator delete[](hide(p + 8));
}

void overrun_of_an_array()
{
    char *p = static_cast<char *>(array(24));
    std::memset(hide(p) + 24, 1, 2);
    expect("operator delete[](): overrun: %p, block of 24 bytes, 2 bytes written at offset 24",
           static_cast<void *>(p));
    ::operator delete[](p);
}

} // namespace

#define CASE(function, stacks)                                                                     \
    {                                                                                              \
#function, function, stacks, nullptr                                                       \
    }

const struct misuse misuses[] = {
    CASE(malloc_delete, ALLOCATED),
    CASE(malloc_delete_array, ALLOCATED),
    CASE(new_free, ALLOCATED),
    CASE(new_array_free, ALLOCATED),
    CASE(new_delete_array, ALLOCATED),
    CASE(new_array_delete, ALLOCATED),
    CASE(new_realloc, ALLOCATED),
    CASE(double_delete, ALLOCATED | FREED),
    CASE(sized_delete_of_another_size, ALLOCATED),
    CASE(sized_array_delete_of_another_size, ALLOCATED),
    CASE(aligned_new_plain_delete, ALLOCATED),
    CASE(plain_new_aligned_delete, ALLOCATED),
    CASE(sized_aligned_delete_of_another_size, ALLOCATED),
    CASE(delete_within, ALLOCATED),
    CASE(overrun_of_an_array, ALLOCATED),
    {nullptr, nullptr, NO_STACK, nullptr},
};
