/* RSS and live bytes over time, sampled by a thread of its own into a static array.
 *
 * Between sampler_start and sampler_stop nothing here calls the malloc under test: the thread has a
 * stack from the kernel, reads /proc by pread(2) and sleeps. Main starts, stops and asks; the live
 * count is for any thread.
 */
#ifndef BENCH_MEMORY_SAMPLER_H
#define BENCH_MEMORY_SAMPLER_H

#include <stdatomic.h>
#include <stdint.h>

#define SAMPLER_PERIOD_MS   50u
#define SAMPLER_SECONDS_MAX 7200u
#define SAMPLER_LIVE_SLOTS  64u /* a power of two; threads share them without harm */

/* Bytes asked for and not yet freed, modulo 2^64: a slot that only frees goes below zero. */
struct sampler_live {
    _Alignas(64) _Atomic uint64_t bytes;
};
extern struct sampler_live sampler_live[SAMPLER_LIVE_SLOTS];

/* Adds `bytes`, or takes them when negative (in modulo arithmetic), for thread `slot`. */
static inline void sampler_live_add(unsigned slot, uint64_t bytes)
{
    /* relaxed: a statistic; the sum is exact once the threads have been joined. */
    atomic_fetch_add_explicit(&sampler_live[slot % SAMPLER_LIVE_SLOTS].bytes, bytes,
                              memory_order_relaxed);
}

uint64_t sampler_live_bytes(void);

void sampler_start(void);
void sampler_stop(void);

/* Milliseconds since sampler_start. */
uint32_t sampler_now_ms(void);

/* Samples from `begin_ms` to before `end_ms`. */
struct sampler_span {
    uint32_t begin_ms;
    uint32_t end_ms;
};

/* RSS of a sample beside what the program holds, as rss / (live + base). */
struct sampler_over {
    double max;
    double median;
    double late_share; /* of the samples, how many are above SAMPLER_OVER_LIMIT */
};
#define SAMPLER_OVER_LIMIT 1.15

/* `base_bytes`: RSS of the program without its blocks. `lag_ms`: the live bytes are the most that
 * there were in a sample within so long before; 0 for those of the sample itself. After
 * sampler_stop. */
struct sampler_over sampler_over(struct sampler_span span, uint64_t base_bytes, uint32_t lag_ms);

/* Of the samples in the span; 0 without one. After sampler_stop. */
uint64_t sampler_rss_max(struct sampler_span span);
uint64_t sampler_rss_mean(struct sampler_span span);
uint64_t sampler_live_max(struct sampler_span span);

/* Writes a line "sample MS RSS_BYTES LIVE_BYTES" per sample into `file`. After sampler_stop. */
void sampler_write(int file);

#endif
