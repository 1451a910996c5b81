/* See team.h. */
#include "common/team.h"

#include "common/own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct member {
    struct team *team;
    unsigned index;
    pthread_t thread;
};

uint64_t team_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    member->team->work(member->team, member->index);
    return NULL;
}

void team_start(struct team *team)
{
    pthread_barrier_wait(&team->start);
    uint64_t now_ns = team_now_ns();
    uint64_t first_ns = atomic_load_explicit(&team->first_ns, memory_order_relaxed);
    /* relaxed: read after the join. Keeps the least; a failed exchange has read a newer one. */
    while (now_ns < first_ns &&
           !atomic_compare_exchange_weak_explicit(&team->first_ns, &first_ns, now_ns,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void team_end(struct team *team)
{
    uint64_t now_ns = team_now_ns();
    uint64_t last_ns = atomic_load_explicit(&team->last_ns, memory_order_relaxed);
    /* relaxed: read after the join. Keeps the greatest; a failed exchange has read a newer one. */
    while (now_ns > last_ns &&
           !atomic_compare_exchange_weak_explicit(&team->last_ns, &last_ns, now_ns,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

static void sleep_seconds(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

double team_run(struct team *team, double seconds)
{
    size_t bytes = team->threads * sizeof(struct member);
    struct member *members = own_map(bytes);
    pthread_barrier_init(&team->start, NULL, team->threads + 1);
    atomic_store_explicit(&team->stop, false, memory_order_relaxed);
    atomic_store_explicit(&team->first_ns, UINT64_MAX, memory_order_relaxed);
    atomic_store_explicit(&team->last_ns, 0, memory_order_relaxed);
    for (unsigned i = 0; i < team->threads; i++) {
        members[i].team = team;
        members[i].index = i;
        int error = pthread_create(&members[i].thread, NULL, member_main, &members[i]);
        if (error != 0) {
            fprintf(stderr, "thread %u of %u: %s\n", i, team->threads, strerror(error));
            exit(1);
        }
    }
    pthread_barrier_wait(&team->start);
    if (seconds > 0) {
        sleep_seconds(seconds);
        atomic_store_explicit(&team->stop, true, memory_order_relaxed);
    }
    for (unsigned i = 0; i < team->threads; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&team->start);
    own_unmap(members, bytes);
    uint64_t first_ns = atomic_load_explicit(&team->first_ns, memory_order_relaxed);
    uint64_t last_ns = atomic_load_explicit(&team->last_ns, memory_order_relaxed);
    return last_ns > first_ns ? (double)(last_ns - first_ns) / 1e9 : 0;
}
