/* See large.h. */
#include "heap/large.h"

#include "base/assert.h"
#include "base/options.h"
#include "heap/keep.h"
#include "heap/mapping.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page/slice.h"

#include <string.h>

/* The mmap threshold. Relaxed: a policy value, nothing is published by it.
 *     63                                               1        0
 *     +-------------------------------------------------+--------+
 *     | bytes; 0: not moved yet, the option holds       | PINNED |
 *     +-------------------------------------------------+--------+ */
static _Atomic size_t threshold_word;
#define PINNED 1u

static size_t threshold(void)
{
    size_t word = wr_load_relaxed(&threshold_word);
    return word != 0 ? word >> 1 : wr_option_get(wr_option_mmap_threshold);
}

void wr_large_pin_threshold(size_t bytes)
{
    wr_store_relaxed(&threshold_word, bytes << 1 | PINNED);
}

static bool is_pinned(void)
{
    return (wr_load_relaxed(&threshold_word) & PINNED) != 0 ||
           wr_option_is_set(wr_option_mmap_threshold);
}

/* A freed mapping shows that the program uses such sizes in passing: that size too comes from the
 * page heap from now on. */
static void raise_threshold(size_t freed_bytes)
{
    size_t word = wr_load_relaxed(&threshold_word);
    if (freed_bytes >= threshold() && freed_bytes <= WR_MMAP_THRESHOLD_MAX_BYTES && !is_pinned()) {
        /* From the word that was looked at: a pin that came meanwhile stays. A weak failure leaves
         * the raising to the next free. */
        (void)wr_cas_weak_relaxed(&threshold_word, &word, (freed_bytes + 1) << 1);
    }
}

static size_t whole_pages(size_t size)
{
    return wr_align_up(size, wr_host_page_bytes());
}

size_t wr_large_good_size(size_t size)
{
    return whole_pages(size);
}

static void *alloc_span(size_t bytes, bool zero)
{
    size_t slices = wr_divide_up(bytes, WR_SLICE_BYTES);
    bool is_zero = false;
    uintptr_t start = wr_extent_claim(slices, &is_zero);
    if (start == 0) {
        return NULL;
    }
    wr_span *span = wr_span_obtain(start, 0);
    if (span == NULL) {
        wr_slice_unclaim(start, slices, is_zero);
        return NULL;
    }
    span->class = WR_CLASS_NONE;
    wr_span_open(span, WR_SPAN_LARGE, bytes, slices * WR_SLICE_BYTES);
    if (zero && !is_zero) {
        memset((void *)start, 0, bytes);
    }
    return (void *)start;
}

static void *open_mapping(wr_span *span, size_t bytes, size_t reserved_bytes, size_t alignment,
                          uint8_t growths)
{
    WR_ASSERT(bytes <= span->committed_bytes && span->committed_bytes <= reserved_bytes);
    span->class = WR_CLASS_NONE;
    span->is_aligned = alignment > WR_SLICE_BYTES;
    span->growths = growths;
    wr_span_open(span, WR_SPAN_MAPPED, bytes, reserved_bytes);
    return (void *)span->start;
}

/* Makes a kept mapping read as zero, as far as bytes. */
static void make_zero(wr_span *span, size_t reserved_bytes, size_t bytes)
{
    if (bytes < WR_KEEP_DROP_BYTES || !wr_vm_purge((void *)span->start, reserved_bytes)) {
        memset((void *)span->start, 0, bytes);
        return;
    }
    wr_mapping_uncommit(span, bytes);
}

/* Of a mapping that is far larger than the object in it is yet, what it may never grow into goes
 * back. */
static void drop_tail(wr_span *span, size_t bytes, size_t reserved_bytes)
{
    size_t keep = wr_mapping_length(2 * bytes);
    if (span->committed_bytes > keep &&
        wr_vm_purge((void *)(span->start + keep), reserved_bytes - keep)) {
        wr_mapping_uncommit(span, keep);
        wr_mapping_hide(span, keep, reserved_bytes);
    }
}

/* A kept mapping that fits, for an object that grows any that is large enough; NULL if there is
 * none, or the limit forbids what it has too little. */
static void *reuse_mapping(size_t bytes, size_t alignment, bool zero, uint8_t growths)
{
    size_t length = wr_mapping_length(bytes);
    size_t most = growths == 0 ? length + length / 4 : SIZE_MAX;
    wr_kept kept = wr_keep_take(length, most, alignment);
    if (kept.start == 0) {
        return NULL;
    }
    wr_span *span = wr_mapping_describe(kept.start); /* there since it was first mapped */
    if (!wr_mapping_commit(span, bytes)) {
        wr_keep_put(kept.start, kept.bytes);
        return NULL;
    }
    if (zero) {
        make_zero(span, kept.bytes, bytes);
    }
    drop_tail(span, bytes, kept.bytes);
    return open_mapping(span, bytes, kept.bytes, alignment, growths);
}

