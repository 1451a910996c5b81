/* Capacities of bins: the budget of hot ones, which all caches share, and how bins cool down. How a
 * bin grows and shrinks with its use is in cache_test.c. */
#include "cache/capacity.h"

#include <string.h>

#include "base/options.h"
#include "bin/return.h"
#include "cache/steal.h"
#include "crew.h"
#include "heap/heap.h"
#include "cache_support.h"

#define COLD    WR_CACHE_COLD_BLOCKS
#define THREADS 4

static wr_cache *create(void)
{
    wr_cache *cache = wr_cache_create(wr_heap_default.bins);
    CHECK(cache != NULL);
    return cache;
}

/* Uses a class as much as makes a bin grow as far as it may. */
static void use(wr_cache *cache, unsigned class)
{
    enum { MANY = 4 * WR_CACHE_BIN_BLOCKS };
    void *many[MANY];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            many[i] = cache_get(cache, class);
        }
        for (unsigned i = 0; i < MANY; i++) {
            cache_give(cache, class, many[i]);
        }
    }
}

static void set_option(const char *setting)
{
    char text[64];
    (void)strcpy(text, setting);
    char *const environment[] = {text, NULL};
    wr_options_parse(environment);
}

static void run_case(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* What the budget must be by its invariant. */
static size_t sum_of_hot_bytes(void)
{
    size_t sum = 0;
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        sum += wr_cache_at(i)->hot_bytes;
    }
    return sum;
}

/* ---- places ---- */

static void test_cold_places_are_8_from_a_line_to_1_kib_and_none_besides(void **state)
{
    (void)state;
    assert_int_equal(wr_capacity_cold(wr_size_class_of(8)), 0);
    assert_int_equal(wr_capacity_cold(wr_size_class_of(48)), 0);
    assert_int_equal(wr_capacity_cold(wr_size_class_of(64)), COLD);
    assert_int_equal(wr_capacity_cold(wr_size_class_of(1024)), COLD);
    assert_int_equal(wr_capacity_cold(wr_size_class_of(1025)), 0);
    assert_int_equal(wr_capacity_cold(wr_size_class_of(32768)), 0);
}

/* One cache allocates what another frees. */
static void test_frees_alone_make_a_bin_only_so_large(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        unsigned most;
    } cases[] = {{16, 128}, {64, 128}, {1024, 16}, {8192, 2}, {16384, 1}, {20480, 0}};
    wr_cache *giver = create();
    wr_cache *taker = create();
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        unsigned class = wr_size_class_of(cases[i].size);
        for (unsigned n = 0; n < 4 * WR_CACHE_BIN_BLOCKS; n++) {
            cache_give(taker, class, cache_get(giver, class));
        }
        assert_int_equal(giver->capacity[class], wr_capacity_max(class));
        assert_int_equal(taker->capacity[class], cases[i].most);
        use(taker, class); /* it runs out */
        assert_int_equal(taker->capacity[class], wr_capacity_max(class));
    }
    wr_cache_assert_valid(taker);
    wr_cache_drain(giver);
    wr_cache_drain(taker);
}

static void test_half_of_a_capacity_is_never_below_the_cold_one(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned small = wr_size_class_of(64);
    unsigned large = wr_size_class_of(2048);
    wr_capacity_set(cache, small, 512);
    assert_int_equal(wr_capacity_half(cache, small), 256);
    wr_capacity_set(cache, small, COLD + 1);
    assert_int_equal(wr_capacity_half(cache, small), COLD + 1);
    wr_capacity_set(cache, large, 1);
    assert_int_equal(wr_capacity_half(cache, large), 0);
    wr_capacity_set(cache, large, 0);
    assert_int_equal(wr_capacity_half(cache, large), 0);
    wr_cache_assert_valid(cache);
}

static void test_cool_down_keeps_the_capacity_of_a_bin_whose_blocks_need_it(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned needed = wr_size_class_of(64);
    unsigned spared = wr_size_class_of(96);
    use(cache, needed);
    use(cache, spared);
    while (wr_stack_length(cache, spared) > COLD) {
        void *block = cache_get(cache, spared);
        wr_return(1, &block, "free");
    }
    unsigned length = wr_stack_length(cache, needed);
    assert_true(length > COLD);
    wr_capacity_cool_down(cache);
    assert_int_equal(cache->capacity[needed], WR_CACHE_BIN_BLOCKS);
    assert_int_equal(wr_stack_length(cache, needed), length);
    assert_int_equal(cache->capacity[spared], COLD);
    assert_int_equal(wr_stack_length(cache, spared), COLD);
    assert_int_equal(cache->heat[needed], 0);
    assert_int_equal(wr_capacity_hot_bytes(), sum_of_hot_bytes());
    wr_cache_assert_valid(cache);
    wr_cache_drain(cache);
    wr_capacity_cool_down(cache); /* without a slow call in between */
    assert_int_equal(cache->capacity[needed], COLD);
    assert_int_equal(cache->warm, 0);
}

