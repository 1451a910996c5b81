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

/* True if address lies in the mapping that the calling thread's stack lies in. Reads
 * /proc/self/maps. */
bool wr_host_is_stack(const void *address);

/* Resident memory of the process in KiB, now and at its peak; false where /proc does not tell. */
bool wr_host_resident_kib(size_t *now_kib, size_t *peak_kib);

/* Milliseconds of a clock that only goes forward, as fine as the kernel's tick (a few); cheap. */
uint64_t wr_host_milliseconds(void);

/* Lets other threads run (sched_yield(2)). */
void wr_host_yield(void);

/* The process's id. */
long wr_host_process_id(void);

/* A number that tells the living threads apart, a multiple of 4 and not 0; a thread of the child of
 * a fork keeps its own. */
uintptr_t wr_host_thread_mark(void);

/* A number that another process cannot guess: getrandom(2) once, then a sequence of its own. */
uint64_t wr_host_random(void);

/* Bytes of the machine's memory. */
size_t wr_host_memory_bytes(void);

/* True if the system uses transparent huge pages wherever it can
 * (/sys/kernel/mm/transparent_hugepage/enabled says "[always]"). `root` is put before the path: ""
 * but in tests. */
bool wr_host_huge_pages_always(const char *root);

/* A text file opened for reading, or -1; what it holds from where the last read ended, in bytes (0
 * at its end or when it cannot be read). By system calls, past any wrapper that a program or a tool
 * puts around libc's open and read and that might allocate. */
int wr_host_open(const char *path);
size_t wr_host_read(int file, char *text, size_t room);
void wr_host_close(int file);

#endif
