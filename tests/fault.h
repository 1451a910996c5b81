/* Kernel calls that fail when a test wants them to, with ENOMEM.
 *
 * The program is linked with --wrap for mmap, mremap, munmap, madvise and sbrk (weir_test_faults()
 * in tests/CMakeLists.txt): the linker puts the functions of fault.c in their place for all
 * objects that are linked into the program itself. libc's own calls, those of other shared objects
 * and those of a sanitizer go past them. What is in force holds for all threads.
 */
#ifndef WEIR_TESTS_FAULT_H
#define WEIR_TESTS_FAULT_H

#include <stddef.h>

enum fault_call {
    FAULT_MMAP = 1 << 0,
    FAULT_MREMAP = 1 << 1,
    FAULT_MUNMAP = 1 << 2,
    FAULT_MADVISE = 1 << 3,
    FAULT_SBRK = 1 << 4,
    FAULT_ALL = (1 << 5) - 1,
};

#define FAULT_FOREVER ((size_t)-1)

/* Of the calls from now on that are in `calls` (an or of the above), counted from 1, those from
 * number `first` on fail, `length` of them. The other calls are not counted. */
void fault_arm(unsigned calls, size_t first, size_t length);
/* No call fails by fault_arm any more. The counts stay as they are. */
void fault_disarm(void);
/* Calls in `calls` fail from now on, whatever else is in force, and are not counted; 0 ends it. */
void fault_refuse(unsigned calls);
/* The same until a munmap has succeeded: a kernel that has no more, but for what it gets back. */
void fault_starve(unsigned calls);

/* Calls in `calls` since fault_arm, and how many of all calls failed since the program began. */
size_t fault_counted(void);
size_t fault_failed(void);
/* The kinds of calls that were made since the program began. */
unsigned fault_calls_seen(void);

#endif
