/* Scarcity: a kernel that refuses memory (fault.h), and a page heap with nothing left. */
#ifndef WEIR_TESTS_SCARCE_H
#define WEIR_TESTS_SCARCE_H

#include "fault.h"
#include "support.h"

#include "os/vm.h"
#include "page/meta.h"
#include "page/slice.h"

/* From here on every mapping and every growth of the data segment fails, or again succeeds. */
static inline void scarce_kernel_refuses(bool refuses)
{
    fault_refuse(refuses ? FAULT_MMAP | FAULT_MREMAP | FAULT_SBRK : 0);
}

/* From here on the process may map no more than it does now: what it unmaps it may map again. */
static inline void scarce_kernel_allows_no_more(void)
{
    fault_starve(FAULT_MMAP | FAULT_MREMAP | FAULT_SBRK);
}

/* Claims all that the page heap has, each slice naming the one before; the last one, or 0. */
static inline uintptr_t scarce_claim_all(void)
{
    uintptr_t last = 0;
    uintptr_t start;
    bool zero;
    while ((start = wr_slice_claim(1, &zero)) != 0) {
        *(uintptr_t *)start = last;
        last = start;
    }
    return last;
}

static inline void scarce_release_all(uintptr_t last)
{
    while (last != 0) {
        uintptr_t before = *(uintptr_t *)last;
        wr_slice_release(last, 1);
        last = before;
    }
}

/* Uses up the memory for descriptors while the kernel refuses more. */
static inline void scarce_use_up_meta(void)
{
    while (wr_meta_alloc(WR_CACHE_LINE_BYTES) != NULL) {
    }
}

/* Places the next mappings below the address that it returns, in a region that is yet to be made.
 */
static inline uintptr_t scarce_leave_regions(void)
{
    uintptr_t window;
    do {
        window = (uintptr_t)wr_vm_map(WR_REGION_BYTES, WR_REGION_BYTES);
        CHECK(window != 0);
    } while (wr_region_of(window - 1) != NULL);
    return window;
}

#endif
