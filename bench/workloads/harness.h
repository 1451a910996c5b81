/* What every workload shares: the command line, a crew of threads with a common start, clock,
 * random numbers, blocks that know what they should hold, RSS, and metric lines as bench/README.md
 * has them.
 *
 * It must not load the malloc under test: nothing here calls the malloc family but bench_block_new
 * and bench_block_end; bookkeeping comes from bench_map. (pthread_create allocates by itself.)
 * Threads: main parses, runs the crew and reports; the inlines are for any thread, on its own data.
 * A broken block ends the program with status 1 by bench_fail, whichever thread finds it.
 */
#ifndef BENCH_WORKLOADS_HARNESS_H
#define BENCH_WORKLOADS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_LEN(array)     (sizeof(array) / sizeof *(array))
#define BENCH_THREADS_MAX    1024u
#define BENCH_LINE_BYTES     64u   /* apart by this, two threads' data do not share a cache line */
#define BENCH_STAMP_BYTES    256u  /* a block carries a stamp at each multiple of this */
#define BENCH_WHOLE_BYTES    4096u /* up to here, one of BENCH_WHOLE_ONE_OF is filled wholly */
#define BENCH_WHOLE_ONE_OF   64u   /* a power of two */
#define BENCH_OPERATIONS_MAX 1000000000000ul

/* An option `--name VALUE`. Exactly one of value and text is set. */
struct bench_option {
    const char *name;           /* without its dashes */
    unsigned long *value;       /* holds the default, takes what is given */
    unsigned long min;          /* least and greatest number allowed; not for choices and texts */
    unsigned long max;          /* as min */
    const char *const *choices; /* if set, value is an index into these, up to a NULL */
    const char **text;          /* for an option that takes any text */
    const char *help;           /* what it means, with its unit */
};

/* Reads argv. --help prints `about` and the options and exits with 0; a bad argument exits with 2
 * after one line on standard error. Call first. */
void bench_options(int argc, char **argv, const char *about, const struct bench_option *options,
                   size_t count);

/* Ends the program with status 1 and one line on standard error. Any thread. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* As bench_fail, with status 2: what was asked for makes no sense. Main thread. */
_Noreturn void bench_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed, touched memory for bookkeeping, straight from the kernel. Never NULL. */
void *bench_map(size_t count, size_t bytes_each);
void bench_unmap(void *start, size_t count, size_t bytes_each);

/* Nanoseconds of the monotonic clock. */
uint64_t bench_now_ns(void);

/* Resident bytes of the process. No allocation, no lock. */
size_t bench_rss_bytes(void);

/* What one member of the crew does. `generation` counts from 0; see bench_run. */
typedef void bench_body(void *context, unsigned thread, unsigned generation);

/* Runs `body` in `threads` threads that start together, and waits for all. In each place stand
 * `generations` threads one after the other: each starts its successor when its body is done, and
 * dies. Returns the seconds from the start to the end of the last body. */
double bench_run(unsigned threads, unsigned generations, bench_body *body, void *context);

/* `metric NAME VALUE UNIT` on standard output. */
void bench_metric(const char *group, const char *name, double value, const char *unit);

/* What one thread counted. Whole cache lines, so that arrays of them are not shared. */
struct bench_tally {
    _Alignas(BENCH_LINE_BYTES) uint64_t made; /* blocks allocated */
    uint64_t made_tags;                       /* sum of their tags, modulo 2^64 */
    uint64_t ended;                           /* blocks checked and freed */
    uint64_t ended_tags;                      /* sum of their tags, modulo 2^64 */
};

/* Fails unless all threads together freed each block that they allocated, once, and allocated
 * `expected` blocks. */
void bench_settle(const struct bench_tally *tallies, size_t count, uint64_t expected);

/* The next number of a generator, by the splitmix64 recurrence. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t word = *state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* A generator's state for one thread of a run. */
static inline uint64_t bench_seed(uint64_t seed, unsigned thread)
{
    uint64_t state = seed ^ (uint64_t)thread << 32;
    return bench_random(&state);
}

