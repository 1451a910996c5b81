/* Traces of the malloc family: the text format, which record.c writes, and its reader. Main reads a
 * trace before any thread starts; a loaded trace is read only.
 */
#ifndef BENCH_WORKLOADS_TRACE_H
#define BENCH_WORKLOADS_TRACE_H

#include <stddef.h>
#include <stdint.h>

/* The format. One event a line; numbers are hexadecimal without prefix, sizes in bytes. Lines may
 * stand in any order; `#` begins a line that is a comment.
 *
 *   ORDER THREAD m BLOCK BYTES                   malloc
 *   ORDER THREAD c BLOCK BYTES                   calloc, BYTES in all
 *   ORDER THREAD a BLOCK BYTES ALIGN             aligned_alloc, posix_memalign, memalign
 *   ORDER THREAD r BLOCK BYTES OLD RELEASED      realloc of OLD, which ended at RELEASED
 *   ORDER THREAD f BLOCK                         free
 *
 * ORDER and RELEASED number what happened, each number once; gaps are allowed. What gives a block
 * up is numbered before the call, what brings one after it; so a realloc has two, and RELEASED may
 * be left out if nothing came between. THREAD counts from 0. BLOCK and OLD name a block by any
 * number, say its address, which is free for another block once this one is given up.
 *
 * The reader forgets the end of a block whose beginning is not in the trace.
 */

#define TRACE_NO_BLOCK UINT32_MAX

/* Blocks are numbered anew here, each one once, from 0. */
struct trace_event {
    char kind;          /* the letter; a realloc of nothing known is an m */
    uint8_t log2_align; /* of an a */
    uint32_t thread;
    uint32_t block; /* that it brings, or TRACE_NO_BLOCK */
    uint32_t old;   /* that it gives up, or TRACE_NO_BLOCK */
    size_t bytes;   /* of the block that it brings */
};

/* All fields are read only once loaded. */
struct trace {
    struct trace_event *events; /* in order */
    size_t count;
    size_t threads; /* one more than the greatest number */
    size_t blocks;  /* brought by all events together */
    size_t skipped; /* events forgotten */
};

/* Reads a trace. Ends the program with status 2 if it is none. */
void trace_load(struct trace *trace, const char *path);

/* Writes it in the same format, in order, with the least numbers that do. */
void trace_write(const struct trace *trace, const char *path);

#endif
