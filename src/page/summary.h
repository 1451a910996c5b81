/* A summary of 1024 bitmap words: which of them may be non-zero, so that the lowest is found in
 * three loads. The words ("leaves") belong to the caller; slices and central bins both use this.
 *
 * Invariant, at rest: leaf w != 0  =>  bit w of mid is set  =>  the mid word's bit of top is set.
 * A setter writes the leaf, then marks; a clearer unmarks, then looks at the leaf again and marks
 * once more if it has filled: of a setter and a clearer that meet, at least one sees the other,
 * since all four steps are seq_cst. Between a clearer's two steps the full leaves under its bit (up
 * to 64) can be overlooked; finders then just take other memory, and the child of a fork marks all
 * full leaves again. A summary bit without a leaf only costs a look.
 *
 * | operation      | with any other        | progress                                    |
 * | mark, unmark   | may run together      | wait-free                                   |
 * | next           | may run together      | wait-free; misses what is marked meanwhile  |
 * No pointers are followed, so nothing can be reused under an operation: no ABA. */
#ifndef WR_PAGE_SUMMARY_H
#define WR_PAGE_SUMMARY_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"

#define WR_SUMMARY_WORDS 1024u
#define WR_SUMMARY_MIDS  (WR_SUMMARY_WORDS / WR_WORD_BITS)

typedef struct wr_summary {
    _Atomic uint64_t top;                  /* bit m: mid[m] may be non-zero */
    _Atomic uint64_t mid[WR_SUMMARY_MIDS]; /* bit b of mid[m]: leaf 64 m + b may be non-zero */
} wr_summary;

_Static_assert(WR_SUMMARY_MIDS <= WR_WORD_BITS, "one top word covers all mid words");

/* The caller has just set a bit of leaf `word` with seq_cst order. */
void wr_summary_mark(wr_summary *summary, unsigned word);

/* The caller has just seen leaf `word` at zero. */
void wr_summary_unmark(wr_summary *summary, unsigned word, _Atomic uint64_t *leaf);

/* The lowest marked word from `from` on, or WR_SUMMARY_WORDS. */
unsigned wr_summary_next(wr_summary *summary, unsigned from);

/* Debug builds: the invariant above, while no other thread uses the summary. Leaf w is
 * leaves[w * stride]. */
void wr_summary_assert_valid(wr_summary *summary, _Atomic uint64_t *leaves, size_t stride);

#endif
