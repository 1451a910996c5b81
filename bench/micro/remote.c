/* malloc in one thread, free in another. Threads work in pairs: one fills a ring, the other empties
 * it, and whoever cannot go on gives up the processor.
 *
 *   ring   put, written by the maker only, and taken, written by the freer only, count blocks since
 *          the start; put - taken of them, at most RING_BLOCKS, are on their way.
 *
 * A run hands over as many blocks as it makes, so a ring is empty between runs. */
#include <sched.h>
#include <stdatomic.h>

#include "common/stamp.h"
#include "holds.h"
#include "micro.h"

#define RING_BLOCKS 1024u
#define RINGS_MAX   64u

struct ring {
    stamp_t blocks[RING_BLOCKS];
    _Alignas(128) _Atomic uint64_t put;
    _Alignas(128) _Atomic uint64_t taken;
};

static struct ring rings[RINGS_MAX];

/* Makes a block and puts it in. False if there was none. */
static bool make(struct ring *ring, size_t size)
{
    void *block = family_malloc(size);
    uint64_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
    stamp_t stamp = block == NULL ? 0 : stamp_write(block, size, put);
    /* acquire: the place is free once its last block was read; pairs with take. */
    while (put - atomic_load_explicit(&ring->taken, memory_order_acquire) == RING_BLOCKS)
        sched_yield();
    ring->blocks[put % RING_BLOCKS] = stamp;
    /* release: publishes the block and its stamp; pairs with take. */
    atomic_store_explicit(&ring->put, put + 1, memory_order_release);
    return block != NULL;
}

/* Takes a block out and frees it. False if it did not hold what its maker wrote. */
static bool take(struct ring *ring)
{
    uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    /* acquire: the block and its stamp; pairs with make. */
    while (atomic_load_explicit(&ring->put, memory_order_acquire) == taken)
        sched_yield();
    stamp_t stamp = ring->blocks[taken % RING_BLOCKS];
    /* release: the place is read; pairs with make. */
    atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
    bool right = stamp_holds(stamp);
    family_free(stamp_block(stamp));
    return right;
}

static void remote(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    struct ring *ring = &rings[bench_thread_index(state) / 2];
    bool maker = bench_thread_index(state) % 2 == 0;
    bool right = holds_blocks(family_malloc, size);
    if (bench_threads(state) % 2 != 0)
        bench_skip(state, "threads work in pairs");
    while (bench_keep_running(state)) {
        bool done = maker ? make(ring, size) : take(ring);
        right = right && done;
    }
    if (!right)
        bench_fail(state, HOLDS_WRONG);
    bench_items(state, maker ? bench_iterations(state) : 0);
}

void MICRO_REGISTER(remote)
{
    static const int64_t sizes[] = {64, 1024, 32768};
    micro_register_threaded(plan, FAMILY_NAME "/remote_free", remote, sizes, MICRO_COUNT(sizes), 2);
}
