/* Decay: the curve, and how what became dirty at several times adds up. */
#include "page/decay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

#define STEPS        WR_DECAY_STEPS
#define EXACT        ((size_t)4096) /* a multiple of it is not rounded */
#define MODEL_RUNS   TEST_SCALE(2000, 300)
#define MODEL_LOOKS  100
#define MODEL_EVENTS MODEL_LOOKS

/* What may stay of `amount`, `age` steps after it became dirty, with all looks between. */
static size_t left_after(size_t amount, uint64_t first, uint64_t age)
{
    wr_decay decay = {0};
    size_t allowed = wr_decay_allow(&decay, first, amount);
    for (uint64_t i = 1; i <= age; i++) {
        allowed = wr_decay_allow(&decay, first + i, amount);
    }
    return allowed;
}

/* ---- the curve ---- */

static void test_curve_begins_with_all_and_ends_with_nothing(void **state)
{
    (void)state;
    static const size_t amounts[] = {0, 1, 2, 4095, 4096, 4097, 1000003, SIZE_MAX};
    for (unsigned i = 0; i < COUNT_OF(amounts); i++) {
        assert_int_equal(left_after(amounts[i], 1000, 0), amounts[i]);
        assert_int_equal(left_after(amounts[i], 1000, STEPS), 0);
        assert_int_equal(left_after(amounts[i], 1000, STEPS + 1), 0);
        assert_int_equal(left_after(amounts[i], 1000, 3 * STEPS), 0);
    }
    assert_true(left_after(1000 * EXACT, 1000, STEPS - 1) > 0);
}

static void test_curve_falls_all_the_time_by_a_tenth_at_most(void **state)
{
    (void)state;
    const size_t amount = 1000 * EXACT;
    size_t before = amount;
    for (uint64_t age = 1; age <= STEPS; age++) {
        size_t left = left_after(amount, 7, age);
        assert_true(left < before);
        assert_true(before - left <= amount / 10);
        before = left;
    }
}

static void test_curve_is_flat_at_both_ends_and_steep_between(void **state)
{
    (void)state;
    const size_t amount = 1000 * EXACT;
    size_t falls[STEPS + 1] = {0};
    for (uint64_t age = 1; age <= STEPS; age++) {
        falls[age] = left_after(amount, 7, age - 1) - left_after(amount, 7, age);
    }
    for (unsigned age = 2; age <= STEPS / 2; age++) {
        assert_true(falls[age] > falls[age - 1]);
        assert_true(falls[STEPS + 1 - age] > falls[STEPS + 2 - age]);
    }
    assert_true(falls[1] < amount / 50);
    assert_true(falls[STEPS] < amount / 50);
}

static void test_curve_is_the_smooth_step(void **state)
{
    (void)state;
    for (uint64_t age = 0; age <= STEPS; age++) {
        double x = 1 - (double)age / STEPS;
        double expected = 1000 * (double)EXACT * x * x * (3 - 2 * x);
        size_t left = left_after(1000 * EXACT, 7, age);
        assert_true((double)left <= expected && (double)left > expected - 1000);
        /* The two halves of the time mirror each other. */
        size_t mirrored = left_after(1000 * EXACT, 7, STEPS - age);
        assert_in_range(left + mirrored, 1000 * EXACT - 1000, 1000 * EXACT);
    }
}

static void test_curve_of_less_than_a_4096th_is_rounded_down(void **state)
{
    (void)state;
    for (size_t amount = 0; amount < 200; amount++) {
        for (uint64_t age = 0; age <= STEPS; age++) {
            double x = 1 - (double)age / STEPS;
            double expected = (double)amount * x * x * (3 - 2 * x);
            size_t left = left_after(amount, 7, age);
            assert_true((double)left <= expected && (double)left > expected - 1.1);
        }
    }
}

/* ---- time ---- */

