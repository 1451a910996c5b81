/* See report.h. */
#include "base/report.h"

#include "base/assert.h"
#include "base/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where lines go. Relaxed: written once at start-up; both values are good ones. */
static _Atomic int descriptor = STDERR_FILENO;

void wr_report_keep_standard_error(void)
{
    enum { HIGH = 512 }; /* out of the way of programs that count on low numbers */
    int saved = errno;
    int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, HIGH);
    errno = saved;
    if (copy >= 0) {
        wr_store_relaxed(&descriptor, copy);
    }
}

static void write_all(const char *text, size_t length)
{
    int saved = errno;
    size_t done = 0;
    while (done < length) {
        ssize_t n = write(wr_load_relaxed(&descriptor), text + done, length - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            break; /* nobody can be told that standard error is gone */
        }
    }
    errno = saved;
}

void wr_report_line(const wr_line *line)
{
    write_all(line->text, line->length);
}

/* ---- several lines ---- */

struct wr_report_page {
    _Atomic uint32_t is_taken;
    size_t length; /* of the text; the taker's */
    char text[WR_REPORT_PAGE_BYTES];
};

static wr_report_page pages[WR_REPORT_PAGES];

wr_report_page *wr_report_open(void)
{
    for (unsigned i = 0; i < WR_REPORT_PAGES; i++) {
        uint32_t nobody = 0;
        /* Linearisation point. Observes the last taker's use; pairs with wr_report_close(). */
        if (wr_cas_strong_acq_rel(&pages[i].is_taken, &nobody, 1)) {
            pages[i].length = 0;
            return &pages[i];
        }
    }
    return NULL;
}

static void flush(wr_report_page *page)
{
    write_all(page->text, page->length);
    page->length = 0;
}

void wr_report_add(wr_report_page *page, const wr_line *line)
{
    if (page == NULL) {
        wr_report_line(line);
        return;
    }
    if (line->length > sizeof page->text - page->length) {
        flush(page);
    }
    memcpy(page->text + page->length, line->text, line->length);
    page->length += line->length;
}

void wr_report_close(wr_report_page *page)
{
    if (page != NULL) {
        flush(page);
        /* Publishes our use of it; pairs with wr_report_open(). */
        wr_store_release(&page->is_taken, 0);
    }
}

void wr_report_warning(const char *subject, const char *text)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: ");
    wr_line_text(&line, subject);
    wr_line_text(&line, ": ");
    wr_line_text(&line, text);
    wr_line_end(&line);
    wr_report_line(&line);
}

void wr_report_misuse(const wr_misuse *misuse)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: ");
    wr_line_text(&line, misuse->function);
    wr_line_text(&line, "(): ");
    wr_line_text(&line, misuse->what);
    wr_line_text(&line, ": ");
    wr_line_hex(&line, misuse->address);
    if (misuse->detail != NULL) {
        wr_line_text(&line, " ");
        wr_line_text(&line, misuse->detail);
    }
    if (misuse->block_bytes != 0) {
        wr_line_text(&line, ", block of ");
        wr_line_decimal(&line, misuse->block_bytes);
        wr_line_text(&line, " bytes at ");
        wr_line_hex(&line, misuse->block);
    }
    wr_line_end(&line);
    wr_report_line(&line);
    abort();
}

void wr_report_corruption(const char *what, uintptr_t address)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: internal error: ");
    wr_line_text(&line, what);
    wr_line_text(&line, ": ");
    wr_line_hex(&line, address);
    wr_line_end(&line);
    wr_report_line(&line);
    abort();
}

void wr_assert_fail(const char *condition, const char *file, int line_number)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: assertion failed: ");
    wr_line_text(&line, condition);
    wr_line_text(&line, ", ");
    wr_line_text(&line, file);
    wr_line_text(&line, ":");
    wr_line_decimal(&line, (uint64_t)line_number);
    wr_line_end(&line);
    wr_report_line(&line);
    abort();
}
