/* A malloc and the free of the same block, over and over: the hottest path there is. */
#include "holds.h"
#include "micro.h"
#include "weir/weir.h"

#define CLASSES_MAX     64u
#define CLASS_BYTES_MAX ((size_t)32768)

/* Sizes beyond the classes. */
static const int64_t large_sizes[] = {49152, 102400, 204800, 1048576};
static const int64_t threaded_sizes[] = {64, 1024, 32768, 204800};

static void pair(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    if (!holds_blocks(family_malloc, size))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        void *block = family_malloc(size);
        holds_escape(block);
        family_free(block);
    }
    bench_items(state, bench_iterations(state));
}

/* The block sizes that weir has for small requests: the libc names are measured at the same. */
static size_t list_classes(int64_t *sizes)
{
    size_t count = 0;
    for (size_t size = weir_good_size(1); size <= CLASS_BYTES_MAX && count < CLASSES_MAX;
         size = weir_good_size(size + 1))
        sizes[count++] = (int64_t)size;
    return count;
}

void MICRO_REGISTER(pair)
{
    int64_t sizes[CLASSES_MAX];
    micro_register(FAMILY_NAME "/malloc_free", pair, sizes, list_classes(sizes));
    micro_register(FAMILY_NAME "/malloc_free", pair, large_sizes, MICRO_COUNT(large_sizes));
    micro_register_threaded(plan, FAMILY_NAME "/malloc_free", pair, threaded_sizes,
                            MICRO_COUNT(threaded_sizes), 2);
}
