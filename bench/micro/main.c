/* weir_bench_micro: loops over single operations of the malloc family.
 *
 * libc/... are the functions that the process has under the C library's names, weir/... those of
 * weir that are linked in. Arguments that begin with --benchmark_ go to Google Benchmark.
 */
#include <stdio.h>
#include <string.h>

#include "common/options.h"
#include "common/own.h"
#include "micro.h"

#define THREADS_MAX 64

enum family { FAMILY_LIBC, FAMILY_WEIR, FAMILY_BOTH };

struct arguments {
    uint64_t threads;
    uint64_t seed;
    uint64_t repetitions;
    double seconds;
    unsigned family;
    unsigned metrics;
};

/* 1, 2, 4 and so on, and `threads_max` itself. */
static void plan_threads(struct micro_plan *plan, int threads_max)
{
    for (int threads = 1; threads < threads_max; threads *= 2)
        plan->threads[plan->thread_count++] = threads;
    plan->threads[plan->thread_count++] = threads_max;
}

static void register_all(const struct micro_plan *plan, unsigned family)
{
#define REGISTER_LIBC(subject) libc_##subject(plan);
#define REGISTER_WEIR(subject) weir_##subject(plan);
    if (family != FAMILY_WEIR) {
        MICRO_SUBJECTS(REGISTER_LIBC)
    }
    if (family != FAMILY_LIBC) {
        MICRO_SUBJECTS(REGISTER_WEIR)
    }
}

/* Moves what is for the library to `passed`, the rest to the front. Returns how many it moved. */
static int split(int *argc, char **argv, char **passed)
{
    int moved = 0;
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        if (strncmp(argv[i], "--benchmark_", strlen("--benchmark_")) == 0)
            passed[moved++] = argv[i];
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return moved;
}

static void read_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const char *const families[] = {"libc", "weir", "both", NULL};
    const struct options_row rows[] = {
        {"threads", OPTIONS_COUNT, &arguments->threads, 1, THREADS_MAX,
         "greatest number of threads; 1, 2, 4 and so on run too", NULL},
        {"seconds", OPTIONS_NUMBER, &arguments->seconds, 0, 60,
         "least seconds of a measurement; 0: one iteration", NULL},
        {"repetitions", OPTIONS_COUNT, &arguments->repetitions, 1, 100, "of each measurement",
         NULL},
        {"seed", OPTIONS_COUNT, &arguments->seed, 0, 1e15, "seed of random orders", NULL},
        {"family", OPTIONS_CHOICE, &arguments->family, 0, 0, "whose names are measured", families},
        {"metrics", OPTIONS_FLAG, &arguments->metrics, 0, 0,
         "print metric lines: medians of ns per operation", NULL},
    };
    options_read(argc, argv,
                 "loops over single operations (--benchmark_... are Google Benchmark's options)",
                 rows, sizeof rows / sizeof *rows);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .threads = THREADS_MAX, .seed = 1, .repetitions = 1, .seconds = 0.1, .family = FAMILY_BOTH};
    size_t bytes = ((size_t)argc + 4) * sizeof(char *);
    char **passed = own_map(bytes);
    char seconds[64];
    char repetitions[64];
    /* Ours come first, so that what the user wrote for the library wins. */
    passed[0] = argv[0];
    passed[1] = seconds;
    passed[2] = repetitions;
    int passed_count = 3 + split(&argc, argv, passed + 3);
    read_arguments(argc, argv, &arguments);
    snprintf(seconds, sizeof seconds, "--benchmark_min_time=%g", arguments.seconds);
    snprintf(repetitions, sizeof repetitions, "--benchmark_repetitions=%llu",
             (unsigned long long)arguments.repetitions);

    struct micro_plan plan = {.seed = arguments.seed};
    plan_threads(&plan, (int)arguments.threads);
    register_all(&plan, arguments.family);
    int status = bench_main(passed_count, passed, arguments.metrics != 0 ? "micro" : NULL);
    own_unmap(passed, bytes);
    return status;
}
