/* realloc as buffers grow: a line more each time, as text is appended, or twice the size. */
#include "holds.h"
#include "micro.h"

#define LINE_BYTES    ((size_t)64)
#define DOUBLING_FROM ((size_t)16)
#define WRITTEN_EACH  LINE_BYTES /* at the end of what has grown, as whoever grew it would */

/* The size after `size`. */
typedef size_t next_size(size_t size);

static size_t line_more(size_t size)
{
    return size + LINE_BYTES;
}

static size_t twice(size_t size)
{
    return size == 0 ? DOUBLING_FROM : 2 * size;
}

/* Grows a buffer up to `target` bytes, writing each byte once, and checks them all at the end. */
static bool growth_holds(next_size *next, size_t target)
{
    bool right = true;
    char *buffer = NULL;
    size_t filled = 0;
    for (size_t size = next(0); right && size <= target; size = next(size)) {
        char *grown = family_realloc(buffer, size);
        right = grown != NULL;
        buffer = grown != NULL ? grown : buffer;
        if (right)
            holds_fill(buffer, filled, size, 1);
        filled = right ? size : filled;
    }
    right = right && holds_check(buffer, filled, 1);
    family_free(buffer);
    return right;
}

/* Inlined with a constant `next`. Returns how many times it grew. */
static inline __attribute__((always_inline)) int64_t grow(next_size *next, size_t target)
{
    char *buffer = NULL;
    int64_t steps = 0;
    for (size_t size = next(0); size <= target; size = next(size)) {
        char *grown = family_realloc(buffer, size);
        if (grown == NULL)
            break;
        buffer = grown;
        size_t written = size < WRITTEN_EACH ? size : WRITTEN_EACH;
        __builtin_memset(buffer + size - written, (int)steps, written);
        steps++;
    }
    family_free(buffer);
    return steps;
}

static inline __attribute__((always_inline)) void growth(struct bench_state *state, next_size *next)
{
    size_t target = (size_t)bench_range(state, 0);
    if (!growth_holds(next, target))
        bench_fail(state, HOLDS_WRONG);
    int64_t steps = 0;
    while (bench_keep_running(state))
        steps += grow(next, target);
    bench_items(state, steps);
}

static void by_line(struct bench_state *state, void *user)
{
    (void)user;
    growth(state, line_more);
}

static void doubling(struct bench_state *state, void *user)
{
    (void)user;
    growth(state, twice);
}

void MICRO_REGISTER(growth)
{
    static const int64_t targets[] = {4096, 65536, 1048576};
    static const int64_t threaded_targets[] = {65536};
    micro_register(FAMILY_NAME "/realloc_line", by_line, targets, MICRO_COUNT(targets));
    micro_register(FAMILY_NAME "/realloc_double", doubling, targets, MICRO_COUNT(targets));
    micro_register_threaded(plan, FAMILY_NAME "/realloc_line", by_line, threaded_targets,
                            MICRO_COUNT(threaded_targets), 2);
    micro_register_threaded(plan, FAMILY_NAME "/realloc_double", doubling, threaded_targets,
                            MICRO_COUNT(threaded_targets), 2);
}
