/* Facts about the process and the machine: page size, secure mode, environment, the dynamic
 * linker's image, resident memory, time.
 *
 * None of these functions allocates; all keep errno. Threads: any. Sources: getauxval(3),
 * environ(7), proc(5), elf(5), clock_gettime(2). */
#ifndef WR_OS_HOST_H
#define WR_OS_HOST_H

#include "base/compiler.h"

/* Bytes of a page, a power of two, at most WR_SLICE_BYTES. */
size_t wr_host_page_bytes(void);

/* True if the process gained privileges when it was started (AT_SECURE). */
bool wr_host_is_secure(void);

/* The environment list, or NULL as long as libc has not set it. */
char *const *wr_host_environment(void);

/* True if address lies in the memory of the dynamic linker's own image: there it allocates, before
 * a malloc exists, what a program may later free. */
bool wr_host_is_linker_memory(uintptr_t address);

/* Resident memory of the process in KiB, now and at its peak; false where /proc does not tell. */
bool wr_host_resident_kib(size_t *now_kib, size_t *peak_kib);

/* Milliseconds of a clock that only goes forward, as fine as the kernel's tick (a few); cheap. */
uint64_t wr_host_milliseconds(void);

/* Lets other threads run (sched_yield(2)). */
void wr_host_yield(void);

/* The process's id. */
long wr_host_process_id(void);

#endif
