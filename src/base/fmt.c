/* See fmt.h. */
#include "base/fmt.h"

#include "base/bits.h"

void wr_line_begin(wr_line *line)
{
    line->length = 0;
}

void wr_line_part(wr_line *line, const char *text, size_t length)
{
    for (size_t i = 0; i < length && text[i] != '\0' && line->length < WR_LINE_BYTES - 2; i++) {
        line->text[line->length++] = text[i];
    }
}

void wr_line_text(wr_line *line, const char *text)
{
    wr_line_part(line, text, WR_LINE_BYTES);
}

static void append_number(wr_line *line, uint64_t value, unsigned base)
{
    char digits[20]; /* 2^64 has 20 decimal digits */
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0) {
        wr_line_part(line, &digits[--n], 1);
    }
}

void wr_line_decimal(wr_line *line, uint64_t value)
{
    append_number(line, value, 10);
}

void wr_line_hex(wr_line *line, uint64_t value)
{
    wr_line_text(line, "0x");
    append_number(line, value, 16);
}

void wr_line_bytes(wr_line *line, uint64_t bytes)
{
    static const char *const units[] = {" bytes", " KiB", " MiB", " GiB", " TiB", " PiB"};
    unsigned unit = 0;
    uint64_t scale = 1;
    while (bytes / scale >= 1024 && unit + 1 < WR_ARRAY_LENGTH(units)) {
        scale *= 1024;
        unit++;
    }
    wr_line_decimal(line, bytes / scale);
    uint64_t tenths = bytes % scale * 10 / scale; /* fits: scale is at most 2^50 */
    if (tenths != 0) {
        wr_line_text(line, ".");
        wr_line_decimal(line, tenths);
    }
    wr_line_text(line, units[unit]);
}

void wr_line_end(wr_line *line)
{
    line->text[line->length++] = '\n';
    line->text[line->length] = '\0';
}
