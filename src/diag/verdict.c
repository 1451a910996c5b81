/* See verdict.h. */
#include "diag/verdict.h"

#include "diag/finding.h"
#include "heap/alloc.h"
#include "os/host.h"

bool wr_place_find(const wr_span *span, uintptr_t address, wr_place *at)
{
    if (wr_span_kind_of(span) == WR_SPAN_FENCE) {
        return false;
    }
    at->block = span->start;
    at->bytes = span->bytes;
    if (wr_span_kind_of(span) == WR_SPAN_SLAB) {
        size_t number = (address - span->start) / span->block_bytes;
        at->block += number * span->block_bytes;
        at->bytes = span->block_bytes;
        if (number >= span->blocks) {
            return false;
        }
    }
    at->record = at->bytes < WR_SHADOW_UNIT_BYTES ? NULL : wr_shadow_find(at->block);
    /* Relaxed: whoever was given the block's address has seen it live. */
    return at->record != NULL && wr_load_relaxed(&at->record->state) != WR_BLOCK_NEVER;
}

/* ---- reports ---- */

static wr_stack called_by(const wr_check_call *call)
{
    return call == NULL ? WR_STACK_NONE : wr_stack_keep(call->caller);
}

static void end_finding(wr_line *line, const wr_check_call *call, const wr_record *record)
{
    bool was_freed = wr_load_relaxed(&record->state) > WR_BLOCK_EXAMINED; /* a hint */
    wr_stack called = called_by(call);
    wr_stack freed = was_freed ? wr_load_relaxed(&record->freed) : WR_STACK_NONE;
    wr_finding_end(line, called, wr_load_relaxed(&record->allocated),
                   freed == called ? WR_STACK_NONE : freed);
}

static void begin(wr_line *line, const wr_check_call *call, const char *what, uintptr_t address)
{
    wr_finding_begin(line, call->function, true, what, address);
}

static void report_damage(const char *subject, const wr_check_call *call, const char *what,
                          const wr_place *at, const wr_damage *found)
{
    uintptr_t start = wr_place_address(at);
    wr_line line;
    wr_finding_begin(&line, call == NULL ? subject : call->function, call != NULL, what, start);
    wr_finding_add_block(&line, wr_place_size(at));
    wr_line_text(&line, ", ");
    wr_line_decimal(&line, found->bytes);
    wr_line_text(&line, found->bytes == 1 ? " byte written" : " bytes written");
    wr_finding_add_offset(&line, start, found->first);
    end_finding(&line, call, at->record);
}

bool wr_verdict_zones(const char *subject, const wr_check_call *call, const wr_place *at)
{
    wr_zones of = wr_place_zones(at);
    wr_damage under = wr_zone_look(of.front, of.start);
    wr_damage over = wr_zone_look(of.end, of.rear);
    if (under.bytes != 0) {
        wr_zone_paint(of.front, of.start);
        report_damage(subject, call, "underrun", at, &under);
    }
    if (over.bytes != 0) {
        wr_zone_paint(of.end, of.rear);
        report_damage(subject, call, "overrun", at, &over);
    }
    return under.bytes == 0 && over.bytes == 0;
}

void wr_verdict_double_free(const wr_check_call *call, uintptr_t address, const wr_place *at)
{
    wr_line line;
    begin(&line, call, call->is_question ? "freed block" : "double free", address);
    wr_finding_add_block(&line, wr_place_size(at));
    wr_line_text(&line, ", freed before");
    end_finding(&line, call, at->record);
}

static void report_interior(const wr_check_call *call, uintptr_t address, const wr_place *at)
{
    wr_line line;
    uintptr_t start = wr_place_address(at);
    begin(&line, call, "not a block start", address);
    wr_line_text(&line, ", offset ");
    if (address < start) {
        wr_line_text(&line, "-");
    }
    wr_line_decimal(&line, address < start ? start - address : address - start);
    wr_line_text(&line, " of the block of ");
    wr_line_decimal(&line, wr_place_size(at));
    wr_line_text(&line, " bytes at ");
    wr_line_hex(&line, start);
    end_finding(&line, call, at->record);
}

static void report_foreign(const wr_check_call *call, uintptr_t address)
{
    wr_line line;
    const char *file;
    begin(&line, call, "foreign pointer", address);
    if (wr_host_is_stack((const void *)address)) {
        wr_line_text(&line, " is on the stack of the calling thread");
    } else if (wr_stack_is_in_file((const void *)address, &file)) {
        wr_line_text(&line, " is static data of ");
        wr_line_text(&line, file);
    } else {
        wr_line_text(&line, " is in no block of this heap");
    }
    wr_finding_end(&line, called_by(call), WR_STACK_NONE, WR_STACK_NONE);
}

