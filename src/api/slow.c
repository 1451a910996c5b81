/* See slow.h. */
#include "api/slow.h"

#include "api/init.h"
#include "diag/check.h"
#include "diag/guard.h"
#include "heap/alloc.h"
#include "heap/limit.h"

#include <errno.h>
#include <string.h>

/* The program's call, where the function was left for by a tail call. */
#define CALLER __builtin_return_address(0)

/* The calling thread's cache, made on its first call; one that stands in where there is none. In
 * check mode no thread gets one. */
static wr_cache *get_cache(void)
{
    if (WR_UNLIKELY(wr_cache_self == &wr_cache_boot)) {
        wr_init_thread();
    }
    return wr_cache_self;
}

/* Where every call that asked for memory ends: first what its thread owes the soft limit. */
static void *or_enomem(void *object)
{
    wr_limit_answer();
    if (WR_UNLIKELY(object == NULL)) {
        errno = ENOMEM;
    }
    return object;
}

/* ---- allocate ---- */

WR_COLD static void *check_alloc(size_t size, bool zero, size_t alignment, wr_check_family family,
                                 const void *caller)
{
    wr_check_call call = {.function = "malloc",
                          .caller = caller,
                          .family = family,
                          .size = size,
                          .alignment = alignment};
    return or_enomem(wr_check_alloc(size, zero, &call));
}

/* A block at the edge of a guard page, if one is due (diag/guard.h). A call that leaves the fast
 * path for an empty bin stands for as many as the blocks that it brings. */
WR_COLD static void *sample(const wr_cache *cache, size_t size, size_t alignment,
                            const void *caller)
{
    unsigned class = wr_size_class_of_aligned(size, alignment);
    if (class == WR_CLASS_NONE) {
        return NULL;
    }
    unsigned weight = wr_cache_is_real(cache) ? cache->capacity[class] / 2u + 1 : 1;
    wr_check_call call = {.function = "malloc", .caller = caller};
    return wr_guard_sample(class, size, weight, &call);
}

static void *alloc_as(size_t size, size_t alignment, wr_check_family family, const void *caller)
{
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX) {
        return or_enomem(NULL);
    }
    wr_cache *cache = get_cache();
    if (wr_check_is_on()) {
        return check_alloc(size, false, alignment, family, caller);
    }
    void *object = wr_guard_is_on() ? sample(cache, size, alignment, caller) : NULL;
    return or_enomem(object != NULL ? object : wr_alloc(cache, size, alignment));
}

void *wr_slow_malloc(size_t size)
{
    return alloc_as(size, 1, WR_CHECK_MALLOC, CALLER);
}

void *wr_slow_aligned(size_t alignment, size_t size)
{
    return alloc_as(size, alignment, WR_CHECK_MALLOC, CALLER);
}

void *wr_slow_calloc(size_t size)
{
    if (size > PTRDIFF_MAX) {
        return or_enomem(NULL);
    }
    wr_cache *cache = get_cache();
    if (wr_check_is_on()) {
        return check_alloc(size, true, 0, WR_CHECK_MALLOC, CALLER);
    }
    void *object = wr_guard_is_on() ? sample(cache, size, 1, CALLER) : NULL;
    return or_enomem(object != NULL ? memset(object, 0, size) : wr_alloc_zero(cache, size));
}

static wr_check_family family_of(wr_slow_operator which)
{
    return which == WR_OPERATOR_ARRAY ? WR_CHECK_NEW_ARRAY : WR_CHECK_NEW;
}

void *wr_slow_new(size_t size, size_t alignment, wr_slow_operator which, const void *caller)
{
    return alloc_as(size, alignment, family_of(which), caller);
}

size_t wr_slow_malloc_batch(size_t size, size_t n, void **out)
{
    size_t done = 0;
    wr_cache *cache = get_cache();
    if (wr_check_is_on()) {
        while (done < n && size <= PTRDIFF_MAX &&
               (out[done] = check_alloc(size, false, 0, WR_CHECK_MALLOC, CALLER)) != NULL) {
            done++;
        }
    } else if (size <= PTRDIFF_MAX) {
        done = wr_alloc_batch(cache, size, n, out);
    }
    wr_limit_answer();
    if (done < n) {
        errno = ENOMEM;
    }
    return done;
}

/* ---- free ---- */

/* True if check mode has the call. */
WR_COLD static bool check_free(void *ptr, const wr_check_call *call)
{
    bool done = wr_check_free(ptr, call);
    if (done) {
        wr_limit_answer();
    }
    return done;
}

/* ptr is not NULL; `call` for check mode alone. */
static void free_as(void *ptr, const wr_check_call *call)
{
    wr_cache *cache = get_cache();
    if (wr_check_is_on() && check_free(ptr, call)) {
        return;
    }
    if (wr_guard_is_on() && wr_guard_owns(ptr)) {
        wr_guard_free(ptr, call);
        return;
    }
    wr_alloc_free(cache, ptr, call->function);
    wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
}

