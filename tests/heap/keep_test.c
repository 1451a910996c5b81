/* Kept mappings: which one fits, what the cap and the slots allow, and what the kernel gets back.
 */
#include "heap/keep.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "base/options.h"
#include "crew.h"
#include "os/vm.h"
#include "support.h"

#define THREADS 4
#define CAP     (32 * MIB) /* the option's default */

static uintptr_t map(size_t bytes)
{
    uintptr_t start = (uintptr_t)wr_vm_map(bytes, WR_SLICE_BYTES);
    CHECK(start != 0);
    return start;
}

/* mincore(2) fails with ENOMEM for addresses that are not mapped. */
static bool is_mapped(uintptr_t start)
{
    unsigned char resident;
    return mincore((void *)start, 1, &resident) == 0 || errno != ENOMEM;
}

/* As an object that has its size is given one: a quarter more at most. */
static wr_kept take(size_t bytes, size_t alignment)
{
    return wr_keep_take(bytes, bytes + bytes / 4, alignment);
}

static void put_new(size_t bytes)
{
    wr_keep_put(map(bytes), bytes);
}

static int release_all(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    return wr_keep_bytes() == 0 ? 0 : -1;
}

static void assert_none(wr_kept kept)
{
    assert_int_equal(kept.start, 0);
    assert_int_equal(kept.bytes, 0);
}

static void test_take_from_nothing_gives_none(void **state)
{
    (void)state;
    assert_none(take(4 * KIB, WR_SLICE_BYTES));
    assert_int_equal(wr_keep_bytes(), 0);
}

static void test_take_gives_what_was_put_with_its_contents(void **state)
{
    (void)state;
    uintptr_t start = map(256 * KIB);
    pattern_fill((void *)start, 256 * KIB, 1);
    wr_keep_put(start, 256 * KIB);
    assert_int_equal(wr_keep_bytes(), 256 * KIB);
    wr_kept kept = take(256 * KIB, WR_SLICE_BYTES);
    assert_int_equal(kept.start, start);
    assert_int_equal(kept.bytes, 256 * KIB);
    assert_true(pattern_holds((void *)start, 256 * KIB, 1));
    assert_int_equal(wr_keep_bytes(), 0);
    assert_none(take(256 * KIB, WR_SLICE_BYTES));
    wr_keep_put(kept.start, kept.bytes);
}

static void test_take_of_more_than_is_kept_gives_none(void **state)
{
    (void)state;
    put_new(256 * KIB);
    put_new(512 * KIB);
    assert_none(take(260 * KIB, WR_SLICE_BYTES)); /* 512 KiB would be more than a quarter above */
    assert_none(take(516 * KIB, WR_SLICE_BYTES));
    assert_int_equal(wr_keep_bytes(), 768 * KIB);
}

static void test_take_gives_at_most_a_quarter_more(void **state)
{
    (void)state;
    put_new(320 * KIB);
    assert_none(take(252 * KIB, WR_SLICE_BYTES));
    wr_kept kept = take(256 * KIB, WR_SLICE_BYTES);
    assert_int_equal(kept.bytes, 320 * KIB);
    wr_keep_put(kept.start, kept.bytes);
}

