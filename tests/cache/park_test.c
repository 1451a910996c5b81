/* Parked caches: who adopts which, and that each has one owner at a time. */
#include "cache/park.h"

#include <sched.h>

#include "base/options.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "crew.h"
#include "heap/heap.h"
#include "cache_support.h"

#define THREADS 4

/* More than two words of the bitmap. */
#define CACHES 150

static wr_cache *made[CACHES];

static int create_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CACHES; i++) {
        made[i] = wr_cache_create(wr_heap_default.bins);
        if (made[i] == NULL || made[i]->id != i) {
            return -1;
        }
    }
    return 0;
}

static void adopt_all(void)
{
    while (wr_park_adopt() != NULL) {
    }
}

/* A block into the cache, as free does where there is room. */
static void give(wr_cache *cache, unsigned class, void *block)
{
    CHECK(wr_stack_push(cache, class, block));
}

/* From one owner to the next, while no other cache is parked. */
static void hand_on(wr_cache *cache)
{
    wr_park_push(cache);
    assert_ptr_equal(wr_park_adopt(), cache);
}

static void test_adopt_without_parked_caches_gives_none(void **state)
{
    (void)state;
    assert_null(wr_park_adopt());
    assert_null(wr_park_adopt());
}

static void test_push_makes_a_cache_adoptable_once(void **state)
{
    (void)state;
    wr_park_push(made[7]);
    assert_true(wr_park_has_racy(made[7]));
    assert_false(wr_park_has_racy(made[6]));
    assert_false(wr_park_has_racy(made[8]));
    assert_ptr_equal(wr_park_adopt(), made[7]);
    assert_false(wr_park_has_racy(made[7]));
    assert_null(wr_park_adopt());
}

static void test_adopt_takes_the_lowest_number_first(void **state)
{
    (void)state;
    static const unsigned numbers[] = {149, 3, 64, 127, 63, 0, 128};
    static const unsigned expected[] = {0, 3, 63, 64, 127, 128, 149};
    for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
        wr_park_push(made[numbers[i]]);
    }
    for (unsigned i = 0; i < COUNT_OF(expected); i++) {
        assert_ptr_equal(wr_park_adopt(), made[expected[i]]);
    }
    assert_null(wr_park_adopt());
}

static void test_push_keeps_the_newest_blocks_and_gives_up_the_slabs(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(64);
    wr_cache *cache = made[20];
    void *blocks[60];
    cache->heat[class] = UINT8_MAX; /* hot enough to keep a slab, beside any number of others */
    for (unsigned i = 0; i < 60; i++) {
        blocks[i] = cache_get(cache, class);
    }
    for (unsigned i = 0; i < 4; i++) {
        give(cache, class, blocks[i]);
    }
    wr_span *slab = cache->slab[class];
    assert_non_null(slab);
    wr_park_push(cache);
    assert_null(cache->slab[class]);
    assert_int_equal(wr_load_relaxed(&slab->state) & WR_SLAB_OWNED, 0);
    assert_ptr_equal(wr_park_adopt(), cache);
    assert_ptr_equal(cache_get(cache, class), blocks[3]); /* still warm */
    blocks[0] = blocks[3];
    wr_return(1, blocks, "free");
    wr_return(56, blocks + 4, "free");
    wr_cache_drain(cache);
    assert_true(wr_load_relaxed(&wr_heap_default.bins[class].slabs) <= 1);
}

/* A cache whose bin of 64 bytes has room for 64 blocks and holds `count`, in the order of `blocks`.
 */
static wr_cache *fill_wide_bin(unsigned number, unsigned count, void **blocks)
{
    unsigned class = wr_size_class_of(64);
    wr_cache *cache = made[number];
    cache->heat[class] = UINT8_MAX;
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = cache_get(cache, class);
    }
    while (cache->capacity[class] < 64 || wr_stack_length(cache, class) != 0) {
        void *more = cache_get(cache, class);
        wr_return(1, &more, "free");
    }
    for (unsigned i = 0; i < count; i++) {
        give(cache, class, blocks[i]);
    }
    return cache;
}

