/* Bounded text without allocation: a line is built in a buffer of the caller.
 *
 * Text that does not fit is cut; a line always ends in a newline and is terminated.
 * Threads: a line belongs to its builder. Signals: safe. */
#ifndef WR_BASE_FMT_H
#define WR_BASE_FMT_H

#include "base/compiler.h"
#include "base/config.h"

typedef struct wr_line {
    char text[WR_LINE_BYTES]; /* not terminated before wr_line_end */
    size_t length;            /* bytes used; invariant: length <= WR_LINE_BYTES - 2 */
} wr_line;

void wr_line_begin(wr_line *line);
void wr_line_text(wr_line *line, const char *text);
/* At most length bytes of text. */
void wr_line_part(wr_line *line, const char *text, size_t length);
void wr_line_decimal(wr_line *line, uint64_t value);
/* 0x and lower-case digits. */
void wr_line_hex(wr_line *line, uint64_t value);
/* Bytes as a number and a unit: "17 bytes", "64 KiB", "1.2 MiB" (one digit, rounded down). */
void wr_line_bytes(wr_line *line, uint64_t bytes);
/* Appends the newline and terminates the text. */
void wr_line_end(wr_line *line);

#endif
