/* Memory on its way back to the kernel. A thread that claims free memory to give it back has it in
 * hand for the time of a system call: nobody else finds it free, and it is charged still
 * (page/commit.h). So that no request fails at the hard limit for the sake of such a moment, the
 * threads that have some in hand are counted, and who was refused waits for them.
 *
 * | operation  | with any other   | progress                                                  |
 * | begin, end | may run together | wait-free, lock-free                                      |
 * | await      | may run together | blocking, for a millisecond                               |
 * A count: no ABA. */
#ifndef WR_PAGE_GIVEBACK_H
#define WR_PAGE_GIVEBACK_H

#include "base/compiler.h"

/* Begin comes before the claim, end after the refund, or after the memory is free again. They nest.
 */
void wr_giveback_begin(void);
void wr_giveback_end(void);

/* For who was refused, and has nothing left to give back itself: true if another thread is giving
 * memory back, after a sleep of a millisecond at most; false if none is: then all that was refunded
 * or freed before is seen to be. Keeps errno. */
bool wr_giveback_await(void);

/* After fork, in the child: what dead threads were giving back is forgotten. */
void wr_giveback_recover(void);

#endif
