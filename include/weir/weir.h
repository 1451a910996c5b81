/* weir: a malloc for multithreaded servers on Linux.
 *
 * Every function of the malloc family under its own name, and what the standard family lacks.
 * libweir.so and libweir.a export the libc names (malloc, free, ...) and the C++ operators new and
 * delete as well; libweir_plain.a has only the names below.
 *
 * Any pointer that one of these functions, a libc name of weir or an operator new of weir returned
 * may be freed, resized and asked about by any other name of the family.
 *
 * Threads: every function may be called from any thread at any time, in constructors, destructors,
 *   thread-specific-data destructors and atexit handlers too. A block may be freed by any thread.
 * Fork: the child of a multithreaded process may use every function at once.
 * Signals: none of these functions is async-signal-safe (as malloc(3): "MT-Safe", not "AS-Safe").
 * Errno: a call that succeeds and every kind of free leave errno as it was. A call that fails for
 *   want of memory returns NULL with errno ENOMEM and changes nothing.
 * Sizes are in bytes. A request above PTRDIFF_MAX fails with ENOMEM. A request of 0 bytes gives a
 *   unique pointer that may be freed.
 * Alignment: 16 bytes from 16 bytes up; smaller blocks are aligned for any object that fits.
 * Cost: constant time where not said otherwise.
 */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <stddef.h>

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

#if defined(__GNUC__)
#define WEIR_API          __attribute__((visibility("default")))
#define WEIR_MALLOC       __attribute__((malloc, warn_unused_result))
#define WEIR_SIZED(n)     __attribute__((alloc_size(n)))
#define WEIR_SIZED2(n, m) __attribute__((alloc_size(n, m)))
#define WEIR_ALIGNED(n)   __attribute__((alloc_align(n)))
#define WEIR_USED         __attribute__((warn_unused_result))
#else
#define WEIR_API
#define WEIR_MALLOC
#define WEIR_SIZED(n)
#define WEIR_SIZED2(n, m)
#define WEIR_ALIGNED(n)
#define WEIR_USED
#endif

