/* See check.h. */
#include "diag/check.h"

#include "base/options.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "diag/finding.h"
#include "diag/memcheck.h"
#include "diag/quarantine.h"
#include "diag/verdict.h"
#include "heap/alloc.h"
#include "heap/large.h"
#include "heap/purger.h"
#include "os/host.h"

#include <string.h>

_Atomic bool wr_check_on;

/* What the mode does, beside its records; relaxed: set while the process starts. */
static _Atomic bool has_zones;    /* zones are painted and looked at */
static _Atomic bool has_delay;    /* freed blocks wait */
static _Atomic bool has_memcheck; /* blocks are announced, and their bytes left to memcheck */
static _Atomic bool has_zeroing;  /* freed blocks are overwritten, whether they wait or not */

/* True for the one thread that frees the block. */
static bool claim(wr_record *record, wr_block_state to)
{
    uint32_t state = WR_BLOCK_LIVE;
    /* Linearisation point of a free. Observes the fields; pairs with make_live() and examine(). */
    while (!wr_cas_strong_acq_rel(&record->state, &state, (uint32_t)to)) {
        if (state != WR_BLOCK_EXAMINED) {
            return false;
        }
        wr_host_yield();
        state = WR_BLOCK_LIVE;
    }
    return true;
}

/* ---- allocate ---- */

static void paint(const wr_place *at)
{
    if (wr_load_relaxed(&has_zones)) {
        wr_zones of = wr_place_zones(at);
        wr_zone_paint(of.front, of.start);
        wr_zone_paint(of.end, of.rear);
    }
}

static void make_live(const wr_place *at, size_t offset, size_t size, const wr_check_call *call)
{
    wr_record *record = at->record;
    wr_store_relaxed(&record->address, at->block + offset);
    wr_store_relaxed(&record->size, size);
    wr_store_relaxed(&record->allocated, wr_stack_keep(call->caller));
    wr_store_relaxed(&record->freed, WR_STACK_NONE);
    wr_store_relaxed(&record->tag, wr_record_tag(call->family, call->alignment));
    paint(at);
    /* Publishes the record and the zones; pairs with claim(). */
    wr_store_release(&record->state, WR_BLOCK_LIVE);
}

static size_t release(uintptr_t block);

/* To the heap; slabs show no class, so not by wr_alloc_free(). */
static void return_block(uintptr_t address)
{
    wr_span *span = wr_span_find(address);
    void *block = (void *)address;
    if (wr_span_kind_of(span) == WR_SPAN_SLAB) {
        wr_return(1, &block, "free");
    } else {
        (void)wr_large_free(span);
    }
}

/* Time passes for those who look after memory, as in other slow calls. */
static void count_call(void)
{
    static _Atomic unsigned calls; /* relaxed: any number will do */
    if (wr_fetch_add_relaxed(&calls, 1) % WR_CACHE_CALLS_PER_TICK == 0) {
        wr_purger_poke(true, true);
    }
}

static void *take(size_t bytes, size_t alignment, bool zero)
{
    return zero ? wr_alloc_zero(wr_cache_self, bytes) : wr_alloc(wr_cache_self, bytes, alignment);
}

void *wr_check_alloc(size_t size, bool zero, const wr_check_call *call)
{
    size_t alignment = wr_max(call->alignment, 1);
    size_t offset = wr_max(alignment, WR_CHECK_ZONE_BYTES);
    if (size > PTRDIFF_MAX - WR_CHECK_ZONE_BYTES || offset > WR_CHECK_ALIGNMENT_MAX_BYTES ||
        size + WR_CHECK_ZONE_BYTES > PTRDIFF_MAX - offset) {
        return NULL;
    }
    size_t bytes = offset + size + WR_CHECK_ZONE_BYTES;
    count_call();
    void *block = take(bytes, alignment, zero);
    if (block == NULL && wr_quarantine_drain(release) != 0) {
        block = take(bytes, alignment, zero);
    }
    if (block == NULL) {
        return NULL;
    }
    wr_place at = {.block = (uintptr_t)block, .record = wr_shadow_obtain((uintptr_t)block)};
    if (at.record == NULL) {
        return_block((uintptr_t)block);
        return NULL;
    }
    const wr_span *span = wr_span_find(at.block);
    at.bytes = wr_span_kind_of(span) == WR_SPAN_SLAB ? span->block_bytes : span->bytes;
    make_live(&at, offset, size, call);
    if (wr_load_relaxed(&has_memcheck)) {
        wr_memcheck_allocated(wr_place_address(&at), size, zero);
    }
    return (void *)wr_place_address(&at);
}

