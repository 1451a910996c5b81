/* start_up: what a process pays for its allocator at start, for ci/check/start_up.
 *
 * `start_up` allocates 16 bytes and exits, with 10 under weir and 11 under another malloc.
 * `start_up RUNS LIBRARY PROGRAM` runs PROGRAM that often in turn without and with LIBRARY
 * preloaded, and prints per run: which, peak RSS in KiB, wall time in nanoseconds. The runner is
 * linked statically: what a child's peak counts before its exec must be below what it measures. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

__attribute__((weak)) int weir_owns(const void *ptr);

static void *volatile escape;

static long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* Returns 0 if the child ended with `expected`. */
static int run_once(const char *name, const char *preload, char *program, int expected)
{
    char variable[4096];
    char *argv[] = {program, NULL};
    char *envp[] = {preload ? variable : NULL, NULL};
    struct rusage usage;
    int status;

    snprintf(variable, sizeof(variable), "LD_PRELOAD=%s", preload ? preload : "");
    long start_ns = now_ns();
    pid_t child = vfork();
    if (child == 0) {
        execve(program, argv, envp);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child)
        return 1;
    printf("%s %ld %ld\n", name, usage.ru_maxrss, now_ns() - start_ns);
    return !WIFEXITED(status) || WEXITSTATUS(status) != expected;
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        escape = malloc(16);
        return escape == NULL ? 1 : weir_owns ? 10 : 11;
    }
    if (argc != 4)
        return 2;
    for (int i = atoi(argv[1]); i > 0; i--) {
        if (run_once("glibc", NULL, argv[3], 11) || run_once("weir", argv[2], argv[3], 10))
            return 1;
    }
    return 0;
}