static void test_cool_down_finds_a_bin_that_a_fork_left_in_the_middle_of_a_change(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    wr_capacity_recover(cache, class);
    wr_capacity_recount();
    assert_int_equal(cache->capacity[class], WR_CACHE_BIN_BLOCKS);
    wr_capacity_cool_down(cache);
    assert_int_equal(cache->capacity[class], COLD);
    assert_int_equal(wr_capacity_hot_bytes(), sum_of_hot_bytes());
}

/* ---- the budget ---- */

static bool is_first(wr_cache *cache)
{
    return cache->id == 0;
}

static void share_a_budget(void *unused)
{
    (void)unused;
    set_option("WEIR_CACHE_MAX=32K");
    unsigned class = wr_size_class_of(64);
    wr_cache *first = create();
    wr_cache *second = create();
    CHECK(first->id == 0);
    use(first, class);
    CHECK(first->capacity[class] == WR_CACHE_BIN_BLOCKS);
    CHECK(first->hot_bytes == (WR_CACHE_BIN_BLOCKS - COLD) * 64);
    use(second, class);
    CHECK(second->capacity[class] == 2 * COLD);
    CHECK(wr_capacity_hot_bytes() == 32 * KIB && sum_of_hot_bytes() == 32 * KIB);
    /* What a thief sweeps is there for others. */
    CHECK(wr_steal(is_first) == WR_STEAL_DONE);
    CHECK(first->hot_bytes == 0);
    use(second, class);
    CHECK(second->capacity[class] == WR_CACHE_BIN_BLOCKS);
    use(first, class);
    CHECK(first->capacity[class] == 2 * COLD);
    CHECK(wr_capacity_hot_bytes() == 32 * KIB && sum_of_hot_bytes() == 32 * KIB);
}

static void test_hot_bins_of_all_caches_share_a_budget(void **state)
{
    (void)state;
    run_case(share_a_budget);
}

static void do_without_a_budget(void *unused)
{
    (void)unused;
    set_option("WEIR_CACHE_MAX=0");
    wr_cache *cache = create();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        use(cache, class);
        CHECK(cache->capacity[class] == wr_capacity_cold(class));
        CHECK(wr_stack_length(cache, class) <= wr_capacity_cold(class));
    }
    CHECK(wr_capacity_hot_bytes() == 0);
}

static void test_budget_of_0_leaves_all_bins_cold(void **state)
{
    (void)state;
    run_case(do_without_a_budget);
}

/* As a fork in the middle of a change leaves it. */
static void recount(void *unused)
{
    (void)unused;
    wr_cache *cache = create();
    use(cache, wr_size_class_of(64));
    size_t bytes = cache->hot_bytes;
    CHECK(bytes > 0 && wr_capacity_hot_bytes() == sum_of_hot_bytes());
    cache->hot_bytes = 1;
    wr_capacity_recount();
    CHECK(cache->hot_bytes == bytes);
    CHECK(wr_capacity_hot_bytes() == sum_of_hot_bytes());
}

static void test_recount_finds_what_hot_bins_hold(void **state)
{
    (void)state;
    run_case(recount);
}

static bool any(wr_cache *cache)
{
    (void)cache;
    return true;
}

static void use_or_steal(unsigned number, uint64_t *random)
{
    static _Atomic unsigned users;
    if (number == 0) {
        while (wr_load_relaxed(&users) < THREADS - 1) {
            CHECK(wr_steal(any) == WR_STEAL_DONE);
        }
        return;
    }
    wr_cache *cache = create();
    for (unsigned i = 0; i < TEST_SCALE(40, 8); i++) {
        use(cache, 1 + (unsigned)(random_next(random) % (WR_CLASS_COUNT - 1)));
    }
    wr_cache_drain(cache);
    (void)wr_fetch_add_relaxed(&users, 1);
}

static void test_budget_under_threads_and_a_thief_adds_up(void **state)
{
    (void)state;
    crew_run(THREADS, test_seed(), use_or_steal);
    assert_int_equal(wr_capacity_hot_bytes(), sum_of_hot_bytes());
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache_assert_valid(wr_cache_at(i));
        wr_cache_drain(wr_cache_at(i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: children whose caches are numbered from 0. */
        cmocka_unit_test(test_hot_bins_of_all_caches_share_a_budget),
        cmocka_unit_test(test_budget_of_0_leaves_all_bins_cold),
        cmocka_unit_test(test_recount_finds_what_hot_bins_hold),
        cmocka_unit_test(test_cold_places_are_8_from_a_line_to_1_kib_and_none_besides),
        cmocka_unit_test(test_frees_alone_make_a_bin_only_so_large),
        cmocka_unit_test(test_half_of_a_capacity_is_never_below_the_cold_one),
        cmocka_unit_test(test_cool_down_finds_a_bin_that_a_fork_left_in_the_middle_of_a_change),
        cmocka_unit_test(test_cool_down_keeps_the_capacity_of_a_bin_whose_blocks_need_it),
        cmocka_unit_test(test_budget_under_threads_and_a_thief_adds_up),
    };
    return cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
}
