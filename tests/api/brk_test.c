/* The data segment: weir takes it first, shows as [heap], and tolerates other users of sbrk. */
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "family.h"

#define STEPS     1000
#define OWN_BYTES 8192

/* The range of the line that /proc/self/maps marks [heap]. */
static bool find_heap(uintptr_t *start, uintptr_t *end)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (!found && fgets(line, sizeof line, maps) != NULL) {
        found = strstr(line, "[heap]") != NULL &&
                sscanf(line, "%" SCNxPTR "-%" SCNxPTR, start, end) == 2;
    }
    fclose(maps);
    return found;
}

static void test_brk_small_block_lies_in_the_heap_segment(void **state)
{
    (void)state;
    uintptr_t start = 0;
    uintptr_t end = 0;
    char *block = t_malloc(100);
    assert_non_null(block);
    assert_true(find_heap(&start, &end));
    assert_in_range((uintptr_t)block, start, end - 1);
    t_free(block);
}

static void test_brk_memory_of_another_user_stays_intact(void **state)
{
    (void)state;
    static void *own[STEPS];
    static void *blocks[STEPS];
    uint64_t random = test_seed();
    for (size_t i = 0; i < STEPS; i++) {
        own[i] = sbrk(OWN_BYTES);
        assert_ptr_not_equal(own[i], (void *)-1);
        assert_true(all_zero(own[i], OWN_BYTES));
        pattern_fill(own[i], OWN_BYTES, i);
        blocks[i] = t_malloc(random_size(&random, i % 10 == 0 ? 300 * KIB : 60 * KIB));
        assert_non_null(blocks[i]);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), STEPS + i);
        if (i % 3 == 0) {
            assert_true(pattern_holds(blocks[i / 2], t_usable_size(blocks[i / 2]), STEPS + i / 2));
            t_free(blocks[i / 2]);
            blocks[i / 2] = t_calloc(1, 1000);
            assert_non_null(blocks[i / 2]);
            assert_true(all_zero(blocks[i / 2], 1000));
            pattern_fill(blocks[i / 2], t_usable_size(blocks[i / 2]), STEPS + i / 2);
        }
    }
    t_malloc_trim(0);
    for (size_t i = 0; i < STEPS; i++) {
        assert_true(pattern_holds(own[i], OWN_BYTES, i));
        assert_int_equal(weir_owns(own[i]), 0);
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), STEPS + i));
        t_free(blocks[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brk_small_block_lies_in_the_heap_segment),
        cmocka_unit_test(test_brk_memory_of_another_user_stays_intact),
    };
    return cmocka_run_group_tests_name("brk", tests, NULL, NULL);
}
