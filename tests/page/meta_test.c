/* Memory for descriptors: zero, a cache line's multiple, never handed out twice. */
#include "page_support.h"

#include <stdlib.h>
#include <string.h>

#include "page/meta.h"

#define LINE_BYTES  ((size_t)WR_CACHE_LINE_BYTES)
#define MOST_BYTES  (4 * KIB)
#define MOST_LINES  (MOST_BYTES / LINE_BYTES)
#define PIECES      TEST_SCALE(4000, 1000) /* of the model, and of a thread */
#define LARGE_COUNT TEST_SCALE(1000, 300)  /* pieces of 4 KiB of a thread */
#define LINE_COUNT  TEST_SCALE(100000, 30000)
/* A chunk begins with a line of its own. */
#define LARGE_IN_CHUNK ((WR_META_CHUNK_BYTES - LINE_BYTES) / MOST_BYTES)

struct piece {
    char *start;
    size_t bytes;
    uint64_t tag;
};

static struct piece pieces[THREADS][4000];
static uint64_t seed;

static struct piece take_piece(size_t bytes, uint64_t tag)
{
    struct piece piece = {wr_meta_alloc(bytes), bytes, tag};
    CHECK(piece.start != NULL);
    CHECK(is_aligned(piece.start, LINE_BYTES));
    CHECK(all_zero(piece.start, bytes));
    pattern_fill(piece.start, bytes, tag);
    return piece;
}

