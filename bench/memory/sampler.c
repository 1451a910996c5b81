/* See sampler.h. */
#include "memory/sampler.h"

#include "common/team.h"
#include "memory/crew.h"
#include "memory/fail.h"
#include "memory/resident.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX (SAMPLER_SECONDS_MAX * 1000 / SAMPLER_PERIOD_MS)

struct sample {
    uint64_t rss_bytes;
    uint64_t live_bytes;
    uint32_t ms; /* since sampler_start */
};

struct sampler_live sampler_live[SAMPLER_LIVE_SLOTS];

static struct sample samples[SAMPLES_MAX];
static double ratios[SAMPLES_MAX]; /* of one question, to be sorted */
static size_t count;               /* of samples; the sampler's until it is joined */
static uint64_t begin_ns;
static struct crew crew;
static atomic_bool stop;

uint64_t sampler_live_bytes(void)
{
    uint64_t bytes = 0;
    /* relaxed: a statistic. */
    for (unsigned i = 0; i < SAMPLER_LIVE_SLOTS; i++)
        bytes += atomic_load_explicit(&sampler_live[i].bytes, memory_order_relaxed);
    /* A sum taken while blocks pass from slot to slot may come out below zero. */
    return bytes > INT64_MAX ? 0 : bytes;
}

uint32_t sampler_now_ms(void)
{
    return (uint32_t)((team_now_ns() - begin_ns) / 1000000);
}

/* The greater of the live bytes before and after: a thread that lost its processor between the two
 * reads is no fault of the allocator's. */
static void take_sample(void)
{
    uint64_t before_bytes = sampler_live_bytes();
    uint64_t rss_bytes = resident_now();
    uint64_t after_bytes = sampler_live_bytes();
    samples[count++] = (struct sample){
        rss_bytes, before_bytes > after_bytes ? before_bytes : after_bytes, sampler_now_ms()};
}

static void sampler_body(void *context, unsigned index)
{
    (void)context;
    (void)index;
    uint64_t next_ns = begin_ns;
    /* relaxed: the flag publishes nothing. */
    while (!atomic_load_explicit(&stop, memory_order_relaxed) && count < SAMPLES_MAX) {
        take_sample();
        next_ns += SAMPLER_PERIOD_MS * 1000000u;
        struct timespec next = {(time_t)(next_ns / 1000000000u), (long)(next_ns % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) != 0)
            continue;
    }
}

void sampler_start(void)
{
    begin_ns = team_now_ns();
    crew_start(&crew, 1, CREW_STACK_BYTES, sampler_body, NULL);
}

void sampler_stop(void)
{
    atomic_store_explicit(&stop, true, memory_order_relaxed); /* relaxed: as in sampler_body */
    crew_join(&crew);
}

static bool is_within(const struct sample *sample, struct sampler_span span)
{
    return sample->ms >= span.begin_ms && sample->ms < span.end_ms;
}

/* The most live bytes of sample `at` and of those within `lag_ms` before it. */
static uint64_t live_before(size_t at, uint32_t lag_ms)
{
    uint64_t most_bytes = 0;
    for (size_t i = at + 1; i-- > 0 && samples[at].ms - samples[i].ms <= lag_ms;)
        most_bytes = samples[i].live_bytes > most_bytes ? samples[i].live_bytes : most_bytes;
    return most_bytes;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

struct sampler_over sampler_over(struct sampler_span span, uint64_t base_bytes, uint32_t lag_ms)
{
    size_t n = 0;
    size_t late = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_within(&samples[i], span))
            continue;
        double ratio = (double)samples[i].rss_bytes / (double)(live_before(i, lag_ms) + base_bytes);
        late += ratio > SAMPLER_OVER_LIMIT;
        ratios[n++] = ratio;
    }
    if (n == 0)
        fail("no sample was taken between %u and %u ms", span.begin_ms, span.end_ms);
    qsort(ratios, n, sizeof *ratios, by_value);
    return (struct sampler_over){ratios[n - 1], ratios[n / 2], (double)late / (double)n};
}

uint64_t sampler_rss_max(struct sampler_span span)
{
    uint64_t most_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_within(&samples[i], span) && samples[i].rss_bytes > most_bytes)
            most_bytes = samples[i].rss_bytes;
    }
    return most_bytes;
}

uint64_t sampler_rss_mean(struct sampler_span span)
{
    uint64_t sum_bytes = 0;
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_within(&samples[i], span)) {
            sum_bytes += samples[i].rss_bytes;
            n++;
        }
    }
    return n == 0 ? 0 : sum_bytes / n;
}

uint64_t sampler_live_max(struct sampler_span span)
{
    uint64_t most_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_within(&samples[i], span) && samples[i].live_bytes > most_bytes)
            most_bytes = samples[i].live_bytes;
    }
    return most_bytes;
}

void sampler_write(int file)
{
    for (size_t i = 0; i < count; i++) {
        if (dprintf(file, "sample %u %llu %llu\n", samples[i].ms,
                    (unsigned long long)samples[i].rss_bytes,
                    (unsigned long long)samples[i].live_bytes) < 0)
            fail("the samples cannot be written");
    }
}