static void test_push_of_a_bin_much_used_keeps_all_that_it_holds(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(64);
    void *blocks[20];
    wr_cache *cache = fill_wide_bin(21, 20, blocks);
    cache->heat[class] = WR_CACHE_HOT_REFILLS;
    hand_on(cache);
    assert_int_equal(cache->capacity[class], 64);
    assert_int_equal(cache->heat[class], 0);
    wr_cache_assert_valid(cache);
    for (unsigned i = 0; i < 20; i++) {
        assert_ptr_equal(cache_get(cache, class), blocks[19 - i]);
    }
    wr_return(20, blocks, "free");
    wr_cache_drain(cache);
}

static void test_push_of_a_grown_bin_little_used_returns_all_its_blocks(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(64);
    void *blocks[40];
    wr_cache *cache = fill_wide_bin(24, 40, blocks);
    cache->heat[class] = WR_CACHE_HOT_REFILLS - 1;
    hand_on(cache);
    assert_int_equal(cache->capacity[class], WR_CACHE_COLD_BLOCKS);
    assert_int_equal(wr_stack_length(cache, class), 0);
    wr_cache_assert_valid(cache);
    assert_true(wr_load_relaxed(&wr_heap_default.bins[class].slabs) <= 1);
}

static void test_next_owner_of_a_bin_has_as_much_room_as_in_a_cold_one(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(64);
    void *blocks[40];
    for (unsigned count = 0; count <= 20; count++) {
        wr_cache *cache = fill_wide_bin(25, 40, blocks);
        for (unsigned i = 40; i > count; i--) {
            blocks[i - 1] = cache_get(cache, class);
        }
        hand_on(cache);
        unsigned room = 0;
        while (wr_stack_push(cache, class, blocks[count + room])) {
            room++;
        }
        assert_int_equal(room, count < WR_CACHE_COLD_BLOCKS ? WR_CACHE_COLD_BLOCKS - count : 0);
        wr_return(40 - count - room, blocks + count + room, "free");
        wr_cache_drain(cache);
        hand_on(cache);
    }
}

static void park_with_nobody_to_sweep(void *unused)
{
    (void)unused;
    wr_options_parse((char *[]){"WEIR_BACKGROUND=0", NULL});
    unsigned class = wr_size_class_of(64);
    void *blocks[20];
    wr_cache *cache = fill_wide_bin(26, 20, blocks);
    size_t budget = wr_capacity_hot_bytes();
    CHECK(budget != 0);
    wr_park_push(cache);
    CHECK(wr_stack_length(cache, class) == 0);
    CHECK(cache->capacity[class] == WR_CACHE_COLD_BLOCKS);
    CHECK(wr_capacity_hot_bytes() < budget);
}

static void test_push_where_nobody_sweeps_returns_all_blocks(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(park_with_nobody_to_sweep, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* `count` blocks of `bytes` from a cache that has none of them, in the order they come. */
static unsigned get_fresh(wr_cache *cache, size_t bytes, unsigned count, void **blocks)
{
    unsigned class = wr_size_class_of(bytes);
    assert_int_equal(wr_stack_length(cache, class), 0);
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = cache_get(cache, class);
    }
    return class;
}

static void test_push_keeps_small_blocks_and_leaves_no_room_for_others(void **state)
{
    (void)state;
    static const size_t sizes[] = {8, 16, 32, 48};
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        wr_cache *cache = made[22];
        void *blocks[8];
        unsigned class = get_fresh(cache, sizes[s], 6, blocks);
        for (unsigned i = 0; i < 5; i++) {
            give(cache, class, blocks[i]);
        }
        unsigned length = wr_stack_length(cache, class);
        hand_on(cache);
        assert_null(cache->slab[class]);
        assert_int_equal(wr_stack_length(cache, class), length);
        assert_false(wr_stack_push(cache, class, blocks[5])); /* full */
        wr_cache_assert_valid(cache);
        for (unsigned i = 5; i-- > 0;) {
            assert_ptr_equal(cache_get(cache, class), blocks[i]);
        }
        wr_return(6, blocks, "free");
        wr_cache_drain(cache);
        hand_on(cache); /* with nothing */
        assert_false(wr_stack_push(cache, class, blocks[5]));
        wr_cache_assert_valid(cache);
    }
}

