/* See report.h. */
#include "base/report.h"

#include "base/assert.h"
#include "base/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

void wr_report_line(const wr_line *line)
{
    int saved = errno;
    size_t done = 0;
    while (done < line->length) {
        ssize_t n = write(wr_load_relaxed(&descriptor), line->text + done, line->length - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            break; /* nobody can be told that standard error is gone */
        }
    }
    errno = saved;
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
