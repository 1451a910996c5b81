/* The default heap: static bins that are ready before anything has run. */
#include "heap/heap.h"

#include "bin/return.h"
#include "support.h"

static void test_default_heap_at_start_has_bins_without_slabs(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(wr_load_relaxed(&wr_heap_default.bins[class].slabs), 0);
        assert_int_equal(wr_load_relaxed(&wr_heap_default.bins[class].spares), 0);
    }
}

static void test_default_heap_bins_know_their_class_and_heap(void **state)
{
    (void)state;
    for (unsigned class = 0; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(wr_heap_default.bins[class].class, class);
        assert_ptr_equal(wr_heap_default.bins[class].heap, &wr_heap_default);
    }
}

static void test_default_heap_serves_every_class_without_set_up(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_bin *bin = &wr_heap_default.bins[class];
        wr_span *kept = NULL;
        void *block;
        assert_int_equal(wr_bin_refill(bin, &kept, 1, &block), 1);
        assert_ptr_equal(kept->bin, bin);
        assert_int_equal(kept->block_bytes, wr_size_classes[class].block_bytes);
        assert_int_equal(wr_load_relaxed(&bin->slabs), 1);
        pattern_fill(block, kept->block_bytes, class);
        wr_return(1, &block, "free");
        wr_bin_give_up(kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_heap_at_start_has_bins_without_slabs),
        cmocka_unit_test(test_default_heap_bins_know_their_class_and_heap),
        cmocka_unit_test(test_default_heap_serves_every_class_without_set_up),
    };
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
