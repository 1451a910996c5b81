/* See harness.h. */
#include "harness.h"

#include "weir/weir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "heap/purger.h"

struct stress stress;

_Noreturn void stress_failed(const char *file, int line, const char *condition)
{
    char text[512];
    int length = snprintf(text, sizeof text,
                          "weir_stress: %s: CHECK(%s) failed at %s:%d, --seed %" PRIu64 "\n",
                          stress.scenario, condition, file, line, stress.seed);
    if (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, (size_t)length);
        (void)written;
    }
    abort();
}

void stress_alone(void)
{
    char background[] = "WEIR_BACKGROUND=0";
    char *const settings[] = {background, NULL};
    wr_options_parse(settings);
}

/* ---- random numbers ---- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix(*state);
}

size_t random_below(uint64_t *state, size_t below)
{
    return (size_t)(random_next(state) % below);
}

size_t random_size(uint64_t *state, size_t limit)
{
    uint64_t kind = random_next(state) % 100;
    size_t most = kind < 70 ? KIB : kind < 92 ? 33 * KIB : kind < 98 ? 300 * KIB : 4 * MIB;
    return 1 + random_below(state, most < limit ? most : limit);
}

/* ---- time and threads ---- */

static _Atomic int64_t end_ns; /* relaxed everywhere: nothing is published by it */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void stress_restart(double seconds)
{
    atomic_store_explicit(&end_ns, now_ns() + (int64_t)(seconds * 1e9), memory_order_relaxed);
}

bool stress_over(void)
{
    return now_ns() >= atomic_load_explicit(&end_ns, memory_order_relaxed);
}

struct member {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    void (*body)(unsigned number, uint64_t *random);
    pthread_barrier_t *start;
};

static void *enter(void *argument)
{
    struct member *member = argument;
    pthread_barrier_wait(member->start);
    member->body(member->number, &member->random);
    return NULL;
}

void stress_run(void (*body)(unsigned number, uint64_t *random))
{
    static struct member members[THREADS_MAX];
    pthread_barrier_t start;
    CHECK(pthread_barrier_init(&start, NULL, stress.threads) == 0);
    for (unsigned i = 0; i < stress.threads; i++) {
        members[i] = (struct member){.number = i,
                                     .random = mix(stress.seed + ((uint64_t)(i + 1) << 32)),
                                     .body = body,
                                     .start = &start};
        CHECK(pthread_create(&members[i].thread, NULL, enter, &members[i]) == 0);
    }
    for (unsigned i = 0; i < stress.threads; i++) {
        CHECK(pthread_join(members[i].thread, NULL) == 0);
    }
    pthread_barrier_destroy(&start);
}

/* ---- blocks ---- */

#define WHOLE_BYTES (16 * KIB) /* up to here a block is stamped all over */
#define EDGE_BYTES  ((size_t)64)
#define PAGE_BYTES  (4 * KIB)

/* Calls visit for each stamped piece of the first `bytes` bytes of a block of held->bytes. */
static void each_piece(const struct held *held, size_t bytes,
                       void (*visit)(unsigned char *piece, size_t bytes, uint64_t word))
{
    if (held->bytes <= WHOLE_BYTES) {
        visit(held->block, bytes, mix(held->tag));
        return;
    }
    for (size_t at = 0; at + EDGE_BYTES <= bytes; at += PAGE_BYTES) {
        visit(held->block + at, EDGE_BYTES, mix(held->tag + at));
    }
    if (bytes == held->bytes) {
        visit(held->block + bytes - EDGE_BYTES, EDGE_BYTES, mix(held->tag));
    }
}

static void fill_piece(unsigned char *piece, size_t bytes, uint64_t word)
{
    size_t done = 0;
    for (; done + sizeof word <= bytes; done += sizeof word) {
        memcpy(piece + done, &word, sizeof word);
    }
    memcpy(piece + done, &word, bytes - done);
}

static void check_piece(unsigned char *piece, size_t bytes, uint64_t word)
{
    size_t done = 0;
    for (; done + sizeof word <= bytes; done += sizeof word) {
        CHECK(memcmp(piece + done, &word, sizeof word) == 0);
    }
    CHECK(memcmp(piece + done, &word, bytes - done) == 0);
}

void held_stamp(struct held *held, uint64_t tag)
{
    held->tag = tag;
    /* The last edge may overlap that of its page: filled in the same order, checked leniently. */
    if (held->bytes > WHOLE_BYTES && held->bytes % PAGE_BYTES < 2 * EDGE_BYTES) {
        held->bytes -= held->bytes % PAGE_BYTES;
    }
    each_piece(held, held->bytes, fill_piece);
}