static void *alloc_mapping(size_t bytes, size_t alignment, bool zero, uint8_t growths)
{
    void *object = reuse_mapping(bytes, alignment, zero, growths);
    if (object != NULL) {
        return object;
    }
    wr_span *span = wr_mapping_create(bytes, alignment);
    return span == NULL ? NULL
                        : open_mapping(span, bytes, wr_mapping_length(bytes), alignment, growths);
}

bool wr_large_is_below_threshold(size_t size)
{
    return size < threshold();
}

/* Small objects, and where there are many mappings all but the largest, are better on slices. */
static bool prefers_slices(size_t bytes)
{
    return wr_large_is_below_threshold(bytes) ||
           (bytes <= WR_MMAP_THRESHOLD_MAX_BYTES && wr_mapping_is_crowded());
}

/* One attempt: slices where the policy wants them, else (or else) a mapping. */
static void *try_alloc(size_t bytes, size_t alignment, bool zero)
{
    void *object = NULL;
    if (alignment <= WR_SLICE_BYTES && prefers_slices(bytes)) {
        object = alloc_span(bytes, zero);
    }
    return object != NULL ? object : alloc_mapping(bytes, alignment, zero, 0);
}

void *wr_large_alloc(size_t size, size_t alignment, bool zero)
{
    size_t bytes = whole_pages(size);
    void *object = try_alloc(bytes, alignment, zero);
    if (object == NULL && wr_keep_release_all() != 0) {
        object = try_alloc(bytes, alignment, zero);
    }
    return object;
}

void *wr_large_alloc_growing(size_t size)
{
    size_t bytes = whole_pages(size);
    if (bytes >= WR_MMAP_THRESHOLD_BYTES && !is_pinned() &&
        (bytes > WR_MMAP_THRESHOLD_MAX_BYTES || !wr_mapping_is_crowded())) {
        void *object = alloc_mapping(bytes, WR_SLICE_BYTES, false, 1);
        if (object != NULL) {
            return object;
        }
    }
    return wr_large_alloc(size, WR_ALIGNMENT_BYTES, false);
}

/* A mapping that is out of use waits for the next of its kind, if there will be one: an object that
 * grows, one aligned like it, or one above the threshold too. What is like it but below the
 * threshold now comes from slices, and need not find two places with page frames. */
static void free_mapping(wr_span *span, size_t bytes, size_t reserved_bytes)
{
    raise_threshold(bytes);
    if (span->growths == 0 && !span->is_aligned && wr_large_is_below_threshold(bytes)) {
        wr_mapping_destroy(span->start, reserved_bytes);
        return;
    }
    wr_mapping_show(span, reserved_bytes, reserved_bytes); /* who takes it uses all of it */
    wr_keep_put(span->start, reserved_bytes);
}

bool wr_large_free(wr_span *span)
{
    wr_span_kind kind = wr_span_kind_of(span);
    size_t bytes = span->bytes;
    size_t reserved_bytes = wr_span_reserved_bytes(span);
    if ((kind != WR_SPAN_LARGE && kind != WR_SPAN_MAPPED) || !wr_span_try_close(span, kind)) {
        return false;
    }
    if (kind == WR_SPAN_LARGE) {
        size_t slices = reserved_bytes / WR_SLICE_BYTES;
        wr_slice_release(span->start, slices);
        wr_purge_over_cap(slices);
    } else {
        free_mapping(span, bytes, reserved_bytes);
    }
    return true;
}

/* A span gives its tail back, or takes the slices behind it. */
static bool resize_span(wr_span *span, size_t bytes)
{
    size_t old_slices = wr_span_slices(span);
    size_t slices = wr_divide_up(bytes, WR_SLICE_BYTES);
    uintptr_t old_end = span->start + old_slices * WR_SLICE_BYTES;
    bool zero;
    if (slices > old_slices &&
        (wr_align_down(old_end - 1, WR_REGION_BYTES) != wr_align_down(old_end, WR_REGION_BYTES) ||
         !wr_extent_claim_at(old_end, slices - old_slices, &zero))) {
        return false;
    }
    span->bytes = bytes;
    wr_store_relaxed(&span->reserved_bytes, slices * WR_SLICE_BYTES); /* the holder's to change */
    if (slices < old_slices) {
        wr_slice_release(span->start + slices * WR_SLICE_BYTES, old_slices - slices);
        wr_purge_over_cap(old_slices - slices);
    }
    return true;
}

/* Growths are counted up to the most that the field holds. */
static uint8_t one_more(uint8_t growths)
{
    return growths < UINT8_MAX ? (uint8_t)(growths + 1) : growths;
}

