/* Scenarios on the public functions: own blocks, blocks that change hands, realloc, large objects.
 */
#include "../harness.h"

#include "weir/weir.h"

#define SLOTS 96

/* ---- mixed ---- */

static void mixed_body(unsigned number, uint64_t *random)
{
    struct held held[SLOTS] = {{0}};
    while (!stress_over()) {
        struct held *h = &held[random_below(random, SLOTS)];
        if (h->block == NULL) {
            held_new(h, random_size(random, 2 * MIB), random, false);
        } else if (random_below(random, 4) == 0) {
            held_resize(h, random_size(random, 2 * MIB), random, false);
        } else {
            held_free(h, random);
        }
        if (random_below(random, 20000) == 0) {
            (void)weir_malloc_trim(0);
        }
        if (number == 0 && random_below(random, 2000) == 0) {
            CHECK(weir_heap_check(0) == 0);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (held[i].block != NULL) {
            held_free(&held[i], random);
        }
    }
}

void scenario_mixed(void)
{
    stress_run(mixed_body);
}

/* ---- rings ---- */

/* One ring from each thread to the next: one writer, one reader. */
#define RING_PLACES 512

static struct ring {
    _Alignas(64) _Atomic size_t written;
    _Alignas(64) _Atomic size_t read;
    struct held places[RING_PLACES];
} rings[THREADS_MAX];

static _Atomic unsigned ring_writers;

static bool ring_put(struct ring *ring, const struct held *held)
{
    size_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
    if (at - atomic_load_explicit(&ring->read, memory_order_acquire) == RING_PLACES) {
        return false;
    }
    ring->places[at % RING_PLACES] = *held;
    atomic_store_explicit(&ring->written, at + 1, memory_order_release);
    return true;
}

static bool ring_take(struct ring *ring, struct held *held)
{
    size_t at = atomic_load_explicit(&ring->read, memory_order_relaxed);
    if (at == atomic_load_explicit(&ring->written, memory_order_acquire)) {
        return false;
    }
    *held = ring->places[at % RING_PLACES];
    atomic_store_explicit(&ring->read, at + 1, memory_order_release);
    return true;
}

static void ring_drain(struct ring *ring, uint64_t *random)
{
    struct held held;
    while (ring_take(ring, &held)) {
        held_free(&held, random);
    }
}

static void rings_body(unsigned number, uint64_t *random)
{
    struct ring *out = &rings[number];
    struct ring *in = &rings[(number + stress.threads - 1) % stress.threads];
    while (!stress_over()) {
        struct held held;
        for (unsigned i = 0; i < 32; i++) {
            held_new(&held, random_size(random, 64 * KIB), random, false);
            if (!ring_put(out, &held)) {
                held_free(&held, random);
                break;
            }
        }
        ring_drain(in, random);
    }
    atomic_fetch_sub(&ring_writers, 1);
    while (atomic_load(&ring_writers) != 0) {
        ring_drain(in, random);
    }
    ring_drain(in, random);
}

void scenario_rings(void)
{
    atomic_store(&ring_writers, stress.threads);
    stress_run(rings_body);
}

/* ---- walks ---- */

static void walks_body(unsigned number, uint64_t *random)
{
    (void)number;
    struct held held;
    while (!stress_over()) {
        size_t bytes = 1 + random_below(random, 64);
        held_new(&held, bytes, random, false);
        while (bytes < 12 * MIB && !stress_over()) {
            bytes += 1 + random_below(random, bytes);
            held_resize(&held, bytes, random, false);
        }
        while (bytes > 16 && !stress_over()) {
            bytes -= 1 + random_below(random, bytes / 2);
            held_resize(&held, bytes, random, false);
        }
        held_free(&held, random);
    }
}

void scenario_walks(void)
{
    stress_run(walks_body);
}

/* ---- larges ---- */

#define LARGE_BOXES 16
static struct mailbox large_boxes[LARGE_BOXES];

static void larges_body(unsigned number, uint64_t *random)
{
    (void)number;
    struct held held = {0};
    while (!stress_over()) {
        if (held.block == NULL) {
            held_new(&held, 32 * KIB + random_below(random, 3 * MIB), random, false);
        }
        held_resize(&held, 20 * KIB + random_below(random, 4 * MIB), random, false);
        if (random_below(random, 2) == 0) {
            size_t bytes = 33 * KIB + random_below(random, 4 * MIB);
            if (weir_resize_in_place(held.block, bytes) != 0) {
                CHECK(weir_malloc_usable_size(held.block) >= bytes);
                held.bytes = bytes;
                held_stamp(&held, random_next(random));
            }
        }
        held = mailbox_exchange(&large_boxes[random_below(random, LARGE_BOXES)], held);
    }
    if (held.block != NULL) {
        held_free(&held, random);
    }
}

void scenario_larges(void)
{
    stress_run(larges_body);
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < LARGE_BOXES; i++) {
        struct held held = mailbox_exchange(&large_boxes[i], (struct held){0});
        if (held.block != NULL) {
            held_free(&held, &random);
        }
    }
}
