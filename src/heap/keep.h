/* Kept mappings: freed large memory that waits for reuse, since a fresh page costs about 2 us.
 *
 * A fixed number of slots, each one atomic word that says all there is to know of a mapping:
 *     63                                32 31                                 0
 *     +----------------------------------+------------------------------------+
 *     | slice number of its start        | length in pages                    |
 *     +----------------------------------+------------------------------------+
 * 0 is an empty slot. A slot's word changes by one CAS or exchange, and whoever removed it has the
 * mapping. A slot that emptied and got the same word again holds the same mapping: no ABA.
 * Bytes kept stay under the option large_keep, but for what is being put in at the moment.
 *
 * | operation      | progress                                                    |
 * | put            | wait-free: at most a pass over the slots for each slot      |
 * | take, all      | wait-free: one pass over the slots                          |
 * All but for the kernel's time. */
#ifndef WR_HEAP_KEEP_H
#define WR_HEAP_KEEP_H

#include "base/compiler.h"

typedef struct wr_kept {
    uintptr_t start; /* 0 when there is none */
    size_t bytes;
} wr_kept;

/* Keeps the mapping (from a slice boundary, whole pages), or returns it to the kernel; to make room
 * others are returned. Its charge stays as its descriptor says (heap/mapping). */
void wr_keep_put(uintptr_t start, size_t bytes);

/* Takes the smallest kept mapping of at least `bytes` and at most `most` that starts at a multiple
 * of alignment (a power of two). */
wr_kept wr_keep_take(size_t bytes, size_t most, size_t alignment);

/* Returns kept mappings to the kernel, oldest first, as long as keep_bytes are left; how many
 * bytes that were. */
size_t wr_keep_release_to(size_t keep_bytes);

/* Returns all kept mappings to the kernel; how many bytes that were. */
size_t wr_keep_release_all(void);

/* After fork, in the child: counts anew what is kept. */
void wr_keep_recover(void);

/* Charged bytes (page/commit) of what is kept, while no other thread puts or takes. */
size_t wr_keep_committed_bytes(void);

/* Bytes kept now; a statistic. */
size_t wr_keep_bytes(void);

#endif
