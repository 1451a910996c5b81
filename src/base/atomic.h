/* Atomic operations with the memory order in the name; the only includer of stdatomic.h.
 *
 * wr_<operation>_<order>. Above each use stronger than relaxed stands what it publishes or observes
 * and `pairs with <function>`; relaxed ones need no order, and where that is not plain from the
 * data (a counter, a hint, a value that the same thread wrote) a comment says why.
 * seq_cst is for store-then-load pairs in two threads, of which one at least must see the other. */
#ifndef WR_BASE_ATOMIC_H
#define WR_BASE_ATOMIC_H

#include <stdatomic.h>

#include "base/step.h"

#define wr_load_relaxed(p) (WR_STEP(), atomic_load_explicit((p), memory_order_relaxed))
#define wr_load_acquire(p) (WR_STEP(), atomic_load_explicit((p), memory_order_acquire))
#define wr_load_seq_cst(p) (WR_STEP(), atomic_load_explicit((p), memory_order_seq_cst))

#define wr_store_relaxed(p, v) (WR_STEP(), atomic_store_explicit((p), (v), memory_order_relaxed))
#define wr_store_release(p, v) (WR_STEP(), atomic_store_explicit((p), (v), memory_order_release))
#define wr_store_seq_cst(p, v) (WR_STEP(), atomic_store_explicit((p), (v), memory_order_seq_cst))

/* For the fast path, which is counted in instructions: accesses in a form that compilers fold into
 * one instruction, as they do with no atomic access. `type` is that of the word, which a processor
 * loads and stores whole. ThreadSanitizer is told the truth.
 *     wr_load_folded  a relaxed load of a value that is used once
 *     wr_add_folded   a release store of what a word holds and `n` more, by the one thread that
 *                     writes it: no read-modify-write in the atomic sense. On other processors than
 *                     x86, where each store is a release store, it is written out. */
#if defined(__SANITIZE_THREAD__) || defined(WR_STEPS)
#define WR_ATOMIC_UNFOLDED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WR_ATOMIC_UNFOLDED 1
#endif
#endif
#ifdef WR_ATOMIC_UNFOLDED
#define wr_load_folded(type, p) wr_load_relaxed(p)
#else
#define wr_load_folded(type, p) (*(type const *)(const void *)(p))
#endif
#if defined(WR_ATOMIC_UNFOLDED) || !defined(__x86_64__)
#define wr_add_folded(type, p, n) wr_store_release((p), wr_load_relaxed(p) + (n))
#else
#define wr_add_folded(type, p, n) (wr_fence_compiler(), (void)(*(type *)(void *)(p) += (n)))
#endif

/* Orders what stands before it before all later stores. */
#define wr_fence_release() atomic_thread_fence(memory_order_release)

/* Orders all earlier loads before what stands behind it. */
#define wr_fence_acquire() atomic_thread_fence(memory_order_acquire)

/* Keeps the compiler from moving anything across. The processor's part comes from the other side:
 * os/barrier.h. */
#define wr_fence_compiler() atomic_signal_fence(memory_order_seq_cst)

#define wr_exchange_acquire(p, v)                                                                  \
    (WR_STEP(), atomic_exchange_explicit((p), (v), memory_order_acquire))
#define wr_exchange_release(p, v)                                                                  \
    (WR_STEP(), atomic_exchange_explicit((p), (v), memory_order_release))
#define wr_exchange_acq_rel(p, v)                                                                  \
    (WR_STEP(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))

#define wr_fetch_add_relaxed(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define wr_fetch_sub_relaxed(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_sub_explicit((p), (v), memory_order_relaxed))
#define wr_fetch_add_seq_cst(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_add_explicit((p), (v), memory_order_seq_cst))
#define wr_fetch_sub_seq_cst(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst))

#define wr_fetch_or_relaxed(p, v)                                                                  \
    (WR_STEP(), atomic_fetch_or_explicit((p), (v), memory_order_relaxed))
#define wr_fetch_or_acq_rel(p, v)                                                                  \
    (WR_STEP(), atomic_fetch_or_explicit((p), (v), memory_order_acq_rel))
#define wr_fetch_or_release(p, v)                                                                  \
    (WR_STEP(), atomic_fetch_or_explicit((p), (v), memory_order_release))
#define wr_fetch_or_seq_cst(p, v)                                                                  \
    (WR_STEP(), atomic_fetch_or_explicit((p), (v), memory_order_seq_cst))
#define wr_fetch_and_relaxed(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_and_explicit((p), (v), memory_order_relaxed))
#define wr_fetch_and_acq_rel(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))
#define wr_fetch_and_seq_cst(p, v)                                                                 \
    (WR_STEP(), atomic_fetch_and_explicit((p), (v), memory_order_seq_cst))

/* expected is a pointer; on failure it receives the value found (acquire order for acq_rel). */
#define wr_cas_weak_relaxed(p, expected, v)                                                        \
    (WR_STEP(), atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_relaxed,  \
                                                      memory_order_relaxed))
#define wr_cas_strong_relaxed(p, expected, v)                                                      \
    (WR_STEP(), atomic_compare_exchange_strong_explicit(                                           \
                    (p), (expected), (v), memory_order_relaxed, memory_order_relaxed))
#define wr_cas_weak_acq_rel(p, expected, v)                                                        \
    (WR_STEP(), atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_acq_rel,  \
                                                      memory_order_acquire))
#define wr_cas_strong_acq_rel(p, expected, v)                                                      \
    (WR_STEP(), atomic_compare_exchange_strong_explicit(                                           \
                    (p), (expected), (v), memory_order_acq_rel, memory_order_acquire))
#define wr_cas_weak_seq_cst(p, expected, v)                                                        \
    (WR_STEP(), atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_seq_cst,  \
                                                      memory_order_relaxed))

#endif
