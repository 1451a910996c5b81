/* Messages on standard error, by one write each, without allocation.
 *
 * A misuse by the program goes to wr_report_misuse, damage within weir to wr_report_corruption;
 * both end the process by abort(3). Threads: any. errno is kept. */
#ifndef WR_BASE_REPORT_H
#define WR_BASE_REPORT_H

#include "base/compiler.h"
#include "base/fmt.h"

/* Keeps a descriptor of standard error of our own, closed on exec, for lines that come after the
 * program has closed it; until then and without it lines go to descriptor 2. */
void wr_report_keep_standard_error(void);

/* Writes a finished line. */
void wr_report_line(const wr_line *line);

/* Lines that belong together, written as one text when it is closed, or as far as it has come when
 * it is full. There are WR_REPORT_PAGES: who gets none (NULL) writes its lines one by one. The
 * child of a fork does without those that other threads had. Lock-free. */
typedef struct wr_report_page wr_report_page;
wr_report_page *wr_report_open(void);
void wr_report_add(wr_report_page *page, const wr_line *line);
void wr_report_close(wr_report_page *page);

/* "weir: <subject>: <text>" and goes on. */
void wr_report_warning(const char *subject, const char *text);

/* What the program did wrong with an address. */
typedef struct wr_misuse {
    const char *function; /* as the program called it: "free" */
    const char *what;     /* "double free" */
    uintptr_t address;    /* the pointer it passed */
    const char *detail;   /* text behind the address, or NULL */
    uintptr_t block;      /* start of the block that it points into, or 0 */
    size_t block_bytes;   /* size of that block, or 0 */
} wr_misuse;

/* "weir: <function>(): <what>: <address> <detail> ..." and aborts. */
WR_COLD WR_NORETURN void wr_report_misuse(const wr_misuse *misuse);

/* "weir: internal error: <what>: <address>" and aborts. */
WR_COLD WR_NORETURN void wr_report_corruption(const char *what, uintptr_t address);

#endif
