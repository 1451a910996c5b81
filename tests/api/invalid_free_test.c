/* Misuse that weir finds ends with one line on stderr and SIGABRT. Each case runs in a child.
 *
 * A block that is free already and not the last one freed is found when it comes back to its slab,
 * hence the crowds of blocks of the same size: they are freed after the suspect to push it out of
 * the thread's cache, while every third block stays in use, so that no slab goes back to the page
 * heap.
 */
#include "support.h"

#include <ctype.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "exercise.h"
#include "family.h"

#define BLOCK_BYTES 64
#define CROWD       TEST_SCALE(90000, 60000)

static void *crowd[CROWD];
static void *suspect;

static int set_up_crowd(void **state)
{
    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = t_malloc(BLOCK_BYTES);
        if (crowd[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static int tear_down_crowd(void **state)
{
    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        t_free(crowd[i]);
    }
    return 0;
}

/* Frees every third block from the one at `first` on. */
static void free_third(size_t first)
{
    for (size_t i = first; i < CROWD; i += 3) {
        if (crowd[i] != suspect) {
            t_free(crowd[i]);
        }
    }
}

static void expect_abort(void (*body)(void *), void *argument, const char *start,
                         const void *address)
{
    struct outcome outcome;
    char expected[200];
    int length = snprintf(expected, sizeof expected, "weir: %s: 0x%zx", start, (size_t)address);
    assert_true(length > 0 && (size_t)length < sizeof expected);
    run_child(body, argument, &outcome);
    if (strncmp(outcome.text, expected, (size_t)length) != 0) {
        fail_msg("expected \"%s\", got \"%s\"", expected, outcome.text);
    }
    assert_false(isxdigit((unsigned char)outcome.text[length]));
    assert_int_equal(count_lines(outcome.text), 1);
    assert_int_equal(outcome.text[outcome.bytes - 1], '\n');
    assert_int_equal(outcome.signal, SIGABRT);
}

static void free_it(void *ptr)
{
    t_free(ptr);
}

static void free_it_twice(void *ptr)
{
    t_free(ptr);
    t_free(ptr);
}

static void free_sized_twice(void *ptr)
{
    t_free_sized(ptr, BLOCK_BYTES);
    t_free_sized(ptr, BLOCK_BYTES);
}

static void realloc_it(void *ptr)
{
    void *block = t_realloc(ptr, 100);
    (void)block;
}

static void realloc_it_twice(void *ptr)
{
    realloc_it(ptr);
    realloc_it(ptr);
}

static void test_realloc_twice_from_cache_to_cache_aborts(void **state)
{
    (void)state;
    void *room = t_malloc(100); /* so that the first realloc finds a block, and so does the other */
    void *more = t_malloc(100);
    void *block = t_malloc(BLOCK_BYTES);
    t_free(room);
    t_free(more);
    expect_abort(realloc_it_twice, block, "realloc(): double free", block);
    t_free(block);
}

static void test_free_stack_address_aborts_as_foreign(void **state)
{
    (void)state;
    _Alignas(16) char on_stack[64] = {0};
    expect_abort(free_it, on_stack, "free(): foreign pointer", on_stack);
}

static void test_free_static_address_aborts_as_foreign(void **state)
{
    (void)state;
    _Alignas(16) static char in_data[64] = {1};
    expect_abort(free_it, in_data, "free(): foreign pointer", in_data);
}

static void test_free_code_address_aborts_as_foreign(void **state)
{
    (void)state;
    void *code = (void *)(uintptr_t)&free_it;
    expect_abort(free_it, code, "free(): foreign pointer", code);
}

static void test_free_inside_foreign_mapping_aborts_as_foreign(void **state)
{
    (void)state;
    char *mapped = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    expect_abort(free_it, mapped, "free(): foreign pointer", mapped);
    expect_abort(free_it, mapped + 4096 + 64, "free(): foreign pointer", mapped + 4096 + 64);
    munmap(mapped, MIB);
}

static void test_free_impossible_address_aborts_as_foreign(void **state)
{
    (void)state;
    static const uintptr_t addresses[] = {16, 4096, (uintptr_t)1 << 47, UINTPTR_MAX - 15};
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        void *ptr = (void *)addresses[i];
        expect_abort(free_it, ptr, "free(): foreign pointer", ptr);
    }
}

static void test_realloc_foreign_address_aborts_as_foreign(void **state)
{
    (void)state;
    _Alignas(16) char on_stack[64] = {0};
    expect_abort(realloc_it, on_stack, "realloc(): foreign pointer", on_stack);
}

static void test_free_of_a_block_twice_in_a_row_aborts_at_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16, BLOCK_BYTES, 1000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        expect_abort(free_it_twice, block, "free(): double free", block);
        t_free(block);
    }
    void *block = t_malloc(BLOCK_BYTES);
    assert_non_null(block);
    expect_abort(free_sized_twice, block, "free_sized(): double free", block);
    t_free(block);
}

static void free_suspect_and_flush_twice(void *unused)
{
    (void)unused;
    t_free(suspect);
    free_third(1);
    t_free(suspect);
    free_third(2);
}

