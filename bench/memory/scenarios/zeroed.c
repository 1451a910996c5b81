/* zeroed: calloc of 1 GiB, one page touched, free, a thousand times. Fresh pages from the kernel
 * are zero; who writes zeros over them pays for a GiB each time.
 */
#include "memory/scenario.h"

#define BYTES           GIB
#define BYTES_LEAST     (64u << 10)
#define ROUNDS          1000u
#define PAGE            4096u
#define ROUNDS_PER_PAGE 16u /* the same page: it was written when the block was freed */

/* Writes a word of the page, so that it is a page fault and no more, and looks at the others. */
static void touch(char *page, uint64_t word)
{
    memcpy(page, &word, sizeof word);
    uint64_t found = 0;
    for (unsigned at = sizeof word; at < PAGE; at += sizeof word) {
        uint64_t other;
        memcpy(&other, page + at, sizeof other);
        found |= other;
    }
    if (found != 0)
        fail("calloc returned a page that is not zero");
    memset(page, 0x5a, PAGE);
}

static void zeroed_run(const struct scenario_arguments *arguments)
{
    uint64_t bytes = scaled(BYTES, arguments, BYTES_LEAST);
    uint64_t random = random_stream(arguments->seed, 0);
    uint64_t at = 0;
    unsigned rounds = 0;
    uint64_t begin_ns = team_now_ns();
    double seconds = 0;
    for (; rounds < ROUNDS && seconds < arguments->seconds; rounds++) {
        if (rounds % ROUNDS_PER_PAGE == 0)
            at = random_below(&random, (uint32_t)(bytes / PAGE)) * (uint64_t)PAGE;
        char *block = calloc(1, bytes);
        if (block == NULL)
            fail("no memory for %llu bytes", (unsigned long long)bytes);
        sampler_live_add(0, bytes);
        touch(block + at, rounds + 1);
        free(block);
        sampler_live_add(0, 0 - bytes);
        seconds = (double)(team_now_ns() - begin_ns) / 1e9;
    }
    sampler_stop();
    metric_print(seconds * ROUNDS / rounds, "s", "zeroed/seconds");
    metric_print(rounds, "count", "zeroed/rounds");
    metric_print((double)resident_peak(), "bytes", "zeroed/rss_peak");
}

const struct scenario zeroed_scenario = {
    "zeroed", "1000 times calloc of 1 GiB, one page touched; stops early", zeroed_run, 1, 60};
