/* See walk.h. */
#include "diag/walk.h"

#include "bin/slab.h"
#include "diag/finding.h"
#include "os/host.h"

typedef struct inspection {
    bool alone;
    size_t faults;
} inspection;

static void report(const char *what, uintptr_t address)
{
    wr_line line;
    wr_finding_begin(&line, "heap_check", false, what, address);
    wr_finding_print(&line, WR_STACK_NONE, WR_STACK_NONE, WR_STACK_NONE);
}

/* Relaxed loads throughout: what another thread changes meanwhile is no fault at a third look. */
static bool has_bit(_Atomic uint64_t *words, size_t bit)
{
    return (wr_load_relaxed(&words[bit / WR_WORD_BITS]) >> (bit % WR_WORD_BITS) & 1) != 0;
}

static wr_slice_word *word_of(wr_region *region, unsigned slice)
{
    return &region->slices[slice / WR_WORD_BITS];
}

static bool is_head(wr_region *region, unsigned slice)
{
    return has_bit(&word_of(region, slice)->head, slice % WR_WORD_BITS);
}

static bool is_available(wr_region *region, unsigned slice)
{
    return has_bit(&word_of(region, slice)->available, slice % WR_WORD_BITS);
}

/* The slices of a span behind its first: in nobody else's hands, and of the class of that. */
static const char *look_at_slices(wr_region *region, unsigned first, size_t count, size_t class)
{
    for (unsigned s = first; s < first + count && s < WR_REGION_SLICES; s++) {
        if (is_available(region, s)) {
            return "slice in use and available";
        }
        if (s != first && is_head(region, s)) {
            return "span within a span";
        }
        if (wr_region_class_in(region, s) != class) {
            return "class mark of another class";
        }
    }
    return NULL;
}

/* What the descriptor of a slab says, against its class and its bits; alone. */
static const char *look_at_slab(wr_region *region, unsigned slice, const wr_span *slab)
{
    if (slab->class == WR_CLASS_NONE || slab->class >= WR_CLASS_COUNT) {
        return "slab of no class";
    }
    const wr_size_class *shape = &wr_size_classes[slab->class];
    if (slab->block_bytes != shape->block_bytes || slab->blocks != shape->blocks ||
        wr_span_slices(slab) != shape->slices) {
        return "slab of another shape than its class";
    }
    size_t bits = 0;
    size_t room = wr_divide_up(slab->blocks, WR_WORD_BITS) * WR_WORD_BITS;
    for (size_t i = 0; i < room; i++) {
        if (has_bit((_Atomic uint64_t *)(uintptr_t)slab->free_bits, i)) {
            bits++;
            if (i >= slab->blocks) {
                return "free bit of no block";
            }
        }
    }
    int64_t state = wr_load_relaxed(&slab->state);
    if ((int64_t)bits != wr_slab_state_count(state)) {
        return "count of free blocks is not that of the bits";
    }
    bool listed = has_bit(&region->listed[slice / WR_WORD_BITS][slab->class], slice % WR_WORD_BITS);
    if (listed != ((state & WR_SLAB_LISTED) != 0)) {
        return "slab listed, or not, against its state";
    }
    return (state & (WR_SLAB_OWNED | WR_SLAB_LISTED)) == 0 && bits != 0 ? "slab lost to its bin"
                                                                        : NULL;
}

static const char *look_at_span(wr_region *region, unsigned slice, bool alone)
{
    const wr_span *span = wr_load_relaxed(&region->span[slice]);
    size_t class = wr_region_class_in(region, slice);
    if (span == NULL) {
        return "span without a descriptor";
    }
    if (class >= WR_CLASS_COUNT) {
        return "class mark of no class";
    }
    wr_span_kind kind = wr_span_kind_of(span);
    if (kind > WR_SPAN_FENCE) {
        return "span of no kind";
    }
    if (class != WR_CLASS_NONE && kind != WR_SPAN_SLAB) {
        return "class mark on what is no slab";
    }
    size_t slices = class != WR_CLASS_NONE ? wr_size_classes[class].slices : 1;
    if (alone) {
        if (kind == WR_SPAN_FREE) {
            return "span in use that is free";
        }
        if (span->start != wr_slice_address(region, slice)) {
            return "descriptor of another place";
        }
        slices = wr_span_slices(span);
    }
    const char *fault = look_at_slices(region, slice, slices, class);
    if (fault == NULL && alone && kind == WR_SPAN_SLAB) {
        fault = look_at_slab(region, slice, span);
    }
    return fault;
}

static void inspect(wr_region *region, unsigned slice, void *context)
{
    enum { LOOKS = 3 };
    inspection *of = context;
    const char *fault = NULL;
    for (unsigned look = 0; look < LOOKS; look++) {
        fault = look_at_span(region, slice, of->alone);
        if (fault == NULL || !is_head(region, slice)) {
            return;
        }
        wr_host_yield();
    }
    of->faults++;
    report(fault, wr_slice_address(region, slice));
}

/* slice.h: at rest dirty and zero slices are available ones, and never both. */
static void inspect_words(inspection *of)
{
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            uint64_t available = wr_load_relaxed(&region->slices[w].available);
            uint64_t dirty = wr_load_relaxed(&region->slices[w].dirty);
            uint64_t zero = wr_load_relaxed(&region->slices[w].zero);
            if (((dirty | zero) & ~available) != 0 || (dirty & zero) != 0) {
                of->faults++;
                report("bits of slices that do not go together",
                       wr_slice_address(region, w * WR_WORD_BITS));
            }
        }
    }
}

size_t wr_walk_check(bool alone)
{
    inspection of = {.alone = alone};
    wr_span_each(inspect, &of);
    if (alone) {
        inspect_words(&of);
    }
    return of.faults;
}