static void test_take_gives_the_smallest_that_fits(void **state)
{
    (void)state;
    static const size_t sizes[] = {288 * KIB, 260 * KIB, 256 * KIB, 300 * KIB, 280 * KIB};
    static const size_t expected[] = {260 * KIB, 280 * KIB, 288 * KIB, 300 * KIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        put_new(sizes[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(expected); i++) {
        wr_kept kept = take(257 * KIB, WR_SLICE_BYTES);
        assert_int_equal(kept.bytes, expected[i]);
        assert_true(wr_vm_unmap((void *)kept.start, kept.bytes));
    }
    assert_none(take(257 * KIB, WR_SLICE_BYTES));
}

static void test_take_without_a_most_gives_the_smallest_of_all_that_are_large_enough(void **state)
{
    (void)state;
    static const size_t sizes[] = {8 * MIB, 64 * KIB, 2 * MIB, 4 * MIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        put_new(sizes[i]);
    }
    assert_none(wr_keep_take(128 * KIB, 2 * MIB - 1, WR_SLICE_BYTES));
    for (size_t expected = 2 * MIB; expected <= 8 * MIB; expected *= 2) {
        wr_kept kept = wr_keep_take(128 * KIB, SIZE_MAX, WR_SLICE_BYTES);
        assert_int_equal(kept.bytes, expected);
        assert_true(wr_vm_unmap((void *)kept.start, kept.bytes));
    }
    assert_none(wr_keep_take(128 * KIB, SIZE_MAX, WR_SLICE_BYTES));
}

static void test_take_gives_what_starts_at_a_multiple(void **state)
{
    (void)state;
    uintptr_t start = map(256 * KIB);
    size_t alignment = start & -start; /* the most that it has */
    wr_keep_put(start, 256 * KIB);
    assert_none(take(256 * KIB, 2 * alignment));
    wr_kept kept = take(256 * KIB, alignment);
    assert_int_equal(kept.start, start);
    wr_keep_put(kept.start, kept.bytes);
}

static void test_put_above_the_cap_returns_it_to_the_kernel(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    put_new(1 * MIB);
    uintptr_t start = map(CAP + 4 * KIB);
    wr_keep_put(start, CAP + 4 * KIB);
    assert_false(is_mapped(start));
    assert_int_equal(wr_vm_mapped_bytes(), mapped + 1 * MIB);
    assert_int_equal(wr_keep_bytes(), 1 * MIB); /* others stay */
}

static void test_put_of_the_cap_itself_is_kept(void **state)
{
    (void)state;
    uintptr_t start = map(CAP);
    wr_keep_put(start, CAP);
    assert_int_equal(wr_keep_bytes(), CAP);
    wr_kept kept = take(CAP, WR_SLICE_BYTES);
    assert_int_equal(kept.start, start);
    assert_true(wr_vm_unmap((void *)start, CAP));
}

static void test_put_over_the_cap_returns_others_till_it_holds(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    for (unsigned i = 0; i < 40; i++) {
        put_new(5 * MIB);
        assert_true(wr_keep_bytes() <= CAP);
        assert_int_equal(wr_vm_mapped_bytes() - mapped, wr_keep_bytes());
    }
    assert_int_equal(wr_keep_bytes(), 30 * MIB);
}

static void test_put_into_full_slots_returns_another(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    for (unsigned i = 0; i < 3 * WR_KEEP_SLOTS; i++) {
        put_new(64 * KIB);
        size_t kept = wr_min(i + 1, WR_KEEP_SLOTS);
        assert_int_equal(wr_keep_bytes(), kept * 64 * KIB);
        assert_int_equal(wr_vm_mapped_bytes() - mapped, kept * 64 * KIB);
    }
}

static void test_put_into_full_slots_keeps_the_new_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        put_new(64 * KIB);
    }
    uintptr_t start = map(128 * KIB);
    wr_keep_put(start, 128 * KIB);
    wr_kept kept = take(128 * KIB, WR_SLICE_BYTES);
    assert_int_equal(kept.start, start);
    assert_true(wr_vm_unmap((void *)start, 128 * KIB));
}

static void test_take_makes_its_slot_free_for_another(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WR_KEEP_SLOTS; i++) {
        put_new(64 * KIB);
    }
    size_t mapped = wr_vm_mapped_bytes();
    for (unsigned i = 0; i < 1000; i++) {
        wr_kept kept = take(64 * KIB, WR_SLICE_BYTES);
        assert_int_not_equal(kept.start, 0);
        wr_keep_put(kept.start, kept.bytes);
        assert_int_equal(wr_keep_bytes(), WR_KEEP_SLOTS * 64 * KIB);
    }
    assert_int_equal(wr_vm_mapped_bytes(), mapped); /* nothing had to go */
}

static void test_release_all_returns_everything_to_the_kernel(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    uintptr_t starts[10];
    for (unsigned i = 0; i < 10; i++) {
        starts[i] = map((i + 1) * 64 * KIB);
        wr_keep_put(starts[i], (i + 1) * 64 * KIB);
    }
    errno = ERRNO_UNUSED;
    assert_int_equal(wr_keep_release_all(), 55 * 64 * KIB);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_keep_bytes(), 0);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
    for (unsigned i = 0; i < 10; i++) {
        assert_false(is_mapped(starts[i]));
    }
    assert_int_equal(wr_keep_release_all(), 0);
}

static void keep_nothing(void *unused)
{
    (void)unused;
    char option[] = "WEIR_LARGE_KEEP=0";
    char *environment[] = {option, NULL};
    wr_options_parse(environment);
    uintptr_t start = map(64 * KIB);
    wr_keep_put(start, 64 * KIB);
    CHECK(!is_mapped(start));
    CHECK(wr_keep_bytes() == 0);
}