void held_check(const struct held *held)
{
    each_piece(held, held->bytes, check_piece);
}

static void check_zero(const unsigned char *block, size_t bytes)
{
    size_t step = bytes <= WHOLE_BYTES ? 1 : 997;
    for (size_t at = 0; at < bytes; at += step) {
        CHECK(block[at] == 0);
    }
}

void held_new(struct held *held, size_t bytes, uint64_t *random, bool may_fail)
{
    size_t alignment = 1;
    switch (random_below(random, 8)) {
    case 0:
        held->block = weir_calloc(1, bytes);
        if (held->block != NULL) {
            check_zero(held->block, bytes);
        }
        break;
    case 1:
        alignment = (size_t)1 << random_below(random, 14);
        held->block = weir_aligned_alloc(alignment, bytes);
        break;
    default:
        held->block = weir_malloc(bytes);
    }
    CHECK(held->block != NULL || (may_fail && errno == ENOMEM));
    if (held->block == NULL) {
        return;
    }
    CHECK(((uintptr_t)held->block & (alignment - 1)) == 0);
    CHECK(weir_malloc_usable_size(held->block) >= bytes);
    held->bytes = bytes;
    held_stamp(held, random_next(random));
}

void held_resize(struct held *held, size_t bytes, uint64_t *random, bool may_fail)
{
    unsigned char *moved = weir_realloc(held->block, bytes);
    if (moved == NULL) {
        CHECK(may_fail && errno == ENOMEM);
        held_check(held);
        return;
    }
    held->block = moved;
    if (bytes >= held->bytes) {
        held_check(held);
    } else {
        each_piece(held, bytes, check_piece);
    }
    held->bytes = bytes;
    held_stamp(held, random_next(random));
}

void held_free(struct held *held, uint64_t *random)
{
    held_check(held);
    memset(held->block, (int)random_below(random, 256), held->bytes < 64 ? held->bytes : 64);
    weir_free(held->block);
    held->block = NULL;
}

/* ---- mailboxes ---- */

struct letter {
    struct held held;
};

_Static_assert(sizeof(struct letter) <= MAILBOX_BYTES && sizeof(struct letter) % 8 == 0,
               "a letter lies in the first stamped words of its block");

struct held mailbox_exchange(struct mailbox *mailbox, struct held held)
{
    struct letter *letter = NULL;
    if (held.block != NULL) {
        held_check(&held);
        letter = (struct letter *)(void *)held.block;
        letter->held = held;
    }
    /* Publishes the letter to the next exchange, and observes the last one's. */
    letter = atomic_exchange_explicit(&mailbox->letter, letter, memory_order_acq_rel);
    struct held got = {0};
    if (letter != NULL) {
        got = letter->held;
        CHECK((void *)got.block == (void *)letter);
        fill_piece(got.block, sizeof *letter, mix(got.tag)); /* where the letter was */
        held_check(&got);
    }
    return got;
}

/* ---- children ---- */

/* True if the thread of /proc/self/task/NAME sleeps until the purger's word changes. */
static bool waits_for_word(const char *name)
{
    char path[64];
    char text[64] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/syscall", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false; /* it has ended */
    }
    ssize_t bytes = read(file, text, sizeof text - 1);
    CHECK(close(file) == 0);
    unsigned long call = 0;
    unsigned long word = 0;
    return bytes > 0 && sscanf(text, "%lu 0x%lx", &call, &word) == 2 && call == SYS_futex &&
           word == (uintptr_t)&wr_purger_word;
}

static bool purger_sleeps(void)
{
    bool sleeps = false;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        sleeps = sleeps || waits_for_word(task->d_name);
    }
    CHECK(closedir(tasks) == 0);
    return sleeps;
}

void stress_settle(void)
{
    int64_t end = now_ns() + (int64_t)60 * 1000000000;
    /* Pairs with the purger's own changes; NONE and WANTED come first. */
    while (wr_load_acquire(&wr_purger_word) > WR_PURGER_WANTED && !purger_sleeps()) {
        CHECK(now_ns() < end);
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
    }
}

void stress_wait(int pid, unsigned seconds)
{
    int64_t end = now_ns() + (int64_t)seconds * 1000000000;
    int status = 0;
    pid_t done;
    while ((done = waitpid(pid, &status, WNOHANG)) == 0 && now_ns() < end) {
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
    }
    if (done == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    bool ended_in_time = done == pid;
    CHECK(ended_in_time);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void stress_child(int (*body)(void *), void *argument, unsigned seconds)
{
    stress_settle();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(body(argument));
    }
    stress_wait(child, seconds);
}
