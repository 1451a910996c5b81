/* Spans: found from any address inside and from no other, opened and closed by their holder, with
 * descriptors that stay with their slice.
 *
 * The windows have no memory behind them: what a span says is in the tables alone. */
#include "page_support.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

#include "page/span.h"

#define WINDOW(number) ((uintptr_t)(number) << WR_REGION_SHIFT)
/* Windows of their own for each matter; those between them have no region. */
#define PLAIN  0x1000u
#define MAPPED 0x2000u
#define STORM  0x3000u
#define LINE   WR_SPAN_LINE_WORDS
#define MOST   (WR_SLAB_BLOCKS_MAX / WR_WORD_BITS)

#define MODEL_SLICES 600u
#define MODEL_STEPS  TEST_SCALE(30000, 6000)
#define CLOSE_ROUNDS TEST_SCALE(3000, 1000)
#define STORM_SLICES 300u
#define STORM_STEPS  TEST_SCALE(30000, 2500) /* of a thread */
#define BOXES        8

static uint64_t seed;

static uintptr_t slice_at(unsigned slice)
{
    return WINDOW(PLAIN) + slice * WR_SLICE_BYTES;
}

static int make_windows(void **state)
{
    (void)state;
    assert_non_null(wr_region_obtain(WINDOW(PLAIN)));
    assert_non_null(wr_region_obtain(WINDOW(STORM)));
    wr_slice_add(WINDOW(STORM) + 100 * WR_SLICE_BYTES, STORM_SLICES);
    return 0;
}

static wr_span *open_at(uintptr_t start, wr_span_kind kind, size_t bytes, size_t reserved_bytes)
{
    wr_span *span = wr_span_obtain(start, 0);
    CHECK(span != NULL);
    span->class = kind == WR_SPAN_SLAB ? 5 : WR_CLASS_NONE;
    wr_span_open(span, kind, bytes, reserved_bytes);
    return span;
}

static wr_span *open_slices(unsigned slice, wr_span_kind kind, unsigned slices)
{
    return open_at(slice_at(slice), kind, slices * WR_SLICE_BYTES, slices * WR_SLICE_BYTES);
}

static void test_obtain_new_slice_gives_a_free_descriptor(void **state)
{
    (void)state;
    static const unsigned words[] = {0, 1, LINE, LINE + 1, MOST};
    static const unsigned rooms[] = {0, LINE, LINE, 2 * LINE, MOST};
    for (unsigned i = 0; i < COUNT_OF(words); i++) {
        assert_null(wr_span_at(slice_at(i)));
        wr_span *span = wr_span_obtain(slice_at(i), words[i]);
        assert_non_null(span);
        assert_true(is_aligned(span, WR_CACHE_LINE_BYTES));
        assert_int_equal(span->start, slice_at(i));
        assert_int_equal(span->word_room, rooms[i]);
        assert_int_equal(wr_span_kind_of(span), WR_SPAN_FREE);
        assert_true(all_zero((void *)span->free_bits, rooms[i] * sizeof span->free_bits[0]));
        assert_ptr_equal(wr_span_at(slice_at(i)), span);
        assert_null(wr_span_find(slice_at(i)));
    }
}

static void test_obtain_bitmap_words_are_the_descriptors_own(void **state)
{
    (void)state;
    static wr_span *spans[30];
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        spans[i] = wr_span_obtain(slice_at(10 + i), i % 3 == 0 ? 0 : i % 3 == 1 ? LINE : MOST);
        pattern_fill((void *)spans[i]->free_bits, spans[i]->word_room * 8, i);
    }
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        assert_int_equal(spans[i]->start, slice_at(10 + i));
        assert_true(pattern_holds((void *)spans[i]->free_bits, spans[i]->word_room * 8, i));
    }
}

static void test_obtain_same_slice_gives_the_same_descriptor(void **state)
{
    (void)state;
    wr_span *span = wr_span_obtain(slice_at(50), LINE);
    for (unsigned words = 0; words <= LINE; words++) {
        wr_span_open(span, WR_SPAN_LARGE, 1, WR_SLICE_BYTES);
        wr_span_close(span);
        assert_ptr_equal(wr_span_obtain(slice_at(50), words), span);
    }
}

