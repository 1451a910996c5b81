/* See leaks.h. */
#include "diag/leaks.h"

#include "base/bits.h"
#include "base/options.h"
#include "base/report.h"
#include "diag/check.h"
#include "diag/finding.h"
#include "diag/shadow.h"
#include "os/vm.h"

typedef struct group {
    wr_stack stack;
    uint32_t is_used;
    size_t blocks;
    size_t bytes;
} group;

/* An open table by stack. */
typedef struct census {
    group *groups;
    size_t room; /* places of the table; a power of two */
    size_t used;
    size_t blocks;
    size_t bytes;
} census;

#define TABLE_BYTES(room) ((room) * sizeof(group))

static group *place_of(const census *of, wr_stack stack)
{
    for (size_t i = stack * 0x9e3779b9u;; i++) {
        group *g = &of->groups[i & (of->room - 1)];
        if (!g->is_used || g->stack == stack) {
            return g;
        }
    }
}

/* Twice the room; stays as it is when the kernel refuses. */
static void grow(census *of)
{
    census larger = *of;
    larger.room = of->room * 2;
    larger.groups = wr_vm_map(TABLE_BYTES(larger.room), WR_SLICE_BYTES);
    if (larger.groups == NULL) {
        return;
    }
    for (size_t i = 0; i < of->room; i++) {
        if (of->groups[i].is_used) {
            *place_of(&larger, of->groups[i].stack) = of->groups[i];
        }
    }
    (void)wr_vm_unmap(of->groups, TABLE_BYTES(of->room));
    *of = larger;
}

static void count(uintptr_t address, wr_record *record, void *context)
{
    (void)address;
    census *of = context;
    if (wr_load_relaxed(&record->allocated) == WR_STACK_OWN) {
        return;
    }
    size_t bytes = wr_load_relaxed(&record->size); /* live: published by its state */
    of->blocks++;
    of->bytes += bytes;
    if (of->used * 2 >= of->room) {
        grow(of);
    }
    group *g = place_of(of, wr_load_relaxed(&record->allocated));
    if (!g->is_used) {
        if (of->used + 1 == of->room) {
            return; /* counted in the sums alone */
        }
        of->used++;
        *g = (group){.stack = wr_load_relaxed(&record->allocated), .is_used = 1};
    }
    g->blocks++;
    g->bytes += bytes;
}

static void add_count(wr_line *line, size_t n, const char *one, const char *many)
{
    wr_line_decimal(line, n);
    wr_line_text(line, n == 1 ? one : many);
}

static void print_group(const group *g)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: leaks: ");
    add_count(&line, g->blocks, " block, ", " blocks, ");
    add_count(&line, g->bytes, " byte", " bytes");
    wr_finding_print(&line, WR_STACK_NONE, g->stack, WR_STACK_NONE);
}

static group *largest(const census *of)
{
    group *most = NULL;
    for (size_t i = 0; i < of->room; i++) {
        group *g = &of->groups[i];
        if (g->blocks != 0 && (most == NULL || g->bytes > most->bytes)) {
            most = g;
        }
    }
    return most;
}

static void print(const census *of)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: leaks: ");
    add_count(&line, of->blocks, " block of ", " blocks of ");
    add_count(&line, of->bytes, " byte in all not freed, by ", " bytes in all not freed, by ");
    add_count(&line, of->used, " stack", " stacks");
    wr_line_end(&line);
    wr_report_line(&line);
    group *g;
    for (unsigned n = 0; n < WR_LEAKS_GROUPS && (g = largest(of)) != NULL; n++) {
        print_group(g);
        g->blocks = 0;
    }
}

void wr_leaks_print(void)
{
    if (wr_option_get(wr_option_leaks) == 0) {
        return;
    }
    census of = {.room = WR_SLICE_BYTES / sizeof(group)};
    of.room = (size_t)1 << wr_highest_bit(of.room);
    of.groups = wr_vm_map(TABLE_BYTES(of.room), WR_SLICE_BYTES);
    if (of.groups != NULL) {
        wr_check_each(count, &of);
        print(&of);
        (void)wr_vm_unmap(of.groups, TABLE_BYTES(of.room));
    }
}
