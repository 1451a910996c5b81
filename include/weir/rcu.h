/* weir/rcu: frees that wait for the readers of RCU.
 *
 * A server that reads shared structures under liburcu may free what it unlinked only when every
 * reader that could still see it is gone: after a grace period. weir_free_rcu(p) does that for any
 * block of weir's: without a node in the object, without a callback. Pointers gather per thread; a
 * reclaimer thread waits one grace period for all that has gathered, and returns it in batches.
 *
 *     node *old = rcu_xchg_pointer(&table[i], fresh);
 *     weir_free_rcu(old);
 *
 * Flavour: as liburcu's own functions, by the header of liburcu included before this one. With
 * <urcu.h>, <urcu-bp.h>, <urcu-qsbr.h> (or URCU_API_MAP) the names below without _flavor are there;
 * the others take the flavour, &urcu_memb_flavor for example, as cds_lfht_new_flavor() does. A
 * process may use up to 8 at once.
 *
 * Library: libweir-rcu (pkg-config weir-rcu), on libweir and liburcu-common 0.13 or newer. The
 * blocks have to be weir's, so the process has weir as its malloc or calls weir_malloc. Threads:
 * every function may be called from any thread, registered as a reader or not, inside a read-side
 * section too, where not said otherwise. At the end of a thread its pointers go on. Fork: as for
 * liburcu, whose flavours but bp ask for all registrations to end before a fork without exec. What
 * was deferred before is freed in the parent by the parent, in the child once it calls a function
 * of these. Fork outside of read-side sections (in qsbr: offline). Signals: none of these functions
 * is async-signal-safe. The library's threads block all signals. Exit: what is still deferred goes
 * with the process; nothing is waited for. dlclose leaves the library where it is. Errno: kept by
 * all functions but where said otherwise. Environment: WEIR_RCU_LIMIT and WEIR_RCU_STALL set what
 * weir_rcu_limit_set and weir_rcu_stall_set do; ignored in secure-execution mode.
 */
#ifndef WEIR_RCU_H
#define WEIR_RCU_H

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rcu_flavor_struct; /* of <urcu/flavor.h> */

/* Frees `p` when all read-side sections of the flavour that have begun by now are over. NULL does
 * nothing. A free of another kind before that is a double free, and reported as one.
 * Blocks: over the limit the call waits, for up to a second, until enough is free; not inside a
 * read-side section (with qsbr: in an online thread), where the call goes on and
 * weir_rcu_stats.limit_exceeded counts it. Cost: constant otherwise. */
WEIR_API void weir_free_rcu_flavor(void *p, const struct rcu_flavor_struct *flavor) WEIR_NOEXCEPT;

/* The same for `n` pointers; the array is the caller's again on return. */
WEIR_API void weir_free_rcu_batch_flavor(size_t n, void *const *ptrs,
                                         const struct rcu_flavor_struct *flavor) WEIR_NOEXCEPT;

/* Returns when all that was deferred before, by any thread, is free. Returns 0, or -1 with errno
 * EDEADLK inside a read-side section, whose end it would wait for, or in a limit callback that the
 * library's own thread runs; an online thread of qsbr is
 * taken offline meanwhile, so to it the call is a quiescent state. Blocks: for a grace period and
 * more. */
WEIR_API int weir_rcu_barrier_flavor(const struct rcu_flavor_struct *flavor) WEIR_NOEXCEPT;

/* Hands the calling thread's pointers of all flavours over now, not when there are many or after
 * some milliseconds: for a thread that is about to sleep, or that wants memory back soon. */
WEIR_API void weir_rcu_thread_flush(void) WEIR_NOEXCEPT;

/* The most bytes that may be handed over and wait for their grace period, per flavour; what still
 * gathers in threads (up to 256 KiB each) is not in it. 64 MiB at first, and 64 KiB at least.
 * Returns 0, or -1 with errno EINVAL and nothing changed. */
WEIR_API int weir_rcu_limit_set(size_t bytes) WEIR_NOEXCEPT;

/* Milliseconds after which a grace period counts as stalled: then one line on stderr says so, as
 * Linux does. 10,000 at first; 0 for never. */
WEIR_API void weir_rcu_stall_set(unsigned milliseconds) WEIR_NOEXCEPT;

/* Sums over all flavours since the start of the process (or of the child of a fork). */
typedef struct weir_rcu_stats {
    size_t deferred_objects; /* that wait now, gathering ones too */
    size_t deferred_bytes;   /* likewise; usable bytes, as malloc_usable_size */
    size_t peak_objects;     /* most that were handed over and not yet free, by flavour */
    size_t peak_bytes;       /* likewise */
    size_t freed_objects;    /* freed after their grace period */
    size_t freed_bytes;      /* likewise */
    size_t grace_periods;    /* waited for */
    size_t batches;          /* handed over */
    size_t hurried;          /* rounds of the reclaimer that were asked for before their time */
    size_t limit;            /* as weir_rcu_limit_set */
    size_t limit_waits;      /* calls that waited for the limit */
    size_t limit_exceeded;   /* calls that went on above it */
    size_t stalls;           /* grace periods that were reported as stalled */
    size_t unrecorded;       /* objects that no memory was left to note, inside sections that could
                              * not wait: they are never freed */
} weir_rcu_stats;

/* Fills `*stats`, of which the caller knows `size` bytes, as weir_stats_get does. Returns 0, or -1
 * with errno EINVAL when `stats` is NULL or `size` is 0. Nobody waits; exact when nobody defers or
 * frees. Time: linear in the threads that ever deferred at once. */
WEIR_API int weir_rcu_stats_get(weir_rcu_stats *stats, size_t size) WEIR_NOEXCEPT;

#ifdef URCU_API_MAP

/* Once more, for where <urcu/flavor.h> came before the names were mapped to those of a flavour. */
extern const struct rcu_flavor_struct rcu_flavor;

static inline void weir_free_rcu(void *p)
{
    weir_free_rcu_flavor(p, &rcu_flavor);
}

static inline void weir_free_rcu_batch(size_t n, void *const *ptrs)
{
    weir_free_rcu_batch_flavor(n, ptrs, &rcu_flavor);
}

static inline int weir_rcu_barrier(void)
{
    return weir_rcu_barrier_flavor(&rcu_flavor);
}

#endif

#ifdef __cplusplus
}
#endif

#endif
