/* The public functions. Documented in weir/rcu.h. */
#include <urcu/flavor.h>

#include "weir/rcu.h"

#include "rcu/environment.h"
#include "rcu/gather.h"
#include "rcu/reclaimer.h"
#include "rcu/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wr_rcu_flavor *find(const struct rcu_flavor_struct *of)
{
    wr_rcu_flavor *flavor = wr_rcu_flavor_find(of);
    if (WR_UNLIKELY(flavor == NULL)) {
        fprintf(stderr, "weir-rcu: more than %d flavours of RCU in one process\n",
                WR_RCU_FLAVORS_MAX);
        abort();
    }
    return flavor;
}

__attribute__((constructor)) static void load(void)
{
    wr_rcu_environment_read();
}

/* There was no memory to note p. */
WR_COLD static void free_unnoted(wr_rcu_flavor *flavor, void *p)
{
    if (!wr_rcu_reclaimer_free_now(flavor, p)) {
        (void)wr_fetch_add_relaxed(&flavor->unrecorded, 1); /* a statistic */
    }
}

static void defer(wr_rcu_flavor *flavor, void *p)
{
    bool handed_over = false;
    if (p == NULL) {
        return;
    }
    if (WR_UNLIKELY(!wr_rcu_gather_push(flavor, p, &handed_over))) {
        free_unnoted(flavor, p);
    }
    if (WR_UNLIKELY(handed_over)) {
        wr_rcu_reclaimer_keep_limit(flavor);
    }
}

void weir_free_rcu_flavor(void *p, const struct rcu_flavor_struct *of)
{
    int saved = errno;
    defer(find(of), p);
    errno = saved;
}

void weir_free_rcu_batch_flavor(size_t n, void *const *ptrs, const struct rcu_flavor_struct *of)
{
    int saved = errno;
    wr_rcu_flavor *flavor = find(of);
    for (size_t i = 0; i < n; i++) {
        defer(flavor, ptrs[i]);
    }
    errno = saved;
}

int weir_rcu_barrier_flavor(const struct rcu_flavor_struct *of)
{
    int saved = errno;
    bool done = wr_rcu_reclaimer_barrier(find(of));
    errno = done ? saved : EDEADLK;
    return done ? 0 : -1;
}

void weir_rcu_thread_flush(void)
{
    int saved = errno;
    wr_rcu_gather_flush();
    wr_rcu_flavor *flavor;
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        if (wr_load_relaxed(&flavor->pending_objects) != 0) { /* in a child, its parent's too */
            wr_rcu_reclaimer_look(flavor);
        }
    }
    errno = saved;
}

int weir_rcu_limit_set(size_t bytes)
{
    if (bytes < WR_RCU_LIMIT_BYTES_MIN) {
        errno = EINVAL;
        return -1;
    }
    wr_store_relaxed(&wr_rcu_limit_bytes, bytes); /* a setting */
    return 0;
}

void weir_rcu_stall_set(unsigned milliseconds)
{
    wr_rcu_watch_set(milliseconds);
}

/* ---- statistics ---- */

static size_t difference(size_t put, size_t taken)
{
    return put > taken ? put - taken : 0; /* sums of different moments */
}

/* Relaxed throughout: figures, each true at some moment. */
static void add_flavor(weir_rcu_stats *stats, wr_rcu_flavor *flavor)
{
    size_t freed_objects = wr_load_relaxed(&flavor->freed_objects);
    size_t freed_bytes = wr_load_relaxed(&flavor->freed_bytes);
    size_t objects = wr_load_relaxed(&flavor->extra_objects);
    size_t bytes = wr_load_relaxed(&flavor->extra_bytes);
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        objects += wr_load_relaxed(&g->deferred_objects);
        bytes += wr_load_relaxed(&g->deferred_bytes);
    }
    stats->deferred_objects += difference(objects, freed_objects);
    stats->deferred_bytes += difference(bytes, freed_bytes);
    stats->freed_objects += freed_objects;
    stats->freed_bytes += freed_bytes;
    stats->peak_objects += wr_load_relaxed(&flavor->peak_objects);
    stats->peak_bytes += wr_load_relaxed(&flavor->peak_bytes);
    stats->grace_periods += wr_load_relaxed(&flavor->grace_periods);
    stats->batches += wr_load_relaxed(&flavor->batches);
    stats->hurried += wr_load_relaxed(&flavor->hurried);
    stats->limit_waits += wr_load_relaxed(&flavor->limit_waits);
    stats->limit_exceeded += wr_load_relaxed(&flavor->limit_exceeded);
    stats->stalls += wr_load_relaxed(&flavor->stalls);
    stats->unrecorded += wr_load_relaxed(&flavor->unrecorded);
}

int weir_rcu_stats_get(weir_rcu_stats *stats, size_t size)
{
    if (stats == NULL || size == 0) {
        errno = EINVAL;
        return -1;
    }
    weir_rcu_stats all = {.limit = wr_load_relaxed(&wr_rcu_limit_bytes)};
    wr_rcu_flavor *flavor;
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        add_flavor(&all, flavor);
    }
    memset(stats, 0, size);
    memcpy(stats, &all, size < sizeof all ? size : sizeof all);
    return 0;
}
