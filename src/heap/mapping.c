/* See mapping.h. */
#include "heap/mapping.h"

#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/huge.h"

/* Mappings of objects and kept ones. Relaxed: a number that steers. Signed, so that one too few for
 * a moment is no huge number. */
static _Atomic int mapping_count;

bool wr_mapping_is_crowded(void)
{
    return wr_load_relaxed(&mapping_count) >= WR_MAPPINGS_MAX;
}

wr_span *wr_mapping_describe(uintptr_t start)
{
    return wr_region_obtain(start) == NULL ? NULL : wr_span_obtain(start, 0);
}

void wr_mapping_lengthened(const wr_span *span, size_t before, size_t length)
{
    if (before < WR_HUGE_BYTES && length >= WR_HUGE_BYTES) {
        wr_huge_advise(span->start, length);
    }
}

wr_span *wr_mapping_create(size_t bytes, size_t alignment)
{
    if (!wr_extent_charge(bytes)) {
        return NULL;
    }
    size_t length = wr_mapping_length(bytes);
    bool huge = length >= WR_HUGE_BYTES && wr_huge_is_asked();
    alignment = wr_max(alignment, huge ? WR_HUGE_BYTES : WR_SLICE_BYTES);
    uintptr_t start = (uintptr_t)wr_vm_map(length, alignment);
    wr_span *span = start == 0 ? NULL : wr_mapping_describe(start);
    if (span == NULL) {
        if (start != 0) {
            (void)wr_vm_unmap((void *)start, length);
        }
        wr_commit_refund(bytes);
        return NULL;
    }
    wr_mapping_lengthened(span, 0, length);
    span->committed_bytes = bytes;
    span->dumped_bytes = length;
    (void)wr_fetch_add_relaxed(&mapping_count, 1);
    return span;
}

bool wr_mapping_commit(wr_span *span, size_t bytes)
{
    if (bytes > span->committed_bytes) {
        if (!wr_extent_charge(bytes - span->committed_bytes)) {
            return false;
        }
        span->committed_bytes = bytes;
    }
    return true;
}

void wr_mapping_uncommit(wr_span *span, size_t bytes)
{
    if (bytes < span->committed_bytes) {
        size_t freed = span->committed_bytes - bytes;
        span->committed_bytes = bytes;
        wr_commit_refund(freed);
    }
}

static void *behind(const wr_span *span, size_t bytes)
{
    return (void *)(span->start + bytes);
}

void wr_mapping_hide(wr_span *span, size_t bytes, size_t length)
{
    size_t shown = wr_mapping_length(bytes);
    if (length - shown < WR_DUMP_STEP_BYTES ||
        !wr_vm_set_dumped(behind(span, shown), length - shown, false)) {
        shown = length;
    }
    span->dumped_bytes = shown;
}

void wr_mapping_show(wr_span *span, size_t bytes, size_t length)
{
    size_t shown = span->dumped_bytes;
    if (bytes <= shown) {
        return;
    }
    size_t next = wr_mapping_length(bytes);
    next = length - next < 2 * WR_DUMP_STEP_BYTES ? length : next + WR_DUMP_STEP_BYTES;
    /* Where the kernel refuses, a dump lacks these bytes. */
    (void)wr_vm_set_dumped(behind(span, shown), next - shown, true);
    span->dumped_bytes = next;
}

size_t wr_mapping_committed_bytes(uintptr_t start)
{
    const wr_span *span = wr_span_at(start);
    return span == NULL ? 0 : span->committed_bytes;
}

void wr_mapping_destroy(uintptr_t start, size_t length)
{
    /* Looked at first: with its addresses the descriptor becomes another thread's. */
    wr_span *span = wr_span_at(start);
    size_t committed = 0;
    if (span != NULL) {
        committed = span->committed_bytes;
        wr_span_leave(span);
    }
    if (wr_vm_unmap((void *)start, length) || wr_extent_donate(start, length)) {
        wr_commit_refund(committed);
    }
    (void)wr_fetch_sub_relaxed(&mapping_count, 1);
}
