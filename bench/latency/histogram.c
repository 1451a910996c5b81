/* See histogram.h. */
#include "latency/histogram.h"

#include <assert.h>
#include <stddef.h>

static_assert(HISTOGRAM_VALUE_BITS < 64, "the shift of values must be defined");

uint64_t histogram_bucket_top(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_DIGITS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_DIGITS - 1;
    uint64_t digits = bucket - shift * HISTOGRAM_DIGITS;
    return ((digits + 1) << shift) - 1;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    to->max = from->max > to->max ? from->max : to->max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (histogram->buckets[i] != 0 && (double)seen >= wanted) {
            uint64_t top = histogram_bucket_top(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
