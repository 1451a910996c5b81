/* What the benchmark of deferred frees does in one flavour of RCU: the loops of its threads.
 *
 * way.c is compiled once for each flavour, since liburcu chooses one by the header included.
 * Threads: writers and readers run each loop in threads of their own; the rest is the main
 * thread's. Invariant: an object's bytes do not change between its publication in a slot and its
 * free.
 */
#ifndef BENCH_RCU_WAY_H
#define BENCH_RCU_WAY_H

#include "common/stamp.h"
#include "common/team.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAY_THREADS_MAX 256u

enum way_kind {
    WAY_FREE_RCU,  /* weir_free_rcu */
    WAY_CALL_RCU,  /* call_rcu, whose callback frees */
    WAY_DEFER_RCU, /* defer_rcu of free */
    WAY_AT_ONCE,   /* free with no grace period: wrong, to see that readers find it */
};

/* What one thread counts. Written by that thread alone. */
struct way_count {
    _Alignas(128) _Atomic uint64_t deferred; /* objects that it took out and deferred */
    uint64_t backlog_max;                    /* most objects deferred and not freed that it saw */
    uint64_t checked;                        /* objects that a reader held and found whole */
};

struct way_load {
    enum way_kind kind;       /* constant, as is all but counts, freed, writers_left and broken */
    unsigned writers;         /* the team's threads below this number; the others read */
    unsigned threads;         /* of the team */
    uint64_t objects;         /* that each writer replaces */
    unsigned least_shift;     /* sizes are even by their logarithm from 2^least_shift ... */
    unsigned greatest_shift;  /* ... to below 2^greatest_shift bytes */
    uint64_t seed;            /* of sizes and choices */
    unsigned pause_us;        /* a reader sleeps so long after each section; 0: not at all */
    _Atomic stamp_t *slots;   /* slot_count of them; all hold an object during the load */
    uint32_t slot_count;      /* a power of two */
    struct way_count *counts; /* of each thread */
    _Atomic uint64_t freed;   /* objects freed; exact once all are */
    atomic_uint writers_left; /* readers end when there is none */
    _Atomic(const char *) broken; /* what a reader found; NULL if nothing */
};

struct way_flavor {
    const char *name;
    bool has_free_rcu;                               /* built with weir's library */
    void (*work)(struct team *team, unsigned index); /* of a team whose shared is a way_load */
    void (*fill)(struct way_load *load);             /* an object into each slot */
    void (*drain)(struct way_load *load); /* returns when all that was deferred is free */
    void (*empty)(struct way_load *load); /* frees what the slots hold; no threads run */
};

extern const struct way_flavor way_memb;
extern const struct way_flavor way_mb;
extern const struct way_flavor way_qsbr;
extern const struct way_flavor way_bp;

#endif
