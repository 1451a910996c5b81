/* Property test: whatever a block's history, the frees that its size and alignment allow put it
 * back where it came from. A free into the wrong class shows as two live blocks that overlap, so
 * each live block carries its own pattern over its whole usable size.
 * Repeat a failure with TEST_SEED=<the number printed>.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "exercise.h"
#include "family.h"

#define SLOTS TEST_SCALE(400, 100)
#define STEPS TEST_SCALE(30000, 3000)

struct live {
    void *block;
    size_t size;      /* what was asked for last, bytes */
    size_t most;      /* the largest size that free_sized takes, bytes */
    size_t alignment; /* asked of aligned_alloc; 0 when free_sized applies */
    size_t usable;    /* bytes under the pattern */
    uint64_t tag;
};

static struct live slots[SLOTS];
static uint64_t random_state;
static uint64_t last_tag;

static size_t below(size_t bound)
{
    return (size_t)(random_next(&random_state) % bound);
}

static void note(struct live *live, void *block, size_t size, size_t alignment)
{
    assert_non_null(block);
    assert_true(is_aligned(block, alignment ? alignment : natural_alignment(size)));
    live->block = block;
    live->size = size;
    live->most = size;
    live->alignment = alignment;
    live->usable = t_usable_size(block);
    live->tag = ++last_tag;
    assert_true(live->usable >= size);
    pattern_fill(block, live->usable, live->tag);
}

static void allocate(struct live *live)
{
    size_t size = random_size(&random_state, 2 * MIB);
    size_t alignment = (size_t)1 << below(17);
    size_t actual = 0;
    switch (below(6)) {
    case 0:
        note(live, t_calloc(1, size), size, 0);
        break;
    case 1:
        note(live, t_aligned_alloc(alignment, size), size, alignment);
        break;
    case 2: {
        void *block = weir_alloc_at_least(size, &actual);
        note(live, block, size, 0);
        assert_true(actual >= size);
        live->most = actual;
        break;
    }
    case 3:
        note(live, t_realloc(NULL, size), size, 0);
        break;
    default:
        note(live, t_malloc(size), size, 0);
        break;
    }
}

static void release(struct live *live)
{
    assert_true(pattern_holds(live->block, live->usable, live->tag));
    errno = ERRNO_UNUSED;
    if (below(4) == 0) {
        t_free(live->block);
    } else if (live->alignment != 0) {
        t_free_aligned_sized(live->block, live->alignment, live->size);
    } else {
        t_free_sized(live->block, live->size + below(live->most - live->size + 1));
    }
    assert_int_equal(errno, ERRNO_UNUSED);
    live->block = NULL;
}

/* Half of the new sizes lie near the old one, where a block may stay in place. */
static size_t new_size(const struct live *live)
{
    size_t size =
        below(2) ? random_size(&random_state, 2 * MIB) : live->size / 2 + below(live->size + 64);
    return size ? size : 1;
}

static void reallocate(struct live *live)
{
    size_t size = new_size(live);
    size_t kept = live->usable < size ? live->usable : size;
    kept = kept < live->size ? kept : live->size;
    assert_true(pattern_holds(live->block, live->usable, live->tag));
    void *block = t_realloc(live->block, size);
    assert_non_null(block);
    assert_true(pattern_holds(block, kept, live->tag));
    note(live, block, size, 0);
}

static void resize_in_place(struct live *live)
{
    size_t size = new_size(live);
    errno = ERRNO_UNUSED;
    int resized = weir_resize_in_place(live->block, size);
    assert_int_equal(errno, ERRNO_UNUSED);
    if (resized) {
        assert_int_equal(resized, 1);
        assert_true(pattern_holds(live->block, size < live->size ? size : live->size, live->tag));
        note(live, live->block, size, live->alignment);
    } else {
        assert_int_equal(t_usable_size(live->block), live->usable);
        assert_true(pattern_holds(live->block, live->usable, live->tag));
    }
}

static void test_sized_free_after_any_history_keeps_the_heap(void **state)
{
    (void)state;
    random_state = test_seed();
    for (size_t step = 0; step < STEPS; step++) {
        struct live *live = &slots[below(SLOTS)];
        if (live->block == NULL) {
            allocate(live);
            continue;
        }
        switch (below(5)) {
        case 0:
            reallocate(live);
            break;
        case 1:
            resize_in_place(live);
            break;
        default:
            release(live);
            break;
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL) {
            release(&slots[i]);
        }
    }
    family_exercise_many(random_state, TEST_SCALE(2000, 300), 200 * KIB);
}

static void test_sized_free_after_alloc_at_least_takes_any_size_between(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 40000; size += TEST_SCALE(13, 311)) {
        for (size_t part = 0; part <= 2; part++) {
            size_t actual = 0;
            void *block = weir_alloc_at_least(size, &actual);
            assert_non_null(block);
            assert_true(actual >= size);
            t_free_sized(block, size + (actual - size) / 2 * part);
        }
    }
    family_exercise_many(3, TEST_SCALE(2000, 300), 40 * KIB);
}

static void test_sized_free_after_realloc_of_aligned_block_keeps_the_heap(void **state)
{
    (void)state;
    for (size_t alignment = 32; alignment <= 16 * KIB; alignment *= 2) {
        for (size_t size = 1; size <= 40000; size += TEST_SCALE(333, 1777)) {
            /* A little smaller: an allocator may be tempted to leave the block where it is. */
            void *block = t_realloc(t_aligned_alloc(alignment, size), size - size / 8);
            assert_non_null(block);
            t_free_sized(block, size - size / 8);
        }
        family_exercise_many(alignment, 200, 40 * KIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sized_free_after_any_history_keeps_the_heap),
        cmocka_unit_test(test_sized_free_after_alloc_at_least_takes_any_size_between),
        cmocka_unit_test(test_sized_free_after_realloc_of_aligned_block_keeps_the_heap),
    };
    return cmocka_run_group_tests_name("sized_free", tests, NULL, NULL);
}
