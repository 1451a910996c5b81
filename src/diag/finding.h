/* Findings of check mode: one line, the stacks that belong to it, and what follows.
 *
 *     weir: <subject>: <what>: <address>, <details>
 *     weir:   called by #0 ...      the call that found it, if it was one
 *     weir:   allocated by #0 ...
 *     weir:   freed by #0 ...
 *
 * The action says what is printed and whether the process ends: bit 0 a report, bit 1 abort, bit 2
 * a report without stacks (mallopt(3), M_CHECK_ACTION). Threads: any; a finding is written as one
 * text (wr_report_open). */
#ifndef WR_DIAG_FINDING_H
#define WR_DIAG_FINDING_H

#include "base/fmt.h"
#include "diag/stack.h"

enum { WR_ACTION_REPORT = 1, WR_ACTION_ABORT = 2, WR_ACTION_LINE = 4 };

void wr_finding_set_action(unsigned action);

/* "weir: <subject>: <what>: <address>"; details are added by wr_line_*. `is_call`: the subject is a
 * function. */
void wr_finding_begin(wr_line *line, const char *subject, bool is_call, const char *what,
                      uintptr_t address);

/* ", block of 24 bytes", and " at offset -1" for an address and where its block starts. */
void wr_finding_add_block(wr_line *line, size_t size);
void wr_finding_add_offset(wr_line *line, uintptr_t start, uintptr_t address);

/* Ends the line and prints it with the stacks that are not WR_STACK_NONE, whatever the action. */
void wr_finding_print(wr_line *line, wr_stack called, wr_stack allocated, wr_stack freed);

/* Ends the line and prints it with the stacks that are not WR_STACK_NONE, or aborts, or both. */
void wr_finding_end(wr_line *line, wr_stack called, wr_stack allocated, wr_stack freed);

#endif
