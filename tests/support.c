/* See support.h. */
#include "support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

_Noreturn void support_check_failed(const char *file, int line, const char *condition)
{
    char text[512];
    int length = snprintf(text, sizeof text, "%s:%d: CHECK(%s) failed\n", file, line, condition);
    if (length > 0) {
        size_t bytes = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, bytes);
        (void)written;
    }
    abort();
}

static uint64_t mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

void pattern_fill(void *block, size_t bytes, uint64_t tag)
{
    unsigned char *at = block;
    uint64_t word = mix(tag);
    size_t done = 0;
    for (; done + sizeof word <= bytes; done += sizeof word) {
        memcpy(at + done, &word, sizeof word);
    }
    if (done < bytes) {
        memcpy(at + done, &word, bytes - done);
    }
}

bool pattern_holds(const void *block, size_t bytes, uint64_t tag)
{
    const unsigned char *at = block;
    uint64_t word = mix(tag);
    uint64_t differing = 0;
    size_t done = 0;
    for (; done + sizeof word <= bytes; done += sizeof word) {
        uint64_t found;
        memcpy(&found, at + done, sizeof found);
        differing |= found ^ word;
    }
    return differing == 0 && (done == bytes || memcmp(at + done, &word, bytes - done) == 0);
}

bool all_zero(const void *block, size_t bytes)
{
    const unsigned char *at = block;
    return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

size_t natural_alignment(size_t size)
{
    size_t alignment = 16;
    while (alignment > 1 && alignment > size) {
        alignment /= 2;
    }
    return alignment;
}

bool is_aligned(const void *ptr, size_t alignment)
{
    return ((uintptr_t)ptr & (alignment - 1)) == 0;
}

uint64_t test_seed(void)
{
    uint64_t seed = 0;
    const char *given = getenv("TEST_SEED");
    if (given != NULL) {
        seed = strtoull(given, NULL, 0);
    } else if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        abort();
    }
    printf("TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}

uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix(*state);
}

size_t random_size(uint64_t *state, size_t limit)
{
    uint64_t kind = random_next(state) % 100;
    size_t most = kind < 65 ? 1 * KIB : kind < 90 ? 33 * KIB : kind < 98 ? 200 * KIB : 2 * MIB;
    return (size_t)random_next(state) % ((most < limit ? most : limit) + 1);
}

static void read_until_closed(int from, pid_t child, struct outcome *outcome)
{
    outcome->bytes = 0;
    for (;;) {
        char dropped[512];
        size_t room = sizeof outcome->text - 1 - outcome->bytes;
        ssize_t got = room > 0 ? read(from, outcome->text + outcome->bytes, room)
                               : read(from, dropped, sizeof dropped);
        if (got <= 0) {
            break;
        }
        outcome->bytes += room > 0 ? (size_t)got : 0;
    }
    outcome->text[outcome->bytes] = '\0';
    close(from);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    outcome->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool read_proc(const char *name, char *text, size_t room)
{
    char path[300];
    (void)snprintf(path, sizeof path, "/proc/self/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t bytes = read(file, text, room - 1);
    text[bytes > 0 ? bytes : 0] = '\0';
    CHECK(close(file) == 0);
    return bytes > 0;
}

/* An entry of a directory as getdents64(2) gives it. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    unsigned char type;
    char name[];
};

unsigned list_threads(int ids[THREADS_MOST])
{
    _Alignas(struct entry) char entries[4096];
    unsigned count = 0;
    long bytes;
    int directory = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    while ((bytes = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
        for (long at = 0; at < bytes;) {
            const struct entry *entry = (const void *)(entries + at);
            int id = (int)strtol(entries + at + offsetof(struct entry, name), NULL, 10);
            if (id > 0) { /* not "." and ".." */
                CHECK(count < THREADS_MOST);
                ids[count++] = id;
            }
            at += entry->length;
        }
    }
    CHECK(close(directory) == 0);
    return count;
}

void drop_signal_handlers(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        signal(signals[i], SIG_DFL);
    }
}

/* In the child: stderr goes to the pipe, and an expected abort leaves no core file. */
static void enter_child(const int ends[2])
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    drop_signal_handlers();
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
}

void run_child(void (*body)(void *), void *argument, struct outcome *outcome)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        enter_child(ends);
        body(argument);
        _exit(0);
    }
    close(ends[1]);
    read_until_closed(ends[0], child, outcome);
}

void run_program(const char *path, char *const argv[], char *const env[], struct outcome *outcome)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        enter_child(ends);
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        execve(path, argv, env);
        _exit(127);
    }
    close(ends[1]);
    read_until_closed(ends[0], child, outcome);
}

void assert_clean_exit(const struct outcome *outcome)
{
    assert_string_equal(outcome->text, "");
    assert_int_equal(outcome->signal, 0);
    assert_int_equal(outcome->exit_code, 0);
}

size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}
