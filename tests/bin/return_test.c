/* bin/return.h: blocks of several slabs and bins in any order, and pointers that are none. */
#include "bin/return.h"

#include <signal.h>
#include <stdio.h>

#include "bin_support.h"
#include "page/extent.h"
#include "page/slice.h"

static void *blocks[WR_SLAB_BLOCKS_MAX];

static void test_return_serves_slabs_of_several_bins_at_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {64, 512, 4096, 48};
    void *mixed[64];
    unsigned count = 0;
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        for (unsigned i = 0; i < 4; i++) {
            void *some[4];
            wr_span *kept = NULL;
            assert_int_equal(wr_bin_refill(bin_of(sizes[s]), &kept, 4, some), 4);
            wr_bin_give_up(kept);
            for (unsigned k = 0; k < 4; k++) {
                mixed[(count++ * 37) % 64] = some[k];
            }
        }
    }
    assert_int_equal(count, 64);
    wr_return(64, mixed, "free");
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        assert_at_rest(bin_of(sizes[s]));
    }
}

/* More slabs than are tallied at once, and several of them at one place. */
static void test_return_of_blocks_of_many_slabs_in_any_order(void **state)
{
    (void)state;
    enum { SLABS = 24 };
    wr_bin *bin = bin_of(32768);
    static void *taken[SLABS * 8];
    static void *mixed[SLABS * 8];
    wr_span *slabs[SLABS];
    for (unsigned s = 0; s < SLABS; s++) {
        slabs[s] = take_slab(bin, taken + 8 * s);
        wr_bin_give_up(slabs[s]);
    }
    for (unsigned i = 0; i < COUNT_OF(taken); i++) {
        mixed[i * 35 % COUNT_OF(taken)] = taken[i]; /* the next is of another slab */
    }
    wr_return(COUNT_OF(mixed) - 8, mixed, "free");
    int64_t count = 0;
    for (unsigned s = 0; s < SLABS; s++) {
        count += flags_of(slabs[s]) == WR_SLAB_LISTED ? wr_slab_count_racy(slabs[s]) : 8;
    }
    assert_int_equal(count, COUNT_OF(mixed) - 8);
    wr_return(8, mixed + COUNT_OF(mixed) - 8, "free");
    assert_at_rest(bin);
}

static void test_return_of_no_blocks_does_nothing(void **state)
{
    (void)state;
    wr_return(0, blocks, "free");
}

/* ---- misuse ---- */

struct misuse {
    unsigned count;
    void *blocks[4];
};

static void return_in_child(void *argument)
{
    struct misuse *misuse = argument;
    wr_return(misuse->count, misuse->blocks, "free_it");
}

static void assert_report(struct misuse *misuse, const char *expected)
{
    struct outcome outcome;
    run_child(return_in_child, misuse, &outcome);
    assert_string_equal(outcome.text, expected);
    assert_int_equal(outcome.signal, SIGABRT);
}

static void test_return_of_a_free_block_is_reported_as_double_free(void **state)
{
    (void)state;
    char expected[200];
    wr_span *slab = take_slab(bin_of(512), blocks);
    struct misuse misuse = {1, {blocks[70]}};
    wr_return(1, &misuse.blocks[0], "free");
    snprintf(expected, sizeof expected,
             "weir: free_it(): double free: %p, block of 512 bytes at %p\n", blocks[70],
             blocks[70]);
    assert_report(&misuse, expected);
    blocks[70] = blocks[127];
    return_blocks(127, blocks);
    wr_bin_give_up(slab);
}

static void test_return_of_a_block_twice_at_once_is_reported_as_double_free(void **state)
{
    (void)state;
    char expected[200];
    wr_span *slab = take_slab(bin_of(512), blocks);
    struct misuse misuse = {4, {blocks[3], blocks[90], blocks[4], blocks[90]}};
    snprintf(expected, sizeof expected,
             "weir: free_it(): double free: %p, block of 512 bytes at %p\n", blocks[90],
             blocks[90]);
    assert_report(&misuse, expected);
    return_blocks(128, blocks);
    wr_bin_give_up(slab);
}

static void test_return_of_an_address_within_a_block_is_reported_with_the_block(void **state)
{
    (void)state;
    char expected[200];
    wr_span *slab = take_slab(bin_of(48), blocks);
    void *inside = (char *)blocks[700] + 17;
    struct misuse misuse = {2, {blocks[2], inside}};
    snprintf(expected, sizeof expected,
             "weir: free_it(): not a block start: %p, block of 48 bytes at %p\n", inside,
             blocks[700]);
    assert_report(&misuse, expected);
    return_blocks(slab->blocks, blocks);
    wr_bin_give_up(slab);
}

static void test_return_of_an_address_in_the_tail_is_reported_without_a_block(void **state)
{
    (void)state;
    char expected[200];
    wr_span *slab = take_slab(bin_of(48), blocks);
    for (size_t offset = 0; offset < 16; offset += 8) {
        void *tail = (char *)blocks[1364] + 48 + offset;
        struct misuse misuse = {1, {tail}};
        snprintf(expected, sizeof expected,
                 "weir: free_it(): not a block start: %p is behind the last block of its slab\n",
                 tail);
        assert_report(&misuse, expected);
    }
    return_blocks(slab->blocks, blocks);
    wr_bin_give_up(slab);
}

static void test_return_of_an_address_in_no_slab_is_reported_as_foreign(void **state)
{
    (void)state;
    char expected[200];
    struct misuse misuse = {1, {&misuse}};
    snprintf(expected, sizeof expected, "weir: free_it(): foreign pointer: %p is in no slab\n",
             (void *)&misuse);
    assert_report(&misuse, expected);
}

static void test_return_of_an_address_in_a_large_object_is_reported_as_foreign(void **state)
{
    (void)state;
    char expected[200];
    bool zero;
    uintptr_t start = wr_extent_claim(1, &zero);
    wr_span *large = wr_span_obtain(start, 0);
    assert_non_null(large);
    wr_span_open(large, WR_SPAN_LARGE, WR_SLICE_BYTES, WR_SLICE_BYTES);
    struct misuse misuse = {1, {(void *)start}};
    snprintf(expected, sizeof expected, "weir: free_it(): foreign pointer: %p is in no slab\n",
             (void *)start);
    assert_report(&misuse, expected);
    wr_span_close(large);
    wr_slice_release(start, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_return_serves_slabs_of_several_bins_at_once),
        cmocka_unit_test(test_return_of_blocks_of_many_slabs_in_any_order),
        cmocka_unit_test(test_return_of_no_blocks_does_nothing),
        cmocka_unit_test(test_return_of_a_free_block_is_reported_as_double_free),
        cmocka_unit_test(test_return_of_a_block_twice_at_once_is_reported_as_double_free),
        cmocka_unit_test(test_return_of_an_address_within_a_block_is_reported_with_the_block),
        cmocka_unit_test(test_return_of_an_address_in_the_tail_is_reported_without_a_block),
        cmocka_unit_test(test_return_of_an_address_in_no_slab_is_reported_as_foreign),
        cmocka_unit_test(test_return_of_an_address_in_a_large_object_is_reported_as_foreign),
    };
    return cmocka_run_group_tests_name("return", tests, NULL, NULL);
}
