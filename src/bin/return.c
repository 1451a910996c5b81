/* See return.h. */
#include "bin/return.h"

#include "base/report.h"
#include "bin/bin.h"

WR_COLD WR_NORETURN static void report_block(const wr_span *slab, uintptr_t address,
                                             const char *what, const char *function)
{
    uint32_t index = wr_size_class_divide((uint32_t)(address - slab->start), slab->reciprocal);
    wr_misuse misuse = {.function = function, .what = what, .address = address};
    if (index < slab->blocks) {
        misuse.block = slab->start + (uintptr_t)index * slab->block_bytes;
        misuse.block_bytes = slab->block_bytes;
    } else {
        misuse.detail = "is behind the last block of its slab";
    }
    wr_report_misuse(&misuse);
}

static void put(wr_span *slab, uint32_t word, uint64_t bits, const char *function)
{
    uint64_t twice = wr_slab_put(slab, word, bits);
    if (WR_UNLIKELY(twice != 0)) {
        uintptr_t index = word * WR_WORD_BITS + wr_lowest_bit(twice);
        report_block(slab, slab->start + index * slab->block_bytes, "double free", function);
    }
}

static bool lies_in(const wr_span *slab, uintptr_t address)
{
    return address - slab->start < slab->bytes;
}

/* Puts the blocks from *blocks on that lie in the slab, of which the first does; their number. */
static unsigned put_run(wr_span *slab, unsigned count, void **blocks, const char *function)
{
    wr_slab_place pending = {0, 0}; /* bits of one word that are yet to be put */
    unsigned n = 0;
    for (; n < count && lies_in(slab, (uintptr_t)blocks[n]); n++) {
        wr_slab_place place;
        if (WR_UNLIKELY(!wr_slab_locate(slab, (uintptr_t)blocks[n], &place))) {
            report_block(slab, (uintptr_t)blocks[n], "not a block start", function);
        }
        if (place.word != pending.word && pending.bit != 0) {
            put(slab, pending.word, pending.bit, function);
            pending.bit = 0;
        }
        if (WR_UNLIKELY((pending.bit & place.bit) != 0)) {
            report_block(slab, (uintptr_t)blocks[n], "double free", function);
        }
        pending.word = place.word;
        pending.bit |= place.bit;
    }
    put(slab, pending.word, pending.bit, function);
    return n;
}

static _Atomic(wr_return_outsider *) outsider; /* relaxed: set while there is one thread */

void wr_return_set_outsider(wr_return_outsider *new_outsider)
{
    wr_store_relaxed(&outsider, new_outsider);
}

WR_COLD static void return_outside(void *block, const char *function)
{
    wr_return_outsider *other = wr_load_relaxed(&outsider);
    if (other == NULL || !other(block, function)) {
        wr_misuse misuse = {.function = function,
                            .what = "foreign pointer",
                            .address = (uintptr_t)block,
                            .detail = "is in no slab"};
        wr_report_misuse(&misuse);
    }
}

/* Slabs that blocks were put into which have yet to be added: each at the place that the number of
 * the block's slice says, so that a block finds its slab in one step. Until they are added they
 * keep the slab in use. */
#define TALLIES 16u
typedef struct tallies {
    uint32_t used; /* bit set = place taken */
    wr_span *slab[TALLIES];
    unsigned count[TALLIES];
} tallies;

static void add_tally(tallies *t, unsigned place)
{
    t->used &= ~(1u << place);
    wr_bin_add(t->slab[place], t->count[place]);
}

/* The slab at a place; NULL if the address lies in none. */
static wr_span *tally_for(tallies *t, unsigned place, uintptr_t address)
{
    if ((t->used >> place & 1) != 0) {
        if (WR_LIKELY(lies_in(t->slab[place], address))) {
            return t->slab[place];
        }
        add_tally(t, place);
    }
    wr_span *slab = wr_span_find(address);
    if (WR_UNLIKELY(slab == NULL || wr_span_kind_of(slab) != WR_SPAN_SLAB)) {
        return NULL;
    }
    t->used |= 1u << place;
    t->slab[place] = slab;
    t->count[place] = 0;
    return slab;
}

void wr_return(unsigned count, void **blocks, const char *function)
{
    tallies t = {.used = 0};
    for (unsigned done = 0; done < count;) {
        uintptr_t address = (uintptr_t)blocks[done];
        unsigned place = wr_slice_number(address) % TALLIES;
        wr_span *slab = tally_for(&t, place, address);
        if (WR_UNLIKELY(slab == NULL)) {
            return_outside(blocks[done++], function);
            continue;
        }
        unsigned n = put_run(slab, count - done, blocks + done, function);
        t.count[place] += n;
        done += n;
    }
    while (t.used != 0) {
        add_tally(&t, wr_lowest_bit(t.used));
    }
}
