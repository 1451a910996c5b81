/* Verdicts: what each kind of address is. What is said of it is in tests/death. */
#include "diag/verdict.h"

#include "base/options.h"
#include "cache/cache.h"
#include "support.h"

#include "weir/weir.h"

static const wr_check_call call = {.function = "free",
                                   .caller = NULL,
                                   .family = WR_CHECK_MALLOC,
                                   .size = WR_CHECK_ANY,
                                   .alignment = WR_CHECK_ANY};

static void *before;

/* Check mode without a word, from here on. */
static int begin(void **state)
{
    (void)state;
    before = weir_malloc(100);
    CHECK(before != NULL);
    char setting[] = "WEIR_CHECK=0";
    char *const environment[] = {setting, NULL};
    wr_options_parse(environment);
    wr_check_start();
    wr_cache_self = &wr_cache_boot;
    return 0;
}

static wr_verdict of(const void *ptr, wr_place *at)
{
    return wr_verdict_of(&call, ptr, at);
}

static void test_live_block_is_one(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 24, 5000, 100000, 3 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        wr_place at;
        char *p = weir_malloc(sizes[i]);
        assert_int_equal(of(p, &at), WR_IS_BLOCK);
        assert_int_equal(wr_place_address(&at), (uintptr_t)p);
        assert_int_equal(wr_place_size(&at), sizes[i]);
        wr_zones zones = wr_place_zones(&at);
        assert_true(zones.front + 16 <= zones.start && zones.end + 16 <= zones.rear);
        assert_int_equal(of(p + 1, &at), WR_IS_WRONG);
        assert_int_equal(of(p - 1, &at), WR_IS_WRONG);
        weir_free(p);
        assert_int_equal(of(p, &at), WR_IS_WRONG);
    }
}

static void test_block_of_before_is_one(void **state)
{
    (void)state;
    wr_place at;
    assert_int_equal(of(before, &at), WR_IS_OF_BEFORE);
}

static void test_other_addresses_are_wrong(void **state)
{
    (void)state;
    wr_place at;
    int on_stack = 0;
    static int in_data;
    char *p = weir_malloc(24);
    assert_int_equal(of(&on_stack, &at), WR_IS_WRONG);
    assert_int_equal(of(&in_data, &at), WR_IS_WRONG);
    assert_int_equal(of((void *)(uintptr_t)8, &at), WR_IS_WRONG);
    assert_int_equal(of((void *)((uintptr_t)p | (uintptr_t)1 << 60), &at), WR_IS_WRONG);
    /* The last block of a slab was never handed out, and the bytes behind it are of no block. */
    const wr_span *slab = wr_span_find((uintptr_t)p);
    assert_int_equal(of((void *)(slab->start + (slab->blocks - 1u) * slab->block_bytes), &at),
                     WR_IS_WRONG);
    if (slab->blocks * slab->block_bytes < slab->bytes) {
        assert_int_equal(of((void *)(slab->start + slab->bytes - 1), &at), WR_IS_WRONG);
    }
    weir_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_block_is_one),
        cmocka_unit_test(test_block_of_before_is_one),
        cmocka_unit_test(test_other_addresses_are_wrong),
    };
    return cmocka_run_group_tests_name("verdict", tests, begin, NULL);
}
