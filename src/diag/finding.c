/* See finding.h. */
#include "diag/finding.h"

#include "base/atomic.h"
#include "base/report.h"

#include <stdlib.h>

static _Atomic unsigned action = WR_ACTION_REPORT | WR_ACTION_ABORT; /* relaxed: a setting */

void wr_finding_set_action(unsigned new_action)
{
    wr_store_relaxed(&action, new_action);
}

void wr_finding_begin(wr_line *line, const char *subject, bool is_call, const char *what,
                      uintptr_t address)
{
    wr_line_begin(line);
    wr_line_text(line, "weir: ");
    wr_line_text(line, subject);
    wr_line_text(line, is_call ? "(): " : ": ");
    wr_line_text(line, what);
    wr_line_text(line, ": ");
    wr_line_hex(line, address);
}

void wr_finding_add_block(wr_line *line, size_t size)
{
    wr_line_text(line, ", block of ");
    wr_line_decimal(line, size);
    wr_line_text(line, " bytes");
}

void wr_finding_add_offset(wr_line *line, uintptr_t start, uintptr_t address)
{
    wr_line_text(line, address < start ? " at offset -" : " at offset ");
    wr_line_decimal(line, address < start ? start - address : address - start);
}

static void print(wr_line *line, bool with_stacks, wr_stack called, wr_stack allocated,
                  wr_stack freed)
{
    wr_line_end(line);
    wr_report_page *page = wr_report_open();
    wr_report_add(page, line);
    if (with_stacks) {
        wr_stack_print(page, "called by", called);
        wr_stack_print(page, "allocated by", allocated);
        wr_stack_print(page, "freed by", freed);
    }
    wr_report_close(page);
}

void wr_finding_print(wr_line *line, wr_stack called, wr_stack allocated, wr_stack freed)
{
    print(line, true, called, allocated, freed);
}

void wr_finding_end(wr_line *line, wr_stack called, wr_stack allocated, wr_stack freed)
{
    unsigned now = wr_load_relaxed(&action);
    if ((now & WR_ACTION_REPORT) != 0) {
        print(line, (now & WR_ACTION_LINE) == 0, called, allocated, freed);
    }
    if ((now & WR_ACTION_ABORT) != 0) {
        abort();
    }
}
