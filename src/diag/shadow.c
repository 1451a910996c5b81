/* See shadow.h. */
#include "diag/shadow.h"

#include "base/config.h"
#include "diag/table.h"

/* By region: its shadow. */
typedef struct directory {
    _Atomic(void *) shadows[WR_REGIONS_MAX];
} directory;

static _Atomic(void *) directory_table;

static _Atomic(void *) *place_in(directory *in, uintptr_t block)
{
    return &in->shadows[(uint16_t)(block >> WR_REGION_SHIFT)];
}

static wr_record *record_in(wr_record *shadow, uintptr_t block)
{
    return shadow == NULL ? NULL : shadow + (block & (WR_REGION_BYTES - 1)) / WR_SHADOW_UNIT_BYTES;
}

wr_record *wr_shadow_find(uintptr_t block)
{
    directory *in = wr_table_find(&directory_table);
    return in == NULL ? NULL : record_in(wr_table_find(place_in(in, block)), block);
}

wr_record *wr_shadow_obtain(uintptr_t block)
{
    directory *in = wr_table_obtain(&directory_table, sizeof *in, "shadow");
    if (in == NULL) {
        return NULL;
    }
    return record_in(wr_table_obtain(place_in(in, block), WR_REGION_BYTES, "shadow"), block);
}
