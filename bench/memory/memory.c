/* weir_bench_memory: RSS over time beside the bytes that a program holds, in one scenario.
 *
 *   weir_bench_memory SCENARIO [--threads N] [--seconds S] [--scale F] [--seed N] [--samples PATH]
 *
 * What the scenarios are and how their figures are defined stands in docs/benchmarks.md.
 */
#include "common/options.h"
#include "memory/scenario.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct scenario *const scenarios[] = {
    &burst_scenario,  &freer_scenario,  &queue_scenario,        &drift_scenario,
    &births_scenario, &zeroed_scenario, &idle_threads_scenario,
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

static const struct scenario *find(const char *name)
{
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (strcmp(name, scenarios[i]->name) == 0)
            return scenarios[i];
    }
    return NULL;
}

static int refuse(const char *name)
{
    fprintf(stderr, "weir_bench_memory: %s is no scenario; there are", name);
    for (unsigned i = 0; i < SCENARIOS; i++)
        fprintf(stderr, " %s", scenarios[i]->name);
    fprintf(stderr, "\n");
    return 2;
}

static void print_scenarios(void)
{
    printf("SCENARIO comes first, one of\n");
    for (unsigned i = 0; i < SCENARIOS; i++)
        printf("  %-14s %s; %u threads, %g s\n", scenarios[i]->name, scenarios[i]->about,
               scenarios[i]->threads, scenarios[i]->seconds);
}

/* Opened before the run, so that a bad path costs no run. */
static int open_samples(const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        fail("%s cannot be written", path);
    return file;
}

int main(int argc, char **argv)
{
    uint64_t threads = 0;
    uint64_t seed = 1;
    double seconds = 0;
    double scale = 1;
    const char *samples = NULL;
    const struct options_row rows[] = {
        {"threads", OPTIONS_COUNT, &threads, 0, CREW_THREADS_MAX / 2,
         "threads that allocate; 0: the scenario's own", NULL},
        {"seconds", OPTIONS_NUMBER, &seconds, 0, SAMPLER_SECONDS_MAX / 2,
         "seconds of the load, or of the wait after it; 0: the scenario's own", NULL},
        {"scale", OPTIONS_NUMBER, &scale, 1e-4, 100, "factor on bytes, blocks or threads", NULL},
        {"seed", OPTIONS_COUNT, &seed, 0, 1e15, "seed of sizes and choices", NULL},
        {"samples", OPTIONS_TEXT, &samples, 0, 0, "file for lines: sample MS RSS_BYTES LIVE_BYTES",
         NULL},
    };
    const struct scenario *scenario = NULL; /* set, once options_read returns */
    if (argc < 2)
        return refuse("nothing");
    if (strcmp(argv[1], "--help") == 0) {
        print_scenarios(); /* options_read prints the rest, and ends the program */
    } else if ((scenario = find(argv[1])) == NULL) {
        return refuse(argv[1]);
    } else {
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    options_read(argc, argv, "RSS over time beside the bytes held", rows,
                 sizeof rows / sizeof *rows);
    struct scenario_arguments arguments = {
        .threads = threads == 0 ? scenario->threads : (unsigned)threads,
        .seconds = seconds == 0 ? scenario->seconds : seconds,
        .scale = scale,
        .seed = seed,
    };
    int file = samples == NULL ? -1 : open_samples(samples);
    resident_open();
    sampler_start();
    scenario->run(&arguments);
    if (file >= 0) {
        sampler_write(file);
        close(file);
    }
    return 0;
}
