/* The summary of 1024 words and the leaves below it: what is marked is found, lowest first, and at
 * rest every leaf that is non-zero is marked, whatever setters and clearers did before. */
#include "page_support.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

#include "page/summary.h"

#define WORDS      WR_SUMMARY_WORDS
#define TOKENS     COUNT_OF(token_words)
#define STEPS      TEST_SCALE(200000, 30000) /* of the model */
#define ROUNDS     TEST_SCALE(8000, 1500)    /* of storm and rest */
#define MEETINGS   TEST_SCALE(30000, 5000)   /* of two threads */
#define ROUND_SIZE 30                        /* steps of a thread in a round */

static wr_summary summary;
static _Atomic uint64_t leaves[WORDS];

/* Leaves that share a mid word, and leaves that are alone under theirs. */
static const unsigned token_words[] = {0, 1, 63, 64, 500, 1022, 1023};

static int clear_all(void **state)
{
    (void)state;
    for (unsigned w = 0; w < WORDS; w++) {
        wr_store_relaxed(&leaves[w], 0);
    }
    for (unsigned m = 0; m < WR_SUMMARY_MIDS; m++) {
        wr_store_relaxed(&summary.mid[m], 0);
    }
    wr_store_relaxed(&summary.top, 0);
    return 0;
}

/* As users of the summary do it. */
static void put(unsigned word, uint64_t bit)
{
    uint64_t old = wr_fetch_or_seq_cst(&leaves[word], bit);
    CHECK((old & bit) == 0);
    wr_summary_mark(&summary, word);
}

static bool take(unsigned word, uint64_t bit)
{
    uint64_t old = wr_fetch_and_seq_cst(&leaves[word], ~bit);
    if ((old & bit) == 0) {
        return false;
    }
    if ((old & ~bit) == 0) {
        wr_summary_unmark(&summary, word, &leaves[word]);
    }
    return true;
}

static bool mid_bit(unsigned word)
{
    return (wr_load_relaxed(&summary.mid[word / 64]) >> (word % 64) & 1) != 0;
}

static bool top_bit(unsigned word)
{
    return (wr_load_relaxed(&summary.top) >> (word / 64) & 1) != 0;
}

/* The invariant of summary.h, and what it is for: a walk by `next` comes to every leaf. */
static void check_at_rest(void)
{
    unsigned found = wr_summary_next(&summary, 0);
    for (unsigned w = 0; w < WORDS; w++) {
        if (wr_load_relaxed(&leaves[w]) != 0) {
            CHECK(mid_bit(w));
            CHECK(top_bit(w));
            CHECK(found <= w);
        }
        if (found == w) {
            found = wr_summary_next(&summary, w + 1);
        }
    }
    CHECK(found == WORDS);
    wr_summary_assert_valid(&summary, leaves, 1);
}

static void test_next_nothing_marked_finds_nothing(void **state)
{
    (void)state;
    for (unsigned w = 0; w <= WORDS; w++) {
        assert_int_equal(wr_summary_next(&summary, w), WORDS);
    }
}

static void test_next_each_word_marked_alone_is_found_from_at_or_below(void **state)
{
    (void)state;
    for (unsigned w = 0; w < WORDS; w++) {
        put(w, 1);
        assert_int_equal(wr_summary_next(&summary, 0), w);
        assert_int_equal(wr_summary_next(&summary, w / 2), w);
        assert_int_equal(wr_summary_next(&summary, w), w);
        assert_int_equal(wr_summary_next(&summary, w + 1), WORDS);
        assert_true(take(w, 1));
        assert_int_equal(wr_summary_next(&summary, 0), WORDS);
    }
}

static void test_next_several_marked_gives_the_lowest_first(void **state)
{
    (void)state;
    for (size_t i = TOKENS; i-- > 0;) {
        put(token_words[i], 1);
        assert_int_equal(wr_summary_next(&summary, 0), token_words[i]);
    }
    unsigned from = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        assert_int_equal(wr_summary_next(&summary, from), token_words[i]);
        from = token_words[i] + 1;
    }
    assert_int_equal(wr_summary_next(&summary, from), WORDS);
}

static void test_mark_twice_one_unmark_clears(void **state)
{
    (void)state;
    put(70, 1);
    wr_summary_mark(&summary, 70);
    assert_true(take(70, 1));
    assert_int_equal(wr_summary_next(&summary, 0), WORDS);
    assert_int_equal(wr_load_relaxed(&summary.top), 0);
}

