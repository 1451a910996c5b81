/* What is done about a call that the kernel refuses: kept memory goes back to it, and what it will
 * not take is used again. Each case runs in a child, where weir has done nothing yet.
 */
#include "support.h"

#include <string.h>

#include <malloc.h>

#include "family.h"
#include "fault.h"

#define HUGE_BYTES (20 * MIB) /* two of them are more than is kept when freed */

/* Counts the calls for more memory from now on, none of which fails. */
static void count_growth(void)
{
    fault_refuse(0);
    fault_arm(FAULT_SBRK | FAULT_MMAP | FAULT_MREMAP, SIZE_MAX, 1);
}

/* A block that is dirty all over. */
static void *allocate_one(size_t size)
{
    void *block = t_malloc(size);
    CHECK(block != NULL);
    memset(block, 0xff, size);
    return block;
}

static void fill_blocks(void **blocks, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = allocate_one(size);
    }
}

static void calloc_blocks(void **blocks, size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = t_calloc(1, bytes);
        CHECK(blocks[i] != NULL && all_zero(blocks[i], bytes));
    }
}

static void free_blocks(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        t_free(blocks[i]);
    }
}

/* Frees two objects that may not both be kept: one at least goes back, or should. */
static void free_more_than_is_kept(void)
{
    void *huge[2];
    fill_blocks(huge, COUNT_OF(huge), HUGE_BYTES);
    free_blocks(huge, COUNT_OF(huge));
}

/* Frees a mapping that is kept for the next one: with the threshold pinned there may be one. */
static void keep_one(void)
{
    CHECK(t_mallopt(M_MMAP_THRESHOLD, 128 * KIB) == 1);
    t_free(allocate_one(MIB));
}

static void run_case(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void map_while_memory_is_kept(void *unused)
{
    (void)unused;
    keep_one();
    fault_starve(FAULT_MMAP);
    t_free(allocate_one(5 * MIB));
    CHECK(fault_failed() > 0);
}

static void test_mapping_refused_succeeds_when_kept_memory_has_gone_back(void **state)
{
    (void)state;
    run_case(map_while_memory_is_kept);
}

static void grow_while_memory_is_kept(void *unused)
{
    (void)unused;
    void *blocks[100];
    keep_one();
    fault_refuse(FAULT_SBRK);
    fault_starve(FAULT_MMAP);
    fill_blocks(blocks, COUNT_OF(blocks), 32 * KIB);
    CHECK((fault_calls_seen() & FAULT_SBRK) != 0 && fault_failed() > 0);
    free_blocks(blocks, COUNT_OF(blocks));
}

static void test_growth_refused_succeeds_when_kept_memory_has_gone_back(void **state)
{
    (void)state;
    run_case(grow_while_memory_is_kept);
}

static void trim_refused_then_reuse(void *unused)
{
    (void)unused;
    void *blocks[50];
    calloc_blocks(blocks, COUNT_OF(blocks), 100 * KIB);
    free_blocks(blocks, COUNT_OF(blocks));
    fault_refuse(FAULT_MADVISE | FAULT_SBRK);
    CHECK(t_malloc_trim(0) == 0);
    CHECK(fault_failed() > 0);
    count_growth();
    calloc_blocks(blocks, COUNT_OF(blocks), 100 * KIB);
    CHECK(fault_counted() == 0);
    free_blocks(blocks, COUNT_OF(blocks));
}

static void test_trim_refused_leaves_the_memory_to_be_used_again(void **state)
{
    (void)state;
    run_case(trim_refused_then_reuse);
}

static void unmap_refused_then_reuse(void *unused)
{
    (void)unused;
    void *blocks[100];
    fault_refuse(FAULT_MUNMAP);
    free_more_than_is_kept();
    CHECK(fault_failed() > 0);
    count_growth();
    calloc_blocks(blocks, COUNT_OF(blocks), 100 * KIB);
    CHECK(fault_counted() == 0);
    free_blocks(blocks, COUNT_OF(blocks));
}

static void test_unmap_refused_leaves_the_memory_to_be_used_again(void **state)
{
    (void)state;
    run_case(unmap_refused_then_reuse);
}

static void unmap_and_purge_refused_then_calloc(void *unused)
{
    (void)unused;
    void *blocks[100];
    fault_refuse(FAULT_MUNMAP | FAULT_MADVISE);
    free_more_than_is_kept();
    calloc_blocks(blocks, COUNT_OF(blocks), 100 * KIB);
    free_blocks(blocks, COUNT_OF(blocks));
}

static void test_unmap_and_purge_refused_never_passes_for_zero(void **state)
{
    (void)state;
    run_case(unmap_and_purge_refused_then_calloc);
}

static void shrink_refused_then_grow(void *unused)
{
    (void)unused;
    unsigned char *block = allocate_one(4 * MIB);
    fault_refuse(FAULT_MUNMAP);
    CHECK(weir_resize_in_place(block, MIB) == 1);
    CHECK(fault_failed() == 1 && t_usable_size(block) == MIB);
    count_growth();
    CHECK(weir_resize_in_place(block, 4 * MIB) == 1);
    CHECK(fault_counted() == 0 && t_usable_size(block) == 4 * MIB);
    memset(block, 1, 4 * MIB);
    t_free(block);
}

static void test_shrink_refused_keeps_the_tail_for_growth(void **state)
{
    (void)state;
    run_case(shrink_refused_then_grow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapping_refused_succeeds_when_kept_memory_has_gone_back),
        cmocka_unit_test(test_growth_refused_succeeds_when_kept_memory_has_gone_back),
        cmocka_unit_test(test_trim_refused_leaves_the_memory_to_be_used_again),
        cmocka_unit_test(test_unmap_refused_leaves_the_memory_to_be_used_again),
        cmocka_unit_test(test_unmap_and_purge_refused_never_passes_for_zero),
        cmocka_unit_test(test_shrink_refused_keeps_the_tail_for_growth),
    };
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
