/* See huge.h. */
#include "page/huge.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "base/options.h"
#include "os/host.h"
#include "os/vm.h"

enum policy {
    POLICY_OPEN, /* not decided */
    POLICY_LEAVE,
    POLICY_AVOID,
    POLICY_ASK,
};

static _Atomic int decided; /* an enum policy; relaxed: any thread decides the same */

bool wr_huge_is_asked(void)
{
    return wr_option_get(wr_option_thp) != 0;
}

void wr_huge_decide(const char *root)
{
    int chosen = wr_huge_is_asked()                ? POLICY_ASK
                 : wr_host_huge_pages_always(root) ? POLICY_AVOID
                                                   : POLICY_LEAVE;
    wr_store_relaxed(&decided, chosen);
}

void wr_huge_advise(uintptr_t start, size_t bytes)
{
    if (wr_load_relaxed(&decided) == POLICY_OPEN) {
        wr_huge_decide("");
    }
    int chosen = wr_load_relaxed(&decided);
    if (chosen != POLICY_LEAVE) {
        wr_vm_set_huge((void *)start, bytes, chosen == POLICY_ASK);
    }
}

uint64_t wr_huge_whole(uint64_t bits)
{
    enum { SLICES = WR_HUGE_BYTES / WR_SLICE_BYTES };
    _Static_assert(WR_WORD_BITS % SLICES == 0, "a word has whole huge pages");
    uint64_t whole = 0;
    for (unsigned first = 0; first < WR_WORD_BITS; first += SLICES) {
        uint64_t mask = wr_mask(first, SLICES);
        whole |= (bits & mask) == mask ? mask : 0;
    }
    return whole;
}