static void test_unmark_leaf_filled_meanwhile_stays_marked(void **state)
{
    (void)state;
    put(70, 1);
    /* As a clearer that saw zero just before another thread set a bit. */
    wr_summary_unmark(&summary, 70, &leaves[70]);
    assert_true(mid_bit(70));
    assert_true(top_bit(70));
}

static void test_unmark_neighbour_in_the_mid_word_keeps_the_top_bit(void **state)
{
    (void)state;
    put(64, 1);
    put(127, 1);
    assert_true(take(64, 1));
    assert_false(mid_bit(64));
    assert_true(top_bit(127));
    assert_int_equal(wr_summary_next(&summary, 0), 127);
    assert_true(take(127, 1));
    assert_false(top_bit(127));
}

static void test_next_mark_without_leaf_costs_only_a_look(void **state)
{
    (void)state;
    wr_summary_mark(&summary, 3);
    put(9, 1);
    assert_int_equal(wr_summary_next(&summary, 0), 3);
    assert_int_equal(wr_summary_next(&summary, 4), 9);
    check_at_rest();
}

static void test_model_random_puts_and_takes_agree_with_a_scan(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static uint64_t model[WORDS];
    memset(model, 0, sizeof model);
    for (size_t i = 0; i < STEPS; i++) {
        /* A few words only for stretches of time, so that they often get empty. */
        unsigned spread = i / 1000 % 2 == 0 ? WORDS : 130;
        unsigned word = (unsigned)(random_next(&random) % spread);
        uint64_t bit = (uint64_t)1 << (random_next(&random) % 3 * 31);
        if ((model[word] & bit) == 0) {
            put(word, bit);
        } else {
            assert_true(take(word, bit));
        }
        model[word] ^= bit;
        unsigned from = (unsigned)(random_next(&random) % (WORDS + 1));
        unsigned expected = from;
        while (expected < WORDS && model[expected] == 0) {
            expected++;
        }
        assert_int_equal(wr_summary_next(&summary, from), expected);
    }
    check_at_rest();
}

/* Storms of threads. A token is bit 0 of a leaf of token_words; who clears it has the token. */
static uint64_t seed;
static _Atomic size_t owner[WORDS]; /* number + 1 of the thread that has the token, or 0 */
static size_t plain_count[WORDS];   /* written by who has the token: TSan watches */
static size_t taken_count[THREADS]; /* by thread */
static size_t thread_rounds;        /* rounds that storm() goes through; constant meanwhile */
static void (*use_token)(unsigned word, size_t number);

static void use_owner_table(unsigned word, size_t number)
{
    CHECK(wr_exchange_acq_rel(&owner[word], number + 1) == 0);
    CHECK(wr_exchange_acq_rel(&owner[word], 0) == number + 1);
}

static void use_plain_memory(unsigned word, size_t number)
{
    (void)number;
    plain_count[word]++;
}

/* Looks for any token from a random place on and has it for a moment. */
static void storm_step(uint64_t *random, size_t number)
{
    unsigned from = (unsigned)(random_next(random) % 4 == 0 ? random_next(random) % WORDS : 0);
    unsigned word = wr_summary_next(&summary, from);
    CHECK(word >= from && word <= WORDS);
    if (word < WORDS && take(word, 1)) {
        use_token(word, number);
        taken_count[number]++;
        put(word, 1);
    }
}

static void storm(size_t number)
{
    uint64_t random = seed + number;
    for (size_t round = 0; round < thread_rounds; round++) {
        for (size_t i = 0; i < ROUND_SIZE; i++) {
            storm_step(&random, number);
        }
        if (threads_meet()) {
            check_at_rest();
            for (size_t i = 0; i < TOKENS; i++) {
                CHECK(wr_load_relaxed(&leaves[token_words[i]]) == 1);
            }
        }
        threads_meet();
    }
}

static void run_storm(void (*use)(unsigned word, size_t number))
{
    seed = test_seed();
    use_token = use;
    thread_rounds = ROUNDS;
    memset(taken_count, 0, sizeof taken_count);
    memset(plain_count, 0, sizeof plain_count);
    for (size_t i = 0; i < TOKENS; i++) {
        put(token_words[i], 1);
    }
    run_threads(storm);
}

static void test_threads_each_token_has_one_owner_and_none_is_lost(void **state)
{
    (void)state;
    run_storm(use_owner_table);
    unsigned from = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        assert_int_equal(wr_summary_next(&summary, from), token_words[i]);
        assert_true(take(token_words[i], 1));
        from = token_words[i] + 1;
    }
    assert_int_equal(wr_summary_next(&summary, 0), WORDS);
}

