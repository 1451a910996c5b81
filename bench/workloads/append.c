/* weir_bench_append: strings that grow by small pieces, each time by realloc, many at a time, as
 * servers build replies and interpreters build strings. Every byte of a string is checked when it
 * is freed, its last bytes at every append.
 */
#include "harness.h"

enum growth { GROWTH_EXACT, GROWTH_HALF };

static const char *const growth_names[] = {"exact", "half", NULL};

#define CHECKED_BYTES 8u /* before and after each append */

struct string {
    char *start;
    size_t bytes;     /* in use */
    size_t bytes_end; /* it is freed once it has this many */
    size_t room;      /* bytes allocated */
    uint64_t tag;     /* determines the contents */
};

static unsigned long threads = 4;
static unsigned long operations = 8000000;
static unsigned long strings = 200;
static unsigned long piece_max = 64;
static unsigned long bytes_max = 16384;
static unsigned long growth = GROWTH_EXACT;
static unsigned long seed = 1;

struct run {
    struct string *strings; /* `strings` per thread */
    struct bench_tally *tallies;
};

/* The byte that a string has at this offset; a piece never repeats the one before. */
static char byte_at(uint64_t tag, size_t at)
{
    return (char)(tag + at + (at >> 8) * 7);
}

static void write_bytes(const struct string *string, size_t from)
{
    for (size_t at = from; at < string->bytes; at++)
        string->start[at] = byte_at(string->tag, at);
}

static void check_bytes(const struct string *string, size_t from, size_t to)
{
    int wrong = 0;
    for (size_t at = from; at < to; at++)
        wrong |= string->start[at] ^ byte_at(string->tag, at);
    if (wrong != 0)
        bench_fail("a string of %zu bytes does not hold what was written", string->bytes);
}

static void end_string(struct string *string, struct bench_tally *tally)
{
    check_bytes(string, 0, string->bytes);
    free(string->start);
    tally->ended++;
    tally->ended_tags += string->tag;
    *string = (struct string){.start = NULL};
}

static void append(struct string *string, size_t piece)
{
    size_t old = string->bytes;
    string->bytes += piece;
    if (string->bytes > string->room) {
        string->room = growth == GROWTH_EXACT ? string->bytes : string->bytes + string->bytes / 2;
        string->start = bench_sound(realloc(string->start, string->room), string->room);
    }
    size_t checked = old < CHECKED_BYTES ? old : CHECKED_BYTES;
    check_bytes(string, 0, checked);
    check_bytes(string, old - checked, old);
    write_bytes(string, old);
}

static void run_appends(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct string *own = run->strings + thread * strings;
    struct bench_tally tally = {.made = 0};
    uint64_t random = bench_seed(seed, thread);
    for (size_t left = operations / threads; left > 0; left--) {
        struct string *string = &own[bench_below(&random, strings)];
        if (string->start == NULL) {
            string->tag = bench_random(&random);
            string->bytes_end = bench_between(&random, 1, bytes_max);
            tally.made++;
            tally.made_tags += string->tag;
        }
        append(string, bench_between(&random, 1, piece_max));
        if (string->bytes >= string->bytes_end)
            end_string(string, &tally);
    }
    for (size_t i = 0; i < strings; i++) {
        if (own[i].start != NULL)
            end_string(&own[i], &tally);
    }
    run->tallies[thread] = tally;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "appends, by all threads together"},
        {"strings", &strings, 1, 10000000, NULL, NULL, "strings that grow at a time, per thread"},
        {"piece-max", &piece_max, 1, 1ul << 20, NULL, NULL, "greatest piece in bytes"},
        {"bytes-max", &bytes_max, 1, 1ul << 30, NULL, NULL,
         "greatest length at which a string is freed, in bytes"},
        {"growth", &growth, 0, 0, growth_names, NULL,
         "realloc at each append, or to half as much again when full"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of lengths and order"},
    };
    bench_options(argc, argv,
                  "Appends pieces to strings by realloc.\n"
                  "An operation is one append.",
                  options, BENCH_LEN(options));
    struct run run = {.strings = bench_map(threads * strings, sizeof *run.strings),
                      .tallies = bench_map(threads, sizeof *run.tallies)};
    double seconds = bench_run((unsigned)threads, 1, run_appends, &run);
    uint64_t made = 0;
    for (size_t i = 0; i < threads; i++)
        made += run.tallies[i].made;
    bench_settle(run.tallies, threads, made);
    size_t appends = operations / threads * threads;
    bench_metric(growth == GROWTH_EXACT ? "append" : "append_half", "throughput",
                 (double)appends / seconds, "ops/s");
    return 0;
}
