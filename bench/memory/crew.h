/* Threads on stacks straight from the kernel, so that their cost can be told and does not depend on
 * what the C library keeps of earlier threads' stacks. Main starts and joins; each stack has a page
 * below it that cannot be touched.
 */
#ifndef BENCH_MEMORY_CREW_H
#define BENCH_MEMORY_CREW_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define CREW_THREADS_MAX 20000u
#define CREW_STACK_BYTES ((size_t)1 << 20) /* for a thread that need not be small */

typedef void crew_body(void *context, unsigned index);

struct crew_member;

struct crew {
    crew_body *body;
    void *context;               /* the body's */
    struct crew_member *members; /* one per thread */
    char *stacks;                /* of all threads, one behind the other */
    size_t stack_bytes;          /* of each, with its guard page */
    unsigned threads;
};

/* Starts `threads` threads that run `body`. Ends the program if one cannot be started. */
void crew_start(struct crew *crew, unsigned threads, size_t stack_bytes, crew_body *body,
                void *context);

/* Waits for all, and gives the stacks back. */
void crew_join(struct crew *crew);

/* Bytes of all stacks that are resident; the thread-local variables of libraries lie there too. */
uint64_t crew_stack_bytes(const struct crew *crew);

/* Sleeps, through signals too. */
void crew_sleep(double seconds);

#endif
