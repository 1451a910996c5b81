/* Random numbers that a seed determines. A state belongs to one thread. */
#ifndef BENCH_COMMON_RANDOM_H
#define BENCH_COMMON_RANDOM_H

#include <stdint.h>

/* The next number, by the splitmix64 recurrence. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t word = *state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* A number below `bound`, which is at least 1; even to within bound / 2^32. */
static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((random_next(state) >> 32) * bound >> 32);
}

/* A state for stream `stream` of `seed`, far from those of other streams. */
static inline uint64_t random_stream(uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    uint64_t start = random_next(&state) ^ stream * 0xd1342543de82ef95u;
    return random_next(&start);
}

/* A size in bytes whose logarithm is even between those of 2^least_shift (included) and
 * 2^greatest_shift (excluded): small ones are frequent, as in programs. */
static inline uint32_t random_size(uint64_t *state, unsigned least_shift, unsigned greatest_shift)
{
    uint64_t word = random_next(state);
    unsigned shift = least_shift + (unsigned)((word >> 32) * (greatest_shift - least_shift) >> 32);
    return (1u << shift) + ((uint32_t)word & ((1u << shift) - 1));
}

#endif