/* A number in [0, limit), limit at most 2^32. Without division. */
static inline size_t bench_below(uint64_t *state, size_t limit)
{
    return (size_t)((bench_random(state) >> 32) * limit >> 32);
}

/* A number in [min, max]. */
static inline size_t bench_between(uint64_t *state, size_t min, size_t max)
{
    return min + bench_below(state, max - min + 1);
}

/* The word that a block with this tag has at this offset. */
static inline uint64_t bench_stamp(uint64_t tag, size_t at)
{
    return (tag ^ (uint64_t)at << 40) * 0x9e3779b97f4a7c15u + at;
}

/* The distance of the stamps within a block: all of it, or a sample. */
static inline size_t bench_stamp_step(size_t bytes, uint64_t tag)
{
    return bytes <= BENCH_WHOLE_BYTES && tag % BENCH_WHOLE_ONE_OF == 0 ? 8 : BENCH_STAMP_BYTES;
}

/* Writes the stamps of `tag` into `bytes` bytes: a word at each step, and the last, maybe partial,
 * word. Any size. */
static inline void bench_fill(void *start, size_t bytes, uint64_t tag)
{
    if (bytes == 0)
        return;
    size_t last = (bytes - 1) & ~(size_t)7;
    size_t step = bench_stamp_step(bytes, tag);
    for (size_t at = 0; at < last; at += step) {
        uint64_t word = bench_stamp(tag, at);
        memcpy((char *)start + at, &word, sizeof word);
    }
    uint64_t word = bench_stamp(tag, last);
    memcpy((char *)start + last, &word, bytes - last);
}

/* Whether the first `kept` bytes of what bench_fill wrote are still there. */
static inline bool bench_holds_prefix(const void *start, size_t bytes, size_t kept, uint64_t tag)
{
    if (bytes == 0)
        return true;
    size_t last = (bytes - 1) & ~(size_t)7;
    size_t step = bench_stamp_step(bytes, tag);
    uint64_t wrong = 0;
    for (size_t at = 0; at < last && at + 8 <= kept; at += step) {
        uint64_t word;
        memcpy(&word, (const char *)start + at, sizeof word);
        wrong |= word ^ bench_stamp(tag, at);
    }
    if (kept < bytes)
        return wrong == 0;
    uint64_t word = bench_stamp(tag, last);
    return wrong == 0 && memcmp((const char *)start + last, &word, bytes - last) == 0;
}

/* A block and what it should hold. */
struct bench_block {
    void *start;  /* NULL: no block */
    size_t bytes; /* as requested */
    uint64_t tag; /* tells this block's contents from those of all other live ones */
};

/* Fails if a block is missing or less aligned than its size calls for (16 at most). */
static inline void *bench_sound(void *start, size_t bytes)
{
    if (start == NULL)
        bench_fail("no memory for %zu bytes", bytes);
    size_t align = bytes >= 16 ? 16 : bytes >= 8 ? 8 : 1;
    if (((uintptr_t)start & (align - 1)) != 0)
        bench_fail("a block of %zu bytes is at %p", bytes, start);
    return start;
}

/* Allocates and fills a block. The tag must be unlike that of any live block. */
static inline struct bench_block bench_block_new(size_t bytes, uint64_t tag,
                                                 struct bench_tally *tally)
{
    struct bench_block block = {bench_sound(malloc(bytes), bytes), bytes, tag};
    bench_fill(block.start, bytes, tag);
    tally->made++;
    tally->made_tags += tag;
    return block;
}

/* Checks and frees a block. */
static inline void bench_block_end(const struct bench_block *block, struct bench_tally *tally)
{
    if (!bench_holds_prefix(block->start, block->bytes, block->bytes, block->tag))
        bench_fail("a block of %zu bytes does not hold what was written", block->bytes);
    free(block->start);
    tally->ended++;
    tally->ended_tags += block->tag;
}

/* The first tag of a thread; it may count up from there 2^48 times. */
static inline uint64_t bench_first_tag(unsigned thread)
{
    return ((uint64_t)thread + 1) << 48;
}

#endif
