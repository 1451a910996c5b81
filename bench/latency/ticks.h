/* A clock for single calls: the processor's time stamp counter where it runs at a constant rate,
 * else CLOCK_MONOTONIC.
 *
 * The counter is read between fences, so that no instruction of the call moves out of the interval
 * or of the program into it. What an empty interval takes is measured, for subtraction.
 * ticks_calibrate comes first, before other threads start; then any thread.
 */
#ifndef BENCH_LATENCY_TICKS_H
#define BENCH_LATENCY_TICKS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

struct ticks_clock {
    double ns_per_tick;
    uint64_t empty_ticks; /* median of empty intervals */
    bool is_counter;      /* the time stamp counter is read */
};

/* Written by ticks_calibrate only. */
extern struct ticks_clock ticks_clock;

/* Measures the rate of the clock and the cost of reading it; takes 50 ms. */
void ticks_calibrate(void);

static inline uint64_t ticks_of_system(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The beginning of an interval. */
static inline uint64_t ticks_begin(void)
{
#if defined(__x86_64__)
    if (ticks_clock.is_counter) {
        _mm_lfence();
        uint64_t ticks = __rdtsc();
        _mm_lfence();
        return ticks;
    }
#endif
    return ticks_of_system();
}

/* Its end. rdtscp waits for all instructions before it. */
static inline uint64_t ticks_end(void)
{
#if defined(__x86_64__)
    if (ticks_clock.is_counter) {
        unsigned processor;
        uint64_t ticks = __rdtscp(&processor);
        _mm_lfence();
        return ticks;
    }
#endif
    return ticks_of_system();
}

/* The interval without what an empty one takes. 0 where a thread moved to a processor whose counter
 * is behind. */
static inline uint64_t ticks_between(uint64_t begin, uint64_t end)
{
    uint64_t ticks = end - begin;
    return end < begin || ticks < ticks_clock.empty_ticks ? 0 : ticks - ticks_clock.empty_ticks;
}

#endif
