/* See stack.h. */
#include "diag/stack.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/options.h"
#include "base/report.h"
#include "diag/table.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <string.h>

/* Weak, so that a static program does not need them. */
extern int backtrace(void **frames, int count) WR_WEAK;
extern int dladdr(const void *address, Dl_info *info) WR_WEAK;

typedef struct stack_entry {
    uint32_t
        next; /* of the same bucket, or WR_STACK_NONE; constant once published, like the rest */
    uint32_t count;
    uint64_t hash;
    void *frames[];
} stack_entry;

/* Units in which entries are numbered; the first ones are the table's head. */
#define UNIT_BYTES 8u

typedef struct stack_table {
    _Atomic uint32_t buckets[WR_STACK_BUCKETS]; /* newest entry of each */
    /* Units handed out behind this head. */
    _Atomic uint32_t used;
} stack_table;

_Static_assert(sizeof(stack_table) > WR_STACK_OWN * UNIT_BYTES, "no entry has these numbers");

static _Atomic(void *) table;     /* a stack_table */
static _Atomic bool is_prepared;  /* relaxed: a hint */
static _Atomic bool is_disabled;  /* likewise */
static _Atomic bool is_preparing; /* likewise; other threads hardly run then */

static stack_table *obtain_table(void)
{
    return wr_table_obtain(&table, WR_STACK_TABLE_BYTES, "stacks");
}

static stack_entry *entry_at(stack_table *in, wr_stack stack)
{
    return (stack_entry *)(void *)((char *)in + (size_t)stack * UNIT_BYTES);
}

static uint64_t hash_of(void *const *frames, unsigned count)
{
    uint64_t hash = count;
    for (unsigned i = 0; i < count; i++) {
        hash = (hash ^ (uintptr_t)frames[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

static wr_stack find(stack_table *in, wr_stack first, uint64_t hash, void *const *frames,
                     unsigned count)
{
    for (wr_stack s = first; s != WR_STACK_NONE; s = entry_at(in, s)->next) {
        const stack_entry *entry = entry_at(in, s);
        if (entry->hash == hash && entry->count == count &&
            memcmp(entry->frames, frames, count * sizeof *frames) == 0) {
            return s;
        }
    }
    return WR_STACK_NONE;
}

static wr_stack make_entry(stack_table *in, uint64_t hash, void *const *frames, unsigned count)
{
    size_t bytes = sizeof(stack_entry) + count * sizeof *frames;
    uint32_t units = (uint32_t)wr_divide_up(bytes, UNIT_BYTES);
    enum {
        HEAD = (sizeof(stack_table) + UNIT_BYTES - 1) / UNIT_BYTES,
        MOST = WR_STACK_TABLE_BYTES / UNIT_BYTES - HEAD,
    };
    /* Relaxed: what is handed out is nobody else's. A failed try leaves the table full. */
    if (wr_load_relaxed(&in->used) > MOST - units) {
        return WR_STACK_NONE;
    }
    uint32_t at = wr_fetch_add_relaxed(&in->used, units);
    if (at > MOST - units) {
        return WR_STACK_NONE;
    }
    at += HEAD;
    stack_entry *entry = entry_at(in, at);
    entry->hash = hash;
    entry->count = count;
    memcpy(entry->frames, frames, count * sizeof *frames);
    return at;
}

static wr_stack keep(void *const *frames, unsigned count)
{
    stack_table *in = obtain_table();
    if (in == NULL || count == 0) {
        return WR_STACK_NONE;
    }
    uint64_t hash = hash_of(frames, count);
    _Atomic uint32_t *bucket = &in->buckets[hash >> 32 & (WR_STACK_BUCKETS - 1)];
    /* Observes entries as they were made; pairs with the CAS below. */
    wr_stack first = wr_load_acquire(bucket);
    wr_stack found = find(in, first, hash, frames, count);
    if (found != WR_STACK_NONE) {
        return found;
    }
    wr_stack made = make_entry(in, hash, frames, count);
    if (made == WR_STACK_NONE) {
        return WR_STACK_NONE;
    }
    do {
        entry_at(in, made)->next = first;
        /* Linearisation point. Publishes the entry; pairs with the load above. The same stack may
         * come in twice at once, which costs its bytes. */
    } while (!wr_cas_weak_acq_rel(bucket, &first, made));
    return made;
}

void wr_stack_disable(void)
{
    wr_store_relaxed(&is_disabled, true);
}

void wr_stack_prepare(void)
{
    void *frame;
    if (backtrace != NULL && !wr_load_relaxed(&is_disabled) &&
        wr_option_get(wr_option_check_stacks) > 1) {
        wr_store_relaxed(&is_preparing, true);
        (void)backtrace(&frame, 1);
        wr_store_relaxed(&is_preparing, false);
        wr_store_relaxed(&is_prepared, true);
    }
}

wr_stack wr_stack_keep(const void *caller)
{
    void *frames[WR_STACK_FRAMES_MAX + WR_STACK_OWN_FRAMES];
    unsigned most = (unsigned)wr_option_get(wr_option_check_stacks);
    unsigned first = 0;
    unsigned count = 0;
    if (wr_load_relaxed(&is_disabled)) {
        return WR_STACK_NONE;
    }
    if (wr_load_relaxed(&is_preparing)) {
        return WR_STACK_OWN;
    }
    if (most > 1 && wr_load_relaxed(&is_prepared)) {
        count = (unsigned)backtrace(frames, (int)(most + WR_STACK_OWN_FRAMES));
        while (first < count && frames[first] != caller) {
            first++;
        }
    }
    if (first == count) { /* nothing was unwound, or not as far as the caller */
        first = 0;
        count = 1;
        frames[0] = (void *)(uintptr_t)caller;
    }
    return keep(frames + first, (unsigned)wr_min(most, count - first));
}

bool wr_stack_is_in_file(const void *address, const char **file)
{
    Dl_info info;
    if (dladdr == NULL || dladdr(address, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    *file = info.dli_fname;
    return true;
}

static void print_frame(wr_report_page *page, const char *heading, unsigned number, void *frame)
{
    Dl_info info;
    /* A return address lies behind the call. */
    const char *call = (const char *)frame - 1;
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir:   ");
    wr_line_text(&line, heading);
    wr_line_text(&line, " #");
    wr_line_decimal(&line, number);
    wr_line_text(&line, " ");
    wr_line_hex(&line, (uintptr_t)call);
    if (dladdr != NULL && dladdr(call, &info) != 0 && info.dli_fname != NULL) {
        if (info.dli_sname != NULL) {
            wr_line_text(&line, " ");
            wr_line_text(&line, info.dli_sname);
            wr_line_text(&line, "+");
            wr_line_hex(&line, (uintptr_t)call - (uintptr_t)info.dli_saddr);
        }
        wr_line_text(&line, " (");
        wr_line_text(&line, info.dli_fname);
        wr_line_text(&line, "+");
        wr_line_hex(&line, (uintptr_t)call - (uintptr_t)info.dli_fbase);
        wr_line_text(&line, ")");
    }
    wr_line_end(&line);
    wr_report_add(page, &line);
}

void wr_stack_print(wr_report_page *page, const char *heading, wr_stack stack)
{
    if (stack == WR_STACK_NONE || stack == WR_STACK_OWN) {
        return;
    }
    stack_entry *entry = entry_at(obtain_table(), stack);
    for (unsigned i = 0; i < entry->count; i++) {
        print_frame(page, heading, i, entry->frames[i]);
    }
}