/* ---- free ---- */

static bool look_at_zones(const char *subject, const wr_check_call *call, const wr_place *at)
{
    return !wr_load_relaxed(&has_zones) || wr_verdict_zones(subject, call, at);
}

static size_t give_back(const wr_place *at)
{
    if (wr_load_relaxed(&has_memcheck)) {
        wr_memcheck_returned(at->block, at->bytes);
    }
    /* What follows belongs to who gets the block next. */
    wr_store_relaxed(&at->record->state, WR_BLOCK_FREE);
    return_block(at->block);
    return at->bytes;
}

static _Atomic size_t found_in_quarantine; /* damaged blocks; relaxed: a count */

/* What leaves the quarantine: the last look. */
static size_t release(uintptr_t block)
{
    wr_place at;
    (void)wr_place_find(wr_span_find(block), block, &at);
    bool is_filled = wr_load_relaxed(&has_memcheck) || wr_verdict_fill("quarantine", &at);
    if (!look_at_zones("quarantine", NULL, &at) || !is_filled) {
        (void)wr_fetch_add_relaxed(&found_in_quarantine, 1);
    }
    return give_back(&at);
}

bool wr_check_free(void *ptr, const wr_check_call *call)
{
    wr_place at;
    wr_verdict is = wr_verdict_of(call, ptr, &at);
    if (is != WR_IS_BLOCK) {
        return is == WR_IS_WRONG;
    }
    if (!claim(at.record, WR_BLOCK_QUARANTINED)) {
        wr_verdict_double_free(call, (uintptr_t)ptr, &at);
        return true;
    }
    wr_store_relaxed(&at.record->freed, wr_stack_keep(call->caller));
    wr_verdict_compare(call, &at);
    (void)look_at_zones(NULL, call, &at);
    bool waits = wr_load_relaxed(&has_delay) &&
                 at.bytes <= wr_option_get(wr_option_check_quarantine) / WR_CHECK_QUARANTINE_SHARE;
    if (wr_load_relaxed(&has_memcheck)) {
        wr_memcheck_freed((uintptr_t)ptr);
    } else if (waits || wr_load_relaxed(&has_zeroing)) {
        wr_fill_paint((uintptr_t)ptr, (uintptr_t)ptr + wr_place_size(&at));
    }
    if (waits) {
        wr_quarantine_push(at.block, at.bytes, release);
    } else {
        (void)give_back(&at);
    }
    return true;
}

/* ---- resize, measure ---- */

bool wr_check_resize(void *ptr, size_t size, const wr_check_call *call, void **resized)
{
    wr_place at;
    wr_verdict is = wr_verdict_of(call, ptr, &at);
    if (is == WR_IS_OF_BEFORE && wr_span_find((uintptr_t)ptr) == NULL) {
        return false; /* the dynamic linker's */
    }
    wr_check_call plain = *call;
    plain.alignment = 0;
    void *moved = wr_check_alloc(size, false, &plain);
    if (moved != NULL && is == WR_IS_BLOCK) {
        memcpy(moved, ptr, wr_min(size, wr_place_size(&at)));
        (void)wr_check_free(ptr, call);
    } else if (moved != NULL && is == WR_IS_OF_BEFORE) {
        memcpy(moved, ptr, wr_min(size, wr_alloc_usable_size(ptr, call->function)));
        wr_alloc_free(wr_cache_self, ptr, call->function);
    }
    *resized = moved;
    return true;
}

bool wr_check_resize_in_place(void *ptr, size_t size, const wr_check_call *call, bool *done)
{
    wr_place at;
    wr_verdict is = wr_verdict_of(call, ptr, &at);
    *done = false;
    if (is != WR_IS_BLOCK || !claim(at.record, WR_BLOCK_EXAMINED)) {
        return is != WR_IS_OF_BEFORE;
    }
    uintptr_t end = (uintptr_t)ptr + WR_CHECK_ZONE_BYTES;
    bool fits = size <= at.block + at.bytes - end && !wr_load_relaxed(&has_memcheck);
    if (fits && look_at_zones(NULL, call, &at)) {
        wr_store_relaxed(&at.record->size, size); /* ours: claimed */
        paint(&at);
        *done = true;
    }
    /* Lets who frees it go on; pairs with claim(). */
    wr_store_release(&at.record->state, WR_BLOCK_LIVE);
    return true;
}