/* A mapping uses its reserve or grows where it is. */
static bool grow_mapping(wr_span *span, size_t bytes)
{
    size_t reserved_bytes = wr_span_reserved_bytes(span);
    size_t committed_bytes = span->committed_bytes;
    if (!wr_mapping_commit(span, bytes)) {
        return false;
    }
    if (bytes > reserved_bytes) {
        size_t length = wr_mapping_length(bytes);
        wr_mapping_show(span, reserved_bytes, reserved_bytes);
        if (!wr_vm_grow((void *)span->start, reserved_bytes, length)) {
            wr_mapping_uncommit(span, committed_bytes);
            return false;
        }
        wr_store_relaxed(&span->reserved_bytes, length); /* the holder's to change */
        span->dumped_bytes = length;
        wr_mapping_lengthened(span, reserved_bytes, length);
        span->growths = one_more(span->growths);
    }
    wr_mapping_show(span, bytes, wr_span_reserved_bytes(span));
    span->bytes = bytes;
    return true;
}

/* A mapping gives its tail and its reserve back. */
static void shrink_mapping(wr_span *span, size_t bytes)
{
    size_t reserved_bytes = wr_span_reserved_bytes(span);
    size_t length = wr_mapping_length(bytes);
    span->bytes = bytes;
    if (length == reserved_bytes) {
        return;
    }
    /* First out of the tables, then out of memory: others may get the addresses at once. */
    wr_store_relaxed(&span->reserved_bytes, length);
    if (wr_vm_unmap((void *)(span->start + length), reserved_bytes - length)) {
        wr_mapping_uncommit(span, length);
        span->dumped_bytes = wr_min(span->dumped_bytes, length);
    } else {
        wr_store_relaxed(&span->reserved_bytes, reserved_bytes); /* the holder's to change */
    }
}

static bool resize_in_place(wr_span *span, size_t bytes)
{
    if (wr_span_kind_of(span) == WR_SPAN_LARGE) {
        return resize_span(span, bytes);
    }
    if (bytes > span->bytes) {
        return grow_mapping(span, bytes);
    }
    shrink_mapping(span, bytes);
    return true;
}

bool wr_large_resize_in_place(wr_span *span, size_t size)
{
    size_t bytes = whole_pages(size);
    if (bytes == span->bytes || resize_in_place(span, bytes)) {
        return true;
    }
    /* What is kept goes back where the limit on committed bytes stands in the way. */
    return !wr_commit_has_room(bytes - span->bytes) && wr_keep_release_all() != 0 &&
           resize_in_place(span, bytes);
}

/* Address space for an object that has grown before: half as much again, which costs no memory
 * until it is used, so that n growths move it log n times. */
static size_t reserve_for(size_t bytes, uint8_t growths)
{
    return wr_mapping_length(growths == 0 || bytes > PTRDIFF_MAX / 2 ? bytes : bytes + bytes / 2);
}

/* The move to `reserved` bytes of address space, of which `bytes` are in use afterwards. */
static void *move_mapping(wr_span *span, size_t bytes, size_t reserved, uint8_t growths)
{
    uintptr_t start = (uintptr_t)wr_vm_reserve(reserved, WR_SLICE_BYTES);
    if (start == 0) {
        return NULL;
    }
    wr_span *moved = wr_mapping_describe(start);
    if (moved == NULL) {
        wr_vm_unreserve((void *)start, reserved);
        return NULL;
    }
    size_t old_bytes = span->bytes;
    size_t old_reserved = wr_span_reserved_bytes(span);
    size_t committed_bytes = span->committed_bytes;
    wr_mapping_show(span, old_reserved, old_reserved);
    /* Out of the tables first: the old addresses are another thread's as soon as they are free. */
    wr_span_close(span);
    if (!wr_vm_move((void *)span->start, old_reserved, (void *)start, reserved)) {
        wr_span_open(span, WR_SPAN_MAPPED, old_bytes, old_reserved);
        return NULL;
    }
    moved->committed_bytes = committed_bytes;
    wr_mapping_lengthened(moved, old_reserved, reserved);
    wr_mapping_hide(moved, bytes, reserved);
    return open_mapping(moved, bytes, reserved, WR_SLICE_BYTES, growths);
}

void *wr_large_move(wr_span *span, size_t size)
{
    size_t bytes = whole_pages(size);
    size_t length = wr_mapping_length(bytes);
    size_t reserved = reserve_for(bytes, span->growths);
    uint8_t growths = one_more(span->growths);
    size_t committed_bytes = span->committed_bytes;
    if (!wr_mapping_commit(span, bytes)) {
        return NULL;
    }
    void *moved = move_mapping(span, bytes, reserved, growths);
    if (moved == NULL && reserved > length) {
        /* Where memory is accounted strictly, the reserve may be too much. */
        moved = move_mapping(span, bytes, length, growths);
    }
    if (moved == NULL) {
        wr_mapping_uncommit(span, committed_bytes);
    }
    return moved;
}
