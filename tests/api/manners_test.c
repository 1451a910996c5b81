/* How weir behaves towards the kernel: a bounded number of mappings, whatever the sizes, and
 * reserve kept out of core dumps. Memory is never touched, so that it costs addresses alone. */
#include "support.h"

#include "family.h"
#include "maps.h"

#define HEAP_BYTES (16 * 1024 * MIB)
#define LINES_MAX  1000
#define BLOCKS_MAX (HEAP_BYTES / (100 * KIB) + 1)

static void run_case(void (*body)(void *), void *argument)
{
    struct outcome outcome;
    run_child(body, argument, &outcome);
    assert_clean_exit(&outcome);
}

static void *blocks[BLOCKS_MAX];

/* Fills the heap with blocks of the sizes in turn, frees every other one, and all. */
static void fill(void *argument)
{
    const size_t *sizes = argument;
    size_t bytes = 0;
    size_t count = 0;
    for (size_t turn = 0; bytes < HEAP_BYTES; turn = sizes[turn + 1] == 0 ? 0 : turn + 1) {
        blocks[count] = t_malloc(sizes[turn]);
        CHECK(blocks[count] != NULL);
        bytes += sizes[turn];
        count++;
    }
    CHECK(maps_lines() < LINES_MAX);
    for (size_t i = 0; i < count; i += 2) {
        t_free(blocks[i]);
        blocks[i] = NULL;
    }
    CHECK(maps_lines() < LINES_MAX);
    for (size_t i = 0; i < count; i += 32) {
        blocks[i] = t_malloc(sizes[0] + 30 * KIB); /* into the holes, or past them */
        CHECK(blocks[i] != NULL);
    }
    CHECK(maps_lines() < LINES_MAX);
    for (size_t i = 0; i < count; i++) {
        t_free(blocks[i]);
    }
    CHECK(maps_lines() < LINES_MAX);
}

static void test_maps_of_100_kib_blocks_are_below_1000(void **state)
{
    (void)state;
    size_t sizes[] = {100 * KIB, 0};
    run_case(fill, sizes);
}

static void test_maps_of_1_mib_blocks_are_below_1000(void **state)
{
    (void)state;
    size_t sizes[] = {1 * MIB, 0};
    run_case(fill, sizes);
}

static void test_maps_of_3_mib_blocks_are_below_1000(void **state)
{
    (void)state;
    size_t sizes[] = {3 * MIB, 0};
    run_case(fill, sizes);
}

static void test_maps_of_33_mib_blocks_are_below_1000(void **state)
{
    (void)state;
    size_t sizes[] = {33 * MIB, 0};
    run_case(fill, sizes);
}

static void test_maps_of_mixed_blocks_are_below_1000(void **state)
{
    (void)state;
    size_t sizes[] = {200 * KIB, 130 * KIB + 1, 40 * MIB, 1 * MIB + 1, 7 * MIB, 0};
    run_case(fill, sizes);
}

/* An object that grew has half as much again in reserve. */
static void grow_and_look(void *unused)
{
    (void)unused;
    size_t size = 100 * MIB;
    char *block = t_malloc(size);
    CHECK(block != NULL);
    block[0] = 1;
    for (unsigned i = 0; i < 3; i++) {
        /* Something behind it, so that it has to move. */
        char *behind = t_malloc(40 * MIB);
        CHECK(behind != NULL);
        size += 50 * MIB;
        block = t_realloc(block, size);
        CHECK(block != NULL && block[0] == 1);
    }
    CHECK(!maps_has_flag((uintptr_t)block, "dd"));
    CHECK(!maps_has_flag((uintptr_t)block + size - 1, "dd"));
    for (; size < 1024 * MIB; size += 9 * MIB) {
        block = t_realloc(block, size);
        CHECK(block != NULL && block[0] == 1);
        block[size - 1] = 1;
        CHECK(!maps_has_flag((uintptr_t)block + size - 1, "dd"));
    }
    block = t_realloc(block, 70 * MIB);
    CHECK(block != NULL);
    block = t_realloc(block, 90 * MIB);
    CHECK(block != NULL && block[0] == 1);
    CHECK(!maps_has_flag((uintptr_t)block + 90 * MIB - 1, "dd"));
    t_free(block);
}

static void test_bytes_in_use_are_in_core_dumps_whatever_grew(void **state)
{
    (void)state;
    run_case(grow_and_look, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_of_100_kib_blocks_are_below_1000),
        cmocka_unit_test(test_maps_of_1_mib_blocks_are_below_1000),
        cmocka_unit_test(test_maps_of_3_mib_blocks_are_below_1000),
        cmocka_unit_test(test_maps_of_33_mib_blocks_are_below_1000),
        cmocka_unit_test(test_maps_of_mixed_blocks_are_below_1000),
        cmocka_unit_test(test_bytes_in_use_are_in_core_dumps_whatever_grew),
    };
    return cmocka_run_group_tests_name("manners", tests, NULL, NULL);
}
