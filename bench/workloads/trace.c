/* Reading traces; see trace.h. All memory is mapped: the malloc under test has no part in it. */
#include "trace.h"

#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS_MAX      4u  /* numbers after the letter */
#define ORDERS_PER_LINE 16u /* more numbers than this per line are no order but a mistake */
#define ORDERS_SPARE    65536u

/* A line as it stands. */
struct line {
    uint64_t order;
    uint64_t released; /* of a realloc; else the order */
    uint64_t block;
    uint64_t old; /* of a realloc */
    uint64_t bytes;
    uint64_t align;
    uint32_t thread;
    char kind;
};

/* A block number of the text and the block that now has it. */
struct name {
    uint64_t number;
    uint32_t block; /* TRACE_NO_BLOCK: given up */
    uint32_t used;  /* 0: an empty place of the table */
};

struct names {
    struct name *places;
    size_t mask; /* places less one; a power of two less one */
};

struct reader {
    const char *path;
    struct line *lines;
    size_t count;
    struct names names;
    struct trace *trace;
};

static struct name *find_name(const struct names *names, uint64_t number)
{
    uint64_t state = number;
    size_t at = (size_t)bench_random(&state) & names->mask;
    while (names->places[at].used != 0 && names->places[at].number != number)
        at = (at + 1) & names->mask;
    return &names->places[at];
}

/* Takes the block that has the number away from it. */
static uint32_t give_up(const struct names *names, uint64_t number)
{
    struct name *name = find_name(names, number);
    if (name->used == 0)
        return TRACE_NO_BLOCK;
    uint32_t block = name->block;
    name->block = TRACE_NO_BLOCK;
    return block;
}

static void bring(const struct names *names, uint64_t number, uint32_t block)
{
    *find_name(names, number) = (struct name){.number = number, .block = block, .used = 1};
}

/* Reads a hexadecimal number and the spaces after it. NULL if there is none. */
static const char *parse_hex(const char *at, const char *end, uint64_t *number)
{
    const char *start = at;
    *number = 0;
    for (; at < end && at - start < 16; at++) {
        unsigned digit = (unsigned char)*at;
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if (digit >= 'a' && digit <= 'f')
            digit -= 'a' - 10;
        else
            break;
        *number = *number << 4 | digit;
    }
    if (at == start || (at < end && *at != ' '))
        return NULL;
    while (at < end && *at == ' ')
        at++;
    return at;
}

/* Numbers that may follow each letter: least and greatest count. */
static bool count_fits(char kind, size_t count)
{
    switch (kind) {
    case 'm':
    case 'c':
        return count == 2;
    case 'a':
        return count == 3;
    case 'r':
        return count == 3 || count == 4;
    case 'f':
        return count == 1;
    default:
        return false;
    }
}

static bool parse_line(const char *at, const char *end, struct line *line)
{
    uint64_t thread;
    at = parse_hex(at, end, &line->order);
    if (at == NULL || (at = parse_hex(at, end, &thread)) == NULL || at == end)
        return false;
    line->thread = (uint32_t)thread;
    line->kind = *at++;
    if (at < end && *at++ != ' ')
        return false;
    uint64_t fields[FIELDS_MAX] = {0};
    size_t count = 0;
    for (; at < end && count < FIELDS_MAX; count++) {
        at = parse_hex(at, end, &fields[count]);
        if (at == NULL)
            return false;
    }
    line->block = fields[0];
    line->bytes = fields[1];
    line->align = line->kind == 'a' ? fields[2] : 0;
    line->old = line->kind == 'r' ? fields[2] : 0;
    line->released = line->kind == 'r' && count == 4 ? fields[3] : line->order;
    return at == end && thread < UINT32_MAX && count_fits(line->kind, count) &&
           line->bytes <= PTRDIFF_MAX && (line->align & (line->align - 1)) == 0 &&
           (line->kind != 'a' || line->align != 0);
}

static void parse(struct reader *reader, const char *text, size_t bytes)
{
    const char *end = text + bytes;
    size_t number = 0;
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (line_end == NULL)
            line_end = end;
        number++;
        if (line_end > text && *text != '#' &&
            !parse_line(text, line_end, &reader->lines[reader->count++]))
            bench_refuse("%s:%zu: not an event", reader->path, number);
        text = line_end + (line_end < end);
    }
}

/* One step of the order: an event, or the first half of a realloc. */
static void resolve(struct reader *reader, const struct line *line, struct trace_event *event,
                    uint64_t order)
{
    struct trace *trace = reader->trace;
    if (line->kind == 'f' || (line->kind == 'r' && order == line->released)) {
        event->old = give_up(&reader->names, line->kind == 'f' ? line->block : line->old);
        if (order != line->order)
            return;
    }
    if (line->kind == 'f' && event->old == TRACE_NO_BLOCK) {
        trace->skipped++;
        return;
    }
    event->kind = line->kind == 'r' && event->old == TRACE_NO_BLOCK ? 'm' : line->kind;
    event->thread = line->thread;
    event->bytes = line->bytes;
    event->log2_align = line->align == 0 ? 0 : (uint8_t)__builtin_ctzll(line->align);
    if (line->kind != 'f') {
        event->block = (uint32_t)trace->blocks++;
        bring(&reader->names, line->block, event->block);
    }
    if (line->thread >= trace->threads)
        trace->threads = (size_t)line->thread + 1;
    trace->events[trace->count++] = *event;
}

