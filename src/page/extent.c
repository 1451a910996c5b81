/* See extent.h. */
#include "page/extent.h"

#include "base/options.h"
#include "os/host.h"
#include "os/lock.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/giveback.h"
#include "page/huge.h"
#include "page/purge.h"
#include "page/slice.h"

static wr_lock growth_lock = WR_LOCK_INITIALIZER(WR_RANK_GROWTH);
static _Atomic size_t generation_count; /* written under the lock */
static uintptr_t brk_end; /* of the last piece of the data segment; used under the lock */

size_t wr_extent_generation(void)
{
    /* Observes the slices added; pairs with wr_extent_grow(). */
    return wr_load_acquire(&generation_count);
}

/* Makes the regions of a range, so that adding it cannot fail. */
static bool obtain_regions(wr_vm_range range)
{
    for (uintptr_t at = range.start; at < range.end;
         at = wr_align_down(at, WR_REGION_BYTES) + WR_REGION_BYTES) {
        if (wr_region_obtain(at) == NULL) {
            return false;
        }
    }
    return true;
}

static void add(wr_vm_range range)
{
    for (uintptr_t at = range.start; at < range.end;) {
        uintptr_t end = wr_align_down(at, WR_REGION_BYTES) + WR_REGION_BYTES;
        end = end < range.end ? end : range.end;
        wr_slice_add(at, (end - at) / WR_SLICE_BYTES);
        at = end;
    }
}

/* True if a run of `bytes` fits the range without crossing a region's border. */
static bool holds_run(wr_vm_range range, size_t bytes)
{
    uintptr_t border = wr_align_up(range.start, WR_REGION_BYTES);
    if (border == range.start || border >= range.end) {
        return range.end - range.start >= bytes;
    }
    return border - range.start >= bytes || range.end - border >= bytes;
}

static wr_vm_range extend_by_mmap(size_t bytes)
{
    size_t unit = wr_huge_is_asked() ? WR_HUGE_BYTES : WR_SLICE_BYTES;
    bytes = wr_align_up(bytes, unit);
    wr_vm_range range = {0, 0};
    range.start = (uintptr_t)wr_vm_map(bytes, unit);
    if (range.start != 0) {
        range.end = range.start + bytes;
        wr_vm_name((void *)range.start, bytes, "weir: heap"); /* brk's memory has a name: [heap] */
    }
    return range;
}

typedef wr_vm_range extent_source(size_t bytes);

/* What cannot be described cannot be used. A piece of the data segment stays where it is,
 * untouched: the program may have moved the break on. */
static void give_back(extent_source *source, wr_vm_range range)
{
    if (source == extend_by_mmap) {
        (void)wr_vm_unmap((void *)range.start, range.end - range.start);
    }
}

/* One way to get memory: tries the step first, then no more than what is needed. A range that does
 * not hold the run is kept all the same: it is memory. */
static bool extend(extent_source *source, size_t step_bytes, size_t bytes)
{
    size_t sizes[2] = {step_bytes, bytes};
    for (unsigned i = 0; i < 2; i++) {
        wr_vm_range range = source(sizes[i]);
        if (range.start == range.end) {
            continue;
        }
        if (!obtain_regions(range)) {
            give_back(source, range);
            continue;
        }
        if (source == wr_vm_brk_extend) {
            brk_end = range.end;
        }
        if (wr_slice_total_count() * WR_SLICE_BYTES + (range.end - range.start) >
            WR_GROWTH_MIN_BYTES) {
            wr_huge_advise(range.start, range.end - range.start); /* small programs are spared it */
        }
        add(range);
        if (holds_run(range, bytes)) {
            return true;
        }
    }
    return false;
}

static bool grow_locked(size_t slices)
{
    size_t bytes = slices * WR_SLICE_BYTES;
    size_t step = wr_slice_total_count() / 8 * WR_SLICE_BYTES;
    step = wr_min(wr_max(step, WR_GROWTH_MIN_BYTES), WR_GROWTH_MAX_BYTES);
    step = wr_max(step, bytes);
    /* The data segment knows no alignment of huge pages. */
    return (wr_option_get(wr_option_brk) != 0 && !wr_huge_is_asked() &&
            extend(wr_vm_brk_extend, step, bytes)) ||
           extend(extend_by_mmap, step, bytes);
}

