/* weir_bench_rcu: deferred frees a second, and how many wait for their grace period.
 *
 * Writers replace objects in a table of slots and defer the free of the old ones; readers beside
 * them take objects out of it and check them for as long as they hold them. weir_bench_rcu_weir is
 * the same with weir_free_rcu, so it runs on weir; weir_bench_rcu runs on any malloc.
 */
#include "common/metric.h"
#include "common/options.h"
#include "common/own.h"
#include "memory/fail.h"
#include "memory/resident.h"
#include "rcu/way.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const struct way_flavor *const flavors[] = {&way_memb, &way_mb, &way_qsbr, &way_bp};
static const char *const flavor_names[] = {"memb", "mb", "qsbr", "bp", NULL};
static const char *const way_names[] = {"free_rcu", "call_rcu", "defer_rcu", "at_once", NULL};

struct arguments {
    unsigned flavor;
    unsigned way;
    uint64_t threads;
    uint64_t readers;
    uint64_t objects;
    uint64_t slots;
    uint64_t pause_us;
    uint64_t least;
    uint64_t greatest;
    uint64_t seed;
};

static void read_arguments(int argc, char **argv, struct arguments *arguments)
{
    const struct options_row rows[] = {
        {"way", OPTIONS_CHOICE, &arguments->way, 0, 0, "how objects are freed", way_names},
        {"flavor", OPTIONS_CHOICE, &arguments->flavor, 0, 0, "of liburcu", flavor_names},
        {"threads", OPTIONS_COUNT, &arguments->threads, 1, WAY_THREADS_MAX / 2, "writers", NULL},
        {"readers", OPTIONS_COUNT, &arguments->readers, 0, WAY_THREADS_MAX / 2, "readers", NULL},
        {"objects", OPTIONS_COUNT, &arguments->objects, 1, 1e12,
         "objects replaced, by all writers together", NULL},
        {"slots", OPTIONS_COUNT, &arguments->slots, 1, 1 << 24, "objects live, a power of two",
         NULL},
        {"pause", OPTIONS_COUNT, &arguments->pause_us, 0, 1000000,
         "microseconds that a reader sleeps after a section", NULL},
        {"least", OPTIONS_COUNT, &arguments->least, 5, 20,
         "sizes are from 2 to the power of this ...", NULL},
        {"greatest", OPTIONS_COUNT, &arguments->greatest, 6, 21, "... to below 2 to this, bytes",
         NULL},
        {"seed", OPTIONS_COUNT, &arguments->seed, 0, 1e15, "seed of sizes and choices", NULL},
    };
    options_read(argc, argv, "frees deferred until readers are gone", rows,
                 sizeof rows / sizeof *rows);
    const char *wrong = NULL;
    if (arguments->least >= arguments->greatest)
        wrong = "--least is below --greatest";
    else if ((arguments->slots & (arguments->slots - 1)) != 0)
        wrong = "--slots is a power of two";
    else if (arguments->way == WAY_FREE_RCU && !flavors[arguments->flavor]->has_free_rcu)
        wrong = "weir_free_rcu is in weir_bench_rcu_weir";
    if (wrong != NULL) {
        fprintf(stderr, "weir_bench_rcu: %s\n", wrong);
        exit(2);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Mean size of an object in bytes, as random_size draws them. */
static double mean_bytes(const struct way_load *load)
{
    double sum = 0;
    for (unsigned shift = load->least_shift; shift < load->greatest_shift; shift++)
        sum += 1.5 * (double)(1u << shift);
    return sum / (load->greatest_shift - load->least_shift);
}

static void print_metrics(const struct way_load *load, double write_s, double all_s, double cpu_s,
                          uint64_t base_bytes)
{
    uint64_t deferred = 0;
    uint64_t checked = 0;
    uint64_t backlog = 0;
    for (unsigned i = 0; i < load->threads; i++) {
        const struct way_count *count = &load->counts[i];
        deferred += atomic_load_explicit(&count->deferred, memory_order_relaxed);
        checked += count->checked;
        if (count->backlog_max > backlog)
            backlog = count->backlog_max;
    }
    metric_print((double)deferred / all_s, "ops/s", "rcu/freed");
    metric_print((double)deferred / write_s, "ops/s", "rcu/deferred");
    metric_print(cpu_s / (double)deferred * 1e9, "ns", "rcu/cpu");
    metric_print((double)backlog, "count", "rcu/backlog_objects");
    metric_print((double)backlog * mean_bytes(load), "bytes", "rcu/backlog");
    metric_print((double)resident_peak(), "bytes", "rcu/rss_peak");
    metric_print((double)(resident_peak() - base_bytes), "bytes", "rcu/rss_growth");
    metric_print((double)checked, "count", "rcu/checked");
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .threads = 2,
        .readers = 2,
        .objects = 4000000,
        .slots = 16384,
        .pause_us = 100,
        .least = 5,
        .greatest = 9,
        .seed = 1,
    };
    read_arguments(argc, argv, &arguments);
    const struct way_flavor *flavor = flavors[arguments.flavor];
    struct way_load load = {
        .kind = (enum way_kind)arguments.way,
        .writers = (unsigned)arguments.threads,
        .threads = (unsigned)(arguments.threads + arguments.readers),
        .objects = (arguments.objects + arguments.threads - 1) / arguments.threads,
        .least_shift = (unsigned)arguments.least,
        .greatest_shift = (unsigned)arguments.greatest,
        .seed = arguments.seed,
        .pause_us = (unsigned)arguments.pause_us,
        .slot_count = (uint32_t)arguments.slots,
        .writers_left = (unsigned)arguments.threads,
    };
    load.slots = own_map(arguments.slots * sizeof *load.slots);
    load.counts = own_map(load.threads * sizeof *load.counts);
    resident_open();
    flavor->fill(&load);
    uint64_t base_bytes = resident_now();
    struct team team = {.work = flavor->work, .shared = &load, .threads = load.threads};
    double cpu_before_s = cpu_seconds();
    double write_s = team_run(&team, 0);
    uint64_t end_ns = team_now_ns();
    flavor->drain(&load);
    double drain_s = (double)(team_now_ns() - end_ns) / 1e9;
    double cpu_s = cpu_seconds() - cpu_before_s;
    flavor->empty(&load);
    const char *broken = atomic_load_explicit(&load.broken, memory_order_relaxed);
    if (broken != NULL)
        fail("%s", broken);
    print_metrics(&load, write_s, write_s + drain_s, cpu_s, base_bytes);
    return 0;
}
