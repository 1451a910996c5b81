/* See span.h. */
#include "page/span.h"

#include "base/assert.h"
#include "page/meta.h"

/* Whole cache lines of bitmap words, and twice as many as the descriptor that is replaced has, so
 * that all that a slice ever leaves behind is no more than its last one. */
static unsigned room_for(const wr_span *replaced, unsigned words)
{
    size_t least = replaced == NULL ? 0 : 2 * (size_t)replaced->word_room;
    return (unsigned)wr_align_up(wr_max(words, least), WR_SPAN_LINE_WORDS);
}

wr_span *wr_span_obtain(uintptr_t start, unsigned words)
{
    wr_region *region = wr_region_of(start);
    _Atomic(wr_span *) *entry = &region->span[wr_slice_number(start)];
    /* Observes start and room. Who has the slice is the only writer; a slice is handed on in order,
     * but a mapping's place by way of the kernel, so here too; pairs with the store below, in
     * wr_span_obtain(). */
    wr_span *span = wr_load_acquire(entry);
    if (span != NULL) {
        /* Observes the fields as the last holder left them, by the same way; pairs with
         * wr_span_close(), wr_span_try_close() and wr_span_leave(). */
        uint8_t kind = wr_load_acquire(&span->kind);
        WR_ASSERT(kind == WR_SPAN_FREE);
        (void)kind;
        if (span->word_room >= words) {
            return span;
        }
    }
    unsigned room = room_for(span, words);
    span = wr_meta_alloc(sizeof *span + room * sizeof span->free_bits[0]);
    if (span == NULL) {
        return NULL;
    }
    span->start = start;
    span->word_room = (uint16_t)room;
    /* Publishes start; pairs with wr_span_find() and wr_span_obtain(). */
    wr_store_release(entry, span);
    return span;
}

/* Relaxed: a mode, set while the process starts. */
static _Atomic bool are_classes_hidden;

void wr_span_hide_classes(void)
{
    wr_store_relaxed(&are_classes_hidden, true);
}

/* Class marks of a slab's slices. Relaxed: who frees a block got it after this, in an order of the
 * program's own; a wrong pointer may read either value. */
static void set_class(const wr_span *span, unsigned class)
{
    wr_region *region = wr_region_of(span->start);
    unsigned slice = wr_slice_number(span->start);
    for (size_t i = 0; i < wr_span_slices(span); i++) {
        wr_store_relaxed(&region->mark[slice + i], wr_class_mark_of(class));
    }
}

static _Atomic uint64_t *head_word(const wr_span *span, uint64_t *bit)
{
    unsigned slice = wr_slice_number(span->start);
    *bit = (uint64_t)1 << (slice % WR_WORD_BITS);
    return &wr_region_of(span->start)->slices[slice / WR_WORD_BITS].head;
}

void wr_span_open(wr_span *span, wr_span_kind kind, size_t bytes, size_t reserved_bytes)
{
    WR_ASSERT(wr_span_kind_of(span) == WR_SPAN_FREE);
    WR_ASSERT(bytes <= reserved_bytes);
    span->bytes = bytes;
    wr_store_relaxed(&span->reserved_bytes, reserved_bytes); /* published by the head bit */
    wr_store_relaxed(&span->kind, (uint8_t)kind);
    if (kind == WR_SPAN_SLAB) {
        set_class(span, wr_load_relaxed(&are_classes_hidden) ? WR_CLASS_NONE : span->class);
    }
    uint64_t bit;
    _Atomic uint64_t *word = head_word(span, &bit);
    /* Publishes the fields; pairs with wr_span_find(). */
    (void)wr_fetch_or_release(word, bit);
}

static void clear_tables(wr_span *span, wr_span_kind kind)
{
    if (kind == WR_SPAN_SLAB) {
        set_class(span, WR_CLASS_NONE);
    }
    uint64_t bit;
    _Atomic uint64_t *word = head_word(span, &bit);
    /* Relaxed: the slices go on to others by a release of their own. */
    (void)wr_fetch_and_relaxed(word, ~bit);
}

void wr_span_close(wr_span *span)
{
    wr_span_kind kind = wr_span_kind_of(span);
    WR_ASSERT(kind != WR_SPAN_FREE);
    clear_tables(span, kind);
    /* Publishes that we are done with the fields; pairs with wr_span_obtain(). */
    wr_store_release(&span->kind, WR_SPAN_FREE);
}

