/* Zones: the bytes before and behind a checked block that nobody may write, and the fill of a freed
 * one. Each has a pattern; what differs from it was written.
 *
 * A zone's bytes depend on their address and are never 0, which is what is written past an end most
 * often. For who has the block: nobody else may paint or free it meanwhile. */
#ifndef WR_DIAG_ZONE_H
#define WR_DIAG_ZONE_H

#include "base/compiler.h"

/* A block of check mode and the program's bytes in it. */
typedef struct wr_zones {
    uintptr_t front; /* first byte of the front zone */
    uintptr_t start; /* of the program's bytes */
    uintptr_t end;   /* of those */
    uintptr_t rear;  /* one past the last byte of the rear zone */
} wr_zones;

/* Those of a block of block_bytes with size bytes of the program's from `start` on. */
wr_zones wr_zones_of(uintptr_t block, size_t block_bytes, uintptr_t start, size_t size);

/* Bytes that are not what they should be. */
typedef struct wr_damage {
    uintptr_t first;
    size_t bytes; /* from the first to the last; 0: none */
} wr_damage;

/* Gives a zone its pattern, and looks at it. */
void wr_zone_paint(uintptr_t from, uintptr_t to);
wr_damage wr_zone_look(uintptr_t from, uintptr_t to);

/* The same of the bytes of a freed block, which are set to a byte of its own, or to 0. */
void wr_fill_use_zero(void);
void wr_fill_paint(uintptr_t from, uintptr_t to);
wr_damage wr_fill_look(uintptr_t from, uintptr_t to);

#endif
