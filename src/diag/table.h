/* Tables of check mode: mapped when first used, by whoever comes first, and never unmapped.
 *
 * Not static data, so that a program without check mode has no part in them. Lock-free: of two that
 * map at once one's goes back to the kernel. */
#ifndef WR_DIAG_TABLE_H
#define WR_DIAG_TABLE_H

#include "base/atomic.h"
#include "base/compiler.h"

/* *table: bytes (whole slices) of zero memory; NULL when the kernel refuses it. `name` is that in
 * /proc/self/maps. */
void *wr_table_obtain(_Atomic(void *) *table, size_t bytes, const char *name);

/* The same; NULL where nobody has obtained it. */
WR_INLINE void *wr_table_find(_Atomic(void *) *table)
{
    /* Observes the table as it was made; pairs with wr_table_obtain(). */
    return wr_load_acquire(table);
}

#endif
