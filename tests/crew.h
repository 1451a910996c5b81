/* A crew: threads that begin together, each with a number and random numbers of its own. */
#ifndef WEIR_TESTS_CREW_H
#define WEIR_TESTS_CREW_H

#include "support.h"

#include <pthread.h>

#define CREW_MAX 8

/* number counts from 0; *random is a state for random_next(). */
typedef void crew_body(unsigned number, uint64_t *random);

struct crew_member {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    crew_body *body;
    pthread_barrier_t *start;
};

static inline void *crew_enter(void *argument)
{
    struct crew_member *member = argument;
    pthread_barrier_wait(member->start);
    member->body(member->number, &member->random);
    return NULL;
}

/* Runs the body in `count` threads and waits for all of them. The seed is from test_seed(). */
static inline void crew_run(unsigned count, uint64_t seed, crew_body *body)
{
    struct crew_member members[CREW_MAX];
    pthread_barrier_t start;
    CHECK(count <= CREW_MAX);
    CHECK(pthread_barrier_init(&start, NULL, count) == 0);
    for (unsigned i = 0; i < count; i++) {
        members[i].number = i;
        members[i].random = seed + ((uint64_t)i << 32);
        members[i].body = body;
        members[i].start = &start;
        CHECK(pthread_create(&members[i].thread, NULL, crew_enter, &members[i]) == 0);
    }
    for (unsigned i = 0; i < count; i++) {
        CHECK(pthread_join(members[i].thread, NULL) == 0);
    }
    CHECK(pthread_barrier_destroy(&start) == 0);
}

#endif
