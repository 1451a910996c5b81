/* Scenarios of adversity: a kernel that refuses now and then, options at their bounds, checks that
 * must find nothing. */
#include "../harness.h"

#include "weir/weir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

/* ---- scarce ---- */

#define SLOTS 64

static void scarce_body(unsigned number, uint64_t *random)
{
    struct held held[SLOTS] = {{0}};
    while (!stress_over()) {
        if (number == 0 && random_below(random, 50) == 0) {
            unsigned calls = (unsigned)random_below(random, FAULT_ALL + 1);
            fault_arm(calls, 1 + random_below(random, 20), 1 + random_below(random, 200));
        }
        struct held *h = &held[random_below(random, SLOTS)];
        size_t bytes = random_size(random, 4 * MIB);
        if (h->block == NULL) {
            held_new(h, bytes, random, true);
        } else if (random_below(random, 3) == 0) {
            held_resize(h, bytes, random, true);
        } else {
            held_free(h, random);
        }
        if (random_below(random, 500) == 0) {
            errno = 0;
            (void)weir_malloc_trim(0);
            CHECK(errno == 0);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (held[i].block != NULL) {
            held_free(&held[i], random);
        }
    }
}

void scenario_scarce(void)
{
    stress_run(scarce_body);
    fault_disarm();
    /* The kernel gives again: everything works again. */
    uint64_t random = stress.seed;
    struct held held;
    for (unsigned i = 0; i < 1000; i++) {
        held_new(&held, random_size(&random, 4 * MIB), &random, false);
        held_free(&held, &random);
    }
}

/* ---- options ---- */

/* Each option of options.def with values at, within and beyond its bounds that are good. */
static const char *const settings[] = {
    "WEIR_MMAP_THRESHOLD=0",
    "WEIR_MMAP_THRESHOLD=64K",
    "WEIR_MMAP_THRESHOLD=32M",
    "WEIR_LARGE_KEEP=0",
    "WEIR_LARGE_KEEP=1M",
    "WEIR_LARGE_KEEP=1T",
    "WEIR_DIRTY_MAX=0",
    "WEIR_DIRTY_MAX=1M",
    "WEIR_DIRTY_MAX=1T",
    "WEIR_DIRTY_MAX=0%",
    "WEIR_DIRTY_MAX=100%",
    "WEIR_DECAY=0",
    "WEIR_DECAY=1",
    "WEIR_DECAY=1000",
    "WEIR_DECAY=3600000",
    "WEIR_LAZY=0",
    "WEIR_LAZY=1",
    "WEIR_BACKGROUND=0",
    "WEIR_BACKGROUND=1",
    "WEIR_BACKGROUND=auto",
    "WEIR_CACHE_MAX=0",
    "WEIR_CACHE_MAX=1M",
    "WEIR_CACHE_MAX=1T",
    "WEIR_BRK=0",
    "WEIR_BRK=1",
    "WEIR_SUMMARY=0",
};
#define SETTINGS (sizeof settings / sizeof settings[0])

/* Runs this program again, on another scenario, with two settings. */
static void run_with(const char *scenario, const char *one, const char *other)
{
    char threads[16];
    char seed[32];
    char delay[16];
    (void)snprintf(threads, sizeof threads, "%u", stress.threads);
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)stress.seed);
    (void)snprintf(delay, sizeof delay, "%u", stress.delay);
    char *const arguments[] = {(char *)(uintptr_t)stress.program,
                               (char *)(uintptr_t)scenario,
                               "--seconds",
                               "0.2",
                               "--threads",
                               threads,
                               "--seed",
                               seed,
                               "--delay",
                               delay,
                               NULL};
    char *const environment[] = {(char *)(uintptr_t)one, (char *)(uintptr_t)other, NULL};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)execve(stress.program, arguments, environment);
        _exit(127);
    }
    stress_wait(child, 120);
}

void scenario_options(void)
{
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < SETTINGS; i++) {
        run_with("mixed", settings[i], settings[i]);
    }
    while (!stress_over()) {
        run_with("mixed", settings[random_below(&random, SETTINGS)],
                 settings[random_below(&random, SETTINGS)]);
    }
}

/* ---- checks ---- */

/* What looks for errors of the program, of which there are none. A level of 3 aborts. */
static const struct {
    const char *scenario;
    const char *settings[2];
} checks[] = {
    {"mixed", {"WEIR_CHECK=3", "WEIR_CHECK_STACKS=32"}},
    {"rings", {"WEIR_CHECK=3", "WEIR_CHECK_QUARANTINE=256K"}},
    {"walks", {"MALLOC_CHECK_=3", "WEIR_CHECK_QUARANTINE=0"}},
    {"mixed", {"WEIR_GUARD_SAMPLE=1", "WEIR_CHECK_STACKS=0"}},
    {"rings", {"WEIR_GUARD_SAMPLE=50", "WEIR_HARDEN=order"}},
    {"churn", {"WEIR_GUARD_SAMPLE=3", "WEIR_HARDEN=guard"}},
    {"rings", {"WEIR_HARDEN=zero,canary", "WEIR_CHECK_STACKS=1"}},
    {"mixed", {"WEIR_HARDEN=order,guard,zero,canary,delay", "WEIR_CHECK_QUARANTINE=1M"}},
};
#define CHECKS (sizeof checks / sizeof checks[0])

void scenario_checks(void)
{
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < CHECKS; i++) {
        run_with(checks[i].scenario, checks[i].settings[0], checks[i].settings[1]);
    }
    while (!stress_over()) {
        size_t i = random_below(&random, CHECKS);
        run_with(checks[i].scenario, checks[i].settings[0], checks[i].settings[1]);
    }
}
