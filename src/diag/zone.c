/* See zone.h. */
#include "diag/zone.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"

#include <string.h>

/* Never 0, the byte that is most often written past an end, and not the same everywhere. */
static unsigned char zone_byte(uintptr_t address)
{
    return (unsigned char)(0x80 | ((address * 37) & 0x7f));
}

static _Atomic unsigned char fill_byte = 0xdd; /* relaxed: set while the process starts */

void wr_fill_use_zero(void)
{
    wr_store_relaxed(&fill_byte, 0);
}

wr_zones wr_zones_of(uintptr_t block, size_t block_bytes, uintptr_t start, size_t size)
{
    uintptr_t end = start + size;
    return (wr_zones){
        .front = wr_max(block, start - WR_CHECK_FRONT_MOST_BYTES),
        .start = start,
        .end = end,
        .rear = wr_min(block + block_bytes, end + WR_CHECK_REAR_MOST_BYTES),
    };
}

void wr_zone_paint(uintptr_t from, uintptr_t to)
{
    for (uintptr_t a = from; a < to; a++) {
        *(unsigned char *)a = zone_byte(a);
    }
}

static void add_damage(wr_damage *found, uintptr_t address)
{
    if (found->bytes == 0) {
        found->first = address;
    }
    found->bytes = address - found->first + 1;
}

wr_damage wr_zone_look(uintptr_t from, uintptr_t to)
{
    wr_damage found = {0};
    for (uintptr_t a = from; a < to; a++) {
        if (*(const unsigned char *)a != zone_byte(a)) {
            add_damage(&found, a);
        }
    }
    return found;
}

void wr_fill_paint(uintptr_t from, uintptr_t to)
{
    memset((void *)from, wr_load_relaxed(&fill_byte), to - from);
}

wr_damage wr_fill_look(uintptr_t from, uintptr_t to)
{
    wr_damage found = {0};
    unsigned char fill = wr_load_relaxed(&fill_byte);
    uintptr_t a = from;
    for (; a + sizeof(uint64_t) <= to && found.bytes == 0; a += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const void *)a, sizeof word);
        if (word != fill * UINT64_C(0x0101010101010101)) {
            break;
        }
    }
    for (; a < to; a++) {
        if (*(const unsigned char *)a != fill) {
            add_damage(&found, a);
        }
    }
    return found;
}
