/* See region.h. */
#include "page/region.h"

#include "os/vm.h"

wr_region_map wr_regions;

/* Regions in the order they were made: no gaps, none twice, first count entries. */
static _Atomic(wr_region *) in_order[WR_REGIONS_MAX];
static _Atomic unsigned count;

/* Enters a region into the order and sees that count has passed it: every thread that is given the
 * region does so before it goes on, since the one that made it may be stopped (or lost in a fork)
 * at any step on the way. Two that enter the same region start at or below the entry that the first
 * gets, and meet there: `place` is set before count passes the entry, and read after count. */
static void enlist(wr_region *region)
{
    /* Observes, with a count that passed the region's entry, its place; pairs with the exchange
     * below, in enlist(). */
    unsigned at = wr_load_acquire(&count);
    /* Observes the entries up to the place; pairs with the store below, in enlist(). */
    unsigned place = wr_load_acquire(&region->place);
    if (place == 0) {
        wr_region *seen = NULL;
        /* Linearisation point. Entries never change again: no ABA. Publishes the fields; pairs with
         * wr_region_at(). */
        while (!wr_cas_strong_acq_rel(&in_order[at], &seen, region) && seen != region) {
            at++;
            seen = NULL;
        }
        place = at + 1;
        /* Publishes the entries up to the place; pairs with the load above, in enlist(). */
        wr_store_release(&region->place, place);
    }
    unsigned n = wr_load_relaxed(&count);
    /* Publishes the place; pairs with enlist(), and the entries with wr_region_count(). */
    while (n < place && !wr_cas_weak_acq_rel(&count, &n, place)) {
    }
}

wr_region *wr_region_obtain(uintptr_t address)
{
    _Atomic uintptr_t *entry = &wr_regions.distance[wr_region_number(address)];
    /* Observes the region's fields; pairs with the exchange below, in wr_region_obtain(). */
    uintptr_t distance = wr_load_acquire(entry);
    if (distance == 0) {
        wr_region *made = wr_vm_map(wr_align_up(sizeof *made, WR_SLICE_BYTES), WR_SLICE_BYTES);
        if (made == NULL) {
            return NULL;
        }
        wr_vm_name(made, wr_align_up(sizeof *made, WR_SLICE_BYTES), "weir: tables");
        made->base = wr_align_down(address, WR_REGION_BYTES);
        /* Linearisation point: the one that sets the entry made the region. Entries never change
         * again, so there is no ABA. Publishes the fields; pairs with wr_region_obtain(). */
        uintptr_t to_made = (uintptr_t)made - (uintptr_t)&wr_regions.none;
        if (wr_cas_strong_acq_rel(entry, &distance, to_made)) {
            distance = to_made;
        } else {
            (void)wr_vm_unmap(made, wr_align_up(sizeof *made, WR_SLICE_BYTES));
        }
    }
    wr_region *region = wr_region_at_distance(distance);
    enlist(region);
    return region;
}

unsigned wr_region_count(void)
{
    /* Observes the entries below; pairs with enlist(). */
    return wr_load_acquire(&count);
}

wr_region *wr_region_at(unsigned number)
{
    /* Observes the fields; pairs with enlist(). */
    return wr_load_acquire(&in_order[number]);
}
