/* weir_stress SCENARIO [--seconds S] [--threads N] [--seed N] [--delay N]
 *
 * Runs one scenario of harness.h for so many seconds and verifies what it did. Exits with 0, with 2
 * for bad arguments; a violation aborts with one line. --delay takes effect in the build with
 * atomic steps (weir_stress_steps).
 */
#include "harness.h"
#include "steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SCENARIO_ROW(name, meaning) {#name, scenario_##name, meaning},
static const struct scenario scenarios[] = {SCENARIOS(SCENARIO_ROW)};
#define SCENARIO_COUNT (sizeof scenarios / sizeof scenarios[0])

static const struct scenario *find(const char *name)
{
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

static void usage(FILE *file)
{
    fprintf(file,
            "usage: weir_stress SCENARIO [--seconds S] [--threads N] [--seed N] [--delay N]\n");
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        fprintf(file, "  %-8s %s\n", scenarios[i].name, scenarios[i].meaning);
    }
}

/* A number from least to most behind an option, or exit status 2. */
static double number_of(const char *option, const char *text, double least, double most)
{
    char *end = NULL;
    double number = text == NULL ? 0 : strtod(text, &end);
    if (text == NULL || end == text || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "weir_stress: %s takes a number from %g to %g\n", option, least, most);
        exit(2);
    }
    return number;
}

static void parse(char **arguments)
{
    stress.threads = 4;
    stress.seconds = 2;
    if (getrandom(&stress.seed, sizeof stress.seed, 0) != (ssize_t)sizeof stress.seed) {
        stress.seed = 1;
    }
    for (; *arguments != NULL; arguments += 2) {
        if (strcmp(*arguments, "--seconds") == 0) {
            stress.seconds = number_of("--seconds", arguments[1], 0.01, 1e6);
        } else if (strcmp(*arguments, "--threads") == 0) {
            stress.threads = (unsigned)number_of("--threads", arguments[1], 2, THREADS_MAX);
        } else if (strcmp(*arguments, "--delay") == 0) {
            stress.delay = (unsigned)number_of("--delay", arguments[1], 0, 1e9);
        } else if (strcmp(*arguments, "--seed") == 0 && arguments[1] != NULL) {
            stress.seed = strtoull(arguments[1], NULL, 0);
        } else {
            fprintf(stderr, "weir_stress: what is %s?\n", *arguments);
            exit(2);
        }
    }
}

int main(int count, char **arguments)
{
    if (count >= 2 && strcmp(arguments[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    const struct scenario *scenario = count >= 2 ? find(arguments[1]) : NULL;
    if (scenario == NULL) {
        usage(stderr);
        return 2;
    }
    stress.program = "/proc/self/exe";
    stress.scenario = scenario->name;
    parse(arguments + 2);
    if (stress.delay != 0 && !steps_are_built()) {
        fprintf(stderr, "weir_stress: --delay needs weir_stress_steps\n");
        return 2;
    }
    printf("weir_stress %s --seconds %g --threads %u --seed %" PRIu64 " --delay %u\n",
           scenario->name, stress.seconds, stress.threads, stress.seed, stress.delay);
    fflush(stdout);
    steps_delay(stress.delay, stress.seed);
    stress_restart(stress.seconds);
    scenario->run();
    return 0;
}