static void report_size(const wr_check_call *call, const wr_place *at)
{
    wr_line line;
    begin(&line, call, "size mismatch", wr_place_address(at));
    wr_finding_add_block(&line, wr_place_size(at));
    wr_line_text(&line, ", freed as ");
    wr_line_decimal(&line, call->size);
    end_finding(&line, call, at->record);
}

static void add_alignment(wr_line *line, size_t alignment)
{
    if (alignment <= WR_ALIGNMENT_BYTES) {
        wr_line_text(line, "plain");
    } else {
        wr_line_text(line, "aligned to ");
        wr_line_decimal(line, alignment);
    }
}

static void report_alignment(const wr_check_call *call, const wr_place *at, size_t alignment)
{
    wr_line line;
    begin(&line, call, "alignment mismatch", wr_place_address(at));
    wr_finding_add_block(&line, wr_place_size(at));
    wr_line_text(&line, ", allocated ");
    add_alignment(&line, alignment);
    wr_line_text(&line, ", freed ");
    add_alignment(&line, call->alignment);
    end_finding(&line, call, at->record);
}

static void report_family(const wr_check_call *call, const wr_place *at, wr_check_family family)
{
    static const char *const names[] = {
        [WR_CHECK_MALLOC] = "malloc and its kin",
        [WR_CHECK_NEW] = "operator new",
        [WR_CHECK_NEW_ARRAY] = "operator new[]",
    };
    wr_line line;
    begin(&line, call, "wrong function", wr_place_address(at));
    wr_finding_add_block(&line, wr_place_size(at));
    wr_line_text(&line, ", allocated by ");
    wr_line_text(&line, names[family]);
    end_finding(&line, call, at->record);
}

/* ---- what a pointer is ---- */

/* A pointer that lies in nothing of the heap now: perhaps it was a large block. */
static void report_outside(const wr_check_call *call, uintptr_t address)
{
    wr_place at = {.block = wr_align_down(address, WR_SLICE_BYTES)};
    at.record = wr_shadow_find(at.block);
    if (at.record != NULL && wr_load_relaxed(&at.record->state) == WR_BLOCK_FREE &&
        wr_place_address(&at) == address) {
        wr_verdict_double_free(call, address, &at);
    } else {
        report_foreign(call, address);
    }
}

wr_verdict wr_verdict_of(const wr_check_call *call, const void *ptr, wr_place *at)
{
    uintptr_t address = (uintptr_t)ptr;
    const wr_span *span = wr_span_find(address);
    if (span == NULL) {
        if (wr_host_is_linker_memory(address)) {
            return WR_IS_OF_BEFORE;
        }
        report_outside(call, address);
        return WR_IS_WRONG;
    }
    if (!wr_place_find(span, address, at)) {
        wr_span_kind kind = wr_span_kind_of(span);
        bool is_object = kind == WR_SPAN_LARGE || kind == WR_SPAN_MAPPED;
        if (is_object || wr_region_class_of((uintptr_t)ptr) != WR_CLASS_NONE) {
            return WR_IS_OF_BEFORE;
        }
        report_foreign(call, address);
        return WR_IS_WRONG;
    }
    if (wr_place_address(at) != address) {
        report_interior(call, address, at);
        return WR_IS_WRONG;
    }
    uint32_t state = wr_load_relaxed(&at->record->state); /* the program's own order */
    if (state != WR_BLOCK_LIVE && state != WR_BLOCK_EXAMINED) {
        wr_verdict_double_free(call, address, at);
        return WR_IS_WRONG;
    }
    return WR_IS_BLOCK;
}

void wr_verdict_compare(const wr_check_call *call, const wr_place *at)
{
    const wr_record *record = at->record;
    uint32_t tag = wr_load_relaxed(&record->tag); /* ours: claimed */
    wr_check_family family = wr_record_family(tag);
    size_t alignment = wr_record_alignment(tag);
    if (family != call->family) {
        report_family(call, at, family);
    }
    if (call->size != WR_CHECK_ANY && call->size != wr_place_size(at)) {
        report_size(call, at);
    }
    if (call->alignment != WR_CHECK_ANY && call->alignment != alignment &&
        wr_max(call->alignment, alignment) > WR_ALIGNMENT_BYTES) {
        report_alignment(call, at, alignment);
    }
}

bool wr_verdict_fill(const char *subject, const wr_place *at)
{
    wr_zones of = wr_place_zones(at);
    wr_damage found = wr_fill_look(of.start, of.end);
    if (found.bytes != 0) {
        report_damage(subject, NULL, "use after free", at, &found);
    }
    return found.bytes == 0;
}