/* A cache with a line of four blocks of 16 bytes, all that its last owner left. */
static wr_cache *adopt_a_line(unsigned number)
{
    wr_cache *cache = made[number];
    void *blocks[8];
    unsigned class = get_fresh(cache, 16, 8, blocks);
    for (unsigned i = 0; i < 4; i++) {
        give(cache, class, blocks[i]);
    }
    wr_return(4, blocks + 4, "free");
    hand_on(cache);
    assert_int_equal(wr_stack_length(cache, class), 4);
    return cache;
}

static void test_lines_of_the_last_owner_come_before_blocks_of_other_threads(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(16);
    void *foreign[8];
    (void)get_fresh(made[26], 16, 8, foreign);
    wr_cache *cache = adopt_a_line(27);
    for (unsigned i = 0; i < WR_CACHE_HOT_REFILLS - 1; i++) {
        cache_give(cache, class, foreign[i]);
        assert_int_equal(wr_stack_length(cache, class), 4); /* it went back */
    }
    for (unsigned i = 0; i < 4; i++) {
        void *block = cache_get(cache, class);
        assert_true(line_of(block) != line_of(foreign[0]) && line_of(block) != line_of(foreign[4]));
        wr_return(1, &block, "free");
    }
    wr_return(8 - (WR_CACHE_HOT_REFILLS - 1), foreign + WR_CACHE_HOT_REFILLS - 1, "free");
    hand_on(cache);
}

static void test_lines_of_the_last_owner_do_not_keep_out_who_frees_much(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(16);
    void *foreign[8];
    (void)get_fresh(made[26], 16, 8, foreign);
    wr_cache *cache = adopt_a_line(28);
    for (unsigned i = 0; i < WR_CACHE_HOT_REFILLS; i++) {
        cache_give(cache, class, foreign[i]);
    }
    assert_ptr_equal(cache_get(cache, class), foreign[WR_CACHE_HOT_REFILLS - 1]);
    wr_return(8 - (WR_CACHE_HOT_REFILLS - 1), foreign + WR_CACHE_HOT_REFILLS - 1, "free");
    wr_cache_drain(cache);
    hand_on(cache);
}

static void test_thread_that_ran_out_of_the_lines_takes_frees_as_any(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(16);
    wr_cache *cache = adopt_a_line(29);
    void *blocks[12];
    for (unsigned i = 0; i < 12; i++) {
        blocks[i] = cache_get(cache, class); /* the line, and what the bin gives then */
    }
    unsigned left = wr_stack_length(cache, class);
    cache_give(cache, class, blocks[0]);
    assert_int_equal(wr_stack_length(cache, class), left + 1);
    while (wr_stack_length(cache, class) < cache->capacity[class]) {
        give(cache, class, blocks[wr_stack_length(cache, class) - left]);
    }
    unsigned full = wr_stack_length(cache, class);
    void *more = blocks[11];
    cache_give(cache, class, more);
    assert_ptr_equal(cache_get(cache, class), more); /* it went in, and older ones back */
    wr_return(1, &more, "free");
    wr_return(11 - (full - left), blocks + (full - left), "free");
    wr_cache_drain(cache);
    hand_on(cache);
}

static void test_next_owner_of_a_swept_cache_begins_anew(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(16);
    void *foreign[8];
    (void)get_fresh(made[32], 16, 8, foreign);
    wr_cache *cache = adopt_a_line(30);
    wr_park_push(cache);
    for (void *block; (block = wr_stack_pop(cache, class)) != NULL;) { /* as a thief does */
        wr_return(1, &block, "free");
    }
    wr_stack_set_end(cache, class, true);
    wr_capacity_swept(cache);
    assert_ptr_equal(wr_park_adopt(), cache);
    cache_give(cache, class, foreign[0]);
    assert_int_equal(wr_stack_length(cache, class), 0); /* it went back */
    assert_false(cache->swept);
    wr_cache_assert_valid(cache);
    wr_return(7, foreign + 1, "free");
    hand_on(cache);
}

