/* The walk: a heap at work and at rest is whole; each kind of damage is one fault. */
#include "diag/walk.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bin/slab.h"
#include "crew.h"
#include "support.h"

#include "weir/weir.h"

enum { BLOCKS = 3000 };
static void *blocks[BLOCKS];

static int fill(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = weir_malloc(random_size(&random, 200000));
        CHECK(blocks[i] != NULL);
    }
    for (unsigned i = 0; i < BLOCKS; i += 3) {
        weir_free(blocks[i]);
        blocks[i] = NULL;
    }
    return 0;
}

static int clear(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BLOCKS; i++) {
        weir_free(blocks[i]);
        blocks[i] = NULL;
    }
    return 0;
}

static void test_heap_at_rest_is_whole(void **state)
{
    (void)state;
    assert_int_equal(wr_walk_check(false), 0);
    assert_int_equal(wr_walk_check(true), 0);
    assert_int_equal(weir_heap_check(1), 0);
}

static void work_and_walk(unsigned number, uint64_t *random)
{
    for (unsigned i = 0; i < TEST_SCALE(20000, 3000); i++) {
        void *p = weir_malloc(random_size(random, 300000));
        weir_free(p);
        if (number == 0 && i % 500 == 0) {
            CHECK(wr_walk_check(false) == 0);
            CHECK(weir_heap_check(0) == 0);
        }
    }
}

static void test_heap_at_work_is_whole(void **state)
{
    (void)state;
    crew_run(4, 0, work_and_walk);
}

/* ---- damage ---- */

static wr_span *slab; /* of a block that is out */
static wr_region *region;
static unsigned slice;

static wr_span *span_of(wr_span_kind kind)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        wr_span *span = blocks[i] == NULL ? NULL : wr_span_find((uintptr_t)blocks[i]);
        if (span != NULL && wr_span_kind_of(span) == kind) {
            region = wr_region_of(span->start);
            slice = wr_slice_number(span->start);
            return span;
        }
    }
    CHECK(false);
    return NULL;
}

static void give_no_descriptor(void)
{
    wr_store_relaxed(&region->span[slice], NULL);
}

static void give_unknown_class(void)
{
    wr_store_relaxed(&region->mark[slice], wr_class_mark_of(WR_CLASS_COUNT));
}

static void give_unknown_kind(void)
{
    wr_store_relaxed(&slab->kind, 9);
}

static void give_other_kind(void)
{
    wr_store_relaxed(&slab->kind, WR_SPAN_LARGE);
}

static void give_free_kind(void)
{
    wr_store_relaxed(&slab->kind, WR_SPAN_FREE);
    for (unsigned i = 0; i < wr_span_slices(slab); i++) {
        wr_store_relaxed(&region->mark[slice + i], WR_CLASS_NONE);
    }
}

static void make_available(void)
{
    (void)wr_fetch_or_relaxed(&region->slices[slice / 64].available, (uint64_t)1 << slice % 64);
}

static void make_dirty(void)
{
    (void)wr_fetch_or_relaxed(&region->slices[slice / 64].dirty, (uint64_t)1 << slice % 64);
}

static void give_other_place(void)
{
    slab->start += 16;
}

static void give_no_class(void)
{
    slab->class = WR_CLASS_NONE;
}

static void give_other_shape(void)
{
    slab->block_bytes += 16;
}

static void give_other_count(void)
{
    (void)wr_fetch_add_relaxed(&slab->state, 1 << WR_SLAB_COUNT_SHIFT);
}

static void list_against_state(void)
{
    _Atomic uint64_t *word = &region->listed[slice / 64][slab->class];
    wr_store_relaxed(word, wr_load_relaxed(word) ^ (uint64_t)1 << slice % 64);
}

static void lose(void)
{
    int64_t state = wr_load_relaxed(&slab->state);
    wr_store_relaxed(&slab->state, state & ~(int64_t)(WR_SLAB_OWNED | WR_SLAB_LISTED));
    (void)wr_fetch_and_relaxed(&region->listed[slice / 64][slab->class],
                               ~((uint64_t)1 << slice % 64));
}

static void free_no_block(void)
{
    unsigned room = (slab->blocks + 63u) / 64 * 64;
    CHECK(room > slab->blocks);
    (void)wr_fetch_or_relaxed(&slab->free_bits[room / 64 - 1], (uint64_t)1 << 63);
}

static const struct damage {
    const char *what;
    void (*make)(void);
    bool at_any_moment; /* seen while others are at work */
} damages[] = {
    {"span without a descriptor", give_no_descriptor, true},
    {"class mark of no class", give_unknown_class, true},
    {"span of no kind", give_unknown_kind, true},
    {"class mark on what is no slab", give_other_kind, true},
    {"span in use that is free", give_free_kind, false},
    {"slice in use and available", make_available, true},
    {"bits of slices that do not go together", make_dirty, false},
    {"descriptor of another place", give_other_place, false},
    {"slab of no class", give_no_class, false},
    {"slab of another shape than its class", give_other_shape, false},
    {"count of free blocks is not that of the bits", give_other_count, false},
    {"slab listed, or not, against its state", list_against_state, false},
    {"slab lost to its bin", lose, false},
    {"free bit of no block", free_no_block, false},
};

/* A slab with free blocks, and bits that belong to none. */
static wr_span *uneven_slab(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        wr_span *span = blocks[i] == NULL ? NULL : wr_span_find((uintptr_t)blocks[i]);
        if (span != NULL && wr_span_kind_of(span) == WR_SPAN_SLAB && span->blocks % 64 != 0 &&
            wr_slab_count_racy(span) > 0) {
            region = wr_region_of(span->start);
            slice = wr_slice_number(span->start);
            return span;
        }
    }
    return span_of(WR_SPAN_SLAB);
}

static void make_and_walk(void *of)
{
    const struct damage *damage = of;
    slab = uneven_slab();
    damage->make();
    CHECK((wr_walk_check(false) != 0) == damage->at_any_moment);
    CHECK(wr_walk_check(true) != 0);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        struct outcome outcome;
        char expected[100];
        (void)snprintf(expected, sizeof expected, "weir: heap_check: %s: 0x", damages[i].what);
        run_child(make_and_walk, (void *)(uintptr_t)&damages[i], &outcome);
        if (outcome.signal != 0 || strstr(outcome.text, expected) == NULL) {
            fail_msg("expected \"%s\", got \"%s\"", expected, outcome.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_heap_at_rest_is_whole, fill, clear),
        cmocka_unit_test_setup_teardown(test_heap_at_work_is_whole, fill, clear),
        cmocka_unit_test_setup_teardown(test_damage_is_found, fill, clear),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
