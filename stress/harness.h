/* What every scenario of weir_stress shares: threads that run until time is up, random numbers from
 * one seed, blocks that are stamped and verified, places where threads hand blocks to each other.
 *
 * A violation prints one line (scenario, seed, place) and aborts. Bookkeeping is static or on
 * stacks, so that nothing but the heap under stress is stressed.
 */
#ifndef WEIR_STRESS_HARNESS_H
#define WEIR_STRESS_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

#define THREADS_MAX 64

/* What the command line says. */
struct stress {
    const char *scenario;
    const char *program; /* path of this program, to run it again */
    unsigned threads;
    double seconds;
    uint64_t seed;
    unsigned delay; /* one atomic step in so many yields or sleeps; 0: none (builds with steps) */
};
extern struct stress stress;

#define CHECK(condition) ((condition) ? (void)0 : stress_failed(__FILE__, __LINE__, #condition))
_Noreturn void stress_failed(const char *file, int line, const char *condition);

/* No thread but the program's own: weir's purger would sweep caches, and make what a step finds a
 * matter of time. Before the program has a second cache. */
void stress_alone(void);

uint64_t random_next(uint64_t *state);
/* 0 to below - 1. */
size_t random_below(uint64_t *state, size_t below);
/* Mostly small, as programs ask; at most `limit` (above 0), at least 1. */
size_t random_size(uint64_t *state, size_t limit);

/* True once the scenario's time is up. */
bool stress_over(void);
/* Starts the clock anew with so many seconds, for scenarios that go in rounds. */
void stress_restart(double seconds);

/* Runs body(number, &random) in stress.threads threads that start together; waits for all. */
void stress_run(void (*body)(unsigned number, uint64_t *random));

/* A block and what its holder wrote: a tag over all of it (over the edges of each page of large
 * ones). Two holders of one block, or a write by anyone else, show at the next check. */
struct held {
    unsigned char *block; /* NULL: none */
    size_t bytes;
    uint64_t tag;
};

void held_stamp(struct held *held, uint64_t tag);
void held_check(const struct held *held);
/* A new block of the family: malloc, calloc (zeros are checked) or aligned_alloc, stamped. NULL in
 * held->block if there is no memory and that is allowed. */
void held_new(struct held *held, size_t bytes, uint64_t *random, bool may_fail);
/* realloc; the contents up to the lesser size are checked. */
void held_resize(struct held *held, size_t bytes, uint64_t *random, bool may_fail);
/* Checks and frees, by free or free_sized. */
void held_free(struct held *held, uint64_t *random);

/* A place where one thread leaves a block for whoever comes next: lock-free. */
struct mailbox {
    _Atomic(struct letter *) letter;
};

/* Puts a block in and takes out what was there. The letter lies at the begin of the block itself,
 * so that the block's own memory carries it: blocks of at least MAILBOX_BYTES. */
#define MAILBOX_BYTES 64
struct held mailbox_exchange(struct mailbox *mailbox, struct held held);

/* Returns once weir's purger, if there is one, sleeps in its loop. A sanitizer's runtime has locks
 * at the birth of a thread that nobody would release in a child. Other threads must not be able to
 * start one: it is there already, or there are none. */
void stress_settle(void);

/* Settles, and runs body in a forked child, which ends by what body returns; a child that takes
 * more than `seconds` is killed, and that is a failure, as is any status but 0. */
void stress_child(int (*body)(void *), void *argument, unsigned seconds);

/* Waits for a child within its time; its status must be 0. */
void stress_wait(int pid, unsigned seconds);

/* A row of the table in main.c. */
struct scenario {
    const char *name;
    void (*run)(void);
    const char *meaning;
};

#ifdef STRESS_RCU /* the program on libweir-rcu has a scenario of its own */
#define SCENARIOS(X)                                                                               \
    X(deferred, "objects are replaced under RCU's readers, and their free is deferred")
#else
#define SCENARIOS(X)                                                                               \
    X(mixed, "each thread allocates, resizes and frees all kinds of blocks of its own")            \
    X(rings, "each thread frees what its neighbour allocated")                                     \
    X(bins, "few large blocks a slab, so that slabs fill, empty, retire and change class")         \
    X(slices, "runs of slices are claimed and released around word borders")                       \
    X(larges, "large objects grow, shrink, move and change hands")                                 \
    X(walks, "realloc goes up and down through all kinds, contents are checked")                   \
    X(churn, "threads are born and die, and leave blocks to others")                               \
    X(forks, "children of a process that allocates go on from any moment")                         \
    X(exits, "processes exit while their threads allocate")                                        \
    X(purges, "threads work, sleep and die while others give all memory back")                     \
    X(scarce, "kernel calls fail now and then")                                                    \
    X(options, "every option at its bounds and default")                                           \
    X(checks, "check mode, guard pages and hardening find nothing in correct programs")
#endif

#define SCENARIO_DECLARE(name, meaning) void scenario_##name(void);
SCENARIOS(SCENARIO_DECLARE)
#undef SCENARIO_DECLARE

#endif