static void test_push_of_a_swept_cache_counts_its_bins_again(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(64);
    void *blocks[20];
    size_t budget = wr_capacity_hot_bytes();
    wr_cache *cache = fill_wide_bin(31, 20, blocks);
    cache->heat[class] = 0;
    wr_capacity_swept(cache); /* with blocks in it, which the owner freed since */
    assert_int_equal(wr_capacity_hot_bytes(), budget);
    wr_park_push(cache);
    assert_int_equal(wr_capacity_hot_bytes(), budget); /* its bins begin anew */
    assert_ptr_equal(wr_park_adopt(), cache);
    wr_cache_drain(cache);
    hand_on(cache);
    hand_on(cache);
    assert_int_equal(wr_capacity_hot_bytes(), budget);
}

static void test_recover_leaves_exactly_the_parked_caches_adoptable(void **state)
{
    (void)state;
    wr_park_push(made[100]);
    wr_park_push(made[5]);
    wr_park_recover();
    assert_ptr_equal(wr_park_adopt(), made[5]);
    assert_ptr_equal(wr_park_adopt(), made[100]);
    wr_park_recover();
    assert_null(wr_park_adopt());
}

static void test_park_random_steps_match_the_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    bool is_parked[CACHES] = {false};
    for (unsigned step = 0; step < TEST_SCALE(500000, 100000); step++) {
        unsigned number = (unsigned)(random_next(&random) % CACHES);
        bool filling = step / 300 % 2 == 0;
        if (random_next(&random) % 8 < (filling ? 6u : 2u)) {
            if (!is_parked[number]) {
                wr_park_push(made[number]);
                is_parked[number] = true;
            }
        } else {
            unsigned lowest = 0;
            while (lowest < CACHES && !is_parked[lowest]) {
                lowest++;
            }
            assert_ptr_equal(wr_park_adopt(), lowest < CACHES ? made[lowest] : NULL);
            if (lowest < CACHES) {
                is_parked[lowest] = false;
            }
        }
        assert_int_equal(wr_park_has_racy(made[number]), is_parked[number]);
    }
    adopt_all();
}

/* ---- threads ---- */

enum { MINE_MAX = 40, ROUNDS = TEST_SCALE(200000, 20000) };

/* Adopts and parks in random order; `enter` and `leave` see each cache come and go. */
static void use_park(unsigned number, uint64_t *random, void (*enter)(unsigned, wr_cache *),
                     void (*leave)(unsigned, wr_cache *))
{
    wr_cache *mine[MINE_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (count < MINE_MAX && random_next(random) % 2 == 0) {
            wr_cache *cache = wr_park_adopt();
            if (cache != NULL) {
                enter(number, cache);
                mine[count++] = cache;
            }
        } else if (count > 0) {
            unsigned at = (unsigned)(random_next(random) % count);
            wr_cache *cache = mine[at];
            mine[at] = mine[--count];
            leave(number, cache);
            wr_park_push(cache);
        }
    }
    while (count > 0) {
        leave(number, mine[--count]);
        wr_park_push(mine[count]);
    }
}

/* Few caches, so that adopters meet; every one of them is parked in the end. */
static void run_park(crew_body *body)
{
    enum { SHARED = 80 };
    for (unsigned i = 40; i < 40 + SHARED; i++) {
        wr_park_push(made[i]);
    }
    crew_run(THREADS, test_seed(), body);
    for (unsigned i = 40; i < 40 + SHARED; i++) {
        assert_ptr_equal(wr_park_adopt(), made[i]);
    }
    assert_null(wr_park_adopt());
}

static _Atomic unsigned owners[CACHES]; /* relaxed: only the park orders anything */

static void enter_once(unsigned number, wr_cache *cache)
{
    CHECK(wr_fetch_add_relaxed(&owners[cache->id], number + 1) == 0);
}

static void leave_once(unsigned number, wr_cache *cache)
{
    CHECK(wr_fetch_sub_relaxed(&owners[cache->id], number + 1) == number + 1);
}

static void use_once(unsigned number, uint64_t *random)
{
    use_park(number, random, enter_once, leave_once);
}