static void test_obtain_more_words_replaces_the_descriptor_by_twice_the_room(void **state)
{
    (void)state;
    wr_span *last = wr_span_obtain(slice_at(51), 0);
    unsigned left_words = 0;
    for (unsigned words = 0; words <= MOST; words++) {
        wr_span *span = wr_span_obtain(slice_at(51), words);
        assert_true(span->word_room >= words);
        assert_int_equal(wr_span_kind_of(span), WR_SPAN_FREE);
        assert_ptr_equal(wr_span_at(slice_at(51)), span);
        if (span != last) {
            assert_true(span->word_room >= 2 * last->word_room);
            left_words += last->word_room;
        }
        last = span;
    }
    assert_int_equal(last->word_room, MOST);
    assert_true(left_words <= MOST);
    for (unsigned words = 0; words <= MOST; words++) {
        assert_ptr_equal(wr_span_obtain(slice_at(51), words), last);
    }
}

static void test_obtain_replaced_descriptor_stays_readable(void **state)
{
    (void)state;
    wr_span *old = open_at(slice_at(52), WR_SPAN_LARGE, 1000, WR_SLICE_BYTES);
    wr_span_close(old);
    wr_span *span = wr_span_obtain(slice_at(52), 1);
    assert_ptr_not_equal(span, old);
    span->class = 5;
    wr_span_open(span, WR_SPAN_SLAB, WR_SLICE_BYTES, WR_SLICE_BYTES);
    assert_int_equal(old->start, slice_at(52));
    assert_int_equal(wr_span_kind_of(old), WR_SPAN_FREE);
    assert_ptr_equal(wr_span_find(slice_at(52)), span);
    wr_span_close(span);
}

static void obtain_without_memory(void *unused)
{
    (void)unused;
    wr_span *small = wr_span_obtain(slice_at(60), 0);
    wr_span *refused = small;
    starve();
    for (unsigned i = 0; refused != NULL && i < 10000; i++) {
        refused = wr_span_obtain(slice_at(1000 + i), MOST);
    }
    wr_span *wider = wr_span_obtain(slice_at(60), MOST);
    wr_span *same = wr_span_obtain(slice_at(60), 0);
    feed();
    CHECK(refused == NULL);
    CHECK(wider == NULL);
    CHECK(same == small && wr_span_at(slice_at(60)) == small);
    CHECK(wr_span_obtain(slice_at(60), MOST) != NULL);
}