static void test_allow_depends_on_time_and_not_on_looks(void **state)
{
    (void)state;
    for (uint64_t age = 0; age <= 2 * STEPS; age++) {
        wr_decay decay = {0};
        assert_int_equal(wr_decay_allow(&decay, 1000, 50 * EXACT), 50 * EXACT);
        assert_int_equal(wr_decay_allow(&decay, 1000 + age, 50 * EXACT),
                         left_after(50 * EXACT, 1000, age));
        /* A second look in the same step finds the same. */
        assert_int_equal(wr_decay_allow(&decay, 1000 + age, 50 * EXACT),
                         left_after(50 * EXACT, 1000, age));
    }
}

static void test_allow_from_the_first_steps_of_time_on(void **state)
{
    (void)state;
    for (uint64_t first = 0; first <= 2 * STEPS; first++) {
        for (uint64_t age = 0; age <= STEPS; age++) {
            assert_int_equal(left_after(50 * EXACT, first, age), left_after(50 * EXACT, 1000, age));
        }
    }
}

static void test_allow_after_a_long_pause_is_nothing(void **state)
{
    (void)state;
    static const uint64_t pauses[] = {STEPS,      STEPS + 1,         2 * STEPS,
                                      5000000000, (uint64_t)1 << 62, UINT64_MAX - 100};
    for (unsigned i = 0; i < COUNT_OF(pauses); i++) {
        wr_decay decay = {0};
        for (uint64_t step = 80; step <= 100; step++) {
            (void)wr_decay_allow(&decay, step, step * EXACT);
        }
        assert_int_equal(wr_decay_allow(&decay, 100 + pauses[i], 100 * EXACT), 0);
        /* And a new amount then begins anew. */
        assert_int_equal(wr_decay_allow(&decay, 100 + pauses[i], 107 * EXACT), 7 * EXACT);
    }
}

static void test_allow_at_the_end_of_time_forgets_nothing(void **state)
{
    (void)state;
    for (uint64_t age = 0; age <= STEPS; age++) {
        assert_int_equal(left_after(50 * EXACT, UINT64_MAX - STEPS, age),
                         left_after(50 * EXACT, 1000, age));
    }
}

/* ---- sums ---- */

static void test_allow_amounts_of_one_step_add_up(void **state)
{
    (void)state;
    wr_decay decay = {0};
    assert_int_equal(wr_decay_allow(&decay, 50, 3 * EXACT), 3 * EXACT);
    assert_int_equal(wr_decay_allow(&decay, 50, 10 * EXACT), 10 * EXACT);
    assert_int_equal(wr_decay_allow(&decay, 54, 10 * EXACT), left_after(10 * EXACT, 50, 4));
}

static void test_allow_amounts_of_several_steps_each_have_their_age(void **state)
{
    (void)state;
    wr_decay decay = {0};
    (void)wr_decay_allow(&decay, 50, 3 * EXACT);
    (void)wr_decay_allow(&decay, 52, 10 * EXACT);
    (void)wr_decay_allow(&decay, 63, 11 * EXACT);
    for (uint64_t step = 63; step <= 63 + STEPS; step++) {
        size_t expected = (step < 50 + STEPS ? left_after(3 * EXACT, 50, step - 50) : 0) +
                          (step < 52 + STEPS ? left_after(7 * EXACT, 52, step - 52) : 0) +
                          left_after(1 * EXACT, 63, step - 63);
        assert_int_equal(wr_decay_allow(&decay, step, 11 * EXACT), expected);
    }
}

static void test_allow_of_a_steady_flow_is_half_of_what_the_time_brings(void **state)
{
    (void)state;
    wr_decay decay = {0};
    size_t allowed = 0;
    for (uint64_t step = 0; step < 5 * STEPS; step++) {
        allowed = wr_decay_allow(&decay, step, (step + 1) * EXACT);
    }
    assert_in_range(allowed, (STEPS / 2 - 1) * EXACT, (STEPS / 2 + 1) * EXACT);
}

