/* Announcements of blocks to valgrind's memcheck, by client requests, where the program runs under
 * it.
 *
 * memcheck puts its own malloc in place of libc's names, wherever they come from; what is announced
 * are blocks of the weir_ names, and of all where it is told not to (--soname-synonyms). Requests
 * are a few instructions that do nothing elsewhere. Nothing at all where valgrind's header was not
 * there when weir was built. Source: valgrind's manual, "Memory Pools" and "Client Requests". */
#ifndef WR_DIAG_MEMCHECK_H
#define WR_DIAG_MEMCHECK_H

#include "base/compiler.h"

/* True under memcheck; not under valgrind's other tools. */
bool wr_memcheck_is_there(void);

/* The program has got, or has freed, a block; bytes around it are nobody's. */
void wr_memcheck_allocated(uintptr_t address, size_t size, bool zero);
void wr_memcheck_freed(uintptr_t address);

/* Memory is weir's own again, to be written as it likes. */
void wr_memcheck_returned(uintptr_t address, size_t bytes);

#endif
