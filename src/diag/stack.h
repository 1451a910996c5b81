/* Call stacks: taken where a block is allocated or freed, kept once each, printed in reports.
 *
 * Unwound by libc's backtrace(3), whose first call loads libgcc's unwinder and allocates;
 * wr_stack_prepare makes that call. Before it, and where libc has no such function (static
 * programs), a stack is its innermost frame. Equal stacks share one entry of a table that only
 * grows; when it is full, stacks are WR_STACK_NONE.
 *
 * | operation | progress                                                     |
 * | keep      | lock-free: starts over when another kept a stack meanwhile   |
 * | print     | as dladdr(3), which takes a lock of libc's                   |
 * Entries are never changed or taken back: no ABA. Threads: any. Source: backtrace(3), dladdr(3).
 */
#ifndef WR_DIAG_STACK_H
#define WR_DIAG_STACK_H

#include "base/report.h"

/* A stack that was kept. */
typedef uint32_t wr_stack;
#define WR_STACK_NONE 0u
/* Of what the unwinder allocates when it is loaded: nothing that the program would know. */
#define WR_STACK_OWN 1u

/* Loads the unwinder: may allocate. Once, when libc is ready. */
void wr_stack_prepare(void);

/* From now on no stack is kept. */
void wr_stack_disable(void);

/* The calling thread's stack from the frame on that returns to `caller`, at most as many frames as
 * the option check_stacks says. */
wr_stack wr_stack_keep(const void *caller);

/* Adds a line for each frame, innermost first: "weir:   <heading> #0 0x... name+0x...
 * (file+0x...)"; `page` as in base/report.h. */
void wr_stack_print(wr_report_page *page, const char *heading, wr_stack stack);

/* True, and its place, for an address in the file of a program or library; *file has dladdr's life.
 */
bool wr_stack_is_in_file(const void *address, const char **file);

#endif