static void test_park_under_threads_gives_each_cache_to_one_owner(void **state)
{
    (void)state;
    run_park(use_once);
}

/* What owners leave in a cache is plain: the blocks' bytes, and the cache's own fields. */
static void enter_plainly(unsigned number, wr_cache *cache)
{
    unsigned class = wr_size_class_of(64);
    void *block = cache_get(cache, class);
    pattern_fill(block, 64, number);
    cache->heat[class] = 1; /* stays cold: no slab is kept, no capacity grows */
    give(cache, class, block);
}

static void leave_plainly(unsigned number, wr_cache *cache)
{
    unsigned class = wr_size_class_of(64);
    void *block = cache_get(cache, class);
    CHECK(pattern_holds(block, 64, number));
    give(cache, class, block);
    wr_cache_assert_valid(cache);
}

static void use_plainly(unsigned number, uint64_t *random)
{
    use_park(number, random, enter_plainly, leave_plainly);
}

static void test_park_torture_with_plain_writes_has_no_race(void **state)
{
    (void)state;
    run_park(use_plainly);
    for (unsigned i = 0; i < CACHES; i++) {
        wr_cache_drain(made[i]);
    }
    assert_true(wr_load_relaxed(&wr_heap_default.bins[wr_size_class_of(64)].slabs) <= 1);
}

/* One thread parks a cache, another waits for its bit and adopts it: nothing else orders the two. A
 * second parked cache keeps the word and its mark as they are, since those would order them too. */
static void hand_on_by_the_park(unsigned number, uint64_t *random)
{
    (void)random;
    if (number == 0) {
        made[5]->visit = 1; /* plain, as its owner */
        wr_park_push(made[5]);
        return;
    }
    while (!wr_park_has_racy(made[5])) {
        sched_yield();
    }
    CHECK(wr_park_adopt() == made[5]);
    CHECK(made[5]->visit == 1);
    made[5]->visit = 0;
}

static void test_adopt_sees_the_cache_as_its_last_owner_left_it(void **state)
{
    (void)state;
    wr_park_push(made[6]);
    crew_run(2, 0, hand_on_by_the_park);
    assert_ptr_equal(wr_park_adopt(), made[6]);
    assert_null(wr_park_adopt());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adopt_without_parked_caches_gives_none),
        cmocka_unit_test(test_push_makes_a_cache_adoptable_once),
        cmocka_unit_test(test_adopt_takes_the_lowest_number_first),
        cmocka_unit_test(test_push_keeps_the_newest_blocks_and_gives_up_the_slabs),
        cmocka_unit_test(test_push_of_a_bin_much_used_keeps_all_that_it_holds),
        cmocka_unit_test(test_push_of_a_grown_bin_little_used_returns_all_its_blocks),
        cmocka_unit_test(test_next_owner_of_a_bin_has_as_much_room_as_in_a_cold_one),
        cmocka_unit_test(test_push_where_nobody_sweeps_returns_all_blocks),
        cmocka_unit_test(test_push_keeps_small_blocks_and_leaves_no_room_for_others),
        cmocka_unit_test(test_lines_of_the_last_owner_come_before_blocks_of_other_threads),
        cmocka_unit_test(test_lines_of_the_last_owner_do_not_keep_out_who_frees_much),
        cmocka_unit_test(test_thread_that_ran_out_of_the_lines_takes_frees_as_any),
        cmocka_unit_test(test_next_owner_of_a_swept_cache_begins_anew),
        cmocka_unit_test(test_push_of_a_swept_cache_counts_its_bins_again),
        cmocka_unit_test(test_recover_leaves_exactly_the_parked_caches_adoptable),
        cmocka_unit_test(test_park_random_steps_match_the_model),
        cmocka_unit_test(test_park_under_threads_gives_each_cache_to_one_owner),
        cmocka_unit_test(test_park_torture_with_plain_writes_has_no_race),
        cmocka_unit_test(test_adopt_sees_the_cache_as_its_last_owner_left_it),
    };
    return cmocka_run_group_tests_name("park", tests, create_all, NULL);
}
