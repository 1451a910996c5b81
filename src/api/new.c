/* Every replaceable C++ operator new and delete (ISO C++17 [new.delete]), in C, under their mangled
 * names of the Itanium C++ ABI; nothing in the plain library.
 *
 * The new_handler loop runs and std::bad_alloc is thrown by the program's own C++ runtime, reached
 * as weak symbols, or by name where it was loaded later: so none is linked. This file is compiled
 * with unwind tables, through which exceptions of handlers pass. */
#ifndef WR_PLAIN_NAMES

#include "api/cxx.h"
#include "api/fast.h"

/* What operator new does when there is no memory. */
typedef enum failure { FAIL_THROW, FAIL_NULL } failure;

WR_COLD static void *new_slow(size_t size, size_t alignment, wr_slow_operator which,
                              failure on_failure)
{
    for (;;) {
        void *object = wr_slow_new(size, alignment, which, __builtin_return_address(0));
        if (object != NULL) {
            return object;
        }
        wr_cxx_handler *handler = wr_cxx_new_handler();
        if (handler == NULL) {
            if (on_failure == FAIL_NULL) {
                return NULL;
            }
            wr_cxx_throw_bad_alloc();
        }
        if (on_failure == FAIL_THROW) {
            handler();
        } else if (!wr_cxx_call_catching(handler)) {
            return NULL;
        }
    }
}

/* A block from the cache, or all that new_slow can do. Class 0's bin is always empty. */
WR_INLINE void *new_aligned(size_t size, size_t alignment, wr_slow_operator which,
                            failure on_failure)
{
    void *block;
    if (WR_UNLIKELY(
            !wr_fast_pop(wr_class_mark_of(wr_size_class_of_aligned(size, alignment)), &block))) {
        return new_slow(size, alignment, which, on_failure);
    }
    return block;
}

WR_INLINE void *new_plain(size_t size, wr_slow_operator which, failure on_failure)
{
    size_t mark;
    void *block;
    if (WR_UNLIKELY(!wr_size_find_mark(size, &mark)) || WR_UNLIKELY(!wr_fast_pop(mark, &block))) {
        return new_slow(size, 1, which, on_failure);
    }
    return block;
}

WR_INLINE void delete_plain(void *ptr, size_t alignment, wr_slow_operator which)
{
    if (!wr_fast_return(ptr)) {
        wr_slow_delete(ptr, alignment, WR_SLOW_UNTOLD, which);
    }
}

WR_INLINE void delete_sized(void *ptr, size_t size, wr_slow_operator which)
{
    if (!wr_fast_return_sized(ptr, size)) {
        wr_slow_delete(ptr, 0, size, which);
    }
}

WR_INLINE void delete_aligned_sized(void *ptr, size_t size, size_t alignment,
                                    wr_slow_operator which)
{
    if (!wr_fast_return_aligned(ptr, alignment, size)) {
        wr_slow_delete(ptr, alignment, size, which);
    }
}

/* const std::nothrow_t &: passed as a pointer, never looked at. */
typedef const void *nothrow_tag;

#define EXPORT __attribute__((visibility("default")))

/* Defines an exported function; a prototype comes first, as for every other. */
#define OPERATOR(result, name, parameters)                                                         \
    EXPORT result name parameters;                                                                 \
    result name parameters

/* The operators new and delete of one form under their mangled names: n is the letter of its new
 * (w, array a), d that of its delete (l, array a); size_t is m, std::align_val_t St11align_val_t,
 * const std::nothrow_t & RKSt9nothrow_t. */
#define OPERATORS(n, d, which)                                                                     \
    OPERATOR(void *, _Zn##n##m, (size_t size))                                                     \
    {                                                                                              \
        return new_plain(size, which, FAIL_THROW);                                                 \
    }                                                                                              \
    OPERATOR(void *, _Zn##n##mRKSt9nothrow_t, (size_t size, WR_UNUSED nothrow_tag tag))            \
    {                                                                                              \
        return new_plain(size, which, FAIL_NULL);                                                  \
    }                                                                                              \
    OPERATOR(void *, _Zn##n##mSt11align_val_t, (size_t size, size_t alignment))                    \
    {                                                                                              \
        return new_aligned(size, alignment, which, FAIL_THROW);                                    \
    }                                                                                              \
    OPERATOR(void *, _Zn##n##mSt11align_val_tRKSt9nothrow_t,                                       \
             (size_t size, size_t alignment, WR_UNUSED nothrow_tag tag))                           \
    {                                                                                              \
        return new_aligned(size, alignment, which, FAIL_NULL);                                     \
    }                                                                                              \
    OPERATOR(void, _Zd##d##Pv, (void *ptr))                                                        \
    {                                                                                              \
        delete_plain(ptr, 0, which);                                                               \
    }                                                                                              \
    OPERATOR(void, _Zd##d##Pvm, (void *ptr, size_t size))                                          \
    {                                                                                              \
        delete_sized(ptr, size, which);                                                            \
    }                                                                                              \
    OPERATOR(void, _Zd##d##PvSt11align_val_t, (void *ptr, size_t alignment))                       \
    {                                                                                              \
        delete_plain(ptr, alignment, which);                                                       \
    }                                                                                              \
    OPERATOR(void, _Zd##d##PvmSt11align_val_t, (void *ptr, size_t size, size_t alignment))         \
    {                                                                                              \
        delete_aligned_sized(ptr, size, alignment, which);                                         \
    }                                                                                              \
    OPERATOR(void, _Zd##d##PvRKSt9nothrow_t, (void *ptr, WR_UNUSED nothrow_tag tag))               \
    {                                                                                              \
        delete_plain(ptr, 0, which);                                                               \
    }                                                                                              \
    OPERATOR(void, _Zd##d##PvSt11align_val_tRKSt9nothrow_t,                                        \
             (void *ptr, size_t alignment, WR_UNUSED nothrow_tag tag))                             \
    {                                                                                              \
        delete_plain(ptr, alignment, which);                                                       \
    }

/* The two forms differ for check mode alone. */
OPERATORS(w, l, WR_OPERATOR_PLAIN)
OPERATORS(a, a, WR_OPERATOR_ARRAY)

#else
/* ISO C wants a declaration in every file. */
typedef int wr_new_is_left_out;
#endif
