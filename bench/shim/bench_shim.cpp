/* The library behind bench_shim.h. */
#include "bench_shim.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace
{

constexpr int STATUS_FAILED = 1;
constexpr int STATUS_BAD_ARGUMENT = 2;

/* Any thread sets it, bench_main reads it after the last run. */
std::atomic<bool> failed{false};

benchmark::State &library_of(const bench_state *state)
{
    return *static_cast<benchmark::State *>(state->library);
}

benchmark::TimeUnit library_unit(bench_unit unit)
{
    switch (unit) {
    case BENCH_US:
        return benchmark::kMicrosecond;
    case BENCH_MS:
        return benchmark::kMillisecond;
    case BENCH_NS:
        break;
    }
    return benchmark::kNanosecond;
}

benchmark::Counter::Flags library_flags(bench_counter_kind kind)
{
    switch (kind) {
    case BENCH_COUNTER_AVERAGE:
        return benchmark::Counter::kAvgThreads;
    case BENCH_COUNTER_RATE:
        return benchmark::Counter::kIsRate;
    case BENCH_COUNTER_SUM:
        break;
    }
    return benchmark::Counter::kDefaults;
}

/* Real nanoseconds per item of one run, or per iteration where it counted no items. */
double item_ns(const benchmark::BenchmarkReporter::Run &run)
{
    auto items = run.counters.find("items_per_second");
    if (items != run.counters.end() && items->second.value > 0)
        return 1e9 / items->second.value;
    return run.real_accumulated_time * 1e9 / static_cast<double>(run.iterations);
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/* The console's table, followed by a metric line for each benchmark in it. */
class MetricReporter : public benchmark::ConsoleReporter
{
  public:
    explicit MetricReporter(const char *prefix) : ConsoleReporter(OO_Tabular), prefix_(prefix)
    {
    }

    void ReportRuns(const std::vector<Run> &runs) override
    {
        ConsoleReporter::ReportRuns(runs);
        GetOutputStream().flush();
        for (size_t first = 0; first < runs.size();) {
            std::string name = name_of(runs[first]);
            std::vector<double> times;
            size_t i = first;
            for (; i < runs.size() && name_of(runs[i]) == name; i++) {
                if (runs[i].run_type == Run::RT_Iteration && !runs[i].error_occurred)
                    times.push_back(item_ns(runs[i]));
            }
            if (!times.empty())
                std::printf("metric %s/%s %.6g ns\n", prefix_, name.c_str(), median(times));
            first = i;
        }
        std::fflush(stdout);
    }

  private:
    /* Function, arguments and threads: what a run is, without how it was timed. */
    static std::string name_of(const Run &run)
    {
        std::string name = run.run_name.function_name;
        for (const std::string *part : {&run.run_name.args, &run.run_name.threads}) {
            if (!part->empty())
                name += "/" + *part;
        }
        return name;
    }

    const char *prefix_;
};

} // namespace

void bench_register(const bench_spec *spec)
{
    bench_function *run = spec->run;
    void *user = spec->user;
    auto *added = benchmark::RegisterBenchmark(spec->name, [run, user](benchmark::State &library) {
        bench_state state{0, &library};
        run(&state, user);
    });
    if (spec->range_count > 0) {
        std::vector<std::vector<int64_t>> lists;
        for (size_t i = 0; i < spec->range_count; i++)
            lists.emplace_back(spec->range[i].values, spec->range[i].values + spec->range[i].count);
        added->ArgsProduct(lists);
    }
    for (size_t i = 0; i < spec->thread_count; i++)
        added->Threads(spec->threads[i]);
    added->Unit(library_unit(spec->unit));
    if (spec->iterations > 0)
        added->Iterations(spec->iterations);
    if (spec->use_real_time)
        added->UseRealTime();
    if (spec->use_process_cpu_time)
        added->MeasureProcessCPUTime();
}

int bench_main(int argc, char **argv, const char *metric_prefix)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return STATUS_BAD_ARGUMENT;
    MetricReporter reporter(metric_prefix);
    size_t matched = metric_prefix == nullptr ? benchmark::RunSpecifiedBenchmarks()
                                              : benchmark::RunSpecifiedBenchmarks(&reporter);
    benchmark::Shutdown();
    if (matched == 0)
        return STATUS_BAD_ARGUMENT;
    return failed.load(std::memory_order_relaxed) ? STATUS_FAILED : 0;
}

/* All iterations are taken from the library as one batch: exact for any number of them. */
bool bench_keep_running_slow(bench_state *state)
{
    benchmark::State &library = library_of(state);
    if (!library.KeepRunningBatch(library.max_iterations))
        return false;
    state->left = library.max_iterations - 1;
    return true;
}

void bench_pause_timing(bench_state *state)
{
    library_of(state).PauseTiming();
}

void bench_resume_timing(bench_state *state)
{
    library_of(state).ResumeTiming();
}

int64_t bench_range(const bench_state *state, size_t position)
{
    return library_of(state).range(position);
}

int bench_thread_index(const bench_state *state)
{
    return library_of(state).thread_index();
}

int bench_threads(const bench_state *state)
{
    return library_of(state).threads();
}

int64_t bench_iterations(const bench_state *state)
{
    return static_cast<int64_t>(library_of(state).iterations()) - state->left;
}

void bench_items(bench_state *state, int64_t items)
{
    library_of(state).SetItemsProcessed(items);
}

void bench_bytes(bench_state *state, int64_t bytes)
{
    library_of(state).SetBytesProcessed(bytes);
}

void bench_counter(bench_state *state, const char *name, double value, bench_counter_kind kind)
{
    library_of(state).counters[name] = benchmark::Counter(value, library_flags(kind));
}

void bench_label(bench_state *state, const char *text)
{
    library_of(state).SetLabel(text);
}

void bench_skip(bench_state *state, const char *why)
{
    state->left = 0;
    if (!library_of(state).error_occurred())
        library_of(state).SkipWithError(why);
}

void bench_fail(bench_state *state, const char *why)
{
    failed.store(true, std::memory_order_relaxed);
    std::fprintf(stderr, "benchmark failed: %s\n", why);
    bench_skip(state, why);
}
