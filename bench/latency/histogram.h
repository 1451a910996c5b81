/* Counts values of any magnitude with a relative error below 1/128, in fixed memory and a few
 * instructions a value.
 *
 * Values below 256 have a bucket each. Above, every power of two is cut into 128 equal buckets:
 *
 *   value    1 m m m m m m m x ... x   m: the 7 bits after the leading one; x: `shift` bits dropped
 *   bucket   shift * 128 + 1mmmmmmm
 *
 * Knows no unit. A histogram belongs to one thread at a time.
 * Invariants: count is the sum of the buckets; max is the greatest value added, exactly.
 */
#ifndef BENCH_LATENCY_HISTOGRAM_H
#define BENCH_LATENCY_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_DIGIT_BITS 7u
#define HISTOGRAM_DIGITS     (1u << HISTOGRAM_DIGIT_BITS)
/* Values from 2^VALUE_BITS on are counted as the greatest below it: 6 minutes in nanoseconds. */
#define HISTOGRAM_VALUE_BITS 38u
#define HISTOGRAM_BUCKETS    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_DIGIT_BITS + 1) * HISTOGRAM_DIGITS)

/* All zero when empty. */
struct histogram {
    uint64_t count;
    uint64_t max; /* before it was cut to VALUE_BITS */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
    if (value >> HISTOGRAM_VALUE_BITS != 0)
        value = ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1;
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | HISTOGRAM_DIGITS);
    unsigned shift = bits - (HISTOGRAM_DIGIT_BITS + 1);
    return shift * HISTOGRAM_DIGITS + (unsigned)(value >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->buckets[histogram_bucket(value)]++;
}

/* The greatest value that `bucket` counts. */
uint64_t histogram_bucket_top(unsigned bucket);

/* Adds all of `from` to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The least value v such that `share` (0 to 1) of all values are at most v; v is the top of its
 * bucket, so at most 1/128 too great, and never above max. 0 for an empty histogram. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