static void test_allow_of_less_dirty_adds_nothing_and_takes_nothing(void **state)
{
    (void)state;
    wr_decay decay = {0};
    (void)wr_decay_allow(&decay, 50, 10 * EXACT);
    for (uint64_t age = 1; age <= STEPS; age++) {
        assert_int_equal(wr_decay_allow(&decay, 50 + age, (STEPS - age) * EXACT / 2),
                         left_after(10 * EXACT, 50, age));
    }
}

static void test_allow_of_a_fall_and_a_rise_counts_the_rise(void **state)
{
    (void)state;
    wr_decay decay = {0};
    (void)wr_decay_allow(&decay, 50, 10 * EXACT);
    (void)wr_decay_allow(&decay, 52, 4 * EXACT); /* six were used again */
    size_t allowed = wr_decay_allow(&decay, 55, 9 * EXACT);
    assert_int_equal(allowed, left_after(10 * EXACT, 50, 5) + 5 * EXACT);
    assert_int_equal(wr_decay_allow(&decay, 50 + STEPS, 9 * EXACT),
                     left_after(5 * EXACT, 55, STEPS - 5));
    assert_int_equal(wr_decay_allow(&decay, 55 + STEPS, 9 * EXACT), 0);
}

static void test_settle_after_a_purge_counts_what_comes_next_as_new(void **state)
{
    (void)state;
    wr_decay decay = {0};
    (void)wr_decay_allow(&decay, 50, 10 * EXACT);
    size_t allowed = wr_decay_allow(&decay, 58, 10 * EXACT);
    assert_int_equal(allowed, 5 * EXACT);
    wr_decay_settle(&decay, allowed); /* five are purged */
    assert_int_equal(wr_decay_allow(&decay, 58, 5 * EXACT), 5 * EXACT);
    assert_int_equal(wr_decay_allow(&decay, 58, 10 * EXACT), 10 * EXACT);
    assert_int_equal(wr_decay_allow(&decay, 50 + STEPS, 10 * EXACT),
                     left_after(5 * EXACT, 58, STEPS - 8));
}

static void test_allow_of_what_is_purged_as_told_ends_with_nothing(void **state)
{
    (void)state;
    wr_decay decay = {0};
    size_t dirty = 777777;
    for (uint64_t step = 50; step <= 50 + STEPS; step++) {
        size_t allowed = wr_decay_allow(&decay, step, dirty);
        assert_true(allowed <= dirty);
        dirty = allowed;
        wr_decay_settle(&decay, dirty);
    }
    assert_int_equal(dirty, 0);
}

/* ---- large numbers ---- */

static void test_allow_of_large_numbers_does_not_overflow(void **state)
{
    (void)state;
    static const size_t amounts[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX - 4096, PTRDIFF_MAX};
    for (unsigned i = 0; i < COUNT_OF(amounts); i++) {
        size_t before = amounts[i];
        for (uint64_t age = 0; age <= STEPS; age++) {
            long double x = 1 - (long double)age / STEPS;
            long double expected = (long double)amounts[i] * x * x * (3 - 2 * x);
            size_t left = left_after(amounts[i], 1000, age);
            assert_true(left <= before);
            assert_true((long double)left <= expected * (1 + 1e-18L));
            assert_true((long double)left >= expected - (long double)(amounts[i] / 4000));
            before = left;
        }
    }
}

static void test_allow_of_large_numbers_in_every_step_does_not_overflow(void **state)
{
    (void)state;
    wr_decay decay = {0};
    size_t before = 0;
    for (uint64_t step = 1; step <= STEPS; step++) { /* all there is, in equal parts */
        size_t allowed = wr_decay_allow(&decay, step, SIZE_MAX / STEPS * step);
        assert_true(allowed > before && allowed <= SIZE_MAX / STEPS * step);
        before = allowed;
    }
    for (uint64_t step = STEPS + 1; step <= 2 * STEPS; step++) {
        size_t allowed = wr_decay_allow(&decay, step, SIZE_MAX / STEPS * STEPS);
        assert_true(allowed < before);
        before = allowed;
    }
    assert_int_equal(before, 0);
}

/* ---- sequential model, in floating point ---- */

struct event {
    uint64_t step;
    size_t amount;
};