static void test_obtain_kernel_refuses_returns_null_and_changes_nothing(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(obtain_without_memory, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_at_other_addresses_give_null(void **state)
{
    (void)state;
    assert_non_null(wr_span_obtain(slice_at(70), 0));
    assert_null(wr_span_at(slice_at(70) + 1));
    assert_null(wr_span_at(slice_at(71)));
    assert_null(wr_span_at(0));
    assert_null(wr_span_at(WINDOW(PLAIN - 1)));
}

static void test_at_tagged_address_gives_null(void **state)
{
    (void)state;
    assert_non_null(wr_span_obtain(slice_at(70), 0));
    assert_null(wr_span_at(slice_at(70) | (uintptr_t)1 << 56));
    assert_null(wr_span_at(slice_at(70) | (uintptr_t)1 << WR_ADDRESS_BITS));
}

static void test_find_each_kind_from_any_address_inside(void **state)
{
    (void)state;
    static const wr_span_kind kinds[] = {WR_SPAN_SLAB, WR_SPAN_LARGE, WR_SPAN_MAPPED};
    static const unsigned counts[] = {1, 8, 63, 64, 65, 200};
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        for (size_t c = 0; c < COUNT_OF(counts); c++) {
            wr_span *span = open_slices(120, kinds[k], counts[c]);
            assert_int_equal(wr_span_kind_of(span), kinds[k]);
            assert_int_equal(wr_span_slices(span), counts[c]);
            for (unsigned s = 120; s < 120 + counts[c]; s++) {
                assert_ptr_equal(wr_span_find(slice_at(s)), span);
                assert_ptr_equal(wr_span_find(slice_at(s) + 4711), span);
                assert_ptr_equal(wr_span_find(slice_at(s + 1) - 1), span);
            }
            wr_span_close(span);
        }
    }
}

static void test_find_addresses_around_a_span_give_null(void **state)
{
    (void)state;
    wr_span *span = open_slices(120, WR_SPAN_LARGE, 100);
    assert_null(wr_span_find(slice_at(120) - 1));
    assert_null(wr_span_find(slice_at(119)));
    assert_null(wr_span_find(slice_at(220)));
    assert_null(wr_span_find(slice_at(500)));
    assert_null(wr_span_find(WINDOW(PLAIN)));
    assert_null(wr_span_find(WINDOW(PLAIN + 1)));
    wr_span_close(span);
}

static void test_find_foreign_addresses_give_null(void **state)
{
    (void)state;
    wr_span *span = open_slices(0, WR_SPAN_LARGE, 1);
    int local = 0;
    assert_ptr_equal(wr_span_find(slice_at(0)), span);
    assert_null(wr_span_find(0));
    assert_null(wr_span_find((uintptr_t)&local));
    assert_null(wr_span_find(UINTPTR_MAX));
    assert_null(wr_span_find(slice_at(0) | (uintptr_t)1 << WR_ADDRESS_BITS));
    assert_null(wr_span_find(slice_at(0) | (uintptr_t)0xab << 56));
    wr_span_close(span);
}

static void test_find_reserve_behind_the_bytes_belongs_to_the_span(void **state)
{
    (void)state;
    wr_span *span = open_at(slice_at(120), WR_SPAN_MAPPED, 5000, 3 * WR_SLICE_BYTES + 4096);
    assert_int_equal(span->bytes, 5000);
    assert_int_equal(wr_span_reserved_bytes(span), 3 * WR_SLICE_BYTES + 4096);
    assert_int_equal(wr_span_slices(span), 4);
    assert_ptr_equal(wr_span_find(slice_at(120) + 5000), span);
    assert_ptr_equal(wr_span_find(slice_at(123) + 4095), span);
    assert_null(wr_span_find(slice_at(123) + 4096));
    wr_span_close(span);
}

static void test_find_neighbours_are_told_apart(void **state)
{
    (void)state;
    static wr_span *spans[70];
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        spans[i] = open_slices(120 + 3 * i, i % 2 == 0 ? WR_SPAN_SLAB : WR_SPAN_LARGE, 3);
    }
    wr_span_close(spans[30]);
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        wr_span *expected = i == 30 ? NULL : spans[i];
        assert_ptr_equal(wr_span_find(slice_at(120 + 3 * i)), expected);
        assert_ptr_equal(wr_span_find(slice_at(120 + 3 * i + 3) - 1), expected);
    }
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        if (i != 30) {
            wr_span_close(spans[i]);
        }
    }
}

static void test_find_mapping_across_windows_from_each_of_them(void **state)
{
    (void)state;
    uintptr_t start = WINDOW(MAPPED + 1) - 2 * WR_SLICE_BYTES;
    size_t bytes = 2 * WR_REGION_BYTES + 5 * WR_SLICE_BYTES;
    assert_non_null(wr_region_obtain(start));
    wr_span *span = open_at(start, WR_SPAN_MAPPED, bytes, bytes);
    /* First without tables for the upper windows, then with one, then with spans behind it. */
    for (unsigned round = 0; round < 3; round++) {
        wr_span *above = NULL;
        if (round == 1) {
            assert_non_null(wr_region_obtain(WINDOW(MAPPED + 2)));
        } else if (round == 2) {
            assert_non_null(wr_region_obtain(WINDOW(MAPPED + 3)));
            above = open_at(start + bytes, WR_SPAN_LARGE, 1, WR_SLICE_BYTES);
        }
        assert_ptr_equal(wr_span_find(start), span);
        assert_ptr_equal(wr_span_find(WINDOW(MAPPED + 1) - 1), span);
        assert_ptr_equal(wr_span_find(WINDOW(MAPPED + 1)), span);
        assert_ptr_equal(wr_span_find(WINDOW(MAPPED + 2) + 4711), span);
        assert_ptr_equal(wr_span_find(WINDOW(MAPPED + 3)), span);
        assert_ptr_equal(wr_span_find(start + bytes - 1), span);
        assert_ptr_equal(wr_span_find(start + bytes), above);
        assert_null(wr_span_find(start - 1));
        if (above != NULL) {
            wr_span_close(above);
        }
    }
    wr_span_close(span);
    assert_null(wr_span_find(start));
    assert_null(wr_span_find(WINDOW(MAPPED + 2)));
}