static int compare_starts(const void *a, const void *b)
{
    const struct piece *left = a;
    const struct piece *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* Sorts them. */
static void assert_apart_and_intact(struct piece *all, size_t count)
{
    qsort(all, count, sizeof *all, compare_starts);
    for (size_t i = 0; i < count; i++) {
        assert_true(pattern_holds(all[i].start, all[i].bytes, all[i].tag));
        assert_true(i == 0 || all[i - 1].start + all[i - 1].bytes <= all[i].start);
    }
}

static void test_alloc_every_size_is_zero_and_on_a_line(void **state)
{
    (void)state;
    for (size_t lines = 1; lines <= MOST_LINES; lines++) {
        pieces[0][lines - 1] = take_piece(lines * LINE_BYTES, lines);
    }
    assert_apart_and_intact(pieces[0], MOST_LINES);
}

static void test_alloc_full_chunk_is_replaced_by_one_mapping(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    size_t first = 0; /* pieces until the first new chunk */
    while (wr_vm_mapped_bytes() == mapped) {
        take_piece(MOST_BYTES, first++);
    }
    assert_true(first <= LARGE_IN_CHUNK + 1);
    for (size_t i = 1; i < LARGE_IN_CHUNK; i++) {
        take_piece(MOST_BYTES, i);
        assert_int_equal(wr_vm_mapped_bytes(), mapped + WR_META_CHUNK_BYTES);
    }
    take_piece(MOST_BYTES, 0);
    assert_int_equal(wr_vm_mapped_bytes(), mapped + 2 * WR_META_CHUNK_BYTES);
}

static void test_alloc_lines_fill_a_chunk_to_its_last_byte(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    while (wr_vm_mapped_bytes() == mapped) {
        take_piece(LINE_BYTES, 1);
    }
    for (size_t i = 2; i < WR_META_CHUNK_BYTES / LINE_BYTES; i++) {
        take_piece(LINE_BYTES, i);
        assert_int_equal(wr_vm_mapped_bytes(), mapped + WR_META_CHUNK_BYTES);
    }
    take_piece(LINE_BYTES, 0);
    assert_int_equal(wr_vm_mapped_bytes(), mapped + 2 * WR_META_CHUNK_BYTES);
}

static void live_without_memory(void *unused)
{
    (void)unused;
    struct piece before = take_piece(LINE_BYTES, 1);
    size_t mapped = wr_vm_mapped_bytes();
    size_t served = 0;
    starve();
    while (served < 100 && wr_meta_alloc(MOST_BYTES) != NULL) {
        served++;
    }
    void *refused = wr_meta_alloc(MOST_BYTES);
    feed();
    CHECK(served <= LARGE_IN_CHUNK);
    CHECK(refused == NULL);
    CHECK(wr_vm_mapped_bytes() == mapped);
    take_piece(MOST_BYTES, 2);
    CHECK(wr_vm_mapped_bytes() == mapped + WR_META_CHUNK_BYTES);
    CHECK(pattern_holds(before.start, before.bytes, before.tag));
}

static void test_alloc_kernel_refuses_returns_null_and_later_succeeds(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(live_without_memory, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void small_after_refused_large(void *unused)
{
    (void)unused;
    /* Leaves less than 4 KiB in the chunk, but some lines. */
    size_t mapped = wr_vm_mapped_bytes();
    while (wr_vm_mapped_bytes() == mapped) {
        take_piece(MOST_BYTES, 1);
    }
    for (size_t i = 1; i < LARGE_IN_CHUNK; i++) {
        take_piece(MOST_BYTES, i);
    }
    starve();
    void *refused = wr_meta_alloc(MOST_BYTES);
    void *small = wr_meta_alloc(LINE_BYTES);
    feed();
    CHECK(refused == NULL);
    CHECK(small != NULL);
}

static void test_alloc_refused_large_piece_leaves_room_for_small_ones(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(small_after_refused_large, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static size_t random_bytes(uint64_t *random)
{
    size_t lines = random_next(random) % 4 == 0 ? MOST_LINES : 4;
    return (1 + random_next(random) % lines) * LINE_BYTES;
}

static void test_model_random_sizes_stay_apart(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (size_t i = 0; i < PIECES; i++) {
        pieces[0][i] = take_piece(random_bytes(&random), i);
    }
    assert_apart_and_intact(pieces[0], PIECES);
}

static void take_random_pieces(size_t number)
{
    uint64_t random = seed + number;
    for (size_t i = 0; i < PIECES; i++) {
        pieces[number][i] = take_piece(random_bytes(&random), number * PIECES + i);
    }
}

/* Exactly once: no two pieces share a byte. Their contents are written plainly: TSan watches. */
static void test_torture_pieces_of_threads_stay_apart(void **state)
{
    (void)state;
    static struct piece all[COUNT_OF(pieces) * COUNT_OF(pieces[0])];
    seed = test_seed();
    run_threads(take_random_pieces);
    for (size_t i = 0; i < THREADS; i++) {
        memcpy(&all[i * PIECES], pieces[i], PIECES * sizeof all[0]);
    }
    assert_apart_and_intact(all, THREADS * PIECES);
}

/* Lines, as fast as they come: a line that two threads got is no longer zero for the second. */
static void take_lines(size_t number)
{
    for (size_t i = 0; i < LINE_COUNT; i++) {
        _Atomic size_t *line = wr_meta_alloc(LINE_BYTES);
        CHECK(line != NULL);
        CHECK(atomic_exchange(line, number + 1) == 0);
    }
}

static void test_threads_each_line_goes_to_one_of_them(void **state)
{
    (void)state;
    run_threads(take_lines);
}

static void take_large_pieces(size_t number)
{
    for (size_t i = 0; i < LARGE_COUNT; i++) {
        take_piece(MOST_BYTES, number);
    }
}

static void test_threads_that_replace_a_chunk_at_once_keep_one(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    run_threads(take_large_pieces);
    size_t chunks = (wr_vm_mapped_bytes() - mapped) / WR_META_CHUNK_BYTES;
    size_t needed = wr_divide_up(THREADS * LARGE_COUNT, LARGE_IN_CHUNK);
    /* One less if the chunk from before still had room. */
    assert_in_range(chunks, needed - 1, needed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_every_size_is_zero_and_on_a_line),
        cmocka_unit_test(test_alloc_full_chunk_is_replaced_by_one_mapping),
        cmocka_unit_test(test_alloc_lines_fill_a_chunk_to_its_last_byte),
        cmocka_unit_test(test_alloc_kernel_refuses_returns_null_and_later_succeeds),
        cmocka_unit_test(test_alloc_refused_large_piece_leaves_room_for_small_ones),
        cmocka_unit_test(test_model_random_sizes_stay_apart),
        cmocka_unit_test(test_torture_pieces_of_threads_stay_apart),
        cmocka_unit_test(test_threads_each_line_goes_to_one_of_them),
        cmocka_unit_test(test_threads_that_replace_a_chunk_at_once_keep_one),
    };
    return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
