/* start_up: what a process pays for its allocator at start, for ci/check/start_up.
 *
 * `start_up` allocates 16 bytes and exits, with 10 under weir and 11 under another malloc.
 * `start_up RUNS LIBRARY PROGRAM` runs PROGRAM that often in turn without and with LIBRARY
 * preloaded, each time once for the clock and once stopped at its end (ptrace(2)) to count the
 * pages that it has: what getrusage(2) calls the peak lags behind by up to 32 pages for each
 * processor. Prints per pair: which, RSS at the end in KiB, wall time in nanoseconds. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
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

static pid_t start(const char *preload, char *program, int traced)
{
    char variable[4096];
    char *argv[] = {program, NULL};
    char *envp[] = {preload ? variable : NULL, NULL};

    snprintf(variable, sizeof(variable), "LD_PRELOAD=%s", preload ? preload : "");
    pid_t child = traced ? fork() : vfork();
    if (child == 0) {
        if (!traced || ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
            execve(program, argv, envp);
        _exit(127);
    }
    return child;
}

/* Waits for the child's end; 0 if it ended with `expected`. */
static int end(pid_t child, int expected)
{
    int status;
    return waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
           WEXITSTATUS(status) != expected;
}

/* Resident pages in KiB, counted one by one; -1 if the kernel does not tell. */
static long resident_kib(pid_t child)
{
    char text[4096];
    long kib = -1;
    snprintf(text, sizeof(text), "/proc/%d/smaps_rollup", (int)child);
    FILE *file = fopen(text, "r");
    while (file && fgets(text, sizeof(text), file)) {
        if (strncmp(text, "Rss:", 4) == 0)
            kib = atol(text + 4);
    }
    if (file)
        fclose(file);
    return kib;
}

/* Stops the child where it begins to end, with its memory as it was. */
static long resident_at_end(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) || /* at its exec */
        ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACEEXIT) != 0 ||
        ptrace(PTRACE_CONT, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child ||
        status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
        return -1;
    long kib = resident_kib(child);
    return ptrace(PTRACE_CONT, child, NULL, NULL) == 0 ? kib : -1;
}

/* Returns 0 if the program ended with `expected` both times. */
static int run_once(const char *name, const char *preload, char *program, int expected)
{
    pid_t traced = start(preload, program, 1);
    long kib = traced < 0 ? -1 : resident_at_end(traced);
    if (kib < 0 || end(traced, expected) != 0)
        return 1;
    long start_ns = now_ns();
    pid_t timed = start(preload, program, 0);
    if (timed < 0 || end(timed, expected) != 0)
        return 1;
    printf("%s %ld %ld\n", name, kib, now_ns() - start_ns);
    return 0;
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
