/* Integer helpers: rounding, powers of two, bit scans, checked products.
 *
 * Pure functions of their arguments. */
#ifndef WR_BASE_BITS_H
#define WR_BASE_BITS_H

#include "base/compiler.h"

#define WR_WORD_BITS 64u

WR_INLINE bool wr_is_power_of_two(size_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* alignment is a power of two; the caller has excluded overflow. */
WR_INLINE uintptr_t wr_align_up(uintptr_t x, size_t alignment)
{
    return (x + (alignment - 1)) & ~(uintptr_t)(alignment - 1);
}

WR_INLINE uintptr_t wr_align_down(uintptr_t x, size_t alignment)
{
    return x & ~(uintptr_t)(alignment - 1);
}

WR_INLINE size_t wr_divide_up(size_t x, size_t unit)
{
    return x / unit + (x % unit != 0);
}

WR_INLINE size_t wr_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

WR_INLINE size_t wr_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Index of the lowest bit set; x is not 0. */
WR_INLINE unsigned wr_lowest_bit(uint64_t x)
{
    return (unsigned)__builtin_ctzll(x);
}

/* Index of the highest bit set; x is not 0. */
WR_INLINE unsigned wr_highest_bit(uint64_t x)
{
    return WR_WORD_BITS - 1 - (unsigned)__builtin_clzll(x);
}

/* Ones from bit 0 up to the first zero, and from bit 63 down. */
WR_INLINE unsigned wr_low_ones(uint64_t x)
{
    return ~x == 0 ? WR_WORD_BITS : wr_lowest_bit(~x);
}

WR_INLINE unsigned wr_high_ones(uint64_t x)
{
    return ~x == 0 ? WR_WORD_BITS : (unsigned)__builtin_clzll(~x);
}

WR_INLINE unsigned wr_count_bits(uint64_t x)
{
    return (unsigned)__builtin_popcountll(x);
}

/* count ones from bit first on; count is 1 to 64, first + count at most 64. */
WR_INLINE uint64_t wr_mask(unsigned first, unsigned count)
{
    return (~(uint64_t)0 >> (WR_WORD_BITS - count)) << first;
}

/* The lowest n bits set of x, or all of them when x has fewer. */
WR_INLINE uint64_t wr_lowest_bits(uint64_t x, unsigned n)
{
    uint64_t rest = x;
    while (n-- > 0 && rest != 0) {
        rest &= rest - 1;
    }
    return x ^ rest;
}

/* false when the product does not fit. */
WR_INLINE bool wr_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

#endif