static void test_torture_plain_writes_of_owners_add_up(void **state)
{
    (void)state;
    run_storm(use_plain_memory);
    size_t written = 0;
    size_t taken = 0;
    for (size_t w = 0; w < WORDS; w++) {
        written += plain_count[w];
    }
    for (size_t i = 0; i < THREADS; i++) {
        taken += taken_count[i];
    }
    assert_int_equal(written, taken);
    assert_true(taken > 0);
}

/* The two steps of the invariant's proof, met head on: one of two threads takes the only token
 * while the other puts one under the same mid word. They run in step, by spinning, with random
 * delays. */
static _Atomic size_t steps_done; /* by both threads */
static unsigned met_words[2];     /* where each of them has its token */

static void keep_step(size_t *step)
{
    *step += 2;
    (void)wr_fetch_add_seq_cst(&steps_done, 1);
    for (size_t spins = 0; wr_load_seq_cst(&steps_done) < *step; spins++) {
        if (spins > 300) {
            sched_yield();
        }
    }
}

static void meet(size_t number)
{
    uint64_t random = seed + number;
    size_t step = 0;
    unsigned word = met_words[number & 1];
    uint64_t bit = (uint64_t)1 << number;
    for (size_t round = 0; number < 2 && round < MEETINGS; round++) {
        _Atomic unsigned delay = (unsigned)(random_next(&random) % 64);
        keep_step(&step);
        while (wr_load_relaxed(&delay) > 0) {
            wr_store_relaxed(&delay, wr_load_relaxed(&delay) - 1);
        }
        if (round % 2 == number) {
            put(word, bit);
        } else if (round > 0) {
            CHECK(take(word, bit));
        }
        keep_step(&step);
        CHECK(wr_summary_next(&summary, 0) == met_words[round % 2]);
    }
}

static void run_meetings(unsigned first_word, unsigned second_word)
{
    seed = test_seed();
    met_words[0] = first_word;
    met_words[1] = second_word;
    wr_store_seq_cst(&steps_done, 0);
    run_threads(meet);
    check_at_rest();
}

static void test_threads_that_empty_and_fill_one_leaf_leave_it_marked(void **state)
{
    (void)state;
    run_meetings(700, 700);
}

static void test_threads_that_empty_and_fill_one_mid_word_leave_it_marked(void **state)
{
    (void)state;
    run_meetings(700, 701);
}

#if WR_DEBUG
static void break_mid(void *unused)
{
    (void)unused;
    put(70, 1);
    wr_store_relaxed(&summary.mid[1], 0);
    wr_summary_assert_valid(&summary, leaves, 1);
}

static void break_top(void *unused)
{
    (void)unused;
    put(70, 1);
    wr_store_relaxed(&summary.top, 0);
    wr_summary_assert_valid(&summary, leaves, 1);
}

static void test_assert_valid_missing_mark_aborts(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(break_mid, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
    run_child(break_top, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] =
    { cmocka_unit_test_setup(test_next_nothing_marked_finds_nothing, clear_all),
      cmocka_unit_test_setup(test_next_each_word_marked_alone_is_found_from_at_or_below, clear_all),
      cmocka_unit_test_setup(test_next_several_marked_gives_the_lowest_first, clear_all),
      cmocka_unit_test_setup(test_mark_twice_one_unmark_clears, clear_all),
      cmocka_unit_test_setup(test_unmark_leaf_filled_meanwhile_stays_marked, clear_all),
      cmocka_unit_test_setup(test_unmark_neighbour_in_the_mid_word_keeps_the_top_bit, clear_all),
      cmocka_unit_test_setup(test_next_mark_without_leaf_costs_only_a_look, clear_all),
      cmocka_unit_test_setup(test_model_random_puts_and_takes_agree_with_a_scan, clear_all),
      cmocka_unit_test_setup(test_threads_each_token_has_one_owner_and_none_is_lost, clear_all),
      cmocka_unit_test_setup(test_torture_plain_writes_of_owners_add_up, clear_all),
      cmocka_unit_test_setup(test_threads_that_empty_and_fill_one_leaf_leave_it_marked, clear_all),
      cmocka_unit_test_setup(test_threads_that_empty_and_fill_one_mid_word_leave_it_marked,
                             clear_all),
#if WR_DEBUG
      cmocka_unit_test_setup(test_assert_valid_missing_mark_aborts, clear_all),
#endif
    };
    return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}
