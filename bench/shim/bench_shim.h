/* Google Benchmark for C: registering loops, running them, reporting what they cost.
 *
 * A benchmark is a function that sets up, asks bench_keep_running before each iteration, and cleans
 * up. The library calls it several times to find the number of iterations that fills the time.
 *
 *     static void copy(struct bench_state *state, void *user)
 *     {
 *         size_t bytes = (size_t)bench_range(state, 0);
 *         ...
 *         while (bench_keep_running(state))
 *             memcpy(to, from, bytes);
 *         bench_items(state, bench_iterations(state));
 *     }
 *
 * Must not know what is measured.
 * Threads: bench_register and bench_main belong to the main thread. All other functions are called
 *   inside a benchmark, by the thread that got the state. With more than one thread the iterations
 *   of all start and end together at barriers of the library.
 * Invariant: a benchmark calls bench_keep_running until it returns false, whatever went wrong.
 */
#ifndef BENCH_SHIM_H
#define BENCH_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a thread knows of the run it is in. */
struct bench_state {
    int64_t left;  /* iterations that bench_keep_running may grant without asking the library */
    void *library; /* the library's own state; only the shim reads it */
};

typedef void bench_function(struct bench_state *state, void *user);

/* The unit of the times in the table for people; metric lines are in ns always. */
enum bench_unit { BENCH_NS, BENCH_US, BENCH_MS };

/* The values of one argument; a benchmark runs for each combination of its arguments' values. */
struct bench_values {
    const int64_t *values;
    size_t count; /* at least 1 */
};

/* One benchmark. bench_register copies all of it but what `user` points to. */
struct bench_spec {
    const char *name; /* of [a-z0-9_/]; values and thread count are appended to it */
    bench_function *run;
    void *user;                       /* handed to each call of `run` */
    const struct bench_values *range; /* one for each argument */
    size_t range_count;               /* 0: no arguments */
    const int *threads;               /* thread counts to run with */
    size_t thread_count;              /* 0: one thread */
    enum bench_unit unit;
    int64_t iterations;        /* per thread and run; 0: as many as fill the time */
    bool use_real_time;        /* else CPU time of the main thread decides; needed with threads */
    bool use_process_cpu_time; /* CPU time shown is that of all threads, also of those it starts */
};

/* How a counter is shown; over several threads the values are added up. */
enum bench_counter_kind {
    BENCH_COUNTER_SUM,     /* as it is */
    BENCH_COUNTER_AVERAGE, /* divided by the threads */
    BENCH_COUNTER_RATE,    /* divided by the seconds */
};

/* Adds a benchmark to those that bench_main runs, in the order of the calls. */
void bench_register(const struct bench_spec *spec);

/* Runs what is registered, as the --benchmark_... arguments say (--benchmark_filter=REGEX,
 * --benchmark_min_time=SECONDS, --benchmark_repetitions=N, --benchmark_out=FILE, ...).
 * `metric_prefix` not NULL: the table goes to standard output with lines
 * "metric PREFIX/NAME VALUE ns" between, one a benchmark: the median over the repetitions of the
 * real time per item (bench_items), or per iteration where no items were told.
 * Returns the program's exit status: 0; 1 if a benchmark called bench_fail; 2 for an argument that
 * is not known or a filter that nothing matches. */
int bench_main(int argc, char **argv, const char *metric_prefix);

/* Asks the library for more iterations. Called by bench_keep_running only. */
bool bench_keep_running_slow(struct bench_state *state);

/* True as long as there is an iteration to do. A decrement and a branch, but for the first and the
 * last call, which start and stop the clock and wait for the other threads. */
static inline bool bench_keep_running(struct bench_state *state)
{
    if (__builtin_expect(state->left > 0, 1)) {
        state->left--;
        return true;
    }
    return bench_keep_running_slow(state);
}

/* Stops and starts this thread's clock within an iteration. Costs about a microsecond, part of
 * which is measured: only for long iterations. */
void bench_pause_timing(struct bench_state *state);
void bench_resume_timing(struct bench_state *state);

/* The value of argument `position` in this run. */
int64_t bench_range(const struct bench_state *state, size_t position);

int bench_thread_index(const struct bench_state *state); /* 0 to bench_threads - 1 */
int bench_threads(const struct bench_state *state);

/* Iterations this thread has done; after a loop that was not skipped. */
int64_t bench_iterations(const struct bench_state *state);

/* After the loop, by each thread: what it did, shown as a rate. An item is one operation. */
void bench_items(struct bench_state *state, int64_t items);
void bench_bytes(struct bench_state *state, int64_t bytes);

/* A number of the benchmark's own. `name` is copied. */
void bench_counter(struct bench_state *state, const char *name, double value,
                   enum bench_counter_kind kind);

/* Text at the end of the line. The last label of a run stays. */
void bench_label(struct bench_state *state, const char *text);

/* Ends the loop; the run is shown with `why` in the place of its times and makes no metric line.
 * Before, inside or after the loop; the first call of a thread in a run counts.
 * bench_skip: the benchmark does not apply here.
 * bench_fail: a result is wrong; said on standard error too, and bench_main returns 1. */
void bench_skip(struct bench_state *state, const char *why);
void bench_fail(struct bench_state *state, const char *why);

#ifdef __cplusplus
}
#endif

#endif