static void test_free_of_block_free_in_its_slab_aborts_as_double(void **state)
{
    (void)state;
    suspect = crowd[CROWD / 3];
    expect_abort(free_suspect_and_flush_twice, NULL, "free(): double free", suspect);
}

static void *free_suspect_and_flush_in_thread(void *unused)
{
    (void)unused;
    t_free(suspect);
    free_third(1);
    return NULL;
}

static void free_in_two_threads(void *unused)
{
    (void)unused;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_suspect_and_flush_in_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    t_free(suspect);
    free_third(2);
}

static void test_free_of_block_freed_by_another_thread_aborts_as_double(void **state)
{
    (void)state;
    suspect = crowd[CROWD / 3];
    expect_abort(free_in_two_threads, NULL, "free(): double free", suspect);
}

static void free_batch_of_free_block(void *unused)
{
    (void)unused;
    t_free(suspect);
    free_third(1);
    void *again[] = {suspect};
    weir_free_batch(1, again);
    free_third(2);
}

static void test_free_batch_of_free_block_aborts_as_double(void **state)
{
    (void)state;
    suspect = crowd[CROWD / 3];
    expect_abort(free_batch_of_free_block, NULL, "free(): double free", suspect);
}

static void free_inside_suspect_and_flush(void *offset)
{
    t_free((char *)suspect + *(const size_t *)offset);
    free_third(1);
}

static void test_free_inside_small_block_aborts_as_no_block_start(void **state)
{
    (void)state;
    static size_t offsets[] = {8, 16, 1, 63};
    suspect = crowd[CROWD / 3];
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        expect_abort(free_inside_suspect_and_flush, &offsets[i], "free(): not a block start",
                     (char *)suspect + offsets[i]);
    }
}

static void test_free_inside_large_object_aborts_as_no_block_start(void **state)
{
    (void)state;
    static const size_t sizes[] = {100 * KIB, 1 * MIB};
    static const size_t offsets[] = {16, 4096, 70000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *block = t_malloc(sizes[i]);
        assert_non_null(block);
        for (size_t k = 0; k < COUNT_OF(offsets); k++) {
            expect_abort(free_it, block + offsets[k], "free(): not a block start",
                         block + offsets[k]);
        }
        t_free(block);
    }
}

static void test_free_of_large_object_twice_aborts_as_double(void **state)
{
    (void)state;
    static const size_t sizes[] = {100 * KIB, 1 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        expect_abort(free_it_twice, block, "free(): double free", block);
        t_free(block);
    }
}

/* The first writable segment of the object that holds the program interpreter. */
static int find_loader_data(struct dl_phdr_info *info, size_t bytes, void *found)
{
    (void)bytes;
    if (strstr(info->dlpi_name, "/ld-linux") == NULL && strstr(info->dlpi_name, "/ld.so") == NULL) {
        return 0;
    }
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0) {
            uintptr_t start = info->dlpi_addr + segment->p_vaddr;
            *(void **)found = (void *)((start + segment->p_memsz / 2) & ~(uintptr_t)15);
        }
    }
    return 1;
}

static void free_loader_data_and_go_on(void *ptr)
{
    t_free(ptr);
    family_exercise(1);
}

/* ld.so's own malloc serves it before weir is there, and its blocks may be freed later. */
static void test_free_of_loader_memory_does_nothing(void **state)
{
    (void)state;
    void *ptr = NULL;
    struct outcome outcome;
    dl_iterate_phdr(find_loader_data, &ptr);
    assert_non_null(ptr);
    run_child(free_loader_data_and_go_on, ptr, &outcome);
    assert_clean_exit(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_stack_address_aborts_as_foreign),
        cmocka_unit_test(test_free_static_address_aborts_as_foreign),
        cmocka_unit_test(test_free_code_address_aborts_as_foreign),
        cmocka_unit_test(test_free_inside_foreign_mapping_aborts_as_foreign),
        cmocka_unit_test(test_free_impossible_address_aborts_as_foreign),
        cmocka_unit_test(test_realloc_foreign_address_aborts_as_foreign),
        cmocka_unit_test(test_realloc_twice_from_cache_to_cache_aborts),
        cmocka_unit_test(test_free_of_a_block_twice_in_a_row_aborts_at_once),
        cmocka_unit_test(test_free_of_block_free_in_its_slab_aborts_as_double),
        cmocka_unit_test(test_free_of_block_freed_by_another_thread_aborts_as_double),
        cmocka_unit_test(test_free_batch_of_free_block_aborts_as_double),
        cmocka_unit_test(test_free_inside_small_block_aborts_as_no_block_start),
        cmocka_unit_test(test_free_inside_large_object_aborts_as_no_block_start),
        cmocka_unit_test(test_free_of_large_object_twice_aborts_as_double),
        cmocka_unit_test(test_free_of_loader_memory_does_nothing),
    };
    return cmocka_run_group_tests_name("invalid_free", tests, set_up_crowd, tear_down_crowd);
}
