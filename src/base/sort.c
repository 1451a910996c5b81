/* See sort.h. */
#include "base/sort.h"

#include "base/assert.h"

#include <string.h>

/* Turns addresses that are in the opposite order, as those are that a stack gives back; false, and
 * nothing done, if they are in another. */
static bool turn(unsigned count, void **addresses)
{
    for (unsigned i = 1; i < count; i++) {
        if ((uintptr_t)addresses[i] > (uintptr_t)addresses[i - 1]) {
            return false;
        }
    }
    for (unsigned i = 0; i < count / 2; i++) {
        void *address = addresses[i];
        addresses[i] = addresses[count - 1 - i];
        addresses[count - 1 - i] = address;
    }
    return true;
}

bool wr_sort_is_done(unsigned count, void *const *addresses)
{
    for (unsigned i = 1; i < count; i++) {
        if ((uintptr_t)addresses[i] < (uintptr_t)addresses[i - 1]) {
            return false;
        }
    }
    return true;
}

/* Merges two sorted runs of `width` that lie one behind the other, from both ends at once. Of 2 w
 * addresses the w lowest come from the fronts and the w greatest from the backs, so neither run is
 * overrun and nothing is asked but which of two is lower: no branch that the order of the addresses
 * decides, which a processor would guess wrong half the time. */
static void merge(const uintptr_t *from, uintptr_t *to, unsigned width)
{
    unsigned left = 0;
    unsigned right = width;
    unsigned left_back = width - 1;
    unsigned right_back = 2 * width - 1;
    for (unsigned i = 0; i < width; i++) {
        uintptr_t a = from[left];
        uintptr_t b = from[right];
        unsigned from_right = b < a;
        to[i] = from_right ? b : a;
        right += from_right;
        left += 1 - from_right;
        a = from[left_back];
        b = from[right_back];
        unsigned from_left = a > b;
        to[2 * width - 1 - i] = from_left ? a : b;
        left_back -= from_left;
        right_back -= 1 - from_left;
    }
}

void wr_sort(unsigned count, void **addresses)
{
    WR_ASSERT(count <= WR_SORT_MOST);
    if (turn(count, addresses)) {
        return;
    }
    uintptr_t first[WR_SORT_MOST];
    uintptr_t second[WR_SORT_MOST];
    uintptr_t *from = first;
    uintptr_t *to = second;
    unsigned whole = 1; /* a power of two: runs come in pairs of equal length */
    while (whole < count) {
        whole *= 2;
    }
    memcpy(from, addresses, count * sizeof *from);
    for (unsigned i = count; i < whole; i++) {
        from[i] = UINTPTR_MAX;
    }
    for (unsigned width = 1; width < whole; width *= 2) {
        for (unsigned i = 0; i < whole; i += 2 * width) {
            merge(from + i, to + i, width);
        }
        uintptr_t *merged = to;
        to = from;
        from = merged;
    }
    memcpy(addresses, from, count * sizeof *from);
}
