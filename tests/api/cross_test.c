/* A block of any allocating name goes back through any freeing name: the whole matrix, in the libc
 * flavour with the weir_ names and the C++ operators as well (called by their mangled names: no
 * C++ runtime is linked here).
 */
#include "support.h"

#include <errno.h>

#include "exercise.h"
#include "family.h"

#define COPIES 20 /* live at once per pair, so that a wrong class would be reused */

typedef void *allocate_function(size_t size);
typedef void free_function(void *block, size_t size);

static void *by_calloc(size_t size)
{
    return t_calloc(1, size);
}

static void *by_realloc(size_t size)
{
    return t_realloc(NULL, size);
}

static void *by_realloc_of_block(size_t size)
{
    return t_realloc(t_malloc(10), size);
}

static void *by_reallocarray(size_t size)
{
    return t_reallocarray(NULL, size, 1);
}

static void *by_aligned_alloc(size_t size)
{
    return t_aligned_alloc(256, size);
}

static void *by_posix_memalign(size_t size)
{
    void *block = NULL;
    return t_posix_memalign(&block, 64, size) == 0 ? block : NULL;
}

static void *by_memalign(size_t size)
{
    return t_memalign(32, size);
}

static void *by_at_least(size_t size)
{
    size_t actual;
    return weir_alloc_at_least(size, &actual);
}

static void *by_batch(size_t size)
{
    void *block = NULL;
    return weir_malloc_batch(size, 1, &block) == 1 ? block : NULL;
}

static void to_free(void *block, size_t size)
{
    (void)size;
    t_free(block);
}

static void to_weir_free(void *block, size_t size)
{
    (void)size;
    weir_free(block);
}

static void to_realloc(void *block, size_t size)
{
    (void)size;
    assert_null(t_realloc(block, 0));
}

static void to_reallocarray(void *block, size_t size)
{
    assert_null(t_reallocarray(block, size, 0));
}

static void to_batch(void *block, size_t size)
{
    (void)size;
    weir_free_batch(1, &block);
}

static void to_grow_and_free(void *block, size_t size)
{
    block = t_realloc(block, 2 * size + 100);
    assert_non_null(block);
    t_free(block);
}

#ifdef FAMILY_LIBC
void cfree(void *ptr);
void *new_plain(size_t size) __asm__("_Znwm");
void *new_array(size_t size) __asm__("_Znam");
void *new_aligned(size_t size, size_t alignment) __asm__("_ZnwmSt11align_val_t");
void delete_plain(void *block) __asm__("_ZdlPv");
void delete_array(void *block) __asm__("_ZdaPv");

static void *by_new_aligned(size_t size)
{
    return new_aligned(size, 128);
}

static void *by_weir_calloc(size_t size)
{
    return weir_calloc(1, size);
}

static void *by_weir_aligned_alloc(size_t size)
{
    return weir_aligned_alloc(512, size);
}

static void to_cfree(void *block, size_t size)
{
    (void)size;
    cfree(block);
}

static void to_delete(void *block, size_t size)
{
    (void)size;
    delete_plain(block);
}

static void to_delete_array(void *block, size_t size)
{
    (void)size;
    delete_array(block);
}

static void to_weir_realloc(void *block, size_t size)
{
    (void)size;
    assert_null(weir_realloc(block, 0));
}
#endif

static allocate_function *const allocators[] = {
    t_malloc,
    by_calloc,
    by_realloc,
    by_realloc_of_block,
    by_reallocarray,
    by_aligned_alloc,
    by_posix_memalign,
    by_memalign,
    t_valloc,
    t_pvalloc,
    by_at_least,
    by_batch,
#ifdef FAMILY_LIBC
    new_plain,
    new_array,
    by_new_aligned,
    by_weir_calloc,
    by_weir_aligned_alloc,
#endif
};

static free_function *const frees[] = {
    to_free,  to_weir_free, to_realloc,      to_reallocarray, to_batch, to_grow_and_free,
#ifdef FAMILY_LIBC
    to_cfree, to_delete,    to_delete_array, to_weir_realloc,
#endif
};

static void check_pair(allocate_function *allocate, free_function *release, size_t size)
{
    void *blocks[COPIES];
    size_t copies = size < 10000 ? COPIES : 2;
    for (size_t i = 0; i < copies; i++) {
        blocks[i] = allocate(size);
        assert_non_null(blocks[i]);
        assert_true(t_usable_size(blocks[i]) >= size);
        pattern_fill(blocks[i], size, i);
    }
    errno = ERRNO_UNUSED;
    for (size_t i = 0; i < copies; i++) {
        assert_true(pattern_holds(blocks[i], size, i));
        release(blocks[i], size);
    }
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_cross_any_small_block_goes_through_any_free(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 700, 5000, 30000};
    for (size_t a = 0; a < COUNT_OF(allocators); a++) {
        for (size_t f = 0; f < COUNT_OF(frees); f++) {
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                check_pair(allocators[a], frees[f], sizes[i]);
            }
        }
    }
    family_exercise_many(1, TEST_SCALE(2000, 300), 40 * KIB);
}

static void test_cross_any_large_block_goes_through_any_free(void **state)
{
    (void)state;
    static const size_t sizes[] = {50000, 100000, 300000, TEST_SCALE(2, 1) * MIB};
    for (size_t a = 0; a < COUNT_OF(allocators); a++) {
        for (size_t f = 0; f < COUNT_OF(frees); f++) {
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                check_pair(allocators[a], frees[f], sizes[i]);
            }
        }
    }
    family_exercise_many(2, TEST_SCALE(500, 100), 2 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_any_small_block_goes_through_any_free),
        cmocka_unit_test(test_cross_any_large_block_goes_through_any_free),
    };
    return cmocka_run_group_tests_name("cross", tests, NULL, NULL);
}
