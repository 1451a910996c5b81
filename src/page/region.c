/* See region.h. */
#include "page/region.h"

#include "os/vm.h"

_Atomic(wr_region *) wr_region_table[WR_REGIONS_MAX];

static _Atomic(wr_region *) in_order[WR_REGIONS_MAX];
static _Atomic unsigned count;

wr_region *wr_region_obtain(uintptr_t address)
{
    _Atomic(wr_region *) *entry = &wr_region_table[wr_region_number(address)];
    /* Observes the region's fields; pairs with the exchange below, in wr_region_obtain(). */
    wr_region *region = wr_load_acquire(entry);
    if (region != NULL) {
        return region;
    }
    wr_region *made = wr_vm_map(wr_align_up(sizeof *made, WR_SLICE_BYTES), WR_SLICE_BYTES);
    if (made == NULL) {
        return NULL;
    }
    made->base = wr_align_down(address, WR_REGION_BYTES);
    /* Linearisation point: the one that sets the entry made the region. Entries never change again,
     * so there is no ABA. Publishes the fields; pairs with wr_region_obtain(), wr_region_at(). */
    if (!wr_cas_strong_acq_rel(entry, &region, made)) {
        (void)wr_vm_unmap(made, wr_align_up(sizeof *made, WR_SLICE_BYTES));
        return region;
    }
    /* A number is handed out once; there are as many as there are table entries. */
    unsigned number = wr_fetch_add_relaxed(&count, 1);
    /* Publishes the fields; pairs with wr_region_at(). */
    wr_store_release(&in_order[number], made);
    return made;
}

unsigned wr_region_count(void)
{
    /* Relaxed: a region that is missed is a region that was made a moment later. */
    return wr_load_relaxed(&count);
}

wr_region *wr_region_at(unsigned number)
{
    /* Observes the fields; pairs with wr_region_obtain(). */
    return wr_load_acquire(&in_order[number]);
}
