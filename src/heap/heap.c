/* See heap.h. */
#include "heap/heap.h"

#define BIN(class_number)                                                                          \
    {                                                                                              \
        .heap = &wr_heap_default, .class = (class_number)                                          \
    }
#define BINS_4(n)  BIN(n), BIN((n) + 1), BIN((n) + 2), BIN((n) + 3)
#define BINS_16(n) BINS_4(n), BINS_4((n) + 4), BINS_4((n) + 8), BINS_4((n) + 12)

wr_heap wr_heap_default = {
    .bins = {BINS_16(0), BINS_16(16), BINS_16(32), BINS_4(48), BIN(52), BIN(53), BIN(54)},
};

_Static_assert(WR_CLASS_COUNT == 55, "one initialiser per class");
