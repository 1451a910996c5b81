/* Verdicts: which block of check mode a pointer means, and the report of one that means none, or of
 * a call that does not fit its block.
 *
 * Reads records and descriptors, never the program's memory but zones. Threads: any; what is told
 * of a block that another thread frees meanwhile is a hint. */
#ifndef WR_DIAG_VERDICT_H
#define WR_DIAG_VERDICT_H

#include "diag/check.h"
#include "diag/shadow.h"
#include "diag/zone.h"
#include "page/span.h"

/* A block of check mode. */
typedef struct wr_place {
    uintptr_t block; /* in the heap */
    size_t bytes;    /* of the block */
    wr_record *record;
} wr_place;

/* The program's address and bytes in it. Relaxed: shadow.h. */
WR_INLINE uintptr_t wr_place_address(const wr_place *at)
{
    return wr_load_relaxed(&at->record->address);
}

WR_INLINE size_t wr_place_size(const wr_place *at)
{
    return wr_load_relaxed(&at->record->size);
}

WR_INLINE wr_zones wr_place_zones(const wr_place *at)
{
    return wr_zones_of(at->block, at->bytes, wr_place_address(at), wr_place_size(at));
}

/* The block that an address of the span lies in; false if there is none or it is of before. */
bool wr_place_find(const wr_span *span, uintptr_t address, wr_place *at);

typedef enum wr_verdict { WR_IS_BLOCK, WR_IS_OF_BEFORE, WR_IS_WRONG } wr_verdict;

/* Finds the block of a pointer that a program passes, and reports one that is none. */
wr_verdict wr_verdict_of(const wr_check_call *call, const void *ptr, wr_place *at);

/* Reports a block that is freed again. */
void wr_verdict_double_free(const wr_check_call *call, uintptr_t address, const wr_place *at);

/* Reports what the call says and the block is not; for who has the block. */
void wr_verdict_compare(const wr_check_call *call, const wr_place *at);

/* Looks at both zones, reports what was written there, and paints them again; true if they were
 * whole. For who has the block. `call`: that found it, or NULL, and then `subject` is named. */
bool wr_verdict_zones(const char *subject, const wr_check_call *call, const wr_place *at);

/* The same of the fill of a freed block, which is left as it is. */
bool wr_verdict_fill(const char *subject, const wr_place *at);

#endif
