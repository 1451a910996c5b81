/* The quarantine: freed blocks wait here, so that they are not handed out again at once and a write
 * to one is found when it leaves. First in, first out, as far as threads agree on an order; bounded
 * in blocks (WR_QUARANTINE_BLOCKS) and in bytes (option check_quarantine).
 *
 * A slot holds a block or nothing and changes by exchange, so a block has one holder: whoever got
 * it out releases it. No ABA: nothing is compared.
 *
 * | operation | progress                                                             |
 * | push      | lock-free: takes out others while there is too much                   |
 * | drain     | lock-free                                                             | */
#ifndef WR_DIAG_QUARANTINE_H
#define WR_DIAG_QUARANTINE_H

#include "base/compiler.h"

/* Gives back what leaves the quarantine; how many bytes it was pushed with. */
typedef size_t wr_quarantine_release(uintptr_t block);

/* Puts a block in. */
void wr_quarantine_push(uintptr_t block, size_t bytes, wr_quarantine_release *release);

/* Takes out all that is in it now; how many blocks. */
size_t wr_quarantine_drain(wr_quarantine_release *release);

/* Bytes in it; a statistic. */
size_t wr_quarantine_bytes(void);

#endif
