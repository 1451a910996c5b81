/* What the kernel says is resident of this process: its RSS, thread stacks and libraries included.
 *
 * Must not call the malloc under test: descriptors are opened once, text is read into buffers of
 * the caller's stack by pread(2). Any thread, once resident_open has returned.
 */
#ifndef BENCH_MEMORY_RESIDENT_H
#define BENCH_MEMORY_RESIDENT_H

#include <stdint.h>

struct resident {
    uint64_t rss_bytes;
    uint64_t lazy_bytes; /* part of rss_bytes: given up by MADV_FREE, taken when memory is short */
};

void resident_open(void);

/* RSS in bytes, in about a microsecond, from statm. On many cores the kernel's counter may lag
 * behind by some pages for each. */
uint64_t resident_now(void);

/* Exact: the kernel walks the page tables, some milliseconds for a GiB. */
struct resident resident_exact(void);

/* The greatest RSS so far in bytes. */
uint64_t resident_peak(void);

#endif
