/* See options.h. */
#include "base/options.h"

#include "base/bits.h"
#include "base/report.h"

#include <string.h>

enum { TYPE_SIZE, TYPE_NUMBER, TYPE_FLAG, TYPE_AUTO, TYPE_SHARE, TYPE_LIST };

/* What a type's texts are, for warnings. */
static const char *const not_read[] = {
    [TYPE_SIZE] = "is no number of bytes, the default holds",
    [TYPE_NUMBER] = "is no number, the default holds",
    [TYPE_FLAG] = "is no 0 or 1, the default holds",
    [TYPE_AUTO] = "is no 0, 1 or auto, the default holds",
    [TYPE_LIST] = "is no list of order, guard, zero, canary, delay, the default holds",
    [TYPE_SHARE] = "is no number of bytes and no percentage, the default holds",
};

typedef struct row {
    const char *name; /* lower case, without the prefix */
    int type;
    const char *default_text; /* as the rows write it, so that docs can quote it */
    const char *min_text;
    const char *max_text;
} row;

#define WR_OPTION(name, type, default_value, min, max, meaning)                                    \
    {#name, TYPE_##type, #default_value, #min, #max},
static const row rows[WR_OPTION_COUNT] = {
#include "base/options.def"
};
#undef WR_OPTION

/* value + 1, or 0 while the default holds. Written once while the process starts; read relaxed,
 * since nothing else is published by it. */
static _Atomic size_t values[WR_OPTION_COUNT];

/* A SHARE's value is bytes, below this, or this plus percent. */
#define PERCENTAGE ((size_t)1 << 63)

static const char prefix[] = "WEIR_";
#define PREFIX_LENGTH (sizeof prefix - 1)

/* Of libweir-rcu, which reads them itself. */
static const char others[] = "WEIR_RCU_";

/* A number with an optional power-of-1024 suffix; false if text is anything else. */
static bool parse_size(const char *text, size_t *value)
{
    size_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (!wr_multiply(n, 10, &n) || n > SIZE_MAX - (size_t)(*p - '0')) {
            return false;
        }
        n += (size_t)(*p - '0');
    }
    if (p == text) {
        return false;
    }
    static const char suffixes[] = "KMGT";
    for (unsigned i = 0; i < sizeof suffixes - 1; i++) {
        if (*p == suffixes[i] || *p == suffixes[i] + ('a' - 'A')) {
            p++;
            if (!wr_multiply(n, (size_t)1 << (10 * (i + 1)), &n)) {
                return false;
            }
            break;
        }
    }
    *value = n;
    return *p == '\0';
}

/* 0% to 100%, or a size; false if text is neither. */
static bool parse_share(const char *text, size_t *value)
{
    const char *p = text;
    size_t percent = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        percent = wr_min(percent * 10 + (size_t)(*p - '0'), PERCENTAGE / 100); /* does not wrap */
    }
    if (p == text || p[0] != '%' || p[1] != '\0') {
        bool read = parse_size(text, value);
        *value = wr_min(*value, PERCENTAGE - 1); /* out of range in any case, and no percentage */
        return read;
    }
    *value = PERCENTAGE + percent;
    return true;
}

/* Words of the one LIST, a bit each in this order. */
static const char words[][8] = {"order", "guard", "zero", "canary", "delay"};

/* The bit of the word that text begins with, up to a comma or the end; 0 if it is none. */
static size_t parse_word(const char *text, size_t *length)
{
    *length = 0;
    while (text[*length] != ',' && text[*length] != '\0') {
        ++*length;
    }
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        if (strlen(words[w]) == *length && memcmp(words[w], text, *length) == 0) {
            return (size_t)1 << w;
        }
    }
    return 0;
}

/* Words with commas between; or a number, as the rows write it. */
static bool parse_list(const char *text, size_t *value)
{
    size_t bits = 0;
    for (;;) {
        size_t length;
        size_t bit = parse_word(text, &length);
        if (bit == 0) {
            return false;
        }
        bits |= bit;
        text += length;
        if (*text == '\0') {
            *value = bits;
            return true;
        }
        text++;
    }
}

static bool parse(const row *r, const char *text, size_t *value)
{
    if (r->type == TYPE_LIST && (*text < '0' || *text > '9')) {
        return parse_list(text, value);
    }
    if (r->type == TYPE_AUTO && strcmp(text, "auto") == 0) {
        *value = WR_OPTION_AUTO;
        return true;
    }
    return r->type == TYPE_SHARE ? parse_share(text, value) : parse_size(text, value);
}

