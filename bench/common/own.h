/* Memory of the benchmark's own, straight from the kernel, so that its tables and counters neither
 * lie in the heap under test nor change its state. Any thread.
 */
#ifndef BENCH_COMMON_OWN_H
#define BENCH_COMMON_OWN_H

#include <stddef.h>

/* `bytes` zero bytes at a page boundary. Ends the program with status 1 for want of memory. */
void *own_map(size_t bytes);

/* Gives back what own_map returned for the same `bytes`. */
void own_unmap(void *start, size_t bytes);

#endif