static void test_class_slab_sets_the_bytes_of_its_slices_alone(void **state)
{
    (void)state;
    wr_span *slab = open_slices(190, WR_SPAN_SLAB, 8);
    for (unsigned s = 180; s < 210; s++) {
        size_t expected = s >= 190 && s < 198 ? 5 : WR_CLASS_NONE;
        assert_int_equal(wr_region_class_of(slice_at(s)), expected);
        assert_int_equal(wr_region_class_of(slice_at(s + 1) - 1), expected);
    }
    wr_span_close(slab);
    for (unsigned s = 180; s < 210; s++) {
        assert_int_equal(wr_region_class_of(slice_at(s)), WR_CLASS_NONE);
    }
}

static void test_class_large_and_mapped_spans_set_none(void **state)
{
    (void)state;
    wr_span *span = open_slices(190, WR_SPAN_LARGE, 8);
    assert_int_equal(wr_region_class_of(slice_at(190)), WR_CLASS_NONE);
    wr_span_close(span);
    wr_span_open(span, WR_SPAN_MAPPED, 1, 8 * WR_SLICE_BYTES);
    assert_int_equal(wr_region_class_of(slice_at(193)), WR_CLASS_NONE);
    wr_span_close(span);
}

static void test_close_span_is_free_and_not_found(void **state)
{
    (void)state;
    wr_span *span = open_slices(120, WR_SPAN_SLAB, 100);
    wr_span_close(span);
    assert_int_equal(wr_span_kind_of(span), WR_SPAN_FREE);
    assert_null(wr_span_find(slice_at(120)));
    assert_null(wr_span_find(slice_at(180)));
    assert_ptr_equal(wr_span_at(slice_at(120)), span);
}

static void test_try_close_wrong_kind_changes_nothing(void **state)
{
    (void)state;
    wr_span *span = open_slices(120, WR_SPAN_LARGE, 10);
    assert_false(wr_span_try_close(span, WR_SPAN_MAPPED));
    assert_int_equal(wr_span_kind_of(span), WR_SPAN_LARGE);
    assert_ptr_equal(wr_span_find(slice_at(125)), span);
    wr_span_close(span);
}

static void test_try_close_twice_succeeds_once(void **state)
{
    (void)state;
    wr_span *span = open_slices(120, WR_SPAN_LARGE, 10);
    assert_true(wr_span_try_close(span, WR_SPAN_LARGE));
    assert_int_equal(wr_span_kind_of(span), WR_SPAN_FREE);
    assert_null(wr_span_find(slice_at(120)));
    assert_false(wr_span_try_close(span, WR_SPAN_LARGE));
}

/* The reference: for each slice the start of the span there, or NOTHING. */
#define NOTHING MODEL_SLICES
static unsigned model[MODEL_SLICES + 1];
static wr_span *model_span[MODEL_SLICES];
#define MODEL_FIRST 30000u

