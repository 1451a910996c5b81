/* See table.h. */
#include "diag/table.h"

#include "base/config.h"
#include "os/vm.h"

void *wr_table_obtain(_Atomic(void *) *table, size_t bytes, const char *name)
{
    void *now = wr_table_find(table);
    if (now != NULL) {
        return now;
    }
    void *made = wr_vm_map(bytes, WR_SLICE_BYTES);
    if (made == NULL) {
        return NULL;
    }
    wr_vm_name(made, bytes, name);
    /* Publishes it; pairs with wr_table_find(). */
    if (!wr_cas_strong_acq_rel(table, &now, made)) {
        (void)wr_vm_unmap(made, bytes);
        return now;
    }
    return made;
}
