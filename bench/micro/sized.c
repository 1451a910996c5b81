/* What knowing the size is worth: free_sized in the place of free, and asking for a block's size.
 */
#include <dlfcn.h>

#include "holds.h"
#include "micro.h"

typedef void free_sized_function(void *ptr, size_t size);

/* free_sized of the family, or NULL. The C library's is asked for at run time, since most libraries
 * have none. */
static free_sized_function *find_free_sized(void)
{
#ifdef MICRO_LIBC
    void *found = dlsym(RTLD_DEFAULT, "free_sized");
    free_sized_function *function;
    __builtin_memcpy(&function, &found, sizeof function);
    return function;
#else
    return family_free_sized;
#endif
}

static bool free_sized_holds(free_sized_function *free_sized, size_t size)
{
    for (unsigned round = 0; round < 2 * HOLDS_BLOCKS; round++) {
        void *block = family_malloc(size);
        if (block == NULL)
            return false;
        holds_fill(block, 0, size, round);
        bool right = holds_check(block, size, round);
        free_sized(block, size);
        if (!right)
            return false;
    }
    return true;
}

static void free_sized(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    free_sized_function *function = find_free_sized();
    if (function == NULL)
        bench_skip(state, "free_sized is not exported");
    else if (!holds_blocks(family_malloc, size) || !free_sized_holds(function, size))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        void *block = family_malloc(size);
        holds_escape(block);
        function(block, size);
    }
    bench_items(state, bench_iterations(state));
}

static void usable_size(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    void *block = family_malloc(size);
    size_t usable = block == NULL ? 0 : family_usable_size(block);
    if (block != NULL)
        holds_fill(block, 0, size, 1);
    if (usable < size || !holds_check(block, size, 1))
        bench_fail(state, "malloc_usable_size tells less than was asked for");
    size_t sum = 0;
    while (bench_keep_running(state)) {
        holds_escape(block);
        sum += family_usable_size(block);
    }
    if (sum != usable * (size_t)bench_iterations(state))
        bench_fail(state, "malloc_usable_size changes its mind");
    bench_items(state, bench_iterations(state));
    family_free(block);
}

void MICRO_REGISTER(sized)
{
    static const int64_t sizes[] = {64, 1024, 32768, 204800};
    static const int64_t threaded_sizes[] = {64};
    micro_register(FAMILY_NAME "/free_sized", free_sized, sizes, MICRO_COUNT(sizes));
    micro_register_threaded(plan, FAMILY_NAME "/free_sized", free_sized, threaded_sizes,
                            MICRO_COUNT(threaded_sizes), 2);
    micro_register(FAMILY_NAME "/usable_size", usable_size, sizes, MICRO_COUNT(sizes));
}