static size_t parse_trusted(const row *r, const char *text)
{
    size_t value = 0;
    (void)parse(r, text, &value);
    return value;
}

/* As values, of the defaults: read over and over in slow calls. */
static _Atomic size_t defaults[WR_OPTION_COUNT];

size_t wr_option_get(wr_option option)
{
    size_t value = wr_load_relaxed(&values[option]);
    if (value == 0) {
        value = wr_load_relaxed(&defaults[option]);
    }
    if (value == 0) {
        value = parse_trusted(&rows[option], rows[option].default_text) + 1;
        wr_store_relaxed(&defaults[option], value);
    }
    return value - 1;
}

bool wr_option_is_set(wr_option option)
{
    return wr_load_relaxed(&values[option]) != 0;
}

static bool in_range(const row *r, size_t value)
{
    if (r->type == TYPE_SHARE && value >= PERCENTAGE) {
        return value <= PERCENTAGE + 100;
    }
    return value >= parse_trusted(r, r->min_text) && value <= parse_trusted(r, r->max_text);
}

/* Of a value that the option has. */
static bool is_percentage(wr_option option, size_t value)
{
    return rows[option].type == TYPE_SHARE && value >= PERCENTAGE;
}

bool wr_option_is_percentage(wr_option option)
{
    return is_percentage(option, wr_option_get(option));
}

size_t wr_option_share(wr_option option, size_t whole)
{
    size_t value = wr_option_get(option);
    if (!is_percentage(option, value)) {
        return value;
    }
    size_t percent = value - PERCENTAGE;
    return whole / 100 * percent + whole % 100 * percent / 100; /* does not overflow */
}

/* True if variable (of name_length) is the upper-case name of row r behind the prefix. */
static bool names_row(const char *variable, size_t name_length, const row *r)
{
    const char *name = variable + PREFIX_LENGTH;
    size_t length = name_length - PREFIX_LENGTH;
    for (size_t i = 0; i < length; i++) {
        char c = r->name[i];
        if (c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        if (c == '\0' || name[i] != c) {
            return false;
        }
    }
    return r->name[length] == '\0';
}

/* "weir: NAME: what" with the name cut out of "NAME=value". */
static void warn(const char *variable, size_t name_length, const char *what)
{
    char name[WR_LINE_BYTES / 2];
    size_t n = wr_min(name_length, sizeof name - 1);
    for (size_t i = 0; i < n; i++) {
        name[i] = variable[i];
    }
    name[n] = '\0';
    wr_report_warning(name, what);
}

static void set(size_t i, const char *variable, size_t name_length, const char *text)
{
    size_t value = 0;
    if (!parse(&rows[i], text, &value)) {
        warn(variable, name_length, not_read[rows[i].type]);
    } else if (!in_range(&rows[i], value)) {
        warn(variable, name_length, "is out of range, the default holds");
    } else {
        wr_store_relaxed(&values[i], value + 1);
    }
}

static void parse_variable(const char *variable)
{
    size_t name_length = 0;
    while (variable[name_length] != '=' && variable[name_length] != '\0') {
        name_length++;
    }
    const char *text = variable[name_length] == '=' ? variable + name_length + 1 : "";
    for (size_t i = 0; i < WR_OPTION_COUNT; i++) {
        if (!names_row(variable, name_length, &rows[i])) {
            continue;
        }
        set(i, variable, name_length, text);
        return;
    }
    warn(variable, name_length, "no such option, ignored");
}

static bool begins_with(const char *variable, const char *begin)
{
    for (; *begin != '\0'; variable++, begin++) {
        if (*variable != *begin) {
            return false;
        }
    }
    return true;
}

/* As mallopt(3) has it; WEIR_CHECK, which is the same, wins. */
static const char check_variable[] = "MALLOC_CHECK_=";

void wr_options_parse(char *const *environment)
{
    for (char *const *e = environment; *e != NULL; e++) {
        if (begins_with(*e, check_variable)) {
            enum { LENGTH = sizeof check_variable - 1 };
            set(wr_option_check, *e, LENGTH - 1, *e + LENGTH);
        }
    }
    for (; *environment != NULL; environment++) {
        if (begins_with(*environment, prefix) && !begins_with(*environment, others)) {
            parse_variable(*environment);
        }
    }
}