void wr_slow_free(void *ptr)
{
    if (ptr != NULL) {
        wr_check_call call = {.function = "free",
                              .caller = CALLER,
                              .family = WR_CHECK_MALLOC,
                              .size = WR_CHECK_ANY,
                              .alignment = WR_CHECK_ANY};
        free_as(ptr, &call);
    }
}

void wr_slow_free_sized(void *ptr, size_t size)
{
    if (ptr != NULL) {
        wr_check_call call = {.function = "free_sized",
                              .caller = CALLER,
                              .family = WR_CHECK_MALLOC,
                              .size = size,
                              .alignment = 0};
        free_as(ptr, &call);
    }
}

void wr_slow_free_moved(void *ptr)
{
    wr_alloc_free(wr_cache_self, ptr, "realloc");
    wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
}

void wr_slow_free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
    if (ptr != NULL) {
        wr_check_call call = {.function = "free_aligned_sized",
                              .caller = CALLER,
                              .family = WR_CHECK_MALLOC,
                              .size = size,
                              .alignment = alignment};
        free_as(ptr, &call);
    }
}

void wr_slow_delete(void *ptr, size_t alignment, size_t size, wr_slow_operator which)
{
    if (ptr != NULL) {
        bool is_array = which == WR_OPERATOR_ARRAY;
        wr_check_call call = {.function = is_array ? "operator delete[]" : "operator delete",
                              .caller = CALLER,
                              .family = family_of(which),
                              .size = size,
                              .alignment = alignment};
        free_as(ptr, &call);
    }
}

void wr_slow_free_batch(size_t n, void **ptrs)
{
    wr_cache *cache = get_cache();
    if (wr_check_is_on() || wr_guard_is_on()) {
        wr_check_call call = {.function = "free_batch",
                              .caller = CALLER,
                              .family = WR_CHECK_MALLOC,
                              .size = WR_CHECK_ANY,
                              .alignment = WR_CHECK_ANY};
        for (size_t i = 0; i < n; i++) {
            if (ptrs[i] != NULL) {
                free_as(ptrs[i], &call);
            }
        }
        return;
    }
    wr_alloc_free_batch(cache, n, ptrs, "free");
    wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
}

/* ---- resize and measure ---- */

/* A call that says nothing of the block but that it is one. */
static wr_check_call question(const char *function, const void *caller)
{
    return (wr_check_call){.function = function,
                           .caller = caller,
                           .family = WR_CHECK_MALLOC,
                           .size = WR_CHECK_ANY,
                           .alignment = WR_CHECK_ANY,
                           .is_question = true};
}

/* A block of the guard's moves to one that is not. */
WR_COLD static void *move_guarded(wr_cache *cache, void *ptr, size_t size,
                                  const wr_check_call *call)
{
    size_t bytes = wr_guard_usable_size(ptr, call);
    void *moved = wr_alloc(cache, size, 1);
    if (moved != NULL && bytes != 0) {
        memcpy(moved, ptr, wr_min(bytes, size));
        wr_guard_free(ptr, call);
    }
    return or_enomem(moved);
}

void *wr_slow_realloc(void *ptr, size_t size)
{
    if (ptr == NULL) {
        return alloc_as(size, 1, WR_CHECK_MALLOC, CALLER);
    }
    wr_check_call call = question("realloc", CALLER);
    call.is_question = false;
    if (size == 0) {
        free_as(ptr, &call);
        return NULL;
    }
    if (size > PTRDIFF_MAX) {
        return or_enomem(NULL);
    }
    wr_cache *cache = get_cache();
    void *resized;
    if (wr_check_is_on() && wr_check_resize(ptr, size, &call, &resized)) {
        return or_enomem(resized);
    }
    if (wr_guard_is_on() && wr_guard_owns(ptr)) {
        return move_guarded(cache, ptr, size, &call);
    }
    return or_enomem(wr_alloc_resize(cache, ptr, size, "realloc"));
}

bool wr_slow_resize_in_place(void *ptr, size_t size)
{
    (void)get_cache();
    bool done;
    wr_check_call call = question("resize_in_place", CALLER);
    if (wr_guard_is_on() && wr_guard_owns(ptr)) {
        done = size <= wr_guard_usable_size(ptr, &call);
    } else if (!wr_check_is_on() || !wr_check_resize_in_place(ptr, size, &call, &done)) {
        done = wr_alloc_resize_in_place(ptr, size, "resize_in_place");
    }
    wr_limit_answer();
    return done;
}

size_t wr_slow_usable_size(const void *ptr)
{
    size_t size;
    wr_check_call call = question("malloc_usable_size", CALLER);
    if (wr_check_is_on() && wr_check_usable_size(ptr, &call, &size)) {
        return size;
    }
    if (wr_guard_is_on() && wr_guard_owns(ptr)) {
        return wr_guard_usable_size(ptr, &call);
    }
    return wr_alloc_usable_size(ptr, "malloc_usable_size");
}

size_t wr_slow_good_size(size_t size)
{
    return wr_check_is_on() ? size : wr_alloc_good_size(size);
}
