/* Mappings of large objects, from the kernel and back: how long they are, how many there are, and
 * what of them is charged to the committed bytes (page/commit).
 *
 * A mapping starts at a slice boundary and is whole slices long, so that neighbours of any size can
 * merge into one in the kernel; what lies behind the bytes asked for is address space alone.
 * Invariant of its descriptor, in use or kept: bytes <= committed_bytes <= length, and no byte from
 * committed_bytes on has been touched; bytes <= dumped_bytes <= length. This file knows nothing of
 * objects or of what is kept. Threads: each function has a mapping that is its caller's alone.
 * Progress: wait-free but for the kernel's time, and for make-room of page/extent. */
#ifndef WR_HEAP_MAPPING_H
#define WR_HEAP_MAPPING_H

#include "page/span.h"

/* Length of the mapping for an object of bytes. */
WR_INLINE size_t wr_mapping_length(size_t bytes)
{
    return wr_align_up(bytes, WR_SLICE_BYTES);
}

/* A new mapping for `bytes` (whole pages), which are charged. Returns its descriptor, free and with
 * nothing but start and the charge set; NULL, and nothing changed, when the limit or the kernel
 * refuses. */
wr_span *wr_mapping_create(size_t bytes, size_t alignment);

/* The descriptor for addresses that a mapping is to be moved to; NULL when the kernel refuses. */
wr_span *wr_mapping_describe(uintptr_t start);

/* Charges what `bytes` from the mapping's start on need beyond what is charged; false, and nothing
 * changed, if the limit forbids it. */
bool wr_mapping_commit(wr_span *span, size_t bytes);

/* The caller has given the page frames behind `bytes` back: they are charged no more. */
void wr_mapping_uncommit(wr_span *span, size_t bytes);

/* Address space in reserve behind `bytes` of `length` bytes is kept out of core dumps, if it is
 * large. Sets dumped_bytes. */
void wr_mapping_hide(wr_span *span, size_t bytes, size_t length);

/* Lets at least `bytes` of `length` bytes into core dumps, before they are used. */
void wr_mapping_show(wr_span *span, size_t bytes, size_t length);

/* The mapping was `before` bytes long and is `length` now: it has the huge pages, or is spared
 * them, as one made of that length. */
void wr_mapping_lengthened(const wr_span *span, size_t before, size_t length);

/* Returns a mapping, out of use, of `length` bytes to the kernel, or, where that will not have it,
 * its slices to the page heap. */
void wr_mapping_destroy(uintptr_t start, size_t length);

/* Charged bytes of a mapping out of use. */
size_t wr_mapping_committed_bytes(uintptr_t start);

/* True if there are so many mappings that more objects should go to the page heap. */
bool wr_mapping_is_crowded(void);

#endif