bool wr_extent_grow(size_t slices, size_t generation)
{
    bool grown = true;
    wr_lock_acquire(&growth_lock);
    /* Relaxed: written under this lock. */
    if (wr_load_relaxed(&generation_count) == generation) {
        grown = grow_locked(slices);
        if (grown) {
            /* Publishes the slices added; pairs with wr_extent_generation(). */
            wr_store_release(&generation_count, generation + 1);
        }
    }
    wr_lock_release(&growth_lock);
    return grown;
}

/* What a request has spent on others, after a refusal with nothing left to purge. */
typedef struct patience {
    unsigned yields;
    unsigned waits;
} patience;

/* After a refusal: what others have in hand comes back soon. Memory on its way to the kernel is
 * waited for, but for a request that would be refused with an empty heap; who has claimed half a
 * run that is not whole is only yielded to. False if it is time to fail. */
static bool may_try_again(patience *spent, size_t bytes)
{
    enum { YIELDS = 4, WAITS = 100 };
    if (bytes <= wr_commit_hard_limit() && spent->waits < WAITS && wr_giveback_await()) {
        spent->waits++;
        return true;
    }
    wr_host_yield();
    return ++spent->yields <= YIELDS;
}

/* Purges dirty slices, so that `bytes` more may be charged; false if there were none. */
static bool make_room(size_t bytes)
{
    size_t slices = wr_divide_up(bytes, WR_SLICE_BYTES);
    size_t dirty = wr_slice_dirty_count();
    return wr_purge_slices(dirty > slices ? dirty - slices : 0) != 0;
}

bool wr_extent_charge(size_t bytes)
{
    patience spent = {0, 0};
    while (!wr_commit_charge(bytes)) {
        if (!make_room(bytes) && !may_try_again(&spent, bytes)) {
            return false;
        }
    }
    return true;
}

bool wr_extent_claim_at(uintptr_t address, size_t slices, bool *zero)
{
    return wr_slice_claim_at(address, slices, zero) ||
           (!wr_commit_has_room(slices * WR_SLICE_BYTES) && make_room(slices * WR_SLICE_BYTES) &&
            wr_slice_claim_at(address, slices, zero));
}

uintptr_t wr_extent_claim(size_t slices, bool *zero)
{
    if (slices > WR_REGION_SLICES) {
        return 0;
    }
    size_t bytes = slices * WR_SLICE_BYTES;
    patience spent = {0, 0};
    for (;;) {
        size_t generation = wr_extent_generation();
        uintptr_t address = wr_slice_claim(slices, zero);
        if (address > WR_SLICE_REFUSED) {
            return address;
        }
        bool helped =
            address == WR_SLICE_REFUSED ? make_room(bytes) : wr_extent_grow(slices, generation);
        if (!helped && !may_try_again(&spent, bytes)) {
            return 0;
        }
    }
}

bool wr_extent_donate(uintptr_t start, size_t bytes)
{
    wr_vm_range range = {start, wr_align_down(start + bytes, WR_SLICE_BYTES)};
    /* Unpurged memory would pass for zero: then only the addresses are lost. */
    if (!wr_vm_purge((void *)start, bytes)) {
        return false;
    }
    if (obtain_regions(range)) {
        add(range);
    }
    return true;
}

size_t wr_extent_trim(size_t keep_bytes)
{
    size_t given = 0;
    bool zero;
    wr_lock_acquire(&growth_lock);
    size_t free_bytes = brk_end == 0 ? 0 : wr_slice_count_below(brk_end) * WR_SLICE_BYTES;
    keep_bytes = wr_align_up(wr_min(keep_bytes, free_bytes), WR_SLICE_BYTES);
    if (free_bytes > keep_bytes) {
        size_t bytes = free_bytes - keep_bytes;
        uintptr_t cut = brk_end - bytes;
        wr_giveback_begin(); /* the claim charges what was zero */
        /* Lost to a thread that claims among them: then they are in use again. */
        if (wr_slice_claim_at(cut, bytes / WR_SLICE_BYTES, &zero)) {
            if (wr_vm_brk_shrink(cut, brk_end)) {
                wr_slice_drop(bytes / WR_SLICE_BYTES);
                brk_end = cut;
                given = bytes;
            } else {
                wr_slice_unclaim(cut, bytes / WR_SLICE_BYTES, zero);
            }
        }
        wr_giveback_end();
    }
    wr_lock_release(&growth_lock);
    return given;
}

void wr_extent_reset_after_fork(void)
{
    wr_lock_reset(&growth_lock);
}