static void model_open(unsigned slice, uint64_t *random)
{
    unsigned most = 1 + (unsigned)(random_next(random) % (random_next(random) % 8 == 0 ? 150 : 8));
    unsigned count = 0;
    while (count < most && slice + count < MODEL_SLICES && model[slice + count] == NOTHING) {
        model[slice + count++] = slice;
    }
    static const unsigned words[] = {0, 0, 0, 1, 20};
    wr_span *span =
        wr_span_obtain(slice_at(MODEL_FIRST + slice), words[random_next(random) % COUNT_OF(words)]);
    assert_non_null(span);
    wr_span_kind kind = WR_SPAN_SLAB + (wr_span_kind)(random_next(random) % 3);
    span->class = kind == WR_SPAN_SLAB ? 1 + (uint8_t)(random_next(random) % 40) : 0;
    wr_span_open(span, kind, count * WR_SLICE_BYTES - 9, count * WR_SLICE_BYTES);
    model_span[slice] = span;
}

static void model_close(unsigned start, uint64_t *random)
{
    wr_span *span = model_span[start];
    if (random_next(random) % 2 == 0) {
        wr_span_close(span);
    } else {
        assert_true(wr_span_try_close(span, wr_span_kind_of(span)));
    }
    for (unsigned s = start; model[s] == start; s++) {
        model[s] = NOTHING;
    }
}

static void test_model_random_spans_agree_with_a_table(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned s = 0; s <= MODEL_SLICES; s++) {
        model[s] = NOTHING;
    }
    for (size_t i = 0; i < MODEL_STEPS; i++) {
        unsigned slice = (unsigned)(random_next(&random) % MODEL_SLICES);
        if (model[slice] == NOTHING) {
            model_open(slice, &random);
        } else {
            model_close(model[slice], &random);
        }
        for (unsigned looks = 0; looks < 8; looks++) {
            unsigned s = (unsigned)(random_next(&random) % MODEL_SLICES);
            uintptr_t address =
                slice_at(MODEL_FIRST + s) + (uintptr_t)(random_next(&random) % WR_SLICE_BYTES);
            wr_span *expected = model[s] == NOTHING ? NULL : model_span[model[s]];
            assert_ptr_equal(wr_span_find(address), expected);
            assert_int_equal(wr_region_class_of(address), expected == NULL ? 0 : expected->class);
        }
    }
    for (unsigned s = 0; s < MODEL_SLICES; s++) {
        if (model[s] != NOTHING) {
            model_close(model[s], &random);
        }
    }
}

/* All threads try to close the same span; the winner of a round opens it for the next. */
static wr_span *contested;
static _Atomic unsigned winners;

static void contest(size_t number)
{
    (void)number;
    for (unsigned round = 0; round < CLOSE_ROUNDS; round++) {
        if (wr_span_try_close(contested, WR_SPAN_LARGE)) {
            (void)wr_fetch_add_relaxed(&winners, 1);
        }
        if (threads_meet()) {
            CHECK(wr_load_relaxed(&winners) == 1);
            CHECK(wr_span_find(slice_at(121)) == NULL);
            wr_store_relaxed(&winners, 0);
            wr_span_open(contested, WR_SPAN_LARGE, 1, 2 * WR_SLICE_BYTES);
        }
        threads_meet();
    }
}

static void test_threads_that_close_a_span_at_once_have_one_winner(void **state)
{
    (void)state;
    contested = open_slices(120, WR_SPAN_LARGE, 2);
    run_threads(contest);
    wr_span_close(contested);
}

/* One thread opens or closes a span, another waits until it sees that: nothing else orders the two.
 */
static void open_or_find(size_t number)
{
    if (number == 0) {
        wr_span_open(contested, WR_SPAN_LARGE, 1, WR_SLICE_BYTES);
    } else if (number == 1) {
        while (wr_span_find(slice_at(120)) == NULL) {
            sched_yield();
        }
        CHECK(contested->bytes == 1);
    }
}

static void test_find_sees_the_span_as_it_was_opened(void **state)
{
    (void)state;
    contested = open_slices(120, WR_SPAN_LARGE, 1);
    wr_span_close(contested);
    run_threads(open_or_find);
    wr_span_close(contested);
}

static bool closed_by_trying;
static _Atomic bool was_closed; /* relaxed, so that it orders nothing */

