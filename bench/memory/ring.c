/* See ring.h. */
#include "memory/ring.h"

#include "common/own.h"

#define PLACES_MIN 1024u

void ring_open(struct ring *ring, uint64_t bytes)
{
    /* Twice the mean's, as sizes vary. */
    uint64_t capacity = PLACES_MIN;
    while (capacity < 2 * bytes / BLOCK_SIZE_MEAN)
        capacity *= 2;
    *ring = (struct ring){.capacity = capacity};
    ring->places = own_map(capacity * sizeof *ring->places);
    memset(ring->places, 0xff, capacity * sizeof *ring->places);
}

void ring_close(struct ring *ring)
{
    own_unmap(ring->places, ring->capacity * sizeof *ring->places);
}
