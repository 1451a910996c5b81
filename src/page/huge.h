/* Transparent huge pages: used where the option thp asks for them, avoided where the system would
 * use them unasked, since one touched byte costs 2 MiB then, and a purge has to break pages up.
 *
 * Decided once, when the heap first grows beyond 1 MiB or a mapping of 2 MiB is made, so that a
 * small program reads no file for it. This file knows nothing of slices and mappings, only of
 * ranges. Threads: any; two that decide at once come to the same. Keeps errno. */
#ifndef WR_PAGE_HUGE_H
#define WR_PAGE_HUGE_H

#include "base/compiler.h"

/* True if the option asks for huge pages: then extents are whole ones, at multiples of their size.
 */
bool wr_huge_is_asked(void);

/* Tells the kernel about a new range of memory: huge pages, none, or nothing. */
void wr_huge_advise(uintptr_t start, size_t bytes);

/* Of the bits of 64 slices, those in huge pages whose slices are all set. */
uint64_t wr_huge_whole(uint64_t bits);

/* Decides anew, by the system that stands under root ("" but in tests). */
void wr_huge_decide(const char *root);

#endif
