/* What a scenario is, and what scenarios share. A scenario runs once, from main, with the sampler
 * on; it verifies all blocks, and prints its metrics after it has stopped the sampler.
 */
#ifndef BENCH_MEMORY_SCENARIO_H
#define BENCH_MEMORY_SCENARIO_H

#include "common/metric.h"
#include "common/own.h"
#include "common/team.h"
#include "memory/block.h"
#include "memory/crew.h"
#include "memory/resident.h"
#include "memory/sampler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct scenario_arguments {
    unsigned threads;
    double seconds; /* of the load, or of the wait after it */
    double scale;   /* of the bytes, blocks or threads */
    uint64_t seed;
};

struct scenario {
    const char *name;
    const char *about;
    void (*run)(const struct scenario_arguments *arguments);
    unsigned threads; /* if none are asked for */
    double seconds;   /* the same */
};

extern const struct scenario burst_scenario;
extern const struct scenario freer_scenario;
extern const struct scenario queue_scenario;
extern const struct scenario drift_scenario;
extern const struct scenario births_scenario;
extern const struct scenario zeroed_scenario;
extern const struct scenario idle_threads_scenario;

/* `number` times the scale, `least` at least. */
static inline uint64_t scaled(uint64_t number, const struct scenario_arguments *arguments,
                              uint64_t least)
{
    double product = (double)number * arguments->scale;
    return product < (double)least ? least : (uint64_t)product;
}

/* Work at a steady rate from now on, the same for every allocator: a thread does what is due, then
 * naps. What it could not do in time stays due. */
struct pace {
    uint64_t begin_ns;
    double per_second;
};

static inline uint64_t pace_due(const struct pace *pace)
{
    return (uint64_t)((double)(team_now_ns() - pace->begin_ns) / 1e9 * pace->per_second);
}

static inline void pace_nap(void)
{
    crew_sleep(0.001);
}

#endif
