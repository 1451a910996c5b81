/* Spans: runs of slices (or a mapping) in use as one thing, and their descriptors.
 *
 * A descriptor belongs to the slice that its span starts at, for ever: the next span that starts
 * there uses it again, and only a span that needs more bitmap words than it has room for replaces
 * it by one with twice the room at least (the old one stays readable). So descriptors are
 * type-stable and need no free list.
 *
 * States (kind): WR_SPAN_FREE -> SLAB | LARGE | MAPPED | FENCE by wr_span_open, by who has the
 * slices;
 * -> FREE by wr_span_close, by who has the last claim on it (the slab's owner, or the one caller
 * that wins wr_span_try_close).
 * This file knows nothing of how blocks or bytes inside are used. Threads: as said at each. */
#ifndef WR_PAGE_SPAN_H
#define WR_PAGE_SPAN_H

#include "page/region.h"

struct wr_bin;

typedef enum wr_span_kind {
    WR_SPAN_FREE = 0,
    WR_SPAN_SLAB,   /* equal blocks of one class: bin/ */
    WR_SPAN_LARGE,  /* one object on slices of the page heap: heap/large */
    WR_SPAN_MAPPED, /* one object on a mapping of its own: heap/large */
    WR_SPAN_FENCE,  /* a slice behind a slab that faults: bin/ */
} wr_span_kind;

typedef struct wr_span {
    /* Slab: count of free blocks and flags, see bin/slab.h; any thread. */
    _Atomic int64_t state;
    union {
        struct {
            /* Slab: the bin it belongs to; its owner, before blocks are handed out. */
            struct wr_bin *bin;
            /* Slab: shape of its blocks; as bin. */
            uint32_t block_bytes;
            uint32_t reciprocal;
        };
        struct {
            /* Mapping: bytes from start on that are charged (page/commit), also while it is kept,
             * at least `bytes` while in use; who holds it. */
            size_t committed_bytes;
            /* Mapping: bytes from start on that go into core dumps; likewise. */
            size_t dumped_bytes;
        };
    };
    /* Slab: likewise its shape. */
    uint16_t blocks;
    /* Bitmap words behind this struct; constant. */
    uint16_t word_room;
    /* Slab: parts of it that are purged, see bin/granule.h; its owner. Atomic for statistics. */
    _Atomic uint32_t absent;
    /* First byte; constant, since the descriptor stays with its slice. */
    uintptr_t start;
    /* Bytes in use for the caller (a slab: all); who holds the object. */
    size_t bytes;
    /* Bytes from start on that are this span's, at least `bytes`; as bytes. Atomic, since
     * wr_span_find may look at it for an address that is not in the span. */
    _Atomic size_t reserved_bytes;
    /* A wr_span_kind. */
    _Atomic uint8_t kind;
    /* Slab: its class, 0 otherwise; as bin. */
    uint8_t class;
    union {
        struct {
            /* Slab: it is its bin's spare; its owner. */
            uint8_t is_spare;
            /* Slab: a fence lies behind it; its owner. */
            uint8_t is_fenced;
        };
        struct {
            /* Mapping: for an alignment that no slices have; who holds the object. */
            uint8_t is_aligned;
            /* Mapping: how often it grew; likewise. */
            uint8_t growths;
        };
    };
    /* Slab: parts that were free at the last look; its owner. */
    uint32_t stale;
    /* Slab: bit set = block free in the slab; see bin/slab.h. */
    _Atomic uint64_t free_bits[];
} wr_span;

_Static_assert(sizeof(wr_span) == WR_CACHE_LINE_BYTES, "a descriptor's head is one line");

/* Bitmap words come by the cache line. */
#define WR_SPAN_LINE_WORDS ((unsigned)(WR_CACHE_LINE_BYTES * 8 / WR_WORD_BITS))

/* The descriptor of the slice at start, with room for `words` bitmap words; NULL when the kernel
 * refuses memory. The region exists; the caller has the slice. Its kind is WR_SPAN_FREE. */
wr_span *wr_span_obtain(uintptr_t start, unsigned words);

/* Puts a span in use: bytes and reserved_bytes as given, class marks (0 unless a slab) and head bit
 * set last. The caller has filled the other fields. */
void wr_span_open(wr_span *span, wr_span_kind kind, size_t bytes, size_t reserved_bytes);

/* From now on slabs show class mark 0, so that every call about one of their blocks takes the slow
 * path. */
void wr_span_hide_classes(void);

/* Takes it out of use; the caller still has its slices or mapping, and gives them on afterwards. */
void wr_span_close(wr_span *span);

/* The caller gives up addresses whose descriptor, out of use, it has looked at since. */
void wr_span_leave(wr_span *span);

/* wr_span_close for an object that two threads may wrongly free at once: true for one of them. */
bool wr_span_try_close(wr_span *span, wr_span_kind kind);

/* The span in use that an address lies in, or NULL. Reads nothing behind the address, so any
 * address will do; the answer stays true as long as the caller keeps the span from being freed. */
wr_span *wr_span_find(uintptr_t address);

/* Calls `visit` with the first slice of each span in use. One that is opened or closed meanwhile
 * may be missed, or out of use by then; its descriptor can be read all the same. */
typedef void wr_span_visit(wr_region *region, unsigned slice, void *context);
void wr_span_each(wr_span_visit *visit, void *context);

/* Charged bytes of all spans in use (page/commit), while no other thread opens or closes one. */
size_t wr_span_committed_bytes(void);

/* The descriptor of the slice that begins at address, in use or not; NULL if there never was one.
 */
wr_span *wr_span_at(uintptr_t address);

WR_INLINE wr_span_kind wr_span_kind_of(const wr_span *span)
{
    /* Relaxed: wr_span_find() has ordered it, or the caller holds the span. */
    return (wr_span_kind)wr_load_relaxed(&span->kind);
}

WR_INLINE size_t wr_span_reserved_bytes(const wr_span *span)
{
    /* Relaxed: as wr_span_kind_of(). */
    return wr_load_relaxed(&span->reserved_bytes);
}

WR_INLINE size_t wr_span_slices(const wr_span *span)
{
    return wr_divide_up(wr_span_reserved_bytes(span), WR_SLICE_BYTES);
}

#endif
