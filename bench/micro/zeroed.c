/* calloc with its free: used memory must be cleared, fresh memory need not be. */
#include <string.h>

#include "holds.h"
#include "micro.h"

/* A zeroed block, or NULL if it is not zero. */
static void *make_zeroed(size_t size)
{
    unsigned char *block = family_calloc(1, size);
    if (block != NULL && (block[0] != 0 || memcmp(block, block + 1, size - 1) != 0)) {
        family_free(block);
        return NULL;
    }
    return block;
}

static void zeroed(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    /* Twice: the second round gets blocks that the first has written to. */
    if (!holds_blocks(make_zeroed, size) || !holds_blocks(make_zeroed, size))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        void *block = family_calloc(1, size);
        holds_escape(block);
        family_free(block);
    }
    bench_items(state, bench_iterations(state));
    bench_bytes(state, bench_iterations(state) * (int64_t)size);
}

void MICRO_REGISTER(zeroed)
{
    static const int64_t sizes[] = {16, 64, 256, 1024, 4096, 32768, 204800, 1048576};
    static const int64_t threaded_sizes[] = {64, 4096};
    micro_register(FAMILY_NAME "/calloc", zeroed, sizes, MICRO_COUNT(sizes));
    micro_register_threaded(plan, FAMILY_NAME "/calloc", zeroed, threaded_sizes,
                            MICRO_COUNT(threaded_sizes), 2);
}