static uint64_t greatest_order(const struct reader *reader)
{
    uint64_t greatest = 0;
    for (size_t i = 0; i < reader->count; i++) {
        const struct line *line = &reader->lines[i];
        greatest = line->order > greatest ? line->order : greatest;
        if (line->released > line->order)
            bench_refuse("%s: a realloc that ends before it begins", reader->path);
    }
    if (greatest > reader->count * ORDERS_PER_LINE + ORDERS_SPARE)
        bench_refuse("%s: most of the order is missing", reader->path);
    return greatest;
}

/* Walks the lines by their order numbers, each of which leads to one line. */
static void resolve_all(struct reader *reader)
{
    size_t orders = (size_t)greatest_order(reader) + 1;
    uint32_t *by_order = bench_map(orders, sizeof *by_order); /* line + 1, or 0 */
    struct trace_event *halves = bench_map(reader->count, sizeof *halves);
    for (size_t i = 0; i < reader->count; i++) {
        const struct line *line = &reader->lines[i];
        halves[i] = (struct trace_event){.block = TRACE_NO_BLOCK, .old = TRACE_NO_BLOCK};
        if (by_order[line->order] != 0 || by_order[line->released] != 0)
            bench_refuse("%s: two events have one place in the order", reader->path);
        by_order[line->order] = (uint32_t)i + 1;
        by_order[line->released] = (uint32_t)i + 1;
    }
    for (size_t order = 0; order < orders; order++) {
        if (by_order[order] != 0) {
            size_t i = by_order[order] - 1;
            resolve(reader, &reader->lines[i], &halves[i], order);
        }
    }
    bench_unmap(by_order, orders, sizeof *by_order);
    bench_unmap(halves, reader->count, sizeof *halves);
}

void trace_load(struct trace *trace, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size <= 0)
        bench_refuse("cannot read a trace from %s", path);
    size_t bytes = (size_t)status.st_size;
    char *text = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        bench_refuse("cannot read a trace from %s", path);
    close(fd);

    size_t lines = 1;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    if (lines >= UINT32_MAX / 4)
        bench_refuse("%s: too long", path);
    size_t places = 1024;
    while (places < 4 * lines) /* two numbers a line, so half of them stay empty */
        places *= 2;
    *trace = (struct trace){.events = bench_map(lines, sizeof *trace->events)};
    struct reader reader = {.path = path,
                            .lines = bench_map(lines, sizeof *reader.lines),
                            .names = {bench_map(places, sizeof *reader.names.places), places - 1},
                            .trace = trace};
    parse(&reader, text, bytes);
    resolve_all(&reader);
    munmap(text, bytes);
    bench_unmap(reader.lines, lines, sizeof *reader.lines);
    bench_unmap(reader.names.places, places, sizeof *reader.names.places);
    if (trace->count == 0)
        bench_refuse("%s: no events", path);
}

/* The smallest numbers for blocks: a number is used again once its block is given up. */
struct numbers {
    uint32_t *of_block;
    uint32_t *unused; /* a stack */
    size_t unused_count;
    uint32_t next; /* never used so far */
};

static uint32_t take_number(struct numbers *numbers, uint32_t block)
{
    uint32_t number =
        numbers->unused_count > 0 ? numbers->unused[--numbers->unused_count] : numbers->next++;
    numbers->of_block[block] = number;
    return number;
}

static void write_event(FILE *file, const struct trace_event *event, size_t order,
                        struct numbers *numbers)
{
    uint32_t old = 0;
    if (event->old != TRACE_NO_BLOCK) {
        old = numbers->of_block[event->old];
        numbers->unused[numbers->unused_count++] = old;
    }
    fprintf(file, "%zx %x %c", order, event->thread, event->kind);
    if (event->block != TRACE_NO_BLOCK)
        fprintf(file, " %x %zx", take_number(numbers, event->block), event->bytes);
    if (event->old != TRACE_NO_BLOCK)
        fprintf(file, " %x", old);
    if (event->kind == 'a')
        fprintf(file, " %zx", (size_t)1 << event->log2_align);
    fprintf(file, "\n");
}

void trace_write(const struct trace *trace, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        bench_refuse("cannot write %s", path);
    struct numbers numbers = {.of_block = bench_map(trace->blocks, sizeof *numbers.of_block),
                              .unused = bench_map(trace->blocks, sizeof *numbers.unused)};
    fprintf(file, "# trace of the malloc family; the format is in bench/workloads/trace.h\n");
    for (size_t i = 0; i < trace->count; i++)
        write_event(file, &trace->events[i], i, &numbers);
    bench_unmap(numbers.of_block, trace->blocks, sizeof *numbers.of_block);
    bench_unmap(numbers.unused, trace->blocks, sizeof *numbers.unused);
    if (fclose(file) != 0)
        bench_refuse("cannot write %s", path);
}
