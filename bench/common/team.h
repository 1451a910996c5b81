/* Threads that start their work together, and how long it took them.
 *
 * Each thread sets up, calls team_start, works until its count is done or team_stopped says so,
 * calls team_end, and may verify after that. Time runs from the first thread's leaving the start
 * to the last one's end; set-up and verification do not count.
 */
#ifndef BENCH_COMMON_TEAM_H
#define BENCH_COMMON_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TEAM_THREADS_MAX 1024u

struct team {
    void (*work)(struct team *team, unsigned index);
    void *shared;              /* the work's */
    unsigned threads;          /* 1 to TEAM_THREADS_MAX */
    pthread_barrier_t start;   /* of the threads and the one that runs the team */
    _Atomic uint64_t first_ns; /* CLOCK_MONOTONIC: when the first thread left the start barrier */
    _Atomic uint64_t last_ns;  /* when the last one so far came to its end */
    _Alignas(128) atomic_bool stop;
};

/* CLOCK_MONOTONIC. */
uint64_t team_now_ns(void);

/* Runs `team->threads` threads of `team->work`, stops them after `seconds` (0: they end by
 * themselves) and returns the seconds between start and last end. A thread that cannot be started
 * ends the program with status 1. */
double team_run(struct team *team, double seconds);

void team_start(struct team *team);
void team_end(struct team *team);

/* relaxed: the flag publishes nothing. */
static inline bool team_stopped(struct team *team)
{
    return atomic_load_explicit(&team->stop, memory_order_relaxed);
}

#endif