void wr_span_leave(wr_span *span)
{
    WR_ASSERT(wr_span_kind_of(span) == WR_SPAN_FREE);
    /* Publishes that we are done with the fields; pairs with wr_span_obtain(). */
    wr_store_release(&span->kind, WR_SPAN_FREE);
}

bool wr_span_try_close(wr_span *span, wr_span_kind kind)
{
    uint8_t expected = (uint8_t)kind;
    /* Linearisation point of a large object's free. A second free that comes so late that the place
     * is in use again cannot be told from a right one: no ABA that matters. Observes the fields as
     * the last holder left them; pairs with wr_span_open(). Publishes that we are done with them;
     * pairs with wr_span_obtain(). */
    if (!wr_cas_strong_acq_rel(&span->kind, &expected, WR_SPAN_FREE)) {
        return false;
    }
    clear_tables(span, kind);
    return true;
}

/* The number of the nearest head at or below a slice, or WR_REGION_SLICES. */
static unsigned find_head(wr_region *region, unsigned slice)
{
    unsigned word = slice / WR_WORD_BITS;
    uint64_t mask = wr_mask(0, slice % WR_WORD_BITS + 1);
    for (;;) {
        /* Observes the fields of the span; pairs with wr_span_open(). */
        uint64_t heads = wr_load_acquire(&region->slices[word].head) & mask;
        if (heads != 0) {
            return word * WR_WORD_BITS + wr_highest_bit(heads);
        }
        if (word == 0) {
            return WR_REGION_SLICES;
        }
        word--;
        mask = ~(uint64_t)0;
    }
}

wr_span *wr_span_find(uintptr_t address)
{
    if (address >> WR_ADDRESS_BITS != 0) {
        return NULL;
    }
    unsigned slice = wr_slice_number(address);
    /* A mapping may begin in a window below the address. */
    for (size_t window = wr_region_number(address) + 1; window-- > 0;) {
        wr_region *region = wr_region_in_window(window);
        unsigned head = region == NULL ? WR_REGION_SLICES : find_head(region, slice);
        if (head < WR_REGION_SLICES) {
            /* Observes start; pairs with wr_span_obtain(). */
            wr_span *span = wr_load_acquire(&region->span[head]);
            return address - span->start < wr_span_reserved_bytes(span) ? span : NULL;
        }
        slice = WR_REGION_SLICES - 1;
    }
    return NULL;
}

wr_span *wr_span_at(uintptr_t address)
{
    wr_region *region = wr_region_of(address);
    if (region == NULL || address >> WR_ADDRESS_BITS != 0 || address % WR_SLICE_BYTES != 0) {
        return NULL;
    }
    /* Observes start; pairs with wr_span_obtain(). */
    return wr_load_acquire(&region->span[wr_slice_number(address)]);
}

void wr_span_each(wr_span_visit *visit, void *context)
{
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            /* Observes what a span was opened with; pairs with wr_span_open(). */
            uint64_t heads = wr_load_acquire(&region->slices[w].head);
            for (; heads != 0; heads &= heads - 1) {
                visit(region, w * WR_WORD_BITS + wr_lowest_bit(heads), context);
            }
        }
    }
}

static size_t committed_at(wr_region *region, unsigned slice)
{
    /* Relaxed: at rest. */
    unsigned class = wr_region_class_in(region, slice);
    if (class != WR_CLASS_NONE) {
        return wr_size_classes[class].slices *
               WR_SLICE_BYTES; /* without a look at the descriptor */
    }
    const wr_span *span = wr_load_relaxed(&region->span[slice]);
    switch (wr_span_kind_of(span)) {
    case WR_SPAN_FREE:
        return 0; /* a thread that is no more was freeing it */
    case WR_SPAN_MAPPED:
        return span->committed_bytes;
    default:
        return wr_span_reserved_bytes(span);
    }
}

static void add_committed(wr_region *region, unsigned slice, void *bytes)
{
    *(size_t *)bytes += committed_at(region, slice);
}

size_t wr_span_committed_bytes(void)
{
    size_t bytes = 0;
    wr_span_each(add_committed, &bytes);
    return bytes;
}