bool wr_check_usable_size(const void *ptr, const wr_check_call *call, size_t *size)
{
    wr_place at;
    wr_verdict is = wr_verdict_of(call, ptr, &at);
    *size = is == WR_IS_BLOCK ? wr_place_size(&at) : 0;
    return is != WR_IS_OF_BEFORE;
}

/* ---- all blocks ---- */

typedef struct walk {
    wr_block_state state; /* of the records to be visited */
    wr_check_visit *visit;
    void *context;
} walk;

/* A block's record may lie anywhere in that of its span: all are looked at, since the shape of a
 * slab may change meanwhile, and records can be read however late. */
static void visit_span(wr_region *region, unsigned slice, void *context)
{
    const walk *with = context;
    /* Observes the descriptor; pairs with wr_span_obtain(). */
    const wr_span *span = wr_load_acquire(&region->span[slice]);
    uintptr_t start = wr_slice_address(region, slice);
    wr_record *record = wr_shadow_find(start);
    size_t records = wr_span_kind_of(span) == WR_SPAN_SLAB
                         ? wr_span_reserved_bytes(span) / WR_SHADOW_UNIT_BYTES
                         : 1;
    for (; record != NULL && records > 0; records--, record++) {
        /* Observes the fields; pairs with make_live(). */
        if (wr_load_acquire(&record->state) == with->state) {
            with->visit(wr_load_relaxed(&record->address), record, with->context);
        }
    }
}

void wr_check_each(wr_check_visit *visit, void *context)
{
    walk with = {WR_BLOCK_LIVE, visit, context};
    wr_span_each(visit_span, &with);
}

static void let_go(uintptr_t address, wr_record *record, void *context)
{
    (void)address;
    (void)context;
    /* Relaxed: the child has one thread. */
    wr_store_relaxed(&record->state, WR_BLOCK_LIVE);
}

void wr_check_recover(void)
{
    walk with = {WR_BLOCK_EXAMINED, let_go, NULL};
    if (wr_check_is_on()) {
        wr_span_each(visit_span, &with);
    }
}

typedef struct examination {
    const char *subject;
    size_t damaged;
} examination;

static void examine(uintptr_t address, wr_record *record, void *context)
{
    examination *of = context;
    wr_place at = {.record = record};
    if (!claim(at.record, WR_BLOCK_EXAMINED)) {
        return;
    }
    const wr_span *span = wr_span_find(address);
    if (span != NULL && wr_place_find(span, address, &at) && wr_place_address(&at) == address) {
        of->damaged += !look_at_zones(of->subject, NULL, &at);
    }
    /* Lets who frees it go on; pairs with claim(). */
    wr_store_release(&at.record->state, WR_BLOCK_LIVE);
}

size_t wr_check_all(const char *subject)
{
    examination of = {subject, 0};
    wr_check_each(examine, &of);
    size_t before = wr_load_relaxed(&found_in_quarantine);
    (void)wr_quarantine_drain(release);
    return of.damaged + wr_load_relaxed(&found_in_quarantine) - before;
}

/* ---- start ---- */

void wr_check_set_action(unsigned action)
{
    wr_finding_set_action(action);
}

WR_STARTUP void wr_check_start(void)
{
    enum { HARDENED = WR_HARDEN_ZERO | WR_HARDEN_CANARY | WR_HARDEN_DELAY };
    bool is_set = wr_option_is_set(wr_option_check);
    bool is_checked = is_set || wr_option_get(wr_option_leaks) != 0;
    size_t harden = wr_option_get(wr_option_harden) & HARDENED;
    bool memcheck = wr_memcheck_is_there();
    if (!is_checked && harden == 0 && !memcheck) {
        return;
    }
    unsigned action = WR_ACTION_REPORT | (harden != 0 ? (unsigned)WR_ACTION_ABORT : 0);
    wr_finding_set_action(is_set ? (unsigned)wr_option_get(wr_option_check) : action);
    if (!is_checked && !wr_option_is_set(wr_option_check_stacks)) {
        wr_stack_disable(); /* they are most of what the mode costs */
    }
    if ((harden & WR_HARDEN_ZERO) != 0) {
        wr_fill_use_zero();
    }
    wr_store_relaxed(&has_zeroing, (harden & WR_HARDEN_ZERO) != 0);
    wr_store_relaxed(&has_memcheck, memcheck);
    wr_store_relaxed(&has_zones, !memcheck && (is_checked || (harden & WR_HARDEN_CANARY) != 0));
    wr_store_relaxed(&has_delay, memcheck || is_checked || (harden & WR_HARDEN_DELAY) != 0);
    wr_span_hide_classes();
    wr_store_relaxed(&wr_check_on, true);
}
