/* Sorting pointers by address, so that a batch of frees finds neighbours together. Knows nothing of
 * what they point to. Linear: a pass for each byte in which the addresses differ. */
#ifndef WR_RCU_ORDER_H
#define WR_RCU_ORDER_H

#include <stddef.h>

/* Sorts n pointers, ascending; `other` is room for as many. Returns the array that they are in
 * then, one of both. */
void **wr_rcu_order(void **pointers, void **other, size_t n);

#endif