#ifdef __cplusplus
#define WEIR_NOEXCEPT noexcept
extern "C" {
#else
#define WEIR_NOEXCEPT
#endif

/* ---- C17 and C23 ------------------------------------------------------------------------- */

/* A block of at least `size` bytes, contents indeterminate. C17 7.22.3.4, malloc(3).
 * Returns the block, or NULL with errno ENOMEM. */
WEIR_API void *weir_malloc(size_t size) WEIR_NOEXCEPT WEIR_MALLOC WEIR_SIZED(1);

/* A block of `count` times `size` bytes, all zero. C17 7.22.3.2, malloc(3).
 * Returns the block, or NULL with errno ENOMEM, also when the product overflows.
 * Memory fresh from the kernel is not written again. */
WEIR_API void *weir_calloc(size_t count, size_t size) WEIR_NOEXCEPT WEIR_MALLOC WEIR_SIZED2(1, 2);

/* The object `ptr` at a new size; contents are kept up to the lesser of both. C17 7.22.3.5,
 * malloc(3). `ptr` NULL is weir_malloc(size); `size` 0 with a non-null `ptr` frees it and returns
 * NULL, errno untouched (as glibc). On failure NULL with errno ENOMEM, and `ptr` stays as it was.
 * Time: linear in the size when a block moves; large objects move by page tables, not by copying.
 */
WEIR_API void *weir_realloc(void *ptr, size_t size) WEIR_NOEXCEPT WEIR_USED WEIR_SIZED(2);

/* Gives a block back. NULL is allowed. Keeps errno (POSIX.1-2024). C17 7.22.3.3, malloc(3).
 * A pointer that is no live block is undefined behaviour; where weir finds it out it prints one
 * line on stderr and aborts. */
WEIR_API void weir_free(void *ptr) WEIR_NOEXCEPT;

/* weir_free for a block whose size the caller knows: `size` is what was asked of malloc, calloc or
 * realloc (for calloc the product; for weir_alloc_at_least anything from the size asked to the
 * actual size). Faster than weir_free. C23 7.24.3.4. */
WEIR_API void weir_free_sized(void *ptr, size_t size) WEIR_NOEXCEPT;

/* The same for a block of weir_aligned_alloc(alignment, size). C23 7.24.3.5. */
WEIR_API void weir_free_aligned_sized(void *ptr, size_t alignment, size_t size) WEIR_NOEXCEPT;

/* A block of `size` bytes at a multiple of `alignment`, a power of two up to 1 GiB and beyond as
 * far as addresses last. C17 7.22.3.1. Returns NULL with errno EINVAL when `alignment` is no power
 * of two, with ENOMEM for want of memory. `size` need not be a multiple of `alignment`. */
WEIR_API void *weir_aligned_alloc(size_t alignment, size_t size) WEIR_NOEXCEPT WEIR_MALLOC
    WEIR_ALIGNED(1) WEIR_SIZED(2);

/* ---- POSIX and GNU ----------------------------------------------------------------------- */

/* weir_realloc(ptr, count * size); an overflow of the product gives NULL with errno ENOMEM.
 * POSIX.1-2024, malloc(3). */
WEIR_API void *weir_reallocarray(void *ptr, size_t count, size_t size) WEIR_NOEXCEPT WEIR_USED
    WEIR_SIZED2(2, 3);

/* Stores in `*memptr` a block of `size` bytes at a multiple of `alignment`, a power of two and
 * multiple of sizeof(void *). POSIX.1-2024, posix_memalign(3).
 * Returns 0, EINVAL or ENOMEM; errno is untouched, and `*memptr` too unless 0 is returned. */
WEIR_API int weir_posix_memalign(void **memptr, size_t alignment,
                                 size_t size) WEIR_NOEXCEPT WEIR_USED;

/* weir_aligned_alloc under its older name. posix_memalign(3). */
WEIR_API void *weir_memalign(size_t alignment, size_t size) WEIR_NOEXCEPT WEIR_MALLOC
    WEIR_ALIGNED(1) WEIR_SIZED(2);

/* A block at a page boundary; pvalloc rounds `size` up to whole pages (0 to one page).
 * posix_memalign(3). Returns NULL with errno ENOMEM on failure. */
WEIR_API void *weir_valloc(size_t size) WEIR_NOEXCEPT WEIR_MALLOC WEIR_SIZED(1);
WEIR_API void *weir_pvalloc(size_t size) WEIR_NOEXCEPT WEIR_MALLOC;

/* Bytes in the block `ptr`, at least what was asked for; 0 for NULL. A diagnostic: to use the
 * surplus, ask for it by weir_alloc_at_least. malloc_usable_size(3). */
WEIR_API size_t weir_malloc_usable_size(const void *ptr) WEIR_NOEXCEPT;

/* mallopt(3): M_MMAP_THRESHOLD (-3) pins the mmap threshold in bytes, 0 to 32 MiB. The other
 * parameters that mallopt(3) names are accepted and have no effect, since weir has nothing that
 * they could set. Returns 1, or 0 for a parameter or value it does not know. */
WEIR_API int weir_mallopt(int parameter, int value) WEIR_NOEXCEPT;

/* malloc_trim(3): weir_purge(WEIR_PURGE_ALL), but that `pad` bytes of free slices, and of the end
 * of the data segment, may stay. Returns 1 if anything was given back, else 0. */
WEIR_API int weir_malloc_trim(size_t pad) WEIR_NOEXCEPT;

/* ---- weir's own -------------------------------------------------------------------------- */

/* Up to `n` blocks of `size` bytes into `out`. Returns how many were allocated; with fewer than
 * `n`, errno is ENOMEM, and the rest of `out` is untouched. Cheaper than n single calls. */
WEIR_API size_t weir_malloc_batch(size_t size, size_t n, void **out) WEIR_NOEXCEPT WEIR_USED;

/* Frees `n` blocks of any sizes and origins; NULL entries are allowed. `ptrs` may be permuted. Many
 * blocks are cheaper than by single calls, most of all where neighbours stand near each other. */
WEIR_API void weir_free_batch(size_t n, void **ptrs) WEIR_NOEXCEPT;

/* A block of at least `size` bytes, all of which may be used: their number goes to `*actual`.
 * As std::allocator::allocate_at_least (C++23). On failure NULL with errno ENOMEM, `*actual`
 * untouched. */
WEIR_API void *weir_alloc_at_least(size_t size, size_t *actual) WEIR_NOEXCEPT WEIR_MALLOC
    WEIR_SIZED(1);

/* The bytes that a request of `size` would really get, but where a limit leaves less; `size` itself
 * above PTRDIFF_MAX. */
WEIR_API size_t weir_good_size(size_t size) WEIR_NOEXCEPT;

/* How far weir_purge goes. */
#define WEIR_PURGE_DUE  0 /* what the decay time says is due */
#define WEIR_PURGE_FREE 1 /* all memory that is free as a whole: slices, slabs, kept mappings */
#define WEIR_PURGE_ALL                                                                             \
    2 /* also blocks in the caches of all threads, whether they sleep or run, free                 \
       * pages among blocks in use, and the end of the data segment */

/* Gives memory that the program has freed back to the kernel, now, as far as `level` says. Returns
 * the bytes given back; 0 with errno EINVAL for another level. Threads: from any, for all; while
 * one is at it, another does what is left. Other threads do not wait; one block a size class may
 * stay with each. Where the kernel has no membarrier(2) their caches stay as they are. Time: linear
 * in the free memory and in the threads. */
WEIR_API size_t weir_purge(int level) WEIR_NOEXCEPT;

/* Makes `ptr` hold `size` bytes without moving it. Returns 1, or 0 if that cannot be done, and
 * then nothing has changed; errno is untouched. A later weir_free_sized takes the new size.
 * NULL gives 0. */
WEIR_API int weir_resize_in_place(void *ptr, size_t size) WEIR_NOEXCEPT;

/* Committed bytes: memory for objects that weir holds from the kernel and that may have page
 * frames. That is: 64 KiB slices in use or free and not purged since, and large mappings in use or
 * kept, as far as they have been in use. Exact at every moment, whatever other threads do. Not in
 * it: weir's own tables (about 1 MiB of addresses for each 4 GiB window of memory, of which few
 * pages are used, a cache of 64 KiB of addresses a thread, and a line of 64 bytes and more for each
 * slab or large object), and what the program maps by itself. */
WEIR_API size_t weir_committed(void) WEIR_NOEXCEPT;

/* Limits on the committed bytes; 0 is none. The options WEIR_LIMIT_SOFT and WEIR_LIMIT_HARD set the
 * first ones. Returns 0, or -1 with errno EINVAL when `soft` is above `hard`, and then nothing has
 * changed. Memory above a new limit is given back at once as far as it is free.
 * `hard` is never exceeded: a call that needs more has free memory given back to the kernel, and
 * fails with ENOMEM (operator new: std::bad_alloc) if that is not enough. Memory that is there
 * already may always be used: small blocks from slabs that have room, free slices not purged since.
 * `soft`: the call that crosses it from below succeeds, and before it returns weir gives all free
 * memory back to the kernel and, if that is not enough, calls back (weir_limit_callback_set). A
 * soft limit that is set below what is committed counts as crossed. Two threads that set limits at
 * once may leave one's soft with the other's hard limit. Time: linear in the free memory when there
 * is more than a limit. */
WEIR_API int weir_limit_set(size_t soft, size_t hard) WEIR_NOEXCEPT;

/* The limits; 0 is none. Neither pointer may be NULL. */
WEIR_API void weir_limit_get(size_t *soft, size_t *hard) WEIR_NOEXCEPT;

/* What weir calls when the soft limit is crossed: with the committed bytes of that moment, which
 * are above it, and the argument given. In the thread that crossed it, at the end of its call,
 * outside of every lock of weir's. It may allocate and free, and it must return: no longjmp,
 * exception or exit of the thread. It runs in one thread at a time and never in itself; it is
 * called once for a crossing, and again only when committed has fallen to the limit or below and
 * risen above it. What crosses while it runs is one crossing with that. errno is kept for the
 * interrupted call. */
typedef void weir_limit_callback(size_t committed, void *argument);

/* Sets the callback; `function` NULL for none. A call that is under way goes on with the one
 * before. Returns 0, or -1 with errno ENOMEM and nothing changed. A pair of function and argument
 * costs 64 bytes for good the first time that it is set. */
WEIR_API int weir_limit_callback_set(weir_limit_callback *function, void *argument) WEIR_NOEXCEPT;

/* ---- statistics -------------------------------------------------------------------------- */

/* What weir holds from the kernel, and where memory that the program has freed waits. Sizes are in
 * bytes. docs/memory.md tells how memory moves between these. */
typedef struct weir_stats {
    size_t committed;     /* as weir_committed */
    size_t mapped;        /* addresses from the kernel, with or without page frames; tables too */
    size_t mapped_peak;   /* the most that was ever mapped */
    size_t dirty;         /* free slices with page frames; in committed */
    size_t lazy;          /* free slices that the kernel may take (MADV_FREE); in committed */
    size_t kept;          /* freed mappings that wait for reuse; in committed as far as used */
    size_t absent;        /* pages given back among blocks in use; not in committed */
    size_t given_back;    /* all that ever went back to the kernel: purged or unmapped */
    size_t caches;        /* caches of threads that were ever made, each used by many in turn */
    size_t caches_in_use; /* those that a thread has now */
    size_t cache_room;    /* bytes of blocks that all caches may hold, beyond a few a class */
    size_t slow_calls;    /* calls that left the fast path */
    size_t served;        /* bytes of blocks that bins gave to caches, and of large objects */
    size_t limit_soft;    /* as weir_limit_get */
    size_t limit_hard;    /* likewise */
    int background;       /* 1 if a thread of weir's gives memory back, else 0 */
    int sweepable;        /* 1 if blocks in caches of other threads can be reached, else 0: the
                             kernel has no membarrier(2) */
} weir_stats;

/* Fills `*stats`, of which the caller knows `size` bytes: sizeof *stats. Fields that a later weir
 * adds come behind these; what weir does not know is set to 0. Returns 0, or -1 with errno EINVAL
 * when `stats` is NULL or `size` is 0. Nobody waits: each figure was true at some moment of the
 * call, and exact when no other thread allocates or frees. Time: linear in the caches. */
WEIR_API int weir_stats_get(weir_stats *stats, size_t size) WEIR_NOEXCEPT;

/* What a size class holds. */
typedef struct weir_class_stats {
    size_t block_size;  /* bytes of a block */
    size_t slabs;       /* runs of slices cut into such blocks */
    size_t blocks;      /* blocks in those, free or not */
    size_t free_blocks; /* those that are free in their slab; blocks in caches count as in use */
    size_t absent;      /* bytes of the slabs that are given back, blocks there being free */
    int sparse;         /* 1 while frees of the class go past the caches, so that slabs empty */
} weir_class_stats;

/* The same for size class number `n`, from 0 (the smallest blocks) up. Returns 0, or -1 with errno
 * EINVAL for a number beyond the last class, when `stats` is NULL, or `size` is 0. Time: linear in
 * the slabs, large objects, and 4 GiB windows of memory. */
WEIR_API int weir_class_stats_get(unsigned n, weir_class_stats *stats, size_t size) WEIR_NOEXCEPT;

/* Verifies the heap: weir's own tables and descriptors, and in check mode (docs/check-mode.md) also
 * the zones around all blocks, and the freed blocks in the quarantine, which it empties. Prints one
 * line on standard error for each fault, and in check mode does what that is set to do. Returns how
 * many faults there were; 0 is a heap that is whole. With `alone` other than 0 the caller says that
 * no other thread is in a call of weir's meanwhile, and counts are verified too. Threads: from any;
 * nobody waits, but in check mode who frees the block that is being looked at. Time: linear in the
 * memory in use. */
WEIR_API size_t weir_heap_check(int alone) WEIR_NOEXCEPT;

/* 1 if `ptr` points into memory that weir manages (a slab or a large object in use), else 0.
 * Takes any pointer and reads nothing behind it. */
WEIR_API int weir_owns(const void *ptr) WEIR_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