static void test_put_with_a_cap_of_0_keeps_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_nothing, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void keep_up_to_the_option(void *unused)
{
    (void)unused;
    char option[] = "WEIR_LARGE_KEEP=200K";
    char *environment[] = {option, NULL};
    wr_options_parse(environment);
    for (unsigned i = 0; i < 5; i++) {
        put_new(64 * KIB);
        CHECK(wr_keep_bytes() == (i < 3 ? i + 1 : 3) * 64 * KIB);
    }
}

static void test_put_holds_to_the_cap_of_the_option(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_up_to_the_option, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void keep_a_huge_one(void *unused)
{
    (void)unused;
    char option[] = "WEIR_LARGE_KEEP=1T";
    char *environment[] = {option, NULL};
    size_t bytes = ((size_t)5 << 30) + 8 * KIB; /* addresses only */
    wr_options_parse(environment);
    uintptr_t start = map(bytes);
    wr_keep_put(start, bytes);
    wr_kept kept = take(bytes, WR_SLICE_BYTES);
    CHECK(kept.start == start && kept.bytes == bytes);
}

static void test_put_above_4_gib_is_kept_with_its_length(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_a_huge_one, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_recover_counts_what_is_kept(void **state)
{
    (void)state;
    put_new(256 * KIB);
    put_new(1 * MIB + 4 * KIB);
    wr_keep_recover();
    assert_int_equal(wr_keep_bytes(), 1 * MIB + 260 * KIB);
    assert_int_equal(wr_keep_release_all(), 1 * MIB + 260 * KIB);
    wr_keep_recover();
    assert_int_equal(wr_keep_bytes(), 0);
}

/* ---- sequential model ---- */

enum { MODEL_MAX = WR_KEEP_SLOTS };

/* Which mapping a full keep lets go is its own choice: the model asks which are still there. */
static void test_keep_random_steps_match_the_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    wr_kept model[MODEL_MAX + 1];
    unsigned count = 0;
    size_t mapped = wr_vm_mapped_bytes();
    for (unsigned step = 0; step < TEST_SCALE(10000, 4000); step++) {
        size_t bytes = (random_next(&random) % 512 + 1) * 4 * KIB;
        if (random_next(&random) % 3 != 0) {
            uintptr_t start = map(bytes);
            *(uintptr_t *)start = start + bytes; /* a mapping that is gone cannot be read */
            wr_keep_put(start, bytes);
            model[count].start = start;
            model[count++].bytes = bytes;
            size_t kept = 0;
            unsigned left = 0;
            for (unsigned i = 0; i < count; i++) {
                if (is_mapped(model[i].start)) {
                    assert_int_equal(*(uintptr_t *)model[i].start, model[i].start + model[i].bytes);
                    kept += model[i].bytes;
                    model[left++] = model[i];
                }
            }
            count = left;
            assert_true(count <= MODEL_MAX);
            assert_int_equal(wr_keep_bytes(), kept);
        } else {
            size_t best = SIZE_MAX;
            for (unsigned i = 0; i < count; i++) {
                bool fits = model[i].bytes >= bytes && model[i].bytes <= bytes + bytes / 4;
                best = fits && model[i].bytes < best ? model[i].bytes : best;
            }
            wr_kept kept = take(bytes, WR_SLICE_BYTES);
            assert_int_equal(kept.bytes, best == SIZE_MAX ? 0 : best);
            for (unsigned i = 0; i < count; i++) {
                if (model[i].start == kept.start) {
                    assert_int_equal(model[i].bytes, kept.bytes);
                    model[i] = model[--count];
                    assert_true(wr_vm_unmap((void *)kept.start, kept.bytes));
                    kept.start = 0;
                }
            }
            assert_int_equal(kept.start, 0);
        }
        assert_true(wr_keep_bytes() <= CAP);
        assert_int_equal(wr_vm_mapped_bytes(), mapped + wr_keep_bytes());
    }
}

/* ---- threads ---- */

enum { MINE_MAX = 24, ROUNDS = TEST_SCALE(12000, 4000) };

static const size_t thread_sizes[] = {64 * KIB, 68 * KIB, 128 * KIB, 1 * MIB};

/* Puts, takes and now and then releases all; `enter` sees each mapping that is taken or new,
 * `leave` each before it is put. */
static void use_keep(unsigned number, uint64_t *random, void (*enter)(unsigned, wr_kept),
                     void (*leave)(unsigned, wr_kept))
{
    wr_kept mine[MINE_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t kind = random_next(random) % 1024;
        if (kind == 0) {
            (void)wr_keep_release_all();
        } else if (kind < 512 && count < MINE_MAX) {
            size_t bytes = thread_sizes[random_next(random) % COUNT_OF(thread_sizes)];
            wr_kept kept = take(bytes, WR_SLICE_BYTES);
            if (kept.start == 0) {
                kept.start = map(bytes);
                kept.bytes = bytes;
            }
            CHECK(kept.bytes >= bytes && kept.bytes <= bytes + bytes / 4);
            enter(number, kept);
            mine[count++] = kept;
        } else if (count > 0) {
            unsigned at = (unsigned)(random_next(random) % count);
            wr_kept kept = mine[at];
            mine[at] = mine[--count];
            leave(number, kept);
            wr_keep_put(kept.start, kept.bytes);
        }
    }
    while (count > 0) {
        leave(number, mine[--count]);
        wr_keep_put(mine[count].start, mine[count].bytes);
    }
}

/* All that is mapped in the end is what is kept. */
static void run_keep(crew_body *body)
{
    size_t mapped = wr_vm_mapped_bytes();
    crew_run(THREADS, test_seed(), body);
    assert_int_equal(wr_vm_mapped_bytes(), mapped + wr_keep_bytes());
    assert_true(wr_keep_bytes() <= CAP);
    size_t kept = wr_keep_bytes();
    assert_int_equal(wr_keep_release_all(), kept);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
}

static void enter_once(unsigned number, wr_kept kept)
{
    CHECK(wr_fetch_add_relaxed((_Atomic uint64_t *)kept.start, number + 1) == 0);
}

static void leave_once(unsigned number, wr_kept kept)
{
    CHECK(wr_fetch_sub_relaxed((_Atomic uint64_t *)kept.start, number + 1) == number + 1);
}

static void use_once(unsigned number, uint64_t *random)
{
    use_keep(number, random, enter_once, leave_once);
}

static void test_keep_under_threads_gives_each_mapping_to_one_holder(void **state)
{
    (void)state;
    run_keep(use_once);
}

static void enter_plainly(unsigned number, wr_kept kept)
{
    pattern_fill((void *)kept.start, 256, number);
    pattern_fill((void *)(kept.start + kept.bytes - 256), 256, number);
}

static void leave_plainly(unsigned number, wr_kept kept)
{
    CHECK(pattern_holds((void *)kept.start, 256, number));
    CHECK(pattern_holds((void *)(kept.start + kept.bytes - 256), 256, number));
}

static void use_plainly(unsigned number, uint64_t *random)
{
    use_keep(number, random, enter_plainly, leave_plainly);
}

static void test_keep_torture_with_plain_writes_has_no_race(void **state)
{
    (void)state;
    run_keep(use_plainly);
}

#define KEEP_TEST(name) cmocka_unit_test_setup_teardown(name, release_all, release_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEEP_TEST(test_take_from_nothing_gives_none),
        KEEP_TEST(test_take_gives_what_was_put_with_its_contents),
        KEEP_TEST(test_take_of_more_than_is_kept_gives_none),
        KEEP_TEST(test_take_gives_at_most_a_quarter_more),
        KEEP_TEST(test_take_gives_the_smallest_that_fits),
        KEEP_TEST(test_take_without_a_most_gives_the_smallest_of_all_that_are_large_enough),
        KEEP_TEST(test_take_gives_what_starts_at_a_multiple),
        KEEP_TEST(test_put_above_the_cap_returns_it_to_the_kernel),
        KEEP_TEST(test_put_of_the_cap_itself_is_kept),
        KEEP_TEST(test_put_over_the_cap_returns_others_till_it_holds),
        KEEP_TEST(test_put_into_full_slots_returns_another),
        KEEP_TEST(test_put_into_full_slots_keeps_the_new_one),
        KEEP_TEST(test_take_makes_its_slot_free_for_another),
        KEEP_TEST(test_release_all_returns_everything_to_the_kernel),
        KEEP_TEST(test_put_with_a_cap_of_0_keeps_nothing),
        KEEP_TEST(test_put_holds_to_the_cap_of_the_option),
        KEEP_TEST(test_put_above_4_gib_is_kept_with_its_length),
        KEEP_TEST(test_recover_counts_what_is_kept),
        KEEP_TEST(test_keep_random_steps_match_the_model),
        KEEP_TEST(test_keep_under_threads_gives_each_mapping_to_one_holder),
        KEEP_TEST(test_keep_torture_with_plain_writes_has_no_race),
    };
    return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
