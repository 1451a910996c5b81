/* See order.h. */
#include "rcu/order.h"

#include <stdint.h>

#define DIGIT_BITS 8
#define DIGITS     (1u << DIGIT_BITS)

static unsigned digit(const void *pointer, unsigned shift)
{
    return (unsigned)((uintptr_t)pointer >> shift) & (DIGITS - 1);
}

/* The bits in which some of the pointers differ. */
static uintptr_t difference(void *const *pointers, size_t n)
{
    uintptr_t bits = 0;
    for (size_t i = 1; i < n; i++) {
        bits |= (uintptr_t)pointers[i] ^ (uintptr_t)pointers[0];
    }
    return bits;
}

/* By one digit; keeps the order of those that are equal in it. */
static void sort_by_digit(void *const *from, void **to, size_t n, unsigned shift)
{
    size_t place[DIGITS] = {0};
    for (size_t i = 0; i < n; i++) {
        place[digit(from[i], shift)]++;
    }
    size_t sum = 0;
    for (unsigned d = 0; d < DIGITS; d++) {
        size_t count = place[d];
        place[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) {
        to[place[digit(from[i], shift)]++] = from[i];
    }
}

void **wr_rcu_order(void **pointers, void **other, size_t n)
{
    uintptr_t bits = difference(pointers, n);
    /* The lowest digit begins at the lowest bit that differs: 4 in most heaps. */
    unsigned shift = bits == 0 ? 0 : (unsigned)__builtin_ctzll(bits);
    for (; shift < 64 && bits >> shift != 0; shift += DIGIT_BITS) {
        if ((bits >> shift & (DIGITS - 1)) != 0) {
            sort_by_digit(pointers, other, n, shift);
            void **swap = pointers;
            pointers = other;
            other = swap;
        }
    }
    return pointers;
}
