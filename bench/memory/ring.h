/* Blocks on their way from one thread to another, first in, first out.
 *
 *   operations together   may run together
 *   push and push         no: one thread pushes
 *   push and pop          yes
 *   pop and pop           no: one thread pops
 *
 * Progress: wait-free; a full or empty ring says no. ABA cannot happen, as both ends only count up.
 */
#ifndef BENCH_MEMORY_RING_H
#define BENCH_MEMORY_RING_H

#include "memory/block.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring {
    struct block *places;
    uint64_t capacity;                     /* places, a power of two */
    _Alignas(128) _Atomic uint64_t pushed; /* blocks so far; written by the one that pushes */
    _Atomic uint64_t pushed_bytes;         /* the same in bytes asked for */
    _Alignas(128) _Atomic uint64_t popped; /* blocks so far; written by the one that pops */
    _Atomic uint64_t popped_bytes;
};

/* A ring for blocks of block_size that are about `bytes` together. Its places are resident from
 * the start, so that the base RSS has them. */
void ring_open(struct ring *ring, uint64_t bytes);
void ring_close(struct ring *ring);

/* Bytes in the ring: the pusher may see more than there are, the popper less. */
static inline uint64_t ring_bytes(const struct ring *ring)
{
    /* relaxed: each side knows its own number; the other's may be old. */
    return atomic_load_explicit(&ring->pushed_bytes, memory_order_relaxed) -
           atomic_load_explicit(&ring->popped_bytes, memory_order_relaxed);
}

static inline bool ring_is_full(const struct ring *ring)
{
    /* acquire: the place has been read; pairs with ring_pop. */
    uint64_t popped = atomic_load_explicit(&ring->popped, memory_order_acquire);
    /* relaxed: the caller's own. */
    return atomic_load_explicit(&ring->pushed, memory_order_relaxed) - popped == ring->capacity;
}

/* The ring is not full. */
static inline void ring_push(struct ring *ring, struct block block)
{
    uint64_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed); /* own */
    ring->places[pushed & (ring->capacity - 1)] = block;
    /* relaxed: only this thread writes it, and its value publishes nothing. */
    atomic_fetch_add_explicit(&ring->pushed_bytes, block.bytes, memory_order_relaxed);
    /* release: the place and the block's contents; pairs with ring_pop. */
    atomic_store_explicit(&ring->pushed, pushed + 1, memory_order_release);
}

/* The oldest block; one without a start if there is none. */
static inline struct block ring_pop(struct ring *ring)
{
    uint64_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed); /* own */
    /* acquire: pairs with ring_push. */
    if (atomic_load_explicit(&ring->pushed, memory_order_acquire) == popped)
        return (struct block){NULL, 0, 0};
    struct block block = ring->places[popped & (ring->capacity - 1)];
    /* relaxed: as in ring_push. */
    atomic_fetch_add_explicit(&ring->popped_bytes, block.bytes, memory_order_relaxed);
    /* release: the place has been read; pairs with ring_is_full. */
    atomic_store_explicit(&ring->popped, popped + 1, memory_order_release);
    return block;
}

#endif