static void close_or_obtain(size_t number)
{
    if (number == 0) {
        contested->bytes = 2; /* plain, as the holder of the object */
        if (closed_by_trying) {
            CHECK(wr_span_try_close(contested, WR_SPAN_LARGE));
        } else {
            wr_span_close(contested);
        }
        wr_store_relaxed(&was_closed, true);
    } else if (number == 1) {
        while (!wr_load_relaxed(&was_closed)) {
            sched_yield();
        }
        for (unsigned i = 0; wr_span_kind_of(contested) != WR_SPAN_FREE && i < 1000; i++) {
            sched_yield();
        }
        CHECK(wr_span_kind_of(contested) == WR_SPAN_FREE);
        CHECK(wr_span_obtain(slice_at(120), 0) == contested);
        CHECK(contested->bytes == 2);
    }
}

static void test_obtain_sees_the_span_as_it_was_closed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        closed_by_trying = i == 1;
        wr_store_relaxed(&was_closed, false);
        contested = open_slices(120, WR_SPAN_LARGE, 1);
        run_threads(close_or_obtain);
    }
}

/* Spans that change hands: opened by one thread, found by address and closed by another. The boxes
 * order nothing, so what a finder sees of the descriptor it has from wr_span_find alone. */
static _Atomic uintptr_t boxes[BOXES]; /* an address inside a span, or 0 */
static _Atomic size_t owner[STORM_SLICES];
static size_t storm_index(uintptr_t address)
{
    size_t index = (address - WINDOW(STORM)) / WR_SLICE_BYTES - 100;
    CHECK(index < STORM_SLICES);
    return index;
}

static void finish_span(uintptr_t address)
{
    wr_span *span = NULL;
    while ((span = wr_span_find(address)) == NULL) {
        sched_yield();
    }
    size_t slices = wr_span_slices(span);
    size_t first = storm_index(span->start);
    CHECK(address - span->start < span->bytes);
    CHECK(span->bytes == slices * WR_SLICE_BYTES);
    CHECK(span->blocks == first && span->block_bytes == slices);
    CHECK((wr_span_kind_of(span) == WR_SPAN_SLAB) == (span->class != 0));
    uintptr_t start = span->start;
    for (size_t s = first; s < first + slices; s++) {
        uintptr_t slice = start + (s - first) * WR_SLICE_BYTES;
        CHECK(wr_region_class_of(slice) == span->class);
        CHECK(wr_exchange_acq_rel(&owner[s], 0) == 1);
    }
    if (span->class != 0) {
        wr_span_close(span);
    } else {
        CHECK(wr_span_try_close(span, WR_SPAN_LARGE));
    }
    wr_slice_release(start, slices);
}

/* An address in a new span, or 0. */
static uintptr_t start_span(uint64_t *random)
{
    size_t slices = 1 + random_next(random) % (random_next(random) % 8 == 0 ? 90 : 8);
    bool zero;
    uintptr_t start = wr_slice_claim(slices, &zero);
    if (start == 0) {
        return 0;
    }
    size_t first = storm_index(start);
    for (size_t s = first; s < first + slices; s++) {
        CHECK(wr_exchange_acq_rel(&owner[s], 1) == 0);
    }
    static const unsigned words[] = {0, 0, 0, 1, 20};
    wr_span *span = wr_span_obtain(start, words[random_next(random) % COUNT_OF(words)]);
    CHECK(span != NULL && span->start == start);
    CHECK(wr_span_kind_of(span) == WR_SPAN_FREE);
    span->blocks = (uint16_t)first;
    span->block_bytes = (uint32_t)slices;
    span->class = random_next(random) % 2 == 0 ? 0 : 1 + (uint8_t)(random_next(random) % 40);
    wr_span_open(span, span->class == 0 ? WR_SPAN_LARGE : WR_SPAN_SLAB, slices * WR_SLICE_BYTES,
                 slices * WR_SLICE_BYTES);
    return start + random_next(random) % (slices * WR_SLICE_BYTES);
}

