/* What the subjects of the micro benchmarks share: how they are registered, and over what.
 *
 * Each subject is one source with one function, MICRO_REGISTER(subject), which registers its
 * benchmarks under FAMILY_NAME "/...". A benchmark verifies before its loop: blocks of the kind it
 * measures hold what is written into them. All times are real times, and an item is one operation
 * (a malloc with its free, a realloc, ...), so that the metric is nanoseconds per operation.
 */
#ifndef BENCH_MICRO_MICRO_H
#define BENCH_MICRO_MICRO_H

#include "family.h"
#include "shim/bench_shim.h"

/* What is measured; set by main.c before anything is registered. */
struct micro_plan {
    int threads[16]; /* 1 and up, ascending; all counts that --threads allows */
    size_t thread_count;
    uint64_t seed; /* of all random orders and sizes */
};

/* first: it needs memory that no other benchmark has used. */
#define MICRO_SUBJECTS(X)                                                                          \
    X(first_touch) X(pair) X(batch) X(zeroed) X(growth) X(aligned) X(sized) X(birth) X(remote)

#define MICRO_DECLARE(subject)                                                                     \
    void libc_##subject(const struct micro_plan *plan);                                            \
    void weir_##subject(const struct micro_plan *plan);
MICRO_SUBJECTS(MICRO_DECLARE)
#undef MICRO_DECLARE

#define MICRO_REGISTER(subject) FAMILY_OF(subject)(const struct micro_plan *plan)

#define MICRO_COUNT(array) (sizeof(array) / sizeof *(array))

/* A benchmark of one argument, run by one thread for each of the `count` values. `name` begins with
 * FAMILY_NAME "/". */
static inline void micro_register(const char *name, bench_function *run, const int64_t *values,
                                  size_t count)
{
    const struct bench_values range = {values, count};
    bench_register(&(struct bench_spec){
        .name = name, .run = run, .range = &range, .range_count = 1, .use_real_time = true});
}

/* The same by each number of threads in the plan from `threads_min` on, which may be none. */
static inline void micro_register_threaded(const struct micro_plan *plan, const char *name,
                                           bench_function *run, const int64_t *values, size_t count,
                                           int threads_min)
{
    size_t first = 0;
    while (first < plan->thread_count && plan->threads[first] < threads_min)
        first++;
    if (first == plan->thread_count)
        return;
    const struct bench_values range = {values, count};
    bench_register(&(struct bench_spec){.name = name,
                                        .run = run,
                                        .range = &range,
                                        .range_count = 1,
                                        .threads = plan->threads + first,
                                        .thread_count = plan->thread_count - first,
                                        .use_real_time = true});
}

#endif
