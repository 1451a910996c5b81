/* See ticks.h. */
#include "latency/ticks.h"

#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATE_NS  50000000u
#define EMPTY_SAMPLES 10001u

struct ticks_clock ticks_clock = {.ns_per_tick = 1};

/* Whether rdtscp exists and the counter runs at one rate, also when the processor idles. */
static bool has_counter(void)
{
#if defined(__x86_64__)
    const unsigned rdtscp_bit = 1u << 27;
    const unsigned invariant_bit = 1u << 8;
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000001u, &a, &b, &c, &d) || (d & rdtscp_bit) == 0)
        return false;
    return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & invariant_bit) != 0;
#else
    return false;
#endif
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

void ticks_calibrate(void)
{
    static uint64_t samples[EMPTY_SAMPLES];
    ticks_clock = (struct ticks_clock){.ns_per_tick = 1, .is_counter = has_counter()};
    if (ticks_clock.is_counter) {
        uint64_t from_ns = ticks_of_system();
        uint64_t from = ticks_begin();
        uint64_t to_ns;
        do
            to_ns = ticks_of_system();
        while (to_ns - from_ns < CALIBRATE_NS);
        ticks_clock.ns_per_tick = (double)(to_ns - from_ns) / (double)(ticks_end() - from);
    }
    for (unsigned i = 0; i < EMPTY_SAMPLES; i++) {
        uint64_t begin = ticks_begin();
        samples[i] = ticks_end() - begin;
    }
    qsort(samples, EMPTY_SAMPLES, sizeof *samples, compare);
    ticks_clock.empty_ticks = samples[EMPTY_SAMPLES / 2];
}