static void change_hands(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < STORM_STEPS; step++) {
        uintptr_t mine = start_span(&random);
        /* Relaxed, as said above. */
        _Atomic uintptr_t *box = &boxes[random_next(&random) % BOXES];
        uintptr_t other = atomic_exchange_explicit(box, mine, memory_order_relaxed);
        if (other != 0) {
            finish_span(other);
        }
        /* A look at any address: at most a span that it lay in when it was looked at. */
        uintptr_t any = WINDOW(STORM) + random_next(&random) % (500 * WR_SLICE_BYTES);
        wr_span *seen = wr_span_find(any);
        CHECK(seen == NULL || seen->start <= any);
    }
}

static void test_torture_spans_that_change_hands_are_found_whole(void **state)
{
    (void)state;
    seed = test_seed();
    run_threads(change_hands);
    for (size_t i = 0; i < BOXES; i++) {
        uintptr_t address = wr_load_relaxed(&boxes[i]);
        if (address != 0) {
            finish_span(address);
        }
    }
    assert_int_equal(page_heap_at_rest().available, STORM_SLICES);
    for (size_t s = 0; s < STORM_SLICES; s++) {
        assert_null(wr_span_find(WINDOW(STORM) + (100 + s) * WR_SLICE_BYTES));
    }
    wr_region *region = wr_region_of(WINDOW(STORM));
    assert_true(all_zero((void *)region->mark, sizeof region->mark));
}

#if WR_DEBUG
static void open_twice(void *unused)
{
    (void)unused;
    wr_span *span = open_slices(120, WR_SPAN_LARGE, 1);
    wr_span_open(span, WR_SPAN_LARGE, 1, 1);
}

static void close_twice(void *unused)
{
    (void)unused;
    wr_span *span = open_slices(120, WR_SPAN_LARGE, 1);
    wr_span_close(span);
    wr_span_close(span);
}

static void test_open_or_close_in_the_wrong_state_aborts(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(open_twice, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
    run_child(close_twice, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_obtain_new_slice_gives_a_free_descriptor),
        cmocka_unit_test(test_obtain_bitmap_words_are_the_descriptors_own),
        cmocka_unit_test(test_obtain_same_slice_gives_the_same_descriptor),
        cmocka_unit_test(test_obtain_more_words_replaces_the_descriptor_by_twice_the_room),
        cmocka_unit_test(test_obtain_replaced_descriptor_stays_readable),
        cmocka_unit_test(test_obtain_kernel_refuses_returns_null_and_changes_nothing),
        cmocka_unit_test(test_at_other_addresses_give_null),
        cmocka_unit_test(test_at_tagged_address_gives_null),
        cmocka_unit_test(test_find_each_kind_from_any_address_inside),
        cmocka_unit_test(test_find_addresses_around_a_span_give_null),
        cmocka_unit_test(test_find_foreign_addresses_give_null),
        cmocka_unit_test(test_find_reserve_behind_the_bytes_belongs_to_the_span),
        cmocka_unit_test(test_find_neighbours_are_told_apart),
        cmocka_unit_test(test_find_mapping_across_windows_from_each_of_them),
        cmocka_unit_test(test_class_slab_sets_the_bytes_of_its_slices_alone),
        cmocka_unit_test(test_class_large_and_mapped_spans_set_none),
        cmocka_unit_test(test_close_span_is_free_and_not_found),
        cmocka_unit_test(test_try_close_wrong_kind_changes_nothing),
        cmocka_unit_test(test_try_close_twice_succeeds_once),
        cmocka_unit_test(test_model_random_spans_agree_with_a_table),
        cmocka_unit_test(test_threads_that_close_a_span_at_once_have_one_winner),
        cmocka_unit_test(test_find_sees_the_span_as_it_was_opened),
        cmocka_unit_test(test_obtain_sees_the_span_as_it_was_closed),
        cmocka_unit_test(test_torture_spans_that_change_hands_are_found_whole),
#if WR_DEBUG
        cmocka_unit_test(test_open_or_close_in_the_wrong_state_aborts),
#endif
    };
    return cmocka_run_group_tests_name("span", tests, make_windows, NULL);
}