struct model {
    struct event events[MODEL_EVENTS];
    unsigned count;
    size_t dirty;
};

/* What may stay, and by how much rounding may have made it less. */
static long double model_allow(struct model *model, uint64_t step, size_t dirty,
                               long double *rounding)
{
    if (dirty > model->dirty) {
        model->events[model->count++] = (struct event){step, dirty - model->dirty};
    }
    model->dirty = dirty;
    long double sum = 0;
    *rounding = STEPS;
    for (unsigned i = 0; i < model->count; i++) {
        uint64_t age = step - model->events[i].step;
        if (age < STEPS) {
            long double x = 1 - (long double)age / STEPS;
            sum += (long double)model->events[i].amount * x * x * (3 - 2 * x);
            *rounding += (long double)model->events[i].amount / 4096;
        }
    }
    return sum;
}

static uint64_t random_pause(uint64_t *random)
{
    uint64_t kind = random_next(random) % 20;
    return kind < 4    ? 0
           : kind < 16 ? 1
           : kind < 19 ? random_next(random) % STEPS
                       : random_next(random) % (4 * STEPS);
}

static void run_model(uint64_t *random)
{
    static struct model model;
    wr_decay decay = {0};
    uint64_t step = random_next(random) % 100;
    size_t most = (size_t)1 << (random_next(random) % 50);
    size_t dirty = 0;
    memset(&model, 0, sizeof model);
    for (unsigned look = 0; look < MODEL_LOOKS; look++) {
        step += random_pause(random);
        dirty = random_next(random) % 3 == 0 ? dirty : random_next(random) % most;
        long double rounding;
        long double expected = model_allow(&model, step, dirty, &rounding);
        size_t allowed = wr_decay_allow(&decay, step, dirty);
        assert_true((long double)allowed <= expected * (1 + 1e-15L) + 1e-9L);
        assert_true((long double)allowed >= expected - rounding);
        if (random_next(random) % 2 == 0 && dirty > allowed) {
            dirty = allowed;
            wr_decay_settle(&decay, dirty);
            model.dirty = dirty;
        }
    }
}

static void test_model_random_looks_agree_within_rounding(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned run = 0; run < MODEL_RUNS; run++) {
        run_model(&random);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve_begins_with_all_and_ends_with_nothing),
        cmocka_unit_test(test_curve_falls_all_the_time_by_a_tenth_at_most),
        cmocka_unit_test(test_curve_is_flat_at_both_ends_and_steep_between),
        cmocka_unit_test(test_curve_is_the_smooth_step),
        cmocka_unit_test(test_curve_of_less_than_a_4096th_is_rounded_down),
        cmocka_unit_test(test_allow_depends_on_time_and_not_on_looks),
        cmocka_unit_test(test_allow_from_the_first_steps_of_time_on),
        cmocka_unit_test(test_allow_after_a_long_pause_is_nothing),
        cmocka_unit_test(test_allow_at_the_end_of_time_forgets_nothing),
        cmocka_unit_test(test_allow_amounts_of_one_step_add_up),
        cmocka_unit_test(test_allow_amounts_of_several_steps_each_have_their_age),
        cmocka_unit_test(test_allow_of_a_steady_flow_is_half_of_what_the_time_brings),
        cmocka_unit_test(test_allow_of_less_dirty_adds_nothing_and_takes_nothing),
        cmocka_unit_test(test_allow_of_a_fall_and_a_rise_counts_the_rise),
        cmocka_unit_test(test_settle_after_a_purge_counts_what_comes_next_as_new),
        cmocka_unit_test(test_allow_of_what_is_purged_as_told_ends_with_nothing),
        cmocka_unit_test(test_allow_of_large_numbers_does_not_overflow),
        cmocka_unit_test(test_allow_of_large_numbers_in_every_step_does_not_overflow),
        cmocka_unit_test(test_model_random_looks_agree_within_rounding),
    };
    return cmocka_run_group_tests_name("decay", tests, NULL, NULL);
}
